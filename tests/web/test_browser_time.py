"""Time on the payment page: the countdown, and when the browser asks the server again.

The shop's clock stands still until a test moves it, and so does the browser's. Time in the browser is moved by
``run_for``, so that pauses and time-outs cost nothing.
"""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest
from customers import PAGE, POLL_SECONDS, STATUS
from screens import QUOTE_SECONDS, WATCH_SECONDS, act, cancel, close, come, look, send, set_sandbox, wait

pytestmark = pytest.mark.browser

ASKING, PAID, EXPIRED = "Send exactly", "Paid, thank you", "This price has expired"
HOUR = 3600
AT_LINK = "Send USDT to this address"
TELL = set_sandbox(transaction_detail="told", reusable_address="new")
ZONES = ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "Europe/Berlin")
SUMMER_BEGINS = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
"""When the clocks of Berlin are put forward."""

# A request that is sent after all others, so that none is still on its way when this one is answered.
FETCH_SOMETHING = "fetch('/pay/static/checkout.js').then((answer) => answer.text())"
SHOW = """(state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  Object.defineProperty(document, "hidden", { value: state === "hidden", configurable: true });
  document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
}"""


class TestCountdown:
    @pytest.mark.parametrize("days_ahead", [-1, 0, 1, 400])
    def test_it_counts_what_the_server_says_is_left(self, customer, days_ahead):
        """A browser's clock may be a day off, and a browser that slept is put right by its next poll."""
        page = customer.open(days_ahead=days_ahead)
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

    @pytest.mark.parametrize("days", [-1, 1])
    def test_a_clock_that_is_set_meanwhile_is_put_right_by_the_server(self, customer, days):
        """Set forward it looks as after sleep, so the server is asked; the countdown goes on as the server says."""
        page = customer.open(days_ahead=0)
        page.clock.run_for(1000)
        customer.shop.clock.advance(2)
        page.clock.set_system_time(customer.shop.clock.now + timedelta(days=days))
        with page.expect_response(STATUS) if days > 0 else nullcontext():
            page.clock.run_for(1100)
        page.get_by_role("timer").get_by_text("14:58").wait_for()
        assert page.locator("#ip-address").is_visible()
        assert len(customer.polls) == (1 if days > 0 else 0)
        assert customer.hear() == []

    @pytest.mark.parametrize("is_asleep", [False, True])
    def test_nobody_is_asked_for_money_once_the_price_may_be_over(self, customer, is_asleep):
        """Also where the shop cannot be reached, and where the stopwatch slept with the computer."""
        page = customer.open(days_ahead=0)
        page.route(STATUS, lambda route: route.abort())
        if is_asleep:
            page.clock.set_system_time(customer.shop.clock.now + timedelta(hours=8))
        with page.expect_event("requestfailed"):
            page.clock.run_for(1100 if is_asleep else (QUOTE_SECONDS + 1) * 1000)
        page.get_by_text("Please do not send anything at this moment.").wait_for()
        for selector in ("h1", "#ip-address", "#ip-amount", ".ip-qr", "#ip-change"):
            assert page.locator(selector).is_hidden()
        page.unroute(STATUS)
        customer.poll(10 if is_asleep else 60)
        page.locator("#ip-address").wait_for()
        assert page.get_by_text("Please do not send anything at this moment.").is_hidden()
        customer.forgive("net::ERR_FAILED")


class TestSleep:
    @pytest.mark.parametrize("hours", [0.5, 8, 30])
    def test_who_wakes_after_the_price_ran_out_is_told_so_at_once(self, customer, hours):
        """The page asks as soon as it runs again, shows what the server says, and warns of no time that is over."""
        page = customer.open()
        customer.shop.clock.advance(hours * HOUR)
        with page.expect_response(STATUS):
            page.clock.fast_forward(round(hours * HOUR * 1000))
            page.clock.run_for(10)
        customer.see(EXPIRED)
        assert customer.hear() == [["assertive", EXPIRED]]
        assert page.locator("#ip-address").count() == 0

    def test_who_wakes_in_time_sees_what_is_left(self, customer):
        """Of a quarter of an hour ten minutes were slept away."""
        page = customer.open()
        customer.shop.clock.advance(600)
        with page.expect_response(STATUS):
            page.clock.fast_forward(600_000)
            page.clock.run_for(10)
        page.get_by_role("timer").get_by_text("05:00").wait_for()
        assert page.get_by_role("heading", name=ASKING).is_visible()

    def test_a_stopwatch_that_slept_too_is_put_right_by_the_next_poll(self, customer):
        """On some systems nothing in the browser moves during sleep, and the countdown with it."""
        page = customer.open()
        customer.shop.clock.advance(8 * HOUR)
        page.clock.set_system_time(customer.shop.clock.now)
        customer.poll()
        customer.see(EXPIRED)


