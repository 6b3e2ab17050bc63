"""What becomes of an order when the gateway speaks: paid absorbs, holds, stale news, several invoices."""

from decimal import Decimal

import pytest
from builders import QUOTE_SECONDS, at, live, make_order, make_record, make_snapshot, make_transaction
from msgspec.structs import replace

from flask_iterapay.orders.lifecycle import accept, change_amount, settle
from flask_iterapay.orders.models import (
    Anomaly,
    EventName,
    EventState,
    HistoryEntry,
    HoldReason,
    Order,
    OrderStatus,
    Policy,
    Settlement,
    Snapshot,
)

POLICY = Policy()
PAID = make_snapshot("paid", "settled", aml=True)
LATE_PAID = make_snapshot("paid", make_transaction("settled", seen=QUOTE_SECONDS + 3601), aml=True)


def names(order: Order) -> list[str]:
    return [event.name.removeprefix("order.") for event in order.events]


def make_two() -> Order:
    """An order with a superseded invoice, inv-1, and a current one, inv-2."""
    return make_order(make_record("inv-1"), make_record("inv-2"))


class TestPaid:
    def test_the_first_payment_is_told_once_under_a_key_without_a_number(self):
        """Whoever handles ``order.paid`` twice can tell by the key, and for which order by its id."""
        order = live(make_order(make_record()), PAID)
        assert (order.status, order.settlement, order.paid_invoice_id) == (OrderStatus.PAID, Settlement.EXACT, "inv-1")
        (event,) = order.events
        assert (event.key, event.occurred_at, event.state) == ("order.paid:1042", PAID.read_at, EventState.OPEN)
        assert (event.order_id, event.next_attempt_at) == ("1042", PAID.read_at)

    @pytest.mark.parametrize(
        "later",
        [
            make_snapshot("pending", read=200),
            make_snapshot("partially_paid", "confirmed", read=200),
            make_snapshot("expired", read=200),
            make_snapshot("archived", read=200),
            make_snapshot("paid", "flagged", read=200),
            make_snapshot("paid", "settled", aml=False, read=200),
            make_snapshot("paid", "settled", aml=True, amount=Decimal(1), read=200),
            make_snapshot("half_past_nine", read=200),
        ],
        ids=lambda snapshot: snapshot.invoice.spelling,
    )
    def test_nothing_that_the_gateway_says_later_takes_it_back(self, later):
        """Status, settlement and the paying invoice stay as they were."""
        paid = live(make_order(make_record()), PAID)
        order = live(paid, later)
        assert (order.status, order.hold_reason, order.settlement) == (OrderStatus.PAID, None, Settlement.EXACT)
        assert (order.paid_invoice_id, order.history) == ("inv-1", paid.history)

    @pytest.mark.parametrize(
        ("later", "anomaly"),
        [
            (make_snapshot("paid", "flagged", aml=True, read=200), Anomaly.FAILED_AFTER_PAID),
            (make_snapshot("paid", "failed", read=200), Anomaly.FAILED_AFTER_PAID),
            (make_snapshot("paid", "settled", aml=False, read=200), Anomaly.FAILED_AFTER_PAID),
            (make_snapshot("pending", "flagged", read=200), Anomaly.FAILED_AFTER_PAID),
            (make_snapshot("expired", "settled", aml=True, read=200), Anomaly.EXPIRED_AFTER_PAID),
            (make_snapshot("cancelled", read=200), Anomaly.EXPIRED_AFTER_PAID),
        ],
        ids=lambda value: value.invoice.spelling if isinstance(value, Snapshot) else str(value),
    )
    def test_a_contradiction_is_told_once(self, later, anomaly):
        """However often it is read again."""
        order = live(make_order(make_record()), PAID, later, replace(later, read_at=at(300)))
        assert order.anomalies == (anomaly,)
        assert [(event.key, event.reason) for event in order.events[1:]] == [("order.anomaly:1042:2", anomaly)]

    @pytest.mark.parametrize("transactions", [[], ["pending"], ["confirmed", "flagged"]], ids=str)
    def test_a_payment_contradicts_itself_only_by_failing(self, transactions):
        """Transfers that are pending, or dust that failed beside a good one, are no news about a paid order."""
        reads = [make_snapshot("paid", *transactions, aml=True, read=read) for read in (100, 200)]
        order = live(make_order(make_record()), *reads)
        assert (names(order), order.anomalies) == (["paid"], ())

    @pytest.mark.parametrize("bad", ["failed", "flagged"])
    def test_a_part_of_the_payment_that_fails_after_it_is_told_once(self, bad):
        """Half of the money is gone, although the other half stands and the gateway still says paid."""
        halves = [make_transaction("settled", transaction_id=name, amount="12.6") for name in ("one", "two")]
        paid = make_snapshot("paid", *halves, aml=True, read=100)
        spoilt = make_transaction(bad, transaction_id="two", amount="12.6")
        blind = make_snapshot("paid", aml=True, read=150, is_blind=True)
        later = [make_snapshot("paid", halves[0], spoilt, aml=True, read=read) for read in (200, 300)]
        order = live(make_order(make_record()), paid, blind, *later)
        assert (names(order), order.anomalies) == (["paid", "anomaly"], (Anomaly.FAILED_AFTER_PAID,))
        assert (order.events[-1].occurred_at, order.events[-1].next_attempt_at) == (at(200), at(200))

    def test_two_kinds_of_contradiction_are_two_events(self):
        """Each kind is news of its own."""
        failed, ended = make_snapshot("paid", "failed", read=200), make_snapshot("expired", read=300)
        order = live(make_order(make_record()), PAID, failed, ended)
        assert order.anomalies == (Anomaly.FAILED_AFTER_PAID, Anomaly.EXPIRED_AFTER_PAID)
        assert [event.key for event in order.events[1:]] == ["order.anomaly:1042:2", "order.anomaly:1042:3"]

    def test_a_contradiction_to_what_a_person_accepted_is_told_too(self):
        """The money that somebody decided to trust fails AML after all."""
        held = live(make_order(make_record()), make_snapshot("expired", "confirmed"))
        order = live(
            accept(held, at(500), actor="ann", note=""), make_snapshot("expired", "flagged", aml=False, read=1000)
        )
        assert Anomaly.FAILED_AFTER_PAID in order.anomalies

    @pytest.mark.parametrize(
        "second",
        [
            make_snapshot("paid", "settled", aml=True, invoice_id="inv-2", read=200),
            make_snapshot("partially_paid", "confirmed", invoice_id="inv-2", read=200),
            make_snapshot("expired", "settled", invoice_id="inv-2", read=2000),
        ],
        ids=["paid", "underpaid", "expired with money"],
    )
    def test_money_on_another_invoice_of_a_paid_order_is_told(self, second):
        """The customer paid twice, and somebody must give it back."""
        order = live(make_two(), PAID, second)
        assert (order.status, order.paid_invoice_id) == (OrderStatus.PAID, "inv-1")
        assert order.anomalies == (Anomaly.SECOND_INVOICE_PAID,)

    def test_two_payments_in_one_reading_pay_once(self):
        """The first is the payment, the second the anomaly."""
        both = [PAID, make_snapshot("overpaid", "settled", aml=True, invoice_id="inv-2")]
        order = settle(make_two(), both, at(130), POLICY)
        assert names(order) == ["paid", "anomaly"]
        assert [event.occurred_at for event in order.events] == [at(130), at(130)]
        assert order.anomalies == (Anomaly.SECOND_INVOICE_PAID,)

    @pytest.mark.parametrize("word", ["pending", "expired"])
    def test_another_invoice_that_nobody_paid_contradicts_nothing(self, word):
        """One invoice's end says nothing about an order that another paid."""
        order = live(make_two(), PAID, make_snapshot(word, invoice_id="inv-2", read=2000))
        assert (order.status, order.anomalies) == (OrderStatus.PAID, ())

    @pytest.mark.parametrize(
        ("reads", "times"),
        [
            ([make_snapshot("pending", "pending")], [120]),
            ([make_snapshot("underpaid", "confirmed"), replace(PAID, read_at=at(200))], [120, 200, 200]),
            ([make_snapshot("expired", read=1000)], [1000]),
            ([PAID, make_snapshot("expired", "settled", aml=True, read=200)], [120, 200]),
            ([PAID, make_snapshot("paid", "flagged", aml=True, read=200)], [120, 200]),
        ],
        ids=["confirming", "released", "expired", "contradicted", "turned bad"],
    )
    def test_what_happened_is_due_to_be_told_when_it_happened(self, reads, times):
        """Every event has the time of the reading that brought it, and is tried at once."""
        order = live(make_order(make_record()), *reads)
        assert [event.occurred_at for event in order.events] == [at(seconds) for seconds in times]
        assert [event.next_attempt_at for event in order.events] == [at(seconds) for seconds in times]


