"""A shop's service beside the gateway as it really is, for harnesses that compare what the one believes with the other.

Store and gateway are handed in, broken ones too. ``find_wrongs`` is the judgement of them all.
"""

import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.test import Client
from worlds import API_KEY, MERCHANT_ID, SECRET, Timepiece

from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.orders.dispatch import Dispatcher, Handler
from flask_iterapay.orders.gateway import Gateway
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventName, Order, OrderEvent, OrderStatus, Policy
from flask_iterapay.orders.service import OrderService
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.sandbox.app import create_sandbox_app
from flask_iterapay.sandbox.engine import SandboxInvoice

METHOD_ID = "1"
_DAY_SECONDS = 86_400
_numbers = itertools.count(1)


class Bank:
    """The offline gateway and what is true there, whatever any answer said. Its quotes hold for a day."""

    def __init__(self, folder: Path, clock: Timepiece) -> None:
        self.app = create_sandbox_app(
            path=folder / "sandbox.sqlite3",
            merchant_id=MERCHANT_ID,
            api_key=API_KEY,
            clock=clock,
            deliver=lambda url, headers, body: 200,
            webhook_secret=SECRET,
        )
        self._store = self.app.extensions["iterapay_sandbox"].service.store
        self._panel = Client(self.app)
        self._post("/panel/settings", quote_seconds=str(_DAY_SECONDS))

    def list_invoices(self, order_id: str) -> list[SandboxInvoice]:
        """Every invoice that was made for an order, oldest first."""
        invoices: list[SandboxInvoice] = self._store.list_invoices()
        return [invoice for invoice in reversed(invoices) if invoice.description.startswith(f"{order_id} [")]

    def list_payable(self, order_id: str) -> list[SandboxInvoice]:
        """Those whose address was given out, so that somebody could pay them."""
        return [invoice for invoice in self.list_invoices(order_id) if invoice.addresses]

    def pay(self, invoice_id: str) -> None:
        """Have the exact amount arrive, settled."""
        self._post(f"/panel/invoices/{invoice_id}", action="pay_exact")

    def _post(self, path: str, **fields: str) -> None:
        assert self._panel.post(path, data=fields).status_code == 303


@dataclass
class Trade:
    """One shop that trades with one bank; ``handled`` is what its handlers were told."""

    service: OrderService
    bank: Bank
    clock: Timepiece
    handled: list[OrderEvent] = field(default_factory=list)

    def finish(self, *, rounds: int = 6) -> None:
        """Let time go on and reconcile, until whatever can be finished is."""
        for _ in range(rounds):
            self.clock.advance(700)
            self.service.reconcile(limit=10_000)

    def buy(self, order_id: str) -> Order:
        """Place an order and choose how to pay it."""
        self.service.place(order_id, amount="25.00")
        return self.service.choose_method(order_id, METHOD_ID)


def make_trade(
    *, store: OrderStore, gateway: Gateway, bank: Bank, clock: Timepiece, handled: list[OrderEvent] | None = None
) -> Trade:
    """Build a shop's service on a store and a gateway. Several may share all of it: no token comes twice."""
    told = [] if handled is None else handled
    ledger = Ledger(store=store, model=Order)
    dispatcher = Dispatcher(
        ledger=ledger,
        clock=clock,
        handlers_for=lambda name: [Handler(name="recorder", call=told.append)],
        run=lambda handler, event: handler.call(event),
    )
    service = OrderService(
        ledger=ledger,
        gateway=gateway,
        dispatcher=dispatcher,
        clock=clock,
        policy=Policy(),
        make_token=lambda: f"token-{next(_numbers)}",
        shuffle=lambda orders: None,
    )
    return Trade(service=service, bank=bank, clock=clock, handled=told)


def make_client(base_url: str, **settings: Any) -> GatewayClient:
    """Make a client of the bank at a URL."""
    return GatewayClient(base_url=base_url, merchant_id=MERCHANT_ID, api_key=API_KEY, **settings)


class Timed:
    """Whatever it is given, with a stopwatch: ``longest_seconds`` is how long its slowest call took."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.longest_seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._time(found) if callable(found) else found

    def _time(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            began_at = time.monotonic()
            try:
                return call(*arguments, **named)
            finally:
                with self._lock:
                    self.longest_seconds = max(self.longest_seconds, time.monotonic() - began_at)

        return timed


def find_wrongs(trade: Trade, order_id: str, *, is_paid: bool) -> list[str]:
    """Tell what is wrong with an order that was chosen for once and has come to rest. Empty if it is as promised."""
    order = trade.service.get(order_id)
    return [*find_double_invoices(trade.bank, order_id), *_find_wrong_events(trade, order, is_paid=is_paid)]


def find_double_invoices(bank: Bank, order_id: str) -> list[str]:
    """Tell of invoices that two people could pay for one choice, and of creates that were sent twice."""
    wrongs = []
    if (payable := len(bank.list_payable(order_id))) > 1:
        wrongs.append(f"{order_id}: {payable} payable invoices")
    refs = Counter(re.findall(r"\[(.*)\]$", invoice.description)[0] for invoice in bank.list_invoices(order_id))
    wrongs += [f"{order_id}: create {ref} was sent {count} times" for ref, count in refs.items() if count > 1]
    return wrongs


def _find_wrong_events(trade: Trade, order: Order, *, is_paid: bool) -> list[str]:
    wrongs = []
    if (order.status is OrderStatus.PAID) is not is_paid:
        wrongs.append(f"{order.order_id}: {order.status}, but paid is {is_paid}")
    if (count := sum(event.name is EventName.PAID for event in order.events)) != is_paid:
        wrongs.append(f"{order.order_id}: {count} order.paid events, but paid is {is_paid}")
    told = {event.key for event in trade.handled if (event.order_id, event.name) == (order.order_id, EventName.PAID)}
    if told != ({f"order.paid:{order.order_id}"} if is_paid else set()):
        wrongs.append(f"{order.order_id}: handlers were told {sorted(told)}, but paid is {is_paid}")
    return wrongs
