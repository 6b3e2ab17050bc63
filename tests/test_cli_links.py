"""flask iterapay link ...: what a person sees of payment links and their payments, and what a person can do."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from msgspec.structs import replace
from shops import Shop
from werkzeug.test import Client
from worlds import SECRET, make_client, make_world

from flask_iterapay import GatewayServerError, IteraPay, LinkEvent
from flask_iterapay.links.models import Backlog, Contribution, Link, Visit
from flask_iterapay.orders.entries import Claim
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores.memory import MemoryStore

PUBLIC_URL = "https://shop.example"
LISTING = "transactions/list"


def run(shop: Shop, *arguments: str) -> Result:
    return shop.app.test_cli_runner().invoke(args=["iterapay", "link", *arguments])


def reconcile(shop: Shop) -> None:
    shop.app.test_cli_runner().invoke(args=["iterapay", "reconcile"])


def visit(shop: Shop, reference: str, method_id: str = "1") -> Visit:
    """Have somebody ask the link for an address."""
    return shop.state.links.receive_visitor("donations", method_id, reference=reference, visitor="somebody")


def press(shop: Shop, action: str, invoice_id: str | None, **fields: str) -> None:
    response = Client(shop.state.sandbox).post(f"/panel/invoices/{invoice_id}", data={"action": action, **fields})
    assert response.status_code == 303, response.text
    response.close()


def pay(shop: Shop, visit: Visit, action: str = "pay_exact") -> None:
    press(shop, action, visit.invoice_id, address=str(visit.address))


def payments(shop: Shop) -> list[Contribution]:
    return shop.state.links.list_contributions("donations", limit=100)


def payment(shop: Shop, status: str) -> str:
    """The id of the one contribution of a status."""
    [contribution_id] = [item.contribution_id for item in payments(shop) if item.status == status]
    return contribution_id


def change(shop: Shop, model: type, entry_id: str, **fields: object) -> None:
    """Bring a record into a state that takes long to come about."""
    ledger = Ledger(store=shop.state.store, model=model, realm="sandbox-")
    ledger.change(entry_id, lambda entry: replace(entry, **fields))


def pay_often(shop: Shop, times: int) -> None:
    found = visit(shop, "A")
    for _ in range(times):
        pay(shop, found)
    shop.clock.advance(1)


class WiredShop:
    """A shop whose wire to the gateway can fail, with a link that has received so many payments."""

    def __init__(self, folder: Path, *, times: int) -> None:
        store = MemoryStore()
        self.world = make_world(folder, store=store)
        self.heard: list[LinkEvent] = []
        iterapay = IteraPay(client=make_client(self.world.wire), store=store, clock=self.world.clock)
        iterapay.on("link.payment_received")(self.heard.append)
        self.app = Flask("shop")
        self.app.config.update(TESTING=True, SECRET_KEY="a secret key of this test", ITERAPAY_WEBHOOK_SECRETS=SECRET)
        iterapay.init_app(self.app)
        found = self.world.visit(reference="A")
        for _ in range(times):
            self.world.pay(found)
        self.world.clock.advance(1)


def break_handler(shop: Shop) -> list[bool]:
    """Add a handler of link.payment_received that raises until the list is emptied."""
    broken = [True]

    @shop.iterapay.on("link.payment_received")
    def fail(event):
        if broken:
            raise RuntimeError("the thank-you mail cannot be sent")

    return broken


def set_detail(shop: Shop, **settings: str) -> None:
    """Have the gateway give a new address at every request, and tell which one a transaction went to."""
    shop.set_sandbox(reusable_address="new", transaction_detail="told", **settings)


@pytest.fixture
def shop(tmp_path) -> Shop:
    """A shop with one link."""
    shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL=PUBLIC_URL)
    set_detail(shop)
    shop.create_link("donations", description="For the library", minimum="20.00", slug="library")
    return shop


@pytest.fixture
def paid(shop: Shop) -> Shop:
    """The shop once it has a payment of each kind, a minute apart: A received, B on hold, C refused, D confirming."""
    for reference, action in (("A", "pay_exact"), ("B", "aml_fail"), ("C", "pay_dust"), ("D", "pay_pending")):
        pay(shop, visit(shop, reference), action)
        shop.clock.advance(60)
    for _ in range(2):
        reconcile(shop)
    shop.heard.clear()
    shop.clock.advance(5)
    return shop


class TestList:
    def test_it_lists_the_newest_first(self, shop: Shop):
        """With the terms, and with what is wrong."""
        shop.clock.advance(60)
        shop.create_link("top-ups")
        change(shop, Link, "donations", unreachable_since=shop.clock.now)
        assert run(shop, "list").output.splitlines() == [
            "2026-01-15 10:31  open                 any  top-ups",
            "2026-01-15 10:30  open      from 20.00 USD  donations  unreachable since 2026-01-15 10:31:00 UTC",
        ]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [([], ["c", "b", "donations"]), (["--status", "closed"], ["b"]), (["--limit", "1"], ["c"])],
        ids=["all", "closed", "one"],
    )
    def test_it_filters(self, shop: Shop, arguments, expected):
        """As JSON, for programs."""
        for link_id in ("b", "c"):
            shop.clock.advance(60)
            shop.create_link(link_id)
        run(shop, "close", "b", "--note", "over")
        listed = json.loads(run(shop, "list", "--json", *arguments).output)
        assert [link["link_id"] for link in listed] == expected

    def test_none_is_said(self, shop: Shop):
        """Rather than an empty screen; a program gets an empty list."""
        result = run(shop, "list", "--status", "closed")
        assert (result.stdout, result.stderr) == ("", "no such links\n")
        assert json.loads(run(shop, "list", "--status", "closed", "--json").stdout) == []


class TestShow:
    def test_it_shows_terms_page_invoices_and_history(self, paid: Shop):
        """What a person needs to know of a link."""
        run(paid, "close", "donations", "--note", "the shelf is full", "--actor", "ana")
        [invoice_id] = paid.link("donations").invoice_ids
        assert run(paid, "show", "donations").output == (
            "link:               donations\n"
            "status:             closed\n"
            "description:        For the library\n"
            "amount:             from 20.00 USD\n"
            "methods:            all that the shop offers\n"
            "public list:        yes\n"
            "page:               https://shop.example/pay/links/library\n"
            "created:            2026-01-15 10:30:00 UTC\n"
            "changed:            2026-01-15 10:34:05 UTC\n"
            "visited:            2026-01-15 10:33:00 UTC\n"
            "read:               2026-01-15 10:34:00 UTC\n"
            "next read:          2026-01-15 10:35:00 UTC\n"
            "invoices:\n"
            f"  {invoice_id}  USDT-TRC20      20.00 USD\n"
            "history:\n"
            "  2026-01-15 10:30:00 UTC  created, by shop\n"
            "  2026-01-15 10:34:05 UTC  closed, by ana (the shelf is full)\n"
        )

    def test_what_a_link_lacks_is_said_or_left_out(self, tmp_path):
        """Without a slug, an address of the shop's own, a minimum, a description or a visitor."""
        shop = Shop(tmp_path)
        shop.create_link("donations", methods=[1, 4], has_public_list=False)
        output = run(shop, "show", "donations").output
        assert re.search(r"^page: +/pay/links/\S+\.\S+$", output, re.MULTILINE)
        for line in ("amount: +any", "methods: +1, 4", "public list: +no", "  none yet; .*"):
            assert re.search(f"^{line}$", output, re.MULTILINE), line
        assert not re.search("description|read:|unreachable|backlog", output)

    @pytest.mark.parametrize(("is_bound", "end"), [(True, "2026-01-15 10:30:00 UTC"), (False, "the oldest")])
    def test_what_is_wrong_with_it_is_shown(self, shop: Shop, is_bound, end):
        """Since when the gateway cannot be read, and what has yet to be."""
        now = shop.clock.now
        backlog = Backlog(page=7, down_to=now if is_bound else None)
        change(shop, Link, "donations", unreachable_since=now, backlog=backlog)
        output = run(shop, "show", "donations").output
        assert "unreachable since:  2026-01-15 10:30:00 UTC\n" in output
        assert f"backlog:            transactions from page 7 on, down to {end}\n" in output

    def test_as_json_it_shows_everything(self, paid: Shop):
        """All that is stored, and the page's address."""
        link = json.loads(run(paid, "show", "donations", "--json").output)
        assert (link["link_id"], link["url"]) == ("donations", "https://shop.example/pay/links/library")
        assert link["history"][0]["reason"] == "created"


