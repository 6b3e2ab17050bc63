"""Bytes and JSON from the gateway: what is read, what is refused, and that nothing else is ever raised."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_iterapay.gateway import codec
from flask_iterapay.gateway.fields import CodecError
from flask_iterapay.gateway.models import (
    DepositAddress,
    Invoice,
    InvoiceState,
    Merchant,
    PaymentMethod,
    Transaction,
    TransactionState,
    WebhookRegistration,
)

PARSERS = [
    codec.parse_invoice,
    codec.parse_created_invoice,
    codec.parse_invoices,
    codec.parse_transaction,
    codec.parse_transactions,
    codec.parse_payment_methods,
    codec.parse_deposit_address,
    codec.parse_deposit_addresses,
    codec.parse_merchant,
    codec.parse_webhook_registration,
    codec.parse_webhook_token,
]
HOSTILE_BODIES = [
    pytest.param(b"", id="empty"),
    pytest.param(b"<html>502</html>", id="HTML"),
    pytest.param(b'\xef\xbb\xbf{"id": "1"}', id="byte order mark"),
    pytest.param(b'{"id": "\xff"}', id="invalid UTF-8"),
    pytest.param(json.dumps({"id": "1"}).encode("utf-16"), id="UTF-16"),
    pytest.param(b'{"id": NaN}', id="NaN"),
    pytest.param(b'{"id": -Infinity}', id="Infinity"),
    pytest.param(b"[" * 100_000, id="deep nesting, cut"),
    pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep nesting"),
    pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="deep objects"),
    pytest.param(b'{"id": ' + b"9" * 5000 + b"}", id="huge integer"),
    pytest.param(b'{"id": ' + b"9" * 81 + b"}", id="long integer"),
    pytest.param(b'{"id": 1e99999999999999999999}', id="huge exponent"),
    pytest.param(b'{"id": 0.' + b"1" * 500_000 + b"}", id="endless fraction"),
    pytest.param(b'{"id": "1"} {"id": "2"}', id="two values"),
    pytest.param(b'{"id": "1",}', id="trailing comma"),
    pytest.param(b"{'id': '1'}", id="single quotes"),
]

FIELDS = """
    id amount type state status createdAt paymentMethodID methodID amlOk data total address expiresAt name network
    ticker url token settings webhookUrl invoiceID invoice event confirmedAt txHash title detail depositAddress symbol
    currency
"""

names = st.sampled_from(FIELDS.split())
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.decimals(),
    st.text(max_size=70),
    st.sampled_from(["1", "100.00", "paid", "2024-01-15T10:30:00Z", "0001-01-01T00:00:00+14:00", "invoice.paid"]),
)
json_values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=8), max_leaves=20
)


@pytest.mark.parametrize("body", HOSTILE_BODIES)
def test_bytes_that_are_not_strict_json_are_refused(body):
    """Everything that a lax reader might let pass is the codec's own error."""
    with pytest.raises(CodecError):
        codec.decode(body)


def test_numbers_keep_their_digits():
    """A JSON number becomes an exact decimal, trailing zeros included; a whole number stays a whole number."""
    assert repr(codec.decode(b"[100.500000, 1e2, 7]")) == "[Decimal('100.500000'), Decimal('1E+2'), 7]"


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=300))
def test_decoding_raises_nothing_but_its_own_error(body):
    """Any bytes at all are either read or refused."""
    try:
        codec.decode(body)
    except CodecError:
        return


@pytest.mark.parametrize("parse", PARSERS)
@settings(max_examples=50, deadline=None)
@given(data=json_values)
def test_parsing_raises_nothing_but_its_own_error(parse, data):
    """Any JSON at all, in any place, is either read or refused."""
    try:
        parse(data)
    except CodecError:
        return


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("data", [None, "text", 1, True, [None], [[]], {"data": None}, {"data": {}}, {}])
def test_another_shape_is_refused(parse, data):
    """An answer of a wholly different shape is an error, never an empty result."""
    with pytest.raises(CodecError):
        parse(data)


def test_an_invoice_of_the_reference_is_read_whole(invoice):
    """Every field of the reference's schema arrives, and fields that we do not know are ignored."""
    data = invoice | {"amlOk": True, "somethingNew": {"deep": [1]}}
    assert codec.parse_invoice(data) == Invoice(
        invoice_id="a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        state=InvoiceState.OPEN,
        spelling="pending",
        amount=Decimal("100.00"),
        invoice_type="onetime",
        method_id=1,
        has_passed_aml=True,
        created_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
    )


