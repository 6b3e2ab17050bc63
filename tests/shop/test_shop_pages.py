"""The example shop: its cart, its checkout, its orders, and who may see them."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import example_shop
from example_shop import create_app, handlers, orders
from example_shop.cart import MAX_QUANTITY, PRODUCTS, get_cart, get_customer
from example_shop.extensions import iterapay
from flask_iterapay import ConfigurationError, EventName, OrderEvent, OrderStatus

FORGED_COOKIE = "eyJjYXJ0Ijp7ImNhcnRfaWQiOiJ4IiwicXVhbnRpdGllcyI6eyJpbmsiOjF9fX0.aQAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.fixture
def emit(shop_app: Flask) -> Callable[[str, EventName], None]:
    """Hands an event of an order to the shop's handlers, under the key that it always has."""
    functions = {EventName.PAID: handlers.ship, EventName.ANOMALY: handlers.alert}

    def emit(order_id: str, name: EventName) -> None:
        event = OrderEvent(key=f"{name}:{order_id}", name=name, order_id=order_id, occurred_at=datetime.now(UTC))
        with shop_app.app_context():
            functions.get(name, handlers.note)(event)

    return emit


def _rows(app: Flask, query: str) -> list[Any]:
    with closing(sqlite3.connect(Path(app.instance_path, "shop.db"))) as db:
        return db.execute(query).fetchall()


def test_the_catalogue_shows_every_product_with_its_price(visitor):
    """Three products, each with its own price."""
    page = visitor.get("/").text
    assert len(PRODUCTS) == 3
    assert all(product.name in page and f"${product.price}" in page for product in PRODUCTS.values())


def test_the_cart_adds_up_exactly(visitor):
    """Two notebooks, an ink and three pencil tins cost 79.45 to the cent."""
    for product_id, quantity in {"notebook": "2", "ink": "1", "pencils": "3"}.items():
        visitor.submit(f"/cart/{product_id}", quantity=quantity)
    assert "$79.45" in visitor.get("/cart").text
    visitor.submit("/cart/pencils", quantity="0")
    assert "$49.75" in visitor.get("/cart").text


def test_adding_twice_makes_two(visitor):
    """Each press of the button adds one."""
    visitor.submit("/cart/ink/add")
    answer = visitor.submit("/cart/ink/add")
    assert (answer.status_code, answer.location) == (303, "/cart")
    assert "$25.50" in visitor.get("/cart").text


@pytest.mark.parametrize("quantity", ["-1", "11", "", "1.5", "1e3", "NaN", "two", "9" * 40, "9" * 5000])
def test_a_silly_quantity_changes_nothing_and_is_said_so(visitor, quantity):
    """A quantity outside 0 to 10 leaves the cart as it was."""
    visitor.submit("/cart/ink", quantity="2")
    visitor.submit("/cart/ink", quantity=quantity)
    page = visitor.get("/cart").text
    assert "so your cart stays as it was" in page
    assert "$25.50" in page


def test_the_add_button_stops_at_the_limit(visitor):
    """The eleventh is refused."""
    visitor.submit("/cart/ink", quantity=str(MAX_QUANTITY))
    visitor.submit("/cart/ink/add")
    assert "$127.50" in visitor.get("/cart").text


@pytest.mark.parametrize("path", ["/cart/yacht/add", "/cart/yacht", "/cart/__class__"])
def test_an_unknown_product_is_not_found(visitor, path):
    """What the catalogue does not have cannot be put into a cart."""
    answer = visitor.submit(path, quantity="1")
    assert answer.status_code == 404
    assert "This page is blank" in answer.text


def test_a_product_that_left_the_catalogue_leaves_the_cart(visitor):
    """An old cookie may name a product that is no longer sold."""
    with visitor.client.session_transaction() as session:
        session["cart"] = {"cart_id": "old", "quantities": {"ink": 1, "quill": 4}}
    page = visitor.get("/cart").text
    assert "quill" not in page
    assert "$12.75" in page


