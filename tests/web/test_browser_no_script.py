"""The whole payment with JavaScript switched off: pages, links and buttons alone."""

import io
from typing import TYPE_CHECKING, Any

import pytest
import zxingcpp
from PIL import Image
from screens import (
    QUOTE_SECONDS,
    Step,
    act,
    break_gateway,
    cancel,
    choose,
    make_shop,
    pay_superseded,
    resolve,
    wait,
)
from shops import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

EXPIRED = "This price has expired"


class Visitor:
    """A customer whose browser runs no scripts, and the shop behind the page."""

    def __init__(self, page: "Page", shop: Shop, base_url: str) -> None:
        self.page = page
        self.shop = shop
        page.set_default_timeout(10_000)
        page.goto(base_url + shop.place(return_url="/thanks"))

    def choose(self, method: str) -> None:
        """Choose a method in the list."""
        self.page.get_by_label(method).check()
        self.press("Continue")

    def press(self, name: str) -> None:
        """Press a button, which loads a page."""
        self.page.get_by_role("button", name=name).click()

    def check(self) -> str:
        """Ask how the payment stands; returns the headline."""
        self.press("Check payment status")
        return self.read("h1")

    def read(self, selector: str) -> str:
        """The text of one element."""
        return self.page.locator(selector).inner_text()

    def scan(self) -> str:
        """What a phone reads from the code on the screen."""
        picture = Image.open(io.BytesIO(self.page.locator("[role=img] svg").screenshot()))
        [code] = zxingcpp.read_barcodes(picture, try_invert=False)
        return code.text


@pytest.fixture
def visitor(visits, tmp_path, relay):
    """Somebody at the picker of a shop that reads the gateway with every press of a button."""
    shop = make_shop(tmp_path)
    relay.app = shop.app
    return Visitor(visits.open(java_script_enabled=False), shop, relay.base_url)


def test_from_the_picker_to_the_receipt(visitor):
    """Choose, read, scan, change the method, check, be paid, and go back to the shop."""
    assert visitor.read("h1") == "Choose how to pay"
    visitor.choose("USDT on TRON")
    first = visitor.read("#ip-address")
    assert visitor.read("h1") == "Send exactly 25.012507 USDT"
    assert visitor.scan() == first
    visitor.page.get_by_text("Pay with another method").click()
    visitor.choose("BTC on Bitcoin")
    assert visitor.read("h1") == "Send exactly 0.00038911 BTC"
    assert visitor.scan() == visitor.read("#ip-address") != first
    assert visitor.check() == "Send exactly 0.00038911 BTC"
    act("pay_pending")(visitor.shop)
    assert visitor.check() == "Payment seen"
    act("settle")(visitor.shop)
    assert visitor.check() == "Paid, thank you"
    visitor.page.get_by_role("link", name="Return to the shop").click()
    assert visitor.read("h1") == "Thank you for your order"


def test_going_back_to_a_method_shows_its_first_address(visitor):
    """Nobody who has begun to copy one address is given another."""
    visitor.choose("USDT on TRON")
    first = visitor.read("#ip-address")
    for method in ("BTC on Bitcoin", "USDT on TRON"):
        visitor.page.get_by_text("Pay with another method").click()
        visitor.choose(method)
    assert visitor.read("#ip-address") == first


def test_nothing_is_chosen_for_a_customer(visitor):
    """The browser itself asks for a choice, in its own language."""
    visitor.press("Continue")
    assert visitor.read("h1") == "Choose how to pay"
    assert visitor.page.locator("input:invalid").count() > 0
    assert visitor.shop.order().invoices == ()


def test_a_price_is_renewed_at_the_same_address(visitor):
    """The old and the new amount are on the page, the order's amount stays, and the address is paid."""
    visitor.choose("USDT on TRON")
    address = visitor.read("#ip-address")
    visitor.shop.clock.advance(QUOTE_SECONDS)
    assert visitor.check() == EXPIRED
    assert visitor.page.locator("#ip-address").count() == 0
    visitor.press("Get a new price")
    assert visitor.read("h1") == "Send exactly 25.037520 USDT"
    notice = visitor.page.locator("main").get_by_text("The price was renewed").inner_text()
    assert [amount in notice for amount in ("25.012507", "25.037520", "25.00 USD")] == [True] * 3
    assert visitor.read("#ip-address") == visitor.scan() == address
    act("pay_exact")(visitor.shop)
    assert visitor.check() == "Paid, thank you"


