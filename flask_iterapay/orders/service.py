"""The use cases: what a shop, a customer and a person may do to an order.

Each is read, compute, save through the ledger, with the gateway called in between and never inside. What an order
becomes is decided in ``lifecycle``; this module only brings the pieces together.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

from ..errors import (
    InvalidOrderError,
    OrderCancelledError,
    OrderNotFoundError,
    OrderNotOnHoldError,
    RecordExistsError,
)
from ..money import parse_usd
from .dispatch import Dispatcher
from .entries import Entry
from .gateway import Gateway
from .invoicing import InvoiceMaker
from .ledger import Ledger
from .lifecycle import accept, cancel, change_amount, require_open
from .models import Clock, HistoryEntry, HoldReason, Order, OrderStatus, Policy
from .reading import OrderReader
from .reconcile import Duty, Reconciler
from .sync import Synchronizer
from .words import MAX_DESCRIPTION, MAX_NOTE, is_entry_id, is_line, is_text

__all__ = ["OrderService"]

logger = logging.getLogger("flask_iterapay")


class OrderService:
    """Everything that can be done to orders.

    ``methods`` is the shop's allow-list of payment method ids, or ``None`` for all; ``make_token`` returns a fresh
    random string, used for claims and for the ``ref`` that an invoice's description carries. What the parts do alone
    (``InvoiceMaker``, ``Synchronizer``, ``Dispatcher``, ``Reconciler``) is offered here under the same names.
    ``other_duties`` are what ``reconcile`` does besides orders, in the same store, and ``parallel_reads`` is for how
    many of all these it reads the gateway at once.
    """

    def __init__(
        self,
        *,
        ledger: Ledger[Order],
        gateway: Gateway,
        dispatcher: Dispatcher[Order],
        clock: Clock,
        policy: Policy,
        make_token: Callable[[], str],
        methods: tuple[str, ...] | None = None,
        shuffle: Callable[[list[Entry]], None] = random.shuffle,
        other_duties: Sequence[Duty] = (),
        parallel_reads: int = 1,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._policy = policy
        reader = OrderReader(gateway=gateway, clock=clock, policy=policy)
        synchronizer = Synchronizer(
            ledger=ledger,
            reader=reader,
            clock=clock,
            policy=policy,
            make_token=make_token,
            finish=dispatcher.close_unheard,
        )
        maker = InvoiceMaker(
            ledger=ledger,
            gateway=gateway,
            synchronizer=synchronizer,
            clock=clock,
            policy=policy,
            make_token=make_token,
            methods=methods,
        )
        duty = Duty(ledger=ledger, sync_if_due=synchronizer.sync_if_due, dispatch=dispatcher.dispatch)
        reconciler = Reconciler(
            store=ledger.store,
            duties=[duty, *other_duties],
            clock=clock,
            shuffle=shuffle,
            parallel_reads=parallel_reads,
        )
        self.get = ledger.get
        self.iterate = ledger.iterate
        self.offered_methods = maker.offered_methods
        self.choose_method = maker.choose_method
        self.renew = maker.renew
        self.check = maker.check
        self.sync = synchronizer.sync
        self.poll = synchronizer.poll
        self.dispatch = dispatcher.dispatch
        self._retry = dispatcher.retry
        self.find_overdue = reconciler.find_overdue
        self.reconcile = reconciler.reconcile

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
        require_open(order)
        return change_amount(order, amount, self._clock(), self._policy)

    def cancel(self, order_id: str) -> Order:
        """Cancel an order before money was seen. It stays watched, and money that comes later puts it on hold.

        Raises:
            OrderLockedError, OrderPaidError: money was seen; an order on hold is for ``resolve_hold``.
        """

        def compute(order: Order) -> Order:
            if order.status is OrderStatus.CANCELLED:
                return order
            require_open(order)
            return cancel(order, self._clock(), actor="shop")

        return self._ledger.change(order_id, compute)

    def resolve_hold(
        self, order_id: str, *, is_accepted: bool, actor: str, note: str = "", reason: HoldReason | None = None
    ) -> Order:
        """Let a person decide about the money on an order: accept it as payment, or cancel the order.

        The order is on hold, or it waits for money to be confirmed that may never be. With ``reason`` the decision is
        about that hold alone, should another one have taken its place in the meantime.

        Raises:
            OrderNotOnHoldError: there is nothing to resolve, or not for this reason.
            InvalidOrderError: ``actor`` or ``note`` is not printable text of at most 1,000 characters.
        """

        def compute(order: Order) -> Order:
            if order.status not in (OrderStatus.ON_HOLD, OrderStatus.CONFIRMING):
                raise OrderNotOnHoldError(order_id, f"it is {order.status}, not on hold")
            if reason is not None and order.hold_reason is not reason:
                raise OrderNotOnHoldError(order_id, f"it is not on hold for {reason}, but {_describe(order)}")
            decide = accept if is_accepted else cancel
            return decide(order, self._clock(), actor=actor, note=note)

        _check_words(order_id, actor, note)
        return self._ledger.change(order_id, compute)

    def retry(self, order_id: str, *, actor: str, note: str = "") -> Order:
        """Make the events due again that failed for good or wait for another try; see ``Dispatcher.retry``."""
        _check_words(order_id, actor, note)
        return self._retry(order_id, actor=actor, note=note)

    def receive_hint(self, invoice_id: str) -> Order | None:
        """Act on an authentic webhook that names an invoice; ``None`` if the invoice is not an order's.

        A hint always leads to a read, unless the order is paid and was read a moment ago. Errors as ``sync``.
        """
        order = self._ledger.get_by_invoice(invoice_id)
        if order is None:
            return None
        if order.status is OrderStatus.PAID and order.read_at and not order.unreachable_since:
            fresh_until = order.read_at + timedelta(seconds=self._policy.sync_seconds)
            if self._clock() < fresh_until:
                return order
        return self.sync(order.order_id, is_hinted=True, known=order)


def _describe(order: Order) -> str:
    return f"on hold for {order.hold_reason}" if order.hold_reason else str(order.status)


def _valid_id(order_id: str) -> str:
    if not is_entry_id(order_id):
        raise InvalidOrderError(str(order_id)[:64], "an order id is 1 to 64 printable characters")
    return order_id


def _valid_currency(order_id: str, currency: str) -> str:
    if currency != "USD":
        raise InvalidOrderError(order_id, f"the gateway's API takes USD only, not {currency!r:.20}; convert it first")
    return currency


def _valid_text(order_id: str, text: str) -> str:
    if not is_line(text, MAX_DESCRIPTION):
        raise InvalidOrderError(order_id, f"a description is at most {MAX_DESCRIPTION} printable characters")
    return text


def _check_words(order_id: str, *words: str) -> None:
    if not all(is_line(text, MAX_NOTE) for text in words):
        raise InvalidOrderError(order_id, f"actor and note are at most {MAX_NOTE} printable characters")


def _valid_metadata(order_id: str, metadata: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(metadata, Mapping) or not all(is_text(item) for pair in metadata.items() for item in pair):
        raise InvalidOrderError(order_id, "metadata maps strings to strings")
    return dict(metadata)
