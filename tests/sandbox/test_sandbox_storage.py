"""The sandbox's file: what is written comes back, and threads and processes share it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import flask_iterapay
from flask_iterapay.sandbox.bodies import InvoiceRequest
from flask_iterapay.sandbox.deliveries import Delivery
from flask_iterapay.sandbox.engine import Action, ActionRefusedError, InvoiceType, SandboxInvoice, act
from flask_iterapay.sandbox.settings import ApiFault, Operation, SandboxSettings, TransactionDetail, parse_settings
from flask_iterapay.sandbox.storage import SandboxStore

CLAIM_ALL = """
import sys
from datetime import UTC, datetime
from flask_iterapay.sandbox.storage import SandboxStore

store = SandboxStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while delivery := store.claim_delivery(datetime(2026, 1, 16, tzinfo=UTC)):
    print(delivery.delivery_id)
"""

OLD_LINK = {
    "invoice_id": "inv_1",
    "invoice_type": "reusable",
    "amount": "10.00",
    "description": "Coffee",
    "method_id": 1,
    "created_at": "2026-01-15T10:30:00.000000+00:00",
    "addresses": [
        {"method_id": 1, "address": f"TSANDBOX{number}", "pay_amount": "10.005003", "expires_at": None}
        for number in (1, 2)
    ],
    "transactions": [
        {
            "transaction_id": "1",
            "invoice_id": "inv_1",
            "method_id": 1,
            "address": "TSANDBOX2",
            "amount": "10.005003",
            "pay_amount": "10.005003",
            "state": "settled",
            "created_at": "2026-01-15T10:31:00.000000+00:00",
            "confirmed_at": "2026-01-15T10:31:00.000000+00:00",
        }
    ],
    "override": None,
}
"""A reusable invoice as the first version wrote it."""


def test_an_invoice_comes_back_as_it_was(sandbox) -> None:
    """Every digit, every time, every state."""
    request = InvoiceRequest(
        amount=Decimal("0.10"), invoice_type=InvoiceType.ONETIME, description="täglich ☕", method_id=None
    )
    invoice_id = sandbox.service.create_invoice(request).invoice_id
    for method_id in (5, 4):
        sandbox.service.get_address(invoice_id, method_id)
    sandbox.service.act(invoice_id, Action.PAY_PENDING)
    changed = sandbox.service.act(invoice_id, Action.UNKNOWN_STATE)
    assert sandbox.service.store.get(invoice_id) == changed
    assert changed.addresses[0].pay_amount == Decimal("0.000031442585838260")


def test_a_change_that_fails_changes_nothing(sandbox) -> None:
    """Neither the invoice nor the queue."""
    invoice_id = sandbox.offered()
    before = sandbox.service.store.get(invoice_id)
    with pytest.raises(ActionRefusedError):
        sandbox.service.act(invoice_id, Action.CONFIRM)
    assert sandbox.service.store.get(invoice_id) == before
    assert sandbox.service.store.list_deliveries() == []


def test_what_does_not_exist_is_not_changed(sandbox) -> None:
    """Unknown ids are answered with nothing."""
    assert sandbox.service.act("nowhere", Action.EXPIRE) is None
    assert sandbox.service.get_address("nowhere", 1) is None
    assert sandbox.service.get_transaction("nowhere") is None


def test_settings_come_back_as_they_were(sandbox) -> None:
    """Also those that are a set."""
    settings = parse_settings(
        {"dialect": "guide", "transaction_detail": "told", "webhook_faults": ["drop", "delay"], "quote_seconds": 60}
    )
    sandbox.service.store.save_settings(settings)
    assert sandbox.service.settings == settings != SandboxSettings()
    assert settings.quote_lifetime == timedelta(minutes=1)


@pytest.mark.parametrize(
    "values",
    [
        {"dialect": "latin"},
        {"quote_seconds": "0"},
        {"delay_seconds": "3601"},
        {"fault_calls": "many"},
        {"transaction_detail": "everything"},
        {"webhook_faults": ["vanish"]},
        {"webhook_faults": "drop"},
    ],
)
def test_settings_that_are_not_offered_are_refused(values: dict[str, object]) -> None:
    """A word or number out of range never gets into the file."""
    with pytest.raises(ValueError):
        parse_settings(values)


def test_a_file_of_an_earlier_version_is_still_read(sandbox, sql: Callable[[str], None]) -> None:
    """Switches and fields that did not exist yet get their defaults, and those that do not exist any more are left."""
    settings = {"dialect": "guide", "reusable_address": "new", "webhook_faults": ["drop"], "colour": "red"}
    sql(f"INSERT INTO documents VALUES ('settings', '{json.dumps(settings)}')")
    sql(f"INSERT INTO invoices (invoice_id, body) VALUES ('inv_1', '{json.dumps(OLD_LINK)}')")
    assert sandbox.service.settings == parse_settings(settings)
    assert sandbox.service.settings.transaction_detail is TransactionDetail.DOCUMENTED
    changed = sandbox.service.act("inv_1", Action.PAY_EXACT, address="TSANDBOX1")
    assert [item.address for item in changed.transactions] == ["TSANDBOX2", "TSANDBOX1"]
    assert sandbox.service.store.get("inv_1") == changed


def test_a_reusable_invoice_with_many_transactions_stays_quick(sandbox) -> None:
    """Five hundred of them, and two hundred addresses: paying, reading and showing take no second together."""
    sandbox.switch(reusable_address="new")
    invoice_id = sandbox.offered(type="reusable", paymentMethodID=5)
    for _ in range(199):
        sandbox.address(invoice_id, 5)

    def fill(invoice: SandboxInvoice, settings: SandboxSettings) -> tuple[SandboxInvoice, Sequence[Delivery]]:
        for number in range(500):
            invoice = act(invoice, Action.PAY_OVER, now=invoice.created_at, new_id=str(number))
        return invoice, ()

    filled = sandbox.service.store.change(invoice_id, fill)
    started = time.perf_counter()
    sandbox.press(invoice_id, "pay_exact", address=filled.addresses[0].address)
    assert len(sandbox.transactions(invoiceIDs=[invoice_id])) == 20
    assert sandbox.call("GET", f"/panel/invoices/{invoice_id}").status_code == 200
    assert time.perf_counter() - started < 1


def test_threads_change_an_invoice_one_after_another(sandbox) -> None:
    """No payment of many at once is lost."""
    invoice_id = sandbox.offered()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sandbox.service.act(invoice_id, Action.PAY_DUST), range(24)))
    assert len(sandbox.service.store.get(invoice_id).transactions) == 24
    assert len(sandbox.service.store.list_deliveries()) == 24


def test_threads_share_out_a_fault(sandbox) -> None:
    """A fault for three calls strikes three of them, however many come at once."""
    sandbox.switch(api_fault="500", fault_calls=3)
    with ThreadPoolExecutor(8) as pool:
        faults = list(pool.map(lambda _: sandbox.service.store.take_fault(Operation.ANY), range(24)))
    assert faults.count(ApiFault.SERVER_ERROR) == 3
    assert sandbox.service.settings.api_fault is ApiFault.NONE


def test_the_file_is_made_where_it_is_missing(tmp_path: Path) -> None:
    """Folders included; a second sandbox on the same file sees the same gateway."""
    path = tmp_path / "new" / "folder" / "sandbox.sqlite3"
    SandboxStore(path).save_settings(parse_settings({"dialect": "guide"}))
    assert SandboxStore(path).get_settings().dialect == "guide"


@pytest.mark.process
def test_processes_never_send_the_same_delivery(sandbox, tmp_path: Path) -> None:
    """Four processes that open the file and claim at once get every delivery exactly once."""
    invoice_id = sandbox.offered()
    for _ in range(40):
        sandbox.service.act(invoice_id, Action.PAY_DUST)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, str(tmp_path / "sandbox.sqlite3")],
            cwd=Path(flask_iterapay.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [line for process in processes for line in process.communicate()[0].split()]
    assert sorted(claimed, key=int) == [str(number) for number in range(1, 41)]
