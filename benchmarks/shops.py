"""The plugin's side: a Flask app on a store, and the gateway replaced at its protocol, so that no HTTP is measured."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flask import Flask

from flask_iterapay import IteraPay, Order, OrderEvent
from flask_iterapay.gateway.models import (
    DepositAddress,
    Invoice,
    InvoiceState,
    MethodId,
    PaymentMethod,
    Transaction,
    TransactionState,
)
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.orders.service import OrderService
from flask_iterapay.orders.stores.base import OrderStore

from .floors import make_environ
from .signatures import BODY_LENGTH

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

__all__ = ["NOW", "WEBHOOK", "Gateway", "Shop", "make_hint"]

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
WEBHOOK = "/pay/webhook"
_SECRET = "a-webhook-secret-of-at-least-32-characters"
_METHODS = (
    PaymentMethod(method_id=1, name="USDT-TRC20", network="TRON", ticker="USDT"),
    PaymentMethod(method_id=2, name="BTC", network="Bitcoin", ticker="BTC"),
)
_TRANSFERS = {InvoiceState.CONFIRMING: TransactionState.PENDING, InvoiceState.PAID: TransactionState.SETTLED}


@dataclass(slots=True, kw_only=True)
class Gateway:
    """Answers at once, or after ``pause_seconds``, that every invoice is in ``state``.

    ``reads`` counts those answers, and ``peak`` is how many calls were under way at the same time.
    """

    state: InvoiceState = InvoiceState.OPEN
    pause_seconds: float = 0
    reads: int = 0
    peak: int = 0
    _calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def create_invoice(self, **arguments: object) -> str:
        """Make up an id as long as the gateway's, and different in every process."""
        return f"{time.time_ns():020}-{next(self._numbers):015}"

    def get_invoice(self, invoice_id: str) -> Invoice:
        """Read an invoice."""
        with self._lock:
            self.reads += 1
        self._pause()
        return Invoice(
            invoice_id=invoice_id,
            state=self.state,
            spelling=self.state,
            amount=Decimal("25.00"),
            invoice_type="onetime",
            method_id=1,
            has_passed_aml=True if self.state is InvoiceState.PAID else None,
            created_at=NOW,
        )

    def get_deposit_address(self, invoice_id: str, method_id: MethodId) -> DepositAddress:
        """Read an address."""
        self._pause()
        address = f"0x{int(invoice_id.replace('-', '')):040x}"
        return DepositAddress(address=address, pay_amount="25.150000", expires_at=NOW + timedelta(minutes=15))

    def list_transactions(self, invoice_ids: Sequence[str]) -> tuple[Transaction, ...]:
        """Read the transfers, one for each invoice that is not open."""
        self._pause()
        if self.state is InvoiceState.OPEN:
            return ()
        return tuple(_make_transfer(invoice_id, _TRANSFERS[self.state]) for invoice_id in invoice_ids)

    def list_payment_methods(self) -> tuple[PaymentMethod, ...]:
        """List the methods, which a client would have in its cache."""
        return _METHODS

    def _pause(self) -> None:
        if not self.pause_seconds:
            return
        with self._lock:
            self._calls += 1
            self.peak = max(self.peak, self._calls)
        time.sleep(self.pause_seconds)
        with self._lock:
            self._calls -= 1


def _make_transfer(invoice_id: str, state: TransactionState) -> Transaction:
    return Transaction(
        transaction_id=f"tx-{invoice_id}",
        invoice_id=invoice_id,
        amount="25.150000",
        state=state,
        spelling=state,
        created_at=NOW,
    )


class Shop:
    """A Flask app with the plugin, configured as in production, on a store and a gateway of ours.

    With ``has_handler`` somebody listens to ``order.paid``. The clock stands still unless another is handed in.
    """

    def __init__(
        self,
        store: OrderStore,
        *,
        gateway: Gateway | None = None,
        has_handler: bool = False,
        clock: Callable[[], datetime] = lambda: NOW,
    ) -> None:
        self.store = store
        self.gateway = gateway or Gateway()
        self.app = Flask("shop")
        self.app.config.update(
            SECRET_KEY="a secret key of this benchmark",
            ITERAPAY_API_KEY="a-key",
            ITERAPAY_MERCHANT_ID="11111111-1111-4111-8111-111111111111",
            ITERAPAY_WEBHOOK_SECRETS=_SECRET,
            ITERAPAY_PUBLIC_URL="https://shop.example",
            ITERAPAY_AML="require",
        )
        self._iterapay = IteraPay()
        gateway_as_client: Any = self.gateway
        self._iterapay.init_app(self.app, store=store, client=gateway_as_client, clock=clock)
        self.app.register_blueprint(self._iterapay.blueprint, url_prefix="/pay")
        if has_handler:
            self._iterapay.on("order.paid")(_hear)
        self.service: OrderService = self.app.extensions["iterapay"].service
        self._numbers = itertools.count()

    def add_order(self) -> Order:
        """Place an order and choose a method: it awaits its payment."""
        order_id = f"{time.time_ns()}-{next(self._numbers)}"
        self.service.place(order_id, amount="25.00", description="A notebook and two pencils", return_url="/thanks")
        return self.service.choose_method(order_id, "1")

    def page_of(self, order_id: str) -> str:
        """Return the path of an order's page."""
        return f"/pay/{self.app.extensions['iterapay'].tokens.sign(order_id)}"


def _hear(event: OrderEvent) -> None:
    """Do nothing with an event."""


def make_hint(invoice_id: str) -> "tuple[WSGIEnvironment, bytes]":
    """Write the signed webhook about an invoice: what a server hands over, and the body."""
    start, end = f'{{"event":"invoice.updated","invoiceId":"{invoice_id}","note":"', '"}'
    body = f"{start}{'x' * (BODY_LENGTH - len(start) - len(end))}{end}".encode()
    return make_environ(WEBHOOK, method="POST", headers={SIGNATURE_HEADER: sign(body, _SECRET)}), body
