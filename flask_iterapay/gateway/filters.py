"""The filters of an invoice list, and the query that carries them (contract section 1.4)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypedDict

from ..money import format_decimal
from .models import MethodId

__all__ = ["InvoiceFilters", "format_filters"]

_NAMES = {
    "types": "types[]",
    "states": "states[]",
    "tokens": "tokens[]",
    "amount_from": "amountFrom",
    "amount_to": "amountTo",
    "date_from": "dateFrom",
    "date_to": "dateTo",
    "is_aml_ok": "amlOk",
    "search": "search",
    "order": "order",
    "order_by": "orderBy",
}


class InvoiceFilters(TypedDict, total=False):
    """What a list of invoices can be narrowed to and sorted by; what is left out does not narrow it.

    ``states`` are the gateway's own spellings, ``tokens`` payment method ids, dates aware times of creation.
    """

    types: tuple[str, ...]
    states: tuple[str, ...]
    tokens: tuple[MethodId, ...]
    amount_from: Decimal
    amount_to: Decimal
    date_from: datetime
    date_to: datetime
    is_aml_ok: bool
    search: str
    order: Literal["asc", "desc"]
    order_by: str


def format_filters(filters: InvoiceFilters, *, page: int, limit: int) -> list[tuple[str, str]]:
    """Write a list's query: arrays by repeating their bracketed name, method ids as text (C30).

    Raises:
        ValueError: for a date without an offset.
    """
    query = [("page", str(page)), ("limit", str(limit))]
    for name, value in filters.items():
        query += [(_NAMES[name], _format(item)) for item in (value if isinstance(value, tuple) else (value,))]
    return query


def _format(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, datetime):
        return _format_time(value)
    return str(value)


def _format_time(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError("a date to filter by needs an offset, such as UTC")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
