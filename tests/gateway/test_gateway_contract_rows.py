"""The contradictions of the documentation (contract section 2), one by one, as the client meets them.

Rows C4, C26 and C33 to C35 are for operators and the configuration; nothing in the client depends on them.
"""

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from flask_iterapay.errors import (
    BadRequestError,
    ForbiddenError,
    MalformedAnswerError,
    NotFoundError,
    OversizedAnswerError,
    SignatureError,
    UnauthorizedError,
)
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.gateway.codec import find_invoice_id
from flask_iterapay.gateway.models import InvoiceState, InvoiceType, TransactionState
from flask_iterapay.gateway.signing import verify

INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


def credentials(request):
    return {name: request.headers[name] for name in ("X-Api-Key", "Authorization") if name in request.headers}


@pytest.mark.parametrize(
    ("auth", "expected"),
    [("api_key", {"X-Api-Key": "canary-key-4f1d9a"}), ("bearer", {"Authorization": "Bearer canary-key-4f1d9a"})],
)
def test_one_credential_travels_never_two(gateway, make_client, invoice, auth, expected):
    """C1: the key goes into X-Api-Key, or into Authorization where that is configured, and never into both."""
    gateway.answer(invoice)
    make_client(auth=auth).get_invoice(INVOICE_ID)
    assert credentials(gateway.request) == expected


def test_a_refused_key_is_not_tried_in_the_other_header(gateway, client):
    """C2: after a 401 the key is not sent again as a bearer token."""
    gateway.answer(401)
    with pytest.raises(UnauthorizedError):
        client.get_invoice(INVOICE_ID)
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("key", ["iterapay_live_abc", "ipa_live_abc", "019e079d-9991-4f00-8f00-0123456789ab"])
def test_a_key_is_opaque(gateway, make_client, invoice, key):
    """C3: a key of any shape is sent as it is."""
    gateway.answer(invoice)
    make_client(api_key=key).get_invoice(INVOICE_ID)
    assert gateway.request.headers["X-Api-Key"] == key


def test_an_expired_key_raises_an_alarm(gateway, client, caplog):
    """C3: keys expire, so a 401 leaves one log record that says what to renew."""
    gateway.answer(401)
    with caplog.at_level(logging.ERROR, "flask_iterapay"), pytest.raises(UnauthorizedError):
        client.get_invoice(INVOICE_ID)
    (record,) = caplog.records
    assert "401" in record.message
    assert "ITERAPAY_API_KEY" in record.message


