"""Two records, a call of every method of a store that holds them, and what a record of the shop's keeps."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from flask_iterapay.links.models import Contribution, Link, Tally, Visit
from flask_iterapay.orders.codec import format_entry, parse_entry
from flask_iterapay.orders.entries import Entry
from flask_iterapay.orders.models import Order
from flask_iterapay.orders.stores import OrderStore, Record

NOW = datetime(2026, 1, 31, tzinfo=UTC)
FIRST = Record(key="order:1", version=1, due_at=NOW, refs=("a",), status="new", created_at=NOW, body="{}")
SECOND = replace(FIRST, key="order:2", refs=("b",), created_at=NOW + timedelta(seconds=1))
CALLS: dict[str, Callable[[OrderStore], object]] = {
    "add": lambda store: store.add(replace(FIRST, key="order:3", refs=("c",))),
    "get": lambda store: store.get("order:1"),
    "get_by_ref": lambda store: store.get_by_ref("a"),
    "save": lambda store: store.save(replace(FIRST, version=2), expected_version=1),
    "due": lambda store: store.due(NOW, 10),
    "search": lambda store: store.search("order:", limit=10),
}

_MODELS = {model.KIND: model for model in (Order, Link, Visit, Contribution, Tally)}


def read_entry(record: Record) -> Entry:
    """Read what a record keeps, of whichever kind it is."""
    return parse_entry(_MODELS[record.key.partition(":")[0]], record.body, version=record.version)


def with_entry(record: Record, entry: Entry) -> Record:
    """This record with something else in it, due when that is."""
    return replace(record, body=format_entry(entry), due_at=entry.due_at)
