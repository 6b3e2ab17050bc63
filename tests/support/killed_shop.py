"""An order's life in a shop that dies by SIGKILL: how it is paid, and what must have come of it in the end."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field

from knives import Knife
from mortals import ROUND_SECONDS, ROUNDS, Life, MortalShop

from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventState, Order, OrderStatus, Policy
from flask_iterapay.orders.service import OrderService
from flask_iterapay.sandbox.engine import Action, ActionRefusedError

__all__ = ["COURSES", "Course", "KilledShop", "OrderLife", "find_wrongs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How an order is paid: the customer's and the gateway's actions, and the statuses and events that must follow."""

    actions: tuple[Action, ...]
    statuses: tuple[OrderStatus, ...]
    event_keys: tuple[str, ...]


COURSES = {
    "exact": Course(actions=(Action.PAY_EXACT,), statuses=(OrderStatus.PAID,), event_keys=("order.paid:{id}",)),
    "pending": Course(
        actions=(Action.PAY_PENDING, Action.SETTLE),
        statuses=(OrderStatus.CONFIRMING, OrderStatus.PAID),
        event_keys=("order.confirming:{id}:1", "order.paid:{id}"),
    ),
    "two parts": Course(
        actions=(Action.PAY_SHORT, Action.PAY_SECOND_HALF),
        statuses=(OrderStatus.ON_HOLD, OrderStatus.PAID),
        event_keys=("order.on_hold:{id}:1", "order.released:{id}:2", "order.paid:{id}"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLife(Life):
    """One process's part in an order, and how that is paid."""

    order_id: str = "1042"
    course: str = "exact"

    def open(self, knife: Knife) -> "KilledShop":
        """Open the shop as a process that has just started sees it."""
        return KilledShop(self, knife)


@dataclass(slots=True)
class KilledShop(MortalShop):
    """The shop of one order."""

    life: OrderLife
    service: OrderService = field(init=False)

    def open_service(self) -> None:
        """Wire up the orders."""
        ledger = Ledger(store=self.make_store(), model=Order)
        self.service = OrderService(
            ledger=ledger,
            gateway=self.make_client(),
            dispatcher=self.make_dispatcher(ledger),
            clock=self.clock,
            policy=Policy(),
            make_token=lambda: secrets.token_hex(8),
        )

    def carry_on(self) -> None:
        """Do what customer, gateway and cron do until the order is finished, from wherever it was left."""
        for _ in range(ROUNDS):
            order = self.service.place(self.life.order_id, amount="25.00")
            if _is_finished(order):
                return
            if order.status is OrderStatus.NEW:
                order = self.service.choose_method(order.order_id, "1")
            self._act(order)
            self._bring_news(order)
            self.clock.advance(ROUND_SECONDS)
        raise AssertionError(f"not finished after {ROUNDS} rounds: {order}")

    def _act(self, order: Order) -> None:
        """Take the next step of the course, unless it was taken before a death."""
        course = COURSES[self.life.course]
        stages = dict(zip((OrderStatus.AWAITING_PAYMENT, *course.statuses), course.actions, strict=False))
        action = stages.get(order.status)
        has_begun = any(invoice.transactions for invoice in self.gateway.store.list_invoices())
        if action is None or (has_begun and action is course.actions[0]):
            return
        with suppress(ActionRefusedError):
            self.gateway.act(str(order.current_invoice_id), action)

    def _bring_news(self, order: Order) -> None:
        """Let the news come in one way; reconcile runs in any case, as cron would."""
        if self.life.news == "hint" and order.current_invoice_id:
            self.service.receive_hint(order.current_invoice_id)
            self.service.dispatch(order.order_id)
        if self.life.news == "poll":
            self.service.poll(order.order_id)
            self.service.dispatch(order.order_id)
        self.service.reconcile()


def _is_finished(order: Order) -> bool:
    return order.status is OrderStatus.PAID and all(item.state is EventState.DONE for item in order.events)


def find_wrongs(shop: KilledShop, *, deaths: int) -> list[str]:
    """Compare a finished order with the gateway's books and with what the handler was told."""
    life, course = shop.life, COURSES[shop.life.course]
    order, invoices, heard = shop.service.get(life.order_id), shop.gateway.store.list_invoices(), shop.heard()
    statuses = [entry.status for entry in order.history]
    course_begins = len(statuses) - len(course.statuses) - 1
    keys = [key.format(id=life.order_id) for key in course.event_keys]
    payable = [invoice.invoice_id for invoice in invoices if invoice.addresses]
    rules = {
        "paid": order.status is OrderStatus.PAID,
        "no extra transition": statuses[course_begins:] == [OrderStatus.AWAITING_PAYMENT, *course.statuses]
        and set(statuses[:course_begins]) <= {OrderStatus.NEW, OrderStatus.PREPARING},
        "no anomaly": not order.anomalies,
        "each event saved once": [item.key for item in order.events] == keys,
        "each event heard": sorted(set(heard)) == sorted(keys),
        "repeats for deaths alone": len(heard) <= len(keys) + deaths,
        "one payable invoice": payable == [order.paid_invoice_id],
        "invoices for deaths alone": len(invoices) <= 1 + deaths,
    }
    return [rule for rule, is_kept in rules.items() if not is_kept]
