"""What becomes of a transaction: every state, in any order, read at any time, and what a person may decide."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from builders import at
from hypothesis import given, settings
from hypothesis import strategies as st
from link_builders import POLICIES, REQUIRE, UNLESS_FAILED, make_contribution, make_link, make_transfer
from msgspec.structs import replace

from flask_iterapay.gateway.models import Transaction, TransactionState
from flask_iterapay.links.lifecycle import begin, decide, settle, show_payment
from flask_iterapay.links.models import Contribution, ContributionAnomaly, ContributionStatus
from flask_iterapay.orders.entries import EventName
from flask_iterapay.orders.models import HoldReason, Policy

CONFIRMING, RECEIVED = ContributionStatus.CONFIRMING, ContributionStatus.RECEIVED
ON_HOLD, REFUSED = ContributionStatus.ON_HOLD, ContributionStatus.REFUSED
FAILED_AFTER = ContributionAnomaly.FAILED_AFTER_RECEIVED
SETTLED_AFTER = ContributionAnomaly.SETTLED_AFTER_REFUSED

# What each state means under each policy, at first and once it has lasted for as long as the merchant waits.
MEANINGS = {
    ("pending", "require"): ((CONFIRMING, None), (CONFIRMING, None)),
    ("pending", "unless_failed"): ((CONFIRMING, None), (CONFIRMING, None)),
    ("confirmed", "require"): ((CONFIRMING, None), (ON_HOLD, HoldReason.AML_UNKNOWN)),
    ("confirmed", "unless_failed"): ((RECEIVED, None), (RECEIVED, None)),
    ("settled", "require"): ((RECEIVED, None), (RECEIVED, None)),
    ("settled", "unless_failed"): ((RECEIVED, None), (RECEIVED, None)),
    ("flagged", "require"): ((ON_HOLD, HoldReason.AML_FAILED), (ON_HOLD, HoldReason.AML_FAILED)),
    ("flagged", "unless_failed"): ((ON_HOLD, HoldReason.AML_FAILED), (ON_HOLD, HoldReason.AML_FAILED)),
    ("failed", "require"): ((REFUSED, None), (REFUSED, None)),
    ("failed", "unless_failed"): ((REFUSED, None), (REFUSED, None)),
    ("half_past_nine", "require"): ((CONFIRMING, None), (ON_HOLD, HoldReason.UNKNOWN_STATE)),
    ("half_past_nine", "unless_failed"): ((CONFIRMING, None), (ON_HOLD, HoldReason.UNKNOWN_STATE)),
}
STATES = sorted({state for state, _ in MEANINGS})
UNCLEAR = {"require": {"confirmed", "half_past_nine"}, "unless_failed": {"half_past_nine"}}
COUNTING = {"require": {"settled"}, "unless_failed": {"settled", "confirmed"}}


def decided(*states: str, is_accepted: bool) -> Contribution:
    return decide(make_contribution(*states), at(120), is_accepted=is_accepted, actor="ann", note="")


def held(state: str) -> Contribution:
    contribution = make_contribution(state)
    return settle(contribution, make_transfer(state), at(120 + 1800), REQUIRE)


# Everything that a contribution may be when it is read again, and the time of its reading.
UNDECIDED = {
    "never seen": (begin(make_link(), make_transfer("pending"), at(120)), 120),
    "pending": (make_contribution("pending"), 120),
    "confirmed": (make_contribution("confirmed"), 120),
    "of unknown state": (make_contribution("half_past_nine"), 120),
    "held, AML unknown": (held("confirmed"), 1920),
    "held, unknown state": (held("half_past_nine"), 1920),
    "held, AML failed": (make_contribution("flagged"), 120),
    "failed": (make_contribution("failed"), 120),
}
DECIDED = {
    "settled": make_contribution("settled"),
    "accepted while pending": decided("pending", is_accepted=True),
    "refused while pending": decided("pending", is_accepted=False),
    "refused while flagged": decided("flagged", is_accepted=False),
}
EVERY_STATE = pytest.mark.parametrize("state", STATES)
EVERY_POLICY = pytest.mark.parametrize("policy", POLICIES)


class TestTable:
    def test_the_table_has_every_state(self):
        """A state that the gateway's words can become and that nobody thought of would be missing here."""
        assert {TransactionState.parse(state) for state in STATES} == set(TransactionState)

    @EVERY_STATE
    @EVERY_POLICY
    @pytest.mark.parametrize("before", UNDECIDED)
    def test_what_nobody_has_decided_is_what_the_state_means(self, before, state, policy):
        """Whatever it was before: at once, a second before patience ends, and when it does."""
        known, known_at = UNDECIDED[before]
        since = (known.unclear_since or at(known_at)) if state in UNCLEAR[policy] else at(known_at)
        first, last = MEANINGS[state, policy]
        for waited, expected in [(0, first), (1799, first), (1800, last), (90_000, last)]:
            read_at = since + timedelta(seconds=waited)
            if read_at < at(known_at):
                continue
            settled = settle(known, make_transfer(state), at(known_at), POLICIES[policy])
            settled = settle(settled, make_transfer(state), read_at, POLICIES[policy])
            assert (settled.status, settled.hold_reason) == expected, waited
            assert (settled.received_at is not None) is (settled.status is RECEIVED)

    @EVERY_STATE
    @EVERY_POLICY
    @pytest.mark.parametrize("before", DECIDED)
    @pytest.mark.parametrize("read", [120, 90_000])
    def test_what_is_decided_stands(self, before, state, policy, read):
        """Received is never taken back, and what a person has turned down is not counted; contradictions are told."""
        known = DECIDED[before]
        settled = settle(known, make_transfer(state), at(read), POLICIES[policy])
        assert (settled.status, settled.hold_reason, settled.received_at) == (known.status, None, known.received_at)
        is_bad = state in ("failed", "flagged")
        is_contradicted = is_bad if known.status is RECEIVED else state in COUNTING[policy]
        anomaly = FAILED_AFTER if known.status is RECEIVED else SETTLED_AFTER
        assert settled.anomalies == ((anomaly,) if is_contradicted else ())
        told = [event.reason for event in settled.events[len(known.events) :]]
        assert told == ([anomaly] if is_contradicted else [])

    @pytest.mark.parametrize("state", ["pending", "confirmed", "half_past_nine", "flagged"])
    def test_money_that_a_person_took_in_spite_of_its_state_is_no_contradiction(self, state):
        """What was known when the person decided is no news when it is read again."""
        accepted = decided(state, is_accepted=True)
        again = settle(accepted, make_transfer(state), at(180), REQUIRE)
        assert (again.anomalies, again.events) == ((), accepted.events)
        failed = settle(again, make_transfer("failed"), at(240), REQUIRE)
        assert failed.anomalies == (FAILED_AFTER,)

    @pytest.mark.parametrize("is_accepted", [True, False])
    @pytest.mark.parametrize("before", ["pending", "confirmed", "half_past_nine", "flagged"])
    def test_a_person_decides(self, before, is_accepted):
        """Who and why is in the history; accepting is told as any payment is, turning down is told to nobody."""
        known = make_contribution(before)
        after = decide(known, at(300), is_accepted=is_accepted, actor="ann", note="asked the donor")
        assert (after.status, after.hold_reason) == (RECEIVED if is_accepted else REFUSED, None)
        assert (after.is_decided, after.next_check_at, after.changed_at) == (True, None, at(300))
        step = after.history[-1]
        assert (step.at, step.status, step.actor, step.note) == (at(300), after.status, "ann", "asked the donor")
        names = [event.name for event in after.events[len(known.events) :]]
        assert names == ([EventName.PAYMENT_RECEIVED] if is_accepted else [])

    def test_an_older_reading_changes_nothing(self):
        """Nor does one that says the opposite."""
        known = make_contribution("flagged", read=120)
        assert settle(known, make_transfer("settled"), at(119), REQUIRE) == known

    def test_patience_counts_from_when_it_became_unclear(self):
        """A clear word in between begins it anew."""
        known = make_contribution("confirmed", read=0)
        known = settle(known, make_transfer("pending"), at(1000), REQUIRE)
        known = settle(known, make_transfer("confirmed"), at(1100), REQUIRE)
        assert settle(known, make_transfer("confirmed"), at(2000), REQUIRE).status is CONFIRMING
        assert settle(known, make_transfer("confirmed"), at(2900), REQUIRE).status is ON_HOLD

    def test_without_patience_it_is_held_at_once(self):
        """``AML_WAIT_SECONDS`` may be 0."""
        policy = Policy(aml_wait_seconds=0)
        assert make_contribution("confirmed", policy=policy).hold_reason is HoldReason.AML_UNKNOWN


