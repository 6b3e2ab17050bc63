"""Every sequence of readings that an order can live through, and what must hold after each step.

``may_be_paid`` says in its own words when money may be taken: it looks at the gateway's spellings, not at the states
that the package makes of them, and shares no code with the package. ``walk`` tries all sequences on any function with
the signature of ``settle``, so that the same rules can be shown to catch a broken one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

from builders import START, at, make_order, make_record, make_snapshot, make_transaction

from flask_iterapay.gateway.models import PaymentMethod
from flask_iterapay.orders.lifecycle import accept, cancel
from flask_iterapay.orders.models import EventName, InvoiceRecord, Order, OrderStatus, Policy, Snapshot

Settle = Callable[[Order, Iterable[Snapshot], datetime, Policy], Order]

STEP_SECONDS = 1200
"""Two steps are within ``aml_wait_seconds``, three are not; the first step is within the quote, the second is not."""

_BAD = {"failed", "flagged"}
_MONEY_WORDS = {"processing", "partially_paid", "paid", "overpaid"}
_WITHOUT_MONEY = {OrderStatus.NEW, OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT, OrderStatus.EXPIRED}


class Violation(AssertionError):
    """A rule that a sequence broke; the message names both."""


def may_be_paid(record: InvoiceRecord, snapshot: Snapshot, order_amount: Decimal, policy: Policy) -> bool:
    """Whether this snapshot alone lets the order count as paid."""
    invoice = snapshot.invoice
    asked = ("onetime", order_amount, str(record.method.method_id))
    told = (invoice.invoice_type, invoice.amount, None if invoice.method_id is None else str(invoice.method_id))
    if any(answer not in (None, wanted) for answer, wanted in zip(told, asked, strict=True)):
        return False
    if record.amount != order_amount or invoice.has_passed_aml is False:
        return False
    if invoice.spelling.strip().lower() not in ("paid", "completed", "settled", "overpaid"):
        return False
    words = {transfer.spelling for transfer in snapshot.transactions or ()}
    if words & _BAD and not words & {"confirmed", "completed", "settled"}:
        return False
    if is_vetoed(record, snapshot, policy):
        return False
    is_reviewed = invoice.has_passed_aml or ("settled" in words and not words & _BAD)
    return bool(is_reviewed) or not policy.is_aml_required


def is_vetoed(record: InvoiceRecord, snapshot: Snapshot, policy: Policy) -> bool:
    """Whether the transfers that are money came too late, or are too little by every unit they could be in."""
    money = money_of(snapshot)
    if not money:
        return False
    seen = min(transfer.created_at for transfer in money)
    if record.expires_at and seen - record.expires_at > timedelta(seconds=policy.accept_late_seconds):
        return True
    units = [Fraction(text) for text in (str(record.amount), record.pay_amount) if text is not None]
    return sum(Fraction(transfer.amount) for transfer in money) < min(units) / 2


def money_of(snapshot: Snapshot) -> list:
    """The transfers that did not fail."""
    return [transfer for transfer in snapshot.transactions or () if transfer.spelling not in _BAD]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One thing that can happen: a reading that brings snapshots, or a person's decision.

    ``age`` is how many seconds before the step the snapshots were read: a slow worker's reading comes in late.
    """

    name: str
    snapshots: tuple[Snapshot, ...] = ()
    age: float = 0
    decide: Callable[..., Order] | None = None

    def read(self, now: datetime) -> tuple[Snapshot, ...]:
        return tuple(replace(snapshot, read_at=now - timedelta(seconds=self.age)) for snapshot in self.snapshots)


def _reading(name: str, *snapshots: Snapshot, age: float = 0) -> Letter:
    return Letter(name=name, snapshots=snapshots, age=age)


