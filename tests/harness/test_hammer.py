"""32 clients hammer a shop of four worker processes over HTTP: each order is paid once, and told once."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from flawed_stores import find_meeting
from servers import name_database, running
from worlds import API_KEY, MERCHANT_ID, SECRET

from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventName, EventState, Order, OrderStatus
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.storage import SandboxStore

pytestmark = [pytest.mark.harness, pytest.mark.process]

_CROWD = 8  # clients that do the same order harm at the same moment
_CROWDS = 4  # orders that this happens to at once
_POLLS = 500
_PATIENCE_SECONDS = 60
_READY = r"Listening at: (http://\S+)"


_ROUTES = {
    "place": ("POST", "{page}"),
    "choose": ("POST", "{page}"),
    "page": ("GET", "{page}"),
    "poll": ("GET", "{page}/status"),
    "check": ("POST", "{page}/check"),
    "reconcile": ("POST", "/reconcile"),
}


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
class Hammer:
    """32 clients of one shop. ``submits`` clients place and choose at once; ``news`` is what races for a payment."""

    shop_url: str
    gateway: Gateway
    ledger: Ledger
    http: httpx.Client
    clients: ThreadPoolExecutor
    submits: int = _CROWD
    news: tuple[str, ...] = ("hint", "hint", "hint", "poll", "poll", "page", "check", "reconcile")
    before_news: Callable[[str], object] = lambda order_id: None
    answers: list[Answer] = field(default_factory=list)

    def strike(self, order_ids: Sequence[str]) -> None:
        """Have every order placed, paid and told, several at once."""
        with ThreadPoolExecutor(_CROWDS) as crowds:
            list(crowds.map(self._strike, order_ids, timeout=_PATIENCE_SECONDS * len(order_ids)))

    def _strike(self, order_id: str) -> None:
        page = self._rush(["place"] * self.submits, f"/orders/{order_id}")[0].text
        self._rush(["choose"] * self.submits, page)
        invoice_id = self._poll(order_id, page, OrderStatus.AWAITING_PAYMENT).current_invoice_id
        paid = self.http.post(f"{self.gateway.url}/panel/invoices/{invoice_id}", data={"action": "pay_exact"})
        assert paid.status_code == 303, paid.text
        self.before_news(order_id)
        self._rush(self.news, page, str(invoice_id))
        self._poll(order_id, page, OrderStatus.PAID)

    def _rush(self, kinds: Sequence[str], page: str, invoice_id: str = "") -> list[httpx.Response]:
        """Send these requests at the same moment."""
        ready = threading.Barrier(len(kinds))

        def send(kind: str) -> httpx.Response:
            ready.wait(_PATIENCE_SECONDS)
            return self._send(kind, page, invoice_id)

        return list(self.clients.map(send, kinds, timeout=_PATIENCE_SECONDS))

    def _poll(self, order_id: str, page: str, status: OrderStatus) -> Order:
        """Poll as the page would, until the order is there; a bounded number of times."""
        for _ in range(_POLLS):
            order = self.ledger.get(order_id)
            if order.status is status:
                return order
            self._send("poll", page)
        raise AssertionError(f"{order_id} is {order.status} after {_POLLS} polls")

    def _send(self, kind: str, page: str, invoice_id: str = "") -> httpx.Response:
        if kind == "hint":
            response = self._hint(invoice_id)
        else:
            method, path = _ROUTES[kind]
            data = {"method": "1"} if method == "POST" else None
            response = self.http.request(method, self.shop_url + path.format(page=page), data=data)
        self.answers.append(Answer(response.status_code, "Retry-After" in response.headers))
        return response

    def _hint(self, invoice_id: str) -> httpx.Response:
        body = json.dumps({"event": "invoice.paid", "data": {"invoiceId": invoice_id}}).encode()
        headers = {SIGNATURE_HEADER: sign(body, SECRET), "Content-Type": "application/json"}
        return self.http.post(f"{self.shop_url}/pay/webhook", content=body, headers=headers)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The sandbox, served by two processes for all tests of this file."""
    path = tmp_path_factory.mktemp("gateway") / "sandbox.sqlite3"
    arguments = {"path": str(path), "api_key": API_KEY, "merchant_id": MERCHANT_ID}
    app = f"flask_iterapay.sandbox.app:create_sandbox_app({_format_arguments(arguments)})"
    command = ["gunicorn", "--workers", "2", "--threads", "16", "--keep-alive", "60", "--bind", "127.0.0.1:0", app]
    with running(command, ready=_READY) as url:
        yield Gateway(url, SandboxStore(path))