def test_public_endpoints_get_the_key_too(gateway, client, invoice, address, api_key):
    """C5: one page wants the key for the address, so it always travels, from the server."""
    gateway.answer(invoice, address, [])
    client.get_public_invoice(INVOICE_ID)
    client.get_deposit_address(INVOICE_ID, 1)
    client.list_deposit_addresses(INVOICE_ID)
    assert [credentials(request) for request in gateway.requests] == [{"X-Api-Key": api_key}] * 3
    assert all(request.url.path.startswith("/public/") for request in gateway.requests)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_address_list_falls_back_to_single_methods(gateway, client, methods, address, status):
    """C6: where the list is refused, each payment method is asked for; those not offered are left out."""
    gateway.answer(status, methods, 404, address)
    (found,) = client.list_deposit_addresses(INVOICE_ID)
    assert (found.address, found.method_id) == (address["address"], 2)
    assert [request.url.path.rsplit("/", 2)[1:] for request in gateway.requests[2:]] == [
        ["1", "address"],
        ["2", "address"],
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_everywhere_is_an_error(gateway, client, status):
    """C6: the fallback does not hide that the key itself is bad."""
    gateway.answer(status, status)
    with pytest.raises((UnauthorizedError, ForbiddenError)):
        client.list_deposit_addresses(INVOICE_ID)


@pytest.mark.parametrize("wrap", [list, lambda items: {"data": items}], ids=["bare", "wrapped"])
@pytest.mark.parametrize(
    ("names", "method_ids"),
    [([], []), ([{}], [None]), ([{"methodID": 1}, {"paymentMethodID": "usdt"}], [1, "usdt"])],
)
def test_an_address_list_comes_bare_or_wrapped(gateway, client, address, wrap, names, method_ids):
    """C7: both shapes are read, an empty list is one, and an item's method may be named either way or not at all."""
    gateway.answer(wrap([address | name for name in names]))
    assert [found.method_id for found in client.list_deposit_addresses(INVOICE_ID)] == method_ids


@pytest.mark.parametrize("wrap", [list, lambda items: {"data": items}], ids=["bare", "wrapped"])
@pytest.mark.parametrize("name", ["paymentMethodID", "methodID"])
@pytest.mark.parametrize("end", [{"expiresAt": None}, {}], ids=["null", "absent"])
def test_an_address_list_may_be_without_an_end(gateway, client, address, wrap, name, end):
    """C7, C19: a reusable invoice's addresses have no expiry in either shape of the list, and keep their methods."""
    del address["expiresAt"]
    gateway.answer(wrap([address | end | {name: 1}, address | end | {name: 2, "amount": "0.006"}]))
    found = client.list_deposit_addresses(INVOICE_ID)
    assert [(item.method_id, item.pay_amount, item.expires_at) for item in found] == [
        (1, "100.500000", None),
        (2, "0.006", None),
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_address_list_of_a_reusable_invoice_falls_back_too(gateway, client, methods, address, status):
    """C6, C19: the addresses that are asked for one by one need no end either."""
    gateway.answer(status, methods, address | {"expiresAt": None}, 400)
    (found,) = client.list_deposit_addresses(INVOICE_ID)
    assert (found.method_id, found.expires_at) == (1, None)


@pytest.mark.parametrize("amount", [Decimal("100"), Decimal("100.0"), Decimal("1E+2"), Decimal("100.00")])
def test_an_amount_is_sent_as_a_string_with_two_decimals(gateway, client, amount):
    """C8: what we send is the reference's form, however the decimal was made."""
    gateway.answer({"id": INVOICE_ID})
    client.create_invoice(amount=amount, method_id=1, description="")
    assert json.loads(gateway.request.content) == {"amount": "100.00", "type": "onetime", "paymentMethodID": 1}


@pytest.mark.parametrize("written", [b'"100.10"', b"100.10", b"100.1", b"1001E-1"])
def test_an_amount_is_read_as_string_or_number(gateway, client, invoice, written):
    """C8: both forms give the same exact decimal."""
    body = json.dumps(invoice).encode().replace(b'"100.00"', written)
    gateway.answer(httpx.Response(200, content=body))
    assert client.get_invoice(INVOICE_ID).amount == Decimal("100.10")


@pytest.mark.parametrize("amount", [True, "NaN", "-100.00", -100, "1e2", [100]])
def test_an_amount_that_is_no_money_is_refused(gateway, client, invoice, amount):
    """C8: a boolean, a sign or an exponent in a string makes the answer unusable."""
    gateway.answer(invoice | {"amount": amount})
    with pytest.raises(MalformedAnswerError) as caught:
        client.get_invoice(INVOICE_ID)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("method_id", "sent"), [(1, {"paymentMethodID": 1}), ("usdt", {"paymentMethodID": "usdt"}), (None, {})]
)
def test_the_method_is_sent_under_the_name_of_the_reference(gateway, client, method_id, sent):
    """C9: it is ``paymentMethodID``, or nothing for the guides' form."""
    gateway.answer({"id": INVOICE_ID})
    client.create_invoice(amount=Decimal("100"), method_id=method_id, description="Order #1")
    body = json.loads(gateway.request.content)
    assert body == {"amount": "100.00", "type": "onetime", "description": "Order #1"} | sent


def test_the_other_documented_form_of_creating_can_be_chosen(make_client, gateway):
    """C8, C9: a number, digit by digit, and ``methodID``, for a gateway that wants the concept page's form."""
    gateway.answer({"id": INVOICE_ID})
    client = make_client(create_form="concept")
    client.create_invoice(amount=Decimal("100.10"), method_id=1, description="Order #7")
    assert gateway.request.content == (
        b'{"amount": 100.10, "type": "onetime", "description": "Order #7", "methodID": 1}'
    )


@pytest.mark.parametrize("name", ["paymentMethodID", "methodID"])
def test_the_method_is_read_under_either_name(gateway, client, name):
    """C9: both names are understood."""
    gateway.answer({"id": INVOICE_ID, "state": "pending", name: 3})
    assert client.get_invoice(INVOICE_ID).method_id == 3


@pytest.mark.parametrize(("status", "error"), [(400, BadRequestError), (404, NotFoundError)])
def test_a_method_that_is_not_offered_has_its_own_errors(gateway, client, status, error):
    """C10: the address call may refuse another method than the invoice was made with."""
    gateway.answer(status)
    with pytest.raises(error):
        client.get_deposit_address(INVOICE_ID, 2)


@pytest.mark.parametrize("fields", [{"state": "paid"}, {"status": "paid"}, {"state": "paid", "status": "pending"}])
def test_the_state_is_read_under_either_name(gateway, client, fields):
    """C11: ``state`` counts before ``status``."""
    gateway.answer({"id": INVOICE_ID} | fields)
    assert client.get_invoice(INVOICE_ID).state is InvoiceState.PAID


@pytest.mark.parametrize(
    ("spelling", "state"),
    [
        ("Partially paid", InvoiceState.UNDERPAID),
        ("PARTIALLY-PAID", InvoiceState.UNDERPAID),
        ("Overpaid", InvoiceState.OVERPAID),
        ("Active", InvoiceState.OPEN),
        ("refund requested", InvoiceState.UNKNOWN),
    ],
)
def test_a_state_is_normalised_and_its_spelling_kept(gateway, client, invoice, spelling, state):
    """C11: case, spaces and hyphens do not matter, and a word that nobody documented is unknown."""
    gateway.answer(invoice | {"state": spelling})
    found = client.get_invoice(INVOICE_ID)
    assert (found.state, found.spelling) == (state, spelling)


@pytest.mark.parametrize("invoice_id", [INVOICE_ID, f"inv_{INVOICE_ID}", "7", "Rechnung 7", "a/b?c#d%2e"])
def test_an_invoice_id_is_opaque(gateway, client, invoice, invoice_id):
    """C12: any id of up to 64 printable characters reaches the gateway as one segment, unchanged."""
    gateway.answer(invoice | {"id": invoice_id})
    assert client.get_invoice(invoice_id).invoice_id == invoice_id
    assert gateway.path[-1] == invoice_id


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("is_whole", [False, True], ids=["id alone", "whole invoice"])
def test_a_created_invoice_needs_only_its_id(gateway, client, invoice, status, is_whole):
    """C13: any success will do, with the id alone or with a whole invoice."""
    gateway.answer(httpx.Response(status, json=invoice if is_whole else {"id": INVOICE_ID}))
    assert client.create_invoice(amount=Decimal("100"), method_id=1, description="") == INVOICE_ID


@pytest.mark.parametrize("method_id", [1, "method_usdt_tron"])
def test_a_method_id_is_a_number_or_a_text(gateway, client, methods, address, method_id):
    """C14: either kind is kept as it came, and goes back into the path."""
    methods[0]["id"] = method_id
    gateway.answer(methods, address)
    assert client.list_payment_methods()[0].method_id == method_id
    client.get_deposit_address(INVOICE_ID, method_id)
    assert gateway.path == ["public", "invoices", INVOICE_ID, "method", str(method_id), "address"]


@pytest.mark.parametrize("invoice_type", ["onetime", "reusable", "collect", "withdraw"])
def test_all_types_are_read(gateway, client, invoice, invoice_type):
    """C15, C16: an invoice of any type can be read, under the reference's own word."""
    gateway.answer(invoice | {"type": invoice_type})
    assert client.get_invoice(INVOICE_ID).invoice_type == invoice_type


def test_only_two_types_can_be_created(gateway, client):
    """C15: a one-time invoice by default, a reusable one on demand; the internal types have no name here."""
    gateway.answer({"id": INVOICE_ID})
    client.create_invoice(amount=Decimal("20"), method_id=1, description="", invoice_type=InvoiceType.REUSABLE)
    assert json.loads(gateway.request.content)["type"] == "reusable"
    assert set(InvoiceType) == {"onetime", "reusable"}


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("reference", b'{"amount": "20.50", "type": "reusable", "description": "Tips", "paymentMethodID": 1}'),
        ("concept", b'{"amount": 20.50, "type": "reusable", "description": "Tips", "methodID": 1}'),
    ],
)
@pytest.mark.parametrize("is_whole", [False, True], ids=["id alone", "whole invoice"])
def test_a_reusable_invoice_is_created_in_either_form(gateway, make_client, invoice, form, body, is_whole):
    """C8, C9, C13, C15: both documented bodies carry its type, and both answers are understood."""
    gateway.answer((invoice if is_whole else {}) | {"id": INVOICE_ID})
    created = make_client(create_form=form).create_invoice(
        amount=Decimal("20.5"), method_id=1, description="Tips", invoice_type=InvoiceType.REUSABLE
    )
    assert (gateway.request.content, created) == (body, INVOICE_ID)


