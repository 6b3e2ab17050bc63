"""What a shop and a person can do with payment links, and when the gateway is read for them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from link_builders import receive_payment
from worlds import MERCHANT_ID, World, make_client, make_links, make_world

from flask_iterapay.errors import AmountError, GatewayError, InvalidLinkError, LinkNotFoundError
from flask_iterapay.links.models import ContributionStatus, LinkStatus
from flask_iterapay.orders.dispatch import MAX_ATTEMPTS
from flask_iterapay.orders.entries import EventState

LIST = f"POST /merchants/{MERCHANT_ID}/transactions/list"
DAY = 24 * 3600


@pytest.fixture
def world(tmp_path):
    """A shop, and a gateway that gives ever new addresses and tells which of them was paid."""
    world = make_world(tmp_path)
    world.switch(reusable_address="new", transaction_detail="told")
    return world


class TestMaking:
    def test_a_link_is_as_it_was_asked_for(self, world: World):
        """And makes no invoice before somebody comes."""
        link = world.links.create(
            "donations", description="For the cat", minimum="20", methods=[1, "4"], slug="cat", has_public_list=False
        )
        assert world.links.get("donations") == world.links.get_by_slug("cat") == link
        assert (link.description, link.minimum, link.method_ids) == ("For the cat", Decimal("20"), ("1", "4"))
        assert (link.status, link.slug, link.has_public_list) == (LinkStatus.OPEN, "cat", False)
        assert (link.invoices, link.due_at, world.wire.requests) == ((), None, [])

    def test_making_it_again_brings_it_up_to_date_and_leaves_it_open_or_closed(self, world: World):
        """A shop calls it at every start; invoices and history stay."""
        world.visit(reference="AAAA")
        before = world.links.close("donations", actor="ann", note="enough")
        after = world.links.create("donations", description="New", minimum="5.00", slug="give")
        assert (after.description, after.minimum, after.status) == ("New", Decimal("5.00"), LinkStatus.CLOSED)
        assert (after.invoices, after.history[:-1]) == (before.invoices, before.history)
        assert after.history[-1].reason == "terms changed"
        version = after.version
        assert world.links.create("donations", description="New", minimum="5.00", slug="give").version == version

    @pytest.mark.parametrize(
        "options",
        [
            {"link_id": ""},
            {"link_id": "x" * 65},
            {"link_id": "a\nb"},
            {"link_id": 7},
            {"description": "x" * 201},
            {"description": "a\x00b"},
            {"description": None},
            *[{"slug": slug} for slug in ("", "-a", "a-", "A", "ä", "a_b", "a/b", "a" * 65, 7)],
            *[{"methods": methods} for methods in ([], "1", b"1", 5, {}, [True], [1.5], [None])],
        ],
        ids=str,
    )
    def test_what_is_not_allowed_is_refused_and_nothing_written(self, world: World, options):
        """With one error that a shop can catch."""
        with pytest.raises(InvalidLinkError):
            world.links.create(**({"link_id": "donations"} | options))
        assert list(world.links.iterate()) == []

    @pytest.mark.parametrize("minimum", [0, "-1", "0.001", "1e3", "NaN", 1.5, True, "10_0", ""])
    def test_a_minimum_is_an_exact_amount(self, world: World, minimum):
        """Over zero, in whole cents, and no float."""
        with pytest.raises(AmountError):
            world.links.create("donations", minimum=minimum)
        assert list(world.links.iterate()) == []

    def test_a_slug_is_one_links(self, world: World):
        """Taken by a new or a changed link it is refused; given up, it is free."""
        world.links.create("first", slug="give")
        world.links.create("second", slug="take")
        for link_id in ("second", "third"):
            with pytest.raises(InvalidLinkError, match="another link's"):
                world.links.create(link_id, slug="give")
        assert world.links.get("second").slug == "take"
        world.links.create("first")
        assert world.links.create("third", slug="give") == world.links.get_by_slug("give")
        assert world.links.get_by_slug("nobody") is None

    def test_closing_and_opening_are_noted_once(self, world: World):
        """Who and why is in the history."""
        world.links.create("donations")
        for _ in range(2):
            closed = world.links.close("donations", actor="ann", note="enough")
        assert (closed.status, [step.reason for step in closed.history]) == ("closed", ["created", "closed"])
        assert (closed.history[-1].actor, closed.history[-1].note) == ("ann", "enough")
        assert world.links.reopen("donations").history[-1].reason == "opened"
        with pytest.raises(InvalidLinkError):
            world.links.close("donations", note="a\nb")

    @pytest.mark.parametrize("verb", ["get", "close", "reopen", "sync", "poll", "check"])
    def test_a_link_that_is_not_there_is_a_named_error(self, world: World, verb):
        """Nothing makes one by asking for it."""
        with pytest.raises(LinkNotFoundError, match="'nobody'"):
            getattr(world.links, verb)("nobody")


class TestReading:
    def test_a_hint_is_for_whom_it_names(self, world: World):
        """A link's invoice is no order's, an order's no link's, and a foreign one is nobody's."""
        visit, order = world.visit(reference="AAAA"), world.choose()
        world.pay(visit)
        assert world.service.receive_hint(visit.invoice_id) is None
        before = len(world.wire.requests)
        for invoice_id in (order.current_invoice_id, "somebody's", "", "link:donations", "slug:give"):
            assert world.links.receive_hint(invoice_id) is None
        assert len(world.wire.requests) == before
        assert world.links.receive_hint(visit.invoice_id).link_id == "donations"
        assert len(world.links.list_contributions("donations", limit=9)) == 1

    def test_a_hint_during_a_reading_makes_the_reader_read_once_more(self, world: World):
        """What is paid in the middle of it is not missed, and nobody reads beside the holder."""
        visit = world.visit(reference="AAAA")
        hinted = []

        def hint() -> None:
            hinted.append(world.links.receive_hint(visit.invoice_id))
            world.pay(visit)

        before = world.wire.count(LIST)
        world.wire.interrupt(LIST, lambda: None)
        world.wire.faults[-1].run = hint
        world.links.sync("donations")
        assert (world.wire.count(LIST), len(hinted)) == (before + 2, 1)
        assert [item.status for item in world.links.list_contributions("donations", limit=9)] == ["received"]

    def test_two_who_read_at_once_are_one_reading(self, world: World):
        """The claim keeps polls and reconcile away."""
        world.visit(reference="AAAA")
        world.clock.advance(61)
        before = world.wire.count(LIST)
        world.wire.interrupt(LIST, lambda: (world.links.poll("donations"), world.service.reconcile()))
        world.links.sync("donations")
        assert world.wire.count(LIST) == before + 1

    @pytest.mark.parametrize("last", ["settle", "flag", "fail"])
    def test_a_reader_who_was_overtaken_counts_nothing_twice(self, world: World, last):
        """Its claim ran out while it slept, and what it read is older than what is known."""
        visit = world.visit(reference="AAAA")
        world.pay(visit, "pay_pending")

        def be_overtaken() -> None:
            world.clock.advance(91)
            world.act_on("settle", str(visit.invoice_id))
            world.links.sync("donations")
            if last != "settle":
                world.act_on(last, str(visit.invoice_id))

        world.wire.interrupt(LIST, be_overtaken)
        world.links.sync("donations")
        (contribution,) = world.links.list_contributions("donations", limit=9)
        names = [event.name for event in contribution.events]
        assert names == ["link.payment_received", *(["link.payment_anomaly"] if last != "settle" else [])]
        assert [item.status for item in world.links.get_visit("AAAA").payments] == ["received"]

    def test_a_host_whose_clock_runs_behind_still_brings_news(self, world: World):
        """What is read under the claim is the newest, whatever another host's clock said."""
        visit = world.visit(reference="AAAA")
        world.pay(visit, "pay_pending")
        world.links.sync("donations")
        world.act_on("settle", str(visit.invoice_id))
        world.clock.advance(-300)
        world.links.sync("donations")
        assert [item.status for item in world.links.get_visit("AAAA").payments] == ["received"]

    def test_however_many_poll_the_gateway_is_read_once_an_interval(self, world: World):
        """Ten thousand pages cost what one does."""
        world.visit(reference="AAAA")
        world.links.sync("donations")
        before = world.wire.count(LIST)
        for _ in range(2):
            world.clock.advance(15)
            for _ in range(5000):
                world.links.poll("donations")
        assert world.wire.count(LIST) == before + 2
        for _ in range(100):
            world.links.check("donations")
        assert world.wire.count(LIST) == before + 2

    def test_a_link_that_nobody_visited_is_not_read(self, world: World):
        """There is nothing that could have been paid."""
        world.links.create("donations")
        for read in (world.links.poll, world.links.check, world.links.sync):
            read("donations")
        assert (world.service.reconcile().links, world.wire.requests) == (0, [])

    def test_a_gateway_in_trouble_is_left_in_peace(self, world: World):
        """The trouble is noted, polls do not add to it, and what was paid meanwhile is found when it is over."""
        world.pay(world.visit(reference="AAAA"))
        world.wire.fail(LIST)
        with pytest.raises(GatewayError):
            world.links.sync("donations")
        before = world.wire.count(LIST)
        for _ in range(50):
            assert world.links.poll("donations").unreachable_since == world.clock()
        assert world.wire.count(LIST) == before
        world.wire.mend()
        world.clock.advance(15)
        assert world.links.poll("donations").unreachable_since is None
        assert len(world.links.list_contributions("donations", limit=9)) == 1

    def test_it_is_read_ever_more_rarely_and_for_ever(self, world: World):
        """As long as anybody may send to an address that was given out, which is for ever; a visit hurries it."""
        world.visit(reference="AAAA")
        world.links.sync("donations")
        paces = []
        for days in (0, 0.1, 1, 6.9, 7.1, 400):
            world.clock.now = world.links.get("donations").visited_at + timedelta(days=days)
            link = world.links.sync("donations")
            paces.append((link.next_check_at - world.clock()).total_seconds())
        assert paces == [60, 600, 7200, 7200, 21600, 21600]
        world.visit(reference="BBBB")
        assert world.links.get("donations").next_check_at == world.clock() + timedelta(seconds=60)

    def test_reconcile_alone_finds_what_was_paid_after_a_year(self, world: World):
        """Without a webhook, a visitor or a page."""
        visit = world.visit(reference="AAAA")
        world.clock.advance(365 * DAY)
        world.service.reconcile()
        world.pay(visit)
        world.clock.advance(6 * 3600)
        assert world.service.reconcile().events == 1
        assert [event.reference for event in world.handled] == ["AAAA"]


