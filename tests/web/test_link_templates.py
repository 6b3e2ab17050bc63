"""The pages of payment links as rendered: every state through the real templates, with nothing but their context."""

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest
from builders import USDT, at
from flask import render_template
from link_builders import make_contribution, make_link, make_visit
from markupsafe import Markup
from msgspec.structs import replace
from pages import ADDRESS, COMMON, HOSTILE, MARKED, WEB, Page, create_templates_app, find_untranslated, words

from flask_iterapay.gateway.models import PaymentMethod
from flask_iterapay.links.models import Contribution, ContributionStatus, Link, LinkStatus, Visit, VisitPayment
from flask_iterapay.web.forms import CheckForm, VisitForm
from flask_iterapay.web.link_view import LinkState, build_link_view, build_visit_view
from flask_iterapay.web.page import Notice
from flask_iterapay.web.qr import qr_svg
from flask_iterapay.web.view import MethodOption

NOW = at(139)
METHODS = (USDT, PaymentMethod(method_id=4, name="BTC", network="Bitcoin", ticker="BTC"))
OPEN = make_link(description="Notebooks for the library", read_at=NOW)
CLOSED = replace(OPEN, status=LinkStatus.CLOSED)
WAITING = make_visit("4BKI-LXBH-J6GB", ADDRESS)


def own(*statuses: ContributionStatus) -> tuple[VisitPayment, ...]:
    """Payments to the visitor's own address."""
    return tuple(
        VisitPayment(transaction_id=f"tx-{number}", amount="21.500000", unit="USDT", status=status, sent_at=at(60))
        for number, status in enumerate(statuses)
    )


NEWEST = [make_contribution(status=status, transaction_id=status, created_at=at(60)) for status in ContributionStatus]
PAGES: dict[str, tuple[Link, Visit | None]] = {
    "choose_method": (OPEN, None),
    "closed": (CLOSED, None),
    "visit preparing": (OPEN, replace(WAITING, address=None)),
    "visit waiting": (OPEN, WAITING),
    "visit confirming": (OPEN, replace(WAITING, payments=own(ContributionStatus.CONFIRMING))),
    "visit under_review": (OPEN, replace(WAITING, payments=own(ContributionStatus.ON_HOLD))),
    "visit received": (OPEN, replace(WAITING, payments=own(ContributionStatus.RECEIVED))),
    "visit refused": (OPEN, replace(WAITING, address=None, is_refused=True)),
    "visit closed": (CLOSED, WAITING),
}
HEADLINES = {
    "choose_method": "Choose how to pay",
    "closed": "This payment link is closed",
    "visit preparing": "Preparing your payment",
    "visit waiting": "Send USDT to this address",
    "visit confirming": "Payment seen",
    "visit under_review": "Payment received, being checked",
    "visit received": "Received, thank you",
    "visit refused": "No address for this method",
    "visit closed": "This payment link is closed",
}
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)
VISITS = [name for name in PAGES if name.startswith("visit ")]
EVERY_VISIT = pytest.mark.parametrize("name", VISITS)
SILENT = {"choose_method", "closed", "visit refused", "visit closed"}


@pytest.fixture(autouse=True)
def request_to_the_page() -> Iterator[None]:
    """Put every test inside a request to a link's page."""
    with create_templates_app().test_request_context("/pay/token"):
        yield


def render(link: Link, visit: Visit | None, newest: list[Contribution] | None = None, **changes: object) -> str:
    """Render a page of a link, or of a visit to it, with the context that the route gives it."""
    context = {"reference": None, "status_url": None, "qr": None, "has_qr_amount": False, "notice": None}
    context |= {"link_url": "/pay/links/library", "sandbox_url": None}
    if visit is None:
        context |= {
            "view": build_link_view(link, newest or []),
            "options": [MethodOption(method=method, pay_amount=None) for method in METHODS],
            "method_form": VisitForm(METHODS),
            "choose_url": "/pay/links/library",
        }
    else:
        view = build_visit_view(visit, link, newest or [], NOW)
        context |= {
            "view": view,
            "token": "token",
            "reference": visit.reference,
            "check_form": CheckForm(),
            "check_url": "/pay/visits/token/check",
            "status_url": "/pay/visits/token/status",
            "qr": Markup(qr_svg(str(view.invoice.address))) if view.invoice else None,
        }
    return render_template("iterapay/link.html", **COMMON | context | changes)


