"""Which part of a list is asked for: filters, order and paging (contract 1.0, 1.4 and 1.7)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import TypeVar

from werkzeug.datastructures import MultiDict

from ..errors import AmountError
from ..gateway.models import InvoiceType, Page
from ..money import parse_decimal
from .bodies import InvalidRequestError, require
from .engine import SandboxInvoice, SandboxTransaction
from .methods import METHODS

__all__ = [
    "InvoiceFilter",
    "Paging",
    "TransactionFilter",
    "parse_invoice_filter",
    "parse_paging",
    "parse_transaction_filter",
]

Item = TypeVar("Item")

_COUNT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_SORT_KEYS = {"createdAt": attrgetter("created_at"), "amount": attrgetter("amount", "created_at")}
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which page of a list is wanted, in which order."""

    limit: int
    page: int
    is_descending: bool
    order_by: str

    def cut(self, items: Sequence[Item]) -> Page[Item]:
        """Sort the items, which come newest first, and take the page; one beyond the end is empty.

        What sorts alike stays in the order in which it was made, so that one order is the other one reversed.
        """
        ordered = list(reversed(items))
        ordered.sort(key=_SORT_KEYS[self.order_by])
        if self.is_descending:
            ordered.reverse()
        start = (self.page - 1) * self.limit
        return Page(items=tuple(ordered[start : start + self.limit]), total=len(ordered))


def parse_paging(query: MultiDict[str, str]) -> Paging:
    """Read ``limit``, ``page``, ``order`` and ``orderBy``.

    Raises:
        InvalidRequestError: naming the parameter.
    """
    order, order_by = query.get("order", "desc"), query.get("orderBy", "createdAt")
    require(order in {"asc", "desc"}, "The 'order' parameter must be asc or desc")
    require(order_by in _SORT_KEYS, "The 'orderBy' parameter must be createdAt or amount")
    return Paging(
        limit=_parse_count("limit", query.get("limit", "20")),
        page=_parse_count("page", query.get("page", "1")),
        is_descending=order == "desc",
        order_by=order_by,
    )


def _parse_count(name: str, text: str) -> int:
    require(_COUNT.fullmatch(text) is not None, f"The '{name}' parameter must be a positive integer")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceFilter:
    """Which invoices a list shows; what is ``None`` or empty filters nothing."""

    types: frozenset[str]
    states: frozenset[str]
    tokens: frozenset[str]
    amount_from: Decimal | None
    amount_to: Decimal | None
    date_from: datetime | None
    date_to: datetime | None
    aml_ok: bool | None
    search: str

    def matches(self, invoice: SandboxInvoice) -> bool:
        """Whether the invoice is shown."""
        return (
            invoice.invoice_type in (self.types or {invoice.invoice_type})
            and invoice.state in (self.states or {invoice.state})
            and (not self.tokens or bool(self.tokens & _spell_method(invoice.method_id or 1)))
            and (self.amount_from is None or self.amount_from <= invoice.amount)
            and (self.amount_to is None or invoice.amount <= self.amount_to)
            and _is_between(invoice.created_at, self.date_from, self.date_to)
            and self.aml_ok in {None, invoice.aml_ok}
            and self.search.casefold() in invoice.description.casefold()
        )


def parse_invoice_filter(query: MultiDict[str, str]) -> InvoiceFilter:
    """Read the query of an invoice list. Nothing is ever archived here, and ``collectStates[]`` has no known values.

    Raises:
        InvalidRequestError: naming the parameter.
    """
    types = frozenset(query.getlist("types[]"))
    require(types <= {*InvoiceType, "collect", "withdraw"}, "The 'types[]' parameter has an unknown value")
    _parse_boolean("showArchived", query.get("showArchived"))
    return InvoiceFilter(
        types=types,
        states=frozenset(query.getlist("states[]")),
        tokens=frozenset(query.getlist("tokens[]")),
        amount_from=_parse_amount("amountFrom", query.get("amountFrom")),
        amount_to=_parse_amount("amountTo", query.get("amountTo")),
        date_from=_parse_time("dateFrom", query.get("dateFrom")),
        date_to=_parse_time("dateTo", query.get("dateTo")),
        aml_ok=_parse_boolean("amlOk", query.get("amlOk")),
        search=query.get("search", ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFilter:
    """Which transactions a list shows; ``None`` filters nothing."""

    invoice_ids: frozenset[str] | None
    states: frozenset[str] | None
    methods: frozenset[int] | None
    date_from: datetime | None
    date_to: datetime | None

    def matches(self, transaction: SandboxTransaction) -> bool:
        """Whether a transaction of an invoice that was asked for is shown."""
        return (
            (self.states is None or transaction.state in self.states)
            and (self.methods is None or transaction.method_id in self.methods)
            and _is_between(transaction.created_at, self.date_from, self.date_to)
        )


def parse_transaction_filter(data: Mapping[str, object]) -> TransactionFilter:
    """Read the body of a transaction list.

    Raises:
        InvalidRequestError: naming the field.
    """
    return TransactionFilter(
        invoice_ids=_parse_list("invoiceIDs", data, str),
        states=_parse_list("states", data, str),
        methods=_parse_list("tokens", data, int),
        date_from=_parse_time("dateFrom", data.get("dateFrom")),
        date_to=_parse_time("dateTo", data.get("dateTo")),
    )


def _parse_list(name: str, data: Mapping[str, object], kind: type[Item]) -> frozenset[Item] | None:
    if name not in data:
        return None
    items = data[name]
    if not isinstance(items, list) or any(type(item) is not kind for item in items):
        raise InvalidRequestError(f"The '{name}' field must be a list of {kind.__name__}")
    return frozenset(items) or None


def _parse_amount(name: str, text: str | None) -> Decimal | None:
    try:
        return None if text is None else parse_decimal(text)
    except AmountError as error:
        raise InvalidRequestError(f"The '{name}' parameter must be a decimal") from error


def _parse_boolean(name: str, text: str | None) -> bool | None:
    require(text is None or text in _BOOLEANS, f"The '{name}' parameter must be true or false")
    return _BOOLEANS.get(text or "")


def _parse_time(name: str, value: object) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InvalidRequestError(f"'{name}' must be a date and time with its offset")
    return time


def _is_between(time: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or start <= time) and (end is None or time <= end)


def _spell_method(method_id: int) -> set[str]:
    method = METHODS[method_id].method
    return {str(method_id), method.ticker, method.name}
