"""What ``init_app`` set up for one app, and the proxy by which views and commands reach it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from flask import current_app
from werkzeug.local import LocalProxy

from ..config import Settings
from ..errors import NotInitialisedError
from ..links.models import Link
from ..links.service import LinkService
from ..orders.dispatch import Handler
from ..orders.entries import Entry
from ..orders.models import Clock, EventName, Policy
from ..orders.service import OrderService
from ..orders.stores.base import OrderStore
from ..values import Struct
from .tokens import TokenSigner

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..gateway.client import GatewayClient

__all__ = ["EXTENSION_KEY", "IteraPayState", "current_iterapay"]

EXTENSION_KEY = "iterapay"


class IteraPayState(Struct, frozen=True, kw_only=True):
    """One app's IteraPay: nothing of it is shared with another app.

    ``handlers`` are those registered so far, for each event. ``dispatch_later`` runs the handlers of an entry's open
    events once the response is out, or at once outside a request. ``link_url`` is where a link's page is: a path, or
    absolute where ``ITERAPAY_PUBLIC_URL`` is set. ``sandbox`` is the sandbox's WSGI app where it is switched on.
    """

    settings: Settings
    policy: Policy
    service: OrderService
    links: LinkService
    client: "GatewayClient"
    tokens: TokenSigner
    link_tokens: TokenSigner
    visit_tokens: TokenSigner
    clock: Clock
    handlers: Mapping[EventName, Sequence[Handler]]
    dispatch_later: Callable[[Entry], None]
    store: OrderStore
    webhook_path: Callable[[], str]
    link_url: Callable[[Link], str]
    sandbox: "WSGIApplication | None" = None


def _current() -> IteraPayState:
    state = current_app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise NotInitialisedError("call IteraPay.init_app(app) before the app serves requests")
    return cast("IteraPayState", state)


current_iterapay: IteraPayState = cast("IteraPayState", LocalProxy(_current))
"""The state of the app that is being served."""
