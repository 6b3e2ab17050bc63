"""What one invoice says about its order: the rules about money, one by one, and the whole table in the docs."""

import os
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from builders import QUOTE_SECONDS, at, make_record, make_snapshot, make_transaction
from hypothesis import given, settings
from msgspec.structs import replace
from sequences import may_be_paid
from strategies import near_payments
from verdict_table import POLICIES, format_table, list_cases, make_case, settle_case

from flask_iterapay.gateway.models import InvoiceState, PaymentMethod
from flask_iterapay.orders.models import (
    Anomaly,
    EventName,
    HoldReason,
    InvoiceRecord,
    OrderStatus,
    Policy,
    Settlement,
    Snapshot,
)
from flask_iterapay.orders.verdict import Verdict, judge

DOCS = Path(__file__).parents[2] / "docs" / "order-states.md"
LINK_DOCS = DOCS.with_name("payment-links.md")
REQUIRE = Policy()
UNLESS_FAILED = Policy(is_aml_required=False)
STATE_WORDS = ["pending", "processing", "partially_paid", "paid", "overpaid", "expired", "archived", "half_past_nine"]
MICROSECOND = timedelta(microseconds=1)


def verdict_on(
    snapshot: Snapshot | None,
    record: InvoiceRecord | None = None,
    *,
    now: datetime | None = None,
    policy: Policy = REQUIRE,
    order_amount: str = "100.00",
) -> Verdict:
    record = replace(record or make_record(), snapshot=snapshot)
    now = now or (snapshot.read_at if snapshot else at(0))
    return judge(record, order_amount=Decimal(order_amount), now=now, policy=policy)


def outcome(verdict: Verdict) -> OrderStatus | HoldReason:
    return verdict.hold_reason or verdict.status


