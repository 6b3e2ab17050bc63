"""The words of a payment link, as frozen values: the link, the visits to it, and the contributions that it receives.

A link is a payable, as an order is: it owns invoices and is read under a claim. But its invoices are reusable, so that
it has no final state, and each of their transactions is an entry of its own. All times are aware and UTC. Nothing here
does I/O or decides anything; the decisions are in ``lifecycle``.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from ..errors import ContributionNotFoundError, LinkNotFoundError, VisitNotFoundError
from ..gateway.models import PaymentMethod, TransactionState
from ..orders.entries import Entry, Event, InvoiceRecord, Note, Payable
from ..orders.models import HoldReason
from ..values import Struct, replace

__all__ = [
    "NO_MINIMUM",
    "Backlog",
    "Contribution",
    "ContributionAnomaly",
    "ContributionStatus",
    "ContributionStep",
    "Link",
    "LinkEvent",
    "LinkStatus",
    "Tally",
    "Visit",
    "VisitPayment",
    "address_name",
    "slug_name",
]

NO_MINIMUM = Decimal("0.01")
"""What the invoice of a link without a minimum is made for, in USD. Our assumption: see ``gateway.codec``."""

_MAX_PAYMENTS = 20
# How many invoices of one method a link may use up before it takes the gateway's word that it is not paid by that.
_MAX_INVOICES = 5


class LinkStatus(StrEnum):
    """Whether a link gives out addresses. A closed one stays watched, since the addresses that it gave out stay."""

    OPEN = "open"
    CLOSED = "closed"


class ContributionStatus(StrEnum):
    """Where one contribution stands. ``RECEIVED`` is final, whatever the gateway says later."""

    CONFIRMING = "confirming"
    RECEIVED = "received"
    ON_HOLD = "on_hold"
    REFUSED = "refused"


class ContributionAnomaly(StrEnum):
    """What contradicts a contribution but changes nothing about it. Each kind is raised once."""

    FAILED_AFTER_RECEIVED = "failed_after_received"
    SETTLED_AFTER_REFUSED = "settled_after_refused"


class LinkEvent(Event, frozen=True, kw_only=True):
    """One thing that happened to a contribution, as handlers see it.

    ``amount`` is the gateway's own string. Its ``unit`` is not documented, and ``None`` unless the gateway tells it;
    ``method`` is what the invoice is paid by, whatever the unit. ``reference`` is the visit's that the address was
    given out to, where that is known.
    """

    link_id: str
    contribution_id: str
    transaction_id: str
    amount: str
    unit: str | None
    method: PaymentMethod
    reference: str | None = None


class ContributionStep(Note, frozen=True, kw_only=True):
    """One step in a contribution's life, and to which status it led."""

    status: ContributionStatus


class Backlog(Struct, frozen=True, kw_only=True):
    """What of a link's transactions has yet to be read: the list from ``page`` on, until it is older than ``down_to``.

    New transactions move the others to later pages, so that going on with the page where one stopped misses none.
    ``down_to`` is ``None`` for all there are. ``awaited_from`` is the oldest transaction that was not final among those
    that were read since; they are read again when the backlog is worked off.
    """

    page: int
    down_to: datetime | None
    awaited_from: datetime | None = None


