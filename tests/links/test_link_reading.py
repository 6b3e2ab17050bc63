"""How far down a link is read: no further than need be, and what is too old for that is asked for by itself."""

from collections import Counter
from datetime import timedelta

import pytest
from link_builders import make_transfer
from listed_links import DAY, Shop

from flask_iterapay.links.models import ContributionStatus


class TestWindow:
    def test_the_newest_page_is_enough_where_all_is_final(self):
        """However long the list is, once it was read to its end."""
        shop = Shop()
        shop.fill(500)
        assert len(shop.sync()) >= 10
        assert len(shop.written) == 500
        shop.clock.advance(60)
        shop.arrive("settled", "new")
        assert shop.sync() == [1]
        assert shop.get("new").status is ContributionStatus.RECEIVED

    @pytest.mark.parametrize("state", ["pending", "confirmed", "flagged", "half_past_nine"])
    def test_reading_goes_on_until_below_the_oldest_that_is_not_final(self, state):
        """And once that is final, the newest page is enough again."""
        shop = Shop()
        shop.fill(500)
        shop.arrive(state, 120)
        shop.sync()
        shop.clock.advance(60)
        assert shop.sync() == [1, 2, 3]
        shop.arrive("settled", 120)
        assert shop.sync() == [1, 2, 3]
        assert shop.get(120).status is ContributionStatus.RECEIVED
        assert shop.sync() == [1]

    def test_what_failed_is_final(self):
        """Nothing is read again for it."""
        shop = Shop()
        shop.fill(500)
        shop.arrive("failed", 120)
        shop.sync()
        assert (shop.sync(), shop.get(120).status) == ([1], ContributionStatus.REFUSED)

    def test_many_contributions_cost_no_more_than_a_few(self):
        """Calls of the gateway and of the store, by a link with ten and one with ten thousand."""
        costs = []
        for count in (10, 10_000):
            shop = Shop()
            shop.fill(count)
            shop.sync()
            while shop.link.backlog:
                shop.sync()
            assert len(shop.written) == count
            shop.clock.advance(60)
            shop.arrive("settled", "new")
            costs.append((shop.sync(), len(shop.store.get("link:donations").body)))
        assert costs[0][0] == costs[1][0] == [1]
        assert abs(costs[0][1] - costs[1][1]) < 10

    def test_a_list_that_is_not_sorted_is_read_to_its_end(self):
        """Nothing follows from its order, so nothing is missed."""
        shop = Shop()
        shop.fill(170)
        shop.gateway.is_sorted = False
        assert len(shop.sync()) >= 4
        shop.clock.advance(60)
        shop.arrive("settled", "new")
        assert len(shop.sync()) >= 4
        assert len(shop.written) == 171

    def test_a_gateway_that_does_not_count_is_read_to_the_first_short_page(self):
        """Or to an empty one."""
        for count, pages in [(49, 1), (50, 2), (120, 3)]:
            shop = Shop()
            shop.fill(count)
            shop.gateway.is_counting = False
            assert (len(shop.sync()), len(shop.written)) == (pages, count)

    def test_a_transaction_that_is_listed_late_is_found(self):
        """Ten minutes after it was sent, among others that came before it."""
        shop = Shop()
        shop.fill(500, every=5)
        shop.sync()
        shop.clock.advance(5)
        shop.arrive("settled", "late", ago=590)
        shop.sync()
        assert shop.get("late").status is ContributionStatus.RECEIVED

    @pytest.mark.parametrize("hours", [1, 12, 24])
    def test_a_transaction_that_is_listed_up_to_a_day_late_is_found_within_another(self, hours):
        """However many came after it: once a day the list is read down to a day before the last such look."""
        shop = Shop()
        shop.fill(500, every=600)
        shop.sync()
        shop.clock.advance(3600)
        shop.arrive("settled", "late", ago=hours * 3600)
        shop.arrive("settled", "new")
        assert shop.sync() == [1]
        for _ in range(24):
            shop.clock.advance(3600)
            shop.reconcile()
        assert shop.get("late").status is ContributionStatus.RECEIVED
        shop.reconcile()
        assert Counter(shop.handled)["link.payment_received:inv-1:tx-late"] == 1

    @pytest.mark.parametrize("hours", [30, 72, 1000])
    def test_a_shop_that_was_away_finds_what_was_listed_late_meanwhile(self, hours):
        """The next look goes down to a day before the last one, however long ago that was."""
        shop = Shop()
        shop.fill(500, every=300)
        shop.sync()
        shop.clock.advance(3600)
        shop.arrive("settled", "late", ago=23 * 3600)
        for number in range(100):
            shop.clock.advance(hours * 36)
            shop.arrive("settled", f"new-{number}")
        shop.sync()
        assert shop.get("late").status is ContributionStatus.RECEIVED

    def test_a_list_is_read_further_down_once_a_day(self):
        """All other readings, however many, stop where nothing is new."""
        shop = Shop()
        shop.fill(500, every=600)
        shop.sync()
        pages = []
        for _ in range(3 * 24):
            shop.clock.advance(3600)
            shop.arrive("settled", f"new-{shop.now()}")
            pages.append(len(shop.sync()))
        # What was filled in lies ever further back.
        assert (pages[23], pages[47], pages[71]) == (4, 2, 1)
        assert Counter(pages)[1] == 70

    def test_looking_back_is_read_in_parts_like_everything(self):
        """What a reading has no time for is a backlog, and the day begins anew when it was begun."""
        shop = Shop()
        shop.fill(500, every=300)
        shop.sync()
        while shop.link.backlog:
            shop.sync()
        shop.clock.advance(DAY)
        shop.arrive("settled", "late", ago=2 * DAY)
        shop.gateway.seconds = 6
        assert len(shop.sync()) < 12
        assert (shop.link.backlog.page, shop.link.looked_back_at) == (3, shop.link.read_at)
        for _ in range(20):
            shop.reconcile()
        assert shop.link.backlog is None
        assert shop.get("late").status is ContributionStatus.RECEIVED

    def test_a_transaction_from_the_future_hides_none_that_come_after_it(self):
        """It is counted, once, and is no reason to stop reading above the others."""
        shop = Shop()
        shop.fill(200)
        shop.arrive("settled", "future", ago=-365 * DAY)
        shop.sync()
        for number in range(3):
            shop.clock.advance(3600)
            shop.arrive("settled", f"new-{number}")
            shop.sync()
            assert shop.get(f"new-{number}").status is ContributionStatus.RECEIVED
        assert shop.get("future").status is ContributionStatus.RECEIVED

    def test_a_pending_transaction_from_the_future_is_awaited_no_longer_than_others(self):
        """Its own time counts from when it was first seen."""
        shop = Shop()
        shop.arrive("pending", "future", ago=-365 * DAY)
        shop.sync()
        shop.clock.advance(DAY)
        shop.sync()
        assert shop.get("future").next_check_at == shop.clock() + timedelta(days=1)

    def test_a_page_of_others_transactions_is_not_the_end(self):
        """Should the gateway not filter, they are read past."""
        shop = Shop()
        shop.gateway.is_filtering = False
        shop.fill(10)
        shop.clock.advance(6000)
        for number in range(120):
            shop.arrive("settled", f"other-{number}", invoice_id="somebody's")
        shop.sync()
        assert len(shop.written) == 10

    def test_both_invoices_of_a_link_are_read_together(self):
        """A link whose minimum was changed has several, and all stay watched."""
        shop = Shop("inv-1", "inv-2")
        shop.arrive("settled", 1)
        shop.arrive("settled", 2, invoice_id="inv-2")
        assert shop.sync() == [1]
        assert sorted(item.contribution_id for item in shop.written) == ["inv-1:tx-1", "inv-2:tx-2"]

    def test_no_list_is_no_reason_to_forget_how_far_was_read(self):
        """A gateway that shows nothing for a while brings nothing back to be counted again."""
        shop = Shop()
        shop.fill(200)
        shop.sync()
        listed, shop.gateway.transactions = shop.gateway.transactions, []
        shop.sync()
        shop.gateway.transactions = listed
        assert shop.sync() == [1]
        assert len(shop.written) == 200


