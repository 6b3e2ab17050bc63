"""HTTP as it goes wrong: every failure is one typed error, in time, and nothing is sent twice that must not be."""

import inspect
import json
import logging
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from flask_iterapay.errors import (
    BadRequestError,
    ConfigurationError,
    ForbiddenError,
    GatewayConnectionError,
    GatewayError,
    GatewayServerError,
    GatewayTimeoutError,
    MalformedAnswerError,
    NotFoundError,
    OversizedAnswerError,
    RateLimitedError,
    RedirectedAnswerError,
    UnauthorizedError,
)
from flask_iterapay.gateway.transport import MAX_ANSWER_BYTES, plan_retry

INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"

CALLS = [
    pytest.param(
        lambda client: client.create_invoice(amount=Decimal("1"), method_id=1, description=""), id="create_invoice"
    ),
    pytest.param(lambda client: client.get_invoice(INVOICE_ID), id="get_invoice"),
    pytest.param(lambda client: client.get_public_invoice(INVOICE_ID), id="get_public_invoice"),
    pytest.param(lambda client: client.list_invoices(), id="list_invoices"),
    pytest.param(lambda client: list(client.iterate_invoices()), id="iterate_invoices"),
    pytest.param(lambda client: client.get_deposit_address(INVOICE_ID, 1), id="get_deposit_address"),
    pytest.param(lambda client: client.list_deposit_addresses(INVOICE_ID), id="list_deposit_addresses"),
    pytest.param(lambda client: client.list_payment_methods(), id="list_payment_methods"),
    pytest.param(lambda client: client.list_transactions([INVOICE_ID]), id="list_transactions"),
    pytest.param(lambda client: client.list_newest_transactions([INVOICE_ID]), id="list_newest_transactions"),
    pytest.param(lambda client: client.get_transaction("t-1"), id="get_transaction"),
    pytest.param(lambda client: client.get_merchant(), id="get_merchant"),
    pytest.param(
        lambda client: client.register_webhook("https://shop.example.com/", "s" * 32, "t"), id="register_webhook"
    ),
    pytest.param(lambda client: client.get_webhook("t"), id="get_webhook"),
    pytest.param(lambda client: client.delete_webhook("t"), id="delete_webhook"),
]
WRITES = ("create_invoice", "register_webhook", "delete_webhook")
READ_CALLS = [call for call in CALLS if call.id not in WRITES]
WRITE_CALLS = [call for call in CALLS if call.id in WRITES]

HTTPX_ERRORS = [
    error for name in httpx.__all__ if inspect.isclass(error := getattr(httpx, name)) and issubclass(error, Exception)
]


class Pieces(httpx.SyncByteStream):
    """A body in pieces, each of which takes its time on a clock; counts how many were taken."""

    def __init__(self, pieces, *, clock=None, seconds=0.0):
        self._pieces = pieces
        self._clock = clock
        self._seconds = seconds
        self.taken = 0
        self.is_closed = False

    def __iter__(self):
        for piece in self._pieces:
            self.taken += 1
            if self._clock is not None:
                self._clock.now += self._seconds
            if isinstance(piece, Exception):
                raise piece
            yield piece

    def close(self):
        self.is_closed = True


def make_error(error):
    if error is httpx.HTTPStatusError:
        return error("no", request=httpx.Request("GET", "https://a.example"), response=httpx.Response(500))
    takes_nothing = error in {httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead}
    return error() if takes_nothing else error("no")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", HTTPX_ERRORS, ids=lambda error: error.__name__)
