"""A shop with Flask-SQLAlchemy that keeps its orders in its own database, over its own engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from shops import Shop
from sqlalchemy import func, select
from worlds import Timepiece

from flask_iterapay import IteraPay
from flask_iterapay.orders.stores import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore


def make_store(db: SQLAlchemy) -> OrderStore:
    """Make the store as the documentation says."""
    return SQLAlchemyStore(db.engine, create_tables=True)


class SQLShop(Shop):
    """A shop whose models and handlers the test adds; the orders' store shares its engine."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        make_store: Callable[[SQLAlchemy], OrderStore] = make_store,
        **engine_options: object,
    ) -> None:
        self.clock = Timepiece()
        self.iterapay = IteraPay()
        self.heard = []
        self.db: Any = SQLAlchemy()
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(
            TESTING=True,
            SECRET_KEY="a secret key of this test",
            ITERAPAY_SANDBOX=True,
            SQLALCHEMY_DATABASE_URI=database_url,
            SQLALCHEMY_ENGINE_OPTIONS=engine_options,
        )
        self.db.init_app(self.app)
        with self.app.app_context():
            self.store = make_store(self.db)
            self.engine = self.db.engine
        self.iterapay.init_app(self.app, store=self.store, clock=self.clock)
        self.app.register_blueprint(self.iterapay.blueprint, url_prefix="/pay")
        self.state = self.app.extensions["iterapay"]
        self.client = self.app.test_client()
        self.set_sandbox()

    def create_tables(self) -> None:
        """Make the tables of the models."""
        with self.app.app_context():
            self.db.create_all()

    def count(self, model: Any) -> int:
        """Count the committed rows of a model, as everybody else sees them."""
        with self.engine.connect() as connection:
            return int(connection.scalar(select(func.count()).select_from(model.__table__)))

    def pay(self, order_id: str) -> None:
        """Place an order, choose a method, pay it and read the gateway; the handlers are not run yet."""
        self.place(order_id)
        self.state.service.choose_method(order_id, "1")
        self.act("pay_exact", order_id)
        self.state.service.sync(order_id)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
