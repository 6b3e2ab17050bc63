"""What a customer's page shows: an order read at one moment, as frozen values, without Flask.

All words are in the templates. What is decided here is which page it is, whether an address may be on it, how urgently
it is announced, and when the browser asks again.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from ..gateway.models import InvoiceState, PaymentMethod, Transaction, TransactionState
from ..money import format_usd
from ..orders.codec import simplify
from ..orders.models import HoldReason, InvoiceRecord, Order, OrderStatus, Settlement
from ..orders.verdict import has_money
from ..values import Struct, replace

__all__ = [
    "MethodOption",
    "PageState",
    "PageView",
    "Politeness",
    "build_options",
    "build_view",
    "fingerprint",
    "page_state",
]

_MAX_TRANSFERS = 5
DAY_SECONDS = 86_400


class PageState(StrEnum):
    """One screen of the checkout page each; the value names its template."""

    CHOOSE_METHOD = "choose_method"
    PREPARING = "preparing"
    WAITING = "waiting"
    CONFIRMING = "confirming"
    PAID = "paid"
    OVERPAID = "overpaid"
    UNDERPAID_OPEN = "underpaid_open"
    UNDERPAID_CLOSED = "underpaid_closed"
    EXPIRED_WITH_MONEY = "expired_with_money"
    EXPIRED = "expired"
    LATE = "late"
    UNDER_REVIEW = "under_review"
    CHECKING = "checking"
    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"


class Politeness(StrEnum):
    """How a screen reader is told of a page that changed: the values of ``aria-live``."""

    OFF = "off"
    POLITE = "polite"
    ASSERTIVE = "assertive"


_POLITENESS = {
    PageState.CHOOSE_METHOD: Politeness.OFF,
    PageState.PREPARING: Politeness.OFF,
    PageState.CHECKING: Politeness.OFF,
    PageState.UNDERPAID_OPEN: Politeness.ASSERTIVE,
    PageState.EXPIRED: Politeness.ASSERTIVE,
}

# Seconds between two polls; ``None`` where nothing more can happen by itself.
_POLL_SECONDS = {
    PageState.CHOOSE_METHOD: None,
    PageState.PREPARING: 2,
    PageState.WAITING: 3,
    PageState.CONFIRMING: 15,
    PageState.PAID: None,
    PageState.OVERPAID: None,
    PageState.UNDERPAID_OPEN: 3,
    PageState.UNDERPAID_CLOSED: 60,
    PageState.EXPIRED_WITH_MONEY: 60,
    PageState.EXPIRED: 30,
    PageState.LATE: 60,
    PageState.UNDER_REVIEW: 60,
    PageState.CHECKING: 15,
    PageState.CANCELLED: None,
    PageState.UNREACHABLE: 5,
}
_ASKS_FOR_MONEY = {PageState.WAITING, PageState.UNDERPAID_OPEN}
_EMPTY_WITHOUT_NEWS = {PageState.PREPARING, PageState.CHECKING}

# A hold that is not listed here, or has no reason, is "the shop is looking at it".
_HOLD_STATES: dict[HoldReason | None, PageState] = {
    HoldReason.AML_UNKNOWN: PageState.UNDER_REVIEW,
    HoldReason.AML_FAILED: PageState.UNDER_REVIEW,
    HoldReason.LATE: PageState.LATE,
    HoldReason.CANCELLED_WITH_MONEY: PageState.CANCELLED,
}


def fingerprint(*shown: object) -> str:
    """Write values in a few characters: the same in every process, and others for what would be written otherwise."""
    return hashlib.sha256(msgspec.json.encode(shown, enc_hook=simplify, order="deterministic")).hexdigest()[:16]


class PageView(Struct, frozen=True, kw_only=True):
    """Everything that a template and the poll need to know of an order at one moment.

    ``invoice`` is set only where the customer is to send money, so that no other page can show an address.
    ``known_state`` is the last state known, which differs from ``state`` on the ``UNREACHABLE`` page alone;
    ``is_unreachable`` says that the gateway did not answer, on whatever page. ``seconds_left`` counts from the
    server's own clock to the end of the price. ``updated_at`` is when the gateway was last read. ``fiat`` is the
    order's amount with its currency, ``method`` what the order is being paid by, or was. ``transfers`` are those that
    did not fail, oldest first, at most five.
    """

    state: PageState
    known_state: PageState
    is_unreachable: bool
    politeness: Politeness
    next_poll_seconds: int | None
    seconds_left: int | None
    changed_at: datetime
    updated_at: datetime
    fiat: str
    method: PaymentMethod | None
    invoice: InvoiceRecord | None
    previous_pay_amount: str | None
    transfers: tuple[Transaction, ...]
    has_refused_transfer: bool
    is_locked: bool
    is_watched: bool

    @property
    def revision(self) -> str:
        """Changes whenever what the page shows changes, and not with the mere passing of time."""
        return fingerprint(
            self.state,
            self.known_state,
            self.is_unreachable,
            self.changed_at,
            self.invoice and replace(self.invoice, snapshot=None),
            self.seconds_left is not None and self.seconds_left < DAY_SECONDS,
            [(transfer.transaction_id, transfer.tx_hash) for transfer in self.transfers],
            self.has_refused_transfer,
            self.is_locked,
            self.is_watched,
        )


class MethodOption(Struct, frozen=True, kw_only=True):
    """A payment method to choose; ``pay_amount`` where the gateway has given one for this order that still holds."""

    method: PaymentMethod
    pay_amount: str | None


def page_state(order: Order, now: datetime) -> PageState:
    """Name the screen for an order. Pure, and total over every order.

    While the gateway is unreachable the last known screen stays, since a running price can still be paid; only the
    two screens that would say nothing but "wait for news" give way to ``UNREACHABLE``.
    """
    known = _known_state(order, now)
    return PageState.UNREACHABLE if order.unreachable_since and known in _EMPTY_WITHOUT_NEWS else known


def _known_state(order: Order, now: datetime) -> PageState:
    match order.status:
        case OrderStatus.NEW:
            return PageState.CHOOSE_METHOD
        case OrderStatus.PREPARING:
            return PageState.PREPARING
        case OrderStatus.AWAITING_PAYMENT:
            return _awaiting_state(order.current_invoice, now)
        case OrderStatus.CONFIRMING:
            # A state that nobody knows makes an order confirming too, but "payment seen" is said of money alone.
            is_seen = any(has_money(record) for record in order.invoices)
            return PageState.CONFIRMING if is_seen else PageState.CHECKING
        case OrderStatus.PAID:
            return PageState.OVERPAID if order.settlement is Settlement.OVERPAID else PageState.PAID
        case OrderStatus.ON_HOLD:
            return _hold_state(order, now)
        case OrderStatus.EXPIRED:
            return PageState.EXPIRED
        case OrderStatus.CANCELLED:
            return PageState.CANCELLED


def _awaiting_state(invoice: InvoiceRecord | None, now: datetime) -> PageState:
    if invoice is None or invoice.address is None or invoice.pay_amount is None:
        return PageState.PREPARING
    return PageState.WAITING if _is_running(invoice, now) else PageState.CHECKING


def _hold_state(order: Order, now: datetime) -> PageState:
    if order.hold_reason is not HoldReason.UNDERPAID:
        return _HOLD_STATES.get(order.hold_reason, PageState.EXPIRED_WITH_MONEY)
    return PageState.UNDERPAID_OPEN if _takes_the_rest(order.current_invoice, now) else PageState.UNDERPAID_CLOSED


def _takes_the_rest(invoice: InvoiceRecord | None, now: datetime) -> bool:
    """Whether the current invoice is the one that received too little, and its price still runs.

    If the money came to a superseded invoice, its rest must not be sent to the address of another.
    """
    if invoice is None or invoice.address is None or invoice.snapshot is None:
        return False
    return invoice.snapshot.invoice.state is InvoiceState.UNDERPAID and _is_running(invoice, now)


def _is_running(invoice: InvoiceRecord, now: datetime) -> bool:
    return invoice.expires_at is None or invoice.expires_at > now


def build_view(order: Order, now: datetime) -> PageView:
    """Gather what the page of an order shows at ``now``."""
    state, known_state = page_state(order, now), _known_state(order, now)
    invoice = order.current_invoice if state in _ASKS_FOR_MONEY else None
    next_poll_seconds = _next_poll_seconds(state, order, now)
    is_unreachable = order.unreachable_since is not None and next_poll_seconds is not None
    return PageView(
        state=state,
        known_state=known_state,
        is_unreachable=is_unreachable,
        # That the gateway is silent is no reason to interrupt anybody.
        politeness=Politeness.POLITE if is_unreachable else _POLITENESS.get(state, Politeness.POLITE),
        next_poll_seconds=next_poll_seconds,
        seconds_left=_seconds_left(invoice, now),
        changed_at=order.changed_at,
        updated_at=order.read_at or order.changed_at,
        fiat=f"{format_usd(order.amount)} {order.currency}",
        method=_find_method(order),
        invoice=invoice,
        previous_pay_amount=_previous_pay_amount(order, invoice),
        transfers=_live_transfers(order.invoices)[:_MAX_TRANSFERS],
        has_refused_transfer=any(transaction.state in _REFUSED for transaction in _all_transfers(order.invoices)),
        is_locked=order.is_locked,
        is_watched=order.due_check_at is not None,
    )


def build_options(order: Order, methods: Iterable[PaymentMethod], now: datetime) -> tuple[MethodOption, ...]:
    """List what an order can be paid by at ``now``, without the method that its page asks for already."""
    quoted = {
        record.method.method_id: record.pay_amount
        for record in order.invoices
        if record.amount == order.amount and _is_open(record) and _is_running(record, now)
    }
    current = order.current_invoice.method.method_id if order.current_invoice else None
    return tuple(
        MethodOption(method=method, pay_amount=quoted.get(method.method_id))
        for method in methods
        if method.method_id != current
    )


def _is_open(record: InvoiceRecord) -> bool:
    return record.snapshot is None or record.snapshot.invoice.state is InvoiceState.OPEN


def _next_poll_seconds(state: PageState, order: Order, now: datetime) -> int | None:
    """Say when the browser may ask again.

    The two back-offs are worked out from the time that has passed, so that no client has to be trusted with them:
    pauses that begin at 3 s and grow by a quarter have grown to ``3 + t / 4`` after ``t`` seconds, and pauses that
    begin at 5 s and double to ``5 + t``.
    """
    pause = _POLL_SECONDS[state]
    if pause is None or (state is PageState.EXPIRED and order.due_check_at is None):
        return None
    if order.unreachable_since is not None:
        return max(pause, min(60, 5 + _whole_seconds(now - order.unreachable_since)))
    if state in _ASKS_FOR_MONEY:
        return min(15, pause + _whole_seconds(now - order.changed_at) // 4)
    return pause


def _seconds_left(invoice: InvoiceRecord | None, now: datetime) -> int | None:
    """Round up, so that a countdown never ends before the price does."""
    if invoice is None or invoice.expires_at is None:
        return None
    return -((now - invoice.expires_at) // timedelta(seconds=1))


def _whole_seconds(duration: timedelta) -> int:
    return max(0, duration // timedelta(seconds=1))


_REFUSED = {TransactionState.FAILED, TransactionState.FLAGGED}
_PAID = {InvoiceState.PAID, InvoiceState.OVERPAID}


def _find_method(order: Order) -> PaymentMethod | None:
    if order.intent is not None:
        return order.intent.method
    paid = [record for record in order.invoices if record.snapshot and record.snapshot.invoice.state in _PAID]
    moved = [record for record in order.invoices if _live_transfers([record])]
    record = next(iter(paid + moved), order.current_invoice)
    return record.method if record else None


def _previous_pay_amount(order: Order, invoice: InvoiceRecord | None) -> str | None:
    """The pay amount before the price was renewed, whether the gateway kept the invoice or a new one was made."""
    if invoice is None:
        return None
    if invoice.previous_pay_amount is not None:
        return invoice.previous_pay_amount
    previous = None
    for record in order.invoices[: order.invoices.index(invoice)]:
        if record.method.method_id == invoice.method.method_id and record.amount == invoice.amount:
            previous = record.pay_amount
    return previous if previous != invoice.pay_amount else None


def _live_transfers(records: Iterable[InvoiceRecord]) -> tuple[Transaction, ...]:
    return tuple(transfer for transfer in _all_transfers(records) if transfer.state is not TransactionState.FAILED)


def _all_transfers(records: Iterable[InvoiceRecord]) -> list[Transaction]:
    snapshots = [record.snapshot for record in records if record.snapshot]
    transfers = [transfer for snapshot in snapshots for transfer in snapshot.transactions or ()]
    return sorted(transfers, key=lambda transfer: transfer.created_at)
