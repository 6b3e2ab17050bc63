"""The control panel, as a browser without JavaScript sees it."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from flask_iterapay.sandbox import settings as words

PAGES = ["/panel/", "/panel/invoices/{invoice_id}", "/panel/settings", "/panel/deliveries", "/panel/nothing"]


OPEN = '<span class="state" data-state="pending">open</span>'


class Page(HTMLParser):
    """Collects what is tested: buttons, inputs, forms, links, and what a strict policy forbids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def actions(self) -> list[str | None]:
        return [button["value"] for button in self.all("button") if button.get("name") == "action"]


def flat(page: Page) -> str:
    """The text on one line, without its tags."""
    return " ".join(re.sub(r"<[^>]*>", "", page.text).split())


@pytest.fixture
def show(sandbox) -> Callable[..., Page]:
    """Read a page of the panel."""

    def read(path: str, status: int = 200, **options: object) -> Page:
        response = sandbox.call("GET", path, headers={}, **options)
        assert response.status_code == status
        return Page(response.text)

    return read


@pytest.mark.parametrize(
    ("before", "action", "state"),
    [
        ([], "pay_exact", "paid"),
        ([], "pay_pending", "pending"),
        ([], "pay_short", "partially_paid"),
        ([], "pay_over", "overpaid"),
        ([], "pay_late", "paid"),
        ([], "pay_first_half", "partially_paid"),
        (["pay_first_half"], "pay_second_half", "paid"),
        ([], "pay_dust", "pending"),
        ([], "aml_fail", "paid"),
        ([], "aml_unknown", "paid"),
        (["pay_pending"], "confirm", "paid"),
        (["pay_pending"], "settle", "paid"),
        (["pay_pending"], "flag", "paid"),
        (["pay_exact"], "fail", "pending"),
        ([], "expire", "expired"),
        ([], "unknown_state", "frozen"),
        (["expire"], "release", "pending"),
        (["expire"], "redeliver", "expired"),
    ],
)
def test_every_button_is_there_and_does_what_it_says(
    sandbox, show: Callable[..., Page], before: list[str], action: str, state: str
) -> None:
    """It is on the invoice's page, answers with a redirect back to it, and the page says that it was done."""
    invoice_id = sandbox.offered()
    for earlier in before:
        sandbox.press(invoice_id, earlier)
    path = f"/panel/invoices/{invoice_id}"
    assert action in show(path).actions
    response = sandbox.press(invoice_id, action)
    assert (response.status_code, response.location) == (303, f"{path}?done={action}")
    assert sandbox.invoice(invoice_id)["state"] == state
    assert "Done:" in show(response.location).text


def test_the_primary_button_comes_first(sandbox, show: Callable[..., Page]) -> None:
    """A demonstration needs one button, and it is on top."""
    page = show(f"/panel/invoices/{sandbox.offered()}")
    assert page.actions[0] == "pay_exact"
    assert next(button for button in page.all("button"))["class"] == "main"


def test_a_step_is_offered_to_the_transaction_that_can_take_it(sandbox, show: Callable[..., Page]) -> None:
    """A settled one cannot be confirmed, and a failed one nothing at all."""
    invoice_id = sandbox.offered()
    for action in ("pay_pending", "pay_dust", "pay_exact"):
        sandbox.press(invoice_id, action)
    page = show(f"/panel/invoices/{invoice_id}")
    assert [action for action in page.actions if action in {"confirm", "settle", "flag", "fail"}] == [
        *("flag", "fail"),
        *("confirm", "settle", "flag", "fail"),
    ]
    (pending,) = sandbox.transactions(states=["pending"])
    sandbox.press(invoice_id, "flag", transaction_id=pending["id"])
    assert [item["state"] for item in sandbox.transactions()] == ["settled", "failed", "flagged"]


@pytest.mark.parametrize("action", ["pay_exact", "redeliver", "confirm"])
def test_what_cannot_happen_is_explained(sandbox, show: Callable[..., Page], action: str) -> None:
    """Before an address was given out nobody can pay, and the page says so."""
    invoice_id = sandbox.create()
    response = sandbox.press(invoice_id, action)
    assert response.status_code == 303
    page = show(response.location)
    assert {"class": "notice warn", "role": "alert"} in page.all("p")
    assert "Done:" not in page.text


