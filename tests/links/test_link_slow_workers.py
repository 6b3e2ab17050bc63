"""Workers that are slower than their claims allow: what they bring too late changes nothing for the worse."""

from datetime import timedelta

import pytest
from link_builders import REQUIRE, make_link, make_transfer
from worlds import make_world

from flask_iterapay.links.book import ContributionBook
from flask_iterapay.links.models import Contribution, Visit
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores import MemoryStore


@pytest.fixture
def world(tmp_path):
    """A shop and a gateway that gives a new address each time."""
    world = make_world(tmp_path)
    world.switch(reusable_address="new", transaction_detail="told")
    return world


def test_a_reading_that_comes_late_leaves_a_straggler_its_check():
    """A reading from before a transaction was a day old must not take back that it is asked for by itself."""
    store = MemoryStore()
    book = ContributionBook(
        contributions=Ledger(store=store, model=Contribution), visits=Ledger(store=store, model=Visit), policy=REQUIRE
    )
    link, transfer = make_link(), make_transfer("pending")
    a_day_later = transfer.created_at + timedelta(days=1)
    book.write(link, transfer, transfer.created_at)
    watched, _ = book.write(link, transfer, a_day_later)
    assert watched.next_check_at is not None
    late, _ = book.write(link, transfer, a_day_later - timedelta(seconds=1))
    assert late.next_check_at == watched.next_check_at


def test_a_visitor_keeps_the_address_that_he_was_given_first(world):
    """Who asks for so long that somebody else does it for him leaves the visitor what he has been shown."""
    given = []

    def overtake():
        world.clock.advance(61)
        given.append(world.links.complete_visit("AAAA"))

    world.wire.interrupt("/address", overtake)
    slow = world.visit(reference="AAAA")
    assert given[0].address is not None
    assert slow.address == world.links.get_visit("AAAA").address == given[0].address
