"""Two ways through all sequences: one at a time, and merged where nothing can tell two of them apart.

There are 35 letters, so seven of them make 6 * 10**10 sequences. ``walk`` takes each step from each distinct situation
once and counts the sequences that it stands for. That is sound if what follows from a situation depends on nothing but
its ``sight``; ``walk_each``, which merges nothing, checks exactly that wherever two sequences have one sight.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from builders import START, at
from msgspec.structs import fields
from sequence_rules import book_problems, forget_older, is_settled_for_good, outcome, status_problems
from sequences import LETTERS, STEP_SECONDS, Letter, Settle, Situation, make_start, take

from flask_iterapay.orders.models import InvoiceRecord, Order, OrderStatus, Policy, Snapshot

Sight = Callable[[Situation, datetime, Policy], Hashable]

_UNSEEN = {"history", "events", "changed_at", "read_at", "metadata", "version", "invoices", "anomalies"}
"""What ``settle`` writes and never reads, and what is seen in parts."""

_ORDER_FIELDS = tuple(field.name for field in fields(Order) if field.name not in _UNSEEN)
_RECORD_FIELDS = tuple(
    field.name for field in fields(InvoiceRecord) if field.name not in {"snapshot", "unclear_since", "expires_at"}
)


class Violation(AssertionError):
    """A rule that a sequence broke; the message names both."""


class CoarseSightError(AssertionError):
    """Two situations look alike, and yet different things follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """How far a walk came: so many sequences, and all that can be seen on their ways."""

    sequences: int
    sights: frozenset[Hashable] = field(repr=False)


def see(situation: Situation, now: datetime, policy: Policy) -> Hashable:
    """All that the next steps depend on, with every time told by how far it is from now.

    A field that an order or an invoice gets is seen without being named here.
    """
    order, memory = situation.order, situation.memory
    seen = [getattr(order, name) for name in _ORDER_FIELDS]
    seen.append(frozenset(order.anomalies))
    for record in order.invoices:
        seen += [getattr(record, name) for name in _RECORD_FIELDS]
        seen += _see_snapshot(record.snapshot, record)
        seen += _see_snapshot(memory.newest.get(record.invoice_id), record)
        # Of a wait it matters whether it is over, and of a price whether it holds: further back is as good.
        waited = now - record.unclear_since if record.unclear_since else None
        seen.append(waited and min(waited, timedelta(seconds=policy.aml_wait_seconds)))
        seen.append(max(record.expires_at - now, timedelta(0)))
    own = (memory.with_money, memory.payable, memory.is_accepted)
    if order.status is OrderStatus.PAID:
        # The rules ask what was dealt with when an order is cancelled, and a paid one never is without a violation.
        return (*seen, *own, frozenset(pair for pair in memory.paid_with if pair[0] == order.paid_invoice_id))
    return (*seen, *own, memory.dealt_with)


def _see_snapshot(snapshot: Snapshot | None, record: InvoiceRecord) -> tuple[object, ...]:
    """A snapshot but for its age: there are only stale ones and others, and of each kind a later step's is newer."""
    if snapshot is None:
        return (None,)
    is_over, is_stale = snapshot.read_at >= record.expires_at, snapshot.read_at < START
    return snapshot.invoice, snapshot.transactions, is_over, is_stale


