"""Every webhook is dropped and nobody looks at a page: ``flask iterapay reconcile`` alone brings each order right."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flawed_stores import NeverDue
from shops import Shop

from flask_iterapay import IteraPay
from flask_iterapay.orders.models import HoldReason, OrderStatus
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.engine import Action

pytestmark = pytest.mark.harness

_PACE_SECONDS = 600
# The last action comes after two hours, and a paid order is looked at once in two hours.
_END_SECONDS = 3 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to pay, or not to: what happens how many seconds after the method was chosen, and what must come of it."""

    name: str
    actions: tuple[tuple[int, Action], ...] = ()
    status: OrderStatus = OrderStatus.PAID
    hold_reason: HoldReason | None = None


def held(name: str, reason: HoldReason, *actions: tuple[int, Action]) -> Way:
    """A way that ends with money waiting."""
    return Way(name=name, actions=actions, status=OrderStatus.ON_HOLD, hold_reason=reason)


def ended(name: str, status: OrderStatus, *actions: tuple[int, Action]) -> Way:
    """A way that ends without a hold."""
    return Way(name=name, actions=actions, status=status)


PAID, EXPIRED, CONFIRMING = OrderStatus.PAID, OrderStatus.EXPIRED, OrderStatus.CONFIRMING
WAYS = (
    ended("exact", PAID, (60, Action.PAY_EXACT)),
    ended("over", PAID, (60, Action.PAY_OVER)),
    ended("in two parts", PAID, (60, Action.PAY_FIRST_HALF), (2400, Action.PAY_SECOND_HALF)),
    ended("step by step", PAID, (60, Action.PAY_PENDING), (1200, Action.CONFIRM), (3600, Action.SETTLE)),
    ended("after dust", PAID, (60, Action.PAY_DUST), (300, Action.PAY_EXACT)),
    ended("AML told after the hold", PAID, (60, Action.AML_UNKNOWN), (4800, Action.SETTLE)),
    ended("flagged once paid", PAID, (60, Action.PAY_EXACT), (3600, Action.FLAG)),
    ended("unknown for a while", PAID, (60, Action.UNKNOWN_STATE), (60, Action.PAY_EXACT), (7200, Action.RELEASE)),
    ended("pending for ever", CONFIRMING, (60, Action.PAY_PENDING)),
    ended("never paid", EXPIRED),
    ended("expired", EXPIRED, (900, Action.EXPIRE)),
    ended("failed", EXPIRED, (60, Action.PAY_PENDING), (1200, Action.FAIL)),
    held("short", HoldReason.UNDERPAID, (60, Action.PAY_SHORT)),
    held("late", HoldReason.LATE, (60, Action.PAY_LATE)),
    held("after expiry", HoldReason.LATE, (900, Action.EXPIRE), (7200, Action.RELEASE), (7200, Action.PAY_EXACT)),
    held("AML failed", HoldReason.AML_FAILED, (60, Action.AML_FAIL)),
    held("AML failed, then cleared", HoldReason.AML_FAILED, (60, Action.AML_FAIL), (3600, Action.SETTLE)),
    held("AML never told", HoldReason.AML_UNKNOWN, (60, Action.AML_UNKNOWN)),
    held("unknown state", HoldReason.UNKNOWN_STATE, (60, Action.UNKNOWN_STATE)),
    held("expired with money", HoldReason.EXPIRED_WITH_MONEY, (500, Action.PAY_EXACT), (500, Action.EXPIRE)),
)


@dataclass(slots=True)
class Purchase:
    """An order on its way."""

    order_id: str
    way: Way
    chosen_at: datetime
    actions_done: int = 0

    def act(self, shop: Shop) -> None:
        """Let everything happen whose time has come."""
        for after_seconds, action in self.way.actions[self.actions_done :]:
            if shop.clock() < self.chosen_at + timedelta(seconds=after_seconds):
                return
            shop.act(action, self.order_id)
            self.actions_done += 1


def open_shop(folder: Path, make_store: Callable[[OrderStore], OrderStore] = lambda store: store) -> Shop:
    """A shop whose sandbox drops every webhook, on a store of our choice."""
    store = make_store(SQLAlchemyStore(f"sqlite:///{folder / 'shop.sqlite3'}", create_tables=True))
    iterapay = IteraPay(store=store)
    shop = Shop(folder, iterapay=iterapay)
    for name in ("confirming", "paid", "on_hold", "released", "expired", "cancelled", "anomaly"):
        iterapay.on(f"order.{name}")(shop.hear)
    return shop


def reconcile(shop: Shop) -> None:
    """Run the command once, as cron does."""
    result = shop.app.test_cli_runner().invoke(args=["iterapay", "reconcile", "--limit", "1000"])
    assert result.exit_code == 0, result.output
    assert "0 failures" in result.output


def sell(shop: Shop, count: int, look_after: Callable[[Shop], object]) -> list[Purchase]:
    """Have orders placed and their methods chosen, then let hours pass; from time to time the shop is looked after."""
    purchases = [_choose(shop, number) for number in range(count)]
    for _ in range(_END_SECONDS // _PACE_SECONDS):
        shop.clock.advance(_PACE_SECONDS)
        for purchase in purchases:
            purchase.act(shop)
        look_after(shop)
    return purchases


def _choose(shop: Shop, number: int) -> Purchase:
    order_id = str(1000 + number)
    shop.choose(shop.place(order_id, amount=f"{10 + number}.{number % 100:02}"), str(1 + number % 5))
    return Purchase(order_id, WAYS[number % len(WAYS)], shop.clock())


def find_wrongs(shop: Shop, purchases: list[Purchase]) -> dict[str, str]:
    """Which orders ended otherwise than they must, or were told otherwise than saved, by id."""
    heard = Counter(event.key for event in shop.heard)
    wrongs = {}
    for purchase in purchases:
        order, way = shop.order(purchase.order_id), purchase.way
        if (order.status, order.hold_reason) != (way.status, way.hold_reason):
            wrongs[purchase.order_id] = f"{way.name}: {order.status} {order.hold_reason}"
        elif any(heard[event.key] != 1 for event in order.events):
            wrongs[purchase.order_id] = f"{way.name}: not every event was heard once"
        elif (f"order.paid:{purchase.order_id}" in heard) != (way.status is OrderStatus.PAID):
            wrongs[purchase.order_id] = f"{way.name}: the shop was told something else"
    return wrongs


def test_without_any_webhook_every_order_ends_right(tmp_path, scale, note_figure):
    """Only the command moves the orders, in every way to pay that the sandbox has."""
    shop = open_shop(tmp_path)
    purchases = sell(shop, count := scale(20, 200), reconcile)
    assert find_wrongs(shop, purchases) == {}
    note_figure("all webhooks dropped", f"{count} of {count} orders right by reconcile alone, {len(WAYS)} ways to pay")


def test_without_reconcile_every_order_ends_wrong(tmp_path):
    """Control: where nobody runs the command, nothing moves."""
    shop = open_shop(tmp_path)
    purchases = sell(shop, len(WAYS), lambda shop: None)
    assert len(find_wrongs(shop, purchases)) == len(WAYS)


def test_a_schedule_that_never_comes_round_ends_wrong(tmp_path):
    """Control: the command alone does nothing for orders that the store never calls due."""
    shop = open_shop(tmp_path, NeverDue)
    purchases = sell(shop, len(WAYS), reconcile)
    assert len(find_wrongs(shop, purchases)) == len(WAYS)
