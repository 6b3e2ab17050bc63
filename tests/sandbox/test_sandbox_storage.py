"""The sandbox's file: what is written comes back, and threads and processes share it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

import flask_iterapay
from flask_iterapay.sandbox.bodies import InvoiceRequest
from flask_iterapay.sandbox.engine import Action, ActionRefusedError, InvoiceType
from flask_iterapay.sandbox.settings import ApiFault, Operation, SandboxSettings, parse_settings
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
    settings = parse_settings({"dialect": "guide", "webhook_faults": ["drop", "delay"], "quote_seconds": 60})
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
        {"webhook_faults": ["vanish"]},
        {"webhook_faults": "drop"},
    ],
)
def test_settings_that_are_not_offered_are_refused(values: dict[str, object]) -> None:
    """A word or number out of range never gets into the file."""
    with pytest.raises(ValueError):
        parse_settings(values)


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
