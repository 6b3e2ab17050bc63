"""Settings: everything that a shop decides, read once from ``app.config``.

Every key is read here by hand, since ``from_prefixed_env`` hands over whatever JSON made of an environment variable.
All problems are reported at once, each with its key and never with a value, which may be a secret in the wrong place.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal, NoReturn, TypeVar

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
Word = TypeVar("Word", bound=str)

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
_FLAGS = {"true": True, "1": True, "false": False, "0": False}
_HOST = r"(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?P<port>:[0-9]{1,5})?"
# Right after the scheme, so that a wallet takes no other address for the one to pay, such as a token's contract.
_QR_URI = r"[A-Za-z][A-Za-z0-9+.-]*:(?://[a-z]+/)?\{address\}[!-z~]*(?:\{pay_amount\}[!-z~]*)?"
_URL = re.compile(rf"(?P<scheme>https?)://{_HOST}(?P<path>/[!-~]*)?")


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
        is_sandbox = read("SANDBOX", _flag, False)
        is_allowed_anywhere = read("SANDBOX_ALLOW_ANYWHERE", _flag, False)
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
            base_url=read("BASE_URL", _url(), SANDBOX_BASE_URL if is_sandbox else "https://api.iterapay.com"),
            public_url=read("PUBLIC_URL", _url(allows_http=is_relaxed), None),
            database_url=read("DATABASE_URL", _text, None),
            is_sandbox=is_sandbox,
            is_sandbox_allowed_anywhere=is_allowed_anywhere,
            auth=read("AUTH", _one_of(_AUTHS), "api_key"),
            aml=read("AML", _one_of(_AMLS), "require"),
            aml_wait_seconds=read("AML_WAIT_SECONDS", _seconds(0, 7 * _DAY_SECONDS), 1800),
            accept_late_seconds=read("ACCEPT_LATE_SECONDS", _seconds(0, 7 * _DAY_SECONDS), 3600),
            sync_seconds=read("SYNC_SECONDS", _seconds(1, 600), 15),
            watch_seconds=read("WATCH_SECONDS", _seconds(3600, 365 * _DAY_SECONDS), 7 * _DAY_SECONDS),
            support_url=read("SUPPORT_URL", _link, None),
            methods=read("METHODS", _methods, None),
            return_origins=read("RETURN_ORIGINS", _origins(allows_http=is_relaxed), ()),
            reconcile_seconds=read("RECONCILE_SECONDS", _seconds(1, 3600), None),
            languages=read("LANGUAGES", _languages, LANGUAGES),
            return_seconds=read("RETURN_SECONDS", _seconds(5, 60), None),
            qr_uris=read("QR_URIS", _qr_uris, _qr_uris({})),
        )
        reader.close()
        return settings

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a pickle would carry the secrets in the clear."""
        raise TypeError("Settings hold secrets and cannot be pickled")


class _Problem(Exception):
    """What is wrong with a value, as the rest of a sentence that begins with the key."""


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
        except _Problem as problem:
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


def _flag(value: object) -> bool:
    flag = _FLAGS.get(str(value).lower()) if isinstance(value, bool | int | str) else None
    if flag is None:
        raise _Problem("must be true, false, 1 or 0")
    return flag


