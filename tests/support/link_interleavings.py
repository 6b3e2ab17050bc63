"""Everything that can happen to a payment link, in any order, with trouble at any call; the sandbox is the truth.

After each step the link is held against what was seen before and against the gateway's books; at the end the trouble
stops, time goes on, and every transaction must be one contribution, as what the gateway says that it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from random import Random

import httpx
from link_books import LinkBooks, Telling, read_books
from logbooks import LONGEST_PAUSE, demand
from troubled_shops import KINDS, Trouble, TroubledShop
from worlds import Timepiece, make_links, make_reconciler

from flask_iterapay.links.models import Contribution, ContributionStatus, Visit
from flask_iterapay.orders.entries import Event
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.sandbox.engine import SandboxInvoice
from flask_iterapay.sandbox.storage import SandboxStore

__all__ = ["TELLINGS", "LinkInterleavings", "SmallPages"]

LINK_ID = "donations"
TELLINGS = tuple(Telling(has_new_addresses=new, is_address_told=told) for new, told in product((True, False), repeat=2))
VISITORS = {"ann": "1", "ben": "1", "cid": "2"}
# The number is of the seconds that go by before it.
DEEDS = (
    "come 0",
    "come 61",
    "look 0",
    "hint 0",
    "hint 0",
    "hint 91",
    "hint 86400",
    "poll 0",
    "check 0",
    "reconcile 0",
    "reconcile 3600",
    "dispatch 0",
    "close 0",
    "reopen 0",
    "raise 0",
    "lower 0",
    "accept 0",
    "reject 0",
)
PAYMENTS = ("pay_exact", "pay_exact", "pay_pending", "pay_pending", "pay_over", "pay_dust", "aml_fail", "aml_unknown")
STEPS = ("confirm", "settle", "settle", "flag", "fail")
PAUSES = (0, 0, 0, 0, 1, 16, 61, 91, 901, 7201, 90_000)
# How often the webhook comes: at once, again, later than others, or never.
DELIVERIES = ("once", "once", "twice", "late", "lost")
_ROUNDS = 6


class SmallPages(httpx.BaseTransport):
    """Has lists come in pages of a few items, whatever was asked for, each of which takes a while."""

    def __init__(self, inner: httpx.BaseTransport, clock: Timepiece, *, limit: int, seconds: float) -> None:
        self._inner = inner
        self._clock = clock
        self._limit = limit
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, for a smaller page."""
        if "limit" not in request.url.params:
            return self._inner.handle_request(request)
        self._clock.advance(self._seconds)
        url = request.url.copy_set_param("limit", str(self._limit))
        return self._inner.handle_request(
            httpx.Request(request.method, url, headers=request.headers, content=request.read())
        )


@dataclass(slots=True)
class LinkLogbook:
    """What was seen of a link so far, and what was true of its transactions that no longer shows."""

    contributions: dict[str, Contribution] = field(default_factory=dict)
    visits: dict[str, Visit] = field(default_factory=dict)
    was_settled: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    decided: set[str] = field(default_factory=set)

    def look(self, books: LinkBooks) -> None:
        """Hold a link against what was seen of it last, and remember it."""
        wrongs = books.find_wrongs_so_far()
        demand(not wrongs, "; ".join(wrongs))
        contributions = {item.contribution_id: item for item in books.contributions}
        demand(self.contributions.keys() <= contributions.keys(), "a contribution was lost")
        for key, item in contributions.items():
            _compare(self.contributions.get(key, item), item)
        for visit in books.visits:
            before = self.visits.get(visit.reference, visit)
            demand(before.address in (None, visit.address), "a visitor was given another address")
        self.contributions = contributions
        self.visits = {visit.reference: visit for visit in books.visits}


def _compare(before: Contribution, item: Contribution) -> None:
    keys = [event.key for event in item.events]
    demand(keys[: len(before.events)] == [event.key for event in before.events], "an update was lost: events")
    demand(item.history[: len(before.history)] == before.history, "an update was lost: history")
    demand(item.version > before.version or item == before, "an update was lost: a version twice")
    demand(before.reference in (None, item.reference), "what was attributed to one is to another")
    is_kept = before.status is not ContributionStatus.RECEIVED or item.status is ContributionStatus.RECEIVED
    demand(is_kept, "received was taken back")