def test_an_invoice_of_the_guide_is_read_whole():
    """The guides' dialect arrives too: a number, ``status``, a description, and no method."""
    body = (
        b'{"id": "inv_a1b2c3d4-e5f6-7890-abcd-ef1234567890", "amount": 100, "type": "onetime",'
        b' "description": "Order #1042", "status": "paid", "createdAt": "2024-01-01T10:00:00Z"}'
    )
    assert codec.parse_invoice(codec.decode(body)) == Invoice(
        invoice_id="inv_a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        state=InvoiceState.PAID,
        spelling="paid",
        amount=Decimal(100),
        invoice_type="onetime",
        description="Order #1042",
        created_at=datetime(2024, 1, 1, 10, tzinfo=UTC),
    )


def test_the_least_invoice_has_an_id_and_a_state():
    """What an answer does not carry is unknown, not guessed; null and empty count as absent."""
    data = {"id": "1", "state": "paid", "amount": None, "type": "", "amlOk": None, "paymentMethodID": None}
    assert codec.parse_invoice(data) == Invoice(invoice_id="1", state=InvoiceState.PAID, spelling="paid")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", 7),
        ("id", ""),
        ("id", "x" * 65),
        ("id", "line\nend"),
        ("id", "zero\u200bwidth"),
        ("id", "\ud800"),
        ("id", "."),
        ("id", ".."),
        ("state", None),
        ("state", ""),
        ("state", 1),
        ("amount", True),
        ("amount", ""),
        ("amount", "-1"),
        ("amount", "1e3"),
        ("amount", "1_000"),
        ("amount", "Infinity"),
        ("amount", " 1"),
        ("amount", "\uff11"),
        ("amount", -1),
        ("amount", Decimal("NaN")),
        ("amount", Decimal("1E+40")),
        ("amount", ["1"]),
        ("type", 1),
        ("paymentMethodID", True),
        ("paymentMethodID", -1),
        ("paymentMethodID", 10**18),
        ("paymentMethodID", ""),
        ("paymentMethodID", Decimal("1.0")),
        ("amlOk", "true"),
        ("amlOk", 1),
        ("amlOk", 0),
    ],
)
def test_an_invoice_that_lies_about_money_or_identity_is_refused(invoice, field, value):
    """A field that decides something is exactly what the contract says, or the whole answer is refused."""
    with pytest.raises(CodecError):
        codec.parse_invoice(invoice | {field: value})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-01-15T10:30:00Z", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15t10:30:00z", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15 10:30:00+00:00", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15T12:30:00+0200", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15T10:30:00", datetime(2024, 1, 15, 10, 30, tzinfo=UTC)),
        ("2024-01-15T10:30:00.123456789Z", datetime(2024, 1, 15, 10, 30, 0, 123456, tzinfo=UTC)),
        ("2000-01-01T00:00:00+14:00", datetime(1999, 12, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_utc(address, written, read):
    """Offsets are converted; a time without one is taken as UTC, which is our assumption."""
    expires_at = codec.parse_deposit_address(address | {"expiresAt": written}).expires_at
    assert expires_at == read
    assert expires_at.tzinfo is UTC


ABSURD_TIMES = [
    "",
    "soon",
    "2024-01-15",
    "2024-W03-1T10:30:00Z",
    "2024-02-30T10:30:00Z",
    "2024-01-15T25:00:00Z",
    "2024-01-15T10:30:00+99:99",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "２０２４-01-15T10:30:00Z",
    1705314600,
    True,
]


@pytest.mark.parametrize("time", ABSURD_TIMES)
def test_an_absurd_expiry_is_refused(address, time):
    """A price whose end cannot be read is not shown as one without an end."""
    with pytest.raises(CodecError, match="expiresAt"):
        codec.parse_deposit_address(address | {"expiresAt": time})


@pytest.mark.parametrize("time", ABSURD_TIMES)
def test_an_absurd_time_that_decides_nothing_is_left_out(invoice, transaction, time):
    """Where a time is only shown, one that cannot be read is as good as none."""
    assert codec.parse_invoice(invoice | {"createdAt": time}).created_at is None
    assert codec.parse_transaction(transaction | {"confirmedAt": time}).confirmed_at is None


def test_a_transaction_is_read_whole(transaction):
    """Every field of the reference's schema arrives."""
    assert codec.parse_transaction(transaction) == Transaction(
        transaction_id="7d9c1f70-0c7e-4f3a-9d55-2f3b8f1f0a11",
        invoice_id="a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        amount="100.50",
        state=TransactionState.CONFIRMED,
        spelling="confirmed",
        created_at=datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
        confirmed_at=datetime(2024, 1, 15, 10, 35, 12, tzinfo=UTC),
        tx_hash="f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
    )


@pytest.mark.parametrize("field", ["id", "invoiceID", "amount", "state", "createdAt"])
@pytest.mark.parametrize("value", [None, True, [], ""])
def test_a_transaction_without_a_required_field_is_refused(transaction, field, value):
    """A transfer counts only if it says which, for what, how much, how far and when."""
    with pytest.raises(CodecError):
        codec.parse_transaction(transaction | {field: value})


def test_a_pending_transaction_has_no_hash_yet(transaction):
    """The optional fields may be null."""
    pending = codec.parse_transaction(transaction | {"confirmedAt": None, "txHash": None})
    assert (pending.confirmed_at, pending.tx_hash) == (None, None)


def read_in_every_way(data):
    """The same transaction read alone, from a bare list and from a page."""
    return [
        codec.parse_transaction(data),
        *codec.parse_transactions([data]).items,
        *codec.parse_transactions({"data": [data], "total": 1}).items,
    ]


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"address": "TRX9xKqP2m"}, "TRX9xKqP2m"),
        ({"depositAddress": "TRX9xKqP2m"}, "TRX9xKqP2m"),
        ({"address": "first", "depositAddress": "second"}, "first"),
        ({"address": None, "depositAddress": "second"}, "second"),
        ({"address": "x" * 256}, "x" * 256),
        ({}, None),
        ({"address": None}, None),
    ],
)
def test_a_transaction_may_tell_the_address_that_was_paid(transaction, fields, address):
    """Undocumented, and kept where it is told; the first of the two names counts."""
    assert [found.address for found in read_in_every_way(transaction | fields)] == [address] * 3


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"symbol": "USDT"}, "USDT"),
        ({"currency": "USD"}, "USD"),
        ({"ticker": "ETH"}, "ETH"),
        ({"symbol": "USDT", "currency": "USD", "ticker": "ETH"}, "USDT"),
        ({"currency": "USD", "ticker": "ETH"}, "USD"),
        ({"symbol": None, "ticker": "ETH"}, "ETH"),
        ({"symbol": "x" * 20}, "x" * 20),
        ({}, None),
        ({"symbol": None, "currency": None, "ticker": None}, None),
    ],
)
def test_a_transaction_may_tell_its_unit(transaction, fields, unit):
    """Undocumented, and kept where it is told; the first of the three names counts."""
    assert [found.unit for found in read_in_every_way(transaction | fields)] == [unit] * 3


