"""What an order is: the one place that turns what the gateway says into a status.

Everything here is a pure, total function of its arguments. ``settle`` gives the order that follows from the verdicts
on all its invoices; the other functions are the changes that a shop, a customer or a person makes. Events and history
are written by ``_move`` alone, in the same value as the change that caused them.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from ..errors import OrderCancelledError, OrderLockedError, OrderPaidError
from ..gateway.models import DepositAddress, InvoiceState
from ..values import replace
from .models import (
    Anomaly,
    EventName,
    HistoryEntry,
    HoldReason,
    Intent,
    InvoiceRecord,
    Order,
    OrderEvent,
    OrderStatus,
    Policy,
    Snapshot,
)
from .verdict import (
    Verdict,
    dismiss,
    evidence,
    has_money,
    has_turned_bad,
    hold,
    is_payment,
    is_refused,
    judge,
    remember_transfers,
    settlement_of,
    take_snapshot,
)

__all__ = [
    "Verdict",
    "abandon_intent",
    "accept",
    "cancel",
    "change_amount",
    "note_anomaly",
    "pin_address",
    "record_intent",
    "record_invoice",
    "refuse_invoice",
    "require_open",
    "reuse_invoice",
    "settle",
]


def settle(order: Order, snapshots: Iterable[Snapshot], now: datetime, policy: Policy) -> Order:
    """Return the order as it is once ``snapshots`` are known.

    Snapshots of foreign invoices and those older than what is stored are ignored. Total: every order and every
    snapshot has an answer, and ``paid`` is never taken back.
    """
    for snapshot in snapshots:
        order = _attach(order, snapshot)
    if order.intent and order.intent.expires_at <= now:
        order = replace(order, intent=None, current_invoice_id=order.intent.superseded_invoice_id)
    verdicts = {
        record.invoice_id: judge(record, order_amount=order.amount, now=now, policy=policy) for record in order.invoices
    }
    order = _remember_doubts(order, verdicts, now)
    if order.status is OrderStatus.PAID:
        return _watch_payment(order, now)
    if order.hold_reason and order.hold_reason.needs_person:
        return order
    if order.status is OrderStatus.CANCELLED:
        return _hold_new_money(order, verdicts, now)
    invoice_id, verdict = _weigh(order, verdicts)
    moved = _move(order, verdict, now, actor="gateway", reason=_evidence_text(order, invoice_id))
    if verdict.status is not OrderStatus.PAID:
        return moved
    return _watch_payment(replace(moved, paid_invoice_id=invoice_id), now)


def _attach(order: Order, snapshot: Snapshot) -> Order:
    for record in order.invoices:
        is_newer = record.snapshot is None or snapshot.read_at >= record.snapshot.read_at
        if record.invoice_id == snapshot.invoice.invoice_id and is_newer:
            read_at = max(snapshot.read_at, order.read_at or snapshot.read_at)
            return replace(order.with_invoice(take_snapshot(record, snapshot)), read_at=read_at)
    return order


def _remember_doubts(order: Order, verdicts: dict[str, Verdict], now: datetime) -> Order:
    for record in order.invoices:
        since = (record.unclear_since or now) if verdicts[record.invoice_id].is_unclear else None
        if since != record.unclear_since:
            order = order.with_invoice(replace(record, unclear_since=since))
    return order


_WEIGHT = {OrderStatus.PAID: 0, OrderStatus.ON_HOLD: 1, OrderStatus.CONFIRMING: 2}


def _weigh(order: Order, verdicts: dict[str, Verdict]) -> tuple[str | None, Verdict]:
    """Choose the verdict that stands for the order: money anywhere first, else what the current invoice says."""
    with_money = [
        record.invoice_id
        for record in order.invoices
        if verdicts[record.invoice_id].status in _WEIGHT
        and (has_money(record) or record.invoice_id == order.current_invoice_id)
    ]
    if with_money:
        best = min(with_money, key=lambda invoice_id: _WEIGHT[verdicts[invoice_id].status])
        return best, verdicts[best]
    if order.intent:
        return None, Verdict(status=OrderStatus.PREPARING)
    if order.current_invoice_id is None:
        return None, Verdict(status=OrderStatus.NEW)
    return order.current_invoice_id, verdicts[order.current_invoice_id]


def _watch_payment(order: Order, now: datetime) -> Order:
    """Rule 4: what speaks against a paid order is told once and changes nothing."""
    for anomaly in _contradictions(order):
        order = note_anomaly(order, anomaly, now)
    return _remember_payment(order)


def _remember_payment(order: Order) -> Order:
    paying = _paying(order)
    return order.with_invoice(remember_transfers(paying)) if paying else order


def _contradictions(order: Order) -> list[Anomaly]:
    found = []
    paying = _paying(order)
    if paying and (is_refused(paying) or has_turned_bad(paying)):
        found.append(Anomaly.FAILED_AFTER_PAID)
    if paying and paying.snapshot and paying.snapshot.invoice.state in (InvoiceState.EXPIRED, InvoiceState.CLOSED):
        found.append(Anomaly.EXPIRED_AFTER_PAID)
    if any(is_payment(record) for record in order.invoices if record is not paying):
        found.append(Anomaly.SECOND_INVOICE_PAID)
    return found


def _paying(order: Order) -> InvoiceRecord | None:
    return next((record for record in order.invoices if record.invoice_id == order.paid_invoice_id), None)


def note_anomaly(order: Order, anomaly: Anomaly, now: datetime) -> Order:
    """Raise ``order.anomaly`` for a kind that this order has not had yet."""
    if anomaly in order.anomalies:
        return order
    order = _add_event(order, EventName.ANOMALY, now, reason=anomaly)
    return replace(order, anomalies=(*order.anomalies, anomaly))


def _hold_new_money(order: Order, verdicts: dict[str, Verdict], now: datetime) -> Order:
    for record in order.invoices:
        if evidence(record) - record.dismissed:
            verdict = hold(HoldReason.CANCELLED_WITH_MONEY, verdicts[record.invoice_id].settlement)
            return _move(order, verdict, now, actor="gateway", reason=_evidence_text(order, record.invoice_id))
    return order


def _evidence_text(order: Order, invoice_id: str | None) -> str:
    record = next((record for record in order.invoices if record.invoice_id == invoice_id), None)
    if record is None or record.snapshot is None:
        return "no answer of the gateway yet"
    invoice, transactions = record.snapshot.invoice, record.snapshot.transactions
    aml = {True: "passed", False: "failed", None: "unknown"}[invoice.has_passed_aml]
    seen = "unknown" if transactions is None else ", ".join(str(item.state) for item in transactions) or "none"
    return f"invoice {invoice.invoice_id}: {invoice.spelling}; AML {aml}; transactions: {seen}"


_EVENTS = {
    OrderStatus.CONFIRMING: EventName.CONFIRMING,
    OrderStatus.PAID: EventName.PAID,
    OrderStatus.ON_HOLD: EventName.ON_HOLD,
    OrderStatus.EXPIRED: EventName.EXPIRED,
    OrderStatus.CANCELLED: EventName.CANCELLED,
}


def _move(order: Order, verdict: Verdict, now: datetime, *, actor: str, reason: str, note: str = "") -> Order:
    """Give the order the verdict's status, with the events and the history that belong to the change."""
    before = (order.status, order.hold_reason, order.settlement)
    if before == (verdict.status, verdict.hold_reason, verdict.settlement):
        return order
    entry = HistoryEntry(at=now, status=verdict.status, reason=reason, actor=actor, note=note)
    moved = replace(
        order,
        status=verdict.status,
        hold_reason=verdict.hold_reason,
        settlement=verdict.settlement,
        is_late=order.is_late or verdict.hold_reason is HoldReason.LATE,
        changed_at=now,
        history=(*order.history, entry),
    )
    was_held = order.status is OrderStatus.ON_HOLD
    if was_held and verdict.status not in (OrderStatus.ON_HOLD, OrderStatus.CANCELLED):
        moved = _add_event(moved, EventName.RELEASED, now, reason=order.hold_reason)
    is_news = order.status is not verdict.status or order.hold_reason is not verdict.hold_reason
    if is_news and verdict.status in _EVENTS:
        moved = _add_event(moved, _EVENTS[verdict.status], now, reason=verdict.hold_reason)
    return moved


