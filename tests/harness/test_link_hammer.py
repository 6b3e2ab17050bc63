"""32 visitors of one payment link hammer a shop of four worker processes: each transaction is counted once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from flawed_stores import find_meeting
from hammers import Crowd, Gateway, gathering, running_gateway
from link_books import LinkBooks, Telling, read_books
from servers import name_database

from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.engine import SandboxTransaction

pytestmark = [pytest.mark.harness, pytest.mark.process]

TELLINGS = tuple(
    Telling(has_new_addresses=is_new, is_address_told=is_told) for is_new in (True, False) for is_told in (True, False)
)
_NEW_TOLD, _NEW, _SAME_TOLD, _SAME = TELLINGS
# Between them, the databases see each in every run; only a full run has each see all.
NORMAL_TELLINGS = {
    "SQLite": (_NEW_TOLD, _SAME_TOLD),
    "PostgreSQL": (_NEW_TOLD, _SAME),
    "MariaDB": (_NEW, _SAME_TOLD),
}
# Who of a round's visitors sends what. Several send the same amount, and one sends twice to his address.
PAYMENTS = (
    (0, "pay_exact"),
    (1, "pay_exact"),
    (2, "pay_over"),
    (3, "aml_fail"),
    (4, "pay_dust"),
    (5, "aml_unknown"),
    (6, "pay_pending"),
    (7, "pay_pending"),
    (7, "pay_pending"),
    (0, "pay_pending"),
    (1, "pay_pending"),
)
# What becomes of those that are pending; the last one stays so.
STEPS = ("settle", "settle", "flag", "fail")
_VISITORS = 8
_METHODS = 2
_TRIES = 500


@dataclass(frozen=True, slots=True)
class Guest:
    """A visitor who was given an address."""

    reference: str
    invoice_id: str
    address: str


@dataclass(slots=True)
class LinkHammer:
    """A crowd that visits one link and pays there, while its webhooks come eightfold or not at all."""

    crowd: Crowd
    store: OrderStore
    link_id: str

    def strike(self, rounds: int) -> None:
        """Let visitors come and pay, round after round, until the shop has told its handlers everything."""
        for number in range(rounds):
            guests = self._receive(number)
            # In every other round nobody hears of the payments, and in the others of what becomes of them.
            self._pay(guests, is_told=number % 2 == 0)
            self._go_on(guests, is_told=number % 2 == 1)
        self.finish()

    def visit(self, reference: str, *, method: str = "1", submits: int = 2) -> Guest:
        """Send a visitor's form, more than once at the same moment, and then until there is an address."""
        path = f"/donate/{self.link_id}/{reference}"
        for _ in range(_TRIES):
            answers = [answer.json() for answer in self._submit(path, method, submits) if answer.status_code == 200]
            for answer in answers:
                if answer["address"]:
                    return Guest(reference, answer["invoice_id"], answer["address"])
        raise AssertionError(f"{reference} was given no address in {_TRIES} tries")

    def _submit(self, path: str, method: str, submits: int) -> list:
        call = partial(self.crowd.request, "POST", path, method=method)
        return [call()] if submits == 1 else self.crowd.rush([call] * submits)

    def _receive(self, number: int) -> list[Guest]:
        """Let a round's visitors come at the same moment, each with a double submit."""
        names = [f"{self.link_id}-{number}-{visitor}" for visitor in range(_VISITORS)]
        methods = [str(1 + visitor % _METHODS) for visitor in range(_VISITORS)]
        forms = list(zip(names, methods, strict=True)) * 2
        self.crowd.rush(
            [
                partial(self.crowd.request, "POST", f"/donate/{self.link_id}/{name}", method=method)
                for name, method in forms
            ]
        )
        return [self.visit(name, method=method, submits=1) for name, method in zip(names, methods, strict=True)]

    def _pay(self, guests: Sequence[Guest], *, is_told: bool) -> None:
        """Have all of them pay while they look at their pages, and then bring the news."""
        payments = [
            partial(self.crowd.act, guests[payer].invoice_id, action, address=guests[payer].address)
            for payer, action in PAYMENTS
        ]
        self.crowd.rush([*payments, *self._looks(guests), *(self._hints(guests, 4) if is_told else [])])
        self._rush_news(guests, is_told=is_told)

    def _go_on(self, guests: Sequence[Guest], *, is_told: bool) -> None:
        """Have what is pending come to its end, and bring the news of it."""
        pending = [item for item in self._list_transactions(guests) if item.state == "pending"]
        steps = [
            partial(self.crowd.act, item.invoice_id, step, transaction_id=item.transaction_id)
            for item, step in zip(pending, STEPS, strict=False)
        ]
        self.crowd.rush([*steps, *self._looks(guests), *(self._hints(guests, 4) if is_told else [])])
        self._rush_news(guests, is_told=is_told)

    def _rush_news(self, guests: Sequence[Guest], *, is_told: bool) -> None:
        """The same webhook many times, polls and reconcile, all at the same moment."""
        hints = self._hints(guests, 16) if is_told else []
        self.crowd.rush([*hints, *self._looks(guests), *[self._reconcile] * 4])

    def _looks(self, guests: Sequence[Guest]) -> list:
        return [partial(self.crowd.request, "GET", f"/donate/{guest.reference}") for guest in guests]

    def _hints(self, guests: Sequence[Guest], count: int) -> list:
        return [partial(self.crowd.hint, guests[number % len(guests)].invoice_id) for number in range(count)]

    def _reconcile(self) -> object:
        return self.crowd.request("POST", "/reconcile")

    def _list_transactions(self, guests: Sequence[Guest]) -> list[SandboxTransaction]:
        invoices = [self.crowd.gateway.books.get(invoice_id) for invoice_id in {guest.invoice_id for guest in guests}]
        return [item for invoice in invoices if invoice for item in invoice.transactions]

    def read(self) -> LinkBooks:
        """Read what shop and gateway have written down."""
        return read_books(self.store, self.crowd.gateway.books.list_invoices(), self.link_id)

    def finish(self) -> None:
        """Bring a last webhook, and reconcile until nothing is left to do."""
        self.crowd.hint(self.read().invoices[0].invoice_id)
        for _ in range(_TRIES):
            if not self.read().find_open_ends():
                return
            self._reconcile()
        raise AssertionError(f"not finished after {_TRIES} rounds: {self.read().find_open_ends()}")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The sandbox, for all tests of this file."""
    with running_gateway(tmp_path_factory.mktemp("gateway") / "sandbox.sqlite3") as gateway:
        yield gateway


@contextmanager
def hammering(url: str, gateway: Gateway, folder: Path, *options: str, **arguments: object) -> Iterator[Crowd]:
    """Serve a shop by four processes until the block ends, whose pages may read the gateway every second."""
    SQLAlchemyStore(url, create_tables=True)
    with gathering(url, gateway, folder, *options, sync_seconds=1, **arguments) as crowd:
        yield crowd


def find_wrongs(hammers: dict[str, tuple[LinkHammer, Telling]], folder: Path) -> list[str]:
    """What is not as it must be, once the shop has closed: in its links, the gateway's books, the shop's ears."""
    heard = Counter((folder / "heard").read_text().splitlines())
    wrongs = [wrong for hammer, telling in hammers.values() for wrong in hammer.read().find_wrongs(heard, telling)]
    # Nobody died, so nobody had to be told again.
    return wrongs + [f"{key} was heard {count} times" for key, count in heard.items() if count > 1]


def test_every_transaction_is_counted_once_and_told_once(database_url, gateway, tmp_path, scale, note_figure):
    """Double submits, payments, webhooks eightfold or none, polls and reconcile, all at the same moment."""
    name = name_database(database_url)
    rounds, tellings = scale(2, 24), NORMAL_TELLINGS[name] if scale(1, 0) else TELLINGS
    with hammering(database_url, gateway, tmp_path) as crowd:
        hammers = {}
        for telling in tellings:
            link_id = f"{name}-{telling}".replace(" ", "-")
            hammers[link_id] = (LinkHammer(crowd, SQLAlchemyStore(database_url), link_id), telling)
            crowd.switch(**telling.settings)
            hammers[link_id][0].strike(rounds)
    assert crowd.find_undocumented() == []
    assert find_wrongs(hammers, tmp_path) == []
    books = [hammer.read() for hammer, _ in hammers.values()]
    sent = sum(len(book.transactions) for book in books)
    received = sum(book.received for book in books)
    strikes = len(tellings) * rounds
    assert (sent, received) == (strikes * len(PAYMENTS), strikes * 5)
    done = f"{strikes * _VISITORS} visitors, {sent} transactions through 4 workers"
    counted = f"{received} of {received} settled ones received, 0 twice, 0 lost, 0 extra"
    note_figure(
        f"hammer on links, {name}", f"{done}: {counted}; {len(crowd.answers)} answers, {crowd.unavailable} of 503"
    )


def test_a_store_that_reads_then_writes_tells_twice(gateway, tmp_path):
    """Control: two webhooks race through a store that compares in one step and writes in the next."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    with hammering(url, gateway, tmp_path, "--preload", flaw="reads, then writes") as crowd:
        hammer = LinkHammer(crowd, SQLAlchemyStore(url), "flawed")
        guest = hammer.visit("alone", submits=1)
        crowd.act(guest.invoice_id, "pay_pending", address=guest.address)
        crowd.hint(guest.invoice_id)
        (contribution,) = hammer.read().contributions
        crowd.act(guest.invoice_id, "settle")
        for key in ("link:flawed", f"contribution:{contribution.contribution_id}"):
            find_meeting(tmp_path / "meetings", key).mkdir(parents=True)
        crowd.rush([partial(crowd.hint, guest.invoice_id)] * 2)
    (wrong,) = find_wrongs({"flawed": (hammer, _NEW)}, tmp_path)
    assert wrong == f"link.payment_received:{contribution.contribution_id} was heard 2 times"


def test_a_shop_that_tells_payments_by_their_amount_loses_some(gateway, tmp_path):
    """Control: where transactions of one amount are taken for one, the books show which are missing."""
    url = f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    with hammering(url, gateway, tmp_path, "--preload", flaw="keyed by amount") as crowd:
        crowd.switch(**_NEW_TOLD.settings)
        hammer = LinkHammer(crowd, SQLAlchemyStore(url), "amounts")
        hammer.strike(1)
    wrongs = find_wrongs({"amounts": (hammer, _NEW_TOLD)}, tmp_path)
    assert sum(wrong.startswith("lost: ") for wrong in wrongs) == len(PAYMENTS)