class TestTimeZones:
    def test_everybody_reads_the_same(self, customer):
        """From Kiritimati to Pago Pago, and while the clocks are put forward, the page says the same in UTC."""
        shop, texts, offsets = customer.shop, [], []
        shop.clock.now = SUMMER_BEGINS - timedelta(seconds=30)
        for zone in ZONES:
            page = customer.open(timezone_id=zone, days_ahead=0)
            before = page.evaluate("new Date().getTimezoneOffset()")
            page.route(STATUS, lambda route: None)
            page.clock.run_for(60_000)
            offsets.append((before, page.evaluate("new Date().getTimezoneOffset()")))
            texts.append(page.locator("body").inner_text())
        assert "01:14 UTC" in texts[0]
        assert "14:00" in texts[0]
        assert texts == [texts[0]] * len(ZONES)
        assert offsets == [(0, 0), (-840, -840), (660, 660), (-345, -345), (-60, -120)]


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

    @pytest.mark.parametrize("value", ["9999999999", "Thu, 15 Jan 2026 11:30:00 GMT"])
    def test_it_obeys_a_retry_after_that_is_far_away_or_a_date(self, customer, value):
        """What a timer cannot hold is an hour, and a date is a date."""
        page = customer.open(days_ahead=0)
        page.route(STATUS, lambda route: route.fulfill(status=429, headers={"Retry-After": value}), times=1)
        with page.expect_response(STATUS):
            customer.pass_time(POLL_SECONDS)
        page.clock.run_for(3_590_000)
        assert len(customer.polls) == 1
        with page.expect_response(STATUS):
            page.clock.run_for(20_000)
        customer.forgive("status of 429")

    def test_an_older_browser_is_served_too(self, customer):
        """Where a request cannot be given a time-out, it is sent without."""
        customer.page_scripts = ("delete AbortSignal.timeout",)
        customer.open()
        customer.shop.act("pay_exact")
        customer.poll()
        customer.see(PAID)

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

    def test_it_asks_less_and_less_often(self, customer):
        """After 3 s at first, then a quarter later each time, and every 15 s in the end: as the server says."""
        page, pauses = customer.open(), []
        for number in range(11):
            pauses.append(customer.pause())
            customer.pass_time(pauses[-1] - 0.1)
            assert len(customer.polls) == number
            customer.poll(0.1)
            now = customer.shop.clock.now.isoformat(timespec="seconds")
            page.locator(f"[data-updated][datetime='{now}']").wait_for()
        assert pauses == [3, 3, 4, 5, 6, 8, 10, 12, 15, 15, 15]

    @pytest.mark.parametrize(
        "steps",
        [(act("pay_over"),), (cancel,), (act("expire"), look, wait(WATCH_SECONDS), look)],
        ids=["overpaid", "cancelled", "expired and not watched"],
    )
    def test_it_never_begins_where_nothing_can_come(self, customer, steps):
        """Neither time nor somebody who looks makes a page ask that has said its last word."""
        page = customer.open(*steps)
        customer.pass_time(600)
        page.evaluate(SHOW, "visible")
        customer.pass_time(600)
        page.evaluate(FETCH_SOMETHING)
        assert customer.polls == []


class TestLink:
    """A payment link has no price, so nothing on a visitor's page runs out."""

    @pytest.mark.parametrize("step", [send("pay_dust"), send("pay_pending"), send("pay_exact"), wait(0)])
    def test_nothing_is_counted_down(self, customer, step):
        """Neither a clock nor a warning is on the page, and an hour later it says the same."""
        page = customer.open_visit(TELL, come(), step)
        words = page.locator("main").inner_text()
        assert page.get_by_role("timer").count() == 0
        assert page.locator("[data-ended], [data-seconds-left]").count() == 0
        page.clock.run_for(2500)
        assert page.locator("main").inner_text() == words
        customer.shop.clock.advance(HOUR)
        customer.poll_without_news()
        assert page.locator("main").inner_text() == words
        assert customer.hear() == []

    def test_who_sleeps_finds_the_address_where_it_was(self, customer):
        """A computer that wakes after a night asks at once, and has nothing new to say."""
        page = customer.open_visit(come())
        address = page.locator("#ip-address").inner_text()
        customer.shop.clock.advance(8 * HOUR)
        with page.expect_response(STATUS):
            page.clock.fast_forward(8 * HOUR * 1000)
            page.clock.run_for(10)
        assert page.locator("#ip-address").inner_text() == address
        assert customer.hear() == []

    def test_it_asks_less_and_less_often_and_stops_after_a_day(self, customer):
        """After 5 s at first, then a quarter later each time, and every minute in the end: as the server says."""
        page, pauses = customer.open_visit(come()), []
        for number in range(14):
            pauses.append(customer.pause())
            customer.pass_time(pauses[-1] - 0.1)
            assert len(customer.polls) == number
            customer.poll(0.1)
            now = customer.shop.clock.now.isoformat(timespec="seconds")
            page.locator(f"[data-updated][datetime='{now}']").wait_for()
        assert pauses == [5, 6, 7, 9, 11, 14, 18, 22, 28, 35, 43, 54, 60, 60]
        customer.shop.clock.advance(24 * HOUR)
        customer.poll(60)
        page.locator("main[data-next-poll='']").wait_for()
        customer.pass_time(600)
        page.evaluate(SHOW, "visible")
        page.evaluate(FETCH_SOMETHING)
        assert len(customer.polls) == 15
        assert page.get_by_role("heading", name=AT_LINK).is_visible()

    def test_it_goes_on_after_a_payment(self, customer):
        """An address may be paid again, and each payment is told."""
        customer.open_visit(TELL, come())
        for words in ("Payment seen", "Received, thank you", "Payment seen"):
            send("settle" if words.startswith("Received") else "pay_pending")(customer.shop)
            customer.shop.clock.advance(60)
            customer.poll(customer.pause())
            customer.see(words)
        assert len(customer.polls) == 3

    @pytest.mark.parametrize("is_visit", [True, False], ids=["visit", "link"])
    def test_a_closed_link_is_not_asked_for(self, customer, is_visit):
        """Nor is a link's own page ever."""
        page = (customer.open_visit if is_visit else customer.open_link)(come(), close)
        customer.pass_time(600)
        page.evaluate(SHOW, "visible")
        page.evaluate(FETCH_SOMETHING)
        assert customer.polls == []
