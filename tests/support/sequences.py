"""Every sequence of readings and decisions that an order can live through, as an alphabet of what can happen next.

``may_be_paid`` says in its own words when money may be taken: it looks at the gateway's spellings, not at the states
that the package makes of them, and shares no code with the package. The rules that must hold after each step are in
``sequence_rules``; ``sequence_walks`` takes the steps.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

from builders import make_order, make_record, make_snapshot, make_transaction
from msgspec import structs

from flask_iterapay.gateway.models import Invoice, PaymentMethod, Transaction
from flask_iterapay.orders.lifecycle import accept, cancel
from flask_iterapay.orders.models import InvoiceRecord, Order, OrderStatus, Policy, Snapshot

Settle = Callable[[Order, Iterable[Snapshot], datetime, Policy], Order]

STEP_SECONDS = 1200
"""Two steps are within ``aml_wait_seconds``, three are not; the first step is within the quote, the second is not."""

BAD = frozenset({"failed", "flagged"})
FINAL = frozenset({"confirmed", "completed", "settled"})
_MONEY_WORDS = {"processing", "partially_paid", "paid", "overpaid"}


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
    if words & BAD and not words & FINAL:
        return False
    if is_vetoed(record, snapshot, policy):
        return False
    is_reviewed = invoice.has_passed_aml or ("settled" in words and not words & BAD)
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
    return [transfer for transfer in snapshot.transactions or () if transfer.spelling not in BAD]


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
        return tuple(
            structs.replace(snapshot, read_at=now - timedelta(seconds=self.age)) for snapshot in self.snapshots
        )


def _reading(name: str, *snapshots: Snapshot, age: float = 0) -> Letter:
    return Letter(name=name, snapshots=snapshots, age=age)


def _main(state: str) -> Transaction:
    """The customer's own transfer, which goes through its states; the others beside it are other transfers."""
    return make_transaction(state, transaction_id="tx-main")


