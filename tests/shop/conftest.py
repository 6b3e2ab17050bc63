"""The example shop as a visitor meets it: every form goes through its real CSRF token."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from example_shop import create_app


class Visitor:
    """A browser: keeps cookies and takes the token from the page's own forms."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def get(self, path: str) -> TestResponse:
        """Open a page, or a file, and read it to its end."""
        return self.client.get(path, buffered=True)

    def submit(self, path: str, **fields: str) -> TestResponse:
        """Send a form; the token comes from the catalogue, which always has one."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/").text)
        assert match
        return self.client.post(path, data={"csrf_token": match[1], **fields}, buffered=True)

    def order(self, product_id: str = "notebook") -> str:
        """Buy one product up to the payment page; return the order id."""
        self.submit(f"/cart/{product_id}/add")
        self.submit("/checkout")
        return self.list_order_ids()[0]

    def pay(self, action: str) -> None:
        """Check out, choose the first payment method, and let ``action`` happen in the sandbox's control panel."""
        self.submit(self.submit("/checkout").location, method="1")
        invoice = re.search(r'href="(/pay/sandbox/panel/invoices/[^"?]+)', self.get("/pay/sandbox/panel/").text)
        assert invoice
        assert self.submit(invoice[1], action=action).status_code == 303

    def donate(self, action: str, method: str = "1") -> str:
        """Ask for an address to donate to, and let ``action`` happen to it in the panel; return the visit's page."""
        link = re.search(r'class="button wide" href="([^"]+)"', self.get("/donate").text)
        assert link
        visit = re.search(r'name="visit"[^>]* value="([^"]+)"', self.get(link[1]).text)
        assert visit
        path = self.submit(link[1], method=method, visit=visit[1]).location
        panel = re.search(r'href="(/pay/sandbox/panel/invoices/[^"?]+)', self.get(path).text)
        assert panel
        assert self.submit(panel[1], action=action).status_code == 303
        return path

    def list_donations(self) -> list[str]:
        """Return what the donation page lists, each donation in one line, without its time."""
        items = re.findall(r"<li data-news>(.*?)</li>", self.get("/donate").text, flags=re.DOTALL)
        texts = (re.sub(r", <time.*?</time>|<[^>]+>", " ", item) for item in items)
        return [" ".join(text.split()) for text in texts]

    def list_order_ids(self) -> list[str]:
        """Return the ids in this browser's order history, newest first."""
        return re.findall(r'href="/orders/(\d+)"', self.get("/orders").text)


@pytest.fixture
def shop_app(tmp_path: Path) -> Flask:
    """The shop on the sandbox, in a folder of its own, with its error pages switched on."""
    return create_app({"TESTING": True, "PROPAGATE_EXCEPTIONS": False}, instance_path=str(tmp_path))


@pytest.fixture
def make_visitor(shop_app: Flask) -> Callable[[], Visitor]:
    """Makes browsers that know nothing of each other."""
    return lambda: Visitor(shop_app)


@pytest.fixture
def visitor(make_visitor: Callable[[], Visitor]) -> Visitor:
    """One browser."""
    return make_visitor()
