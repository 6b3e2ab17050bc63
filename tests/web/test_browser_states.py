"""The table of the checkout's states: what each page says, how it is announced, and when the browser asks again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape

import pytest
from customers import READ_SECONDS, Customer
from jinja2 import DictLoader
from screens import (
    QUOTE_SECONDS,
    SCREENS,
    Gallery,
    Step,
    act,
    break_gateway,
    cancel,
    choose,
    die_while_choosing,
    fail_at_the_address,
    make_shop,
    renew,
    resolve,
    wait,
)
from shops import Shop
from werkzeug.test import Client

from flask_iterapay.web.view import PageState

ASKING = "Send exactly 25.012507 USDT"
ON_TRON, ON_ETHEREUM = (f"{ASKING}. Send it on the {network} network." for network in ("TRON", "Ethereum"))
FAILED_TRANSFER = (
    "A transfer for this order did not go through. If it was yours, please do not send again before support has "
    "answered: contact them with the reference below."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table; ``pause`` is the seconds to the first poll, ``None`` where nothing is polled."""

    headline: str
    politeness: str
    pause: int | None


TABLE = {
    PageState.CHOOSE_METHOD: Row(headline="Choose how to pay", politeness="off", pause=None),
    PageState.PREPARING: Row(headline="Preparing your payment", politeness="off", pause=2),
    PageState.WAITING: Row(headline=ASKING, politeness="polite", pause=3),
    PageState.CONFIRMING: Row(headline="Payment seen", politeness="polite", pause=15),
    PageState.PAID: Row(headline="Paid, thank you", politeness="polite", pause=None),
    PageState.OVERPAID: Row(headline="Paid, you sent more than asked", politeness="polite", pause=None),
    PageState.UNDERPAID_OPEN: Row(headline="We received less than the full amount", politeness="assertive", pause=3),
    PageState.UNDERPAID_CLOSED: Row(headline="We received part of your payment", politeness="polite", pause=60),
    PageState.EXPIRED_WITH_MONEY: Row(headline="Checking for your payment", politeness="polite", pause=60),
    PageState.EXPIRED: Row(headline="This price has expired", politeness="assertive", pause=30),
    PageState.LATE: Row(headline="Payment arrived after the price expired", politeness="polite", pause=60),
    PageState.UNDER_REVIEW: Row(headline="Payment received, being checked", politeness="polite", pause=60),
    PageState.CHECKING: Row(headline="Checking for your payment", politeness="off", pause=15),
    PageState.CANCELLED: Row(headline="This order was cancelled", politeness="polite", pause=None),
    PageState.UNREACHABLE: Row(headline="We can’t refresh the status right now", politeness="polite", pause=5),
}
"""As it is specified, and not as the code has it."""