def test_there_is_a_page_here_for_every_state() -> None:
    """Nothing new goes unrendered."""
    assert {name.removeprefix("visit ") for name in PAGES} == set(LinkState)


@EVERY_PAGE
def test_every_page_has_its_headline_in_the_page_and_in_the_title(name: str) -> None:
    """The words that tell the state stand in the heading and in the browser's tab, beside what is paid for."""
    html = render(*PAGES[name])
    [heading] = re.findall(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    [title] = re.findall(r"<title>(.*?)</title>", html, re.DOTALL)
    assert words(heading) == HEADLINES[name]
    assert words(title) == f"{HEADLINES[name]} · Notebooks for the library"


@EVERY_PAGE
def test_every_page_shows_what_is_paid_for_when_it_was_read_and_whom_to_ask(name: str) -> None:
    """The reference stands in the same place of every visit's page, and a link's own has none."""
    html = render(*PAGES[name])
    footer = html.partition("</main>")[2]
    reference = "Reference 4BKI-LXBH-J6GB " if name in VISITS else ""
    assert words(footer).endswith(f"{reference}Last update 2026-01-15 10:32 UTC Help Contact support")
    assert ("Reference" in footer) is bool(reference)
    assert "Notebooks for the library from 20.00 USD" in words(html)


@EVERY_PAGE
def test_a_link_without_description_and_minimum_leaves_no_hole(name: str) -> None:
    """It is called what it is, and no amount is named."""
    link, visit = PAGES[name]
    html = render(replace(link, description="", minimum=None), visit)
    assert "Payment link" in words(html)
    assert "USD" not in re.sub("USDT", "", html)
    assert "None" not in html


@EVERY_PAGE
def test_no_page_invites_to_send_again(name: str) -> None:
    """While money may be on its way, no page says "try again"."""
    assert "try again" not in words(render(*PAGES[name], NEWEST)).lower()


VALUES = f"USD|USDT|BTC|UTC|{ADDRESS}|4BKI-LXBH-J6GB|Notebooks for the library"


@EVERY_PAGE
def test_every_word_of_every_page_is_translated(name: str) -> None:
    """No word stands in a template outside of the catalogs, attributes that are read out included."""
    context = {"ip_t": MARKED, "is_sandbox": True, "sandbox_url": "/panel"}
    link, visit = PAGES[name]
    payments = own(*(visit.payments[0].status, ContributionStatus.REFUSED) if visit and visit.payments else ())
    links = [
        replace(link, description=description, minimum=minimum, has_public_list=is_listed, unreachable_since=since)
        for description, minimum, is_listed, since in (
            (link.description, None, True, NOW),
            ("", Decimal("20"), False, None),
        )
    ]
    pages = [
        render(item, visit and replace(visit, payments=payments), NEWEST, **context | {"notice": notice} | changes)
        for item in links
        for notice in (None, *Notice)
        for changes in ({}, {"options": []})
    ]
    assert [word for html in pages for word in find_untranslated(html, VALUES)] == []


def hostile(link: Link, visit: Visit | None) -> tuple[Link, Visit | None, list[Contribution]]:
    """The page with markup in every string that comes from a shop, a visitor or the gateway."""
    method = PaymentMethod(method_id=HOSTILE, name=HOSTILE, network=HOSTILE, ticker=HOSTILE)
    newest = [replace(item, amount=HOSTILE, unit=HOSTILE, method=method) for item in NEWEST]
    if visit is not None:
        payments = tuple(replace(payment, amount=HOSTILE, unit=HOSTILE) for payment in visit.payments)
        address = visit.address and HOSTILE
        visit = replace(visit, reference=HOSTILE, method=method, payments=payments, address=address, pay_amount=HOSTILE)
    return replace(link, description=HOSTILE), visit, newest


@EVERY_PAGE
@pytest.mark.parametrize("is_hostile", [False, True])
def test_no_page_needs_or_lets_through_inline_code(name: str, is_hostile: bool) -> None:
    """A policy without "unsafe-inline" holds on every page, whatever the strings of others contain."""
    arguments = hostile(*PAGES[name]) if is_hostile else (*PAGES[name], NEWEST)
    method = PaymentMethod(method_id=HOSTILE, name=HOSTILE, network=HOSTILE, ticker=HOSTILE)
    options = [MethodOption(method=method, pay_amount=HOSTILE)] * 2
    page = Page(render(*arguments, notice=HOSTILE, options=options, sandbox_url=HOSTILE, support_url=HOSTILE))
    assert [script["src"] for script in page.attributes("script")] == ["/pay/static/checkout.js"]
    assert not page.attributes("style")
    assert not page.attributes("b")
    names = {name for _, attributes in page.tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


@EVERY_PAGE
def test_the_address_is_one_whole_text_node_where_money_may_be_sent_and_nowhere_else(name: str) -> None:
    """A visitor can read, select and copy the address as one piece, and finds none on any other page."""
    html = render(*PAGES[name], NEWEST)
    is_asking = name == "visit waiting"
    assert Page(html).texts.count(ADDRESS) == (1 if is_asking else 0)
    assert html.count(ADDRESS) == (1 if is_asking else 0)
    assert ("<svg xmlns" in html) is is_asking


@EVERY_PAGE
def test_every_id_is_there_once_and_every_copy_button_finds_its_text(name: str) -> None:
    """Labels, focus and copying point at exactly one element."""
    page = Page(render(*PAGES[name], NEWEST))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {button["data-copy"] for button in page.attributes("button") if "data-copy" in button} <= set(ids)


@EVERY_PAGE
def test_every_page_works_without_javascript(name: str) -> None:
    """What needs a script is hidden until there is one, and each page that waits has a button that asks."""
    page = Page(render(*PAGES[name], NEWEST))
    scripted = [attributes for _, attributes in page.tags if "data-script" in attributes or "data-copy" in attributes]
    assert all("hidden" in attributes for attributes in scripted)
    assert ("Check payment status" in page.text) is (name not in SILENT)
    actions = [form["action"] for form in page.attributes("form")]
    choosing = ["/pay/links/library"] if name == "choose_method" else []
    assert actions == choosing + ([] if name in SILENT else ["/pay/visits/token/check"])
    tokens = [field for field in page.attributes("input") if field.get("name") == "csrf_token"]
    assert len(tokens) == len(page.attributes("form"))
    assert all(form["method"] == "post" for form in page.attributes("form"))
    assert not [meta for meta in page.attributes("meta") if meta.get("http-equiv")]


@EVERY_PAGE
def test_the_script_asks_for_visits_alone(name: str) -> None:
    """A link's own page changes nothing by itself, and every visit's has its regions outside of what is replaced."""
    html = render(*PAGES[name])
    [main] = Page(html).attributes("main")
    assert main["data-state"] == name.removeprefix("visit ")
    assert main.get("data-status") == ("/pay/visits/token/status" if name in VISITS else None)
    assert bool(main.get("data-next-poll")) is (name not in SILENT)
    regions = html.partition("<main")[0]
    assert 'role="status" data-live="polite"></p>' in regions
    assert 'role="alert" data-live="assertive"></p>' in regions
    assert html.count('role="status"') == 1
    assert "data-announce" in html


@EVERY_PAGE
def test_without_a_support_link_the_page_says_whom_to_ask(name: str) -> None:
    """A shop that configured no support link leaves no dead end."""
    assert "Help Ask the shop that sent you here." in words(render(*PAGES[name], support_url=None))


class TestWaiting:
    def test_it_says_what_where_and_how_much(self) -> None:
        """Network, minimum and what it is worth, and the fee, are all on the page that takes money."""
        page = Page(render(OPEN, WAITING))
        assert "Send it on the TRON network. You decide how much to send: 20.00 USD or more." in page.text
        assert "At the moment that is about 20.000000 USDT ; what counts is the rate when it arrives." in page.text
        assert "At least 20.00 USD must arrive." in page.text
        assert "Send only USDT on TRON to this address" in page.text
        assert "The code holds only the address." in page.text
        announced = [tag["data-announce"] for _, tag in page.tags if "data-announce" in tag]
        assert announced == ["Send USDT to this address. Send it on the TRON network."]

    def test_every_amount_is_one_piece_from_left_to_right(self) -> None:
        """The page may run from right to left, and then a number and its unit would change places."""
        html = render(OPEN, WAITING, [make_contribution("settled", unit="USDT")])
        pieces = "".join(re.findall(r'<bdi dir="ltr"[^>]*>(.*?)</bdi>', html))
        for amount in ("20.00 USD", "20.000000 USDT", "21.500000 USDT"):
            assert pieces.count(amount) == html.count(amount) > 0

    def test_without_a_minimum_it_names_no_amount(self) -> None:
        """What the invoice was made for is nobody's business."""
        text = words(render(replace(OPEN, minimum=None), WAITING))
        assert "You decide how much to send." in text
        assert not any(amount in text for amount in ("20.00", "0.01", "about", "At least"))

    @pytest.mark.parametrize("is_listed", [True, False])
    def test_it_promises_only_what_the_visitor_will_see(self, is_listed: bool) -> None:
        """Where there is no list, nobody is told to look at it, and the reference is asked for in both cases."""
        text = words(render(replace(OPEN, has_public_list=is_listed), WAITING, NEWEST))
        assert ("will be listed below" in text) is is_listed
        assert ("Payments on this link since you came" in text) is is_listed
        assert "so keep your reference." in text

    def test_an_unreachable_gateway_leaves_the_address(self) -> None:
        """It stays, under a notice that says how old the news is and is announced first."""
        html = render(replace(OPEN, unreachable_since=NOW), WAITING)
        assert ADDRESS in html
        assert "We can’t refresh the status right now. You see what we knew at 2026-01-15 10:32 UTC" in words(html)
        first = re.search(r"data-announce>([^<]*)", html)
        assert first is not None
        assert first[1] == "We can’t refresh the status right now."

    def test_a_payment_that_failed_is_told_first(self) -> None:
        """Support comes before the next one."""
        page = Page(render(OPEN, replace(WAITING, payments=own(ContributionStatus.REFUSED))))
        assert "A payment to this address did not go through. Please do not send again" in page.text


class TestPayments:
    def test_a_list_tells_amount_method_time_and_how_far_each_is(self) -> None:
        """Nothing of who paid, no unit that was not told, and nothing of what failed."""
        html = render(OPEN, None, NEWEST)
        [listed] = re.findall(r"<section>(.*?)</section>", html, re.DOTALL)
        assert words(listed) == " ".join(
            [
                "Latest payments on this link",
                *[
                    f"2026-01-15 10:31 UTC 21.500000 · USDT on TRON · {word}"
                    for word in ("being confirmed", "received", "being checked")
                ],
            ]
        )

    def test_a_unit_that_was_told_stands_beside_its_amount(self) -> None:
        """As one piece, whatever the direction of the page."""
        html = render(OPEN, None, [make_contribution("settled", unit="USDT")])
        assert '<bdi dir="ltr">21.500000 USDT</bdi>' in html

    @pytest.mark.parametrize("name", ["choose_method", "closed", "visit waiting", "visit closed"])
    def test_an_empty_list_is_not_there(self, name: str) -> None:
        """Nobody reads a heading over nothing."""
        assert "<h2" not in render(*PAGES[name])
        assert "<h2" in render(*PAGES[name], NEWEST)

    @EVERY_VISIT
    def test_a_visitors_own_are_shown_on_the_pages_that_speak_of_them(self, name: str) -> None:
        """With how far each is; the public list is not beside them, where it could be taken for his."""
        html = render(*PAGES[name], NEWEST)
        is_own = bool(PAGES[name][1].payments)
        assert ("21.500000 USDT" in words(html)) is is_own
        assert ("<h2" in html) is (name in ("visit waiting", "visit closed"))


class TestWaysOn:
    def test_the_form_tells_visits_apart(self) -> None:
        """Each has a value of its own, so that one that is sent twice begins one visit."""
        values = set()
        for _ in range(3):
            page = Page(render(OPEN, None))
            [field] = [field for field in page.attributes("input") if field.get("name") == "visit"]
            assert field["type"] == "hidden"
            values.add(field["value"])
        assert len(values) == 3
        assert all(re.fullmatch(r"[\w-]{22}", str(value)) for value in values)

    def test_methods_are_offered_as_radios_in_words(self) -> None:
        """Asset and network are one label each, and nothing is chosen for a visitor."""
        page = Page(render(OPEN, None))
        radios = [field for field in page.attributes("input") if field.get("type") == "radio"]
        assert [field["value"] for field in radios] == ["1", "4"]
        assert not [field for field in radios if "checked" in field]
        assert "USDT on TRON BTC on Bitcoin Continue" in page.text

    @pytest.mark.parametrize("notice", [None, Notice.METHODS_UNAVAILABLE])
    def test_without_methods_the_page_says_so_once(self, notice: Notice | None) -> None:
        """And leads back to itself."""
        page = Page(render(OPEN, None, options=[], notice=notice))
        assert ("No payment method is available at the moment." in page.text) is (notice is None)
        assert ("We can’t load the payment methods right now." in page.text) is (notice is not None)
        assert {"class": "ip-button", "href": "/pay/links/library"} in page.attributes("a")
        assert not page.attributes("form")

    @pytest.mark.parametrize("name", ["visit waiting", "visit received", "visit refused"])
    def test_the_way_back_to_the_link_is_there_once(self, name: str) -> None:
        """For another payment, or another method."""
        [again] = [link for link in Page(render(*PAGES[name])).attributes("a") if link.get("id") == "ip-again"]
        assert again["href"] == "/pay/links/library"

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            ({}, "Choose a payment method to continue."),
            ({"method": "9"}, "This payment method is not offered. Choose another one."),
            ({"method": "4"}, None),
        ],
    )
    def test_a_wrong_choice_is_answered_with_one_sentence(self, data: dict[str, str], problem: str | None) -> None:
        """The visit and the choice stay what they were."""
        app = create_templates_app()
        app.config["WTF_CSRF_ENABLED"] = False
        data |= {"visit": "a-visit-of-this-test"}
        with app.test_request_context("/pay/links/library", method="POST", data=data):
            form = VisitForm(METHODS)
            assert form.validate_on_submit() is (problem is None)
            page = Page(render(OPEN, None, method_form=form))
        assert problem is None or problem in page.text
        [field] = [field for field in page.attributes("input") if field["type"] == "hidden"]
        assert field["value"] == "a-visit-of-this-test"
        assert ["checked" in radio for radio in page.attributes("input")[1:]] == [False, data.get("method") == "4"]


