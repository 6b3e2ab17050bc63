"""Everything that can happen to orders, in any order, with trouble at any call; the sandbox is the truth.

``Interleavings`` is the state machine that Hypothesis drives. After each step the ``Logbook`` holds the orders against
what was seen before and against the truth; at the end the trouble stops, time goes on, and every order must have come
to where the truth wants it.
"""

import itertools
from collections.abc import Callable
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from logbooks import LONGEST_PAUSE, BrokenPromiseError, Logbook, demand
from troubled_shops import KINDS, Trouble, TroubledShop
from truths import Truth
from worlds import make_service

from flask_iterapay.errors import IteraPayError
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import Order, OrderEvent, OrderStatus

__all__ = ["BrokenPromiseError", "Interleavings"]

ORDER_IDS = ("first", "second", "third")
DEEDS = (
    "choose 1",
    "choose 2",
    "choose 3",
    "edit 25.00",
    "edit 30.00",
    "hint",
    "hint an older one",
    "poll",
    "check",
    "renew",
    "reconcile",
    "dispatch",
    "cancel",
    "accept",
    "reject",
)
ACTIONS = (
    "pay_exact",
    "pay_pending",
    "pay_short",
    "pay_over",
    "pay_late",
    "pay_first_half",
    "pay_second_half",
    "pay_dust",
    "aml_fail",
    "aml_unknown",
    "confirm",
    "settle",
    "flag",
    "fail",
    "expire",
    "unknown_state",
    "release",
)
ORDERS = st.sampled_from(ORDER_IDS)
PAUSES = st.sampled_from((0, 0, 0, 0, 1, 16, 61, 91, 901, 7201))
RARELY = st.sampled_from((False, False, False, True))
TROUBLES = st.builds(
    Trouble,
    kind=st.sampled_from(KINDS),
    place=st.sampled_from(("store", "wire")),
    calls=st.integers(0, 6),
    is_after=st.booleans(),
    meanwhile=st.sampled_from(DEEDS),
)
_ROUNDS = 5


class Interleavings(TroubledShop, RuleBasedStateMachine):
    """A shop with several orders, and everybody who has to do with them."""

    def prepare(self) -> None:
        """Set up the judge, who reads past the shop."""
        self._ledger = Ledger(store=self.store, model=Order)
        self._logbook = Logbook(truth=Truth(self.folder / "sandbox.sqlite3"), policy=self.policy)
        self._tokens = itertools.count(1)

    def open(self) -> None:
        """Start the shop's process, on the store as it stands."""
        self._service = self.flaw.service(
            make_service(
                ledger=Ledger(store=self.make_shop_store(), model=Order),
                gateway=self.gateway_client,
                clock=self.clock,
                handle=self._handle,
                policy=self.policy,
                tokens=self._tokens,
            )
        )

    def _handle(self, event: OrderEvent) -> None:
        saved = self._ledger.get(event.order_id).events
        self.demand(any(other.key == event.key for other in saved), "an event was heard before it was saved")
        self.handle(event)

    @initialize()
    def place(self) -> None:
        """All orders are there to begin with, and all but the last have an invoice."""
        for order_id in ORDER_IDS:
            self._service.place(order_id, amount="25.00")
        for order_id in ORDER_IDS[:-1]:
            self._service.choose_method(order_id, "1")
        self.look()

    @rule(order_id=ORDERS, deed=st.sampled_from(DEEDS), trouble=st.none() | TROUBLES, pause=PAUSES)
    def shop(self, order_id: str, deed: str, trouble: Trouble | None, pause: int) -> None:
        """The shop, its customer, the gateway's webhook or a person does something, and it may go wrong."""
        self.clock.advance(pause)
        self.attempt(deed, order_id, trouble)
        if deed == "poll" and trouble is None:
            self._poll_again(order_id)

    @rule(order_id=ORDERS, action=st.sampled_from(ACTIONS), is_old=RARELY, trouble=st.none() | TROUBLES, pause=PAUSES)
    def gateway(self, order_id: str, action: str, is_old: bool, trouble: Trouble | None, pause: int) -> None:
        """Somebody pays, or the gateway changes its mind, and says so. What has no address cannot be paid."""
        self.clock.advance(pause)
        invoices = [item for item in self._logbook.truth.list_invoices(order_id) if item.addresses]
        if invoices:
            invoice_id = invoices[-1 if is_old else 0].invoice_id
            self._logbook.touched.add(invoice_id)
            self.world.act_on(action, invoice_id)
            self.attempt("hint an older one" if is_old else "hint", order_id, trouble)

    @rule(order_id=ORDERS, action=st.sampled_from(ACTIONS))
    def gateway_in_silence(self, order_id: str, action: str) -> None:
        """The same, and the webhook is lost."""
        for invoice in self._logbook.truth.list_invoices(order_id)[:1]:
            if invoice.addresses:
                self._logbook.touched.add(invoice.invoice_id)
                self.world.act_on(action, invoice.invoice_id)
                self.look()

    def conclude(self) -> None:
        """Time goes on, and the orders must find their way by themselves."""
        if not self._logbook.orders:
            return
        for _ in range(_ROUNDS):
            self.clock.advance(LONGEST_PAUSE.total_seconds())
            self._service.reconcile()
            self.look()
        for order in self._logbook.orders.values():
            self._logbook.conclude(order, self.heard)
        keys = {event.key for order in self._logbook.orders.values() for event in order.events}
        demand(set(self.heard) <= keys, "something was heard that never happened")

    def do(self, deed: str, subject: str) -> None:
        """Do what somebody does to an order."""
        order_id = subject
        self._logbook.pressed.add((order_id, deed, self.clock()))
        verb, _, choice = deed.partition(" ")
        service = self._service
        deeds: dict[str, Callable[[], object]] = {
            "choose": lambda: service.choose_method(order_id, choice),
            "edit": lambda: service.place(order_id, amount=choice),
            "hint": lambda: self._hint(order_id, is_old=bool(choice)),
            "poll": lambda: service.poll(order_id),
            "check": lambda: service.check(order_id),
            "renew": lambda: service.renew(order_id),
            "reconcile": service.reconcile,
            "dispatch": lambda: service.dispatch(order_id),
            "cancel": lambda: service.cancel(order_id),
            "accept": lambda: service.resolve_hold(order_id, is_accepted=True, actor="ann"),
            "reject": lambda: service.resolve_hold(order_id, is_accepted=False, actor="ann"),
        }
        deeds[verb]()

    def _hint(self, order_id: str, *, is_old: bool) -> None:
        invoices = self._logbook.truth.list_invoices(order_id)
        if invoices:
            self._service.receive_hint(invoices[-1 if is_old else 0].invoice_id)

    def _poll_again(self, order_id: str) -> None:
        order, before = self._ledger.get(order_id), len(self.world.wire.requests)
        with suppress(IteraPayError):
            self._service.poll(order_id)
        is_quiet = len(self.world.wire.requests) == before or order.status is OrderStatus.PREPARING
        self.demand(is_quiet, "a poll that was not due read the gateway")
        self.look()

    def compare(self) -> None:
        """Hold every order against what was seen of it last."""
        self._logbook.truth.refresh()
        for order_id in ORDER_IDS:
            self._logbook.look(self._ledger.get(order_id), self.clock())
