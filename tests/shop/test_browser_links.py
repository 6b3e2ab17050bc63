"""Three visitors donate over one payment link at once, each in a browser of his own, and everybody is told the truth.

One pays twice, one pays too little, and what the third sends fails AML. Some webhooks come twice, others never.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from customers import stop_clock
from flask import Flask
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as NotYet
from servers import serving

from example_shop import create_app
from example_shop.database import transaction
from example_shop.extensions import iterapay
from flask_iterapay import Contribution, ContributionStatus, HoldReason

pytestmark = pytest.mark.browser

PATIENCE_SECONDS = 30
POLL_MILLISECONDS = 15_000
# After so long a link that nobody reads is due, and a worker that reads it then finds what the shop was never told.
LATER = timedelta(seconds=90)

MINIMUM, TOO_LITTLE = "5.002502", "0.00007005"

Units = dict[str, str]
"""The unit of an asset's amounts, if the gateway tells it."""


class Gate:
    """In front of the shop: holds forms back until all that are awaited have come, and lets them in together."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._barrier: Barrier | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        barrier = self._barrier
        if barrier and environ["REQUEST_METHOD"] == "POST":
            barrier.wait(PATIENCE_SECONDS)
        return self._app(environ, start_response)

    def press_together(self, *buttons: Locator) -> None:
        """Press buttons in several browsers, whose forms are to arrive at one moment."""
        self._barrier = Barrier(len(buttons), action=self._open)
        for button in buttons:
            button.dispatch_event("click")

    def _open(self) -> None:
        self._barrier = None


class Visitor:
    """One visitor: a page whose clock stands still until somebody runs it, and the sandbox's panel as his wallet."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self._base_url = base_url
        self.loads: list[str] = []
        self.address = self.reference = ""

    def choose(self, method: str) -> Locator:
        """Come by the donation page and choose; return the button that asks for an address."""
        stop_clock(self.page, datetime.now(UTC))
        self.page.goto(f"{self._base_url}/donate")
        self.page.get_by_role("main").get_by_role("link", name="Donate").click()
        self.page.get_by_label(method).check()
        return self.page.get_by_role("button", name="Continue")

    def read_address(self) -> None:
        """Wait for the address, and note it with what he is to quote. From now on he loads the page no more."""
        watch(self.page.get_by_role("heading", name="to this address"))
        self.address = self.page.locator("#ip-address").inner_text()
        self.reference = self.page.locator("dt:text-is('Reference') + dd").inner_text()
        self.page.wait_for_load_state()
        self.page.on("load", lambda page: self.loads.append(page.url))

    def find_in_wallet(self, name: str) -> Locator:
        """Open the panel by the link on the page, loaded in another tab; return a button, which pays to his address."""
        wallet = self.page.context.new_page()
        wallet.goto(self.page.url)
        wallet.get_by_role("link", name="sandbox panel").click()
        return wallet.get_by_role("button", name=name)

    def list_payments(self) -> list[str]:
        """What his page lists: what is known to be his, or else everybody's."""
        return sorted(self.page.locator("main .ip-facts dd").all_inner_texts())


