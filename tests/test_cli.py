"""flask iterapay ...: what each command prints, and what it refuses."""

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


class TestReconcile:
    def test_once_it_finishes_what_is_due_and_counts(self, shop: Shop):
        """Orders, events and failures, and handlers have run."""
        shop.choose(shop.place())
        shop.act("pay_exact")
        shop.clock.advance(61)
        result = run(shop, "reconcile")
        assert (result.exit_code, result.output) == (0, "1 orders, 1 events, 0 failures\n")
        assert shop.order().status is OrderStatus.PAID
        assert len(shop.heard) == 1

    def test_failures_show_in_the_exit_code(self, shop: Shop):
        """A cron job that fails says so."""
        shop.choose(shop.place())
        shop.clock.advance(61)
        shop.break_gateway()
        result = run(shop, "reconcile")
        assert (result.exit_code, result.output) == (1, "1 orders, 0 events, 1 failures\n")

    @pytest.mark.process
    def test_every_so_many_seconds_until_it_is_stopped(self, tmp_path):
        """It goes on by itself, and ends by SIGTERM."""
        app = f"example_shop:create_app(instance_path={str(tmp_path)!r})"
        command = [sys.executable, "-u", "-m", "flask", "--app", app, "iterapay", "reconcile", "--every", "1"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert [process.stdout.readline() for _ in range(2)] == ["0 orders, 0 events, 0 failures\n"] * 2
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
