"""Orders, invoices and snapshots in one line each: what a test does not name is what an ordinary payment has.

Times are seconds after ``START``, when the order was placed and its first invoice made. The quote runs for
``QUOTE_SECONDS``, the price is 100.00 USD, and 25.15 USDT are to be sent.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from flask_iterapay.gateway.models import Invoice, InvoiceState, PaymentMethod, Transaction, TransactionState
from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import InvoiceRecord, Order, OrderStatus, Policy, Snapshot

START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
QUOTE_SECONDS = 900
USDT = PaymentMethod(method_id=1, name="USDT-TRC20", network="TRON", ticker="USDT")


def at(seconds: float) -> datetime:
    """The time that many seconds after ``START``."""
    return START + timedelta(seconds=seconds)


def make_record(invoice_id: str = "inv-1", *, quote: float | None = QUOTE_SECONDS, **fields: Any) -> InvoiceRecord:
    """An invoice of ours whose address was given out; ``quote`` is how long its price holds."""
    record = InvoiceRecord(
        invoice_id=invoice_id,
        amount=Decimal("100.00"),
        method=USDT,
        created_at=START,
        address=f"T-{invoice_id}",
        pay_amount="25.150000",
        expires_at=None if quote is None else at(quote),
    )
    return replace(record, **fields)


def make_order(*records: InvoiceRecord, **fields: Any) -> Order:
    """An order that awaits payment of its newest invoice."""
    order = Order(
        order_id="1042",
        amount=Decimal("100.00"),
        created_at=START,
        changed_at=START,
        status=OrderStatus.AWAITING_PAYMENT if records else OrderStatus.NEW,
        invoices=records,
        current_invoice_id=records[-1].invoice_id if records else None,
    )
    return replace(order, **fields)


def make_transaction(
    state: str, *, seen: float = 60, amount: str = "25.150000", transaction_id: str | None = None
) -> Transaction:
    """A transfer of the whole pay amount, seen by the gateway after ``seen`` seconds."""
    return Transaction(
        transaction_id=transaction_id or f"tx-{state}",
        invoice_id="inv-1",
        amount=amount,
        state=TransactionState.parse(state),
        spelling=state,
        created_at=at(seen),
    )


def make_snapshot(
    state: str,
    *transactions: Transaction | str,
    read: float = 120,
    aml: bool | None = None,
    invoice_id: str = "inv-1",
    is_blind: bool = False,
    **fields: Any,
) -> Snapshot:
    """What one reading brought. A transaction may be given by its state; ``is_blind``: they could not be listed."""
    listed = (make_transaction(item) if isinstance(item, str) else item for item in transactions)
    invoice = Invoice(
        invoice_id=invoice_id,
        state=InvoiceState.parse(state),
        spelling=state,
        amount=Decimal("100"),
        invoice_type="onetime",
        method_id=1,
        has_passed_aml=aml,
        created_at=START,
    )
    return Snapshot(
        invoice=replace(invoice, **fields),
        transactions=None if is_blind else tuple(replace(item, invoice_id=invoice_id) for item in listed),
        read_at=at(read),
    )


def live(order: Order, *snapshots: Snapshot) -> Order:
    """Settle one snapshot after the other, each at the time that it was read, under the strict policy."""
    for snapshot in snapshots:
        order = settle(order, [snapshot], snapshot.read_at, Policy())
    return order
