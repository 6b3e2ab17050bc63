"""The payment page in a real browser: what its script does, and what it must never do.

The shop's clock stands still until a test moves it, and so does the browser's. Time in the browser is moved by
``run_for``, so that pauses and time-outs cost nothing.
"""

import json
from typing import TYPE_CHECKING

import pytest
from customers import PAGE, STATUS
from jinja2 import DictLoader
from screens import act, break_gateway, choose, prepare

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.browser

ASKING, SEEN, PAID, EXPIRED = "Send exactly", "Payment seen", "Paid, thank you", "This price has expired"
UNREACHABLE = "We can’t refresh the status right now."

MARK = "document.querySelector('main').classList.add('old')"


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
        page.locator("main .ip-notice:visible").wait_for(state="detached")
        page.clock.run_for(200)
        amount = page.locator("#ip-amount").inner_text()
        assert customer.hear() == [
            ["polite", UNREACHABLE],
            ["polite", f"Send exactly {amount} USDT. Send it on the TRON network."],
        ]

    def test_a_notice_that_forbids_to_send_is_said_instead_of_the_heading(self, customer):
        """A transfer that failed may have been the customer's own, and the same heading asks for another one."""
        customer.open()
        customer.shop.act("pay_dust")
        customer.poll()
        customer.see_notice("A transfer for this order did not go through")
        [[politeness, words]] = customer.hear()
        assert politeness == "polite"
        assert "please do not send again" in words

    def test_another_address_under_the_same_words_is_said(self, customer):
        """Asset, amount and network may be the same, and the address is not."""

        def swap_address(route: "Route") -> None:
            response = route.fetch()
            route.fulfill(response=response, body=response.text().replace(address, "TANOTHERADDRESS"))

        page = customer.open()
        address = page.locator("#ip-address").inner_text()
        page.route(PAGE, swap_address)
        break_gateway(customer.shop)
        customer.poll()
        customer.see_notice(UNREACHABLE)
        assert [words for _, words in customer.hear()] == [UNREACHABLE]
        customer.shop.mend_gateway()
        page.unroute(PAGE)
        customer.poll(customer.pause())
        page.locator("main .ip-notice:visible").wait_for(state="detached")
        page.clock.run_for(200)
        assert len(customer.hear()) == 2

    def test_news_that_cannot_be_fetched_is_told_at_once(self, customer):
        """A page that is known to be out of date does not wait for a second failure to say so."""
        page = customer.open()
        page.route(PAGE, lambda route: route.fulfill(status=500))
        customer.shop.act("pay_exact")
        customer.poll()
        page.locator("[data-offline]").wait_for()
        customer.forgive("status of 500")

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

    @pytest.mark.parametrize("selector", ["#ip-address", "#ip-amount"])
    def test_what_was_selected_to_be_copied_stays_selected(self, customer, selector):
        """The news swaps the text for the same one, and who pressed "copy" a moment too late would get nothing."""
        page = customer.open()
        page.locator(selector).evaluate("element => getSelection().selectAllChildren(element)")
        break_gateway(customer.shop)
        customer.poll()
        customer.see_notice(UNREACHABLE)
        assert page.evaluate("getSelection().toString()") == page.locator(selector).inner_text()

    def test_another_amount_is_not_selected_in_its_place(self, customer):
        """Nobody copies what was not chosen."""
        page = customer.open()
        page.locator("#ip-amount").evaluate("element => getSelection().selectAllChildren(element)")
        page.evaluate(MARK)
        customer.shop.clock.advance(1)
        choose("4")(customer.shop)
        customer.poll()
        page.locator("main.old").wait_for(state="detached")
        assert page.evaluate("getSelection().toString()") == ""

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
    def test_there_are_no_dead_buttons_without_a_script(self, customer, has_script):
        """What needs the script is not shown where there is none."""
        page = customer.visits.open(java_script_enabled=has_script)
        page.goto(customer.base_url + prepare(customer.shop))
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