def _add_event(order: Order, name: EventName, now: datetime, *, reason: str | None = None) -> Order:
    # Only "paid" needs no number: nothing ever takes it back, so it happens once.
    number = "" if name is EventName.PAID else f":{len(order.events) + 1}"
    event = OrderEvent(
        key=f"{name}:{order.order_id}{number}",
        name=name,
        order_id=order.order_id,
        occurred_at=now,
        reason=reason,
        next_attempt_at=now,
    )
    return replace(order, events=(*order.events, event))


def record_intent(order: Order, intent: Intent, now: datetime) -> Order:
    """T0: an invoice is about to be made; the old current invoice is superseded, and stays watched."""
    intent = replace(intent, superseded_invoice_id=order.current_invoice_id)
    order = replace(order, intent=intent, current_invoice_id=None)
    return _move(order, Verdict(status=OrderStatus.PREPARING), now, actor="customer", reason="chose a method")


def abandon_intent(order: Order, now: datetime, policy: Policy) -> Order:
    """No invoice came of the intent: go back to the invoice before it, if there was one."""
    if order.intent is None:
        return order
    return settle(replace(order, intent=replace(order.intent, expires_at=now)), (), now, policy)


def record_invoice(order: Order, invoice_id: str, now: datetime) -> Order:
    """T1: the gateway made the invoice of ``order.intent``. It is current and due, and has no address yet."""
    return replace(order.with_created_invoice(invoice_id, now), current_invoice_id=invoice_id)


