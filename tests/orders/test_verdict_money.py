"""What an invoice shows of money: whether there is any, what proves it, and what has become of it."""

import pytest
from builders import make_record, make_snapshot

from flask_iterapay.orders.models import Settlement
from flask_iterapay.orders.verdict import (
    dismiss,
    evidence,
    has_money,
    has_turned_bad,
    is_payment,
    is_refused,
    remember_transfers,
    settlement_of,
)


@pytest.mark.parametrize(
    ("snapshot", "is_money", "ids"),
    [
        (None, False, set()),
        (make_snapshot("pending"), False, set()),
        (make_snapshot("pending", "failed"), False, set()),
        (make_snapshot("pending", "pending", "failed"), True, {"tx-pending"}),
        (make_snapshot("expired", "settled"), True, {"tx-settled"}),
        (make_snapshot("partially_paid", "confirmed"), True, {"tx-confirmed"}),
        (make_snapshot("paid", "confirmed", "settled"), True, {"tx-confirmed", "tx-settled"}),
    ],
    ids=["never read", "open", "failed", "pending", "expired with money", "underpaid", "paid"],
)
def test_transfers_that_did_not_fail_are_the_evidence(snapshot, is_money, ids):
    """They name what a person has dealt with when deciding about an order."""
    record = make_record(snapshot=snapshot)
    assert (has_money(record), evidence(record)) == (is_money, ids)


@pytest.mark.parametrize(
    ("snapshot", "is_paid"),
    [
        (None, False),
        (make_snapshot("pending", "pending"), False),
        (make_snapshot("expired", "failed"), False),
        (make_snapshot("partially_paid"), True),
        (make_snapshot("paid", "failed"), True),
        (make_snapshot("overpaid", is_blind=True), True),
    ],
    ids=["never read", "pending", "expired", "underpaid", "paid", "overpaid"],
)
def test_a_payment_is_the_gateways_word(snapshot, is_paid):
    """In part or whole, good or bad: a second one is told to the shop."""
    assert is_payment(make_record(snapshot=snapshot)) is is_paid


def test_an_invoice_that_was_never_read_says_nothing_about_money():
    """Neither how it matched nor that it failed, and there is nothing that a person could deal with."""
    record = make_record()
    assert (settlement_of(record), is_refused(record)) == (Settlement.UNPAID, False)
    assert dismiss(record) is record


def test_a_person_deals_with_money_only():
    """Whoever cancels an unpaid invoice has turned nothing down."""
    record = make_record(snapshot=make_snapshot("pending", "failed"))
    assert dismiss(record) is record


@pytest.mark.parametrize("had_money", [True, False])
def test_money_that_failed_stays_failed_when_transactions_cannot_be_read(had_money):
    """What was known about transfers decides whether a false ``amlOk`` is about something."""
    record = make_record(snapshot=make_snapshot("pending", aml=False, is_blind=True), had_money=had_money)
    assert is_refused(record) is had_money


@pytest.mark.parametrize(
    ("paid_by", "now", "is_bad"),
    [
        ({"tx-flagged"}, "flagged", True),
        ({"tx-failed", "other"}, "failed", True),
        ({"other"}, "flagged", False),
        (set(), "flagged", False),
        ({"tx-settled"}, "settled", False),
        ({"tx-pending"}, "pending", False),
    ],
    ids=["flagged", "failed", "another", "dust", "stands", "waits"],
)
def test_money_turns_bad_when_a_transfer_fails_that_has_paid(paid_by, now, is_bad):
    """Dust that was never money cannot."""
    record = make_record(snapshot=make_snapshot("paid", "confirmed", now), paid_by=frozenset(paid_by))
    assert has_turned_bad(record) is is_bad


@pytest.mark.parametrize("snapshot", [None, make_snapshot("paid", is_blind=True)], ids=["never read", "blind"])
def test_what_cannot_be_seen_has_not_turned_bad(snapshot):
    """An answer without transfers says nothing about them, and leaves what is known as it is."""
    record = make_record(snapshot=snapshot, paid_by=frozenset({"a"}))
    assert not has_turned_bad(record)
    assert remember_transfers(record) == record


def test_transfers_that_pay_are_remembered():
    """Those that are money, beside those of before; what failed is none."""
    snapshot = make_snapshot("paid", "settled", "pending", "failed")
    record = remember_transfers(make_record(snapshot=snapshot, paid_by=frozenset({"a"})))
    assert record.paid_by == {"a", "tx-settled", "tx-pending"}


@pytest.mark.parametrize("word", ["processing", "partially_paid", "paid", "overpaid"])
def test_the_gateways_word_is_evidence_where_no_transfer_is_listed(word):
    """Money that cannot be listed is money all the same."""
    record = make_record(snapshot=make_snapshot(word, is_blind=True))
    assert has_money(record)
    assert len(evidence(record)) == 1