class TestPayments:
    def test_it_lists_the_newest_first(self, paid: Shop):
        """Status and reason, amount, method, reference and id, and no amount is left without the unit that is known."""
        lines = run(paid, "payments", "donations").output.splitlines()
        assert [line.split()[-2] for line in lines] == ["D", "C", "B", "A"]
        assert [line.split()[-1] for line in lines] == [item.contribution_id for item in payments(paid)]
        assert lines[2].startswith("2026-01-15 10:31  on_hold (aml_failed)           20.010006 USDT  USDT-TRC20  ")
        assert [line.split()[2] for line in lines] == ["confirming", "refused", "on_hold", "received"]

    def test_what_the_gateway_does_not_tell_is_not_made_up(self, shop: Shop):
        """By the documentation, a transaction names neither unit nor address."""
        shop.set_sandbox(reusable_address="new")
        pay(shop, visit(shop, "A"))
        reconcile(shop)
        shop.clock.advance(61)
        reconcile(shop)
        [line] = run(shop, "payments", "donations").output.splitlines()
        assert line.split()[2:6] == ["received", "20.010006", "USDT-TRC20", "-"]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--status", "confirming"], ["D"]),
            (["--status", "on_hold"], ["B"]),
            (["--status", "refused"], ["C"]),
            (["--status", "received", "--failed"], []),
            (["--failed"], []),
            (["--limit", "2"], ["D", "C"]),
        ],
        ids=" ".join,
    )
    def test_it_filters(self, paid: Shop, arguments, expected):
        """As JSON, with everything that is stored and the id to decide by."""
        listed = json.loads(run(paid, "payments", "donations", "--json", *arguments).output)
        assert [item["reference"] for item in listed] == expected
        ids = [item.contribution_id for item in payments(paid) if item.reference in expected]
        assert [item["contribution_id"] for item in listed] == ids
        assert all({"history", "events", "tx_hash", "address"} <= item.keys() for item in listed)

    def test_it_looks_further_than_a_page_of_the_store(self, shop: Shop):
        """One held payment below a hundred others is found."""
        pay(shop, visit(shop, "A"), "aml_fail")
        shop.clock.advance(60)
        reconcile(shop)
        [held] = payments(shop)
        for number in range(120):
            copy = replace(held, transaction_id=f"t{number}", status="received", created_at=shop.clock.now, version=0)
            Ledger(store=shop.state.store, model=Contribution, realm="sandbox-").add(copy)
        output = run(shop, "payments", "donations", "--status", "on_hold").output
        assert output.splitlines()[0].endswith(held.contribution_id)
        assert output.count("\n") == 1

    def test_handlers_that_gave_up_and_contradictions_are_marked(self, paid: Shop):
        """A person sees what failed for good, and what the gateway took back."""
        run(paid, "resolve", payment(paid, "confirming"), "--accept", "--note", "I know him")
        press(paid, "fail", paid.state.links.get_visit("D").invoice_id)
        broken = break_handler(paid)
        run(paid, "resolve", payment(paid, "on_hold"), "--accept", "--note", "I know her")
        for _ in range(14):
            paid.clock.advance(7 * 3600)
            reconcile(paid)
        broken.clear()
        [line] = run(paid, "payments", "donations", "--failed").output.splitlines()
        assert "  B  " in line
        assert "  failed: link.payment_received" in line
        assert run(paid, "payments", "donations").output.splitlines()[0].endswith("  failed_after_received")

    def test_none_is_said(self, shop: Shop):
        """Rather than an empty screen."""
        result = run(shop, "payments", "donations")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no such payments\n")


