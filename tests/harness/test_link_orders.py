"""Payments over a link in any order, with webhooks lost, repeated and late: each ends as what the gateway says."""

import itertools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flawed_stores import NeverDue
from flaws import Flaw
from link_books import LinkBooks, Telling, read_books
from link_flaws import LINK_FLAWS
from link_interleavings import TELLINGS, LinkInterleavings
from logbooks import BrokenPromiseError
from shops import Shop
from werkzeug.test import Client

from flask_iterapay import IteraPay
from flask_iterapay.links.models import Visit
from flask_iterapay.orders.models import EventName
from flask_iterapay.orders.stores import MemoryStore, OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.storage import SandboxStore

pytestmark = pytest.mark.harness

STEPS = 40
TRIES = 60
STORES: dict[str, Callable[[Path], OrderStore]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SQLAlchemyStore(f"sqlite:///{folder / 'shop.sqlite3'}", create_tables=True),
}


@pytest.fixture(autouse=True)
def _without_logs(caplog):
    """Many handlers and calls fail on purpose, and ten thousand tracebacks help nobody."""
    caplog.set_level(logging.CRITICAL + 1, logger="flask_iterapay")


class TestAnyOrder:
    @pytest.mark.parametrize(("store", "normal", "full"), [("memory", 8, 1500), ("sqlite", 2, 200)])
    def test_every_payment_ends_where_the_truth_wants_it(self, store, normal, full, scale, note_figure):
        """Nothing is lost, counted twice, taken back or shown to another, and at the end nothing is left to do."""
        tries = scale(normal, full)
        for seed in range(tries):
            LinkInterleavings(make_store=STORES[store]).wander(seed, STEPS)
        note_figure(f"interleavings of {STEPS} steps over a link ({store})", f"{tries:,} tried, 0 promises broken")

    @pytest.mark.parametrize("flaw", LINK_FLAWS, ids=lambda flaw: flaw.name)
    def test_a_flaw_is_found(self, flaw: Flaw):
        """The same walks break a shop that has one of these mistakes."""
        with pytest.raises(BrokenPromiseError, match=flaw.promise):
            for seed in range(TRIES):
                LinkInterleavings(flaw=flaw).wander(seed, STEPS)


# How a transaction begins, and what may become of one in each state.
BEGINNINGS = {
    "pay_pending": "pending",
    "aml_unknown": "confirmed",
    "pay_exact": "settled",
    "aml_fail": "flagged",
    "pay_dust": "failed",
}
MOVES = {
    "pending": {"confirm": "confirmed", "settle": "settled", "flag": "flagged", "fail": "failed"},
    "confirmed": {"settle": "settled", "flag": "flagged", "fail": "failed"},
    "settled": {"flag": "flagged", "fail": "failed"},
    "flagged": {"settle": "settled", "fail": "failed"},
    "failed": {},
}
# At once, while it is watched closely, while it is not, and when it has to be asked for by itself.
_WAITS = (0, 300, 5 * 3600, 20 * 3600, 30 * 3600)
_PACE_SECONDS = 2 * 3600
_VISITORS = 5
_LINK_ID = "donations"


def list_lives(moves: int) -> Iterator[tuple[str, ...]]:
    """Every life of a transaction with so many moves at most."""
    for beginning, state in BEGINNINGS.items():
        yield from ((beginning, *steps) for steps in _list_steps(state, moves))


def _list_steps(state: str, moves: int) -> Iterator[tuple[str, ...]]:
    yield ()
    if moves:
        for step, following in MOVES[state].items():
            yield from ((step, *steps) for steps in _list_steps(following, moves - 1))


@dataclass(slots=True)
class Life:
    """A transaction on its way: what happens to it, and when."""

    deeds: list[tuple[datetime, str]]
    visit: Visit
    transaction_id: str = ""


