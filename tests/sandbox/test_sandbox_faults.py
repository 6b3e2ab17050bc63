"""API faults, and the transport that carries them into the client's process."""

import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from flask_iterapay.sandbox.app import MERCHANT_ID as MERCHANT
from flask_iterapay.sandbox.transport import SandboxTransport

INVOICES = f"/merchants/{MERCHANT}/invoices"
ORDER = {"amount": "100.00", "type": "onetime", "paymentMethodID": 1}


@pytest.fixture
def client(sandbox) -> Iterable[httpx.Client]:
    """An HTTP client in the same process."""
    transport = SandboxTransport(sandbox.app)
    with httpx.Client(base_url="https://sandbox.invalid", transport=transport, headers=sandbox.key) as client:
        yield client


@pytest.mark.parametrize(
    ("fault", "status", "headers"),
    [
        ("401", 401, {}),
        ("403", 403, {}),
        ("429", 429, {}),
        ("429_retry_after", 429, {"retry-after": "7"}),
        ("500", 500, {}),
        ("503", 503, {}),
    ],
)
def test_an_error_strikes_as_a_problem(
    sandbox, client: httpx.Client, check_schema: Callable, fault: str, status: int, headers: dict[str, str]
) -> None:
    """With the documented body, and Retry-After only where it was asked for."""
    sandbox.switch(api_fault=fault)
    response = client.get("/payment_methods")
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert {name: value for name, value in response.headers.items() if name == "retry-after"} == headers
    check_schema({"$ref": "#/components/schemas/Problem"}, response.json())


def test_garbage_is_a_success_that_nobody_can_read(sandbox, client: httpx.Client) -> None:
    """It claims to be JSON."""
    sandbox.switch(api_fault="garbage")
    response = client.get("/payment_methods")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    with pytest.raises(ValueError):
        json.loads(response.content)


def test_a_login_page_is_a_success_in_html(sandbox, client: httpx.Client) -> None:
    """As captive portals answer."""
    sandbox.switch(api_fault="html")
    response = client.get("/payment_methods")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_an_oversized_answer_is_valid_json(sandbox, client: httpx.Client) -> None:
    """Only its size is wrong."""
    sandbox.switch(api_fault="oversized")
    response = client.get("/payment_methods")
    assert len(response.content) > 8_000_000
    assert response.json() == []


def test_a_redirect_leads_elsewhere(sandbox, client: httpx.Client) -> None:
    """Following it would give the key away."""
    sandbox.switch(api_fault="redirect")
    response = client.get("/payment_methods")
    assert (response.status_code, response.headers["location"]) == (307, "https://elsewhere.invalid/")


@pytest.mark.parametrize(("fault", "invoices"), [("timeout", 0), ("lost_answer", 1)])
def test_a_time_out_happens_before_or_after_the_effect(
    sandbox, client: httpx.Client, fault: str, invoices: int
) -> None:
    """In both cases the client learns nothing; after a lost answer the invoice exists."""
    sandbox.switch(api_fault=fault)
    with pytest.raises(httpx.ReadTimeout) as caught:
        client.post(INVOICES, json=ORDER)
    assert caught.value.request.method == "POST"
    assert client.get(INVOICES).json()["total"] == invoices


def test_a_server_of_its_own_says_that_it_timed_out(sandbox) -> None:
    """Over a socket the fault is what a gateway in front of a slow server would answer."""
    sandbox.switch(api_fault="timeout")
    response = sandbox.call("GET", "/payment_methods")
    assert (response.status_code, response.headers["X-Sandbox-Fault"]) == (504, "timeout")


def test_a_fault_strikes_as_often_as_it_was_set(sandbox, client: httpx.Client) -> None:
    """Then the truth comes back."""
    sandbox.switch(api_fault="500", fault_calls=2)
    assert [client.get("/payment_methods").status_code for _ in range(3)] == [500, 500, 200]


