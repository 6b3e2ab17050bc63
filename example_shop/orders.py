"""The shop's own orders. How an order is paid is flask-iterapay's to know, not ours."""

import json
import sqlite3
from dataclasses import dataclass
from decimal import Decimal

from .cart import Cart
from .database import transaction, utc_now

__all__ = ["ShopOrder", "create_order", "get_order", "get_order_of_cart", "list_notes", "list_orders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopOrder:
    """What was ordered, at the prices of that moment: ``lines`` are quantity, name and USD. Times are ISO 8601, UTC."""

    order_id: str
    cart_id: str
    customer: str
    total: Decimal
    lines: list[tuple[int, str, Decimal]]
    placed_at: str
    shipped_at: str | None


def create_order(cart: Cart, customer: str) -> ShopOrder:
    """Turn a cart into an order. The same cart always gives the same order, however often the button is pressed."""
    lines = [(line.quantity, line.product.name, str(line.total)) for line in cart.lines]
    with transaction() as db:
        db.execute(
            "INSERT INTO orders SELECT CAST(1001 + COUNT(*) AS TEXT), ?, ?, ?, ?, ?, NULL FROM orders WHERE true"
            " ON CONFLICT (cart_id) DO NOTHING",
            (cart.cart_id, customer, str(cart.total), json.dumps(lines), utc_now()),
        )
        return _parse_order(db.execute("SELECT * FROM orders WHERE cart_id = ?", (cart.cart_id,)).fetchone())


def get_order(order_id: str, customer: str) -> ShopOrder | None:
    """Return an order of this customer; somebody else's is as good as absent."""
    with transaction() as db:
        row = db.execute("SELECT * FROM orders WHERE order_id = ? AND customer = ?", (order_id, customer)).fetchone()
    return row and _parse_order(row)


def get_order_of_cart(cart_id: str) -> ShopOrder | None:
    """Return the order that this very cart became, if it was checked out."""
    with transaction() as db:
        row = db.execute("SELECT * FROM orders WHERE cart_id = ?", (cart_id,)).fetchone()
    return row and _parse_order(row)


def list_orders(customer: str) -> list[ShopOrder]:
    """Return the orders of this customer, newest first."""
    with transaction() as db:
        rows = db.execute("SELECT * FROM orders WHERE customer = ? ORDER BY placed_at DESC, rowid DESC", (customer,))
        return [_parse_order(row) for row in rows]


def list_notes(order_id: str) -> list[sqlite3.Row]:
    """Return what happened to an order (``event_name``, ``occurred_at``), oldest first."""
    with transaction() as db:
        return db.execute("SELECT * FROM notes WHERE order_id = ? ORDER BY occurred_at, rowid", (order_id,)).fetchall()


def _parse_order(row: sqlite3.Row) -> ShopOrder:
    lines = [(quantity, name, Decimal(total)) for quantity, name, total in json.loads(row["lines"])]
    return ShopOrder(**{**dict(row), "total": Decimal(row["total"]), "lines": lines})