class TestWhatIsTold:
    def test_an_event_carries_what_a_handler_needs(self):
        """The amount as the gateway wrote it, and nothing made up."""
        transfer = make_transfer("settled", amount="021.500", unit=None)
        contribution = settle(begin(make_link(), transfer, at(120)), transfer, at(120), REQUIRE)
        (event,) = contribution.events
        assert (event.key, event.name) == ("link.payment_received:inv-1:tx-1", EventName.PAYMENT_RECEIVED)
        assert (event.link_id, event.contribution_id, event.transaction_id) == ("donations", "inv-1:tx-1", "tx-1")
        assert (event.amount, event.unit, event.method.name) == ("021.500", None, "USDT-TRC20")
        assert (event.reason, event.reference, event.occurred_at) == (None, None, at(120))

    def test_what_was_told_of_received_money_stays(self):
        """A later reading with another amount does not rewrite what handlers have booked."""
        known = make_contribution("settled")
        later = make_transfer("settled", amount="99", unit="BTC", address="T-2", tx_hash="h", confirmed_at=at(90))
        again = settle(known, later, at(180), REQUIRE)
        assert (again.amount, again.unit, again.address) == ("21.500000", None, None)
        assert (again.tx_hash, again.confirmed_at) == ("h", at(90))

    def test_until_it_is_received_the_newest_word_counts(self):
        """What a later answer leaves out is not forgotten."""
        known = settle(
            make_contribution("pending"), make_transfer("pending", amount="5", unit="USDT"), at(130), REQUIRE
        )
        known = settle(known, make_transfer("settled", amount="6"), at(140), REQUIRE)
        assert (known.amount, known.unit) == ("6", "USDT")
        assert (known.events[0].amount, known.events[0].unit) == ("6", "USDT")

    def test_holds_are_told_each_time_under_a_key_of_their_own(self):
        """One that is released and comes back is another one."""
        known = make_contribution("flagged", "pending", "flagged", "settled")
        assert [event.key for event in known.events] == [
            "link.payment_on_hold:inv-1:tx-1:1",
            "link.payment_on_hold:inv-1:tx-1:2",
            "link.payment_received:inv-1:tx-1",
        ]
        assert [event.reason for event in known.events] == ["aml_failed", "aml_failed", None]

    def test_a_visit_is_shown_the_gateways_own_amount_and_time(self):
        """And the status, and nothing of the rest."""
        shown = show_payment(make_contribution("confirmed"))
        assert (shown.amount, shown.unit, shown.status, shown.sent_at) == ("21.500000", None, CONFIRMING, at(60))

    def test_a_transaction_of_a_foreign_invoice_is_no_contribution(self):
        """It is never written down under this link."""
        with pytest.raises(LookupError):
            begin(make_link("inv-2"), make_transfer("settled"), at(120))