def test_a_price_in_the_request_is_ignored(visitor, shop_app):
    """Whatever a browser sends along, the order costs what the catalogue says."""
    visitor.submit("/cart/notebook/add", price="0.01", total="0.01", amount="0.01")
    visitor.submit("/checkout", amount="0.01", total="0.01", currency="XTS")
    (order_id,) = visitor.list_order_ids()
    with shop_app.app_context():
        order = iterapay.get_order(order_id)
    assert (order.amount, order.currency) == (Decimal("18.50"), "USD")


def test_a_forged_cart_is_empty(visitor):
    """A cookie that the shop did not sign holds no cart."""
    visitor.client.set_cookie("session", FORGED_COOKIE)
    assert "Nothing in it yet" in visitor.get("/cart").text


def test_a_changed_cart_is_empty(visitor):
    """One changed character in the signed cart voids all of it."""
    visitor.submit("/cart/ink/add")
    cookie = visitor.client.get_cookie("session").value
    visitor.client.set_cookie("session", cookie[:5] + ("A" if cookie[5] != "A" else "B") + cookie[6:])
    assert "Nothing in it yet" in visitor.get("/cart").text


def test_checkout_leads_to_the_payment_page(visitor, shop_app):
    """The order gets number 1001, its total and its way back, and the browser goes on to pay."""
    visitor.submit("/cart/ink", quantity="2")
    answer = visitor.submit("/checkout")
    with shop_app.test_request_context():
        order = iterapay.get_order("1001")
        assert (answer.status_code, answer.location) == (303, iterapay.checkout_url(order))
    assert (order.amount, order.description) == (Decimal("25.50"), "Order #1001")
    assert order.return_url == "/thanks/1001"
    assert visitor.get(answer.location).status_code == 200


def test_an_empty_cart_is_not_checked_out(visitor, shop_app):
    """Checking out nothing leads back to the cart."""
    answer = visitor.submit("/checkout")
    assert (answer.status_code, answer.location) == (303, "/cart")
    assert _rows(shop_app, "SELECT * FROM orders") == []


def test_checking_out_twice_is_one_order(visitor):
    """A second press, the back button or a reload finds the order that the cart already is."""
    visitor.submit("/cart/ink/add")
    first, second = visitor.submit("/checkout"), visitor.submit("/checkout")
    assert first.location == second.location
    assert visitor.list_order_ids() == ["1001"]


def test_two_clicks_at_once_are_one_order(visitor, make_visitor, shop_app):
    """Two requests that carry the same cookie meet at the cart's id, and the order belongs to that browser."""
    visitor.submit("/cart/ink/add")
    twins = [make_visitor() for _ in range(4)]
    for twin in twins:
        twin.client.set_cookie("session", visitor.client.get_cookie("session").value)
    with ThreadPoolExecutor(len(twins)) as pool:
        answers = list(pool.map(lambda twin: twin.submit("/checkout"), twins))
    assert len({answer.location for answer in answers}) == 1
    assert all(twin.list_order_ids() == ["1001"] for twin in twins)


def test_a_changed_cart_is_another_order(visitor):
    """Whoever goes back and adds something orders anew; the first order stays as it was."""
    visitor.order("ink")
    visitor.order("pencils")
    assert visitor.list_order_ids() == ["1002", "1001"]
    assert "$22.65" in visitor.get("/orders/1002").text
    assert "$12.75" in visitor.get("/orders/1001").text


def test_a_cancelled_order_gives_its_cart_back(visitor, shop_app):
    """The cart of a cancelled order can be checked out again, as a new order."""
    order_id = visitor.order()
    with shop_app.app_context():
        iterapay.cancel_order(order_id)
    assert "Cancelled" in visitor.get(f"/orders/{order_id}").text
    assert "$18.50" in visitor.get("/cart").text
    visitor.submit("/checkout")
    assert visitor.list_order_ids() == ["1002", "1001"]


