"""The client's own decisions: what it asks for, what it refuses to send or to believe, what it remembers."""

import json
import logging
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_iterapay.errors import (
    AmountError,
    BadRequestError,
    ConfigurationError,
    GatewayServerError,
    MalformedAnswerError,
    NotFoundError,
)
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.gateway.models import Merchant, WebhookRegistration

INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"

UNUSABLE_IDS = ["", ".", "..", "x" * 65, "a\nb", "a\0b", "\u2028", "\ud800"]
AWKWARD_IDS = [
    "../../x",
    "%2e%2e",
    "%2E%2E%2f",
    "a?b=c",
    "a#b",
    "a/b",
    "a\\b",
    "a;b",
    "a b",
    "ä",
    "...",
    "~",
    "a:b@c",
    "%",
]


@pytest.mark.parametrize("invoice_id", UNUSABLE_IDS)
@pytest.mark.parametrize("name", ["get_invoice", "get_public_invoice", "list_deposit_addresses", "get_transaction"])
def test_an_id_that_would_change_the_path_is_never_sent(gateway, client, name, invoice_id):
    """What cannot be one segment of a URL is refused before a request is made."""
    with pytest.raises(BadRequestError) as caught:
        getattr(client, name)(invoice_id)
    assert caught.value.status is None
    assert gateway.requests == []


@pytest.mark.parametrize(("invoice_id", "method_id"), [("..", 1), (INVOICE_ID, ".."), (INVOICE_ID, "")])
def test_neither_id_of_an_address_may_change_the_path(gateway, client, invoice_id, method_id):
    """Both ids in the address's path are checked."""
    with pytest.raises(BadRequestError):
        client.get_deposit_address(invoice_id, method_id)
    assert gateway.requests == []


@pytest.mark.parametrize("invoice_id", AWKWARD_IDS)
def test_an_awkward_id_stays_one_segment_of_the_path(gateway, client, invoice, address, invoice_id, merchant_id):
    """On the wire every id is quoted whole: no dot, slash, question mark or hash of it means anything."""
    gateway.answer(invoice | {"id": invoice_id}, address)
    client.get_invoice(invoice_id)
    assert gateway.path == ["merchants", merchant_id, "invoices", invoice_id]
    assert gateway.request.url.query == b""
    client.get_deposit_address(invoice_id, invoice_id)
    assert gateway.path == ["public", "invoices", invoice_id, "method", invoice_id, "address"]


@settings(max_examples=50, deadline=None)
@given(invoice_id=st.text(min_size=1, max_size=64).filter(str.isprintable).filter(lambda text: text not in {".", ".."}))
def test_any_printable_id_stays_one_segment_of_the_path(invoice_id):
    """Whatever the gateway calls an invoice, the request is about that invoice."""
    paths = []

    def answer(request):
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"id": invoice_id, "state": "paid"})

    client = GatewayClient(
        base_url="https://api.iterapay.com", merchant_id="m", api_key="k", transport=httpx.MockTransport(answer)
    )
    assert client.get_invoice(invoice_id).invoice_id == invoice_id
    assert paths[0].startswith("/merchants/m/invoices/")
    assert paths[0].count("/") == 4
    assert not {"?", "#"} & set(paths[0])


@pytest.mark.parametrize("merchant_id", UNUSABLE_IDS)
def test_a_merchant_id_that_would_change_the_path_is_refused_at_the_start(make_client, merchant_id):
    """The configuration's own id is checked once."""
    with pytest.raises(ConfigurationError, match="merchant id"):
        make_client(merchant_id=merchant_id)


def test_an_awkward_merchant_id_stays_one_segment(gateway, make_client):
    """The merchant's id is quoted like any other."""
    gateway.answer({"id": "m", "name": "My Store"})
    make_client(merchant_id="../m?").get_merchant()
    assert gateway.path == ["merchants", "../m?"]


@pytest.mark.parametrize("name", ["get_invoice", "get_public_invoice"])
def test_an_answer_about_another_invoice_is_not_believed(gateway, client, invoice, name):
    """A cache or a bug on the way must not pay one order with another's invoice."""
    gateway.answer(invoice | {"id": "another"})
    with pytest.raises(MalformedAnswerError, match="something else"):
        getattr(client, name)(INVOICE_ID)


