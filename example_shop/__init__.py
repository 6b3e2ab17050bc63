"""Marginalia, a small stationery shop that takes crypto payments, and donations, with flask-iterapay.

From a checkout, with nothing else installed, started or signed up for::

    pip install -e .
    flask --app example_shop run

It runs on the sandbox that ships with flask-iterapay, so no money moves. The same code takes real payments as soon as
the environment says so::

    export FLASK_SECRET_KEY=...                       # otherwise one is made and kept in the instance folder
    export FLASK_SESSION_COOKIE_SECURE=true
    export FLASK_ITERAPAY_SANDBOX=false
    export FLASK_ITERAPAY_API_KEY=... FLASK_ITERAPAY_MERCHANT_ID=... FLASK_ITERAPAY_WEBHOOK_SECRETS=...
    export FLASK_ITERAPAY_PUBLIC_URL=https://shop.example/
    export FLASK_ITERAPAY_DATABASE_URL=postgresql+psycopg://...
    export FLASK_ITERAPAY_SUPPORT_URL=mailto:help@shop.example
    export FLASK_ITERAPAY_AML=require                 # or unless_failed
    flask --app example_shop iterapay init-db         # the tables, before anything else; then start
    gunicorn --workers 4 "example_shop:create_app()"
    flask --app example_shop iterapay reconcile --every 30

Read ``views`` first (place an order, send the customer to pay), then ``handlers`` (ship what is paid, exactly once),
``donations`` (a payment link, and what came in over it), and ``templates/iterapay/base.html`` with
``static/payment.css`` (give the payment pages the shop's looks). The payment pages speak the customer's language, so
nothing but the shop's name is added to them.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import NamedTemporaryFile

from flask import Flask, render_template
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError, NotFound
from werkzeug.wrappers import Response

from . import handlers  # noqa: F401  Importing the module registers its handlers.
from .database import create_tables
from .donations import open_collection
from .extensions import csrf, iterapay
from .views import shop

__all__ = ["create_app"]

_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(config: Mapping[str, object] | None = None, *, instance_path: str | None = None) -> Flask:
    """Make the shop.

    ``config`` wins over the environment (``FLASK_...``), which wins over the defaults of a demonstration. The
    database and the secret key live in ``instance_path``, by default the folder ``instance`` beside the package.
    """
    app = Flask(__name__, instance_path=instance_path)
    app.config.update(
        ITERAPAY_SANDBOX=True,
        ITERAPAY_SANDBOX_ALLOW_ANYWHERE=True,
        ITERAPAY_SUPPORT_URL="mailto:help@marginalia.example",
        SESSION_COOKIE_SAMESITE="Lax",
        # A page that refreshes itself must not send an older cart back over a newer one.
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)
    Path(app.instance_path).mkdir(parents=True, exist_ok=True)
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or _get_secret_key(Path(app.instance_path))
    csrf.init_app(app)
    iterapay.init_app(app)
    app.register_blueprint(iterapay.blueprint, url_prefix="/pay")
    app.register_blueprint(shop)
    for error in (CSRFError, NotFound, InternalServerError):
        app.register_error_handler(error, _render_error)
    app.after_request(_add_security_headers)
    app.add_template_filter(_format_usd, "usd")
    app.add_template_filter(_format_moment, "moment")
    with app.app_context():
        create_tables()
        open_collection()
    return app


def _get_secret_key(folder: Path) -> str:
    """Return the key kept in this folder, made by whichever worker comes first.

    Linking a finished file to its name either works or finds the name taken, so that all workers read the same key
    and none reads half of it.
    """
    path = folder / "secret_key"
    if not path.exists():
        with NamedTemporaryFile("w", dir=folder) as draft:
            draft.write(secrets.token_hex(32))
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text()


def _render_error(error: HTTPException) -> tuple[str, int]:
    code = error.code or 500
    return render_template("shop/error.html", code=code), code


def _add_security_headers(response: Response) -> Response:
    """Add what a response does not say itself; the payment pages bring their own policy."""
    response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _format_usd(amount: Decimal) -> str:
    return f"${amount:,.2f}"


def _format_moment(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%d %b %Y, %H:%M UTC")
