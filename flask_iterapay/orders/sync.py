"""The only door for news: claim an order, read the gateway, settle, save.

Hints, page polls, the customer's check and ``reconcile`` all come through here, so a snapshot is always taken whole
under one claim, and never while a transaction is open.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from .gateway import Gateway
from .ledger import Ledger
from .lifecycle import pin_address, refuse_invoice, settle
from .models import Claim, Clock, InvoiceRecord, Order, OrderStatus, Policy, Snapshot
from .schedule import next_check_at, poll_check_at, retry_check_at
from .verdict import has_money

__all__ = ["Synchronizer"]

# A claim must outlive the reading that it is for: superseded invoices are read while _READING_SECONDS have not passed,
# and then at most three calls are left, or under way, of which each ends within a deadline of 20 seconds.
_CLAIM_SECONDS = 90
_READING_SECONDS = 20
_ROUNDS = 3
# An invoice that has no address and is not found for so long was never there, or is there no more.
_LOST_SECONDS = 600
# What the gateway says to a method that an invoice does not offer (contract C10); the rest of 4xx may pass.
_NOT_OFFERED = {400, 404, 422}

logger = logging.getLogger("flask_iterapay")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What one round of calls brought: snapshots, and the quote of an invoice that had no address yet.

    ``is_refused`` tells that the gateway gives no address for the current invoice, or has it no more. ``failure`` is
    why one of the invoices could not be read although it matters; what was read of the others counts all the same.
    """

    snapshots: tuple[Snapshot, ...]
    deposit: DepositAddress | None = None
    is_refused: bool = False
    failure: GatewayError | None = None


