"""Links, transactions and contributions in one line each: what a test does not name is ordinary.

Times are seconds after ``START``, when the link and its invoice were made.
"""

from decimal import Decimal
from typing import Any

from builders import START, USDT, at
from msgspec.structs import replace
from worlds import World

from flask_iterapay.gateway.models import Transaction, TransactionState
from flask_iterapay.links.lifecycle import begin, settle
from flask_iterapay.links.models import Contribution, Link, Visit
from flask_iterapay.orders.entries import InvoiceRecord
from flask_iterapay.orders.models import Policy

REQUIRE = Policy()
UNLESS_FAILED = Policy(is_aml_required=False)
POLICIES = {"require": REQUIRE, "unless_failed": UNLESS_FAILED}


def make_link(*invoice_ids: str, **fields: Any) -> Link:
    """An open link with a reusable invoice over 20.00 USD."""
    invoices = tuple(
        InvoiceRecord(invoice_id=invoice_id, amount=Decimal("20.00"), method=USDT, created_at=START)
        for invoice_id in invoice_ids or ("inv-1",)
    )
    link = Link(link_id="donations", minimum=Decimal("20.00"), created_at=START, changed_at=START, invoices=invoices)
    return replace(link, **fields)


def make_transfer(
    state: str = "settled", transaction_id: str = "tx-1", *, sent: float = 60, **fields: Any
) -> Transaction:
    """A transaction on the link's invoice, seen by the gateway after ``sent`` seconds."""
    transaction = Transaction(
        transaction_id=transaction_id,
        invoice_id="inv-1",
        amount="21.500000",
        state=TransactionState.parse(state),
        spelling=state,
        created_at=at(sent),
    )
    return replace(transaction, **fields)


def make_contribution(*states: str, read: float = 120, policy: Policy = REQUIRE, **fields: Any) -> Contribution:
    """The contribution of a transaction that was read in these states, one after the other, all at one time."""
    transfers = [make_transfer(state) for state in states]
    contribution = begin(make_link(), transfers[0] if transfers else make_transfer("pending"), at(read))
    for transfer in transfers:
        contribution = settle(contribution, transfer, at(read), policy)
    return replace(contribution, **fields)


def make_visit(reference: str = "AAAA", address: str | None = "T-1", **fields: Any) -> Visit:
    """A visit to the link that alone was given an address."""
    visit = Visit(
        reference=reference,
        link_id="donations",
        method=USDT,
        created_at=START,
        changed_at=START,
        invoice_id="inv-1",
        address=address,
        pay_amount="20.000000",
        is_first_holder=address is not None,
    )
    return replace(visit, **fields)


def receive_payment(world: World, action: str = "pay_exact") -> str:
    """Have a visitor pay and the link read; return the id of the contribution."""
    world.clock.advance(1)
    world.pay(world.visit(reference=f"REF-{len(world.wire.requests)}"), action)
    world.links.sync("donations")
    return world.links.list_contributions("donations", limit=1)[0].contribution_id
