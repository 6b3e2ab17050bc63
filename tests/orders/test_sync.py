"""The only door for news: claims, hints, polls, and a gateway that fails."""

from datetime import timedelta

import httpx
import pytest
from worlds import Fault, World, make_world

from flask_iterapay.errors import GatewayError, OrderNotFoundError
from flask_iterapay.orders.models import HoldReason, OrderStatus

READ = "GET /merchants/11111111-1111-4111-8111-111111111111/invoices/"
TRANSACTIONS = "/transactions/list"


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def reads(world: World) -> int:
    return world.wire.count(READ)


class TestClaims:
    def test_while_one_reads_a_poll_does_not(self, world: World):
        """A claim keeps others from reading the gateway for the same order."""
        world.choose()
        world.clock.advance(61)
        before = reads(world)
        world.wire.interrupt(READ, lambda: world.service.poll("1042"))
        world.service.sync("1042")
        assert reads(world) == before + 1

    def test_a_hint_during_a_read_makes_the_reader_read_once_more(self, world: World):
        """News that comes in the middle of a read is not lost, and nobody reads beside the holder."""
        order = world.choose()
        before = reads(world)

        def pay_and_hint():
            world.act("pay_exact", order)
            assert world.service.receive_hint(order.current_invoice_id).status is OrderStatus.AWAITING_PAYMENT

        world.wire.interrupt(READ, lambda: None)
        world.wire.faults[-1].fragment = TRANSACTIONS
        world.wire.faults[-1].run = pay_and_hint
        assert world.service.sync("1042").status is OrderStatus.PAID
        assert reads(world) == before + 2

    def test_a_claim_ends_by_itself(self, world: World):
        """A worker that dies while it reads leaves the order to the next."""

        class Crash(BaseException):
            pass

        def crash():
            raise Crash

        order = world.choose()
        world.act("pay_exact", order)
        world.wire.interrupt(READ, crash)
        with pytest.raises(Crash):
            world.service.sync("1042")
        assert world.service.sync("1042").status is OrderStatus.AWAITING_PAYMENT
        world.clock.advance(91)
        assert world.service.sync("1042").status is OrderStatus.PAID

    def test_a_stale_read_is_never_saved_after_a_fresh_one(self, world: World):
        """A reader that was overtaken while it slept leaves the newer state alone."""
        order = world.choose()

        def be_overtaken():
            world.clock.advance(91)
            world.act("pay_exact", order)
            assert world.service.sync("1042").status is OrderStatus.PAID

        world.wire.interrupt(TRANSACTIONS, be_overtaken)
        assert world.service.sync("1042").status is OrderStatus.PAID
        assert [event.key for event in world.service.get("1042").events] == ["order.paid:1042"]

    def test_a_change_beside_the_claim_does_not_cost_the_snapshot(self, world: World):
        """If only something else about the order changed, what was read is applied to the newer order."""
        order = world.choose()
        world.act("pay_pending", order)
        world.service.sync("1042")
        world.act("confirm", order)
        world.act("settle", order)
        before = reads(world)
        world.wire.interrupt(READ, lambda: world.service.dispatch("1042"))
        assert world.service.sync("1042").status is OrderStatus.PAID
        assert reads(world) == before + 1


class TestPoll:
    def test_a_thousand_polls_are_one_read_an_interval(self, world: World):
        """The gateway does not feel how many pages are open."""
        world.choose()
        before = reads(world)
        for _ in range(1000):
            world.service.poll("1042")
        assert reads(world) == before
        world.clock.advance(15)
        for _ in range(1000):
            world.service.poll("1042")
        assert reads(world) == before + 1

    def test_a_poll_of_an_order_without_invoice_reads_nothing(self, world: World):
        """There is nothing to read before a method was chosen."""
        world.place()
        assert world.service.poll("1042").status is OrderStatus.NEW
        assert world.wire.requests == []

    def test_a_poll_of_an_unknown_order_says_so(self, world: World):
        """A made-up order is not made by asking for it."""
        with pytest.raises(OrderNotFoundError):
            world.service.poll("nobody")