def pin_address(order: Order, invoice_id: str, deposit: DepositAddress, now: datetime) -> Order:
    """Keep what the gateway quotes for an invoice.

    The first address is pinned; another one later is an anomaly and is not taken over. A new amount or expiry for
    the same address is a renewed price, and the order is due, since its watch may have ended with the old one.
    """
    record = next(record for record in order.invoices if record.invoice_id == invoice_id)
    if record.address not in (None, deposit.address):
        return note_anomaly(order, Anomaly.ADDRESS_CHANGED, now)
    is_new_amount = record.pay_amount not in (None, deposit.pay_amount)
    renewed = replace(
        record,
        address=deposit.address,
        pay_amount=deposit.pay_amount,
        expires_at=deposit.expires_at,
        previous_pay_amount=record.pay_amount if is_new_amount else record.previous_pay_amount,
    )
    if renewed == record:
        return order
    return replace(order.with_invoice(renewed), changed_at=now, next_check_at=now)


def refuse_invoice(order: Order, invoice_id: str, now: datetime, policy: Policy) -> Order:
    """The gateway gives no address for the invoice's method (contract C10): let the customer choose another."""
    if order.current_invoice_id == invoice_id:
        order = replace(order, current_invoice_id=None)
    return settle(order, (), now, policy)


def reuse_invoice(order: Order, invoice_id: str, now: datetime, policy: Policy) -> Order:
    """The customer goes back to a method whose invoice is still live: make that one current again."""
    return settle(replace(order, current_invoice_id=invoice_id, changed_at=now), (), now, policy)


def change_amount(order: Order, amount: Decimal, now: datetime, policy: Policy) -> Order:
    """The shop's total changed before money was seen: the invoices so far are superseded, and stay watched."""
    order = replace(order, amount=amount, intent=None, current_invoice_id=None, changed_at=now)
    return settle(order, (), now, policy)


def accept(order: Order, now: datetime, *, actor: str, note: str) -> Order:
    """A person takes the money on a held order as payment. What speaks against it now is known and is not told."""
    with_money = [record for record in order.invoices if has_money(record) or is_refused(record)]
    # Where nobody sees money, it is the current invoice's: that one's being called paid later is no second payment.
    likely = [*with_money, order.current_invoice, *reversed(order.invoices)]
    paying = next((record for record in with_money if is_payment(record)), next(filter(None, likely), None))
    settlement = settlement_of(paying) if paying else order.settlement
    paid_invoice_id = paying.invoice_id if paying else None
    verdict = Verdict(status=OrderStatus.PAID, settlement=settlement)
    moved = _move(order, verdict, now, actor=actor, reason="accepted by a person", note=note)
    paid = replace(moved, paid_invoice_id=paid_invoice_id)
    known = replace(paid, anomalies=tuple(dict.fromkeys((*paid.anomalies, *_contradictions(paid)))))
    return _remember_payment(known)


def cancel(order: Order, now: datetime, *, actor: str, note: str = "") -> Order:
    """End the order. What money is known now is dealt with by whoever cancels; new money holds the order again."""
    order = replace(order, intent=None, invoices=tuple(dismiss(record) for record in order.invoices))
    verdict = Verdict(status=OrderStatus.CANCELLED, settlement=order.settlement)
    return _move(order, verdict, now, actor=actor, reason="cancelled", note=note)


def require_open(order: Order) -> None:
    """Refuse what may only be done before money was seen. A transfer that failed is none, so dust blocks nobody.

    Raises:
        OrderPaidError, OrderCancelledError, OrderLockedError: by the order's status.
    """
    if order.status is OrderStatus.PAID:
        raise OrderPaidError(order.order_id, "it is paid")
    if order.status is OrderStatus.CANCELLED:
        raise OrderCancelledError(order.order_id, "it was cancelled")
    if order.status in (OrderStatus.CONFIRMING, OrderStatus.ON_HOLD):
        raise OrderLockedError(order.order_id, "money was seen for it")
