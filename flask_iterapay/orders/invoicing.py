"""Making an order's invoice: when, for which choice, and with which address.

``creation`` makes it, up to its id's being saved (T1); only then, in T2, is the address asked for.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import (
    GatewayError,
    GatewayRefusedError,
    MethodNotOfferedError,
    NotFoundError,
    OrderLockedError,
    TooManyInvoicesError,
)
from ..gateway.models import InvoiceType, PaymentMethod
from .creation import InvoiceCreator, make_intent
from .gateway import Gateway
from .ledger import Ledger
from .lifecycle import (
    abandon_intent,
    pin_address,
    record_intent,
    record_invoice,
    require_open,
    reuse_invoice,
    settle,
)
from .models import MAX_INVOICES, Clock, InvoiceRecord, Order, OrderStatus, Policy
from .reading import OrderReading
from .sync import Synchronizer
from .verdict import judge

__all__ = ["InvoiceMaker"]

logger = logging.getLogger("flask_iterapay")


class InvoiceMaker:
    """Makes the invoices of orders, and renews their prices.

    ``make_token`` returns a fresh random string for the ``ref`` that an invoice's description carries; ``methods`` is
    the shop's allow-list of payment method ids, or ``None`` for all.
    """

    def __init__(
        self,
        *,
        ledger: Ledger[Order],
        gateway: Gateway,
        synchronizer: Synchronizer[Order, OrderReading],
        clock: Clock,
        policy: Policy,
        make_token: Callable[[], str],
        methods: tuple[str, ...] | None,
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._synchronizer = synchronizer
        self._clock = clock
        self._policy = policy
        self._methods = methods
        self._creator = InvoiceCreator(
            ledger=ledger,
            gateway=gateway,
            clock=clock,
            make_token=make_token,
            invoice_type=InvoiceType.ONETIME,
            record=record_invoice,
            abandon=lambda order, now: abandon_intent(order, now, policy),
        )

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
        method = self._find_offered(order_id, method_id)
        order = self._ledger.get(order_id)
        if order.current_invoice and self._is_live(order.current_invoice, order, method, self._clock()):
            return self._complete(order)
        order = self._read_again(order, method)
        require_open(order)
        if order.has_transfers:
            raise OrderLockedError(order_id, "a transfer was seen for it")
        return self._make_invoice(order, method)

    def renew(self, order_id: str) -> Order:
        """Get a new price for an order whose quote has run out; any other order is returned as it stands.

        The address is asked for again, since the gateway keeps it and quotes anew. Only if its expiry did not move
        is a new invoice made. Errors as ``choose_method``.
        """
        order = self._synchronizer.check(order_id)
        record = order.current_invoice
        # While the gateway cannot be read, nobody knows whether the customer has paid after all.
        if order.status is not OrderStatus.EXPIRED or record is None or order.unreachable_since:
            return order
        self._find_offered(order_id, str(record.method.method_id))
        order = self._quote_again(order, record)
        if order.status is not OrderStatus.EXPIRED:
            return order
        return self._make_invoice(order, record.method)

    def check(self, order_id: str) -> Order:
        """Bring an order up to date because its customer asks.

        An invoice whose making was cut short by a crash is made now. Gateway errors never escape:
        ``unreachable_since`` tells of them.

        Raises:
            MethodNotOfferedError, TooManyInvoicesError: the invoice cannot be made after all.
            StoreError: the store failed.
        """
        order = self._ledger.get(order_id)
        if order.is_locked or order.intent is None or order.intent.expires_at > self._clock():
            return self._synchronizer.check(order_id)
        try:
            return self._make_invoice(order, order.intent.method)
        except GatewayError as error:
            logger.warning("order %r: no invoice could be made: %s", order_id, error)
            return self._ledger.get(order_id)

    def _find_offered(self, order_id: str, method_id: str) -> PaymentMethod:
        method = next((m for m in self.offered_methods() if str(m.method_id) == method_id), None)
        if method is None:
            raise MethodNotOfferedError(order_id, f"payment method {method_id!r:.80} is not offered")
        return method

    def _read_again(self, order: Order, method: PaymentMethod) -> Order:
        """Read the gateway before the method changes, so that nobody who has just paid is asked to pay once more.

        Going to and fro between live invoices makes nothing new, and reads no more often than a page does.
        """
        now = self._clock()
        is_fresh = order.read_at and now < order.read_at + timedelta(seconds=self._policy.sync_seconds)
        if is_fresh and not order.unreachable_since and self._find_live(order, method, now):
            return order
        try:
            return self._synchronizer.sync(order.order_id)
        except NotFoundError:
            # The merchant deleted the current invoice at the gateway; another method is the way on.
            return self._ledger.get(order.order_id)

    def _make_invoice(self, order: Order, method: PaymentMethod) -> Order:
        created = self._creator.create(
            order.order_id,
            description=order.description,
            intend=lambda order, ref, now: self._with_intent(order, method, ref, now),
        )
        return self._complete(created)

    def _complete(self, order: Order) -> Order:
        """T2: have the address of the current invoice asked for, if it is missing; a poll tries again if this fails."""
        invoice = order.current_invoice
        if invoice is None or invoice.address:
            return order
        try:
            settled = self._synchronizer.sync(order.order_id)
        except GatewayError as error:
            logger.warning("order %r: invoice %s has no address yet: %s", order.order_id, invoice.invoice_id, error)
            return self._ledger.get(order.order_id)
        if settled.current_invoice is None and settled.status is OrderStatus.NEW:
            raise MethodNotOfferedError(order.order_id, f"the gateway gives no address for {invoice.method.name!r:.80}")
        return settled

    def _with_intent(self, order: Order, method: PaymentMethod, ref: str, now: datetime) -> Order:
        require_open(order)
        if order.intent and order.intent.expires_at > now:
            return order
        order = abandon_intent(order, now, self._policy)
        live = self._find_live(order, method, now)
        if live is not None:
            is_current = live.invoice_id == order.current_invoice_id
            return order if is_current else reuse_invoice(order, live.invoice_id, now, self._policy)
        if len(order.invoices) >= MAX_INVOICES:
            raise TooManyInvoicesError(order.order_id, f"it has used up its {MAX_INVOICES} invoices")
        return record_intent(order, make_intent(ref, method, order.amount, now), now)

    def _find_live(self, order: Order, method: PaymentMethod, now: datetime) -> InvoiceRecord | None:
        live = (record for record in order.invoices if self._is_live(record, order, method, now))
        return next((record for record in live if _is_there(record, order)), None)

    def _is_live(self, record: InvoiceRecord, order: Order, method: PaymentMethod, now: datetime) -> bool:
        """Whether an invoice can still be paid as the order stands, so that no second one is made for its method."""
        if record.method.method_id != method.method_id or record.amount != order.amount:
            return False
        if record.expires_at is not None and record.expires_at <= now:
            return False
        verdict = judge(record, order_amount=order.amount, now=now, policy=self._policy)
        return verdict.status in (OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT)

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


def _is_there(record: InvoiceRecord, order: Order) -> bool:
    """Whether the newest reading found the invoice: one that the merchant deleted must not be shown again."""
    if record.invoice_id == order.current_invoice_id:
        return True
    return record.snapshot is not None and record.snapshot.read_at == order.read_at
