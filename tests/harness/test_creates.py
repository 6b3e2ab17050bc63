"""However often a customer submits, and wherever a create is cut short, there are never two invoices to pay.

An invoice is payable once its address was given out, and the sandbox knows which were. Submits meet in threads; crashes
are thrown at every step on the wire and in the store, by what no code catches.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from broken_gateways import HastyGateway
from trades import METHOD_ID, Bank, Trade, find_double_invoices, find_wrongs, make_client, make_trade
from worlds import Timepiece

from flask_iterapay.errors import GatewayError, StoreUnavailableError
from flask_iterapay.orders.gateway import Gateway
from flask_iterapay.orders.models import OrderStatus
from flask_iterapay.orders.stores.base import OrderStore, Record
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.transport import SandboxTransport

pytestmark = [pytest.mark.harness]

SUBMITS = 8
# Longer than a claim and than an intent, and than every pause of an order that was not reached.
LATER_SECONDS = 700
PATIENCE_SECONDS = 60
# Before and after each: methods, intent, create, id, claim, invoice, address, result.
STEPS = 16
MakeGateway = Callable[[Gateway], Gateway]
Resume = Callable[[Trade, str], object]


def leave(gateway: Gateway) -> Gateway:
    """Take a gateway as it is."""
    return gateway


class CrashError(BaseException):
    """The process dies here: nothing catches it."""


@dataclass
class Steps:
    """Counts what passes on the wire and in the store; at step ``fatal`` it throws ``error`` instead of going on.

    Each request and each write is two steps: before it took effect, and after.
    """

    fatal: int | None = None
    error: Callable[[bool], BaseException] = lambda is_on_wire: CrashError()
    count: int = 0

    def take(self, *, is_on_wire: bool) -> None:
        """Pass one step, or fail at it."""
        self.count += 1
        if self.count - 1 == self.fatal:
            raise self.error(is_on_wire)

    @property
    def has_failed(self) -> bool:
        """Whether the fatal step was reached."""
        return self.fatal is not None and self.count > self.fatal


class SteppedTransport(httpx.BaseTransport):
    """Counts requests, before and after."""

    def __init__(self, inner: httpx.BaseTransport, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, or fail."""
        self._steps.take(is_on_wire=True)
        answer = self._inner.handle_request(request)
        self._steps.take(is_on_wire=True)
        return answer