@pytest.mark.parametrize(("action", "form"), [("steal", {}), ("", {}), ("unknown_state", {"word": "<b>"})])
def test_an_action_that_is_not_offered_is_refused(sandbox, action: str, form: dict[str, str]) -> None:
    """And changes nothing."""
    invoice_id = sandbox.offered()
    assert sandbox.press(invoice_id, action, **form).status_code == 400
    assert sandbox.invoice(invoice_id)["state"] == "pending"


@pytest.fixture
def link(sandbox) -> tuple[str, list[str]]:
    """A reusable invoice that gives every visitor an address of their own, and the three that it gave."""
    sandbox.switch(reusable_address="new")
    invoice_id = sandbox.create(type="reusable", amount="10.00", description="Coffee")
    return invoice_id, [sandbox.address(invoice_id)["address"] for _ in range(3)]


def choices(page: Page) -> tuple[list[str | None], list[str | None]]:
    """The addresses that can be chosen, and those that are."""
    radios = [field for field in page.all("input") if field.get("type") == "radio"]
    assert {field["name"] for field in radios} <= {"address"}
    return [field["value"] for field in radios], [field["value"] for field in radios if "checked" in field]


def test_a_person_pays_as_any_visitor(sandbox, show: Callable[..., Page], link: tuple[str, list[str]]) -> None:
    """Every address is a choice, newest first; who was paid as last stays chosen."""
    invoice_id, addresses = link
    path = f"/panel/invoices/{invoice_id}"
    page = show(path)
    assert choices(page) == (addresses[::-1], [addresses[2]])
    assert all(address in page.text and "USDT on TRON" in page.text for address in addresses)
    for address in addresses:
        response = sandbox.press(invoice_id, "pay_exact", address=address)
        assert response.location == f"{path}?address={address}&done=pay_exact"
        assert choices(show(response.location))[1] == [address]
    invoice = sandbox.service.store.get(invoice_id)
    assert [item.address for item in invoice.transactions] == addresses


def test_visitors_of_one_address_have_one_choice(sandbox, show: Callable[..., Page]) -> None:
    """It is chosen, and every payment goes to it; before it was given out there is none."""
    invoice_id = sandbox.create(type="reusable")
    page = show(f"/panel/invoices/{invoice_id}")
    assert (choices(page), "none given out yet" in page.text) == (([], []), True)
    addresses = {sandbox.address(invoice_id)["address"] for _ in range(3)}
    offered, chosen = choices(show(f"/panel/invoices/{invoice_id}"))
    assert (set(offered), chosen) == (addresses, offered)
    sandbox.press(invoice_id, "pay_exact", address=chosen[0])
    assert "2 transactions" not in show(f"/panel/invoices/{invoice_id}").text
    sandbox.press(invoice_id, "pay_exact")
    assert "2 transactions" in show(f"/panel/invoices/{invoice_id}").text


def test_an_address_can_be_chosen_by_a_link(sandbox, show: Callable[..., Page], link: tuple[str, list[str]]) -> None:
    """A visitor's own page leads to it; it stays over the other forms, and a wrong one chooses nothing."""
    path = f"/panel/invoices/{link[0]}"
    sandbox.press(link[0], "pay_pending")
    page = show(path, query_string={"address": link[1][0]})
    assert choices(page)[1] == [link[1][0]]
    hidden = [field for field in page.all("input") if field.get("type") == "hidden" and field["name"] == "address"]
    assert [field["value"] for field in hidden] == [link[1][0]] * (len(page.all("form")) - 1)
    response = sandbox.press(link[0], "confirm", address=link[1][0])
    assert response.location == f"{path}?address={link[1][0]}&done=confirm"
    assert choices(show(path, query_string={"address": "nowhere"}))[1] == [link[1][2]]


@pytest.mark.parametrize("address", ["TSANDBOXnowhere", "<b>", "x" * 999])
def test_an_address_that_was_never_given_out_is_explained(
    sandbox, show: Callable[..., Page], link: tuple[str, list[str]], address: str
) -> None:
    """Nothing is paid, and the page says why."""
    response = sandbox.press(link[0], "pay_exact", address=address)
    assert response.location == f"/panel/invoices/{link[0]}?refused=not_given_out"
    page = show(response.location)
    assert "never gave out that address" in page.text
    assert sandbox.transactions() == []


