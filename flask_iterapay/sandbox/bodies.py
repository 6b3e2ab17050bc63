"""What the sandbox is asked to make: request bodies, read strictly.

Shares nothing with the client's codec, so that a misreading on one side shows on the other.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..errors import AmountError
from ..gateway.models import InvoiceType
from ..money import parse_usd
from .methods import METHODS
from .settings import CreateForm

__all__ = [
    "InvalidRequestError",
    "InvoiceRequest",
    "decode_body",
    "parse_invoice_request",
    "parse_webhook_request",
    "require",
]

_METHOD_FIELDS = ("paymentMethodID", "methodID")
_WEBHOOK_URL = re.compile(r"https://[!-~]+|http://(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/][!-~]*)?", re.ASCII)


class InvalidRequestError(ValueError):
    """The request is refused with a 400; the message is its ``detail``."""


def require(is_fine: bool, detail: str) -> None:
    """Refuse the request unless something holds."""
    if not is_fine:
        raise InvalidRequestError(detail)


def decode_body(body: bytes) -> dict[str, object]:
    """Read a JSON object, with numbers exact.

    Raises:
        InvalidRequestError: not UTF-8, not JSON, NaN, nested or long beyond reason, half a character, or no object.
    """
    try:
        data = json.loads(body.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
        # A lone surrogate passes the parser, but can be neither stored nor shown.
        json.dumps(data, ensure_ascii=False, default=str).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("The body is not valid JSON") from error
    if not isinstance(data, dict):
        raise InvalidRequestError("The body must be a JSON object")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceRequest:
    """A request for a new invoice; ``method_id`` is ``None`` in the forms that name none."""

    amount: Decimal
    invoice_type: InvoiceType
    description: str
    method_id: int | None


def parse_invoice_request(data: Mapping[str, object], form: CreateForm) -> InvoiceRequest:
    """Read the body of a create in any documented form (contract 1.2, C8, C9), or in the reference's alone.

    Raises:
        InvalidRequestError: naming the field.
    """
    if form is CreateForm.REFERENCE:
        require("paymentMethodID" in data, "The 'paymentMethodID' field is required")
        require(isinstance(data.get("amount"), str), "The 'amount' field must be a decimal string")
    description = data.get("description", "")
    if not isinstance(description, str):
        raise InvalidRequestError("The 'description' field must be a string")
    return InvoiceRequest(
        amount=_parse_amount(data.get("amount")),
        invoice_type=_parse_type(data.get("type")),
        description=description,
        method_id=_parse_method(data),
    )


def _parse_amount(value: object) -> Decimal:
    try:
        return parse_usd(value)
    except AmountError as error:
        raise InvalidRequestError("The 'amount' field must be a positive number with at most 2 decimals") from error


def _parse_type(value: Any) -> InvoiceType:
    try:
        return InvoiceType(value)
    except ValueError as error:
        raise InvalidRequestError("The 'type' field must be onetime or reusable") from error


def _parse_method(data: Mapping[str, object]) -> int | None:
    named = [field for field in _METHOD_FIELDS if field in data]
    if not named:
        return None
    require(len(named) == 1, "Give 'paymentMethodID' or 'methodID', not both")
    value = data[named[0]]
    if type(value) is not int or value not in METHODS:
        raise InvalidRequestError(f"The '{named[0]}' field must be the id of a payment method")
    return value


def parse_webhook_request(data: Mapping[str, object]) -> tuple[str, str]:
    """Read the URL and the secret of a webhook registration (contract 1.8).

    The documentation wants HTTPS; the sandbox takes plain HTTP as well, on loopback.

    Raises:
        InvalidRequestError: naming the field.
    """
    url, secret = data.get("url"), data.get("secret")
    if not isinstance(url, str) or not _WEBHOOK_URL.fullmatch(url):
        raise InvalidRequestError("The 'url' field must be an HTTPS URL")
    if not isinstance(secret, str) or not secret:
        raise InvalidRequestError("The 'secret' field is required")
    return url, secret
