"""When an order is read again: often while somebody waits, ever more rarely later."""

from datetime import datetime, timedelta

from .entries import Payable
from .models import Order, OrderStatus, Policy

__all__ = ["next_check_at", "pause_seconds", "poll_check_at", "retry_check_at", "watched_check_at"]

# (seconds since the order last changed, pause until the next check in seconds)
_STEPS = ((3600, 60), (6 * 3600, 600))
_LAST_PAUSE_SECONDS = 2 * 3600
_LONG_FAILURE_PAUSE_SECONDS = 6 * 3600
_POLLED = {OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT, OrderStatus.CONFIRMING, OrderStatus.ON_HOLD}


def next_check_at(order: Order, now: datetime, policy: Policy) -> datetime | None:
    """The next check of an order that was just read; ``None`` when only a hint can bring news.

    The pace counts from the last change that a customer can see, so that a new price or first money is followed
    closely again. An invoice that was made while somebody else was reading still lacks its address, and is due at
    once. A paid order is watched too, for contradictions and second payments, but at the slowest pace.
    """
    if not order.invoices:
        return None
    if order.status is OrderStatus.PREPARING and order.intent is None:
        return now
    age = now - order.changed_at
    if age.total_seconds() >= policy.watch_seconds:
        return None
    pause = _LAST_PAUSE_SECONDS if order.status is OrderStatus.PAID else pause_seconds(age)
    return now + timedelta(seconds=pause)


def pause_seconds(age: timedelta) -> int:
    """How long to wait for the next check, by the time since something last happened."""
    return next((pause for limit, pause in _STEPS if age.total_seconds() < limit), _LAST_PAUSE_SECONDS)


def poll_check_at(order: Order, policy: Policy) -> datetime | None:
    """When a page that polls may have an order read: every ``sync_seconds`` while the answer can change soon."""
    return watched_check_at(order, policy) if order.status in _POLLED else order.due_check_at


def watched_check_at(payable: Payable, policy: Policy) -> datetime | None:
    """When a payable may be read that somebody watches: every ``sync_seconds``, unless something is in the way."""
    is_held = payable.claim is not None or payable.intent is not None
    if is_held or payable.unreachable_since or payable.read_at is None:
        return payable.due_check_at
    at = payable.read_at + timedelta(seconds=policy.sync_seconds)
    return at if payable.due_check_at is None else min(at, payable.due_check_at)


def retry_check_at(payable: Payable, now: datetime, policy: Policy, asked_seconds: float | None = None) -> datetime:
    """The next check of a payable that could not be read: later and later, up to ten minutes.

    However old it is, and however long it lasts: a key may expire while nobody is there, and a payment come.
    Only after failing for as long as an order is watched it is a few times a day. ``asked_seconds`` is the gateway's
    ``Retry-After``; it is obeyed up to the ten minutes.
    """
    failing_for = (now - payable.unreachable_since).total_seconds() if payable.unreachable_since else 0
    if failing_for >= policy.watch_seconds:
        return now + timedelta(seconds=_LONG_FAILURE_PAUSE_SECONDS)
    return now + timedelta(seconds=min(max(policy.sync_seconds, failing_for, asked_seconds or 0), 600))
