"""What was seen of orders so far, and the promises that hold between then, now and the truth."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sequences import BAD
from truths import Truth

from flask_iterapay.orders.models import EventName, EventState, HistoryEntry, Order, OrderStatus, Policy

__all__ = ["LONGEST_PAUSE", "BrokenPromiseError", "Logbook", "demand"]

LONGEST_PAUSE = timedelta(hours=6)
_TOLD = {
    OrderStatus.CONFIRMING: EventName.CONFIRMING,
    OrderStatus.PAID: EventName.PAID,
    OrderStatus.ON_HOLD: EventName.ON_HOLD,
    OrderStatus.EXPIRED: EventName.EXPIRED,
    OrderStatus.CANCELLED: EventName.CANCELLED,
}


class BrokenPromiseError(AssertionError):
    """An order is not as it was promised; the message says how."""


@dataclass(slots=True)
class Logbook:
    """What was seen of the orders so far, and the rules that hold between then and now."""

    truth: Truth
    policy: Policy
    orders: dict[str, Order] = field(default_factory=dict)
    pressed: set[tuple[str, str, datetime]] = field(default_factory=set)
    dealt_with: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)

    def look(self, order: Order, now: datetime) -> None:
        """Hold an order against what was seen of it last, and remember it."""
        before = self.orders.get(order.order_id, order)
        self._compare(before, order)
        _check_books(order)
        for entry in order.history[len(before.history) :]:
            self._check_decision(order, entry)
        self._check_invoices(order, now)
        self._check_due(order, now)
        self.orders[order.order_id] = order

    def _compare(self, before: Order, order: Order) -> None:
        keys = [event.key for event in order.events]
        demand(keys[: len(before.events)] == [event.key for event in before.events], "an update was lost: events")
        demand(order.history[: len(before.history)] == before.history, "an update was lost: history")
        demand(order.version > before.version or order == before, "an update was lost: a version twice")
        if before.status is OrderStatus.PAID:
            demand(order.status is OrderStatus.PAID, "paid was taken back")

    def _check_decision(self, order: Order, entry: HistoryEntry) -> None:
        """Paid is by the gateway's word or a person's, and cancelled by a person's or the shop's."""
        pressed = {deed for order_id, deed, at in self.pressed if (order_id, at) == (order.order_id, entry.at)}
        if entry.status is OrderStatus.PAID and not (entry.actor == "ann" and "accept" in pressed):
            demand(self.truth.is_payable(order, self.policy), "paid without the gateway's word")
        if entry.status is OrderStatus.CANCELLED:
            demand(bool(pressed & {"cancel", "reject"}), "cancelled by nobody")
            known = self.dealt_with.get(order.order_id, frozenset())
            self.dealt_with[order.order_id] = known | _known_money(order)

    def _check_invoices(self, order: Order, now: datetime) -> None:
        known = {record.invoice_id for record in order.invoices}
        for invoice in self.truth.list_invoices(order.order_id):
            demand(
                not invoice.addresses or invoice.invoice_id in known, "there is an address that the order does not know"
            )
        untouched = [
            item for item in self.truth.list_payable(order.order_id, now) if item.invoice_id not in self.touched
        ]
        choices = Counter((invoice.method_id, invoice.amount) for invoice in untouched)
        demand(max(choices.values(), default=1) == 1, "two invoices can be paid for one choice")

    def _check_due(self, order: Order, now: datetime) -> None:
        has_open_events = any(event.state is EventState.OPEN for event in order.events)
        is_watched = order.invoices and now - order.changed_at < timedelta(seconds=self.policy.watch_seconds)
        if has_open_events or is_watched or order.intent or order.claim:
            demand(
                order.due_at is not None and order.due_at <= now + LONGEST_PAUSE,
                "something is left to do, not due in time",
            )

    def conclude(self, order: Order, heard: Counter[str]) -> None:
        """Hold an order against the truth, after all trouble has ended and time has passed."""
        status = order.status
        demand(order.claim is None and order.intent is None, "a claim or an intent outlived its holder")
        demand(all(event.state is EventState.DONE for event in order.events), "an event was not handed out")
        demand(all(heard[event.key] for event in order.events), "a handler did not hear of an event")
        if status is OrderStatus.PAID:
            return
        if status is OrderStatus.CANCELLED:
            is_dealt_with = self.truth.find_money(order) <= self.dealt_with.get(order.order_id, frozenset())
            demand(is_dealt_with, "the gateway has money for a cancelled order")
        elif order.hold_reason and order.hold_reason.needs_person:
            demand(self.truth.has_transfers(order), "the gateway knows of no money, and a person is called")
        elif self.truth.is_payable(order, self.policy):
            demand(False, f"the gateway says paid, the order {status}")
        elif self.truth.has_money(order) or self.truth.is_unclear(order):
            demand(
                status is OrderStatus.ON_HOLD or status is OrderStatus.CONFIRMING, f"the gateway has money, {status}"
            )
        else:
            demand(status in (OrderStatus.NEW, OrderStatus.EXPIRED), f"the gateway has no money, the order is {status}")


def demand(is_kept: bool, promise: str) -> None:
    """Raise ``BrokenPromiseError`` unless the promise is kept."""
    if not is_kept:
        raise BrokenPromiseError(promise)


def _known_money(order: Order) -> frozenset[tuple[str, str]]:
    return frozenset(
        (record.invoice_id, transfer.transaction_id)
        for record in order.invoices
        for transfer in (record.snapshot.transactions or () if record.snapshot else ())
        if transfer.spelling not in BAD
    )


def _check_books(order: Order) -> None:
    """An event and the change that caused it are one save."""
    paid = [event.key for event in order.events if event.name is EventName.PAID]
    demand(paid in ([], [f"order.paid:{order.order_id}"]), "paid twice, or under another key")
    demand(bool(paid) == (order.status is OrderStatus.PAID), "a change without its event, or the other way round")
    told = {(event.name, event.occurred_at) for event in order.events}
    for before, entry in itertools.pairwise(order.history):
        if entry.status is not before.status and entry.status in _TOLD:
            demand((_TOLD[entry.status], entry.at) in told, "a change without its event")
