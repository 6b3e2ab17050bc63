"""A shop in a process that dies by SIGKILL at a chosen point, and that any later process can go on with.

Everything that must outlive a process is in files or in the database: the orders, the sandbox, the clock, and what the
handler was told. A ``Life`` says where they are and where it ends, so that it can be lived by a process of its own.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from flask import Flask
from flawed_stores import ForgetsEvents
from knives import Knife, KnifeStore, KnifeWire
from sqlalchemy import Engine, event
from worlds import API_KEY, MERCHANT_ID

from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.orders.dispatch import Dispatcher, Handler
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventState, Order, OrderEvent, OrderStatus, Policy
from flask_iterapay.orders.service import OrderService
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.app import create_sandbox_app
from flask_iterapay.sandbox.engine import Action, ActionRefusedError
from flask_iterapay.sandbox.service import SandboxService
from flask_iterapay.sandbox.transport import SandboxTransport

_ROUNDS = 40
_ROUND_SECONDS = 61
_START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an order is paid: the customer's and the gateway's actions, and the statuses and events that must follow."""

    actions: tuple[Action, ...]
    statuses: tuple[OrderStatus, ...]
    event_keys: tuple[str, ...]


COURSES = {
    "exact": Course(actions=(Action.PAY_EXACT,), statuses=(OrderStatus.PAID,), event_keys=("order.paid:{id}",)),
    "pending": Course(
        actions=(Action.PAY_PENDING, Action.SETTLE),
        statuses=(OrderStatus.CONFIRMING, OrderStatus.PAID),
        event_keys=("order.confirming:{id}:1", "order.paid:{id}"),
    ),
    "two parts": Course(
        actions=(Action.PAY_SHORT, Action.PAY_SECOND_HALF),
        statuses=(OrderStatus.ON_HOLD, OrderStatus.PAID),
        event_keys=("order.on_hold:{id}:1", "order.released:{id}:2", "order.paid:{id}"),
    ),
}
NEWS = ("hint", "poll", "reconcile")


class Flaw(StrEnum):
    """A bug that can be put in."""

    FORGETS_EVENTS = "forgets events"
    ASKS_AT_ONCE = "asks for the address at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process's part in an order: where everything is, how the order is paid, and when the process dies.

    It dies at the first ``point`` of that name, or at the point of that ``number``, counted from 1.
    """

    database_url: str
    folder: Path
    order_id: str = "1042"
    course: str = "exact"
    news: str = "hint"
    point: str | None = None
    number: int | None = None
    flaw: Flaw | None = None

    def live(self) -> None:
        """Go on with the order until it is finished, or until death. For a process of its own."""
        knife = Knife(point=self.point, number=self.number)
        # On every engine, since this process has but one.
        event.listen(Engine, "commit", lambda connection: knife.commit())
        KilledShop(self, knife).carry_on()


class AsksAtOnce(GatewayClient):
    """A client with a bug put in: it has the address given out before anybody has saved the invoice's id."""

    def create_invoice(self, **arguments: object) -> str:
        invoice_id = super().create_invoice(**arguments)
        self.get_deposit_address(invoice_id, arguments["method_id"])
        return invoice_id


@dataclass(frozen=True, slots=True)
class ClockFile:
    """A clock that stands still until it is told to go on, for one process after the other."""

    path: Path

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.path.read_text()) if self.path.exists() else _START

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.path.write_text((self() + timedelta(seconds=seconds)).isoformat())


