"""The customer's routes. The server renders every state in full; a GET never creates anything.

Whatever a customer sends can only choose among the methods that are offered: amount, order and return URL are the
server's own.
"""

import logging
from collections.abc import Callable

from flask import abort, redirect, url_for
from flask.typing import ResponseReturnValue

from ..errors import (
    GatewayError,
    MethodNotOfferedError,
    OrderError,
    OrderNotFoundError,
    TooManyInvoicesError,
)
from ..orders.models import Order
from .forms import CheckForm, MethodForm
from .page import Notice, offered_methods, render_page
from .poll import answer_poll
from .state import current_iterapay
from .view import build_view

__all__ = [
    "check",
    "checkout",
    "choose_method",
    "leave_check",
    "show_again",
    "status",
]

logger = logging.getLogger("flask_iterapay")


def checkout(token: str) -> ResponseReturnValue:
    """``GET /<token>``: the page, for whatever state the order is in."""
    order = current_iterapay.service.poll(_order_id(token))
    current_iterapay.dispatch_later(order)
    return render_page(token, order)


def choose_method(token: str) -> ResponseReturnValue:
    """``POST /<token>``: choose or change the payment method, then 303 to the page."""
    order_id = _order_id(token)
    methods = offered_methods()
    form = MethodForm(methods or ())
    if methods is None or not form.validate_on_submit():
        notice = Notice.METHODS_UNAVAILABLE if methods is None else None if form.method.errors else Notice.STALE_FORM
        return render_page(token, current_iterapay.service.get(order_id), form=form, notice=notice, status=422)
    return _act(token, order_id, lambda: current_iterapay.service.choose_method(order_id, form.method.data))


def check(token: str) -> ResponseReturnValue:
    """``POST /<token>/check``: "check payment status" without JavaScript, or a new price; then 303 to the page."""
    order_id = _order_id(token)
    form = CheckForm()
    if not form.validate_on_submit():
        return show_again(token, notice=Notice.STALE_FORM, status=422)
    service = current_iterapay.service
    return _act(token, order_id, lambda: service.renew(order_id) if form.renew.data else service.check(order_id))


def leave_check(token: str) -> ResponseReturnValue:
    """``GET /<token>/check``: a form's answer was loaded anew, so back to the page."""
    return redirect(url_for(".checkout", token=token), 303)


def status(token: str) -> ResponseReturnValue:
    """``GET /<token>/status``: what the page's poll needs, and never an address or an amount."""
    order = current_iterapay.service.poll(_order_id(token))
    current_iterapay.dispatch_later(order)
    return answer_poll(build_view(order, current_iterapay.clock()))


def show_again(token: str, *, notice: Notice, status: int) -> ResponseReturnValue:
    """Show an order's page with what stood in the way."""
    return render_page(token, current_iterapay.service.get(_order_id(token)), notice=notice, status=status)


def _order_id(token: str) -> str:
    order_id = current_iterapay.tokens.verify(token)
    if order_id is None:
        abort(404)
    return order_id


def _act(token: str, order_id: str, action: Callable[[], Order]) -> ResponseReturnValue:
    """Do what the customer asked for, then 303 to the page; or show the page with what stood in the way."""
    try:
        order = action()
    except OrderNotFoundError:
        abort(404)
    except (GatewayError, MethodNotOfferedError, TooManyInvoicesError) as error:
        logger.warning("order %r: no invoice could be made: %s", order_id, error)
        return _refused(token, order_id, error)
    except OrderError as error:
        # Paid, locked or cancelled in the meantime: the page itself says so better than a message could.
        logger.info("order %r stays as it is: %s", order_id, error)
    else:
        current_iterapay.dispatch_later(order)
    return redirect(url_for(".checkout", token=token), 303)


def _refused(token: str, order_id: str, error: GatewayError | OrderError) -> ResponseReturnValue:
    if isinstance(error, TooManyInvoicesError):
        notice, status = Notice.TOO_MANY_TRIES, 409
    elif isinstance(error, MethodNotOfferedError):
        notice, status = Notice.METHOD_REFUSED, 422
    else:
        notice, status = Notice.GATEWAY_DOWN, 503
    return show_again(token, notice=notice, status=status)
