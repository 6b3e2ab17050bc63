"""A visitor's turn: one address for one visit, from an invoice that is ours, whatever fails in between."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from troubles import Crash, FragileStore, FragileTransport, Fuse
from worlds import MERCHANT_ID, World, make_client, make_links, make_world

from flask_iterapay.errors import (
    GatewayError,
    LinkClosedError,
    LinkMethodError,
    LinkNotFoundError,
    TooManyAddressesError,
    VisitNotFoundError,
)
from flask_iterapay.gateway.models import Invoice
from flask_iterapay.links.models import ContributionStatus
from flask_iterapay.links.service import LinkService

CREATE = f"POST /merchants/{MERCHANT_ID}/invoices"
READ = f"GET /merchants/{MERCHANT_ID}/invoices/"
ADDRESS = "/address"
TOLD = {"reusable_address": "new", "transaction_detail": "told"}


@pytest.fixture
def world(tmp_path):
    """A shop, and a gateway that gives ever new addresses and tells which of them was paid."""
    world = make_world(tmp_path)
    world.switch(**TOLD)
    return world


def reopen(world: World, **options: Any) -> LinkService:
    """The links of another process over the same store and gateway."""
    options = {"gateway": make_client(world.wire), "handle": world.handled.append} | options
    return make_links(store=world.ledger.store, clock=world.clock, **options)


class TestAddresses:
    def test_each_visit_has_an_address_of_its_own_and_its_payment(self, world: World):
        """Where every request gives a new address, and the gateway tells which was paid."""
        first, second = world.visit(reference="AAAA"), world.visit(reference="BBBB")
        assert first.address != second.address
        assert first.invoice_id == second.invoice_id
        world.pay(second)
        world.links.sync("donations")
        (contribution,) = world.links.list_contributions("donations", limit=9)
        assert (contribution.reference, contribution.status) == ("BBBB", ContributionStatus.RECEIVED)
        shown = world.links.get_visit("BBBB").payments
        assert [(item.amount, item.unit) for item in shown] == [(contribution.amount, "USDT")]
        assert world.links.get_visit("AAAA").payments == ()

    @pytest.mark.parametrize("detail", ["documented", "told"])
    def test_a_shared_address_tells_nothing(self, world: World, detail):
        """Where the address always is the same, money counts and is nobody's, for whoever has the address."""
        world.switch(reusable_address="same", transaction_detail=detail)
        visits = [world.visit(reference=reference) for reference in ("AAAA", "BBBB", "CCCC")]
        assert len({visit.address for visit in visits}) == 1
        for visit in visits:
            world.pay(visit)
        world.links.sync("donations")
        found = world.links.list_contributions("donations", limit=9)
        assert [(item.reference, item.status) for item in found] == [(None, ContributionStatus.RECEIVED)] * 3
        for visit in visits:
            now = world.links.get_visit(visit.reference)
            assert (now.payments, now.is_address_shared, now.can_tell_payments) == ((), True, False)

    def test_without_the_gateways_word_nothing_is_attributed(self, world: World):
        """Not even where every visit has an address of its own."""
        world.switch(reusable_address="new")
        world.pay(world.visit(reference="AAAA"))
        world.links.sync("donations")
        (contribution,) = world.links.list_contributions("donations", limit=9)
        assert (contribution.reference, contribution.unit, contribution.address) == (None, None, None)

    def test_the_same_reference_is_the_same_visit(self, world: World):
        """A form that is sent twice, or loaded anew, asks the gateway once."""
        first = world.visit(reference="AAAA")
        asked = world.wire.count(ADDRESS)
        assert world.visit(reference="AAAA") == world.visit(method_id="4", reference="AAAA") == first
        assert (world.wire.count(ADDRESS), world.wire.count(CREATE)) == (asked, 1)

    def test_who_completes_at_once_asks_once(self, world: World):
        """The poll of a page that comes while the form is under way leaves it to it."""
        seen = []
        world.wire.interrupt(ADDRESS, lambda: seen.append(world.links.complete_visit("AAAA").address))
        visit = world.visit(reference="AAAA")
        assert (seen, world.wire.count(ADDRESS)) == ([None], 1)
        assert world.links.complete_visit("AAAA") == visit

    def test_an_address_that_was_shown_is_not_exchanged(self, world: World):
        """Who was asking for so long that another one went on leaves the visit as it is."""
        given = []

        def be_overtaken() -> None:
            world.clock.advance(61)
            given.append(world.links.complete_visit("AAAA"))

        world.wire.interrupt(ADDRESS, be_overtaken)
        late = world.visit(reference="AAAA")
        assert given[0].address is not None
        assert late.address == given[0].address == world.links.get_visit("AAAA").address
        world.pay(late)
        world.links.sync("donations")
        assert len(world.links.get_visit("AAAA").payments) == 1

    def test_an_address_that_was_shown_is_not_refused_afterwards(self, world: World):
        """A refusal that comes late takes nothing from a visitor who has an address."""

        def be_overtaken() -> None:
            world.clock.advance(61)
            assert world.links.complete_visit("AAAA").address
            world.wire.fail(ADDRESS, status=404)

        world.links.create("donations", minimum="20.00")
        world.wire.interrupt(READ, be_overtaken)
        world.visit(reference="AAAA")
        assert world.links.get_visit("AAAA").is_refused is False

    def test_an_address_of_another_link_is_shared_too(self, world: World):
        """Should the gateway give one to two invoices, a payment to it is neither visitor's."""
        first = world.visit(reference="AAAA")
        double = Retelling(make_client(world.wire), deposit=lambda deposit: replace(deposit, address=first.address))
        links = reopen(world, gateway=double)
        links.create("other", minimum="20.00")
        second = links.receive_visitor("other", "1", reference="BBBB", visitor="v")
        assert (second.address, second.can_tell_payments) == (first.address, False)
        assert world.links.get_visit("AAAA").can_tell_payments is False