@contextmanager
def hammering(url: str, gateway: Gateway, folder: Path, *options: str, **arguments: object) -> Iterator[Hammer]:
    """Serve the shop by four processes until the block ends, with 32 clients at its door."""
    store = SQLAlchemyStore(url, create_tables=True)
    arguments = {"folder": str(folder), "database_url": url, "gateway_url": gateway.url, **arguments}
    app = f"hammer_shop:create_app({_format_arguments(arguments)})"
    command = ["gunicorn", "--workers", "4", "--threads", "8", "--bind", "127.0.0.1:0", *options]
    # Every request on a connection of its own, so that any worker may get it.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with (
        running([*command, "--pythonpath", "tests/support", app], ready=_READY) as shop_url,
        httpx.Client(trust_env=False, timeout=_PATIENCE_SECONDS, limits=limits) as http,
        ThreadPoolExecutor(_CROWD * _CROWDS) as clients,
    ):
        yield Hammer(shop_url, gateway, Ledger(store=store, model=Order), http, clients)


def _format_arguments(arguments: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def find_wrongs(hammer: Hammer, order_ids: Sequence[str], folder: Path) -> list[str]:
    """What is not as it must be, once the shop has closed: in the orders, the gateway's books, the shop's ears."""
    heard = Counter((folder / "heard").read_text().splitlines())
    books = Counter(item.description.rpartition(" [")[0] for item in hammer.gateway.books.list_invoices())
    wrongs = [f"an answer of {answer.status}" for answer in hammer.answers if not answer.is_documented]
    for order_id in order_ids:
        order = hammer.ledger.get(order_id)
        # A reader that was under way when the money came may have seen it before the invoice said so.
        keys = {event.key for event in order.events if event.name is not EventName.CONFIRMING}
        rules = {
            "paid": order.status is OrderStatus.PAID,
            "one order.paid saved": keys == {f"order.paid:{order_id}"},
            "every event done": all(event.state is EventState.DONE for event in order.events),
            "one invoice": books[order_id] == 1 and len(order.invoices) == 1,
        }
        wrongs += [f"{order_id}: not {rule}" for rule, is_kept in rules.items() if not is_kept]
        wrongs += [f"{event.key} was heard {heard[event.key]} times" for event in order.events if heard[event.key] != 1]
    return wrongs


def test_every_order_is_paid_once_and_told_once(database_url, gateway, tmp_path, scale, note_figure):
    """Double submits, then hints, polls, checks and reconcile for the same payment, all at the same moment."""
    name = name_database(database_url)
    order_ids = [f"{name}-{number}" for number in range(scale(8, 500))]
    with hammering(database_url, gateway, tmp_path) as hammer:
        hammer.strike(order_ids)
    assert find_wrongs(hammer, order_ids, tmp_path) == []
    unavailable = sum(answer.status == 503 for answer in hammer.answers)
    done = f"32 clients x {len(order_ids)} orders through 4 workers"
    figure = f"{done}: {len(order_ids)} order.paid, 0 twice; {len(hammer.answers)} answers, {unavailable} of 503"
    note_figure(f"hammer on {name}", figure)


def test_workers_may_be_forked_from_a_shop_that_was_used(postgresql, gateway, tmp_path):
    """gunicorn --preload: what the parent opened to its database and its gateway, the workers leave alone."""
    order_ids = [f"preload-{number}" for number in range(_CROWDS)]
    with hammering(postgresql.make_url(), gateway, tmp_path, "--preload", is_warm=True) as hammer:
        hammer.strike(order_ids)
    assert find_wrongs(hammer, order_ids, tmp_path) == []


def test_a_store_that_reads_then_writes_tells_twice(gateway, tmp_path):
    """Control: two hints race through a store that compares in one step and writes in the next."""

    def arrange_meeting(order_id: str) -> None:
        find_meeting(tmp_path / "meetings", f"order:{order_id}").mkdir(parents=True)

    order_ids = [f"flawed-{number}" for number in range(_CROWDS)]
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    with hammering(url, gateway, tmp_path, "--preload", is_flawed=True) as hammer:
        hammer.submits, hammer.news, hammer.before_news = 1, ("hint", "hint"), arrange_meeting
        hammer.strike(order_ids)
    wrongs = find_wrongs(hammer, order_ids, tmp_path)
    assert wrongs == [f"order.paid:{order_id} was heard 2 times" for order_id in order_ids]