def test_a_checkout_that_crashed_halfway_is_finished_later(visitor, shop_app):
    """An order without a payment, left by a crash between the two, gets its payment when it is next looked at."""
    visitor.submit("/cart/ink/add")
    with visitor.client:
        visitor.get("/cart")
        orders.create_order(get_cart(), get_customer())
    assert "Waiting for payment" in visitor.get("/orders/1001").text
    with shop_app.app_context():
        assert iterapay.get_order("1001").amount == Decimal("12.75")


@pytest.mark.parametrize("path", ["/orders/{}", "/thanks/{}"])
def test_a_foreign_order_is_as_good_as_absent(visitor, make_visitor, path):
    """Order numbers can be guessed, so another browser gets the very page of an order that never was."""
    order_id = visitor.order()
    stranger = make_visitor()
    stranger.order()
    assert visitor.get(path.format(order_id)).status_code == 200
    foreign, absent = stranger.get(path.format(order_id)), stranger.get(path.format("4711"))
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.text == absent.text.replace("4711", order_id)


def test_a_browser_without_orders_sees_none(visitor, make_visitor):
    """The history is this browser's own."""
    visitor.order()
    page = make_visitor().get("/orders").text
    assert "No orders from this browser yet" in page
    assert "data-poll" not in page


def test_the_thanks_page_believes_the_payment_and_not_the_address(visitor):
    """Nothing in the query can make an order look paid."""
    order_id = visitor.order()
    page = visitor.get(f"/thanks/{order_id}?status=paid&state=shipped&paid=1").text
    assert "Waiting for payment" in page
    assert "Thank you" not in page
    assert "Open the payment page" in page


@pytest.mark.parametrize(
    ("action", "headline", "is_cart_empty"),
    [
        ("pay_exact", "Shipped", True),
        ("pay_over", "Shipped", True),
        ("pay_pending", "Payment seen", True),
        ("pay_short", "Partly paid", True),
        ("aml_fail", "Checking payment", True),
        ("expire", "The price has expired", False),
    ],
)
def test_what_the_network_does_is_what_the_shop_says(visitor, action, headline, is_cart_empty):
    """From the catalogue over the payment page to the shipment; only money empties the cart."""
    visitor.submit("/cart/ink/add")
    visitor.pay(action)
    for path in ("/thanks/1001", "/orders/1001", "/orders"):
        assert f"Order 1001: {headline}<" in visitor.get(path).text
    assert ("Nothing in it yet" in visitor.get("/cart").text) is is_cart_empty


def test_a_late_second_click_finds_the_paid_order(visitor):
    """The button of a page left open leads to the receipt, not to a second order or an empty cart."""
    visitor.submit("/cart/ink/add")
    token = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get("/cart").text)[1]
    first = visitor.client.post("/checkout", data={"csrf_token": token})
    stale = visitor.client.get_cookie("session").value
    visitor.pay("pay_exact")
    visitor.client.set_cookie("session", stale)
    again = visitor.client.post("/checkout", data={"csrf_token": token})
    assert again.location == first.location
    assert visitor.list_order_ids() == ["1001"]


def test_a_paid_order_is_shipped_exactly_once(visitor, shop_app, emit):
    """The same event handed out again finds its key and does nothing."""
    order_id = visitor.order()
    emit(order_id, EventName.PAID)
    first = _rows(shop_app, "SELECT order_id, shipped_at FROM orders")
    with closing(sqlite3.connect(Path(shop_app.instance_path, "shop.db"))) as db, db:
        db.execute("UPDATE orders SET shipped_at = 'as it was'")
    emit(order_id, EventName.PAID)
    assert first[0][0] == order_id
    assert first[0][1]
    assert _rows(shop_app, "SELECT shipped_at FROM orders") == [("as it was",)]
    assert _rows(shop_app, "SELECT event_key FROM notes") == [(f"order.paid:{order_id}",)]


