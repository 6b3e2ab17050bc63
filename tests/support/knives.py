"""A knife that kills its own process at a chosen point, and the points: around store calls and gateway calls."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import httpx
from records import read_entry

from flask_iterapay.links.models import Contribution, Link, Visit
from flask_iterapay.orders.entries import Entry, Payable
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
        kind = record.key.partition(":")[0]
        with self._knife.around_transaction("placing" if kind == Order.KIND else f"adding the {kind}"):
            self._store.add(record)

    def save(self, record: Record, *, expected_version: int) -> bool:
        stored = self._store.get(record.key)
        assert stored
        with self._knife.around_transaction(_name_change(read_entry(stored), read_entry(record))):
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


def _name_change(before: Entry, after: Entry) -> str:
    """What a save is for: T0, T1, T2 of an order, or another."""
    if isinstance(before, Payable) and isinstance(after, Payable) and (name := _name_payable_change(before, after)):
        return name
    if isinstance(before, Visit) and isinstance(after, Visit):
        return _name_visit_change(before, after)
    if isinstance(before, Link) and isinstance(after, Link):
        return _name_link_change(before, after)
    if len(after.events) > len(before.events):
        return "saving the news"
    if sum(item.attempts for item in after.events) > sum(item.attempts for item in before.events):
        return "leasing"
    if after.events != before.events:
        return "concluding"
    is_new_state = isinstance(before, Contribution) and isinstance(after, Contribution) and after.state != before.state
    return "saving the state" if is_new_state else "saving nothing new"


def _name_payable_change(before: Payable, after: Payable) -> str | None:
    if after.intent and not before.intent:
        return "saving the intent"
    if len(after.invoices) > len(before.invoices):
        return "saving the invoice id"
    if isinstance(before, Order) and isinstance(after, Order) and _has_got_address(before, after):
        return "saving the address"
    if len(after.events) > len(before.events):
        return "saving the news"
    return "claiming" if after.claim and after.claim != before.claim else None


def _has_got_address(before: Order, after: Order) -> bool:
    return after.status is OrderStatus.AWAITING_PAYMENT and before.status is OrderStatus.PREPARING


def _name_visit_change(before: Visit, after: Visit) -> str:
    if after.address != before.address:
        return "saving the address"
    if after.payments != before.payments:
        return "showing the payment"
    if after.is_address_shared != before.is_address_shared:
        return "sharing the address"
    return "asking" if after.asked_until and not before.asked_until else "ending to ask"


def _name_link_change(before: Link, after: Link) -> str:
    if [record.snapshot for record in after.invoices] != [record.snapshot for record in before.invoices]:
        return "saving what the invoice is"
    if after.visited_at != before.visited_at:
        return "noting the visit"
    return "saving the reading" if before.claim and not after.claim else "saving nothing new"


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
    if "/transactions/" in path:
        return "reading the transaction"
    return "creating" if method == "POST" else "reading the invoice"