def test_an_answer_about_another_transaction_is_not_believed(gateway, client, transaction):
    """The same holds for a transaction."""
    gateway.answer(transaction)
    with pytest.raises(MalformedAnswerError, match="something else"):
        client.get_transaction("another")


@pytest.mark.parametrize(("asked", "answered"), [(1, 2), ("usdt", "usdc"), (1, "usdt")])
def test_an_address_for_another_method_is_not_believed(gateway, client, address, asked, answered):
    """Money sent on the wrong network is lost."""
    gateway.answer(address | {"paymentMethodID": answered})
    with pytest.raises(MalformedAnswerError, match="something else"):
        client.get_deposit_address(INVOICE_ID, asked)


@pytest.mark.parametrize("answered", [{}, {"paymentMethodID": 1}, {"methodID": "1"}])
def test_an_address_may_name_the_method_that_was_asked_for(gateway, client, address, answered):
    """A number and its text are the same method, and no name contradicts nothing."""
    gateway.answer(address | answered)
    assert client.get_deposit_address(INVOICE_ID, 1).address == address["address"]


@pytest.mark.parametrize("amount", [Decimal("0"), Decimal("-1"), Decimal("1.005"), Decimal("NaN"), Decimal("1E+9")])
def test_an_amount_that_is_not_whole_cents_is_never_sent(gateway, client, amount):
    """Formatting would round it silently, so it is refused."""
    with pytest.raises(AmountError):
        client.create_invoice(amount=amount, method_id=1, description="")
    assert gateway.requests == []


def test_a_description_of_any_letters_is_sent_as_json(gateway, client):
    """Quotes, line ends, other scripts and lone surrogates arrive as they are, as ASCII."""
    gateway.answer({"id": INVOICE_ID})
    client.create_invoice(amount=Decimal("1"), method_id=1, description='"\n\u20ac\ud800')
    assert gateway.request.content.isascii()
    assert json.loads(gateway.request.content)["description"] == '"\n\u20ac\ud800'


def test_only_the_transactions_asked_for_come_back(gateway, client, transaction):
    """A gateway that ignores the filter cannot add a stranger's money to an order."""
    others = [transaction | {"id": f"t-{number}", "invoiceID": f"i-{number}"} for number in range(3)]
    gateway.answer({"data": others, "total": 3})
    assert [item.invoice_id for item in client.list_transactions(["i-0", "i-2"])] == ["i-0", "i-2"]


def test_no_invoices_have_no_transactions(gateway, client):
    """An empty filter would ask for everything, so nothing is asked."""
    assert client.list_transactions([]) == ()
    assert gateway.requests == []


def test_a_transaction_seen_twice_counts_as_it_was_seen_last(gateway, client, transaction):
    """While pages are read, a transaction may move on; its newer state wins."""
    first = [transaction | {"id": f"t-{number}"} for number in range(100)]
    gateway.answer({"data": first, "total": 101}, {"data": [first[99] | {"state": "settled"}], "total": 101})
    found = client.list_transactions([INVOICE_ID])
    assert len(found) == 100
    assert found[-1].spelling == "settled"


def test_a_merchant_and_its_webhook_are_read(gateway, client, merchant_id):
    """The registration can be checked with the API key alone, or read with a login."""
    url = "https://shop.example.com/pay/webhook"
    gateway.answer(
        {"id": merchant_id, "name": "My Store", "settings": {"webhookUrl": url}},
        {"url": url, "createdAt": "2024-01-01T00:00:00Z"},
    )
    assert client.get_merchant() == Merchant(merchant_id=merchant_id, name="My Store", webhook_url=url)
    registered = WebhookRegistration(url=url, created_at=datetime(2024, 1, 1, tzinfo=UTC))
    assert client.get_webhook("login-token") == registered


def test_a_missing_webhook_is_not_found(gateway, client):
    """Nothing registered is the gateway's 404."""
    gateway.answer(404)
    with pytest.raises(NotFoundError):
        client.get_webhook("login-token")


def test_a_webhook_is_registered_with_url_and_secret(gateway, client):
    """The body is the documented one."""
    gateway.answer({"token": "whsec_1"})
    client.register_webhook("https://shop.example.com/pay/webhook", "s" * 32, "login-token")
    assert json.loads(gateway.request.content) == {"url": "https://shop.example.com/pay/webhook", "secret": "s" * 32}