@pytest.mark.parametrize(
    "answer",
    [
        {"amount": "20.00", "type": "reusable", "state": "pending", "paymentMethodID": 1},
        {"amount": 20, "type": "Static", "status": "Active", "methodID": 1},
        {"amount": 20, "status": "pending"},
    ],
    ids=["reference", "guide with the dashboard's words", "guide"],
)
def test_a_reusable_invoice_is_open_with_its_minimum(gateway, client, answer):
    """C15, C19: in every dialect its amount is read; that it is a minimum is for its reader to know."""
    gateway.answer({"id": INVOICE_ID} | answer)
    found = client.get_invoice(INVOICE_ID)
    assert (found.state, found.amount) == (InvoiceState.OPEN, Decimal("20"))
    assert found.invoice_type == answer.get("type")


def test_expired_is_neither_closed_nor_failed(gateway, client, invoice):
    """C17: what "expired" means is for the transactions to say."""
    gateway.answer(invoice | {"state": "expired"})
    assert client.get_invoice(INVOICE_ID).state is InvoiceState.EXPIRED


def test_an_expiry_is_an_aware_utc_time(gateway, client, address):
    """C18: the address's own ``expiresAt`` counts, whatever its offset."""
    gateway.answer(address | {"expiresAt": "2024-01-15T12:45:00+02:00"})
    assert client.get_deposit_address(INVOICE_ID, 1).expires_at == datetime(2024, 1, 15, 10, 45, tzinfo=UTC)


