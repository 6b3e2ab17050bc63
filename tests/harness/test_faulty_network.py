"""Between shop, gateway and database everything that a network can do goes wrong, and every order comes out right.

Real connections on loopback lead through a proxy that resets, swallows, truncates, dribbles, stalls and garbles, by a
seeded plan. The customer's money is real throughout: the panel of the sandbox is reached without any proxy.
"""

import itertools
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from broken_gateways import HastyGateway, RetryingGateway
from proxy import HOST, FaultKind, Plan, Proxy, TcpFault, garble, make_plan
from servers import serving
from trades import Bank, Timed, Trade, find_wrongs, make_client, make_trade
from worlds import Timepiece

from flask_iterapay.errors import IteraPayError
from flask_iterapay.orders.gateway import Gateway
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.transport import SandboxTransport

pytestmark = [pytest.mark.harness]

# Short, so that what stalls is soon given up. A busy machine makes more time-outs of it, which are faults like others.
IMPATIENT = {"connect_timeout_seconds": 1.0, "read_timeout_seconds": 0.3, "deadline_seconds": 1.0}
# The deadline may be overrun by one silence; the rest is for a machine that is busy with something else.
GATEWAY_SECONDS = 1.0 + 0.3 + 5
# The store's own patience, which a last attempt may overrun by its time-out.
STORE_SECONDS = 15 + 1 + 5
# The first two connections of a store in one thread: that for reads, where nothing is committed, and that for writes.
OWN = (0, 1)
COMMITS = {"postgresql": b"COMMIT\x00", "mariadb": b"\x03COMMIT"}
# Drivers tell no time-out of their own to a silent server unless they are asked to. libpq has none to ask for, so a
# stall of PostgreSQL is not tried: it ends when the network's own patience does.
DRIVER_SECONDS = {"postgresql": {}, "mariadb": {"connect_timeout": "1", "read_timeout": "1", "write_timeout": "1"}}
GATEWAY_FAULTS = [TcpFault(kind=kind) for kind in FaultKind]
# What garbles TCP without being noticed garbles records too, which neither protocol has a checksum against; and what
# dribbles ends no connection, so that a pool would keep it and meet no other fault.
DATABASE_KINDS = [FaultKind.REFUSE, FaultKind.RESET_UP, FaultKind.RESET_DOWN, FaultKind.TRUNCATE]
SEED = 20260115
ORDERS = 10


