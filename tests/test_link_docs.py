"""What docs/payment-links.md says is so: its snippets run in the order of the page, its tables are complete."""

import inspect
import re
from pathlib import Path

import pytest
from flask import redirect
from shops import Shop
from sources import ROOT
from werkzeug.test import Client

from flask_iterapay import ContributionAnomaly, ContributionStatus, EventName, HoldReason, IteraPay, LinkEvent
from flask_iterapay.config import Settings
from flask_iterapay.orders.entries import Event

DOCS = (ROOT / "docs" / "payment-links.md").read_text(encoding="utf-8")
MAKE, HEAR, LIST = re.findall(r"^```python\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)
# What a handler needs; the rest of an event is the delivery's book-keeping.
DELIVERY = {"state", "done_by", "attempts", "next_attempt_at", "is_leased"}


def read_table(heading: str) -> dict[str, str]:
    """The rows of the table whose first column is called ``heading``."""
    table = DOCS.split(f"\n| {heading} | ", 1)[1].split("\n\n", 1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|", 1)] for line in table.splitlines()[2:]]
    return {cells[0].strip("`"): cells[1] for cells in rows}


def test_the_snippets_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link is made, a payment is heard of, and it is in the list."""
    shop = Shop(tmp_path)
    names = {"app": shop.app, "iterapay": shop.iterapay, "redirect": redirect}
    exec(MAKE, names)
    assert shop.client.get("/give").location == "/pay/links/library"
    exec(HEAR, names)
    visit = shop.state.links.receive_visitor("library", "1", reference="AAAA-BBBB-CCCC", visitor="v")
    shop.set_sandbox(webhook_faults="duplicate")
    data = {"action": "pay_exact", "address": visit.address}
    response = Client(shop.state.sandbox).post(f"/panel/invoices/{visit.invoice_id}", data=data)
    assert response.status_code == 303
    response.close()
    assert capsys.readouterr().out == "library 5.002502 (unit not told) USDT-TRC20 None\n"
    exec(LIST, names)
    assert "received 5.002502 None" in capsys.readouterr().out


def test_the_arguments_are_those_of_the_call() -> None:
    """Nothing new goes undocumented."""
    _, *arguments = inspect.signature(IteraPay.create_link).parameters
    assert list(read_table("argument")) == arguments


def test_the_words_are_explained() -> None:
    """Every status, event, reason and anomaly that can occur."""
    assert list(read_table("status")) == list(ContributionStatus)
    assert list(read_table("event")) == [name for name in EventName if name.startswith("link.")]
    reasons = {HoldReason.AML_FAILED, HoldReason.AML_UNKNOWN, HoldReason.UNKNOWN_STATE}
    assert [word for word in {*reasons, *ContributionAnomaly} if f"`{word}`" not in DOCS] == []


def test_an_event_has_the_fields_that_are_named() -> None:
    """A handler finds what the page says."""
    [fields] = re.findall(r"A `LinkEvent` has (.*?)\. All that", DOCS, flags=re.DOTALL)
    named = set(re.findall(r"`(\w+)`", fields))
    assert named == set(LinkEvent.__struct_fields__) - DELIVERY
    assert set(Event.__struct_fields__) >= DELIVERY


def test_the_limit_is_the_real_one() -> None:
    """The number in the text is the default of the key."""
    settings = Settings.from_config({"ITERAPAY_SANDBOX": True}, is_development=True, has_store=True, has_client=False)
    assert f"`ITERAPAY_ADDRESSES_PER_HOUR` addresses an hour ({settings.addresses_per_hour})" in DOCS


def test_every_link_leads_somewhere() -> None:
    """Files and headings that the page points to are there."""
    lines = re.findall(r"^#+ (.*)$", DOCS, flags=re.MULTILINE)
    headings = {re.sub("[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in lines}
    for target in re.findall(r"\]\(([^)]+)\)", DOCS):
        path, _, anchor = target.partition("#")
        if path.startswith("https:"):
            continue
        assert not path or (ROOT / "docs" / path).exists(), target
        assert path or anchor in headings, target
