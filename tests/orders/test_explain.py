"""What a person is told about an order, from what is stored."""

import pytest
from msgspec.structs import replace
from worlds import World, make_world

from flask_iterapay.orders.explain import explain
from flask_iterapay.orders.models import EventState, HoldReason, Order, OrderStatus, Policy


@pytest.fixture
def world(tmp_path):
    return make_world(tmp_path)


def lines(world: World, order: Order | None = None) -> list[str]:
    return list(explain(order or world.service.get("1042"), now=world.clock(), policy=Policy()))


def test_a_new_order_has_little_to_tell(world: World):
    """Placed, and nothing since."""
    world.place()
    assert lines(world) == [
        "Order 1042 over 25.00 USD is new, unpaid.",
        "That means: the customer has not chosen how to pay.",
        "What happened:",
        "  2026-01-15 10:30:00 UTC  new: placed, by shop",
        "What the gateway said last:",
        "  nothing, for there is no invoice",
        "What the shop was told:",
        "  nothing",
        "What comes next:",
        "  there is nothing to read at the gateway yet",
    ]


def test_a_held_order_is_told_step_by_step(world: World):
    """What came, what the gateway said about it, what the shop was told, and what a person can do."""
    order = world.choose()
    world.act("aml_fail", order)
    world.clock.advance(60)
    world.service.sync("1042")
    text = "\n".join(lines(world))
    assert text.startswith("Order 1042 over 25.00 USD is on_hold (aml_failed), exact.\nThat means: the money failed")
    assert "  2026-01-15 10:31:00 UTC  on_hold: invoice " in text
    assert f"  invoice {order.current_invoice_id} (current), 25.00 USD by USDT-TRC20\n" in text
    assert "    by itself it means: on_hold (aml_failed)\n" in text
    assert "    read 2026-01-15 10:31:00 UTC: state paid, AML failed\n" in text
    [transaction] = world.service.get("1042").current_invoice.snapshot.transactions
    assert f"transaction {transaction.transaction_id} (hash {transaction.tx_hash}): " in text
    assert "order.on_hold:1042:1 (aml_failed): open, attempts: 0, next 2026-01-15 10:31:00 UTC" in text
    assert "  the gateway is read again from 2026-01-15 10:32:00 UTC on\n" in text
    assert text.endswith("  a person may decide: flask iterapay resolve 1042 --accept (or --cancel) --note ...")


def test_who_decided_and_why_is_told(world: World):
    """A decision is a step like any other."""
    world.act("aml_fail", world.choose())
    world.service.sync("1042")
    world.service.resolve_hold("1042", is_accepted=True, actor="ana", note="checked by phone")
    assert "  2026-01-15 10:30:00 UTC  paid: accepted by a person, by ana (checked by phone)" in lines(world)
    assert not any("may decide" in line for line in lines(world))


def test_trouble_is_told(world: World):
    """A gateway that cannot be read, transactions that cannot be listed, handlers that gave up."""
    order = world.choose()
    world.choose(method_id="2")
    world.wire.fail("/transactions/list", status=403)
    world.act("pay_exact", order)
    world.service.sync("1042")
    world.service.dispatch("1042")
    world.wire.fail("GET /merchants")
    world.clock.advance(3 * 3600)
    paid = world.service.poll("1042")
    failed = replace(paid, events=tuple(replace(event, state=EventState.FAILED) for event in paid.events))
    text = "\n".join(lines(world, failed))
    assert "(superseded, still watched)" in text
    assert "its transactions could not be listed, so the invoice alone decides" in text
    assert "done by recorder" in text
    assert "  the gateway could not be read since 2026-01-15 13:30:00 UTC; it is tried again\n" in text
    assert "  handlers failed for good: flask iterapay retry 1042 --note ..." in text


@pytest.mark.parametrize("reason", list(HoldReason))
def test_every_hold_says_how_it_ends(world: World, reason):
    """By the gateway's word or by a person's, as the model has it."""
    order = replace(world.place(), status=OrderStatus.ON_HOLD, hold_reason=reason)
    assert lines(world, order)[1].endswith("a person decides.") is reason.needs_person


@pytest.mark.parametrize("status", [status for status in OrderStatus if status is not OrderStatus.ON_HOLD])
def test_every_status_has_a_meaning(world: World, status):
    """No status leaves a person with a word alone."""
    assert len(lines(world, replace(world.place(), status=status))[1]) > 20
