"""The HTTP surface of the sandbox: the calls of contract section 1 that the client uses, in both dialects.

Archiving and deleting invoices is not offered, as the client does neither.
"""

import hmac
import re

from flask import Blueprint, Response, abort, g, request

from .bodies import decode_body, parse_invoice_request, parse_webhook_request, require
from .dialects import (
    format_address,
    format_addresses,
    format_created_invoice,
    format_invoice,
    format_json,
    format_method,
    format_time,
    format_transaction,
)
from .engine import SandboxInvoice
from .faults import answer_fault
from .filters import Paging, parse_invoice_filter, parse_paging, parse_transaction_filter
from .methods import METHODS
from .settings import ApiFault, Dialect, Operation, PublicAuth
from .state import current_sandbox

__all__ = ["rest"]

rest = Blueprint("rest", __name__)

_METHOD_ID = re.compile(r"[0-9]{1,9}", re.ASCII)
_OPERATIONS = {
    "rest.create_invoice": Operation.CREATE,
    "rest.get_address": Operation.ADDRESS,
    "rest.list_addresses": Operation.ADDRESS,
    "rest.get_invoice": Operation.INVOICE,
    "rest.get_public_invoice": Operation.INVOICE,
    "rest.list_invoices": Operation.INVOICE,
    "rest.get_transaction": Operation.TRANSACTIONS,
    "rest.list_transactions": Operation.TRANSACTIONS,
    "rest.list_methods": Operation.METHODS,
}


@rest.before_request
def _strike() -> Response | None:
    g.fault = current_sandbox.service.store.take_fault(_OPERATIONS.get(request.endpoint or "", Operation.ANY))
    return None if g.fault in {ApiFault.NONE, ApiFault.LOST_ANSWER} else answer_fault(g.fault)


@rest.after_request
def _lose(response: Response) -> Response:
    return answer_fault(g.fault) if g.fault is ApiFault.LOST_ANSWER else response


@rest.post("/merchants/<merchant_id>/invoices")
def create_invoice(merchant_id: str) -> Response:
    """Create an invoice (#1)."""
    _enter(merchant_id)
    settings = current_sandbox.service.settings
    invoice = current_sandbox.service.create_invoice(parse_invoice_request(_decode_json(), settings.create_form))
    return _answer(format_created_invoice(invoice, settings.dialect), 201)


@rest.get("/merchants/<merchant_id>/invoices")
def list_invoices(merchant_id: str) -> Response:
    """List invoices (#2)."""
    _enter(merchant_id)
    paging = parse_paging(request.args)
    page = current_sandbox.service.list_invoices(parse_invoice_filter(request.args), paging)
    dialect = current_sandbox.service.settings.dialect
    return _answer_page([format_invoice(invoice, dialect) for invoice in page.items], page.total, paging)


@rest.get("/merchants/<merchant_id>/invoices/<invoice_id>")
def get_invoice(merchant_id: str, invoice_id: str) -> Response:
    """Read an invoice with credentials (#3)."""
    _enter(merchant_id)
    return _answer_invoice(invoice_id)


@rest.get("/public/invoices/<invoice_id>")
def get_public_invoice(invoice_id: str) -> Response:
    """Read an invoice without credentials (#6)."""
    return _answer_invoice(invoice_id)


@rest.get("/public/invoices/<invoice_id>/method/<method_id>/address")
def get_address(invoice_id: str, method_id: str) -> Response:
    """Give out the deposit address of one method (#7)."""
    if current_sandbox.service.settings.public_auth is PublicAuth.BOTH:
        _authenticate()
    require(_METHOD_ID.fullmatch(method_id) is not None, "The 'methodID' parameter must be an integer")
    address = current_sandbox.service.get_address(invoice_id, int(method_id))
    if address is None:
        abort(404, "No such invoice, or it cannot be paid by this method")
    return _answer(format_address(address))


@rest.get("/public/invoices/<invoice_id>/addresses")
def list_addresses(invoice_id: str) -> Response:
    """List the deposit addresses given out so far (#8)."""
    settings = current_sandbox.service.settings
    if settings.public_auth is not PublicAuth.NONE:
        _authenticate()
    addresses = _find_invoice(invoice_id).addresses
    return _answer(format_addresses(addresses, settings.dialect, settings.addresses_shape))