def _seconds(at_least: int, at_most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
            raise _Problem(f"must be a whole number of seconds from {at_least} to {at_most}")
        return value

    return parse


def _one_of(words: tuple[Word, ...]) -> Callable[[object], Word]:
    def parse(value: object) -> Word:
        for word in words:
            if value == word:
                return word
        raise _Problem(f"must be one of {', '.join(words)}")

    return parse


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Problem(
            f"is not text but {type(value).__name__}; quote it, and in an environment variable, which is read as JSON, "
            "put double quotes inside the shell's"
        )
    if not value or value != value.strip():
        raise _Problem("is blank or has blanks around it; give it a value or leave it unset")
    return value


def _text_like(pattern: str, problem: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = _text(value)
        if not re.fullmatch(pattern, text):
            raise _Problem(problem)
        return text

    return parse


_token = _text_like("[!-~]+", "must be ASCII without blanks")
_qr_uri = _text_like(
    _QR_URI,
    "must hold URIs: a scheme and a colon, {address} right after it (or after //, a word and /), "
    "and then ASCII without blanks, with {pay_amount} in it once or not at all",
)
_merchant_id = _text_like("[A-Za-z0-9_-]{1,64}", "must be letters, digits, - and _, as the dashboard shows it")
_link = _text_like(rf"{_URL.pattern}|mailto:[!-~]+@[!-~]+", "must be an absolute http, https or mailto URL")


def _api_key(is_development: bool) -> Callable[[object], str]:
    def parse(value: object) -> str:
        key = _token(value)
        if key == SANDBOX_API_KEY and not is_development:
            raise _Problem("is the sandbox's, which everybody knows; it works in debug and testing alone")
        return key

    return parse


def _default_secrets(is_sandbox: bool) -> tuple[str, ...]:
    return (SANDBOX_WEBHOOK_SECRET,) if is_sandbox else ()


def _secrets(is_sandbox: bool) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        secrets = tuple(_secret(item) for item in _list(value))
        if not secrets:
            raise _Problem("is an empty list")
        if len(set(secrets)) < len(secrets):
            raise _Problem("holds the same secret twice")
        if SANDBOX_WEBHOOK_SECRET in secrets and not is_sandbox:
            raise _Problem("holds the secret of the sandbox, which everybody knows")
        return secrets

    return parse


def _secret(value: object) -> str:
    secret = _text(value)
    if "," in secret:
        raise _Problem("has a comma inside a secret; several secrets are given as a list, or as JSON")
    if len(secret) < _MIN_SECRET_LENGTH:
        raise _Problem(f"holds a secret of fewer than {_MIN_SECRET_LENGTH} characters")
    return secret


def _methods(value: object) -> tuple[str, ...]:
    items = _words(value)
    if not items:
        raise _Problem("is empty, so that there would be no way to pay; leave it unset to offer every method")
    return tuple(dict.fromkeys(_method_id(item) for item in items))


def _method_id(value: object) -> str:
    return _text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _languages(value: object) -> tuple[str, ...]:
    languages = tuple(dict.fromkeys(_text(word) for word in _words(value)))
    if not languages or not set(languages) <= set(LANGUAGES):
        raise _Problem(f"must be one or more of {', '.join(LANGUAGES)}")
    return languages


def _qr_uris(value: object) -> Mapping[str, str]:
    uris = _decode(value, "{", "object")
    if not isinstance(uris, Mapping):
        raise _Problem("must be a mapping or a JSON object, from payment methods' ids to URIs")
    return MappingProxyType({_method_id(key): _qr_uri(uri) for key, uri in uris.items()})


def _origins(*, allows_http: bool) -> Callable[[object], tuple[str, ...]]:
    parse_url = _url(allows_http=allows_http)

    def parse(value: object) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_origin(parse_url(item)) for item in _words(value)))

    return parse


def _origin(url: str) -> str:
    """Write an origin as browsers do: in lower case, without the scheme's own port."""
    match = _URL.fullmatch(url)
    if match is None or match["path"]:
        raise _Problem("must hold origins such as https://shop.example, without a path")
    default_port = {"http": ":80", "https": ":443"}[match["scheme"]]
    return f"{match['scheme']}://{match['host'].lower()}{match['port'] or ''}".removesuffix(default_port)


def _url(*, allows_http: bool = False) -> Callable[[object], str]:
    def parse(value: object) -> str:
        text = _text(value)
        match = _URL.fullmatch(text)
        if match is None or "?" in text or "#" in text:
            raise _Problem("must be an absolute URL without user, password, query and fragment")
        if match["scheme"] == "http" and not allows_http and not _is_loopback(match["host"]):
            raise _Problem("must begin with https://")
        return text.rstrip("/")

    return parse


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _words(value: object) -> list[object]:
    """Read a list, a JSON list, or words with commas between them."""
    if isinstance(value, str) and not value.startswith("["):
        return [word.strip() for word in value.split(",")]
    return _list(value)


def _list(value: object) -> list[object]:
    """Read a list or a JSON list; anything else is a list of itself."""
    value = _decode(value, "[", "list")
    return list(value) if isinstance(value, list | tuple) else [value]


def _decode(value: object, opening: str, name: str) -> object:
    """Read JSON if the value is text that begins like it; anything else is left as it is."""
    if not isinstance(value, str) or not value.startswith(opening):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise _Problem(f"begins like a JSON {name} but is none") from None
