"""A gateway of which nothing is needed but a list of transactions, to read payment links from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from worlds import Timepiece

from flask_iterapay.errors import GatewayUnavailableError, NotFoundError
from flask_iterapay.gateway.models import Page, Transaction, TransactionPage
from flask_iterapay.gateway.paging import make_transaction_page

__all__ = ["ListedGateway"]


@dataclass
class ListedGateway:
    """Lists ``transactions`` newest first, or with ``is_sorted`` false in the order in which they are.

    A page has ``most`` items at most. Each call takes ``seconds``; those whose numbers are in ``failing`` fail.
    ``meanwhile`` runs before each answer.
    ``pages`` and ``asked`` are what was asked for. With ``is_counting`` it tells how many there are in all, and with
    ``is_filtering`` false it lists those of other invoices too.
    """

    clock: Timepiece
    transactions: list[Transaction] = field(default_factory=list)
    most: int = 1000
    seconds: float = 0
    failing: set[int] = field(default_factory=set)
    is_sorted: bool = True
    is_counting: bool = True
    is_filtering: bool = True
    meanwhile: Callable[[], object] = lambda: None
    pages: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def put(self, transaction: Transaction) -> None:
        """List a transaction, in the place of what was known of it."""
        self.transactions = [
            other for other in self.transactions if other.transaction_id != transaction.transaction_id
        ] + [transaction]

    def list_newest_transactions(self, invoice_ids: Sequence[str], *, page: int, limit: int) -> TransactionPage:
        """One page, as the client makes it."""
        self.pages.append(page)
        self._answer()
        items = [item for item in self.transactions if not self.is_filtering or item.invoice_id in invoice_ids]
        if self.is_sorted:
            items = sorted(items, key=lambda item: item.created_at, reverse=True)
        size = min(limit, self.most)
        cut = tuple(items[(page - 1) * size : page * size])
        total = len(items) if self.is_counting else None
        return make_transaction_page(Page(items=cut, total=total), invoice_ids, number=page, limit=limit)

    def get_transaction(self, transaction_id: str) -> Transaction:
        """The transaction alone, or the error that says that there is none."""
        self.asked.append(transaction_id)
        self._answer()
        found = [item for item in self.transactions if item.transaction_id == transaction_id]
        if not found:
            raise NotFoundError("get_transaction", status=404)
        return found[-1]

    def _answer(self) -> None:
        self.clock.advance(self.seconds)
        self.meanwhile()
        if len(self.pages) + len(self.asked) in self.failing:
            raise GatewayUnavailableError("list_newest_transactions")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"reading a link needs no {name}")
