"""flask iterapay doctor: finds what stands between a shop and its money, and changes nothing."""

import pytest
from shops import Shop
from werkzeug.test import Client

from flask_iterapay import IteraPay
from flask_iterapay.doctor import Level, examine
from flask_iterapay.orders.stores.memory import MemoryStore

PUBLIC_URL = "https://shop.example"


def examined(shop: Shop) -> dict[str, Level]:
    with shop.app.app_context():
        return {finding.text: finding.level for finding in examine(shop.state)}


def worst(shop: Shop, words: str) -> Level:
    """The level of the one finding that has these words."""
    [level] = [level for text, level in examined(shop).items() if words in text]
    return level


def reconcile(shop: Shop) -> None:
    """Read what came in over links, and then hand it to the handlers."""
    for _ in range(2):
        shop.clock.advance(61)
        shop.app.test_cli_runner().invoke(args=["iterapay", "reconcile"])


@pytest.fixture
def shop(tmp_path):
    shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL=PUBLIC_URL)
    with shop.app.app_context():
        shop.state.client.register_webhook(f"{PUBLIC_URL}/pay/webhook", "x" * 40, "sandbox-bearer-token")
    return shop


def test_a_healthy_shop_has_nothing_but_good_news(shop: Shop):
    """Every look is told, so that a reader knows what was looked at."""
    findings = examined(shop)
    assert set(findings.values()) == {Level.OK}
    assert len(findings) == 7


def test_the_command_prints_the_findings_and_fails_on_a_problem(shop: Shop):
    """For a person and for a monitor."""
    healthy = shop.app.test_cli_runner().invoke(args=["iterapay", "doctor"])
    assert (healthy.exit_code, healthy.output.count("\n")) == (0, 7)
    shop.break_gateway()
    broken = shop.app.test_cli_runner().invoke(args=["iterapay", "doctor"])
    assert broken.exit_code == 1
    assert "problem  " in broken.output


def test_a_gateway_that_is_down_hides_no_other_finding(shop: Shop):
    """Each look fails alone."""
    shop.break_gateway()
    findings = examined(shop)
    assert Level.PROBLEM in findings.values()
    assert "order.paid has a handler" in findings


def test_tables_that_are_missing_are_a_problem(tmp_path):
    """With the command that makes them."""
    shop = Shop(tmp_path, ITERAPAY_DATABASE_URL=f"sqlite:///{tmp_path / 'own.sqlite3'}")
    findings = examined(shop)
    assert any(level is Level.PROBLEM and "init-db" in text for text, level in findings.items())


def test_a_store_in_memory_is_worth_a_word(tmp_path):
    """In development it is allowed, but nobody should be surprised."""
    assert worst(Shop(tmp_path, iterapay=IteraPay(store=MemoryStore())), "lives in memory") is Level.WARNING


def test_a_shop_that_nobody_would_tell_of_a_payment_is_a_problem(tmp_path):
    """The handler's module was never imported, say."""
    assert worst(Shop(tmp_path, iterapay=IteraPay()), "no handler is registered") is Level.PROBLEM


def test_orders_that_nobody_reads_are_a_problem(shop: Shop):
    """Reconcile does not run, and no page polls."""
    shop.choose(shop.place())
    shop.clock.advance(60 + 900)
    assert worst(shop, "nothing waits") is Level.OK
    shop.clock.advance(60)
    assert worst(shop, "order 1042 has been due for 16 minutes") is Level.PROBLEM


def test_handlers_that_gave_up_are_a_problem(shop: Shop):
    """Somebody paid and nothing was shipped."""

    @shop.iterapay.on("order.paid")
    def fail(event):
        raise RuntimeError("the warehouse is closed")

    shop.choose(shop.place())
    shop.act("pay_exact")
    for _ in range(14):
        shop.clock.advance(7 * 3600)
        shop.app.test_cli_runner().invoke(args=["iterapay", "reconcile"])
    assert worst(shop, "failed for good on 1042:") is Level.PROBLEM


