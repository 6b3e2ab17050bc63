"""Forty ways to smuggle code into a page, in every field that a shop or a gateway can fill, in a real browser.

Nothing may run, nothing may be refused by the policy (what is escaped gives it nothing to refuse), and the page must
have the very elements and attributes that harmless words give it. The same once more without the policy: escaping must
do alone. The control switches escaping off; then the policy must do alone, and every payload must be noticed.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from msgspec.structs import replace
from plain_shops import make_plain_shop
from servers import ROOT, Relay
from shops import Shop
from worlds import Timepiece

from flask_iterapay import ConfigurationError, Contribution, InvalidOrderError
from flask_iterapay.links.models import Visit
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.web.urls import is_allowed_return_url

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

pytestmark = pytest.mark.browser

VECTORS = json.loads((ROOT / "tests" / "vectors" / "xss.json").read_text(encoding="utf-8"))
PAYLOADS: dict[str, str] = {vector["technique"]: vector["text"] for vector in VECTORS}
HARMLESS = "3 harmless words"

WATCH = """
for (const name of ["alert", "confirm", "prompt", "print"]) {
  window[name] = () => { noteTrouble(`${name} was called`); };
}
document.addEventListener("securitypolicyviolation", (event) => {
  noteTrouble(`violation of ${event.effectiveDirective}`);
});
"""
SHAPE = """[...document.querySelectorAll("*")].map(
  (element) => `${element.localName}[${element.getAttributeNames()}]`).join(" ")"""
TEXT = "document.title + ' ' + document.body.textContent"
ASK_NOW = "dispatchEvent(new Event('online'))"
# Clicks by script: Playwright's own would wait for the button to stand still, and there are hundreds of them.
CHOOSE = """(value) => {
  const choice = document.querySelector("input[name=method]");
  choice.checked = true;
  if (value) choice.value = value;
  document.querySelector("#ip-choose").click();
}"""
SET_STATE = """(word) => {
  document.querySelector("input[name=word]").value = word;
  document.querySelector("button[value=unknown_state]").click();
}"""


class Gateway:
    """Says ``text`` wherever the contract leaves the words to the gateway; its answers follow ``state``."""

    def __init__(self) -> None:
        self.clock: Callable[[], datetime] = Timepiece()
        self.invoices = 0
        self.seconds = 0
        self.be_new(HARMLESS)

    def be_new(self, text: str, invoice_type: str = "onetime") -> None:
        """Say something else from now on, of a payment that has not begun. Older lists of methods are out of date."""
        self.seconds += 3600
        self.text = text
        self.type = invoice_type
        self.is_address_told = False
        self.state = "pending"
        self.transaction_state: str | None = None
        self.status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.status != 200:
            return httpx.Response(self.status, json={"title": self.text, "detail": self.text, "type": self.text})
        self.invoices += request.method == "POST" and request.url.path.endswith("/invoices")
        return httpx.Response(200, json=self._answer(request.url.path))

    def _answer(self, path: str) -> object:
        if path == "/payment_methods":
            words = {"name": self.text, "network": f"{self.text} N", "ticker": f"{self.text} T"}
            return [{"id": number, **words} for number in (1, 2)]
        if path.endswith("/address"):
            expires_at = self.clock() + timedelta(minutes=15)
            return {"address": as_address(self.text), "amount": "25.150000", "expiresAt": expires_at.isoformat()}
        if path.endswith("/transactions/list"):
            return {"data": [] if self.transaction_state is None else [self._transaction()]}
        words = {"type": self.type, "description": self.text}
        return {"id": f"inv-{self.invoices}", "state": self.state, "amount": "25.00", **words}

    def _transaction(self) -> dict[str, str | None]:
        words = {"state": self.transaction_state, "txHash": f"{self.text} H", "amount": "25.150000"}
        ids = {"id": f"tx-{self.invoices}", "invoiceID": f"inv-{self.invoices}"}
        told = {"address": as_address(self.text)} if self.is_address_told else {}
        return {**ids, **words, **told, "symbol": as_unit(self.text), "createdAt": self.clock().isoformat()}


def as_address(text: str) -> str:
    """The nearest text that the codec takes for an address: ASCII without blanks."""
    return "".join(letter for letter in text.replace(" ", "/") if "!" <= letter <= "~")


def as_unit(text: str) -> str:
    """As much of a text as the codec takes for a unit."""
    return text[:20]


def make_shop(folder: Path, gateway: Gateway, *, support: str) -> Shop:
    """A shop on that gateway, with a support URL that says the same."""
    shop = make_plain_shop(
        folder,
        gateway,
        client={"cache_seconds": 0, "clock": lambda: gateway.seconds},
        ITERAPAY_SUPPORT_URL=f"https://help.invalid/{as_address(support)}",
    )
    gateway.clock = shop.clock
    return shop


class Attack:
    """One browser window that walks through whole payments, and everything suspicious that happened in it."""

    def __init__(self, page: "Page", base_url: str, shop: Shop, gateway: Gateway) -> None:
        self.page = page
        self.base_url = base_url
        self.shop = shop
        self.gateway = gateway
        self.technique = ""
        self.stage = ""
        self.found: list[tuple[str, str, str]] = []
        self.shapes: dict[str, str] = {}
        page.set_default_timeout(10_000)
        page.context.expose_function("noteTrouble", lambda trouble: self.note(trouble))
        page.context.add_init_script(WATCH)
        page.on("dialog", lambda dialog: self.note(f"dialog {dialog.message}"))
        page.on("request", self._note_request)

    def note(self, trouble: str) -> None:
        self.found.append((self.technique, self.stage, trouble))

    def _note_request(self, request: "Request") -> None:
        if not request.url.startswith((self.base_url, "data:,")):
            self.note(f"request of {request.url}")

    def begin(self, technique: str, text: str) -> None:
        """Place an order and open its page, with every word of the shop's and the gateway's the same."""
        self.technique, self.stage = technique, "begin"
        self.gateway.be_new(text)
        target = f"/thanks?{text}#{text}"
        return_url = target if is_allowed_return_url(target, ()) else "/thanks?#"
        path = self.shop.place(text[:64], description=f"{text} D", return_url=return_url)
        self.page.goto(self.base_url + path)

    def inspect(self, stage: str, *texts: str) -> None:
        """Compare a page with the harmless one, and see that it says what it is to say, letter by letter."""
        self.stage = stage
        shape, shown = self.page.evaluate(f"[{SHAPE}, {TEXT}]")
        if shape != self.shapes.setdefault(stage, shape):
            self.note("other elements or attributes")
        self.found += [(self.technique, stage, f"{text} is not shown") for text in texts if text not in shown]
        if not self.page.url.startswith(f"{self.base_url}/pay/"):
            self.note(f"page is at {self.page.url}")

    def pay(self, technique: str, text: str) -> None:
        """Go from the choice to the receipt, over every page that shows a word of the shop's or the gateway's."""
        self.begin(technique, text)
        self.inspect("choose", f"{text} D", f"{text} T", f"{text} N", text[:64])
        self._choose()
        self.inspect("waiting", f"{text} D", f"{text} T", f"{text} N", as_address(text))
        for stage, state, transaction_state in (
            ("checking", text, None),
            ("confirming", "processing", "pending"),
            ("paid", "paid", "settled"),
        ):
            self.gateway.state, self.gateway.transaction_state = state, transaction_state
            self.shop.clock.advance(60)
            self.page.evaluate(ASK_NOW)
            self.page.locator(f"main[data-state={stage}]").wait_for()
            self.inspect(stage, f"{text} D", *([f"{text} H"] if transaction_state else []))

    def meet_trouble(self, text: str) -> None:
        """Choose what is not offered, and while the gateway refuses in its own words; ask for what does not exist."""
        second = self.base_url + self.shop.place(f"2{text}"[:64], description=f"{text} D")
        self.page.goto(second)
        self._choose(text)
        self.inspect("forged choice", f"{text} D")
        self.gateway.status = 400
        self._choose()
        self.inspect("refused", f"{text} D")
        for stage, url in (
            ("made-up token", f"{self.base_url}/pay/{quote(text.replace('/', ' '))}"),
            ("query", f"{second}?notice={quote(text)}#{quote(text)}"),
        ):
            self.page.goto(url)
            self.inspect(stage)

    def _choose(self, value: str | None = None) -> None:
        with self.page.expect_navigation():
            self.page.evaluate(CHOOSE, value)

    def begin_at_link(self, technique: str, text: str) -> None:
        """Make a payment link and open its page, with every word the same again."""
        self.technique, self.stage = technique, "begin at link"
        self.gateway.be_new(text, "reusable")
        self.page.goto(self.base_url + self.shop.create_link(technique, description=f"{text} D", minimum="25.00"))

    def pay_at_link(self, technique: str, text: str) -> None:
        """Go from the choice to the thanks: a payment is listed, and then told to be the visitor's own."""
        self.begin_at_link(technique, text)
        self.inspect("link", f"{text} D", f"{text} T", f"{text} N")
        link = self.page.url
        self._choose()
        self.inspect("visit", f"{text} D", f"{text} T", f"{text} N", as_address(text))
        self.gateway.transaction_state = "pending"
        self._ask("main section")
        self.inspect("listed", f"{text} T", f"{text} N", f"25.150000 {as_unit(text)}")
        self.gateway.transaction_state, self.gateway.is_address_told = "settled", True
        self._ask("main[data-state=received]")
        self.inspect("received", f"{text} D", f"25.150000 {as_unit(text)}")
        self._tamper(technique, text)
        for stage, url in (("amounts of a visit", self.page.url), ("amounts of a link", link)):
            self.page.goto(url)
            self.inspect(stage, f"{text} A", f"{text} U")

    def _ask(self, awaited: str) -> None:
        self.shop.clock.advance(60)
        self.page.evaluate(ASK_NOW)
        self.page.locator(awaited).wait_for()

    def _tamper(self, link_id: str, text: str) -> None:
        """Write into the shop's store what no gateway can say, since amounts that are none are refused."""
        [contribution] = self.shop.state.links.list_contributions(link_id, limit=2)
        changes = {"amount": f"{text} A", "unit": f"{text} U"}
        contributions = Ledger(store=self.shop.state.store, model=Contribution)
        contributions.change(contribution.contribution_id, lambda item: replace(item, **changes))
        visits = Ledger(store=self.shop.state.store, model=Visit)
        visits.change(
            contribution.reference,
            lambda visit: replace(visit, payments=tuple(replace(item, **changes) for item in visit.payments)),
        )

    def go_through_the_panel(self, payloads: dict[str, str]) -> None:
        """Go through the pages of the sandbox, for an order with each payload."""
        panel = f"{self.base_url}/pay/sandbox/panel"
        for self.technique, text in payloads.items():
            self.shop.choose(self.shop.place(self.technique, description=f"{text} D"))
            query = "&".join(f"{field}={quote(text)}" for field in ("back", "done", "refused"))
            self.page.goto(f"{panel}/invoices/{self.shop.order(self.technique).current_invoice_id}?{query}")
            self.inspect("invoice", f"{text} D")
            with self.page.expect_navigation():
                self.page.evaluate(SET_STATE, text)
            self.inspect("refused state")


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def open_attack(visits: Any, relay: Relay, shop: Shop, gateway: Gateway, *, has_policy: bool = True) -> Attack:
    """Open a browser, with or without its enforcing the policy, and the shop in it."""
    relay.app = shop.app
    return Attack(visits.open(bypass_csp=not has_policy), relay.base_url, shop, gateway)


