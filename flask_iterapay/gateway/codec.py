"""JSON bytes to the gateway's words and back: tolerant of shape, strict about money.

Both documented dialects are read, the reference's (``state``, string amounts, ``paymentMethodID``) and the guides'
(``status``, number amounts, ``methodID``); fields that we do not know are ignored. Numbers never pass through a
float. Rows such as C11 are those of section 2 of the API contract.

What the documentation does not say, and we assume:

* A time without an offset is UTC; a year outside 2000 to 2199 is a mistake.
* Ids have at most 64 printable characters. ``.`` and ``..`` are none, since a URL cannot carry them.
* A deposit address is printable ASCII without blanks, at most 256 characters long.
* The amount to pay is over zero. A JSON number there stands for its own digits.
* ``amlOk`` that is there, but neither a boolean nor null, makes the whole answer unusable: read as "unknown", a
  ``"false"`` could pay an order.
* A reusable invoice without a minimum is made for one cent, since the documentation requires an amount.
* A transaction is listed at most ten minutes after its ``createdAt``: a payment link reads so far beyond what it knows,
  and once a day, should that be wrong, so far that none is missed that is listed a day late.
* The item of an address list may name its method as ``paymentMethodID`` or ``methodID``; where it names none, it
  stays unknown (C7).
* A transaction may tell the address that was paid, as ``address`` or ``depositAddress``, and what its amount counts
  (C29), as ``symbol``, ``currency`` or ``ticker``, in 1 to 20 printable characters. What is neither is left out.
* An invoice list filters its descriptions by ``search``: the real name of that parameter is not known (``filters``).
* A hint carries an invoice's id in one of the places of contract section 3.6; nothing else in it is read.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal, NoReturn, TypeVar

from ..money import format_usd
from .fields import (
    CodecError,
    is_id,
    parse_address,
    parse_amount,
    parse_amount_text,
    parse_flag,
    parse_id,
    parse_method_id,
    parse_optional_address,
    parse_optional_text,
    parse_optional_time,
    parse_optional_unit,
    parse_text,
    parse_time,
    tidy,
)
from .models import (
    DepositAddress,
    Invoice,
    InvoiceState,
    InvoiceType,
    Merchant,
    MethodId,
    Page,
    PaymentMethod,
    Transaction,
    TransactionState,
    WebhookRegistration,
)

__all__ = [
    "decode",
    "find_invoice_id",
    "format_invoice",
    "format_transaction_filter",
    "format_webhook",
    "parse_created_invoice",
    "parse_deposit_address",
    "parse_deposit_addresses",
    "parse_invoice",
    "parse_invoices",
    "parse_merchant",
    "parse_payment_methods",
    "parse_problem",
    "parse_readable_transactions",
    "parse_transaction",
    "parse_transactions",
    "parse_webhook_registration",
    "parse_webhook_token",
]

Item = TypeVar("Item")
Fields = dict[str, object]

_MAX_NUMBER_LENGTH = 80

logger = logging.getLogger("flask_iterapay")


def decode(body: bytes) -> object:
    """Read strict JSON: UTF-8 without a byte order mark, no NaN or Infinity, bounded numbers, exact decimals.

    Raises:
        CodecError: for anything else, deep nesting included.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_int=_parse_int,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
        )
    except CodecError:
        raise
    except (ValueError, RecursionError) as error:
        raise CodecError("not JSON") from error


def _parse_int(digits: str) -> int:
    _check_number_length(digits)
    return int(digits)


def _parse_float(digits: str) -> Decimal:
    _check_number_length(digits)
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        raise CodecError("a number with an absurd exponent") from error


def _check_number_length(digits: str) -> None:
    if len(digits) > _MAX_NUMBER_LENGTH:
        raise CodecError("a number of absurd length")


def _refuse_constant(name: str) -> NoReturn:
    raise CodecError(f"{name} is not JSON")


def parse_invoice(data: object) -> Invoice:
    """Read an invoice of either dialect (C8, C9, C11, C12, C15); what it does not carry is ``None``."""
    fields = _fields(data, "invoice")
    spelling = _parse_spelling(fields)
    amount = _first(fields, "amount")
    return Invoice(
        invoice_id=parse_id(fields.get("id")),
        state=InvoiceState.parse(spelling),
        spelling=spelling,
        amount=None if amount is None else parse_amount(amount),
        invoice_type=parse_optional_text(fields.get("type"), "type"),
        method_id=_parse_optional_method_id(fields),
        has_passed_aml=parse_flag(fields.get("amlOk"), "amlOk"),
        description=parse_optional_text(fields.get("description"), "description"),
        created_at=parse_optional_time(fields.get("createdAt")),
    )