def test_of_many_addresses_the_newest_are_offered(sandbox, show: Callable[..., Page], link: tuple) -> None:
    """With how many there are, all of them on demand, and the chosen one however old it is."""
    invoice_id, made = link
    made += [sandbox.address(invoice_id)["address"] for _ in range(30)]
    path = f"/panel/invoices/{invoice_id}"
    page = show(path)
    assert choices(page) == (made[:-21:-1], [made[-1]])
    assert "The newest 20 of 33" in page.text
    (more,) = [anchor["href"] for anchor in page.all("a") if "all=" in anchor["href"]]
    everything = show(more)
    assert choices(everything) == (made[::-1], [made[-1]])
    assert "The newest 20" not in everything.text
    assert choices(show(path, query_string={"address": made[4]})) == ([*made[:-21:-1], made[4]], [made[4]])


def test_a_reusable_invoice_offers_what_makes_sense(show: Callable[..., Page], link: tuple[str, list[str]]) -> None:
    """Nothing that completes or ends it, and no word of it being paid."""
    page = show(f"/panel/invoices/{link[0]}")
    assert page.actions == [
        *("pay_exact", "pay_pending", "pay_short", "pay_over"),
        *("aml_fail", "aml_unknown", "pay_dust", "expire", "unknown_state", "release"),
    ]
    for wrong in ("is paid", "is overpaid", "partially paid", "has passed AML", "without an amlOk"):
        assert wrong not in page.text
    assert "minimum" in page.text


@pytest.mark.parametrize("action", ["pay_late", "pay_first_half", "pay_second_half"])
def test_what_a_reusable_invoice_does_not_offer_is_explained(
    sandbox, show: Callable[..., Page], link: tuple[str, list[str]], action: str
) -> None:
    """A forged form pays nothing."""
    page = show(sandbox.press(link[0], action).location)
    assert "A reusable invoice has no end" in page.text
    assert sandbox.transactions() == []


def test_a_reusable_invoice_says_how_it_stands(sandbox, show: Callable[..., Page], link: tuple) -> None:
    """Open, from its minimum on, with what came in; a state that was set by hand is shown as it is."""
    path = f"/panel/invoices/{link[0]}"
    page = show(path)
    for expected in ("From 10.00 USD", OPEN, "nothing yet"):
        assert expected in page.text
    assert OPEN in show("/panel/").text
    sandbox.press(link[0], "pay_exact")
    assert "1 transaction: 1 settled" in flat(show(path))
    for action in ("pay_pending", "pay_exact", "pay_dust"):
        sandbox.press(link[0], action)
    assert "4 transactions: 1 failed, 1 pending, 2 settled" in flat(show(path))
    sandbox.press(link[0], "expire")
    assert OPEN not in show(path).text
    assert OPEN not in show("/panel/").text


def test_a_transaction_of_a_reusable_invoice_shows_its_address(
    sandbox, show: Callable[..., Page], link: tuple[str, list[str]]
) -> None:
    """So that a person knows whose it is; each choice says how often it was paid to."""
    for _ in range(2):
        sandbox.press(link[0], "pay_exact", address=link[1][1])
    page = show(f"/panel/invoices/{link[0]}")
    assert page.text.count(f"<code>{link[1][1]}</code>") == 3
    assert "Address 2 · USDT on TRON · 2 transactions" in flat(page)


def test_of_many_transactions_the_newest_are_shown(sandbox, show: Callable[..., Page], link: tuple) -> None:
    """And the page says how many there are."""
    for _ in range(103):
        sandbox.service.act(link[0], "pay_dust")
    page = show(f"/panel/invoices/{link[0]}")
    assert "The newest 100 of 103" in page.text
    assert page.text.count('data-state="failed"') == 100


def test_a_one_time_invoice_offers_no_choice_of_addresses(sandbox, show: Callable[..., Page]) -> None:
    """Its page stays as plain as it was, though a form may name an address."""
    invoice_id = sandbox.offered(paymentMethodID=None)
    first, second = sandbox.address(invoice_id, 1)["address"], sandbox.address(invoice_id, 4)["address"]
    page = show(f"/panel/invoices/{invoice_id}")
    assert choices(page) == ([], [])
    assert first in page.text
    assert second in page.text
    fields = show(f"/panel/invoices/{invoice_id}", query_string={"address": first}).all("input")
    assert [field["value"] for field in fields if field["name"] == "address"] == [first, first]
    sandbox.press(invoice_id, "pay_exact", address=first)
    assert sandbox.service.store.get(invoice_id).transactions[0].address == first