def test_a_fault_can_stay(sandbox, client: httpx.Client) -> None:
    """With 0 it strikes until it is switched off."""
    sandbox.switch(api_fault="500", fault_calls=0)
    assert {client.get("/payment_methods").status_code for _ in range(5)} == {500}
    sandbox.switch()
    assert client.get("/payment_methods").status_code == 200


@pytest.mark.parametrize(
    ("operation", "struck"),
    [
        ("create", ["create"]),
        ("address", ["address", "addresses"]),
        ("invoice", ["invoice", "public", "invoices"]),
        ("transactions", ["transactions", "transaction"]),
        ("methods", ["methods"]),
    ],
)
def test_a_fault_can_strike_one_operation(sandbox, client: httpx.Client, operation: str, struck: list[str]) -> None:
    """Every other call is answered with the truth."""
    invoice_id = sandbox.offered()
    calls = {
        "create": lambda: client.post(INVOICES, json=ORDER),
        "address": lambda: client.get(f"/public/invoices/{invoice_id}/method/1/address"),
        "addresses": lambda: client.get(f"/public/invoices/{invoice_id}/addresses"),
        "invoice": lambda: client.get(f"{INVOICES}/{invoice_id}"),
        "public": lambda: client.get(f"/public/invoices/{invoice_id}"),
        "invoices": lambda: client.get(INVOICES),
        "transactions": lambda: client.post(f"/merchants/{MERCHANT}/transactions/list"),
        "transaction": lambda: client.get(f"/merchants/{MERCHANT}/transactions/1"),
        "methods": lambda: client.get("/payment_methods"),
        "merchant": lambda: client.get(f"/merchants/{MERCHANT}"),
    }
    sandbox.switch(api_fault="503", fault_operation=operation, fault_calls=0)
    assert [name for name, call in calls.items() if call().status_code == 503] == struck


def test_the_panel_is_never_struck(sandbox) -> None:
    """Otherwise nobody could switch a fault off."""
    sandbox.switch(api_fault="500", fault_calls=0)
    assert sandbox.call("GET", "/panel/settings").status_code == 200


def test_the_sandbox_does_not_see_the_shop() -> None:
    """A call from inside a shop's request runs without it, and leaves it as it was."""
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Callable) -> list[bytes]:
        seen.append(whose.get("nobody's"))
        whose.set("the sandbox's")
        start_response("200 OK", [])
        return [b"[]"]

    whose: ContextVar[str] = ContextVar("whose")
    whose.set("the shop's")
    with httpx.Client(transport=SandboxTransport(app)) as client:
        assert client.get("https://sandbox.invalid/").json() == []
    assert (seen, whose.get()) == (["nobody's"], "the shop's")


def test_a_shop_that_is_told_sees_nothing_of_the_request_before(make_sandbox: Callable) -> None:
    """A delivery runs in a context of its own, whoever's request it follows."""
    seen: list[str] = []

    def deliver(url: str, headers: object, body: bytes) -> int:
        seen.append(whose.get("nobody's"))
        whose.set("the receiver's")
        return 200

    whose: ContextVar[str] = ContextVar("whose")
    whose.set("the caller's")
    sandbox = make_sandbox(deliver=deliver)
    sandbox.press(sandbox.offered(), "pay_exact")
    assert (seen, whose.get()) == (["nobody's"] * 2, "the caller's")


def test_a_path_beyond_latin_1_reaches_the_app(client: httpx.Client) -> None:
    """As it would over a socket."""
    response = client.get("/public/invoices/%E2%98%83")
    assert (response.status_code, response.json()["instance"]) == (404, "/public/invoices/%E2%98%83")


def test_an_error_inside_the_app_comes_out() -> None:
    """A defect of the app is not dressed up as an answer, and its answer is closed."""
    closed: list[bool] = []

    class Answer:
        def __iter__(self) -> Any:
            yield b"{"
            raise RuntimeError("broken")

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Callable) -> Answer:
        start_response("200 OK", [])
        return Answer()

    with httpx.Client(transport=SandboxTransport(app)) as client, pytest.raises(RuntimeError, match="broken"):
        client.get("https://sandbox.invalid/")
    assert closed == [True]