class SteppedStore:
    """Counts writes, before and after."""

    def __init__(self, inner: OrderStore, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def add(self, record: Record) -> None:
        """Add, or fail."""
        self._steps.take(is_on_wire=False)
        self._inner.add(record)
        self._steps.take(is_on_wire=False)

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Save, or fail."""
        self._steps.take(is_on_wire=False)
        is_saved = self._inner.save(record, expected_version=expected_version)
        self._steps.take(is_on_wire=False)
        return is_saved


class CheckingStore:
    """Reads a version and then writes, as if the two were one step: a double click meets in between.

    ``meet`` is called there, so that the race is lost every time and not by luck.
    """

    def __init__(self, inner: OrderStore, meet: Callable[[Record], object]) -> None:
        self._inner = inner
        self._meet = meet

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Check, wait for the others, and write whatever is there by then."""
        stored = self._inner.get(record.key)
        if stored is None or stored.version != expected_version:
            return False
        self._meet(record)
        while stored := self._inner.get(record.key):
            if self._inner.save(record, expected_version=stored.version):
                return True
        return False


class Rendezvous:
    """Lets so many writers go on together; those who come later pass."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._barriers: dict[str, threading.Barrier] = {}
        self._numbers: dict[str, itertools.count[int]] = {}
        self._lock = threading.Lock()

    def meet(self, record: Record) -> None:
        """Wait for the others who write this record for the first time."""
        with self._lock:
            barrier = self._barriers.setdefault(record.key, threading.Barrier(self._parties))
            number = next(self._numbers.setdefault(record.key, itertools.count()))
        if number < self._parties:
            barrier.wait(PATIENCE_SECONDS)


def open_trade(
    folder: Path, store: OrderStore, *, steps: Steps | None = None, make_gateway: MakeGateway = leave
) -> Trade:
    """Open a shop whose gateway is in the same process; with ``steps``, wire and store count them."""
    clock = Timepiece()
    bank = Bank(folder, clock)
    return reopen(bank, clock, store, steps=steps, make_gateway=make_gateway)


def reopen(
    bank: Bank,
    clock: Timepiece,
    store: OrderStore,
    *,
    steps: Steps | None = None,
    make_gateway: MakeGateway = leave,
) -> Trade:
    """Open another process of a shop."""
    transport: httpx.BaseTransport = SandboxTransport(bank.app)
    if steps is not None:
        transport, store = SteppedTransport(transport, steps), SteppedStore(store, steps)
    gateway = make_gateway(make_client("https://sandbox.invalid", transport=transport))
    return make_trade(store=store, gateway=gateway, bank=bank, clock=clock)


def name_of(database_url: str) -> str:
    """Name the database for the table of figures."""
    name = database_url.partition(":")[0].partition("+")[0]
    return "mariadb" if name == "mysql" else name


def submit_at_once(trade: Trade, order_id: str, pool: ThreadPoolExecutor) -> None:
    """Have so many threads choose the same method for the same order in the same moment."""
    barrier = threading.Barrier(SUBMITS)

    def submit(_: int) -> None:
        barrier.wait(PATIENCE_SECONDS)
        trade.buy(order_id)

    list(pool.map(submit, range(SUBMITS), timeout=PATIENCE_SECONDS))


def count_invoices_of_double_submits(trade: Trade, order_ids: list[str]) -> int:
    """Submit every order many times at once; return how many invoices were made for all of them."""
    with ThreadPoolExecutor(SUBMITS) as pool:
        for order_id in order_ids:
            submit_at_once(trade, order_id, pool)
    return sum(len(trade.bank.list_invoices(order_id)) for order_id in order_ids)


def test_submits_at_the_same_time_make_one_invoice(tmp_path, database_url, scale, note_figure):
    """Of all threads that choose at once, one makes the invoice, and every order can be paid by it."""
    trade = open_trade(tmp_path, SQLAlchemyStore(database_url, create_tables=True))
    order_ids = [f"order-{number}" for number in range(scale(10, 150))]
    made = count_invoices_of_double_submits(trade, order_ids)
    payable = [len(trade.bank.list_payable(order_id)) for order_id in order_ids]
    assert (made, set(payable)) == (len(order_ids), {1})
    note_figure(
        f"double submits, {name_of(database_url)}", f"{len(order_ids)} orders x {SUBMITS} at once: {made} invoices"
    )


def test_submits_at_the_same_time_survive_lost_answers(tmp_path, database_url, scale):
    """While every third answer to a create is lost, more invoices are made, but never two that can be paid."""
    numbers = itertools.count()

    def lose(request: httpx.Request) -> bool:
        return request.method == "POST" and request.url.path.endswith("/invoices") and next(numbers) % 3 == 0

    clock = Timepiece()
    bank = Bank(tmp_path, clock)
    transport = LosingTransport(SandboxTransport(bank.app), lose)
    store = SQLAlchemyStore(database_url, create_tables=True)
    client = make_client("https://sandbox.invalid", transport=transport)
    trade = make_trade(store=store, gateway=client, bank=bank, clock=clock)
    order_ids = [f"order-{number}" for number in range(scale(6, 150))]
    with ThreadPoolExecutor(SUBMITS) as pool:
        for order_id in order_ids:
            try:
                submit_at_once(trade, order_id, pool)
            except GatewayError:
                trade.buy(order_id)
    assert [wrong for order_id in order_ids for wrong in find_double_invoices(bank, order_id)] == []
    assert {len(bank.list_payable(order_id)) for order_id in order_ids} == {1}
    assert sum(len(bank.list_invoices(order_id)) for order_id in order_ids) > len(order_ids)


class LosingTransport(httpx.BaseTransport):
    """Loses the answers that it is told to; the requests take effect."""

    def __init__(self, inner: httpx.BaseTransport, is_lost: Callable[[httpx.Request], bool]) -> None:
        self._inner = inner
        self._is_lost = is_lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, unless the answer is lost."""
        answer = self._inner.handle_request(request)
        if self._is_lost(request):
            raise httpx.ReadTimeout("the answer was lost", request=request)
        return answer


def lose_answer(is_on_wire: bool) -> BaseException:
    """Fail as a wire and a store do that may have done what was asked, or not."""
    return httpx.ReadTimeout("nobody knows") if is_on_wire else StoreUnavailableError("nobody knows")


RESUMES: dict[str, Resume] = {
    "page": lambda trade, order_id: trade.service.check(order_id),
    "poll": lambda trade, order_id: trade.service.poll(order_id),
    "reconcile": lambda trade, order_id: trade.service.reconcile(),
}


def cut_short_everywhere(
    folder: Path,
    store: OrderStore,
    resumes: Sequence[Resume],
    *,
    name: str = "order",
    error: Callable[[bool], BaseException] = lambda is_on_wire: CrashError(),
    make_gateway: MakeGateway = leave,
) -> tuple[int, list[str]]:
    """Cut a choice short at its first step, at its second, and so on, and finish each; return steps and wrongs.

    Whoever goes on afterwards takes turns: one of ``resumes`` for each step.
    """
    clock = Timepiece()
    bank = Bank(folder, clock)
    wrongs: list[str] = []
    for number in itertools.count():
        steps, order_id = Steps(fatal=number, error=error), f"{name}-{number}"
        survivor = reopen(bank, clock, store, make_gateway=make_gateway)
        survivor.service.place(order_id, amount="25.00")
        with suppress(CrashError, GatewayError, StoreUnavailableError):
            trade = reopen(bank, clock, store, steps=steps, make_gateway=make_gateway)
            trade.service.choose_method(order_id, METHOD_ID)
        clock.advance(LATER_SECONDS)
        wrongs += finish(survivor, order_id, resumes[number % len(resumes)])
        if not steps.has_failed:
            return number, wrongs
    raise AssertionError("a choice has no end")


def finish(trade: Trade, order_id: str, resume: Resume) -> list[str]:
    """Resume what was cut short, submit once more, and pay; tell what is wrong with the order then."""
    resume(trade, order_id)
    wrongs = find_double_invoices(trade.bank, order_id)
    order = trade.buy(order_id)
    if order.status is not OrderStatus.AWAITING_PAYMENT or order.current_invoice_id is None:
        return [*wrongs, f"{order_id} cannot be paid: {order.status}"]
    trade.bank.pay(order.current_invoice_id)
    trade.service.receive_hint(order.current_invoice_id)
    trade.service.dispatch(order_id)
    return [*wrongs, *find_wrongs(trade, order_id, is_paid=True)]


@pytest.mark.parametrize("error", [lambda is_on_wire: CrashError(), lose_answer], ids=["crash", "lost answer"])
@pytest.mark.parametrize("resume", RESUMES)
def test_a_choice_may_be_cut_short_at_any_step(tmp_path, resume, error):
    """Whoever goes on afterwards, the order ends with one payable invoice, and paid once."""
    steps, wrongs = cut_short_everywhere(tmp_path, MemoryStore(), [RESUMES[resume]], error=error)
    assert (steps, wrongs) == (STEPS, [])


def test_a_choice_may_be_cut_short_on_every_database(tmp_path, database_url, scale, note_figure):
    """The same holds where orders are kept for good; a full run has each way to go on take up each step."""
    store = SQLAlchemyStore(database_url, create_tables=True)
    ways = list(RESUMES.values())
    for turn in range(scale(1, len(ways))):
        resumes = [*ways[turn:], *ways[:turn]]
        steps, wrongs = cut_short_everywhere(tmp_path / str(turn), store, resumes, name=f"order-{turn}")
        assert (steps, wrongs) == (STEPS, [])
    note_figure(f"crashes around create, {name_of(database_url)}", f"at each of {STEPS} steps: never two to pay")


def test_the_double_submits_find_a_store_that_checks_and_then_writes(tmp_path):
    """Where reading the version and writing are two steps, submits at once make more invoices than there are orders."""
    store = CheckingStore(MemoryStore(), Rendezvous(SUBMITS).meet)
    order_ids = [f"order-{number}" for number in range(3)]
    assert count_invoices_of_double_submits(open_trade(tmp_path, store), order_ids) > len(order_ids)


def test_a_store_that_checks_and_then_writes_gives_two_people_something_to_pay(tmp_path):
    """A submit that was overtaken between check and write undoes the invoice of the one that overtook it."""
    clock = Timepiece()
    bank = Bank(tmp_path, clock)
    memory = MemoryStore()
    overtaking = make_once(lambda: reopen(bank, clock, memory).buy("order-1"))
    trade = reopen(bank, clock, CheckingStore(memory, lambda record: overtaking()))
    trade.buy("order-1")
    assert find_double_invoices(bank, "order-1") == ["order-1: 2 payable invoices"]


def make_once(call: Callable[[], object]) -> Callable[[], None]:
    """Make a function that calls another the first time."""
    calls = iter([call])

    def call_once() -> None:
        for first in calls:
            first()

    return call_once


def test_the_crashes_find_addresses_that_are_asked_for_too_early(tmp_path):
    """Where the address is given out before the id is saved, a crash in between leaves two invoices to pay."""
    _, wrongs = cut_short_everywhere(tmp_path, MemoryStore(), [RESUMES["reconcile"]], make_gateway=HastyGateway)
    assert any("2 payable invoices" in wrong for wrong in wrongs)