def test_any_plain_word_can_be_a_state(sandbox) -> None:
    """To see what a shop makes of it."""
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "unknown_state", word="On Hold")
    assert sandbox.invoice(invoice_id)["state"] == "On Hold"


def test_an_invoice_that_does_not_exist_is_not_found(sandbox, show: Callable[..., Page]) -> None:
    """Neither shown nor changed."""
    show("/panel/invoices/nowhere", 404)
    assert sandbox.press("nowhere", "pay_exact").status_code == 404
    assert sandbox.call("DELETE", "/panel/").status_code == 405


def test_invoices_are_listed_newest_first(sandbox, show: Callable[..., Page]) -> None:
    """Each leads to its own page."""
    empty = show("/panel/")
    assert "No invoices yet" in empty.text
    made = [sandbox.create(description=""), sandbox.create(paymentMethodID=None)]
    links = [link["href"] for link in show("/panel/").all("a") if "invoices" in link["href"]]
    assert links == [f"/panel/invoices/{invoice_id}" for invoice_id in reversed(made)]


def test_a_long_list_shows_its_newest_part(sandbox, show: Callable[..., Page]) -> None:
    """And says how many there are."""
    for _ in range(101):
        sandbox.create()
    assert "The newest 100 of 101" in show("/panel/").text


def test_every_setting_is_offered(show: Callable[..., Page]) -> None:
    """Each value of each choice has its option, each fault its box."""
    page = show("/panel/settings")
    offered = {element.get("value") for element in (*page.all("option"), *page.all("input"))}
    choices = [getattr(words, name) for name in words.__all__]
    values = {value for choice in choices if hasattr(choice, "__members__") for value in choice}
    assert values <= offered


def test_settings_are_saved(sandbox, show: Callable[..., Page]) -> None:
    """The page shows what was chosen, and every page warns of a fault."""
    form = {
        "dialect": "guide",
        "transaction_detail": "told",
        "quote_seconds": "60",
        "api_fault": "timeout",
        "fault_operation": "create",
        "fault_calls": "2",
        "webhook_faults": ["drop", "corrupt"],
    }
    response = sandbox.call("POST", "/panel/settings", data=form, headers={})
    assert (response.status_code, response.location) == (303, "/panel/settings?saved=1")
    page = show(response.location)
    selected = {option["value"] for option in page.all("option") if "selected" in option}
    assert {"guide", "told", "timeout", "create"} <= selected
    assert {box["value"] for box in page.all("input") if "checked" in box} == {"drop", "corrupt"}
    assert "<strong>timeout</strong> for create calls, 2 more times" in " ".join(show("/panel/").text.split())


@pytest.mark.parametrize(
    "form", [{"dialect": "latin"}, {"transaction_detail": ""}, {"quote_seconds": "x"}, {"webhook_faults": "vanish"}]
)
def test_settings_that_are_not_offered_are_refused_by_the_panel(sandbox, form: dict[str, str]) -> None:
    """A forged form changes nothing."""
    before = sandbox.service.settings
    assert sandbox.call("POST", "/panel/settings", data=form, headers={}).status_code == 400
    assert sandbox.service.settings == before


def test_the_log_shows_every_delivery(sandbox, shop, show: Callable[..., Page], make_sandbox: Callable) -> None:
    """With its event, its body, its attempts and the last answer."""
    shop.statuses = [503]
    sandbox.switch(webhook_faults=["corrupt"])
    sandbox.press(sandbox.offered(), "expire")
    text = show("/panel/deliveries").text
    for expected in ("https://shop.example.com/pay/webhook", "invoice.expired", "503", "bad signature", "queued"):
        assert expected in text
    silent = make_sandbox(webhook_url=None, webhook_secret=None)
    assert "No target is registered" in silent.call("GET", "/panel/deliveries").text


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_what_it_is(sandbox, path: str) -> None:
    """A sandbox, in which money is lost, and whose webhooks are inventions."""
    text = sandbox.call("GET", path.format(invoice_id=sandbox.offered())).text
    assert "real money sent to these addresses is lost" in text
    assert "inventions of this sandbox" in text


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_locked_down(sandbox, path: str) -> None:
    """Nothing inline, nothing from elsewhere, no framing, no caching, no script and no cookie."""
    response = sandbox.call("GET", path.format(invoice_id=sandbox.offered()))
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert "Set-Cookie" not in response.headers
    page = Page(response.text)
    assert not page.all("script")
    assert not page.all("style")
    assert not [name for _, attributes in page.elements for name in attributes if name == "style" or name[:2] == "on"]


