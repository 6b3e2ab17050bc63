"""Orders in a store: read, compute, save, and read again when somebody else was faster.

This is the one mechanism that makes concurrent changes safe. Everything that changes an order
goes through ``change`` or ``save``; both compare the version that was read with the one that is stored.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from ..errors import OrderNotFoundError, StoreUnavailableError, UnreadableRecordError
from .codec import format_order, parse_order
from .models import Order, OrderStatus
from .stores.base import OrderStore, Record

__all__ = ["Ledger"]

_ATTEMPTS = 50
_PAGE_LIMIT = 100

logger = logging.getLogger("flask_iterapay")


class Ledger:
    """The shop's orders, kept as versioned records in any ``OrderStore``.

    ``prefix`` begins their keys. The sandbox has one of its own, so that play money never pays an order of the live
    shop, whatever database the two share.
    """

    def __init__(self, *, store: OrderStore, prefix: str = "order:") -> None:
        self._store = store
        self._prefix = prefix

    def get(self, order_id: str) -> Order:
        """Read an order.

        Raises:
            OrderNotFoundError: there is none.
            StoreError: the store failed.
        """
        record = self._store.get(self._prefix + order_id)
        if record is None:
            raise OrderNotFoundError(order_id, "there is no such order")
        return _order(record)

    def get_by_invoice(self, invoice_id: str) -> Order | None:
        """Read the order that owns an invoice, if it is one of ours."""
        record = self._store.get_by_ref(invoice_id)
        return None if record is None or not record.key.startswith(self._prefix) else _order(record)

    def add(self, order: Order) -> Order:
        """Write a new order; ``RecordExistsError`` if its id is in use."""
        order = replace(order, version=1)
        self._store.add(self._record(order))
        return order

    def save(self, order: Order) -> Order | None:
        """Write an order if nobody has since it was read; ``None`` if somebody was faster."""
        saved = replace(order, version=order.version + 1)
        return saved if self._store.save(self._record(saved), expected_version=order.version) else None

    def change(self, order_id: str, compute: Callable[[Order], Order]) -> Order:
        """Apply ``compute`` to the newest order and save the result; compute again on every lost race.

        ``compute`` must be free of side effects. If its result equals the order nothing is written. What it raises
        passes through.

        Raises:
            StoreUnavailableError: every one of the bounded attempts lost its race.
        """
        for _ in range(_ATTEMPTS):
            order = self.get(order_id)
            changed = compute(order)
            if changed == order:
                return order
            saved = self.save(changed)
            if saved is not None:
                return saved
        raise StoreUnavailableError(f"order {order_id!r} changed under each of {_ATTEMPTS} attempts to save it")

    def due(self, now: datetime, limit: int) -> list[Order]:
        """The orders whose time has come, longest overdue first; what cannot be read is logged and left out.

        Neither such records nor those of another ledger in the same store keep an order from its turn.
        """
        window = limit
        while True:
            records = self._store.due(now, window)
            own = [record for record in records if record.key.startswith(self._prefix)]
            orders = [order for record in own if (order := _readable_order(record))]
            if len(orders) >= limit or len(records) < window:
                return orders[:limit]
            window *= 4

    def iterate(self, *, status: OrderStatus | None = None) -> Iterator[Order]:
        """Go through the orders, newest first, a page at a time; what cannot be read is logged and left out."""
        before: Record | None = None
        while records := self._store.search(self._prefix, status=status, before=before, limit=_PAGE_LIMIT):
            yield from (order for record in records if (order := _readable_order(record)))
            before = records[-1]

    def _record(self, order: Order) -> Record:
        return Record(
            key=self._prefix + order.order_id,
            version=order.version,
            due_at=order.due_at,
            refs=tuple(record.invoice_id for record in order.invoices),
            status=order.status,
            created_at=order.created_at,
            body=format_order(order),
        )


def _order(record: Record) -> Order:
    try:
        return parse_order(record.body, version=record.version)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise UnreadableRecordError(f"{record.key}: {error}") from error


def _readable_order(record: Record) -> Order | None:
    try:
        return _order(record)
    except UnreadableRecordError:
        # One damaged record must not keep the rest from being finished.
        logger.exception("%s cannot be read and is left alone", record.key)
        return None
