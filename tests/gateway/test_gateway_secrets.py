"""Canaries in every place where a secret goes in; none may come out."""

import logging
import traceback
from decimal import Decimal

import httpx
import pytest

from flask_iterapay.errors import ConfigurationError, GatewayError, IteraPayError
from flask_iterapay.gateway.transport import Call, Credential

WEBHOOK_SECRET = "canary-webhook-secret-0123456789"
BEARER_TOKEN = "canary-login-token"

CALLS = [
    pytest.param(lambda client: client.get_merchant(), id="read"),
    pytest.param(lambda client: client.create_invoice(amount=Decimal("1"), method_id=1, description=""), id="write"),
    pytest.param(
        lambda client: client.register_webhook("https://shop.example.com/", WEBHOOK_SECRET, BEARER_TOKEN), id="webhook"
    ),
]
FAILURES = [
    pytest.param(lambda request: httpx.Response(302, headers={"Location": f"https://x/?{echo(request)}"}), id="302"),
    pytest.param(lambda request: httpx.Response(400, json={"title": echo(request), "detail": echo(request)}), id="400"),
    pytest.param(lambda request: httpx.Response(401, json={"title": echo(request), "detail": echo(request)}), id="401"),
    pytest.param(lambda request: httpx.Response(403, content=echo(request)), id="403"),
    pytest.param(lambda request: httpx.Response(429, json={"detail": echo(request)}), id="429"),
    pytest.param(lambda request: httpx.Response(500, json={"detail": echo(request)}), id="500"),
    pytest.param(lambda request: httpx.Response(200, json=[echo(request)]), id="another shape"),
    pytest.param(lambda request: httpx.Response(200, content=echo(request)), id="no JSON"),
    pytest.param(lambda request: throw(httpx.ConnectError("no route")), id="no connection"),
    pytest.param(lambda request: throw(httpx.LocalProtocolError(f"Illegal header value {echo(request)}")), id="quoted"),
]


def echo(request):
    """Every secret that came in, as a careless gateway would repeat it."""
    return f"{request.headers.get('X-Api-Key')} {request.headers.get('Authorization')} {request.content.decode()}"


def throw(error):
    raise error


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fail", FAILURES)
@pytest.mark.parametrize("auth", ["api_key", "bearer"])
def test_no_secret_leaves_through_errors_or_logs(make_client, caplog, call, fail, auth):
    """Whatever a gateway echoes, messages, arguments and log records of every logger stay clean, retries included."""
    client = make_client(auth=auth, transport=httpx.MockTransport(fail))
    with caplog.at_level(logging.DEBUG), pytest.raises(GatewayError) as caught:
        call(client)
    logged = [str(vars(record)) for record in caplog.records]
    for text in [repr(client), str(caught.value), repr(caught.value), repr(vars(caught.value)), caplog.text, *logged]:
        assert "canary" not in text


@pytest.mark.parametrize("call", CALLS[:2])
@pytest.mark.parametrize("answer", [httpx.ConnectError("no route"), 302, 401, 429, 500, {}], ids=str)
def test_no_key_leaves_through_a_traceback_with_its_variables(gateway, client, call, answer):
    """Reporters that print the variables of every frame, down to httpx, find no key in them."""
    gateway.answer(*[answer] * 3)
    with pytest.raises(GatewayError) as caught:
        call(client)
    lines = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert "canary" not in "".join(lines)


@pytest.mark.parametrize("value", ["", " ", "canary key", "canary\n", "canary\r\nX-Evil: 1", "canär\u00fc", "canary\0"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_quoted(make_client, value):
    """Lower layers would repeat it in their message, so it never gets there."""
    with pytest.raises(ConfigurationError) as caught:
        make_client(api_key=value)
    assert "API key" in str(caught.value)
    assert "can" not in str(caught.value).replace("cannot", "")


def test_a_bearer_token_that_no_header_can_carry_is_refused_without_being_quoted(client, gateway):
    """A line end that was pasted along is found before anything is sent."""
    with pytest.raises(IteraPayError) as caught:
        client.get_webhook(f"{BEARER_TOKEN}\n")
    assert "bearer token" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert gateway.requests == []


def test_calls_and_credentials_do_not_show_what_they_carry():
    """Neither the key nor the body of a registration is part of a representation."""
    credential = Credential("canary-key", name="API key", renewal="")
    call = Call(
        name="register_webhook",
        path="/",
        parse=str,
        credential=credential,
        body=b'{"secret": "canary-body"}',
        secrets=("canary-secret",),
    )
    assert "canary" not in repr(call) + repr(credential)
