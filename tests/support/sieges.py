"""Apps under hostile requests: what their answers and orders must look like, whatever was asked and whatever broke."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from flask import Flask, got_request_exception
from hostile_requests import Aim, Request, Victim, describe, make_request
from werkzeug.exceptions import HTTPException
from werkzeug.test import Client, run_wsgi_app

from flask_iterapay import IteraPay, Order, OrderStatus, StoreError, StoreUnavailableError
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.sandbox.deliveries import DeliveryState
from flask_iterapay.sandbox.settings import ApiFault, SandboxSettings, WebhookFault

ROUND_REQUESTS = 100
_CALM_REQUESTS = 10
_FAULTS = [ApiFault.NONE] * 8 + [fault for fault in ApiFault if fault is not ApiFault.OVERSIZED]


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
    """One app, the orders that are attacked, and what was seen.

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
        before: dict[str, Order],
        after: dict[str, Order],
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
        for order_id, order in before.items():
            yield from (f"{problem} ({order_id})" for problem in _compare(order, after[order_id], request))

    def _make_aim(self, number: int) -> Aim:
        self._change_weather(None)
        victims = tuple(self._make_victim(f"{number}-{kind}", kind) for kind in ("new", "waiting", "paid", "cancelled"))
        rules = tuple(rule for rule in self.app.url_map.iter_rules())
        secret = self.app.extensions["iterapay"].settings.webhook_secrets[0]
        return Aim(rules=rules, victims=victims, secret=secret, cookies=self.cookies)

    def _make_victim(self, order_id: str, kind: str) -> Victim:
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
        return Victim(order_id=order_id, token=state.tokens.sign(order_id), invoice_ids=invoice_ids)

    def _change_weather(self, random: Random | None) -> bool:
        """Break the gateway, the store or neither, for the next requests; without ``random`` all is well."""
        fault = random.choice(_FAULTS) if random else ApiFault.NONE
        faults = frozenset({WebhookFault.DROP})
        self._sandbox.save_settings(SandboxSettings(api_fault=fault, fault_calls=0, webhook_faults=faults))
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

    def _read(self, aim: Aim) -> dict[str, Order]:
        """The orders as they stand, whether the store is broken or not."""
        was_broken = self.store is not None and self.store.is_broken
        if self.store is not None:
            self.store.is_broken = False
        orders = {
            victim.order_id: self.app.extensions["iterapay"].service.get(victim.order_id) for victim in aim.victims
        }
        if self.store is not None:
            self.store.is_broken = was_broken
        return orders

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


def _compare(before: Order, after: Order, request: Request) -> Iterator[str]:
    """Say what a request did to an order that no request may do, or not this one."""
    fixed = ("order_id", "amount", "currency", "description", "return_url", "metadata", "created_at")
    yield from (f"changed {name}" for name in fixed if getattr(before, name) != getattr(after, name))
    if before.status is OrderStatus.PAID and after.status is not OrderStatus.PAID:
        yield "took a payment back"
    if before != after and before.order_id not in request.entitled:
        yield "changed an order of somebody else"
