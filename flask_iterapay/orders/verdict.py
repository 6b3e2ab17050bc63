"""What one invoice says about its order: the verdict, from its newest snapshot, as a pure and total function.

Two rules explain most branches. Transfers that failed are not money: they neither revive nor hold an order, except
when the gateway calls an invoice paid and nothing but failed transfers is there. And a transaction's amount has no
documented unit (contract C29), so it can raise a doubt but never settle one.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from ..gateway.models import Invoice, InvoiceState, InvoiceType, Transaction, TransactionState
from ..money import parse_decimal
from ..values import Struct, replace
from .models import HoldReason, InvoiceRecord, OrderStatus, Policy, Settlement, Snapshot

__all__ = [
    "Verdict",
    "dismiss",
    "evidence",
    "has_money",
    "has_turned_bad",
    "hold",
    "is_ours",
    "is_payment",
    "is_refused",
    "judge",
    "remember_transfers",
    "settlement_of",
    "take_snapshot",
]

_FINAL = {TransactionState.CONFIRMED, TransactionState.SETTLED}
_FAILED = {TransactionState.FAILED, TransactionState.FLAGGED}
_SETTLEMENTS = {
    InvoiceState.PAID: Settlement.EXACT,
    InvoiceState.OVERPAID: Settlement.OVERPAID,
    InvoiceState.UNDERPAID: Settlement.UNDERPAID,
}
_MONEY_STATES = {*_SETTLEMENTS, InvoiceState.CONFIRMING}


class Verdict(Struct, frozen=True, kw_only=True):
    """What one invoice says about its order. ``is_unclear`` means that the gateway has yet to say something."""

    status: OrderStatus
    hold_reason: HoldReason | None = None
    settlement: Settlement = Settlement.UNPAID
    is_unclear: bool = False


def judge(record: InvoiceRecord, *, order_amount: Decimal, now: datetime, policy: Policy) -> Verdict:
    """Give the verdict on one invoice from its newest snapshot."""
    snapshot = record.snapshot
    if snapshot is None:
        return Verdict(status=OrderStatus.AWAITING_PAYMENT if record.address else OrderStatus.PREPARING)
    settlement = _settlement(snapshot)
    if not is_ours(record, snapshot.invoice, InvoiceType.ONETIME):
        return hold(HoldReason.MISMATCH, settlement)
    if snapshot.invoice.has_passed_aml is False and _may_have_money(record, snapshot):
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
    settlement = _settlement(snapshot)
    states = {transaction.state for transaction in snapshot.transactions or ()}
    if record.amount != order_amount or _is_far_too_little(record, snapshot):
        return hold(HoldReason.MISMATCH, settlement)
    if states & _FAILED and not states & _FINAL:
        # While other money is on its way the failed one may be somebody's dust, so no person is called yet.
        if _live(snapshot):
            return Verdict(status=OrderStatus.CONFIRMING, settlement=settlement)
        return hold(HoldReason.AML_FAILED, settlement)
    if _is_late(record, snapshot, policy):
        return hold(HoldReason.LATE, settlement)
    has_settled = TransactionState.SETTLED in states and not states & _FAILED
    if snapshot.invoice.has_passed_aml or has_settled or not policy.is_aml_required:
        return Verdict(status=OrderStatus.PAID, settlement=settlement)
    return _wait(HoldReason.AML_UNKNOWN, settlement, record, now, policy)


def _judge_ended(record: InvoiceRecord, snapshot: Snapshot, policy: Policy) -> Verdict:
    if not has_money(record):
        return Verdict(status=OrderStatus.EXPIRED)
    return hold(HoldReason.LATE if _is_late(record, snapshot, policy) else HoldReason.EXPIRED_WITH_MONEY)


def _judge_open(record: InvoiceRecord, snapshot: Snapshot) -> Verdict:
    if has_money(record):
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


def is_ours(record: InvoiceRecord, invoice: Invoice, invoice_type: InvoiceType) -> bool:
    """Whether every field that the answer carries equals what was asked for; an absent one contradicts nothing."""
    return (
        invoice.invoice_id == record.invoice_id
        and (invoice.invoice_type or invoice_type).lower() == invoice_type
        and invoice.amount in (None, record.amount)
        and (invoice.method_id is None or str(invoice.method_id) == str(record.method.method_id))
    )


def _settlement(snapshot: Snapshot) -> Settlement:
    return _SETTLEMENTS.get(snapshot.invoice.state, Settlement.UNPAID)


def _may_have_money(record: InvoiceRecord, snapshot: Snapshot) -> bool:
    """Whether an AML verdict can be about something: before any transfer, a false ``amlOk`` says nothing."""
    has_transfers = record.had_money if snapshot.transactions is None else bool(snapshot.transactions)
    return snapshot.invoice.state in _MONEY_STATES or has_transfers


def _live(snapshot: Snapshot) -> list[Transaction]:
    """The transfers that count as money: all that did not fail."""
    return [transaction for transaction in snapshot.transactions or () if transaction.state not in _FAILED]


def _is_late(record: InvoiceRecord, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether the first transfer began too long after the price ran out; when we read of it does not matter."""
    live = _live(snapshot)
    if not live or record.expires_at is None:
        return False
    first_at = min(transaction.created_at for transaction in live)
    return first_at - record.expires_at > timedelta(seconds=policy.accept_late_seconds)


