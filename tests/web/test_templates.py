"""The pages as rendered: every state through the real templates, on an app with nothing but their endpoints."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from builders import USDT, at, make_order, make_record, make_snapshot, make_transaction
from flask import render_template
from markupsafe import Markup
from msgspec.structs import replace
from pages import (
    ADDRESS,
    COMMON,
    HOSTILE,
    MARKED,
    TX_HASH,
    WEB,
    Page,
    create_templates_app,
    find_untranslated,
    words,
)

from flask_iterapay.gateway.models import PaymentMethod
from flask_iterapay.orders.models import Anomaly, HoldReason, InvoiceRecord, Order, OrderStatus, Settlement
from flask_iterapay.web.forms import CheckForm, MethodForm
from flask_iterapay.web.page import Notice
from flask_iterapay.web.qr import qr_svg
from flask_iterapay.web.view import MethodOption, PageState, build_options, build_view

NOW = at(139)
METHODS = (
    USDT,
    PaymentMethod(method_id=2, name="USDT-ERC20", network="Ethereum", ticker="USDT"),
    PaymentMethod(method_id=3, name="BTC", network="Bitcoin", ticker="BTC"),
)


def a_record(state: str, *transfers: str, **fields: object) -> InvoiceRecord:
    """An invoice with an address that looks real, whose newest snapshot shows ``state`` and transfers."""
    transactions = (replace(make_transaction(transfer), tx_hash=TX_HASH) for transfer in transfers)
    return make_record(address=ADDRESS, snapshot=make_snapshot(state, *transactions), **fields)


def an_order(status: OrderStatus, *records: InvoiceRecord, **fields: object) -> Order:
    """An order in ``status`` that is watched and was just read."""
    common = {"description": "Blue ceramic mug", "return_url": "/thanks", "next_check_at": NOW, "read_at": NOW}
    return make_order(*records, **common | {"status": status} | fields)


def a_hold(reason: HoldReason, record: InvoiceRecord) -> Order:
    """An order on hold for ``reason``."""
    return an_order(OrderStatus.ON_HOLD, record, hold_reason=reason)


OPEN = a_record("pending")
OVER = a_record("pending", quote=60)
SEEN = a_record("processing", "pending")
ENDED = a_record("expired", "pending", quote=30)
SETTLED = a_record("paid", "settled")
PART = a_record("underpaid", "confirmed")
ORDERS = {
    PageState.CHOOSE_METHOD: an_order(OrderStatus.NEW),
    PageState.PREPARING: an_order(OrderStatus.PREPARING),
    PageState.WAITING: an_order(OrderStatus.AWAITING_PAYMENT, OPEN),
    PageState.CONFIRMING: an_order(OrderStatus.CONFIRMING, SEEN),
    PageState.PAID: an_order(OrderStatus.PAID, SETTLED, settlement=Settlement.EXACT),
    PageState.OVERPAID: an_order(OrderStatus.PAID, SETTLED, settlement=Settlement.OVERPAID),
    PageState.UNDERPAID_OPEN: a_hold(HoldReason.UNDERPAID, PART),
    PageState.UNDERPAID_CLOSED: a_hold(HoldReason.UNDERPAID, replace(PART, expires_at=NOW)),
    PageState.EXPIRED_WITH_MONEY: a_hold(HoldReason.EXPIRED_WITH_MONEY, ENDED),
    PageState.EXPIRED: an_order(OrderStatus.EXPIRED, a_record("expired", quote=60)),
    PageState.LATE: a_hold(HoldReason.LATE, ENDED),
    PageState.UNDER_REVIEW: a_hold(HoldReason.AML_UNKNOWN, SETTLED),
    PageState.CHECKING: an_order(OrderStatus.AWAITING_PAYMENT, OVER),
    PageState.CANCELLED: an_order(OrderStatus.CANCELLED),
    PageState.UNREACHABLE: an_order(OrderStatus.AWAITING_PAYMENT, OVER, unreachable_since=at(79)),
}


@pytest.fixture(autouse=True)
def request_to_the_page() -> Iterator[None]:
    """Put every test inside a request to an order's page."""
    with create_templates_app().test_request_context("/pay/token"):
        yield


def render(order: Order, **changes: object) -> str:
    """Render an order's page with the context that the route gives it."""
    view = build_view(order, NOW)
    context = {
        "view": view,
        "order": order,
        "token": "token",
        "reference": order.order_id,
        "check_url": "/pay/token/check",
        "choose_url": "/pay/token",
        "status_url": "/pay/token/status",
        "options": build_options(order, METHODS, NOW),
        "method_form": MethodForm(METHODS),
        "check_form": CheckForm(),
        "qr": Markup(qr_svg(view.invoice.address)) if view.invoice and view.invoice.address else None,
        "has_qr_amount": False,
        "sandbox_url": None,
        "notice": None,
    }
    return render_template("iterapay/checkout.html", **COMMON | context | changes)


