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
    close,
    come,
    make_shop,
    pay_superseded,
    prepare_link,
    resolve,
    send,
    set_sandbox,
    wait,
)
from shops import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

EXPIRED = "This price has expired"
LIST = "section .ip-facts"
TELL = {"transaction_detail": "told", "reusable_address": "new"}


class Visitor:
    """Somebody whose browser runs no scripts, and the shop behind the page."""

    def __init__(self, page: "Page", shop: Shop, base_url: str) -> None:
        self.page = page
        self.shop = shop
        self.base_url = base_url
        page.set_default_timeout(10_000)

    def open(self, path: str) -> None:
        """Go to a page of the shop."""
        self.page.goto(self.base_url + path)

    def open_link(self, *steps: Step, **terms: object) -> str:
        """Make a payment link, prepare it like this, and go to its page; returns the path."""
        path = prepare_link(self.shop, *steps, description="Notebooks for the library", **terms)
        self.open(path)
        return path

    def take_address(self, method: str = "USDT on TRON") -> str:
        """Choose a method on a link's page; returns the address that the visit is given."""
        self.choose(method)
        self.shop.visits.append(self.page.url.removeprefix(self.base_url))
        return self.read("#ip-address")

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
def guest(visits, tmp_path, relay):
    """Somebody who has yet to open a page of a shop that reads the gateway with every press of a button."""
    shop = make_shop(tmp_path, ITERAPAY_ADDRESSES_PER_HOUR=2)
    relay.app = shop.app
    return Visitor(visits.open(java_script_enabled=False), shop, relay.base_url)


@pytest.fixture
def visitor(guest):
    """Somebody at the picker of an order."""
    guest.open(guest.shop.place(return_url="/thanks"))
    return guest


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


class TestLink:
    def test_from_the_link_to_the_thanks(self, guest):
        """Choose, read, scan, send, check, be thanked, and come back to the link for more."""
        guest.open_link(set_sandbox(**TELL), minimum="20.00")
        assert guest.read("h1") == "Choose how to pay"
        assert guest.take_address() == guest.scan()
        assert guest.read("h1") == "Send USDT to this address"
        assert guest.page.get_by_text("20.00 USD or more").is_visible()
        for action, headline in (("pay_pending", "Payment seen"), ("settle", "Received, thank you")):
            send(action)(guest.shop)
            assert guest.check() == headline
            assert guest.read("main .ip-facts").startswith("2026-01-15 10:30 UTC")
        guest.page.get_by_role("link", name="Make another payment").click()
        assert guest.read("h1") == "Choose how to pay"
        assert "USDT on TRON · received" in guest.read(LIST)

    def test_a_payment_is_listed_where_nobody_can_tell_whose_it_is(self, guest):
        """As documented, the gateway names no address; who has paid sees that something has come."""
        guest.open_link()
        guest.take_address()
        assert guest.page.locator(LIST).count() == 0
        send("pay_pending")(guest.shop)
        assert guest.check() == "Send USDT to this address"
        assert guest.read("h2") == "Payments on this link since you came"
        assert guest.read(LIST).endswith("USDT on TRON · being confirmed")
        send("settle")(guest.shop)
        assert guest.check() == "Send USDT to this address"
        assert guest.read(LIST).endswith("USDT on TRON · received")

    def test_a_second_visit_has_an_address_of_its_own(self, guest):
        """The link can be opened again for another method, and the first page stays where it was."""
        link = guest.open_link()
        first = guest.take_address()
        guest.open(link)
        assert guest.take_address("BTC on Bitcoin") != first
        assert guest.read("h1") == "Send BTC to this address"
        guest.open(guest.shop.visits[0])
        assert guest.read("#ip-address") == first

    def test_who_asks_for_too_many_is_told_so(self, guest, visits):
        """The list stays, with the choice, and the pages of before have their addresses."""
        link = guest.open_link()
        for _ in range(2):
            guest.take_address()
            guest.open(link)
        guest.choose("BTC on Bitcoin")
        assert guest.read("main [role=alert]").startswith("Many addresses were asked for from your connection.")
        assert guest.page.get_by_label("BTC on Bitcoin").is_checked()
        guest.open(guest.shop.visits[0])
        assert guest.page.locator("#ip-address").is_visible()
        guest.shop.clock.advance(3600)
        guest.open(link)
        assert guest.take_address()
        [problem] = visits.problems
        assert "429" in problem
        visits.problems.clear()

    def test_an_address_that_comes_late_is_asked_for_with_a_button(self, guest, visits):
        """While the gateway gives none, the page says so with every press; then it has one."""
        guest.open_link(set_sandbox(api_fault="500", fault_operation="address", fault_calls="0"))
        guest.choose("USDT on TRON")
        assert guest.read("h1") == "Preparing your payment"
        for _ in range(2):
            guest.shop.clock.advance(60)
            assert guest.check() == "Preparing your payment"
            assert guest.page.get_by_text("We can’t prepare an address right now.").is_visible()
        guest.shop.mend_gateway()
        guest.shop.clock.advance(60)
        assert guest.check() == "Send USDT to this address"
        assert guest.scan() == guest.read("#ip-address")
        assert all("503" in problem for problem in visits.problems)
        visits.problems.clear()

    def test_a_link_that_is_closed_meanwhile_gives_no_address(self, guest):
        """Neither to who has chosen already, nor to who comes later, nor on the pages of before."""
        link = guest.open_link()
        guest.take_address()
        guest.open(link)
        close(guest.shop)
        guest.choose("USDT on TRON")
        for path in (None, link, guest.shop.visits[0]):
            if path:
                guest.open(path)
            assert guest.read("h1") == "This payment link is closed"
            assert guest.page.get_by_text("Please do not send anything to its addresses any more.").is_visible()
            assert guest.page.get_by_role("button").or_(guest.page.locator("#ip-address")).count() == 0

    @pytest.mark.parametrize(
        ("headline", "step"),
        [
            ("Payment seen", send("pay_pending")),
            ("Payment received, being checked", send("aml_fail")),
            ("Received, thank you", send("pay_exact")),
            ("Send USDT to this address", send("pay_dust")),
            ("Send USDT to this address", break_gateway),
            ("This payment link is closed", close),
        ],
    )
    def test_every_end_is_reached_with_a_button(self, guest, headline, step):
        """Nothing on the page waits for a script, and the reference and the way to support are there."""
        guest.open_link(set_sandbox(**TELL), come())
        guest.open(guest.shop.visits[-1])
        step(guest.shop)
        assert guest.check() == headline
        assert guest.page.locator("[data-script]:visible, meta[http-equiv=refresh i]").count() == 0
        visit = guest.shop.visit(guest.shop.visits[-1])
        assert visit.reference in guest.read("footer")
        assert guest.page.get_by_role("link", name="Contact support").is_visible()
