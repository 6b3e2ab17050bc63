"""How the offline gateway behaves: invoices, their deposit addresses and simulated payments.

Pure: the time, ids and settings are handed in and a changed invoice is handed back. It shares no code with the
client, so that one bug cannot hide on both sides.

What IteraPay documents is in the contract. **All of this is the sandbox's own invention**, and says nothing of how
the real gateway behaves:

* the exchange rates, which never move, and the price of a renewed quote (a thousandth more);
* the deposit addresses, which no wallet accepts;
* when a quote is renewed: once it has expired, while the invoice is open and no money was seen;
* that an invoice gives addresses for the method it was made for, and for every method if it names none;
* that a reusable invoice which gives ever new addresses forgets those before the last two hundred;
* that a reusable invoice takes less than its minimum, and tells of it as of everything else;
* that an invoice expires when the panel says so, and never by itself;
* the words ``partially_paid`` and ``overpaid``, and every tolerance (a thousandth more than asked is still ``paid``);
* that money which was flagged counts as received, and that the invoice reads ``paid`` as soon as it is confirmed;
* that ``amlOk`` is false with flagged money, true once all money is settled, and absent until then;
* that a late payment is credited, with a ``createdAt`` two hours after the quote's end, whatever the clock says;
* that a transaction's amount is in the asset;
* the fields ``address`` and ``symbol`` of a transaction, where they are switched on (see ``dialects``);
* a webhook's events, names, payloads, order, time-outs and retries (see ``deliveries``).
"""

import hashlib
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from ..gateway.models import InvoiceType, TransactionState
from .methods import METHODS

__all__ = [
    "Action",
    "ActionRefusedError",
    "Refusal",
    "SandboxAddress",
    "SandboxInvoice",
    "SandboxTransaction",
    "act",
    "quote",
]

_LATE_BY = timedelta(hours=2)
_RENEWED = Fraction(1001, 1000)
_STILL_EXACT = Fraction(1001, 1000)
_MAX_ADDRESSES = 200
_COUNTED = frozenset({TransactionState.CONFIRMED, TransactionState.SETTLED, TransactionState.FLAGGED})
_SEEN = _COUNTED | {TransactionState.PENDING}


class Refusal(StrEnum):
    """Why something cannot happen to an invoice now."""

    NO_ADDRESS = "no_address"
    NOT_GIVEN_OUT = "not_given_out"
    NOTHING_MISSING = "nothing_missing"
    NO_END = "no_end"
    NO_TRANSACTION = "no_transaction"
    NO_DELIVERY = "no_delivery"