HEADLINES = {
    PageState.CHOOSE_METHOD: "Choose how to pay",
    PageState.PREPARING: "Preparing your payment",
    PageState.WAITING: "Send exactly 25.150000 USDT",
    PageState.CONFIRMING: "Payment seen",
    PageState.PAID: "Paid, thank you",
    PageState.OVERPAID: "Paid, you sent more than asked",
    PageState.UNDERPAID_OPEN: "We received less than the full amount",
    PageState.UNDERPAID_CLOSED: "We received part of your payment",
    PageState.EXPIRED_WITH_MONEY: "Checking for your payment",
    PageState.EXPIRED: "This price has expired",
    PageState.LATE: "Payment arrived after the price expired",
    PageState.UNDER_REVIEW: "Payment received, being checked",
    PageState.CHECKING: "Checking for your payment",
    PageState.CANCELLED: "This order was cancelled",
    PageState.UNREACHABLE: "We can’t refresh the status right now",
}
EVERY_STATE = pytest.mark.parametrize("state", PageState)
ASKING = {PageState.WAITING, PageState.UNDERPAID_OPEN}
FINAL = {PageState.CHOOSE_METHOD, PageState.PAID, PageState.OVERPAID, PageState.CANCELLED}


@EVERY_STATE
def test_every_state_has_its_headline_in_the_page_and_in_the_title(state: PageState) -> None:
    """The words that tell the state stand in the heading and in the browser's tab."""
    html = render(ORDERS[state])
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)
    title = re.search(r"<title>(.*?)</title>", html, re.DOTALL)
    assert heading is not None
    assert title is not None
    assert words(heading[1]) == HEADLINES[state]
    assert words(title[1]) == f"{HEADLINES[state]} · Order 1042"


@EVERY_STATE
def test_every_state_shows_reference_last_update_and_support(state: PageState) -> None:
    """What a worried customer needs is in the same place of every page."""
    footer = render(ORDERS[state]).partition("</main>")[2]
    assert "Reference 1042 Last update 2026-01-15 10:32 UTC Help Contact support" in words(footer)
    assert 'href="https://shop.example/help"' in footer


def test_without_a_support_link_the_page_says_whom_to_ask() -> None:
    """A shop that configured no support link leaves no dead end."""
    html = render(ORDERS[PageState.LATE], support_url=None)
    assert "Help Ask the shop that sent you here." in words(html)


@EVERY_STATE
def test_no_page_invites_to_send_again(state: PageState) -> None:
    """While money may be on its way, no page says "try again"."""
    assert "try again" not in words(render(ORDERS[state])).lower()


VALUES = f"USD|USDT|BTC|UTC|{ADDRESS}|{TX_HASH}|Blue ceramic mug"


@EVERY_STATE
def test_every_word_of_every_page_is_translated(state: PageState) -> None:
    """No word stands in a template outside of the catalogs, attributes that are read out included."""
    context = {"ip_t": MARKED, "is_sandbox": True, "sandbox_url": "/panel", "return_seconds": 20}
    orders = [ORDERS[state], replace(ORDERS[state], unreachable_since=NOW, description="", anomalies=tuple(Anomaly))]
    pages = [render(order, **context | {"notice": notice}) for order in orders for notice in (None, *Notice)]
    pages += [
        render_template(f"iterapay/{name}.html", **COMMON | context, page_url="/") for name in ("not_found", "problem")
    ]
    assert [word for html in pages for word in find_untranslated(html, VALUES)] == []


def test_a_word_outside_of_the_catalogs_is_found() -> None:
    """In the text and in an attribute, also beside a translated one."""
    html = '<p aria-label="Copy">⟦Send ⟦USDT⟧⟧ now 25.00 USD</p>'
    assert find_untranslated(html, "USD|USDT") == ["now", "Copy"]


def hostile(order: Order) -> Order:
    """The order with markup in every string that comes from a shop or from the gateway."""
    records = []
    for record in order.invoices:
        assert record.snapshot is not None
        transfers = tuple(replace(item, tx_hash=HOSTILE) for item in record.snapshot.transactions or ())
        method = PaymentMethod(method_id=1, name=HOSTILE, network=HOSTILE, ticker=HOSTILE)
        snapshot = replace(record.snapshot, transactions=transfers)
        text = {"address": HOSTILE, "pay_amount": HOSTILE, "previous_pay_amount": HOSTILE + "!"}
        records.append(replace(record, method=method, snapshot=snapshot, **text))
    return replace(order, order_id=HOSTILE, description=HOSTILE, return_url=HOSTILE, invoices=tuple(records))


