"""What a shop, a customer and a person may do to an order, against the sandbox."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from worlds import World, event_names, make_world

from flask_iterapay.errors import (
    AmountError,
    GatewayError,
    GatewayTimeoutError,
    InvalidOrderError,
    MethodNotOfferedError,
    OrderCancelledError,
    OrderLockedError,
    OrderNotFoundError,
    OrderNotOnHoldError,
    OrderPaidError,
    StoreUnavailableError,
    TooManyInvoicesError,
)
from flask_iterapay.orders.models import MAX_INVOICES, EventName, HoldReason, OrderStatus, Settlement
from flask_iterapay.orders.stores.base import Record
from flask_iterapay.orders.stores.memory import MemoryStore

CREATE = "POST /merchants/11111111-1111-4111-8111-111111111111/invoices"
READ = "GET /merchants/11111111-1111-4111-8111-111111111111/invoices/"
ADDRESS = "/address"


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


class Crash(BaseException):
    """The process dies here: nothing of ours catches it."""


def crash():
    raise Crash


class TestPlace:
    def test_a_new_order_is_new_and_has_no_invoice(self, world: World):
        """Placing an order asks nothing of the gateway."""
        order = world.place()
        assert (order.status, order.amount, order.invoices) == (OrderStatus.NEW, Decimal("25.00"), ())
        assert world.wire.requests == []

    def test_the_same_id_and_amount_returns_the_order_as_it_stands(self, world: World):
        """A repeated checkout finds the order, however the amount is written."""
        chosen = world.choose()
        assert world.service.place("1042", amount=25) == chosen

    def test_two_placements_at_once_make_one_order(self, tmp_path):
        """Whoever loses the race to add the order finds the winner's."""

        class Racing(MemoryStore):
            def get(self, key: str) -> Record | None:
                record = super().get(key)
                if record is None and not racers:
                    racers.append(key)
                    world.place()
                return record

        racers: list[str] = []
        world = make_world(tmp_path, store=Racing())
        assert world.place() == world.ledger.get("1042")
        assert racers

    def test_another_amount_supersedes_the_invoice_before_money_was_seen(self, world: World):
        """The old invoice stays watched, and a method must be chosen again."""
        first = world.choose()
        changed = world.place(amount="30.00")
        assert (changed.status, changed.amount, changed.current_invoice) == (OrderStatus.NEW, Decimal("30.00"), None)
        again = world.service.choose_method("1042", "1")
        assert again.current_invoice_id != first.current_invoice_id
        assert [record.amount for record in again.invoices] == [Decimal("25.00"), Decimal("30.00")]

    def test_money_on_an_invoice_of_another_amount_is_held(self, world: World):
        """Paying the old total is not paying the new one."""
        first = world.choose()
        world.place(amount="30.00")
        world.act("pay_exact", first)
        order = world.service.sync("1042")
        assert (order.status, order.hold_reason) == (OrderStatus.ON_HOLD, HoldReason.MISMATCH)

    def test_another_amount_is_refused_once_money_was_seen(self, world: World):
        """An order that somebody is paying keeps its amount."""
        world.act("pay_pending", world.choose())
        world.service.sync("1042")
        with pytest.raises(OrderLockedError):
            world.place(amount="30.00")

    def test_another_amount_is_refused_once_paid(self, world: World):
        """A paid order stays as it was paid."""
        world.act("pay_exact", world.choose())
        world.service.sync("1042")
        with pytest.raises(OrderPaidError):
            world.place(amount="30.00")
        assert world.place().status is OrderStatus.PAID

    def test_a_cancelled_order_cannot_be_placed_again(self, world: World):
        """A shop that cancelled must use a new order id."""
        world.place()
        world.service.cancel("1042")
        with pytest.raises(OrderCancelledError):
            world.place()

    @pytest.mark.parametrize("order_id", ["", "x" * 65, "a\nb", "\x00", 7, None])
    def test_bad_order_ids_are_refused(self, world: World, order_id):
        """An order id is 1 to 64 printable characters."""
        with pytest.raises(InvalidOrderError):
            world.service.place(order_id, amount=1)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"currency": "EUR"},
            {"description": "x" * 201},
            {"description": "a\nb"},
            {"metadata": {"a": 1}},
            {"metadata": {"a": "\ud800"}},
            {"metadata": ["a"]},
        ],
        ids=["currency", "long description", "control character", "metadata", "surrogate", "metadata list"],
    )
    def test_bad_arguments_are_refused(self, world: World, arguments):
        """Nothing is stored that a later step would choke on."""
        with pytest.raises(InvalidOrderError):
            world.service.place("1042", amount=1, **arguments)
        with pytest.raises(OrderNotFoundError):
            world.service.get("1042")

    @pytest.mark.parametrize("amount", [0, -1, "0.001", 1.5, "NaN", "1e3"])
    def test_inexact_amounts_are_refused(self, world: World, amount):
        """Only plain, positive money with at most two decimals makes an order."""
        with pytest.raises(AmountError):
            world.service.place("1042", amount=amount)


