"""What the sandbox says: its answers in both documented dialects (contract section 7).

One thing is the sandbox's own invention: that a transaction may tell its address and its asset.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from ..gateway.models import PaymentMethod
from ..money import format_decimal, format_usd
from .engine import SandboxAddress, SandboxInvoice, SandboxTransaction
from .methods import METHODS
from .settings import AddressesShape, Dialect, TransactionDetail

__all__ = [
    "format_address",
    "format_addresses",
    "format_created_invoice",
    "format_invoice",
    "format_json",
    "format_method",
    "format_time",
    "format_transaction",
]


def format_json(value: object) -> str:
    """Write JSON in which a ``Decimal`` is a number with its exact digits: no binary float comes in between."""
    match value:
        case Decimal():
            return format_decimal(value)
        case Mapping():
            return "{" + ", ".join(f"{json.dumps(key)}: {format_json(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(format_json(item) for item in value) + "]"
        case _:
            return json.dumps(value)


def format_time(time: datetime) -> str:
    """Write a time as the documentation's samples do: UTC, whole seconds, ``Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_invoice(invoice: SandboxInvoice, dialect: Dialect) -> dict[str, object]:
    """Write an invoice as it is read (contract 1.3).

    The guide's shape has neither method, type nor AML verdict. The reference's demands a method, so an invoice that
    was made without one shows the first.
    """
    if dialect is Dialect.GUIDE:
        shown: dict[str, object] = {
            "id": invoice.invoice_id,
            "amount": invoice.amount,
            "status": invoice.state,
            "createdAt": format_time(invoice.created_at),
        }
        return shown | ({"paidAt": format_time(invoice.paid_at)} if invoice.paid_at else {})
    shown = {
        "id": invoice.invoice_id,
        "amount": format_usd(invoice.amount),
        "type": invoice.invoice_type,
        "state": invoice.state,
        "createdAt": format_time(invoice.created_at),
        "paymentMethodID": invoice.method_id or 1,
    }
    return shown | ({} if invoice.aml_ok is None else {"amlOk": invoice.aml_ok})


def format_created_invoice(invoice: SandboxInvoice, dialect: Dialect) -> dict[str, object]:
    """Write the answer to a create: the id alone, or the guide's whole object (contract C13)."""
    if dialect is Dialect.REFERENCE:
        return {"id": invoice.invoice_id}
    return {
        "id": invoice.invoice_id,
        "amount": invoice.amount,
        "type": invoice.invoice_type,
        "description": invoice.description,
        "status": invoice.state,
        "createdAt": format_time(invoice.created_at),
    }


def format_address(address: SandboxAddress) -> dict[str, object]:
    """Write one deposit address (contract 1.5, #7)."""
    return {
        "address": address.address,
        "amount": format_decimal(address.pay_amount),
        "expiresAt": format_time(address.expires_at) if address.expires_at else None,
    }


def format_addresses(
    addresses: Sequence[SandboxAddress], dialect: Dialect, shape: AddressesShape
) -> dict[str, object] | list[dict[str, object]]:
    """Write the addresses given out so far (contract C7); the name of the method's field is an assumption."""
    field = "paymentMethodID" if dialect is Dialect.REFERENCE else "methodID"
    items = [format_address(address) | {field: address.method_id} for address in addresses]
    return items if shape is AddressesShape.BARE else {"data": items}


def format_transaction(transaction: SandboxTransaction, detail: TransactionDetail) -> dict[str, object]:
    """Write one transaction (contract 1.7); both dialects share this shape.

    What ``TOLD`` adds, ``address`` and ``symbol``, is an invention: the documentation shows neither an address nor
    the unit of the amount.
    """
    told: dict[str, object] = {
        "address": transaction.address,
        "symbol": METHODS[transaction.method_id].method.ticker,
    }
    documented = {
        "id": transaction.transaction_id,
        "invoiceID": transaction.invoice_id,
        "amount": format_decimal(transaction.amount),
        "state": transaction.state,
        "createdAt": format_time(transaction.created_at),
        "confirmedAt": format_time(transaction.confirmed_at) if transaction.confirmed_at else None,
        "txHash": transaction.tx_hash,
    }
    return documented | (told if detail is TransactionDetail.TOLD else {})


def format_method(method: PaymentMethod) -> dict[str, object]:
    """Write one payment method (contract section 4)."""
    return {"id": method.method_id, "name": method.name, "network": method.network, "ticker": method.ticker}