class TestVisit:
    def test_it_shows_where_to_pay_and_what_came(self, paid: Shop):
        """What a visitor who quotes his reference wants to be told."""
        address = paid.state.links.get_visit("B").address
        assert run(paid, "visit", "B").output == (
            "link:      donations\n"
            "begun:     2026-01-15 10:31:00 UTC\n"
            "method:    USDT-TRC20 (USDT on TRON)\n"
            f"address:   {address}\n"
            "payments:  told by the address, where the gateway names it\n"
            f"  2026-01-15 10:31  on_hold           20.010006 USDT  {payment(paid, 'on_hold')}\n"
        )

    def test_an_address_that_others_have_tells_nothing(self, shop: Shop):
        """And it is said where to look instead."""
        shop.set_sandbox(reusable_address="same")
        for reference in ("A", "B"):
            visit(shop, reference)
            shop.clock.advance(61)
        for reference in ("A", "B"):
            assert "cannot be told, since others have the same address" in run(shop, "visit", reference).output

    def test_no_payment_is_said(self, shop: Shop):
        """The visitor's own address, and nothing has come."""
        visit(shop, "A")
        assert run(shop, "visit", "A").output.endswith("where the gateway names it; none is known\n")

    def test_no_address_is_said(self, shop: Shop):
        """Not yet, or none at all for this method."""
        set_detail(shop, api_fault="500", fault_operation="address", fault_calls="0")
        with pytest.raises(GatewayServerError):
            visit(shop, "A")
        output = run(shop, "visit", "A").output
        assert "address:   none\npayments:  none, since no address was given out yet\n" in output
        change(shop, Visit, "A", is_refused=True)
        assert "the gateway gives no address for this method" in run(shop, "visit", "A").output


