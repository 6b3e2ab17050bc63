"""The control panel: a person pays, breaks and mends things here. Works without JavaScript."""

import re
from collections import Counter
from dataclasses import dataclass

from flask import Blueprint, Response, abort, make_response, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from .engine import Action, ActionRefusedError, Refusal, SandboxAddress, SandboxInvoice
from .methods import METHODS
from .settings import ApiFault, parse_settings
from .state import current_sandbox

__all__ = ["answer_panel_error", "panel"]

_REDELIVER = "redeliver"
panel = Blueprint("panel", __name__, url_prefix="/panel", static_folder="static", template_folder="templates")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_SHOWN = 100
_CHOICES = 20
_PATH = re.compile(r"/(?!/)[!-\[\]-~]*", re.ASCII)
_WORD = re.compile(r"[A-Za-z][A-Za-z _-]{0,39}", re.ASCII)
_ACTIONS: dict[str, tuple[str, str]] = {
    Action.PAY_EXACT: ("Pay exact amount", "One settled transaction. The invoice is paid and has passed AML."),
    Action.PAY_PENDING: ("Pay, still pending", "The money is seen on chain. Confirm and settle it further down."),
    Action.PAY_SHORT: ("Pay 10 % too little", "The invoice is partially paid."),
    Action.PAY_OVER: ("Pay 10 % too much", "The invoice is overpaid."),
    Action.PAY_LATE: ("Pay too late", "Credited, but sent two hours after the price ended."),
    Action.PAY_FIRST_HALF: ("Pay the first half", "The second half completes it."),
    Action.PAY_SECOND_HALF: ("Pay what is missing", "After a half or a short payment."),
    Action.PAY_DUST: ("Send tainted dust", "A tiny transaction that fails, as an attacker might send."),
    Action.AML_FAIL: ("Pay, and fail AML", "The invoice is paid, the money flagged, amlOk is false."),
    Action.AML_UNKNOWN: ("Pay, AML unknown", "Confirmed but not settled: the invoice is paid without an amlOk."),
    Action.EXPIRE: ("Expire the invoice", "It stays expired, whatever is paid, until it is released."),
    Action.UNKNOWN_STATE: ("Set another state", "A word that no documentation knows."),
    Action.RELEASE: ("Release the state", "The state follows the transactions again."),
    Action.CONFIRM: ("Confirm", "Enough confirmations; AML may still run."),
    Action.SETTLE: ("Settle", "AML passed."),
    Action.FLAG: ("Flag", "AML failed; the money is held."),
    Action.FAIL: ("Fail", "The transaction came to nothing."),
    _REDELIVER: ("Send the last webhook again", "At once, and without faults."),
}
_REUSABLE_ACTIONS = _ACTIONS | {
    Action.PAY_EXACT: ("Pay the minimum", "One settled transaction. The invoice stays open for more."),
    Action.PAY_SHORT: ("Pay 10 % too little", "Less than the minimum. It comes in all the same."),
    Action.PAY_OVER: ("Pay 10 % more", "More than the minimum, as every visitor may."),
    Action.AML_FAIL: ("Pay, and fail AML", "The money is flagged. A reusable invoice never has an amlOk."),
    Action.AML_UNKNOWN: ("Pay, AML unknown", "Confirmed but not settled."),
    Action.EXPIRE: (
        "Expire the invoice",
        "By the documentation none ever does. It stays expired until it is released.",
    ),
    Action.RELEASE: ("Release the state", "The invoice is open again."),
}
_REFUSALS: dict[str, str] = {
    Refusal.NO_ADDRESS: "No address was given out yet, so nobody can pay. Choose a payment method in the shop first.",
    Refusal.NOT_GIVEN_OUT: "This invoice never gave out that address, or it has given out two hundred since.",
    Refusal.NOTHING_MISSING: "Nothing is missing: the price is covered.",
    Refusal.NO_END: "A reusable invoice has no end: no payment comes too late, and none completes another.",
    Refusal.NO_TRANSACTION: "No transaction can take that step now.",
    Refusal.NO_DELIVERY: "Nothing was told yet, so there is nothing to repeat.",
}


@panel.before_request
def _refuse_other_sites() -> None:
    # A server of its own has no session and so no CSRF token; browsers say where a form was sent from.
    if request.method == "POST" and request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        abort(403, "This form was sent by another site.")


@panel.after_request
def _add_headers(response: Response) -> Response:
    response.headers.extend(_HEADERS)
    if request.endpoint != "panel.static":
        response.headers["Cache-Control"] = "no-store"
    return response