class Town:
    """The shop, whoever runs it, somebody who only looks on, and three visitors."""

    def __init__(self, visits: Any, app: Flask, gate: Gate, base_url: str) -> None:
        self.app = app
        self.gate = gate
        self._base_url = base_url
        self._operator: Page = visits.open()
        self.onlooker: Page = visits.open()
        stop_clock(self.onlooker, datetime.now(UTC))
        self.onlooker.goto(f"{base_url}/donate")
        self.visitors = [Visitor(visits.open(), base_url) for _ in range(3)]

    def set_sandbox(self, fault: str, **choices: str) -> None:
        """Switch the sandbox on its own page: what goes wrong with webhooks, and the choices that are named."""
        page = self._operator
        page.goto(f"{self._base_url}/pay/sandbox/panel/settings")
        for name, value in choices.items():
            page.locator(f"#{name}").select_option(value)
        for box in page.locator("[name=webhook_faults]").all():
            box.set_checked(box.input_value() == fault)
        page.get_by_role("button", name="Save settings").click()
        page.get_by_text("Saved.").wait_for()

    def pay_together(self, *buttons: Locator) -> None:
        """Pay in several wallets at one moment, and wait until each says that it is done."""
        self.gate.press_together(*buttons)
        for button in buttons:
            button.page.get_by_text("Done:").wait_for()

    def reconcile(self) -> None:
        """Run the command as another worker of the shop does a while later."""
        worker = Flask("worker", instance_path=self.app.instance_path)
        worker.config.from_mapping(self.app.config)
        iterapay.init_app(worker, clock=lambda: datetime.now(UTC) + LATER)
        worker.register_blueprint(iterapay.blueprint, url_prefix="/pay")
        result = worker.test_cli_runner().invoke(args=["iterapay", "reconcile"])
        assert result.exit_code == 0, result.output

    def sync(self) -> None:
        """Read everything once more."""
        with self.app.app_context():
            iterapay.sync_link("library")

    def list_contributions(self) -> list[Contribution]:
        """What the merchant is told of what came in."""
        with self.app.app_context():
            return iterapay.list_contributions("library")

    def list_donations(self) -> list[str]:
        """What the donation page lists for whoever opens it."""
        self._operator.goto(f"{self._base_url}/donate")
        return read_donations(self._operator)

    def list_handled(self) -> list[str]:
        """The keys of the events that the shop's handler wrote a row for."""
        with self.app.app_context(), transaction() as db:
            return [row["event_key"] for row in db.execute("SELECT event_key FROM donations")]


def read_donations(page: Page) -> list[str]:
    """What a donation page lists, each in one line, without its time."""
    texts = page.locator("main .history li").all_inner_texts()
    return sorted(" ".join(re.sub(r", \d\d \w+ \d{4}, [\d:]+ UTC", "", text).split()) for text in texts)


def watch(awaited: Locator) -> None:
    """Run a page's clock from poll to poll, until it has turned by itself."""
    for _ in range(100):
        with suppress(NotYet):
            return awaited.wait_for(timeout=200)
        awaited.page.clock.run_for(POLL_MILLISECONDS)
    raise AssertionError(f"no {awaited} after 100 polls")


def look_for(expected: list[str], look: Callable[[], list[str]]) -> None:
    """Look again until it is there, since handlers run after the response of whoever brought the news."""
    for _ in range(100):
        if look() == expected:
            return
    assert look() == expected


@pytest.fixture
def town(visits: Any, tmp_path: Path) -> Iterator[Town]:
    """The example shop as its command serves it, and its people."""
    app = create_app({"ITERAPAY_SYNC_SECONDS": 1}, instance_path=str(tmp_path))
    gate = Gate(app)
    with serving(gate) as base_url:
        yield Town(visits, app, gate, base_url)
        visits.close()


@pytest.mark.parametrize("detail", ["documented", "told"])
@pytest.mark.parametrize("address", ["same", "new"])
def test_three_visitors_pay_over_one_link(town: Town, address, detail):
    """Four payments are four contributions, three are money, and nobody is thanked for what may be somebody else's."""
    town.set_sandbox("duplicate", reusable_address=address, transaction_detail=detail)
    ask_together(town)
    addresses = Counter(visitor.address for visitor in town.visitors)
    assert len(addresses) == (3 if address == "new" else 2)
    units = {"USDT": "USDT", "BTC": "BTC"} if detail == "told" else {}
    owners = {visitor for visitor in town.visitors if detail == "told" and addresses[visitor.address] == 1}

    pay_twice_too_little_and_tainted(town, units)
    for find in (town.reconcile, town.sync):
        find()
        check_the_merchants_list(town, units, owners)
    check_the_donation_page(town, units)
    check_the_visitors_pages(town, units, owners)


