"""The headers of our own answers. They have the last word over what a shop puts on all of its answers.

A shop's ``after_request`` functions run after a blueprint's, and many assign a policy of their own. So the headers are
set when an answer starts, which is after every such function.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import flask
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["merge_policies", "protect"]

Policy = dict[str, list[str]]

_POLICY_HEADER = "Content-Security-Policy"
_POLICY: dict[str, tuple[str, ...]] = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'", "data:"),
    "connect-src": ("'self'",),
    "form-action": ("'self'",),
    "base-uri": ("'none'",),
    "frame-ancestors": ("'none'",),
}
_HEADERS = {
    # Not no-referrer: behind TLS, Flask-WTF refuses every form whose referrer is missing.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}

_BASE64 = "[A-Za-z0-9+/_-]+={0,2}"
_HASH = f"'sha(?:256|384|512)-{_BASE64}'"
# A name without a dot would let misspelt keywords pass for hosts.
_NAME = r"(?:(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|localhost)"
_HOST = rf"'self'|(?:https?://)?{_NAME}(?::[0-9]+)?(?:/[!-~]*)?"
# Expressions, compiled when a shop first has a policy.
_TAKEN_OVER = {
    "script-src": f"'nonce-{_BASE64}'|{_HASH}",
    # No nonce: it is another one in each answer, so a style would be refused when a poll brings the next page. And no
    # host that somebody else may share or stand between, since a style can hide an address and show another.
    "style-src": rf"'self'|(?:https://)?(?!\*){_NAME}(?::[0-9]+)?(?:/[!-~]*)?|{_HASH}",
    "img-src": _HOST,
    "font-src": _HOST,
    "media-src": _HOST,
}
_REPORTS = ("report-uri", "report-to")
_REPORT_TARGET = "[!-~]+"
_UPGRADE = "upgrade-insecure-requests"


def protect(response: flask.Response, *, may_be_stored: bool) -> flask.Response:
    """Let an answer forbid what our pages do not need, whatever is done to its headers from now on."""
    kind = _protected(type(response))  # type: ignore[arg-type]  # mypy takes the class for one of its instances
    protected = cast("_Protected", kind.force_type(response))
    protected.may_be_stored = may_be_stored
    return cast("flask.Response", protected)


# A shop's own policy is the same on all of its answers, unless it holds a nonce.
@lru_cache(maxsize=16)
def merge_policies(headers: tuple[str, ...]) -> str:
    """Write our content security policy, with what the shop's own one brands or reports.

    Ours stands. From the shop's are taken over, and nothing else:

    * for images, fonts, styles and media, its own site and hosts that are named, also where only ``default-src`` names
      them;
    * for scripts, nonces and hashes, and for styles, hashes;
    * where violations are reported to, and ``upgrade-insecure-requests``.

    So no other host's scripts, no ``unsafe-inline``, no ``*`` and no bare scheme. Several policies, in one header or
    in many, let a browser load only what all of them allow, so only that is taken over. What is malformed is left out.
    """
    policies = [_parse(policy) for header in headers for policy in header.split(",")]
    merged = {name: list(sources) for name, sources in _POLICY.items()}
    for name, pattern in _TAKEN_OVER.items():
        if sources := _allowed_by_all(policies, name, pattern):
            merged[name] = list(dict.fromkeys([*_POLICY.get(name, ()), *sources]))
    for name in _REPORTS:
        if targets := _first_targets(policies, name):
            merged[name] = targets
    if any(_UPGRADE in policy for policy in policies):
        merged[_UPGRADE] = []
    return "; ".join(" ".join([name, *values]) for name, values in merged.items())


class _Protected(Response):
    """A response that sets its headers itself, when it starts."""

    may_be_stored = False

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> Headers:
        headers = super().get_wsgi_headers(environ)
        ours = _HEADERS | {_POLICY_HEADER: merge_policies(tuple(headers.getlist(_POLICY_HEADER)))}
        if not self.may_be_stored:
            ours["Cache-Control"] = "no-store"
        names = {name.lower() for name in ours}
        # In one go, since each header that is set looks through all that there are.
        return Headers([(name, value) for name, value in headers if name.lower() not in names] + list(ours.items()))


@lru_cache(maxsize=16)
def _protected(kind: type[Response]) -> type[Response]:
    """Derive from the app's own response class, which a shop may have replaced."""
    # An object that answers twice, such as an error page made once, is protected already.
    return kind if issubclass(kind, _Protected) else type(f"Protected{kind.__name__}", (_Protected, kind), {})


def _parse(policy: str) -> Policy:
    """Read a policy as browsers do: names in any case, ASCII blanks, and of two directives with one name the first."""
    directives: Policy = {}
    for directive in policy.split(";"):
        name, *values = re.split(r"[ \t\n\f\r]+", directive.strip(" \t\n\f\r"))
        directives.setdefault(name.lower(), values)
    return directives


def _allowed_by_all(policies: Sequence[Policy], name: str, pattern: str) -> list[str]:
    """List the sources of a directive that fit, in every policy that has an opinion on them."""
    opinions = [policy.get(name, policy.get("default-src")) for policy in policies]
    first, *others = [opinion for opinion in opinions if opinion is not None] or [[]]
    return [source for source in first if re.fullmatch(pattern, source) and all(source in other for other in others)]


def _first_targets(policies: Sequence[Policy], name: str) -> list[str]:
    listed = ([value for value in policy.get(name, ()) if re.fullmatch(_REPORT_TARGET, value)] for policy in policies)
    return next(filter(None, listed), [])
