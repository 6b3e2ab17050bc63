"""Everything that can happen to orders, in any order, with trouble at any call; the sandbox is the truth.

``Interleavings`` is the state machine that Hypothesis drives. After each step the ``Logbook`` holds the orders against
what was seen before and against the truth; at the end the trouble stops, time goes on, and every order must have come
to where the truth wants it.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flaws import SOUND, Flaw
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from logbooks import LONGEST_PAUSE, BrokenPromiseError, Logbook, demand
from troubles import Crash, FragileStore, FragileTransport, Fuse
from truths import Truth
from worlds import make_client, make_service, make_world

from flask_iterapay.errors import IteraPayError, StoreUnavailableError
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import Order, OrderEvent, OrderStatus, Policy
from flask_iterapay.orders.stores import MemoryStore, OrderStore

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
_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong during one deed: at the call of the store or the wire after ``calls`` others, or after that one.

    ``meanwhile`` is what somebody faster does there.
    """

    kind: str
    place: str
    calls: int
    is_after: bool
    meanwhile: str


TROUBLES = st.builds(
    Trouble,
    kind=st.sampled_from(
        ("crash", "crash", "crash", "somebody faster", "somebody faster", "bad answers", "deaf handlers")
    ),
    place=st.sampled_from(("store", "wire")),
    calls=st.integers(0, 6),
    is_after=st.booleans(),
    meanwhile=st.sampled_from(DEEDS),
)


