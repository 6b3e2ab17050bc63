"""What a contribution is: the one place that turns what the gateway says of a transaction into a status.

Pure and total functions. A transaction's own state decides, for the state of a reusable invoice says nothing of any one
payment. Its amount decides nothing, since its unit is not documented (contract C29): what the gateway settles is
received, however little it is.
"""

from datetime import datetime, timedelta

from ..gateway.models import Transaction, TransactionState
from ..orders.entries import EventName
from ..orders.models import HoldReason, Policy
from ..values import Struct, replace
from .models import (
    Contribution,
    ContributionAnomaly,
    ContributionStatus,
    ContributionStep,
    Link,
    LinkEvent,
    VisitPayment,
)

__all__ = ["begin", "decide", "settle", "show_payment"]

_BAD = {TransactionState.FAILED, TransactionState.FLAGGED}


class _Verdict(Struct, frozen=True, kw_only=True):
    """What a transaction's state means. ``is_unclear`` says that the gateway has yet to say something."""

    status: ContributionStatus
    hold_reason: HoldReason | None = None
    is_unclear: bool = False


def begin(link: Link, transaction: Transaction, read_at: datetime) -> Contribution:
    """The contribution of a transaction that was never seen before, as yet unsettled.

    Raises:
        LookupError: the transaction is on none of the link's invoices.
    """
    invoices = {record.invoice_id: record for record in link.invoices}
    return Contribution(
        link_id=link.link_id,
        invoice_id=transaction.invoice_id,
        transaction_id=transaction.transaction_id,
        method=invoices[transaction.invoice_id].method,
        amount=transaction.amount,
        unit=transaction.unit,
        address=transaction.address,
        state=transaction.state,
        spelling=transaction.spelling,
        # One from the future would head every list for years.
        created_at=min(transaction.created_at, read_at),
        changed_at=read_at,
        read_at=read_at,
    )


