"""The visitor's routes to payment links. A visit begins with a form, and a GET only goes on with it.

A link's page is at its slug or at its signed id. Each visit has a page of its own at its signed reference, which is
made of what the form brought, so that a form that is sent twice begins one visit.
"""

import hashlib
import ipaddress
import logging
from base64 import b32encode
from contextlib import suppress

from flask import abort, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ..errors import GatewayError, LinkClosedError, LinkMethodError, TooManyAddressesError, VisitNotFoundError
from ..links.models import Link, Visit
from .forms import CheckForm, VisitForm
from .link_page import link_methods, render_link, render_visit, view_visit
from .page import Notice
from .poll import answer_poll
from .state import current_iterapay

__all__ = [
    "begin_visit",
    "check_visit",
    "leave_check_visit",
    "link",
    "show_link_again",
    "show_visit_again",
    "visit",
    "visit_status",
]

_REFERENCE_LENGTH = 12

logger = logging.getLogger("flask_iterapay")


def link(address: str) -> ResponseReturnValue:
    """``GET /links/<address>``: what the link is for, and the payment methods to choose from."""
    found = current_iterapay.links.poll(_find_link(address).link_id)
    current_iterapay.dispatch_later(found)
    return render_link(address, found)


def begin_visit(address: str) -> ResponseReturnValue:
    """``POST /links/<address>``: choose a payment method and be given an address, then 303 to the visit's page."""
    found = _find_link(address)
    methods = link_methods(found)
    form = VisitForm(methods or ())
    if methods is None or not form.validate_on_submit():
        notice = Notice.METHODS_UNAVAILABLE if methods is None else None if form.method.errors else Notice.STALE_FORM
        return render_link(address, found, form=form, notice=notice, status=422)
    reference = _make_reference(found, form)
    try:
        current_iterapay.links.receive_visitor(
            found.link_id, form.method.data, reference=reference, visitor=_tell_visitor()
        )
    except TooManyAddressesError as error:
        logger.warning("link %r: a visitor has asked for too many addresses", found.link_id)
        response = make_response(render_link(address, found, notice=Notice.TOO_MANY_TRIES, status=429))
        response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response
    except LinkClosedError:
        return redirect(url_for(".link", address=address), 303)
    except LinkMethodError as error:
        logger.warning("link %r: %s", found.link_id, error)
        if not _has_begun(reference):
            # The method was taken off the list in this very moment.
            return show_link_again(address, notice=Notice.METHOD_REFUSED, status=422)
    except GatewayError as error:
        # The visit is there, and its page asks again.
        logger.warning("link %r: no address could be given yet: %s", found.link_id, error)
    return redirect(url_for(".visit", token=current_iterapay.visit_tokens.sign(reference)), 303)


def visit(token: str) -> ResponseReturnValue:
    """``GET /visits/<token>``: the page of a visit, for whatever state it is in."""
    found, of_link = _refresh(token)
    return render_visit(token, found, of_link)


def check_visit(token: str) -> ResponseReturnValue:
    """``POST /visits/<token>/check``: "check payment status" without JavaScript; then 303 to the page."""
    reference = _read_reference(token)
    if not CheckForm().validate_on_submit():
        return show_visit_again(token, notice=Notice.STALE_FORM, status=422)
    links = current_iterapay.links
    try:
        found = links.complete_visit(reference, is_pressed=True)
    except LinkMethodError as error:
        logger.warning("visit %s: %s", reference, error)
        found = links.get_visit(reference)
    except GatewayError as error:
        logger.warning("visit %s has no address yet: %s", reference, error)
        return show_visit_again(token, notice=Notice.GATEWAY_DOWN, status=503)
    current_iterapay.dispatch_later(links.check(found.link_id))
    return redirect(url_for(".visit", token=token), 303)


def leave_check_visit(token: str) -> ResponseReturnValue:
    """``GET /visits/<token>/check``: a form's answer was loaded anew, so back to the page."""
    return redirect(url_for(".visit", token=token), 303)


def visit_status(token: str) -> ResponseReturnValue:
    """``GET /visits/<token>/status``: what the page's poll needs, and never an address or an amount."""
    return answer_poll(view_visit(*_refresh(token)))


def show_link_again(address: str, *, notice: Notice, status: int) -> ResponseReturnValue:
    """Show a link's page with what stood in the way."""
    return render_link(address, _find_link(address), notice=notice, status=status)


def show_visit_again(token: str, *, notice: Notice, status: int) -> ResponseReturnValue:
    """Show a visit's page with what stood in the way."""
    found = current_iterapay.links.get_visit(_read_reference(token))
    return render_visit(token, found, current_iterapay.links.get(found.link_id), notice=notice, status=status)


def _find_link(address: str) -> Link:
    """The link at this address: its slug, or its signed id. A link with a slug answers to both."""
    links = current_iterapay.links
    link_id = current_iterapay.link_tokens.verify(address)
    return links.get(link_id) if link_id is not None else links.get_by_slug(address) or abort(404)


def _read_reference(token: str) -> str:
    reference = current_iterapay.visit_tokens.verify(token)
    if reference is None:
        abort(404)
    return reference


def _has_begun(reference: str) -> bool:
    try:
        current_iterapay.links.get_visit(reference)
    except VisitNotFoundError:
        return False
    return True


def _refresh(token: str) -> tuple[Visit, Link]:
    """Bring a visit up to date: its address, if that is missing, and its link."""
    links, reference = current_iterapay.links, _read_reference(token)
    found = links.get_visit(reference)
    if found.address is None:
        try:
            links.complete_visit(reference)
        except (GatewayError, LinkMethodError) as error:
            logger.warning("visit %s has no address yet: %s", reference, error)
    of_link = links.poll(found.link_id)
    current_iterapay.dispatch_later(of_link)
    # Read again, since the visit's address or payment may have come just now.
    return links.get_visit(reference), of_link


def _make_reference(of_link: Link, form: VisitForm) -> str:
    """The visit's reference, as people can read it out: the same for the same form, and no other's."""
    choice = f"{form.visit.data} {form.method.data} {of_link.link_id}"
    digest = hashlib.sha256(current_iterapay.visit_tokens.sign(choice).encode()).digest()
    # Base 32 has no 0 and no 1, which people take for letters.
    letters = b32encode(digest).decode()[:_REFERENCE_LENGTH]
    return "-".join(letters[start : start + 4] for start in range(0, _REFERENCE_LENGTH, 4))


def _tell_visitor() -> str:
    """Tell visitors apart by their network address, of which nothing but a hash is kept.

    A home has a whole network of IPv6 addresses, so those count by their first half. Behind a proxy the shop needs
    Werkzeug's ``ProxyFix``, or all visitors are one.
    """
    network = request.remote_addr or ""
    with suppress(ValueError):
        address = ipaddress.ip_address(network)
        if isinstance(address, ipaddress.IPv6Address):
            # A server that listens on both writes IPv4 addresses as IPv6 ones, all of them in one network.
            network = str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))
    return hashlib.sha256(current_iterapay.visit_tokens.sign(network).encode()).hexdigest()[:32]
