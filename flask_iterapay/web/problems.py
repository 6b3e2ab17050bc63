"""What a browser is shown when something is wrong: an old form, no such page, a database that does not answer."""

import logging
from collections.abc import Callable

from flask import make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import NotFound

from ..errors import LinkError, OrderNotFoundError, StoreError
from . import checkout, links
from .page import Notice

__all__ = ["not_found", "on_csrf_error", "on_store_error"]

_RETRY_AFTER_SECONDS = 15
# What shows the page again that a form was on, by the endpoint that the form was posted to.
_SHOW_AGAIN: dict[str, Callable[..., ResponseReturnValue]] = {
    "choose_method": checkout.show_again,
    "check": checkout.show_again,
    "begin_visit": links.show_link_again,
    "check_visit": links.show_visit_again,
}
_PAGES = {
    "choose_method": "checkout",
    "check": "checkout",
    "leave_check": "checkout",
    "status": "checkout",
    "begin_visit": "link",
    "check_visit": "visit",
    "leave_check_visit": "visit",
    "visit_status": "visit",
}

logger = logging.getLogger("flask_iterapay")


def on_csrf_error(error: CSRFError) -> ResponseReturnValue:
    """An old tab or a lost session: show the page again with a fresh form."""
    logger.info("a form came without a valid CSRF token: %s", error.description)
    show_again = _SHOW_AGAIN.get(_endpoint())
    if show_again is None:
        return not_found(error)
    try:
        return show_again(**(request.view_args or {}), notice=Notice.STALE_FORM, status=400)
    except (NotFound, OrderNotFoundError, LinkError) as missing:
        return not_found(missing)
    except StoreError as failure:
        # An error handler's own errors are handled by nobody.
        return on_store_error(failure)


def on_store_error(error: StoreError) -> ResponseReturnValue:
    """The shop's database failed: say so, and that nothing is lost."""
    logger.error("the order store failed: %s", error)
    endpoint = _endpoint()
    page_url = url_for(f".{_PAGES.get(endpoint, endpoint)}", **(request.view_args or {}))
    response = make_response(render_template("iterapay/problem.html", page_url=page_url), 503)
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def not_found(error: Exception) -> ResponseReturnValue:
    """The same page for an address that was made up, and for what is not there."""
    return render_template("iterapay/not_found.html"), 404


def _endpoint() -> str:
    return (request.endpoint or "").rpartition(".")[2]
