"""The payment page in a real browser: what its script does, and what it must never do.

The shop's clock stands still until a test moves it, and so does the browser's. Time in the browser is moved by
``run_for``, so that pauses and time-outs cost nothing.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from builders import START
from jinja2 import DictLoader
from servers import serving
from shops import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response, Route

pytestmark = pytest.mark.browser

Step = Callable[[Shop], object]

POLL_SECONDS = 3
READ_SECONDS = 60
"""Within this time the shop reads the gateway for any page that still polls."""
QUOTE_SECONDS = 900
STATUS = re.compile(r"/status$")
PAGE = re.compile(r"/pay/[^/]+$")
ASKING, SEEN, PAID, EXPIRED = "Send exactly", "Payment seen", "Paid, thank you", "This price has expired"
UNREACHABLE = "We can’t refresh the status right now."

# Writes down every sentence that is put into a live region.
LISTEN = """
window.heard = [];
new MutationObserver((records) => {
  for (const { target, addedNodes } of records) {
    if (target.dataset?.live && addedNodes.length) heard.push([target.dataset.live, target.textContent]);
  }
}).observe(document, { childList: true, subtree: true });
"""
MARK = "document.querySelector('main').classList.add('old')"
WIDTH = """(style) => {
  document.documentElement.style.cssText = style;
  return document.documentElement.scrollWidth;
}"""
# A request that is sent after all others, so that none is still on its way when this one is answered.
FETCH_SOMETHING = "fetch('/pay/static/checkout.js').then((answer) => answer.text())"
SHOW = """(state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


def prepare(shop: Shop, *steps: Step, method: str | None = "1") -> str:
    """Place an order, choose a method, and let ``steps`` happen; returns the path of the page."""
    path = shop.place()
    if method:
        shop.choose(path, method)
    for step in steps:
        step(shop)
    return path


def stop_clock(page: "Page", now: datetime) -> None:
    """Let a page's clock stand still from its next load on."""
    page.clock.install(time=now - timedelta(hours=1))
    page.clock.pause_at(now)


class Customer:
    """Somebody with an order's page open, and the shop behind it."""

    def __init__(self, visits: Any, shop: Shop, base_url: str) -> None:
        self.visits = visits
        self.shop = shop
        self.base_url = base_url
        self.polls: list[str] = []
        self.page: Page

    def open(self, *steps: Step, method: str | None = "1", days_ahead: int = -1, **options: Any) -> "Page":
        """Open the page of an order that was prepared like this.

        The browser's clock is ``days_ahead`` of the shop's; the other options are those of a browser context.
        """
        path = prepare(self.shop, *steps, method=method)
        self.page = self.visits.open(**options)
        self.page.set_default_timeout(10_000)
        self.page.on("request", self._note)
        self.page.add_init_script(LISTEN)
        stop_clock(self.page, self.shop.clock.now + timedelta(days=days_ahead))
        self.page.goto(self.base_url + path)
        return self.page

    def _note(self, request: Any) -> None:
        if STATUS.search(request.url):
            self.polls.append(request.url)

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.shop.clock.advance(seconds)
        self.page.clock.run_for(round(seconds * 1000))

    def poll(self, seconds: float = POLL_SECONDS) -> "Response":
        """Let time pass in which the page is to ask for the status."""
        with self.page.expect_response(STATUS) as response:
            self.pass_time(seconds)
        return response.value

    def poll_without_news(self) -> None:
        """Let the page ask, and wait until it has dealt with an answer that changes nothing but the last update."""
        self.shop.clock.advance(READ_SECONDS)
        self.poll(self.pause())
        now = self.shop.clock.now.isoformat(timespec="seconds")
        self.page.locator(f"[data-updated][datetime='{now}']").wait_for()

    def pause(self) -> int:
        """Seconds until the next poll."""
        return int(self.page.locator("main").get_attribute("data-next-poll") or 0)

    def see(self, headline: str) -> None:
        """Wait for a page, and until it was announced."""
        self.page.get_by_role("heading", name=headline).wait_for()
        self.page.clock.run_for(200)

    def see_notice(self, words: str) -> None:
        """Wait for a notice, and until it was announced."""
        self.page.locator("main .ip-notice").filter(has_text=words).wait_for()
        self.page.clock.run_for(200)

    def hear(self) -> list[list[str]]:
        """Everything announced so far: how politely, and what."""
        return self.page.evaluate("heard")

    def time_left(self) -> int:
        """Seconds on the countdown."""
        minutes, seconds = self.page.get_by_role("timer").inner_text().split(":")
        return int(minutes) * 60 + int(seconds)

    def forgive(self, words: str) -> None:
        """Take out the problems that the test provoked; there must be one."""
        provoked = [problem for problem in self.visits.problems if words in problem]
        assert provoked
        for problem in provoked:
            self.visits.problems.remove(problem)


@pytest.fixture
def shop(tmp_path):
    """A shop whose pages bring news with every poll."""
    return make_shop(tmp_path)


def make_shop(folder: Path) -> Shop:
    """A shop that may read the sandbox every second, and has the icon that every browser asks a site for."""
    shop = Shop(folder, ITERAPAY_SYNC_SECONDS=1)
    shop.app.add_url_rule("/favicon.ico", view_func=lambda: ("", 204))
    return shop


class Relay:
    """A WSGI app that is whichever app the present test has: one server for all, since a server is slow to stop."""

    app: Any = None
    base_url: str = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.app(environ, start_response)


@pytest.fixture(scope="module")
def relay():
    """The server of this module."""
    relay = Relay()
    with serving(relay) as relay.base_url:
        yield relay


@pytest.fixture
def customer(visits, shop, relay):
    """A customer of the shop."""
    relay.app = shop.app
    return Customer(visits, shop, relay.base_url)


def act(action: str) -> Step:
    """A step: something happens at the gateway, and the shop may ask it again."""

    def step(shop: Shop) -> None:
        shop.act(action)
        shop.clock.advance(1)

    return step


def wait(seconds: int) -> Step:
    """A step: time passes at the shop."""
    return lambda shop: shop.clock.advance(seconds)


def look(shop: Shop) -> None:
    """A step: somebody looks at the page."""
    shop.state.service.poll("1042")


def break_gateway(shop: Shop) -> None:
    """A step: the gateway fails from now on, and the shop may ask it again."""
    shop.break_gateway()
    shop.clock.advance(1)


def cancel(shop: Shop) -> None:
    """A step: the shop cancels the order."""
    with shop.app.app_context():
        shop.iterapay.cancel_order("1042")


class TestCountdown:
    def test_it_counts_what_the_server_says_is_left(self, customer):
        """A browser's clock may be a day off, and a browser that slept is put right by its next poll."""
        page = customer.open(days_ahead=1)
        assert customer.time_left() == QUOTE_SECONDS
        page.clock.run_for(2500)
        assert customer.time_left() == pytest.approx(QUOTE_SECONDS - 2, abs=1)
        customer.shop.clock.advance(500)
        page.clock.run_for(500)
        page.get_by_role("timer").get_by_text("06:40").wait_for()

    def test_zero_asks_the_server(self, customer):
        """The end of the price is news to be fetched, before the next poll would be due."""
        customer.shop.set_sandbox(quote_seconds="1")
        customer.open()
        customer.poll(POLL_SECONDS - 0.5)
        customer.see(EXPIRED)
        assert len(customer.polls) == 1

    def test_zero_decides_nothing(self, customer):
        """A browser whose clock runs too fast goes on showing what the server says."""
        customer.shop.set_sandbox(quote_seconds="1")
        page = customer.open()
        address = page.locator("#ip-address").inner_text()
        with page.expect_response(STATUS):
            page.clock.run_for(2500)
        page.get_by_role("timer").get_by_text("00:01").wait_for()
        assert page.locator("#ip-address").inner_text() == address

    def test_both_warnings_are_given_once(self, customer):
        """Five minutes and one minute before the end, and at no other time."""
        customer.shop.set_sandbox(quote_seconds="310")
        page = customer.open()
        page.route(STATUS, lambda route: None)
        page.clock.run_for(5_000)
        assert customer.hear() == []
        page.clock.run_for(260_000)
        assert customer.time_left() == pytest.approx(45, abs=1)
        warnings = [[politeness, words] for politeness, words in customer.hear() if "left to send" in words]
        assert warnings == [["polite", "5 minutes left to send."], ["polite", "1 minute left to send."]]

    def test_a_clock_that_is_set_back_a_little_does_not_warn_again(self, customer):
        """A slow answer can put the countdown before a mark that it had passed."""
        customer.shop.set_sandbox(quote_seconds="301")
        page = customer.open()
        page.clock.run_for(2500)
        assert customer.hear() == [["polite", "5 minutes left to send."]]
        page.clock.run_for(500)
        page.get_by_role("timer").get_by_text("05:01").wait_for()
        page.clock.run_for(2500)
        assert customer.time_left() < 300
        assert len(customer.hear()) == 1

    def test_a_day_or_more_is_not_counted(self, customer):
        """The clock has no place for days; the date of the end is on the page."""
        customer.shop.set_sandbox(quote_seconds="86400")
        page = customer.open()
        assert page.get_by_text("before 2026-01-16 10:30 UTC").is_visible()
        assert page.get_by_text("Time left").count() == 0


class TestPolling:
    def test_it_stops_at_paid(self, customer):
        """A paid order is not asked for again: neither in time, nor by who comes back to it or loads it anew."""
        page = customer.open()
        customer.shop.act("pay_exact")
        customer.poll()
        customer.see(PAID)
        for return_to_it in (lambda: page.evaluate(SHOW, "visible"), page.reload):
            customer.pass_time(600)
            return_to_it()
        customer.pass_time(600)
        page.evaluate(FETCH_SOMETHING)
        assert len(customer.polls) == 1

    def test_it_pauses_while_hidden_and_asks_at_once_when_shown(self, customer):
        """A tab in the background costs nothing, and is up to date as soon as somebody looks."""
        page = customer.open()
        page.evaluate(SHOW, "hidden")
        customer.pass_time(120)
        customer.shop.act("pay_exact")
        assert page.get_by_role("heading", name=ASKING).is_visible()
        page.evaluate(SHOW, "visible")
        customer.poll(0.001)
        customer.see(PAID)
        assert len(customer.polls) == 1

    def test_it_asks_at_once_when_the_network_is_back(self, customer):
        """A phone that comes out of a tunnel does not wait for the pause to end."""
        page = customer.open()
        page.context.set_offline(True)
        with page.expect_event("requestfailed"):
            customer.pass_time(POLL_SECONDS)
        customer.shop.act("pay_exact")
        page.evaluate("addEventListener('online', () => { document.body.dataset.isOnline = ''; })")
        page.context.set_offline(False)
        page.locator("[data-is-online]").wait_for()
        customer.poll(0.1)
        customer.see(PAID)
        customer.forgive("net::ERR_INTERNET_DISCONNECTED")

    @pytest.mark.parametrize(("url", "status"), [(STATUS, 429), (PAGE, 503)])
    def test_it_obeys_retry_after(self, customer, url, status):
        """Whether the status or the page refuses, nothing is asked sooner, not even for a customer who looks."""
        page = customer.open()
        page.route(url, lambda route: route.fulfill(status=status, headers={"Retry-After": "45"}), times=1)
        customer.shop.act("pay_exact")
        with page.expect_response(url):
            customer.pass_time(POLL_SECONDS)
        customer.pass_time(20)
        page.evaluate(SHOW, "visible")
        customer.pass_time(24.9)
        assert len(customer.polls) == 1
        customer.poll(0.2)
        customer.see(PAID)
        assert len(customer.polls) == 2
        customer.forgive(f"status of {status}")

    def test_it_gives_up_on_an_answer_that_does_not_come(self, customer):
        """One request that hangs does not end the updates."""
        page = customer.open()
        page.route(STATUS, lambda route: None, times=1)
        with page.expect_request(STATUS):
            customer.pass_time(POLL_SECONDS)
        customer.shop.act("pay_exact")
        with page.expect_event("requestfailed"):
            customer.pass_time(15)
        customer.poll(10)
        customer.see(PAID)

    def test_it_backs_off_when_the_shop_fails(self, customer):
        """Pauses double up to a minute; the trouble is said once, and taken back when it is over."""
        page = customer.open()
        page.route(STATUS, lambda route: route.fulfill(status=500))
        notice = page.get_by_text("We can’t reach the shop right now.").and_(page.locator("[data-offline]"))
        customer.poll()
        assert not notice.is_visible()
        for number, pause in enumerate((10, 20, 40, 60, 60), 1):
            customer.pass_time(pause - 0.1)
            assert len(customer.polls) == number
            assert customer.poll(0.1).status == 500
            notice.wait_for()
        [[politeness, words]] = customer.hear()
        assert politeness == "polite"
        assert words == notice.inner_text()
        page.unroute(STATUS)
        customer.poll(60)
        notice.wait_for(state="hidden")
        customer.forgive("status of 500")


class TestChange:
    @pytest.mark.parametrize(
        ("action", "politeness", "words"),
        [
            ("pay_pending", "polite", SEEN),
            ("pay_exact", "polite", PAID),
            ("pay_over", "polite", "Paid, you sent more than asked"),
            ("pay_short", "assertive", "We received less than the full amount"),
            ("expire", "assertive", EXPIRED),
            ("pay_late", "polite", "Payment arrived after the price expired"),
            ("aml_fail", "polite", "Payment received, being checked"),
            ("unknown_state", None, "Checking for your payment"),
        ],
    )
    def test_it_is_swapped_in_and_announced_once(self, customer, action, politeness, words):
        """Heading and title change without a reload, and are told once, as urgently as they are."""
        page = customer.open()
        loads: list[str] = []
        page.on("load", lambda page: loads.append(page.url))
        customer.shop.act(action)
        customer.poll()
        customer.see(words)
        assert page.title() == f"{words} · Order 1042"
        if customer.pause():
            customer.poll_without_news()
        assert customer.hear() == ([[politeness, words]] if politeness else [])
        assert loads == []

    def test_a_gateway_that_is_away_is_told_once_and_so_is_its_return(self, customer):
        """The address stays on the page, under a notice."""
        page = customer.open()
        customer.shop.break_gateway()
        customer.poll()
        customer.see_notice(UNREACHABLE)
        assert page.locator("#ip-address").is_visible()
        pause = customer.pause()
        customer.poll(pause)
        page.locator(f"main:not([data-next-poll='{pause}'])").wait_for()
        customer.shop.mend_gateway()
        customer.poll(customer.pause())
        page.locator("main .ip-notice").wait_for(state="detached")
        page.clock.run_for(200)
        amount = page.locator("#ip-amount").inner_text()
        assert customer.hear() == [["polite", UNREACHABLE], ["polite", f"Send exactly {amount} USDT"]]

    def test_a_change_under_the_same_heading_is_silent(self, customer):
        """A refused transfer brings a notice, and the heading is not read out again."""
        customer.open()
        customer.shop.act("pay_dust")
        customer.poll()
        customer.see_notice("A transfer for this order was refused")
        assert customer.hear() == []

    def test_what_was_opened_and_chosen_outlives_polls_and_news(self, customer):
        """A poll without news leaves the very same elements; a new page has the same list open, and the same choice."""
        page = customer.open()
        page.get_by_text("Pay with another method").click()
        choice = page.get_by_label("BTC on Bitcoin")
        choice.check()
        page.evaluate(MARK)
        for _ in range(2):
            customer.poll_without_news()
            assert choice.is_visible()
            assert choice.is_checked()
        assert page.locator("main.old").count() == 1
        assert customer.hear() == []
        break_gateway(customer.shop)
        customer.poll(customer.pause())
        page.locator("main.old").wait_for(state="detached")
        assert choice.is_visible()
        assert choice.is_checked()

    def test_a_choice_is_not_carried_over_to_another_method(self, customer):
        """If the list of methods changed, nothing is chosen that the customer did not choose."""

        def swap_methods(route: "Route") -> None:
            response = route.fetch()
            route.fulfill(response=response, body=response.text().replace('value="4"', 'value="9"'))

        page = customer.open()
        page.get_by_text("Pay with another method").click()
        page.locator("[value='4']").check()
        page.route(PAGE, swap_methods)
        break_gateway(customer.shop)
        customer.poll()
        customer.see_notice(UNREACHABLE)
        assert page.locator("[value='9']").is_visible()
        assert not page.locator("[value='9']").is_checked()

    @pytest.mark.parametrize(
        ("before", "step", "after"),
        [
            ("#ip-check", break_gateway, "#ip-check"),
            ("#ip-change-summary", break_gateway, "#ip-change-summary"),
            ("#ip-address-copy", act("pay_pending"), "h1"),
            ("h1", act("pay_pending"), "h1"),
            ("footer a", act("pay_pending"), "footer a"),
            (None, act("pay_pending"), "body"),
        ],
    )
    def test_focus_stays_where_it_was_or_goes_to_the_heading(self, customer, before, step, after):
        """Nobody who uses a keyboard is thrown back to the top, and nobody's focus is taken from elsewhere."""
        customer.shop.app.jinja_loader = DictLoader({"iterapay/_support.html": '<a href="/help">Help</a>'})
        page = customer.open()
        if before:
            page.locator(before).focus()
        page.evaluate(MARK)
        step(customer.shop)
        customer.poll()
        page.locator("main.old").wait_for(state="detached")
        assert page.locator(after).evaluate("element => element === document.activeElement")

    def test_a_shop_with_a_footer_of_its_own_has_a_page_that_updates(self, customer):
        """A block that a shop may replace is not needed by the script, whatever goes well or fails."""
        template = '{% extends "iterapay/states/" ~ view.state ~ ".html" %}{% block footer %}Our words{% endblock %}'
        customer.shop.app.jinja_loader = DictLoader({"iterapay/checkout.html": template})
        page = customer.open()
        page.route(STATUS, lambda route: route.fulfill(status=500), times=2)
        customer.poll()
        customer.poll(10)
        page.locator("[data-offline]").wait_for()
        customer.poll(20)
        page.locator("[data-offline]").wait_for(state="hidden")
        customer.shop.act("pay_exact")
        customer.poll(customer.pause())
        customer.see(PAID)
        customer.forgive("status of 500")

    def test_a_payment_from_choice_to_receipt_raises_no_complaint(self, customer):
        """No error, no violated policy, and each step told once."""
        page = customer.open(method=None)
        page.get_by_label("USDT on TRON").check()
        page.get_by_role("button", name="Continue").click()
        customer.see(ASKING)
        for action, words in (("pay_pending", SEEN), ("settle", PAID)):
            customer.shop.act(action)
            customer.poll(customer.pause())
            customer.see(words)
        assert customer.hear() == [["polite", SEEN], ["polite", PAID]]


class TestCopying:
    def test_copied_is_said_of_what_is_in_the_clipboard(self, customer):
        """The clipboard holds exactly what the page shows, and the button gets its own name back."""
        page = customer.open(permissions=["clipboard-read", "clipboard-write"])
        invoice = customer.shop.order().current_invoice
        for name, text in (("Copy address", invoice.address), ("Copy amount", invoice.pay_amount)):
            page.get_by_role("button", name=name).click()
            page.get_by_role("button", name="Copied").wait_for()
            assert page.evaluate("navigator.clipboard.readText()") == text
            page.clock.run_for(3000)
            assert page.get_by_role("button", name=name).is_visible()
        assert customer.hear() == [["polite", "Copied"]] * 2

    @pytest.mark.parametrize("clipboard", ["undefined", "{ writeText: () => Promise.reject(new Error('refused')) }"])
    def test_without_a_clipboard_the_text_is_selected(self, customer, clipboard):
        """Nobody is told "copied" who would then paste something else."""
        page = customer.open()
        page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{ value: {clipboard} }})")
        button = page.locator("#ip-address-copy")
        button.click()
        button.filter(has_text="Selected, now copy it").wait_for()
        assert page.evaluate("getSelection().toString()") == customer.shop.order().current_invoice.address
        page.clock.run_for(200)
        assert customer.hear() == [["polite", "Selected, now copy it"]]

    @pytest.mark.parametrize("has_script", [True, False])
    def test_there_are_no_dead_buttons_without_a_script(self, visits, shop, relay, has_script):
        """What needs the script is not shown where there is none."""
        relay.app = shop.app
        page = visits.open(java_script_enabled=has_script)
        page.goto(relay.base_url + prepare(shop))
        assert page.get_by_role("button", name="Copy").count() == (2 if has_script else 0)
        assert page.get_by_text("Time left").is_visible() is has_script
        assert page.get_by_text("This page updates by itself.").is_visible() is has_script
        assert page.get_by_role("button", name="Check payment status").is_visible()
        assert page.locator("#ip-address").is_visible()


