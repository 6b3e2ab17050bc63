"""The example shop's donation page: a payment link, and a list of what came in over it."""

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from msgspec.structs import replace
from werkzeug.test import Client

import example_shop
from example_shop import create_app, donations, handlers
from example_shop.extensions import iterapay
from flask_iterapay import EventName, LinkEvent, LinkStatus
from flask_iterapay.gateway.models import PaymentMethod

RECEIVED_AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
RECEIVED = LinkEvent(
    key="link.payment_received:inv-1:tx-1",
    name=EventName.PAYMENT_RECEIVED,
    occurred_at=RECEIVED_AT,
    link_id=donations.LINK_ID,
    contribution_id="inv-1:tx-1",
    transaction_id="tx-1",
    amount="5.000000",
    unit=None,
    method=PaymentMethod(method_id=1, name="USDT-TRC20", network="TRON", ticker="USDT"),
)


def make_received(number: int, **fields: Any) -> LinkEvent:
    """The event of a donation of its own, a minute after the one before."""
    name = f"inv-1:tx-{number}"
    event = replace(RECEIVED, key=f"link.payment_received:{name}", contribution_id=name)
    return replace(event, occurred_at=RECEIVED_AT + timedelta(minutes=number), **fields)


@pytest.fixture
def emit(shop_app: Flask) -> Callable[[LinkEvent], None]:
    """Hands an event to the shop's handler."""

    def emit(event: LinkEvent) -> None:
        with shop_app.app_context():
            handlers.thank(event)

    return emit


def set_sandbox(app: Flask, **settings: str) -> None:
    """Switch the sandbox on its panel; what is not named gets its default."""
    response = Client(app.extensions["iterapay"].sandbox).post("/panel/settings", data=settings)
    assert response.status_code == 303


def read_keys(app: Flask) -> list[str]:
    """The keys of the events that donations were written down for."""
    with closing(sqlite3.connect(Path(app.instance_path, "shop.db"))) as db:
        return [key for (key,) in db.execute("SELECT event_key FROM donations")]


def test_the_page_says_what_it_is_for_and_leads_to_the_link(visitor, shop_app):
    """From the shop's own pages over one button to where an address is given."""
    assert 'href="/donate"' in visitor.get("/").text
    page = visitor.get("/donate").text
    with shop_app.test_request_context():
        link = iterapay.get_link("library")
        url = iterapay.link_url(link)
    assert "from $5.00" in page
    assert f'<a class="button wide" href="{url}">Donate</a>' in page
    assert url == "/pay/links/library"
    assert link.description in visitor.get(url).text


def test_an_empty_list_says_so_and_stays_fresh(visitor):
    """Before the first donation the page invites it, and looks for it by itself."""
    page = visitor.get("/donate").text
    assert "No donations yet" in page
    assert "Thank you" not in page
    assert "data-poll" in page


@pytest.mark.parametrize(
    ("action", "lines"),
    [
        ("pay_exact", ["5.002502 USDT on TRON"]),
        ("pay_short", ["4.502252 USDT on TRON"]),
        ("pay_over", ["5.502753 USDT on TRON"]),
        ("pay_pending", ["5.002502 USDT on TRON Being confirmed"]),
        ("aml_unknown", ["5.002502 USDT on TRON Being confirmed"]),
        ("aml_fail", ["5.002502 USDT on TRON Being checked"]),
        ("pay_dust", []),
    ],
)
def test_a_donation_is_listed_as_it_stands(visitor, shop_app, action, lines):
    """What has arrived stands there plainly, what is not final says so, and what failed is not there."""
    visitor.donate(action)
    assert visitor.list_donations() == lines
    has_arrived = lines != [] and "Being" not in lines[0]
    assert ("Thank you" in visitor.get("/donate").text) is has_arrived
    assert len(read_keys(shop_app)) == has_arrived


def test_a_unit_is_shown_only_where_the_gateway_tells_it(visitor, shop_app):
    """The same payment, as it is documented and as a more talkative gateway would tell it."""
    visitor.donate("pay_exact")
    set_sandbox(shop_app, transaction_detail="told")
    visitor.donate("pay_exact")
    visitor.donate("pay_pending", method="4")
    assert sorted(visitor.list_donations()) == [
        "0.00007783 BTC BTC on Bitcoin Being confirmed",
        "5.002502 USDT USDT on TRON",
        "5.002502 USDT on TRON",
    ]


def test_equal_donations_are_listed_each(visitor, shop_app):
    """Two people who give the same amount by the same method are two donations."""
    visitor.donate("pay_exact")
    visitor.donate("pay_exact")
    assert visitor.list_donations() == ["5.002502 USDT on TRON"] * 2
    assert len(set(read_keys(shop_app))) == 2


def test_the_newest_come_first_and_the_oldest_make_room(visitor, emit):
    """In whatever order handlers ran, the list goes by when the money came, and is not endless."""
    for number in (2, 1, *range(3, 24)):
        emit(make_received(number, amount=f"{number}.00"))
    assert visitor.list_donations() == [f"{number}.00 USDT on TRON" for number in range(23, 3, -1)]


def test_a_donation_is_written_down_exactly_once(visitor, shop_app, emit):
    """The same event handed out again finds its key and does nothing."""
    emit(RECEIVED)
    emit(RECEIVED)
    assert read_keys(shop_app) == [RECEIVED.key]
    assert visitor.list_donations() == ["5.000000 USDT on TRON"]