class DeafShop:
    """A shop with one link, whose sandbox drops every webhook."""

    def __init__(self, folder: Path, telling: Telling, make_store: Callable[[OrderStore], OrderStore]) -> None:
        self.store = MemoryStore()
        iterapay = IteraPay(store=make_store(self.store))
        self.shop = Shop(folder, iterapay=iterapay)
        for name in EventName:
            iterapay.on(name)(self.shop.hear)
        self.shop.set_sandbox(**telling.settings)
        with self.shop.app.app_context():
            iterapay.create_link(_LINK_ID)
        self.telling = telling
        self.books = SandboxStore(folder / "iterapay-sandbox.sqlite3")
        self.was_settled: set[str] = set()

    def visit(self, number: int) -> Visit:
        """Have somebody come who is not the only one with his method."""
        method, reference = str(1 + number % 2), f"visitor-{number}"
        return self.shop.state.links.receive_visitor(_LINK_ID, method, reference=reference, visitor=reference)

    def act(self, life: Life) -> None:
        """Let everything happen to a transaction whose time has come."""
        while life.deeds and life.deeds[0][0] <= self.shop.clock():
            _, action = life.deeds.pop(0)
            known = self._list_states()
            where = {"transaction_id": life.transaction_id} if life.transaction_id else {"address": life.visit.address}
            page = f"/panel/invoices/{life.visit.invoice_id}"
            Client(self.shop.state.sandbox).post(page, data={"action": action, **where}).close()
            states = self._list_states()
            life.transaction_id = life.transaction_id or next(iter(states.keys() - known.keys()))
            self.was_settled |= {name for name, state in states.items() if state == "settled"}

    def _list_states(self) -> dict[str, str]:
        sent = [item for invoice in self.books.list_invoices() for item in invoice.transactions]
        return {item.transaction_id: item.state for item in sent}

    def read_books(self) -> LinkBooks:
        """Read what shop and gateway have written down."""
        invoices, known = self.books.list_invoices(), {"was_settled": self.was_settled}
        return read_books(self.store, invoices, _LINK_ID, realm="sandbox-", **known)

    def find_wrongs(self) -> list[str]:
        """Compare them, and what handlers were told; nobody was ever told twice."""
        heard = Counter(event.key for event in self.shop.heard)
        wrongs = self.read_books().find_wrongs(heard, self.telling)
        return wrongs + [f"{key} was heard {count} times" for key, count in heard.items() if count > 1]


def reconcile(shop: Shop) -> None:
    """Run the command, as cron does, until there is no backlog."""
    for _ in range(2):
        result = shop.app.test_cli_runner().invoke(args=["iterapay", "reconcile", "--limit", "1000"])
        assert result.exit_code == 0, result.output
        assert "0 failures" in result.output


def live(
    folder: Path,
    telling: Telling,
    *,
    moves: int,
    look_after: Callable[[Shop], object] = reconcile,
    make_store: Callable[[OrderStore], OrderStore] = lambda store: store,
) -> tuple[DeafShop, int]:
    """Have every life lived beside the others, at paces that a seed chooses, while the shop is looked after."""
    chance = random.Random(moves)
    deaf = DeafShop(folder, telling, make_store)
    visits = [deaf.visit(number) for number in range(_VISITORS)]
    lives = [Life(_time(deeds, deaf.shop.clock(), chance), chance.choice(visits)) for deeds in list_lives(moves)]
    count = len(lives)
    while lives:
        for item in lives:
            deaf.act(item)
        lives = [item for item in lives if item.deeds]
        look_after(deaf.shop)
        deaf.shop.clock.advance(_PACE_SECONDS)
    for _ in range(timedelta(days=1) // timedelta(seconds=_PACE_SECONDS) + 1):
        look_after(deaf.shop)
        deaf.shop.clock.advance(_PACE_SECONDS)
    return deaf, count


def _time(deeds: tuple[str, ...], now: datetime, chance: random.Random) -> list[tuple[datetime, str]]:
    waits = itertools.accumulate(chance.choice(_WAITS) for _ in deeds)
    return [(now + timedelta(seconds=wait), deed) for wait, deed in zip(waits, deeds, strict=True)]


class TestNoWebhooks:
    @pytest.mark.parametrize("telling", TELLINGS, ids=str)
    def test_reconcile_alone_finds_everything(self, telling, tmp_path, scale, note_figure):
        """Every life that a transaction can have, days long, and nobody but the command looks."""
        moves = scale(2, 4)
        deaf, count = live(tmp_path, telling, moves=moves)
        assert deaf.find_wrongs() == []
        received = deaf.read_books().received
        assert received > count / 5
        figure = f"{count} lives of up to {moves} moves, {received} received, 0 lost, 0 extra, by reconcile alone"
        note_figure(f"all webhooks of a link dropped ({telling})", figure)

    def test_without_reconcile_everything_is_lost(self, tmp_path):
        """Control: where nobody runs the command, nothing is known."""
        deaf, count = live(tmp_path, TELLINGS[0], moves=1, look_after=lambda shop: None)
        assert sum(wrong.startswith("lost: ") for wrong in deaf.find_wrongs()) == count

    def test_a_schedule_that_never_comes_round_loses_everything(self, tmp_path):
        """Control: the command alone does nothing where nothing is ever due."""
        deaf, count = live(tmp_path, TELLINGS[0], moves=1, make_store=NeverDue)
        assert sum(wrong.startswith("lost: ") for wrong in deaf.find_wrongs()) == count
