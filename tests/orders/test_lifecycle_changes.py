"""What shops, customers and people do to an order: invoices are made and renewed, money is accepted or turned down."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from builders import QUOTE_SECONDS, USDT, at, live, make_order, make_record, make_snapshot, make_transaction
from msgspec.structs import replace

from flask_iterapay.errors import OrderCancelledError, OrderError, OrderLockedError, OrderPaidError
from flask_iterapay.gateway.models import DepositAddress
from flask_iterapay.orders.lifecycle import (
    abandon_intent,
    accept,
    cancel,
    change_amount,
    pin_address,
    record_intent,
    record_invoice,
    refuse_invoice,
    require_open,
    reuse_invoice,
    settle,
)
from flask_iterapay.orders.models import (
    Anomaly,
    HistoryEntry,
    HoldReason,
    Intent,
    InvoiceRecord,
    Order,
    OrderStatus,
    Policy,
    Settlement,
)

POLICY = Policy()
PAID = make_snapshot("paid", "settled", aml=True)
INTENT = Intent(ref="r", method=USDT, amount=Decimal("100.00"), expires_at=at(160))


def names(order: Order) -> list[str]:
    return [event.name.removeprefix("order.") for event in order.events]


def make_two() -> Order:
    """An order with a superseded invoice, inv-1, and a current one, inv-2."""
    return make_order(make_record("inv-1"), make_record("inv-2"))


def decide(verb: Callable[..., Order], order: Order, seconds: float = 500) -> Order:
    return verb(order, at(seconds), actor="ann", note="spoke to the customer")


class TestMakingAnInvoice:
    def test_the_invoice_of_an_intent_takes_the_place_of_the_current_one(self):
        """Between the two steps there is no current invoice, and the old one stays watched."""
        order = record_intent(make_order(make_record()), INTENT, at(100))
        assert (order.status, order.current_invoice_id) == (OrderStatus.PREPARING, None)
        assert order.intent == replace(INTENT, superseded_invoice_id="inv-1")
        assert order.history[-1] == HistoryEntry(
            at=at(100), status=OrderStatus.PREPARING, reason="chose a method", actor="customer"
        )
        order = record_invoice(order, "inv-2", at(101))
        assert (order.status, order.current_invoice_id, order.intent) == (OrderStatus.PREPARING, "inv-2", None)
        assert order.next_check_at == at(101)
        assert order.invoices[1:] == (
            InvoiceRecord(invoice_id="inv-2", amount=INTENT.amount, method=INTENT.method, created_at=at(101)),
        )

    def test_an_invoice_without_an_intent_is_a_programming_error(self):
        """Nobody records what nobody asked for."""
        with pytest.raises(ValueError, match="intent"):
            record_invoice(make_order(), "inv-1", at(100))

    @pytest.mark.parametrize(("now", "is_over"), [(159, False), (160, True)])
    def test_an_intent_ends_by_itself(self, now, is_over):
        """Whoever was making the invoice is taken for dead, and the invoice before it is current again."""
        order = settle(record_intent(make_order(make_record()), INTENT, at(100)), [], at(now), POLICY)
        assert (order.intent is None) is is_over
        assert order.status is (OrderStatus.AWAITING_PAYMENT if is_over else OrderStatus.PREPARING)
        assert order.current_invoice_id == ("inv-1" if is_over else None)

    def test_an_abandoned_intent_gives_way_at_once(self):
        """With or without an invoice before it; where there is no intent nothing changes."""
        before = make_order(make_record())
        order = abandon_intent(record_intent(before, INTENT, at(100)), at(101), POLICY)
        assert (order.status, order.current_invoice_id) == (OrderStatus.AWAITING_PAYMENT, "inv-1")
        first = abandon_intent(record_intent(make_order(), INTENT, at(100)), at(101), POLICY)
        assert (first.status, first.current_invoice_id) == (OrderStatus.NEW, None)
        assert abandon_intent(before, at(101), POLICY) is before

    def test_money_that_comes_while_an_invoice_is_made_counts(self):
        """The old address was known to the customer all along."""
        order = record_intent(make_order(make_record()), INTENT, at(100))
        assert live(order, make_snapshot("pending", "pending")).status is OrderStatus.CONFIRMING
        assert live(order, PAID).status is OrderStatus.PAID

    @pytest.mark.parametrize(
        "change",
        [
            lambda order, now, policy: abandon_intent(record_intent(order, INTENT, at(200)), now, policy),
            lambda order, now, policy: refuse_invoice(order, "inv-2", now, policy),
            lambda order, now, policy: reuse_invoice(order, "inv-1", now, policy),
            lambda order, now, policy: change_amount(order, order.amount, now, policy),
        ],
        ids=["abandon", "refuse", "reuse", "change"],
    )
    def test_a_change_settles_the_order_by_the_time_and_the_merchants_choice(self, change):
        """Money on a watched invoice that waits for its AML is judged again with every change."""
        order = live(make_two(), make_snapshot("paid"))
        assert change(order, at(300), POLICY).status is OrderStatus.CONFIRMING
        assert change(order, at(1920), POLICY).hold_reason is HoldReason.AML_UNKNOWN
        assert change(order, at(300), Policy(is_aml_required=False)).status is OrderStatus.PAID

    def test_going_back_to_a_live_invoice_makes_it_current(self):
        """The customer changed the method and changed back."""
        order = reuse_invoice(make_two(), "inv-1", at(100), POLICY)
        assert (order.current_invoice_id, order.status) == ("inv-1", OrderStatus.AWAITING_PAYMENT)

    def test_a_refused_invoice_lets_the_customer_choose_again(self):
        """The gateway gives no address for its method; an invoice that is not current is left alone."""
        order = make_order(make_record(address=None), status=OrderStatus.PREPARING)
        assert refuse_invoice(order, "inv-1", at(100), POLICY).status is OrderStatus.NEW
        assert refuse_invoice(make_two(), "inv-1", at(100), POLICY).current_invoice_id == "inv-2"

    def test_the_first_quote_is_pinned_and_shown_byte_for_byte(self):
        """The pay amount is the gateway's own string."""
        order = make_order(make_record(address=None, pay_amount=None, expires_at=None))
        deposit = DepositAddress(address="TX", pay_amount="25.150000", expires_at=at(900))
        record = pin_address(order, "inv-1", deposit, at(1)).invoices[0]
        assert (record.address, record.pay_amount, record.expires_at) == ("TX", "25.150000", at(900))
        assert record.previous_pay_amount is None

    def test_a_renewed_price_keeps_the_old_one_in_sight(self):
        """The same address with a new amount and expiry, and watched anew; the same quote again changes nothing."""
        deposit = DepositAddress(address="T-inv-1", pay_amount="26.1", expires_at=at(2000))
        order = pin_address(make_order(make_record()), "inv-1", deposit, at(1000))
        record = order.invoices[0]
        assert (record.pay_amount, record.previous_pay_amount, record.expires_at) == ("26.1", "25.150000", at(2000))
        assert (order.changed_at, order.next_check_at) == (at(1000), at(1000))
        assert pin_address(order, "inv-1", deposit, at(1001)) is order

    def test_a_renewed_expiry_alone_is_no_new_price(self):
        """The amount before stays the one before."""
        deposit = DepositAddress(address="T-inv-1", pay_amount="25.150000", expires_at=at(2000))
        record = pin_address(make_order(make_record()), "inv-1", deposit, at(1000)).invoices[0]
        assert (record.expires_at, record.previous_pay_amount) == (at(2000), None)

    def test_another_address_is_an_anomaly_and_is_not_shown(self):
        """Money would go where nobody knows; it is told once."""
        before = make_order(make_record())
        swapped = DepositAddress(address="TSWAPPED", pay_amount="1", expires_at=at(2000))
        order = pin_address(before, "inv-1", swapped, at(1000))
        assert (order.invoices, order.anomalies) == (before.invoices, (Anomaly.ADDRESS_CHANGED,))
        assert (order.events[-1].occurred_at, order.events[-1].next_attempt_at) == (at(1000), at(1000))
        assert pin_address(order, "inv-1", swapped, at(1001)) is order