def read_row(html: str) -> tuple[str, Row]:
    """What a page says of itself: its state, and its row of the table."""
    [headline] = re.findall(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    attributes = dict(re.findall(r'data-(state|politeness|next-poll)="([^"]*)"', html))
    row = Row(
        headline=unescape(re.sub(r"<[^>]*>", "", headline)).strip(),
        politeness=attributes["politeness"],
        pause=int(attributes["next-poll"]) if attributes["next-poll"] else None,
    )
    return attributes["state"], row


class TestTable:
    @pytest.mark.parametrize("state", PageState)
    def test_each_page_is_its_row(self, tmp_path, state):
        """Headline, politeness and pause are those of the table, on the page and in the answer to its poll."""
        [screen] = [screen for screen in SCREENS if screen.name == state.value]
        gallery = Gallery(tmp_path)
        client = Client(gallery)
        html = client.get(gallery.url(screen)).text
        assert read_row(html) == (state.value, TABLE[state])
        [path] = re.findall(r'data-status="([^"]*)"', html)
        status = client.get(path).json
        assert status["state"] == state.value
        assert status["next_poll_seconds"] == TABLE[state].pause

    def test_an_expired_price_that_nobody_watches_is_not_polled(self, tmp_path):
        """It is asked for while it is watched, and no longer."""
        [screen] = [screen for screen in SCREENS if screen.name == "expired_unwatched"]
        gallery = Gallery(tmp_path)
        _, row = read_row(Client(gallery).get(gallery.url(screen)).text)
        assert row.headline == TABLE[PageState.EXPIRED].headline
        assert row.pause is None


@dataclass(frozen=True, slots=True)
class Turn:
    """News that a poll brings: what happens, the state that the page then has, and what is said if not the headline."""

    step: Step
    state: PageState
    words: str | None = None

    @property
    def announcement(self) -> list[list[str]]:
        """What is to be heard."""
        row = TABLE[self.state]
        words = self.words or (ON_TRON if self.state is PageState.WAITING else row.headline)
        return [] if row.politeness == "off" else [[row.politeness, words]]


def mend_gateway(shop: Shop) -> None:
    """A step: the gateway works again."""
    shop.mend_gateway()


def pass_quote(shop: Shop) -> None:
    """A step: the price runs out."""
    shop.clock.advance(QUOTE_SECONDS)


def fail_after_quote(shop: Shop) -> None:
    """A step: the price runs out, and the gateway cannot be asked."""
    pass_quote(shop)
    shop.break_gateway()


def credit_after_all(shop: Shop) -> None:
    """A step: the gateway takes money that it had left aside."""
    shop.act("settle")
    shop.act("release")


def change_method(shop: Shop) -> None:
    """A step: the customer chooses another method, in another tab."""
    shop.clock.advance(1)
    choose("4")(shop)


def finish_choice(shop: Shop) -> None:
    """A step: the choice that was cut short is made anew, after its time is over."""
    shop.clock.advance(READ_SECONDS)
    shop.state.service.check("1042")


S = PageState
PENDING, EXACT, OVER, SHORT = act("pay_pending"), act("pay_exact"), act("pay_over"), act("pay_short")
ACCEPT, REJECT = resolve(is_accepted=True), resolve(is_accepted=False)
OFFLINE = "We can’t refresh the status right now."

LIVES: Mapping[str, tuple[Turn, ...]] = {
    "paid": (Turn(PENDING, S.CONFIRMING), Turn(act("settle"), S.PAID)),
    "paid at once": (Turn(EXACT, S.PAID),),
    "paid too much": (Turn(OVER, S.OVERPAID),),
    "failed, then paid too much": (
        Turn(PENDING, S.CONFIRMING),
        Turn(act("fail"), S.WAITING, FAILED_TRANSFER),
        Turn(OVER, S.OVERPAID),
    ),
    "short, then the rest": (Turn(SHORT, S.UNDERPAID_OPEN), Turn(act("pay_second_half"), S.PAID)),
    "short, then too much": (Turn(SHORT, S.UNDERPAID_OPEN), Turn(EXACT, S.OVERPAID)),
    "short, and accepted": (
        Turn(SHORT, S.UNDERPAID_OPEN),
        Turn(pass_quote, S.UNDERPAID_CLOSED),
        Turn(ACCEPT, S.PAID),
    ),
    "short, and refused": (
        Turn(SHORT, S.UNDERPAID_OPEN),
        Turn(pass_quote, S.UNDERPAID_CLOSED),
        Turn(REJECT, S.CANCELLED),
    ),
    "expired with money, then paid": (
        Turn(PENDING, S.CONFIRMING),
        Turn(act("expire"), S.EXPIRED_WITH_MONEY),
        Turn(credit_after_all, S.PAID),
    ),
    "expired, then money": (
        Turn(act("expire"), S.EXPIRED),
        Turn(EXACT, S.EXPIRED_WITH_MONEY),
        Turn(REJECT, S.CANCELLED),
    ),
    "expired, then renewed elsewhere": (
        Turn(pass_quote, S.EXPIRED),
        Turn(renew, S.WAITING, "Send exactly 25.037520 USDT. Send it on the TRON network."),
        Turn(EXACT, S.PAID),
    ),
    "expired, then seen": (Turn(pass_quote, S.EXPIRED), Turn(PENDING, S.CONFIRMING)),
    "expired, then late": (
        Turn(act("expire"), S.EXPIRED),
        Turn(act("pay_late"), S.LATE),
        Turn(REJECT, S.CANCELLED),
    ),
    "late, and accepted": (Turn(act("pay_late"), S.LATE), Turn(ACCEPT, S.PAID)),
    "under review, and accepted": (Turn(act("aml_fail"), S.UNDER_REVIEW), Turn(ACCEPT, S.PAID)),
    "under review, and refused": (
        Turn(PENDING, S.CONFIRMING),
        Turn(act("flag"), S.UNDER_REVIEW),
        Turn(REJECT, S.CANCELLED),
    ),
    "under review, and passed": (
        Turn(act("aml_unknown"), S.CONFIRMING),
        Turn(wait(1800), S.UNDER_REVIEW),
        Turn(act("settle"), S.PAID),
    ),
    "an unknown word, for a while": (Turn(act("unknown_state"), S.CHECKING), Turn(act("release"), S.WAITING)),
    "an unknown word, for long": (
        Turn(act("unknown_state"), S.CHECKING),
        Turn(wait(1800), S.EXPIRED_WITH_MONEY),
    ),
    "cancelled": (Turn(cancel, S.CANCELLED),),
    "another method elsewhere": (
        Turn(change_method, S.WAITING, "Send exactly 0.00038911 BTC. Send it on the Bitcoin network."),
    ),
    "another network elsewhere": (Turn(choose("2"), S.WAITING, ON_ETHEREUM),),
    "the gateway away for a while": (Turn(break_gateway, S.WAITING, OFFLINE), Turn(mend_gateway, S.WAITING)),
    "the gateway away after money": (
        Turn(PENDING, S.CONFIRMING),
        Turn(break_gateway, S.CONFIRMING, OFFLINE),
        Turn(mend_gateway, S.CONFIRMING),
    ),
    "the gateway away after the price": (Turn(fail_after_quote, S.UNREACHABLE), Turn(mend_gateway, S.EXPIRED)),
}
"""What may happen to an order while its page is open."""

PREPARED_LIVES: Mapping[str, tuple[Step, Turn]] = {
    "the address comes later": (fail_at_the_address, Turn(mend_gateway, S.WAITING)),
    "the choice is made again": (die_while_choosing, Turn(finish_choice, S.WAITING)),
    "the choice is forgotten": (die_while_choosing, Turn(wait(READ_SECONDS), S.CHOOSE_METHOD)),
}
"""What may happen while no amount can be shown yet: how it began, and the news."""


def live(customer: Customer, turn: Turn) -> None:
    """Let something happen, and the page learn of it by its next poll and no other way."""
    old = customer.page.locator("main").get_attribute("data-revision")
    turn.step(customer.shop)
    customer.shop.clock.advance(READ_SECONDS)
    customer.poll(customer.pause())
    customer.page.locator(f"main[data-state={turn.state}]:not([data-revision='{old}'])").wait_for()
    customer.page.clock.run_for(1000)


@pytest.mark.browser
class TestAnnouncements:
    @pytest.mark.parametrize("turns", LIVES.values(), ids=LIVES)
    def test_each_turn_is_said_once(self, customer, turns):
        """In the words and with the urgency of the table, and nothing else is said: no clock, and nothing twice."""
        customer.open()
        expected: list[list[str]] = []
        for turn in turns:
            live(customer, turn)
            expected += turn.announcement
            assert customer.hear() == expected
        if customer.pause():
            customer.poll_without_news()
            customer.pass_time(1)
        assert customer.hear() == expected

    @pytest.mark.parametrize(("start", "turn"), PREPARED_LIVES.values(), ids=PREPARED_LIVES)
    def test_the_first_amount_is_said_once(self, customer, start, turn):
        """Somebody who waits for an amount is told it, and not that the waiting goes on."""
        customer.open(start, method=None)
        live(customer, turn)
        assert customer.hear() == turn.announcement

    def test_a_way_back_that_is_taken_by_itself_is_announced_with_the_news(self, visits, tmp_path, relay):
        """In one breath, so that nobody who listens is taken away unawares; who stays is told nothing more."""
        shop = make_shop(tmp_path, ITERAPAY_RETURN_SECONDS=20)
        relay.app = shop.app
        customer = Customer(visits, shop, relay.base_url)
        page = customer.open()
        live(customer, Turn(EXACT, S.PAID))
        said = [["polite", "Paid, thank you. This page returns to the shop in 20 seconds."]]
        assert customer.hear() == said
        page.get_by_role("button", name="Stay here").press("Enter")
        assert page.get_by_role("link", name="Return to the shop").evaluate("link => link === document.activeElement")
        customer.pass_time(60)
        assert customer.hear() == said
        assert page.get_by_role("heading", name="Paid, thank you").is_visible()

    def test_every_state_is_come_to(self):
        """No row of the table is left out."""
        turns = [turn for life in LIVES.values() for turn in life] + [turn for _, turn in PREPARED_LIVES.values()]
        starts = {PageState.PREPARING}
        assert {turn.state for turn in turns} | starts == set(PageState)

    def test_the_last_minutes_are_said_once_each(self, customer):
        """Five minutes and one minute before the end, politely; of all the other seconds nothing is heard."""
        customer.shop.set_sandbox(quote_seconds="310")
        customer.open()
        while customer.time_left() > 20:
            customer.pass_time(2)
        assert customer.hear() == [["polite", "5 minutes left to send."], ["polite", "1 minute left to send."]]


STAMMER = """
document.addEventListener("DOMContentLoaded", () => {
  let hasStammered = false;
  const region = document.querySelector("[data-live=polite]");
  new MutationObserver(() => {
    if (hasStammered || !region.textContent) return;
    hasStammered = true;
    region.textContent = region.textContent;
  }).observe(region, { childList: true });
});
"""
LOUD_TIMER = """
document.addEventListener("DOMContentLoaded", () => { document.querySelector("[role=timer]").ariaLive = "polite"; });
"""


@pytest.mark.browser
class TestListening:
    """What the tests above listen with hears what must not be there."""

    def test_a_sentence_that_is_said_twice_is_counted_twice(self, customer):
        """As is one that a script puts into the region again without changing a letter."""
        customer.page_scripts = (STAMMER,)
        customer.open()
        live(customer, Turn(PENDING, S.CONFIRMING))
        assert customer.hear() == [["polite", "Payment seen"]] * 2

    def test_a_clock_that_speaks_is_heard(self, customer):
        """Every second of it."""
        customer.page_scripts = (LOUD_TIMER,)
        customer.open()
        customer.page.clock.run_for(2000)
        assert customer.hear() == [["polite", "14:59"], ["polite", "14:58"]]

    def test_an_alert_that_appears_is_heard(self, customer):
        """Wherever a template puts one, inside of what is swapped in."""
        template = '{% extends "iterapay/page.html" %}{% block body %}<p role="alert">Look here</p>{% endblock %}'
        customer.shop.app.jinja_loader = DictLoader({"iterapay/states/confirming.html": template})
        customer.open()
        live(customer, Turn(PENDING, S.CONFIRMING))
        assert ["assertive", "Look here"] in customer.hear()