class TestChooseMethod:
    def test_the_customer_is_shown_what_the_gateway_quoted(self, world: World):
        """Address, pay amount and expiry come from the gateway, byte for byte."""
        order = world.choose()
        record = order.current_invoice
        assert order.status is OrderStatus.AWAITING_PAYMENT
        assert record.method.name == "USDT-TRC20"
        assert record.address
        assert Decimal(record.pay_amount) > 0
        assert record.expires_at > world.clock()

    def test_the_address_is_asked_for_only_after_the_invoice_id_is_saved(self, world: World):
        """T1 before T2: an invoice that could be paid is always one that is known."""
        known = []
        world.wire.interrupt(ADDRESS, lambda: known.extend(world.ledger.get("1042").invoices))
        order = world.choose()
        assert [record.invoice_id for record in known] == [order.current_invoice_id]

    def test_the_intent_is_saved_before_the_gateway_is_asked(self, world: World):
        """T0 before create: a second request sees that an invoice is being made."""
        seen = []
        world.wire.interrupt(CREATE, lambda: seen.append(world.ledger.get("1042").status))
        world.choose()
        assert seen == [OrderStatus.PREPARING]

    def test_a_second_submit_while_the_invoice_is_being_made_makes_none(self, world: World):
        """A double click while create is running."""
        world.wire.interrupt(CREATE, lambda: world.service.choose_method("1042", "1"))
        world.choose()
        assert world.wire.count(CREATE) == 1

    def test_a_second_submit_before_the_address_came_makes_none(self, world: World):
        """A double click between T1 and T2."""
        world.wire.interrupt(READ, lambda: world.service.choose_method("1042", "1"))
        order = world.choose()
        assert world.wire.count(CREATE) == 1
        assert order.status is OrderStatus.AWAITING_PAYMENT

    def test_a_second_submit_afterwards_makes_none(self, world: World):
        """The back button and another click."""
        assert world.choose() == world.choose() or world.wire.count(CREATE) == 1
        assert world.wire.count(CREATE) == 1

    @pytest.mark.parametrize("is_after", [False, True], ids=["request lost", "answer lost"])
    def test_a_lost_create_leaves_nothing_that_can_be_paid(self, world: World, is_after):
        """The customer may choose again at once; an orphan's address is never asked for."""
        world.wire.cut(CREATE, times=1, is_after=is_after)
        with pytest.raises(GatewayTimeoutError):
            world.choose()
        assert world.service.get("1042").status is OrderStatus.NEW
        assert world.wire.count(ADDRESS) == 0
        order = world.service.choose_method("1042", "1")
        assert len(order.invoices) == 1
        assert order.status is OrderStatus.AWAITING_PAYMENT

    def test_a_create_is_never_sent_twice(self, world: World):
        """503 says nothing about whether the invoice exists, so it is not repeated."""
        world.wire.fail(CREATE)
        with pytest.raises(GatewayError):
            world.choose()
        assert world.wire.count(CREATE) == 1

    def test_a_crash_during_create_ends_when_its_claim_expires(self, world: World):
        """Nobody makes a second invoice before, and the customer can choose again afterwards."""
        world.wire.interrupt(CREATE, crash)
        with pytest.raises(Crash):
            world.choose()
        assert world.service.poll("1042").status is OrderStatus.PREPARING
        assert world.service.choose_method("1042", "1").status is OrderStatus.PREPARING
        assert world.wire.count(CREATE) == 1
        world.clock.advance(61)
        assert world.service.poll("1042").status is OrderStatus.NEW

    def test_a_check_after_a_crash_during_create_makes_the_invoice(self, world: World):
        """The customer who presses the button gets the invoice that the crash cost."""
        world.wire.interrupt(CREATE, crash)
        with pytest.raises(Crash):
            world.choose()
        world.clock.advance(61)
        assert world.service.check("1042").status is OrderStatus.AWAITING_PAYMENT

    def test_a_check_that_cannot_make_the_invoice_does_not_raise(self, world: World):
        """The page stays usable while the gateway is down."""
        world.wire.interrupt(CREATE, crash)
        with pytest.raises(Crash):
            world.choose()
        world.clock.advance(61)
        world.wire.fail(CREATE)
        assert world.service.check("1042").status is OrderStatus.NEW

    def test_a_crash_after_the_id_was_saved_is_resumed_by_a_poll(self, world: World):
        """The page itself finishes what the crash left."""
        world.wire.interrupt(READ, crash)
        with pytest.raises(Crash):
            world.choose()
        assert world.service.get("1042").status is OrderStatus.PREPARING
        world.clock.advance(91)
        order = world.service.poll("1042")
        assert order.status is OrderStatus.AWAITING_PAYMENT
        assert world.wire.count(CREATE) == 1

    def test_a_gateway_that_fails_after_the_id_was_saved_leaves_the_order_preparing(self, world: World):
        """The customer sees a page that waits, and the next poll gets the address."""
        world.wire.fail(ADDRESS)
        order = world.choose()
        assert (order.status, order.unreachable_since) == (OrderStatus.PREPARING, world.clock())
        world.wire.mend()
        world.clock.advance(20)
        assert world.service.poll("1042").status is OrderStatus.AWAITING_PAYMENT

    def test_a_check_on_an_order_that_got_money_in_between_makes_no_invoice(self, world: World):
        """A crash while the method changed, and then the first address was paid after all."""
        first = world.choose()
        world.wire.interrupt(CREATE, crash)
        with pytest.raises(Crash):
            world.service.choose_method("1042", "2")
        world.act("pay_pending", first)
        world.clock.advance(30)
        assert world.service.sync("1042").status is OrderStatus.CONFIRMING
        world.clock.advance(61)
        assert world.service.check("1042").status is OrderStatus.CONFIRMING
        assert len(world.service.get("1042").invoices) == 1

    def test_an_id_that_the_order_had_before_is_not_believed(self, world: World):
        """Two invoices under one id could not be told apart."""
        first = world.choose()
        world.wire.fail(CREATE, status=201, times=1)
        world.wire.faults[-1].answer._content = f'{{"id": "{first.current_invoice_id}"}}'.encode()
        with pytest.raises(GatewayError, match="in use"):
            world.service.choose_method("1042", "2")
        order = world.service.get("1042")
        assert (order.current_invoice_id, len(order.invoices)) == (first.current_invoice_id, 1)

    def test_a_current_invoice_that_was_deleted_does_not_keep_the_customer_from_another(self, world: World):
        """The merchant removed it in the dashboard."""
        first = world.choose()
        world.wire.fail(f"{READ}{first.current_invoice_id}", status=404)
        assert world.service.choose_method("1042", "2").status is OrderStatus.AWAITING_PAYMENT

    def test_an_invoice_made_while_another_worker_reads_is_due_at_once(self, world: World):
        """The reader's save must not put off the address of the invoice that it did not know."""
        world.choose()
        world.clock.advance(15)
        world.wire.interrupt(READ, lambda: world.service.choose_method("1042", "2"))
        assert world.service.poll("1042").status is OrderStatus.PREPARING
        assert world.service.poll("1042").status is OrderStatus.AWAITING_PAYMENT

    def test_an_amount_that_changes_during_create_makes_the_invoice_an_orphan(self, world: World):
        """An invoice over the old total is never shown."""
        world.wire.interrupt(CREATE, lambda: world.place(amount="30.00"))
        order = world.choose()
        assert (order.status, order.invoices) == (OrderStatus.NEW, ())
        assert world.wire.count(ADDRESS) == 0

    def test_an_id_that_another_order_has_is_not_believed(self, world: World):
        """A gateway that repeats an id must not join two orders."""
        first = world.choose()
        answer = f'{{"id": "{first.current_invoice_id}"}}'.encode()
        world.wire.fail(CREATE, status=201, times=1)
        world.wire.faults[-1].answer._content = answer
        world.place("1043")
        with pytest.raises(GatewayError, match="in use"):
            world.service.choose_method("1043", "1")
        assert world.service.get("1043").status is OrderStatus.NEW

    def test_a_method_without_an_address_leads_back_to_the_choice(self, world: World):
        """400 and 404 on the address mean that the method is not offered (contract C10)."""
        world.wire.fail(ADDRESS, status=404, times=1)
        with pytest.raises(MethodNotOfferedError):
            world.choose()
        order = world.service.get("1042")
        assert (order.status, order.current_invoice) == (OrderStatus.NEW, None)
        again = world.service.choose_method("1042", "1")
        assert (again.status, len(again.invoices)) == (OrderStatus.AWAITING_PAYMENT, 1)

    @pytest.mark.parametrize("method_id", ["99", "", "1 ", "x" * 500])
    def test_a_method_that_is_not_offered_is_refused(self, world: World, method_id):
        """The browser cannot invent a method."""
        with pytest.raises(MethodNotOfferedError):
            world.choose(method_id=method_id)
        assert world.wire.count(CREATE) == 0

    def test_the_allow_list_limits_the_methods(self, tmp_path):
        """What the shop does not list cannot be chosen, though the gateway has it."""
        world = make_world(tmp_path, methods=("2",))
        assert [method.method_id for method in world.service.offered_methods()] == [2]
        with pytest.raises(MethodNotOfferedError):
            world.choose(method_id="1")

    def test_going_back_to_a_method_reuses_its_invoice(self, world: World):
        """Three clicks between two methods make two invoices."""
        first = world.choose(method_id="1")
        second = world.service.choose_method("1042", "2")
        third = world.service.choose_method("1042", "1")
        assert second.current_invoice_id != first.current_invoice_id == third.current_invoice_id
        assert third.status is OrderStatus.AWAITING_PAYMENT
        assert world.wire.count(CREATE) == 2

    def test_money_on_a_superseded_invoice_pays_the_order(self, world: World):
        """A customer who changed the method and then paid the first address has paid."""
        first = world.choose(method_id="1")
        world.service.choose_method("1042", "2")
        world.act("pay_exact", first)
        order = world.service.sync("1042")
        assert (order.status, order.paid_invoice_id) == (OrderStatus.PAID, first.current_invoice_id)

    def test_going_to_and_fro_between_live_methods_reads_no_more_than_a_page_does(self, world: World):
        """A customer who cannot decide, or a script, costs the gateway nothing."""
        world.choose(method_id="1")
        world.choose(method_id="2")
        before = len(world.wire.requests)
        for method_id in ("1", "2") * 10:
            assert world.service.choose_method("1042", method_id).current_invoice.method.method_id == int(method_id)
        assert len(world.wire.requests) == before
        world.clock.advance(15)
        world.service.choose_method("1042", "1")
        assert world.wire.count(READ) > 0
        assert len(world.wire.requests) > before

    def test_an_invoice_that_was_deleted_is_not_shown_again(self, world: World):
        """Money sent to its address would belong to nothing that can be read."""
        first = world.choose(method_id="1")
        world.choose(method_id="2")
        world.wire.fail(f"{READ}{first.current_invoice_id}", status=404)
        world.clock.advance(61)
        again = world.service.choose_method("1042", "1")
        assert again.current_invoice_id not in (None, first.current_invoice_id)

    def test_the_gateway_is_read_before_the_method_changes(self, world: World):
        """A payment that nobody told us of yet keeps the customer from paying twice."""
        world.act("pay_pending", world.choose())
        with pytest.raises(OrderLockedError):
            world.service.choose_method("1042", "2")
        assert world.wire.count(CREATE) == 1

    def test_tainted_dust_keeps_the_method_but_not_the_shop_from_its_order(self, world: World):
        """Any transfer settles the method; amount and cancelling wait for money alone, which a failed one is not."""
        world.act("pay_dust", world.choose())
        with pytest.raises(OrderLockedError):
            world.service.choose_method("1042", "2")
        assert world.place(amount="30.00").amount == Decimal("30.00")
        assert world.service.cancel("1042").status is OrderStatus.CANCELLED

    def test_a_paid_or_cancelled_order_takes_no_method(self, world: World):
        """There is nothing left to choose."""
        world.act("pay_exact", world.choose())
        with pytest.raises(OrderPaidError):
            world.service.choose_method("1042", "2")
        world.place("1043")
        world.service.cancel("1043")
        with pytest.raises(OrderCancelledError):
            world.service.choose_method("1043", "1")

    def test_an_order_uses_at_most_ten_invoices(self, world: World):
        """Nobody can burn through invoices by changing his mind."""
        world.choose(method_id="1")
        for _ in range(MAX_INVOICES - 1):
            world.clock.advance(20 * 60)
            world.act("expire", world.service.get("1042"))
            world.service.choose_method("1042", "1")
        world.clock.advance(20 * 60)
        with pytest.raises(TooManyInvoicesError):
            world.service.choose_method("1042", "2")
        assert world.wire.count(CREATE) == MAX_INVOICES


