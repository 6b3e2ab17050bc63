"""Records to try a store with, and every call that there is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ..orders.stores.base import OrderStore, Record
from ..values import replace

__all__ = ["NOW", "SECOND", "STRANGE", "list_calls", "list_keys", "make_next", "make_record", "raises"]

NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
# What look-ups may be asked by a stranger: blanks, wildcards, quotes, controls, lone surrogates, and far too much.
STRANGE = ["", " ", "%", "_", "*", "'", '"', "\\", "\0", "a\0b", "\n", "\ud800", "🂡", "x" * 100_000]


def make_record(number: int = 1, **changes: Any) -> Record:
    """Make a new record; each number is a second younger than the one before."""
    record = Record(
        key=f"order:{number}",
        version=1,
        due_at=None,
        refs=(),
        status="new",
        created_at=NOW + number * SECOND,
        body="",
    )
    return replace(record, **changes)


def make_next(record: Record, **changes: Any) -> Record:
    """Make what replaces a record in a save."""
    return replace(record, version=record.version + 1, **changes)


def list_keys(records: list[Record]) -> list[str]:
    """Return the keys in order."""
    return [record.key for record in records]


def list_calls(store: OrderStore, record: Record) -> list[Callable[[], object]]:
    """Return a call of every method; in this order they succeed on an empty store."""
    return [
        lambda: store.add(record),
        lambda: store.get(record.key),
        lambda: store.get_by_ref("invoice"),
        lambda: store.save(make_next(record), expected_version=record.version),
        lambda: store.due(NOW, 10),
        lambda: store.search("order:", limit=10),
    ]


def raises(error: type[Exception], call: Callable[[], object], *, from_another: bool = False) -> bool:
    """Whether a call raises an error, and, if asked for, names the one behind it."""
    try:
        call()
    except error as raised:
        return not from_another or raised.__cause__ is not None
    return False