def test_the_style_sheet_is_served(sandbox, show: Callable[..., Page]) -> None:
    """By the sandbox itself, and it may be cached."""
    (link,) = show("/panel/").all("link")
    response = sandbox.call("GET", link["href"])
    assert (response.status_code, response.mimetype) == (200, "text/css")
    assert "no-store" not in response.headers["Cache-Control"]


@pytest.mark.parametrize("path", PAGES)
def test_descriptions_are_escaped(sandbox, show: Callable[..., Page], path: str) -> None:
    """What a shop or an attacker wrote stays text."""
    attack = "<script>alert(1)</script>\"' onload=x"
    invoice_id = sandbox.offered(description=attack)
    sandbox.press(invoice_id, "expire")
    page = show(
        path.format(invoice_id=invoice_id) + "?done=<script>&refused=<script>&saved=<script>",
        404 if "nothing" in path else 200,
    )
    assert not page.all("script")
    assert "<script" not in page.text


def test_tokens_of_the_shop_are_put_into_every_form(sandbox) -> None:
    """When mounted inside a shop, its CSRF protection finds what it looks for."""
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_exact")
    environ = {"iterapay.csrf_field": "csrf_token", "iterapay.csrf_token": 'se"cret'}
    for path in (f"/panel/invoices/{invoice_id}", "/panel/settings"):
        page = Page(sandbox.call("GET", path, environ_base=environ).text)
        tokens = [field for field in page.all("input") if field.get("name") == "csrf_token"]
        assert [field["value"] for field in tokens] == ['se"cret'] * len(page.all("form")) != []


def test_without_a_shop_around_it_there_is_no_token(sandbox, show: Callable[..., Page]) -> None:
    """A server of its own has none to put in."""
    page = show(f"/panel/invoices/{sandbox.offered()}")
    assert {field.get("name") for field in page.all("input")} == {"word"}


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 303), ("none", 303), (None, 303)]
)
def test_forms_of_other_sites_are_refused(sandbox, site: str | None, status: int) -> None:
    """The browser tells where a form came from."""
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    path = f"/panel/invoices/{sandbox.offered()}"
    response = sandbox.call("POST", path, data={"action": "expire"}, headers=headers)
    assert response.status_code == status


def test_it_works_under_a_prefix(sandbox) -> None:
    """Every link, form and redirect stays under the path that it is mounted at."""
    invoice_id = sandbox.offered()
    client = Client(DispatcherMiddleware(lambda *_: [], {"/pay/sandbox": sandbox.app}))
    for path in PAGES:
        response = client.get("/pay/sandbox" + path.format(invoice_id=invoice_id))
        page = Page(response.text)
        links = [
            element.get("href") or element.get("action")
            for tag, element in page.elements
            if tag in {"a", "link", "form"}
        ]
        assert links
        assert all(link.startswith("/pay/sandbox/panel/") for link in links)
    moved = client.post(f"/pay/sandbox/panel/invoices/{invoice_id}", data={"action": "expire"})
    assert moved.location == f"/pay/sandbox/panel/invoices/{invoice_id}?done=expire"
    assert client.get("/pay/sandbox/panel").location.endswith("/pay/sandbox/panel/")


def test_a_way_back_to_the_shop_is_kept(sandbox, show: Callable[..., Page]) -> None:
    """From page to page and over every form."""
    path = f"/panel/invoices/{sandbox.offered()}"
    back = "/pay/abc.def?x=1"
    page = show(path, query_string={"back": back})
    assert back in [link["href"] for link in page.all("a")]
    response = sandbox.call("POST", path, data={"action": "expire", "back": back}, headers={})
    assert response.location == f"{path}?back=/pay/abc.def?x%3D1&done=expire"
    saved = sandbox.call("POST", "/panel/settings", data={"back": back}, headers={})
    assert back in [link["href"] for link in show(saved.location).all("a")]


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "evil",
        "/a b",
        "/\tb",
        "/\n/evil",
        "",
    ],
)
def test_a_way_elsewhere_is_not_offered(show: Callable[..., Page], back: str) -> None:
    """Only a path of the same origin is a way back."""
    page = show("/panel/", query_string={"back": back})
    assert "Back to the shop" not in page.text
    assert not re.search(r"evil|alert", page.text)
