"""The use cases: what a shop, a customer and a person may do to an order.

Each is read, compute, save through the ledger, with the gateway called in between and never inside. What an order
becomes is decided in ``lifecycle``; this module only brings the pieces together.
"""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from ..errors import (
    GatewayError,
    GatewayRefusedError,
    InvalidOrderError,
    MalformedAnswerError,
    MethodNotOfferedError,
    NotFoundError,
    OrderCancelledError,
    OrderLockedError,
    OrderNotFoundError,
    OrderNotOnHoldError,
    OrderPaidError,
    RecordExistsError,
    RefTakenError,
    StoreError,
    TooManyInvoicesError,
)
from ..gateway.models import PaymentMethod
from ..money import parse_usd
from .dispatch import Dispatcher
from .gateway import Gateway
from .ledger import Ledger
from .lifecycle import (
    abandon_intent,
    accept,
    cancel,
    change_amount,
    pin_address,
    record_intent,
    record_invoice,
    reuse_invoice,
    settle,
)
from .models import MAX_INVOICES, Clock, HistoryEntry, Intent, InvoiceRecord, Order, OrderStatus, Policy
from .sync import Synchronizer
from .verdict import judge

__all__ = ["OrderService", "ReconcileReport"]

_INTENT_SECONDS = 60
_MAX_TEXT = 200

