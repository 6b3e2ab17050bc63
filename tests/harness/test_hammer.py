"""32 clients hammer a shop of four worker processes over HTTP: each order is paid once, and told once."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
from flawed_stores import find_meeting
from hammers import CLIENTS, PATIENCE_SECONDS, Crowd, Gateway, gathering, running_gateway
from servers import name_database

from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventName, EventState, Order, OrderStatus
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

pytestmark = [pytest.mark.harness, pytest.mark.process]

_CROWD = 8  # clients that do the same order harm at the same moment
_CROWDS = CLIENTS // _CROWD  # orders that this happens to at once
_POLLS = 500


_ROUTES = {
    "place": ("POST", "{page}"),
    "choose": ("POST", "{page}"),
    "page": ("GET", "{page}"),
    "poll": ("GET", "{page}/status"),
    "check": ("POST", "{page}/check"),
    "reconcile": ("POST", "/reconcile"),
}


@dataclass(slots=True)
class Hammer:
    """A crowd that buys. ``submits`` clients place and choose at once; ``news`` is what races for a payment."""

    crowd: Crowd
    ledger: Ledger
    submits: int = _CROWD
    news: tuple[str, ...] = ("hint", "hint", "hint", "poll", "poll", "page", "check", "reconcile")
    before_news: Callable[[str], object] = lambda order_id: None

    def strike(self, order_ids: Sequence[str]) -> None:
        """Have every order placed, paid and told, several at once."""
        with ThreadPoolExecutor(_CROWDS) as crowds:
            list(crowds.map(self._strike, order_ids, timeout=PATIENCE_SECONDS * len(order_ids)))

    def _strike(self, order_id: str) -> None:
        page = self._rush(["place"] * self.submits, f"/orders/{order_id}")[0].text
        self._rush(["choose"] * self.submits, page)
        invoice_id = self._poll(order_id, page, OrderStatus.AWAITING_PAYMENT).current_invoice_id
        self.crowd.act(str(invoice_id), "pay_exact")
        self.before_news(order_id)
        self._rush(self.news, page, str(invoice_id))
        self._poll(order_id, page, OrderStatus.PAID)

    def _rush(self, kinds: Sequence[str], page: str, invoice_id: str = "") -> list[httpx.Response]:
        """Send these requests at the same moment."""
        return self.crowd.rush([partial(self._send, kind, page, invoice_id) for kind in kinds])

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
            return self.crowd.hint(invoice_id)
        verb, path = _ROUTES[kind]
        data = {"method": "1"} if verb == "POST" else {}
        return self.crowd.request(verb, path.format(page=page), **data)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The sandbox, for all tests of this file."""
    with running_gateway(tmp_path_factory.mktemp("gateway") / "sandbox.sqlite3") as gateway:
        yield gateway


@contextmanager
def hammering(url: str, gateway: Gateway, folder: Path, *options: str, **arguments: object) -> Iterator[Hammer]:
    """Serve the shop by four processes until the block ends, with 32 clients at its door."""
    store = SQLAlchemyStore(url, create_tables=True)
    with gathering(url, gateway, folder, *options, **arguments) as crowd:
        yield Hammer(crowd, Ledger(store=store, model=Order))


def find_wrongs(hammer: Hammer, order_ids: Sequence[str], folder: Path) -> list[str]:
    """What is not as it must be, once the shop has closed: in the orders, the gateway's books, the shop's ears."""
    heard = Counter((folder / "heard").read_text().splitlines())
    books = Counter(item.description.rpartition(" [")[0] for item in hammer.crowd.gateway.books.list_invoices())
    wrongs = hammer.crowd.find_undocumented()
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
    answers, unavailable = len(hammer.crowd.answers), hammer.crowd.unavailable
    done = f"32 clients x {len(order_ids)} orders through 4 workers"
    figure = f"{done}: {len(order_ids)} order.paid, 0 twice; {answers} answers, {unavailable} of 503"
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
    with hammering(url, gateway, tmp_path, "--preload", flaw="reads, then writes") as hammer:
        hammer.submits, hammer.news, hammer.before_news = 1, ("hint", "hint"), arrange_meeting
        hammer.strike(order_ids)
    wrongs = find_wrongs(hammer, order_ids, tmp_path)
    assert wrongs == [f"order.paid:{order_id} was heard 2 times" for order_id in order_ids]
