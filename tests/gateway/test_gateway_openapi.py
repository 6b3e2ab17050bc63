"""Both sides of the contract in OpenAPI: what the client sends is valid, and what it documents can be read."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from werkzeug.datastructures import ImmutableMultiDict

from flask_iterapay.errors import GatewayError
from flask_iterapay.gateway import codec
from flask_iterapay.gateway.models import InvoiceType

PATH = Path(__file__).parent.parent / "openapi" / "iterapay.yaml"
DOCUMENT = yaml.safe_load(PATH.read_text("utf-8"))
INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)


class SentRequest:
    """An httpx request as openapi-core wants to see it."""

    def __init__(self, request):
        self.host_url = f"{request.url.scheme}://{request.url.host}"
        self.path = request.url.raw_path.split(b"?")[0].decode()
        self.method = request.method.lower()
        query = ImmutableMultiDict(request.url.params.multi_items())
        self.parameters = RequestParameters(query=query, header=request.headers)
        self.content_type = request.headers.get("Content-Type", "")
        self.body = request.content


@pytest.fixture(scope="module")
def contract():
    return OpenAPI.from_dict(DOCUMENT)


@pytest.mark.parametrize("auth", ["api_key", "bearer"])
@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("createInvoice", lambda c: c.create_invoice(amount=Decimal("100"), method_id=1, description="Order #1")),
        ("createInvoice", lambda c: c.create_invoice(amount=Decimal("0.01"), method_id=None, description="")),
        (
            "createInvoice",
            lambda c: c.create_invoice(
                amount=Decimal("20"), method_id=1, description="Tips", invoice_type=InvoiceType.REUSABLE
            ),
        ),
        ("getInvoice", lambda c: c.get_invoice(INVOICE_ID)),
        ("getInvoice", lambda c: c.get_invoice(f"inv_{INVOICE_ID}")),
        ("getPublicInvoice", lambda c: c.get_public_invoice(INVOICE_ID)),
        ("getPublicInvoiceAddress", lambda c: c.get_deposit_address(INVOICE_ID, 1)),
        ("listPublicInvoiceAddresses", lambda c: c.list_deposit_addresses(INVOICE_ID)),
        ("listPaymentMethods", lambda c: c.list_payment_methods()),
        ("listInvoices", lambda c: c.list_invoices()),
        (
            "listInvoices",
            lambda c: c.list_invoices(
                page=2,
                limit=100,
                types=("onetime", "withdraw"),
                states=("paid", "expired"),
                tokens=(1, "usdt"),
                amount_from=Decimal("1E+1"),
                amount_to=Decimal("99.50"),
                date_from=NOON,
                date_to=NOON,
                is_aml_ok=True,
                search="Order",
                order="asc",
                order_by="amount",
            ),
        ),
        ("listTransactions", lambda c: c.list_transactions([INVOICE_ID, f"inv_{INVOICE_ID}"])),
        ("listTransactions", lambda c: c.list_newest_transactions([INVOICE_ID])),
        ("listTransactions", lambda c: c.list_newest_transactions([f"inv_{INVOICE_ID}"], page=7, limit=20)),
        ("getTransaction", lambda c: c.get_transaction("t-1")),
        ("getMerchant", lambda c: c.get_merchant()),
        ("setWebhook", lambda c: c.register_webhook("https://shop.example.com/pay/webhook", "s" * 32, "login-token")),
        ("getWebhook", lambda c: c.get_webhook("login-token")),
        ("deleteWebhook", lambda c: c.delete_webhook("login-token")),
    ],
)
def test_what_the_client_sends_keeps_the_contract(contract, gateway, make_client, auth, operation, call):
    """Path, parameters, credential and body of every request are valid, and it is the operation that was meant."""
    gateway.answer(400)
    with pytest.raises(GatewayError):
        call(make_client(auth=auth))
    sent = SentRequest(gateway.request)
    contract.validate_request(sent)
    assert find_operation(sent)["operationId"] == operation


def test_the_check_of_requests_finds_a_mistake(contract, gateway, client):
    """The same validation goes red for a request that breaks the contract."""
    gateway.answer(400)
    with pytest.raises(GatewayError):
        client.create_invoice(amount=Decimal("1"), method_id="usdt", description="")
    with pytest.raises(OpenAPIError):
        contract.validate_request(SentRequest(gateway.request))


def find_operation(sent):
    """The operation whose path has the same fixed segments; templated ones fit anything."""
    return next(
        item[sent.method]
        for path, item in DOCUMENT["paths"].items()
        if sent.method in item and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), sent.path)
    )


def examples(operation_id, parse):
    """Every example answer of an operation."""
    operations = [item[method] for item in DOCUMENT["paths"].values() for method in item if method != "parameters"]
    (operation,) = [operation for operation in operations if operation["operationId"] == operation_id]
    return [
        pytest.param(parse, example["value"], id=f"{operation_id} {status} {name}")
        for status, response in operation["responses"].items()
        for content in response.get("content", {}).values()
        for name, example in content.get("examples", {}).items()
    ]


@pytest.mark.parametrize(
    ("parse", "example"),
    [
        *examples("createInvoice", codec.parse_created_invoice),
        *examples("getInvoice", codec.parse_invoice),
        *examples("getPublicInvoiceAddress", codec.parse_deposit_address),
        *examples("listPublicInvoiceAddresses", codec.parse_deposit_addresses),
        *examples("listPaymentMethods", codec.parse_payment_methods),
        *examples("getTransaction", codec.parse_transaction),
        *examples("getMerchant", codec.parse_merchant),
        *examples("setWebhook", codec.parse_webhook_token),
        *examples("getWebhook", codec.parse_webhook_registration),
    ],
)
def test_every_documented_answer_can_be_read(parse, example):
    """Each example of the contract, in either dialect, is understood."""
    assert parse(codec.decode(json.dumps(example).encode()))


def test_every_documented_hint_names_its_invoice():
    """The sandbox's inventions for a webhook's body are found by the tolerant search."""
    post = DOCUMENT["webhooks"]["merchantEvent"]["post"]
    hints = [example["value"] for example in post["requestBody"]["content"]["application/json"]["examples"].values()]
    assert len(hints) >= 2
    assert all(codec.find_invoice_id(json.dumps(hint).encode()) for hint in hints)
