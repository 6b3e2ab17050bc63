"""What the orders need of the gateway. ``GatewayClient`` fits; so does anything that keeps these promises."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from ..gateway.models import DepositAddress, Invoice, InvoiceType, MethodId, PaymentMethod, Transaction

__all__ = ["NOT_OFFERED", "Gateway"]

NOT_OFFERED = frozenset({400, 404, 422})
"""What the gateway says to a method that an invoice does not offer (contract C10); the rest of 4xx may pass."""


class Gateway(Protocol):
    """The gateway, as far as an order uses it.

    1. Every failure is a ``GatewayError``; nothing else escapes.
    2. Every call ends within a deadline of its own. ``create_invoice`` ends before ``create_deadline_seconds``.
    3. ``create_invoice`` is sent at most once per call. The others are reads and may be sent again.
    4. ``get_invoice`` answers for the invoice that was asked for, ``list_transactions`` with transactions of the
       invoices that were asked for, each once.
    """

    def create_invoice(
        self, *, amount: Decimal, method_id: MethodId | None, description: str, invoice_type: InvoiceType
    ) -> str:
        """Make an invoice over ``amount`` USD, the minimum of a reusable one, and return its id."""
        ...

    def get_invoice(self, invoice_id: str) -> Invoice:
        """Read an invoice."""
        ...

    def get_deposit_address(self, invoice_id: str, method_id: MethodId) -> DepositAddress:
        """Read where and how much to send; the first call provisions the address."""
        ...

    def list_transactions(self, invoice_ids: Sequence[str]) -> tuple[Transaction, ...]:
        """Read every transaction of these invoices."""
        ...

    def list_payment_methods(self) -> tuple[PaymentMethod, ...]:
        """Read the payment methods, possibly from a cache."""
        ...
