"""What gunicorn serves in a second: hints with news on PostgreSQL, beside bare POSTs. Eight connections, loopback."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import perf_counter

from flask import Flask

from flask_iterapay.gateway.models import InvoiceState
from flask_iterapay.gateway.signing import SIGNATURE_HEADER
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

from .bench import Bench
from .copies import add_copies, name_invoice
from .databases import make_url
from .floors import make_floor
from .profiles import profile
from .row import Reach, Result, Row, judge
from .shops import WEBHOOK, Gateway, Shop, make_hint
from .timing import Sample, collect
from .webhooks import make_news_case

__all__ = ["ROWS", "make_bare_app", "make_shop_app"]

_ROOT = Path(__file__).parents[1]
_CONNECTIONS = 8
_READY = re.compile(r"Listening at: http://127\.0\.0\.1:([0-9]+)")
_STOP_SECONDS = 20


def make_bare_app() -> Flask:
    """Make the app that is the floor, for gunicorn."""
    return make_floor()


def make_shop_app(url: str) -> Flask:
    """Make the app with the plugin, for gunicorn."""
    return Shop(SQLAlchemyStore(url), gateway=Gateway(state=InvoiceState.CONFIRMING)).app


@contextmanager
def _load(bench: Bench) -> Iterator[tuple[list[Sample], list[Sample]]]:
    """Put both apps under load in turns; yields requests per second, and the p99 of each burst."""
    url, size = make_url(bench, "postgresql"), bench.scale(1000, 16)
    shop = Shop(SQLAlchemyStore(url, create_tables=True))
    with _gunicorn("make_bare_app()") as bare_port, _gunicorn(f"make_shop_app('{url}')") as shop_port:
        starts, latencies = count(step=size), {"floor": list[float](), "ours": list[float]()}

        def measure_bare() -> float:
            return _burst(bare_port, [_write_request("/", b"x")] * size, latencies["floor"])

        def measure_shop() -> float:
            start = next(starts)
            add_copies(shop, url, range(start, start + size))
            return _burst(shop_port, [_write_hint(number) for number in range(start, start + size)], latencies["ours"])

        rates = collect({"floor": measure_bare, "ours": measure_shop}, bench.scale(6, 1))
    yield rates, [Sample(name=name, values=tuple(values)) for name, values in latencies.items()]


def _write_hint(number: int) -> bytes:
    environ, body = make_hint(name_invoice(number))
    return _write_request(WEBHOOK, body, f"{SIGNATURE_HEADER}: {environ['HTTP_X_ITERAPAY_SIGNATURE']}\r\n")


def _write_request(path: str, body: bytes, headers: str = "") -> bytes:
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}{headers}\r\n".encode() + body


def _burst(port: int, requests: Sequence[bytes], slowest: list[float]) -> float:
    """Send the requests over all connections at once; note the p99 and return requests per second."""
    shares = [requests[start::_CONNECTIONS] for start in range(_CONNECTIONS)]
    started_at = perf_counter()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        times = [seconds for share in pool.map(partial(_send, port), shares) for seconds in share]
    rate = len(requests) / (perf_counter() - started_at)
    slowest.append(quantiles(times, n=100)[98])
    return rate


def _send(port: int, requests: Sequence[bytes]) -> list[float]:
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for request in requests:
            started_at = perf_counter()
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"\r\n\r\nok\n"):
                answer += connection.recv(65536) or _fail(answer)
            times.append(perf_counter() - started_at)
    return times


def _fail(answer: bytes) -> bytes:
    raise AssertionError(f"the server answered {answer!r}")


@contextmanager
def _gunicorn(app: str) -> Iterator[int]:
    """Serve one of the apps above until the block ends; yields the port."""
    options = ["--workers=2", "--threads=4", "--bind=127.0.0.1:0", "--keep-alive=60"]
    command = [sys.executable, "-m", "gunicorn", *options, f"{__name__}:{app}"]
    process = subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(int(match[1]) for line in process.stderr if (match := _READY.search(line)))
    finally:
        process.terminate()
        process.wait(timeout=_STOP_SECONDS)


def _measure_rate(bench: Bench) -> Result:
    return replace(judge(bench.use(_load)[0]), profile=partial(_profile, bench))


def _measure_slowest(bench: Bench) -> Result:
    return replace(judge(bench.use(_load)[1]), profile=partial(_profile, bench))


def _profile(bench: Bench) -> str:
    """Find out where a worker's time goes, in this process: a hint is the same work there."""
    shop = Shop(SQLAlchemyStore(make_url(bench, "postgresql"), create_tables=True))
    return profile(make_news_case("ours", shop, InvoiceState.CONFIRMING))


_WHAT = "hints with news through gunicorn (2 workers x 4 threads), PostgreSQL"
_FLOOR = "bare Flask POST, served alike"

ROWS: tuple[Row, ...] = (
    Row(what=f"{_WHAT}: requests per second", floor=_FLOOR, reach=Reach(at_least=0.25), measure=_measure_rate),
    Row(what=f"{_WHAT}: p99", floor=_FLOOR, reach=Reach(at_most=4), measure=_measure_slowest),
)