class TestCheck:
    def test_a_check_reads_at_once_unless_it_was_read_a_moment_ago(self, world: World):
        """A customer who presses the button is answered from the gateway, but cannot flood it."""
        order = world.choose()
        world.clock.advance(15)
        world.service.poll("1042")
        world.act("pay_exact", order)
        assert world.service.check("1042").status is OrderStatus.AWAITING_PAYMENT
        world.clock.advance(15)
        assert world.service.check("1042").status is OrderStatus.PAID

    def test_a_check_while_the_gateway_is_down_waits_for_the_next_try(self, world: World):
        """Impatience does not add load to a gateway in trouble."""
        world.choose()
        world.clock.advance(15)
        world.wire.fail(READ)
        world.service.check("1042")
        before = reads(world)
        world.service.check("1042")
        assert reads(world) == before


class TestHints:
    def test_a_hint_about_a_foreign_invoice_does_nothing(self, world: World):
        """A merchant's other invoices are none of this shop's business."""
        world.choose()
        before = len(world.wire.requests)
        assert world.service.receive_hint("somebody-elses") is None
        assert len(world.wire.requests) == before

    def test_a_hint_proves_nothing(self, world: World):
        """Only what the API says counts."""
        order = world.choose()
        assert world.service.receive_hint(order.current_invoice_id).status is OrderStatus.AWAITING_PAYMENT

    def test_a_hint_always_leads_to_a_read(self, world: World):
        """Even right after another read, unless the order is paid."""
        order = world.choose()
        before = reads(world)
        world.service.receive_hint(order.current_invoice_id)
        world.act("pay_exact", order)
        assert world.service.receive_hint(order.current_invoice_id).status is OrderStatus.PAID
        assert reads(world) == before + 2

    def test_hints_about_a_paid_order_read_once_an_interval(self, world: World):
        """A flood of duplicates costs nothing."""
        order = world.choose()
        world.act("pay_exact", order)
        world.service.receive_hint(order.current_invoice_id)
        before = reads(world)
        for _ in range(20):
            world.service.receive_hint(order.current_invoice_id)
        assert reads(world) == before
        world.clock.advance(15)
        world.service.receive_hint(order.current_invoice_id)
        assert reads(world) == before + 1

    def test_duplicates_make_one_event(self, world: World):
        """However often it is told, an order is paid once."""
        order = world.choose()
        world.act("pay_exact", order)
        for _ in range(5):
            world.clock.advance(20)
            world.service.receive_hint(order.current_invoice_id)
        assert [event.key for event in world.service.get("1042").events] == ["order.paid:1042"]


