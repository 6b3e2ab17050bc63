"""What the payment links need of the gateway, besides what the orders do. ``GatewayClient`` fits."""

from collections.abc import Sequence
from typing import Protocol

from ..gateway.models import Transaction, TransactionPage
from ..orders.gateway import Gateway

__all__ = ["LinkGateway"]


class LinkGateway(Gateway, Protocol):
    """The gateway, as far as a payment link uses it. The promises of ``Gateway`` hold here too."""

    def list_newest_transactions(self, invoice_ids: Sequence[str], *, page: int, limit: int) -> TransactionPage:
        """Read one page of the transactions of these invoices, newest first, and how far down it reaches."""
        ...

    def get_transaction(self, transaction_id: str) -> Transaction:
        """Read one transaction."""
        ...