@pytest.mark.parametrize("is_null", [True, False], ids=["null", "absent"])
def test_a_reusable_invoice_need_not_expire(gateway, client, address, is_null):
    """C19: a null or absent expiry is no expiry."""
    del address["expiresAt"]
    gateway.answer(address | ({"expiresAt": None} if is_null else {}))
    assert client.get_deposit_address(INVOICE_ID, 1).expires_at is None


@pytest.mark.parametrize("amount", ["100.500000", "0.00193355", "25", "0.000000000000000001", "00.10"])
def test_the_amount_to_pay_stays_byte_for_byte(gateway, client, address, amount):
    """C20: the gateway's own string is what the customer will see."""
    gateway.answer(address | {"amount": amount})
    assert client.get_deposit_address(INVOICE_ID, 1).pay_amount == amount


def test_an_address_asked_for_again_may_have_a_new_price(gateway, client, address):
    """C21: nothing is cached, so a renewed amount and expiry are seen."""
    gateway.answer(address, address | {"amount": "101", "expiresAt": "2024-01-15T11:00:00Z"})
    first, second = (client.get_deposit_address(INVOICE_ID, 1) for _ in range(2))
    assert first.address == second.address
    assert (first.pay_amount, second.pay_amount) == ("100.500000", "101")
    assert first.expires_at < second.expires_at


def test_no_currency_is_ever_sent(gateway, client):
    """C22: the API path knows USD alone."""
    gateway.answer({"id": INVOICE_ID})
    client.create_invoice(amount=Decimal("1"), method_id=1, description="x")
    assert set(json.loads(gateway.request.content)) == {"amount", "type", "description", "paymentMethodID"}


def test_the_webhook_is_managed_with_a_bearer_token_alone(gateway, client, merchant_id):
    """C23: the token that is handed in goes into Authorization, and the API key stays at home."""
    gateway.answer({"token": "whsec_1"}, {"url": "https://shop.example.com/"}, 204)
    client.register_webhook("https://shop.example.com/", "s" * 32, "login-token")
    client.get_webhook("login-token")
    client.delete_webhook("login-token")
    assert [request.method for request in gateway.requests] == ["POST", "GET", "DELETE"]
    for request in gateway.requests:
        assert credentials(request) == {"Authorization": "Bearer login-token"}
        assert request.url.path == f"/weebhook/{merchant_id}"


