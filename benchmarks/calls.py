"""A call to the gateway: our client beside a plain ``httpx.Client``, to a server that answers the same every time."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from flask_iterapay.gateway.client import GatewayClient

from .bench import Bench
from .row import Reach, Result, Row, compare
from .timing import Case

__all__ = ["ROWS"]

_MERCHANT = "11111111-1111-4111-8111-111111111111"
_INVOICE = "22222222-2222-4222-8222-222222222222"
_PATH = f"/merchants/{_MERCHANT}/invoices/{_INVOICE}"
_ANSWER = {
    "id": _INVOICE,
    "merchantID": _MERCHANT,
    "amount": "25.00",
    "currency": "USD",
    "type": "onetime",
    "paymentMethodID": 1,
    "state": "pending",
    "description": "A notebook and two pencils",
    "createdAt": "2026-01-15T10:30:00Z",
}
_PROCESS_SECONDS = 10


def _measure(bench: Bench) -> Result:
    url = bench.use(_run_gateway)
    shared = bench.stack.enter_context(httpx.Client(trust_env=False))
    ours = GatewayClient(base_url=url, merchant_id=_MERCHANT, api_key="a-key")
    bench.stack.callback(ours.close)
    return compare(
        bench.effort,
        Case(name="floor", run=lambda: shared.get(url + _PATH).json()),
        Case(name="ours", run=lambda: ours.get_invoice(_INVOICE)),
        Case(name="new client per call", run=lambda: httpx.get(url + _PATH, trust_env=False).json()),
    )


@contextmanager
def _run_gateway(bench: Bench) -> Iterator[str]:
    """Run the server below in a process of its own, so that its work is not done by the one that is measured."""
    process = subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(timeout=_PROCESS_SECONDS)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(_ANSWER).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        # In one piece: a second packet would wait for the first to be acknowledged.
        self.wfile.write(head.encode() + body)


def _serve() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


ROWS: tuple[Row, ...] = (
    Row(
        what="a call of the gateway client, with its answer parsed",
        floor="one shared `httpx.Client`, JSON decoded",
        reach=Reach(at_most=1.3),
        measure=_measure,
    ),
)

if __name__ == "__main__":
    _serve()