class TestCloseAndReopen:
    def test_they_keep_who_and_why(self, shop: Shop):
        """No new addresses, and then again."""
        closed = run(shop, "close", "donations", "--note", "the shelf is full", "--actor", "ana")
        assert (closed.exit_code, closed.output) == (0, "link donations is closed\n")
        opened = run(shop, "reopen", "donations", "--note", "a new shelf")
        assert (opened.exit_code, opened.output) == (0, "link donations is open\n")
        _, first, second = shop.link("donations").history
        assert (first.reason, first.actor, first.note) == ("closed", "ana", "the shelf is full")
        assert (second.reason, second.note, bool(second.actor)) == ("opened", "a new shelf", True)

    @pytest.mark.parametrize(("command", "word"), [("close", "closed"), ("reopen", "open")])
    def test_what_is_so_already_is_left_alone(self, shop: Shop, command, word):
        """And nobody is told that his note was kept."""
        run(shop, command, "donations", "--note", "first")
        before = shop.link("donations")
        result = run(shop, command, "donations", "--note", "second")
        assert (result.exit_code, result.output) == (0, f"link donations is {word} already; nothing was written\n")
        assert shop.link("donations") == before


class TestSync:
    def test_it_says_what_is_new_and_runs_the_handlers(self, shop: Shop):
        """At once, whether it was due or not."""
        for reference, action in (("A", "pay_exact"), ("B", "pay_pending")):
            pay(shop, visit(shop, reference), action)
            shop.clock.advance(1)
        first = run(shop, "sync", "donations")
        assert first.exit_code == 0
        begin, *news, end = first.output.splitlines()
        assert (begin, end) == ("new or changed: 2", "every event is done")
        assert [line.split()[2:] for line in news] == [
            ["confirming", "20.010006", "USDT", "USDT-TRC20", "B", payment(shop, "confirming")],
            ["received", "20.010006", "USDT", "USDT-TRC20", "A", payment(shop, "received")],
        ]
        assert [event.reference for event in shop.heard] == ["A"]

    def test_what_changed_is_new_and_what_did_not_is_not(self, shop: Shop):
        """A payment that was confirming has come in; the other one was known."""
        for reference, action in (("A", "pay_exact"), ("B", "pay_pending")):
            pay(shop, visit(shop, reference), action)
        shop.clock.advance(1)
        run(shop, "sync", "donations")
        press(shop, "settle", shop.state.links.get_visit("B").invoice_id)
        shop.clock.advance(1)
        lines = run(shop, "sync", "donations").output.splitlines()
        assert [lines[0], lines[-1], len(lines)] == ["new or changed: 1", "every event is done", 3]
        assert "  received  " in lines[1]
        assert "  B  " in lines[1]
        shop.clock.advance(1)
        assert run(shop, "sync", "donations").output == "nothing is new\n"

    def test_nothing_to_read_is_said(self, shop: Shop):
        """Nobody has chosen how to pay yet."""
        output = run(shop, "sync", "donations").output
        assert output == "nothing is new\nit has no invoice yet, so there is nothing to read\n"

    def test_a_reading_under_way_is_left_alone(self, paid: Shop):
        """Whoever holds the claim reads."""
        claim = Claim(token="somebody's", expires_at=paid.clock.now + timedelta(seconds=60))
        change(paid, Link, "donations", claim=claim)
        output = run(paid, "sync", "donations").output
        assert output == "nothing is new\nit was not read, because somebody else is reading it\n"

    def test_a_handler_that_fails_is_named(self, shop: Shop):
        """It is tried again later."""
        break_handler(shop)
        pay(shop, visit(shop, "A"))
        shop.clock.advance(1)
        result = run(shop, "sync", "donations")
        assert result.exit_code == 0
        key = f"link.payment_received:{payment(shop, 'received')}"
        assert result.output.endswith(f"not done: {key}; see the log and `link payments`\n")

    def test_a_gateway_that_is_down_is_one_line(self, paid: Shop):
        """And nothing is new."""
        paid.break_gateway()
        result = run(paid, "sync", "donations")
        assert result.exit_code == 1
        assert result.stdout == "nothing is new\n"
        assert re.fullmatch(r"Error: list_newest_transactions: 500\b[^\n]*\n", result.stderr)

    def test_much_news_is_cut_short(self, shop: Shop):
        """With the command that shows the rest."""
        pay_often(shop, 53)
        output = run(shop, "sync", "donations").output
        assert output.startswith("new or changed: 53\n")
        assert "\n... and 3 more: flask iterapay link payments donations\n" in output
        assert len(shop.heard) == 53

    def test_what_was_read_before_a_failure_counts(self, tmp_path):
        """The first page is written down and its handlers run, though the second one cannot be read."""
        shop = WiredShop(tmp_path, times=53)
        wire = shop.world.wire
        wire.interrupt(LISTING, lambda: wire.fail(LISTING))
        result = run(shop, "sync", "donations")
        assert result.exit_code == 1
        assert result.stdout.startswith("new or changed: 50\n")
        assert result.stdout.endswith("\nevery event is done\n")
        assert re.fullmatch(r"Error: list_newest_transactions: 503\b[^\n]*\n", result.stderr)
        wire.mend()
        shop.world.clock.advance(1)
        assert run(shop, "sync", "donations").stdout.startswith("new or changed: 3\n")
        assert len(shop.heard) == 53

    def test_what_has_yet_to_be_read_is_said(self, tmp_path):
        """A reading ends in time, and the next one goes on."""
        shop = WiredShop(tmp_path, times=53)
        shop.world.wire.interrupt(LISTING, lambda: shop.world.clock.advance(50))
        output = run(shop, "sync", "donations").output
        assert output.startswith("new or changed: 50\n")
        assert output.endswith("\nthere is more to read: run this again, or leave it to `reconcile`\n")
        shop.world.clock.advance(1)
        assert run(shop, "sync", "donations").output.startswith("new or changed: 3\n")


