"""What the shop does when something happens to an order, or to a donation.

A handler runs after the change is committed, and again until it returns without an error: at least once, always with
the same ``event.key``. The key in a table of our own, in the same transaction as the work, makes that exactly once.
"""

import sqlite3

from flask import current_app

from flask_iterapay import LinkEvent, OrderEvent

from .database import transaction, utc_now
from .donations import add_donation
from .extensions import iterapay

__all__ = ["alert", "alert_of_donation", "note", "ship", "thank"]


@iterapay.on("order.paid")
def ship(event: OrderEvent) -> None:
    """Ship a paid order, exactly once.

    The key and the shipment are committed together or not at all. A crash before the commit leaves neither, and the
    event comes again; a repeat after it finds the key and does nothing.
    """
    with transaction() as db:
        if _write_down(db, event):
            db.execute("UPDATE orders SET shipped_at = ? WHERE order_id = ?", (utc_now(), event.order_id))


@iterapay.on("order.confirming")
@iterapay.on("order.on_hold")
@iterapay.on("order.released")
@iterapay.on("order.expired")
@iterapay.on("order.cancelled")
def note(event: OrderEvent) -> None:
    """Write down what happened, for the order's page."""
    with transaction() as db:
        _write_down(db, event)


@iterapay.on("order.on_hold")
@iterapay.on("order.anomaly")
def alert(event: OrderEvent) -> None:
    """Tell the shop's people; a real shop would send a mail or open a ticket under ``event.key``."""
    current_app.logger.warning("order %s: %s (%s), please look", event.order_id, event.name, event.reason)


@iterapay.on("link.payment_received")
def thank(event: LinkEvent) -> None:
    """Put a donation on the list, exactly once: its row is the work, and bears the event's key."""
    with transaction() as db:
        add_donation(db, event)


@iterapay.on("link.payment_on_hold")
@iterapay.on("link.payment_anomaly")
def alert_of_donation(event: LinkEvent) -> None:
    """Tell the shop's people, as of an order."""
    current_app.logger.warning("donation %s: %s (%s), please look", event.contribution_id, event.name, event.reason)


def _write_down(db: sqlite3.Connection, event: OrderEvent) -> bool:
    """Keep the event under its key, as part of this transaction; False if it is there already."""
    row = (event.key, event.order_id, event.name, event.occurred_at.isoformat(timespec="seconds"))
    return db.execute("INSERT INTO notes VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row).rowcount == 1
