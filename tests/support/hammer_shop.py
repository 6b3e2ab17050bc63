"""A small shop for many processes: the app that gunicorn's workers serve while the hammer falls."""

import os
from pathlib import Path

from flask import Flask
from flawed_stores import ReadsThenWrites
from worlds import API_KEY, MERCHANT_ID, SECRET

from flask_iterapay import IteraPay, OrderEvent
from flask_iterapay.orders.models import EventName
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore


def create_app(
    *, folder: str, database_url: str, gateway_url: str, is_flawed: bool = False, is_warm: bool = False
) -> Flask:
    """Make the shop, configured as in production.

    ``is_flawed`` puts a store in that reads, then writes. A shop that ``is_warm`` has used its database and its
    gateway before any worker is forked from it.
    """
    app = Flask("hammer_shop", instance_path=folder)
    app.config.update(
        SECRET_KEY="a secret key that all workers share",
        WTF_CSRF_ENABLED=False,
        ITERAPAY_API_KEY=API_KEY,
        ITERAPAY_MERCHANT_ID=MERCHANT_ID,
        ITERAPAY_WEBHOOK_SECRETS=SECRET,
        ITERAPAY_BASE_URL=gateway_url,
        ITERAPAY_PUBLIC_URL="https://shop.example",
        ITERAPAY_AML="require",
        ITERAPAY_DATABASE_URL=database_url,
    )
    iterapay = IteraPay()
    iterapay.init_app(app, store=_make_flawed_store(database_url, folder) if is_flawed else None)
    app.register_blueprint(iterapay.blueprint, url_prefix="/pay")
    _register_handlers(iterapay, Path(folder) / "heard")
    _register_routes(app, iterapay)
    if is_warm:
        app.test_client().post("/orders/warm")
        app.extensions["iterapay"].service.offered_methods()
    return app


def _make_flawed_store(database_url: str, folder: str) -> OrderStore:
    return ReadsThenWrites(SQLAlchemyStore(database_url), meetings=Path(folder) / "meetings")


def _register_handlers(iterapay: IteraPay, path: Path) -> None:
    def hear(event: OrderEvent) -> None:
        """Add a line at the end of a file, in one step, whoever else does."""
        line = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(line, f"{event.key}\n".encode())
        os.close(line)

    for name in EventName:
        iterapay.on(name)(hear)


def _register_routes(app: Flask, iterapay: IteraPay) -> None:
    @app.post("/orders/<order_id>")
    def place(order_id: str) -> str:
        """Check out; answer with the path of the payment page."""
        return iterapay.checkout_url(iterapay.place_order(order_id, amount="25.00"))

    @app.post("/reconcile")
    def reconcile() -> str:
        """What cron's command does, whenever a client says so."""
        return str(iterapay.reconcile(limit=10))
