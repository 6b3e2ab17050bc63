"""Why an order is where it is, in sentences for the person who has to decide about it."""

from collections.abc import Iterator
from datetime import datetime

from ..gateway.models import Transaction
from .models import EventState, HistoryEntry, HoldReason, InvoiceRecord, Order, OrderEvent, OrderStatus, Policy
from .verdict import Verdict, has_money, judge

__all__ = ["explain"]

_HOLDS = {
    HoldReason.AML_UNKNOWN: "the gateway calls it paid but says nothing about AML; its word releases the order",
    HoldReason.AML_FAILED: "the money failed the gateway's AML check, or every transfer failed; a person decides",
    HoldReason.UNKNOWN_STATE: "the gateway uses a word that we do not know; one that we know releases the order",
    HoldReason.UNDERPAID: "the gateway says that less than the full amount came; the rest releases the order",
    HoldReason.EXPIRED_WITH_MONEY: "the invoice ended with money on it; if the gateway calls it paid, that releases it",
    HoldReason.LATE: "the first transfer came too long after the price ran out; a person decides",
    HoldReason.MISMATCH: "the gateway's answer, or the sum, is not what was asked for; a person decides",
    HoldReason.CANCELLED_WITH_MONEY: "money came for a cancelled order; a person decides",
}
_STATUSES = {
    OrderStatus.NEW: "the customer has not chosen how to pay",
    OrderStatus.PREPARING: "an invoice is being made, or its address is being asked for",
    OrderStatus.AWAITING_PAYMENT: "the customer has address and amount, and no money was seen",
    OrderStatus.CONFIRMING: "money was seen, and the gateway has not said its last word",
    OrderStatus.PAID: "it is paid, and nothing that the gateway says later takes it back",
    OrderStatus.EXPIRED: "the price ran out and nothing came; money that comes after all still counts",
    OrderStatus.CANCELLED: "it was cancelled; money that comes after all puts it on hold",
}


def explain(order: Order, *, now: datetime, policy: Policy) -> Iterator[str]:
    """Yield lines: where the order stands and why, what happened, what the gateway said last, what comes next.

    Everything comes from what is stored; the gateway is not asked. Times are UTC.
    """
    yield f"Order {order.order_id} over {order.amount} {order.currency} is {_standing(order)}."
    yield f"That means: {_meaning(order)}."
    yield "What happened:"
    yield from (f"  {_step(entry)}" for entry in order.history)
    yield "What the gateway said last:"
    yield from (f"  {line}" for record in order.invoices for line in _invoice(record, order, now, policy))
    if not order.invoices:
        yield "  nothing, for there is no invoice"
    yield "What the shop was told:"
    yield from (f"  {_event(event)}" for event in order.events)
    if not order.events:
        yield "  nothing"
    for anomaly in order.anomalies:
        yield f"  contradiction after payment: {anomaly}"
    yield "What comes next:"
    yield from (f"  {line}" for line in _prospects(order))


def _standing(order: Order) -> str:
    reason = f" ({order.hold_reason})" if order.hold_reason else ""
    late = ", late" if order.is_late else ""
    return f"{order.status}{reason}, {order.settlement}{late}"


def _meaning(order: Order) -> str:
    if order.hold_reason:
        return _HOLDS[order.hold_reason]
    if order.status is OrderStatus.CONFIRMING and not _has_money(order):
        return "the gateway uses a word that we do not know; NO MONEY WAS SEEN"
    return _STATUSES[order.status]


def _has_money(order: Order) -> bool:
    return any(has_money(record) for record in order.invoices)


def _step(entry: HistoryEntry) -> str:
    note = f" ({entry.note})" if entry.note else ""
    return f"{_moment(entry.at)}  {entry.status}: {entry.reason}, by {entry.actor}{note}"


def _invoice(record: InvoiceRecord, order: Order, now: datetime, policy: Policy) -> Iterator[str]:
    role = "current" if record.invoice_id == order.current_invoice_id else "superseded, still watched"
    yield f"invoice {record.invoice_id} ({role}), {record.amount} USD by {record.method.name}"
    yield f"  by itself it means: {_verdict(judge(record, order_amount=order.amount, now=now, policy=policy))}"
    snapshot = record.snapshot
    if snapshot is None:
        yield "  not read yet"
        return
    aml = {True: "passed", False: "failed", None: "unknown"}[snapshot.invoice.has_passed_aml]
    yield f"  read {_moment(snapshot.read_at)}: state {snapshot.invoice.spelling}, AML {aml}"
    if snapshot.transactions is None:
        yield "  its transactions could not be listed, so the invoice alone decides"
    for transaction in snapshot.transactions or ():
        yield f"  {_transaction(transaction)}"


def _verdict(verdict: Verdict) -> str:
    reason = f" ({verdict.hold_reason})" if verdict.hold_reason else ""
    return f"{verdict.status}{reason}"


def _transaction(transaction: Transaction) -> str:
    # No unit is documented for the amount (contract C29), so none is shown.
    seen = _moment(transaction.created_at)
    # By its hash alone a customer knows it, from his page and from his wallet.
    tx_hash = f" (hash {transaction.tx_hash})" if transaction.tx_hash else ""
    return (
        f"transaction {transaction.transaction_id}{tx_hash}: {transaction.amount}, {transaction.spelling}, seen {seen}"
    )


def _event(event: OrderEvent) -> str:
    state = f"{event.state}, attempts: {event.attempts}"
    if event.state is EventState.OPEN and event.next_attempt_at:
        state += f", next {_moment(event.next_attempt_at)}"
    done = f"; done by {', '.join(sorted(event.done_by))}" if event.done_by else ""
    reason = f" ({event.reason})" if event.reason else ""
    return f"{_moment(event.occurred_at)}  {event.key}{reason}: {state}{done}"


def _prospects(order: Order) -> Iterator[str]:
    if order.unreachable_since:
        yield f"the gateway could not be read since {_moment(order.unreachable_since)}; it is tried again"
    if not order.invoices:
        yield "there is nothing to read at the gateway yet"
    elif order.due_check_at:
        yield f"the gateway is read again from {_moment(order.due_check_at)} on"
    else:
        yield "the gateway is not read any more, unless a webhook asks for it"
    if any(event.state is EventState.FAILED for event in order.events):
        yield f"handlers failed for good: flask iterapay retry {order.order_id} --note ..."
    for event in order.events:
        if event.state is EventState.OPEN and event.attempts and not event.is_leased:
            again = f"flask iterapay retry {order.order_id} --note ..."
            yield f"{event.key}: a handler raised, see the log; `reconcile` tries it again, or now: {again}"
    if order.status in (OrderStatus.ON_HOLD, OrderStatus.CONFIRMING) and _has_money(order):
        yield f"a person may decide: flask iterapay resolve {order.order_id} --accept (or --cancel) --note ..."


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