class TestHolds:
    @pytest.mark.parametrize(
        ("held_by", "reason"),
        [
            ([make_snapshot("paid"), make_snapshot("paid", read=1920)], HoldReason.AML_UNKNOWN),
            ([make_snapshot("what"), make_snapshot("what", read=1920)], HoldReason.UNKNOWN_STATE),
            ([make_snapshot("underpaid", "confirmed")], HoldReason.UNDERPAID),
            ([make_snapshot("expired", "confirmed")], HoldReason.EXPIRED_WITH_MONEY),
        ],
        ids=lambda value: str(value) if isinstance(value, HoldReason) else "",
    )
    def test_a_hold_that_waits_for_the_gateway_ends_when_it_says_paid(self, held_by, reason):
        """It is released and paid in one step, and both are told."""
        held = live(make_order(make_record()), *held_by)
        assert (held.status, held.hold_reason) == (OrderStatus.ON_HOLD, reason)
        order = live(held, replace(PAID, read_at=at(2000)))
        assert (order.status, order.hold_reason) == (OrderStatus.PAID, None)
        assert [(event.name, event.reason) for event in order.events[-2:]] == [
            (EventName.RELEASED, reason),
            (EventName.PAID, None),
        ]

    @pytest.mark.parametrize(
        ("held_by", "reason"),
        [
            (make_snapshot("paid", "settled", aml=False), HoldReason.AML_FAILED),
            (LATE_PAID, HoldReason.LATE),
            (make_snapshot("paid", "settled", aml=True, amount=Decimal(1)), HoldReason.MISMATCH),
        ],
        ids=["aml_failed", "late", "mismatch"],
    )
    @pytest.mark.parametrize("later", [replace(PAID, read_at=at(300)), make_snapshot("expired", read=300)])
    def test_a_hold_that_needs_a_person_is_ended_by_nothing_else(self, held_by, reason, later):
        """Not even by an answer that alone would have paid."""
        held = live(make_order(make_record()), held_by)
        order = live(held, later)
        assert (order.status, order.hold_reason, order.events) == (OrderStatus.ON_HOLD, reason, held.events)
        assert order.invoices[0].snapshot == later

    def test_late_money_leaves_its_mark(self):
        """Also after a person accepted it."""
        held = live(make_order(make_record()), LATE_PAID)
        assert (held.is_late, accept(held, at(500), actor="ann", note="").is_late) == (True, True)
        assert not live(make_order(make_record()), PAID).is_late

    def test_the_wait_begins_with_the_first_unclear_answer(self):
        """Readings in between do not begin it anew."""
        reads = [make_snapshot("paid", read=read) for read in (100, 1000, 1899)]
        order = live(make_order(make_record()), *reads)
        assert (order.status, order.invoices[0].unclear_since) == (OrderStatus.CONFIRMING, at(100))
        assert live(order, make_snapshot("paid", read=1900)).hold_reason is HoldReason.AML_UNKNOWN

    def test_a_clear_answer_ends_the_wait(self):
        """The next unclear one waits from its own time on."""
        reads = [
            make_snapshot("paid", read=100),
            make_snapshot("processing", read=1000),
            make_snapshot("paid", read=2000),
        ]
        order = live(make_order(make_record()), *reads)
        assert (order.status, order.invoices[0].unclear_since) == (OrderStatus.CONFIRMING, at(2000))

    def test_time_alone_ends_the_wait(self):
        """What was read before is judged again by the clock."""
        order = live(make_order(make_record()), make_snapshot("paid", read=100))
        assert settle(order, [], at(1899), POLICY) == order
        assert settle(order, [], at(1900), POLICY).hold_reason is HoldReason.AML_UNKNOWN

    def test_another_reason_is_another_event(self):
        """A hold that changes its reason is news; one that stays is not."""
        underpaid = [make_snapshot("underpaid", "confirmed", read=read) for read in (100, 200)]
        order = live(make_order(make_record()), *underpaid, make_snapshot("expired", "confirmed", read=1000))
        assert [event.reason for event in order.events] == [HoldReason.UNDERPAID, HoldReason.EXPIRED_WITH_MONEY]

    def test_a_settlement_that_changes_is_history_but_no_event(self):
        """More money came, and the gateway calls it overpaid; the hold is the same."""
        reads = [make_snapshot("paid"), make_snapshot("paid", read=1920), make_snapshot("overpaid", read=2000)]
        order = live(make_order(make_record()), *reads)
        assert (names(order), order.settlement) == (["confirming", "on_hold"], Settlement.OVERPAID)
        assert order.history[-1].at == at(2000)

    @pytest.mark.parametrize(
        "seen",
        [
            make_snapshot("pending", "confirmed"),
            make_snapshot("processing", is_blind=True),
            make_snapshot("underpaid", "confirmed"),
            make_snapshot("underpaid", is_blind=True),
        ],
        ids=["confirmed", "confirming", "underpaid", "underpaid, blind"],
    )
    @pytest.mark.parametrize("word", ["pending", "expired"])
    def test_money_that_was_seen_stays_in_sight_when_transactions_cannot_be_read(self, seen, word):
        """The customer is neither asked to pay again nor offered a new price, and the order stays locked."""
        order = live(make_order(make_record()), seen, make_snapshot(word, read=1000, is_blind=True))
        assert order.status in (OrderStatus.CONFIRMING, OrderStatus.ON_HOLD)
        assert order.is_locked