def test_only_the_paid_order_is_shipped(visitor, shop_app, emit):
    """The other order keeps waiting."""
    visitor.order("ink")
    paid = visitor.order("pencils")
    emit(paid, EventName.PAID)
    assert _rows(shop_app, "SELECT order_id FROM orders WHERE shipped_at IS NOT NULL") == [(paid,)]
    assert "data-poll" not in visitor.get(f"/orders/{paid}").text
    assert "Shipped" in visitor.get("/orders").text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (EventName.CONFIRMING, "Payment seen on the network"),
        (EventName.ON_HOLD, "Payment is being checked"),
        (EventName.RELEASED, "Check finished"),
        (EventName.EXPIRED, "Price expired"),
        (EventName.CANCELLED, "Order cancelled"),
        (EventName.PAID, "Payment complete"),
    ],
)
def test_what_happens_is_told_once_in_words(visitor, emit, name, words):
    """Each event becomes one line of the order's story, however often it is handed out."""
    order_id = visitor.order()
    emit(order_id, name)
    emit(order_id, name)
    assert visitor.get(f"/orders/{order_id}").text.count(words) == 1


def test_an_anomaly_is_for_the_shop_and_not_for_the_customer(visitor, emit, caplog):
    """The log names the order; the page says nothing of it."""
    order_id = visitor.order()
    emit(order_id, EventName.ANOMALY)
    assert f"order {order_id}: order.anomaly" in caplog.text
    assert "anomaly" not in visitor.get(f"/orders/{order_id}").text


def test_every_status_has_words(shop_app):
    """No status that the plugin can report leaves a page without a headline."""
    words = shop_app.jinja_env.get_template("shop/_words.html").module.words
    assert {*OrderStatus, "underpaid", "shipped"} == set(words)


@pytest.mark.parametrize("path", ["/checkout", "/cart/ink/add", "/cart/ink"])
@pytest.mark.parametrize("token", [None, "", "forged"])
def test_a_form_without_its_token_is_refused_politely(visitor, shop_app, path, token):
    """Another site cannot press our buttons, and an old tab is told what to do."""
    visitor.submit("/cart/notebook/add")
    answer = visitor.client.post(path, data={} if token is None else {"csrf_token": token})
    assert answer.status_code == 400
    assert "This form has gone stale" in answer.text
    assert "$18.50" in visitor.get("/cart").text
    assert _rows(shop_app, "SELECT * FROM orders") == []


def test_a_broken_database_is_admitted_politely(visitor, shop_app):
    """The page for our own faults needs nothing of what may be broken."""
    with closing(sqlite3.connect(Path(shop_app.instance_path, "shop.db"))) as db:
        db.execute("DROP TABLE orders")
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert "We spilled some ink" in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/cart", "/orders", "/orders/1001", "/thanks/1001", "/donate", "/nowhere", "/static/live.js"]
)
def test_every_page_keeps_to_a_strict_policy(visitor, path):
    """No script, style, event handler or picture that is not a file of the shop."""
    visitor.order()
    visitor.donate("aml_fail")
    answer = visitor.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|<script(?! src=\"/static/)|\sstyle=|\son\w+=|src=\"(?!/static/)", answer.text)
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/pay/{}", "/pay/made-up"])
def test_payment_pages_wear_the_shops_looks(visitor, path):
    """The shop's name leads home from every one of them, and its small style sheet has the last word."""
    visitor.order()
    token = visitor.submit("/checkout").location.removeprefix("/pay/")
    page = visitor.get(path.format(token)).text
    assert '<a class="brand" href="/">' in page
    assert page.index("/pay/static/checkout.css") < page.index("/static/payment.css")
    assert len(visitor.get("/static/payment.css").data) < 1024


