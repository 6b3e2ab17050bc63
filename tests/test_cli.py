"""flask iterapay ...: what each command prints, and what it refuses."""

import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from click.testing import Result
from servers import ROOT
from shops import Shop
from werkzeug.test import Client

from flask_iterapay import IteraPay, OrderStatus
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.sandbox.app import BEARER_TOKEN

PUBLIC_URL = "https://shop.example"


def run(shop: Shop, *arguments: str, stdin: str | None = None) -> Result:
    return shop.app.test_cli_runner().invoke(args=["iterapay", *arguments], input=stdin)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path, ITERAPAY_PUBLIC_URL=PUBLIC_URL)


class TestInitDb:
    def test_it_makes_the_tables_and_may_be_repeated(self, tmp_path):
        """A deployment runs it every time."""
        shop = Shop(tmp_path, ITERAPAY_DATABASE_URL=f"sqlite:///{tmp_path / 'own.sqlite3'}")
        with pytest.raises(Exception, match="init-db"):
            shop.place()
        for _ in range(2):
            assert run(shop, "init-db").exit_code == 0
        assert shop.place()

    def test_a_store_without_tables_says_so(self, tmp_path):
        """Nothing is pretended for a store of another kind."""
        shop = Shop(tmp_path, iterapay=IteraPay(store=MemoryStore()))
        result = run(shop, "init-db")
        assert result.exit_code == 1
        assert "no tables" in result.output


class TestMethods:
    def test_it_lists_the_methods_and_marks_those_on_offer(self, tmp_path):
        """The ids for ITERAPAY_METHODS can be read off."""
        result = run(Shop(tmp_path, ITERAPAY_METHODS="1,4"), "methods")
        lines = result.output.splitlines()
        assert [line[0] for line in lines] == ["*", " ", " ", "*", " "]
        assert re.search(r"1\s+USDT-TRC20\s+USDT on TRON", lines[0])

    def test_a_gateway_that_is_down_is_one_line(self, shop: Shop):
        """No stack trace for an operator."""
        shop.break_gateway()
        result = run(shop, "methods")
        assert result.exit_code == 1
        assert "list_payment_methods: 500" in result.output
        assert "Traceback" not in result.output


class TestWebhook:
    def test_register_reads_the_token_from_stdin_and_show_confirms_it(self, shop: Shop):
        """Once registered, the gateway's URL is this app's."""
        before = run(shop, "webhook", "show")
        assert (before.exit_code, "they differ" in before.output) == (1, True)
        result = run(shop, "webhook", "register", "--yes", stdin=f"{BEARER_TOKEN}\n")
        assert result.exit_code == 0, result.output
        assert result.output.strip() == "Registered https://shop.example/pay/webhook"
        after = run(shop, "webhook", "show")
        assert after.exit_code == 0
        assert after.output.count("https://shop.example/pay/webhook") == 2

    def test_another_url_is_replaced_only_with_yes(self, shop: Shop):
        """There is one webhook per merchant, and somebody else may be listening."""
        _register_elsewhere(shop)
        refused = run(shop, "webhook", "register", stdin=f"{BEARER_TOKEN}\n")
        assert refused.exit_code == 1
        assert "https://other.example/hook is registered" in refused.output
        assert "--yes" in refused.output
        assert run(shop, "webhook", "register", "--yes", stdin=f"{BEARER_TOKEN}\n").exit_code == 0

    def test_the_gateways_token_is_shown_only_on_demand(self, shop: Shop):
        """It is a secret, and belongs into no log."""
        result = run(shop, "webhook", "register", "--yes", "--show-token", stdin=f"{BEARER_TOKEN}\n")
        assert re.search(r"token: wh(sec|k)_", result.output)

    @pytest.mark.parametrize("stdin", ["", "\n", "  \n"])
    def test_no_token_is_said(self, shop: Shop, stdin):
        """An empty pipe is not a token."""
        result = run(shop, "webhook", "register", "--yes", stdin=stdin)
        assert result.exit_code == 1
        assert "no bearer token" in result.output

    def test_a_wrong_token_is_refused_and_not_repeated(self, shop: Shop):
        """What the operator typed does not come back on the screen."""
        result = run(shop, "webhook", "register", "--yes", stdin="a-canary-token\n")
        assert result.exit_code == 1
        assert "401" in result.output
        assert "canary" not in result.output

    def test_a_url_that_the_gateway_cannot_reach_is_refused_first(self, tmp_path):
        """Only https, and only if we know our own address."""
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        unknown = Shop(tmp_path / "a")
        assert "ITERAPAY_PUBLIC_URL" in run(unknown, "webhook", "register", stdin="x\n").output
        plain = Shop(tmp_path / "b", ITERAPAY_PUBLIC_URL="http://127.0.0.1:5000")
        assert "https only" in run(plain, "webhook", "register", stdin="x\n").output
        assert "unknown, because ITERAPAY_PUBLIC_URL" in run(unknown, "webhook", "show").output

    def test_the_sandbox_within_the_app_needs_none(self, tmp_path):
        """Who tries it out has nothing to mend."""
        result = run(Shop(tmp_path), "webhook", "show")
        assert result.exit_code == 0
        assert "delivers to this app from within" in result.output