class TestSnapshots:
    def test_a_stale_snapshot_after_a_fresh_one_is_ignored(self):
        """Whoever read first and saved last must not win."""
        fresh = live(make_order(make_record()), make_snapshot("underpaid", "confirmed", read=300))
        assert settle(fresh, [make_snapshot("pending", read=299)], at(301), POLICY) == fresh
        assert settle(fresh, [replace(PAID, read_at=at(299))], at(301), POLICY) == fresh

    def test_of_two_readings_at_the_same_time_the_later_one_counts(self):
        """A clock that stands still makes no news old."""
        assert live(make_order(make_record()), make_snapshot("pending"), PAID).status is OrderStatus.PAID

    def test_a_snapshot_of_somebody_elses_invoice_is_ignored(self):
        """Only invoices of this order are looked at."""
        order = make_order(make_record())
        foreign = make_snapshot("paid", "settled", aml=True, invoice_id="inv-9")
        assert settle(order, [foreign], at(120), POLICY) is order

    def test_a_snapshot_replaces_the_one_before_it_whole(self):
        """AML that an older answer knew does not fill the gap in a newer one."""
        passed, silent = (
            make_snapshot("processing", "confirmed", aml=True),
            make_snapshot("paid", is_blind=True, read=200),
        )
        order = live(make_order(make_record()), passed, silent)
        assert (order.status, order.invoices[0].snapshot) == (OrderStatus.CONFIRMING, silent)

    def test_an_order_about_which_there_is_no_news_is_the_same_object(self):
        """So there is nothing to save."""
        order = live(make_order(make_record()), make_snapshot("pending"))
        assert settle(order, [], at(121), POLICY) is order

    def test_the_last_reading_is_remembered(self):
        """It tells pages how old their news is, and a stale reading does not turn it back."""
        order = live(
            make_two(), make_snapshot("pending", read=300), make_snapshot("pending", read=200, invoice_id="inv-2")
        )
        assert order.read_at == at(300)

    def test_the_history_says_what_the_gateway_said(self):
        """Support can read why an order is what it is."""
        order = live(make_order(make_record()), make_snapshot("Partially Paid", "confirmed", "failed", aml=None))
        reason = "invoice inv-1: Partially Paid; AML unknown; transactions: confirmed, failed"
        assert order.history == (
            HistoryEntry(at=at(120), status=OrderStatus.ON_HOLD, reason=reason, actor="gateway", note=""),
        )

    def test_the_history_says_when_the_gateway_was_not_asked_yet(self):
        """An invoice that was only ever made has an address, and no answer."""
        order = make_order(make_record(), status=OrderStatus.PREPARING)
        assert settle(order, [], at(120), POLICY).history[-1].reason == "no answer of the gateway yet"

    @pytest.mark.parametrize(
        ("snapshot", "text"),
        [
            (make_snapshot("paid", aml=True, is_blind=True), "inv-1: paid; AML passed; transactions: unknown"),
            (make_snapshot("paid", aml=False), "inv-1: paid; AML failed; transactions: none"),
        ],
    )
    def test_the_history_tells_unknown_from_none(self, snapshot, text):
        """An empty list and no list at all are different news."""
        assert live(make_order(make_record()), snapshot).history[-1].reason.endswith(text)