class TestPeople:
    def test_a_person_accepts_the_money_of_a_held_order(self):
        """The order is paid by the invoice that has the money, and the history says who decided."""
        held = live(make_order(make_record()), make_snapshot("underpaid", "confirmed"))
        order = decide(accept, held)
        assert (order.status, order.paid_invoice_id) == (OrderStatus.PAID, "inv-1")
        assert (order.settlement, order.hold_reason) == (Settlement.UNDERPAID, None)
        assert names(order) == ["on_hold", "released", "paid"]
        assert order.history[-1] == HistoryEntry(
            at=at(500),
            status=OrderStatus.PAID,
            reason="accepted by a person",
            actor="ann",
            note="spoke to the customer",
        )

    def test_money_that_is_on_its_way_may_be_accepted(self):
        """Without a confirmed transfer anywhere, the invoice that has money pays."""
        held = live(make_two(), make_snapshot("expired", "pending", read=1000))
        order = decide(accept, held, 1100)
        assert (held.hold_reason, order.paid_invoice_id) == (HoldReason.EXPIRED_WITH_MONEY, "inv-1")

    def test_an_order_may_be_accepted_whose_money_nobody_can_see(self):
        """A state that we do not know held it; when its one invoice is called paid later, that is no second payment."""
        reads = [make_snapshot("half_past_nine", read=read) for read in (100, 1900)]
        order = decide(accept, live(make_order(make_record()), *reads), 2000)
        assert (order.status, order.paid_invoice_id, order.settlement) == (OrderStatus.PAID, "inv-1", Settlement.UNPAID)
        assert live(order, make_snapshot("paid", "settled", aml=True, read=3000)).anomalies == ()

    def test_an_order_may_be_accepted_that_has_no_invoice(self):
        """Nothing is said about an invoice then, and the settlement stays as it was."""
        held = make_order(
            status=OrderStatus.ON_HOLD, hold_reason=HoldReason.UNKNOWN_STATE, settlement=Settlement.UNDERPAID
        )
        order = decide(accept, held)
        assert (order.status, order.paid_invoice_id) == (OrderStatus.PAID, None)
        assert order.settlement is Settlement.UNDERPAID

    def test_who_cancelled_why_and_when_is_remembered(self):
        """How the money matched stays too; a shop need not give a note."""
        held = live(make_order(make_record()), make_snapshot("underpaid", "confirmed"))
        order = decide(cancel, held)
        assert (order.settlement, order.history[-1]) == (
            Settlement.UNDERPAID,
            HistoryEntry(
                at=at(500),
                status=OrderStatus.CANCELLED,
                reason="cancelled",
                actor="ann",
                note="spoke to the customer",
            ),
        )
        assert cancel(held, at(500), actor="shop").history[-1].note == ""

    def test_what_a_person_accepted_is_no_second_payment(self):
        """The same money does not contradict itself when the gateway comes round."""
        held = live(make_order(make_record()), make_snapshot("underpaid", "confirmed"))
        order = live(decide(accept, held), make_snapshot("paid", "confirmed", aml=True, read=600))
        assert (order.status, order.anomalies) == (OrderStatus.PAID, ())

    def test_what_a_person_knew_when_accepting_is_no_news(self):
        """Money that had failed AML is accepted with open eyes; a payment on another invoice is news all the same."""
        failed = make_snapshot("paid", "flagged", aml=False, read=400)
        order = live(decide(accept, live(make_two(), failed)), replace(failed, read_at=at(600)))
        assert names(order) == ["on_hold", "released", "paid"]
        second = make_snapshot("paid", "settled", aml=True, invoice_id="inv-2", read=700)
        assert [event.reason for event in live(order, second).events[3:]] == [Anomaly.SECOND_INVOICE_PAID]

    def test_accepted_money_is_recorded_as_the_gateway_counts_it_now(self):
        """While the order waited for a person, the gateway came to call it overpaid."""
        late = make_transaction("settled", seen=QUOTE_SECONDS + 3601)
        reads = [make_snapshot("expired", late, read=5000), make_snapshot("overpaid", late, aml=True, read=5100)]
        order = decide(accept, live(make_order(make_record()), *reads), seconds=5200)
        assert (order.status, order.settlement) == (OrderStatus.PAID, Settlement.OVERPAID)

    def test_a_cancelled_order_that_nobody_pays_stays_cancelled(self):
        """Expiry, silence and failed dust change nothing."""
        order = decide(cancel, make_order(make_record()))
        quiet = [
            make_snapshot(word, "failed", read=read) for read, word in enumerate(["pending", "expired"], start=600)
        ]
        assert live(order, *quiet).status is OrderStatus.CANCELLED
        assert names(order) == ["cancelled"]

    @pytest.mark.parametrize(
        "snapshot",
        [
            make_snapshot("pending", "pending", read=600),
            make_snapshot("paid", "settled", aml=True, read=600),
            make_snapshot("expired", "confirmed", read=600),
            make_snapshot("paid", aml=True, read=600, is_blind=True),
        ],
        ids=["pending", "paid", "expired", "blind"],
    )
    def test_money_for_a_cancelled_order_is_held_for_a_person(self, snapshot):
        """It never pays the order by itself."""
        held = live(decide(cancel, make_order(make_record())), snapshot)
        assert (held.status, held.hold_reason) == (OrderStatus.ON_HOLD, HoldReason.CANCELLED_WITH_MONEY)
        entry = held.history[-1]
        assert (entry.at, entry.actor) == (at(600), "gateway")
        assert entry.reason.startswith(f"invoice inv-1: {snapshot.invoice.spelling};")
        assert held.settlement == (Settlement.EXACT if snapshot.invoice.spelling == "paid" else Settlement.UNPAID)
        assert live(held, replace(PAID, read_at=at(700))).events == held.events
        assert decide(accept, held, 800).status is OrderStatus.PAID

    def test_money_that_a_person_turned_down_is_not_asked_about_again(self):
        """Readings that show the same transfers leave the order cancelled; a new transfer does not."""
        seen = make_snapshot("expired", "confirmed", read=400)
        turned_down = decide(cancel, live(make_order(make_record()), seen))
        assert turned_down.status is OrderStatus.CANCELLED
        again = live(turned_down, make_snapshot("paid", "confirmed", aml=True, read=600))
        assert again.status is OrderStatus.CANCELLED
        more = live(again, make_snapshot("paid", "confirmed", "settled", aml=True, read=700))
        assert more.hold_reason is HoldReason.CANCELLED_WITH_MONEY

    @pytest.mark.parametrize("word", ["underpaid", "pending", "expired", "half_past_nine"])
    def test_money_that_was_turned_down_stays_so_while_transactions_cannot_be_read(self, word):
        """One reading without the list is no new money."""
        turned_down = decide(cancel, live(make_order(make_record()), make_snapshot("underpaid", "confirmed")))
        assert live(turned_down, make_snapshot(word, is_blind=True, read=600)).status is OrderStatus.CANCELLED

    def test_new_money_is_noticed_although_transactions_cannot_be_read(self):
        """A person turned down a part; then the gateway calls the invoice paid."""
        turned_down = decide(cancel, live(make_order(make_record()), make_snapshot("underpaid", is_blind=True)))
        order = live(turned_down, make_snapshot("paid", aml=True, is_blind=True, read=600))
        assert order.hold_reason is HoldReason.CANCELLED_WITH_MONEY

    def test_cancelling_and_another_amount_end_an_intent(self):
        """An invoice that is being made then finds no order to belong to."""
        intended = record_intent(make_order(), INTENT, at(100))
        assert decide(cancel, intended).intent is None
        changed = change_amount(intended, Decimal("120.00"), at(110), POLICY)
        assert (changed.intent, changed.status, changed.amount) == (None, OrderStatus.NEW, Decimal("120.00"))

    def test_every_change_that_a_customer_can_see_has_its_time(self):
        """Pages show it, and the watch counts from it."""
        order = record_invoice(record_intent(make_order(), INTENT, at(100)), "inv-1", at(101))
        assert order.changed_at == at(101)
        assert change_amount(make_order(), Decimal("120.00"), at(110), POLICY).changed_at == at(110)
        assert reuse_invoice(make_two(), "inv-1", at(120), POLICY).changed_at == at(120)
        assert live(make_order(make_record()), replace(PAID, read_at=at(130))).changed_at == at(130)
        assert decide(cancel, make_order(make_record()), 140).changed_at == at(140)

    def test_a_decision_is_made_once(self):
        """Accepting or cancelling again changes nothing."""
        held = live(make_order(make_record()), make_snapshot("underpaid", "confirmed"))
        for verb in (accept, cancel):
            assert decide(verb, decide(verb, held), 501) == decide(verb, held)


class TestRequireOpen:
    @pytest.mark.parametrize(
        ("status", "error", "reason"),
        [
            (OrderStatus.PAID, OrderPaidError, "it is paid"),
            (OrderStatus.CANCELLED, OrderCancelledError, "it was cancelled"),
            (OrderStatus.CONFIRMING, OrderLockedError, "money was seen for it"),
            (OrderStatus.ON_HOLD, OrderLockedError, "money was seen for it"),
        ],
        ids=str,
    )
    def test_what_money_was_seen_for_is_refused_by_its_own_error(self, status, error, reason):
        """A shop tells its customer which of them it is; the error names the order."""
        with pytest.raises(OrderError) as caught:
            require_open(make_order(make_record(), status=status))
        assert (type(caught.value), caught.value.order_id, caught.value.reason) == (error, "1042", reason)

    @pytest.mark.parametrize(
        "status", [OrderStatus.NEW, OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT, OrderStatus.EXPIRED]
    )
    def test_before_money_was_seen_everything_may_be_done(self, status):
        """An invoice that failed dust arrived on is as open as any."""
        require_open(make_order(make_record(snapshot=make_snapshot("pending", "failed")), status=status))