class TestTrouble:
    @pytest.mark.parametrize("fragment", [CREATE, READ, ADDRESS])
    @pytest.mark.parametrize("is_after", [False, True], ids=["not sent", "answer lost"])
    def test_a_visit_outlives_a_gateway_that_fails(self, world: World, fragment, is_after):
        """Its page goes on from where it was left, though not at once; no second address is given out by that."""
        world.wire.cut(fragment, is_after=is_after)
        with pytest.raises(GatewayError):
            world.visit(reference="AAAA")
        asked = len(world.wire.requests)
        world.wire.mend()
        assert world.links.complete_visit("AAAA").address is None
        assert len(world.wire.requests) == asked
        world.clock.advance(15)
        visit = world.links.complete_visit("AAAA")
        link = world.links.get("donations")
        assert (visit.address is None, visit.invoice_id) == (False, link.invoices[0].invoice_id)
        assert (len(link.invoices), link.intent) == (1, None)
        world.pay(visit)
        world.links.sync("donations")
        assert len(world.links.get_visit("AAAA").payments) == 1

    @pytest.mark.parametrize("place", ["store", "wire"])
    @pytest.mark.parametrize("is_after", [False, True])
    def test_who_dies_anywhere_is_followed_by_one_who_goes_on(self, world: World, place, is_after):
        """At any call of the store or the gateway: after a minute the same visit gets its address, and only one."""
        fuse = Fuse()
        mortal = make_links(
            store=FragileStore(world.ledger.store, fuse),
            gateway=make_client(FragileTransport(world.wire, fuse)),
            clock=world.clock,
            handle=world.handled.append,
        )

        def die() -> None:
            raise Crash

        deaths = 0
        while True:
            link_id, reference = f"link-{deaths}", f"REF-{deaths}"
            fuse.light(deaths, die, is_after=is_after, place=place)
            try:
                mortal.create(link_id, minimum="20.00")
                mortal.receive_visitor(link_id, "1", reference=reference, visitor="v")
                break
            except Crash:
                deaths += 1
            world.clock.advance(61)
            world.links.create(link_id, minimum="20.00")
            visit = world.links.receive_visitor(link_id, "1", reference=reference, visitor="v")
            link = world.links.get(link_id)
            assert (visit.address is None, visit.can_tell_payments) == (False, True)
            assert ([record.invoice_id for record in link.invoices], link.intent) == ([visit.invoice_id], None)
            world.pay(visit)
            world.links.sync(link_id)
            assert [item.status for item in world.links.get_visit(reference).payments] == ["received"]
        assert deaths >= (3 if place == "wire" else 12)

    @pytest.mark.parametrize("status", [400, 404, 422])
    def test_a_method_that_the_gateway_does_not_give_is_refused_for_good(self, world: World, status):
        """The visitor is told, and nobody asks again for that visit; the next one may."""
        world.wire.fail(ADDRESS, status=status)
        with pytest.raises(LinkMethodError):
            world.visit(reference="AAAA")
        world.wire.mend()
        world.clock.advance(3600)
        asked = len(world.wire.requests)
        refused = world.links.complete_visit("AAAA")
        assert (refused.is_refused, refused.address, len(world.wire.requests)) == (True, None, asked)
        assert world.visit(reference="BBBB").address

    @pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
    def test_a_refusal_that_may_pass_is_none(self, world: World, status):
        """The visit stays, and gets its address when the trouble is over."""
        world.wire.fail(ADDRESS, status=status)
        with pytest.raises(GatewayError):
            world.visit(reference="AAAA")
        world.wire.mend()
        world.clock.advance(15)
        assert world.links.complete_visit("AAAA").address

    def test_an_invoice_whose_maker_died_is_left_alone(self, world: World):
        """Nobody was given its address; another is made once the minute is over."""

        def die() -> None:
            raise Crash

        world.wire.interrupt(CREATE, die)
        with pytest.raises(Crash):
            world.visit(reference="AAAA")
        assert world.links.get("donations").intent is not None
        assert world.visit(reference="BBBB").address is None
        world.clock.advance(61)
        assert world.links.complete_visit("BBBB").address
        assert world.links.complete_visit("AAAA").address
        assert len(world.links.get("donations").invoices) == 1