class ActionRefusedError(ValueError):
    """The invoice is not in a state in which this can happen; ``refusal`` says why."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.value)


class Action(StrEnum):
    """What a person can make happen to an invoice."""

    PAY_EXACT = "pay_exact"
    PAY_PENDING = "pay_pending"
    PAY_SHORT = "pay_short"
    PAY_OVER = "pay_over"
    PAY_LATE = "pay_late"
    PAY_FIRST_HALF = "pay_first_half"
    PAY_SECOND_HALF = "pay_second_half"
    PAY_DUST = "pay_dust"
    AML_FAIL = "aml_fail"
    AML_UNKNOWN = "aml_unknown"
    CONFIRM = "confirm"
    SETTLE = "settle"
    FLAG = "flag"
    FAIL = "fail"
    EXPIRE = "expire"
    UNKNOWN_STATE = "unknown_state"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxAddress:
    """A deposit address with its present price; ``expires_at`` is ``None`` for a reusable invoice."""

    method_id: int
    address: str
    pay_amount: Decimal
    expires_at: datetime | None

    def part(self, share: Fraction) -> Decimal:
        """A share of the price, rounded up to what can be sent."""
        unit = METHODS[self.method_id].unit
        return unit * math.ceil(Fraction(self.pay_amount) * share / Fraction(unit))


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxTransaction:
    """A simulated transfer: ``amount`` was sent where ``pay_amount`` was asked, both in the asset."""

    transaction_id: str
    invoice_id: str
    method_id: int
    address: str
    amount: Decimal
    pay_amount: Decimal
    state: TransactionState
    created_at: datetime
    confirmed_at: datetime | None = None

    @property
    def tx_hash(self) -> str:
        """A hash that belongs to no chain."""
        return hashlib.sha256(self.transaction_id.encode()).hexdigest()

    @property
    def steps(self) -> tuple[Action, ...]:
        """What can happen to it next."""
        return tuple(action for action, (_, sources) in _MOVES.items() if self.state in sources)

    @property
    def share(self) -> Fraction:
        """Which part of the price this transfer pays."""
        return Fraction(self.amount) / Fraction(self.pay_amount)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxInvoice:
    """An invoice with everything that hangs on it. ``amount`` is in USD; ``override`` is a state put on it by hand."""

    invoice_id: str
    invoice_type: InvoiceType
    amount: Decimal
    description: str
    method_id: int | None
    created_at: datetime
    addresses: tuple[SandboxAddress, ...] = ()
    transactions: tuple[SandboxTransaction, ...] = ()
    override: str | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether it is paid again and again, each time with at least its amount (contract C19)."""
        return self.invoice_type is InvoiceType.REUSABLE

    @property
    def payments(self) -> tuple[Action, ...]:
        """How it can be paid: a reusable one has no end and no whole, so nothing is late and nothing completes it."""
        return tuple(action for action in _PAYMENTS if not (self.is_reusable and action in _ONETIME_PAYMENTS))

    @property
    def state(self) -> str:
        """The gateway's word for where the invoice stands. A reusable one never ends (contract C19)."""
        if self.override:
            return self.override
        received = 0 if self.is_reusable else self.received(_COUNTED)
        if not received:
            return "pending"
        if received < 1:
            return "partially_paid"
        return "paid" if received <= _STILL_EXACT else "overpaid"

    @property
    def aml_ok(self) -> bool | None:
        """The AML verdict; ``None`` while there is none, and always for a reusable invoice."""
        states = {transaction.state for transaction in self.transactions} & _SEEN
        if not states or self.is_reusable:
            return None
        if TransactionState.FLAGGED in states:
            return False
        return True if states == {TransactionState.SETTLED} else None

    @property
    def paid_at(self) -> datetime | None:
        """When the last money of a paid invoice was confirmed."""
        if self.state not in {"paid", "overpaid"}:
            return None
        times = (item.confirmed_at for item in self.transactions if item.state in _COUNTED)
        return max((time for time in times if time), default=None)

    def address_for(self, method_id: int) -> SandboxAddress | None:
        """The address given out last for a method."""
        return next((item for item in reversed(self.addresses) if item.method_id == method_id), None)

    def received(self, states: frozenset[TransactionState] = _SEEN) -> Fraction:
        """How much of the price came in transactions of these states: 1 is exactly what was asked."""
        return sum((item.share for item in self.transactions if item.state in states), Fraction(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Payment:
    """``share`` of the price is sent, ``None`` meaning what is missing."""

    share: Fraction | None = Fraction(1)
    state: TransactionState = TransactionState.SETTLED
    is_late: bool = False


_PAYMENTS = {
    Action.PAY_EXACT: _Payment(),
    Action.PAY_PENDING: _Payment(state=TransactionState.PENDING),
    Action.PAY_SHORT: _Payment(share=Fraction(9, 10)),
    Action.PAY_OVER: _Payment(share=Fraction(11, 10)),
    Action.PAY_LATE: _Payment(is_late=True),
    Action.PAY_FIRST_HALF: _Payment(share=Fraction(1, 2)),
    Action.PAY_SECOND_HALF: _Payment(share=None),
    Action.PAY_DUST: _Payment(share=Fraction(1, 10_000), state=TransactionState.FAILED),
    Action.AML_FAIL: _Payment(state=TransactionState.FLAGGED),
    Action.AML_UNKNOWN: _Payment(state=TransactionState.CONFIRMED),
}
_ONETIME_PAYMENTS = frozenset({Action.PAY_LATE, Action.PAY_FIRST_HALF, Action.PAY_SECOND_HALF})

_MOVES = {
    Action.CONFIRM: (TransactionState.CONFIRMED, {TransactionState.PENDING}),
    Action.SETTLE: (TransactionState.SETTLED, _SEEN - {TransactionState.SETTLED}),
    Action.FLAG: (TransactionState.FLAGGED, _SEEN - {TransactionState.FLAGGED}),
    Action.FAIL: (TransactionState.FAILED, _SEEN),
}


def quote(
    invoice: SandboxInvoice, method_id: int, *, now: datetime, lifetime: timedelta, is_always_new: bool = False
) -> SandboxInvoice:
    """Give out the deposit address for a method, making it on first demand.

    Nothing is given out for a method that the invoice cannot be paid by (contract C10). The address of an (invoice,
    method) pair stays. Once its price has expired, it is renewed for as long as the invoice is open and no money was
    seen. ``is_always_new`` gives a reusable invoice another address every time.
    """
    if method_id not in METHODS or invoice.method_id not in {None, method_id}:
        return invoice
    last = invoice.address_for(method_id)
    if last is None or (invoice.is_reusable and is_always_new):
        before = last.address if last else ""
        made = SandboxAddress(
            method_id=method_id,
            address=METHODS[method_id].address(f"{invoice.invoice_id} {method_id} {before}"),
            pay_amount=METHODS[method_id].price(invoice.amount),
            expires_at=None if invoice.is_reusable else now + lifetime,
        )
        return replace(invoice, addresses=(*invoice.addresses, made)[-_MAX_ADDRESSES:])
    if not _is_renewable(invoice, last, now):
        return invoice
    renewed = replace(last, pay_amount=last.part(_RENEWED), expires_at=now + lifetime)
    others = tuple(address for address in invoice.addresses if address != last)
    return replace(invoice, addresses=(*others, renewed))


def _is_renewable(invoice: SandboxInvoice, address: SandboxAddress, now: datetime) -> bool:
    is_over = address.expires_at is not None and address.expires_at <= now
    return is_over and invoice.state == "pending" and not invoice.received()


def act(
    invoice: SandboxInvoice,
    action: Action,
    *,
    now: datetime,
    new_id: str,
    address: str | None = None,
    transaction_id: str | None = None,
    word: str = "frozen",
) -> SandboxInvoice:
    """Make something happen to an invoice.

    A payment goes to ``address``, ``None`` meaning the one given out last, and its transaction gets ``new_id``.
    ``transaction_id`` says which transaction takes a step, ``None`` meaning the newest that can. ``word`` is the state
    that ``UNKNOWN_STATE`` puts on the invoice; it and ``expired`` stay until ``RELEASE`` or a late payment.

    Raises:
        ActionRefusedError: nothing was changed, and the message says why.
    """
    if action in _PAYMENTS:
        return _pay(invoice, action, to=_find_address(invoice, address), now=now, new_id=new_id)
    if action in _MOVES:
        return _move(invoice, action, now=now, transaction_id=transaction_id)
    overrides = {Action.EXPIRE: "expired", Action.UNKNOWN_STATE: word, Action.RELEASE: None}
    return replace(invoice, override=overrides[action])


def _find_address(invoice: SandboxInvoice, address: str | None) -> SandboxAddress:
    if not invoice.addresses:
        raise ActionRefusedError(Refusal.NO_ADDRESS)
    found = [item for item in invoice.addresses if address in {None, item.address}]
    if not found:
        raise ActionRefusedError(Refusal.NOT_GIVEN_OUT)
    return found[-1]


def _pay(invoice: SandboxInvoice, action: Action, *, to: SandboxAddress, now: datetime, new_id: str) -> SandboxInvoice:
    if action not in invoice.payments:
        raise ActionRefusedError(Refusal.NO_END)
    payment = _PAYMENTS[action]
    share = 1 - invoice.received() if payment.share is None else payment.share
    if share <= 0:
        raise ActionRefusedError(Refusal.NOTHING_MISSING)
    created_at = to.expires_at + _LATE_BY if payment.is_late and to.expires_at else now
    transaction = SandboxTransaction(
        transaction_id=new_id,
        invoice_id=invoice.invoice_id,
        method_id=to.method_id,
        address=to.address,
        amount=to.part(share),
        pay_amount=to.pay_amount,
        state=payment.state,
        created_at=created_at,
        confirmed_at=created_at if payment.state in _COUNTED else None,
    )
    override = None if payment.is_late else invoice.override
    return replace(invoice, transactions=(*invoice.transactions, transaction), override=override)


def _move(invoice: SandboxInvoice, action: Action, *, now: datetime, transaction_id: str | None) -> SandboxInvoice:
    target, _ = _MOVES[action]
    movable = [
        transaction
        for transaction in invoice.transactions
        if action in transaction.steps and transaction_id in {None, transaction.transaction_id}
    ]
    if not movable:
        raise ActionRefusedError(Refusal.NO_TRANSACTION)
    confirmed_at = movable[-1].confirmed_at or (now if target in _COUNTED else None)
    moved = replace(movable[-1], state=target, confirmed_at=confirmed_at)
    transactions = tuple(moved if item == movable[-1] else item for item in invoice.transactions)
    return replace(invoice, transactions=transactions)
