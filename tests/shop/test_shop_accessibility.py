"""The example shop and its branded payment pages against WCAG 2.2 AA in a real browser, down to 320 pixels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from servers import serving

from example_shop.extensions import iterapay

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.browser

RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
CONTRAST = ("color-contrast",)
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 320, "height": 640}
FIND_SMALL_TARGETS = """() => [...document.querySelectorAll("a:not(.skip, .lede a), button")].filter((element) => {
  const { width, height } = element.getBoundingClientRect();
  return element.checkVisibility() && Math.min(width, height) < 44;
}).map((element) => `small: ${element.textContent.trim()}`)"""
NIGHT = "@media (prefers-color-scheme: dark)"


class Inspector:
    """Looks at pages of the shop in one browser."""

    def __init__(self, page: "Page", base_url: str) -> None:
        self.page = page
        self._base_url = base_url

    def sign_in(self, visitor: Any) -> None:
        """Be this visitor from now on."""
        cookie = visitor.client.get_cookie("session")
        self.page.context.add_cookies([{"name": "session", "value": cookie.value, "url": self._base_url}])

    def open(self, path: str) -> None:
        """Open a page, without the pattern behind it: axe does not judge the contrast of what stands on one."""
        self.page.set_viewport_size(WIDE)
        self.page.goto(self._base_url + path)
        self.page.evaluate("document.body.style.backgroundImage = 'none'")

    def run_axe(self, rules: tuple[str, ...] = RULES) -> list[str]:
        """List what axe objects to by day and by night."""
        faults = []
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            violations = (
                Axe().run(self.page, options={"runOnly": rules, "resultTypes": ["violations"]}).response["violations"]
            )
            faults += [f"{scheme}: {rule['id']}: {node['target'][0]}" for rule in violations for node in rule["nodes"]]
        return faults

    def measure(self) -> list[str]:
        """List what is too wide for a small screen, or too small for a finger."""
        self.page.set_viewport_size(NARROW)
        width = self.page.evaluate("document.documentElement.scrollWidth")
        return [f"wide: {width} px"] * (width > NARROW["width"]) + self.page.evaluate(FIND_SMALL_TARGETS)

    def find_faults(self, path: str) -> list[str]:
        """Open a page and list everything that is wrong with it."""
        self.open(path)
        return [f"{path}, {fault}" for fault in self.run_axe() + self.measure()]


@pytest.fixture
def inspector(visits: Any, shop_app: Flask) -> Iterator[Inspector]:
    """A browser that the shop has never seen."""
    with serving(shop_app) as base_url:
        yield Inspector(visits.open(reduced_motion="reduce"), base_url)
        visits.close()


def order_everything(visitor: Any, app: Flask) -> None:
    """Let a visitor's orders, from 1001 on, come to an end of each tone, and fill the cart again."""
    for action in ("pay_exact", "pay_pending", "pay_short"):
        visitor.submit("/cart/ink/add")
        visitor.pay(action)
    with app.test_request_context():
        iterapay.cancel_order(visitor.order("pencils"))
    visitor.order("notebook")
    visitor.submit("/cart/notebook", quantity="99")


def test_no_page_has_a_fault(inspector: Inspector, visits, visitor, shop_app):
    """Empty and full, with an order and a donation in every tone that a status has."""
    faults = [fault for path in ("/cart", "/orders", "/donate", "/nowhere") for fault in inspector.find_faults(path)]
    visits.problems = [problem for problem in visits.problems if "/nowhere" not in problem]
    order_everything(visitor, shop_app)
    assert all(f"badge-{tone}" in visitor.get("/orders").text for tone in ("open", "check", "done", "over"))
    for action in ("pay_exact", "pay_pending", "aml_fail"):
        visitor.donate(action, method="5")
    assert all(f"badge-{tone}" in visitor.get("/donate").text for tone in ("open", "check"))
    inspector.sign_in(visitor)
    paths = ("/cart", "/", "/orders", "/donate", "/thanks/1002", *(f"/orders/100{number}" for number in (1, 3, 4, 5)))
    for path in paths:
        faults += inspector.find_faults(path)
    assert faults == []


def test_payment_pages_can_be_read_in_the_shops_colours(inspector: Inspector, visitor):
    """Choosing, paying and the receipt; the rest of them is looked after where they come from."""
    visitor.submit("/cart/ink/add")
    path = visitor.submit("/checkout").location
    steps = {
        "Choose how to pay": lambda: None,
        "Send exactly": lambda: visitor.submit(path, method="1"),
        "Paid, thank you": lambda: visitor.pay("pay_exact"),
    }
    for headline, step in steps.items():
        step()
        inspector.open(path)
        assert headline in inspector.page.inner_text("h1")
        assert inspector.run_axe(CONTRAST) == []


@pytest.mark.parametrize(
    ("file", "flaw", "fault"),
    [
        ("shop.css", ".intro p { color: #999; }", "light: color-contrast: .intro > p"),
        ("shop.css", f"{NIGHT} {{ .intro p {{ color: #444; }} }}", "dark: color-contrast: .intro > p"),
        ("shop.css", ".top { min-inline-size: 360px; }", "wide: 360 px"),
        ("shop.css", ".bottom a { min-block-size: 0; }", "small: Write to us"),
        ("payment.css", f"{NIGHT} {{ .iterapay {{ --ip-muted: #444; }} }}", "dark: color-contrast: legend"),
    ],
    ids=["day", "night", "too wide", "too small", "payment page"],
)
def test_a_fault_is_found(inspector: Inspector, visitor, file, flaw, fault):
    """Negative control: one rule more in a style sheet, and the page that has it is named."""

    def spoil(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=f"{answer.text()}\n{flaw}")

    visitor.submit("/cart/ink/add")
    path = "/" if file == "shop.css" else visitor.submit("/checkout").location
    inspector.page.route(f"**/{file}", spoil)
    assert f"{path}, {fault}" in inspector.find_faults(path)