@EVERY_STATE
@pytest.mark.parametrize("is_hostile", [False, True])
def test_no_page_needs_or_lets_through_inline_code(state: PageState, is_hostile: bool) -> None:
    """A policy without "unsafe-inline" holds on every page, whatever the strings of others contain."""
    order = hostile(ORDERS[state]) if is_hostile else ORDERS[state]
    method = PaymentMethod(method_id=HOSTILE, name=HOSTILE, network=HOSTILE, ticker=HOSTILE)
    options = [MethodOption(method=method, pay_amount=HOSTILE)] * 2
    html = render(order, notice=HOSTILE, options=options, sandbox_url=HOSTILE, support_url=HOSTILE)
    page = Page(html)
    assert [script["src"] for script in page.attributes("script")] == ["/pay/static/checkout.js"]
    assert not page.attributes("style")
    assert not page.attributes("b")
    names = {name for _, attributes in page.tags for name in attributes}
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]


@EVERY_STATE
def test_the_address_is_one_whole_text_node_where_money_is_asked_for_and_nowhere_else(state: PageState) -> None:
    """A customer can read, select and copy the address as one piece, and finds none on any other page."""
    html = render(ORDERS[state])
    assert Page(html).texts.count(ADDRESS) == (1 if state in ASKING else 0)
    assert html.count(ADDRESS) == (1 if state in ASKING else 0)
    assert ("<svg xmlns" in html) is (state in ASKING)


@EVERY_STATE
def test_every_id_is_there_once_and_every_copy_button_finds_its_text(state: PageState) -> None:
    """Labels, focus and copying point at exactly one element."""
    page = Page(render(ORDERS[state]))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {button["data-copy"] for button in page.attributes("button") if "data-copy" in button} <= set(ids)


@EVERY_STATE
def test_every_page_works_without_javascript(state: PageState) -> None:
    """What needs a script is hidden until there is one, and each page that waits has a button that asks."""
    page = Page(render(ORDERS[state]))
    scripted = [attributes for _, attributes in page.tags if "data-script" in attributes or "data-copy" in attributes]
    assert all("hidden" in attributes for attributes in scripted)
    assert ("Check payment status" in page.text) is (state not in FINAL)
    forms = [form for form in page.attributes("form") if form["action"] == "/pay/token/check"]
    assert bool(forms) is (state not in FINAL)
    tokens = [field for field in page.attributes("input") if field.get("name") == "csrf_token"]
    assert len(tokens) == len(page.attributes("form"))
    assert all(form["method"] == "post" for form in page.attributes("form"))
    assert not [meta for meta in page.attributes("meta") if meta.get("http-equiv")]


@EVERY_STATE
def test_every_page_announces_from_outside_of_what_is_replaced(state: PageState) -> None:
    """The live regions are there at load, empty, and survive the refresh of the main part."""
    html = render(ORDERS[state])
    regions = html.partition("<main")[0]
    assert 'role="status" data-live="polite"></p>' in regions
    assert 'role="alert" data-live="assertive"></p>' in regions
    assert html.count('role="status"') == 1
    assert "data-announce" in html


def test_waiting_says_what_where_and_until_when() -> None:
    """Amount, network, deadline and the fee hint are all on the page that asks for money."""
    html = render(ORDERS[PageState.WAITING])
    text = words(html)
    assert "Send it on the TRON network, before 10:45 UTC" in text
    assert "pay that fee on top of this amount" in text
    assert "Send only USDT on TRON to this address" in text
    assert "100.00 USD" in text
    assert 'data-seconds-left="761"' in html


def test_a_deadline_of_another_day_carries_its_date() -> None:
    """A clock time alone would be read as today's."""
    record = replace(OPEN, expires_at=NOW + timedelta(days=2))
    assert "before 2026-01-17 10:32 UTC" in words(render(an_order(OrderStatus.AWAITING_PAYMENT, record)))


@pytest.mark.parametrize("record", [OPEN, PART])
def test_a_price_without_an_end_shows_no_deadline(record: InvoiceRecord) -> None:
    """Where the gateway sets no expiry, the page invents none."""
    status = OrderStatus.AWAITING_PAYMENT if record is OPEN else OrderStatus.ON_HOLD
    order = an_order(status, replace(record, expires_at=None), hold_reason=HoldReason.UNDERPAID)
    text = words(render(order))
    assert ADDRESS in text
    assert "before" not in text
    assert "Time left" not in text


