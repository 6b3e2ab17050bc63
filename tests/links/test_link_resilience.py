"""What must not keep a link's payments from being seen: hints in the middle, damaged records, things that are gone."""

import httpx
import pytest
from msgspec.structs import replace
from worlds import MERCHANT_ID, Fault, make_world

from flask_iterapay.errors import GatewayServerError, GatewayTimeoutError, LinkMethodError
from flask_iterapay.orders.stores.memory import MemoryStore

LIST = "transactions/list"
CREATE = f"POST /merchants/{MERCHANT_ID}/invoices"


@pytest.fixture
def store():
    """The shop's records, within reach."""
    return MemoryStore()


@pytest.fixture
def world(tmp_path, store):
    """A shop and a gateway that tells addresses, a new one each time."""
    world = make_world(tmp_path, store=store)
    world.switch(reusable_address="new", transaction_detail="told")
    return world


def statuses(world):
    """What became of each payment, newest first."""
    return [item.status for item in world.links.list_contributions("donations", limit=200)]


def test_a_hint_during_a_reading_costs_no_progress(world):
    """However many come, each reading is kept, and the link is read on to the end of its list."""
    visit = world.visit(reference="AAAA")
    for _ in range(60):
        world.pay(visit)

    def be_slow_and_hinted():
        world.clock.advance(11)
        world.links.receive_hint(visit.invoice_id)

    for _ in range(2):
        world.wire.interrupt(LIST, be_slow_and_hinted)
        world.links.sync("donations")
    link = world.links.sync("donations")
    assert statuses(world) == ["received"] * 60
    assert (link.backlog, link.claim) == (None, None)


def test_a_hint_during_a_reading_is_read_for(world):
    """What it is about comes too late for the page that is read, so one more is."""
    visit = world.visit(reference="AAAA")

    def pay_and_hint():
        world.links.receive_hint(visit.invoice_id)

    world.wire.interrupt(LIST, pay_and_hint)
    world.links.sync("donations")
    assert world.wire.count(LIST) == 2
    world.links.sync("donations")
    assert world.wire.count(LIST) == 3


def test_a_damaged_contribution_hides_no_other(world, store):
    """It is left alone, and the rest is written."""
    visit = world.visit(reference="AAAA")
    world.pay(visit)
    world.links.sync("donations")
    [first] = world.links.list_contributions("donations", limit=9)
    record = store.get(f"contribution:{first.contribution_id}")
    store.save(replace(record, version=record.version + 1, body="{"), expected_version=record.version)
    world.pay(visit)
    world.links.sync("donations")
    assert statuses(world) == ["received"]
    assert store.get(f"contribution:{first.contribution_id}").body == "{"


def test_a_visit_that_cannot_be_read_hides_no_payment(world, store):
    """It is a page that is missing, and nothing of the money."""
    visit = world.visit(reference="AAAA")
    world.pay(visit, "pay_pending")
    world.links.sync("donations")
    record = store.get("visit:AAAA")
    store.save(replace(record, version=record.version + 1, body="{"), expected_version=record.version)
    world.act_on("settle", visit.invoice_id)
    world.links.sync("donations")
    assert statuses(world) == ["received"]


def test_a_transaction_that_cannot_be_read_hides_no_other(world):
    """Somebody's dust, written as a float, is left out."""
    visit = world.visit(reference="AAAA")
    sound = {
        "id": "tx-1",
        "invoiceID": visit.invoice_id,
        "amount": "5.00",
        "state": "settled",
        "createdAt": "2026-01-15T10:30:00Z",
    }
    answer = httpx.Response(200, json={"data": [sound | {"id": "tx-2", "amount": "1e-7"}, sound], "total": 2})
    world.wire.faults.append(Fault(LIST, 1, answer=answer))
    world.links.sync("donations")
    assert statuses(world) == ["received"]


def test_a_page_asks_ever_more_rarely_for_an_invoice_that_is_not_made(world):
    """Each time one may have been made that nobody knows of."""
    world.wire.cut(CREATE, is_after=True)
    with pytest.raises(GatewayTimeoutError):
        world.visit(reference="AAAA")
    for _ in range(300):
        world.clock.advance(2)
        try:
            world.links.complete_visit("AAAA")
        except GatewayTimeoutError:
            continue
    assert world.wire.count(CREATE) == 4
    world.wire.mend()
    world.clock.advance(600)
    assert world.links.complete_visit("AAAA").address is not None


def test_what_failed_is_asked_for_again_for_two_weeks(world):
    """The documentation calls money failed that is held for review, and may be released."""
    visit = world.visit(reference="AAAA")
    world.pay(visit, "pay_dust")
    world.links.sync("donations")
    assert statuses(world) == ["refused"]
    world.clock.advance(86_400)
    world.links.sync("donations")
    [refused] = world.links.list_contributions("donations", limit=9)
    assert refused.next_check_at is not None
    world.clock.advance(14 * 86_400)
    world.service.reconcile()
    [refused] = world.links.list_contributions("donations", limit=9)
    assert refused.next_check_at is None


def test_a_backlog_does_not_make_every_poll_a_reading(world):
    """Pages ask once an interval; reconcile goes on at once."""
    visit = world.visit(reference="AAAA")
    for _ in range(60):
        world.pay(visit)
    world.wire.interrupt(LIST, lambda: world.clock.advance(11))
    link = world.links.sync("donations")
    assert link.backlog is not None
    before = world.wire.count(LIST)
    for _ in range(10):
        world.links.poll("donations")
    assert world.wire.count(LIST) == before
    world.service.reconcile()
    assert statuses(world) == ["received"] * 60


def test_an_invoice_that_gives_no_addresses_is_followed_by_another(world):
    """The merchant has archived it, say: one visitor is told, the next has an address, and both are watched."""
    world.wire.fail("/address", status=404, times=1)
    with pytest.raises(LinkMethodError):
        world.visit(reference="AAAA")
    visit = world.visit(reference="BBBB")
    [first, second] = world.links.get("donations").invoice_ids
    assert (visit.invoice_id, visit.address is None) == (second, False)
    assert world.visit(reference="CCCC").invoice_id == second
    world.links.sync("donations")
    assert first in world.links.get("donations").invoice_ids


def test_invoices_of_a_method_that_is_not_offered_do_not_pile_up(world):
    """After a few the gateway is believed."""
    world.wire.fail("/address", status=404)
    for number in range(9):
        with pytest.raises(LinkMethodError):
            world.visit(reference=f"AAA{number}")
    assert len(world.links.get("donations").invoice_ids) == 5


def test_who_presses_a_button_does_not_wait_for_his_page(world):
    """The pause after a failure is for what pages do by themselves."""
    world.wire.fail("/address")
    with pytest.raises(GatewayServerError):
        world.visit(reference="AAAA")
    world.wire.mend()
    assert world.links.complete_visit("AAAA").address is None
    assert world.links.complete_visit("AAAA", is_pressed=True).address is not None