def settle(contribution: Contribution, transaction: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Return the contribution as it is once its transaction was read at ``read_at``.

    An older reading than the newest is ignored. ``received`` is never taken back, and what a person has decided stands.
    """
    if read_at < contribution.read_at:
        return contribution
    # A person who took flagged money knew of it, so only a word that is new contradicts.
    is_new_word = transaction.state is not contribution.state
    contribution = _take(contribution, transaction, read_at)
    verdict = _judge(contribution, read_at, policy)
    since = (contribution.unclear_since or read_at) if verdict.is_unclear else None
    contribution = replace(contribution, unclear_since=since)
    if contribution.status is ContributionStatus.RECEIVED:
        is_contradicted = is_new_word and contribution.state in _BAD
        return (
            _note(contribution, ContributionAnomaly.FAILED_AFTER_RECEIVED, read_at) if is_contradicted else contribution
        )
    if contribution.is_decided:
        is_contradicted = verdict.status is ContributionStatus.RECEIVED
        return (
            _note(contribution, ContributionAnomaly.SETTLED_AFTER_REFUSED, read_at) if is_contradicted else contribution
        )
    return _move(contribution, verdict, read_at, actor="gateway", reason=f"transaction: {contribution.spelling}")


def _take(contribution: Contribution, transaction: Transaction, read_at: datetime) -> Contribution:
    """Take over what was read. What handlers were told of money that was received stays as it was told."""
    taken = replace(
        contribution,
        state=transaction.state,
        spelling=transaction.spelling,
        tx_hash=transaction.tx_hash or contribution.tx_hash,
        confirmed_at=transaction.confirmed_at or contribution.confirmed_at,
        read_at=read_at,
    )
    if contribution.status is ContributionStatus.RECEIVED:
        return taken
    return replace(
        taken,
        amount=transaction.amount,
        unit=transaction.unit or contribution.unit,
        address=transaction.address or contribution.address,
    )


def _judge(contribution: Contribution, now: datetime, policy: Policy) -> _Verdict:
    match contribution.state:
        case TransactionState.SETTLED:
            return _Verdict(status=ContributionStatus.RECEIVED)
        case TransactionState.CONFIRMED if not policy.is_aml_required:
            return _Verdict(status=ContributionStatus.RECEIVED)
        case TransactionState.CONFIRMED:
            return _wait(HoldReason.AML_UNKNOWN, contribution, now, policy)
        case TransactionState.UNKNOWN:
            return _wait(HoldReason.UNKNOWN_STATE, contribution, now, policy)
        case TransactionState.FLAGGED:
            return _Verdict(status=ContributionStatus.ON_HOLD, hold_reason=HoldReason.AML_FAILED)
        case TransactionState.FAILED:
            return _Verdict(status=ContributionStatus.REFUSED)
        case TransactionState.PENDING:
            return _Verdict(status=ContributionStatus.CONFIRMING)


def _wait(reason: HoldReason, contribution: Contribution, now: datetime, policy: Policy) -> _Verdict:
    """Be patient for a while, then hold. The gateway's later word releases it."""
    waited = now - (contribution.unclear_since or now)
    if waited >= timedelta(seconds=policy.aml_wait_seconds):
        return _Verdict(status=ContributionStatus.ON_HOLD, hold_reason=reason, is_unclear=True)
    return _Verdict(status=ContributionStatus.CONFIRMING, is_unclear=True)


def decide(contribution: Contribution, now: datetime, *, is_accepted: bool, actor: str, note: str) -> Contribution:
    """A person takes the money as received, or turns it down for good."""
    status = ContributionStatus.RECEIVED if is_accepted else ContributionStatus.REFUSED
    reason = "accepted by a person" if is_accepted else "turned down by a person"
    decided = replace(contribution, is_decided=True, next_check_at=None)
    return _move(decided, _Verdict(status=status), now, actor=actor, reason=reason, note=note)


_EVENTS = {
    ContributionStatus.RECEIVED: EventName.PAYMENT_RECEIVED,
    ContributionStatus.ON_HOLD: EventName.PAYMENT_ON_HOLD,
}


def _move(
    contribution: Contribution, verdict: _Verdict, now: datetime, *, actor: str, reason: str, note: str = ""
) -> Contribution:
    """Give the contribution the verdict's status, with the event and the history that belong to the change."""
    is_same = (contribution.status, contribution.hold_reason) == (verdict.status, verdict.hold_reason)
    if is_same and contribution.history:
        return contribution
    step = ContributionStep(at=now, status=verdict.status, reason=reason, actor=actor, note=note)
    moved = replace(
        contribution,
        status=verdict.status,
        hold_reason=verdict.hold_reason,
        received_at=now if verdict.status is ContributionStatus.RECEIVED else None,
        changed_at=now,
        history=(*contribution.history, step),
    )
    name = _EVENTS.get(verdict.status)
    return _add_event(moved, name, now, reason=verdict.hold_reason) if name else moved


def _note(contribution: Contribution, anomaly: ContributionAnomaly, now: datetime) -> Contribution:
    if anomaly in contribution.anomalies:
        return contribution
    noted = replace(contribution, anomalies=(*contribution.anomalies, anomaly), changed_at=now)
    return _add_event(noted, EventName.PAYMENT_ANOMALY, now, reason=anomaly)


def _add_event(contribution: Contribution, name: EventName, now: datetime, *, reason: str | None) -> Contribution:
    # Only "received" needs no number: nothing ever takes it back, so it happens once.
    number = "" if name is EventName.PAYMENT_RECEIVED else f":{len(contribution.events) + 1}"
    event = LinkEvent(
        key=f"{name}:{contribution.contribution_id}{number}",
        name=name,
        occurred_at=now,
        reason=reason,
        next_attempt_at=now,
        link_id=contribution.link_id,
        contribution_id=contribution.contribution_id,
        transaction_id=contribution.transaction_id,
        amount=contribution.amount,
        unit=contribution.unit,
        method=contribution.method,
        reference=contribution.reference,
    )
    return replace(contribution, events=(*contribution.events, event))


def show_payment(contribution: Contribution) -> VisitPayment:
    """What the page of the visit that it belongs to shows of a contribution."""
    return VisitPayment(
        transaction_id=contribution.transaction_id,
        amount=contribution.amount,
        unit=contribution.unit,
        status=contribution.status,
        sent_at=contribution.created_at,
    )