def test_every_error_of_httpx_becomes_ours(gateway, client, call, error):
    """Whatever httpx can raise leaves as a GatewayError with the original as its cause, from every method."""
    original = make_error(error)
    gateway.answer(*[original] * 3)
    with pytest.raises(GatewayError) as caught:
        call(client)
    assert caught.value.__cause__ is original
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("original", "error"),
    [
        (httpx.ConnectTimeout("x"), GatewayTimeoutError),
        (httpx.ReadTimeout("x"), GatewayTimeoutError),
        (httpx.PoolTimeout("x"), GatewayTimeoutError),
        (httpx.ConnectError("x"), GatewayConnectionError),
        (httpx.RemoteProtocolError("x"), GatewayConnectionError),
        (httpx.UnsupportedProtocol("x"), GatewayConnectionError),
        (httpx.TooManyRedirects("x"), RedirectedAnswerError),
        (httpx.DecodingError("x"), MalformedAnswerError),
        (httpx.InvalidURL("x"), BadRequestError),
        (ConnectionResetError("x"), GatewayConnectionError),
        (UnicodeError("label too long"), BadRequestError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_kind_of_failure_is_told(gateway, client, original, error):
    """A time-out, a broken connection and a URL that cannot be are different errors, named but not quoted."""
    gateway.answer(*[original] * 3)
    with pytest.raises(error, match=type(original).__name__):
        client.get_invoice(INVOICE_ID)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, BadRequestError),
        (418, BadRequestError),
        (422, BadRequestError),
        (429, RateLimitedError),
        (500, GatewayServerError),
        (503, GatewayServerError),
        (599, GatewayServerError),
        (101, MalformedAnswerError),
    ],
)
def test_every_status_has_its_error(gateway, client, call, status, error):
    """Each method raises what the status stands for."""
    gateway.answer(*[status] * 3)
    with pytest.raises(error) as caught:
        call(client)
    assert caught.value.status == status


@pytest.mark.parametrize("call", CALLS)
def test_an_error_names_the_method_that_failed(gateway, client, call, request):
    """The name in the error is the client's method, so that a log can be read."""
    gateway.answer(400)
    with pytest.raises(BadRequestError) as caught:
        call(client)
    assert caught.value.request_name == request.node.callspec.id.replace("iterate_", "list_")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
def test_a_redirect_is_never_followed(gateway, client, call, status):
    """The key would travel along to wherever the answer points."""
    gateway.answer(httpx.Response(status, headers={"Location": "https://elsewhere.example/"}))
    with pytest.raises(RedirectedAnswerError) as caught:
        call(client)
    assert len(gateway.requests) == 1
    assert "elsewhere" not in str(caught.value)


@pytest.mark.parametrize("call", [call for call in CALLS if call.id != "delete_webhook"])
@pytest.mark.parametrize("content", [b"", b"null", b"[null]", b"<html>", b'{"id": NaN}', b"\xff"])
def test_an_answer_that_says_nothing_is_malformed(gateway, client, call, content):
    """A success without the documented JSON is not believed, and not asked for again."""
    gateway.answer(httpx.Response(200, content=content))
    with pytest.raises(MalformedAnswerError) as caught:
        call(client)
    assert caught.value.status == 200
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("answer", [204, httpx.Response(200, json={"ok": True})], ids=["204", "200 with a body"])
def test_a_deletion_needs_no_body(gateway, client, answer):
    """The documented 204 is enough, and a body is no harm."""
    gateway.answer(answer)
    assert client.delete_webhook("login-token") is None


@pytest.mark.parametrize("call", READ_CALLS)
@pytest.mark.parametrize("failure", [429, 503, httpx.ReadTimeout("x"), httpx.ConnectError("x")], ids=str)
def test_a_read_is_tried_again_while_the_gateway_is_unavailable(gateway, client, call, failure):
    """Two failures are survived; the third attempt's outcome counts, here a 404."""
    gateway.answer(failure, failure, 404)
    with pytest.raises(NotFoundError):
        call(client)
    assert len(gateway.requests) == 3


@pytest.mark.parametrize("call", READ_CALLS)
def test_a_read_gives_up_after_three_attempts(gateway, client, call):
    """A gateway that stays down is not hammered."""
    gateway.answer(*[502] * 3)
    with pytest.raises(GatewayServerError):
        call(client)
    assert len(gateway.requests) == 3


