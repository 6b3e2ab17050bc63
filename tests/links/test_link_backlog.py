"""Readings that are cut short or fail: what they left is read later, and in the end everything once."""

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_builders import make_transfer
from listed_links import DAY, Shop
from msgspec.structs import replace

from flask_iterapay.errors import GatewayError
from flask_iterapay.links.models import ContributionStatus
from flask_iterapay.links.reading import PAGE_LIMIT
from flask_iterapay.orders.entries import EventName


class TestTrouble:
    def test_a_page_that_fails_hides_nothing_that_was_read_before_it(self):
        """It is trouble, and the next reading goes on where this one stopped."""
        shop = Shop()
        shop.fill(200)
        shop.gateway.failing = {3}
        with pytest.raises(GatewayError):
            shop.sync()
        assert len(shop.written) == 2 * PAGE_LIMIT
        assert (shop.link.claim, shop.link.unreachable_since, shop.link.backlog.page) == (None, shop.clock(), 3)
        shop.gateway.failing = set()
        shop.arrive("settled", "new")
        assert shop.sync()[:2] == [1, 3]
        assert len(shop.written) == 201
        assert (shop.link.backlog, shop.link.unreachable_since) == (None, None)

    def test_nothing_read_is_nothing_changed(self):
        """If the first page fails, all stays as it was, and due."""
        shop = Shop()
        shop.fill(20)
        shop.sync()
        before = shop.link
        shop.gateway.failing = {1}
        shop.clock.advance(60)
        with pytest.raises(GatewayError):
            shop.sync()
        after = shop.link
        assert (after.read_from, after.read_at, after.backlog) == (before.read_from, before.read_at, None)
        assert after.next_check_at > shop.clock()

    def test_a_slow_gateway_is_read_in_parts(self):
        """A reading ends in time, the rest is due at once, and reconcile does it."""
        shop = Shop()
        shop.fill(600)
        shop.gateway.seconds = 4
        began = shop.clock()
        pages = shop.sync()
        assert len(pages) < 20
        assert (shop.clock() - began).total_seconds() <= 80
        assert shop.link.due_at == shop.clock()
        for _ in range(20):
            shop.reconcile()
        assert (len(shop.written), shop.link.backlog) == (600, None)
        assert len(shop.handled) == len(set(shop.handled)) == 600

    def test_a_record_that_cannot_be_read_hides_none_of_the_others(self, caplog):
        """Not on its page, nor on those that follow."""
        shop = Shop()
        shop.fill(120)
        shop.arrive("pending", 10)
        shop.arrive("pending", 100)
        shop.sync()
        record = shop.store.get("contribution:inv-1:tx-10")
        shop.store.save(replace(record, body="{", version=record.version + 1), expected_version=record.version)
        for number in (10, 100):
            shop.arrive("settled", number)
        shop.arrive("settled", "new")
        assert shop.sync() == [1, 2, 3]
        assert {shop.get(name).status for name in (100, "new")} == {ContributionStatus.RECEIVED}
        assert "tx-10 is left alone" in caplog.text

    def test_what_is_awaited_is_read_again_when_the_backlog_is_worked_off(self):
        """What was not final above it is not forgotten for what was below."""
        shop = Shop()
        shop.fill(600)
        shop.arrive("pending", 100)
        shop.gateway.seconds = 4
        shop.sync()
        assert shop.get(100).status is ContributionStatus.CONFIRMING
        while shop.link.backlog:
            shop.sync()
        shop.arrive("settled", 100)
        shop.gateway.seconds = 0
        assert (shop.sync(), shop.get(100).status) == ([1, 2, 3], ContributionStatus.RECEIVED)

    @pytest.mark.parametrize(("seconds", "readings"), [(4, 6), (9, 11), (19, 12)])
    def test_what_is_awaited_far_down_keeps_no_older_one_from_being_read(self, seconds, readings):
        """However slow the gateway is, every reading brings the rest further, and the awaited ones have their turn."""
        shop = Shop()
        shop.fill(600, every=20)
        for number in range(0, 600, 10):
            shop.arrive("flagged", number)
        shop.gateway.seconds = seconds
        for _ in range(readings):
            shop.sync()
        assert (len(shop.written), shop.link.backlog) == (600, None)
        for number in range(0, 600, 10):
            shop.arrive("settled", number)
        for _ in range(readings + 1):
            shop.sync()
        assert Counter(item.status for item in shop.written) == {ContributionStatus.RECEIVED: 600}
        assert (shop.link.backlog, shop.sync()) == (None, [1])

    def test_others_transactions_keep_none_of_ours_from_being_read(self):
        """Also if the gateway does not filter, and is slow."""
        shop = Shop()
        shop.gateway.is_filtering = False
        shop.fill(10)
        for number in range(600):
            shop.arrive("settled", f"other-{number}", invoice_id="somebody's")
            shop.clock.advance(20)
        shop.gateway.seconds = 4
        for _ in range(20):
            shop.sync()
        assert len(shop.written) == 10


