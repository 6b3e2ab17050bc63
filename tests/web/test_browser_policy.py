"""The content security policy in a real browser, over a purchase and a donation, under policies that shops have.

A violation is counted by the event that the browser raises, and once more by its console, which fails every test with
a page that complained.
"""

import base64
import hashlib
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from flask import Flask, Response, g
from jinja2 import ChoiceLoader, DictLoader
from servers import ROOT, serving
from werkzeug.test import Client

from example_shop import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

BASE = (ROOT / "flask_iterapay" / "web" / "templates" / "iterapay" / "base.html").read_text(encoding="utf-8")
STYLE = ":root { --brand: teal; }"
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => {
  noteViolation(`${event.effectiveDirective} ${event.blockedURI}`);
});
"""
READ_BRAND = """(({ documentElement: root }) =>
  [root.dataset.brand, getComputedStyle(root).getPropertyValue("--brand")])(document)
"""
ASK_NOW = "dispatchEvent(new Event('online'))"


def put_into_head(app: Flask, html: str) -> None:
    """Give a shop a base page of its own: ours, with something more in its head."""
    assert BASE.count("</head>") == 1
    page = BASE.replace("</head>", f"{html}</head>")
    app.jinja_loader = ChoiceLoader([DictLoader({"iterapay/base.html": page}), app.jinja_loader])


def leave(app: Flask) -> None:
    """The example shop as it is: a policy on every answer that has none."""


def assign(app: Flask) -> None:
    """A shop whose extension assigns its headers to every answer, as flask-talisman does."""

    @app.after_request
    def set_headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = "default-src 'self' *.trusted.example; object-src 'none'"
        response.headers["Referrer-Policy"] = "strict-origin-when-cross-origin"
        response.headers["X-Frame-Options"] = "SAMEORIGIN"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def mark(app: Flask) -> None:
    """A shop that marks its own inline script with a nonce and its style with a hash, on our pages too."""
    put_into_head(
        app,
        '<script nonce="{{ g.nonce }}">document.documentElement.dataset.brand = "here";</script>'
        f"<style>{STYLE}</style>",
    )
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

    @app.before_request
    def draw_nonce() -> None:
        g.nonce = secrets.token_urlsafe(16)

    @app.after_request
    def set_headers(response: Response) -> Response:
        policy = f"default-src 'self'; script-src 'self' 'nonce-{g.nonce}'; style-src 'self' 'sha256-{style}'"
        response.headers["Content-Security-Policy"] = policy
        return response


class Customer:
    """Somebody who buys something, or gives something, and who counts what the browser refuses."""

    def __init__(self, page: "Page", base_url: str) -> None:
        self.page = page
        self.base_url = base_url
        self.violations: list[str] = []
        page.context.expose_function("noteViolation", lambda violation: self.violations.append(violation))
        page.context.add_init_script(LISTEN)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name).first.click()

    def see(self, headline: str) -> None:
        self.page.get_by_role("heading", name=headline).first.wait_for(timeout=10_000)

    def order(self) -> None:
        """Fill the cart and go to the payment page."""
        self.page.goto(self.base_url)
        self.press("Dot-grid notebook")
        self.press("Check out")
        self.see("Choose how to pay")

    def come(self) -> None:
        """Go to the payment link's page, as the shop leads there."""
        self.page.goto(f"{self.base_url}/donate")
        self.page.get_by_role("main").get_by_role("link", name="Donate").click()
        self.see("Choose how to pay")

    def choose(self, method: str, headline: str = "Send exactly") -> None:
        self.page.get_by_label(method).check()
        self.press("Continue")
        self.see(headline)

    def pay(self, button: str, headline: str) -> None:
        """Press a button of the sandbox's panel, and let the page find out by its poll."""
        panel = self.page.context.new_page()
        panel.goto(self.base_url + str(self.page.get_by_role("link", name="sandbox panel").get_attribute("href")))
        panel.get_by_role("button", name=button).click()
        panel.get_by_role("heading", name="Transactions").wait_for()
        for link in ("Webhooks", "Settings", "Invoices"):
            panel.get_by_role("link", name=link).first.click()
        panel.close()
        self.page.evaluate(ASK_NOW)
        self.see(headline)

    def buy(self) -> None:
        """Take the whole way from the catalogue to the shipped order."""
        self.order()
        self.choose("USDT on TRON")
        self.press("Copy address")
        self.press("Check payment status")
        self.page.locator("#ip-change-summary").click()
        self.choose("BTC on Bitcoin")
        self.pay("Pay, still pending", "Payment seen")
        self.pay("Settle", "Paid, thank you")
        self.page.get_by_role("link", name="Return to the shop").click()
        self.page.goto(f"{self.base_url}/orders")
        self.page.locator("main li").filter(has_text="Shipped").wait_for()

    def donate(self) -> None:
        """Take the whole way from the link to the list of what has come in."""
        self.come()
        self.choose("USDT on TRON", "Send USDT to this address")
        self.press("Copy address")
        self.press("Check payment status")
        self.pay("Pay, still pending", "Payment seen")
        self.pay("Settle", "Received, thank you")
        self.page.get_by_role("link", name="Make another payment").click()
        self.see("Latest payments on this link")


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    """A certificate of loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def make_app(folder: Path, prepare: Callable[[Flask], None]) -> Flask:
    """The example shop with a policy of its own."""
    app = create_app({"ITERAPAY_SYNC_SECONDS": 1}, instance_path=str(folder))
    # So that a visitor's page turns to what became of his payment.
    settings = {"transaction_detail": "told", "reusable_address": "new"}
    assert Client(app.extensions["iterapay"].sandbox).post("/panel/settings", data=settings).status_code == 303
    prepare(app)
    return app


PAGES = pytest.mark.parametrize("open_page", [Customer.order, Customer.come], ids=["order", "link"])


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize("prepare", [leave, assign, mark])
@pytest.mark.parametrize("go", [Customer.buy, Customer.donate], ids=["purchase", "donation"])
def test_a_whole_way_violates_nothing(visits, certificate, tmp_path, go, prepare, is_tls):
    """Picker, page, copying, polls, panel and receipt, in clear and behind TLS with its stricter check."""
    app = make_app(tmp_path, prepare)
    with serving(app, ssl_context=certificate if is_tls else None) as base_url:
        customer = Customer(visits.open(ignore_https_errors=is_tls), base_url)
        go(customer)
        assert customer.violations == []
        visits.close()


@PAGES
def test_what_a_shop_marks_runs_on_our_pages(visits, tmp_path, open_page):
    """Nonce and hash are taken over: the inline script and style of its own base page work."""
    with serving(make_app(tmp_path, mark)) as base_url:
        customer = Customer(visits.open(), base_url)
        open_page(customer)
        assert customer.page.evaluate("document.documentElement.dataset.brand") == "here"
        assert (
            customer.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--brand')") == "teal"
        )
        visits.close()


@PAGES
@pytest.mark.parametrize("prepare", [leave, assign, mark])
def test_what_a_shop_does_not_mark_is_counted(visits, tmp_path, prepare, open_page):
    """The control: an inline script, an inline style and a picture from elsewhere are three violations."""
    app = make_app(tmp_path, prepare)
    put_into_head(
        app,
        "<script>window.isHacked = true</script><style>main { color: red }</style>"
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="https://elsewhere.invalid/style.css">',
    )
    with serving(app) as base_url:
        customer = Customer(visits.open(), base_url)
        open_page(customer)
        assert sorted(customer.violations) == [
            "script-src-elem inline",
            "style-src-elem https://elsewhere.invalid/style.css",
            "style-src-elem inline",
        ]
        assert customer.page.evaluate("window.isHacked") is None
        assert len(visits.problems) == 3
        visits.problems.clear()
        visits.close()