@pytest.mark.parametrize("token", ["whsec_a1b2c3", "whk_eyJhbGciOiJIUzI1NiIs", "something else"])
def test_a_webhook_token_is_opaque(gateway, client, token):
    """C24: it is returned whatever it starts with."""
    gateway.answer({"token": token})
    assert client.register_webhook("https://shop.example.com/", "s" * 32, "login-token") == token


def test_the_token_itself_is_no_signature():
    """C25: it may be one more key, but a header that merely repeats it signs nothing."""
    token = "whsec_a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p6q7r8s9t0"
    with pytest.raises(SignatureError):
        verify(b"{}", token, ["s" * 32, token])


@pytest.mark.parametrize(
    "event", ["invoice.paid", "transaction.settled", "withdrawal.completed", "never seen", None, 7]
)
def test_any_event_may_name_an_invoice(event):
    """C27: the name of an event does not matter where the invoice is named outright."""
    assert find_invoice_id(json.dumps({"event": event, "data": {"invoiceID": INVOICE_ID}}).encode()) == INVOICE_ID


@pytest.mark.parametrize(
    ("spelling", "state"),
    [
        ("pending", TransactionState.PENDING),
        ("Confirmed", TransactionState.CONFIRMED),
        ("Completed", TransactionState.CONFIRMED),
        ("settled", TransactionState.SETTLED),
        ("failed", TransactionState.FAILED),
        ("Flagged", TransactionState.FLAGGED),
        ("in review", TransactionState.UNKNOWN),
    ],
)
def test_transaction_states_are_the_union_of_all_pages(gateway, client, transaction, spelling, state):
    """C28: every documented word is known, any other is unknown."""
    gateway.answer(transaction | {"state": spelling})
    assert client.get_transaction(transaction["id"]).state is state


@pytest.mark.parametrize(("amount", "text"), [("100.50", "100.50"), (100, "100"), ("0", "0")])
def test_a_transaction_amount_is_kept_and_not_interpreted(gateway, client, transaction, amount, text):
    """C29: its unit is not known, so it stays a string."""
    gateway.answer(transaction | {"amount": amount})
    assert client.get_transaction(transaction["id"]).amount == text


@pytest.mark.parametrize("unit", ["USDT", "USD"])
def test_a_transaction_may_say_what_its_amount_counts(gateway, client, transaction, unit):
    """C29: token units and USD are both documented, so the amount stays as it is, with the gateway's word beside it."""
    gateway.answer(transaction | {"currency": unit}, {"data": [transaction | {"currency": unit}], "total": 1})
    found = client.get_transaction(transaction["id"])
    assert (found.amount, found.unit) == ("100.50", unit)
    assert client.list_transactions([INVOICE_ID]) == (found,)


def test_tokens_of_the_invoice_list_are_strings(gateway, client):
    """C30: method ids of either kind are written as text, and an array by repeating its bracketed name."""
    gateway.answer({"data": [], "total": 0, "page": 1, "limit": 20})
    client.list_invoices(tokens=(1, "usdt"), states=("paid", "expired"))
    assert gateway.request.url.params.get_list("tokens[]") == ["1", "usdt"]
    assert gateway.request.url.params.get_list("states[]") == ["paid", "expired"]


def test_the_transaction_list_is_asked_in_a_body(gateway, client, merchant_id):
    """C30: the transaction list is a POST whose filters are JSON."""
    gateway.answer({"data": [], "total": 0, "page": 1, "limit": 100})
    client.list_transactions(["i-1", "i-2"])
    assert (gateway.request.method, gateway.request.url.path) == ("POST", f"/merchants/{merchant_id}/transactions/list")
    assert json.loads(gateway.request.content) == {"invoiceIDs": ["i-1", "i-2"]}


def page_of(transaction, count, *, start=0, **more):
    return {"data": [transaction | {"id": f"t-{number}"} for number in range(start, start + count)]} | more