@pytest.mark.parametrize("call", WRITE_CALLS)
@pytest.mark.parametrize("failure", [429, 500, httpx.ReadTimeout("x"), httpx.ConnectError("x")], ids=str)
def test_a_write_is_never_repeated(gateway, client, call, failure):
    """A lost answer proves nothing, so whatever creates, replaces or removes is sent once."""
    gateway.answer(failure)
    with pytest.raises(GatewayError):
        call(client)
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "Wed, 21 Oct 2026 08:00:00 GMT"}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": "today"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 -0000", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "Wed, 99 Oct 99999999999999999999 07:28:30 GMT"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "5, 6"}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_understood_or_ignored(gateway, client, headers, seconds):
    """Seconds count, a date counts against the answer's own clock, anything else is as good as absent."""
    gateway.answer(httpx.Response(429, headers=headers))
    with pytest.raises(RateLimitedError) as caught:
        client.create_invoice(amount=Decimal("1"), method_id=1, description="")
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(("seconds", "attempts"), [("0", 3), ("19", 3), ("20", 1), ("86400", 1), ("soon", 3)])
def test_a_wait_that_outlasts_the_deadline_is_not_begun(gateway, client, seconds, attempts):
    """A rate limit is obeyed if the time allows, and passed on otherwise."""
    gateway.answer(*[httpx.Response(429, headers={"Retry-After": seconds})] * 3)
    with pytest.raises(RateLimitedError):
        client.get_invoice(INVOICE_ID)
    assert len(gateway.requests) == attempts


@pytest.mark.parametrize(
    ("error", "left_seconds", "plan"),
    [
        (RateLimitedError("x", retry_after_seconds=7), 8, timedelta(seconds=7)),
        (RateLimitedError("x", retry_after_seconds=7), 7, False),
        (RateLimitedError("x", retry_after_seconds=0), 8, True),
        (RateLimitedError("x"), 8, True),
        (GatewayServerError("x"), 2.1, True),
        (GatewayServerError("x"), 2, False),
        (NotFoundError("x"), 8, False),
        (MalformedAnswerError("x"), 8, False),
        (ValueError("x"), 8, False),
    ],
)
def test_a_retry_waits_as_long_as_the_gateway_asked_for(error, left_seconds, plan):
    """What the gateway asked for is waited out to the second; without a wish, the back-off is our own."""
    assert plan_retry(error, left_seconds=left_seconds) == plan


def test_the_deadline_covers_all_attempts(gateway, client, clock):
    """Attempts that each take their time are not all made."""

    def fail_slowly():
        clock.now += 9.5
        return 503

    gateway.answer(*[fail_slowly] * 3)
    with pytest.raises(GatewayServerError):
        client.get_invoice(INVOICE_ID)
    assert len(gateway.requests) == 2


def test_time_outs_shrink_to_what_is_left(gateway, client, clock, invoice):
    """No attempt may wait longer than the whole call."""

    def fail_slowly():
        clock.now += 16
        return 503

    gateway.answer(fail_slowly, invoice)
    client.get_invoice(INVOICE_ID)
    assert [request.extensions["timeout"] for request in gateway.requests] == [
        {"connect": 5, "read": 10, "write": 10, "pool": 10},
        {"connect": 4, "read": 4, "write": 4, "pool": 4},
    ]


def test_a_body_that_trickles_in_hits_the_deadline(gateway, client, clock):
    """Each piece comes in time, the whole does not: the read ends there, and the connection with it."""
    body = Pieces([b" "] * 1000, clock=clock, seconds=1.0)
    gateway.answer(httpx.Response(200, stream=body))
    with pytest.raises(GatewayTimeoutError):
        client.create_invoice(amount=Decimal("1"), method_id=1, description="")
    assert body.taken == 20
    assert body.is_closed


