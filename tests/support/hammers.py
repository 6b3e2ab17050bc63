"""A crowd of clients at the door of a shop of several worker processes, with the gateway in processes of its own."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from servers import running
from worlds import API_KEY, MERCHANT_ID, SECRET

from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.sandbox.storage import SandboxStore

__all__ = ["CLIENTS", "PATIENCE_SECONDS", "Answer", "Crowd", "Gateway", "gathering", "running_gateway"]

CLIENTS = 32
PATIENCE_SECONDS = 60
_READY = r"Listening at: (http://\S+)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was answered."""

    status: int
    has_retry_after: bool

    @property
    def is_documented(self) -> bool:
        """Whether it is success, or a 503 that says when to come back."""
        return self.status < 400 or (self.status == 503 and self.has_retry_after)


@dataclass(slots=True)
class Gateway:
    """The sandbox in processes of its own, over HTTP."""

    url: str
    books: SandboxStore


@dataclass(slots=True)
class Crowd:
    """32 clients of one shop, who do at the same moment what they are told to; ``answers`` is what they got."""

    shop_url: str
    gateway: Gateway
    http: httpx.Client
    clients: ThreadPoolExecutor
    answers: list[Answer] = field(default_factory=list)

    def rush(self, calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
        """Make these calls, 32 at most, at the same moment."""
        ready = threading.Barrier(len(calls))

        def make(call: Callable[[], httpx.Response]) -> httpx.Response:
            ready.wait(PATIENCE_SECONDS)
            return call()

        return list(self.clients.map(make, calls, timeout=PATIENCE_SECONDS))

    def request(self, verb: str, path: str, **data: str) -> httpx.Response:
        """Ask the shop."""
        return self._keep(self.http.request(verb, self.shop_url + path, data=data or None))

    def hint(self, invoice_id: str) -> httpx.Response:
        """Bring the shop a webhook that names an invoice."""
        body = json.dumps({"event": "invoice.paid", "data": {"invoiceId": invoice_id}}).encode()
        headers = {SIGNATURE_HEADER: sign(body, SECRET), "Content-Type": "application/json"}
        return self._keep(self.http.post(f"{self.shop_url}/pay/webhook", content=body, headers=headers))

    def _keep(self, response: httpx.Response) -> httpx.Response:
        self.answers.append(Answer(response.status_code, "Retry-After" in response.headers))
        return response

    def act(self, invoice_id: str, action: str, **fields: str) -> httpx.Response:
        """Press one of the sandbox's buttons."""
        return self._press(f"invoices/{invoice_id}", action=action, **fields)

    def switch(self, **settings: str) -> httpx.Response:
        """Switch the sandbox; what is not named gets its default."""
        return self._press("settings", **settings)

    def _press(self, page: str, **fields: str) -> httpx.Response:
        response = self.http.post(f"{self.gateway.url}/panel/{page}", data=fields)
        assert response.status_code == 303, response.text
        return response

    def find_undocumented(self) -> list[str]:
        """The answers that no documentation knows."""
        return [f"an answer of {answer.status}" for answer in self.answers if not answer.is_documented]

    @property
    def unavailable(self) -> int:
        """How many answers were a 503."""
        return sum(answer.status == 503 for answer in self.answers)


@contextmanager
def running_gateway(path: Path) -> Iterator[Gateway]:
    """Serve a sandbox by two processes until the block ends."""
    arguments = {"path": str(path), "api_key": API_KEY, "merchant_id": MERCHANT_ID}
    app = f"flask_iterapay.sandbox.app:create_sandbox_app({_format_arguments(arguments)})"
    command = ["gunicorn", "--workers", "2", "--threads", "16", "--keep-alive", "60", "--bind", "127.0.0.1:0", app]
    with running(command, ready=_READY) as url:
        yield Gateway(url, SandboxStore(path))


@contextmanager
def gathering(url: str, gateway: Gateway, folder: Path, *options: str, **arguments: object) -> Iterator[Crowd]:
    """Serve the hammer's shop by four processes until the block ends, with 32 clients at its door."""
    arguments = {"folder": str(folder), "database_url": url, "gateway_url": gateway.url, **arguments}
    app = f"hammer_shop:create_app({_format_arguments(arguments)})"
    command = ["gunicorn", "--workers", "4", "--threads", "8", "--bind", "127.0.0.1:0", *options]
    # Every request on a connection of its own, so that any worker may get it.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with (
        running([*command, "--pythonpath", "tests/support", app], ready=_READY) as shop_url,
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS, limits=limits) as http,
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        yield Crowd(shop_url, gateway, http, clients)


def _format_arguments(arguments: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