def _is_far_too_little(record: InvoiceRecord, snapshot: Snapshot) -> bool:
    """The veto of rule 2: less than half by either unit in which the sum could be meant."""
    live = _live(snapshot)
    if not live:
        return False
    total = sum((parse_decimal(transaction.amount) for transaction in live), Decimal(0))
    wanted = [record.amount] if record.pay_amount is None else [record.amount, parse_decimal(record.pay_amount)]
    return all(total * 2 < amount for amount in wanted)


def take_snapshot(record: InvoiceRecord, snapshot: Snapshot) -> InvoiceRecord:
    """Put a newer snapshot in the place of the one before, and remember whether there is money for a blind one."""
    taken = replace(record, snapshot=snapshot)
    return replace(taken, had_money=has_money(taken))


def has_money(record: InvoiceRecord) -> bool:
    """Whether there is money on the invoice: by its state, by a transfer that did not fail, or as last known."""
    snapshot = record.snapshot
    if snapshot is None:
        return False
    if snapshot.invoice.state in _MONEY_STATES:
        return True
    return record.had_money if snapshot.transactions is None else bool(_live(snapshot))


def settlement_of(record: InvoiceRecord) -> Settlement:
    """How the money on an invoice matches, by the gateway's own word."""
    return Settlement.UNPAID if record.snapshot is None else _settlement(record.snapshot)


def is_payment(record: InvoiceRecord) -> bool:
    """Whether money has arrived for good: the invoice says so, or one of its transfers is confirmed."""
    if record.snapshot is None:
        return False
    states = {transaction.state for transaction in record.snapshot.transactions or ()}
    return record.snapshot.invoice.state in _SETTLEMENTS or bool(states & _FINAL)


def is_refused(record: InvoiceRecord) -> bool:
    """Whether the money on an invoice failed: the gateway's AML says so, or no transfer is left that did not fail."""
    if record.snapshot is None:
        return False
    states = {transaction.state for transaction in record.snapshot.transactions or ()}
    is_aml_failed = record.snapshot.invoice.has_passed_aml is False and _may_have_money(record, record.snapshot)
    return is_aml_failed or bool(states and not states & _FINAL and states & _FAILED)


def has_turned_bad(record: InvoiceRecord) -> bool:
    """Whether a transfer that has paid has failed or was flagged since, though others may stand."""
    transactions = record.snapshot.transactions if record.snapshot else ()
    return any(item.transaction_id in record.paid_by and item.state in _FAILED for item in transactions or ())


def remember_transfers(record: InvoiceRecord) -> InvoiceRecord:
    """Keep which transfers are money on an invoice that paid, to know them should they fail later."""
    live = _live(record.snapshot) if record.snapshot else []
    return replace(record, paid_by=record.paid_by.union(transaction.transaction_id for transaction in live))


def evidence(record: InvoiceRecord) -> frozenset[str]:
    """What shows that money came: the ids of live transfers, or the invoice's own word where no transfer is listed."""
    if record.snapshot is None:
        return frozenset()
    state, live = record.snapshot.invoice.state, _live(record.snapshot)
    word = frozenset({str(state)} if state in _MONEY_STATES else ())
    return frozenset(transaction.transaction_id for transaction in live) or word


def dismiss(record: InvoiceRecord) -> InvoiceRecord:
    """Remember that a person has dealt with the money that is on the invoice now."""
    if not evidence(record) or record.snapshot is None:
        return record
    return replace(record, dismissed=record.dismissed | evidence(record) | {str(record.snapshot.invoice.state)})