logger = logging.getLogger("flask_iterapay")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What one round of ``reconcile`` did: orders looked at, reads that failed, events handed to handlers."""

    orders: int = 0
    failures: int = 0
    events: int = 0


class OrderService:
    """Everything that can be done to orders.

    ``methods`` is the shop's allow-list of payment method ids, or ``None`` for all; ``make_token`` returns a fresh
    random string, used for claims and for the ``ref`` that an invoice's description carries.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        gateway: Gateway,
        dispatcher: Dispatcher,
        clock: Clock,
        policy: Policy,
        make_token: Callable[[], str],
        methods: tuple[str, ...] | None = None,
        shuffle: Callable[[list[Order]], None] = random.shuffle,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._dispatcher = dispatcher
        self._clock = clock
        self._policy = policy
        self._make_token = make_token
        self._methods = methods
        self._shuffle = shuffle
        synchronizer = Synchronizer(ledger=ledger, gateway=gateway, clock=clock, policy=policy, make_token=make_token)
        self.get = ledger.get
        self.sync = synchronizer.sync
        self.poll = synchronizer.poll
        self.receive_hint = synchronizer.receive_hint
        self.dispatch = dispatcher.dispatch
        self._check = synchronizer.check

    def place(
        self,
        order_id: str,
        *,
        amount: object,
        description: str = "",
        currency: str = "USD",
        return_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Order:
        """Make an order, or find it again: the same id and amount returns it as it stands.

        Another amount supersedes the invoices made so far, as long as no money was seen.

        Raises:
            AmountError, InvalidOrderError: the arguments are not allowed.
            OrderLockedError, OrderPaidError, OrderCancelledError: the order no longer takes another amount.
            StoreError: the store failed.
        """
        now = self._clock()
        order = Order(
            order_id=_valid_id(order_id),
            amount=parse_usd(amount),
            currency=_valid_currency(order_id, currency),
            description=_valid_text(order_id, description),
            return_url=return_url,
            metadata=_valid_metadata(order_id, metadata or {}),
            created_at=now,
            changed_at=now,
            history=(HistoryEntry(at=now, status=OrderStatus.NEW, reason="placed", actor="shop"),),
        )
        try:
            self._ledger.get(order_id)
        except OrderNotFoundError:
            try:
                return self._ledger.add(order)
            except RecordExistsError:
                logger.info("order %r was placed twice at once", order_id)
        return self._ledger.change(order_id, lambda existing: self._with_amount(existing, order.amount))

    def _with_amount(self, order: Order, amount: Decimal) -> Order:
        if order.status is OrderStatus.CANCELLED:
            raise OrderCancelledError(order.order_id, "it was cancelled")
        if order.amount == amount:
            return order
        _require_open(order)
        return change_amount(order, amount, self._clock(), self._policy)

    def offered_methods(self) -> tuple[PaymentMethod, ...]:
        """The payment methods that a customer may choose from, in the gateway's order."""
        methods = self._gateway.list_payment_methods()
        return tuple(method for method in methods if self._methods is None or str(method.method_id) in self._methods)

    def choose_method(self, order_id: str, method_id: str) -> Order:
        """Have the order paid by a method: make its invoice, or go back to the one that is still live.

        Saves the intent (T0), creates the invoice, saves its id (T1), and only then asks for the address (T2). A
        second call while an invoice is being made, or for the method that is current, makes nothing.

        Raises:
            MethodNotOfferedError: not on the gateway's list or not on the shop's.
            OrderLockedError, OrderPaidError, OrderCancelledError, TooManyInvoicesError: no invoice may be made.
            GatewayError: the gateway failed before an address could be given out; nothing can be paid by mistake.
            StoreError: the store failed.
        """
        method = next((m for m in self.offered_methods() if str(m.method_id) == method_id), None)
        if method is None:
            raise MethodNotOfferedError(order_id, f"payment method {method_id!r:.80} is not offered")
        order = self._ledger.get(order_id)
        if order.current_invoice and self._is_live(order.current_invoice, order, method, self._clock()):
            return self._complete(order)
        try:
            order = self.sync(order_id)
        except NotFoundError:
            # The merchant deleted the current invoice at the gateway; another method is the way on.
            order = self._ledger.get(order_id)
        _require_open(order)
        if order.has_transfers:
            raise OrderLockedError(order_id, "a transfer was seen for it")
        return self._make_invoice(order_id, method)

    def renew(self, order_id: str) -> Order:
        """Get a new price for an order whose quote has run out; any other order is returned as it stands.

        The address is asked for again, since the gateway keeps it and quotes anew. Only if its expiry did not move
        is a new invoice made. Errors as ``choose_method``.
        """
        order = self._check(order_id)
        record = order.current_invoice
        if order.status is not OrderStatus.EXPIRED or record is None:
            return order
        order = self._quote_again(order, record)
        if order.status is not OrderStatus.EXPIRED:
            return order
        return self._make_invoice(order_id, record.method)

    def check(self, order_id: str) -> Order:
        """Bring an order up to date because its customer asks.

        An invoice whose making was cut short by a crash is made now. Gateway errors never escape:
        ``unreachable_since`` tells of them.
        """
        order = self._ledger.get(order_id)
        if order.is_locked or order.intent is None or order.intent.expires_at > self._clock():
            return self._check(order_id)
        try:
            return self._make_invoice(order_id, order.intent.method)
        except GatewayError as error:
            logger.warning("order %r: no invoice could be made: %s", order_id, error)
            return self._ledger.get(order_id)

    def cancel(self, order_id: str) -> Order:
        """Cancel an order before money was seen. It stays watched, and money that comes later puts it on hold.

        Raises:
            OrderLockedError, OrderPaidError: money was seen; an order on hold is for ``resolve_hold``.
        """

        def compute(order: Order) -> Order:
            if order.status is OrderStatus.CANCELLED:
                return order
            _require_open(order)
            return cancel(order, self._clock(), actor="shop")

        return self._ledger.change(order_id, compute)

    def resolve_hold(self, order_id: str, *, is_accepted: bool, actor: str, note: str = "") -> Order:
        """Let a person end a hold: accept the money as payment, or cancel the order.

        Raises:
            OrderNotOnHoldError: there is nothing to resolve.
        """

        def compute(order: Order) -> Order:
            if order.status is not OrderStatus.ON_HOLD:
                raise OrderNotOnHoldError(order_id, f"it is {order.status}, not on hold")
            decide = accept if is_accepted else cancel
            return decide(order, self._clock(), actor=actor, note=note)

        return self._ledger.change(order_id, compute)

    def reconcile(self, *, limit: int = 100) -> ReconcileReport:
        """Finish what nobody finished: read the orders that are due and hand out their events.

        Takes at most ``limit`` orders, longest overdue first. Several may run at once: each reads more than it takes
        and shuffles, so that they do not fight over the head, and claims keep them apart. One order's failure never
        stops the rest.
        """
        orders = self._ledger.due(self._clock(), limit * 4)
        self._shuffle(orders)
        report = ReconcileReport()
        for order in orders[:limit]:
            report = self._attend(order, report)
        return report

    def _attend(self, order: Order, report: ReconcileReport) -> ReconcileReport:
        report = replace(report, orders=report.orders + 1)
        try:
            is_read = self._read_if_due(order)
            events = self.dispatch(order.order_id)
        except StoreError as error:
            logger.warning("order %r could not be finished: %s", order.order_id, error)
            return replace(report, failures=report.failures + 1)
        return replace(report, events=report.events + events, failures=report.failures + (not is_read))

    def _read_if_due(self, order: Order) -> bool:
        """Read the gateway if it is time; False if it failed, which keeps no event from its handlers."""
        try:
            if order.due_check_at and order.due_check_at <= self._clock():
                self.sync(order.order_id)
        except GatewayError as error:
            logger.warning("order %r could not be read: %s", order.order_id, error)
            return False
        return True

    def _make_invoice(self, order_id: str, method: PaymentMethod) -> Order:
        now = self._clock()
        ref = self._make_token()
        intended = self._ledger.change(order_id, lambda order: self._with_intent(order, method, ref, now))
        if intended.intent is None or intended.intent.ref != ref:
            return self._complete(intended)
        try:
            invoice_id = self._gateway.create_invoice(
                amount=intended.intent.amount,
                method_id=method.method_id,
                description=f"{intended.description or intended.order_id} [{ref}]",
            )
            self._ledger.change(order_id, lambda order: self._with_new_invoice(order, invoice_id, ref))
        except RefTakenError as error:
            self._abandon(order_id, ref)
            raise MalformedAnswerError("create_invoice", detail="the gateway gave an id that is in use") from error
        except GatewayError:
            self._abandon(order_id, ref)
            raise
        return self._complete(self._ledger.get(order_id))

    def _complete(self, order: Order) -> Order:
        """T2: have the address of the current invoice asked for, if it is missing; a poll tries again if this fails."""
        invoice = order.current_invoice
        if invoice is None or invoice.address:
            return order
        try:
            settled = self.sync(order.order_id)
        except GatewayError as error:
            logger.warning("order %r: invoice %s has no address yet: %s", order.order_id, invoice.invoice_id, error)
            return self._ledger.get(order.order_id)
        if settled.current_invoice is None and settled.status is OrderStatus.NEW:
            raise MethodNotOfferedError(order.order_id, f"the gateway gives no address for {invoice.method.name!r:.80}")
        return settled

    def _with_intent(self, order: Order, method: PaymentMethod, ref: str, now: datetime) -> Order:
        _require_open(order)
        if order.intent and order.intent.expires_at > now:
            return order
        order = abandon_intent(order, now, self._policy)
        live = next((record for record in order.invoices if self._is_live(record, order, method, now)), None)
        if live is not None:
            is_current = live.invoice_id == order.current_invoice_id
            return order if is_current else reuse_invoice(order, live.invoice_id, now, self._policy)
        if len(order.invoices) >= MAX_INVOICES:
            raise TooManyInvoicesError(order.order_id, f"it has used up its {MAX_INVOICES} invoices")
        expires_at = now + timedelta(seconds=_INTENT_SECONDS)
        return record_intent(order, Intent(ref=ref, method=method, amount=order.amount, expires_at=expires_at), now)

    def _is_live(self, record: InvoiceRecord, order: Order, method: PaymentMethod, now: datetime) -> bool:
        """Whether an invoice can still be paid as the order stands, so that no second one is made for its method."""
        if record.method.method_id != method.method_id or record.amount != order.amount:
            return False
        if record.expires_at is not None and record.expires_at <= now:
            return False
        verdict = judge(record, order_amount=order.amount, now=now, policy=self._policy)
        return verdict.status in (OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT)

    def _with_new_invoice(self, order: Order, invoice_id: str, ref: str) -> Order:
        if order.intent is None or order.intent.ref != ref:
            # The intent was overtaken (it expired, or the amount changed): the invoice is an orphan that nobody can
            # pay, because nobody will ever be shown its address.
            logger.info("order %r: invoice %s came too late and is left alone", order.order_id, invoice_id)
            return order
        if any(record.invoice_id == invoice_id for record in order.invoices):
            raise RefTakenError(f"invoice {invoice_id!r} is an older one of this order")
        return record_invoice(order, invoice_id, self._clock())

    def _abandon(self, order_id: str, ref: str) -> None:
        def compute(order: Order) -> Order:
            is_ours = order.intent is not None and order.intent.ref == ref
            return abandon_intent(order, self._clock(), self._policy) if is_ours else order

        self._ledger.change(order_id, compute)

    def _quote_again(self, order: Order, record: InvoiceRecord) -> Order:
        try:
            deposit = self._gateway.get_deposit_address(record.invoice_id, record.method.method_id)
        except GatewayRefusedError as error:
            logger.info("order %r: no new price for invoice %s: %s", order.order_id, record.invoice_id, error)
            return order

        def compute(order: Order) -> Order:
            now = self._clock()
            return settle(pin_address(order, record.invoice_id, deposit, now), (), now, self._policy)

        return self._ledger.change(order.order_id, compute)


def _require_open(order: Order) -> None:
    """Refuse what may only be done before money was seen. A transfer that failed is none, so dust blocks nobody."""
    if order.status is OrderStatus.PAID:
        raise OrderPaidError(order.order_id, "it is paid")
    if order.status is OrderStatus.CANCELLED:
        raise OrderCancelledError(order.order_id, "it was cancelled")
    if order.status in (OrderStatus.CONFIRMING, OrderStatus.ON_HOLD):
        raise OrderLockedError(order.order_id, "money was seen for it")


def _valid_id(order_id: str) -> str:
    if not isinstance(order_id, str) or not 1 <= len(order_id) <= 64 or not order_id.isprintable():
        raise InvalidOrderError(str(order_id)[:64], "an order id is 1 to 64 printable characters")
    return order_id


def _valid_currency(order_id: str, currency: str) -> str:
    if currency != "USD":
        raise InvalidOrderError(order_id, f"the gateway's API takes USD only, not {currency!r:.20}; convert it first")
    return currency


def _valid_text(order_id: str, text: str) -> str:
    if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable():
        raise InvalidOrderError(order_id, f"a description is at most {_MAX_TEXT} printable characters")
    return text


def _valid_metadata(order_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(metadata, Mapping) or not all(_is_text(item) for pair in metadata.items() for item in pair):
        raise InvalidOrderError(order_id, "metadata maps strings to strings")
    return dict(metadata)


def _is_text(value: object) -> bool:
    # A lone surrogate is a str that no database takes.
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)
