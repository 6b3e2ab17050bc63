"""Setting up one app: its settings, client, store and service, wired together, and what runs outside of requests."""

import contextvars
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flask import Blueprint, Flask, Response, after_this_request, has_request_context

from .config import Settings
from .errors import ConfigurationError, IteraPayError
from .links.models import Link
from .links.service import LinkService
from .orders.dispatch import Dispatcher, Handler
from .orders.entries import Entry, Event
from .orders.ledger import Ledger
from .orders.models import Clock, EventName, Order, Policy
from .orders.service import OrderService
from .orders.stores.base import OrderStore
from .web.link_page import link_address
from .web.state import IteraPayState
from .web.tokens import TokenSigner
from .web.urls import path_for, path_from_root

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .gateway.client import GatewayClient

__all__ = ["build_state"]

AnyEntry = TypeVar("AnyEntry", bound=Entry)

logger = logging.getLogger("flask_iterapay")


def build_state(
    app: Flask,
    *,
    blueprint: Blueprint,
    handlers: Mapping[EventName, Sequence[Handler]],
    store: OrderStore | None,
    client: "GatewayClient | None",
    clock: Clock,
) -> IteraPayState:
    """Wire the parts for an app; what is not handed in is made from its configuration.

    Raises:
        ConfigurationError: with everything that is wrong, ours and Flask's.
    """
    settings = _read_settings(app, store, has_client=client is not None)
    sandbox = _make_sandbox(app, blueprint, settings, clock) if settings.is_sandbox else None
    client = _make_client(settings, sandbox) if client is None else client
    store = _make_store(app, settings) if store is None else store
    realm = "sandbox-" if settings.is_sandbox else ""
    policy = _make_policy(settings)

    def make_dispatcher(ledger: Ledger[AnyEntry]) -> Dispatcher[AnyEntry]:
        return Dispatcher(
            ledger=ledger,
            clock=clock,
            handlers_for=lambda name: handlers[name],
            run=lambda handler, event: _run_handler(app, handler, event),
        )

    links = LinkService(
        store=store,
        gateway=client,
        make_dispatcher=make_dispatcher,
        clock=clock,
        policy=policy,
        make_token=_make_token,
        methods=settings.methods,
        max_addresses=settings.addresses_per_hour,
        realm=realm,
    )
    ledger = Ledger(store=store, model=Order, realm=realm)
    service = OrderService(
        ledger=ledger,
        gateway=client,
        dispatcher=make_dispatcher(ledger),
        clock=clock,
        policy=policy,
        make_token=_make_token,
        methods=settings.methods,
        other_duties=links.duties,
        parallel_reads=settings.parallel_reads,
    )
    secret_keys = _secret_keys(app)
    return IteraPayState(
        settings=settings,
        policy=policy,
        service=service,
        links=links,
        client=client,
        store=store,
        tokens=TokenSigner(secret_keys),
        link_tokens=TokenSigner(secret_keys, purpose="link"),
        visit_tokens=TokenSigner(secret_keys, purpose="visit"),
        clock=clock,
        handlers=handlers,
        dispatch_later=lambda entry: _dispatch_later(service, links, entry),
        webhook_path=lambda: path_from_root(app, blueprint, "webhook.receive"),
        link_url=lambda link: _link_url(app, blueprint, settings.public_url, link),
        sandbox=sandbox,
    )


def _link_url(app: Flask, blueprint: Blueprint, public_url: str | None, link: Link) -> str:
    address = link_address(link)
    if public_url is None:
        return path_for(app, blueprint, "link", address=address)
    return public_url + path_from_root(app, blueprint, "link", address=address)


def _make_policy(settings: Settings) -> Policy:
    return Policy(
        is_aml_required=settings.aml == "require",
        aml_wait_seconds=settings.aml_wait_seconds,
        accept_late_seconds=settings.accept_late_seconds,
        sync_seconds=settings.sync_seconds,
        watch_seconds=settings.watch_seconds,
    )


def _read_settings(app: Flask, store: OrderStore | None, *, has_client: bool) -> Settings:
    """Read the configuration; raise one error with everything that is wrong, ours and Flask's."""
    is_development = app.debug or app.testing
    problems: list[str] = []
    if not app.secret_key:
        problems.append("SECRET_KEY is not set; it signs payment pages and forms")
    if not _has_sound_fallbacks(app):
        problems.append("SECRET_KEY_FALLBACKS is a list of keys, none of them empty")
    if store is not None and not store.is_durable and not is_development:
        problems.append("the memory store loses every order at a restart: set ITERAPAY_DATABASE_URL instead")
    try:
        settings = Settings.from_config(
            app.config, is_development=is_development, has_store=store is not None, has_client=has_client
        )
    except ConfigurationError as error:
        raise ConfigurationError([*error.problems, *problems]) from None
    if problems:
        raise ConfigurationError(problems)
    return settings