def forgive_refusals(visits: Any) -> None:
    """Take out the console's word on pages that were to be refused."""
    visits.problems[:] = [problem for problem in visits.problems if "Failed to load resource" not in problem]


HALVES = pytest.mark.parametrize("half", [slice(0, None, 2), slice(1, None, 2)], ids=["even", "odd"])


@HALVES
def test_no_payload_is_more_than_text(visits, relay, gateway, tmp_path, half):
    """In every field, on every page, at load and after a poll: shown letter by letter, and nothing else happens."""
    shop = make_shop(tmp_path, gateway, support="".join(PAYLOADS.values()))
    attack = open_attack(visits, relay, shop, gateway)
    for technique, text in [("none", HARMLESS), *list(PAYLOADS.items())[half]]:
        attack.pay(technique, text)
        attack.meet_trouble(text)
    assert attack.found == []
    assert len(attack.shapes) == 9
    forgive_refusals(visits)


@HALVES
def test_escaping_does_without_the_policy(visits, relay, gateway, tmp_path, half):
    """A browser that enforces no policy runs nothing either."""
    shop = make_shop(tmp_path, gateway, support="".join(PAYLOADS.values()))
    attack = open_attack(visits, relay, shop, gateway, has_policy=False)
    for technique, text in [("none", HARMLESS), *list(PAYLOADS.items())[half]]:
        attack.pay(technique, text)
    assert attack.found == []
    assert len(attack.shapes) == 5


