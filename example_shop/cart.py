"""What the shop sells, and the cart that a visitor fills.

The session, a signed cookie, holds product ids and quantities and nothing else. Every price is looked up here.
"""

import secrets
from dataclasses import dataclass
from decimal import Decimal

from flask import session

__all__ = ["MAX_QUANTITY", "PRODUCTS", "Cart", "Line", "Product", "drop_cart", "get_cart", "get_customer", "save_cart"]

MAX_QUANTITY = 10
"""The most of one product in one cart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Something to sell; ``price`` is in USD."""

    product_id: str
    name: str
    price: Decimal
    blurb: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One product in the cart."""

    product: Product
    quantity: int

    @property
    def total(self) -> Decimal:
        """Price times quantity, in USD."""
        return self.product.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """A cart with its prices. Every change gives it a new ``cart_id``, so one id always means the same content."""

    cart_id: str
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """What the cart costs, in USD."""
        return sum((line.total for line in self.lines), Decimal(0))

    @property
    def quantities(self) -> dict[str, int]:
        """Product ids and how many of each."""
        return {line.product.product_id: line.quantity for line in self.lines}


_CATALOGUE = (
    Product(
        product_id="notebook",
        name="Dot-grid notebook",
        price=Decimal("18.50"),
        blurb="128 pages of 100 g paper, thread-sewn so that it lies flat.",
    ),
    Product(
        product_id="ink",
        name="Harbour ink",
        price=Decimal("12.75"),
        blurb="50 ml of deep blue-green that dries before you turn the page.",
    ),
    Product(
        product_id="pencils",
        name="Six cedar pencils",
        price=Decimal("9.90"),
        blurb="HB to 4B, sharpened by hand, in a tin that fits a pocket.",
    ),
)
PRODUCTS = {product.product_id: product for product in _CATALOGUE}


def get_cart() -> Cart:
    """Return the visitor's cart; products that have left the catalogue leave the cart too."""
    kept = session.get("cart", {"cart_id": "", "quantities": {}})
    quantities = kept["quantities"]
    lines = tuple(Line(product=PRODUCTS[key], quantity=quantities[key]) for key in PRODUCTS if key in quantities)
    return Cart(cart_id=kept["cart_id"], lines=lines)


def save_cart(quantities: dict[str, int]) -> None:
    """Keep these quantities, under a new cart id; a quantity of 0 removes the product."""
    kept = {key: quantity for key, quantity in quantities.items() if quantity}
    session["cart"] = {"cart_id": secrets.token_urlsafe(12), "quantities": kept}
    # Made with the cart and not at checkout, where two clicks at once would make two customers.
    session.setdefault("customer", secrets.token_urlsafe(16))
    session.permanent = True


def drop_cart() -> None:
    """Empty the cart."""
    session.pop("cart", None)


def get_customer() -> str:
    """Return the random name under which this browser orders; a visitor who never had a cart has none."""
    return str(session.get("customer", ""))