def _has_sound_fallbacks(app: Flask) -> bool:
    # A string would be taken for a list of its letters, and anybody can sign with a letter.
    fallbacks = app.config.get("SECRET_KEY_FALLBACKS") or []
    return isinstance(fallbacks, list | tuple) and all(key and isinstance(key, str | bytes) for key in fallbacks)


# httpx, SQLAlchemy and the sandbox are imported where they are first needed: together they would double the time that
# importing this package takes, and an app that brings its own store or client never pays for them.


def _make_client(settings: Settings, sandbox: "WSGIApplication | None") -> "GatewayClient":
    from .gateway.client import GatewayClient

    transport = None
    if sandbox is not None:
        from .sandbox.transport import SandboxTransport

        transport = SandboxTransport(sandbox)
    return GatewayClient(
        base_url=settings.base_url,
        merchant_id=settings.merchant_id,
        api_key=settings.api_key,
        auth=settings.auth,
        transport=transport,
    )


def _make_sandbox(app: Flask, blueprint: Blueprint, settings: Settings, clock: Clock) -> "WSGIApplication":
    from .sandbox.app import BEARER_TOKEN, create_sandbox_app  # only where the sandbox is switched on

    def deliver(url: str, headers: Mapping[str, str], body: bytes) -> int:
        # In process the sandbox knows one shop: the one it lives in, whatever URL is registered.
        from werkzeug.test import EnvironBuilder, run_wsgi_app

        path = path_from_root(app, blueprint, "webhook.receive")
        builder = EnvironBuilder(
            path, settings.public_url or "http://localhost", method="POST", headers=list(headers.items()), data=body
        )
        status = run_wsgi_app(app.wsgi_app, builder.get_environ(), buffered=True)[1]
        return int(status.split(" ", 1)[0])

    return create_sandbox_app(
        path=_instance_file(app, "iterapay-sandbox.sqlite3"),
        merchant_id=settings.merchant_id,
        api_key=settings.api_key,
        # One credential under both names where the shop sends its key as a bearer token.
        bearer_token=settings.api_key if settings.auth == "bearer" else BEARER_TOKEN,
        webhook_secret=settings.webhook_secrets[0],
        clock=clock,
        deliver=deliver,
    )


def _make_store(app: Flask, settings: Settings) -> OrderStore:
    from .orders.stores.sqlalchemy import SQLAlchemyStore

    if settings.database_url is not None:
        return SQLAlchemyStore(settings.database_url)
    # Settings leaves the URL out only in development and in the sandbox, where a file that comes and goes will do.
    return SQLAlchemyStore(f"sqlite:///{_instance_file(app, 'iterapay.sqlite3')}", create_tables=True)


def _instance_file(app: Flask, name: str) -> Path:
    folder = Path(app.instance_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _secret_keys(app: Flask) -> list[str | bytes]:
    """Oldest first: the last one signs, all of them verify."""
    newest = [app.secret_key] if app.secret_key else []
    return [*(app.config.get("SECRET_KEY_FALLBACKS") or ()), *newest]


def _run_handler(app: Flask, handler: Handler, event: Event) -> None:
    """Call a handler in an empty context with an app context of its own, so that it shares nobody's session."""

    def call() -> None:
        with app.app_context():
            handler.call(event)

    contextvars.Context().run(call)


def _make_token() -> str:
    return secrets.token_hex(8)


def _dispatch_later(service: OrderService, links: LinkService, entry: Entry) -> None:
    """Hand out what an entry has for handlers once the response is out, or at once outside a request."""
    dispatch: Callable[[str], int]
    if isinstance(entry, Link):
        has_news, dispatch = links.has_news(entry), links.dispatch_news
    else:
        has_news, dispatch = entry.has_open_events, service.dispatch if isinstance(entry, Order) else links.dispatch
    if not has_news:
        return
    if not has_request_context():
        _dispatch(dispatch, entry)
        return

    @after_this_request
    def when_sent(response: Response) -> Response:
        response.call_on_close(lambda: _dispatch(dispatch, entry))
        return response


def _dispatch(dispatch: Callable[[str], int], entry: Entry) -> None:
    try:
        dispatch(entry.entry_id)
    except IteraPayError:
        # The response is out and the change is saved; the event stays open, and reconcile hands it out.
        logger.exception("the events of %s %r could not be handed out now", entry.KIND, entry.entry_id)