GARBAGE = ["", 0, 7, True, False, Decimal("1.5"), [], ["USDT"], {}, {"a": 1}, "\ud800", "nul\0", "line\n", "\u200b"]


@pytest.mark.parametrize("name", ["address", "depositAddress", "symbol", "currency", "ticker"])
@pytest.mark.parametrize("garbage", GARBAGE, ids=repr)
def test_garbage_that_decides_nothing_does_not_hide_a_transaction(transaction, name, garbage):
    """Where a field that nobody documented makes no sense it is left out, and the transfer itself is read."""
    plain = codec.parse_transaction(transaction)
    assert (plain.address, plain.unit) == (None, None)
    assert read_in_every_way(transaction | {name: garbage}) == [plain] * 3


@pytest.mark.parametrize("address", ["two words", "ümlaut", "x" * 257, "\u0430bc", "tab\t"])
def test_what_is_no_address_is_none_of_a_transaction(transaction, address):
    """The same letters count as an address here as where money is sent."""
    assert codec.parse_transaction(transaction | {"address": address}).address is None


@pytest.mark.parametrize("unit", ["x" * 21, "USDT\r\n", "US\u202eD"])
def test_what_is_no_word_is_no_unit(transaction, unit):
    """A unit fits on a line, and nothing in it is invisible."""
    assert codec.parse_transaction(transaction | {"currency": unit}).unit is None


def test_payment_methods_are_read_in_their_order(methods):
    """The sample of the documentation arrives as it stands."""
    assert codec.parse_payment_methods(methods) == (
        PaymentMethod(method_id=1, name="USDT-TRC20", network="TRON", ticker="USDT"),
        PaymentMethod(method_id=2, name="USDT-ERC20", network="Ethereum", ticker="USDT"),
    )


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, "1")])
def test_two_payment_methods_with_one_id_are_refused(methods, first, second):
    """Nobody could tell on which network to send."""
    methods[0]["id"], methods[1]["id"] = first, second
    with pytest.raises(CodecError, match="same id"):
        codec.parse_payment_methods(methods)


