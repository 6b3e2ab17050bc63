"""Other plugins' webhook views beside ours, each with news of a payment, on SQLite with the same durable settings.

dj-stripe reads the payment from Stripe's API, which is replaced at its client, as the gateway is replaced for ours.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from hmac import digest
from importlib.util import find_spec
from itertools import count
from typing import Any

from flask_iterapay.gateway.models import InvoiceState

from .bench import Bench, NotInstalledError
from .databases import make_store
from .floors import make_environ, send
from .row import Reach, Result, Row, compare
from .shops import Shop
from .timing import Case
from .webhooks import make_news_case

__all__ = ["ROWS", "urlpatterns"]

_SECRET = "whsec_of_this_benchmark"
_NUMBERS = count()
_CREATED = 1768473000
_ACCOUNT = {"id": "acct_1", "object": "account", "type": "standard", "settings": {}, "metadata": {}}

urlpatterns: list[Any] = []
"""Django looks for them here."""


@contextmanager
def _django(bench: Bench) -> Iterator[Any]:
    """Set up Django with both plugins; yields its WSGI app."""
    missing = [name for name in ("django", "djstripe", "payments", "stripe") if find_spec(name) is None]
    if missing:
        raise NotInstalledError("pip install dj-stripe django-payments stripe")
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="a secret key of this benchmark",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe", "payments", "benchmarks"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MIGRATION_MODULES={"djstripe": None, "auth": None, "contenttypes": None},
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": bench.folder / "django.sqlite3",
                # Kept open between requests, which Django does not do by itself, as our store does.
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
                },
            }
        },
        DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
        STRIPE_TEST_SECRET_KEY="sk_test_00000000000000000000000000",
        STRIPE_LIVE_MODE=False,
        PAYMENT_HOST="shop.example",
        PAYMENT_MODEL="benchmarks.Payment",
        # Without its signature check, in its favour: it cannot store what stripe 15 makes of a body that was checked.
        PAYMENT_VARIANTS={"stripe": ("payments.stripe.StripeProviderV3", {"api_key": "-", "secure_endpoint": False})},
    )
    django.setup()
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.management import call_command
    from django.db import connection
    from django.urls import include, path

    urlpatterns.extend([path("djstripe/", include("djstripe.urls")), path("payments/", include("payments.urls"))])
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(_make_payment_model())
    yield WSGIHandler()
    connection.close()


def _make_payment_model() -> Any:
    """Derive a shop's own model, as django-payments wants it; Django must be set up by then."""
    from payments.models import BasePayment

    class Payment(BasePayment):
        class Meta:
            app_label = "benchmarks"

    return Payment


def _django_payments_case(app: Any) -> Case:
    from django.apps import apps

    payments = apps.get_model("benchmarks", "Payment").objects

    def make_request() -> Callable[[], None]:
        payment = payments.create(variant="stripe", total="25.00", currency="USD", status="waiting")
        session = {"object": "checkout.session", "status": "complete", "payment_status": "paid"}
        session["client_reference_id"] = str(payment.token)
        return _make_request(app, "/payments/process/stripe/", _make_event("checkout.session.completed", session))

    return _make_case("django-payments", make_request)


def _dj_stripe_case(app: Any) -> Case:
    from djstripe.models import WebhookEndpoint

    _answer_for_stripe()
    endpoint = WebhookEndpoint.objects.create(
        id="we_1", secret=_SECRET, url="https://shop.example/", enabled_events=["*"], livemode=False
    )
    path = f"/djstripe/webhook/{endpoint.djstripe_uuid}/"
    return _make_case(
        "dj-stripe",
        lambda: _make_request(app, path, _make_event("payment_intent.succeeded", _make_intent(f"pi_{next(_NUMBERS)}"))),
    )


def _answer_for_stripe() -> None:
    """Replace the HTTP of Stripe's client: it reads the shop's account, and any payment intent."""
    import stripe

    class Client(stripe.HTTPClient):
        name = "answers"

        def request(self, method: str, url: str, headers: object, post_data: object = None) -> tuple[str, int, Any]:
            name = url.partition("?")[0].rpartition("/")[2]
            return json.dumps(_ACCOUNT if name == "account" else _make_intent(name)), 200, {}

        def close(self) -> None:
            pass

    stripe.default_http_client = Client()


def _make_intent(intent_id: str) -> dict[str, Any]:
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": 2500,
        "amount_received": 2500,
        "amount_capturable": 0,
        "capture_method": "automatic",
        "client_secret": "secret",
        "confirmation_method": "automatic",
        "created": _CREATED,
        "currency": "usd",
        "customer": None,
        "livemode": False,
        "metadata": {},
        "payment_method_types": ["card"],
        "status": "succeeded",
    }


def _make_event(name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"evt_{next(_NUMBERS)}",
        "object": "event",
        "api_version": "2026-05-27.dahlia",
        "created": _CREATED,
        "type": name,
        "livemode": False,
        "data": {"object": content},
    }


def _make_request(app: Any, path: str, event: dict[str, Any]) -> Callable[[], None]:
    body, at = json.dumps(event).encode(), int(time.time())
    signature = digest(_SECRET.encode(), f"{at}.".encode() + body, sha256).hex()
    environ = make_environ(path, method="POST", headers={"Stripe-Signature": f"t={at},v1={signature}"})
    return partial(send, app, environ, body)


def _make_case(name: str, make_request: Callable[[], Callable[[], None]]) -> Case:
    requests = list[Callable[[], None]]()
    return Case(
        name=name,
        prepare=lambda runs: requests.extend(make_request() for _ in range(runs)),
        run=lambda: requests.pop()(),
    )


def _measure(bench: Bench, make_case: Callable[[Any], Case]) -> Result:
    theirs = make_case(bench.use(_django))
    ours = make_news_case("floor", Shop(make_store(bench, "sqlite")), InvoiceState.CONFIRMING)
    return compare(bench.effort, ours, theirs)


ROWS: tuple[Row, ...] = tuple(
    Row(
        what=f"{name}'s webhook view, SQLite",
        floor="ours, news that money was seen",
        reach=Reach(at_least=4),
        measure=partial(_measure, make_case=make_case),
    )
    for name, make_case in {"dj-stripe": _dj_stripe_case, "django-payments": _django_payments_case}.items()
)