class Synchronizer:
    """Brings orders up to date with the gateway.

    ``make_token`` returns a fresh random string for each claim.
    """

    def __init__(
        self, *, ledger: Ledger, gateway: Gateway, clock: Clock, policy: Policy, make_token: Callable[[], str]
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._clock = clock
        self._policy = policy
        self._make_token = make_token

    def sync(self, order_id: str, *, is_hinted: bool = False) -> Order:
        """Read the gateway for an order and settle it; return the order as it stands then.

        If somebody else holds the claim, nothing is read here. With ``is_hinted`` the order is marked due again, so
        that the holder, whose save then fails, reads once more.

        Raises:
            GatewayError: the gateway could not be read; the order keeps its state and stays due.
            StoreError: the store failed.
            OrderNotFoundError: there is no such order.
        """
        return self._sync(order_id, is_hinted=is_hinted)

    def sync_if_due(self, order_id: str) -> Order:
        """As ``sync``, unless somebody else has read the order since it was found to be due."""
        return self._sync(order_id, next_read_at=lambda order: order.due_check_at)

    def _sync(
        self,
        order_id: str,
        *,
        is_hinted: bool = False,
        next_read_at: Callable[[Order], datetime | None] | None = None,
    ) -> Order:
        for _ in range(_ROUNDS):
            token = self._make_token()
            order = self._claim(order_id, token, is_hinted=is_hinted, next_read_at=next_read_at)
            if order.claim is None or order.claim.token != token:
                return order
            try:
                reading = self._read(order)
            except GatewayError as error:
                self._give_up(order_id, token, error)
                raise
            order, is_applied = self._apply(order, reading, token)
            if is_applied and reading.failure:
                raise reading.failure
            if is_applied:
                return order
            is_hinted = False
        return order

    def poll(self, order_id: str) -> Order:
        """Bring an order up to date if its time has come, as a page does every few seconds.

        However many polls there are, the gateway is read once an interval. Gateway errors are logged and leave their
        mark in ``unreachable_since``; they never escape.
        """
        return self._refresh(order_id, lambda order: poll_check_at(order, self._policy))

    def check(self, order_id: str) -> Order:
        """Bring an order up to date because its customer asks, unless it was read a moment ago. Errors as ``poll``."""
        return self._refresh(order_id, self._check_at)

    def receive_hint(self, invoice_id: str) -> Order | None:
        """Act on an authentic webhook that names an invoice; ``None`` if the invoice is not ours.

        A hint always leads to a read, unless the order is paid and was read a moment ago. Errors as ``sync``.
        """
        order = self._ledger.get_by_invoice(invoice_id)
        if order is None:
            return None
        if order.status is OrderStatus.PAID and order.read_at and not order.unreachable_since:
            fresh_until = order.read_at + timedelta(seconds=self._policy.sync_seconds)
            if self._clock() < fresh_until:
                return order
        return self.sync(order.order_id, is_hinted=True)

    def _check_at(self, order: Order) -> datetime | None:
        if order.read_at is None or order.unreachable_since or order.claim:
            return order.due_check_at
        return order.read_at + timedelta(seconds=self._policy.sync_seconds)

    def _refresh(self, order_id: str, next_read_at: Callable[[Order], datetime | None]) -> Order:
        order = self._ledger.get(order_id)
        if not _has_come(next_read_at(order), self._clock()):
            return order
        try:
            return self._sync(order_id, next_read_at=next_read_at)
        except GatewayError as error:
            logger.warning("order %r could not be refreshed: %s", order_id, error)
            return self._ledger.get(order_id)

    def _claim(
        self,
        order_id: str,
        token: str,
        *,
        is_hinted: bool,
        next_read_at: Callable[[Order], datetime | None] | None,
    ) -> Order:
        def compute(order: Order) -> Order:
            now = self._clock()
            if order.intent and order.intent.expires_at <= now:
                order = settle(order, (), now, self._policy)
            if not order.invoices:
                return order
            # Asked in the step that claims: of all who saw that the order was due, one reads.
            if next_read_at and not _has_come(next_read_at(order), now):
                return order
            if order.claim and order.claim.expires_at > now:
                return replace(order, claim=None, next_check_at=now) if is_hinted else order
            return replace(order, claim=Claim(token=token, expires_at=now + timedelta(seconds=_CLAIM_SECONDS)))

        return self._ledger.change(order_id, compute)

    def _read(self, order: Order) -> _Reading:
        # Under the claim this is the newest reading, even if the host before us has a clock that runs ahead.
        read_at = max(self._clock(), order.read_at or order.created_at)
        # Invoices first: money that comes in between is then seen, and not taken for an expiry without any.
        reading, invoices = self._get_invoices(order)
        # Nobody can have paid an invoice whose address was never given out.
        transactions = self._list_transactions([record.invoice_id for record in order.invoices if record.address])
        snapshots = tuple(_make_snapshot(invoice, transactions, read_at) for invoice in invoices)
        return self._read_deposit(order, replace(reading, snapshots=snapshots))

    def _get_invoices(self, order: Order) -> tuple[_Reading, list[Invoice]]:
        """Read the current invoice, then the superseded, longest unread first. One that fails hides none of the others.

        Raises:
            UnauthorizedError, RateLimitedError: the gateway would say the same of every other invoice.
            ForbiddenError: likewise, if it says so of the current one.
        """
        reading, invoices, current = _Reading(snapshots=()), list[Invoice](), order.current_invoice
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

    def _miss_current(self, order: Order, record: InvoiceRecord, error: GatewayError) -> _Reading:
        """What it means that the current invoice cannot be read; deleted is deleted, and anything else is trouble."""
        if not isinstance(error, NotFoundError):
            return _Reading(snapshots=(), failure=error)
        if order.status is OrderStatus.PAID:
            return _Reading(snapshots=())
        if _is_over(record, self._clock()):
            return _Reading(snapshots=(), is_refused=True)
        return _Reading(snapshots=(), failure=error)

    def _list_transactions(self, invoice_ids: list[str]) -> tuple[Transaction, ...] | None:
        if not invoice_ids:
            return ()
        try:
            return self._gateway.list_transactions(invoice_ids)
        except (UnauthorizedError, ForbiddenError, OversizedAnswerError) as error:
            # A key may read invoices but not transactions (contract C1), and half a list would be taken for a whole.
            logger.warning("transactions are unknown, so invoices alone decide: %s", error)
            return None

    def _read_deposit(self, order: Order, reading: _Reading) -> _Reading:
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
            if error.status not in _NOT_OFFERED:
                raise
            return replace(reading, is_refused=True)
        return replace(reading, deposit=deposit)

    def _apply(self, order: Order, reading: _Reading, token: str) -> tuple[Order, bool]:
        """Save what was read while the claim is still ours; tell whether it was."""
        invoice_id = order.current_invoice_id
        while True:
            now = self._clock()
            settled = order
            if invoice_id and reading.deposit:
                settled = pin_address(settled, invoice_id, reading.deposit, now)
            if invoice_id and reading.is_refused:
                settled = refuse_invoice(settled, invoice_id, now, self._policy)
            settled = settle(settled, reading.snapshots, now, self._policy)
            settled = self._finish(settled, reading.failure, now)
            if saved := self._ledger.save(settled):
                return saved, True
            order = self._ledger.get(order.order_id)
            if order.claim is None or order.claim.token != token:
                return order, False

    def _give_up(self, order_id: str, token: str, error: GatewayError) -> None:
        def compute(order: Order) -> Order:
            is_ours = order.claim is not None and order.claim.token == token
            return self._finish(order, error, self._clock()) if is_ours else order

        self._ledger.change(order_id, compute)

    def _finish(self, order: Order, failure: GatewayError | None, now: datetime) -> Order:
        """Give the claim back, note whether the gateway could be read, and say when to read it next."""
        if failure is None:
            order = replace(order, claim=None, unreachable_since=None)
            return replace(order, next_check_at=next_check_at(order, now, self._policy))
        asked_seconds = failure.retry_after_seconds if isinstance(failure, RateLimitedError) else None
        order = replace(order, claim=None, unreachable_since=order.unreachable_since or now)
        return replace(order, next_check_at=retry_check_at(order, now, self._policy, asked_seconds))


def _has_come(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


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