class TestAttack:
    @pytest.mark.parametrize("is_new", [True, False])
    def test_a_forged_status_changes_neither_address_nor_amount(self, customer, is_new):
        """Whatever the poll is told, money is asked for by the server's own page alone."""
        page = customer.open()
        revision = page.locator("main").get_attribute("data-revision")
        forged = {
            "state": "paid",
            "revision": "forged" if is_new else revision,
            "seconds_left": 500,
            "next_poll_seconds": 5,
            "updated_at": "<b>2026-01-15</b>",
            "address": "T-FORGED",
            "pay_amount": "9999",
            "page": "https://elsewhere.invalid/",
        }
        page.route(STATUS, lambda route: route.fulfill(body=json.dumps(forged), content_type="application/json"))
        pages: list[str] = []
        page.on("request", lambda request: pages.append(request.url) if PAGE.search(request.url) else None)
        customer.poll()
        page.locator("[data-updated]").filter(has_text="<b>2026-01-15</b").wait_for()
        invoice = customer.shop.order().current_invoice
        assert page.locator("#ip-address").inner_text() == invoice.address
        assert page.locator("#ip-amount").inner_text() == invoice.pay_amount
        assert page.get_by_role("heading", name=ASKING).is_visible()
        assert pages == [page.url] * is_new
        assert "T-FORGED" not in page.content()
        assert "9999" not in page.locator("main").inner_text()

    @pytest.mark.parametrize("is_swapped_in", [False, True])
    def test_code_that_was_slipped_into_the_page_does_not_run(self, customer, is_swapped_in):
        """The policy stops an inline script and an event handler, at load and after a change."""

        def inject(route: "Route") -> None:
            response = route.fetch()
            code = "<script>window.isHacked = true</script><img src='data:,' onerror='window.isHacked = true'>"
            route.fulfill(response=response, body=response.text().replace("</main>", f"{code}</main>"))

        page = customer.open()
        page.route(PAGE, inject)
        with page.expect_console_message(lambda message: "inline event handler" in message.text):
            if is_swapped_in:
                customer.shop.act("pay_pending")
                customer.poll()
            else:
                page.reload()
        assert page.locator("main script").count() == 1
        assert page.evaluate("window.isHacked") is None
        customer.forgive("Content Security Policy")


