"""A whole small world for tests of the orders: a shop's service, the sandbox as the gateway, a wire in between.

The wire is the only seam. It can fail a request before or after it took effect, and run a function in the middle of
one, which is how races are made without threads.
"""

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from werkzeug.test import Client

from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.links.gateway import LinkGateway
from flask_iterapay.links.models import Visit
from flask_iterapay.links.service import LinkService
from flask_iterapay.orders.dispatch import Dispatcher, Handler
from flask_iterapay.orders.gateway import Gateway
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import EventName, Order, OrderEvent, Policy
from flask_iterapay.orders.reconcile import Duty, Reconciler
from flask_iterapay.orders.service import OrderService
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.sandbox.app import create_sandbox_app
from flask_iterapay.sandbox.transport import SandboxTransport

MERCHANT_ID = "11111111-1111-4111-8111-111111111111"
API_KEY = "a-key-of-the-sandbox"
SECRET = "a-webhook-secret-of-at-least-32-characters"


class Timepiece:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Fault:
    """What happens to the next ``times`` requests whose method and path contain ``fragment``."""

    fragment: str
    times: int
    answer: httpx.Response | None = None
    error: type[httpx.TransportError] | None = None
    is_after: bool = False
    run: Callable[[], object] | None = None


class Wire(httpx.BaseTransport):
    """Between client and sandbox: records every request, and does what the faults say."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner
        self.requests: list[str] = []
        self.faults: list[Fault] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        line = f"{request.method} {request.url.path}"
        self.requests.append(line)
        fault = next((fault for fault in self.faults if fault.fragment in line and fault.times > 0), None)
        if fault is None:
            return self._inner.handle_request(request)
        fault.times -= 1
        if fault.run is not None:
            fault.run()
            return self._inner.handle_request(request)
        if fault.is_after:
            self._inner.handle_request(request).read()
        if fault.error is not None:
            raise fault.error("the wire was cut", request=request)
        assert fault.answer is not None
        return httpx.Response(fault.answer.status_code, headers=fault.answer.headers, content=fault.answer.content)

    def fail(self, fragment: str, *, status: int = 503, times: int = 99) -> None:
        """Answer with a status instead of passing the request on."""
        self.faults.append(Fault(fragment, times, answer=httpx.Response(status, content=b"{}")))

    def cut(self, fragment: str, *, times: int = 99, is_after: bool = False) -> None:
        """Let the request time out, before or after it took effect."""
        self.faults.append(Fault(fragment, times, error=httpx.ReadTimeout, is_after=is_after))

    def interrupt(self, fragment: str, run: Callable[[], object]) -> None:
        """Run something in the middle of the next such request."""
        self.faults.append(Fault(fragment, 1, run=run))

    def mend(self) -> None:
        self.faults.clear()

    def count(self, fragment: str) -> int:
        return sum(fragment in line for line in self.requests)


@dataclass
class World:
    """One shop and one gateway."""

    service: OrderService
    links: LinkService
    ledger: Ledger
    clock: Timepiece
    wire: Wire
    panel: Client
    handled: list[OrderEvent] = field(default_factory=list)

    def place(self, order_id: str = "1042", amount: str = "25.00") -> Order:
        return self.service.place(order_id, amount=amount)

    def choose(self, order_id: str = "1042", method_id: str = "1") -> Order:
        self.place(order_id)
        return self.service.choose_method(order_id, method_id)

    def visit(self, link_id: str = "donations", method_id: str = "1", *, reference: str, visitor: str = "v") -> Visit:
        """Have somebody ask the link for an address; the link is made if it is not there."""
        self.links.create(link_id, description="Donations", minimum="20.00")
        return self.links.receive_visitor(link_id, method_id, reference=reference, visitor=visitor)

    def pay(self, visit: Visit, action: str = "pay_exact") -> None:
        """Have money sent to a visit's address."""
        self.act_on(action, str(visit.invoice_id), address=str(visit.address))

    def switch(self, **settings: str) -> None:
        """Switch the sandbox on its panel; what is not named gets its default."""
        assert self.panel.post("/panel/settings", data=settings).status_code == 303

    def act(self, action: str, order: Order, **fields: str) -> None:
        """Press one of the sandbox's buttons for the order's current invoice."""
        self.act_on(action, str(order.current_invoice_id), **fields)

    def act_on(self, action: str, invoice_id: str, **fields: str) -> None:
        response = self.panel.post(f"/panel/invoices/{invoice_id}", data={"action": action, **fields})
        assert response.status_code == 303, (action, response.status_code, response.get_data(as_text=True))


