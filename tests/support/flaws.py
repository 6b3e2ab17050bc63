"""Mistakes that a shop's parts could make, each as an object to hand in, to show that interleavings find them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from broken_gateways import HastyGateway
from msgspec.structs import replace
from records import read_entry, with_entry

from flask_iterapay.gateway.models import Invoice, InvoiceState
from flask_iterapay.orders.entries import Payable
from flask_iterapay.orders.gateway import Gateway
from flask_iterapay.orders.models import Order
from flask_iterapay.orders.service import OrderService
from flask_iterapay.orders.stores.base import OrderStore, Record

__all__ = ["FLAWS", "SOUND", "BlindStore", "EternalClaimsStore", "Flaw", "LateEventsStore"]


class _Wrapped:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class BlindStore(_Wrapped):
    """Reads, then writes: whoever saves last wins, whatever came in between."""

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Save over whatever is there."""
        stored = self._inner.get(record.key)
        return stored is not None and self._inner.save(record, expected_version=stored.version)


class LateEventsStore(_Wrapped):
    """Saves the change first, and what it causes afterwards."""

    def add(self, record: Record) -> None:
        """Add in two steps."""
        bare = _without_news(record, 0)
        self._inner.add(bare)
        if bare != record:
            self._inner.save(replace(record, version=record.version + 1), expected_version=record.version)

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Save in two steps."""
        stored = self._inner.get(record.key)
        bare = _without_news(record, len(read_entry(stored).events) if stored else 0)
        if not self._inner.save(bare, expected_version=expected_version):
            return False
        if bare != record:
            self._inner.save(replace(record, version=record.version + 1), expected_version=record.version)
        return True


def _without_news(record: Record, count: int) -> Record:
    """The record with its first so many events, though due when it was."""
    entry = read_entry(record)
    bare = replace(entry, events=entry.events[:count])
    return record if bare == entry else replace(with_entry(record, bare), due_at=record.due_at)


class EternalClaimsStore(_Wrapped):
    """Keeps a claim until whoever made it gives it back."""

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Save, with a claim that never ends."""
        entry = read_entry(record)
        if isinstance(entry, Payable) and entry.claim:
            claim = replace(entry.claim, expires_at=entry.created_at + timedelta(days=9999))
            record = with_entry(record, replace(entry, claim=claim))
        return self._inner.save(record, expected_version=expected_version)


class _MergingGateway(_Wrapped):
    """Merges each answer with the older ones: once an invoice was paid, or AML passed, it stays so."""

    def __init__(self, inner: Gateway) -> None:
        super().__init__(inner)
        self._older: dict[str, Invoice] = {}

    def get_invoice(self, invoice_id: str) -> Invoice:
        """Read, and keep what was better before."""
        invoice: Invoice = self._inner.get_invoice(invoice_id)
        older = self._older.get(invoice_id, invoice)
        if older.state is InvoiceState.PAID:
            invoice = replace(invoice, state=older.state, spelling=older.spelling)
        invoice = replace(invoice, has_passed_aml=older.has_passed_aml or invoice.has_passed_aml)
        self._older[invoice_id] = invoice
        return invoice


class _CachingTransport(httpx.BaseTransport):
    """Answers every GET as it was answered first."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self._bodies: dict[str, bytes] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer from the cache, where there is an answer."""
        path = request.url.path
        if request.method != "GET" or path.endswith("/address"):
            return self._inner.handle_request(request)
        if path not in self._bodies:
            answer = self._inner.handle_request(request)
            if answer.status_code != 200:
                return answer
            self._bodies[path] = answer.read()
        return httpx.Response(200, headers={"Content-Type": "application/json"}, content=self._bodies[path])


class _EagerService(_Wrapped):
    """Reads the gateway at every poll."""

    def poll(self, order_id: str) -> Order:
        """Poll without a look at when the order is due."""
        order: Order = self._inner.sync(order_id)
        return order


def _same(part: Any) -> Any:
    return part


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """Which parts of a shop are replaced, and the promise that this breaks."""

    name: str
    promise: str = ""
    store: Callable[[OrderStore], OrderStore] = _same
    gateway: Callable[[Gateway], Gateway] = _same
    transport: Callable[[httpx.BaseTransport], httpx.BaseTransport] = _same
    service: Callable[[OrderService], OrderService] = _same


SOUND = Flaw(name="sound")
FLAWS = (
    Flaw(name="read then write", promise="an update was lost", store=BlindStore),
    Flaw(name="effect after commit", promise="a change without its event", store=LateEventsStore),
    Flaw(name="claims that never end", promise="due in time", store=EternalClaimsStore),
    Flaw(name="merged snapshots", promise="paid without the gateway's word", gateway=_MergingGateway),
    Flaw(name="address before the id is saved", promise="does not know", gateway=HastyGateway),
    Flaw(name="stale cache", promise="the gateway", transport=_CachingTransport),
    Flaw(name="polls that ignore due_at", promise="a poll that was not due", service=_EagerService),
)