class TestRenew:
    def test_a_renewed_price_keeps_the_address(self, world: World):
        """The gateway quotes anew for the same address; no second invoice is made."""
        before = world.choose(method_id="4").current_invoice
        world.clock.advance(16 * 60)
        after = world.service.renew("1042")
        record = after.current_invoice
        assert after.status is OrderStatus.AWAITING_PAYMENT
        assert (record.invoice_id, record.address) == (before.invoice_id, before.address)
        assert record.expires_at > before.expires_at
        assert record.previous_pay_amount in (before.pay_amount, None)
        assert world.wire.count(CREATE) == 1

    def test_an_expired_invoice_gets_a_successor(self, world: World):
        """Where the gateway ended the invoice, a new one by the same method is made; the old one stays watched."""
        before = world.choose()
        world.clock.advance(16 * 60)
        world.act("expire", before)
        after = world.service.renew("1042")
        assert after.status is OrderStatus.AWAITING_PAYMENT
        assert after.current_invoice_id != before.current_invoice_id
        assert after.current_invoice.method == before.current_invoice.method

    def test_a_gateway_that_gives_no_new_price_leads_to_a_successor(self, world: World):
        """A refused address call after expiry is not the end of the order."""
        before = world.choose()
        world.clock.advance(16 * 60)
        world.wire.fail(ADDRESS, status=400, times=1)
        after = world.service.renew("1042")
        assert after.status is OrderStatus.AWAITING_PAYMENT
        assert after.current_invoice_id != before.current_invoice_id

    def test_a_running_price_is_not_renewed(self, world: World):
        """The button on an old tab does nothing."""
        before = world.choose()
        assert world.service.renew("1042").current_invoice == world.service.get("1042").current_invoice
        assert world.service.get("1042").current_invoice.expires_at == before.current_invoice.expires_at

    def test_a_flood_of_presses_reads_the_gateway_once_an_interval(self, world: World):
        """Neither of the buttons spends the merchant's rate limit."""
        world.choose()
        before = len(world.wire.requests)
        for _ in range(50):
            world.service.renew("1042")
            world.service.choose_method("1042", "1")
            world.service.check("1042")
        assert len(world.wire.requests) == before

    def test_money_that_came_in_time_is_found_before_a_new_price_is_made(self, world: World):
        """Whoever paid in the last second is not asked to pay again."""
        world.act("pay_exact", world.choose())
        world.clock.advance(16 * 60)
        assert world.service.renew("1042").status is OrderStatus.PAID