def test_payment_pages_speak_the_browsers_language_in_the_shops_frame(visitor):
    """What the shop adds to them is its name, which needs no translation."""
    visitor.order()
    path = visitor.submit("/checkout").location
    page = visitor.client.get(path, headers={"Accept-Language": "ar"}, buffered=True).text
    assert '<html lang="ar" dir="rtl">' in page
    assert "Marginalia</a>" in page
    assert 'lang="en"' in visitor.client.get(path, headers={"Accept-Language": "tlh"}, buffered=True).text


def test_the_payment_page_has_an_icon_too(visitor):
    """Browsers ask for it wherever a page names none."""
    assert visitor.client.get("/favicon.ico", follow_redirects=True, buffered=True).mimetype == "image/svg+xml"


def test_personal_pages_are_not_kept(visitor):
    """No cache may hold a visitor's cart or orders."""
    assert visitor.get("/orders").headers["Cache-Control"] == "no-store"


def test_a_page_that_refreshes_itself_sends_no_cookie(visitor):
    """An answer on its way must not put an older cart over a newer one."""
    order_id = visitor.order()
    visitor.get(f"/orders/{order_id}")
    answer = visitor.get(f"/orders/{order_id}")
    assert "data-poll" in answer.text
    assert "Set-Cookie" not in answer.headers


def test_the_footer_names_the_sandbox(visitor):
    """The footer warns of made-up addresses and leads to the panel that plays the customer's wallet."""
    page = visitor.get("/").text
    assert "would be lost" in page
    (link,) = re.findall(r'href="(/pay/sandbox/[^"]+)"', page)
    assert visitor.get(link).status_code == 200


def test_the_same_code_goes_into_production_by_configuration_alone(tmp_path):
    """Without the sandbox the shop says what is missing, and starts once it is there."""
    with pytest.raises(ConfigurationError, match="ITERAPAY_API_KEY"):
        create_app({"ITERAPAY_SANDBOX": False}, instance_path=str(tmp_path))
    config = {
        "ITERAPAY_SANDBOX": False,
        "ITERAPAY_API_KEY": "a-key-of-a-merchant",
        "ITERAPAY_MERCHANT_ID": "8b6c0e0e-6a53-4b2a-9f8e-0d6d0a4c1f11",
        "ITERAPAY_WEBHOOK_SECRETS": "0123456789abcdef0123456789abcdef",
        "ITERAPAY_PUBLIC_URL": "https://shop.example",
        "ITERAPAY_DATABASE_URL": f"sqlite:///{tmp_path / 'payments.sqlite3'}",
        "ITERAPAY_AML": "require",
    }
    page = create_app(config, instance_path=str(tmp_path)).test_client().get("/").text
    assert "Dot-grid notebook" in page
    assert "sandbox" not in page


@pytest.mark.process
def test_workers_that_start_together_share_one_secret_key(tmp_path):
    """Whoever makes the key first, everybody signs with it, now and after a restart."""
    source = "import sys; from example_shop import create_app as c; print(c(instance_path=sys.argv[1]).secret_key)"
    command = [sys.executable, "-c", source, str(tmp_path)]
    root = Path(example_shop.__file__).parents[1]
    workers = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {worker.communicate()[0].strip() for worker in workers}
    assert {worker.returncode for worker in workers} == {0}
    assert keys == {create_app(instance_path=str(tmp_path)).secret_key}


def test_the_made_secret_key_is_long_and_its_owners_alone(tmp_path):
    """256 bits that no other user of the machine can read, and no draft left behind."""
    create_app(instance_path=str(tmp_path))
    path = tmp_path / "secret_key"
    assert len(bytes.fromhex(path.read_text())) == 32
    assert path.stat().st_mode & 0o077 == 0
    assert [other for other in tmp_path.iterdir() if other.name.startswith("tmp")] == []


def test_a_given_secret_key_wins(tmp_path):
    """With a key from the configuration none is made."""
    app = create_app({"SECRET_KEY": "given"}, instance_path=str(tmp_path))
    assert app.config["SECRET_KEY"] == "given"
    assert not (tmp_path / "secret_key").exists()