@dataclass
class Campaign:
    """A trade over failing networks, another that goes on once they have healed, and what came of both."""

    trade: Trade
    survivor: Trade
    proxies: tuple[Proxy, ...]
    stopwatches: dict[float, Timed]
    paid: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Do what may fail, but in no other way than is promised: any foreign error ends the test."""
        try:
            return call(*arguments)
        except IteraPayError as error:
            self.errors[type(error).__name__] += 1
            return None

    def run(self, order_ids: list[str]) -> None:
        """Sell everything while the network fails, then heal it and finish; every fifth customer never pays."""
        service = self.trade.service
        for number, order_id in enumerate(order_ids):
            for _ in range(3):
                self.attempt(self.trade.buy, order_id)
                self.trade.clock.advance(5)
            if number % 5 != 4:
                self.pay(order_id)
            self.attempt(service.poll, order_id)
            self.trade.clock.advance(20)
            self.attempt(service.reconcile)
        for proxy in self.proxies:
            proxy.heal()
        self.trade = self.survivor
        self.trade.clock.advance(700)
        for number, order_id in enumerate(order_ids):
            if order_id not in self.paid:
                self.trade.buy(order_id)
            if number % 5 != 4 and order_id not in self.paid:
                self.pay(order_id)
        self.trade.finish()

    def pay(self, order_id: str) -> None:
        """Pay what the page shows, and have the gateway tell of it; a page without an address cannot be paid."""
        order = self.attempt(self.trade.service.check, order_id)
        if order and order.current_invoice and order.current_invoice.address:
            self.trade.bank.pay(order.current_invoice_id)
            self.paid.append(order_id)
            self.attempt(self.trade.service.receive_hint, order.current_invoice_id)
            self.attempt(self.trade.service.dispatch, order_id)

    def find_wrongs(self, order_ids: list[str]) -> list[str]:
        """Tell of every order that is not as it should be, and of every call that took too long."""
        wrongs = [find_wrongs(self.trade, order_id, is_paid=order_id in self.paid) for order_id in order_ids]
        late = [
            f"a call took {watch.longest_seconds:.1f} of {seconds} seconds"
            for seconds, watch in self.stopwatches.items()
            if watch.longest_seconds > seconds
        ]
        return [*itertools.chain.from_iterable(wrongs), *late]


@contextmanager
def campaigning(
    folder: Path,
    *,
    store: OrderStore,
    gateway_plan: Plan,
    database: Proxy | None = None,
    make_gateway: Callable[[Gateway], Gateway] = lambda gateway: gateway,
) -> Iterator[Campaign]:
    """Serve a sandbox over HTTP, and lead a shop to it through a proxy."""
    clock = Timepiece()
    bank = Bank(folder, clock)
    with ExitStack() as stack:
        port = int(stack.enter_context(serving(bank.app)).rpartition(":")[2])
        proxy = stack.enter_context(Proxy(port))
        base_url = f"http://{HOST}:{proxy.port}"
        hasty = stack.enter_context(closing(make_client(base_url, **IMPATIENT)))
        patient = stack.enter_context(closing(make_client(base_url)))
        # The shop has been open for a while: without any list of methods, nobody could choose for half a minute.
        hasty.list_payment_methods()
        proxy.plan = gateway_plan
        timed_client, timed_store = Timed(hasty), Timed(store)
        trade = make_trade(store=timed_store, gateway=make_gateway(timed_client), bank=bank, clock=clock)
        survivor = make_trade(store=store, gateway=patient, bank=bank, clock=clock, handled=trade.handled)
        watches = {STORE_SECONDS: timed_store, GATEWAY_SECONDS: timed_client}
        yield Campaign(trade, survivor, (proxy, database) if database else (proxy,), watches)


@contextmanager
def leading_to(kind: str, url: str, plan: Plan) -> Iterator[tuple[Proxy, SQLAlchemyStore]]:
    """Lead a store to its database through a proxy, which lets it make its tables undisturbed."""
    parts = sqlalchemy.make_url(url)
    assert parts.port is not None
    with Proxy(parts.port) as proxy:
        through = parts.set(port=proxy.port).update_query_dict(DRIVER_SECONDS[kind])
        SQLAlchemyStore(url, create_tables=True)
        store = SQLAlchemyStore(through.render_as_string(hide_password=False))
        proxy.plan = plan
        yield proxy, store


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> tuple[str, Callable[[], str]]:
    """The name of a database server, and what makes a new, empty database on it and returns the URL."""
    return request.param, request.getfixturevalue(request.param).make_url


def plan_for_database(seed: int, kind: str) -> Plan:
    """Every connection to the database fails sooner or later, many in the very commit."""
    kinds = DATABASE_KINDS * 2 + ([FaultKind.STALL] if DRIVER_SECONDS[kind] else [])
    swallows = [TcpFault(kind=FaultKind.SWALLOW, trigger=COMMITS[kind], after=after) for after in range(4)]
    return make_plan(seed, [*(TcpFault(kind=kind) for kind in kinds), *swallows], share=1, up_to=10_000)


def test_every_order_is_right_after_the_network_has_failed(tmp_path, server, scale, note_figure):
    """Whatever the proxies did, each paid order is paid once, and nobody could have paid for one order twice."""
    kind, make_url = server
    order_ids = [f"order-{number}" for number in range(ORDERS)]
    rounds, faults = scale(1, 20), 0
    for number in range(rounds):
        seed = SEED + number
        gateway_plan = make_plan(seed, GATEWAY_FAULTS, share=0.4, up_to=400)
        with (
            leading_to(kind, make_url(), plan_for_database(seed, kind)) as (database, store),
            campaigning(tmp_path / str(number), store=store, gateway_plan=gateway_plan, database=database) as campaign,
        ):
            campaign.run(order_ids)
            assert campaign.find_wrongs(order_ids) == [], seed
            assert len(campaign.paid) == ORDERS * 4 // 5
        assert all(proxy.struck for proxy in campaign.proxies), seed
        faults += sum(proxy.struck.total() for proxy in campaign.proxies)
    assert faults > rounds * ORDERS
    note_figure(
        f"faults of the network between shop, gateway and {kind}",
        f"{faults} faults, {rounds * ORDERS} orders, 0 lost, 0 paid twice",
    )


def test_a_commit_whose_answer_is_lost_is_harmless_wherever_it_is(tmp_path, server, note_figure):
    """Cut off after the first commit of an order's life, after the second, and so on, the order comes out right."""
    kind, make_url = server
    url, clock = make_url(), Timepiece()
    bank = Bank(tmp_path, clock)
    gateway = make_client("https://sandbox.invalid", transport=SandboxTransport(bank.app))
    told = 0
    for number in itertools.count():
        lost = TcpFault(kind=FaultKind.SWALLOW, trigger=COMMITS[kind], after=number)
        with leading_to(kind, url, lambda connection, lost=lost: lost if connection in OWN else None) as (
            database,
            store,
        ):
            trade = make_trade(store=store, gateway=gateway, bank=bank, clock=clock)
            campaign = Campaign(trade, trade, (database,), {})
            campaign.run([f"order-{number}"])
            assert campaign.find_wrongs([f"order-{number}"]) == []
        if not database.struck:
            break
        # What reconcile meets it counts itself, and goes on.
        assert set(campaign.errors) <= {"StoreUnavailableError"}
        told += campaign.errors.total()
    assert number > 8
    assert told > number / 2
    note_figure(f"commits whose answer was lost, {kind}", f"each of the {number} in an order's life: 0 lost, 0 twice")


