"""What every kind of the shop's records has in common, as frozen values.

An *entry* is what a ledger keeps: it has an id, a version, and events for the shop's handlers. A *payable* is an entry
that owns invoices at the gateway and is read there under a claim: an order is one, and so is a payment link. Ledger,
dispatch, claims, invoice making and reconciling are written once, for these.

All times are aware and UTC.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

from ..errors import IteraPayError
from ..gateway.models import Invoice, PaymentMethod, Transaction
from ..values import Struct, replace

__all__ = [
    "Claim",
    "Clock",
    "Entry",
    "Event",
    "EventName",
    "EventState",
    "Intent",
    "InvoiceRecord",
    "Note",
    "Payable",
    "Snapshot",
]

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC time."""


class EventName(StrEnum):
    """What a handler can be registered for."""

    CONFIRMING = "order.confirming"
    PAID = "order.paid"
    ON_HOLD = "order.on_hold"
    RELEASED = "order.released"
    EXPIRED = "order.expired"
    CANCELLED = "order.cancelled"
    ANOMALY = "order.anomaly"
    PAYMENT_RECEIVED = "link.payment_received"
    PAYMENT_ON_HOLD = "link.payment_on_hold"
    PAYMENT_ANOMALY = "link.payment_anomaly"

    @property
    def is_payment(self) -> bool:
        """Whether it tells of money that has arrived, which somebody must hear of."""
        return self in (EventName.PAID, EventName.PAYMENT_RECEIVED)


class EventState(StrEnum):
    """How far the handlers of an event have come; ``FAILED`` wants a person."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened, as handlers hear of it.

    ``key`` never changes over retries: use it as the idempotency key. ``reason`` is the hold reason or the anomaly,
    where there is one. The rest is the delivery's own book-keeping: which handlers have succeeded (``done_by``),
    how often it was tried, and when it is tried next. With ``is_leased`` a worker is at it, until that time at most.
    """

    key: str
    name: EventName
    occurred_at: datetime
    reason: str | None = None
    state: EventState = EventState.OPEN
    done_by: frozenset[str] = frozenset()
    attempts: int = 0
    next_attempt_at: datetime | None = None
    is_leased: bool = False


class Note(Struct, frozen=True, kw_only=True):
    """One step in an entry's life: when, why, and who did it (``"gateway"``, ``"shop"``, a name)."""

    at: datetime
    reason: str
    actor: str
    note: str = ""


class Snapshot(Struct, frozen=True, kw_only=True):
    """An invoice and its transactions as read from the API under one claim.

    ``transactions`` is ``None`` where they could not be read; then the invoice alone decides. A snapshot replaces
    an older one whole: fields of different snapshots are never combined.
    """

    invoice: Invoice
    transactions: tuple[Transaction, ...] | None
    read_at: datetime


class InvoiceRecord(Struct, frozen=True, kw_only=True):
    """An invoice of ours and what it was made for.

    ``amount`` is the USD amount at creation. ``address`` and ``pay_amount`` are the gateway's own strings, pinned
    once given out; a renewed price keeps the address and moves the old amount to ``previous_pay_amount``.
    ``had_money`` is whether there was money on it when that could last be told: a reading without transactions does
    not make it disappear. ``unclear_since`` is when snapshots began to leave the verdict open (AML unknown, unknown
    state). ``dismissed`` names the evidence of money that a person has dealt with. ``paid_by`` are the ids of the
    transfers that were money on it when it paid the order, or since.

    A payment link's invoice is reusable: ``amount`` is its minimum, each visit has an address of its own, and every
    transaction is a contribution, so that only the first four fields are used.
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


class Intent(Struct, frozen=True, kw_only=True):
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


class Claim(Struct, frozen=True, kw_only=True):
    """Who holds it may read the gateway for this payable; it ends by itself.

    With ``is_hinted`` there was news while it was held, so that its holder reads once more.
    """

    token: str
    expires_at: datetime
    is_hinted: bool = False


class Entry(Struct, frozen=True, kw_only=True):
    """What a ledger keeps. ``version`` is the store's and belongs to the compare-and-set.

    ``changed_at`` is the last change that somebody can see. ``KIND`` begins the keys of its records.
    """

    KIND: ClassVar[str]

    created_at: datetime
    changed_at: datetime
    events: tuple[Event, ...] = ()
    version: int = 0

    @property
    @abstractmethod
    def entry_id(self) -> str:
        """What tells it from the others of its kind."""

    @property
    @abstractmethod
    def label(self) -> str:
        """By which word it is listed: the ``status`` of its record."""

    @property
    def invoice_ids(self) -> Sequence[str]:
        """The invoices at the gateway that are its own."""
        return ()

    @property
    def names(self) -> Sequence[str]:
        """What else it alone may be called, such as an address of a page; unique within a ledger's realm."""
        return ()

    @staticmethod
    @abstractmethod
    def not_found(entry_id: str) -> IteraPayError:
        """Make the error that says that there is none."""

    @abstractmethod
    def with_note(self, note: Note) -> Self:
        """This entry with one more step in its history."""

    @property
    def due_check_at(self) -> datetime | None:
        """When the gateway may be read for it again."""
        return None

    @property
    def due_at(self) -> datetime | None:
        """When somebody must look at it: the next check or an open event's next attempt, if that is sooner."""
        attempts = (event.next_attempt_at for event in self.events if event.state is EventState.OPEN)
        return min((time for time in (self.due_check_at, *attempts) if time is not None), default=None)

    @property
    def has_open_events(self) -> bool:
        """Whether there is something that handlers have yet to do."""
        return any(event.state is EventState.OPEN for event in self.events)

    def with_event(self, event: Event) -> Self:
        """This entry with ``event`` in the place of the one that has its key."""
        return replace(self, events=tuple(event if other.key == event.key else other for other in self.events))


class Payable(Entry, frozen=True, kw_only=True):
    """An entry that owns invoices. All of them stay watched.

    ``intent`` is the invoice that is being made, ``claim`` who reads the gateway, ``next_check_at`` when that is due
    again, ``read_at`` when it was done last, ``unreachable_since`` when it began to fail.
    """

    invoices: tuple[InvoiceRecord, ...] = ()
    intent: Intent | None = None
    claim: Claim | None = None
    next_check_at: datetime | None = None
    read_at: datetime | None = None
    unreachable_since: datetime | None = None

    @property
    def invoice_ids(self) -> Sequence[str]:
        """The invoices at the gateway that are its own."""
        return [record.invoice_id for record in self.invoices]

    @property
    def due_check_at(self) -> datetime | None:
        """When the gateway may be read again. While a claim or an intent is held, that waits for it to expire."""
        held_until = [held.expires_at for held in (self.claim, self.intent) if held]
        return max(held_until) if held_until else self.next_check_at

    def with_created_invoice(self, invoice_id: str, now: datetime) -> Self:
        """T1: the gateway made the invoice of ``intent``. It is due, and has no address yet.

        Raises:
            ValueError: there is no intent.
        """
        if self.intent is None:
            raise ValueError("an invoice is recorded for an intent")
        record = InvoiceRecord(
            invoice_id=invoice_id, amount=self.intent.amount, method=self.intent.method, created_at=now
        )
        return replace(self, intent=None, invoices=(*self.invoices, record), next_check_at=now, changed_at=now)

    def with_invoice(self, record: InvoiceRecord) -> Self:
        """This payable with ``record`` in the place of the invoice that has its id."""
        invoices = (record if other.invoice_id == record.invoice_id else other for other in self.invoices)
        return replace(self, invoices=tuple(invoices))
