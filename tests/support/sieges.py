"""Apps under hostile requests: what answers, orders and links must look like, whatever was asked and whatever broke."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from flask import Flask, got_request_exception
from hostile_requests import Aim, Request, Victim, describe, make_request
from msgspec import structs
from werkzeug.exceptions import HTTPException
from werkzeug.test import Client, run_wsgi_app

from flask_iterapay import GatewayError, IteraPay, Link, Order, OrderStatus, StoreError, StoreUnavailableError
from flask_iterapay.links.models import ContributionStatus, Visit
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.sandbox.deliveries import DeliveryState
from flask_iterapay.sandbox.settings import (
    ApiFault,
    Operation,
    ReusableAddress,
    SandboxSettings,
    TransactionDetail,
    WebhookFault,
)

ROUND_REQUESTS = 100
_CALM_REQUESTS = 10
_FAULTS = [ApiFault.NONE] * 8 + [fault for fault in ApiFault if fault is not ApiFault.OVERSIZED]
_SETTINGS = SandboxSettings(
    fault_calls=0,
    webhook_faults=frozenset({WebhookFault.DROP}),
    transaction_detail=TransactionDetail.TOLD,
    reusable_address=ReusableAddress.NEW,
)
_FIXED: dict[type, tuple[str, ...]] = {
    Order: ("order_id", "amount", "currency", "description", "return_url", "metadata", "created_at"),
    Link: ("link_id", "description", "minimum", "method_ids", "slug", "has_public_list", "status", "created_at"),
    Visit: ("reference", "link_id", "method", "created_at"),
}


class UnreliableStore:
    """Any store, until it is broken: then whatever is asked of it fails."""

    def __init__(self) -> None:
        self.is_broken = False
        self.is_durable = False
        self._store = MemoryStore()

    def __getattr__(self, name: str) -> Any:
        if self.is_broken:
            raise StoreUnavailableError("the database is down")
        return getattr(self._store, name)


@dataclass
class Siege:
    """One app, the orders and links that are attacked, and what was seen.

    ``advance`` lets time pass, where the app has a clock that can be moved; ``store`` is the app's, where it can be
    broken. ``findings`` holds whatever must not be, ``seen`` counts the requests of each endpoint and status.
    """

    app: Flask
    iterapay: IteraPay
    store: UnreliableStore | None = None
    advance: Callable[[int], None] = lambda seconds: None
    cookies: tuple[str, ...] = ()
    findings: list[str] = field(default_factory=list)
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def run(self, count: int, *, seed: int) -> list[str]:
        """Send requests until there were enough, or one was answered wrongly; return the findings."""
        random = Random(seed)
        with self._listening():
            for number in range(count):
                if number % ROUND_REQUESTS == 0:
                    aim = self._make_aim(number)
                if number % _CALM_REQUESTS == 0:
                    is_broken = self._change_weather(random)
                self._send(make_request(aim, random), aim, is_broken=is_broken)
                if self.findings:
                    break
        return self.findings

    def _send(self, request: Request, aim: Aim, *, is_broken: bool) -> None:
        before = self._read(aim)
        settings = self._sandbox.get_settings()
        self.errors.clear()
        try:
            body, status, _ = run_wsgi_app(self.app, request.make_environ(), buffered=True)
            text, code = b"".join(body), int(status.split()[0])
        except Exception as error:
            text, code = b"", 500
            self.errors.append(repr(error))
        self.seen[request.endpoint, code] += 1
        if "/sandbox/" in request.path:
            self._calm_sandbox(settings)
        for finding in self._judge(request, code, text, before, self._read(aim), is_broken=is_broken):
            self.findings.append(f"{finding}: {describe(request)}")

    def _judge(
        self,
        request: Request,
        code: int,
        text: bytes,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        is_broken: bool,
    ) -> Iterator[str]:
        yield from (f"foreign error {error}" for error in self.errors)
        # A gateway that is broken on purpose answers as such to whoever calls it.
        is_gateway_itself = "/sandbox/" in request.path and "/panel" not in request.path and is_broken
        if code >= 500 and not is_gateway_itself and not (code == 503 and is_broken):
            yield f"answered {code}"
        if b"Traceback" in text:
            yield "shows a traceback"
        for name, entry in before.items():
            yield from (f"{problem} ({name})" for problem in _compare(entry, after[name], request))

    def _make_aim(self, number: int) -> Aim:
        self._change_weather(None)
        orders = tuple(self._make_order(f"{number}-{kind}", kind) for kind in ("new", "waiting", "paid", "cancelled"))
        links = tuple(self._make_link(f"{number}-{kind}", kind) for kind in ("empty", "visited", "closed"))
        rules = tuple(rule for rule in self.app.url_map.iter_rules())
        secret = self.app.extensions["iterapay"].settings.webhook_secrets[0]
        return Aim(rules=rules, orders=orders, links=links, secret=secret, cookies=self.cookies)

    def _make_link(self, link_id: str, kind: str) -> Victim:
        """Make a link; to all but the empty one came somebody who waits, one who paid, and one without an address."""
        state = self.app.extensions["iterapay"]
        references = () if kind == "empty" else tuple(f"{link_id}-{name}" for name in ("waiting", "paid", "lacking"))
        with self.app.app_context():
            slug = f"tea-{link_id}" if kind == "visited" else None
            link = self.iterapay.create_link(link_id, description="Tea", minimum="20.00", slug=slug)
            address = self.iterapay.link_url(link).rpartition("/")[2]
            for reference in references:
                self._come(link_id, reference)
            if kind == "closed":
                self.iterapay.close_link(link_id)
        visits = {reference: state.visit_tokens.sign(reference) for reference in references}
        invoice_ids = tuple(state.links.get(link_id).invoice_ids)
        return Victim(entry_id=link_id, token=address, invoice_ids=invoice_ids, visits=visits)

    def _come(self, link_id: str, reference: str) -> None:
        state = self.app.extensions["iterapay"]
        if reference.endswith("lacking"):
            fault = {"api_fault": ApiFault.SERVER_ERROR, "fault_operation": Operation.ADDRESS}
            self._sandbox.save_settings(replace(_SETTINGS, **fault))
        with suppress(GatewayError):
            visit = state.links.receive_visitor(link_id, "1", reference=reference, visitor=reference)
            if reference.endswith("paid"):
                data = {"action": "pay_exact", "address": visit.address}
                Client(state.sandbox).post(f"/panel/invoices/{visit.invoice_id}", data=data).close()
                self.iterapay.sync_link(link_id)
                assert state.links.get_visit(reference).payments
        self._sandbox.save_settings(_SETTINGS)

    def _make_order(self, order_id: str, kind: str) -> Victim:
        state = self.app.extensions["iterapay"]
        with self.app.app_context():
            order = self.iterapay.place_order(order_id, amount="25.00", description="Tea", return_url="/thanks")
            if kind in ("waiting", "paid"):
                order = state.service.choose_method(order_id, "1")
            if kind == "paid":
                page = f"/panel/invoices/{order.current_invoice_id}"
                Client(state.sandbox).post(page, data={"action": "pay_exact"}).close()
                order = self.iterapay.sync(order_id)
                assert order.status is OrderStatus.PAID
            if kind == "cancelled":
                order = self.iterapay.cancel_order(order_id)
        invoice_ids = tuple(record.invoice_id for record in order.invoices)
        return Victim(entry_id=order_id, token=state.tokens.sign(order_id), invoice_ids=invoice_ids)

    def _change_weather(self, random: Random | None) -> bool:
        """Break the gateway, the store or neither, for the next requests; without ``random`` all is well."""
        fault = random.choice(_FAULTS) if random else ApiFault.NONE
        self._sandbox.save_settings(replace(_SETTINGS, api_fault=fault))
        if self.store is not None:
            self.store.is_broken = random is not None and random.random() < 0.2
        if random is not None:
            self.advance(random.choice([0, 1, 20, 61, 1000]))
        return fault is not ApiFault.NONE or (self.store is not None and self.store.is_broken)

    def _calm_sandbox(self, settings: SandboxSettings) -> None:
        """Take back what a request set, and what it queued, so that no later request is blamed for it."""
        self._sandbox.save_settings(settings)
        for delivery in self._sandbox.list_deliveries(limit=20):
            if delivery.state is DeliveryState.QUEUED:
                self._sandbox.save_delivery(replace(delivery, state=DeliveryState.DROPPED))

    def _read(self, aim: Aim) -> dict[str, Any]:
        """Orders, links, visits and what was received as they stand, whether the store is broken or not."""
        was_broken = self.store is not None and self.store.is_broken
        if self.store is not None:
            self.store.is_broken = False
        state = self.app.extensions["iterapay"]
        entries: dict[str, Any] = {victim.entry_id: state.service.get(victim.entry_id) for victim in aim.orders}
        for link in aim.links:
            entries[link.entry_id] = state.links.get(link.entry_id)
            entries |= {reference: state.links.get_visit(reference) for reference in link.visits}
            newest = state.links.list_contributions(link.entry_id, limit=50)
            received = {item.entry_id for item in newest if item.status is ContributionStatus.RECEIVED}
            entries[f"money of {link.entry_id}"] = received
        if self.store is not None:
            self.store.is_broken = was_broken
        return entries

    @property
    def _sandbox(self) -> Any:
        return self.app.extensions["iterapay"].sandbox.extensions["iterapay_sandbox"].service.store

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Note every exception that an app of the process did not expect, the sandbox's included."""

        def note(sender: object, exception: Exception) -> None:
            if not isinstance(exception, HTTPException | StoreError):
                self.errors.append(repr(exception))

        with got_request_exception.connected_to(note):
            yield