class Retelling:
    """A gateway that says something else of invoices and addresses than the real one."""

    def __init__(self, inner: Any, *, invoice: Callable = lambda it: it, deposit: Callable = lambda it: it) -> None:
        self._inner, self._invoice, self._deposit = inner, invoice, deposit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def get_invoice(self, invoice_id: str) -> Invoice:
        return self._invoice(self._inner.get_invoice(invoice_id))

    def get_deposit_address(self, invoice_id: str, method_id: Any) -> Any:
        return self._deposit(self._inner.get_deposit_address(invoice_id, method_id))


class TestInvoices:
    @pytest.mark.parametrize(
        "field", [{"invoice_type": "onetime"}, {"amount": Decimal("20.01")}, {"method_id": 2}, {"invoice_id": "other"}]
    )
    def test_an_invoice_that_is_not_what_was_wanted_is_never_given_out(self, world: World, field, caplog):
        """Of another type, amount or method: no address of it is asked for."""
        links = reopen(world, gateway=Retelling(make_client(world.wire), invoice=lambda it: replace(it, **field)))
        links.create("donations", minimum="20.00")
        for reference in ("AAAA", "BBBB"):
            with pytest.raises(LinkMethodError):
                links.receive_visitor("donations", "1", reference=reference, visitor="v")
            assert links.complete_visit(reference).address is None
        assert world.wire.count(ADDRESS) == 0
        assert "is not what was asked for" in caplog.text

    @pytest.mark.parametrize("minimum", ["20.00", None])
    def test_the_guides_answers_do(self, world: World, minimum):
        """They tell neither type nor method, and ids look otherwise."""
        world.switch(dialect="guide", **TOLD)
        world.links.create("donations", minimum=minimum)
        visit = world.links.receive_visitor("donations", "4", reference="AAAA", visitor="v")
        assert str(visit.invoice_id).startswith("inv_")
        world.pay(visit)
        world.links.sync("donations")
        assert [item.status for item in world.links.get_visit("AAAA").payments] == ["received"]

    def test_a_link_without_a_minimum_has_an_invoice_over_a_cent(self, world: World):
        """Since the gateway wants an amount; whatever comes counts."""
        world.links.create("open")
        visit = world.links.receive_visitor("open", "1", reference="AAAA", visitor="v")
        (record,) = world.links.get("open").invoices
        assert (record.amount, visit.address is None) == (Decimal("0.01"), False)
        world.pay(visit, "pay_short")
        world.links.sync("open")
        assert world.links.get_visit("AAAA").payments[0].status is ContributionStatus.RECEIVED

    def test_a_method_is_made_an_invoice_on_first_demand(self, world: World):
        """One for each, and none for what nobody chose."""
        world.links.create("donations", minimum="20.00")
        assert world.links.get("donations").invoices == ()
        for method_id, reference in [("1", "A"), ("4", "B"), ("1", "C"), ("4", "D")]:
            assert world.visit(method_id=method_id, reference=reference).address
        methods = [str(record.method.method_id) for record in world.links.get("donations").invoices]
        assert (methods, world.wire.count(CREATE), world.wire.count(READ)) == (["1", "4"], 2, 2)

    def test_another_minimum_is_another_invoice_and_the_old_one_stays_watched(self, world: World):
        """Who has the old address may still pay; going back to the old minimum makes no third invoice."""
        old = world.visit(reference="AAAA")
        world.links.create("donations", minimum="50.00")
        new = world.links.receive_visitor("donations", "1", reference="BBBB", visitor="v")
        assert new.invoice_id != old.invoice_id
        world.pay(old)
        world.pay(new)
        world.links.sync("donations")
        found = world.links.list_contributions("donations", limit=9)
        assert {item.reference: item.invoice_id for item in found} == {"AAAA": old.invoice_id, "BBBB": new.invoice_id}
        assert world.visit(reference="CCCC").invoice_id == old.invoice_id
        assert world.wire.count(CREATE) == 2

    def test_a_minimum_that_changes_while_an_invoice_is_made_gives_no_address_of_it(self, world: World):
        """The visit gets one over the new minimum."""
        world.links.create("donations", minimum="20.00")
        world.wire.interrupt(CREATE, lambda: world.links.create("donations", minimum="50.00"))
        waiting = world.links.receive_visitor("donations", "1", reference="AAAA", visitor="v")
        visit = waiting if waiting.address else world.links.complete_visit("AAAA")
        amounts = {record.invoice_id: record.amount for record in world.links.get("donations").invoices}
        assert amounts[str(visit.invoice_id)] == Decimal("50.00")


