"""Webhook deliveries: what is told to the shop, when, how often, and with which faults.

All of it is the sandbox's invention but for the signature: event names, bodies, order, retries and time-outs are not
documented (contract 3.6). Pure: time, ids and settings are handed in.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from ..gateway.signing import SIGNATURE_HEADER, sign
from ..money import format_decimal, format_usd
from .dialects import format_time
from .engine import SandboxInvoice
from .settings import Envelope, SandboxSettings, SignatureEncoding, WebhookFault

__all__ = [
    "CLAIM_SECONDS",
    "Delivery",
    "DeliveryState",
    "SandboxEvent",
    "Webhook",
    "format_headers",
    "list_events",
    "plan_deliveries",
    "record_answer",
    "repeat",
]

CLAIM_SECONDS = 60
"""After how long a delivery whose sender died is sent by another; the sender's own time-out is shorter."""

_RETRY_SECONDS = (5, 30, 120, 600)


class DeliveryState(StrEnum):
    """How a delivery stands. ``FAILED`` has used up its attempts, ``DROPPED`` was never sent."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where deliveries go. ``registered_at`` is ``None`` for the target that the sandbox was started with."""

    url: str
    secret: str
    registered_at: datetime | None = None

    def __repr__(self) -> str:
        """Leave the secret out."""
        return f"Webhook(url={self.url!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxEvent:
    """Something that changed: an invoice's state or a transaction's."""

    name: str
    invoice_id: str
    state: str
    amount: str
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One body on its way. ``due_at`` counts while it is queued; ``status`` is the last answer, if one came.

    ``delivery_id`` is 0 until it is stored.
    """

    invoice_id: str
    event: str
    body: str
    created_at: datetime
    due_at: datetime
    delivery_id: int = 0
    state: DeliveryState = DeliveryState.QUEUED
    attempts: int = 0
    status: int | None = None
    is_corrupt: bool = False

    def is_held(self, now: datetime) -> bool:
        """Whether it is held back, and was never sent."""
        return self.state is DeliveryState.QUEUED and not self.attempts and self.due_at > now


def list_events(before: SandboxInvoice, after: SandboxInvoice) -> tuple[SandboxEvent, ...]:
    """Tell what changed: transactions first, then the invoice."""
    known = {transaction.transaction_id: transaction.state for transaction in before.transactions}
    events = [
        SandboxEvent(
            name=f"transaction.{transaction.state}",
            invoice_id=after.invoice_id,
            state=transaction.state,
            amount=format_decimal(transaction.amount),
            transaction_id=transaction.transaction_id,
        )
        for transaction in after.transactions
        if known.get(transaction.transaction_id) is not transaction.state
    ]
    if before.state != after.state:
        events.append(_invoice_event(after))
    return tuple(events)


def _invoice_event(invoice: SandboxInvoice) -> SandboxEvent:
    return SandboxEvent(
        name=f"invoice.{invoice.state}",
        invoice_id=invoice.invoice_id,
        state=invoice.state,
        amount=format_usd(invoice.amount),
    )


def plan_deliveries(
    events: Sequence[SandboxEvent],
    settings: SandboxSettings,
    *,
    now: datetime,
    new_id: Callable[[], str],
    is_overtaking: bool = False,
) -> list[Delivery]:
    """Queue the deliveries of one change, with the faults that are switched on.

    A dropped delivery is kept for the log. ``REORDER`` holds the first event back, so that later news overtakes it.
    ``is_overtaking`` says that the invoice's last delivery is still held back: these are the news that overtake it,
    and leave at once. Were each change held back for as long as the one before, nothing would change its place.
    """
    faults = settings.webhook_faults
    deliveries = [_make(event, settings, now=now, event_id=f"evt_{new_id()}") for event in events]
    if WebhookFault.DELAY in faults:
        deliveries = [replace(delivery, due_at=now + settings.delay) for delivery in deliveries]
    if WebhookFault.REORDER in faults and deliveries and not is_overtaking:
        deliveries[0] = replace(deliveries[0], due_at=now + settings.delay)
    if WebhookFault.DUPLICATE in faults:
        deliveries = [delivery for delivery in deliveries for _ in range(2)]
    return deliveries


def _make(event: SandboxEvent, settings: SandboxSettings, *, now: datetime, event_id: str) -> Delivery:
    faults = settings.webhook_faults
    return Delivery(
        invoice_id=event.invoice_id,
        event=event.name,
        body=_format_body(event, settings.envelope, now=now, event_id=event_id),
        created_at=now,
        due_at=now,
        state=DeliveryState.DROPPED if WebhookFault.DROP in faults else DeliveryState.QUEUED,
        is_corrupt=WebhookFault.CORRUPT in faults,
    )


def _format_body(event: SandboxEvent, envelope: Envelope, *, now: datetime, event_id: str) -> str:
    facts = {"invoiceID": event.invoice_id, "state": event.state}
    if event.transaction_id:
        facts["transactionID"] = event.transaction_id
    if envelope is Envelope.FLAT:
        return json.dumps({"event": event.name, **facts})
    facts["amount"] = event.amount
    return json.dumps({"id": event_id, "event": event.name, "createdAt": format_time(now), "data": facts})


def repeat(delivery: Delivery, *, now: datetime) -> Delivery:
    """Queue what was said once more, at once and without faults."""
    return Delivery(
        invoice_id=delivery.invoice_id, event=delivery.event, body=delivery.body, created_at=now, due_at=now
    )


def record_answer(delivery: Delivery, status: int | None, *, now: datetime) -> Delivery:
    """Note what the shop answered (``None``: nothing). Anything but a 2xx is tried again, five times in all."""
    if status is not None and 200 <= status < 300:
        return replace(delivery, state=DeliveryState.DELIVERED, status=status)
    if delivery.attempts > len(_RETRY_SECONDS):
        return replace(delivery, state=DeliveryState.FAILED, status=status)
    wait = timedelta(seconds=_RETRY_SECONDS[delivery.attempts - 1])
    return replace(delivery, status=status, due_at=now + wait)


def format_headers(delivery: Delivery, secret: str, encoding: SignatureEncoding) -> dict[str, str]:
    """Sign a delivery; a corrupt one gets a well-formed signature of something else."""
    body = delivery.body.encode()
    digest = sign(body + b" " if delivery.is_corrupt else body, secret)
    signatures = {
        SignatureEncoding.HEX: digest,
        SignatureEncoding.BASE64: base64.b64encode(bytes.fromhex(digest)).decode(),
        SignatureEncoding.PREFIXED: f"sha256={digest}",
    }
    return {"Content-Type": "application/json", SIGNATURE_HEADER: signatures[encoding]}
