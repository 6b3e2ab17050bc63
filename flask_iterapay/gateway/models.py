"""What the gateway tells us, as frozen values.

The gateway's own spellings are normalised here and nowhere else (contract sections 3.2 and 3.3). Every state that
is not known becomes ``UNKNOWN``, which never pays and never fails an order.
"""

import re
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, TypeVar

from ..values import Struct

__all__ = [
    "DepositAddress",
    "Invoice",
    "InvoiceState",
    "InvoiceType",
    "Merchant",
    "MethodId",
    "Page",
    "PaymentMethod",
    "Transaction",
    "TransactionPage",
    "TransactionState",
    "WebhookRegistration",
]

Item = TypeVar("Item")

MethodId = int | str
"""A payment method's id: an integer in the reference, a string in one guide (contract C14). Opaque."""


class InvoiceType(StrEnum):
    """The two types that this package creates (contract C15)."""

    ONETIME = "onetime"
    REUSABLE = "reusable"


class InvoiceState(StrEnum):
    """An invoice's state, normalised. The gateway's list is open; the spellings follow contract section 3.2."""

    OPEN = "open"
    CONFIRMING = "confirming"
    UNDERPAID = "underpaid"
    PAID = "paid"
    OVERPAID = "overpaid"
    EXPIRED = "expired"
    CLOSED = "closed"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, spelling: str) -> "InvoiceState":
        """Read the gateway's word, whatever its case and separators (contract C11)."""
        return _INVOICE_STATES.get(_normalise(spelling), cls.UNKNOWN)


class TransactionState(StrEnum):
    """A transaction's state, normalised (contract section 3.3, C28).

    ``CONFIRMED`` has its confirmations but may still be under AML review; ``SETTLED`` has passed it. The dashboard's
    "completed" counts as confirmed only, since nothing says that it implies the review.
    """

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SETTLED = "settled"
    FAILED = "failed"
    FLAGGED = "flagged"
    UNKNOWN = "unknown"

    @classmethod
    def parse(cls, spelling: str) -> "TransactionState":
        """Read the gateway's word, whatever its case and separators."""
        return _TRANSACTION_STATES.get(_normalise(spelling), cls.UNKNOWN)


def _normalise(spelling: str) -> str:
    return re.sub(r"[-\s]+", "_", spelling.strip().lower())


_INVOICE_STATES = {
    spelling: state
    for state, spellings in {
        InvoiceState.OPEN: "pending active new created waiting awaiting_payment",
        InvoiceState.CONFIRMING: "processing confirming confirmed_pending",
        InvoiceState.UNDERPAID: "partially_paid partial partiallypaid underpaid",
        InvoiceState.PAID: "paid completed settled",
        InvoiceState.OVERPAID: "overpaid",
        InvoiceState.EXPIRED: "expired",
        InvoiceState.CLOSED: "cancelled canceled archived deleted failed",
    }.items()
    for spelling in spellings.split()
}
_TRANSACTION_STATES = {
    "pending": TransactionState.PENDING,
    "confirmed": TransactionState.CONFIRMED,
    "completed": TransactionState.CONFIRMED,
    "settled": TransactionState.SETTLED,
    "failed": TransactionState.FAILED,
    "flagged": TransactionState.FLAGGED,
}


class Invoice(Struct, frozen=True, kw_only=True):
    """An invoice as one answer showed it; a field that the answer did not carry is ``None``.

    ``amount`` is in USD. ``spelling`` is the gateway's own word for the state, for logs and for support.
    ``has_passed_aml`` is the gateway's ``amlOk``: absent means unknown, not passed.
    """

    invoice_id: str
    state: InvoiceState
    spelling: str
    amount: Decimal | None = None
    invoice_type: str | None = None
    method_id: MethodId | None = None
    has_passed_aml: bool | None = None
    description: str | None = None
    created_at: datetime | None = None


class Transaction(Struct, frozen=True, kw_only=True):
    """One transfer that the gateway saw on chain.

    ``amount`` has no documented unit (contract C29), so it never proves a payment. It is kept as the gateway's own
    string. Times are UTC. ``address`` (where it was sent) and ``unit`` (what ``amount`` counts) are documented nowhere;
    where an answer tells them, they are kept (contract C29, section 1.7).
    """

    transaction_id: str
    invoice_id: str
    amount: str
    state: TransactionState
    spelling: str
    created_at: datetime
    confirmed_at: datetime | None = None
    tx_hash: str | None = None
    address: str | None = None
    unit: str | None = None


class PaymentMethod(Struct, frozen=True, kw_only=True):
    """An asset on a network: USDT (``ticker``) on TRON (``network``)."""

    method_id: MethodId
    name: str
    network: str
    ticker: str


class DepositAddress(Struct, frozen=True, kw_only=True):
    """Where and how much to send.

    ``pay_amount`` is the gateway's own string, byte for byte. ``expires_at`` (UTC) is ``None`` for reusable invoices
    (contract C19). ``method_id`` is known only where a list item names it (contract C7).
    """

    address: str
    pay_amount: str
    expires_at: datetime | None = None
    method_id: MethodId | None = None


class Merchant(Struct, frozen=True, kw_only=True):
    """A merchant; ``webhook_url`` is what is registered, readable with the API key alone (contract 1.8)."""

    merchant_id: str
    name: str
    webhook_url: str | None = None


class WebhookRegistration(Struct, frozen=True, kw_only=True):
    """The merchant's one webhook; secret and token never come back (contract 1.8)."""

    url: str
    created_at: datetime | None = None


class Page(Struct, Generic[Item], frozen=True, kw_only=True):
    """One page of a list; ``total`` is the gateway's own count, ``None`` if it gave none (contract C31).

    ``left_out`` is how many of its items could not be read, where those that can be are worth having alone.
    """

    items: tuple[Item, ...]
    total: int | None = None
    left_out: int = 0


class TransactionPage(Struct, frozen=True, kw_only=True):
    """One page of the transactions of some invoices, newest first, and how far it looked.

    ``items`` are those of the invoices asked for. The other two fields speak of all that the gateway sent, so a page
    without items is not yet the end. ``reaches_to`` (UTC) is the creation of the page's oldest transaction: no later
    page holds a newer one. It is ``None`` if the page is empty or not sorted, and then nothing follows from it.
    ``has_more`` follows contract C31; it may be true once too often, and the page after that is empty.
    """

    items: tuple[Transaction, ...] = ()
    reaches_to: datetime | None = None
    has_more: bool = False
