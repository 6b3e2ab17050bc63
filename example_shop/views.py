"""The shop's pages: catalogue, cart, checkout, the orders of this browser, and what is given for the reading room."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from flask_iterapay import HoldReason, Order, OrderNotFoundError, OrderStatus

from . import orders
from .cart import MAX_QUANTITY, PRODUCTS, drop_cart, get_cart, get_customer, save_cart
from .donations import find_collection, list_donations
from .extensions import iterapay

__all__ = ["shop"]

shop = Blueprint("shop", __name__)

_BOUGHT = {OrderStatus.CONFIRMING, OrderStatus.ON_HOLD, OrderStatus.PAID}


@shop.before_request
def close_bought_cart() -> None:
    """Empty the cart once money was seen for its order, and part it from an order that was cancelled."""
    cart = get_cart()
    order = orders.get_order_of_cart(cart.cart_id)
    # A second click on the button must find the order of the first, whatever has become of it.
    if order is None or request.endpoint == "shop.checkout":
        return
    status = _get_payment(order).status
    if status in _BOUGHT:
        drop_cart()
    elif status is OrderStatus.CANCELLED:
        save_cart(cart.quantities)


@shop.after_request
def keep_private(response: Response) -> Response:
    """Forbid copies: these pages show one visitor's cart and orders."""
    response.headers["Cache-Control"] = "no-store"
    return response


@shop.context_processor
def inject_cart() -> dict[str, object]:
    """Give every page the cart, for the number beside its link."""
    return {"cart": get_cart()}


@shop.get("/")
def index() -> str:
    """Show what is for sale."""
    return render_template("shop/index.html", products=PRODUCTS.values())


@shop.get("/cart")
def show_cart() -> str:
    """Show the cart."""
    return render_template("shop/cart.html", max_quantity=MAX_QUANTITY)


@shop.post("/cart/<product_id>/add")
def add_to_cart(product_id: str) -> Response:
    """Put one more of a product into the cart."""
    return _set_quantity(product_id, get_cart().quantities.get(product_id, 0) + 1)


@shop.post("/cart/<product_id>")
def change_cart(product_id: str) -> Response:
    """Set how many of a product are in the cart; 0 removes it."""
    return _set_quantity(product_id, request.form.get("quantity", -1, type=int))


@shop.post("/checkout")
def checkout() -> Response:
    """Turn the cart into an order and send the customer to its payment page."""
    cart = get_cart()
    if not cart.lines:
        return redirect(url_for("shop.show_cart"), 303)
    order = orders.create_order(cart, get_customer())
    return redirect(iterapay.checkout_url(_place_payment(order)), 303)


@shop.get("/thanks/<order_id>")
def thanks(order_id: str) -> str:
    """Welcome the customer back from the payment page, with the order as it truly stands."""
    return _render_order("shop/thanks.html", order_id)


@shop.get("/orders")
def list_orders() -> str:
    """Show the orders of this browser."""
    history = [_describe(order) for order in orders.list_orders(get_customer())]
    return render_template("shop/orders.html", history=history)


@shop.get("/orders/<order_id>")
def show_order(order_id: str) -> str:
    """Show one order: how it stands, what is in it and what happened to it."""
    return _render_order("shop/order.html", order_id)


@shop.get("/donate")
def donate() -> str:
    """Show what is collected for, the way to give, and what was given."""
    link = find_collection()
    payment_url = link and iterapay.link_url(link)
    return render_template("shop/donate.html", link=link, payment_url=payment_url, donations=list_donations())


@shop.get("/favicon.ico")
def icon() -> Response:
    """Lead browsers to the icon on pages that do not name one, such as the payment page."""
    return redirect(url_for("static", filename="mark.svg"))


def _set_quantity(product_id: str, quantity: int) -> Response:
    if product_id not in PRODUCTS:
        abort(404)
    if 0 <= quantity <= MAX_QUANTITY:
        save_cart(get_cart().quantities | {product_id: quantity})
    else:
        flash(f"We pack at most {MAX_QUANTITY} of one thing, so your cart stays as it was.")
    return redirect(url_for("shop.show_cart"), 303)


def _render_order(template: str, order_id: str) -> str:
    """Render a page about one order of this browser; somebody else's is 404, like one that never was."""
    order = orders.get_order(order_id, get_customer()) or abort(404)
    return render_template(template, **_describe(order), notes=orders.list_notes(order_id))


def _describe(order: orders.ShopOrder) -> dict[str, object]:
    """Return what a page tells of an order. Only the payment itself says how it stands, never the address bar."""
    payment = _get_payment(order)
    state = "underpaid" if payment.hold_reason is HoldReason.UNDERPAID else payment.status.value
    return {
        "order": order,
        "state": "shipped" if order.shipped_at else state,
        "payment_url": iterapay.checkout_url(payment),
    }


def _place_payment(order: orders.ShopOrder) -> Order:
    """Ask for the money. The amount is the shop's own; the same order and amount any number of times is one payment."""
    return iterapay.place_order(
        order.order_id,
        amount=order.total,
        description=f"Order #{order.order_id}",
        return_url=url_for("shop.thanks", order_id=order.order_id),
    )


def _get_payment(order: orders.ShopOrder) -> Order:
    """Return how the payment stands. A crash between our order and its payment left none; then it is placed now."""
    try:
        return iterapay.get_order(order.order_id)
    except OrderNotFoundError:
        return _place_payment(order)
