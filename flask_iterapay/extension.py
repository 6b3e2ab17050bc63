"""The one object that a shop holds: the way in for everything, for any number of apps."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeVar, overload
from urllib.parse import urlsplit

from flask import Flask, current_app

from .background import Background
from .config import Settings
from .errors import ConfigurationError, InvalidOrderError
from .links.models import Contribution, Link, LinkEvent
from .orders.dispatch import Handler
from .orders.entries import Entry
from .orders.models import Clock, EventName, HoldReason, Order, OrderEvent
from .orders.reconcile import ReconcileReport
from .orders.stores.base import OrderStore
from .web.blueprint import create_blueprint
from .web.link_page import link_address
from .web.state import EXTENSION_KEY, current_iterapay
from .web.urls import is_allowed_return_url, path_for, path_from_root
from .web.webhook import create_webhook_blueprint
from .wiring import build_state

if TYPE_CHECKING:
    from .gateway.client import GatewayClient

__all__ = ["IteraPay"]

OrderHandler = TypeVar("OrderHandler", bound=Callable[[OrderEvent], object])
LinkHandler = TypeVar("LinkHandler", bound=Callable[[LinkEvent], object])
LinkEventName = Literal["link.payment_received", "link.payment_on_hold", "link.payment_anomaly"]
AnyEntry = TypeVar("AnyEntry", bound=Entry)


class IteraPay:
    """Crypto payments through IteraPay for a Flask shop.

    Make one, register handlers with ``on``, call ``init_app`` for each app, and register ``blueprint`` on it. The
    object itself keeps nothing but the handlers; everything else belongs to an app, so one object serves many.

    ``store`` is an ``OrderStore`` (default: SQL at ``ITERAPAY_DATABASE_URL``), ``client`` a ``GatewayClient``
    (default: made from the configuration), ``clock`` returns the present as an aware UTC time. All three can be given
    here or to ``init_app``.

    Raises:
        ConfigurationError: from ``init_app``, with every problem of the configuration in one message.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        store: OrderStore | None = None,
        client: "GatewayClient | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self._defaults = (store, client, clock)
        self._handlers: dict[EventName, list[Handler]] = {name: [] for name in EventName}
        self._webhook = create_webhook_blueprint()
        self.blueprint = create_blueprint()
        """The routes; register it on every app that ``init_app`` was called for, under any prefix."""
        self.blueprint.register_blueprint(self._webhook)
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        store: OrderStore | None = None,
        client: "GatewayClient | None" = None,
        clock: Clock | None = None,
    ) -> None:
        """Set up one app; raises ``ConfigurationError`` with every problem, or if it was set up before."""
        if EXTENSION_KEY in app.extensions:
            raise ConfigurationError("init_app was called twice for the same app")
        default_store, default_client, default_clock = self._defaults
        # Compared with None, because an empty store may well be false.
        state = app.extensions[EXTENSION_KEY] = build_state(
            app,
            blueprint=self.blueprint,
            handlers=self._handlers,
            store=default_store if store is None else store,
            client=default_client if client is None else client,
            clock=clock or default_clock or _utc_now,
        )
        from .cli import cli  # here, because commands are of no use before an app has them

        app.cli.add_command(cli)
        # Now for a CSRFProtect that came before us, and again at every request for one that comes after: our function
        # then runs before its own.
        self._exempt_webhook(app)
        app.before_request(lambda: self._exempt_webhook(app))
        if state.settings.reconcile_seconds is not None:
            background = Background(run=lambda: _reconcile(app), every_seconds=state.settings.reconcile_seconds)
            app.before_request(background.ensure_running)

    @overload
    def on(self, event_name: LinkEventName) -> Callable[[LinkHandler], LinkHandler]: ...  # type: ignore[overload-overlap]

    @overload
    def on(self, event_name: str) -> Callable[[OrderHandler], OrderHandler]: ...

    def on(self, event_name: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
        """Register a handler: ``@iterapay.on("order.paid")``.

        It is called with the ``OrderEvent``, or the ``LinkEvent`` of a ``link.*`` event, after the change was committed
        and the response sent, in an app context of its own and without a request; again and again until it returns, at
        least once, always with the same ``event.key``. Register handlers at import time, so that every process has
        them.

        Raises:
            ConfigurationError: there is no such event, or a handler of the same name is registered for it.
        """
        if event_name not in list(EventName):
            raise ConfigurationError(f"there is no event {event_name!r}; the events are {', '.join(EventName)}")

        def register(function: Callable[..., object]) -> Callable[..., object]:
            handler = Handler(name=f"{function.__module__}.{function.__qualname__}", call=function)
            handlers = self._handlers[EventName(event_name)]
            if any(other.name == handler.name for other in handlers):
                raise ConfigurationError(f"{event_name} already has a handler {handler.name}; rename this one")
            handlers.append(handler)
            return function

        return register

    def place_order(
        self,
        order_id: str,
        *,
        amount: Decimal | str | int,
        description: str = "",
        currency: str = "USD",
        return_url: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Order:
        """Make an order, or find it again; take the amount from the server's own cart, never from the request.

        ``order_id`` is 1 to 64 printable characters of the shop's choice; the customer can read it. ``amount`` is in
        USD, over 0, with at most two decimals. The same id and amount returns the order as it stands; another amount
        supersedes its invoices until money was seen. ``return_url`` is a path of this site, or absolute on
        ``ITERAPAY_PUBLIC_URL`` or one of ``ITERAPAY_RETURN_ORIGINS``. ``metadata`` is kept for the shop.

        Raises:
            AmountError, InvalidOrderError: an argument is not allowed.
            OrderLockedError, OrderPaidError, OrderCancelledError: the order no longer takes another amount.
            StoreError: the store failed; nothing was written.
        """
        settings = current_iterapay.settings
        if return_url is not None and not is_allowed_return_url(return_url, _return_origins(settings)):
            raise InvalidOrderError(order_id, "the return URL is neither a path of this site nor on an allowed origin")
        return current_iterapay.service.place(
            order_id,
            amount=amount,
            description=description,
            currency=currency,
            return_url=return_url,
            metadata=metadata,
        )

    def get_order(self, order_id: str) -> Order:
        """Read an order as it is stored; ``OrderNotFoundError`` if there is none."""
        return current_iterapay.service.get(order_id)

    def checkout_url(self, order: Order, *, is_external: bool = False) -> str:
        """The address of an order's payment page: a path, or with ``is_external`` an absolute URL for a mail.

        Absolute URLs are built on ``ITERAPAY_PUBLIC_URL``, never on what a request says.

        Raises:
            NotInitialisedError: ``init_app`` or ``register_blueprint`` is missing.
            ConfigurationError: an absolute URL without ``ITERAPAY_PUBLIC_URL``.
        """
        token = current_iterapay.tokens.sign(order.order_id)
        return self._url_of("checkout", is_external=is_external, token=token)

    def cancel_order(self, order_id: str) -> Order:
        """Cancel an order before money was seen. Money that comes later puts it on hold.

        Raises:
            OrderLockedError, OrderPaidError: money was seen; an order on hold is for ``resolve_hold``.
        """
        return _dispatched(current_iterapay.service.cancel(order_id))

    def resolve_hold(
        self, order_id: str, *, is_accepted: bool, actor: str, note: str = "", reason: HoldReason | None = None
    ) -> Order:
        """Let a person decide about money that waits: take it as payment, or cancel the order.

        The order is on hold, or it is ``confirming`` and nothing comes of it. ``actor`` and ``note`` are kept in the
        order's history. With ``reason`` the decision is about that hold alone, should another one have taken its
        place. ``OrderNotOnHoldError`` if there is nothing to decide, or not for this reason.
        """
        service = current_iterapay.service
        return _dispatched(
            service.resolve_hold(order_id, is_accepted=is_accepted, actor=actor, note=note, reason=reason)
        )

    def sync(self, order_id: str) -> Order:
        """Read the gateway for an order now and return the order as it stands then.

        Raises:
            GatewayError: the gateway could not be read; the order keeps its state and stays due.
        """
        return _dispatched(current_iterapay.service.sync(order_id))

    def create_link(
        self,
        link_id: str,
        *,
        description: str = "",
        minimum: Decimal | str | int | None = None,
        methods: Sequence[str | int] | None = None,
        slug: str | None = None,
        has_public_list: bool = True,
    ) -> Link:
        """Make a payment link, or bring the one of this id up to what is asked for; call it as often as you like.

        Anybody with its address (``link_url``) can pay it, any number of times: donations, top-ups, bills without a
        cart. ``link_id`` is 1 to 64 printable characters. ``minimum`` is in USD, with at most two decimals; the
        visitor decides on the amount. ``methods`` are ids of payment methods, by default all that the shop offers.
        With a ``slug`` (``a-z``, ``0-9`` and ``-``) the address of its page can be guessed and printed; it is signed
        without. ``has_public_list`` shows the newest payments on its pages, where a visitor finds his own.

        Raises:
            AmountError, InvalidLinkError: an argument is not allowed, or the slug is another link's.
            StoreError: the store failed; nothing was written.
        """
        return current_iterapay.links.create(
            link_id,
            description=description,
            minimum=minimum,
            methods=methods,
            slug=slug,
            has_public_list=has_public_list,
        )

    def get_link(self, link_id: str) -> Link:
        """Read a payment link as it is stored; ``LinkNotFoundError`` if there is none."""
        return current_iterapay.links.get(link_id)

    def link_url(self, link: Link, *, is_external: bool = False) -> str:
        """The address of a link's page: a path, or with ``is_external`` an absolute URL. Errors as ``checkout_url``."""
        return self._url_of("link", is_external=is_external, address=link_address(link))

    def close_link(self, link_id: str) -> Link:
        """Close a link: no new addresses. It stays watched, since visitors keep those that they were given."""
        return current_iterapay.links.close(link_id)

    def reopen_link(self, link_id: str) -> Link:
        """Open a link that was closed."""
        return current_iterapay.links.reopen(link_id)

    def sync_link(self, link_id: str) -> Link:
        """Read the gateway for a link now; its new contributions are written down. Errors as ``sync``."""
        return _dispatched(current_iterapay.links.sync(link_id))

    def list_contributions(
        self, link_id: str, *, limit: int = 50, before: Contribution | None = None
    ) -> list[Contribution]:
        """List what came in over a link, newest first by when the gateway saw it, whatever became of it.

        Only those of status ``received`` are money. ``before`` is the last one of the page before.

        Raises:
            LinkNotFoundError: there is no such link, which is something else than that nobody has paid.
        """
        links = current_iterapay.links
        return links.list_contributions(links.get(link_id).link_id, limit=limit, before=before)

    def resolve_contribution(
        self, contribution_id: str, *, is_accepted: bool, actor: str, note: str = ""
    ) -> Contribution:
        """Let a person decide about a contribution that waits: take it as received, or turn it down.

        One that was refused may be taken as received after all.

        Raises:
            ContributionNotOnHoldError: it is received already, or refused and to be refused.
        """
        links = current_iterapay.links
        return _dispatched(links.resolve(contribution_id, is_accepted=is_accepted, actor=actor, note=note))

    def reconcile(self, *, limit: int = 100) -> ReconcileReport:
        """Finish what nobody finished: read orders and links that are due, hand open events to their handlers.

        What ``flask iterapay reconcile`` runs. Needs no webhook; several may run at once.
        """
        return current_iterapay.service.reconcile(limit=limit)

    def _url_of(self, endpoint: str, *, is_external: bool, **values: str) -> str:
        app = current_app._get_current_object()  # type: ignore[attr-defined]
        if not is_external:
            return path_for(app, self.blueprint, endpoint, **values)
        if current_iterapay.settings.public_url is None:
            raise ConfigurationError("ITERAPAY_PUBLIC_URL is needed for absolute links")
        return current_iterapay.settings.public_url + path_from_root(app, self.blueprint, endpoint, **values)

    def _exempt_webhook(self, app: Flask) -> None:
        csrf = app.extensions.get("csrf")
        if csrf is not None:
            csrf.exempt(self._webhook)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _reconcile(app: Flask) -> None:
    with app.app_context():
        current_iterapay.service.reconcile()


def _return_origins(settings: Settings) -> list[str]:
    if settings.public_url is None:
        return list(settings.return_origins)
    parts = urlsplit(settings.public_url)
    return [*settings.return_origins, f"{parts.scheme}://{parts.netloc}"]


def _dispatched(entry: AnyEntry) -> AnyEntry:
    current_iterapay.dispatch_later(entry)
    return entry
