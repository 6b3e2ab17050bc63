"""What must hold after each step of a sequence, whatever the gateway said and whatever a person decided."""

from collections.abc import Iterator

from msgspec.structs import replace
from sequences import BAD, FINAL, Letter, Memory, Situation, make_start, transfers

from flask_iterapay.orders.lifecycle import cancel
from flask_iterapay.orders.models import Anomaly, EventName, Order, OrderStatus

__all__ = ["book_problems", "forget_older", "is_settled_for_good", "outcome", "status_problems"]

_WITHOUT_MONEY = {OrderStatus.NEW, OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT, OrderStatus.EXPIRED}


def book_problems(before: Order, after: Order) -> Iterator[str]:
    """The rules about events and history: nothing is lost, and nothing is told twice."""
    keys = [event.key for event in after.events]
    paid = [event.key for event in after.events if event.name is EventName.PAID]
    told = [event.reason for event in after.events if event.name is EventName.ANOMALY]
    if len(keys) != len(set(keys)):
        yield "two events have one key"
    if paid not in ([], [f"order.paid:{after.order_id}"]):
        yield "paid twice, or under another key"
    if len(told) != len(set(told)):
        yield "an anomaly was told twice"
    if after.events[: len(before.events)] != before.events or after.history[: len(before.history)] != before.history:
        yield "an event or a part of the history was lost"
    if (after.status is OrderStatus.PAID) != bool(paid):
        yield "status and events disagree about paid"


def status_problems(before: Situation, after: Situation, letter: Letter) -> Iterator[str]:
    """The rules about money: what may pay, what must, and what is never taken back."""
    was, status, memory = before.order.status, after.order.status, after.memory
    if was is OrderStatus.PAID and status is not OrderStatus.PAID:
        yield "paid was taken back"
    if status is OrderStatus.PAID and was is not status and not memory.is_accepted and not memory.payable:
        yield "paid without the gateway's word"
    if (
        memory.payable
        and status is not OrderStatus.PAID
        and not is_settled_for_good(before.order)
        and not letter.decide
    ):
        yield "a payment was lost"
    if status in _WITHOUT_MONEY and memory.with_money:
        yield "there is money, and the order does not know"
    if status is OrderStatus.CANCELLED and letter.decide is not cancel and was is not status:
        yield "cancelled by nobody"
    if status is OrderStatus.CANCELLED and transfers(memory.newest) - memory.dealt_with:
        yield "new money on a cancelled order went unnoticed"
    if _needs_person(before.order) and not letter.decide and not _needs_person(after.order):
        yield "a hold that needs a person released itself"
    if status is OrderStatus.PAID and not memory.is_accepted:
        yield from _anomaly_problems(after.order, memory)


def _anomaly_problems(order: Order, memory: Memory) -> Iterator[str]:
    snapshot = memory.newest.get(str(order.paid_invoice_id))
    listed = snapshot.transactions or () if snapshot else ()
    words = {transfer.spelling for transfer in listed}
    is_turned = any(
        transfer.spelling in BAD and (transfer.invoice_id, transfer.transaction_id) in memory.paid_with
        for transfer in listed
    )
    is_nothing_left = bool(words & BAD) and not words & FINAL
    if (is_turned or is_nothing_left) and Anomaly.FAILED_AFTER_PAID not in order.anomalies:
        yield "money failed after it had paid, and nobody was told"
    if memory.payable - {order.paid_invoice_id} and Anomaly.SECOND_INVOICE_PAID not in order.anomalies:
        yield "a second invoice was paid, and nobody was told"


def is_settled_for_good(order: Order) -> bool:
    """Whether what came before still counts: the documented exceptions from "the newest snapshots decide"."""
    return order.status in (OrderStatus.PAID, OrderStatus.CANCELLED) or _needs_person(order)


def _needs_person(order: Order) -> bool:
    return order.hold_reason is not None and order.hold_reason.needs_person


def forget_older(after: Situation) -> Order:
    """The order as if it had seen nothing but the newest snapshot of each invoice, and waited as long.

    Whether there was money before a reading that could not list transactions is remembered, and rightly so.
    """
    newest = after.memory.newest
    invoices = (replace(record, snapshot=newest.get(record.invoice_id)) for record in after.order.invoices)
    return replace(make_start(), invoices=tuple(invoices))


def outcome(order: Order) -> tuple[object, ...]:
    """What the newest snapshots must decide alone."""
    return order.status, order.hold_reason, order.settlement
