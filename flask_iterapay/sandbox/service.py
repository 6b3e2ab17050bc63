"""What the sandbox does for its callers: the engine's steps, saved, told and sent."""

import contextvars
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from ..gateway.models import Page
from .bodies import InvoiceRequest
from .deliveries import Delivery, Webhook, format_headers, list_events, plan_deliveries, record_answer, repeat
from .engine import Action, ActionRefusedError, Refusal, SandboxAddress, SandboxInvoice, SandboxTransaction, act, quote
from .filters import InvoiceFilter, Paging, TransactionFilter
from .settings import Dialect, ReusableAddress, SandboxSettings
from .storage import SandboxStore

__all__ = ["Clock", "Deliver", "SandboxService"]

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC time."""

Deliver = Callable[[str, Mapping[str, str], bytes], int]
"""Posts a body to a URL with these headers and returns the status of the answer; whatever it raises is no answer."""

_DRAIN_LIMIT = 10
_logger = logging.getLogger("flask_iterapay")


class SandboxService:
    """The offline gateway. ``webhook`` is where deliveries go until the API registers another target."""

    def __init__(
        self,
        *,
        store: SandboxStore,
        clock: Clock,
        new_id: Callable[[], str],
        deliver: Deliver,
        webhook: Webhook | None = None,
    ) -> None:
        self.store = store
        self._clock = clock
        self._new_id = new_id
        self._deliver = deliver
        self._webhook = webhook
        self._sending = threading.local()

    @property
    def settings(self) -> SandboxSettings:
        """The switches as they stand."""
        return self.store.get_settings()

    @property
    def webhook(self) -> Webhook | None:
        """Where deliveries go, if anywhere."""
        return self.store.get_webhook(self._webhook)

    def create_invoice(self, request: InvoiceRequest) -> SandboxInvoice:
        """Make an invoice; its id is spelt as the dialect has it (contract C12)."""
        prefix = "inv_" if self.settings.dialect is Dialect.GUIDE else ""
        invoice = SandboxInvoice(
            invoice_id=prefix + self._new_id(),
            invoice_type=request.invoice_type,
            amount=request.amount,
            description=request.description,
            method_id=request.method_id,
            created_at=self._clock(),
        )
        self.store.add(invoice)
        return invoice

    def get_address(self, invoice_id: str, method_id: int) -> SandboxAddress | None:
        """Give out a deposit address; ``None`` if there is no such invoice or it cannot be paid by this method."""

        def give_out(invoice: SandboxInvoice, settings: SandboxSettings) -> tuple[SandboxInvoice, Sequence[Delivery]]:
            quoted = quote(
                invoice,
                method_id,
                now=self._clock(),
                lifetime=settings.quote_lifetime,
                is_always_new=settings.reusable_address is ReusableAddress.NEW,
            )
            return quoted, ()

        invoice = self.store.change(invoice_id, give_out)
        return None if invoice is None else invoice.address_for(method_id)

    def list_invoices(self, wanted: InvoiceFilter, paging: Paging) -> Page[SandboxInvoice]:
        """One page of the invoices that are wanted."""
        return paging.cut([invoice for invoice in self.store.list_invoices() if wanted.matches(invoice)])

    def list_transactions(self, wanted: TransactionFilter, paging: Paging) -> Page[SandboxTransaction]:
        """One page of the transactions that are wanted."""
        if wanted.invoice_ids is None:
            invoices = self.store.list_invoices()
        else:
            found = [self.store.get(invoice_id) for invoice_id in sorted(wanted.invoice_ids)]
            invoices = [invoice for invoice in found if invoice]
        # Newest first, for transactions of the same moment.
        transactions = [item for invoice in invoices for item in reversed(invoice.transactions)]
        return paging.cut([item for item in transactions if wanted.matches(item)])

    def get_transaction(self, transaction_id: str) -> SandboxTransaction | None:
        """Find a transaction."""
        invoice = self.store.get_by_transaction(transaction_id)
        transactions = invoice.transactions if invoice else ()
        return next((item for item in transactions if item.transaction_id == transaction_id), None)

    def act(
        self,
        invoice_id: str,
        action: Action,
        *,
        address: str | None = None,
        transaction_id: str | None = None,
        word: str = "frozen",
    ) -> SandboxInvoice | None:
        """Make something happen to an invoice and queue what the shop is told; ``None`` if there is no such invoice.

        ``address`` says where a payment goes, ``None`` meaning the address given out last; ``transaction_id`` says
        which transaction takes a step, ``None`` meaning the newest that can. Deliveries leave at the next ``drain``.

        Raises:
            ActionRefusedError: nothing was changed.
        """
        is_told = self.webhook is not None
        last = self.store.list_deliveries(invoice_id=invoice_id, limit=1)

        def change(invoice: SandboxInvoice, settings: SandboxSettings) -> tuple[SandboxInvoice, Sequence[Delivery]]:
            now, new_id = self._clock(), self._new_id()
            changed = act(
                invoice, action, now=now, new_id=new_id, address=address, transaction_id=transaction_id, word=word
            )
            events = list_events(invoice, changed) if is_told else ()
            is_overtaking = any(delivery.is_held(now) for delivery in last)
            planned = plan_deliveries(events, settings, now=now, new_id=self._new_id, is_overtaking=is_overtaking)
            return changed, planned

        return self.store.change(invoice_id, change)

    def redeliver(self, invoice_id: str) -> None:
        """Queue the last delivery of an invoice once more, without faults.

        Raises:
            ActionRefusedError: there is none.
        """
        last = self.store.list_deliveries(invoice_id=invoice_id, limit=1)
        if not last:
            raise ActionRefusedError(Refusal.NO_DELIVERY)
        self.store.add_delivery(repeat(last[0], now=self._clock()))

    def register_webhook(self, url: str, secret: str) -> str:
        """Replace the webhook's target; the token is spelt as the dialect has it (contract C24)."""
        prefix = "whsec_" if self.settings.dialect is Dialect.REFERENCE else "whk_"
        self.store.save_webhook(Webhook(url=url, secret=secret, registered_at=self._clock()))
        return prefix + self._new_id().replace("-", "")

    def drain(self) -> None:
        """Send what is due, ten deliveries at most, each in an empty context and with nothing of ours open.

        Does nothing on a thread that is sending already: a shop that is told calls back at once, and would otherwise
        be told the next thing while it still deals with the first.
        """
        if getattr(self._sending, "is_busy", False):
            return
        self._sending.is_busy = True
        try:
            self._send_due()
        except sqlite3.Error:
            # The answer is out already, and the deliveries are still queued.
            _logger.exception("sandbox: deliveries wait for the next request")
        finally:
            self._sending.is_busy = False

    def _send_due(self) -> None:
        webhook = self.webhook
        for _ in range(_DRAIN_LIMIT):
            delivery = self.store.claim_delivery(self._clock()) if webhook else None
            if webhook is None or delivery is None:
                return
            status = contextvars.Context().run(self._send, delivery, webhook)
            self.store.save_delivery(record_answer(delivery, status, now=self._clock()))

    def _send(self, delivery: Delivery, webhook: Webhook) -> int | None:
        headers = format_headers(delivery, webhook.secret, self.settings.signature_encoding)
        try:
            return self._deliver(webhook.url, headers, delivery.body.encode())
        except Exception:
            _logger.warning("sandbox: delivery %d was not answered", delivery.delivery_id, exc_info=True)
            return None