class TestTrouble:
    def test_a_gateway_that_fails_keeps_the_order_due(self, world: World):
        """The state stays, the trouble is noted, and the order is read again later and later."""
        order = world.choose()
        world.wire.fail(READ)
        with pytest.raises(GatewayError):
            world.service.receive_hint(order.current_invoice_id)
        failed = world.service.get("1042")
        assert (failed.status, failed.claim) == (OrderStatus.AWAITING_PAYMENT, None)
        assert failed.unreachable_since == world.clock()
        assert failed.due_at > world.clock()

    def test_recovery_clears_the_trouble(self, world: World):
        """Once the gateway answers, nothing reminds of it."""
        world.choose()
        world.wire.fail(READ)
        world.clock.advance(15)
        assert world.service.poll("1042").unreachable_since
        world.wire.mend()
        world.clock.advance(15)
        assert world.service.poll("1042").unreachable_since is None

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_key_that_may_not_list_transactions_leaves_the_word_to_the_invoice(self, world: World, status):
        """Transactions unknown is not transactions absent."""
        order = world.choose()
        world.act("pay_exact", order)
        world.wire.fail(TRANSACTIONS, status=status)
        paid = world.service.sync("1042")
        assert paid.status is OrderStatus.PAID
        assert paid.current_invoice.snapshot.transactions is None

    def test_a_host_whose_clock_runs_behind_still_brings_news(self, world: World):
        """What is read under the claim is the newest, whatever another host's clock said."""
        order = world.choose()
        world.act("pay_exact", order)
        world.clock.advance(-5)
        assert world.service.receive_hint(order.current_invoice_id).status is OrderStatus.PAID

    def test_money_that_comes_during_the_reading_is_no_expiry(self, world: World):
        """Invoices are read before transactions, so the two cannot say "expired" and "nothing came" together."""
        order = world.choose()

        def pay_and_expire():
            world.act("pay_pending", order)
            world.act("expire", order)

        world.wire.interrupt(READ, pay_and_expire)
        assert world.service.sync("1042").hold_reason is HoldReason.EXPIRED_WITH_MONEY

    def test_an_order_that_cannot_be_read_is_given_up_when_its_watch_ends(self, world: World):
        """An invoice that is gone for good is not asked for until the end of time."""
        order = world.choose()
        world.wire.fail(f"{READ}{order.current_invoice_id}", status=404)
        world.clock.advance(3600)
        assert world.service.poll("1042").due_at
        world.clock.advance(8 * 24 * 3600)
        assert world.service.poll("1042").due_at is None

    @pytest.mark.parametrize("status", [400, 403, 410])
    def test_a_superseded_invoice_that_is_refused_does_not_hide_the_payment(self, world: World, status):
        """One bad invoice must not poison an order."""
        first = world.choose(method_id="1")
        second = world.service.choose_method("1042", "2")
        world.wire.fail(f"{READ}{first.current_invoice_id}", status=status)
        world.act("pay_exact", second)
        assert world.service.sync("1042").status is OrderStatus.PAID

    def test_a_key_that_is_refused_is_trouble_for_superseded_invoices_too(self, world: World):
        """401 is about us, and must not pass for a reading."""
        world.choose()
        world.place(amount="30.00")
        world.wire.fail(READ, status=401)
        with pytest.raises(GatewayError):
            world.service.sync("1042")
        assert world.service.get("1042").unreachable_since

    def test_a_superseded_invoice_that_is_gone_does_not_hide_the_payment(self, world: World):
        """What the merchant deleted in the dashboard must not keep the rest from being read."""
        first = world.choose(method_id="1")
        second = world.service.choose_method("1042", "2")
        world.wire.fail(f"{READ}{first.current_invoice_id}", status=404)
        world.act("pay_exact", second)
        assert world.service.sync("1042").status is OrderStatus.PAID

    def test_a_current_invoice_that_is_gone_is_trouble(self, world: World):
        """404 on the invoice that the customer was asked to pay is never taken for "nothing came"."""
        order = world.choose()
        world.wire.fail(f"{READ}{order.current_invoice_id}", status=404)
        with pytest.raises(GatewayError):
            world.service.sync("1042")
        assert world.service.get("1042").status is OrderStatus.AWAITING_PAYMENT

    def test_a_current_invoice_that_is_gone_after_its_quote_frees_the_customer(self, world: World):
        """Nobody is asked to pay it any more, so its customer may choose again; it stays watched."""
        order = world.choose()
        world.wire.fail(f"{READ}{order.current_invoice_id}", status=404)
        world.clock.advance(31 * 60)
        freed = world.service.poll("1042")
        assert (freed.status, freed.current_invoice_id, freed.unreachable_since) == (OrderStatus.NEW, None, None)
        world.wire.mend()
        world.act("pay_exact", order)
        world.clock.advance(61)
        assert world.service.sync("1042").status is OrderStatus.PAID

    def test_money_on_an_invoice_that_is_gone_stays_with_the_order(self, world: World):
        """404 takes nothing from a customer whose payment was seen."""
        order = world.choose()
        world.act("pay_pending", order)
        world.service.sync("1042")
        world.wire.fail(f"{READ}{order.current_invoice_id}", status=404)
        world.clock.advance(31 * 60)
        assert world.service.poll("1042").status is OrderStatus.CONFIRMING

    def test_a_gateway_that_asks_for_patience_gets_it(self, world: World):
        """Retry-After moves the next check."""
        world.choose()
        answer = httpx.Response(429, headers={"Retry-After": "300"})
        world.wire.faults.append(Fault(READ, 9, answer=answer))
        world.clock.advance(15)
        order = world.service.poll("1042")
        assert order.next_check_at == world.clock() + timedelta(seconds=300)

    @pytest.mark.parametrize("status", [402, 408, 409, 423])
    def test_a_refusal_that_may_pass_is_no_missing_method(self, world: World, status):
        """The address is asked for again, and the customer keeps the method."""
        world.place()
        world.wire.fail("/address", status=status)
        assert world.service.choose_method("1042", "1").status is OrderStatus.PREPARING
        world.wire.mend()
        world.clock.advance(15)
        assert world.service.poll("1042").status is OrderStatus.AWAITING_PAYMENT

    def test_a_slow_gateway_costs_superseded_invoices_their_turn_and_no_more(self, world: World):
        """A reading ends before its claim does; who waited longest is read first the next time."""
        orders = [world.choose(method_id=method_id) for method_id in ("1", "2", "3")]
        first, second, current = (str(order.current_invoice_id) for order in orders)
        world.clock.advance(61)
        for _ in range(2):
            world.wire.faults.append(Fault(current, 1, run=lambda: world.clock.advance(15)))
            world.wire.faults.append(Fault(READ, 1, run=lambda: world.clock.advance(15)))
            world.service.sync("1042")
            world.wire.mend()
            world.clock.advance(61)
        lines = [line.removeprefix(READ) for line in world.wire.requests if line.startswith(READ)]
        assert lines[-4:] == [current, first, current, second]

    @pytest.mark.parametrize("status", [404, 500])
    @pytest.mark.parametrize("broken", ["current", "superseded"])
    def test_an_invoice_that_cannot_be_read_hides_no_payment_on_another(self, world: World, broken, status):
        """Whichever of the two is broken, and while it stays so, money on the other pays the order."""
        first, second = world.choose(method_id="1"), world.choose(method_id="2")
        paid, unread = (first, second) if broken == "current" else (second, first)
        world.act("pay_pending", paid)
        world.service.sync("1042")
        world.wire.fail(f"{READ}{unread.current_invoice_id}", status=status)
        world.act("confirm", paid)
        world.act("settle", paid)
        world.clock.advance(61)
        world.service.reconcile()
        order = world.service.get("1042")
        assert order.status is OrderStatus.PAID
        assert [event.key for event in world.handled][-1] == "order.paid:1042"

    def test_a_paid_order_whose_invoice_was_deleted_is_no_trouble(self, world: World):
        """The merchant tidied up, and no command fails for a week because of it."""
        order = world.choose()
        world.act("pay_exact", order)
        world.service.sync("1042")
        world.wire.fail(f"{READ}{order.current_invoice_id}", status=404)
        world.clock.advance(3 * 3600)
        assert world.service.reconcile().failures == 0

    def test_an_invoice_that_was_lost_before_it_had_an_address_frees_the_customer(self, world: World):
        """It is not found for long, so it is not a gateway that is slow to find what it made."""
        world.place()
        world.wire.fail(READ, status=404)
        world.service.choose_method("1042", "1")
        world.clock.advance(300)
        assert world.service.poll("1042").status is OrderStatus.PREPARING
        world.clock.advance(301)
        assert world.service.poll("1042").status is OrderStatus.NEW

    def test_a_key_that_was_expired_for_longer_than_the_watch_loses_no_payment(self, world: World):
        """Nobody was there to renew it; afterwards the order resumes by itself."""
        order = world.choose()
        world.act("pay_exact", order)
        world.wire.fail("GET", status=401, times=9999)
        for _ in range(200):
            world.clock.advance(3600)
            world.service.reconcile()
        world.wire.mend()
        world.clock.advance(6 * 3600)
        world.service.reconcile()
        assert world.service.get("1042").status is OrderStatus.PAID