arrivals = st.lists(
    st.tuples(st.sampled_from(["settled", "pending", "confirmed", "flagged", "failed"]), st.integers(0, 550)),
    max_size=8,
)
rounds = st.fixed_dictionaries(
    {
        "before": arrivals,
        "during": arrivals,
        "seconds": st.sampled_from([0, 1, 4, 9, 19]),
        "failing": st.sets(st.integers(1, 6), max_size=2),
        "pause": st.sampled_from([0, 30, 900, 30_000, 90_000]),
        "is_settling": st.booleans(),
    }
)


class TestAnyCourse:
    @given(st.lists(rounds, min_size=1, max_size=6), st.sampled_from([0, 4, 9]))
    @settings(max_examples=40, deadline=None)
    def test_in_the_end_everything_is_written_once(self, rounds, seconds):
        """Whatever arrives while it reads, wherever readings are cut or fail: nothing is missed, nothing told twice."""
        shop = Shop()
        shop.gateway.most = 2
        for plan in rounds:
            live_through(shop, **plan)
        shop.gateway.failing, shop.gateway.meanwhile, shop.gateway.seconds = set(), lambda: None, seconds
        settle_all(shop)
        for pause in [61] * 60 + [DAY] + [61] * 10:
            if not find_difference(shop):
                break
            shop.clock.advance(pause)
            shop.reconcile()
        assert find_difference(shop) is None


def live_through(shop: Shop, *, before, during, seconds, failing, pause, is_settling) -> None:
    """Let some transactions arrive before a reading and some at its calls, and then some time pass."""
    waiting = list(during)

    def arrive(state: str, ago: float) -> None:
        shop.arrive(state, len(shop.gateway.transactions), ago=ago)

    def be_interrupted() -> None:
        if waiting:
            arrive(*waiting.pop())

    for coming in before:
        arrive(*coming)
    shop.gateway.pages.clear()
    shop.gateway.asked.clear()
    shop.gateway.seconds, shop.gateway.failing, shop.gateway.meanwhile = seconds, failing, be_interrupted
    with suppress(GatewayError):
        shop.links.sync("donations")
    shop.clock.advance(pause)
    if is_settling:
        settle_all(shop)


def settle_all(shop: Shop) -> None:
    for item in shop.gateway.transactions:
        if item.state not in ("settled", "failed"):
            shop.gateway.put(make_transfer("settled", item.transaction_id, created_at=item.created_at))


def find_difference(shop: Shop) -> str | None:
    """What is not yet as the gateway has it; what must never be is an error at once."""
    truth = {item.transaction_id: item.state for item in shop.gateway.transactions}
    written = {item.transaction_id: item.state for item in shop.written}
    settled = sorted(f"link.payment_received:inv-1:{name}" for name, state in truth.items() if state == "settled")
    assert len(shop.written) == len(written) <= len(truth)
    events = [e.key for item in shop.written for e in item.events if e.name is EventName.PAYMENT_RECEIVED]
    handled = [key for key in shop.handled if "received" in key]
    assert len(set(events)) == len(events)
    assert len(set(handled)) == len(handled)
    assert set(handled) <= set(events) <= set(settled)
    if written != truth or sorted(handled) != settled:
        return f"{written} and {handled} instead of {truth}"
    return None if shop.link.backlog is None else f"{shop.link.backlog}"