class Interleavings(RuleBasedStateMachine):
    """A shop with several orders, and everybody who has to do with them."""

    def __init__(
        self, *, flaw: Flaw = SOUND, make_store: Callable[[Path], OrderStore] = lambda folder: MemoryStore()
    ) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(prefix="interleavings-")
        folder = Path(self._folder.name)
        self._flaw = flaw
        self._policy = Policy()
        self._fuse = Fuse()
        self._store: OrderStore = make_store(folder)
        self._world = make_world(folder)
        self._clock = self._world.clock
        # Read past whatever is wrong with the shop's own parts.
        self._ledger = Ledger(store=self._store, model=Order)
        self._logbook = Logbook(truth=Truth(folder / "sandbox.sqlite3"), policy=self._policy)
        self._heard: Counter[str] = Counter()
        self._is_deaf = False
        self._broken: BrokenPromiseError | None = None
        self._tokens = itertools.count(1)
        self._gateway = flaw.gateway(make_client(flaw.transport(FragileTransport(self._world.wire, self._fuse))))
        self._open()

    def _open(self) -> None:
        """Start the shop's process, on the store as it stands."""
        store = self._flaw.store(FragileStore(self._store, self._fuse))
        self._service = self._flaw.service(
            make_service(
                ledger=Ledger(store=store, model=Order),
                gateway=self._gateway,
                clock=self._clock,
                handle=self._handle,
                policy=self._policy,
                tokens=self._tokens,
            )
        )

    def _handle(self, event: OrderEvent) -> None:
        saved = self._ledger.get(event.order_id).events
        self._demand(any(other.key == event.key for other in saved), "an event was heard before it was saved")
        if self._is_deaf:
            raise RuntimeError("this handler does not work today")
        self._heard[event.key] += 1

    @initialize()
    def place(self) -> None:
        """All orders are there to begin with, and all but the last have an invoice."""
        for order_id in ORDER_IDS:
            self._service.place(order_id, amount="25.00")
        for order_id in ORDER_IDS[:-1]:
            self._service.choose_method(order_id, "1")
        self._look()

    @rule(order_id=ORDERS, deed=st.sampled_from(DEEDS), trouble=st.none() | TROUBLES, pause=PAUSES)
    def shop(self, order_id: str, deed: str, trouble: Trouble | None, pause: int) -> None:
        """The shop, its customer, the gateway's webhook or a person does something, and it may go wrong."""
        self._clock.advance(pause)
        self._try(deed, order_id, trouble)
        if deed == "poll" and trouble is None:
            self._poll_again(order_id)

    @rule(order_id=ORDERS, action=st.sampled_from(ACTIONS), is_old=RARELY, trouble=st.none() | TROUBLES, pause=PAUSES)
    def gateway(self, order_id: str, action: str, is_old: bool, trouble: Trouble | None, pause: int) -> None:
        """Somebody pays, or the gateway changes its mind, and says so. What has no address cannot be paid."""
        self._clock.advance(pause)
        invoices = [item for item in self._logbook.truth.list_invoices(order_id) if item.addresses]
        if invoices:
            invoice_id = invoices[-1 if is_old else 0].invoice_id
            self._logbook.touched.add(invoice_id)
            self._world.act_on(action, invoice_id)
            self._try("hint an older one" if is_old else "hint", order_id, trouble)

    @rule(order_id=ORDERS, action=st.sampled_from(ACTIONS))
    def gateway_in_silence(self, order_id: str, action: str) -> None:
        """The same, and the webhook is lost."""
        for invoice in self._logbook.truth.list_invoices(order_id)[:1]:
            if invoice.addresses:
                self._logbook.touched.add(invoice.invoice_id)
                self._world.act_on(action, invoice.invoice_id)
                self._look()

    def teardown(self) -> None:
        """All trouble ends, time goes on, and the orders must find their way by themselves."""
        try:
            if self._broken is None and self._logbook.orders:
                self._finish()
        finally:
            self._folder.cleanup()

    def _finish(self) -> None:
        for _ in range(_ROUNDS):
            self._clock.advance(LONGEST_PAUSE.total_seconds())
            self._service.reconcile()
            self._look()
        for order in self._logbook.orders.values():
            self._logbook.conclude(order, self._heard)
        keys = {event.key for order in self._logbook.orders.values() for event in order.events}
        demand(set(self._heard) <= keys, "something was heard that never happened")

    def _try(self, deed: str, order_id: str, trouble: Trouble | None) -> None:
        if trouble:
            strike = self._make_strike(trouble, order_id)
            self._fuse.light(trouble.calls, strike, is_after=trouble.is_after, place=trouble.place)
        try:
            self._do(deed, order_id)
        except Crash:
            self._open()
        finally:
            self._heal()
        self._look()

    def _make_strike(self, trouble: Trouble, order_id: str) -> Callable[[], object]:
        strikes: dict[str, Callable[[], object]] = {
            "crash": self._crash,
            "somebody faster": lambda: self._interfere(trouble.meanwhile, order_id),
            "bad answers": self._lose_store if trouble.place == "store" else lambda: self._lose_gateway(trouble),
            "deaf handlers": self._go_deaf,
        }
        return strikes[trouble.kind]

    def _crash(self) -> None:
        raise Crash

    def _lose_store(self) -> None:
        raise StoreUnavailableError("the database is down")

    def _lose_gateway(self, trouble: Trouble) -> None:
        # From here on for the rest of the deed, or just once, so that reads are tried again with success.
        times = 99 if trouble.calls % 2 else 1
        if trouble.calls % 3:
            self._world.wire.cut("", times=times, is_after=trouble.is_after)
        else:
            self._world.wire.fail("", times=times)

    def _interfere(self, deed: str, order_id: str) -> None:
        self._do(deed, order_id)
        self._look()

    def _go_deaf(self) -> None:
        self._is_deaf = True

    def _heal(self) -> None:
        self._fuse.put_out()
        self._world.wire.mend()
        self._is_deaf = False

    def _do(self, deed: str, order_id: str) -> None:
        """Do what somebody does; what is refused is refused, and whoever asked lives with it."""
        self._logbook.pressed.add((order_id, deed, self._clock()))
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
        with suppress(IteraPayError):
            deeds[verb]()

    def _hint(self, order_id: str, *, is_old: bool) -> None:
        invoices = self._logbook.truth.list_invoices(order_id)
        if invoices:
            self._service.receive_hint(invoices[-1 if is_old else 0].invoice_id)

    def _poll_again(self, order_id: str) -> None:
        order, before = self._ledger.get(order_id), len(self._world.wire.requests)
        with suppress(IteraPayError):
            self._service.poll(order_id)
        is_quiet = len(self._world.wire.requests) == before or order.status is OrderStatus.PREPARING
        self._demand(is_quiet, "a poll that was not due read the gateway")
        self._look()

    def _look(self) -> None:
        if self._broken:
            raise self._broken
        self._logbook.truth.refresh()
        try:
            for order_id in ORDER_IDS:
                self._logbook.look(self._ledger.get(order_id), self._clock())
        except BrokenPromiseError as error:
            self._broken = error
            raise

    def _demand(self, is_kept: bool, promise: str) -> None:
        # What a handler raises is caught by the package, so it is kept for the next look.
        if not is_kept:
            self._broken = BrokenPromiseError(promise)