def test_no_payload_is_more_than_text_at_a_link(visits, relay, gateway, tmp_path):
    """Descriptions, methods, addresses, units, and amounts too, on the pages of a payment link and of a visit to it."""
    shop = make_shop(tmp_path, gateway, support="".join(PAYLOADS.values()))
    attack = open_attack(visits, relay, shop, gateway)
    for technique, text in {"none": HARMLESS, **PAYLOADS}.items():
        attack.pay_at_link(technique, text)
    assert attack.found == []
    assert len(attack.shapes) == 6


def test_no_payload_is_more_than_text_on_the_panel(visits, relay, gateway, tmp_path):
    """The sandbox shows the shop's description, and takes words and a way back from anybody."""
    attack = open_attack(visits, relay, Shop(tmp_path), gateway)
    attack.go_through_the_panel({"none": HARMLESS, **PAYLOADS})
    assert attack.found == []
    assert len(attack.shapes) == 2
    forgive_refusals(visits)


def test_no_payload_is_an_address_to_go_to(tmp_path, gateway):
    """A return URL is a path of this site, and a support URL leads to a site or a mailbox."""
    shop = make_shop(tmp_path, gateway, support="")
    for text in PAYLOADS.values():
        with pytest.raises(InvalidOrderError):
            shop.place(return_url=text)
        with pytest.raises(ConfigurationError):
            Shop(tmp_path, ITERAPAY_SUPPORT_URL=text)