class TestStragglers:
    def straggle(self) -> Shop:
        """A shop with a transaction that is not final after a day, and many that came later."""
        shop = Shop()
        shop.gateway.most = 10
        shop.arrive("pending", 1)
        shop.sync()
        shop.clock.advance(DAY)
        for number in range(30):
            shop.arrive("settled", f"later-{number}", ago=number * 300)
        assert len(shop.sync()) >= 4
        shop.reconcile()
        shop.handled.clear()
        return shop

    def test_what_is_not_final_after_a_day_leaves_the_window(self):
        """The list is not read so far back for it any more."""
        shop = self.straggle()
        assert shop.get(1).next_check_at == shop.clock() + timedelta(days=1)
        assert shop.sync() == [1]
        shop.arrive("settled", 1)
        assert shop.sync() == [1]
        assert shop.get(1).status is ContributionStatus.CONFIRMING

    def test_it_is_asked_for_by_itself_once_a_day(self):
        """By reconcile, and what it becomes is told."""
        shop = self.straggle()
        for _ in range(48):
            shop.clock.advance(3600)
            shop.reconcile()
        assert shop.gateway.asked == ["tx-1"] * 2
        shop.arrive("settled", 1)
        shop.clock.advance(DAY)
        assert shop.reconcile().events == 1
        assert shop.handled == ["link.payment_received:inv-1:tx-1"]
        assert (shop.get(1).status, shop.get(1).next_check_at) == (ContributionStatus.RECEIVED, None)
        shop.clock.advance(DAY)
        shop.reconcile()
        assert shop.gateway.asked == ["tx-1"] * 3

    @pytest.mark.parametrize("is_gone", [False, True])
    def test_it_is_asked_for_half_a_year(self, is_gone):
        """Whether the gateway still has it or not."""
        shop = self.straggle()
        if is_gone:
            shop.gateway.transactions = shop.gateway.transactions[1:]
        for _ in range(200):
            shop.clock.advance(DAY)
            shop.reconcile()
        assert 178 <= len(shop.gateway.asked) <= 181
        assert (shop.get(1).next_check_at, shop.get(1).status) == (None, ContributionStatus.CONFIRMING)

    def test_a_gateway_that_fails_is_asked_again_the_next_day(self):
        """One failure is no answer."""
        shop = self.straggle()
        shop.arrive("settled", 1)
        shop.clock.advance(DAY)
        shop.gateway.failing = {len(shop.gateway.pages) + 1, len(shop.gateway.pages) + 2}
        assert shop.reconcile().failures >= 1
        shop.gateway.failing = set()
        shop.clock.advance(DAY)
        shop.reconcile()
        assert shop.get(1).status is ContributionStatus.RECEIVED

    def test_an_answer_about_another_invoice_is_not_believed(self):
        """Its money is not this contribution's."""
        shop = self.straggle()
        shop.gateway.put(make_transfer("settled", "tx-1", invoice_id="inv-9"))
        shop.clock.advance(DAY)
        assert shop.reconcile().failures == 1
        assert shop.get(1).status is ContributionStatus.CONFIRMING

    def test_of_two_that_reconcile_one_asks(self):
        """Who moves the next check forward may ask."""
        shop = self.straggle()
        shop.clock.advance(DAY)
        shop.gateway.meanwhile = shop.reconcile
        shop.reconcile()
        assert shop.gateway.asked == ["tx-1"]

    def test_what_a_person_decides_is_not_asked_for(self):
        """It is over."""
        shop = self.straggle()
        shop.links.resolve("inv-1:tx-1", is_accepted=False, actor="ann")
        shop.clock.advance(2 * DAY)
        shop.reconcile()
        assert shop.gateway.asked == []

    def test_one_that_is_first_seen_after_a_day_is_asked_for_too(self):
        """A shop that was away for long does not lose it."""
        shop = Shop()
        shop.arrive("pending", 1, ago=2 * DAY)
        shop.sync()
        assert shop.get(1).next_check_at == shop.clock() + timedelta(days=1)

    def test_what_failed_is_asked_for_by_itself_for_two_weeks(self):
        """What the gateway calls failed may be held, and released later; the list is not read so far back for it."""
        shop = Shop()
        shop.gateway.most = 10
        shop.arrive("failed", 1)
        for number in range(30):
            shop.clock.advance(300)
            shop.arrive("settled", f"later-{number}")
        shop.sync()
        assert (shop.get(1).status, shop.sync()) == (ContributionStatus.REFUSED, [1])
        for _ in range(10):
            shop.clock.advance(DAY)
            shop.reconcile()
        assert 9 <= len(shop.gateway.asked) <= 10
        shop.arrive("settled", 1)
        shop.clock.advance(DAY)
        shop.reconcile()
        assert shop.get(1).status is ContributionStatus.RECEIVED
        assert "link.payment_received:inv-1:tx-1" in shop.handled

    def test_what_failed_is_left_alone_after_two_weeks(self):
        """It will not come to anything any more."""
        shop = Shop()
        shop.gateway.most = 10
        shop.arrive("failed", 1)
        for number in range(30):
            shop.clock.advance(300)
            shop.arrive("settled", f"later-{number}")
        shop.sync()
        for _ in range(20):
            shop.clock.advance(DAY)
            shop.reconcile()
        assert 12 <= len(shop.gateway.asked) <= 15
        assert shop.get(1).next_check_at is None