@pytest.fixture
def held(paid: Shop) -> str:
    """The id of the payment that failed AML."""
    return payment(paid, "on_hold")


class TestResolve:
    def test_accepting_receives_it_and_tells_the_shop(self, paid: Shop, held: str):
        """Who and why is kept, and the handlers run at once."""
        result = run(paid, "resolve", held, "--accept", "--note", "I know her", "--actor", "ana")
        assert (result.exit_code, result.output) == (0, f"contribution {held} is received\nevery event is done\n")
        step = paid.state.links.get_contribution(held).history[-1]
        assert (step.actor, step.note, step.status) == ("ana", "I know her", "received")
        assert [event.key for event in paid.heard] == [f"link.payment_received:{held}"]

    def test_turning_it_down_refuses_it(self, paid: Shop):
        """Also one that is never confirmed; without a name given, the login name is kept."""
        confirming = payment(paid, "confirming")
        result = run(paid, "resolve", confirming, "--refuse", "--note", "sent back")
        assert result.output == f"contribution {confirming} is refused\nevery event is done\n"
        assert paid.state.links.get_contribution(confirming).history[-1].actor
        assert paid.heard == []

    @pytest.mark.parametrize(("decision", "word"), [("--accept", "received"), ("--refuse", "refused")])
    def test_the_visitor_sees_the_decision(self, paid: Shop, held: str, decision, word):
        """His page would otherwise say for ever that the payment is looked at."""
        run(paid, "resolve", held, decision, "--note", "decided")
        [shown] = paid.state.links.get_visit("B").payments
        assert shown.status == word
        assert f"  {word} " in run(paid, "visit", "B").output

    @pytest.mark.parametrize(
        ("status", "arguments", "message"),
        [
            ("on_hold", ["--accept"], "Missing option '--note'"),
            ("on_hold", ["--note", "x"], "say --accept or --refuse"),
            ("on_hold", ["--note", "x", "--accept", "--refuse"], "say --accept or --refuse"),
            ("on_hold", ["--note", " ", "--accept"], "say why"),
            ("on_hold", ["--note", "x" * 1001, "--accept"], "at most 1000 printable characters"),
            ("received", ["--accept", "--note", "x"], "it is received, not on hold"),
            ("refused", ["--refuse", "--note", "x"], "it is refused, not on hold"),
        ],
        ids=["no note", "no decision", "both", "blank note", "long note", "received", "refused"],
    )
    def test_what_it_refuses(self, paid: Shop, status, arguments, message):
        """A decision is complete, and about money that waits."""
        before = payments(paid)
        result = run(paid, "resolve", payment(paid, status), *arguments)
        assert result.exit_code != 0
        assert message in result.output
        assert payments(paid) == before