class TestReconcile:
    def test_once_it_finishes_what_is_due_and_counts(self, shop: Shop):
        """Orders, events and failures, and handlers have run."""
        shop.choose(shop.place())
        shop.act("pay_exact")
        shop.clock.advance(61)
        result = run(shop, "reconcile")
        assert (result.exit_code, result.output) == (0, "1 orders, 0 links, 1 events, 0 failures\n")
        assert shop.order().status is OrderStatus.PAID
        assert len(shop.heard) == 1

    def test_failures_show_in_the_exit_code(self, shop: Shop):
        """A cron job that fails says so."""
        shop.choose(shop.place())
        shop.clock.advance(61)
        shop.break_gateway()
        result = run(shop, "reconcile")
        assert (result.exit_code, result.output) == (1, "1 orders, 0 links, 0 events, 1 failures\n")

    @pytest.mark.process
    def test_every_so_many_seconds_until_it_is_stopped(self, tmp_path):
        """It goes on by itself, and ends by SIGTERM."""
        app = f"example_shop:create_app(instance_path={str(tmp_path)!r})"
        command = [sys.executable, "-u", "-m", "flask", "--app", app, "iterapay", "reconcile", "--every", "1"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert [process.stdout.readline() for _ in range(2)] == ["0 orders, 0 links, 0 events, 0 failures\n"] * 2
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == -signal.SIGTERM


def _register_elsewhere(shop: Shop) -> None:
    settings = shop.state.settings
    response = Client(shop.state.sandbox).post(
        f"/weebhook/{settings.merchant_id}",
        json={"url": "https://other.example/hook", "secret": "s" * 40},
        headers={"Authorization": f"Bearer {BEARER_TOKEN}"},
    )
    assert response.status_code == 200


@pytest.fixture
def held(tmp_path) -> Shop:
    """A shop with an order of each kind: 1001 is held, 1002 paid, 1003 new."""
    shop = Shop(tmp_path)
    for order_id, action in (("1001", "aml_fail"), ("1002", "pay_exact"), ("1003", None)):
        path = shop.place(order_id)
        if action:
            shop.choose(path)
            shop.act(action, order_id)
        shop.clock.advance(61)
        run(shop, "reconcile")
    shop.heard.clear()
    return shop


def break_handler(shop: Shop) -> list[bool]:
    """Add a handler of order.paid that raises until the list is emptied."""
    broken = [True]

    @shop.iterapay.on("order.paid")
    def fail(event):
        if broken:
            raise RuntimeError("the warehouse is closed")

    return broken


class TestOrders:
    def test_it_lists_the_newest_first(self, held: Shop):
        """With what a person needs to go on."""
        lines = run(held, "orders").output.splitlines()
        assert [line.split()[-1] for line in lines] == ["1003", "1002", "1001"]
        assert "on_hold (aml_failed)" in lines[2]
        assert "25.00" in lines[2]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--status", "paid"], ["1002"]),
            (["--status", "expired"], []),
            (["--reason", "aml_failed"], ["1001"]),
            (["--reason", "late"], []),
            (["--failed"], []),
            (["--limit", "2"], ["1003", "1002"]),
        ],
        ids=" ".join,
    )
    def test_it_filters(self, held: Shop, arguments, expected):
        """As JSON, for programs."""
        listed = json.loads(run(held, "orders", "--json", *arguments).output)
        assert [order["order_id"] for order in listed] == expected

    def test_a_reason_with_another_status_is_refused(self, held: Shop):
        """Rather than one of the two being ignored."""
        result = run(held, "orders", "--status", "paid", "--reason", "late")
        assert (result.exit_code, "only orders that are on_hold" in result.output) == (2, True)

    def test_handlers_that_gave_up_are_found(self, held: Shop):
        """A person sees what failed for good."""
        break_handler(held)
        held.choose(held.place("1004"))
        held.act("pay_exact", "1004")
        for _ in range(14):
            held.clock.advance(7 * 3600)
            run(held, "reconcile")
        result = run(held, "orders", "--failed")
        assert result.output.endswith("1004  failed: order.paid:1004\n")
        assert result.output.count("\n") == 1