def walk(settle: Settle, *, length: int, policy: Policy) -> Walk:
    """Take every letter from every distinct situation within ``length`` steps of the start.

    Raises:
        Violation: at the first step that breaks a rule.
    """
    frontier = [Situation(order=make_start())]
    numbers = {see(frontier[0], START, policy): 0}
    following: list[list[int]] = []
    checked: set[tuple[int, str]] = set()
    weighed: set[int] = set()
    for step in range(1, length + 1):
        now, found = at(step * STEP_SECONDS), []
        for before in frontier:
            following.append([])
            for letter, after in _steps(settle, before, now, policy):
                sight = see(after, now, policy)
                if sight not in numbers:
                    numbers[sight] = len(numbers)
                    found.append(after)
                following[-1].append(numbers[sight])
                if (numbers[sight], letter.name) not in checked:
                    checked.add((numbers[sight], letter.name))
                    _check_again(settle, after, letter, now, policy)
                if numbers[sight] not in weighed and not letter.decide and not is_settled_for_good(before.order):
                    weighed.add(numbers[sight])
                    _check_newest(settle, after, now, policy)
        frontier = found
    return Walk(sequences=_count_sequences(following, length), sights=frozenset(numbers))


def walk_each(
    settle: Settle, *, length: int, policy: Policy, sight: Sight = see, letters: Iterable[Letter] = LETTERS
) -> Walk:
    """Take every letter after every sequence of fewer than ``length`` letters, one by one.

    Raises:
        Violation: at the first step that breaks a rule.
        CoarseSightError: two sequences lead to one sight, and one letter to different things from there.
    """
    known: dict[Hashable, tuple[dict[Letter, Hashable], Situation]] = {}
    sequences, frontier = 0, [Situation(order=make_start())]
    sights = {sight(frontier[0], START, policy)}
    for step in range(1, length + 1):
        then, now, found = at((step - 1) * STEP_SECONDS), at(step * STEP_SECONDS), []
        for before in frontier:
            afters = dict(_steps(settle, before, now, policy, letters))
            follows = {letter: (sight(after, now, policy), _told(before, after)) for letter, after in afters.items()}
            expected, twin = known.setdefault(sight(before, then, policy), (follows, before))
            if follows != expected:
                raise CoarseSightError(f"{' > '.join(before.path)} | {' > '.join(twin.path)}")
            sights.update(seen for seen, _ in follows.values())
            sequences += len(afters)
            found += afters.values() if step < length else ()
        frontier = found
    return Walk(sequences=sequences, sights=frozenset(sights))


def _steps(
    settle: Settle, before: Situation, now: datetime, policy: Policy, letters: Iterable[Letter] = LETTERS
) -> Iterator[tuple[Letter, Situation]]:
    """Every next step that is possible, with the rules held against it."""
    for letter in letters:
        after = take(settle, before, letter, now, policy)
        if after is None:
            continue
        for problem in (*status_problems(before, after, letter), *book_problems(before.order, after.order)):
            raise Violation(f"{problem}: {' > '.join(after.path)}")
        yield letter, after


def _check_again(settle: Settle, after: Situation, letter: Letter, now: datetime, policy: Policy) -> None:
    """Taken once more, a step changes nothing."""
    if letter.decide is not None:
        return
    again = settle(after.order, letter.read(now), now, policy)
    for problem in book_problems(after.order, again):
        raise Violation(f"{problem}: {' > '.join(after.path)} > once more")
    if again != after.order:
        raise Violation(f"the same snapshot, settled again, changed the order: {' > '.join(after.path)}")


def _check_newest(settle: Settle, after: Situation, now: datetime, policy: Policy) -> None:
    """The newest snapshots decide alone, unless the order was settled for good before."""
    if outcome(settle(forget_older(after), (), now, policy)) != outcome(after.order):
        raise Violation(f"older snapshots still decide: {' > '.join(after.path)}")


def _told(before: Situation, after: Situation) -> tuple[object, ...]:
    news = after.order.events[len(before.order.events) :]
    return (*outcome(after.order), *((event.name, event.reason) for event in news))


def _count_sequences(following: list[list[int]], length: int) -> int:
    """How many sequences of one to ``length`` letters there are, by the situations that follow from each."""
    total, ways = 0, Counter({0: 1})
    for _ in range(length):
        onward: Counter[int] = Counter()
        for number, count in ways.items():
            total += count * len(following[number])
            for target in following[number]:
                onward[target] += count
        ways = onward
    return total