def parse_created_invoice(data: object) -> str:
    """Read the id of a new invoice from ``{id}`` or from a whole invoice (C13)."""
    return parse_id(_fields(data, "invoice").get("id"))


def parse_invoices(data: object) -> Page[Invoice]:
    """Read one page of invoices (C31)."""
    return _parse_page(data, parse_invoice)


def parse_transaction(data: object) -> Transaction:
    """Read a transaction (C28). Its amount keeps the gateway's digits, since its unit is not known (C29)."""
    fields = _fields(data, "transaction")
    spelling = _parse_spelling(fields)
    return Transaction(
        transaction_id=parse_id(fields.get("id")),
        invoice_id=parse_id(_first(fields, "invoiceID", "invoiceId", "invoice_id"), "invoiceID"),
        amount=parse_amount_text(fields.get("amount")),
        state=TransactionState.parse(spelling),
        spelling=spelling,
        created_at=parse_time(fields.get("createdAt"), "createdAt"),
        confirmed_at=parse_optional_time(fields.get("confirmedAt")),
        tx_hash=parse_optional_text(fields.get("txHash"), "txHash"),
        # Nobody documents these two and no money depends on them, so garbage here must not hide the whole transfer.
        address=parse_optional_address(_first(fields, "address", "depositAddress")),
        unit=parse_optional_unit(_first(fields, "symbol", "currency", "ticker")),
    )


def parse_transactions(data: object) -> Page[Transaction]:
    """Read one page of transactions (C31)."""
    return _parse_page(data, parse_transaction)


def parse_readable_transactions(data: object) -> Page[Transaction]:
    """Read one page of transactions, and leave out those that cannot be read, so that one does not hide the others.

    A page of which nothing can be read is refused: then it is the gateway that writes in another way.
    """
    page = _parse_page(data, _parse_readable_transaction)
    found = tuple(transaction for transaction in page.items if transaction)
    if page.items and not found:
        raise CodecError("no transaction can be read")
    return Page(items=found, total=page.total, left_out=len(page.items) - len(found))


def _parse_readable_transaction(data: object) -> Transaction | None:
    try:
        return parse_transaction(data)
    except CodecError as error:
        transaction_id = data.get("id") if isinstance(data, dict) else None
        logger.error("transaction %.80r cannot be read and is left out: %s", transaction_id, error)
        return None


def parse_payment_methods(data: object) -> tuple[PaymentMethod, ...]:
    """Read the payment methods.

    One that lacks a word is left out, so that it does not take the others from the customers. Two with one id are
    refused: nobody could tell which network to send on.
    """
    items = _items(data)
    methods = tuple(method for item in items if (method := _parse_complete_method(item)))
    if items and not methods:
        raise CodecError("no payment method is complete")
    if len({str(method.method_id) for method in methods}) < len(methods):
        raise CodecError("two payment methods have the same id")
    return methods


def _parse_complete_method(data: object) -> PaymentMethod | None:
    try:
        return _parse_payment_method(data)
    except CodecError as error:
        logger.warning("a payment method is left out: %s", error)
        return None


def _parse_payment_method(data: object) -> PaymentMethod:
    fields = _fields(data, "payment method")
    return PaymentMethod(
        method_id=parse_method_id(fields.get("id"), "id"),
        name=parse_text(fields.get("name"), "name"),
        network=parse_text(fields.get("network"), "network"),
        ticker=parse_text(fields.get("ticker"), "ticker"),
    )


def parse_deposit_address(data: object) -> DepositAddress:
    """Read where and how much to send: the amount byte for byte (C20), the expiry only if there is one (C19)."""
    fields = _fields(data, "deposit address")
    pay_amount = parse_amount_text(fields.get("amount"))
    if not Decimal(pay_amount):
        raise CodecError("amount to pay is zero")
    expires_at = fields.get("expiresAt")
    return DepositAddress(
        address=parse_address(fields.get("address")),
        pay_amount=pay_amount,
        expires_at=None if expires_at is None else parse_time(expires_at, "expiresAt"),
        method_id=_parse_optional_method_id(fields),
    )


def parse_deposit_addresses(data: object) -> tuple[DepositAddress, ...]:
    """Read a bare or wrapped list of deposit addresses, which may be empty (C7)."""
    return tuple(parse_deposit_address(item) for item in _items(data))


def parse_merchant(data: object) -> Merchant:
    """Read a merchant and, if its settings show one, the URL of its webhook."""
    fields = _fields(data, "merchant")
    settings = fields.get("settings")
    return Merchant(
        merchant_id=parse_id(fields.get("id")),
        name=parse_text(fields.get("name"), "name"),
        webhook_url=parse_optional_text(settings.get("webhookUrl"), "webhookUrl")
        if isinstance(settings, dict)
        else None,
    )