class TestShow:
    def test_it_shows_what_there_is(self, held: Shop):
        """Without what there is not."""
        output = run(held, "show", "1001").output
        assert re.search(r"^hold_reason: +aml_failed$", output, re.MULTILINE)
        assert "paid_invoice_id" not in output

    def test_as_json_it_shows_everything(self, held: Shop):
        """All that is stored, with its history."""
        order = json.loads(run(held, "show", "1002", "--json").output)
        assert (order["order_id"], order["status"]) == ("1002", "paid")
        assert len(order["history"]) > 1

    @pytest.mark.parametrize("command", [["show"], ["explain"], ["resolve", "--accept"], ["retry"]], ids=" ".join)
    def test_an_order_that_is_not_there_is_one_line(self, held: Shop, command):
        """No stack trace for a slip of the finger."""
        note = [] if command[0] in ("show", "explain") else ["--note", "x"]
        result = run(held, *command, "nobody", *note)
        assert (result.exit_code, result.output) == (1, "Error: order 'nobody': there is no such order\n")

    def test_explain_tells_why(self, held: Shop):
        """From what is stored, without asking the gateway."""
        held.break_gateway()
        output = run(held, "explain", "1001").output
        assert output.startswith("Order 1001 over 25.00 USD is on_hold (aml_failed), exact.\n")


class TestResolve:
    def test_accepting_pays_the_order_and_tells_the_shop(self, held: Shop):
        """Who and why is kept, and the handlers run at once."""
        result = run(held, "resolve", "1001", "--accept", "--note", "known customer", "--actor", "ana")
        assert result.output == "order 1001 is paid\nevery event is done\n"
        order = held.order("1001")
        assert (order.status, order.history[-1].actor) == (OrderStatus.PAID, "ana")
        assert order.history[-1].note == "known customer"
        assert [event.key for event in held.heard] == ["order.paid:1001"]

    def test_turning_the_money_down_cancels_the_order(self, held: Shop):
        """Without a name given, the login name is kept."""
        result = run(held, "resolve", "1001", "--cancel", "--note", "refunded")
        assert result.output == "order 1001 is cancelled\nevery event is done\n"
        assert held.order("1001").history[-1].actor

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["1001", "--accept"], "Missing option '--note'"),
            (["1001", "--note", "x"], "say --accept or --cancel"),
            (["1001", "--note", "x", "--accept", "--cancel"], "say --accept or --cancel"),
            (["1001", "--note", " ", "--accept"], "say why"),
            (["1001", "--accept", "--note", "x", "--reason", "late"], "not on hold for late, but on hold for aml_fail"),
            (["1002", "--accept", "--note", "x"], "it is paid, not on hold"),
        ],
        ids=["no note", "no decision", "both", "blank note", "another reason", "not held"],
    )
    def test_what_it_refuses(self, held: Shop, arguments, message):
        """A decision is complete and about the hold that is there, or it is none."""
        before = held.order(arguments[0])
        result = run(held, "resolve", *arguments)
        assert result.exit_code != 0
        assert message in result.output
        assert held.order(arguments[0]) == before


class TestRetry:
    def test_it_runs_the_handlers_again(self, held: Shop):
        """Once what was broken is mended, nobody need wait."""
        broken = break_handler(held)
        held.choose(held.place("1004"))
        held.act("pay_exact", "1004")
        held.clock.advance(61)
        run(held, "reconcile")
        failed = run(held, "retry", "1004", "--note", "trying")
        assert (failed.exit_code, failed.output) == (1, "not done: order.paid:1004; see the log and `explain`\n")
        broken.clear()
        mended = run(held, "retry", "1004", "--note", "mended", "--actor", "ana")
        assert (mended.exit_code, mended.output) == (0, "every event is done\n")
        entry = held.order("1004").history[-1]
        assert (entry.actor, entry.note, entry.reason) == ("ana", "mended", "tries order.paid:1004 again")


def test_a_terminal_sees_how_far_reconcile_is(tmp_path):
    """A bar, where somebody is watching; one line in a log."""
    command = [sys.executable, "-m", "flask", "--app", f"example_shop:create_app(instance_path={str(tmp_path)!r})"]
    parent, child = pty.openpty()
    try:
        subprocess.run([*command, "iterapay", "reconcile"], cwd=ROOT, stdout=child, timeout=60, check=True)
        os.close(child)
        output = os.read(parent, 65536).decode()
    finally:
        os.close(parent)
    assert "Reconciling" in output
    assert "0 orders, 0 links, 0 events, 0 failures" in output