def make_world(
    folder: Path,
    *,
    store: OrderStore | None = None,
    policy: Policy | None = None,
    methods: tuple[str, ...] | None = None,
    handle: Callable[[OrderEvent], object] | None = None,
    is_heard: bool = True,
    parallel_reads: int = 1,
) -> World:
    """Build a world whose sandbox keeps its state in ``folder``.

    If somebody listens (``is_heard``), it is ``handle``, or what records every event.
    """
    clock = Timepiece()
    sandbox = create_sandbox_app(
        path=folder / "sandbox.sqlite3",
        merchant_id=MERCHANT_ID,
        api_key=API_KEY,
        clock=clock,
        deliver=lambda url, headers, body: 200,
        webhook_secret=SECRET,
    )
    wire = Wire(SandboxTransport(sandbox))
    ledger = Ledger(store=store or MemoryStore(), model=Order)
    handled: list[OrderEvent] = []
    handle = (handle or handled.append) if is_heard else None
    gateway = make_client(wire)
    links = make_links(store=ledger.store, gateway=gateway, clock=clock, handle=handle, policy=policy, methods=methods)
    service = make_service(
        ledger=ledger,
        gateway=gateway,
        clock=clock,
        handle=handle,
        policy=policy,
        methods=methods,
        other_duties=links.duties,
        parallel_reads=parallel_reads,
    )
    return World(
        service=service, links=links, ledger=ledger, clock=clock, wire=wire, panel=Client(sandbox), handled=handled
    )


def make_client(transport: httpx.BaseTransport) -> GatewayClient:
    """A client with the sandbox's key that speaks through a transport."""
    return GatewayClient(
        base_url="https://sandbox.invalid", merchant_id=MERCHANT_ID, api_key=API_KEY, transport=transport
    )


def make_service(
    *,
    ledger: Ledger,
    gateway: Gateway,
    clock: Timepiece,
    handle: Callable[[OrderEvent], object] | None,
    policy: Policy | None = None,
    methods: tuple[str, ...] | None = None,
    tokens: Iterator[int] | None = None,
    other_duties: Sequence[Duty] = (),
    parallel_reads: int = 1,
) -> OrderService:
    """The service of a process that has just started; ``tokens`` goes on counting where another process stopped."""
    numbers = tokens or itertools.count(1)
    return OrderService(
        ledger=ledger,
        gateway=gateway,
        dispatcher=make_dispatcher(ledger, clock, handle),
        clock=clock,
        policy=policy or Policy(),
        make_token=lambda: f"token-{next(numbers)}",
        methods=methods,
        shuffle=lambda orders: None,
        other_duties=other_duties,
        parallel_reads=parallel_reads,
    )


def make_links(
    *,
    store: OrderStore,
    gateway: LinkGateway,
    clock: Timepiece,
    handle: Callable[[OrderEvent], object] | None,
    policy: Policy | None = None,
    methods: tuple[str, ...] | None = None,
    max_addresses: int = 30,
) -> LinkService:
    """The links of a process that has just started."""
    return LinkService(
        store=store,
        gateway=gateway,
        make_dispatcher=lambda ledger: make_dispatcher(ledger, clock, handle),
        clock=clock,
        policy=policy or Policy(),
        make_token=lambda: secrets.token_hex(8),
        methods=methods,
        max_addresses=max_addresses,
    )


def make_reconciler(store: OrderStore, duties: Sequence[Duty], clock: Timepiece) -> Reconciler:
    """A reconciler that takes what is due in its order."""
    return Reconciler(store=store, duties=duties, clock=clock, shuffle=lambda entries: None)


def make_dispatcher(ledger: Ledger, clock: Timepiece, handle: Callable[[OrderEvent], object] | None) -> Dispatcher:
    """A dispatcher whose only handler is this function; without it nobody listens."""
    handlers = [Handler(name="recorder", call=handle)] if handle else []
    return Dispatcher(
        ledger=ledger,
        clock=clock,
        handlers_for=lambda name: handlers,
        run=lambda handler, event: handler.call(event),
    )


def event_names(order: Order) -> list[EventName]:
    return [event.name for event in order.events]