@rest.get("/payment_methods")
def list_methods() -> Response:
    """List the payment methods (#9)."""
    _authenticate()
    return _answer([format_method(offered.method) for offered in METHODS.values()])


@rest.post("/merchants/<merchant_id>/transactions/list")
def list_transactions(merchant_id: str) -> Response:
    """List transactions (#10); the body may be left out."""
    _enter(merchant_id)
    paging = parse_paging(request.args)
    wanted = parse_transaction_filter(_decode_json() if request.get_data() else {})
    page = current_sandbox.service.list_transactions(wanted, paging)
    detail = current_sandbox.service.settings.transaction_detail
    return _answer_page([format_transaction(item, detail) for item in page.items], page.total, paging)


@rest.get("/merchants/<merchant_id>/transactions/<transaction_id>")
def get_transaction(merchant_id: str, transaction_id: str) -> Response:
    """Read one transaction (#11)."""
    _enter(merchant_id)
    transaction = current_sandbox.service.get_transaction(transaction_id)
    if transaction is None:
        abort(404, "No such transaction")
    return _answer(format_transaction(transaction, current_sandbox.service.settings.transaction_detail))


@rest.post("/weebhook/<merchant_id>")
def register_webhook(merchant_id: str) -> Response:
    """Register or replace the webhook (#12)."""
    _enter_for_webhook(merchant_id)
    url, secret = parse_webhook_request(_decode_json())
    return _answer({"token": current_sandbox.service.register_webhook(url, secret)})


@rest.get("/weebhook/<merchant_id>")
def get_webhook(merchant_id: str) -> Response:
    """Read the registration, without secret and token (#13)."""
    _enter_for_webhook(merchant_id)
    webhook = current_sandbox.service.webhook
    if webhook is None:
        abort(404, "No webhook is registered")
    created = {"createdAt": format_time(webhook.registered_at)} if webhook.registered_at else {}
    return _answer({"url": webhook.url} | created)


@rest.delete("/weebhook/<merchant_id>")
def delete_webhook(merchant_id: str) -> Response:
    """Remove the registration; what is still queued is dropped (#14)."""
    _enter_for_webhook(merchant_id)
    current_sandbox.service.store.save_webhook(None)
    return Response(status=204)


@rest.get("/merchants/<merchant_id>")
def get_merchant(merchant_id: str) -> Response:
    """Read the merchant, with the registered URL (#23)."""
    _enter(merchant_id)
    webhook = current_sandbox.service.webhook
    url = webhook.url if webhook else None
    settings: dict[str, object] = {"webhookUrl": url, "ipWhitelist": []}
    return _answer({"id": merchant_id, "name": "Sandbox merchant", "settings": settings})


def _enter(merchant_id: str, *, is_key_enough: bool = True) -> None:
    _authenticate(is_key_enough=is_key_enough)
    if merchant_id != current_sandbox.merchant_id:
        abort(403, "These credentials belong to another merchant")


def _enter_for_webhook(merchant_id: str) -> None:
    """The reference takes a bearer token alone; the guide takes the key as well (contract C23)."""
    _enter(merchant_id, is_key_enough=current_sandbox.service.settings.dialect is Dialect.GUIDE)


def _authenticate(*, is_key_enough: bool = True) -> None:
    if is_key_enough and _is_same(request.headers.get("X-Api-Key", ""), current_sandbox.api_key):
        return
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not _is_same(token, current_sandbox.bearer_token):
        abort(401, "API key or bearer token is missing or has expired")


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _decode_json() -> dict[str, object]:
    require(request.mimetype == "application/json", "The Content-Type must be application/json")
    return decode_body(request.get_data())


def _find_invoice(invoice_id: str) -> SandboxInvoice:
    invoice = current_sandbox.service.store.get(invoice_id)
    if invoice is None:
        abort(404, "No such invoice")
    return invoice


def _answer(data: object, status: int = 200) -> Response:
    return Response(format_json(data), status, mimetype="application/json")


def _answer_invoice(invoice_id: str) -> Response:
    return _answer(format_invoice(_find_invoice(invoice_id), current_sandbox.service.settings.dialect))


def _answer_page(items: list[dict[str, object]], total: int | None, paging: Paging) -> Response:
    return _answer({"data": items, "total": total, "page": paging.page, "limit": paging.limit})
