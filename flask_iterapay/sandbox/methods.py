"""The payment methods of the sandbox: invented rates that never move, and addresses that no wallet accepts."""

import hashlib
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal

from ..gateway.models import PaymentMethod

__all__ = ["METHODS", "SandboxMethod"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxMethod:
    """A payment method with an invented, fixed ``rate`` (USD for one unit) and an unmistakably fake address."""

    method: PaymentMethod
    rate: Decimal
    decimals: int
    address_prefix: str
    address_length: int

    @property
    def unit(self) -> Decimal:
        """The smallest amount that can be sent."""
        return Decimal(1).scaleb(-self.decimals)

    def price(self, amount: Decimal) -> Decimal:
        """What ``amount`` USD cost in the asset, rounded up to what can be sent."""
        return (amount / self.rate).quantize(self.unit, ROUND_UP)

    def address(self, seed: str) -> str:
        """The address for a seed: the right length for a layout, and refused by every wallet."""
        digest = hashlib.sha256(seed.encode()).hexdigest()
        return (self.address_prefix + digest)[: self.address_length]


def _method(
    method_id: int, name: str, network: str, ticker: str, *, rate: str, decimals: int, address: tuple[str, int]
) -> SandboxMethod:
    method = PaymentMethod(method_id=method_id, name=name, network=network, ticker=ticker)
    prefix, length = address
    return SandboxMethod(
        method=method, rate=Decimal(rate), decimals=decimals, address_prefix=prefix, address_length=length
    )


_TRON = ("TSANDBOX", 34)
_ETHEREUM = ("0xSANDBOX", 42)
_BITCOIN = ("bc1qsandbox", 42)

METHODS = {
    1: _method(1, "USDT-TRC20", "TRON", "USDT", rate="0.9995", decimals=6, address=_TRON),
    2: _method(2, "USDT-ERC20", "Ethereum", "USDT", rate="0.9995", decimals=6, address=_ETHEREUM),
    3: _method(3, "USDC-ERC20", "Ethereum", "USDC", rate="0.9998", decimals=6, address=_ETHEREUM),
    4: _method(4, "BTC", "Bitcoin", "BTC", rate="64250.00", decimals=8, address=_BITCOIN),
    5: _method(5, "ETH", "Ethereum", "ETH", rate="3180.40", decimals=18, address=_ETHEREUM),
}
"""Every payment method by id. Ids 1 to 3 are the documentation's sample, the rest are invented."""