class Link(Payable, frozen=True, kw_only=True):
    """A payment link: any number of visitors pay any amount, of ``minimum`` USD at least if there is one.

    ``method_ids`` are the payment methods on offer, ``None`` for all that the shop offers. ``slug`` is the address of
    its page, which is a signed one without. With ``has_public_list`` its pages show the newest contributions.
    ``retired`` are invoices that give no addresses any more; they stay watched like all.
    ``visited_at`` is about when the last address was given out. Every transaction that was created before
    ``read_from`` is final, or has a check of its own, unless the ``backlog`` has it. ``looked_back_at`` is when it was
    last read further down than that, for what the gateway has listed late.
    """

    KIND: ClassVar[str] = "link"

    link_id: str
    description: str = ""
    minimum: Decimal | None = None
    method_ids: tuple[str, ...] | None = None
    slug: str | None = None
    has_public_list: bool = True
    status: LinkStatus = LinkStatus.OPEN
    visited_at: datetime | None = None
    read_from: datetime | None = None
    backlog: Backlog | None = None
    looked_back_at: datetime | None = None
    retired: frozenset[str] = frozenset()
    history: tuple[Note, ...] = ()

    @property
    def entry_id(self) -> str:
        """The shop's own id."""
        return self.link_id

    @property
    def label(self) -> str:
        """Links are listed by status."""
        return self.status

    @property
    def names(self) -> Sequence[str]:
        """Its slug, if the shop chose one."""
        return [] if self.slug is None else [slug_name(self.slug)]

    @staticmethod
    def not_found(entry_id: str) -> LinkNotFoundError:
        """Make the error that says that there is no such link."""
        return LinkNotFoundError(entry_id, "there is no such payment link")

    def with_note(self, note: Note) -> "Link":
        """This link with one more step in its history."""
        return replace(self, history=(*self.history, note))

    @property
    def invoice_amount(self) -> Decimal:
        """What its invoices are made for, in USD."""
        return NO_MINIMUM if self.minimum is None else self.minimum

    def find_invoice(self, method: PaymentMethod) -> InvoiceRecord | None:
        """The newest invoice for a method over the present minimum."""
        fitting = (
            record
            for record in reversed(self.invoices)
            if record.method.method_id == method.method_id and record.amount == self.invoice_amount
        )
        return next((record for record in fitting if record.invoice_id not in self.retired), None)

    def with_retired(self, record: InvoiceRecord) -> "Link":
        """This link without an invoice to give addresses of; the last of a few stays, so that they do not pile up."""
        alike = [other for other in self.invoices if other.method.method_id == record.method.method_id]
        return self if len(alike) >= _MAX_INVOICES else replace(self, retired=self.retired | {record.invoice_id})


class Contribution(Entry, frozen=True, kw_only=True):
    """One transaction on one of a link's invoices. ``created_at`` is when the gateway saw it on chain.

    ``amount`` is the gateway's own string; ``unit`` and ``address`` are ``None`` unless the gateway tells them, which
    its documentation does not. ``reference`` is the visit's that the address was given out to. ``read_at`` is the
    newest reading; ``unclear_since`` when readings began to leave it open whether it counts. ``next_check_at`` is set
    once it is too old for its link to be read so far back. ``is_decided`` says that a person has spoken.
    """

    KIND: ClassVar[str] = "contribution"

    link_id: str
    invoice_id: str
    transaction_id: str
    method: PaymentMethod
    amount: str
    state: TransactionState
    spelling: str
    read_at: datetime
    unit: str | None = None
    address: str | None = None
    reference: str | None = None
    tx_hash: str | None = None
    confirmed_at: datetime | None = None
    status: ContributionStatus = ContributionStatus.CONFIRMING
    hold_reason: HoldReason | None = None
    received_at: datetime | None = None
    unclear_since: datetime | None = None
    next_check_at: datetime | None = None
    is_decided: bool = False
    anomalies: tuple[ContributionAnomaly, ...] = ()
    events: tuple[LinkEvent, ...] = ()
    history: tuple[ContributionStep, ...] = ()

    @staticmethod
    def make_id(invoice_id: str, transaction_id: str) -> str:
        """Make the id of a contribution; the same for nothing but the same transaction on the same invoice."""
        # Ids are opaque (contract C12): one with a colon must not be able to look like two.
        return f"{invoice_id.replace('%', '%25').replace(':', '%3A')}:{transaction_id}"

    @property
    def entry_id(self) -> str:
        """Its invoice and its transaction."""
        return self.make_id(self.invoice_id, self.transaction_id)

    @property
    def contribution_id(self) -> str:
        """Its invoice and its transaction, as shops and commands name it."""
        return self.entry_id

    @staticmethod
    def label_of(link_id: str) -> str:
        """The label of a link's contributions, which nothing else bears, so that listing them passes by nothing."""
        return f"link:{link_id}"

    @property
    def label(self) -> str:
        """Contributions are listed by link."""
        return self.label_of(self.link_id)

    @staticmethod
    def not_found(entry_id: str) -> ContributionNotFoundError:
        """Make the error that says that there is no such contribution."""
        return ContributionNotFoundError(entry_id, "there is no such contribution")

    def with_note(self, note: Note) -> "Contribution":
        """This contribution with one more step in its history, which does not change its status."""
        step = ContributionStep(at=note.at, reason=note.reason, actor=note.actor, note=note.note, status=self.status)
        return replace(self, history=(*self.history, step))

    @property
    def due_check_at(self) -> datetime | None:
        """When the gateway is to be asked for this transaction alone."""
        return self.next_check_at

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected of the gateway."""
        return self.status in (ContributionStatus.RECEIVED, ContributionStatus.REFUSED)


class VisitPayment(Struct, frozen=True, kw_only=True):
    """What a visitor's page shows of a contribution to his address."""

    transaction_id: str
    amount: str
    unit: str | None
    status: ContributionStatus
    sent_at: datetime