UNNOTICED = {
    "javascript url",
    "template of the server",
    "template of the browser",
    "out of single quotes",
    "out of backticks and no quotes",
    "unicode lookalikes",
}
"""Payloads that come to nothing in our pages even unescaped: none of them begins a tag or ends a double quote."""


@pytest.mark.parametrize(
    ("begin", "has_policy"),
    [(Attack.begin, True), (Attack.begin, False), (Attack.begin_at_link, True)],
    ids=["policy", "no policy", "policy at a link"],
)
def test_without_escaping_every_payload_is_noticed(visits, relay, gateway, tmp_path, has_policy, begin):
    """The control: a shop that marks all fields as safe. Then the policy alone keeps every script from running."""
    attack = open_attack(visits, relay, Shop(tmp_path), gateway, has_policy=has_policy)
    attack.page.route("https://evil.invalid/**", lambda route: route.fulfill(status=204))
    for technique, text in {"none": HARMLESS, **PAYLOADS}.items():
        attack.shop = make_shop(tmp_path, gateway, support=text)
        attack.shop.app.jinja_env.autoescape = False
        relay.app = attack.shop.app
        begin(attack, technique, text)
        attack.inspect("choose", f"{text} D")
    assert {technique for technique, _, _ in attack.found} == PAYLOADS.keys() - UNNOTICED
    called = {technique for technique, _, trouble in attack.found if trouble.endswith("was called")}
    refused = {technique for technique, _, trouble in attack.found if trouble.startswith("violation")}
    assert len(refused) >= 25 if has_policy else len(called) >= 15
    assert not (called if has_policy else refused)
    visits.problems.clear()
