"""The words of an order, as frozen values. What it shares with a payment link stands in ``entries``.

All times are aware and UTC. An order is changed by making a new one (``msgspec.structs.replace``) and saving it through
the ledger; nothing here does I/O or decides anything. The decisions are in ``lifecycle``.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from ..errors import OrderNotFoundError
from ..values import Struct, replace
from .entries import (
    Claim,
    Clock,
    Event,
    EventName,
    EventState,
    Intent,
    InvoiceRecord,
    Note,
    Payable,
    Snapshot,
)

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
        """True for the reasons that only ``resolve_hold`` ends, on an order."""
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


class Policy(Struct, frozen=True, kw_only=True):
    """What the merchant chose about risk and patience. Every duration is in seconds.

    ``is_aml_required`` is ``AML="require"``: without the gateway's word that money passed AML, an order is not paid.
    """

    is_aml_required: bool = True
    aml_wait_seconds: int = 1800
    accept_late_seconds: int = 3600
    sync_seconds: int = 15
    watch_seconds: int = 7 * 24 * 3600


class OrderEvent(Event, frozen=True, kw_only=True):
    """One thing that happened to an order, as handlers see it."""

    order_id: str


class HistoryEntry(Note, frozen=True, kw_only=True):
    """One step in an order's life, and to which status it led."""

    status: OrderStatus


class Order(Payable, frozen=True, kw_only=True):
    """A shop's order, with everything that decides about its money.

    ``amount`` is in ``currency`` (USD). At most one invoice is current. ``changed_at`` is the last change that a
    customer can see. ``paid_invoice_id`` is the invoice that paid the order.
    """

    KIND: ClassVar[str] = "order"

    order_id: str
    amount: Decimal
    currency: str = "USD"
    description: str = ""
    return_url: str | None = None
    metadata: Mapping[str, str] = {}
    status: OrderStatus = OrderStatus.NEW
    hold_reason: HoldReason | None = None
    settlement: Settlement = Settlement.UNPAID
    is_late: bool = False
    current_invoice_id: str | None = None
    paid_invoice_id: str | None = None
    anomalies: tuple[Anomaly, ...] = ()
    events: tuple[OrderEvent, ...] = ()
    history: tuple[HistoryEntry, ...] = ()

    @property
    def entry_id(self) -> str:
        """The shop's own id."""
        return self.order_id

    @property
    def label(self) -> str:
        """Orders are listed by status."""
        return self.status

    @staticmethod
    def not_found(entry_id: str) -> OrderNotFoundError:
        """Make the error that says that there is no such order."""
        return OrderNotFoundError(entry_id, "there is no such order")

    def with_note(self, note: Note) -> "Order":
        """This order with one more step in its history, which does not change its status."""
        entry = HistoryEntry(at=note.at, reason=note.reason, actor=note.actor, note=note.note, status=self.status)
        return replace(self, history=(*self.history, entry))

    @property
    def current_invoice(self) -> InvoiceRecord | None:
        """The invoice that the customer is asked to pay, if one is made and not superseded."""
        return next((record for record in self.invoices if record.invoice_id == self.current_invoice_id), None)

    @property
    def has_transfers(self) -> bool:
        """Whether the newest snapshots show any transfer, even a failed one."""
        return any(record.snapshot and record.snapshot.transactions for record in self.invoices)

    @property
    def is_locked(self) -> bool:
        """Whether money is, or may be, on its way, so that amount and method stay as they are."""
        return self.has_transfers or self.status in (OrderStatus.CONFIRMING, OrderStatus.ON_HOLD)