class TestRenewInTrouble:
    def test_no_new_price_while_nobody_knows_whether_it_was_paid(self, world: World):
        """A customer who paid after all must not be asked to pay again."""
        order = world.choose()
        world.clock.advance(31 * 60)
        assert world.service.poll("1042").status is OrderStatus.EXPIRED
        world.clock.advance(61)
        world.act("pay_exact", order)
        world.wire.fail(READ, status=429)
        assert world.service.renew("1042").status is OrderStatus.EXPIRED
        assert world.wire.count("/address") == 1


class TestCancelAndResolve:
    def test_a_cancelled_order_stays_watched_and_money_holds_it(self, world: World):
        """Cancelling does not make an address disappear."""
        world.choose()
        cancelled = world.service.cancel("1042")
        assert cancelled.status is OrderStatus.CANCELLED
        assert world.service.cancel("1042") == cancelled
        world.act("pay_exact", cancelled)
        order = world.service.sync("1042")
        assert (order.status, order.hold_reason) == (OrderStatus.ON_HOLD, HoldReason.CANCELLED_WITH_MONEY)

    def test_an_order_with_money_cannot_be_cancelled(self, world: World):
        """Somebody is paying it, so a person must decide."""
        world.act("pay_pending", world.choose())
        world.service.sync("1042")
        with pytest.raises(OrderLockedError):
            world.service.cancel("1042")

    def test_a_person_accepts_a_held_order(self, world: World):
        """Accepting pays the order once, and says who did it and why."""
        world.act("aml_fail", world.choose())
        world.service.sync("1042")
        order = world.service.resolve_hold("1042", is_accepted=True, actor="ana", note="checked by phone")
        assert order.status is OrderStatus.PAID
        assert event_names(order) == [EventName.ON_HOLD, EventName.RELEASED, EventName.PAID]
        assert (order.history[-1].actor, order.history[-1].note) == ("ana", "checked by phone")
        world.clock.advance(3600)
        assert event_names(world.service.sync("1042")) == event_names(order)

    def test_a_person_cancels_a_held_order_for_good(self, world: World):
        """The money that was dealt with does not hold the order again; other money does."""
        world.act("pay_short", world.choose())
        world.service.sync("1042")
        order = world.service.resolve_hold("1042", is_accepted=False, actor="ana", note="refunded")
        assert order.status is OrderStatus.CANCELLED
        assert world.service.sync("1042").status is OrderStatus.CANCELLED
        world.act("pay_second_half", order)
        assert world.service.sync("1042").hold_reason is HoldReason.CANCELLED_WITH_MONEY

    @pytest.mark.parametrize(("is_accepted", "status"), [(True, OrderStatus.PAID), (False, OrderStatus.CANCELLED)])
    def test_a_person_ends_a_wait_for_money_that_is_never_confirmed(self, world: World, is_accepted, status):
        """A transfer that hangs for ever on an invoice that never ends needs a way out."""
        world.act("pay_pending", world.choose())
        world.service.sync("1042")
        order = world.service.resolve_hold("1042", is_accepted=is_accepted, actor="ana", note="seen on chain")
        assert (order.status, order.history[-1].note) == (status, "seen on chain")
        assert world.service.sync("1042").status is status

    def test_a_decision_is_about_the_hold_that_it_names(self, world: World):
        """A reason that changed while a person was thinking is not resolved with the one before."""
        world.act("aml_fail", world.choose())
        world.service.sync("1042")
        with pytest.raises(OrderNotOnHoldError, match="not on hold for underpaid, but on hold for aml_failed"):
            world.service.resolve_hold("1042", is_accepted=True, actor="ana", reason=HoldReason.UNDERPAID)
        order = world.service.resolve_hold("1042", is_accepted=True, actor="ana", reason=HoldReason.AML_FAILED)
        assert order.status is OrderStatus.PAID

    @pytest.mark.parametrize(
        "words", [{"actor": "a\nb"}, {"note": "\ud800"}, {"note": "x" * 1001}], ids=["a", "b", "c"]
    )
    def test_what_a_person_says_is_plain_text(self, world: World, words):
        """It is kept for good, in databases that do not take everything, and shown in terminals."""
        world.act("aml_fail", world.choose())
        before = world.service.sync("1042")
        said = {"actor": "ana", "note": ""} | words
        with pytest.raises(InvalidOrderError):
            world.service.resolve_hold("1042", is_accepted=True, **said)
        with pytest.raises(InvalidOrderError):
            world.service.retry("1042", **said)
        assert world.service.get("1042") == before

    def test_only_a_held_order_can_be_resolved(self, world: World):
        """A person cannot pay an order that nobody paid."""
        world.choose()
        with pytest.raises(OrderNotOnHoldError):
            world.service.resolve_hold("1042", is_accepted=True, actor="ana")


