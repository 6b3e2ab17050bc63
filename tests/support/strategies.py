"""Orders and snapshots for Hypothesis: arbitrary ones, and ones that are nearly a payment.

The arbitrary ones are whatever the types and the gateway's codec let through.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from builders import QUOTE_SECONDS, make_record, make_snapshot, make_transaction
from hypothesis import strategies as st
from msgspec.structs import replace

from flask_iterapay.gateway.models import Invoice, InvoiceState, PaymentMethod, Transaction, TransactionState
from flask_iterapay.orders.models import (
    Anomaly,
    Claim,
    EventName,
    EventState,
    HistoryEntry,
    HoldReason,
    Intent,
    InvoiceRecord,
    Order,
    OrderEvent,
    OrderStatus,
    Policy,
    Settlement,
    Snapshot,
)

texts = st.text(max_size=12)
ids = st.sampled_from(["inv-1", "inv-2", "inv-3", "inv-ü/../?#"])
moments = st.integers(min_value=0, max_value=199 * 365 * 24 * 3600 * 10**6)
times = moments.map(lambda microseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds))
amounts = st.decimals(min_value=0, max_value=10**9, places=2) | st.decimals(min_value=0, max_value=1, places=18)
plain_amounts = amounts.map(lambda amount: format(amount, "f"))
method_ids = st.integers(min_value=0, max_value=9) | st.sampled_from(["1", "method_usdt_tron"])
names = st.frozensets(texts, max_size=1)

policies = st.builds(
    Policy,
    is_aml_required=st.booleans(),
    aml_wait_seconds=st.sampled_from([0, 1, 1800]),
    accept_late_seconds=st.sampled_from([0, 3600]),
)
methods = st.builds(PaymentMethod, method_id=method_ids, name=texts, network=texts, ticker=texts)
invoices = st.builds(
    Invoice,
    invoice_id=ids,
    state=st.sampled_from(InvoiceState),
    spelling=texts,
    amount=st.none() | amounts,
    invoice_type=st.sampled_from([None, "onetime", "reusable"]),
    method_id=st.none() | method_ids,
    has_passed_aml=st.sampled_from([None, True, False]),
    description=st.none() | texts,
    created_at=st.none() | times,
)
transactions = st.builds(
    Transaction,
    transaction_id=texts,
    invoice_id=ids,
    amount=plain_amounts,
    state=st.sampled_from(TransactionState),
    spelling=texts,
    created_at=times,
    confirmed_at=st.none() | times,
    tx_hash=st.none() | texts,
)
snapshots = st.builds(
    Snapshot,
    invoice=invoices,
    transactions=st.none() | st.lists(transactions, max_size=3).map(tuple),
    read_at=times,
)
records = st.builds(
    InvoiceRecord,
    invoice_id=ids,
    amount=amounts,
    method=methods,
    created_at=times,
    address=st.none() | texts,
    pay_amount=st.none() | plain_amounts,
    expires_at=st.none() | times,
    previous_pay_amount=st.none() | plain_amounts,
    snapshot=st.none() | snapshots,
    had_money=st.booleans(),
    unclear_since=st.none() | times,
    dismissed=names,
)
events = st.builds(
    OrderEvent,
    key=texts,
    name=st.sampled_from(EventName),
    order_id=texts,
    occurred_at=times,
    reason=st.none() | texts,
    state=st.sampled_from(EventState),
    done_by=names,
    attempts=st.integers(min_value=0, max_value=12),
    next_attempt_at=st.none() | times,
)
history = st.builds(HistoryEntry, at=times, status=st.sampled_from(OrderStatus), reason=texts, actor=texts, note=texts)
claims = st.builds(Claim, token=texts, expires_at=times)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Any order whose invoices have ids of their own and that names no invoice but these."""
    owned = draw(st.lists(records, max_size=3, unique_by=lambda record: record.invoice_id).map(tuple))
    any_own = st.sampled_from([None, *(record.invoice_id for record in owned)])
    intent = st.builds(
        Intent, ref=texts, method=methods, amount=amounts, expires_at=times, superseded_invoice_id=any_own
    )
    return Order(
        order_id=draw(texts),
        amount=draw(amounts),
        created_at=draw(times),
        changed_at=draw(times),
        description=draw(texts),
        return_url=draw(st.none() | texts),
        metadata=draw(st.dictionaries(texts, texts, max_size=2)),
        status=draw(st.sampled_from(OrderStatus)),
        hold_reason=draw(st.none() | st.sampled_from(HoldReason)),
        settlement=draw(st.sampled_from(Settlement)),
        is_late=draw(st.booleans()),
        invoices=owned,
        current_invoice_id=draw(any_own),
        intent=draw(st.none() | intent),
        claim=draw(st.none() | claims),
        next_check_at=draw(st.none() | times),
        read_at=draw(st.none() | times),
        unreachable_since=draw(st.none() | times),
        paid_invoice_id=draw(any_own),
        anomalies=draw(st.lists(st.sampled_from(Anomaly), unique=True).map(tuple)),
        events=draw(st.lists(events, max_size=2).map(tuple)),
        history=draw(st.lists(history, max_size=2).map(tuple)),
        version=draw(st.integers(min_value=0, max_value=10**6)),
    )


@st.composite
def near_payments(draw: st.DrawFn) -> tuple[InvoiceRecord, Snapshot, Decimal, Policy]:
    """An invoice of ours, a snapshot of it, the order's amount and a policy, each one step away from a payment."""
    usd = st.sampled_from([Decimal("100.00"), Decimal("100.00"), Decimal("99.99")])
    transfer = st.builds(
        make_transaction,
        st.sampled_from(["pending", "confirmed", "settled", "failed", "flagged", "half_past_nine"]),
        amount=st.sampled_from(["25.150000", "12.575", "12.574999", "0.01", "100"]),
        seen=st.sampled_from([60, QUOTE_SECONDS + 3600, QUOTE_SECONDS + 3601]),
    )
    snapshot = make_snapshot(
        draw(st.sampled_from(["paid", "paid", "overpaid", "partially_paid", "expired", "pending"])),
        *draw(st.lists(transfer, max_size=3)),
        aml=draw(st.sampled_from([True, True, None, False])),
        amount=draw(st.none() | usd),
        method_id=draw(st.sampled_from([None, 1, "1", 1, 2])),
        invoice_type=draw(st.sampled_from([None, "onetime", "onetime", "reusable"])),
    )
    if draw(st.booleans()) and draw(st.booleans()):
        snapshot = replace(snapshot, transactions=None)
    record = make_record(amount=draw(usd), quote=draw(st.sampled_from([None, QUOTE_SECONDS])))
    return record, snapshot, draw(usd), Policy(is_aml_required=draw(st.booleans()))