@dataclass(frozen=True)
class Step:
    """A reading of a state at a time, or a person's decision (``"accept"``, ``"refuse"``)."""

    word: str
    seconds: int

    @property
    def is_decision(self) -> bool:
        return self.word in ("accept", "refuse")


Settle = Callable[[Contribution, Transaction, datetime, Policy], Contribution]


def take(settle: Settle, known: Contribution, step: Step, policy: Policy) -> Contribution:
    if not step.is_decision:
        return settle(known, make_transfer(step.word), at(step.seconds), policy)
    # As the service has it: what waits may be decided either way, and what was refused may be taken after all.
    if known.status is RECEIVED or (known.status is REFUSED and step.word == "refuse"):
        return known
    return decide(known, at(step.seconds), is_accepted=step.word == "accept", actor="ann", note="")


def find_violation(settle: Settle, steps: Sequence[Step], policy: Policy) -> str | None:
    """Live through the steps, and return the first rule about money that is broken."""
    newest = steps[0].seconds
    contribution = begin(make_link(), make_transfer("pending"), at(newest))
    counting = COUNTING["require" if policy.is_aml_required else "unless_failed"]
    for step in steps:
        before, contribution = contribution, take(settle, contribution, step, policy)
        is_newest = step.is_decision or step.seconds >= newest
        newest = newest if step.is_decision else max(newest, step.seconds)
        if broken := next(_list_broken(before, contribution, step, is_newest, counting), None):
            return broken
        if (
            not step.is_decision
            and settle(contribution, make_transfer(step.word), at(step.seconds), policy) != contribution
        ):
            return "settled again, it changed"
    return None


