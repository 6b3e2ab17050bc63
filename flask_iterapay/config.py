"""Settings: everything that a shop decides, read once from ``app.config``.

Every key is read here by hand, since ``from_prefixed_env`` hands over whatever JSON made of an environment variable.
All problems are reported at once, each with its key and never with a value, which may be a secret in the wrong place.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NoReturn, TypeVar

from . import config_values as values
from .errors import ConfigurationError

__all__ = [
    "LANGUAGES",
    "SANDBOX_API_KEY",
    "SANDBOX_BASE_URL",
    "SANDBOX_MERCHANT_ID",
    "SANDBOX_WEBHOOK_SECRET",
    "Aml",
    "Auth",
    "Settings",
]

Auth = Literal["api_key", "bearer"]
Aml = Literal["require", "unless_failed"]
Value = TypeVar("Value")

LANGUAGES = ("en", "de", "es", "fr", "pt", "ru", "tr", "ar", "zh", "ja")
"""The languages that the pages exist in; the first is what they are written in."""

SANDBOX_API_KEY = "sandbox-api-key"
SANDBOX_BASE_URL = "https://sandbox.invalid"
SANDBOX_MERCHANT_ID = "00000000-0000-4000-8000-000000000000"
# Everybody may know it, for it protects play money; outside the sandbox it is refused.
SANDBOX_WEBHOOK_SECRET = "sandbox-webhook-secret-known-to-everybody"  # noqa: S105

_PREFIX = "ITERAPAY_"
_DAY_SECONDS = 86400
_MIN_SECRET_LENGTH = 32
_AUTHS: tuple[Auth, ...] = ("api_key", "bearer")
_AMLS: tuple[Aml, ...] = ("require", "unless_failed")
_MEANINGS = {
    "AML": (
        '"require" takes an order for paid only once IteraPay says that the money passed its anti-money-laundering '
        'check, "unless_failed" also while IteraPay says nothing about it, and nobody but the merchant can choose'
    ),
    "API_KEY": "the merchant's key from the IteraPay dashboard",
    "DATABASE_URL": "where orders are kept, as an SQLAlchemy URL (or hand a store to init_app)",
    "MERCHANT_ID": "the merchant's id from the IteraPay dashboard",
    "PUBLIC_URL": "the shop's own address, which absolute links begin with",
    "WEBHOOK_SECRETS": f"the secret that the webhook is registered with, at least {_MIN_SECRET_LENGTH} characters",
}
# Right after the scheme, so that a wallet takes no other address for the one to pay, such as a token's contract.
_QR_URI = r"(?!(?i:https?|javascript|data|file|mailto):)(?=.{1,200}$)[A-Za-z][A-Za-z0-9+.-]*:(?://[a-z]+/)?\{address\}[!-z~]*(?:\{pay_amount\}[!-z~]*)?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a shop has decided; see ``from_config`` for the rules.

    ``webhook_secrets`` come newest first. URLs have no trailing slash. ``methods`` are the ids of the payment methods
    on offer, ``None`` for all. ``return_origins`` are origins (``https://shop.example``) that return URLs may have
    besides the shop's own. In development and in the sandbox ``public_url`` and ``database_url`` may be ``None``, and
    ``database_url`` also where a store was handed in. ``api_key`` and ``merchant_id`` may be empty where a client was.
    ``reconcile_seconds`` is how often a thread of each process reconciles, ``None`` for never. ``languages`` are those
    that pages may be shown in, the first for whoever wants none of them. ``return_seconds`` is how long a page that
    turned to paid waits before it goes back to the shop, ``None`` for ever. ``qr_uris`` are by payment method's id
    what its QR code holds instead of the bare address, with ``{address}`` and ``{pay_amount}`` to be filled in.
    ``addresses_per_hour`` is how many addresses one visitor may ask of one payment link. ``parallel_reads`` is for how
    many orders and links a round of reconcile reads the gateway at once, each over a connection of its own.
    """

    api_key: str = field(repr=False)
    merchant_id: str
    webhook_secrets: tuple[str, ...] = field(repr=False)
    base_url: str
    public_url: str | None
    database_url: str | None = field(repr=False)
    is_sandbox: bool
    is_sandbox_allowed_anywhere: bool
    auth: Auth
    aml: Aml
    aml_wait_seconds: int
    accept_late_seconds: int
    sync_seconds: int
    watch_seconds: int
    support_url: str | None
    methods: tuple[str, ...] | None
    return_origins: tuple[str, ...]
    reconcile_seconds: int | None
    languages: tuple[str, ...]
    return_seconds: int | None
    qr_uris: Mapping[str, str]
    addresses_per_hour: int
    parallel_reads: int

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], *, is_development: bool, has_store: bool, has_client: bool
    ) -> "Settings":
        """Read every ``ITERAPAY_`` key of a Flask configuration. ``None`` counts as unset, a blank text does not.

        API key, merchant id and webhook secrets are always required: nothing could stand in for them, except in the
        sandbox, which has its own, or where a client was handed in, which needs no key and no merchant. Outside
        development (debug or testing) and the sandbox, the public URL, AML, and a database URL or a store are required
        too. Inside, AML is ``"require"`` if unset.

        Raises:
            ConfigurationError: with every problem that was found.
        """
        reader = _Reader(config)
        read = reader.read
        is_sandbox = read("SANDBOX", values.flag, False)
        is_allowed_anywhere = read("SANDBOX_ALLOW_ANYWHERE", values.flag, False)
        is_relaxed = is_development or is_sandbox
        reader.require(
            _required(is_sandbox=is_sandbox, is_relaxed=is_relaxed, has_store=has_store, has_client=has_client)
        )
        if is_sandbox:
            reader.check_sandbox(is_safe=is_development or is_allowed_anywhere, has_client=has_client)
        settings = cls(
            api_key=read("API_KEY", _api_key(is_development), SANDBOX_API_KEY if is_sandbox else ""),
            merchant_id=read("MERCHANT_ID", _merchant_id, SANDBOX_MERCHANT_ID if is_sandbox else ""),
            webhook_secrets=read("WEBHOOK_SECRETS", _secrets(is_sandbox), _default_secrets(is_sandbox)),
            base_url=read("BASE_URL", values.url(), SANDBOX_BASE_URL if is_sandbox else "https://api.iterapay.com"),
            public_url=read("PUBLIC_URL", values.url(allows_http=is_relaxed), None),
            database_url=read("DATABASE_URL", values.text, None),
            is_sandbox=is_sandbox,
            is_sandbox_allowed_anywhere=is_allowed_anywhere,
            auth=read("AUTH", values.one_of(_AUTHS), "api_key"),
            aml=read("AML", values.one_of(_AMLS), "require"),
            aml_wait_seconds=read("AML_WAIT_SECONDS", values.seconds(0, 7 * _DAY_SECONDS), 1800),
            accept_late_seconds=read("ACCEPT_LATE_SECONDS", values.seconds(0, 7 * _DAY_SECONDS), 3600),
            sync_seconds=read("SYNC_SECONDS", values.seconds(1, 600), 15),
            watch_seconds=read("WATCH_SECONDS", values.seconds(3600, 365 * _DAY_SECONDS), 7 * _DAY_SECONDS),
            support_url=read("SUPPORT_URL", values.link, None),
            methods=read("METHODS", _methods, None),
            return_origins=read("RETURN_ORIGINS", values.origins(allows_http=is_relaxed), ()),
            reconcile_seconds=read("RECONCILE_SECONDS", values.seconds(1, 3600), None),
            languages=read("LANGUAGES", _languages, LANGUAGES),
            return_seconds=read("RETURN_SECONDS", values.seconds(20, 120), None),
            qr_uris=read("QR_URIS", _qr_uris, _qr_uris({})),
            addresses_per_hour=read("ADDRESSES_PER_HOUR", values.count(1, 10_000, of="addresses"), 30),
            parallel_reads=read("PARALLEL_READS", values.count(1, 15, of="reads"), 8),
        )
        reader.close()
        return settings

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a pickle would carry the secrets in the clear."""
        raise TypeError("Settings hold secrets and cannot be pickled")


class _Reader:
    """Reads keys one by one and collects what is wrong with them."""

    def __init__(self, config: Mapping[str, object]) -> None:
        self._problems: list[str] = []
        self._known: list[str] = []
        self._values = {
            key.removeprefix(_PREFIX): value
            for key, value in config.items()
            if key.startswith(_PREFIX) and value is not None
        }

    def read(self, name: str, parse: Callable[[object], Value], default: Value) -> Value:
        """Parse a value; the default stands in for one that is unset or wrong."""
        self._known.append(name)
        if name not in self._values:
            return default
        try:
            return parse(self._values[name])
        except values.Problem as problem:
            self._report(name, str(problem))
            return default

    def require(self, names: Iterator[str]) -> None:
        """Report those that are unset."""
        for name in names:
            if name not in self._values:
                self._report(name, f"is not set: {_MEANINGS[name]}")

    def check_sandbox(self, *, is_safe: bool, has_client: bool) -> None:
        """Report what would let somebody take play money for real money."""
        if has_client:
            self._report("SANDBOX", "brings a client of its own, so that none may be handed in")
        if not is_safe:
            self._report(
                "SANDBOX", f"works in debug and testing alone, or anywhere with {_PREFIX}SANDBOX_ALLOW_ANYWHERE"
            )
        for name in sorted({"API_KEY", "BASE_URL", "MERCHANT_ID"} & self._values.keys()):
            self._report(name, f"must not be set while {_PREFIX}SANDBOX is on: the sandbox has its own")

    def close(self) -> None:
        """Raise what was found; a key that was never read is a misspelling."""
        for name in sorted(self._values.keys() - self._known):
            close = difflib.get_close_matches(name, self._known, n=1)
            self._report(name, f"is unknown; did you mean {_PREFIX}{close[0]}?" if close else "is unknown")
        if self._problems:
            raise ConfigurationError(self._problems)

    def _report(self, name: str, problem: str) -> None:
        self._problems.append(f"{_PREFIX}{name} {problem}")


def _required(*, is_sandbox: bool, is_relaxed: bool, has_store: bool, has_client: bool) -> Iterator[str]:
    if is_sandbox:
        return
    if not has_client:
        yield from ("API_KEY", "MERCHANT_ID")
    yield "WEBHOOK_SECRETS"
    if is_relaxed:
        return
    yield from ("PUBLIC_URL", "AML")
    if not has_store:
        yield "DATABASE_URL"


_token = values.text_like("[!-~]+", "must be ASCII without blanks")
_qr_uri = values.text_like(
    _QR_URI,
    "must hold URIs of up to 200 characters: a wallet's scheme and a colon, {address} right after it (or after //, a "
    "word and /), and then ASCII without blanks, with {pay_amount} in it once or not at all",
)
_merchant_id = values.text_like("[A-Za-z0-9_-]{1,64}", "must be letters, digits, - and _, as the dashboard shows it")


def _api_key(is_development: bool) -> Callable[[object], str]:
    def parse(value: object) -> str:
        key = _token(value)
        if key == SANDBOX_API_KEY and not is_development:
            raise values.Problem("is the sandbox's, which everybody knows; it works in debug and testing alone")
        return key

    return parse


def _default_secrets(is_sandbox: bool) -> tuple[str, ...]:
    return (SANDBOX_WEBHOOK_SECRET,) if is_sandbox else ()


def _secrets(is_sandbox: bool) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        secrets = tuple(_secret(item) for item in values.items(value))
        if not secrets:
            raise values.Problem("is an empty list")
        if len(set(secrets)) < len(secrets):
            raise values.Problem("holds the same secret twice")
        if SANDBOX_WEBHOOK_SECRET in secrets and not is_sandbox:
            raise values.Problem("holds the secret of the sandbox, which everybody knows")
        return secrets

    return parse


def _secret(value: object) -> str:
    secret = values.text(value)
    if "," in secret:
        raise values.Problem("has a comma inside a secret; several secrets are given as a list, or as JSON")
    if len(secret) < _MIN_SECRET_LENGTH:
        raise values.Problem(f"holds a secret of fewer than {_MIN_SECRET_LENGTH} characters")
    return secret


def _methods(value: object) -> tuple[str, ...]:
    items = values.words(value)
    if not items:
        raise values.Problem("is empty, so that there would be no way to pay; leave it unset to offer every method")
    return tuple(dict.fromkeys(_method_id(item) for item in items))


def _method_id(value: object) -> str:
    return values.text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _languages(value: object) -> tuple[str, ...]:
    languages = tuple(dict.fromkeys(values.text(word) for word in values.words(value)))
    if not languages or not set(languages) <= set(LANGUAGES):
        raise values.Problem(f"must be one or more of {', '.join(LANGUAGES)}")
    return languages


def _qr_uris(value: object) -> Mapping[str, str]:
    uris = values.decode(value, "{", "object")
    if not isinstance(uris, Mapping):
        raise values.Problem("must be a mapping or a JSON object, from payment methods' ids to URIs")
    return MappingProxyType({_method_id(key): _qr_uri(uri) for key, uri in uris.items()})
