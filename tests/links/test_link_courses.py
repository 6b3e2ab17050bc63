"""Whole courses of a link: on a database, and two shops in one store."""

from collections.abc import Callable
from typing import Any

import pytest
from worlds import World, make_client, make_dispatcher, make_links, make_world

from flask_iterapay.errors import InvalidLinkError
from flask_iterapay.links.models import Link
from flask_iterapay.links.service import LinkService
from flask_iterapay.orders.models import Policy
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

TOLD = {"reusable_address": "new", "transaction_detail": "told"}


@pytest.fixture
def world(tmp_path):
    """A shop, and a gateway that gives ever new addresses and tells which of them was paid."""
    world = make_world(tmp_path)
    world.switch(**TOLD)
    return world


def test_the_main_course_on_a_database(tmp_path):
    """Made, visited, paid, read, told and listed, all in a SQLite file that a second process reads."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    world = make_world(tmp_path, store=SQLAlchemyStore(url, create_tables=True))
    world.switch(**TOLD)
    visits = [world.visit(reference=reference) for reference in ("AAAA", "BBBB")]
    for visit in visits * 2:
        world.pay(visit)
        world.clock.advance(1)
    world.pay(visits[0], "aml_fail")
    world.links.sync("donations")
    with pytest.raises(InvalidLinkError):
        [world.links.create(link_id, slug="give") for link_id in ("donations", "other")]
    assert world.service.reconcile().events == 5
    other = make_links(
        store=SQLAlchemyStore(url), gateway=make_client(world.wire), clock=world.clock, handle=world.handled.append
    )
    first, *rest = other.list_contributions("donations", limit=1)
    rest += other.list_contributions("donations", limit=9, before=first)
    assert [(item.reference, item.status) for item in (first, *rest)] == [
        ("AAAA", "on_hold"),
        *[(reference, "received") for reference in ("BBBB", "AAAA", "BBBB", "AAAA")],
    ]
    assert [len(other.get_visit(reference).payments) for reference in ("AAAA", "BBBB")] == [3, 2]
    assert isinstance(other.get_by_slug("give"), Link)
    other.resolve(first.contribution_id, is_accepted=True, actor="ann")
    other.dispatch(first.contribution_id)
    keys = [event.key for event in world.handled]
    assert len(set(keys)) == len(keys) == 6
    assert sum(event.name == "link.payment_received" for event in world.handled) == 5


class TestRealms:
    @pytest.fixture
    def play(self, world: World) -> LinkService:
        """The sandbox's links in the same store, of the same gateway, so that even its ids are the same."""

        def make(handle: Callable[[Any], object]) -> LinkService:
            return LinkService(
                store=world.ledger.store,
                gateway=make_client(world.wire),
                make_dispatcher=lambda ledger: make_dispatcher(ledger, world.clock, handle),
                clock=world.clock,
                policy=Policy(),
                make_token=iter(map(str, range(1000))).__next__,
                max_addresses=30,
                realm="sandbox-",
            )

        return make(lambda event: pytest.fail(f"{event.key} was told in the wrong realm"))

    def test_play_money_is_never_a_live_links(self, world: World, play: LinkService):
        """Links, slugs, visits, addresses, invoices and contributions of one are none of the other's."""
        world.links.create("donations", minimum="20.00", slug="give")
        visit = world.links.receive_visitor("donations", "1", reference="AAAA", visitor="v")
        assert (list(play.iterate()), play.get_by_slug("give"), play.receive_hint(visit.invoice_id)) == ([], None, None)
        play.create("donations", minimum="20.00", slug="give")
        played = play.receive_visitor("donations", "1", reference="AAAA", visitor="v")
        assert played.invoice_id != visit.invoice_id
        world.pay(played)
        world.pay(visit)
        play.sync("donations")
        assert list(world.links.iterate_contributions("donations")) == []
        assert len(list(play.iterate_contributions("donations"))) == 1
        world.clock.advance(61)
        assert world.service.reconcile().events == 1
        assert [event.contribution_id.split(":")[0] for event in world.handled] == [visit.invoice_id]
        assert isinstance(world.links.get_by_slug("give"), Link)