class LinkInterleavings(TroubledShop):
    """A shop with one link, its visitors, and everybody else who has to do with it."""

    def make_transport(self, transport: httpx.BaseTransport) -> httpx.BaseTransport:
        """A reading comes to a few pages before its time is up."""
        return SmallPages(transport, self.clock, limit=3, seconds=4)

    def prepare(self) -> None:
        """Set up the judge, who reads past the shop."""
        self._books = SandboxStore(self.folder / "sandbox.sqlite3")
        self._logbook = LinkLogbook()
        self._telling = TELLINGS[0]
        self._late: list[str] = []

    def open(self) -> None:
        """Start the shop's process, on the store as it stands."""
        store = self.make_shop_store()
        self._links = self.flaw.service(
            make_links(
                store=store,
                gateway=self.gateway_client,
                clock=self.clock,
                handle=self._handle,
                policy=self.policy,
                max_addresses=1000,
            )
        )
        self._reconciler = make_reconciler(store, self._links.duties, self.clock)

    def _handle(self, event: Event) -> None:
        saved = Ledger(store=self.store, model=Contribution).get(event.contribution_id).events
        self.demand(any(other.key == event.key for other in saved), "an event was heard before it was saved")
        self.handle(event)

    def wander(self, seed: int, steps: int) -> None:
        """Let so many things happen as a seed says, and then see that all is well.

        Raises:
            BrokenPromiseError: it is not.
        """
        chance = Random(seed)
        self._telling = TELLINGS[seed % len(TELLINGS)]
        self.world.switch(**self._telling.settings)
        self._links.create(LINK_ID)
        happenings = (self._act, self._pay, self._pay, self._change_mind)
        try:
            self.look()
            for _ in range(steps):
                self.clock.advance(chance.choice(PAUSES))
                chance.choice(happenings)(chance)
        finally:
            self.teardown()

    def _act(self, chance: Random) -> None:
        """A visitor, the shop, the gateway's webhook or a person does something."""
        self.attempt(chance.choice(DEEDS), chance.choice(list(VISITORS)), _draw_trouble(chance))

    def _pay(self, chance: Random) -> None:
        """A visitor pays to his address, as often as he likes; who has none comes to be given one."""
        who = chance.choice(list(VISITORS))
        visit = Ledger(store=self.store, model=Visit).find(who)
        if visit is None or visit.address is None:
            self.attempt("come 0", who, _draw_trouble(chance))
            return
        known = self._list_transaction_ids()
        self.world.pay(visit, chance.choice(PAYMENTS))
        holders = [other for other in self._logbook.visits.values() if other.address == visit.address]
        if len(holders) > 1:
            self._logbook.shared |= self._list_transaction_ids() - known
        self._deliver(chance.choice(DELIVERIES), who, _draw_trouble(chance))

    def _change_mind(self, chance: Random) -> None:
        """The gateway says something else of a transaction, however old; what cannot be is refused."""
        sent = [item for invoice in self._list_invoices() for item in invoice.transactions]
        if sent:
            item = chance.choice(sent)
            self.world.act_on(chance.choice(STEPS), item.invoice_id, transaction_id=item.transaction_id)
            self._deliver(chance.choice(DELIVERIES), "ann", _draw_trouble(chance))

    def _deliver(self, delivery: str, who: str, trouble: Trouble | None) -> None:
        """Let the webhook come, and one that was held up after it."""
        if delivery == "late":
            self._late.append(who)
        if delivery in ("once", "twice"):
            self.attempt("hint 0", who, trouble)
        if delivery == "twice":
            self.attempt("hint 0", who, None)
        if delivery != "late" and self._late:
            self.attempt("hint 0", self._late.pop(0), None)
        self.look()

    def do(self, deed: str, subject: str) -> None:
        """Do what somebody does."""
        verb, _, seconds = deed.partition(" ")
        self.clock.advance(int(seconds))
        links, method = self._links, VISITORS[subject]
        deeds: dict[str, Callable[[], object]] = {
            "come": lambda: links.receive_visitor(LINK_ID, method, reference=subject, visitor=subject),
            "look": lambda: links.complete_visit(subject),
            "hint": lambda: self._hint(subject),
            "poll": lambda: links.poll(LINK_ID),
            "check": lambda: links.check(LINK_ID),
            "reconcile": self._reconciler.reconcile,
            "dispatch": lambda: links.dispatch_news(LINK_ID),
            "close": lambda: links.close(LINK_ID),
            "reopen": lambda: links.reopen(LINK_ID),
            "raise": lambda: links.create(LINK_ID, minimum="20.00"),
            "lower": lambda: links.create(LINK_ID),
            "accept": lambda: self._decide(is_accepted=True),
            "reject": lambda: self._decide(is_accepted=False),
        }
        deeds[verb]()

    def _hint(self, who: str) -> None:
        visit = self._logbook.visits.get(who)
        if visit and visit.invoice_id:
            self._links.receive_hint(visit.invoice_id)

    def _decide(self, *, is_accepted: bool) -> None:
        """A person decides about the newest contribution that waits."""
        waiting = [item for item in self._links.list_contributions(LINK_ID, limit=10) if not item.is_final]
        if waiting:
            self._logbook.decided.add(waiting[0].transaction_id)
            self._links.resolve(waiting[0].contribution_id, is_accepted=is_accepted, actor="ann")

    def _list_invoices(self) -> list[SandboxInvoice]:
        return self._books.list_invoices()

    def _list_transaction_ids(self) -> set[str]:
        return {item.transaction_id for invoice in self._list_invoices() for item in invoice.transactions}

    def _read_books(self) -> LinkBooks:
        invoices, logbook = self._list_invoices(), self._logbook
        sent = [item for invoice in invoices for item in invoice.transactions]
        logbook.was_settled |= {item.transaction_id for item in sent if item.state == "settled"}
        known = {"was_settled": logbook.was_settled, "shared": logbook.shared, "decided": logbook.decided}
        return read_books(self.store, invoices, LINK_ID, **known)

    def compare(self) -> None:
        """Hold the link against what was seen of it last."""
        self._logbook.look(self._read_books())

    def conclude(self) -> None:
        """Time goes on, longer than a day, and nothing but reconcile is run."""
        for _ in range(_ROUNDS):
            self.clock.advance(LONGEST_PAUSE.total_seconds())
            # What a reading has no time for is due at once.
            for _ in range(_ROUNDS):
                self._reconciler.reconcile()
            self.look()
        wrongs = self._read_books().find_wrongs(self.heard, self._telling)
        demand(not wrongs, "; ".join(wrongs))


def _draw_trouble(chance: Random) -> Trouble | None:
    """Every other time nothing goes wrong."""
    trouble = Trouble(
        kind=chance.choice(KINDS),
        place=chance.choice(("store", "wire")),
        # A reading has many more calls of the store than of the wire.
        calls=chance.choice((0, 1, 2, 3, 4, 6, 8, 12)),
        is_after=chance.random() < 0.5,
        meanwhile=chance.choice(DEEDS),
    )
    return trouble if chance.random() < 0.5 else None
