"""What is true at the sandbox, read past the package: from the sandbox's own file, judged in the tests' own words."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sequences import BAD, may_be_paid

from flask_iterapay.gateway.models import Invoice, InvoiceState, Transaction
from flask_iterapay.orders.models import InvoiceRecord, Order, Policy, Snapshot
from flask_iterapay.sandbox.engine import SandboxInvoice
from flask_iterapay.sandbox.storage import SandboxStore

__all__ = ["Truth"]

_MONEY_WORDS = {"partially_paid", "paid", "overpaid"}
_KNOWN_WORDS = {*_MONEY_WORDS, "pending", "expired"}


class Truth:
    """The sandbox behind ``path``, by orders: an invoice is an order's if its description says so."""

    def __init__(self, path: Path) -> None:
        self._store = SandboxStore(path)
        self._invoices: list[SandboxInvoice] = []
        self.refresh()

    def refresh(self) -> None:
        """Read what has become true since."""
        self._invoices = self._store.list_invoices()

    def list_invoices(self, order_id: str) -> list[SandboxInvoice]:
        """Every invoice ever made for an order, newest first, orphans included."""
        return [item for item in self._invoices if item.description.startswith(f"{order_id} [")]

    def is_payable(self, order: Order, policy: Policy) -> bool:
        """Whether the gateway's word on one of the order's invoices lets it count as paid."""
        return any(
            may_be_paid(record, _snapshot(invoice), order.amount, policy) for record, invoice in self._pairs(order)
        )

    def find_money(self, order: Order) -> frozenset[tuple[str, str]]:
        """The transfers that did not fail, each with its invoice."""
        return frozenset(
            (invoice.invoice_id, transfer.transaction_id)
            for _, invoice in self._pairs(order)
            for transfer in invoice.transactions
            if transfer.state not in BAD
        )

    def has_money(self, order: Order) -> bool:
        """Whether there is money on any of the order's invoices, by a transfer or by the gateway's word."""
        return bool(self.find_money(order)) or any(invoice.state in _MONEY_WORDS for _, invoice in self._pairs(order))

    def has_transfers(self, order: Order) -> bool:
        """Whether anything was ever sent to one of the order's invoices."""
        return any(invoice.transactions for _, invoice in self._pairs(order))

    def is_unclear(self, order: Order) -> bool:
        """Whether the gateway calls the current invoice by a word that no documentation knows."""
        return any(
            record.invoice_id == order.current_invoice_id and invoice.state not in _KNOWN_WORDS
            for record, invoice in self._pairs(order)
        )

    def list_payable(self, order_id: str, now: datetime) -> list[SandboxInvoice]:
        """The invoices that somebody could pay now: open, with an address given out whose price still holds."""
        return [
            invoice
            for invoice in self.list_invoices(order_id)
            if invoice.state == "pending"
            and any(item.expires_at and item.expires_at > now for item in invoice.addresses)
        ]

    def _pairs(self, order: Order) -> Iterator[tuple[InvoiceRecord, SandboxInvoice]]:
        invoices = {invoice.invoice_id: invoice for invoice in self.list_invoices(order.order_id)}
        return ((record, invoices[record.invoice_id]) for record in order.invoices)


def _snapshot(invoice: SandboxInvoice) -> Snapshot:
    told = Invoice(
        invoice_id=invoice.invoice_id,
        state=InvoiceState.UNKNOWN,
        spelling=invoice.state,
        amount=invoice.amount,
        invoice_type=str(invoice.invoice_type),
        method_id=invoice.method_id,
        has_passed_aml=invoice.aml_ok,
    )
    transactions = tuple(
        Transaction(
            transaction_id=item.transaction_id,
            invoice_id=item.invoice_id,
            amount=format(item.amount, "f"),
            state=item.state,
            spelling=str(item.state),
            created_at=item.created_at,
        )
        for item in invoice.transactions
    )
    return Snapshot(invoice=told, transactions=transactions, read_at=invoice.created_at)
