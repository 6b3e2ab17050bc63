"""The page of an order: what its templates are given. All words are theirs."""

import logging
from enum import StrEnum

from flask import render_template, url_for
from markupsafe import Markup

from ..errors import GatewayError
from ..gateway.models import PaymentMethod
from ..orders.models import Order
from .forms import CheckForm, MethodForm
from .qr import has_qr_amount, qr_payload, qr_svg
from .state import current_iterapay
from .translation import choose_translation
from .view import PageState, build_options, build_view

__all__ = ["Notice", "offered_methods", "page_context", "render_page"]

logger = logging.getLogger("flask_iterapay")


_OFFERS_METHODS = {PageState.CHOOSE_METHOD, PageState.WAITING, PageState.EXPIRED}


class Notice(StrEnum):
    """What a page says above everything else; the template ``_notices.html`` has the words."""

    METHODS_UNAVAILABLE = "methods_unavailable"
    METHOD_REFUSED = "method_refused"
    GATEWAY_DOWN = "gateway_down"
    TOO_MANY_TRIES = "too_many_tries"
    STALE_FORM = "stale_form"


def page_context() -> dict[str, object]:
    """What every template of ours knows, the error pages too; nothing secret is among it."""
    settings = current_iterapay.settings
    return {
        "ip_t": choose_translation(settings.languages),
        "is_sandbox": settings.is_sandbox,
        "support_url": settings.support_url,
        "return_seconds": settings.return_seconds,
    }


def offered_methods() -> tuple[PaymentMethod, ...] | None:
    """List the methods to choose from; ``None`` if the gateway has never told them."""
    try:
        return current_iterapay.service.offered_methods()
    except GatewayError as error:
        logger.warning("no payment methods to offer: %s", error)
        return None


def render_page(
    token: str, order: Order, *, form: MethodForm | None = None, notice: Notice | None = None, status: int = 200
) -> tuple[str, int]:
    """Render the page of an order as it stands; ``form`` is one that was refused."""
    now = current_iterapay.clock()
    view = build_view(order, now)
    methods: tuple[PaymentMethod, ...] | None = ()
    if view.state in _OFFERS_METHODS:
        methods = offered_methods()
        if methods is None and view.state is PageState.CHOOSE_METHOD:
            notice = notice or Notice.METHODS_UNAVAILABLE
    qr_uris = current_iterapay.settings.qr_uris
    payload = qr_payload(view.invoice, qr_uris) if view.invoice else ""
    context = {
        "token": token,
        "check_url": url_for(".check", token=token),
        "choose_url": url_for(".choose_method", token=token),
        "status_url": url_for(".status", token=token),
        "reference": order.order_id,
        "order": order,
        "view": view,
        "options": build_options(order, methods or (), now),
        "method_form": form or MethodForm(methods or ()),
        "check_form": CheckForm(),
        "qr": Markup(qr_svg(payload)) if payload else None,  # noqa: S704
        "has_qr_amount": view.invoice is not None and has_qr_amount(view.invoice, qr_uris),
        "sandbox_url": _sandbox_url(token, order),
        "notice": notice,
    }
    return render_template("iterapay/checkout.html", **context), status


def _sandbox_url(token: str, order: Order) -> str | None:
    """The control panel's page for the order's invoice, with the way back to this page."""
    if current_iterapay.sandbox is None:
        return None
    invoice = order.current_invoice
    path = f"panel/invoices/{invoice.invoice_id}" if invoice else "panel/"
    return url_for(".sandbox", path=path, back=url_for(".checkout", token=token))
