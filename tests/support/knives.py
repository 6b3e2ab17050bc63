"""A knife that kills its own process at a chosen point, and the points: around store calls and gateway calls."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx

from flask_iterapay.orders.codec import parse_entry
from flask_iterapay.orders.models import Order, OrderStatus
from flask_iterapay.orders.stores.base import OrderStore, Record


class Knife:
    """Kills its own process at a point."""

    def __init__(self, *, point: str | None = None, number: int | None = None) -> None:
        self._point = point
        self._number = number
        self._numbers = itertools.count(1)
        self._transaction: str | None = None

    def reach(self, point: str) -> None:
        """Die if this is the point."""
        if next(self._numbers) == self._number or point == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def around(self, step: str) -> Iterator[None]:
        """The points before and after a step."""
        self.reach(f"before {step}")
        yield
        self.reach(f"after {step}")

    @contextmanager
    def around_transaction(self, step: str) -> Iterator[None]:
        """The points before and after a step, and the one where everything is written but not committed."""
        self._transaction = step
        try:
            with self.around(step):
                yield
        finally:
            self._transaction = None

    def commit(self) -> None:
        """A transaction is about to be committed."""
        if self._transaction:
            self.reach(f"inside {self._transaction}")


class KnifeStore:
    """A store with a point before, inside and after every write, and before and after every read."""

    is_durable = True

    def __init__(self, store: OrderStore, knife: Knife) -> None:
        self._store = store
        self._knife = knife

    def add(self, record: Record) -> None:
        with self._knife.around_transaction("placing"):
            self._store.add(record)

    def save(self, record: Record, *, expected_version: int) -> bool:
        stored = self._store.get(record.key)
        assert stored
        with self._knife.around_transaction(_name_change(_parse(stored), _parse(record))):
            return self._store.save(record, expected_version=expected_version)

    def get(self, key: str) -> Record | None:
        with self._knife.around("looking"):
            return self._store.get(key)

    def get_by_ref(self, ref: str) -> Record | None:
        with self._knife.around("looking by invoice"):
            return self._store.get_by_ref(ref)

    def due(self, now: datetime, limit: int) -> list[Record]:
        with self._knife.around("looking for due orders"):
            return self._store.due(now, limit)

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        return self._store.search(prefix, status=status, before=before, limit=limit)


def _parse(record: Record) -> Order:
    return parse_entry(Order, record.body, version=record.version)


def _name_change(before: Order, after: Order) -> str:
    """What a save is for, T0, T1, T2 or another."""
    if after.intent and not before.intent:
        return "saving the intent"
    if len(after.invoices) > len(before.invoices):
        return "saving the invoice id"
    if after.status is OrderStatus.AWAITING_PAYMENT and before.status is OrderStatus.PREPARING:
        return "saving the address"
    if len(after.events) > len(before.events):
        return "saving the news"
    if after.claim and after.claim != before.claim:
        return "claiming"
    if sum(item.attempts for item in after.events) > sum(item.attempts for item in before.events):
        return "leasing"
    if after.events != before.events:
        return "concluding"
    return "saving nothing new"


class KnifeWire(httpx.BaseTransport):
    """A wire with a point before and after every request: after it, the gateway has acted and the answer is lost."""

    def __init__(self, inner: httpx.BaseTransport, knife: Knife) -> None:
        self._inner = inner
        self._knife = knife

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._knife.around(_name_request(request.method, request.url.path)):
            return self._inner.handle_request(request)


def _name_request(method: str, path: str) -> str:
    if path.endswith("/address"):
        return "asking for the address"
    if path.endswith("/transactions/list"):
        return "listing transactions"
    if path.endswith("/payment_methods"):
        return "listing methods"
    return "creating" if method == "POST" else "reading the invoice"
