"""The tables of states: what each page says, how it is announced, and when the browser asks again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import unescape

import pytest
from customers import READ_SECONDS, Customer
from jinja2 import DictLoader
from screens import (
    QUOTE_SECONDS,
    SCREENS,
    Gallery,
    Screen,
    Step,
    act,
    break_gateway,
    cancel,
    choose,
    close,
    come,
    die_while_choosing,
    fail_at_the_address,
    make_shop,
    renew,
    resolve,
    send,
    set_sandbox,
    wait,
)
from shops import Shop
from werkzeug.test import Client

from flask_iterapay.web.link_view import MAX_LISTED, LinkState
from flask_iterapay.web.view import PageState

ASKING = "Send exactly 25.012507 USDT"
ON_TRON, ON_ETHEREUM = (f"{ASKING}. Send it on the {network} network." for network in ("TRON", "Ethereum"))
FAILED_TRANSFER = (
    "A transfer for this order did not go through. If it was yours, please do not send again before support has "
    "answered: contact them with the reference below."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table; ``pause`` is the seconds to the first poll, ``None`` where nothing is polled.

    ``words`` are what is announced, if that is more than the headline.
    """

    headline: str
    politeness: str
    pause: int | None
    words: str = field(default="", compare=False)


TABLE = {
    PageState.CHOOSE_METHOD: Row(headline="Choose how to pay", politeness="off", pause=None),
    PageState.PREPARING: Row(headline="Preparing your payment", politeness="off", pause=2),
    PageState.WAITING: Row(headline=ASKING, politeness="polite", pause=3, words=ON_TRON),
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

SEND_USDT = "Send USDT to this address"
VISIT_TABLE = {
    LinkState.PREPARING: Row(headline="Preparing your payment", politeness="off", pause=2),
    LinkState.WAITING: Row(
        headline=SEND_USDT, politeness="polite", pause=5, words=f"{SEND_USDT}. Send it on the TRON network."
    ),
    LinkState.CONFIRMING: Row(headline="Payment seen", politeness="polite", pause=15),
    LinkState.UNDER_REVIEW: Row(headline="Payment received, being checked", politeness="polite", pause=60),
    LinkState.RECEIVED: Row(headline="Received, thank you", politeness="polite", pause=60),
    LinkState.REFUSED: Row(headline="No address for this method", politeness="polite", pause=None),
    LinkState.CLOSED: Row(headline="This payment link is closed", politeness="polite", pause=None),
}
"""The pages of a visitor, in the same way."""

LINK_TABLE = {
    LinkState.CHOOSE_METHOD: Row(headline="Choose how to pay", politeness="off", pause=None),
    LinkState.CLOSED: Row(headline="This payment link is closed", politeness="off", pause=None),
}
"""A link's own page, which is loaded and does not change by itself."""

FIRST: Mapping[tuple[LinkState, bool], Screen] = {
    (screen.link_state, screen.is_visit): screen for screen in reversed(SCREENS) if screen.link_state
}
"""The plainest screen of each state, of a link or of a visit."""


def read_row(html: str) -> tuple[str, Row]:
    """What a page says of itself: its state, and its row of the table."""
    [headline] = re.findall(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    attributes = dict(re.findall(r'data-(state|politeness|next-poll)="([^"]*)"', html))
    row = Row(
        headline=unescape(re.sub(r"<[^>]*>", "", headline)).strip(),
        politeness=attributes["politeness"],
        pause=int(attributes.get("next-poll") or 0) or None,
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

    @pytest.mark.parametrize("state", VISIT_TABLE)
    def test_each_page_of_a_visit_is_its_row(self, tmp_path, state):
        """The same for a payment link's visitor."""
        gallery = Gallery(tmp_path)
        client = Client(gallery)
        html = client.get(gallery.url(FIRST[state, True])).text
        assert read_row(html) == (state.value, VISIT_TABLE[state])
        [path] = re.findall(r'data-status="([^"]*)"', html)
        status = client.get(path).json
        assert (status["state"], status["next_poll_seconds"]) == (state.value, VISIT_TABLE[state].pause)

    @pytest.mark.parametrize("state", LINK_TABLE)
    def test_each_page_of_a_link_is_its_row(self, tmp_path, state):
        """It says so, and asks for nothing."""
        gallery = Gallery(tmp_path)
        html = Client(gallery).get(gallery.url(FIRST[state, False])).text
        assert read_row(html) == (state.value, LINK_TABLE[state])
        assert "data-status" not in html

    def test_there_is_a_row_for_every_page(self):
        """None is left out."""
        assert set(TABLE) == set(PageState)
        assert set(FIRST) == {(state, True) for state in VISIT_TABLE} | {(state, False) for state in LINK_TABLE}

    def test_an_expired_price_that_nobody_watches_is_not_polled(self, tmp_path):
        """It is asked for while it is watched, and no longer."""
        [screen] = [screen for screen in SCREENS if screen.name == "expired_unwatched"]
        gallery = Gallery(tmp_path)
        _, row = read_row(Client(gallery).get(gallery.url(screen)).text)
        assert row.headline == TABLE[PageState.EXPIRED].headline
        assert row.pause is None


@dataclass(frozen=True, slots=True)
class Turn:
    """News that a poll brings: what happens, the state that the page then has, and what is said if not its words."""

    step: Step
    state: PageState | LinkState
    words: str | None = None

    @property
    def announcement(self) -> list[list[str]]:
        """What is to be heard."""
        row = TABLE[self.state] if isinstance(self.state, PageState) else VISIT_TABLE[self.state]
        return [] if row.politeness == "off" else [[row.politeness, self.words or row.words or row.headline]]


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


TELL = {"transaction_detail": "told", "reusable_address": "new"}
"""With these the gateway says which address was paid, so that a visitor's page turns by itself."""

tell = set_sandbox(**TELL)


def lose_method(shop: Shop) -> None:
    """A step: the gateway works again, and says of the link's invoice that it is another method's."""
    tell(shop)
    store = shop.state.sandbox.extensions["iterapay_sandbox"].service.store
    invoice_id = shop.link().invoices[0].invoice_id
    store.change(invoice_id, lambda invoice, settings: (replace(invoice, method_id=4, addresses=()), ()))


def decide(*, is_accepted: bool) -> Step:
    """A step: a person at the shop decides about the newest contribution."""

    def step(shop: Shop) -> None:
        [newest] = shop.state.links.list_contributions("library", limit=1)
        shop.state.links.resolve(newest.contribution_id, is_accepted=is_accepted, actor="Ann")

    return step


L = LinkState
FAIL_GATEWAY = set_sandbox(api_fault="500", fault_calls="0", **TELL)
SEEN = Turn(send("pay_pending"), L.CONFIRMING)
FAILED_PAYMENT = (
    "A payment to this address did not go through. Please do not send again before support has answered: contact them "
    "with the reference below."
)

VISITS: Mapping[str, tuple[Turn, ...]] = {
    "received": (SEEN, Turn(send("settle"), L.RECEIVED)),
    "received at once": (Turn(send("pay_exact"), L.RECEIVED),),
    "received, and one more": (
        Turn(send("pay_exact"), L.RECEIVED),
        SEEN,
        Turn(send("settle"), L.RECEIVED),
    ),
    "failed, then received": (
        Turn(send("pay_dust"), L.WAITING, FAILED_PAYMENT),
        SEEN,
        Turn(send("settle"), L.RECEIVED),
    ),
    "failed after it was seen": (SEEN, Turn(send("fail"), L.WAITING, FAILED_PAYMENT)),
    "received, then one fails": (
        Turn(send("pay_exact"), L.RECEIVED),
        Turn(send("pay_dust"), L.RECEIVED, FAILED_PAYMENT),
    ),
    "under review, and passed": (Turn(send("aml_fail"), L.UNDER_REVIEW), Turn(send("settle"), L.RECEIVED)),
    "under review, and accepted": (
        SEEN,
        Turn(send("flag"), L.UNDER_REVIEW),
        Turn(decide(is_accepted=True), L.RECEIVED),
    ),
    "under review, and turned down": (
        Turn(send("aml_fail"), L.UNDER_REVIEW),
        Turn(decide(is_accepted=False), L.WAITING, FAILED_PAYMENT),
    ),
    "checked for long": (Turn(send("aml_unknown"), L.CONFIRMING), Turn(wait(1800), L.UNDER_REVIEW)),
    "closed": (Turn(close, L.CLOSED),),
    "the gateway away for a while": (Turn(FAIL_GATEWAY, L.WAITING, OFFLINE), Turn(tell, L.WAITING)),
    "the gateway away after money": (
        SEEN,
        Turn(FAIL_GATEWAY, L.CONFIRMING, OFFLINE),
        Turn(tell, L.CONFIRMING),
        Turn(send("settle"), L.RECEIVED),
    ),
}
"""What may happen to a visit while its page is open, where the gateway tells whose payment is whose."""

PREPARED_VISITS: Mapping[str, Turn] = {
    "the address comes later": Turn(tell, L.WAITING),
    "no address is given": Turn(lose_method, L.REFUSED),
    "the link is closed": Turn(close, L.CLOSED),
}
"""What may happen while there is no address yet."""


def come_in_vain(shop: Shop) -> None:
    """A step: somebody comes while the gateway gives no addresses."""
    set_sandbox(api_fault="500", fault_operation="address", fault_calls="0", **TELL)(shop)
    come()(shop)


def live(customer: Customer, turn: Turn) -> None:
    """Let something happen, and the page learn of it by its next poll and no other way."""
    old = customer.page.locator("main").get_attribute("data-revision")
    turn.step(customer.shop)
    customer.shop.clock.advance(READ_SECONDS)
    customer.poll(customer.pause())
    customer.page.locator(f"main[data-state={turn.state}]:not([data-revision='{old}'])").wait_for()
    customer.page.clock.run_for(1000)


def stay(customer: Customer) -> None:
    """Go on looking, for one more poll if there is one."""
    if customer.pause():
        customer.poll_without_news()
        customer.pass_time(1)


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
        stay(customer)
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

    @pytest.mark.parametrize("turns", VISITS.values(), ids=VISITS)
    def test_each_turn_of_a_visit_is_said_once(self, customer, turns):
        """The same at a payment link, whose page goes on being asked for after a payment."""
        customer.open_visit(tell, come())
        expected: list[list[str]] = []
        for turn in turns:
            live(customer, turn)
            expected += turn.announcement
            assert customer.hear() == expected
        stay(customer)
        assert customer.hear() == expected

    @pytest.mark.parametrize("turn", PREPARED_VISITS.values(), ids=PREPARED_VISITS)
    def test_what_comes_of_a_visit_without_an_address_is_said_once(self, customer, turn):
        """That it is given one, or that it is not."""
        customer.open_visit(come_in_vain)
        live(customer, turn)
        assert customer.hear() == turn.announcement

    def test_every_state_is_come_to(self):
        """No row of the tables is left out."""
        turns = [turn for life in LIVES.values() for turn in life] + [turn for _, turn in PREPARED_LIVES.values()]
        assert {turn.state for turn in turns} | {PageState.PREPARING} == set(PageState)
        turns = [turn for visit in VISITS.values() for turn in visit] + list(PREPARED_VISITS.values())
        assert {turn.state for turn in turns} | {LinkState.PREPARING} == set(VISIT_TABLE)

    def test_the_last_minutes_are_said_once_each(self, customer):
        """Five minutes and one minute before the end, politely; of all the other seconds nothing is heard."""
        customer.shop.set_sandbox(quote_seconds="310")
        customer.open()
        while customer.time_left() > 20:
            customer.pass_answered_time(2)
        assert customer.hear() == [["polite", "5 minutes left to send."], ["polite", "1 minute left to send."]]


LOOK = "[document.activeElement.id, getSelection().toString(), scrollX, scrollY]"
SELECT = "getSelection().selectAllChildren(document.querySelector('#ip-address'))"


@pytest.mark.browser
class TestOthersPayments:
    """What others pay over a link joins the list below, and is no news to anybody."""

    @pytest.fixture
    def pay(self, customer):
        """Somebody else's payment, which the page learns of by its next poll."""

        def pay(action: str = "pay_exact") -> None:
            old = customer.page.locator("main").get_attribute("data-revision")
            send(action, visit=0)(customer.shop)
            customer.shop.clock.advance(READ_SECONDS)
            customer.poll(customer.pause())
            customer.page.locator(f"main:not([data-revision='{old}'])").wait_for()
            customer.page.clock.run_for(1000)

        return pay

    @pytest.mark.parametrize("focused", ["h1", "#ip-address-copy", "#ip-check", "footer a"])
    def test_they_are_not_said_and_move_nothing(self, customer, pay, focused):
        """Focus, selected address and place on the page are as before, while the list fills up."""
        page = customer.open_visit(come("4"), come(), viewport={"width": 320, "height": 480})
        page.locator(focused).focus()
        page.evaluate(f"{SELECT}; scrollTo(0, 300)")
        before = page.evaluate(LOOK)
        assert before[1:] == [customer.shop.visit(customer.shop.visits[-1]).address, 0, 300]
        for number in range(MAX_LISTED + 1):
            pay()
            assert page.locator(".ip-facts > div").count() == min(number + 1, MAX_LISTED)
            assert page.evaluate(LOOK) == before
        assert page.evaluate(f"document.activeElement === document.querySelector('{focused}')")
        assert customer.hear() == []

    @pytest.mark.parametrize("action", ["pay_pending", "aml_fail"])
    def test_whatever_becomes_of_them(self, customer, pay, action):
        """A payment that is being confirmed, checked or received is somebody else's in each of its states."""
        page = customer.open_visit(come("4"), come())
        pay(action)
        pay("settle")
        assert page.locator(".ip-facts").get_by_text("received").is_visible()
        assert customer.hear() == []

    def test_they_are_nothing_to_a_visitor_whose_own_payment_was_seen(self, customer, pay):
        """His page does not list them, and says nothing again."""
        page = customer.open_visit(tell, come("4"), come())
        live(customer, SEEN)
        pay()
        assert page.locator(".ip-facts > div").count() == 1
        assert customer.hear() == SEEN.announcement


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
