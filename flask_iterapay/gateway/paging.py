"""Lists that come in pages: where they end, and how to go through them (contract C31)."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from ..errors import GatewayError
from .models import Page, Transaction, TransactionPage

__all__ = ["PAGE_LIMIT", "has_more", "iterate_pages", "make_transaction_page", "pick_transactions"]

Item = TypeVar("Item")

PAGE_LIMIT = 100

_MAX_PAGES = 20

logger = logging.getLogger("flask_iterapay")


def has_more(page: Page[Item], *, seen: int, limit: int) -> bool:
    """Tell whether another page follows this one, the last of those that ``seen`` items have come from so far.

    The total ends a list, or a short page where no total is given; an empty page always does. Where there is a total,
    a short page is no end: the gateway may allow fewer items to a page than were asked for.
    """
    length = len(page.items) + page.left_out
    if not length:
        return False
    return length == limit if page.total is None else seen < page.total


def iterate_pages(read_page: Callable[[int], Page[Item]], *, if_more: GatewayError | None = None) -> Iterator[Item]:
    """Go through pages of 100 to the end of the list, or to the twentieth.

    What lies beyond the last page that is read raises ``if_more``, or is left out with a warning.
    """
    seen = 0
    for number in range(1, _MAX_PAGES + 1):
        page = read_page(number)
        yield from page.items
        seen += len(page.items)
        if not has_more(page, seen=seen, limit=PAGE_LIMIT):
            return
    if if_more is not None:
        raise if_more
    logger.warning("A list of the gateway has more than %d pages; the rest is left out", _MAX_PAGES)


def pick_transactions(transactions: Iterable[Transaction], invoice_ids: Sequence[str]) -> tuple[Transaction, ...]:
    """Keep the transactions of these invoices, each once, as it was seen last."""
    found = {transaction.transaction_id: transaction for transaction in transactions}
    return tuple(transaction for transaction in found.values() if transaction.invoice_id in invoice_ids)


def make_transaction_page(
    page: Page[Transaction], invoice_ids: Sequence[str], *, number: int, limit: int
) -> TransactionPage:
    """Judge a page by all that is on it, and keep the transactions of these invoices."""
    # The pages before were at least as long as this one. To count them by the limit would end the list too early
    # where the gateway allows fewer items to a page than were asked for.
    seen = number * (len(page.items) + page.left_out)
    return TransactionPage(
        items=pick_transactions(page.items, invoice_ids),
        reaches_to=_find_reach(page.items),
        has_more=has_more(page, seen=seen, limit=limit),
    )


def _find_reach(transactions: Sequence[Transaction]) -> datetime | None:
    times = [transaction.created_at for transaction in transactions]
    return times[-1] if times and times == sorted(times, reverse=True) else None