class TestWhoMayAsk:
    def test_a_closed_link_gives_out_nothing_and_stays_watched(self, world: World):
        """Neither a new visit nor one that was waiting gets an address; who has one may pay."""
        paying = world.visit(reference="AAAA")
        world.wire.fail(ADDRESS)
        with pytest.raises(GatewayError):
            world.visit(reference="BBBB")
        world.wire.mend()
        world.links.close("donations")
        world.clock.advance(3600)
        with pytest.raises(LinkClosedError):
            world.visit(reference="CCCC")
        assert world.links.complete_visit("BBBB").address is None
        with pytest.raises(VisitNotFoundError):
            world.links.get_visit("CCCC")
        world.pay(paying)
        assert world.service.reconcile().events == 1
        world.links.reopen("donations")
        assert world.links.complete_visit("BBBB").address

    def test_only_what_shop_and_link_both_offer_can_be_chosen(self, world: World):
        """In the gateway's order; what is not offered leaves nothing behind."""
        links = reopen(world, methods=("4", "2", "1"))
        link = links.create("donations", methods=[1, "4", 3])
        assert [method.method_id for method in links.offered_methods(link)] == [1, 4]
        for method_id in ("2", "3", "99", ""):
            with pytest.raises(LinkMethodError):
                links.receive_visitor("donations", method_id, reference="AAAA", visitor="v")
        with pytest.raises(VisitNotFoundError):
            links.get_visit("AAAA")
        assert (world.wire.count(CREATE), links.get("donations").visited_at) == (0, None)

    def test_a_visitor_may_ask_a_link_for_so_many_addresses_an_hour(self, world: World):
        """Other visitors and other links are not concerned; looking at the same visit again is free."""
        links = reopen(world, max_addresses=2)
        for link_id in ("donations", "other"):
            links.create(link_id, minimum="20.00")
        for reference in ("A", "B", "A"):
            links.receive_visitor("donations", "1", reference=reference, visitor="v")
        world.clock.advance(1199.5)
        with pytest.raises(TooManyAddressesError) as refused:
            links.receive_visitor("donations", "1", reference="C", visitor="v")
        assert refused.value.retry_after_seconds == 2401
        assert links.receive_visitor("donations", "1", reference="D", visitor="w").address
        assert links.receive_visitor("other", "1", reference="E", visitor="v").address
        assert links.receive_visitor("donations", "1", reference="B", visitor="v").address
        with pytest.raises(VisitNotFoundError):
            links.get_visit("C")
        world.clock.advance(2401)
        assert links.receive_visitor("donations", "1", reference="C", visitor="v").address

    def test_what_is_not_offered_is_not_counted(self, world: World):
        """A mistake in a form costs nobody an address."""
        links = reopen(world, max_addresses=1)
        links.create("donations", minimum="20.00")
        with pytest.raises(LinkMethodError):
            links.receive_visitor("donations", "99", reference="A", visitor="v")
        assert links.receive_visitor("donations", "1", reference="A", visitor="v").address

    def test_a_link_that_is_not_there_has_no_visitors(self, world: World):
        """And asking for one makes none."""
        with pytest.raises(LinkNotFoundError):
            world.links.receive_visitor("donations", "1", reference="AAAA", visitor="v")