@pytest.mark.parametrize(
    ("make_pages", "expected"),
    [
        pytest.param(lambda t: [page_of(t, 100, total=100)], 100, id="the total ends a full page"),
        pytest.param(lambda t: [page_of(t, 99)], 99, id="a short page ends a list without a total"),
        pytest.param(lambda t: [page_of(t, 100), page_of(t, 0)], 100, id="an empty page ends it"),
        pytest.param(
            lambda t: [
                page_of(t, 50, total=120),
                page_of(t, 50, start=50, total=120),
                page_of(t, 20, start=100, total=120),
            ],
            120,
            id="the gateway allows fewer items than were asked for",
        ),
        pytest.param(lambda t: [page_of(t, 2, total=9), page_of(t, 0, total=9)], 2, id="a total that is too high"),
        pytest.param(
            lambda t: [page_of(t, 100, total=110), page_of(t, 10, start=95, total=110)], 105, id="items that moved on"
        ),
    ],
)
def test_pages_are_read_to_the_end_and_each_item_once(gateway, client, transaction, make_pages, expected):
    """C31: the loop ends at the total, or at a short page, and items that show up twice count once."""
    pages = make_pages(transaction)
    gateway.answer(*pages)
    found = client.list_transactions([INVOICE_ID])
    assert len(found) == len({item.transaction_id for item in found}) == expected
    assert [request.url.params["page"] for request in gateway.requests] == [str(n + 1) for n in range(len(pages))]
    assert {request.url.params["limit"] for request in gateway.requests} == {"100"}


def test_endless_transactions_are_no_answer(gateway, client, transaction):
    """C31: a part of the transactions must not be taken for all of them, so a read ends after twenty pages."""
    gateway.answer(*[page_of(transaction, 100) for _ in range(20)])
    with pytest.raises(OversizedAnswerError):
        client.list_transactions([INVOICE_ID])
    assert len(gateway.requests) == 20


def test_endless_invoices_are_cut_off_with_a_warning(gateway, client, invoice, caplog):
    """C31: a gateway that repeats itself for ever ends a list of invoices after twenty pages."""
    gateway.answer(*[page_of(invoice, 100) for _ in range(20)])
    with caplog.at_level(logging.WARNING, "flask_iterapay"):
        assert len(list(client.iterate_invoices())) == 100
    assert "more than 20 pages" in caplog.text


def test_invoices_are_iterated_over_all_pages(gateway, client, invoice):
    """C31: the invoice list goes through the same loop, with its filters on every page."""
    pages = [[invoice | {"id": f"i-{number}"} for number in numbers] for numbers in (range(100), range(99, 103))]
    gateway.answer(*[{"data": page, "total": 104} for page in pages])
    assert len(list(client.iterate_invoices(states=("paid",)))) == 103
    assert [request.url.query for request in gateway.requests] == [
        b"page=1&limit=100&states%5B%5D=paid",
        b"page=2&limit=100&states%5B%5D=paid",
    ]


def test_nothing_destructive_is_offered():
    """C32: there is no way to archive or delete an invoice, to touch keys or to delete the merchant."""
    assert {name for name in dir(GatewayClient) if not name.startswith("_")} == {
        "close",
        "create_invoice",
        "delete_webhook",
        "get_deposit_address",
        "get_invoice",
        "get_merchant",
        "get_public_invoice",
        "get_transaction",
        "get_webhook",
        "iterate_invoices",
        "list_deposit_addresses",
        "list_invoices",
        "list_newest_transactions",
        "list_payment_methods",
        "list_transactions",
        "register_webhook",
    }


@pytest.mark.parametrize(
    ("content", "title", "detail"),
    [
        (
            b'{"type": "https://example.com/probs/x", "title": "Not here", "detail": "gone", "status": 500}',
            "Not here",
            "gone",
        ),
        (b'{"error": "nope"}', "", ""),
        (b"<html><h1>404</h1></html>", "", ""),
        (b"", "", ""),
        (b"\xff\xfe", "", ""),
    ],
)
def test_the_status_decides_whatever_the_error_body_is(gateway, client, content, title, detail):
    """C36: title and detail come from a problem body if it is one; the HTTP status alone makes the error."""
    gateway.answer(httpx.Response(404, content=content))
    with pytest.raises(NotFoundError) as caught:
        client.get_invoice(INVOICE_ID)
    assert (caught.value.status, caught.value.title, caught.value.detail) == (404, title, detail)
