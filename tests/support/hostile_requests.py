"""Requests that no browser and no gateway would send, to every route of an app, as a seeded stream."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from random import Random
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

from forgeries import Case, find_signer
from werkzeug.routing import Rule

from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.sandbox.engine import Action
from flask_iterapay.sandbox.settings import ApiFault, WebhookFault
from flask_iterapay.web.tokens import TokenSigner

WORDS = (
    "",
    "0",
    "-1",
    "1042",
    "9" * 5000,
    "NaN",
    "null",
    "../../../etc/passwd",
    "..",
    "%2e%2e%2f",
    "\x00",
    "a\r\nX-Evil: 1",
    "é",
    "€\u202e\U0001f4b8",
    "' OR 1=1 --",
    "{{7*7}}",
    '"><script>alert(1)</script>',
    "//evil.example/",
    "/\\evil.example",
    "https://evil.example/",
    "javascript:alert(1)",
    "x" * 3000,
)
METHODS = (*["GET", "POST"] * 6, "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "FROB")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
CONTENT_TYPES = (
    FORM,
    FORM,
    JSON,
    JSON,
    "",
    "text/plain",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "é/;=;",
)
HOSTS = (
    "localhost",
    "localhost",
    "evil.example",
    "evil.example:99999",
    "a b",
    "",
    "[::1",
    "localhost\x00",
    "é",
    "x" * 300,
)
FIELDS = {
    "method": ["1", "2", "99"],
    "visit": ["a-visit-of-the-same-form", "another-visit-of-it", "short"],
    "renew": ["1"],
    "csrf_token": ["x"],
    "action": [*Action, "redeliver"],
    "word": ["frozen", "paid"],
    "transaction_id": ["x"],
    "back": ["/", "/orders"],
    "api_fault": list(ApiFault),
    "webhook_faults": list(WebhookFault),
    "fault_calls": ["0", "1"],
    "quote_seconds": ["1", "900"],
    "dialect": ["guide", "reference"],
    "quantity": ["1", "0", "10"],
    "amount": ["0.01"],
    "order_id": ["1042"],
}
# By chance alone a form would hardly ever be right.
_RIGHT_FORMS = {"iterapay.begin_visit": {"method": "1"}, "iterapay.choose_method": {"method": "1"}}
_MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """An order or a payment link that the requests are about: its id, its page's address, and the ids of its invoices.

    ``visits`` are those to the link: the token of each one's page, by its reference.
    """

    entry_id: str
    token: str
    invoice_ids: tuple[str, ...]
    visits: Mapping[str, str] = field(default_factory=dict)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The addresses of all of its pages."""
        return (self.token, *self.visits.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What an attacker has found out: the app's routes, some orders and links, and the secret of the webhook."""

    rules: tuple[Rule, ...]
    orders: tuple[Victim, ...]
    links: tuple[Victim, ...]
    secret: str
    cookies: tuple[str, ...]

    @property
    def victims(self) -> tuple[Victim, ...]:
        """Orders and links alike."""
        return self.orders + self.links


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. ``path`` is as WSGI has it; ``entitled`` are the orders, links and visits that it may change."""

    endpoint: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    content_type: str
    claimed_length: str | None
    is_chunked: bool
    entitled: frozenset[str]

    def make_environ(self) -> dict[str, Any]:
        """Write it as a server would hand it to the app."""
        environ = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.content_type.encode().decode("latin-1"),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(self.body),
            "wsgi.errors": StringIO(),
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            environ["HTTP_" + name.upper().replace("-", "_")] = value.encode("utf-8", "replace").decode("latin-1")
        if self.claimed_length is not None:
            environ["CONTENT_LENGTH"] = self.claimed_length
        if self.is_chunked:
            environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        return environ


def make_request(aim: Aim, random: Random) -> Request:
    """Take a route and fill it with what is right, nearly right and quite wrong."""
    rule = random.choice(aim.rules)
    path = _make_path(rule, aim, random)
    method = random.choice(METHODS)
    if method in ("GET", "POST") and rule.methods and random.random() < 0.8:
        method = "POST" if "POST" in rule.methods else "GET"
    content_type = random.choice(CONTENT_TYPES)
    has_body = method not in ("GET", "HEAD") or random.random() < 0.1
    body = _make_body(rule.endpoint, content_type, aim, random) if has_body else b""
    is_chunked = random.random() < 0.1
    signature = _make_signature(body, aim.secret, random)
    lengths = [str(len(body))] * 8 + [None, "", "-1", "abc", "0", str(len(body) // 2), str(len(body) + 9), "9" * 30]
    return Request(
        endpoint=rule.endpoint,
        method=method,
        path=path,
        query=_make_query(random),
        headers=_make_headers(aim, random) | {SIGNATURE_HEADER: signature},
        body=body,
        content_type=content_type,
        claimed_length=None if is_chunked else random.choice(lengths),
        is_chunked=is_chunked,
        entitled=_find_entitled(aim, path, body, signature),
    )


def _find_entitled(aim: Aim, path: str, body: bytes, signature: str) -> frozenset[str]:
    """Say whose customer holds the token, whose invoice the gateway named; the sandbox's panel moves play money alone.

    Who holds a visit's token holds its link's news as well. The last letter of a token carries bits that count for
    nothing, so it may differ.
    """
    is_panel = "/sandbox/" in path
    is_signed = find_signer(Case(body, signature, (aim.secret,))) is not None
    text = body.decode("latin-1") if is_signed else ""
    entitled = set()
    for victim in aim.victims:
        is_named = any(invoice_id in text for invoice_id in victim.invoice_ids)
        if is_panel or is_named or any(token[:-1] in path for token in victim.tokens):
            entitled.add(victim.entry_id)
        entitled |= {reference for reference, token in victim.visits.items() if is_panel or token[:-1] in path}
    return frozenset(entitled)


def _make_path(rule: Rule, aim: Aim, random: Random) -> str:
    values = {name: _make_segment(name, rule, aim, random) for name in rule.arguments}
    path = rule.rule
    for name, value in values.items():
        for converter in ("", "path:"):
            path = path.replace(f"<{converter}{name}>", value)
    if random.random() < 0.1:
        at = random.randrange(len(path) + 1)
        path = path[:at] + random.choice(["/", "//", "\xff", "\x00", "%", "é", "..", "€", " ", "?"]) + path[at:]
    return path.encode("utf-8", "replace").decode("latin-1")


def _make_segment(name: str, rule: Rule, aim: Aim, random: Random) -> str:
    if random.random() < 0.2:
        return random.choice(WORDS)
    victim = random.choice(aim.victims)
    match name:
        case "token" | "address" if random.random() < 0.1:
            return random.choice(victim.tokens)
        case "token" if "/visits/" in rule.rule:
            visits = [visit for link in aim.links for visit in link.visits.items()]
            return _make_token(*random.choice(visits), random)
        case "token":
            order = random.choice(aim.orders)
            return _make_token(order.entry_id, order.token, random)
        case "address":
            link = random.choice(aim.links)
            return _make_token(link.entry_id, link.token, random)
        case "path":
            return random.choice(_list_sandbox_paths(victim))
        case "filename":
            return random.choice(["checkout.css", "checkout.js", "shop.css", "../../config.py", "..", "checkout.css/x"])
        case "product_id":
            return random.choice(["ink", "notebook", "yacht"])
        case _:
            return random.choice([victim.entry_id, "1001", "1"])


def _make_token(entry_id: str, token: str, random: Random) -> str:
    """The true token half of the time; otherwise one that is changed, or made with another key."""
    if random.random() < 0.5:
        return token
    at = random.randrange(len(token) - 1)
    payload, _, signature = token.rpartition(".")
    return random.choice(
        [
            token[:at] + random.choice("AQ._-~é€ ") + token[at + 1 :],
            token[:at],
            token * 2,
            payload,
            f"{payload}.{signature[::-1]}",
            f".{payload}.{signature}",
            TokenSigner(["another key"]).sign(entry_id),
            token.swapcase(),
        ]
    )


def _list_sandbox_paths(victim: Victim) -> list[str]:
    invoice_id = next(iter(victim.invoice_ids), "none")
    merchant = "merchants/00000000-0000-4000-8000-000000000000"
    return [
        "panel/",
        "panel",
        "panel/settings",
        "panel/deliveries",
        "panel/static/panel.css",
        "panel//settings",
        *[f"panel/invoices/{invoice_id}"] * 4,
        "payment_methods",
        f"{merchant}/invoices",
        f"{merchant}/invoices/{invoice_id}",
        f"{merchant}/transactions/list",
        f"public/invoices/{invoice_id}/method/1/address",
    ]


def _make_query(random: Random) -> str:
    if random.random() < 0.7:
        return ""
    names = ["back", "done", "refused", "token", "next", "page", "limit", "states[]"]
    query = urlencode([(random.choice(names), random.choice(WORDS)) for _ in range(random.randrange(1, 4))])
    return random.choice([query, query, "%", "%ff=%00&&==", "a" * 9000])


def _make_headers(aim: Aim, random: Random) -> dict[str, str]:
    """A header of each kind, now and then; the host is always there, as HTTP wants it."""
    others = {
        "X-Forwarded-Host": ["evil.example", "a b", ""],
        "X-Forwarded-Proto": ["https", "javascript"],
        "Forwarded": ["host=evil.example"],
        "Referer": ["https://evil.example/", "é", "http://localhost/"],
        "Origin": ["https://evil.example", "null"],
        "Sec-Fetch-Site": ["cross-site", "same-origin"],
        "Accept": ["application/json", "*/*;q=x", "é"],
        "Accept-Language": ["é", "x" * 5000],
        "Authorization": ["Bearer x", "Basic !!!", "Bearer sandbox-bearer-token"],
        "X-Api-Key": ["sandbox-api-key", "é"],
        "X-HTTP-Method-Override": ["DELETE"],
        "If-None-Match": ['"', "*"],
        "If-Modified-Since": ["yesterday", "9" * 40],
        "Range": ["bytes=0-", "bytes=-1", "bytes=9-1,x", "é"],
        "Content-Encoding": ["gzip"],
        "Cookie": [*aim.cookies, *aim.cookies, "session=x.y.z", "session=é; session=", "=;=;" * 50],
    }
    chosen = {name: random.choice(values) for name, values in others.items() if random.random() < 0.15}
    return {"Host": random.choice(HOSTS)} | chosen


def _make_body(endpoint: str, content_type: str, aim: Aim, random: Random) -> bytes:
    if random.random() < 0.15:
        return b"x" * random.choice([_MAX_BODY_BYTES - 1, _MAX_BODY_BYTES, _MAX_BODY_BYTES * 4])
    if content_type == FORM and endpoint in _RIGHT_FORMS and random.random() < 0.7:
        visit = f"the-visit-of-form-{random.randrange(99)}"
        return urlencode(_RIGHT_FORMS[endpoint] | {"visit": visit}).encode()
    if content_type == FORM:
        return urlencode(list(_make_fields(random)), errors="replace").encode()
    if content_type.startswith("multipart"):
        return _make_multipart(list(_make_fields(random)), random)
    return _make_hint(aim, random)


def _make_fields(random: Random) -> Iterable[tuple[str, str]]:
    for name, values in FIELDS.items():
        if random.random() < 0.35:
            yield name, random.choice(WORDS) if random.random() < 0.2 else random.choice(values)
    if random.random() < 0.02:
        yield from [("x", "y")] * 2000


def _make_multipart(fields: list[tuple[str, str]], random: Random) -> bytes:
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    body = f"{parts}--b--\r\n".encode("utf-8", "replace")
    return random.choice([body, body[: len(body) // 2], b"--b\r\n\r\n", b"--b\r\nContent-Disposition: \xff\r\n\r\n"])


def _make_hint(aim: Aim, random: Random) -> bytes:
    victim = random.choice(aim.victims)
    invoice_id = random.choice((*victim.invoice_ids, *victim.invoice_ids, "not-ours"))
    hint = {"event": "invoice.paid", "data": {"invoiceID": invoice_id, "state": "paid"}}
    odd = {"invoiceID": random.choice(WORDS), "data": random.choice([None, [], 7, {"id": random.choice(WORDS)}])}
    bodies = [json.dumps(hint).encode()] * 4 + [json.dumps(odd).encode(), b"[" * 5000, b"\xff\xfe", b"NaN", b""]
    return random.choice(bodies)


def _make_signature(body: bytes, secret: str, random: Random) -> str:
    true = sign(body, secret)
    return random.choice(
        [true, true, f"sha256={true}", true[:-1], sign(body + b" ", secret), "", "é" * 64, f"{true},x"]
    )


def describe(request: Request) -> str:
    """One line to find and repeat a request by."""
    path = quote_from_bytes(request.path.encode("latin-1"))
    line = f"{request.method} {path[:200]}?{request.query[:60]}"
    return f"{line} for {request.endpoint}, {request.headers}, {request.body[:200]!r}"
