"""The pages of a payment link: what their templates are given. All words are theirs."""

from flask import render_template, url_for
from markupsafe import Markup

from ..errors import GatewayError
from ..gateway.models import PaymentMethod
from ..links.models import Contribution, Link, Visit
from .forms import CheckForm, VisitForm
from .link_view import MAX_LISTED, LinkState, LinkView, build_link_view, build_visit_view
from .page import Notice, logger
from .qr import qr_svg
from .state import current_iterapay
from .view import MethodOption

__all__ = ["link_address", "link_methods", "render_link", "render_visit", "view_visit"]


def link_address(link: Link) -> str:
    """What stands for a link in its page's address: its slug, or else its id, signed."""
    return link.slug or current_iterapay.link_tokens.sign(link.link_id)


def link_methods(link: Link) -> tuple[PaymentMethod, ...] | None:
    """List the methods that a link is paid by; ``None`` if the gateway has never told any."""
    try:
        return current_iterapay.links.offered_methods(link)
    except GatewayError as error:
        logger.warning("no payment methods to offer for link %r: %s", link.link_id, error)
        return None


def render_link(
    address: str, link: Link, *, form: VisitForm | None = None, notice: Notice | None = None, status: int = 200
) -> tuple[str, int]:
    """Render the page of a link as it stands; ``form`` is one that was refused."""
    view = build_link_view(link, _list_newest(link))
    methods = link_methods(link) if view.state is LinkState.CHOOSE_METHOD else ()
    if methods is None:
        notice = notice or Notice.METHODS_UNAVAILABLE
    context = {
        "options": [MethodOption(method=method, pay_amount=None) for method in methods or ()],
        "method_form": form or VisitForm(methods or ()),
        "choose_url": url_for(".begin_visit", address=address),
        "link_url": url_for(".link", address=address),
        "sandbox_url": _sandbox_url(url_for(".link", address=address)),
        "notice": notice,
    }
    return _render(view, **context), status


def view_visit(visit: Visit, link: Link) -> LinkView:
    """Read what the page of a visit shows now."""
    return build_visit_view(visit, link, _list_newest(link), current_iterapay.clock())


def render_visit(
    token: str, visit: Visit, link: Link, *, notice: Notice | None = None, status: int = 200
) -> tuple[str, int]:
    """Render the page of a visit as it stands."""
    view = view_visit(visit, link)
    page_url = url_for(".visit", token=token)
    context = {
        "token": token,
        "reference": visit.reference,
        "check_form": CheckForm(),
        "check_url": url_for(".check_visit", token=token),
        "status_url": url_for(".visit_status", token=token),
        "link_url": url_for(".link", address=link_address(link)),
        # The bare address, whatever the shop chose for orders: a URI's amount would ask for the minimum.
        "qr": Markup(qr_svg(view.invoice.address)) if view.invoice and view.invoice.address else None,  # noqa: S704
        "sandbox_url": _sandbox_url(page_url, visit),
        "notice": notice,
    }
    return _render(view, **context), status


def _list_newest(link: Link) -> list[Contribution]:
    """What a page may list of a link; more than it shows, for it leaves out what was refused."""
    if not link.has_public_list:
        return []
    return current_iterapay.links.list_contributions(link.link_id, limit=2 * MAX_LISTED)


def _render(view: LinkView, **context: object) -> str:
    common = {"view": view, "reference": None, "status_url": None, "qr": None, "has_qr_amount": False}
    return render_template("iterapay/link.html", **common | context)


def _sandbox_url(back: str, visit: Visit | None = None) -> str | None:
    """The control panel, with the way back to this page; with the visit's address as the one that is paid to."""
    if current_iterapay.sandbox is None:
        return None
    if visit is None or visit.invoice_id is None:
        return url_for(".sandbox", path="panel/", back=back)
    return url_for(".sandbox", path=f"panel/invoices/{visit.invoice_id}", address=visit.address, back=back)