def test_the_list_is_of_one_link(visitor, emit):
    """What comes in over another link of the shop is not for the reading room."""
    emit(make_received(1, link_id="roof"))
    assert visitor.list_donations() == []


def test_what_arrives_while_the_page_is_made_is_listed_once(visitor, shop_app, emit):
    """The link may still call confirming what the table has as received; the table is right."""
    visitor.donate("pay_pending")
    with shop_app.app_context():
        [underway] = iterapay.list_contributions("library")
    emit(replace(RECEIVED, contribution_id=underway.contribution_id, amount=underway.amount))
    assert visitor.list_donations() == ["5.002502 USDT on TRON"]


@pytest.mark.parametrize(("is_accepted", "lines"), [(True, ["5.002502 USDT on TRON"]), (False, [])])
def test_a_person_decides_about_what_is_being_checked(visitor, shop_app, is_accepted, lines):
    """Accepted it is on the list as received, turned down it is gone."""
    visitor.donate("aml_fail")
    with shop_app.app_context():
        [held] = iterapay.list_contributions("library")
        iterapay.resolve_contribution(held.contribution_id, is_accepted=is_accepted, actor="kim")
    assert visitor.list_donations() == lines
    assert len(read_keys(shop_app)) == len(lines)


def test_trouble_is_for_the_shop_and_not_for_the_page(visitor, shop_app, caplog):
    """A hold and a contradiction name the contribution in the log; the list stays as it was."""
    visitor.donate("aml_fail")
    with shop_app.app_context():
        [held] = iterapay.list_contributions("library")
    assert f"donation {held.contribution_id}: link.payment_on_hold (aml_failed)" in caplog.text
    visitor.donate("pay_exact", method="4")
    listed = visitor.list_donations()
    visitor.donate("flag", method="4")
    assert "link.payment_anomaly (failed_after_received)" in caplog.text
    assert visitor.list_donations() == listed
    assert held.transaction_id not in visitor.get("/donate").text


def test_a_closed_link_asks_for_nothing(visitor, shop_app):
    """The button goes, the list stays, and another start of the shop does not open it again."""
    visitor.donate("pay_exact")
    with shop_app.app_context():
        iterapay.close_link("library")
    create_app({"TESTING": True}, instance_path=shop_app.instance_path)
    page = visitor.get("/donate").text
    assert "We are not collecting at the moment" in page
    assert "/pay/links/" not in page
    assert visitor.list_donations() == ["5.002502 USDT on TRON"]


def test_every_status_that_is_listed_has_words(shop_app):
    """Nothing that is not final passes for a donation that has arrived."""
    words = shop_app.jinja_env.get_template("shop/_words.html").module.underway
    assert set(donations.UNDERWAY) == set(words)


def test_the_page_turns_when_the_list_does(visitor):
    """The state that the script compares is another after every change, and the same after none."""

    def read_state() -> str:
        return re.findall(r'data-state="([^"]*)"', visitor.get("/donate").text)[0]

    states = [read_state()]
    for action in ("pay_pending", "settle", "aml_fail"):
        visitor.donate(action)
        states.append(read_state())
    assert len(set(states)) == len(states)
    assert read_state() == states[-1]


def test_a_start_without_a_database_is_made_good_by_the_next(tmp_path, caplog):
    """The command that makes the tables starts the shop as well, and must not need them for it."""
    config = {
        "ITERAPAY_SANDBOX": False,
        "ITERAPAY_API_KEY": "a-key-of-a-merchant",
        "ITERAPAY_MERCHANT_ID": "8b6c0e0e-6a53-4b2a-9f8e-0d6d0a4c1f11",
        "ITERAPAY_WEBHOOK_SECRETS": "0123456789abcdef0123456789abcdef",
        "ITERAPAY_PUBLIC_URL": "https://shop.example",
        "ITERAPAY_DATABASE_URL": f"sqlite:///{tmp_path / 'payments.sqlite3'}",
        "ITERAPAY_AML": "require",
    }
    app = create_app(config, instance_path=str(tmp_path))
    assert "donations wait for the next start: the tables are missing" in caplog.text
    assert app.test_cli_runner().invoke(args=["iterapay", "init-db"]).exit_code == 0
    assert "We are not collecting" in app.test_client().get("/donate").text
    app = create_app(config, instance_path=str(tmp_path))
    assert "/pay/links/library" in app.test_client().get("/donate").text


@pytest.mark.process
def test_workers_that_start_together_make_one_link(tmp_path):
    """Whoever makes it first, all find the same, and so does the next start."""
    source = (
        "import sys; from example_shop import create_app; from example_shop.extensions import iterapay\n"
        "with create_app(instance_path=sys.argv[1]).app_context(): link = iterapay.get_link('library')\n"
        "print(link.created_at, link.version)"
    )
    root = Path(example_shop.__file__).parents[1]
    command = [sys.executable, "-c", source, str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    found = {worker.communicate()[0].strip() for worker in workers}
    assert {worker.returncode for worker in workers} == {0}
    with create_app(instance_path=str(tmp_path)).app_context():
        link = iterapay.get_link("library")
    assert found == {f"{link.created_at} {link.version}"}
    assert (link.status, link.version) == (LinkStatus.OPEN, 1)
