"""Every sequence of readings and decisions, and any order at all: no rule about money is ever broken."""

from dataclasses import replace

import broken_settles
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs
from sequence_walks import CoarseSightError, Violation, see, walk, walk_each
from sequences import LETTERS, Memory
from strategies import orders, policies, snapshots, times

from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import OrderStatus, Policy

pytestmark = pytest.mark.harness

POLICIES = pytest.mark.parametrize(
    "policy", [Policy(), Policy(is_aml_required=False)], ids=["require", "unless_failed"]
)
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
    (broken_settles.tell_nobody, "money failed after it had paid, and nobody was told"),
    (broken_settles.keep_failures_quiet, "money failed after it had paid, and nobody was told"),
    (broken_settles.keep_second_payments_quiet, "a second invoice was paid, and nobody was told"),
    (broken_settles.tell_anomalies_again, "an anomaly was told twice"),
]


def without_records(**fields):
    """Looks at an order, but not at these fields of its invoices, nor at what the walker remembers."""

    def look(situation, now, policy):
        order = situation.order
        blank = structs.replace(order, invoices=tuple(structs.replace(record, **fields) for record in order.invoices))
        return see(replace(situation, order=blank, memory=Memory()), now, policy)

    return look


def without_order(**fields):
    """Looks at an order, but not at these of its fields."""
    return lambda situation, now, policy: see(
        replace(situation, order=structs.replace(situation.order, **fields)), now, policy
    )


A_FEW_NAMES = (
    "nothing",
    "open",
    "open, seen",
    "open, blind",
    "paid",
    "paid, AML unknown",
    "paid, AML failed",
    "other one seen",
    "other one expired",
    "other one paid",
    "a person cancels",
)
A_FEW = tuple(letter for letter in LETTERS if letter.name in A_FEW_NAMES)
COARSE = {
    "snapshot": without_records(snapshot=None),
    "had_money": without_records(had_money=False),
    "unclear_since": without_records(unclear_since=None),
    "dismissed": without_records(dismissed=frozenset()),
    "status": without_order(status=OrderStatus.NEW),
    "anomalies": without_order(anomalies=()),
    "time": lambda situation, now, policy: see(situation, situation.order.created_at, policy),
}


class TestEverySequence:
    @POLICIES
    def test_no_sequence_of_readings_and_decisions_breaks_a_rule(self, policy, scale, note_figure):
        """Nothing pays twice, is lost or taken back, whatever the gateway says in whatever order."""
        length = scale(3, 7)
        walked = walk(settle, length=length, policy=policy)
        assert walked.sequences > 33**length
        figure = f"{walked.sequences:,} of up to {length} steps, as {len(walked.sights):,} situations, 0 violations"
        note_figure(f"sequences of snapshots (AML {'require' if policy.is_aml_required else 'unless_failed'})", figure)

    @pytest.mark.parametrize(("broken", "rule"), BROKEN, ids=[broken.__name__ for broken, _ in BROKEN])
    def test_a_broken_settle_is_caught(self, broken, rule):
        """The rules bite: each of these mistakes is found within three readings."""
        with pytest.raises(Violation, match=rule):
            walk(broken, length=3, policy=Policy())


class TestMerging:
    def test_merged_sequences_are_all_sequences(self, scale):
        """Merged or one by one, the sequences are as many and see the same; what looks alike goes on alike."""
        length = scale(3, 4)
        assert walk_each(settle, length=length, policy=Policy()) == walk(settle, length=length, policy=Policy())

    @pytest.mark.parametrize("sight", COARSE.values(), ids=COARSE)
    def test_a_merge_that_overlooks_something_is_noticed(self, sight):
        """Whatever the merge leaves out that matters, two sequences give it away."""
        with pytest.raises(CoarseSightError):
            walk_each(settle, length=4, policy=Policy(), sight=sight, letters=A_FEW)


class TestAnyOrder:
    @given(orders(), st.lists(snapshots, max_size=3), times, policies)
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def test_every_order_and_snapshot_has_an_answer(self, order, found, now, policy):
        """Whatever is stored and whatever comes, settling neither raises nor depends on being done once."""
        settled = settle(order, found, now, policy)
        assert settle(settled, found, now, policy) == settled
        assert settled.events[: len(order.events)] == order.events
        assert order.status is not OrderStatus.PAID or settled.status is OrderStatus.PAID