def test_a_healthy_link_has_good_news_of_its_own(shop: Shop):
    """A shop without one reads nothing of links; a shop with one has two more lines."""
    shop.send(shop.come(shop.create_link()))
    reconcile(shop)
    findings = examined(shop)
    assert set(findings.values()) == {Level.OK}
    assert len(findings) == 9
    assert "link.payment_received has a handler" in findings


def test_a_link_whose_payments_nobody_would_hear_of_is_a_problem(tmp_path):
    """Somebody gives, and nobody thanks."""
    shop = Shop(tmp_path, iterapay=IteraPay())
    assert "link.payment_received" not in " ".join(examined(shop))
    shop.create_link()
    assert worst(shop, "no handler is registered for link.payment_received") is Level.PROBLEM


def test_a_link_that_nobody_reads_is_a_problem(shop: Shop):
    """Named by its kind, as an order is."""
    shop.come(shop.create_link())
    shop.clock.advance(900 + 60)
    assert worst(shop, "link library has been due for 16 minutes") is Level.PROBLEM


def test_payments_over_links_that_wait_for_a_person_are_worth_a_look(shop: Shop):
    """With the commands that show them and decide; a closed link's count as well, and other links are not named."""
    shop.send(shop.come(shop.create_link("top-ups")))
    shop.send(shop.come(shop.create_link()), "aml_fail")
    shop.app.test_cli_runner().invoke(args=["iterapay", "link", "close", "library", "--note", "the shelf is full"])
    reconcile(shop)
    text = "payments are on hold over library: `flask iterapay link payments LINK --status on_hold`, then"
    assert worst(shop, text) is Level.WARNING
    [held] = shop.state.links.list_contributions("library", limit=2)
    shop.app.test_cli_runner().invoke(
        args=["iterapay", "link", "resolve", held.contribution_id, "--refuse", "--note", "sent back"]
    )
    assert set(examined(shop).values()) == {Level.OK}


def test_handlers_that_gave_up_on_a_payment_over_a_link_are_a_problem(shop: Shop):
    """Somebody gave, and was never thanked."""

    @shop.iterapay.on("link.payment_received")
    def fail(event):
        raise RuntimeError("the thank-you mail cannot be sent")

    shop.send(shop.come(shop.create_link()))
    for _ in range(14):
        shop.clock.advance(7 * 3600)
        reconcile(shop)
    text = "failed for good on payments over library: `flask iterapay link payments LINK --failed`, then"
    assert worst(shop, text) is Level.PROBLEM


def test_methods_that_the_gateway_does_not_offer_are_a_problem(tmp_path):
    """A misspelt id would leave customers without a way to pay."""
    shop = Shop(tmp_path, ITERAPAY_METHODS="77,78")
    assert worst(shop, "names 77, 78") is Level.PROBLEM
    assert worst(shop, "no payment method is on offer") is Level.PROBLEM


def test_a_webhook_that_is_another_shops_is_worth_a_look(shop: Shop):
    """Orders get right without it, but later."""
    with shop.app.app_context():
        shop.state.client.register_webhook("https://other.example/hook", "x" * 40, "sandbox-bearer-token")
    assert worst(shop, "https://other.example/hook") is Level.WARNING


def test_a_shop_without_an_address_of_its_own_has_no_webhook(tmp_path):
    """Nothing could be registered."""
    assert worst(Shop(tmp_path), "ITERAPAY_PUBLIC_URL is not set") is Level.WARNING


def test_it_changes_nothing(shop: Shop):
    """Neither orders nor links nor the gateway."""
    shop.choose(shop.place())
    shop.send(shop.come(shop.create_link()))
    before = shop.order(), shop.link()
    panel = Client(shop.state.sandbox)
    page = panel.get("/panel/", buffered=True).text
    examined(shop)
    assert (shop.order(), shop.link()) == before
    assert panel.get("/panel/", buffered=True).text == page