def test_a_renewed_price_shows_the_old_and_the_new_amount() -> None:
    """The pay amount never changes silently, and the page says that the order's own amount did not change."""
    record = replace(OPEN, previous_pay_amount="24.990000")
    text = words(render(an_order(OrderStatus.AWAITING_PAYMENT, record)))
    assert "it was 24.990000 USDT and is now 25.150000 USDT . Your order is still 100.00 USD" in text


def test_an_unreachable_gateway_leaves_a_running_price_payable() -> None:
    """The address stays, under a notice that says how old the news is."""
    order = replace(ORDERS[PageState.WAITING], unreachable_since=NOW)
    html = render(order)
    text = words(html)
    assert ADDRESS in text
    assert "We can’t refresh the status right now. You see what we knew at 2026-01-15 10:32 UTC" in text
    first_announced = re.search(r"data-announce>([^<]*)", html)
    assert first_announced is not None
    assert first_announced[1] == "We can’t refresh the status right now."


def test_an_unreachable_gateway_while_preparing_says_what_was_known() -> None:
    """The last known state is named on the page that has nothing else to show."""
    order = replace(ORDERS[PageState.PREPARING], unreachable_since=NOW)
    assert "Last known, at 2026-01-15 10:32 UTC : your payment was being prepared." in words(render(order))


@pytest.mark.parametrize("status", [OrderStatus.AWAITING_PAYMENT, OrderStatus.EXPIRED])
def test_a_refused_transfer_is_told_and_locks_the_method(status: OrderStatus) -> None:
    """After a transfer that failed the gateway's checks, support comes before the next one."""
    order = an_order(status, a_record("pending", "failed"))
    text = words(render(order))
    assert "A transfer for this order did not go through. If it was yours, please do not send again" in text
    assert "Pay with another method" not in text
    # Somebody's dust must not keep a customer from paying in the end.
    assert ("Get a new price" in text) is (status is OrderStatus.EXPIRED)


def test_an_expired_price_can_be_renewed() -> None:
    """The one next step is a button that posts the renewal; those that check and change the method do not renew."""
    page = Page(render(ORDERS[PageState.EXPIRED]))
    assert [button.get("name") for button in page.attributes("button")] == ["renew", None, None]
    assert page.attributes("details") == [{"class": "ip-change", "id": "ip-change"}]
    assert "We still watch the address." in page.text


def test_an_expired_price_that_is_no_longer_watched_names_support_instead() -> None:
    """The page does not promise to watch when it no longer does."""
    page = Page(render(replace(ORDERS[PageState.EXPIRED], next_check_at=None)))
    assert "still watch" not in page.text
    assert "This page updates by itself." not in page.text


def test_a_receipt_tells_how_it_was_paid_and_leads_back() -> None:
    """Method, time and transfer are there to be printed, and a link, not a redirect, leads back to the shop."""
    page = Page(render(ORDERS[PageState.PAID]))
    assert "Order amount 100.00 USD Payment method USDT on TRON Completed 2026-01-15 10:30 UTC" in page.text
    assert TX_HASH in page.text
    assert {"class": "ip-button", "id": "ip-return", "href": "/thanks"} in page.attributes("a")


def test_a_second_payment_is_told_on_the_receipt() -> None:
    """A customer who paid twice learns it from the page."""
    order = replace(ORDERS[PageState.PAID], anomalies=(Anomaly.SECOND_INVOICE_PAID,))
    assert "A second payment arrived" in words(render(order))


def test_an_order_without_return_url_has_no_link_back() -> None:
    """No dead link is shown."""
    assert "Return to the shop" not in words(render(replace(ORDERS[PageState.PAID], return_url=None)))


def test_a_cancelled_order_with_money_says_that_it_was_seen() -> None:
    """The customer's transfer is acknowledged, and support is the way on."""
    text = words(render(a_hold(HoldReason.CANCELLED_WITH_MONEY, SEEN)))
    assert "We have seen a transfer for this order." in text


def test_an_order_without_description_is_named_by_its_id() -> None:
    """The summary is never empty."""
    assert "Order 1042 100.00 USD" in words(render(replace(ORDERS[PageState.PREPARING], description="")))


def test_methods_are_offered_as_radios_in_words() -> None:
    """Asset and network are one label each, and the form posts to the page's own address."""
    page = Page(render(ORDERS[PageState.CHOOSE_METHOD]))
    assert "USDT on TRON USDT on Ethereum BTC on Bitcoin Continue" in page.text
    assert [field["value"] for field in page.attributes("input") if field["type"] == "radio"] == ["1", "2", "3"]
    assert page.attributes("form")[0]["action"] == "/pay/token"