_PENDING, _CONFIRMED, _SETTLED, _FLAGGED = map(_main, ("pending", "confirmed", "settled", "flagged"))
_SECOND = make_transaction("confirmed", transaction_id="tx-second")
_DUST = make_transaction("flagged", amount="0.01", transaction_id="tx-dust")
_TINY = make_transaction("confirmed", amount="0.01", transaction_id="tx-tiny")
_LATE = make_transaction("settled", seen=5401, transaction_id="tx-late")
LETTERS = (
    Letter(name="nothing"),
    _reading("open", make_snapshot("pending")),
    _reading("open, seen", make_snapshot("pending", _PENDING)),
    _reading("open, failed", make_snapshot("pending", _main("failed"))),
    _reading("open, blind", make_snapshot("pending", is_blind=True)),
    _reading("confirming, blind", make_snapshot("processing", is_blind=True)),
    _reading("underpaid", make_snapshot("partially_paid", _CONFIRMED)),
    _reading("paid", make_snapshot("paid", _SETTLED, aml=True)),
    _reading("paid, guide dialect", make_snapshot("paid", aml=True, invoice_type=None, method_id=None, amount=None)),
    _reading("paid, AML unknown", make_snapshot("paid", _CONFIRMED)),
    _reading("paid, settled", make_snapshot("paid", _SETTLED)),
    _reading("paid, blind", make_snapshot("paid", is_blind=True)),
    _reading("paid, AML failed", make_snapshot("paid", _CONFIRMED, aml=False)),
    _reading("paid, flagged", make_snapshot("paid", _FLAGGED, aml=True)),
    _reading("paid, tainted dust beside it", make_snapshot("paid", _DUST, _CONFIRMED, aml=True)),
    _reading("paid, its money flagged beside other", make_snapshot("paid", _FLAGGED, _SECOND, aml=True)),
    _reading("paid, too little", make_snapshot("paid", _TINY, aml=True)),
    _reading("paid, late", make_snapshot("paid", _LATE, aml=True)),
    _reading("paid, other amount", make_snapshot("paid", _SETTLED, aml=True, amount=Decimal("1.00"))),
    _reading("paid, other method", make_snapshot("paid", _SETTLED, aml=True, method_id="2")),
    _reading("overpaid", make_snapshot("overpaid", _SETTLED, aml=True)),
    _reading("expired", make_snapshot("expired")),
    _reading("expired, blind", make_snapshot("expired", is_blind=True)),
    _reading("expired, seen", make_snapshot("expired", _PENDING, aml=True)),
    _reading("expired, flagged", make_snapshot("expired", _FLAGGED)),
    _reading("unknown", make_snapshot("half_past_nine", _SETTLED, aml=True)),
    _reading("stale open", make_snapshot("pending"), age=10**6),
    _reading("stale paid", make_snapshot("paid", _SETTLED, aml=True), age=10**6),
    _reading("cheap one paid", make_snapshot("paid", _SETTLED, aml=True, invoice_id="cheap", amount=Decimal("80"))),
    _reading("other one seen", make_snapshot("pending", _PENDING, invoice_id="other", method_id=2)),
    _reading("other one paid", make_snapshot("paid", _SETTLED, aml=True, invoice_id="other", method_id=2)),
    _reading("other one expired", make_snapshot("expired", invoice_id="other", method_id=2)),
    _reading("foreign one paid", make_snapshot("paid", _SETTLED, aml=True, invoice_id="foreign")),
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
class Memory:
    """What the walker itself knows of a sequence, to hold the order against it.

    ``with_money`` are the invoices that show money, or showed it before a reading that could not list transactions;
    ``payable`` those whose newest snapshot lets the order count as paid. ``paid_with`` is the money that was there when
    the order was paid, ``dealt_with`` the money that a person's decision was about.
    """

    newest: Mapping[str, Snapshot] = field(default_factory=dict)
    with_money: frozenset[str] = frozenset()
    payable: frozenset[str] = frozenset()
    paid_with: frozenset[tuple[str, str]] = frozenset()
    dealt_with: frozenset[tuple[str, str]] = frozenset()
    is_accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An order, how it came there, and what the walker remembers of it."""

    order: Order
    path: tuple[str, ...] = ()
    memory: Memory = Memory()


def take(settle: Settle, before: Situation, letter: Letter, now: datetime, policy: Policy) -> Situation | None:
    """The situation after one more letter; ``None`` if the service would not let a person decide that now."""
    path = (*before.path, letter.name)
    if letter.decide is not None:
        return _decide(before, letter.decide, now, path)
    read = letter.read(now)
    order = settle(before.order, read, now, policy)
    memory = before.memory
    for snapshot in read:
        memory = _remember(memory, snapshot, policy)
    if order.status is OrderStatus.PAID and before.order.status is not OrderStatus.PAID:
        memory = replace(memory, paid_with=transfers(memory.newest))
    return Situation(order=order, path=path, memory=memory)


def _decide(before: Situation, decide: Callable[..., Order], now: datetime, path: tuple[str, ...]) -> Situation | None:
    if not _may_decide(before.order, decide):
        return None
    memory = before.memory
    decided = replace(
        memory,
        dealt_with=memory.dealt_with | transfers(memory.newest),
        is_accepted=memory.is_accepted or decide is accept,
    )
    return Situation(order=decide(before.order, now, actor="ann", note=""), path=path, memory=decided)


def _may_decide(order: Order, decide: Callable[..., Order]) -> bool:
    """What the service lets a person do: resolve a hold, or cancel before money was seen."""
    if order.status is OrderStatus.ON_HOLD:
        return True
    is_open = order.status not in (OrderStatus.PAID, OrderStatus.CANCELLED) and not order.is_locked
    return decide is cancel and is_open


def _remember(memory: Memory, snapshot: Snapshot, policy: Policy) -> Memory:
    invoice_id, newest = snapshot.invoice.invoice_id, memory.newest
    is_ours = any(record.invoice_id == invoice_id for record in make_start().invoices)
    if not is_ours or (invoice_id in newest and newest[invoice_id].read_at > snapshot.read_at):
        return memory
    had_money = invoice_id in memory.with_money and snapshot.transactions is None
    has_money = had_money or bool(money_of(snapshot)) or snapshot.invoice.spelling in _MONEY_WORDS
    is_payable = _is_payable(snapshot.invoice, snapshot.transactions, policy)
    own = frozenset({invoice_id})
    return replace(
        memory,
        newest={**newest, invoice_id: snapshot},
        with_money=memory.with_money | own if has_money else memory.with_money - own,
        payable=memory.payable | own if is_payable else memory.payable - own,
    )


@cache
def _is_payable(invoice: Invoice, transactions: tuple[Transaction, ...] | None, policy: Policy) -> bool:
    start = make_start()
    record = next(record for record in start.invoices if record.invoice_id == invoice.invoice_id)
    snapshot = Snapshot(invoice=invoice, transactions=transactions, read_at=start.created_at)
    return may_be_paid(record, snapshot, start.amount, policy)


def transfers(newest: Mapping[str, Snapshot]) -> frozenset[tuple[str, str]]:
    """The transfers that are money by the newest snapshots, each with its invoice."""
    return frozenset(
        (invoice_id, transfer.transaction_id)
        for invoice_id, snapshot in newest.items()
        for transfer in money_of(snapshot)
    )
