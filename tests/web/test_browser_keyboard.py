"""A payment without a mouse: Tab, the arrows, Space and Enter lead from the picker to the shop, or back to the link."""

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from jinja2 import DictLoader
from screens import act, break_gateway, come, send, set_sandbox

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

# Where the focus is: the element's own words or value, and its place on the page.
FOCUS = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const { left, right, top, bottom } = element.getBoundingClientRect();
  const words = (element.labels?.[0] ?? element).textContent.trim();
  const isRinged = element.matches(":focus-visible");
  return { words, left, right, top: top + scrollY, bottom: bottom + scrollY, isRinged };
}"""
MAX_STOPS = 30
TELL = set_sandbox(transaction_detail="told", reusable_address="new")
FAULTY = '{{% extends "iterapay/{}.html" %}}{{% block {} %}}{}{{% endblock %}}'


class Keyboard:
    """Presses keys, and knows what has the focus."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def focus(self) -> str | None:
        """The words of what has the focus, ``None`` if nothing has."""
        found = self.page.evaluate(FOCUS)
        return found and found["words"]

    def tab_to(self, words: str) -> None:
        """Press Tab until something with these words has the focus, within one round of the page."""
        for _ in range(MAX_STOPS):
            self.press("Tab")
            if words in (self.focus() or ""):
                return
        raise AssertionError(f"Tab does not come to {words!r}")

    def tab_through(self) -> list[dict]:
        """Every stop of Tab on the page, in order."""
        stops = []
        self.press("Tab")
        while (stop := self.page.evaluate(FOCUS)) is not None:
            stops.append(stop)
            assert len(stops) < MAX_STOPS
            self.press("Tab")
        return stops


def find_jump(stops: list[dict], *, is_mirrored: bool = False) -> tuple[str, str] | None:
    """The first two stops of which the second stands before the first in reading order."""
    for one, two in pairwise(stops):
        is_above = two["bottom"] <= one["top"]
        is_same_row = two["top"] < one["bottom"] and one["top"] < two["bottom"]
        is_before = two["left"] >= one["right"] if is_mirrored else two["right"] <= one["left"]
        if is_above or (is_same_row and is_before):
            return one["words"], two["words"]
    return None