def test_a_new_invoice_leaves_the_old_address_watched(visitor):
    """Money that comes to the address of the price before is the order's all the same."""
    visitor.choose("USDT on TRON")
    address = visitor.read("#ip-address")
    act("expire")(visitor.shop)
    assert visitor.check() == EXPIRED
    visitor.press("Get a new price")
    assert visitor.read("#ip-address") != address
    assert visitor.shop.order().invoices[0].address == address
    pay_superseded(visitor.shop)
    assert visitor.check() == "Checking for your payment"
    assert visitor.page.get_by_text("Please do not send again.").is_visible()
    resolve(is_accepted=True)(visitor.shop)
    assert visitor.check() == "Paid, thank you"


def test_a_changed_method_leaves_the_old_address_watched(visitor):
    """Who pays by the method that was chosen first has paid."""
    visitor.choose("USDT on TRON")
    choose("4")(visitor.shop)
    pay_superseded(visitor.shop)
    assert visitor.check() == "Paid, thank you"


ENDS: tuple[tuple[str, tuple[Step, ...]], ...] = (
    ("Payment seen", (act("pay_pending"),)),
    ("Paid, thank you", (act("pay_exact"),)),
    ("Paid, you sent more than asked", (act("pay_over"),)),
    ("We received less than the full amount", (act("pay_short"),)),
    ("We received part of your payment", (act("pay_short"), wait(QUOTE_SECONDS))),
    ("Checking for your payment", (act("pay_exact"), act("expire"))),
    ("Checking for your payment", (act("unknown_state"),)),
    (EXPIRED, (act("expire"),)),
    (EXPIRED, (wait(QUOTE_SECONDS),)),
    ("Payment arrived after the price expired", (act("pay_late"),)),
    ("Payment received, being checked", (act("aml_fail"),)),
    ("This order was cancelled", (cancel,)),
    ("We can’t refresh the status right now", (wait(QUOTE_SECONDS), break_gateway)),
)


@pytest.mark.parametrize(("headline", "steps"), ENDS)
def test_every_end_is_reached_with_a_button(visitor, headline, steps):
    """Pressing "Check payment status" brings the news, and nothing on the page waits for a script."""
    visitor.choose("USDT on TRON")
    for step in steps:
        step(visitor.shop)
    assert visitor.check() == headline
    assert visitor.page.locator("[data-script]:visible, meta[http-equiv=refresh i]").count() == 0
    reference = visitor.page.locator("footer").inner_text()
    assert "1042" in reference
    assert "Last update" in reference
    assert visitor.page.get_by_role("link", name="Contact support").is_visible()


def test_a_gateway_that_comes_back_is_found_with_a_button(visitor):
    """The last known state and its time are shown meanwhile, and the address stays."""
    visitor.choose("USDT on TRON")
    address = visitor.read("#ip-address")
    break_gateway(visitor.shop)
    assert visitor.check() == "Send exactly 25.012507 USDT"
    notice = visitor.page.locator("main").get_by_text("We can’t refresh the status right now.")
    assert notice.is_visible()
    assert visitor.read("#ip-address") == address
    visitor.shop.mend_gateway()
    act("pay_exact")(visitor.shop)
    visitor.shop.clock.advance(60)
    assert visitor.check() == "Paid, thank you"
    assert notice.count() == 0


def test_what_a_script_would_have_to_do_is_noticed(visitor):
    """A control: a button that only a script could make work is counted where it is shown."""
    visitor.choose("USDT on TRON")
    hidden: Any = visitor.page.locator("[data-script]")
    assert hidden.count() > 0
    visitor.page.evaluate("document.querySelector('[data-script]').hidden = false")
    assert visitor.page.locator("[data-script]:visible").count() == 1
