"""Exact decimals: parse, compare, format. No float is ever accepted, made or returned."""

import re
from decimal import Decimal

from .errors import AmountError

__all__ = ["format_decimal", "format_usd", "parse_decimal", "parse_usd"]

# ASCII digits only: Decimal alone would take "NaN", "1e9", "1_000", full-width digits and surrounding blanks.
_PLAIN = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?")
_MAX_USD = Decimal("1000000000")


def parse_decimal(value: object) -> Decimal:
    """Read a non-negative decimal that is written plainly.

    Takes ``str``, ``int`` and finite ``Decimal``; refuses ``bool``, ``float``, signs, exponents, separators,
    blanks, non-ASCII digits and anything longer than 30 digits on either side of the point.

    Raises:
        AmountError: naming the kind of value, never echoing more than 40 characters of it.
    """
    if isinstance(value, Decimal):
        if not value.is_finite() or value.is_signed() or abs(value.adjusted()) > 30:
            raise AmountError(f"{value!s:.40} is not a plain, non-negative decimal")
        value = format_decimal(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        # The range comes first: turning a huge int into text raises a foreign ValueError.
        if not 0 <= value < 10**30:
            raise AmountError("the number is negative or has more than 30 digits")
        value = str(value)
    if not isinstance(value, str):
        raise AmountError(f"{type(value).__name__} is not an exact amount; use Decimal, str or int")
    if not _PLAIN.fullmatch(value):
        raise AmountError(f"{value[:40]!r} is not a plain, non-negative decimal")
    return Decimal(value)


def parse_usd(value: object) -> Decimal:
    """Read an order's amount in USD: over 0, under a billion, at most two decimals; returned with two.

    Raises:
        AmountError: if it is anything else.
    """
    amount = parse_decimal(value)
    if not 0 < amount < _MAX_USD:
        raise AmountError(f"an amount must be over 0 and under {_MAX_USD}, not {format_decimal(amount)}")
    # On text, since quantize would depend on the precision of the caller's decimal context.
    dollars, _, cents = format_decimal(amount).partition(".")
    if len(cents.rstrip("0")) > 2:
        raise AmountError(f"{format_decimal(amount)} has more than two decimals")
    return Decimal(f"{dollars}.{cents[:2]:0<2}")


def format_decimal(value: Decimal) -> str:
    """Write a decimal plainly, keeping its trailing zeros: ``1E-8`` becomes ``0.00000001``."""
    return format(value, "f")


def format_usd(value: Decimal) -> str:
    """Write a USD amount as the gateway wants it: two decimals, no grouping (contract row C8)."""
    return f"{value:.2f}"
