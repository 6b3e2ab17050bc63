"""The first visitors of a link, who come at once: an invoice for each method, and nobody left without an address."""

import pytest
from worlds import MERCHANT_ID, make_world

CREATE = f"POST /merchants/{MERCHANT_ID}/invoices"


@pytest.fixture
def world(tmp_path):
    """A shop and a gateway."""
    return make_world(tmp_path)


def test_creating_is_the_call_that_others_come_between(world):
    """What the tests here rest on: a first visit sends one such request."""
    world.visit(method_id="1", reference="AAAA")
    assert [line for line in world.wire.requests if line.startswith("POST")] == [CREATE]


@pytest.mark.parametrize(("method_id", "invoices"), [("1", 1), ("4", 2)])
def test_a_visitor_who_comes_meanwhile_is_given_an_address_as_soon_as_his_page_looks(world, method_id, invoices):
    """Whether he chose the same method or another: one invoice is made at a time, and one for each method."""
    others = []
    world.wire.interrupt(CREATE, lambda: others.append(world.visit(method_id=method_id, reference="BBBB")))
    first = world.visit(method_id="1", reference="AAAA")
    assert (first.address is None, others[0].address) == (False, None)
    second = world.links.complete_visit("BBBB")
    assert second.address is not None
    link = world.links.get("donations")
    assert {record.invoice_id for record in link.invoices} == {first.invoice_id, second.invoice_id}
    assert (len(link.invoices), link.intent, world.wire.count(CREATE)) == (invoices, None, invoices)


def test_who_waits_for_one_who_died_goes_on_after_a_minute(world):
    """Nothing is asked or written while he waits, and then his page has the invoice made."""

    def let_another_come_and_die():
        world.visit(method_id="4", reference="BBBB")
        raise KeyboardInterrupt

    world.wire.interrupt(CREATE, let_another_come_and_die)
    with pytest.raises(KeyboardInterrupt):
        world.visit(method_id="1", reference="AAAA")
    waiting = world.links.get_visit("BBBB")
    assert world.links.complete_visit("BBBB") == waiting
    world.clock.advance(61)
    assert world.links.complete_visit("BBBB").address is not None
    assert world.links.complete_visit("AAAA").address is not None