class TestEndStates:
    @pytest.mark.parametrize(
        ("actions", "status", "reason", "settlement"),
        [
            (["pay_exact"], OrderStatus.PAID, None, Settlement.EXACT),
            (["pay_over"], OrderStatus.PAID, None, Settlement.OVERPAID),
            (["pay_short"], OrderStatus.ON_HOLD, HoldReason.UNDERPAID, Settlement.UNDERPAID),
            (["pay_first_half", "pay_second_half"], OrderStatus.PAID, None, Settlement.EXACT),
            (["pay_late"], OrderStatus.ON_HOLD, HoldReason.LATE, Settlement.EXACT),
            (["aml_fail"], OrderStatus.ON_HOLD, HoldReason.AML_FAILED, Settlement.EXACT),
            (["expire"], OrderStatus.EXPIRED, None, Settlement.UNPAID),
            (["unknown_state"], OrderStatus.CONFIRMING, None, Settlement.UNPAID),
            (["pay_pending"], OrderStatus.CONFIRMING, None, Settlement.UNPAID),
            (["pay_dust"], OrderStatus.AWAITING_PAYMENT, None, Settlement.UNPAID),
            (["pay_pending", "expire"], OrderStatus.ON_HOLD, HoldReason.EXPIRED_WITH_MONEY, Settlement.UNPAID),
        ],
        ids=lambda value: "+".join(value) if isinstance(value, list) else None,
    )
    def test_what_the_sandbox_plays_ends_where_the_design_says(self, world: World, actions, status, reason, settlement):
        """Each way to pay leads to its own state."""
        order = world.choose()
        for action in actions:
            world.act(action, order)
        order = world.service.sync("1042")
        assert (order.status, order.hold_reason, order.settlement) == (status, reason, settlement)

    def test_an_unknown_state_is_held_after_a_wait(self, world: World):
        """A word that nobody knows neither pays nor fails; in the end a person looks."""
        world.act("unknown_state", world.choose())
        world.service.sync("1042")
        world.clock.advance(1800)
        order = world.service.sync("1042")
        assert (order.status, order.hold_reason) == (OrderStatus.ON_HOLD, HoldReason.UNKNOWN_STATE)

    def test_a_missing_aml_verdict_is_held_after_a_wait_and_released_by_it(self, world: World):
        """Paid without the gateway's word on AML waits; its word, when it comes, pays the order."""
        order = world.choose()
        world.act("aml_unknown", order)
        assert world.service.sync("1042").status is OrderStatus.CONFIRMING
        world.clock.advance(1800)
        assert world.service.sync("1042").hold_reason is HoldReason.AML_UNKNOWN
        world.act("settle", order)
        settled = world.service.sync("1042")
        assert settled.status is OrderStatus.PAID
        assert event_names(settled)[-2:] == [EventName.RELEASED, EventName.PAID]