@pytest.mark.parametrize(
    ("make_gateway", "wrong"),
    [(RetryingGateway, "was sent 2 times"), (HastyGateway, "2 payable invoices")],
)
def test_the_campaign_finds_a_broken_gateway(tmp_path, make_gateway, wrong):
    """Creates that are sent again blindly, and addresses that are asked for too early, do not pass."""
    order_ids = [f"order-{number}" for number in range(ORDERS)]
    plan = make_plan(SEED, GATEWAY_FAULTS, share=0.4, up_to=400)
    with campaigning(tmp_path, store=MemoryStore(), gateway_plan=plan, make_gateway=make_gateway) as campaign:
        campaign.run(order_ids)
        assert any(wrong in found for found in campaign.find_wrongs(order_ids))


QUESTION, ANSWER = b"what is it?", bytes(range(65, 90)) * 4


class Answering(socketserver.BaseRequestHandler):
    """Answers whatever it is asked, once the question is complete; the server's ``heard`` is what it heard."""

    def handle(self) -> None:
        heard = b""
        while len(heard) < len(QUESTION) and (data := self.request.recv(1024)):
            heard += data
        self.server.heard.append(heard)
        if heard == QUESTION:
            self.request.sendall(ANSWER)


@contextmanager
def answering() -> Iterator[Any]:
    """Run an answering server."""
    with socketserver.ThreadingTCPServer((HOST, 0), Answering) as server:
        server.heard = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(port: int, *, run_when_silent: Callable[[], object] | None = None) -> tuple[bytes, str]:
    """Ask through a proxy; return what came, and how the connection ended."""
    got = b""
    with socket.socket() as client:
        client.settimeout(0.2 if run_when_silent else 10)
        try:
            client.connect((HOST, port))
            client.sendall(QUESTION)
            while data := client.recv(1024):
                got += data
        except ConnectionError:
            return got, "reset"
        except TimeoutError:
            assert run_when_silent is not None
            assert got == b""
            run_when_silent()
            client.settimeout(10)
            return client.recv(1024), "released"
    return got, "closed"


@pytest.mark.parametrize(
    ("fault", "heard", "got", "end"),
    [
        (None, QUESTION, ANSWER, "closed"),
        (TcpFault(kind=FaultKind.REFUSE), None, b"", "reset"),
        (TcpFault(kind=FaultKind.RESET_UP, after=4), QUESTION[:4], b"", "reset"),
        (TcpFault(kind=FaultKind.RESET_DOWN, after=10), QUESTION, ANSWER[:10], "reset"),
        (TcpFault(kind=FaultKind.SWALLOW), QUESTION, b"", "reset"),
        (TcpFault(kind=FaultKind.SWALLOW, trigger=b"is"), QUESTION, b"", "reset"),
        (TcpFault(kind=FaultKind.SWALLOW, trigger=b"is", after=1), QUESTION, ANSWER, "closed"),
        (TcpFault(kind=FaultKind.TRUNCATE, after=10), QUESTION, ANSWER[:10], "closed"),
        (TcpFault(kind=FaultKind.DRIBBLE), QUESTION, ANSWER, "closed"),
        (TcpFault(kind=FaultKind.GARBLE, after=10), QUESTION, ANSWER[:10] + garble(ANSWER[10:]), "closed"),
    ],
    ids=str,
)
def test_each_fault_of_the_proxy_really_happens(fault, heard, got, end):
    """What the server heard, what the client got and how it ended are what the fault says."""
    with answering() as server, Proxy(server.server_address[1], lambda number: fault) as proxy:
        began_at = time.monotonic()
        assert ask(proxy.port) == (got, end)
        seconds = time.monotonic() - began_at
    assert server.heard == ([] if heard is None else [heard])
    has_struck = fault is not None and not (fault.trigger and fault.after)
    assert proxy.struck == ({fault.kind: 1} if has_struck else {})
    assert seconds >= (len(ANSWER) * fault.pause_seconds if fault and fault.kind is FaultKind.DRIBBLE else 0)


def test_a_stalled_answer_comes_when_it_is_released():
    """The server is heard and has answered, the client waits, and healing the network lets the answer through."""
    fault = TcpFault(kind=FaultKind.STALL)
    with answering() as server, Proxy(server.server_address[1], lambda number: fault) as proxy:
        assert ask(proxy.port, run_when_silent=proxy.heal) == (ANSWER, "released")
        assert server.heard == [QUESTION]
    assert proxy.struck == {FaultKind.STALL: 1}


def test_a_plan_is_the_same_every_time():
    """The seed and a connection's number decide, so that what failed can be made to fail again."""
    plans = [make_plan(seed, GATEWAY_FAULTS, share=0.5, up_to=100) for seed in (1, 1, 2)]
    first, again, other = ([plan(number) for number in range(200)] for plan in plans)
    assert first == again
    assert first != other
    assert {fault.kind if fault else None for fault in first} == {None, *FaultKind}