@panel.app_context_processor
def _for_every_page() -> dict[str, object]:
    settings = current_sandbox.service.settings
    return {
        "csrf_field": request.environ.get("iterapay.csrf_field"),
        "csrf_token": request.environ.get("iterapay.csrf_token"),
        "back": _read_back(),
        "settings": settings,
        "has_api_fault": settings.api_fault is not ApiFault.NONE,
        "methods": METHODS,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """An address to pay to. ``number`` counts from the oldest, ``payments`` what came to it."""

    number: int
    address: SandboxAddress
    payments: int
    is_chosen: bool


@panel.get("/")
def index() -> str:
    """List the invoices, newest first."""
    invoices = current_sandbox.service.store.list_invoices()
    return render_template("sandbox/index.html", invoices=invoices[:_SHOWN], total=len(invoices))


@panel.get("/invoices/<invoice_id>")
def show_invoice(invoice_id: str) -> str:
    """Show one invoice, with everything that can happen to it; the query's ``address`` is chosen to be paid to."""
    invoice = _find_invoice(invoice_id)
    actions = _REUSABLE_ACTIONS if invoice.is_reusable else _ACTIONS
    return render_template(
        "sandbox/invoice.html",
        invoice=invoice,
        actions=actions,
        choices=_list_choices(invoice),
        chosen=_read_address(invoice),
        newest=_CHOICES,
        transactions=invoice.transactions[: -_SHOWN - 1 : -1],
        deliveries=current_sandbox.service.store.list_deliveries(invoice_id=invoice_id, limit=_SHOWN),
        done=actions.get(request.args.get("done", ""), ("",))[0],
        refused=_REFUSALS.get(request.args.get("refused", "")),
    )


@panel.post("/invoices/<invoice_id>")
def change_invoice(invoice_id: str) -> Response:
    """Make something happen, then show the invoice again, with the same address chosen."""
    address = _read_address(_find_invoice(invoice_id))
    action = request.form.get("action", "")
    refused = None
    try:
        _apply(invoice_id, action)
    except ActionRefusedError as error:
        refused = error.refusal.value
    done = None if refused else action
    return _redirect(
        url_for(".show_invoice", invoice_id=invoice_id, back=_read_back(), address=address, done=done, refused=refused)
    )


def _apply(invoice_id: str, action: str) -> None:
    service, form = current_sandbox.service, request.form
    word = form.get("word") or "frozen"
    if action == _REDELIVER:
        service.redeliver(invoice_id)
    elif action not in set(Action) or not _WORD.fullmatch(word):
        abort(400, "There is no such action, or the state is not a plain word.")
    else:
        service.act(
            invoice_id,
            Action(action),
            address=form.get("address") or None,
            transaction_id=form.get("transaction_id"),
            word=word,
        )


def _find_invoice(invoice_id: str) -> SandboxInvoice:
    return current_sandbox.service.store.get(invoice_id) or abort(404, "There is no such invoice.")


def _read_address(invoice: SandboxInvoice) -> str | None:
    """The address that was asked for, if the invoice gave it out."""
    address = request.values.get("address")
    return next((item.address for item in invoice.addresses if item.address == address), None)


def _list_choices(invoice: SandboxInvoice) -> list[_Choice]:
    """A reusable invoice's newest addresses, newest first, and the chosen one however old it is."""
    addresses = invoice.addresses if invoice.is_reusable else ()
    limit = len(addresses) if "all" in request.args else _CHOICES
    chosen = _read_address(invoice) or (addresses[-1].address if addresses else None)
    payments = Counter(item.address for item in invoice.transactions)
    return [
        _Choice(
            number=number,
            address=item,
            payments=payments[item.address],
            is_chosen=item.address == chosen,
        )
        for number, item in reversed(list(enumerate(addresses, start=1)))
        if number > len(addresses) - limit or item.address == chosen
    ]


@panel.get("/settings")
def show_settings() -> str:
    """Show what can be switched."""
    return render_template("sandbox/settings.html", is_saved="saved" in request.args)


@panel.post("/settings")
def save_settings() -> Response:
    """Switch, then show the settings again."""
    form = request.form
    try:
        settings = parse_settings({**form, "webhook_faults": form.getlist("webhook_faults")})
    except ValueError:
        abort(400, "One of the settings has a value that is not offered.")
    current_sandbox.service.store.save_settings(settings)
    return _redirect(url_for(".show_settings", saved=1, back=_read_back()))


@panel.get("/deliveries")
def list_deliveries() -> str:
    """Show the log of webhook deliveries, newest first."""
    deliveries = current_sandbox.service.store.list_deliveries(limit=_SHOWN)
    return render_template("sandbox/deliveries.html", deliveries=deliveries, webhook=current_sandbox.service.webhook)


def answer_panel_error(error: HTTPException) -> Response:
    """Show an error as a page."""
    page = render_template("sandbox/error.html", error=error)
    return _add_headers(make_response(page, error.code or 500))


def _redirect(target: str) -> Response:
    response = make_response("", 303)
    response.location = target
    return response


def _read_back() -> str | None:
    """The shop's page to go back to, if it is a path of the same origin."""
    path = request.values.get("back", "")
    return path if _PATH.fullmatch(path) else None
