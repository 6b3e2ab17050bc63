"""The client's manners on real sockets: it gives up in time, reads little, and repeats only what is harmless.

And a key that expired costs time, but no order.
"""

import gzip
import logging
import os
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import stamina
from proxy import HOST, FaultKind, Proxy, TcpFault
from servers import serving
from trades import METHOD_ID, Bank, make_client
from worlds import Timepiece, make_world

from flask_iterapay.errors import (
    GatewayError,
    GatewayTimeoutError,
    GatewayUnavailableError,
    OversizedAnswerError,
    UnauthorizedError,
    UnusableAnswerError,
)
from flask_iterapay.gateway.transport import MAX_ANSWER_BYTES
from flask_iterapay.orders.models import EventName, OrderStatus

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# What a busy machine may add to a deadline, and far less than what an answer without a deadline would take.
SLACK_SECONDS = 5
SUPPORT = Path(__file__).parents[1] / "support"
INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"


class Answering(socketserver.BaseRequestHandler):
    """Reads a request's head and leaves the rest to ``answer``, which stops when the client is gone."""

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := self.request.recv(4096)):
            head += data
        self.server.count += 1
        try:
            self.server.answer(self.request.sendall)
        except OSError:
            self.server.is_left.set()


class Server(socketserver.ThreadingTCPServer):
    """Answers every connection once, and counts them. ``is_left`` tells that a client hung up."""

    request_queue_size = 128

    def __init__(self, answer: Callable[[Callable[[bytes], None]], None]) -> None:
        super().__init__((HOST, 0), Answering)
        self.answer = answer
        self.count = 0
        self.is_left = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}"


@contextmanager
def answering(answer: Callable[[Callable[[bytes], None]], None]) -> Iterator[Server]:
    """Run a server that gives one answer."""
    with Server(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda client: client.get_invoice(INVOICE_ID), id="get_invoice"),
        pytest.param(lambda client: client.list_newest_transactions([INVOICE_ID]), id="list_newest_transactions"),
    ],
)
def test_a_body_that_dribbles_ends_with_the_deadline(read):
    """A byte now and then satisfies every time-out but the one that counts."""
    is_over = threading.Event()

    def dribble(send: Callable[[bytes], None]) -> None:
        send(HEAD + b"Content-Length: 100000\r\n\r\n")
        while not is_over.wait(0.02):
            send(b" ")

    with (
        answering(dribble) as server,
        closing(make_client(server.base_url, read_timeout_seconds=5, deadline_seconds=0.5)) as client,
    ):
        began_at = time.monotonic()
        with pytest.raises(GatewayTimeoutError):
            read(client)
        seconds = time.monotonic() - began_at
        is_over.set()
    assert seconds < 0.5 + SLACK_SECONDS
    assert server.count == 1


def test_an_endless_body_is_left_at_the_cap():
    """The server finds the connection closed long before it has sent what it could."""
    sent = [0]

    def go_on(send: Callable[[bytes], None]) -> None:
        send(HEAD + b"\r\n")
        while sent[0] < 64 * MAX_ANSWER_BYTES:
            send(b" " * 65_536)
            sent[0] += 65_536

    with answering(go_on) as server, closing(make_client(server.base_url)) as client:
        with pytest.raises(OversizedAnswerError):
            client.get_invoice(INVOICE_ID)
        assert server.is_left.wait(10)
    assert sent[0] < 64 * MAX_ANSWER_BYTES
    assert server.count == 1


def test_a_gzip_bomb_is_not_unpacked():
    """A hundred megabytes in a hundred kilobytes are refused by their header."""
    bomb = gzip.compress(bytes(100 * MAX_ANSWER_BYTES))

    def throw(send: Callable[[bytes], None]) -> None:
        send(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb)

    with (
        answering(throw) as server,
        closing(make_client(server.base_url)) as client,
        pytest.raises(OversizedAnswerError, match="compressed"),
    ):
        client.get_invoice(INVOICE_ID)
    assert len(bomb) < MAX_ANSWER_BYTES
    assert server.count == 1


class EndOfWaitError(Exception):
    """Thrown where a retry would begin to wait, so that nothing does."""


@contextmanager
def stopping_at_the_first_wait() -> Iterator[list[stamina.instrumentation.RetryDetails]]:
    """Retry as in production, up to the first pause; yields what was planned."""
    planned: list[stamina.instrumentation.RetryDetails] = []

    def stop(details: stamina.instrumentation.RetryDetails) -> None:
        planned.append(details)
        raise EndOfWaitError

    stamina.instrumentation.set_on_retry_hooks([stop])
    try:
        with stamina.set_testing(False), pytest.raises(EndOfWaitError):
            yield planned
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)


@pytest.mark.parametrize(("header", "least", "most"), [(b"Retry-After: 7\r\n", 7, 7), (b"", 0.2, 2)])
def test_a_read_waits_as_long_as_it_was_told(header, least, most):
    """The gateway's own wish is obeyed to the second; without one the pause is short and has jitter."""
    answer = b"HTTP/1.1 429 Too Many Requests\r\n" + header + b"Content-Length: 0\r\n\r\n"
    with (
        answering(lambda send: send(answer)) as server,
        closing(make_client(server.base_url)) as client,
        stopping_at_the_first_wait() as planned,
    ):
        client.get_invoice(INVOICE_ID)
    assert [least <= details.wait_for <= most for details in planned] == [True]


