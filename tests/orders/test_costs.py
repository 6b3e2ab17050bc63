"""How often the store is asked for what customers and webhooks cause; each call is a round trip or a commit."""

import pytest
from worlds import World, make_world

from flask_iterapay.orders.models import EventName, EventState, OrderStatus
from flask_iterapay.orders.stores.base import Record
from flask_iterapay.orders.stores.memory import MemoryStore


class CountingStore(MemoryStore):
    """A store that notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def get(self, key: str) -> Record | None:
        self.calls.append("get")
        return super().get(key)

    def get_by_ref(self, ref: str) -> Record | None:
        self.calls.append("get_by_ref")
        return super().get_by_ref(ref)

    def save(self, record: Record, *, expected_version: int) -> bool:
        self.calls.append("save")
        return super().save(record, expected_version=expected_version)


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
def world(tmp_path, store) -> World:
    return make_world(tmp_path, store=store)


def test_a_hint_with_news_is_one_read_and_two_saves(world: World, store: CountingStore):
    """The claim and the outcome; what was read to find the order is not read again."""
    order = world.choose()
    world.act("pay_pending", order)
    store.calls.clear()
    assert world.service.receive_hint(str(order.current_invoice_id)).status is OrderStatus.CONFIRMING
    assert store.calls == ["get_by_ref", "save", "save"]


def test_a_poll_without_news_is_one_read(world: World, store: CountingStore):
    """A page that asks every few seconds."""
    world.choose()
    store.calls.clear()
    world.service.poll("1042")
    assert store.calls == ["get"]


def test_a_poll_that_is_due_is_one_read_and_two_saves(world: World, store: CountingStore):
    """The first poll of an interval."""
    world.choose()
    world.clock.advance(15)
    store.calls.clear()
    world.service.poll("1042")
    assert store.calls == ["get", "save", "save"]


def test_handing_out_an_event_is_one_read_and_two_saves(world: World, store: CountingStore):
    """The lease and the outcome, and then nothing is read to see that nothing is left."""
    order = world.choose()
    world.act("pay_exact", order)
    world.service.sync("1042")
    store.calls.clear()
    assert world.service.dispatch("1042") == 1
    assert store.calls == ["get", "save", "save"]


def test_an_outdated_order_costs_a_lost_attempt_and_no_more(world: World, store: CountingStore):
    """What was read a moment ago is a guess that the compare-and-set corrects."""
    outdated = world.choose()
    world.act("pay_exact", outdated)
    newer = world.service.sync("1042")
    store.calls.clear()
    again = world.service.sync("1042", known=outdated)
    assert (again.status, again.version) == (OrderStatus.PAID, newer.version + 2)
    assert store.calls == ["save", "get", "save", "save"]


def test_news_that_nobody_listens_to_costs_no_more_than_its_outcome(tmp_path, store: CountingStore):
    """Its event is done in the save that it is born in: a lease would only find out that there is nobody."""
    world = make_world(tmp_path, store=store, is_heard=False)
    world.act("pay_pending", world.choose())
    order = world.service.sync("1042")
    assert [(event.name, event.state, event.next_attempt_at) for event in order.events] == [
        (EventName.CONFIRMING, EventState.DONE, None)
    ]
    assert order.due_at == order.next_check_at
    store.calls.clear()
    assert world.service.dispatch("1042") == 0
    assert store.calls == ["get"]


def test_a_payment_that_nobody_listens_to_stays_open(tmp_path):
    """Another process may have the handler that this one lacks."""
    world = make_world(tmp_path, is_heard=False)
    world.act("pay_exact", world.choose())
    [event] = world.service.sync("1042").events
    assert (event.name, event.state) == (EventName.PAID, EventState.OPEN)


def test_what_somebody_listens_to_stays_open(world: World):
    """It is the handlers' turn."""
    world.act("pay_pending", world.choose())
    [event] = world.service.sync("1042").events
    assert event.state is EventState.OPEN