def parse_webhook_registration(data: object) -> WebhookRegistration:
    """Read the merchant's one webhook."""
    fields = _fields(data, "webhook")
    return WebhookRegistration(
        url=parse_text(fields.get("url"), "url"),
        created_at=parse_optional_time(fields.get("createdAt")),
    )


def parse_webhook_token(data: object) -> str:
    """Read the token that a registration returns once, whatever its prefix (C24)."""
    token = _fields(data, "webhook").get("token")
    if not isinstance(token, str) or not token.isprintable() or not 0 < len(token) <= 4096:
        raise CodecError("token is not a text of 1 to 4096 printable characters")
    return token


def parse_problem(body: bytes, *, secrets: Sequence[str] = ()) -> tuple[str, str]:
    """Read title and detail of a problem body (RFC 7807); both are empty if it is none (C36). Never raises.

    Both are fit for a log: at most 200 characters, no control characters, and ``secrets`` that the gateway echoed
    are hidden.
    """
    try:
        fields = _fields(decode(body), "problem")
    except CodecError:
        return "", ""
    return _tidy_problem(fields.get("title"), secrets), _tidy_problem(fields.get("detail"), secrets)


def _tidy_problem(text: object, secrets: Sequence[str]) -> str:
    if not isinstance(text, str):
        return ""
    for secret in filter(None, secrets):
        text = text.replace(secret, "[hidden]")
    return tidy(text, 200)


def find_invoice_id(body: bytes) -> str | None:
    """Find the invoice that a hint is about, or ``None`` (contract section 3.6). Never raises."""
    try:
        hint = _fields(decode(body), "hint")
    except CodecError:
        return None
    return next((value for value in _list_id_candidates(hint) if isinstance(value, str) and is_id(value)), None)


def _list_id_candidates(hint: Fields) -> Iterator[object]:
    data = hint.get("data")
    for fields in (hint, data):
        if isinstance(fields, dict):
            yield from (fields.get(key) for key in ("invoiceID", "invoiceId", "invoice_id"))
            invoice = fields.get("invoice")
            yield invoice.get("id") if isinstance(invoice, dict) else None
    names = (hint.get("event"), hint.get("type"))
    if isinstance(data, dict) and any(isinstance(name, str) and name.lower().startswith("invoice") for name in names):
        yield data.get("id")


def _parse_optional_method_id(fields: Fields) -> MethodId | None:
    value = _first(fields, "paymentMethodID", "methodID")
    return None if value is None else parse_method_id(value)


def _parse_spelling(fields: Fields) -> str:
    return parse_text(_first(fields, "state", "status"), "state")


def _parse_page(data: object, parse_item: Callable[[object], Item]) -> Page[Item]:
    total = data.get("total") if isinstance(data, dict) else None
    return Page(
        items=tuple(parse_item(item) for item in _items(data)),
        total=total if isinstance(total, int) and not isinstance(total, bool) else None,
    )


def _fields(data: object, name: str) -> Fields:
    if not isinstance(data, dict):
        raise CodecError(f"{name} is not an object")
    return data


def _items(data: object) -> list[object]:
    items = data.get("data") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise CodecError("the answer is not a list")
    return items


def _first(fields: Fields, *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def format_invoice(
    *,
    amount: Decimal,
    invoice_type: InvoiceType,
    description: str,
    method_id: MethodId | None,
    form: Literal["reference", "concept"] = "reference",
) -> bytes:
    """Write the body that creates an invoice, in one of the documented forms (C8, C9).

    ``"reference"`` has the amount as a string with two decimals and ``paymentMethodID``; ``"concept"``, the page on
    payment methods, has it as a number and ``methodID``.
    """
    is_reference = form == "reference"
    body: dict[str, object] = {"type": str(invoice_type)}
    if description:
        body["description"] = description
    if method_id is not None:
        body["paymentMethodID" if is_reference else "methodID"] = method_id
    digits = format_usd(amount)
    # The number is written by its digits, since the json module would take a decimal for a float only.
    return f'{{"amount": {json.dumps(digits) if is_reference else digits}, '.encode() + _encode(body)[1:]


def format_transaction_filter(invoice_ids: Sequence[str]) -> bytes:
    """Write the body that asks for the transactions of some invoices."""
    return _encode({"invoiceIDs": list(invoice_ids)})


def format_webhook(*, url: str, secret: str) -> bytes:
    """Write the body that registers the merchant's webhook."""
    return _encode({"url": url, "secret": secret})


def _encode(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode("ascii")
