"""Two records, and a call of every method of a store that holds them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

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