class TestReconcile:
    def test_without_any_webhook_every_order_gets_right(self, world: World):
        """Reconcile alone finds all payments and hands out all events."""
        orders = [world.choose(str(number)) for number in range(5)]
        for order in orders:
            world.act("pay_exact", order)
        world.clock.advance(61)
        report = world.service.reconcile()
        assert (report.orders, report.events, report.failures) == (5, 5, 0)
        assert {world.service.get(order.order_id).status for order in orders} == {OrderStatus.PAID}
        assert sorted(event.key for event in world.handled) == [f"order.paid:{number}" for number in range(5)]

    def test_one_order_that_cannot_be_read_does_not_stop_the_rest(self, world: World):
        """A failure is counted and tried again later."""
        broken, sound = world.choose("1"), world.choose("2")
        world.act("pay_exact", sound)
        world.clock.advance(61)
        world.wire.fail(f"{READ}{broken.current_invoice_id}")
        report = world.service.reconcile()
        assert (report.orders, report.failures) == (2, 1)
        assert world.service.get("2").status is OrderStatus.PAID
        assert world.service.get("1").due_at > world.clock()

    def test_a_gateway_that_is_down_keeps_no_event_from_its_handlers(self, world: World):
        """What was paid before the trouble is still shipped in it."""
        world.act("pay_exact", world.choose())
        world.service.sync("1042")
        world.clock.advance(3 * 3600)
        world.wire.fail(READ)
        report = world.service.reconcile()
        assert (report.failures, report.events) == (1, 1)
        assert [event.key for event in world.handled] == ["order.paid:1042"]

    def test_one_order_that_cannot_be_saved_does_not_stop_the_rest(self, tmp_path):
        """A busy database costs the round one order."""

        class Busy(MemoryStore):
            def save(self, record: Record, *, expected_version: int) -> bool:
                if broken and record.key == "order:1":
                    raise StoreUnavailableError("busy")
                return super().save(record, expected_version=expected_version)

        broken: list[bool] = []
        world = make_world(tmp_path, store=Busy())
        for order_id in ("1", "2"):
            world.act("pay_exact", world.choose(order_id))
        world.clock.advance(61)
        broken.append(True)
        report = world.service.reconcile()
        assert (report.orders, report.failures) == (2, 1)
        assert world.service.get("2").status is OrderStatus.PAID

    def test_two_at_once_read_an_order_once(self, tmp_path):
        """Whoever finds an order due that the other has read meanwhile leaves it alone."""

        class Overtaken(MemoryStore):
            def due(self, now, limit):
                records = super().due(now, limit)
                if rivals:
                    rivals.pop()()
                return records

        rivals: list[Callable[[], object]] = []
        world = make_world(tmp_path, store=Overtaken())
        world.choose()
        world.clock.advance(61)
        rivals.append(world.service.reconcile)
        before = world.wire.count("/transactions/list")
        world.service.reconcile()
        assert world.wire.count("/transactions/list") == before + 1

    def test_it_takes_no_more_than_its_limit(self, world: World):
        """A round is bounded however much is due."""
        for number in range(4):
            world.choose(str(number))
        world.clock.advance(61)
        assert world.service.reconcile(limit=3).orders == 3
        assert world.service.reconcile(limit=3).orders == 1
        assert world.service.reconcile(limit=3).orders == 0
