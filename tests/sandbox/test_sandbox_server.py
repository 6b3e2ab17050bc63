"""The sandbox as a server of its own, and how it reaches a shop on the same machine."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from werkzeug import Request, Response
from werkzeug.serving import BaseWSGIServer, make_server

import flask_iterapay
from flask_iterapay import config
from flask_iterapay.errors import ConfigurationError
from flask_iterapay.sandbox.app import API_KEY, MERCHANT_ID, create_sandbox_app, make_sandbox_server, post_to_loopback


@contextmanager
def running(server: BaseWSGIServer) -> Iterator[int]:
    """Run a server in a thread of its own."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()


def get(port: int, path: str, **headers: str) -> int:
    """Ask a server on this machine, and return the status."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status


def test_a_delivery_reaches_a_shop_on_this_machine() -> None:
    """Body, headers, path and query arrive; a redirect is an answer and is not followed."""
    received = []

    @Request.application
    def shop(request: Request) -> Response:
        received.append((request.full_path, request.headers["X-Test"], request.get_data()))
        return Response(status=302, headers={"Location": "https://elsewhere.invalid/"})

    with running(make_server("127.0.0.1", 0, shop)) as port:
        status = post_to_loopback(f"http://127.0.0.1:{port}/hook?x=1", {"X-Test": "yes"}, b"{}")
        post_to_loopback(f"http://localhost:{port}", {"X-Test": "yes"}, b"[]")
    assert status == 302
    assert received == [("/hook?x=1", "yes", b"{}"), ("/?", "yes", b"[]")]


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "http://10.0.0.1/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_delivery_goes_nowhere_else(url: str) -> None:
    """A test tool sends nothing off this machine."""
    with pytest.raises(ValueError, match="loopback"):
        post_to_loopback(url, {}, b"{}")


def test_a_sandbox_left_to_itself_is_complete(tmp_path: Path) -> None:
    """Clock, ids and credentials have defaults; a target that is away is tried again later."""
    app = create_sandbox_app(
        path=tmp_path / "own.sqlite3", webhook_url="https://shop.invalid/", webhook_secret="s" * 32
    )
    key = {"X-Api-Key": API_KEY}
    body = {"amount": "1.00", "type": "onetime", "paymentMethodID": 1}
    client = app.test_client()
    path = f"/merchants/{MERCHANT_ID}/invoices"
    invoice_id = client.post(path, json=body, headers=key).json["id"]
    client.get(f"/public/invoices/{invoice_id}/method/1/address")
    with client.post(f"/panel/invoices/{invoice_id}", data={"action": "pay_exact"}):
        pass
    assert client.get(f"{path}/{invoice_id}", headers=key).json["state"] == "paid"
    deliveries = app.extensions["iterapay_sandbox"].service.store.list_deliveries()
    assert [(delivery.state, delivery.attempts, delivery.status) for delivery in deliveries] == [
        ("queued", 1, None)
    ] * 2


def test_a_server_of_its_own_knows_the_credentials_of_a_shop_in_the_sandbox() -> None:
    """Moving from one to the other changes the base URL alone."""
    assert (API_KEY, MERCHANT_ID) == (config.SANDBOX_API_KEY, config.SANDBOX_MERCHANT_ID)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", ""])
def test_it_is_served_on_loopback_only(tmp_path: Path, host: str) -> None:
    """It has no password, so nobody else on the network gets at it."""
    with pytest.raises(ConfigurationError, match="loopback"):
        make_sandbox_server(host=host, port=0, path=tmp_path / "own.sqlite3")


@pytest.mark.parametrize("path", ["/panel/", "/public/invoices/nowhere"])
def test_a_served_panel_answers_to_its_own_name(tmp_path: Path, path: str) -> None:
    """A page of somebody else's that rebinds its name to loopback gets nothing."""
    found = 200 if path == "/panel/" else 404
    with running(make_sandbox_server(port=0, path=tmp_path / "own.sqlite3")) as port:
        statuses = [get(port, path, Host=host) for host in ("127.0.0.1", f"localhost:{port}", "evil.example")]
    assert statuses == [found, found, 400]


@pytest.mark.process
def test_a_process_of_its_own_says_where_it_listens(tmp_path: Path) -> None:
    """And serves until it is ended."""
    code = "import sys; from flask_iterapay.sandbox.app import serve; serve(port=0, path=sys.argv[1])"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "own.sqlite3")],
        cwd=Path(flask_iterapay.__file__).parents[1],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = iter(process.stderr.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        status = get(int(port), "/panel/")
        process.terminate()
        process.communicate(timeout=10)
    assert status == 200
