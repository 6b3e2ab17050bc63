"""A customer walks through the example shop in a real browser."""

import io
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
import zxingcpp
from PIL import Image
from servers import ROOT, serving
from werkzeug.test import Client

from example_shop import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

IMAGE = ROOT / "docs" / "images" / "checkout.png"


class Walk:
    """One customer, one browser window, and the sandbox's panel beside it."""

    def __init__(self, page: "Page", base_url: str, app) -> None:
        self.page = page
        self.base_url = base_url
        self.app = app

    def set_sandbox(self, **settings: str) -> None:
        response = Client(self.app.extensions["iterapay"].sandbox).post("/panel/settings", data=settings)
        assert response.status_code == 303

    def fill_the_cart(self) -> None:
        for product in ("Dot-grid notebook", "Harbour ink"):
            self.page.goto(self.base_url)
            self.page.get_by_role("button", name=product).click()
        assert "$31.25" in self.page.inner_text("main")

    def choose(self, method: str = "USDT on TRON") -> None:
        self.page.get_by_role("button", name="Check out").click()
        self.page.get_by_label(method).check()
        self.page.get_by_role("button", name="Continue").click()
        self.page.get_by_text("Send exactly").first.wait_for()

    def read_address(self) -> str:
        return self.page.locator("#ip-address").inner_text()

    def read_qr(self) -> str:
        """What a phone would read from the screen."""
        picture = Image.open(io.BytesIO(self.page.get_by_role("img", name="QR code of the address").screenshot()))
        [code] = zxingcpp.read_barcodes(picture, try_invert=False)
        return code.text

    def pay(self, button: str = "Pay exact amount") -> None:
        """Open the panel by the link on the page, in another tab, and press a button."""
        panel = self.page.context.new_page()
        panel.goto(self.base_url + str(self.page.get_by_role("link", name="sandbox panel").get_attribute("href")))
        panel.get_by_role("button", name=button).click()
        panel.get_by_role("heading", name="Transactions").wait_for()
        panel.close()

    def wait_for(self, words: str) -> None:
        self.page.get_by_role("heading", name=words).wait_for(timeout=20_000)

    def check_until(self, words: str) -> None:
        """Press the button as an impatient customer does: within a second of the last reading it changes nothing."""
        for _ in range(200):
            self.page.get_by_role("button", name="Check payment status").click()
            if self.page.get_by_role("heading", name=words).count():
                return
        raise AssertionError(f"no {words!r} after 200 presses")

    def see_it_shipped_once(self) -> None:
        self.page.get_by_role("link", name="Return to the shop").click()
        self.page.goto(self.base_url + "/orders")
        # The handler runs after the response that brought the news; the history page turns by itself.
        self.page.locator("main li").filter(has_text="Shipped").wait_for()
        with self.app.app_context():
            from example_shop.orders import transaction

            with transaction() as db:
                keys = [row["event_key"] for row in db.execute("SELECT * FROM notes WHERE event_name = 'order.paid'")]
        assert keys == ["order.paid:1001"]


@pytest.fixture
def shop_app(tmp_path: Path):
    """The example shop as its command starts it, but with a gateway that may be read every second."""
    return create_app({"ITERAPAY_SYNC_SECONDS": 1}, instance_path=str(tmp_path))


@pytest.fixture
def walk(visits, shop_app):
    with serving(shop_app) as base_url:
        yield Walk(visits.open(viewport={"width": 1200, "height": 900}), base_url, shop_app)
        visits.close()


@pytest.mark.parametrize("dialect", ["reference", "guide"])
@pytest.mark.parametrize("is_dropped", [False, True], ids=["webhook", "webhook dropped"])
def test_a_customer_pays_and_the_page_turns_by_itself(walk: Walk, dialect, is_dropped):
    """Two things, USDT on TRON, amount, address and QR, paid, and shipped once, in both dialects, webhook or not."""
    walk.set_sandbox(dialect=dialect, webhook_faults="drop") if is_dropped else walk.set_sandbox(dialect=dialect)
    walk.fill_the_cart()
    walk.choose()
    address = walk.read_address()
    assert address.startswith("TSANDBOX")
    assert walk.read_qr() == address
    loads: list[str] = []
    walk.page.on("load", lambda page: loads.append(page.url))
    walk.pay()
    walk.wait_for("Paid, thank you")
    assert loads == []
    assert address not in walk.page.content()
    walk.see_it_shipped_once()


def test_the_whole_payment_works_without_javascript(visits, shop_app):
    """Picker, page, QR, check and end, with buttons alone."""
    with serving(shop_app) as base_url:
        walk = Walk(visits.open(java_script_enabled=False), base_url, shop_app)
        walk.set_sandbox(webhook_faults="drop")
        walk.fill_the_cart()
        walk.choose()
        assert walk.read_qr() == walk.read_address()
        walk.pay("Pay, still pending")
        walk.check_until("Payment seen")
        walk.pay("Pay exact amount")
        walk.check_until("Paid, thank you")
        walk.see_it_shipped_once()
        visits.close()


def test_a_customer_pays_behind_tls_with_csrf_protection(visits, shop_app):
    """Flask-WTF's strict referrer check is passed by every form, also where JavaScript submits none of them."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(shop_app, ssl_context=context) as base_url:
        walk = Walk(visits.open(ignore_https_errors=True), base_url, shop_app)
        walk.fill_the_cart()
        walk.choose()
        walk.page.get_by_role("button", name="Check payment status").click()
        walk.page.get_by_text("Send exactly").first.wait_for()
        walk.page.get_by_text("Pay with another method").click()
        walk.page.get_by_label("BTC on Bitcoin").check()
        walk.page.get_by_role("button", name="Continue").click()
        walk.page.get_by_text("BTC").first.wait_for()
        walk.pay()
        walk.wait_for("Paid, thank you")
        walk.see_it_shipped_once()
        visits.close()


@pytest.mark.parametrize(
    ("button", "words"),
    [
        ("Pay 10 % too little", "We received less than the full amount"),
        ("Pay 10 % too much", "Paid, you sent more than asked"),
        ("Pay too late", "Payment arrived after the price expired"),
        ("Expire the invoice", "This price has expired"),
        ("Pay, and fail AML", "Payment received, being checked"),
        ("Set another state", "Checking for your payment"),
        ("Pay, still pending", "Payment seen"),
    ],
)
def test_each_way_to_pay_has_its_own_page(walk: Walk, button, words):
    """What happened is said in words that never ask to pay again."""
    walk.fill_the_cart()
    walk.choose()
    walk.pay(button)
    walk.page.get_by_role("button", name="Check payment status").click()
    walk.wait_for(words)
    assert walk.page.get_by_text("try again").count() == 0


def test_the_readme_shows_the_page_as_it_is(walk: Walk, tmp_path):
    """The committed picture exists; with ITERAPAY_WRITE_DOCS=1 this test makes it anew."""
    walk.fill_the_cart()
    walk.choose()
    picture = walk.page.locator("body").screenshot()
    if os.environ.get("ITERAPAY_WRITE_DOCS") == "1":
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        IMAGE.write_bytes(picture)
    with Image.open(io.BytesIO(picture)) as shown, Image.open(IMAGE) as committed:
        assert abs(shown.width - committed.width) <= 40
        assert abs(shown.height - committed.height) <= 120