def test_pages_share_one_deadline(gateway, client, clock, transaction):
    """A list of transactions ends in time, however many pages it has."""

    def page():
        data = json.dumps({"data": [transaction], "total": 1000}).encode()
        return httpx.Response(200, stream=Pieces([data], clock=clock, seconds=8.0))

    gateway.answer(page(), page(), page(), page())
    with pytest.raises(GatewayTimeoutError):
        client.list_transactions([INVOICE_ID])
    assert len(gateway.requests) == 3


def test_nothing_is_sent_after_the_deadline(gateway, make_client):
    """Without time left there is no request."""
    with pytest.raises(GatewayTimeoutError, match="no time left"):
        make_client(deadline_seconds=0).get_invoice(INVOICE_ID)
    assert gateway.requests == []


@pytest.mark.parametrize("size", [MAX_ANSWER_BYTES - 1, MAX_ANSWER_BYTES])
def test_an_answer_up_to_the_cap_is_read(gateway, client, invoice, size):
    """The cap itself is still allowed."""
    body = json.dumps(invoice).encode().ljust(size)
    gateway.answer(httpx.Response(200, stream=Pieces([body[:1000], body[1000:]])))
    assert client.get_invoice(INVOICE_ID).invoice_id == INVOICE_ID


def test_an_answer_over_the_cap_is_not_read_on(gateway, client):
    """An endless answer costs little more than the cap, once."""
    body = Pieces([b" " * 65_536] * 10_000)
    gateway.answer(httpx.Response(200, stream=body))
    with pytest.raises(OversizedAnswerError):
        client.get_invoice(INVOICE_ID)
    assert body.taken == 17
    assert body.is_closed
    assert len(gateway.requests) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "never heard of", ""])
def test_a_compressed_answer_is_not_unpacked(gateway, client, encoding):
    """We ask for plain bytes; whoever sends others is not read at all."""
    body = Pieces([b"\x1f\x8b"])
    gateway.answer(httpx.Response(200, headers={"Content-Encoding": encoding}, stream=body))
    with pytest.raises(OversizedAnswerError, match="compressed"):
        client.get_invoice(INVOICE_ID)
    assert gateway.request.headers["Accept-Encoding"] == "identity"
    assert body.taken == 0


@pytest.mark.parametrize("encoding", ["identity", "Identity"])
def test_an_answer_that_says_it_is_plain_is_read(gateway, client, invoice, encoding):
    """Naming the identity is no compression."""
    body = Pieces([json.dumps(invoice).encode()])
    gateway.answer(httpx.Response(200, headers={"Content-Encoding": encoding}, stream=body))
    assert client.get_invoice(INVOICE_ID).invoice_id == INVOICE_ID


@pytest.mark.parametrize(
    ("headers", "pieces"),
    [
        ({"Content-Encoding": "gzip"}, [b"\x1f\x8b"]),
        ({}, [b" " * MAX_ANSWER_BYTES, b" "]),
        ({}, [b'{"title": "half', httpx.ReadError("x")]),
    ],
    ids=["compressed", "too large", "broken off"],
)
def test_a_broken_error_body_does_not_hide_the_status(gateway, client, headers, pieces):
    """An error answer is what its status says, even if nothing of its body can be had."""
    gateway.answer(httpx.Response(403, headers=headers, stream=Pieces(pieces)))
    with pytest.raises(ForbiddenError) as caught:
        client.get_invoice(INVOICE_ID)
    assert (caught.value.title, caught.value.detail) == ("", "")


def test_a_body_that_breaks_off_is_a_connection_error(gateway, client, invoice):
    """Half an invoice is none; the read is tried again."""
    half = httpx.Response(200, stream=Pieces([b'{"id": ', httpx.RemoteProtocolError("x")]))
    gateway.answer(half, invoice)
    assert client.get_invoice(INVOICE_ID).invoice_id == INVOICE_ID
    assert len(gateway.requests) == 2


