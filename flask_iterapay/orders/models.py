"""The words of an order, as frozen values: the order, its invoices, their snapshots, its events.

All times are aware and UTC. An order is changed by making a new one (``dataclasses.replace``) and saving it through
the ledger; nothing here does I/O or decides anything. The decisions are in ``lifecycle``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from ..gateway.models import Invoice, PaymentMethod, Transaction

__all__ = [
    "MAX_INVOICES",
    "Anomaly",
    "Claim",
    "Clock",
    "EventName",
    "EventState",
    "HistoryEntry",
    "HoldReason",
    "Intent",
    "InvoiceRecord",
    "Order",
    "OrderEvent",
    "OrderStatus",
    "Policy",
    "Settlement",
    "Snapshot",
]

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC time."""

MAX_INVOICES = 10
"""How many invoices an order may use up by changing methods and renewing prices."""


class OrderStatus(StrEnum):
    """Where an order stands. Exactly one place decides it: ``lifecycle.settle``."""

    NEW = "new"
    PREPARING = "preparing"
    AWAITING_PAYMENT = "awaiting_payment"
    CONFIRMING = "confirming"
    PAID = "paid"
    ON_HOLD = "on_hold"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class HoldReason(StrEnum):
    """Why an order with money on it waits. ``needs_person`` tells whether it can release itself."""

    AML_UNKNOWN = "aml_unknown"
    AML_FAILED = "aml_failed"
    UNKNOWN_STATE = "unknown_state"
    UNDERPAID = "underpaid"
    EXPIRED_WITH_MONEY = "expired_with_money"
    LATE = "late"
    MISMATCH = "mismatch"
    CANCELLED_WITH_MONEY = "cancelled_with_money"

    @property
    def needs_person(self) -> bool:
        """True for the reasons that only ``resolve_hold`` ends."""
        return self in _NEEDS_PERSON


_NEEDS_PERSON = {
    HoldReason.AML_FAILED,
    HoldReason.LATE,
    HoldReason.MISMATCH,
    HoldReason.CANCELLED_WITH_MONEY,
}


class Settlement(StrEnum):
    """How the money matched, by the gateway's own word. Never folded into the status."""

    UNPAID = "unpaid"
    UNDERPAID = "underpaid"
    EXACT = "exact"
    OVERPAID = "overpaid"


class Anomaly(StrEnum):
    """What contradicts an order but changes nothing about it. Each kind is raised once per order."""

    FAILED_AFTER_PAID = "failed_after_paid"
    EXPIRED_AFTER_PAID = "expired_after_paid"
    SECOND_INVOICE_PAID = "second_invoice_paid"
    ADDRESS_CHANGED = "address_changed"


class EventName(StrEnum):
    """What a handler can be registered for."""

    CONFIRMING = "order.confirming"
    PAID = "order.paid"
    ON_HOLD = "order.on_hold"
    RELEASED = "order.released"
    EXPIRED = "order.expired"
    CANCELLED = "order.cancelled"
    ANOMALY = "order.anomaly"


