"""Every sequence of readings and decisions, and any order at all: no rule about money is ever broken."""

import os

import broken_settles
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sequences import Violation, walk
from strategies import orders, policies, snapshots, times

from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import OrderStatus, Policy

LENGTH = int(os.environ.get("ITERAPAY_SEQUENCE_LENGTH", "3"))
BROKEN = [
    (broken_settles.merge_fields, "paid without the gateway's word"),
    (broken_settles.take_back, "paid was taken back"),
    (broken_settles.ignore_amount, "paid without the gateway's word"),
    (broken_settles.trust_transfers, "paid without the gateway's word"),
    (broken_settles.forget_order, "paid without the gateway's word"),
    (broken_settles.tell_twice, "paid twice"),
    (broken_settles.expire_with_money, "there is money, and the order does not know"),
    (broken_settles.forget_money, "there is money, and the order does not know"),
    (broken_settles.release, "a hold that needs a person released itself"),
    (broken_settles.lose_overpaid, "a payment was lost"),
    (broken_settles.write_each_time, "settled again, changed the order"),
    (broken_settles.drop_events, "an event or a part of the history was lost"),
]


class TestEverySequence:
    @pytest.mark.parametrize("is_aml_required", [True, False], ids=["require", "unless_failed"])
    def test_no_sequence_of_readings_and_decisions_breaks_a_rule(self, is_aml_required):
        """Nothing pays twice, is lost or taken back, whatever the gateway says in whatever order."""
        assert walk(settle, length=LENGTH, policy=Policy(is_aml_required=is_aml_required)) > 30**LENGTH

    @pytest.mark.parametrize(("broken", "rule"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
    def test_a_broken_settle_is_caught(self, broken, rule):
        """The rules bite: each of these mistakes is found within three readings."""
        with pytest.raises(Violation, match=rule):
            walk(broken, length=3, policy=Policy())


class TestAnyOrder:
    @given(orders(), st.lists(snapshots, max_size=3), times, policies)
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def test_every_order_and_snapshot_has_an_answer(self, order, found, now, policy):
        """Whatever is stored and whatever comes, settling neither raises nor depends on being done once."""
        settled = settle(order, found, now, policy)
        assert settle(settled, found, now, policy) == settled
        assert settled.events[: len(order.events)] == order.events
        assert order.status is not OrderStatus.PAID or settled.status is OrderStatus.PAID