def _compare(before: Any, after: Any, request: Request) -> Iterator[str]:
    """Say what a request did to an entry that no request may do, or not this one."""
    names = _FIXED.get(type(before), ())
    yield from (f"changed {name}" for name in names if getattr(before, name) != getattr(after, name))
    match before:
        case Order():
            yield from _compare_orders(before, after, request)
        case Link():
            yield from _compare_links(before, after, request)
        case Visit():
            yield from _compare_visits(before, after, request)
        case set() if not before <= after:
            yield "took a payment back"


def _compare_orders(before: Order, after: Order, request: Request) -> Iterator[str]:
    if before.status is OrderStatus.PAID and after.status is not OrderStatus.PAID:
        yield "took a payment back"
    if before != after and before.order_id not in request.entitled:
        yield "changed an order of somebody else"


def _compare_links(before: Link, after: Link, request: Request) -> Iterator[str]:
    # The page of a visit goes on with what a form began.
    is_begun = request.method == "POST" or "/visits/" in request.path
    if len(after.invoices) != len(before.invoices) and not is_begun:
        yield "made an invoice that nobody pressed a button for"
    if before != after and before.link_id not in request.entitled:
        yield "changed a link of somebody else"


def _compare_visits(before: Visit, after: Visit, request: Request) -> Iterator[str]:
    if before.address not in (None, after.address):
        yield "changed an address that was given out"
    # What comes to its address is news that any reading of its link may bring.
    own = structs.replace(after, payments=before.payments, changed_at=before.changed_at, version=before.version)
    own = structs.replace(own, is_address_shared=before.is_address_shared)
    if before != own and before.reference not in request.entitled:
        yield "changed a visit of somebody else"