def _list_broken(
    before: Contribution, after: Contribution, step: Step, is_newest: bool, counting: set[str]
) -> Iterator[str]:
    received = [event for event in after.events if event.name is EventName.PAYMENT_RECEIVED]
    anomalies = [event.reason for event in after.events if event.name is EventName.PAYMENT_ANOMALY]
    if not is_newest and after != before:
        yield "an older reading changed something"
    if before.status is RECEIVED and (after.status, after.received_at) != (RECEIVED, before.received_at):
        yield "received was taken back"
    if len(received) != (after.status is RECEIVED):
        yield "received and its event do not belong together"
    if after.status is RECEIVED is not before.status and step.word not in {*counting, "accept"}:
        yield "money was counted that nobody vouches for"
    if (
        before.is_decided
        and not step.is_decision
        and (after.status, after.hold_reason) != (before.status, before.hold_reason)
    ):
        yield "what a person decided did not stand"
    is_missed = is_newest and step.word in counting and not before.is_decided and after.status is not RECEIVED
    if is_missed or (is_newest and step.word in ("failed", "flagged") and after.status is CONFIRMING):
        yield "the newest reading does not count"
    if len({event.key for event in after.events}) != len(after.events):
        yield "two events have one key"
    if after.events[: len(before.events)] != before.events or after.history[: len(before.history)] != before.history:
        yield "an event or a part of the history was lost"
    if anomalies != list(after.anomalies) or len(set(anomalies)) != len(anomalies):
        yield "an anomaly was not told once"
    turned = is_newest and before.state is not after.state
    if turned and before.status is RECEIVED and step.word in ("failed", "flagged") and FAILED_AFTER not in anomalies:
        yield "money failed after it was received, and nobody was told"
    if is_newest and before.is_decided and after.status is REFUSED and step.word in counting and not anomalies:
        yield "money settled after it was turned down, and nobody was told"


STEPS = [Step(word, seconds) for word in [*STATES, "accept", "refuse"] for seconds in (60, 4000)]
sequences = st.lists(
    st.builds(Step, st.sampled_from([*STATES, "accept", "refuse"]), st.integers(0, 20).map(lambda n: n * 400)),
    min_size=1,
    max_size=12,
)


def count_flagged(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Takes flagged money."""
    is_flagged = read.state is TransactionState.FLAGGED
    return settle(known, replace(read, state=TransactionState.SETTLED) if is_flagged else read, read_at, policy)


def count_twice(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Tells again of what it has told of, whenever it is read."""
    settled = settle(known, read, read_at, policy)
    again = replace(settled.events[-1], key=f"{settled.events[-1].key}:again") if settled.events else None
    is_again = known.status is RECEIVED and known != settled and again is not None
    return replace(settled, events=(*settled.events, again)) if is_again else settled


def reuse_keys(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Has one key for every hold."""
    settled = settle(known, read, read_at, policy)
    keyless = (replace(event, key=f"{event.name}:{settled.contribution_id}") for event in settled.events)
    return replace(settled, events=tuple(keyless))


def trust_old_readings(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Takes whatever it hears last for the newest."""
    return settle(known, read, max(read_at, known.read_at), policy)


def take_back(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Lets a failure undo what was received."""
    settled = settle(known, read, read_at, policy)
    is_bad = read.state is TransactionState.FAILED and settled.status is RECEIVED
    return replace(settled, status=REFUSED) if is_bad else settled


def overrule(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Forgets that a person has spoken."""
    return settle(replace(known, is_decided=False), read, read_at, policy)


def forget_anomalies(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Forgets which contradictions it has told of."""
    return settle(replace(known, anomalies=()) if read_at > known.read_at else known, read, read_at, policy)


def keep_quiet(known: Contribution, read: Transaction, read_at: datetime, policy: Policy) -> Contribution:
    """Tells nobody of what contradicts what was decided."""
    settled = settle(known, read, read_at, policy)
    return replace(settled, anomalies=known.anomalies, events=known.events) if settled.anomalies else settled


BROKEN = {
    count_flagged: "money was counted that nobody vouches for",
    count_twice: "received and its event do not belong together",
    reuse_keys: "two events have one key",
    trust_old_readings: "an older reading changed something",
    take_back: "received was taken back",
    overrule: "what a person decided did not stand",
    forget_anomalies: "an anomaly was not told once",
    keep_quiet: "money failed after it was received, and nobody was told",
}


class TestAnySequence:
    @EVERY_POLICY
    def test_no_short_sequence_breaks_a_rule(self, policy):
        """Every sequence of three, in any order of times."""
        for steps in itertools.product(STEPS, repeat=3):
            assert find_violation(settle, steps, POLICIES[policy]) is None, steps

    @given(sequences, st.sampled_from([REQUIRE, UNLESS_FAILED, Policy(aml_wait_seconds=0)]))
    @settings(max_examples=150, deadline=None)
    def test_no_long_sequence_breaks_a_rule(self, steps, policy):
        """Stale, repeated and contradicting readings, and persons in between."""
        assert find_violation(settle, steps, policy) is None

    @pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
    def test_a_broken_settle_is_caught(self, broken):
        """The rules bite: each of these mistakes is found within three steps."""
        found = (find_violation(broken, steps, UNLESS_FAILED) for steps in itertools.product(STEPS, repeat=3))
        assert any(violation == BROKEN[broken] for violation in found)
