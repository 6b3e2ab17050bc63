"""A small shop for many processes: the app that gunicorn's workers serve while the hammer falls."""

import os
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, jsonify, request
from flawed_stores import ReadsThenWrites
from link_flaws import KeyedByAmount
from worlds import API_KEY, MERCHANT_ID, SECRET

from flask_iterapay import GatewayError, IteraPay, StoreError
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.orders.entries import Event
from flask_iterapay.orders.models import EventName
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

_Parts = dict[str, object]


def create_app(
    *,
    folder: str,
    database_url: str,
    gateway_url: str,
    flaw: str | None = None,
    is_warm: bool = False,
    sync_seconds: int = 15,
) -> Flask:
    """Make the shop, configured as in production.

    ``flaw`` names a bug to put in. A shop that ``is_warm`` has used its database and its gateway before any worker is
    forked from it.
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
        ITERAPAY_SYNC_SECONDS=sync_seconds,
    )
    iterapay = IteraPay()
    iterapay.init_app(app, **(_FLAWS[flaw](app, Path(folder)) if flaw else {}))
    app.register_blueprint(iterapay.blueprint, url_prefix="/pay")
    _register_handlers(iterapay, Path(folder) / "heard")
    _register_routes(app, iterapay)
    _register_link_routes(app, iterapay)
    if is_warm:
        app.test_client().post("/orders/warm")
        app.extensions["iterapay"].service.offered_methods()
    return app


def _read_then_write(app: Flask, folder: Path) -> _Parts:
    store = SQLAlchemyStore(app.config["ITERAPAY_DATABASE_URL"])
    return {"store": ReadsThenWrites(store, meetings=folder / "meetings")}


def _key_by_amount(app: Flask, folder: Path) -> _Parts:
    base_url = app.config["ITERAPAY_BASE_URL"]
    return {"client": KeyedByAmount(GatewayClient(base_url=base_url, merchant_id=MERCHANT_ID, api_key=API_KEY))}


_FLAWS: dict[str, Callable[[Flask, Path], _Parts]] = {
    "reads, then writes": _read_then_write,
    "keyed by amount": _key_by_amount,
}


def _register_handlers(iterapay: IteraPay, path: Path) -> None:
    def hear(event: Event) -> None:
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


def _register_link_routes(app: Flask, iterapay: IteraPay) -> None:
    """What the pages of a link do, answered in JSON."""
    state = app.extensions["iterapay"]

    @app.post("/donate/<link_id>/<reference>")
    def begin(link_id: str, reference: str) -> Response:
        """Choose a method; whoever sends the same form again gets the same visit."""
        iterapay.create_link(link_id)
        visit = state.links.receive_visitor(link_id, request.form["method"], reference=reference, visitor=reference)
        return jsonify(invoice_id=visit.invoice_id, address=visit.address)

    @app.get("/donate/<reference>")
    def look(reference: str) -> Response:
        """Look at the page of a visit, as it does by itself every few seconds."""
        visit = state.links.complete_visit(reference)
        state.dispatch_later(state.links.poll(visit.link_id))
        return jsonify([payment.status for payment in state.links.get_visit(reference).payments])

    @app.errorhandler(GatewayError)
    @app.errorhandler(StoreError)
    def ask_to_come_back(error: Exception) -> tuple[str, int, dict[str, str]]:
        return "try again later", 503, {"Retry-After": "30"}