class TestWalk:
    def test_a_payment_needs_no_mouse(self, customer):
        """Choose, copy, change the method, check, and be taken from the poll's news to the way back."""
        page = customer.open(method=None, permissions=["clipboard-read", "clipboard-write"])
        keys = Keyboard(page)
        keys.tab_to("USDT on TRON")
        keys.press("ArrowDown", "ArrowDown", "ArrowUp")
        assert keys.focus() == "USDT on Ethereum"
        keys.tab_to("Continue")
        keys.press("Enter")
        customer.see("Send exactly 25.012507 USDT")
        keys.tab_to("Copy address")
        keys.press("Space")
        page.get_by_role("button", name="Copied").wait_for()
        assert keys.focus() == "Copied"
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("#ip-address").inner_text()
        keys.tab_to("Check payment status")
        with page.expect_navigation():
            keys.press("Enter")
        keys.tab_to("Pay with another method")
        keys.press("Enter")
        keys.tab_to("USDT on")
        keys.press("ArrowDown")
        while keys.focus() != "BTC on Bitcoin":
            keys.press("ArrowDown")
        keys.tab_to("Continue")
        keys.press("Space")
        customer.see("Send exactly 0.00038911 BTC")
        keys.tab_to("Check payment status")
        customer.shop.act("pay_exact")
        customer.poll(customer.pause())
        customer.see("Paid, thank you")
        assert keys.focus() == "Paid, thank you"
        keys.tab_to("Return to the shop")
        keys.press("Enter")
        page.get_by_role("heading", name="Thank you for your order").wait_for()

    def test_an_expired_price_is_renewed(self, customer):
        """From the news of the end, the next stop of Tab is the new price."""
        page = customer.open()
        keys = Keyboard(page)
        keys.tab_to("Copy address")
        customer.shop.act("expire")
        customer.poll()
        customer.see("This price has expired")
        assert keys.focus() == "This price has expired"
        keys.press("Tab")
        assert keys.focus() == "Get a new price"
        keys.press("Space")
        customer.see("Send exactly")

    @pytest.mark.parametrize("stop", ["Copy amount", "Copy address", "Check payment status", "Pay with another method"])
    @pytest.mark.parametrize("step", [break_gateway, act("pay_pending")], ids=["same page", "other page"])
    def test_no_news_takes_the_focus_away(self, customer, stop, step):
        """It stays on what is still there, and goes to the heading from what is gone, never to the page as a whole."""
        page = customer.open()
        keys = Keyboard(page)
        keys.tab_to(stop)
        old = page.locator("main").get_attribute("data-revision")
        step(customer.shop)
        customer.poll()
        page.locator(f"main:not([data-revision='{old}'])").wait_for()
        stays = step is break_gateway or stop == "Check payment status"
        assert keys.focus() == (stop if stays else "Payment seen")

    def test_a_visit_to_a_link_needs_no_mouse(self, customer):
        """Choose, copy, check, be taken from the poll's news to the way back, and begin again."""
        page = customer.open_link(TELL, permissions=["clipboard-read", "clipboard-write"])
        keys = Keyboard(page)
        keys.tab_to("USDT on TRON")
        keys.press("ArrowDown", "ArrowDown", "ArrowDown")
        assert keys.focus() == "BTC on Bitcoin"
        keys.tab_to("Continue")
        keys.press("Enter")
        customer.see("Send BTC to this address")
        keys.tab_to("Choose another method")
        keys.press("Enter")
        customer.see("Choose how to pay")
        keys.tab_to("USDT on TRON")
        keys.press("Space")
        keys.tab_to("Continue")
        keys.press("Space")
        customer.see("Send USDT to this address")
        customer.shop.visits.append(page.url.removeprefix(customer.base_url))
        keys.tab_to("Copy address")
        keys.press("Space")
        page.get_by_role("button", name="Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == page.locator("#ip-address").inner_text()
        keys.tab_to("Check payment status")
        with page.expect_navigation():
            keys.press("Enter")
        keys.tab_to("Copy address")
        send("pay_exact")(customer.shop)
        customer.poll(customer.pause())
        customer.see("Received, thank you")
        assert keys.focus() == "Received, thank you"
        keys.press("Tab")
        assert keys.focus() == "Make another payment"
        keys.press("Enter")
        customer.see("Choose how to pay")

    @pytest.mark.parametrize("stop", ["Copy address", "Check payment status", "Contact support"])
    @pytest.mark.parametrize(
        ("step", "headline"),
        [
            (break_gateway, "Send USDT to this address"),
            (send("pay_exact", visit=0), "Send USDT to this address"),
            (send("pay_exact"), "Received, thank you"),
        ],
        ids=["same page", "somebody else's payment", "other page"],
    )
    def test_no_news_of_a_visit_takes_the_focus_away(self, customer, stop, step, headline):
        """The same at a link, where the page also changes with what others pay."""
        page = customer.open_visit(TELL, come("4"), come())
        keys = Keyboard(page)
        keys.tab_to(stop)
        old = page.locator("main").get_attribute("data-revision")
        step(customer.shop)
        customer.poll(customer.pause())
        page.locator(f"main:not([data-revision='{old}'])").wait_for()
        customer.see(headline)
        is_gone = stop == "Copy address" and headline == "Received, thank you"
        assert keys.focus() == (headline if is_gone else stop)


class TestOrder:
    @pytest.mark.parametrize("width", [1280, 320])
    @pytest.mark.parametrize("locale", ["en", "ar"])
    def test_tab_goes_as_one_reads(self, customer, width, locale):
        """Down the page, along each line, every stop with its ring, and back to the start without a trap."""
        page = customer.open(viewport={"width": width, "height": 800}, locale=locale)
        is_mirrored = page.evaluate("getComputedStyle(document.documentElement).direction") == "rtl"
        assert is_mirrored is (locale == "ar")
        page.locator("#ip-change-summary").press("Enter")
        page.locator("h1").focus()
        stops = Keyboard(page).tab_through()
        assert len(stops) >= 6
        assert find_jump(stops, is_mirrored=is_mirrored) is None
        assert [stop["words"] for stop in stops if not stop["isRinged"]] == []

    @pytest.mark.parametrize("width", [1280, 320])
    @pytest.mark.parametrize("locale", ["en", "ar"])
    @pytest.mark.parametrize("is_visit", [True, False], ids=["visit", "link"])
    def test_tab_goes_as_one_reads_at_a_link(self, customer, width, locale, is_visit):
        """The same on the two pages where a visitor has something to do, with a list below."""
        open_page = customer.open_visit if is_visit else customer.open_link
        steps = (come("4"), come(), send("pay_exact"), send("pay_pending", visit=0))
        page = open_page(*steps, viewport={"width": width, "height": 800}, locale=locale)
        page.locator("h1").focus()
        stops = Keyboard(page).tab_through()
        # The group of methods is one stop.
        assert len(stops) == (4 if is_visit else 3)
        assert find_jump(stops, is_mirrored=locale == "ar") is None
        assert [stop["words"] for stop in stops if not stop["isRinged"]] == []

    def test_a_stop_out_of_order_is_found(self, customer):
        """A shop that puts a button first with ``tabindex`` hears of it."""
        template = FAULTY.format("states/waiting", "check", '{{ super() }}<button tabindex="1">Last</button>')
        customer.shop.app.jinja_loader = DictLoader({"iterapay/checkout.html": template})
        page = customer.open()
        stops = Keyboard(page).tab_through()
        assert find_jump(stops) is not None

    def test_a_lost_focus_is_found(self, customer):
        """A heading that cannot take the focus leaves it with nobody."""
        template = FAULTY.format("page", "content", '{{ super()|replace("tabindex", "data-was") }}')
        customer.shop.app.jinja_loader = DictLoader({"iterapay/states/confirming.html": template})
        page = customer.open()
        keys = Keyboard(page)
        keys.tab_to("Copy address")
        customer.shop.act("pay_pending")
        customer.poll()
        page.locator("main[data-state=confirming]").wait_for()
        assert keys.focus() is None