@pytest.mark.parametrize("kind", FaultKind)
def test_a_create_is_sent_once_whatever_becomes_of_it(tmp_path, kind):
    """One connection is made and at most one invoice, and any failure is a typed error."""
    bank = Bank(tmp_path, Timepiece())
    with serving(bank.app) as base_url, Proxy(port_of(base_url), lambda number: TcpFault(kind=kind)) as proxy:
        read_timeout_seconds = 0.3 if kind is FaultKind.STALL else 10
        client = make_client(f"http://{HOST}:{proxy.port}", read_timeout_seconds=read_timeout_seconds)
        with closing(client):
            error = find_error(
                lambda: client.create_invoice(amount=Decimal("1"), method_id=1, description="order-1 [ref]")
            )
    assert isinstance(error, GatewayUnavailableError | UnusableAnswerError) is (kind is not FaultKind.DRIBBLE)
    assert proxy.connections == 1
    assert proxy.struck == {kind: 1}
    has_effect = kind not in {FaultKind.REFUSE, FaultKind.RESET_UP}
    assert len(bank.list_invoices("order-1")) == has_effect


def test_a_read_is_sent_again_over_a_new_connection(tmp_path):
    """Two connections that break are survived."""
    bank = Bank(tmp_path, Timepiece())
    faults = [TcpFault(kind=FaultKind.RESET_DOWN), TcpFault(kind=FaultKind.TRUNCATE)]
    with (
        serving(bank.app) as base_url,
        Proxy(port_of(base_url), lambda number: faults[number] if number < 2 else None) as proxy,
        closing(make_client(f"http://{HOST}:{proxy.port}")) as client,
    ):
        assert client.list_payment_methods()
    assert proxy.connections == 3


def port_of(base_url: str) -> int:
    """The port that a server of this machine listens on."""
    return int(base_url.rpartition(":")[2])


def find_error(call: Callable[[], Any]) -> GatewayError | None:
    """Return what a call raises, if that is an error of ours."""
    try:
        call()
    except GatewayError as error:
        return error
    return None


@pytest.mark.parametrize(("status", "advice"), [(401, "ITERAPAY_API_KEY"), (403, "allow-list")])
def test_orders_go_on_by_themselves_once_the_key_is_right(tmp_path, caplog, status, advice):
    """A key that is refused is one clear line in the log; when it is renewed, nobody has to press anything."""
    world = make_world(tmp_path)
    order = world.choose()
    world.act("pay_exact", order)
    world.wire.fail("", status=status)
    with caplog.at_level(logging.ERROR, "flask_iterapay"):
        world.clock.advance(700)
        assert world.service.reconcile().failures == 1
    assert [advice in record.message and "\n" not in record.message for record in caplog.records] == [True]
    for _ in range(3):
        world.clock.advance(700)
        world.service.reconcile()
    world.wire.mend()
    world.clock.advance(700)
    world.service.reconcile()
    assert world.service.get("1042").status is OrderStatus.PAID
    assert [event.key for event in world.handled if event.name is EventName.PAID] == ["order.paid:1042"]


def test_a_choice_that_met_an_expired_key_can_be_made_again(tmp_path):
    """The customer is told, nothing is half done, and the same choice succeeds with the renewed key."""
    world = make_world(tmp_path)
    world.place()
    world.service.offered_methods()
    world.wire.fail("POST", status=401)
    with pytest.raises(UnauthorizedError):
        world.service.choose_method("1042", METHOD_ID)
    assert world.service.get("1042").status is OrderStatus.NEW
    world.wire.mend()
    assert world.choose().status is OrderStatus.AWAITING_PAYMENT


class RememberingPorts(socketserver.StreamRequestHandler):
    """Answers every request with an empty list, keeps connections open, and remembers whom it spoke to."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            if line == b"\r\n":
                self.server.ports.append(self.client_address[1])
                self.wfile.write(HEAD + b"Content-Length: 2\r\n\r\n[]")


FORKING = """
import os, sys
from trades import make_client
client = make_client(sys.argv[1], cache_seconds=0)
client.list_payment_methods()
child = os.fork()
client.list_payment_methods()
if not child:
    client.list_payment_methods()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.list_payment_methods()
client.close()
"""


@pytest.mark.process
def test_a_child_opens_its_own_connection_and_leaves_its_parent_the_old_one(tmp_path):
    """After a fork each of the two keeps to one connection, and they are not the same."""
    with socketserver.ThreadingTCPServer((HOST, 0), RememberingPorts) as server:
        server.ports = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            command = [sys.executable, "-W", "error", "-c", FORKING, f"http://{HOST}:{server.server_address[1]}"]
            env = {**os.environ, "PYTHONPATH": str(SUPPORT)}
            subprocess.run(command, check=True, timeout=60, env=env)
        finally:
            server.shutdown()
            thread.join()
    parent = server.ports[0]
    assert server.ports.count(parent) == 3
    assert len(server.ports) == 5
    assert len(set(server.ports)) == 2
