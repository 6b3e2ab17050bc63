"""A link with many payments costs what one with ten does: gateway calls, statements, and the size of its record.

That each statement goes straight to what it returns, however many records there are, shows ``test_store_databases``.
"""

from datetime import timedelta

import pytest
from builders import at
from link_builders import REQUIRE, make_link, make_transfer
from link_flaws import KeepsList, ReadsAll
from listed_gateway import ListedGateway
from msgspec.structs import replace
from sqlalchemy import create_engine, event
from worlds import Timepiece, make_links

from flask_iterapay.links.models import Contribution, Link
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

pytestmark = pytest.mark.harness


class Shop:
    """A link over which ``count`` payments have come, a minute apart, and all of them are written down."""

    def __init__(self, url: str, count: int, *, reads=lambda gateway: gateway, keeps=lambda store: store) -> None:
        self.clock = Timepiece()
        self.clock.advance(60 * count)
        self.gateway = ListedGateway(self.clock)
        engine = create_engine(url)
        self._sent: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *arguments: self._sent.append(arguments[2]))
        self.store = keeps(SQLAlchemyStore(engine, create_tables=True))
        first = (self.clock() - at(0)).total_seconds()
        for number in range(count):
            self.gateway.transactions.append(make_transfer("settled", f"tx-{number}", sent=first - 60 * number))
        self.links = make_links(
            store=self.store, gateway=reads(self.gateway), clock=self.clock, handle=lambda event: None, policy=REQUIRE
        )
        self._write_down()
        self.settle_down()

    def _write_down(self) -> None:
        """Read the list once into memory, which is quick, and copy what came of it."""
        memory = MemoryStore()
        Ledger(store=memory, model=Link).add(make_link())
        quick = make_links(
            store=memory, gateway=self.gateway, clock=self.clock, handle=lambda event: None, policy=REQUIRE
        )
        quick.sync("donations")
        self.store.add(replace(memory.get("link:donations"), version=1))
        for contribution in Ledger(store=memory, model=Contribution).iterate():
            quick.dispatch(contribution.contribution_id)
            self.store.add(replace(memory.get(f"contribution:{contribution.contribution_id}"), version=1))

    def settle_down(self) -> None:
        """Let what was news become old."""
        self.clock.advance(3600)
        self.links.sync("donations")

    def cost(self, call) -> tuple[int, list[str]]:
        """How many gateway calls and which statements a call takes."""
        calls = len(self.gateway.pages)
        self._sent.clear()
        call(self)
        return len(self.gateway.pages) - calls, list(self._sent)


def receive_news(shop: Shop) -> None:
    """One more payment, and the hint that tells of it."""
    shop.clock.advance(60)
    shop.gateway.put(make_transfer("settled", "tx-new", created_at=shop.clock() - timedelta(seconds=1)))
    shop.links.receive_hint("inv-1")


DEEDS = {
    "a hint with news": receive_news,
    "a hint without": lambda shop: shop.links.receive_hint("inv-1"),
    "a poll": lambda shop: shop.links.poll("donations"),
    "what a page lists": lambda shop: shop.links.list_contributions("donations", limit=10),
    "telling handlers": lambda shop: shop.links.dispatch_news("donations"),
}


def size_of(shop: Shop) -> int:
    """How long the link's record is."""
    return len(shop.store.get("link:donations").body)


@pytest.fixture
def make_shops(tmp_path, scale):
    """Make a shop with a little more payments than a page of the list has, and one with many."""

    def make(**flaws) -> tuple[Shop, Shop]:
        many = scale(400, 400 if flaws else 100_000)
        return tuple(Shop(f"sqlite:///{tmp_path / str(count)}", count, **flaws) for count in (60, many))

    return make


def test_nothing_costs_more_over_a_link_with_many_payments(make_shops, scale, note_figure):
    """The same gateway calls and the same statements, in the same order; and the link's record is as long."""
    few, many = make_shops()
    for name, deed in DEEDS.items():
        assert many.cost(deed) == few.cost(deed), name
    assert abs(size_of(many) - size_of(few)) <= 2
    note_figure("a link beside one with 60 payments", f"{scale(400, 100_000):,}: the same calls, statements and size")


def test_a_link_that_is_read_to_its_beginning_costs_more(make_shops):
    """Control: where nobody sees that a page reaches far enough down, the comparison notices."""
    few, many = make_shops(reads=ReadsAll)
    assert many.cost(DEEDS["a hint without"])[0] > few.cost(DEEDS["a hint without"])[0]


def test_a_link_that_keeps_its_payments_is_longer(make_shops):
    """Control: a list in the record shows in its size."""
    few, many = make_shops(keeps=KeepsList)
    assert size_of(many) > 2 * size_of(few)