def fail_at_the_address(shop: Shop) -> None:
    """A step: the customer chooses, and the gateway fails after the invoice was made."""
    shop.set_sandbox(api_fault="500", fault_operation="address", fault_calls="0")
    shop.client.post(shop.place(), data={"method": "1"})


PAGES: tuple[tuple[str, str | None, tuple[Step, ...]], ...] = (
    ("choose_method", None, ()),
    ("unreachable", None, (fail_at_the_address,)),
    ("waiting", "1", ()),
    ("waiting", "5", ()),
    ("waiting", "1", (act("pay_dust"),)),
    ("waiting", "1", (break_gateway,)),
    ("confirming", "1", (act("pay_pending"),)),
    ("paid", "1", (act("pay_exact"),)),
    ("overpaid", "1", (act("pay_over"),)),
    ("underpaid_open", "1", (act("pay_short"),)),
    ("underpaid_closed", "1", (act("pay_short"), wait(QUOTE_SECONDS))),
    ("expired_with_money", "1", (act("pay_pending"), look, act("expire"))),
    ("expired", "1", (act("expire"),)),
    ("late", "1", (act("pay_late"),)),
    ("under_review", "1", (act("aml_fail"),)),
    ("checking", "1", (act("unknown_state"),)),
    ("cancelled", "1", (cancel,)),
    ("unreachable", "1", (wait(QUOTE_SECONDS), break_gateway)),
)


def test_no_page_is_scrolled_sideways_on_a_narrow_screen(visits, relay, tmp_path):
    """Every page fits into 320 px, also with text of twice the size, and from right to left."""
    page = visits.open(viewport={"width": 320, "height": 640})
    stop_clock(page, START)
    found = []
    for number, (_, method, steps) in enumerate(PAGES):
        shop = make_shop(tmp_path / str(number))
        relay.app = shop.app
        page.goto(relay.base_url + prepare(shop, *steps, method=method))
        widths = [page.evaluate(WIDTH, style) for style in ("", "font-size: 200%", "font-size: 200%; direction: rtl")]
        found.append((page.locator("main").get_attribute("data-state"), widths))
    assert found == [(state, [320, 320, 320]) for state, _, _ in PAGES]