class TestPaid:
    @pytest.mark.parametrize(
        ("word", "settlement"),
        [
            ("paid", Settlement.EXACT),
            ("PAID", Settlement.EXACT),
            ("completed", Settlement.EXACT),
            ("settled", Settlement.EXACT),
            ("overpaid", Settlement.OVERPAID),
        ],
    )
    def test_the_gateways_words_for_paid_pay(self, word, settlement):
        """Overpaid is paid too; how the money matched is told apart from the status."""
        verdict = verdict_on(make_snapshot(word, "settled", aml=True))
        assert (verdict.status, verdict.settlement) == (OrderStatus.PAID, settlement)

    @pytest.mark.parametrize(
        "contradiction",
        [
            {"amount": Decimal("99.99")},
            {"amount": Decimal("100.01")},
            {"amount": Decimal(0)},
            {"invoice_type": "reusable"},
            {"invoice_type": "withdraw"},
            {"method_id": 2},
            {"method_id": "01"},
            {"invoice_id": "inv-2"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("word", ["paid", "overpaid"])
    def test_an_answer_about_something_else_never_pays(self, contradiction, word):
        """Every field that the answer carries must be what was asked for."""
        verdict = verdict_on(make_snapshot(word, "settled", aml=True, **contradiction))
        assert outcome(verdict) is HoldReason.MISMATCH
        assert verdict.settlement is (Settlement.EXACT if word == "paid" else Settlement.OVERPAID)

    @pytest.mark.parametrize("absent", [["amount"], ["invoice_type"], ["method_id"], ["invoice_type", "method_id"]])
    def test_an_absent_field_contradicts_nothing(self, absent):
        """The guide dialect names neither type nor method."""
        snapshot = make_snapshot("paid", "settled", aml=True, **dict.fromkeys(absent))
        assert verdict_on(snapshot).status is OrderStatus.PAID

    @pytest.mark.parametrize(("ours", "theirs"), [(1, "1"), ("1", 1), ("usdt_tron", "usdt_tron")])
    def test_a_method_id_is_the_same_as_a_number_and_as_a_text(self, ours, theirs):
        """The dialects write method ids differently."""
        method = PaymentMethod(method_id=ours, name="USDT", network="TRON", ticker="USDT")
        snapshot = make_snapshot("paid", "settled", aml=True, method_id=theirs)
        assert verdict_on(snapshot, make_record(method=method)).status is OrderStatus.PAID

    @pytest.mark.parametrize("amount", ["100", "100.0", "100.000"])
    def test_an_amount_is_compared_as_money(self, amount):
        """How many zeros the gateway writes says nothing."""
        snapshot = make_snapshot("paid", "settled", aml=True, amount=Decimal(amount))
        assert verdict_on(snapshot).status is OrderStatus.PAID

    @pytest.mark.parametrize("order_amount", ["80.00", "120.00"])
    def test_an_invoice_made_for_another_amount_is_a_mismatch(self, order_amount):
        """The shop's total changed after this invoice was made; neither more nor less than the total pays it."""
        snapshot = make_snapshot("paid", "settled", aml=True)
        assert outcome(verdict_on(snapshot, order_amount=order_amount)) is HoldReason.MISMATCH

    @pytest.mark.parametrize("policy", [REQUIRE, UNLESS_FAILED], ids=["require", "unless_failed"])
    @pytest.mark.parametrize("word", STATE_WORDS)
    def test_money_that_failed_aml_never_pays(self, word, policy):
        """A plain "no" of the gateway counts whatever else it says, and whatever the merchant chose."""
        verdict = verdict_on(make_snapshot(word, "settled", aml=False), policy=policy)
        assert outcome(verdict) is HoldReason.AML_FAILED


@given(near_payments())
@settings(max_examples=500, deadline=None)
def test_paid_is_what_the_rules_say_and_nothing_else(near_payment):
    """An independent reading of the rules agrees about who has paid, on cases that are all nearly a payment."""
    record, snapshot, order_amount, policy = near_payment
    verdict = verdict_on(snapshot, record, policy=policy, order_amount=str(order_amount))
    assert (verdict.status is OrderStatus.PAID) == may_be_paid(record, snapshot, order_amount, policy)


class TestAml:
    @pytest.mark.parametrize(
        ("transactions", "expected"),
        [
            ([], OrderStatus.CONFIRMING),
            (["pending"], OrderStatus.CONFIRMING),
            (["confirmed"], OrderStatus.CONFIRMING),
            (["half_past_nine"], OrderStatus.CONFIRMING),
            (["settled"], OrderStatus.PAID),
            (["confirmed", "settled"], OrderStatus.PAID),
            (["settled", "failed"], OrderStatus.CONFIRMING),
            (["settled", "flagged"], OrderStatus.CONFIRMING),
            (["confirmed", "failed"], OrderStatus.CONFIRMING),
        ],
        ids=str,
    )
    def test_without_a_word_on_aml_only_a_settled_transfer_stands_for_it(self, transactions, expected):
        """And only if no other transfer failed or was flagged."""
        assert verdict_on(make_snapshot("paid", *transactions)).status is expected

    def test_transactions_that_cannot_be_read_leave_aml_unknown(self):
        """A key that may not list transactions does not pay on silence."""
        assert verdict_on(make_snapshot("paid", is_blind=True)).status is OrderStatus.CONFIRMING

    @pytest.mark.parametrize("snapshot", [make_snapshot("paid"), make_snapshot("paid", is_blind=True)])
    def test_a_merchant_may_choose_to_do_without_aml(self, snapshot):
        """With ``unless_failed`` silence is consent."""
        assert verdict_on(snapshot, policy=UNLESS_FAILED).status is OrderStatus.PAID

    @pytest.mark.parametrize("bad", ["failed", "flagged"])
    @pytest.mark.parametrize("policy", [REQUIRE, UNLESS_FAILED], ids=["require", "unless_failed"])
    def test_a_failed_transfer_blocks_when_nothing_else_came(self, bad, policy):
        """The gateway says paid, but the only money there is failed."""
        assert outcome(verdict_on(make_snapshot("paid", bad, aml=True), policy=policy)) is HoldReason.AML_FAILED

    @pytest.mark.parametrize("good", ["confirmed", "completed", "settled"])
    @pytest.mark.parametrize("bad", ["failed", "flagged"])
    def test_tainted_dust_beside_good_money_blocks_nobody(self, good, bad):
        """Anyone can send dust to an address."""
        dust = make_transaction(bad, amount="0.000001")
        assert verdict_on(make_snapshot("paid", dust, good, aml=True)).status is OrderStatus.PAID

    @pytest.mark.parametrize("bad", ["failed", "flagged"])
    def test_tainted_dust_before_the_payment_has_its_confirmations_needs_no_person(self, bad):
        """While good money is pending the order waits; a hold that only a person ends would let dust block it."""
        dust = make_transaction(bad, amount="0.000001")
        assert verdict_on(make_snapshot("paid", dust, "pending", aml=True)).status is OrderStatus.CONFIRMING

    @pytest.mark.parametrize(
        ("word", "expected"), [("pending", OrderStatus.AWAITING_PAYMENT), ("expired", OrderStatus.EXPIRED)]
    )
    def test_an_invoice_that_nobody_paid_is_not_held_for_aml(self, word, expected):
        """``amlOk`` is false before there is any money to check; a hold means that money is involved."""
        assert outcome(verdict_on(make_snapshot(word, aml=False))) is expected

    def test_a_key_that_may_not_list_transactions_does_not_make_a_false_aml_word_a_hold(self):
        """Only money that was seen, or that the invoice speaks of, can have failed."""
        blind = make_snapshot("pending", aml=False, is_blind=True)
        assert verdict_on(blind).status is OrderStatus.AWAITING_PAYMENT
        assert verdict_on(blind, make_record(had_money=True)).hold_reason is HoldReason.AML_FAILED
        assert verdict_on(make_snapshot("paid", aml=False, is_blind=True)).hold_reason is HoldReason.AML_FAILED

    def test_the_invoices_type_is_read_whatever_its_case(self):
        """The gateway's spellings vary (contract C15)."""
        assert verdict_on(make_snapshot("paid", "settled", aml=True, invoice_type="OneTime")).status is OrderStatus.PAID

    @pytest.mark.parametrize("word", ["paid", "half_past_nine"])
    @pytest.mark.parametrize(
        ("waited", "expected"),
        [
            (timedelta(0), OrderStatus.CONFIRMING),
            (timedelta(seconds=1800) - MICROSECOND, OrderStatus.CONFIRMING),
            (timedelta(seconds=1800), OrderStatus.ON_HOLD),
            (timedelta(days=9), OrderStatus.ON_HOLD),
            (timedelta(seconds=-60), OrderStatus.CONFIRMING),
        ],
        ids=str,
    )
    def test_what_is_unclear_waits_for_so_long_and_is_then_held(self, word, waited, expected):
        """The wait is counted from the first unclear snapshot, and a clock that went back is no wait."""
        snapshot = make_snapshot(word)
        record = make_record(unclear_since=snapshot.read_at)
        verdict = verdict_on(snapshot, record, now=snapshot.read_at + waited)
        assert verdict.status is expected
        assert verdict.is_unclear

    def test_a_merchant_without_patience_holds_at_once(self):
        """A wait of no seconds is over when it begins."""
        policy = Policy(aml_wait_seconds=0)
        assert outcome(verdict_on(make_snapshot("paid"), policy=policy)) is HoldReason.AML_UNKNOWN

    def test_an_unknown_state_never_pays_and_never_fails(self):
        """Whatever the transfers say, a word that we do not know decides nothing."""
        snapshot = make_snapshot("half_past_nine", "settled", aml=True)
        record = make_record(unclear_since=at(0))
        assert verdict_on(snapshot).status is OrderStatus.CONFIRMING
        assert outcome(verdict_on(snapshot, record, now=at(1800))) is HoldReason.UNKNOWN_STATE


class TestVeto:
    @pytest.mark.parametrize(
        ("transfers", "expected"),
        [
            (["12.574999"], HoldReason.MISMATCH),
            (["12.575"], OrderStatus.PAID),
            (["6.2875", "6.2875"], OrderStatus.PAID),
            (["6.2875", "6.2874"], HoldReason.MISMATCH),
            (["0"], HoldReason.MISMATCH),
            (["100.00"], OrderStatus.PAID),
            (["49.99"], OrderStatus.PAID),
            (["25150000"], OrderStatus.PAID),
        ],
        ids=str,
    )
    def test_less_than_half_by_every_unit_is_a_mismatch(self, transfers, expected):
        """25.15 USDT for 100 USD were asked: a sum is doubted only below half of the smaller of the two."""
        listed = [
            make_transaction("confirmed", amount=text, transaction_id=f"tx-{number}")
            for number, text in enumerate(transfers)
        ]
        assert outcome(verdict_on(make_snapshot("paid", *listed, aml=True))) is expected

    def test_the_usd_amount_can_be_the_smaller_of_the_two(self):
        """Where a unit of the asset is worth little, half of the USD amount is enough."""
        record = make_record(pay_amount="250000")
        enough, short = (make_transaction("confirmed", amount=text) for text in ("50", "49.99"))
        assert verdict_on(make_snapshot("paid", enough, aml=True), record).status is OrderStatus.PAID
        assert outcome(verdict_on(make_snapshot("paid", short, aml=True), record)) is HoldReason.MISMATCH

    @pytest.mark.parametrize(("amount", "expected"), [("50.00", OrderStatus.PAID), ("49.99", HoldReason.MISMATCH)])
    def test_without_a_pay_amount_the_usd_amount_alone_is_compared(self, amount, expected):
        """An invoice that was never quoted has only one unit."""
        snapshot = make_snapshot("paid", make_transaction("settled", amount=amount), aml=True)
        assert outcome(verdict_on(snapshot, make_record(pay_amount=None))) is expected

    def test_failed_money_does_not_make_up_the_sum(self):
        """A confirmed speck does not turn a flagged payment into a good one."""
        speck = make_transaction("confirmed", amount="0.01")
        assert outcome(verdict_on(make_snapshot("paid", "flagged", speck, aml=True))) is HoldReason.MISMATCH

    def test_the_sum_never_pays(self):
        """The full amount in confirmed transfers is no payment until the gateway says so."""
        assert verdict_on(make_snapshot("pending", "settled", aml=True)).status is OrderStatus.CONFIRMING
        assert outcome(verdict_on(make_snapshot("partially_paid", "settled", aml=True))) is HoldReason.UNDERPAID


class TestLate:
    LIMIT = at(QUOTE_SECONDS + 3600)

    @pytest.mark.parametrize("word", ["paid", "overpaid", "expired", "archived"])
    @pytest.mark.parametrize(("delay", "is_late"), [(timedelta(0), False), (MICROSECOND, True)], ids=["limit", "over"])
    def test_money_is_late_when_it_was_sent_too_long_after_the_price_ran_out(self, word, delay, is_late):
        """By more than ``accept_late_seconds``; the last moment still counts."""
        transfer = replace(make_transaction("settled"), created_at=self.LIMIT + delay)
        verdict = verdict_on(make_snapshot(word, transfer, aml=True))
        assert (verdict.hold_reason is HoldReason.LATE) is is_late

    def test_news_that_we_read_late_is_not_late_money(self):
        """When the transfer was sent counts, not when somebody looked."""
        snapshot = make_snapshot("paid", "settled", aml=True, read=10**6)
        assert verdict_on(snapshot, now=at(10**7)).status is OrderStatus.PAID

    def test_the_first_transfer_decides(self):
        """Whoever began to pay in time may send the rest later."""
        rest = make_transaction("settled", seen=10**6)
        assert verdict_on(make_snapshot("paid", rest, "confirmed", aml=True)).status is OrderStatus.PAID

    def test_a_transfer_that_failed_did_not_begin_the_payment(self):
        """Dust that was sent in time does not excuse a late payment."""
        snapshot = make_snapshot("paid", "failed", make_transaction("settled", seen=10**6), aml=True)
        assert outcome(verdict_on(snapshot)) is HoldReason.LATE

    def test_a_price_that_never_runs_out_is_never_late(self):
        """An invoice without an expiry takes money at any time."""
        snapshot = make_snapshot("paid", make_transaction("settled", seen=10**6), aml=True)
        assert verdict_on(snapshot, make_record(quote=None)).status is OrderStatus.PAID


class TestUnpaid:
    def test_an_invoice_without_an_address_is_being_prepared(self):
        """Nobody can pay it yet."""
        record = make_record(address=None, pay_amount=None, expires_at=None)
        assert verdict_on(None, record).status is OrderStatus.PREPARING
        assert verdict_on(make_snapshot("pending"), record).status is OrderStatus.PREPARING

    def test_an_invoice_with_an_address_awaits_payment(self):
        """Before and after it was first read."""
        assert verdict_on(None).status is OrderStatus.AWAITING_PAYMENT
        assert verdict_on(make_snapshot("pending")).status is OrderStatus.AWAITING_PAYMENT

    @pytest.mark.parametrize(
        ("read", "expected"), [(899, OrderStatus.AWAITING_PAYMENT), (900, OrderStatus.EXPIRED)], ids=["runs", "over"]
    )
    def test_a_quote_is_over_once_the_invoice_was_read_after_it(self, read, expected):
        """An old reading proves nothing about the time since, so the clock alone expires no order."""
        assert verdict_on(make_snapshot("pending", read=read), now=at(10**6)).status is expected

    def test_an_invoice_without_an_expiry_awaits_payment_for_ever(self):
        """It is the gateway that ends it."""
        snapshot = make_snapshot("pending", read=10**6)
        assert verdict_on(snapshot, make_record(quote=None)).status is OrderStatus.AWAITING_PAYMENT

    @pytest.mark.parametrize("state", ["pending", "confirmed", "settled", "half_past_nine"])
    def test_a_transfer_on_an_open_invoice_is_confirming(self, state):
        """Also after the quote ran out: money was seen."""
        assert verdict_on(make_snapshot("pending", state, read=1000)).status is OrderStatus.CONFIRMING

    @pytest.mark.parametrize("state", ["failed", "flagged"])
    def test_a_failed_transfer_on_an_open_invoice_is_no_money(self, state):
        """The customer may still pay."""
        assert verdict_on(make_snapshot("pending", state)).status is OrderStatus.AWAITING_PAYMENT

    @pytest.mark.parametrize("word", ["expired", "archived", "cancelled"])
    @pytest.mark.parametrize(
        ("transactions", "expected"),
        [
            ([], OrderStatus.EXPIRED),
            (["failed"], OrderStatus.EXPIRED),
            (["flagged"], OrderStatus.EXPIRED),
            (["pending"], HoldReason.EXPIRED_WITH_MONEY),
            (["confirmed"], HoldReason.EXPIRED_WITH_MONEY),
            (["half_past_nine"], HoldReason.EXPIRED_WITH_MONEY),
            (["failed", "pending"], HoldReason.EXPIRED_WITH_MONEY),
        ],
        ids=str,
    )
    def test_an_ended_invoice_with_money_on_it_is_held(self, word, transactions, expected):
        """The documentation has invoices expire after they were paid."""
        assert outcome(verdict_on(make_snapshot(word, *transactions))) is expected

    def test_underpaid_is_the_gateways_word_alone(self):
        """It is held with or without transfers to show for it."""
        for snapshot in (make_snapshot("underpaid", "confirmed"), make_snapshot("partial", is_blind=True)):
            verdict = verdict_on(snapshot)
            assert (verdict.hold_reason, verdict.settlement) == (HoldReason.UNDERPAID, Settlement.UNDERPAID)


class TestTable:
    def test_every_combination_has_one_outcome_and_the_docs_show_it(self):
        """All states, AML words, transfers, times and settings are settled and printed into the documentation."""
        begin, end = "<!-- table: begin -->\n", "<!-- table: end -->"
        text = DOCS.read_text(encoding="utf-8")
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        expected = f"{before}{begin}{format_table()}\n{end}{after}"
        if os.environ.get("ITERAPAY_WRITE_DOCS") == "1":
            DOCS.write_text(expected, encoding="utf-8")
            text = expected
        hint = "run ITERAPAY_WRITE_DOCS=1 python -m pytest tests/orders/test_verdict.py and read what changed"
        assert text == expected, f"{DOCS.name} does not show what the code does: {hint}"

    def test_paid_in_the_table_is_what_the_rules_say(self):
        """An independent reading of the rules agrees on every combination."""
        paid = {case for case in list_cases() if settle_case(case).status is OrderStatus.PAID}
        record = make_record()
        assert paid == {
            case for case in list_cases() if may_be_paid(record, make_case(case), Decimal("100.00"), POLICIES[case[-1]])
        }
        assert 100 < len(paid) < len(list_cases()) / 2

    @pytest.mark.parametrize("unclear_since", [None, at(-1800)], ids=["at once", "after the wait"])
    def test_the_settlement_follows_the_invoices_state_alone(self, unclear_since):
        """How the money matched is the gateway's word, whatever the verdict."""
        words = {InvoiceState.UNDERPAID: "underpaid", InvoiceState.PAID: "exact", InvoiceState.OVERPAID: "overpaid"}
        record = make_record(unclear_since=unclear_since)
        for case in list_cases():
            verdict = verdict_on(make_case(case), record, policy=POLICIES[case[-1]])
            assert verdict.settlement == words.get(InvoiceState(case[0]), "unpaid"), case

    @pytest.mark.parametrize(
        "words", [OrderStatus, HoldReason, Settlement, EventName, Anomaly], ids=lambda e: e.__name__
    )
    def test_the_docs_explain_every_word(self, words):
        """A new status, reason, settlement, event or anomaly needs a line there."""
        text = DOCS.read_text(encoding="utf-8") + LINK_DOCS.read_text(encoding="utf-8")
        assert [word for word in words if f"| `{word}` |" not in text] == []

    def test_the_docs_say_which_holds_need_a_person(self):
        """The line of a hold reason names the person if only a person ends it."""
        for line in DOCS.read_text(encoding="utf-8").splitlines():
            for reason in HoldReason:
                if line.startswith(f"| `{reason}` |"):
                    assert ("a person" in line) is reason.needs_person, reason
