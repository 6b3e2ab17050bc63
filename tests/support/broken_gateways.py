"""Gateways with a mistake in them, for harnesses that must find it: each wraps a right one."""

from typing import Any

from flask_iterapay.errors import GatewayUnavailableError
from flask_iterapay.orders.gateway import Gateway


class _Wrapped:
    def __init__(self, inner: Gateway) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class RetryingGateway(_Wrapped):
    """Sends a create again when its answer was lost, as if that could not have taken effect."""

    def create_invoice(self, **arguments: Any) -> str:
        """Create, if need be twice."""
        try:
            return self._inner.create_invoice(**arguments)
        except GatewayUnavailableError:
            return self._inner.create_invoice(**arguments)


class HastyGateway(_Wrapped):
    """Asks for the address as soon as there is an invoice, so before its id can be saved."""

    def create_invoice(self, **arguments: Any) -> str:
        """Create, and have the address given out."""
        invoice_id = self._inner.create_invoice(**arguments)
        if arguments["method_id"] is not None:
            self._inner.get_deposit_address(invoice_id, arguments["method_id"])
        return invoice_id