def ask_together(town: Town) -> None:
    """Two visitors choose one method and the third another, and all ask for an address at one moment."""
    methods = ("USDT on TRON", "BTC on Bitcoin", "USDT on TRON")
    town.gate.press_together(*[visitor.choose(method) for visitor, method in zip(town.visitors, methods, strict=True)])
    for visitor in town.visitors:
        visitor.read_address()


def pay_twice_too_little_and_tainted(town: Town, units: Units) -> None:
    """Let webhooks come twice for two payments, and never for two others."""
    first, second, third = town.visitors
    town.pay_together(first.find_in_wallet("Pay the minimum"), third.find_in_wallet("Pay, and fail AML"))
    usdt = show(MINIMUM, units, "USDT")
    half = [f"{usdt} USDT on TRON", f"{usdt} USDT on TRON Being checked"]
    look_for(half, town.list_donations)

    town.set_sandbox("drop")
    town.pay_together(first.find_in_wallet("Pay the minimum"), second.find_in_wallet("Pay 10 % too little"))
    assert town.list_donations() == half


def check_the_merchants_list(town: Town, units: Units, owners: set[Visitor]) -> None:
    """Each payment once, as what it is and whose it is known to be; a row of the handler's for each that is money."""
    listed = town.list_contributions()
    first, second, third = (visitor.reference if visitor in owners else None for visitor in town.visitors)
    received, on_hold = ContributionStatus.RECEIVED, ContributionStatus.ON_HOLD
    assert Counter(
        (item.method.ticker, item.amount, item.unit, item.status, item.hold_reason, item.reference) for item in listed
    ) == {
        ("USDT", MINIMUM, units.get("USDT"), received, None, first): 2,
        ("BTC", TOO_LITTLE, units.get("BTC"), received, None, second): 1,
        ("USDT", MINIMUM, units.get("USDT"), on_hold, HoldReason.AML_FAILED, third): 1,
    }
    keys = [f"link.payment_received:{item.contribution_id}" for item in listed if item.status is received]
    assert Counter(town.list_handled()) == dict.fromkeys(keys, 1)


def check_the_donation_page(town: Town, units: Units) -> None:
    """Each payment once, for whoever comes, and for somebody whose page has been open all the time."""
    usdt, btc = show(MINIMUM, units, "USDT"), show(TOO_LITTLE, units, "BTC")
    lines = [f"{btc} BTC on Bitcoin", *[f"{usdt} USDT on TRON"] * 2, f"{usdt} USDT on TRON Being checked"]
    assert town.list_donations() == lines
    watch(town.onlooker.locator("main .history li:nth-child(4)"))
    assert read_donations(town.onlooker) == lines


def check_the_visitors_pages(town: Town, units: Units, owners: set[Visitor]) -> None:
    """Each page has turned by itself: to the visitor's own payments where they are known, else to everybody's."""
    first, second, third = town.visitors
    usdt, btc = show(MINIMUM, units, "USDT"), show(TOO_LITTLE, units, "BTC")
    own = {
        first: ("Received, thank you", [f"{usdt} · received"] * 2),
        second: ("Received, thank you", [f"{btc} · received"]),
        third: ("Payment received, being checked", [f"{usdt} · being checked"]),
    }
    everybodys = [
        f"{btc} · BTC on Bitcoin · received",
        f"{usdt} · USDT on TRON · being checked",
        *[f"{usdt} · USDT on TRON · received"] * 2,
    ]
    for visitor in town.visitors:
        headline, payments = own[visitor] if visitor in owners else ("to this address", everybodys)
        watch(visitor.page.locator(f"main:has(h1:text('{headline}')) .ip-facts > :nth-child({len(payments)})"))
        assert visitor.list_payments() == payments
        assert visitor.loads == []


def show(amount: str, units: Units, ticker: str) -> str:
    """An amount as pages show it, with its unit only if that is told."""
    return f"{amount} {units[ticker]}" if units else amount