@dataclass(slots=True)
class KilledShop:
    """The shop, its sandbox, its customer and its handler, as one process sees them."""

    life: Life
    knife: Knife = field(default_factory=Knife)
    service: OrderService = field(init=False)
    clock: ClockFile = field(init=False)
    sandbox: Flask = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ClockFile(self.life.folder / "clock")
        self.sandbox = _make_sandbox(self.life.folder, self.clock)
        ledger = Ledger(store=self._make_store(), model=Order)
        dispatcher = Dispatcher(
            ledger=ledger,
            clock=self.clock,
            handlers_for=lambda name: [Handler(name="recorder", call=self.hear)],
            run=lambda handler, event: handler.call(event),
        )
        self.service = OrderService(
            ledger=ledger,
            gateway=self._make_client(),
            dispatcher=dispatcher,
            clock=self.clock,
            policy=Policy(),
            make_token=lambda: secrets.token_hex(8),
        )

    def _make_store(self) -> OrderStore:
        store = KnifeStore(SQLAlchemyStore(self.life.database_url), self.knife)
        return ForgetsEvents(store, tell=self.hear) if self.life.flaw is Flaw.FORGETS_EVENTS else store

    def _make_client(self) -> GatewayClient:
        client = AsksAtOnce if self.life.flaw is Flaw.ASKS_AT_ONCE else GatewayClient
        wire = KnifeWire(SandboxTransport(self.sandbox), self.knife)
        return client(base_url="https://sandbox.invalid", merchant_id=MERCHANT_ID, api_key=API_KEY, transport=wire)

    def hear(self, told: OrderEvent) -> None:
        """The shop's handler: what it does is one line at the end of a file, written in one step."""
        with self.knife.around("the handler's own commit"), (self.life.folder / "heard").open("ab", 0) as file:
            file.write(f"{told.key}\n".encode())

    def heard(self) -> list[str]:
        """The keys that handlers were told, in order, by all processes so far."""
        path = self.life.folder / "heard"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def gateway(self) -> SandboxService:
        """The gateway from behind: its books, and what happens on its chain."""
        service: SandboxService = self.sandbox.extensions["iterapay_sandbox"].service
        return service

    def carry_on(self) -> None:
        """Do what customer, gateway and cron do until the order is finished, from wherever it was left."""
        for _ in range(_ROUNDS):
            order = self.service.place(self.life.order_id, amount="25.00")
            if _is_finished(order):
                return
            if order.status is OrderStatus.NEW:
                order = self.service.choose_method(order.order_id, "1")
            self._act(order)
            self._bring_news(order)
            self.clock.advance(_ROUND_SECONDS)
        raise AssertionError(f"not finished after {_ROUNDS} rounds: {order}")

    def _act(self, order: Order) -> None:
        """Take the next step of the course, unless it was taken before a death."""
        course = COURSES[self.life.course]
        stages = dict(zip((OrderStatus.AWAITING_PAYMENT, *course.statuses), course.actions, strict=False))
        action = stages.get(order.status)
        has_begun = any(invoice.transactions for invoice in self.gateway.store.list_invoices())
        if action is None or (has_begun and action is course.actions[0]):
            return
        with suppress(ActionRefusedError):
            self.gateway.act(str(order.current_invoice_id), action)

    def _bring_news(self, order: Order) -> None:
        """Let the news come in one way; reconcile runs in any case, as cron would."""
        if self.life.news == "hint" and order.current_invoice_id:
            self.service.receive_hint(order.current_invoice_id)
            self.service.dispatch(order.order_id)
        if self.life.news == "poll":
            self.service.poll(order.order_id)
            self.service.dispatch(order.order_id)
        self.service.reconcile()


def _make_sandbox(folder: Path, clock: ClockFile) -> Flask:
    return create_sandbox_app(path=folder / "sandbox.sqlite3", merchant_id=MERCHANT_ID, api_key=API_KEY, clock=clock)


def _is_finished(order: Order) -> bool:
    return order.status is OrderStatus.PAID and all(item.state is EventState.DONE for item in order.events)


def find_wrongs(shop: KilledShop, *, deaths: int) -> list[str]:
    """Compare a finished order with the gateway's books and with what the handler was told."""
    life, course = shop.life, COURSES[shop.life.course]
    order, invoices, heard = shop.service.get(life.order_id), shop.gateway.store.list_invoices(), shop.heard()
    statuses = [entry.status for entry in order.history]
    course_begins = len(statuses) - len(course.statuses) - 1
    keys = [key.format(id=life.order_id) for key in course.event_keys]
    payable = [invoice.invoice_id for invoice in invoices if invoice.addresses]
    rules = {
        "paid": order.status is OrderStatus.PAID,
        "no extra transition": statuses[course_begins:] == [OrderStatus.AWAITING_PAYMENT, *course.statuses]
        and set(statuses[:course_begins]) <= {OrderStatus.NEW, OrderStatus.PREPARING},
        "no anomaly": not order.anomalies,
        "each event saved once": [item.key for item in order.events] == keys,
        "each event heard": sorted(set(heard)) == sorted(keys),
        "repeats for deaths alone": len(heard) <= len(keys) + deaths,
        "one payable invoice": payable == [order.paid_invoice_id],
        "invoices for deaths alone": len(invoices) <= 1 + deaths,
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]
