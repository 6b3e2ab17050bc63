"""The shop's own tables, in an SQLite file of its own. How money stands is flask-iterapay's to know, not ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from flask import current_app

__all__ = ["create_tables", "transaction", "utc_now"]

_TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, cart_id TEXT NOT NULL UNIQUE, customer TEXT NOT NULL,
    total TEXT NOT NULL, lines TEXT NOT NULL, placed_at TEXT NOT NULL, shipped_at TEXT
);
CREATE TABLE IF NOT EXISTS notes (
    event_key TEXT PRIMARY KEY, order_id TEXT NOT NULL, event_name TEXT NOT NULL, occurred_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS donations (
    event_key TEXT PRIMARY KEY, link_id TEXT NOT NULL, contribution_id TEXT NOT NULL,
    amount TEXT NOT NULL, unit TEXT, method TEXT NOT NULL, received_at TEXT NOT NULL
);
"""


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Open the shop's database; commit at the end, roll back if anything raises."""
    path = Path(current_app.instance_path, "shop.db")
    with closing(sqlite3.connect(path, timeout=10, isolation_level="IMMEDIATE")) as db, db:
        db.row_factory = sqlite3.Row
        yield db


def create_tables() -> None:
    """Make the tables that are missing; safe in several workers at once."""
    with transaction() as db:
        # SQLite does not wait for a lock here. Whoever comes second finds the file switched by the first.
        with suppress(sqlite3.OperationalError):
            db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_TABLES)


def utc_now() -> str:
    """Return the present as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