class TestRetry:
    def test_it_runs_the_handlers_again(self, paid: Shop, held: str):
        """Once what was broken is mended, nobody need wait."""
        broken = break_handler(paid)
        key = f"link.payment_received:{held}"
        left = f"not done: {key}; see the log and `link payments`\n"
        decided = run(paid, "resolve", held, "--accept", "--note", "I know her")
        assert (decided.exit_code, decided.output) == (0, f"contribution {held} is received\n{left}")
        failed = run(paid, "retry", held, "--note", "trying")
        assert (failed.exit_code, failed.output) == (1, left)
        broken.clear()
        mended = run(paid, "retry", held, "--note", "mended", "--actor", "ana")
        assert (mended.exit_code, mended.output) == (0, "every event is done\n")
        step = paid.state.links.get_contribution(held).history[-1]
        assert (step.actor, step.note, step.reason) == ("ana", "mended", f"tries {key} again")

    def test_nothing_to_run_writes_nothing(self, paid: Shop, held: str):
        """Every event has been heard."""
        before = payments(paid)
        result = run(paid, "retry", held, "--note", "x")
        assert (result.exit_code, result.output) == (0, "every event is done\n")
        assert payments(paid) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["show"], "there is no such payment link"),
        (["payments"], "there is no such payment link"),
        (["close", "--note", "x"], "there is no such payment link"),
        (["reopen", "--note", "x"], "there is no such payment link"),
        (["sync"], "there is no such payment link"),
        (["visit"], "there is no such visit"),
        (["resolve", "--accept", "--note", "x"], "there is no such contribution"),
        (["retry", "--note", "x"], "there is no such contribution"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_not_there_is_one_line(shop: Shop, command, message):
    """No stack trace for a slip of the finger."""
    result = run(shop, *command, "NOBODY")
    assert (result.exit_code, result.output) == (1, f"Error: 'NOBODY': {message}\n")


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--status", "on_hold"],
        ["list", "--limit", "0"],
        ["payments", "donations", "--status", "paid"],
        ["payments", "donations", "--limit", "none"],
        ["close", "donations"],
        ["reopen", "donations", "--note", "\t"],
        ["resolve", "x", "--cancel", "--note", "x"],
    ],
    ids=" ".join,
)
def test_a_wrong_word_is_refused(shop: Shop, command):
    """With the usage, before anything is done."""
    result = run(shop, *command)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_a_database_that_is_away_is_one_line(tmp_path):
    """For every command that reads it."""
    shop = Shop(tmp_path, ITERAPAY_DATABASE_URL=f"sqlite:///{tmp_path / 'own.sqlite3'}")
    for command in (["list"], ["show", "x"], ["payments", "x"], ["visit", "x"], ["sync", "x"]):
        result = run(shop, *command)
        assert result.exit_code == 1
        assert re.fullmatch(r"Error: [^\n]*init-db[^\n]*\n", result.output)