class Visit(Entry, frozen=True, kw_only=True):
    """One visitor's turn at a link: an address of his own, a page of its own, and a reference to quote.

    ``address`` and ``pay_amount`` are the gateway's own strings; the amount is what the minimum costs at the moment of
    asking. The first visit to hold an address ``is_first_holder``. Once the gateway gives the same address to another
    one, it ``is_address_shared``, and nobody can tell whose payments it receives. ``asked_until`` is how long somebody
    may be at asking for the address, or nobody asks again after ``failures``; ``is_refused`` says that the gateway
    gives none.
    """

    KIND: ClassVar[str] = "visit"

    reference: str
    link_id: str
    method: PaymentMethod
    invoice_id: str | None = None
    address: str | None = None
    pay_amount: str | None = None
    is_first_holder: bool = False
    is_address_shared: bool = False
    asked_until: datetime | None = None
    failures: int = 0
    is_refused: bool = False
    payments: tuple[VisitPayment, ...] = ()

    @property
    def entry_id(self) -> str:
        """What the visitor quotes."""
        return self.reference

    @property
    def label(self) -> str:
        """Visits are not listed; they are found by what a visitor quotes."""
        return f"visit:{self.link_id}"

    @property
    def names(self) -> Sequence[str]:
        """Its address, by which a payment is told to be its own."""
        return [address_name(self.address)] if self.is_first_holder and self.address else []

    @property
    def can_tell_payments(self) -> bool:
        """Whether a payment can be told to be its own, should the gateway tell the address that it was sent to."""
        return self.is_first_holder and not self.is_address_shared

    @staticmethod
    def not_found(entry_id: str) -> VisitNotFoundError:
        """Make the error that says that there is no such visit."""
        return VisitNotFoundError(entry_id, "there is no such visit")

    def with_note(self, note: Note) -> "Visit":
        """A visit has no history."""
        return self

    def with_payment(self, payment: VisitPayment, now: datetime) -> "Visit":
        """This visit with a payment, in the place of what was known of the same transaction."""
        if payment in self.payments:
            return self
        others = [other for other in self.payments if other.transaction_id != payment.transaction_id]
        payments = sorted([*others, payment], key=lambda item: item.sent_at)
        return replace(self, payments=tuple(payments[-_MAX_PAYMENTS:]), changed_at=now)


class Tally(Entry, frozen=True, kw_only=True):
    """How many addresses a visitor has asked a link for since ``begun_at``, so that nobody uses them up."""

    KIND: ClassVar[str] = "tally"

    tally_id: str
    begun_at: datetime
    count: int = 0

    @property
    def entry_id(self) -> str:
        """The link's id and a hash of the visitor."""
        return self.tally_id

    @property
    def label(self) -> str:
        """Tallies are not listed."""
        return ""

    @staticmethod
    def not_found(entry_id: str) -> LinkNotFoundError:
        """Make the error that says that there is none; whoever counts adds it first."""
        return LinkNotFoundError(entry_id, "there is no such tally")

    def with_note(self, note: Note) -> "Tally":
        """A tally has no history."""
        return self


def address_name(address: str) -> str:
    """The name under which a ledger finds the visit that an address was given out to, however long it is."""
    return f"address:{hashlib.sha256(address.encode()).hexdigest()}"


def slug_name(slug: str) -> str:
    """The name under which a ledger finds the link of a slug."""
    return f"slug:{slug}"
