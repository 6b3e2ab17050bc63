"""What the README says is so: its snippets run, its tables are complete, its links lead somewhere."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from flask.testing import FlaskClient
from shops import csrf_token
from sources import ROOT
from werkzeug.test import Client

from flask_iterapay import ConfigurationError, EventName, HoldReason, OrderStatus
from flask_iterapay.cli import cli
from flask_iterapay.config import Settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
INTEGRATION, RESOLUTION, LINK = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def read_table(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first column is called ``heading``, by their first cell."""
    table = README.split(f"\n| {heading} | ", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The README's shop, in a file of its own, with the README's environment."""
    path = tmp_path / "shop.py"
    path.write_text(INTEGRATION, encoding="utf-8")
    for assignment in re.findall(
        r"FLASK_\w+=\w+", README.split("flask --app shop run --debug")[0].rpartition("```sh")[2]
    ):
        monkeypatch.setenv(*assignment.split("="))
    monkeypatch.setenv("FLASK_DEBUG", "1")
    spec = importlib.util.spec_from_file_location("shop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "shop", module)  # Flask looks there for the folder that its instance folder is in
    spec.loader.exec_module(module)
    return module


def check_out(shop: ModuleType) -> str:
    """Buy, choose a payment method, and return the invoice's id."""
    client: FlaskClient = shop.app.test_client()
    page = client.post("/checkout").location
    token = csrf_token(client.get(page).text)
    assert client.post(page, data={"method": "1", "csrf_token": token}).status_code == 303
    with shop.app.app_context():
        return str(shop.iterapay.get_order("1042").current_invoice_id)


def press(shop: ModuleType, action: str, invoice_id: str) -> None:
    """Press a button on the sandbox's panel, and wait for the webhook that follows."""
    sandbox = Client(shop.app.extensions["iterapay"].sandbox)
    assert sandbox.post(f"/panel/invoices/{invoice_id}", data={"action": action}, buffered=True).status_code == 303


def test_the_integration_is_short() -> None:
    """A shop needs fewer than fifteen lines."""
    assert len([line for line in INTEGRATION.splitlines() if line]) < 15


def test_the_integration_takes_a_payment(shop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The snippet alone goes from the checkout to the handler."""
    press(shop, "pay_exact", check_out(shop))
    assert capsys.readouterr().out == "ship 1042\n"


def test_the_resolution_ends_a_hold(shop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The second snippet accepts a late payment, and then the handler runs."""
    press(shop, "pay_late", check_out(shop))
    with shop.app.app_context():
        assert shop.iterapay.get_order("1042").hold_reason is HoldReason.LATE
    assert capsys.readouterr().out == ""
    exec(RESOLUTION, vars(shop))
    assert capsys.readouterr().out == "ship 1042\n"


def test_the_link_takes_payments(shop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The third snippet leads to a payment link, and its handler hears of each payment."""
    exec(LINK, vars(shop))
    client: FlaskClient = shop.app.test_client()
    page = client.get("/give").location
    assert page == "/pay/links/library"
    html = client.get(page).text
    visit = re.search(r'name="visit" value="([^"]+)"', html)
    assert visit
    fields = {"method": "1", "visit": visit[1], "csrf_token": csrf_token(html)}
    assert client.post(page, data=fields).status_code == 303
    with shop.app.app_context():
        [invoice_id] = shop.iterapay.get_link("library").invoice_ids
    press(shop, "pay_exact", invoice_id)
    press(shop, "pay_short", invoice_id)
    thanks = capsys.readouterr().out.splitlines()
    words = [line.rpartition(" ")[0] for line in thanks]
    assert words == ["thank you for 5.002502 USDT", "thank you for 4.502252 USDT"]
    with shop.app.app_context():
        assert len(shop.iterapay.list_contributions("library")) == 2


def read_settings(**config: object) -> Settings:
    """Read a configuration in which nothing but the required keys is set."""
    required = {"ITERAPAY_API_KEY": "key", "ITERAPAY_MERCHANT_ID": "merchant", "ITERAPAY_WEBHOOK_SECRETS": "s" * 32}
    return Settings.from_config({**required, **config}, is_development=True, has_store=False, has_client=False)


def test_the_configuration_table_is_complete() -> None:
    """Every key of the table is known, and there are as many settings."""
    rows = read_table("key")
    with pytest.raises(ConfigurationError) as caught:
        read_settings(**dict.fromkeys(rows, object()))
    assert [problem for problem in caught.value.problems if "is unknown" in problem] == []
    assert len(rows) == len(dataclasses.fields(Settings))


@pytest.mark.parametrize(("key", "cells"), read_table("key").items())
def test_a_default_in_the_table_is_the_real_one(key: str, cells: list[str]) -> None:
    """Setting a key to a default that is written as code changes nothing; the rest say what happens instead."""
    default = cells[0]
    if default.startswith("`"):
        assert read_settings(**{key: default.strip("`")}) == read_settings()
    else:
        assert default in {"required", "required in production", "all", "none"}


def test_required_keys_are_required() -> None:
    """Production names exactly the keys that the table calls required."""
    rows = read_table("key")
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_config({}, is_development=False, has_store=False, has_client=False)
    assert {problem.split()[0] for problem in caught.value.problems} == {
        key for key, cells in rows.items() if cells[0].startswith("required")
    }


def list_commands(command: click.Command, name: str) -> set[str]:
    """Return the full names of all commands in a group."""
    if not isinstance(command, click.Group):
        return {name}
    return set().union(*(list_commands(child, f"{name} {word}") for word, child in command.commands.items()))


def test_the_table_of_commands_is_complete() -> None:
    """Every command of ``flask iterapay`` is explained, and none that does not exist."""
    explained = {re.sub(" [A-Z]+$", "", command) for command in read_table("command")}
    assert explained == list_commands(cli, "flask iterapay")


def test_the_statuses_and_events_are_complete() -> None:
    """Every status, event and hold reason is explained."""
    assert list(read_table("status")) == list(OrderStatus)
    assert [name for name in (*EventName, *HoldReason) if f"`{name}`" not in README] == []


def test_every_link_leads_somewhere() -> None:
    """Pictures and files that the README names are in the repository."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert "docs/images/checkout.png" in links
    assert [link for link in links if not (ROOT / link.partition("#")[0]).is_file()] == []
