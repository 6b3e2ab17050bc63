"""The sandbox's memory: one SQLite file, shared by threads and processes.

Every operation opens a connection of its own and closes it, and every one that reads and then writes begins with
``BEGIN IMMEDIATE``: nothing is held while a webhook is sent, and nothing is lost between two workers.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..gateway.models import InvoiceType, TransactionState
from ..money import format_decimal
from .deliveries import CLAIM_SECONDS, Delivery, DeliveryState, Webhook
from .engine import SandboxAddress, SandboxInvoice, SandboxTransaction
from .settings import ApiFault, Operation, SandboxSettings, parse_settings

__all__ = ["Change", "SandboxStore"]

Change = Callable[[SandboxInvoice, SandboxSettings], tuple[SandboxInvoice, Sequence[Delivery]]]
"""Makes a changed invoice and the deliveries that tell of it."""

_BUSY_SECONDS = 15
_SCHEMA = """
CREATE TABLE IF NOT EXISTS invoices (number INTEGER PRIMARY KEY, invoice_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    delivery_id INTEGER PRIMARY KEY,
    invoice_id TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    status INTEGER,
    is_corrupt INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (state, due_at);
CREATE INDEX IF NOT EXISTS deliveries_of_invoice ON deliveries (invoice_id);
CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, body TEXT NOT NULL);
"""
_FIND_BY_TRANSACTION = """
SELECT invoices.body FROM invoices, json_each(invoices.body, '$.transactions') AS item
WHERE json_extract(item.value, '$.transaction_id') = ?
"""
_ADD_DELIVERY = """
INSERT INTO deliveries (invoice_id, event, body, created_at, due_at, state, attempts, status, is_corrupt)
VALUES (:invoice_id, :event, :body, :created_at, :due_at, :state, :attempts, :status, :is_corrupt)
"""
_SAVE_DELIVERY = """
UPDATE deliveries SET state = :state, due_at = :due_at, status = :status
WHERE delivery_id = :delivery_id AND attempts = :attempts AND state = 'queued'
"""
_FIND_DUE = "SELECT delivery_id FROM deliveries WHERE state = ? AND due_at <= ? LIMIT 1"
_CLAIM_DUE = """
UPDATE deliveries SET attempts = attempts + 1, due_at = ? WHERE delivery_id = (
    SELECT delivery_id FROM deliveries WHERE state = ? AND due_at <= ? ORDER BY due_at, delivery_id LIMIT 1
) RETURNING *
"""


class SandboxStore:
    """Keeps invoices, deliveries, settings and the webhook registration. ``path`` is the file, made when missing."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as connection:
            # Only another process that is switching at this very moment gets in the way, and one is enough.
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

    def add(self, invoice: SandboxInvoice) -> None:
        """Keep a new invoice."""
        with self._connect() as connection:
            row = (invoice.invoice_id, _format_invoice(invoice))
            connection.execute("INSERT INTO invoices (invoice_id, body) VALUES (?, ?)", row)

    def get(self, invoice_id: str) -> SandboxInvoice | None:
        """Find an invoice."""
        with self._connect() as connection:
            return _get_invoice(connection, invoice_id)

    def get_by_transaction(self, transaction_id: str) -> SandboxInvoice | None:
        """Find the invoice that a transaction belongs to."""
        with self._connect() as connection:
            row = connection.execute(_FIND_BY_TRANSACTION, (transaction_id,)).fetchone()
        return _parse_invoice(row["body"]) if row else None

    def list_invoices(self) -> list[SandboxInvoice]:
        """Every invoice, newest first."""
        with self._connect() as connection:
            rows = connection.execute("SELECT body FROM invoices ORDER BY number DESC").fetchall()
        return [_parse_invoice(row["body"]) for row in rows]

    def change(self, invoice_id: str, change: Change) -> SandboxInvoice | None:
        """Change an invoice and queue its deliveries in one step; ``None`` if there is no such invoice.

        Whatever ``change`` raises leaves everything as it was.
        """
        with self._write() as connection:
            invoice = _get_invoice(connection, invoice_id)
            if invoice is None:
                return None
            changed, deliveries = change(invoice, _get_settings(connection))
            if changed != invoice:
                row = (_format_invoice(changed), invoice_id)
                connection.execute("UPDATE invoices SET body = ? WHERE invoice_id = ?", row)
            for delivery in deliveries:
                _add_delivery(connection, delivery)
            return changed

    def get_settings(self) -> SandboxSettings:
        """Read the switches as they stand."""
        with self._connect() as connection:
            return _get_settings(connection)

    def save_settings(self, settings: SandboxSettings) -> None:
        """Set the switches."""
        with self._connect() as connection:
            _save_settings(connection, settings)

    def take_fault(self, operation: Operation) -> ApiFault:
        """Tell which fault strikes this call, counting it: of two processes only one takes the last."""
        if not self.get_settings().strikes(operation):
            return ApiFault.NONE
        with self._write() as connection:
            settings = _get_settings(connection)
            if not settings.strikes(operation):
                return ApiFault.NONE
            fault = settings.api_fault
            if settings.fault_calls == 1:
                settings = replace(settings, api_fault=ApiFault.NONE)
            elif settings.fault_calls > 1:
                settings = replace(settings, fault_calls=settings.fault_calls - 1)
            _save_settings(connection, settings)
            return fault

    def get_webhook(self, default: Webhook | None) -> Webhook | None:
        """Read the registration; ``default`` counts until something was registered or removed."""
        with self._connect() as connection:
            text = _get_document(connection, "webhook")
        if text is None:
            return default
        data = json.loads(text)
        return data and Webhook(
            url=data["url"], secret=data["secret"], registered_at=datetime.fromisoformat(data["registered_at"])
        )

    def save_webhook(self, webhook: Webhook | None) -> None:
        """Replace the registration, or remove it (``None``), and with it what is still queued."""
        with self._write() as connection:
            body = json.dumps(webhook and asdict(webhook), default=_format_value)
            _save_document(connection, "webhook", body)
            if webhook is None:
                connection.execute(
                    "UPDATE deliveries SET state = ? WHERE state = ?", (DeliveryState.DROPPED, DeliveryState.QUEUED)
                )

    def add_delivery(self, delivery: Delivery) -> None:
        """Queue a delivery."""
        with self._connect() as connection:
            _add_delivery(connection, delivery)

    def list_deliveries(self, *, invoice_id: str | None = None, limit: int = 100) -> list[Delivery]:
        """Every delivery, or an invoice's, newest first."""
        query = "SELECT * FROM deliveries WHERE ? IS NULL OR invoice_id = ? ORDER BY delivery_id DESC LIMIT ?"
        with self._connect() as connection:
            rows = connection.execute(query, (invoice_id, invoice_id, limit)).fetchall()
        return [_parse_delivery(row) for row in rows]

    def claim_delivery(self, now: datetime) -> Delivery | None:
        """Take the first due delivery for sending; if its sender dies, it is due again later.

        One statement finds and claims it, so of two processes only one gets it. It is asked first without a lock,
        since nearly always nothing is due.
        """
        due = (DeliveryState.QUEUED, _format_value(now))
        claimed_until = _format_value(now + timedelta(seconds=CLAIM_SECONDS))
        with self._connect() as connection:
            if connection.execute(_FIND_DUE, due).fetchone() is None:
                return None
            row = connection.execute(_CLAIM_DUE, (claimed_until, *due)).fetchone()
        return _parse_delivery(row) if row else None

    def save_delivery(self, delivery: Delivery) -> None:
        """Note how sending a claimed delivery went, unless it was claimed again or dropped meanwhile."""
        values = {name: _format_value(value) for name, value in asdict(delivery).items()}
        with self._connect() as connection:
            connection.execute(_SAVE_DELIVERY, values)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            # A killed process loses nothing by this; a power cut may cost the sandbox its toys.
            connection.execute("PRAGMA synchronous = OFF")
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection


def _get_invoice(connection: sqlite3.Connection, invoice_id: str) -> SandboxInvoice | None:
    row = connection.execute("SELECT body FROM invoices WHERE invoice_id = ?", (invoice_id,)).fetchone()
    return _parse_invoice(row["body"]) if row else None


def _get_document(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT body FROM documents WHERE name = ?", (name,)).fetchone()
    return row["body"] if row else None


def _save_document(connection: sqlite3.Connection, name: str, body: str) -> None:
    connection.execute("INSERT OR REPLACE INTO documents (name, body) VALUES (?, ?)", (name, body))


def _get_settings(connection: sqlite3.Connection) -> SandboxSettings:
    return parse_settings(json.loads(_get_document(connection, "settings") or "{}"))


def _save_settings(connection: sqlite3.Connection, settings: SandboxSettings) -> None:
    _save_document(connection, "settings", json.dumps(asdict(settings), default=sorted))


def _add_delivery(connection: sqlite3.Connection, delivery: Delivery) -> None:
    connection.execute(_ADD_DELIVERY, {name: _format_value(value) for name, value in asdict(delivery).items()})


def _parse_delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(
        delivery_id=row["delivery_id"],
        invoice_id=row["invoice_id"],
        event=row["event"],
        body=row["body"],
        created_at=datetime.fromisoformat(row["created_at"]),
        due_at=datetime.fromisoformat(row["due_at"]),
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        status=row["status"],
        is_corrupt=bool(row["is_corrupt"]),
    )


def _format_invoice(invoice: SandboxInvoice) -> str:
    return json.dumps(asdict(invoice), default=_format_value)


def _format_value(value: object) -> Any:
    """Write times so that their text sorts as they do, and amounts with every digit."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return format_decimal(value) if isinstance(value, Decimal) else value


def _parse_invoice(text: str) -> SandboxInvoice:
    data = json.loads(text)
    return SandboxInvoice(
        **data
        | {
            "invoice_type": InvoiceType(data["invoice_type"]),
            "amount": Decimal(data["amount"]),
            "created_at": datetime.fromisoformat(data["created_at"]),
            "addresses": tuple(_parse_address(item) for item in data["addresses"]),
            "transactions": tuple(_parse_transaction(item) for item in data["transactions"]),
        }
    )


def _parse_address(data: Mapping[str, Any]) -> SandboxAddress:
    parsed = {"pay_amount": Decimal(data["pay_amount"]), "expires_at": _parse_time(data["expires_at"])}
    return SandboxAddress(**{**data, **parsed})


def _parse_transaction(data: Mapping[str, Any]) -> SandboxTransaction:
    parsed = {
        "amount": Decimal(data["amount"]),
        "pay_amount": Decimal(data["pay_amount"]),
        "state": TransactionState(data["state"]),
        "created_at": _parse_time(data["created_at"]),
        "confirmed_at": _parse_time(data["confirmed_at"]),
    }
    return SandboxTransaction(**{**data, **parsed})


def _parse_time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