_TINY = make_transaction("confirmed", amount="0.01", transaction_id="tx-tiny")
_LATE = make_transaction("settled", seen=5401, transaction_id="tx-late")
LETTERS = (
    Letter(name="nothing"),
    _reading("open", make_snapshot("pending")),
    _reading("open, seen", make_snapshot("pending", "pending")),
    _reading("open, failed", make_snapshot("pending", "failed")),
    _reading("open, blind", make_snapshot("pending", is_blind=True)),
    _reading("confirming, blind", make_snapshot("processing", is_blind=True)),
    _reading("underpaid", make_snapshot("partially_paid", "confirmed")),
    _reading("paid", make_snapshot("paid", "settled", aml=True)),
    _reading("paid, guide dialect", make_snapshot("paid", aml=True, invoice_type=None, method_id=None, amount=None)),
    _reading("paid, AML unknown", make_snapshot("paid", "confirmed")),
    _reading("paid, settled", make_snapshot("paid", "settled")),
    _reading("paid, blind", make_snapshot("paid", is_blind=True)),
    _reading("paid, AML failed", make_snapshot("paid", "confirmed", aml=False)),
    _reading("paid, flagged", make_snapshot("paid", "flagged", aml=True)),
    _reading("paid, tainted dust beside it", make_snapshot("paid", "flagged", "confirmed", aml=True)),
    _reading("paid, too little", make_snapshot("paid", _TINY, aml=True)),
    _reading("paid, late", make_snapshot("paid", _LATE, aml=True)),
    _reading("paid, other amount", make_snapshot("paid", "settled", aml=True, amount=Decimal("1.00"))),
    _reading("paid, other method", make_snapshot("paid", "settled", aml=True, method_id="2")),
    _reading("overpaid", make_snapshot("overpaid", "settled", aml=True)),
    _reading("expired", make_snapshot("expired")),
    _reading("expired, blind", make_snapshot("expired", is_blind=True)),
    _reading("expired, seen", make_snapshot("expired", "pending", aml=True)),
    _reading("expired, flagged", make_snapshot("expired", "flagged")),
    _reading("unknown", make_snapshot("half_past_nine", "settled", aml=True)),
    _reading("stale open", make_snapshot("pending"), age=10**6),
    _reading("stale paid", make_snapshot("paid", "settled", aml=True), age=10**6),
    _reading("cheap one paid", make_snapshot("paid", "settled", aml=True, invoice_id="cheap", amount=Decimal("80"))),
    _reading("other one seen", make_snapshot("pending", "pending", invoice_id="other", method_id=2)),
    _reading("other one paid", make_snapshot("paid", "settled", aml=True, invoice_id="other", method_id=2)),
    _reading("other one expired", make_snapshot("expired", invoice_id="other", method_id=2)),
    _reading("foreign one paid", make_snapshot("paid", "settled", aml=True, invoice_id="foreign")),
    Letter(name="a person accepts", decide=accept),
    Letter(name="a person cancels", decide=cancel),
)