class TestInvoices:
    def test_money_on_a_superseded_invoice_pays_the_order(self):
        """The customer paid at the address that was shown first."""
        assert live(make_two(), PAID).paid_invoice_id == "inv-1"

    def test_money_on_an_invoice_of_another_amount_is_a_mismatch(self):
        """The shop's total changed in between."""
        order = change_amount(make_order(make_record()), Decimal("120.00"), at(60), POLICY)
        assert (order.status, order.current_invoice) == (OrderStatus.NEW, None)
        assert live(order, PAID).hold_reason is HoldReason.MISMATCH

    def test_an_amount_that_changed_back_is_the_same_money(self):
        """What counts is the amount that the invoice was made for."""
        order = change_amount(make_order(make_record()), Decimal("120.00"), at(60), POLICY)
        order = change_amount(order, Decimal("100.00"), at(90), POLICY)
        assert live(order, PAID).status is OrderStatus.PAID

    @pytest.mark.parametrize("word", ["expired", "half_past_nine", "archived"])
    def test_a_superseded_invoice_without_money_decides_nothing(self, word):
        """Its end is no news while another is open."""
        assert live(make_two(), make_snapshot(word)).status is OrderStatus.AWAITING_PAYMENT

    def test_a_superseded_mismatch_without_money_decides_nothing(self):
        """Nobody is held for an invoice that nobody pays."""
        assert live(make_two(), make_snapshot("pending", amount=Decimal(1))).status is OrderStatus.AWAITING_PAYMENT

    def test_money_anywhere_comes_before_the_current_invoices_end(self):
        """An order with a transfer on its way is not expired."""
        seen = live(make_two(), make_snapshot("pending", "pending"))
        assert live(seen, make_snapshot("expired", invoice_id="inv-2", read=200)).status is OrderStatus.CONFIRMING

    def test_a_payment_comes_before_a_hold_on_another_invoice(self):
        """Of two invoices read at once, the one that pays decides."""
        mixed = [make_snapshot("paid", "flagged"), make_snapshot("paid", "settled", aml=True, invoice_id="inv-2")]
        assert settle(make_two(), mixed, at(120), POLICY).paid_invoice_id == "inv-2"

    def test_a_hold_comes_before_money_that_is_on_its_way(self):
        """Trouble is told at once."""
        mixed = [make_snapshot("pending", "pending"), make_snapshot("underpaid", "confirmed", invoice_id="inv-2")]
        assert settle(make_two(), mixed, at(120), POLICY).hold_reason is HoldReason.UNDERPAID

    def test_expired_money_may_revive_an_order(self):
        """Nothing came, then something did."""
        order = live(make_order(make_record()), make_snapshot("expired", read=1000), replace(PAID, read_at=at(1100)))
        assert names(order) == ["expired", "paid"]
