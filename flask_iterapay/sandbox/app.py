"""The sandbox as a WSGI app, inside a shop or as a server of its own."""

import http.client
import uuid
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, SecurityError
from werkzeug.serving import BaseWSGIServer, make_server

from ..errors import ConfigurationError
from .bodies import InvalidRequestError
from .deliveries import Webhook
from .panel import answer_panel_error, panel
from .problems import answer_error, answer_problem
from .rest import rest
from .service import Clock, Deliver, SandboxService
from .state import SandboxState
from .storage import SandboxStore

__all__ = [
    "API_KEY",
    "BEARER_TOKEN",
    "MERCHANT_ID",
    "create_sandbox_app",
    "make_sandbox_server",
    "post_to_loopback",
    "serve",
]

MERCHANT_ID = "00000000-0000-4000-8000-000000000000"
API_KEY = "sandbox-api-key"
BEARER_TOKEN = "sandbox-bearer-token"  # noqa: S105 - it opens nothing but a sandbox

_SERVED_HOSTS = ["127.0.0.1", "localhost"]
_DELIVERED_HOSTS = [*_SERVED_HOSTS, "::1"]
_CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
_DELIVERY_SECONDS = 5
_MAX_BODY_BYTES = 64 * 1024


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())


def post_to_loopback(url: str, headers: Mapping[str, str], body: bytes) -> int:
    """Post a delivery and return the status. It follows no redirect, asks no proxy, and waits five seconds.

    Raises:
        ValueError: the URL does not lead to this machine: a test tool sends nothing anywhere else.
        OSError: no answer came.
        http.client.HTTPException: the answer was not HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in _CONNECTIONS or parts.hostname not in _DELIVERED_HOSTS:
        raise ValueError("the sandbox delivers to loopback addresses only")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(_CONNECTIONS[parts.scheme](parts.hostname, parts.port, timeout=_DELIVERY_SECONDS)) as connection:
        connection.request("POST", path, body, dict(headers))
        status: int = connection.getresponse().status
        return status


def create_sandbox_app(
    *,
    path: str | Path,
    merchant_id: str = MERCHANT_ID,
    api_key: str = API_KEY,
    bearer_token: str = BEARER_TOKEN,
    clock: Clock = _utc_now,
    new_id: Callable[[], str] = _new_id,
    deliver: Deliver = post_to_loopback,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> Flask:
    """Make the offline gateway: its API at the root, its control panel under ``/panel/``.

    All of its state is the SQLite file ``path``, so several processes may serve it. Webhooks go to ``webhook_url``,
    signed with ``webhook_secret``, until the API registers another; with a secret alone, ``deliver`` knows where.
    When mounted inside a shop, ``environ["iterapay.csrf_field"]`` and ``environ["iterapay.csrf_token"]`` name and fill
    a hidden input in each of the panel's forms.

    Raises:
        ConfigurationError: a webhook URL without a secret.
    """
    if webhook_url and not webhook_secret:
        raise ConfigurationError("a webhook URL needs a webhook secret to sign with")
    webhook = Webhook(url=webhook_url or "https://shop.invalid/", secret=webhook_secret) if webhook_secret else None
    service = SandboxService(store=SandboxStore(path), clock=clock, new_id=new_id, deliver=deliver, webhook=webhook)
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    app.extensions["iterapay_sandbox"] = SandboxState(
        service=service, merchant_id=merchant_id, api_key=api_key, bearer_token=bearer_token
    )
    app.register_blueprint(rest)
    app.register_blueprint(panel)
    app.register_error_handler(HTTPException, _answer_error)
    app.register_error_handler(InvalidRequestError, lambda error: answer_problem(400, str(error)))

    @app.after_request
    def drain_afterwards(response: Response) -> Response:
        response.call_on_close(service.drain)
        return response

    return app


def _answer_error(error: HTTPException) -> Response:
    # A host that is not trusted gets no page: none can be made without knowing where the links lead.
    is_page = request.path.startswith("/panel/") and not isinstance(error, SecurityError)
    return answer_panel_error(error) if is_page else answer_error(error)


def make_sandbox_server(
    *,
    port: int,
    path: str | Path,
    host: str = "127.0.0.1",
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> BaseWSGIServer:
    """Make a threaded server on loopback, with the credentials that this module names. Port 0 takes a free one.

    Raises:
        ConfigurationError: the host is not on loopback, or a webhook URL has no secret.
    """
    if host not in _SERVED_HOSTS:
        raise ConfigurationError(f"the sandbox is served on loopback only, not on {host!r}")
    app = create_sandbox_app(path=path, webhook_url=webhook_url, webhook_secret=webhook_secret)
    # Against DNS rebinding: somebody else's page must not work the panel under a name of its own.
    app.config["TRUSTED_HOSTS"] = _SERVED_HOSTS
    return make_server(host, port, app, threaded=True)


def serve(
    *,
    port: int,
    path: str | Path,
    host: str = "127.0.0.1",
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> None:
    """Serve a sandbox until it is interrupted; see ``make_sandbox_server``."""
    server = make_sandbox_server(
        host=host, port=port, path=path, webhook_url=webhook_url, webhook_secret=webhook_secret
    )
    server.log_startup()
    server.serve_forever()