def test_a_choice_shows_what_the_gateway_said_it_costs_and_guesses_nothing() -> None:
    """Beside a method whose price for this order still runs stands its pay amount; the current method is no choice."""
    other = replace(OPEN, invoice_id="inv-2", method=METHODS[2], pay_amount="0.00021")
    order = an_order(OrderStatus.AWAITING_PAYMENT, other, OPEN, current_invoice_id=OPEN.invoice_id)
    labels = re.findall(r"<label.*?</label>", render(order), flags=re.DOTALL)
    assert [words(label) for label in labels] == ["USDT on Ethereum", "BTC on Bitcoin 0.00021 BTC"]


def test_without_methods_the_page_says_so() -> None:
    """An outage of the method list is told, with a way on."""
    text = words(render(ORDERS[PageState.CHOOSE_METHOD], options=()))
    assert "No payment method is available at the moment. Your order is unchanged. Load this page again" in text


def test_the_method_is_changed_behind_a_quiet_disclosure() -> None:
    """It is closed at first, and absent where there is nothing to change to."""
    order = ORDERS[PageState.WAITING]
    assert Page(render(order)).attributes("details") == [{"class": "ip-change", "id": "ip-change"}]
    assert not Page(render(order, options=())).attributes("details")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "Choose a payment method to continue."),
        ({"method": "9"}, "This payment method is not offered. Choose another one."),
        ({"method": "2"}, None),
    ],
)
def test_a_wrong_choice_is_answered_with_one_sentence(data: dict[str, str], problem: str | None) -> None:
    """The form says what to do, and the disclosure that holds it is open."""
    app = create_templates_app()
    app.config["WTF_CSRF_ENABLED"] = False
    with app.test_request_context("/pay/token", method="POST", data=data):
        form = MethodForm(METHODS)
        assert form.validate_on_submit() is (problem is None)
        page = Page(render(ORDERS[PageState.WAITING], method_form=form))
    assert ("open" in page.attributes("details")[0]) is (problem is not None)
    assert not [field for field in page.attributes("input") if field["type"] == "hidden"]
    assert problem is None or problem in page.text


@pytest.mark.parametrize(("data", "is_renewal"), [({"renew": "1"}, True), ({}, False)])
def test_only_the_renewal_button_renews(data: dict[str, str], is_renewal: bool) -> None:
    """Checking and renewing share a form and differ by the button pressed."""
    app = create_templates_app()
    app.config["WTF_CSRF_ENABLED"] = False
    with app.test_request_context("/pay/token/check", method="POST", data=data):
        form = CheckForm()
        assert form.validate_on_submit()
        assert form.renew.data is is_renewal


@pytest.mark.parametrize("template", ["not_found", "problem"])
def test_the_error_pages_keep_calm(template: str) -> None:
    """They know neither order nor visit, and still say that nothing is lost and whom to ask."""
    page = Page(render_template(f"iterapay/{template}.html", **COMMON, page_url="/pay/token"))
    assert "what you sent is not lost" in page.text.lower()
    assert "Contact support" in page.text
    again = [link["href"] for link in page.attributes("a") if "ip-button" in (link.get("class") or "")]
    assert again == (["/pay/token"] if template == "problem" else [])


@pytest.mark.parametrize("sandbox_url", ["/pay/sandbox/i1", None])
def test_a_sandbox_says_so_on_every_page(sandbox_url: str | None) -> None:
    """Nobody sends real money to a test, and the panel is a link away where there is one."""
    context = COMMON | {"is_sandbox": True, "sandbox_url": sandbox_url}
    pages = [render(order, **context) for order in ORDERS.values()]
    pages += [render_template(f"iterapay/{name}.html", **context, page_url="/") for name in ("not_found", "problem")]
    for html in pages:
        assert "TEST MODE This is a sandbox; real money sent here is lost." in words(html)
        assert ("Pay in the sandbox panel" in html) is (sandbox_url is not None)


def test_outside_the_sandbox_nothing_speaks_of_tests() -> None:
    """The banner belongs to the sandbox alone."""
    assert "TEST MODE" not in render(ORDERS[PageState.WAITING])


def test_static_files_ask_for_nothing_from_elsewhere() -> None:
    """No third party learns of a payment."""
    for path in (WEB / "static").iterdir():
        assert not re.search(r"https?:|url\(|@import", path.read_text(encoding="utf-8"))
