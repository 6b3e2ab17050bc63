"""What one invoice says about its order: the verdict, from its newest snapshot, as a pure and total function.

Two rules explain most branches. Transfers that failed are not money: they neither revive nor hold an order, except
when the gateway calls an invoice paid and nothing but failed transfers is there. And a transaction's amount has no
documented unit (contract C29), so it can raise a doubt but never settle one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from ..gateway.models import Invoice, InvoiceState, InvoiceType, Transaction, TransactionState
from ..money import parse_decimal
from .models import HoldReason, InvoiceRecord, OrderStatus, Policy, Settlement, Snapshot

__all__ = ["Verdict", "evidence", "has_money", "hold", "is_payment", "judge"]

_FINAL = {TransactionState.CONFIRMED, TransactionState.SETTLED}
_FAILED = {TransactionState.FAILED, TransactionState.FLAGGED}
_SETTLEMENTS = {
    InvoiceState.PAID: Settlement.EXACT,
    InvoiceState.OVERPAID: Settlement.OVERPAID,
    InvoiceState.UNDERPAID: Settlement.UNDERPAID,
}
_MONEY_STATES = {*_SETTLEMENTS, InvoiceState.CONFIRMING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one invoice says about its order. ``is_unclear`` means that the gateway has yet to say something."""

    status: OrderStatus
    hold_reason: HoldReason | None = None
    settlement: Settlement = Settlement.UNPAID
    is_unclear: bool = False


def judge(record: InvoiceRecord, *, order_amount: Decimal, now: datetime, policy: Policy) -> Verdict:
    """Give the verdict on one invoice from its newest snapshot (architecture section 4, rules 1 to 5)."""
    snapshot = record.snapshot
    if snapshot is None:
        return Verdict(status=OrderStatus.AWAITING_PAYMENT if record.address else OrderStatus.PREPARING)
    settlement = _SETTLEMENTS.get(snapshot.invoice.state, Settlement.UNPAID)
    if not _is_ours(record, snapshot.invoice):
        return hold(HoldReason.MISMATCH, settlement)
    if snapshot.invoice.has_passed_aml is False:
        return hold(HoldReason.AML_FAILED, settlement)
    match snapshot.invoice.state:
        case InvoiceState.PAID | InvoiceState.OVERPAID:
            return _judge_paid(record, snapshot, order_amount, now, policy)
        case InvoiceState.UNDERPAID:
            return hold(HoldReason.UNDERPAID, settlement)
        case InvoiceState.EXPIRED | InvoiceState.CLOSED:
            return _judge_ended(record, snapshot, policy)
        case InvoiceState.UNKNOWN:
            return _wait(HoldReason.UNKNOWN_STATE, settlement, record, now, policy)
        case InvoiceState.OPEN | InvoiceState.CONFIRMING:
            return _judge_open(record, snapshot)


def _judge_paid(
    record: InvoiceRecord, snapshot: Snapshot, order_amount: Decimal, now: datetime, policy: Policy
) -> Verdict:
    settlement = _SETTLEMENTS[snapshot.invoice.state]
    states = {transaction.state for transaction in snapshot.transactions or ()}
    if record.amount != order_amount or _is_far_too_little(record, snapshot):
        return hold(HoldReason.MISMATCH, settlement)
    if states & _FAILED and not states & _FINAL:
        return hold(HoldReason.AML_FAILED, settlement)
    if _is_late(record, snapshot, policy):
        return hold(HoldReason.LATE, settlement)
    has_settled = TransactionState.SETTLED in states and not states & _FAILED
    if snapshot.invoice.has_passed_aml or has_settled or not policy.is_aml_required:
        return Verdict(status=OrderStatus.PAID, settlement=settlement)
    return _wait(HoldReason.AML_UNKNOWN, settlement, record, now, policy)


def _judge_ended(record: InvoiceRecord, snapshot: Snapshot, policy: Policy) -> Verdict:
    if not _live(snapshot):
        return Verdict(status=OrderStatus.EXPIRED)
    return hold(HoldReason.LATE if _is_late(record, snapshot, policy) else HoldReason.EXPIRED_WITH_MONEY)


def _judge_open(record: InvoiceRecord, snapshot: Snapshot) -> Verdict:
    if _live(snapshot) or snapshot.invoice.state is InvoiceState.CONFIRMING:
        return Verdict(status=OrderStatus.CONFIRMING)
    if record.address is None:
        return Verdict(status=OrderStatus.PREPARING)
    is_over = record.expires_at is not None and snapshot.read_at >= record.expires_at
    return Verdict(status=OrderStatus.EXPIRED if is_over else OrderStatus.AWAITING_PAYMENT)


def hold(reason: HoldReason, settlement: Settlement = Settlement.UNPAID) -> Verdict:
    """The verdict that money waits, and why."""
    return Verdict(status=OrderStatus.ON_HOLD, hold_reason=reason, settlement=settlement)


def _wait(reason: HoldReason, settlement: Settlement, record: InvoiceRecord, now: datetime, policy: Policy) -> Verdict:
    """Be patient for a while (rule 3), then hold."""
    waited = now - (record.unclear_since or now)
    if waited >= timedelta(seconds=policy.aml_wait_seconds):
        return replace(hold(reason, settlement), is_unclear=True)
    return Verdict(status=OrderStatus.CONFIRMING, settlement=settlement, is_unclear=True)


def _is_ours(record: InvoiceRecord, invoice: Invoice) -> bool:
    """Whether every field that the answer carries equals what was asked for; an absent one contradicts nothing."""
    return (
        invoice.invoice_id == record.invoice_id
        and invoice.invoice_type in (None, InvoiceType.ONETIME)
        and invoice.amount in (None, record.amount)
        and (invoice.method_id is None or str(invoice.method_id) == str(record.method.method_id))
    )


def _live(snapshot: Snapshot) -> list[Transaction]:
    """The transfers that count as money: all that did not fail."""
    return [transaction for transaction in snapshot.transactions or () if transaction.state not in _FAILED]


def _is_late(record: InvoiceRecord, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether the first transfer began too long after the price ran out; when we read of it does not matter."""
    live = _live(snapshot)
    if not live or record.expires_at is None:
        return False
    limit = record.expires_at + timedelta(seconds=policy.accept_late_seconds)
    return min(transaction.created_at for transaction in live) > limit


def _is_far_too_little(record: InvoiceRecord, snapshot: Snapshot) -> bool:
    """The veto of rule 2: less than half by either unit in which the sum could be meant."""
    live = _live(snapshot)
    if not live:
        return False
    total = sum((parse_decimal(transaction.amount) for transaction in live), Decimal(0))
    wanted = [record.amount] if record.pay_amount is None else [record.amount, parse_decimal(record.pay_amount)]
    return all(total * 2 < amount for amount in wanted)


def has_money(record: InvoiceRecord) -> bool:
    """Whether the gateway shows money on the invoice: by its state, or by a transfer that did not fail."""
    snapshot = record.snapshot
    return snapshot is not None and (snapshot.invoice.state in _MONEY_STATES or bool(_live(snapshot)))


def is_payment(record: InvoiceRecord) -> bool:
    """Whether the gateway's own word is that the invoice received a payment, in part or whole."""
    return record.snapshot is not None and record.snapshot.invoice.state in _SETTLEMENTS


def evidence(record: InvoiceRecord) -> frozenset[str]:
    """What shows that money came: the ids of live transfers, or ``"invoice"`` if no transfer is listed."""
    if record.snapshot is None or not has_money(record):
        return frozenset()
    return frozenset(transaction.transaction_id for transaction in _live(record.snapshot)) or frozenset({"invoice"})