class TestNotices:
    @pytest.mark.parametrize("notice", Notice)
    def test_each_has_words_of_its_own_and_interrupts(self, notice: Notice) -> None:
        """Somebody pressed a button, and is told what came of it."""
        html = render(OPEN, None, notice=notice)
        [text] = re.findall(r'<p class="ip-notice" role="alert">(.*?)</p>', html, re.DOTALL)
        assert len(words(text)) > 20
        assert "order" not in text

    @pytest.mark.parametrize("name", PAGES)
    def test_no_page_speaks_of_orders(self, name: str) -> None:
        """There is none, and a word of one would send a visitor looking for it."""
        assert "order" not in words(render(*PAGES[name], NEWEST)).lower()


@pytest.mark.parametrize("sandbox_url", ["/pay/sandbox/panel/", None])
def test_a_sandbox_says_so_on_every_page(sandbox_url: str | None) -> None:
    """Nobody sends real money to a test, and the panel is a link away where there is one."""
    for arguments in PAGES.values():
        html = render(*arguments, is_sandbox=True, sandbox_url=sandbox_url)
        assert "TEST MODE This is a sandbox; real money sent here is lost." in words(html)
        assert ("Pay in the sandbox panel" in html) is (sandbox_url is not None)
        assert "TEST MODE" not in render(*arguments)


def test_the_picture_beside_every_headline_is_one_that_was_drawn() -> None:
    """What has no picture of its own has the magnifying glass, and no page is left without."""
    icons = (WEB / "templates" / "iterapay" / "_icon.html").read_text(encoding="utf-8")
    assert icons.count("<svg") == 1
    assert all(re.search(r'<svg class="ip-icon"[^>]*><path d="M[^"]+"/>', render(*page)) for page in PAGES.values())
