"""One JSON value at a time: ids, amounts, times, texts. Whatever is wrong is a ``CodecError`` that names the field.

What we assume where the documentation is silent stands in ``codec``.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal

from ..errors import AmountError
from ..money import format_decimal, parse_decimal
from .models import MethodId

__all__ = [
    "CodecError",
    "is_id",
    "parse_address",
    "parse_amount",
    "parse_amount_text",
    "parse_flag",
    "parse_id",
    "parse_method_id",
    "parse_optional_address",
    "parse_optional_text",
    "parse_optional_time",
    "parse_optional_unit",
    "parse_text",
    "parse_time",
    "tidy",
]

_ADDRESS = re.compile(r"[!-~]{1,256}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
_MAX_METHOD_NUMBER = 10**18
_MAX_TEXT_LENGTH = 1000


class CodecError(ValueError):
    """Bytes that are not what the contract says. The message names the field, and is fit for a log."""


def is_id(value: object) -> bool:
    """Tell whether this can be an id: 1 to 64 printable characters, and a segment of a URL."""
    return isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable() and value not in {".", ".."}


def parse_id(value: object, name: str = "id") -> str:
    """Read an opaque id (C12)."""
    if not isinstance(value, str) or not is_id(value):
        raise CodecError(f"{name} is not a text of 1 to 64 printable characters")
    return value


def parse_method_id(value: object, name: str = "paymentMethodID") -> MethodId:
    """Read a payment method's id: a number or a text (C14)."""
    if not isinstance(value, int) or isinstance(value, bool):
        return parse_id(value, name)
    if not 0 <= value < _MAX_METHOD_NUMBER:
        raise CodecError(f"{name} is out of range")
    return value


def parse_address(value: object) -> str:
    """Read a deposit address: anything that can be copied, shown and drawn without being changed."""
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise CodecError("address is not printable ASCII without blanks")
    return value


def parse_optional_address(value: object) -> str | None:
    """Read an address that nothing depends on; one that cannot be read is as good as absent."""
    try:
        return parse_address(value)
    except CodecError:
        return None


def parse_amount(value: object) -> Decimal:
    """Read an amount of either dialect, a text or a number (C8)."""
    try:
        return parse_decimal(value)
    except AmountError as error:
        raise CodecError(f"amount: {error}") from error


def parse_amount_text(value: object) -> str:
    """Check an amount and keep it as it was written: a text byte for byte (C20), a number by its own digits."""
    amount = parse_amount(value)
    return value if isinstance(value, str) else format_decimal(amount)


def parse_flag(value: object, name: str) -> bool | None:
    """Read a boolean that may be absent; nothing else counts as one."""
    if value is None or isinstance(value, bool):
        return value
    raise CodecError(f"{name} is not a boolean")


def parse_time(value: object, name: str) -> datetime:
    """Read an ISO 8601 time as UTC."""
    text = value.upper() if isinstance(value, str) else ""
    if not _TIME.fullmatch(text):
        raise CodecError(f"{name} is not an ISO 8601 time")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise CodecError(f"{name} is not a time of the calendar") from error
    if not 2000 <= time.year < 2200:
        raise CodecError(f"{name} is not of this age")
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def parse_optional_time(value: object) -> datetime | None:
    """Read a time that nothing depends on; one that cannot be read is as good as absent."""
    try:
        return parse_time(value, "")
    except CodecError:
        return None


def parse_text(value: object, name: str) -> str:
    """Read a text that is there, without its control characters."""
    if not isinstance(value, str) or not value:
        raise CodecError(f"{name} is not a text")
    return tidy(value, _MAX_TEXT_LENGTH)


def parse_optional_text(value: object, name: str) -> str | None:
    """Read a text that may be absent, null or empty."""
    return None if value is None or value == "" else parse_text(value, name)


def parse_optional_unit(value: object) -> str | None:
    """Read the name of an asset or a currency; what cannot be one is as good as absent."""
    return value if isinstance(value, str) and 0 < len(value) <= 20 and value.isprintable() else None


def tidy(text: str, max_length: int) -> str:
    """Cut a text short, and replace what cannot be printed, line ends included."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text[:max_length])