class TestTelling:
    def test_every_payment_is_told_once_under_its_own_key(self, world: World):
        """However often it is read and handed out."""
        visits = [world.visit(reference=reference) for reference in ("AAAA", "BBBB")]
        for action in ("pay_exact", "pay_short", "pay_over", "pay_dust", "pay_pending"):
            for visit in visits:
                world.pay(visit, action)
        for _ in range(3):
            world.links.sync("donations")
            world.links.dispatch_news("donations")
            world.service.reconcile()
            world.clock.advance(61)
        keys = [event.key for event in world.handled]
        assert len(keys) == len(set(keys)) == 6
        assert {event.name for event in world.handled} == {"link.payment_received"}
        assert sorted(event.reference for event in world.handled) == ["AAAA"] * 3 + ["BBBB"] * 3

    def test_a_handler_that_fails_hears_of_the_same_payment_again(self, world: World):
        """Under the same key, later and later, while another payment's handler is not kept waiting."""
        calls: list[str] = []

        def handle(event: Any) -> None:
            calls.append(event.key)
            if calls.count(event.key) < 3 and event.reference == "AAAA":
                raise RuntimeError("the books are closed")

        links = make_links(store=world.ledger.store, gateway=make_client(world.wire), clock=world.clock, handle=handle)
        for reference in ("AAAA", "BBBB"):
            world.pay(world.visit(reference=reference))
        links.sync("donations")
        for pause in (10, 30, 90):
            links.dispatch_news("donations")
            world.clock.advance(pause)
        first, second = sorted(set(calls), key=calls.count, reverse=True)
        assert (calls.count(first), calls.count(second)) == (3, 1)
        states = [event.state for item in links.iterate_contributions("donations") for event in item.events]
        assert states == [EventState.DONE] * 2

    def test_a_person_has_what_failed_for_good_tried_again(self, world: World):
        """And who did it is in the contribution's history."""
        is_open = []

        def handle(event: Any) -> None:
            if not is_open:
                raise RuntimeError("the books are closed")

        links = make_links(store=world.ledger.store, gateway=make_client(world.wire), clock=world.clock, handle=handle)
        contribution_id = receive_payment(world)
        for _ in range(MAX_ATTEMPTS):
            links.dispatch(contribution_id)
            world.clock.advance(6 * 3600)
        assert links.get_contribution(contribution_id).events[0].state is EventState.FAILED
        is_open.append(True)
        links.retry(contribution_id, actor="ann", note="opened")
        assert links.dispatch(contribution_id) == 1
        told = links.get_contribution(contribution_id)
        assert (told.events[0].state, told.status) == (EventState.DONE, ContributionStatus.RECEIVED)
        assert (told.history[-1].actor, told.history[-1].note) == ("ann", "opened")

    def test_the_list_is_read_a_page_at_a_time(self, world: World):
        """Newest first, each once, also where many came in one moment; and no other link's."""
        visit, other = world.visit(reference="AAAA"), world.visit("other", reference="BBBB")
        for number in range(12):
            world.pay(visit)
            world.pay(other)
            world.clock.advance(number % 3)
        world.links.sync("donations")
        world.links.sync("other")
        pages, before = [], None
        while page := world.links.list_contributions("donations", limit=5, before=before):
            pages.append(page)
            before = page[-1]
        listed = [item for page in pages for item in page]
        assert [len(page) for page in pages] == [5, 5, 2]
        assert len({item.contribution_id for item in listed}) == 12
        assert [item.created_at for item in listed] == sorted((item.created_at for item in listed), reverse=True)
        assert listed == list(world.links.iterate_contributions("donations"))
        assert {item.link_id for item in listed} == {"donations"}