@cache
def make_start() -> Order:
    """An order of 100.00 with a current invoice, one by another method, and one from when its total was 80.00."""
    tron = PaymentMethod(method_id=2, name="TRX", network="TRON", ticker="TRX")
    return make_order(
        make_record("cheap", quote=1800, amount=Decimal("80.00")),
        make_record("other", quote=1800, method=tron),
        make_record("inv-1", quote=1800),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An order, how it came there, and what the walker itself remembers of it.

    ``with_money`` are the invoices that show money, or showed it before a reading that could not list transactions.
    ``dealt_with`` are the transfers that a person's decision was about; ``count`` is how many sequences lead here.
    """

    order: Order
    count: int = 1
    path: tuple[str, ...] = ()
    newest: dict[str, Snapshot]
    with_money: frozenset[str] = frozenset()
    is_accepted: bool = False
    dealt_with: frozenset[tuple[str, str]] = frozenset()


def walk(settle: Settle, *, length: int, policy: Policy, letters: tuple[Letter, ...] = LETTERS) -> int:
    """Try every sequence of up to ``length`` letters; return how many there are.

    Sequences that lead to the same order go on as one, told apart by all that ``settle`` may look at. So seven letters
    take minutes, not years.

    Raises:
        Violation: at the first step that breaks a rule.
    """
    situations = [Situation(order=make_start(), newest={})]
    total = 0
    for number in range(1, length + 1):
        now = at(number * STEP_SECONDS)
        following: dict[object, Situation] = {}
        for before in situations:
            for letter in letters:
                after = _take(settle, before, letter, now, policy)
                if after is None:
                    continue
                for problem in _problems(settle, before, after, letter, now, policy):
                    raise Violation(f"{problem}: {' > '.join(after.path)}")
                sight = _fingerprint(after)
                same = following.setdefault(sight, replace(after, count=0))
                following[sight] = replace(same, count=same.count + before.count)
        situations = list(following.values())
        total += sum(situation.count for situation in situations)
    return total


def _fingerprint(situation: Situation) -> object:
    """All that the next step depends on.

    Of a snapshot's age it is enough to know whether the quote still ran and whether it came in stale: every other
    reading is newer than all before it.
    """
    order = situation.order
    seen = [_sight(record.snapshot, record) for record in order.invoices]
    newest = [_sight(situation.newest.get(record.invoice_id), record) for record in order.invoices]
    waits = tuple((record.unclear_since, record.had_money, record.dismissed) for record in order.invoices)
    has_paid = any(event.name is EventName.PAID for event in order.events)
    own = (situation.is_accepted, situation.with_money, situation.dealt_with, *newest)
    return *_outcome(order), order.is_late, order.anomalies, order.paid_invoice_id, has_paid, waits, *seen, *own


def _sight(snapshot: Snapshot | None, record: InvoiceRecord) -> object:
    if snapshot is None:
        return None
    is_over, is_stale = snapshot.read_at >= record.expires_at, snapshot.read_at < START
    return snapshot.invoice, snapshot.transactions, is_over, is_stale


def _take(settle: Settle, before: Situation, letter: Letter, now: datetime, policy: Policy) -> Situation | None:
    path = (*before.path, letter.name)
    if letter.decide is None:
        read = letter.read(now)
        after = replace(before, order=settle(before.order, read, now, policy), path=path)
        for snapshot in read:
            after = _remember(after, snapshot)
        return after
    if not _may_decide(before.order, letter):
        return None
    decided = letter.decide(before.order, now, actor="ann", note="")
    dealt_with = before.dealt_with | _transfers(before.newest)
    is_accepted = before.is_accepted or letter.decide is accept
    return replace(before, order=decided, path=path, is_accepted=is_accepted, dealt_with=dealt_with)


def _remember(situation: Situation, snapshot: Snapshot) -> Situation:
    invoice_id, newest = snapshot.invoice.invoice_id, situation.newest
    is_ours = any(record.invoice_id == invoice_id for record in situation.order.invoices)
    if not is_ours or (invoice_id in newest and newest[invoice_id].read_at > snapshot.read_at):
        return situation
    had_money = invoice_id in situation.with_money and snapshot.transactions is None
    has_money = had_money or bool(money_of(snapshot)) or snapshot.invoice.spelling in _MONEY_WORDS
    others = situation.with_money - {invoice_id}
    return replace(
        situation,
        newest=newest | {invoice_id: snapshot},
        with_money=others | {invoice_id} if has_money else others,
    )


def _transfers(newest: dict[str, Snapshot]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (invoice_id, transfer.transaction_id)
        for invoice_id, snapshot in newest.items()
        for transfer in money_of(snapshot)
    )


def _may_decide(order: Order, letter: Letter) -> bool:
    """What the service lets a person do: resolve a hold, or cancel before money was seen."""
    if order.status is OrderStatus.ON_HOLD:
        return True
    is_open = order.status not in (OrderStatus.PAID, OrderStatus.CANCELLED) and not order.is_locked
    return letter.decide is cancel and is_open


def _problems(
    settle: Settle, before: Situation, after: Situation, letter: Letter, now: datetime, policy: Policy
) -> Iterator[str]:
    yield from _status_problems(before, after, letter, policy)
    yield from _book_problems(before.order, after.order)
    if letter.decide is not None:
        return
    again = settle(after.order, letter.read(now), now, policy)
    yield from _book_problems(after.order, again)
    if again != after.order:
        yield "the same snapshot, settled again, changed the order"
    fresh = settle(_forget(after), (), now, policy)
    if not _is_settled_for_good(before.order) and _outcome(fresh) != _outcome(after.order):
        yield "older snapshots still decide"


def _book_problems(before: Order, after: Order) -> Iterator[str]:
    keys = [event.key for event in after.events]
    paid = [event.key for event in after.events if event.name is EventName.PAID]
    if len(keys) != len(set(keys)):
        yield "two events have one key"
    if paid not in ([], [f"order.paid:{after.order_id}"]):
        yield "paid twice, or under another key"
    if after.events[: len(before.events)] != before.events or after.history[: len(before.history)] != before.history:
        yield "an event or a part of the history was lost"
    if (after.status is OrderStatus.PAID) != bool(paid):
        yield "status and events disagree about paid"


def _status_problems(before: Situation, after: Situation, letter: Letter, policy: Policy) -> Iterator[str]:
    was, status = before.order.status, after.order.status
    records = {record.invoice_id: record for record in after.order.invoices}
    is_payable = any(
        may_be_paid(records[invoice_id], snapshot, after.order.amount, policy)
        for invoice_id, snapshot in after.newest.items()
    )
    money = _transfers(after.newest)
    if was is OrderStatus.PAID and status is not OrderStatus.PAID:
        yield "paid was taken back"
    if status is OrderStatus.PAID and was is not status and not after.is_accepted and not is_payable:
        yield "paid without the gateway's word"
    if is_payable and status is not OrderStatus.PAID and not _is_settled_for_good(before.order) and not letter.decide:
        yield "a payment was lost"
    if status in _WITHOUT_MONEY and after.with_money:
        yield "there is money, and the order does not know"
    if status is OrderStatus.CANCELLED and letter.decide is not cancel and was is not status:
        yield "cancelled by nobody"
    if status is OrderStatus.CANCELLED and money - after.dealt_with:
        yield "new money on a cancelled order went unnoticed"
    if _needs_person(before.order) and not letter.decide and not _needs_person(after.order):
        yield "a hold that needs a person released itself"


def _needs_person(order: Order) -> bool:
    return order.hold_reason is not None and order.hold_reason.needs_person


def _is_settled_for_good(order: Order) -> bool:
    """Whether what came before still counts: the documented exceptions from "the newest snapshots decide"."""
    return order.status in (OrderStatus.PAID, OrderStatus.CANCELLED) or _needs_person(order)


def _forget(after: Situation) -> Order:
    """The order as if it had seen nothing but the newest snapshot of each invoice, and waited as long.

    Whether there was money before a reading that could not list transactions is remembered, and rightly so.
    """
    return replace(
        make_start(),
        invoices=tuple(
            replace(record, snapshot=after.newest.get(record.invoice_id)) for record in after.order.invoices
        ),
    )


def _outcome(order: Order) -> tuple[object, ...]:
    return order.status, order.hold_reason, order.settlement
