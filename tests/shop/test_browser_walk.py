"""A customer walks through the example shop in a real browser."""

import io
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import zxingcpp
from flask import Flask
from PIL import Image
from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as NotYet
from servers import ROOT, serving
from werkzeug.test import Client

from example_shop import create_app

pytestmark = pytest.mark.browser

# A tab in the background, which counts no seconds down for anybody.
HIDE = "Object.defineProperty(document, 'hidden', { value: true, configurable: true })"
IMAGE = ROOT / "docs" / "images" / "checkout.png"
POLL_MILLISECONDS = 15_000
"""The longest pause between two polls of a page that waits."""


class Walk:
    """One customer, one browser window, and the sandbox's panel beside it."""

    def __init__(self, page: Page, base_url: str, app: Flask) -> None:
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
            self.page.wait_for_url("**/cart")
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
        """Run the page's clock from poll to poll, until the page has turned by itself."""
        heading = self.page.get_by_role("heading", name=words)
        for _ in range(100):
            self.page.clock.run_for(POLL_MILLISECONDS)
            with suppress(NotYet):
                return heading.wait_for(timeout=200)
        raise AssertionError(f"no {words!r} after 100 polls")

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
            from example_shop.database import transaction

            with transaction() as db:
                keys = [row["event_key"] for row in db.execute("SELECT * FROM notes WHERE event_name = 'order.paid'")]
        assert keys == ["order.paid:1001"]


@pytest.fixture
def start(visits: Any, tmp_path: Path) -> Iterator[Callable[..., Walk]]:
    """Starts a walk through the example shop as its command serves it, but for the configuration named.

    The other options are those of the browser's context, and ``ssl_context`` is the server's. Pages have a clock that
    tests can move, where they run scripts.
    """
    with ExitStack() as stack:

        def start(
            config: dict[str, object] | None = None, ssl_context: ssl.SSLContext | None = None, **options: Any
        ) -> Walk:
            app = create_app({"ITERAPAY_SYNC_SECONDS": 1} | (config or {}), instance_path=str(tmp_path))
            base_url = stack.enter_context(serving(app, ssl_context=ssl_context))
            page = visits.open(**options)
            if options.get("java_script_enabled", True):
                page.clock.install()
            stack.callback(visits.close)
            return Walk(page, base_url, app)

        yield start


@pytest.fixture
def walk(start: Callable[..., Walk]) -> Walk:
    """A walk at a desk."""
    return start(viewport={"width": 1200, "height": 900})


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


def test_the_whole_payment_works_without_javascript(start):
    """Picker, page, QR, check and end, with buttons alone; nothing is promised that takes a script."""
    walk = start({"ITERAPAY_RETURN_SECONDS": 20}, java_script_enabled=False)
    walk.set_sandbox(webhook_faults="drop")
    walk.fill_the_cart()
    walk.choose()
    assert walk.read_qr() == walk.read_address()
    walk.pay("Pay, still pending")
    walk.check_until("Payment seen")
    walk.pay("Pay exact amount")
    walk.check_until("Paid, thank you")
    assert walk.page.get_by_text("This page returns").is_hidden()
    walk.see_it_shipped_once()


@pytest.mark.parametrize("is_kept", [False, True], ids=["goes", "stays"])
def test_the_page_goes_back_to_the_shop_by_itself_unless_told_to_stay(start, is_kept):
    """Where the shop wants it, a page that turned to paid says when it leaves, and does; one button keeps it."""
    walk = start({"ITERAPAY_RETURN_SECONDS": 60})
    walk.fill_the_cart()
    walk.choose()
    payment_page = walk.page.url
    walk.pay()
    walk.wait_for("Paid, thank you")
    notice = "This page returns to the shop in 60 seconds."
    walk.page.get_by_role("status").filter(has_text=f"Paid, thank you. {notice}").wait_for()
    if is_kept:
        walk.page.get_by_role("button", name="Stay here").click()
        assert walk.page.get_by_role("main").get_by_text(notice).is_hidden()
    walk.page.clock.run_for(30_000)
    walk.page.evaluate(HIDE)
    walk.page.clock.run_for(60_000)
    assert walk.page.url == payment_page
    walk.page.evaluate("delete document.hidden")
    walk.page.clock.run_for(31_000)
    walk.page.wait_for_url(payment_page if is_kept else "**/thanks/1001")
    walk.page.get_by_role("heading", name="Paid, thank you" if is_kept else "Thank you", exact=True).wait_for()


def test_who_comes_back_to_a_paid_page_is_left_to_read_it(start):
    """Only the page that was seen to turn leaves by itself."""
    walk = start({"ITERAPAY_RETURN_SECONDS": 60})
    walk.fill_the_cart()
    walk.choose()
    payment_page = walk.page.url
    walk.pay()
    walk.wait_for("Paid, thank you")
    walk.page.goto(payment_page)
    walk.page.clock.run_for(120_000)
    assert walk.page.url == payment_page
    assert walk.page.get_by_text("This page returns").is_hidden()


def test_the_payment_page_has_the_shops_colours(walk: Walk):
    """The button that leads to the payment page and those on it are of one kind, by day and by night."""
    colours = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
    walk.fill_the_cart()
    seen = []
    for name in ("Check out", "Continue"):
        for scheme in ("light", "dark"):
            walk.page.emulate_media(color_scheme=scheme)
            seen.append(walk.page.get_by_role("button", name=name).evaluate(colours))
        if name == "Check out":
            with walk.page.expect_navigation(wait_until="load"):
                walk.page.get_by_role("button", name=name).click()
    assert seen[:2] == seen[2:]
    assert seen[0] != seen[1]


def test_a_customer_pays_behind_tls_with_csrf_protection(start):
    """Flask-WTF's strict referrer check is passed by every form, also where JavaScript submits none of them."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    walk = start(ssl_context=context, ignore_https_errors=True)
    walk.fill_the_cart()
    walk.choose()
    walk.page.get_by_role("button", name="Check payment status").click()
    walk.page.get_by_text("Send exactly").first.wait_for()
    walk.page.get_by_text("Pay with another method").click()
    walk.page.get_by_label("BTC on Bitcoin").check()
    walk.page.get_by_role("button", name="Continue").click()
    walk.page.get_by_role("heading", name="BTC").wait_for()
    walk.pay()
    walk.wait_for("Paid, thank you")
    walk.see_it_shipped_once()


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


def test_the_readme_shows_the_page_as_it_is(start):
    """The committed picture is of this page, sharp and small; with ITERAPAY_WRITE_DOCS=1 this test makes it anew."""
    walk = start(viewport={"width": 820, "height": 400}, device_scale_factor=2)
    walk.fill_the_cart()
    walk.choose()
    shown = Image.open(io.BytesIO(walk.page.locator("body").screenshot(animations="disabled")))
    if os.environ.get("ITERAPAY_WRITE_DOCS") == "1":
        IMAGE.parent.mkdir(parents=True, exist_ok=True)
        shown.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(IMAGE, optimize=True)
    assert IMAGE.stat().st_size < 150_000
    with Image.open(IMAGE) as committed:
        assert shown.width == committed.width
        assert abs(shown.height - committed.height) <= 120
        [code] = zxingcpp.read_barcodes(committed.convert("RGB"), try_invert=False)
    assert code.text.startswith("TSANDBOX")