def test_title_and_detail_of_a_problem_reach_the_error(gateway, client):
    """What the gateway says about a refusal can be read, and cannot forge a log line."""
    problem = {
        "type": "about:blank",
        "title": "Invalid Request",
        "status": 400,
        "detail": "The 'amount'\nfield " + "x" * 400,
    }
    gateway.answer(httpx.Response(400, json=problem, headers={"Content-Type": "application/problem+json"}))
    with pytest.raises(BadRequestError) as caught:
        client.create_invoice(amount=Decimal("1"), method_id=1, description="")
    assert caught.value.title == "Invalid Request"
    assert caught.value.detail.startswith("The 'amount'\ufffdfield xxx")
    assert len(caught.value.detail) == 200
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, ["expired", "monthly", "ITERAPAY_API_KEY"]), (403, ["merchant", "allow-list", "IP address"])],
)
def test_a_refused_key_is_logged_with_what_to_do(gateway, client, caplog, status, words):
    """One record says which call, and what to renew or to check."""
    gateway.answer(status)
    with caplog.at_level(logging.WARNING, "flask_iterapay"), pytest.raises(GatewayError):
        client.get_merchant()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert all(word in record.message for word in ["get_merchant", str(status), *words])


def test_a_refused_bearer_token_is_logged_as_one(gateway, client, caplog):
    """The advice is about the token that was used, not about the key."""
    gateway.answer(401)
    with caplog.at_level(logging.WARNING, "flask_iterapay"), pytest.raises(UnauthorizedError):
        client.get_webhook("login-token")
    assert "bearer token" in caplog.text
    assert "ITERAPAY_API_KEY" not in caplog.text


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_other_failures_are_left_to_the_caller_to_log(gateway, client, caplog, status):
    """An error that is raised is not logged as well."""
    gateway.answer(*[status] * 3)
    with caplog.at_level(logging.DEBUG, "flask_iterapay"), pytest.raises(GatewayError):
        client.get_merchant()
    assert [record for record in caplog.records if record.name == "flask_iterapay"] == []


def test_cookies_are_not_kept(gateway, client, invoice):
    """A session from one call would be a second credential on the next."""
    gateway.answer(httpx.Response(200, json=invoice, headers={"Set-Cookie": "session=1; Path=/"}), invoice)
    client.get_invoice(INVOICE_ID)
    client.get_invoice(INVOICE_ID)
    assert "Cookie" not in gateway.request.headers


@pytest.mark.parametrize(
    ("make_call", "content_type"),
    [
        (lambda client: client.get_merchant(), None),
        (lambda client: client.list_transactions([INVOICE_ID]), "application/json"),
        (lambda client: client.list_newest_transactions([INVOICE_ID]), "application/json"),
    ],
)
def test_a_body_has_its_type(gateway, client, make_call, content_type):
    """JSON is announced where there is some, and accepted always."""
    gateway.answer(400)
    with pytest.raises(BadRequestError):
        make_call(client)
    assert gateway.request.headers.get("Content-Type") == content_type
    assert gateway.request.headers["Accept"] == "application/json"


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.iterapay.com",
        "ftp://api.iterapay.com",
        "https://",
        "https://user:password@api.iterapay.com",
        "https://api.iterapay.com?x=1",
        "https://api.iterapay.com#x",
        "https://api.iterapay.com:port",
        "https://api\x00.iterapay.com",
    ],
)
def test_a_base_url_that_cannot_be_one_is_refused_at_the_start(make_client, base_url):
    """A mistake in the configuration is found before the first request, and no password is repeated."""
    with pytest.raises(ConfigurationError) as caught:
        make_client(base_url=base_url)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("base_url", ["https://api.example.com/v1", "https://api.example.com/v1/"])
def test_a_base_url_may_have_a_path(gateway, make_client, merchant_id, base_url):
    """A prefix, with or without a slash at its end, stands in front of every path."""
    gateway.answer({"id": merchant_id, "name": "My Store"})
    make_client(base_url=base_url).get_merchant()
    assert str(gateway.request.url) == f"https://api.example.com/v1/merchants/{merchant_id}"
