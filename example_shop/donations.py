"""What people give for the reading room, over one payment link that anybody pays, any number of times.

What has arrived is in a table of our own, which a handler writes; what is still on its way, the link knows. There is
no total: an amount is the gateway's own text, its unit is not documented, and what has no unit cannot be added up.
"""

import sqlite3
from dataclasses import dataclass
from decimal import Decimal
from operator import attrgetter

from flask import current_app

from flask_iterapay import (
    Contribution,
    ContributionStatus,
    Link,
    LinkEvent,
    LinkNotFoundError,
    LinkStatus,
    StoreError,
)

from .database import transaction
from .extensions import iterapay

__all__ = ["LINK_ID", "UNDERWAY", "Donation", "add_donation", "find_collection", "list_donations", "open_collection"]

LINK_ID = "library"
"""The link that all donations come in over."""

UNDERWAY = (ContributionStatus.CONFIRMING, ContributionStatus.ON_HOLD)
"""What is listed although it is not final. What was refused is not."""

_NEWEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Donation:
    """One payment, as the page lists it. ``unit`` is ``None`` unless the gateway tells it.

    ``at`` is when it was received, or until then when the gateway saw it; ISO 8601, UTC.
    """

    amount: str
    unit: str | None
    method: str
    at: str
    status: ContributionStatus


def open_collection() -> None:
    """Make the link, or bring it up to these terms. Each worker does so when it starts, and it stays one link."""
    try:
        iterapay.create_link(
            LINK_ID, description="Notebooks for the reading room", minimum=Decimal("5.00"), slug="library"
        )
    except StoreError as error:
        # `flask iterapay init-db` starts the shop too, and then there is no table yet to write the link into.
        current_app.logger.warning("donations wait for the next start: %s", error)


def find_collection() -> Link | None:
    """Return the link while it takes donations; ``None`` if it is closed, or was never made."""
    try:
        link = iterapay.get_link(LINK_ID)
    except LinkNotFoundError:
        return None
    return link if link.status is LinkStatus.OPEN else None


def add_donation(db: sqlite3.Connection, event: LinkEvent) -> None:
    """Write down what has arrived, as part of this transaction; under a key that is there already nothing changes."""
    received_at = event.occurred_at.isoformat(timespec="seconds")
    row = (event.key, event.link_id, event.contribution_id, event.amount, event.unit, _name_method(event), received_at)
    db.execute("INSERT INTO donations VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", row)


def list_donations() -> list[Donation]:
    """Return the newest donations, newest first: what has arrived, and what is being confirmed or checked."""
    try:
        contributions = iterapay.list_contributions(LINK_ID, limit=_NEWEST)
    except LinkNotFoundError:
        contributions = []
    with transaction() as db:
        query = "SELECT * FROM donations WHERE link_id = ? ORDER BY received_at DESC, rowid DESC LIMIT ?"
        rows = db.execute(query, (LINK_ID, _NEWEST)).fetchall()
    arrived = {row["contribution_id"]: _parse_donation(row) for row in rows}
    # Our table was read last, so what arrived in between is found in both, and listed as what it is by now.
    underway = {item.contribution_id: _describe(item) for item in contributions if item.status in UNDERWAY}
    return sorted((underway | arrived).values(), key=attrgetter("at"), reverse=True)[:_NEWEST]


def _parse_donation(row: sqlite3.Row) -> Donation:
    return Donation(
        amount=row["amount"],
        unit=row["unit"],
        method=row["method"],
        at=row["received_at"],
        status=ContributionStatus.RECEIVED,
    )


def _describe(contribution: Contribution) -> Donation:
    return Donation(
        amount=contribution.amount,
        unit=contribution.unit,
        method=_name_method(contribution),
        at=contribution.created_at.isoformat(timespec="seconds"),
        status=contribution.status,
    )


def _name_method(source: Contribution | LinkEvent) -> str:
    return f"{source.method.ticker} on {source.method.network}"