def test_every_filter_of_the_invoice_list_is_written_as_documented(gateway, client):
    """Arrays repeat their bracketed name, amounts are plain, dates are UTC, booleans are JSON's words."""
    gateway.answer({"data": [], "total": 0})
    client.list_invoices(
        page=2,
        limit=50,
        types=("onetime", "reusable"),
        states=("paid",),
        tokens=(1, "usdt"),
        amount_from=Decimal("1E+1"),
        amount_to=Decimal("99.50"),
        date_from=datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        date_to=datetime(2024, 1, 31, 23, 59, 59, 500000, tzinfo=UTC),
        is_aml_ok=False,
        search="Order #1042 & more",
        order="asc",
        order_by="amount",
    )
    assert gateway.request.url.params.multi_items() == [
        ("page", "2"),
        ("limit", "50"),
        ("types[]", "onetime"),
        ("types[]", "reusable"),
        ("states[]", "paid"),
        ("tokens[]", "1"),
        ("tokens[]", "usdt"),
        ("amountFrom", "10"),
        ("amountTo", "99.50"),
        ("dateFrom", "2024-01-01T00:00:00Z"),
        ("dateTo", "2024-01-31T23:59:59.500000Z"),
        ("amlOk", "false"),
        ("search", "Order #1042 & more"),
        ("order", "asc"),
        ("orderBy", "amount"),
    ]


def test_an_invoice_list_without_filters_asks_for_the_first_page(gateway, client, invoice):
    """The documented defaults are sent, nothing else."""
    gateway.answer({"data": [invoice], "total": 41})
    page = client.list_invoices()
    assert gateway.request.url.query == b"page=1&limit=20"
    assert ([item.invoice_id for item in page.items], page.total) == ([INVOICE_ID], 41)


def test_a_flag_that_is_true_is_written_as_true(gateway, client):
    """The other half of the booleans."""
    gateway.answer({"data": [], "total": 0})
    client.list_invoices(is_aml_ok=True)
    assert gateway.request.url.params["amlOk"] == "true"


def test_a_date_without_an_offset_is_refused(gateway, client):
    """Nobody could tell which hour was meant."""
    with pytest.raises(ValueError, match="offset"):
        client.list_invoices(date_from=datetime(2024, 1, 1))  # noqa: DTZ001
    assert gateway.requests == []


def test_payment_methods_are_remembered_for_five_minutes(gateway, client, clock, methods):
    """Checkout pages do not ask again until the list is old."""
    gateway.answer(methods, methods[:1])
    first = client.list_payment_methods()
    clock.now += 299
    assert client.list_payment_methods() is first
    clock.now += 1
    assert len(client.list_payment_methods()) == 1
    assert len(gateway.requests) == 2


def test_the_last_known_payment_methods_serve_on_while_the_gateway_fails(gateway, client, clock, methods, caplog):
    """An outage shows in one log warning and not on the page; half a minute later the gateway is asked again."""
    gateway.answer(methods, *[503] * 3, methods[:1])
    first = client.list_payment_methods()
    clock.now += 300
    with caplog.at_level(logging.WARNING, "flask_iterapay"):
        assert [client.list_payment_methods() for _ in range(3)] == [first] * 3
    assert len([record for record in caplog.records if record.name == "flask_iterapay"]) == 1
    assert len(gateway.requests) == 4
    clock.now += 30
    assert len(client.list_payment_methods()) == 1


def test_unknown_payment_methods_are_an_error_and_asked_for_again(gateway, client, clock, methods):
    """Before any list is known there is nothing to fall back on, and twenty pages do not ask twenty times."""
    gateway.answer(*[503] * 3, methods)
    for _ in range(20):
        with pytest.raises(GatewayServerError):
            client.list_payment_methods()
    assert len(gateway.requests) == 3
    clock.now += 30
    assert len(client.list_payment_methods()) == 2


def test_a_closed_client_opens_again(gateway, client, invoice):
    """Closing is for the end of a process; a call after it still works, and closing twice does no harm."""
    gateway.answer(invoice, invoice)
    client.close()
    client.get_invoice(INVOICE_ID)
    client.close()
    client.close()
    assert client.get_invoice(INVOICE_ID).invoice_id == INVOICE_ID


def test_the_representation_tells_whom_it_speaks_for(client, merchant_id):
    """Gateway and merchant, and nothing secret."""
    assert repr(client) == f"GatewayClient(base_url='https://api.iterapay.com', merchant_id='{merchant_id}')"