@pytest.mark.parametrize("field", ["id", "name", "network", "ticker"])
def test_a_payment_method_that_lacks_a_word_is_left_out(methods, field, caplog):
    """A customer needs the asset and the network in words, and is not cut off from the other methods."""
    del methods[0][field]
    assert [method.name for method in codec.parse_payment_methods(methods)] == ["USDT-ERC20"]
    assert "a payment method is left out" in caplog.text
    with pytest.raises(CodecError, match="no payment method"):
        codec.parse_payment_methods(methods[:1])


def test_a_gateway_without_payment_methods_is_believed():
    """An empty list is an answer."""
    assert codec.parse_payment_methods([]) == ()


def test_a_deposit_address_is_read_whole(address):
    """Address and amount arrive byte for byte."""
    assert codec.parse_deposit_address(address) == DepositAddress(
        address="TRX9xKqP2mNvLwXbY3zJdR7oU5cH1sA4fE",
        pay_amount="100.500000",
        expires_at=datetime(2024, 1, 15, 10, 45, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "text", [None, "", 7, "two words", "line\n", "tab\t", "ümlaut", "\u200bzero", "x" * 257, "nul\0", "\u0430bc"]
)
def test_an_address_that_cannot_be_copied_is_refused(address, text):
    """Only printable ASCII without blanks survives a clipboard, a QR code and a reader's eye."""
    with pytest.raises(CodecError, match="address"):
        codec.parse_deposit_address(address | {"address": text})


@pytest.mark.parametrize(
    "amount",
    [None, "", "0", "0.000", 0, "-1", "+1", "1e-8", "1,5", "25.15 USDT", "NaN", True, Decimal("-0.5"), "1" * 31],
)
def test_an_amount_to_pay_that_is_no_plain_positive_decimal_is_refused(address, amount):
    """Nobody is ever told to send an amount that could be misread."""
    with pytest.raises(CodecError, match="amount"):
        codec.parse_deposit_address(address | {"amount": amount})


@pytest.mark.parametrize(
    ("number", "text"),
    [(b"100.500000", "100.500000"), (b"25", "25"), (b"1.5E-7", "0.00000015"), (b"1e2", "100")],
)
def test_an_amount_that_is_a_number_is_written_by_its_own_digits(address, number, text):
    """A JSON number is tolerated, and never passes through a float."""
    body = json.dumps(address | {"amount": "?"}).encode().replace(b'"?"', number)
    assert codec.parse_deposit_address(codec.decode(body)).pay_amount == text


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (
            {"webhookUrl": "https://shop.example.com/pay/webhook", "ipWhitelist": []},
            "https://shop.example.com/pay/webhook",
        ),
        ({"webhookUrl": None}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_a_merchant_shows_its_webhook_if_it_has_one(settings, url):
    """The registered URL is readable; without settings there is none."""
    data = {"id": "b0fcc813", "name": "My Store", "settings": settings}
    assert codec.parse_merchant(data) == Merchant(merchant_id="b0fcc813", name="My Store", webhook_url=url)


def test_a_webhook_registration_is_read_whole():
    """The URL and the time of its last change arrive."""
    data = {"url": "https://shop.example.com/pay/webhook", "createdAt": "2024-01-01T00:00:00Z"}
    assert codec.parse_webhook_registration(data) == WebhookRegistration(
        url="https://shop.example.com/pay/webhook", created_at=datetime(2024, 1, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize("token", [None, "", 5, "x" * 4097, "line\nend"])
def test_a_webhook_token_that_is_no_text_is_refused(token):
    """A token that could not be stored and shown is not returned."""
    with pytest.raises(CodecError, match="token"):
        codec.parse_webhook_token({"token": token})


def test_texts_lose_their_control_characters_and_their_length():
    """A description cannot break a log line or a page, however long it is."""
    text = codec.parse_invoice({"id": "1", "state": "paid", "description": "a\r\nb" + "c" * 5000}).description
    assert text == "a\ufffd\ufffdb" + "c" * 996


@pytest.mark.parametrize("state", ["paid\n", "paid\u200b", "\x00paid"])
def test_a_state_with_invisible_characters_is_unknown(invoice, state):
    """What only looks like "paid" does not count as paid."""
    assert codec.parse_invoice(invoice | {"state": state}).state is InvoiceState.UNKNOWN


@pytest.mark.parametrize(
    ("total", "read"), [(3, 3), (0, 0), (None, None), ("3", None), (True, None), (Decimal("3.0"), None)]
)
def test_a_page_counts_only_what_is_a_count(invoice, total, read):
    """A total that is no whole number is as good as none."""
    page = codec.parse_invoices({"data": [invoice], "total": total, "page": 1, "limit": 20})
    assert (len(page.items), page.total) == (1, read)


@pytest.mark.parametrize(
    ("hint", "invoice_id"),
    [
        ({"invoiceID": "i-1"}, "i-1"),
        ({"invoiceId": "i-1"}, "i-1"),
        ({"invoice_id": "i-1"}, "i-1"),
        ({"invoice": {"id": "i-1"}}, "i-1"),
        ({"data": {"invoiceID": "i-1"}}, "i-1"),
        ({"data": {"invoiceId": "i-1"}}, "i-1"),
        ({"data": {"invoice_id": "i-1"}}, "i-1"),
        ({"data": {"invoice": {"id": "i-1"}}}, "i-1"),
        ({"event": "invoice.paid", "data": {"id": "i-1"}}, "i-1"),
        ({"type": "Invoice_Expired", "data": {"id": "i-1"}}, "i-1"),
        ({"id": "evt_1", "event": "transaction.confirmed", "data": {"id": "t-1", "invoiceID": "i-1"}}, "i-1"),
        ({"invoiceID": "i-1", "data": {"invoiceID": "i-2"}}, "i-1"),
        ({"invoiceID": 5, "invoiceId": "x" * 65, "invoice": "i-0", "data": {"invoice_id": "i-1"}}, "i-1"),
        ({"event": "transaction.confirmed", "data": {"id": "t-1"}}, None),
        ({"event": {"name": "invoice.paid"}, "data": {"id": "i-1"}}, None),
        ({"event": "invoice.paid", "id": "evt_1"}, None),
        ({"event": "invoice.paid", "data": ["i-1"]}, None),
        ({"invoice": {"id": "../.."}}, "../.."),
        ({"invoice": {"id": ".."}}, None),
        ({}, None),
        ([], None),
        ([{"invoiceID": "i-1"}], None),
        (None, None),
        ("i-1", None),
    ],
)
def test_a_hint_names_its_invoice_in_one_of_the_known_places(hint, invoice_id):
    """The places of contract section 3.6 are searched in their order, and no other."""
    assert codec.find_invoice_id(json.dumps(hint).encode()) == invoice_id


@pytest.mark.parametrize("body", HOSTILE_BODIES)
def test_a_hostile_hint_names_nothing(body):
    """Signed garbage is no invoice and no exception."""
    assert codec.find_invoice_id(body) is None


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value, default=str).encode()))
def test_searching_a_hint_never_raises(body):
    """Any bytes give an id that can be asked for, or nothing."""
    found = codec.find_invoice_id(body)
    assert found is None or 0 < len(found) <= 64


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"title": "Invalid Request", "detail": "bad amount", "status": 400}', ("Invalid Request", "bad amount")),
        (b'{"title": null, "detail": 5}', ("", "")),
        (b'{"detail": "one\\r\\ntwo"}', ("", "one\ufffd\ufffdtwo")),
        (json.dumps({"detail": "x" * 5000}).encode(), ("", "x" * 200)),
        (b'{"detail": "your key s3cret is old"}', ("", "your key [hidden] is old")),
        (b'["title"]', ("", "")),
        (b"<html>", ("", "")),
        (b"", ("", "")),
    ],
)
def test_a_problem_is_made_fit_for_a_log(body, problem):
    """Title and detail are short, printable and without our secrets; any other body has none."""
    assert codec.parse_problem(body, secrets=("", "s3cret")) == problem


def test_a_secret_at_the_cut_is_hidden_whole():
    """Hiding comes before cutting, so that no half of a secret is left over."""
    body = json.dumps({"detail": "x" * 195 + "s3cret-s3cret"}).encode()
    assert codec.parse_problem(body, secrets=("s3cret-s3cret",))[1] == "x" * 195 + "[hidd"


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value, default=str).encode()))
def test_reading_a_problem_never_raises(body):
    """Any error body gives two short, printable texts."""
    assert all(len(text) <= 200 and text.isprintable() for text in codec.parse_problem(body))
