"""Amounts are exact, plainly written decimals, or they are refused with one error."""

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_iterapay.errors import AmountError, IteraPayError
from flask_iterapay.money import format_decimal, format_usd, parse_decimal, parse_usd

NOT_AMOUNTS = [
    # Not finite, or in a notation that hides the size.
    "NaN",
    "sNaN",
    "Infinity",
    "-Infinity",
    "inf",
    "1e3",
    "1E-8",
    "1E+999999999",
    "0x10",
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("-Infinity"),
    # Signs, also of zero.
    "-1",
    "+1",
    "-0",
    "−1",
    -1,
    Decimal("-1"),
    Decimal("-0"),
    # Separators, blanks, halves of numbers.
    "",
    " ",
    "1_000",
    "1,000",
    "1,5",
    "1 000",
    " 1",
    "1 ",
    "1\n",
    "\t1",
    "1\u00a0",
    ".5",
    "5.",
    ".",
    "1.2.3",
    "$1",
    "1 USD",
    "1\0",
    # Digits that are not ASCII.
    "１",
    "１００",
    "1.５",
    "٣",
    "²",
    "½",
    "\ud800",
    # Too long on either side.
    "1" * 31,
    "0." + "1" * 31,
    "9" * 1_000_000,
    10**30,
    10**5000,
    Decimal(10**30),
    Decimal("1E+1000"),
    Decimal("1E-31"),
    Decimal("0E-31"),
    # Other types, above all those that are almost numbers.
    True,
    False,
    1.0,
    0.1,
    math.nan,
    math.inf,
    None,
    b"1",
    1 + 0j,
    [1],
    {},
]


@pytest.mark.parametrize("parse", [parse_decimal, parse_usd], ids=["decimal", "usd"])
@pytest.mark.parametrize("value", NOT_AMOUNTS, ids=lambda value: type(value).__name__)
def test_what_is_not_a_plain_decimal_is_refused(parse, value):
    """Nothing but ASCII digits with at most one point between them is an amount, whatever Decimal would take."""
    with pytest.raises(AmountError):
        parse(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", "0"),
        ("007", "7"),
        ("25.150", "25.150"),
        ("0.000000000000000001", "0.000000000000000001"),
        ("1" * 30 + "." + "9" * 30, "1" * 30 + "." + "9" * 30),
        (0, "0"),
        (10**30 - 1, "9" * 30),
        (Decimal("1E-8"), "0.00000001"),
        (Decimal("1E-30"), "0." + "0" * 29 + "1"),
        (Decimal("1E+2"), "100"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_a_plain_decimal_is_read_exactly(value, expected):
    """No digit is lost, rounded or added, and trailing zeros stay."""
    assert format_decimal(parse_decimal(value)) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.01", "0.01"),
        ("25", "25.00"),
        ("25.1", "25.10"),
        ("25.1000", "25.10"),
        (7, "7.00"),
        (Decimal("1E+2"), "100.00"),
        ("999999999.99", "999999999.99"),
    ],
)
def test_usd_has_two_decimals(value, expected):
    """An order's amount comes back with exactly two decimals."""
    assert str(parse_usd(value)) == expected


@pytest.mark.parametrize("value", ["0", "0.00", 0, "0.001", "0.009", "1.005", "0.01000000001", "1000000000", 10**9])
def test_usd_outside_the_range_is_refused(value):
    """Nothing, fractions of a cent and a billion are no amounts of an order."""
    with pytest.raises(AmountError):
        parse_usd(value)


def test_the_error_belongs_to_both_families():
    """A shop may catch it as an error of the package or as a ValueError."""
    assert issubclass(AmountError, IteraPayError)
    assert issubclass(AmountError, ValueError)


@pytest.mark.parametrize(
    "value", ["x" * 10_000, "9" * 10_000, Decimal("9" * 10_000)], ids=["text", "digits", "decimal"]
)
def test_the_error_repeats_little_of_the_value(value):
    """A hostile value does not fill the log."""
    with pytest.raises(AmountError) as caught:
        parse_decimal(value)
    assert len(str(caught.value)) < 120
    assert str(caught.value).count(str(value)[0]) == 40


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1e3", "'1e3' is not a plain"),
        (Decimal("-1.5"), "-1.5 is not a plain"),
        (Decimal("NaN"), "NaN is not a plain"),
        (Decimal("1E+31"), "1E+31 is not a plain"),
        (-1, "the number is negative"),
        (10**30, "the number is negative or has more than 30 digits"),
        (1.5, "float is not an exact amount; use Decimal, str or int"),
    ],
    ids=["text", "negative", "not a number", "far too long", "negative int", "long int", "float"],
)
def test_the_error_says_what_was_wrong_with_the_value_as_it_was_given(value, message):
    """Whoever hands over a float, a sign or an exponent reads which of them it was."""
    with pytest.raises(AmountError) as caught:
        parse_decimal(value)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", ["0.00", "1.005", "1000000000.01"])
def test_the_error_names_the_refused_amount(value):
    """Whoever places an order reads which of many amounts it was."""
    with pytest.raises(AmountError, match=value):
        parse_usd(value)


def test_an_amount_does_not_depend_on_the_decimal_context():
    """A shop that computes with few digits still places exact orders."""
    with localcontext(prec=3):
        assert str(parse_usd("12345.67")) == "12345.67"
        assert format_usd(parse_usd("12345.67")) == "12345.67"


def test_format_usd_writes_two_decimals_without_grouping():
    """The gateway is sent what its contract shows."""
    assert [format_usd(Decimal(text)) for text in ("1", "1.5", "1234567.89")] == ["1.00", "1.50", "1234567.89"]


DIGITS = st.text("0123456789", min_size=1, max_size=30)


@given(whole=DIGITS, fraction=DIGITS | st.just(""))
def test_parse_and_format_are_inverse(whole, fraction):
    """What is written plainly comes back digit by digit, but for leading zeros."""
    text = f"{whole}.{fraction}" if fraction else whole
    stripped = whole.lstrip("0") or "0"
    assert format_decimal(parse_decimal(text)) == (f"{stripped}.{fraction}" if fraction else stripped)


@given(cents=st.integers(min_value=1, max_value=10**11 - 1))
def test_every_amount_of_cents_survives(cents):
    """Each amount that an order can have is the same after formatting and parsing."""
    amount = parse_usd(f"{cents // 100}.{cents % 100:02}")
    assert amount * 100 == cents
    assert parse_usd(format_usd(amount)) == amount


@given(value=st.text() | st.floats() | st.decimals() | st.integers() | st.binary() | st.booleans() | st.none())
def test_nothing_else_escapes(value):
    """Whatever comes in, either an exact amount or AmountError comes out."""
    try:
        amount = parse_decimal(value)
    except AmountError:
        return
    assert amount.is_finite()
    assert amount >= 0
    assert amount == Decimal(value)
