"""What is read at the gateway for an order: its invoices, their transactions, and a new invoice's address."""

import logging
from datetime import datetime, timedelta

from ..errors import (
    ForbiddenError,
    GatewayError,
    GatewayRefusedError,
    NotFoundError,
    OversizedAnswerError,
    RateLimitedError,
    UnauthorizedError,
)
from ..gateway.models import DepositAddress, Invoice, Transaction
from ..values import replace
from .gateway import NOT_OFFERED, Gateway
from .lifecycle import pin_address, refuse_invoice, settle
from .models import Clock, InvoiceRecord, Order, OrderStatus, Policy, Snapshot
from .schedule import next_check_at, poll_check_at
from .sync import Reading
from .verdict import has_money

__all__ = ["OrderReader", "OrderReading"]

# Superseded invoices are read while so many seconds have not passed. Then at most three calls are left, or under way,
# of which each ends within a deadline of 20 seconds, so that the claim outlives them.
_READING_SECONDS = 20
# An invoice that has no address and is not found for so long was never there, or is there no more.
_LOST_SECONDS = 600

logger = logging.getLogger("flask_iterapay")


class OrderReading(Reading, frozen=True, kw_only=True):
    """Snapshots, and the quote of an invoice that had no address yet.

    ``invoice_id`` is the invoice that was current. ``is_refused`` tells that the gateway gives no address for it, or
    has it no more.
    """

    invoice_id: str | None = None
    snapshots: tuple[Snapshot, ...] = ()
    deposit: DepositAddress | None = None
    is_refused: bool = False


class OrderReader:
    """Reads orders; a ``sync.Reader``."""

    def __init__(self, *, gateway: Gateway, clock: Clock, policy: Policy) -> None:
        self._gateway = gateway
        self._clock = clock
        self._policy = policy

    def prepare(self, payable: Order, now: datetime) -> Order:
        """Drop an intent whose time is up."""
        if payable.intent and payable.intent.expires_at <= now:
            return settle(payable, (), now, self._policy)
        return payable

    def settle(self, payable: Order, reading: OrderReading, now: datetime) -> Order:
        """The order once the reading is known."""
        if reading.invoice_id and reading.deposit:
            payable = pin_address(payable, reading.invoice_id, reading.deposit, now)
        if reading.invoice_id and reading.is_refused:
            payable = refuse_invoice(payable, reading.invoice_id, now, self._policy)
        return settle(payable, reading.snapshots, now, self._policy)

    def next_check_at(self, payable: Order, now: datetime) -> datetime | None:
        """When to read it again; see ``schedule``."""
        return next_check_at(payable, now, self._policy)

    def poll_check_at(self, payable: Order) -> datetime | None:
        """When a page that polls may have it read; see ``schedule``."""
        return poll_check_at(payable, self._policy)

    def read(self, payable: Order) -> OrderReading:
        """Read every invoice, then the transactions, then the address that is missing."""
        # Under the claim this is the newest reading, even if the host before us has a clock that runs ahead.
        read_at = max(self._clock(), payable.read_at or payable.created_at)
        # Invoices first: money that comes in between is then seen, and not taken for an expiry without any.
        reading, invoices = self._get_invoices(payable)
        # Nobody can have paid an invoice whose address was never given out.
        transactions = self._list_transactions([record.invoice_id for record in payable.invoices if record.address])
        snapshots = tuple(_make_snapshot(invoice, transactions, read_at) for invoice in invoices)
        reading = replace(reading, invoice_id=payable.current_invoice_id, snapshots=snapshots)
        return self._read_deposit(payable, reading)

    def _get_invoices(self, order: Order) -> tuple[OrderReading, list[Invoice]]:
        """Read the current invoice, then the superseded, longest unread first. One that fails hides none of the others.

        Raises:
            UnauthorizedError, RateLimitedError: the gateway would say the same of every other invoice.
            ForbiddenError: likewise, if it says so of the current one.
        """
        reading, invoices, current = OrderReading(), list[Invoice](), order.current_invoice
        until = self._clock() + timedelta(seconds=_READING_SECONDS)
        for record in sorted(order.invoices, key=lambda record: (record is not current, _last_read_at(record))):
            if record is not current and self._clock() >= until:
                break
            try:
                invoices.append(self._gateway.get_invoice(record.invoice_id))
            except (UnauthorizedError, RateLimitedError):
                raise
            except GatewayError as error:
                if record is current and isinstance(error, ForbiddenError):
                    raise
                logger.warning("order %r: invoice %s cannot be read: %s", order.order_id, record.invoice_id, error)
                if record is current:
                    reading = self._miss_current(order, record, error)
        return reading, invoices

    def _miss_current(self, order: Order, record: InvoiceRecord, error: GatewayError) -> OrderReading:
        """What it means that the current invoice cannot be read; deleted is deleted, and anything else is trouble."""
        if not isinstance(error, NotFoundError):
            return OrderReading(failure=error)
        if order.status is OrderStatus.PAID:
            return OrderReading()
        if _is_over(record, self._clock()):
            return OrderReading(is_refused=True)
        return OrderReading(failure=error)

    def _list_transactions(self, invoice_ids: list[str]) -> tuple[Transaction, ...] | None:
        if not invoice_ids:
            return ()
        try:
            return self._gateway.list_transactions(invoice_ids)
        except (UnauthorizedError, ForbiddenError, OversizedAnswerError) as error:
            # A key may read invoices but not transactions (contract C1), and half a list would be taken for a whole.
            logger.warning("transactions are unknown, so invoices alone decide: %s", error)
            return None

    def _read_deposit(self, order: Order, reading: OrderReading) -> OrderReading:
        """T2: ask for the address of a new invoice, after its id was saved and the invoice was seen to be ours."""
        record = order.current_invoice
        if record is None or record.address or reading.failure or reading.is_refused:
            return reading
        settled = settle(order, reading.snapshots, self._clock(), self._policy)
        if settled.status is not OrderStatus.PREPARING:
            return reading
        try:
            deposit = self._gateway.get_deposit_address(record.invoice_id, record.method.method_id)
        except GatewayRefusedError as error:
            if error.status not in NOT_OFFERED:
                raise
            return replace(reading, is_refused=True)
        return replace(reading, deposit=deposit)


def _last_read_at(record: InvoiceRecord) -> datetime:
    return record.snapshot.read_at if record.snapshot else record.created_at


def _is_over(record: InvoiceRecord, now: datetime) -> bool:
    """Whether nobody is asked to pay this invoice any more, so that its being gone at the gateway is its end.

    Before that it may be a gateway that does not find what it made a moment ago.
    """
    over_at = record.expires_at or record.created_at + timedelta(seconds=_LOST_SECONDS)
    return over_at <= now and not has_money(record)


def _make_snapshot(invoice: Invoice, transactions: tuple[Transaction, ...] | None, read_at: datetime) -> Snapshot:
    own = None if transactions is None else tuple(t for t in transactions if t.invoice_id == invoice.invoice_id)
    return Snapshot(invoice=invoice, transactions=own, read_at=read_at)