class EventState(StrEnum):
    """How far the handlers of an event have come; ``FAILED`` wants a person."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the merchant chose about risk and patience. Every duration is in seconds.

    ``is_aml_required`` is ``AML="require"``: without the gateway's word that money passed AML, an order is not paid.
    """

    is_aml_required: bool = True
    aml_wait_seconds: int = 1800
    accept_late_seconds: int = 3600
    sync_seconds: int = 15
    watch_seconds: int = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An invoice and its transactions as read from the API under one claim.

    ``transactions`` is ``None`` where they could not be read; then the invoice alone decides. A snapshot replaces
    an older one whole: fields of different snapshots are never combined.
    """

    invoice: Invoice
    transactions: tuple[Transaction, ...] | None
    read_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRecord:
    """An invoice of ours and what it was made for.

    ``amount`` is the USD amount at creation. ``address`` and ``pay_amount`` are the gateway's own strings, pinned
    once given out; a renewed price keeps the address and moves the old amount to ``previous_pay_amount``.
    ``had_money`` is whether there was money on it when that could last be told: a reading without transactions does
    not make it disappear. ``unclear_since`` is when snapshots began to leave the verdict open (AML unknown, unknown
    state). ``dismissed`` names the evidence of money that a person has dealt with. ``paid_by`` are the ids of the
    transfers that were money on it when it paid the order, or since.
    """

    invoice_id: str
    amount: Decimal
    method: PaymentMethod
    created_at: datetime
    address: str | None = None
    pay_amount: str | None = None
    expires_at: datetime | None = None
    previous_pay_amount: str | None = None
    snapshot: Snapshot | None = None
    had_money: bool = False
    unclear_since: datetime | None = None
    dismissed: frozenset[str] = frozenset()
    paid_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An invoice that is being made: saved before the gateway is asked, so that nobody asks twice.

    ``ref`` is random and travels in the invoice's description. After ``expires_at`` whoever made it is taken for
    dead, and its invoice, if one came to be, is an orphan whose address nobody was ever given; then the invoice that
    was current before is current again.
    """

    ref: str
    method: PaymentMethod
    amount: Decimal
    expires_at: datetime
    superseded_invoice_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who holds it may read the gateway for this order; it ends by itself."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEvent:
    """One thing that happened to an order, as handlers see it.

    ``key`` never changes over retries: use it as the idempotency key. ``reason`` is the hold reason or the anomaly,
    where there is one. The rest is the delivery's own book-keeping: which handlers have succeeded (``done_by``),
    how often it was tried, and when it is tried next. With ``is_leased`` a worker is at it, until that time at most.
    """

    key: str
    name: EventName
    order_id: str
    occurred_at: datetime
    reason: str | None = None
    state: EventState = EventState.OPEN
    done_by: frozenset[str] = frozenset()
    attempts: int = 0
    next_attempt_at: datetime | None = None
    is_leased: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One step in an order's life: when, to which status, why, and who did it (``"gateway"``, ``"shop"``, a name)."""

    at: datetime
    status: OrderStatus
    reason: str
    actor: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A shop's order, with everything that decides about its money.

    ``amount`` is in ``currency`` (USD). At most one invoice is current; all stay watched. ``changed_at`` is the last
    change that a customer can see, ``read_at`` the last time the gateway was read, ``unreachable_since`` when reading
    it began to fail. ``paid_invoice_id`` is the invoice that paid the order.
    ``version`` is the store's and belongs to the compare-and-set.
    """

    order_id: str
    amount: Decimal
    created_at: datetime
    changed_at: datetime
    currency: str = "USD"
    description: str = ""
    return_url: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: OrderStatus = OrderStatus.NEW
    hold_reason: HoldReason | None = None
    settlement: Settlement = Settlement.UNPAID
    is_late: bool = False
    invoices: tuple[InvoiceRecord, ...] = ()
    current_invoice_id: str | None = None
    intent: Intent | None = None
    claim: Claim | None = None
    next_check_at: datetime | None = None
    read_at: datetime | None = None
    unreachable_since: datetime | None = None
    paid_invoice_id: str | None = None
    anomalies: tuple[Anomaly, ...] = ()
    events: tuple[OrderEvent, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    version: int = 0

    @property
    def current_invoice(self) -> InvoiceRecord | None:
        """The invoice that the customer is asked to pay, if one is made and not superseded."""
        return next((record for record in self.invoices if record.invoice_id == self.current_invoice_id), None)

    @property
    def due_check_at(self) -> datetime | None:
        """When the gateway may be read again. While a claim or an intent is held, that waits for it to expire."""
        held_until = [held.expires_at for held in (self.claim, self.intent) if held]
        return max(held_until) if held_until else self.next_check_at

    @property
    def due_at(self) -> datetime | None:
        """When somebody must look at this order: the next check or an open event's next attempt, if that is sooner."""
        attempts = (event.next_attempt_at for event in self.events if event.state is EventState.OPEN)
        return min((time for time in (self.due_check_at, *attempts) if time is not None), default=None)

    @property
    def has_transfers(self) -> bool:
        """Whether the newest snapshots show any transfer, even a failed one."""
        return any(record.snapshot and record.snapshot.transactions for record in self.invoices)

    @property
    def is_locked(self) -> bool:
        """Whether money is, or may be, on its way, so that amount and method stay as they are."""
        return self.has_transfers or self.status in (OrderStatus.CONFIRMING, OrderStatus.ON_HOLD)

    def with_event(self, event: OrderEvent) -> "Order":
        """This order with ``event`` in the place of the one that has its key."""
        return replace(self, events=tuple(event if other.key == event.key else other for other in self.events))

    def with_invoice(self, record: InvoiceRecord) -> "Order":
        """This order with ``record`` in the place of the invoice that has its id."""
        invoices = (record if other.invoice_id == record.invoice_id else other for other in self.invoices)
        return replace(self, invoices=tuple(invoices))
