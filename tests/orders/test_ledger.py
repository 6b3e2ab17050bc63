"""Orders in a store: compare-and-set, lost races, and records that cannot be read."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from builders import START, at, make_order, make_record
from msgspec.structs import replace

from flask_iterapay.errors import (
    OrderLockedError,
    OrderNotFoundError,
    RecordExistsError,
    RefTakenError,
    StoreError,
    StoreUnavailableError,
)
from flask_iterapay.links.models import Contribution, Link, Tally, Visit
from flask_iterapay.orders.codec import SCHEMA
from flask_iterapay.orders.entries import Entry
from flask_iterapay.orders.ledger import Ledger, find_due
from flask_iterapay.orders.models import Claim, Order, OrderStatus
from flask_iterapay.orders.stores.base import Record
from flask_iterapay.orders.stores.memory import MemoryStore


class RacingStore(MemoryStore):
    """A memory store in which others are faster: each of ``rivals`` runs just before one of our saves.

    ``saves`` tells of each of our saves whether it won.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rivals: list[Callable[[], object]] = []
        self.saves: list[bool] = []
        self._is_rival_at_work = False

    def save(self, record: Record, *, expected_version: int) -> bool:
        if self._is_rival_at_work:
            return super().save(record, expected_version=expected_version)
        if self.rivals:
            self._is_rival_at_work = True
            self.rivals.pop(0)()
            self._is_rival_at_work = False
        self.saves.append(super().save(record, expected_version=expected_version))
        return self.saves[-1]


@pytest.fixture
def store() -> RacingStore:
    return RacingStore()


@pytest.fixture
def ledger(store: RacingStore) -> Ledger:
    return Ledger(store=store, model=Order)


def describe(text: str) -> Callable[[Order], Order]:
    """A change that shows how often it was made, and on top of what."""
    return lambda order: replace(order, description=order.description + text)


class TestReading:
    def test_an_order_is_read_as_it_was_added(self, ledger: Ledger):
        """By its own id and by the id of any of its invoices."""
        order = ledger.add(make_order(make_record("inv-1"), make_record("inv-2")))
        assert order.version == 1
        assert ledger.get("1042") == ledger.get_by_invoice("inv-1") == ledger.get_by_invoice("inv-2") == order

    def test_an_order_that_is_not_there_is_a_named_error(self, ledger: Ledger):
        """The error says which."""
        with pytest.raises(OrderNotFoundError, match="'1042'"):
            ledger.get("1042")

    def test_an_invoice_of_nobody_has_no_order(self, ledger: Ledger):
        """Hints about foreign invoices are no error."""
        ledger.add(make_order(make_record("inv-1")))
        assert ledger.get_by_invoice("inv-2") is None
        assert ledger.get_by_invoice("order:1042") is None

    def test_a_record_shows_what_a_store_needs_to_know(self, ledger: Ledger, store: RacingStore):
        """Key, refs, time and status are outside of the body, for queries."""
        ledger.add(make_order(make_record("inv-1"), make_record("inv-2"), next_check_at=at(60)))
        record = store.get("order:1042")
        assert (record.key, record.version, record.refs) == ("order:1042", 1, ("inv-1", "inv-2"))
        assert (record.due_at, record.status, record.created_at) == (at(60), "awaiting_payment", START)

    def test_due_orders_come_longest_overdue_first(self, ledger: Ledger):
        """Never more than asked for, and none whose time has not come."""
        for order_id, seconds in [("a", 30), ("b", 10), ("c", 20), ("d", 31), ("e", None)]:
            check_at = None if seconds is None else at(seconds)
            ledger.add(make_order(order_id=order_id, next_check_at=check_at))
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(30), 9)] == ["b", "c", "a"]
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(30), 2)] == ["b", "c"]

    def test_due_orders_are_orders(self, ledger: Ledger, store: RacingStore):
        """A record of another kind in the same store is left alone."""
        ledger.add(make_order(next_check_at=at(0)))
        store.add(replace(store.get("order:1042"), key="link:7"))
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(1), 9)] == ["1042"]

    def test_an_order_of_a_newer_release_is_a_store_error(self, ledger: Ledger, store: RacingStore):
        """During a rollback it cannot be read, which a webhook must answer like any failure of the store."""
        ledger.add(make_order(make_record()))
        _spoil(store, "order:1042")
        with pytest.raises(StoreError):
            ledger.get("1042")
        with pytest.raises(StoreError):
            ledger.get_by_invoice("inv-1")

    def test_an_order_that_cannot_be_read_does_not_hide_the_others(self, ledger: Ledger, store: RacingStore):
        """One spoiled record must not end the work on all that are due."""
        for order_id in ("spoiled", "sound"):
            ledger.add(make_order(order_id=order_id, next_check_at=at(0)))
        _spoil(store, "order:spoiled")
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(1), 9)] == ["sound"]


def _spoil(store: RacingStore, key: str) -> None:
    """Rewrite a record as a newer release would."""
    record = store.get(key)
    body = record.body.replace(f'"schema":{SCHEMA}', f'"schema":{SCHEMA + 1}')
    assert body != record.body
    store.save(replace(record, version=record.version + 1, body=body), expected_version=record.version)


class TestAdding:
    def test_an_order_id_is_used_once(self, ledger: Ledger):
        """The second order finds the first untouched."""
        first = ledger.add(make_order())
        with pytest.raises(RecordExistsError):
            ledger.add(make_order(amount=Decimal("1.00")))
        assert ledger.get("1042") == first

    def test_an_invoice_belongs_to_one_order(self, ledger: Ledger):
        """Neither a new nor a changed order takes another's."""
        ledger.add(make_order(make_record("inv-1")))
        with pytest.raises(RefTakenError):
            ledger.add(make_order(make_record("inv-1"), order_id="1043"))
        ledger.add(make_order(order_id="1043"))
        with pytest.raises(RefTakenError):
            ledger.change("1043", lambda order: replace(order, invoices=(make_record("inv-1"),)))
        assert ledger.get("1043").invoices == ()


class TestSaving:
    def test_a_saved_order_has_the_next_version(self, ledger: Ledger):
        """What is returned is what is stored."""
        order = ledger.add(make_order())
        saved = ledger.save(describe("x")(order))
        assert saved == ledger.get("1042")
        assert (saved.version, saved.description) == (2, "x")

    def test_an_order_that_changed_meanwhile_is_not_overwritten(self, ledger: Ledger):
        """Of two saves that read the same version, one wins."""
        order = ledger.add(make_order())
        ledger.save(describe("first")(order))
        assert ledger.save(describe("second")(order)) is None
        assert ledger.get("1042").description == "first"

    def test_a_claim_moves_an_order_out_of_the_way(self, ledger: Ledger):
        """What is due is decided by the order, and the store knows it."""
        ledger.add(make_order(make_record(), next_check_at=at(0)))
        ledger.change("1042", lambda order: replace(order, claim=Claim(token="t", expires_at=at(60))))
        assert find_due(ledger.store, [ledger], at(59), 9) == []
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(60), 9)] == ["1042"]

    def test_what_cannot_be_read_keeps_nobody_from_their_turn(self, ledger: Ledger, store: RacingStore):
        """Damaged records and another ledger's at the head of the queue are passed by."""
        for number in range(8):
            ledger.add(make_order(make_record(f"inv-{number}"), order_id=f"damaged-{number}", next_check_at=at(0)))
            body = ["{", '{"schema":1,"order":{"invoices":[null]}}', "[" * 5000][number % 3]
            store.save(replace(store.get(f"order:damaged-{number}"), version=2, body=body), expected_version=1)
            others = Ledger(store=store, model=Order, realm="sandbox-")
            others.add(make_order(make_record(f"sandbox-{number}"), order_id=str(number), next_check_at=at(1)))
        for number in range(3):
            ledger.add(make_order(make_record(f"own-{number}"), order_id=str(number), next_check_at=at(2 + number)))
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(60), 2)] == ["0", "1"]
        assert [order.order_id for order in find_due(ledger.store, [ledger], at(60), 9)] == ["0", "1", "2"]

    def test_orders_are_gone_through_newest_first(self, ledger: Ledger, store: RacingStore):
        """Page after page, without another ledger's, and past what cannot be read."""
        for number in range(250):
            status = OrderStatus.PAID if number % 2 else OrderStatus.NEW
            ledger.add(make_order(order_id=str(number), created_at=at(number), status=status))
        Ledger(store=store, model=Order, realm="sandbox-").add(make_order(order_id="play"))
        store.save(replace(store.get("order:7"), version=2, body="{"), expected_version=1)
        assert [order.order_id for order in ledger.iterate()] == [str(n) for n in range(249, -1, -1) if n != 7]
        paid = [order.order_id for order in ledger.iterate(label=OrderStatus.PAID)]
        assert paid == [str(n) for n in range(249, -1, -2) if n != 7]

    def test_the_status_in_the_record_follows_the_order(self, ledger: Ledger, store: RacingStore):
        """Searches by status find it."""
        ledger.add(make_order())
        ledger.change("1042", lambda order: replace(order, status=OrderStatus.CANCELLED))
        assert [record.key for record in store.search("order:", status="cancelled", limit=9)] == ["order:1042"]


class TestChanging:
    def test_a_change_is_computed_and_saved(self, ledger: Ledger, store: RacingStore):
        """Once, where nobody interferes."""
        ledger.add(make_order())
        assert ledger.change("1042", describe("x")) == ledger.get("1042")
        assert store.saves == [True]

    @pytest.mark.parametrize("count", [1, 2, 49])
    def test_a_lost_race_is_run_again_on_the_newer_order(self, ledger: Ledger, store: RacingStore, count):
        """No change is lost, neither ours nor that of whoever was faster."""
        ledger.add(make_order())
        store.rivals = [lambda: ledger.change("1042", describe("r"))] * count
        changed = ledger.change("1042", describe("x"))
        assert changed.description == "r" * count + "x"
        assert store.saves == [False] * count + [True]
        assert changed.version == count + 2

    def test_a_change_that_always_loses_gives_up(self, ledger: Ledger, store: RacingStore):
        """After a bounded number of attempts, with nothing of it written."""
        ledger.add(make_order())
        store.rivals = [lambda: ledger.change("1042", describe("r"))] * 1000
        with pytest.raises(StoreUnavailableError, match="50 attempts"):
            ledger.change("1042", describe("x"))
        assert store.saves == [False] * 50
        assert ledger.get("1042").description == "r" * 50

    def test_a_change_that_became_pointless_is_not_saved(self, ledger: Ledger, store: RacingStore):
        """Whoever was faster did it already."""

        def cancel(order: Order) -> Order:
            return order if order.status is OrderStatus.CANCELLED else replace(order, status=OrderStatus.CANCELLED)

        ledger.add(make_order())
        store.rivals = [lambda: ledger.change("1042", cancel)]
        assert ledger.change("1042", cancel).version == 2
        assert store.saves == [False]

    def test_an_order_that_stays_as_it_is_is_not_saved(self, ledger: Ledger, store: RacingStore):
        """Nothing to write, and nobody else's race is lost for it."""
        order = ledger.add(make_order())
        assert ledger.change("1042", lambda order: order) == order
        assert store.saves == []

    def test_an_equal_order_is_not_saved(self, ledger: Ledger, store: RacingStore):
        """A copy that says the same is no change."""
        order = ledger.add(make_order())
        assert ledger.change("1042", replace) == order
        assert store.saves == []

    def test_what_the_change_raises_passes_through(self, ledger: Ledger, store: RacingStore):
        """A refusal is computed on the newest order, and nothing is written."""

        def refuse(order: Order) -> Order:
            raise OrderLockedError(order.order_id, order.description)

        ledger.add(make_order(description="seen"))
        with pytest.raises(OrderLockedError, match="seen"):
            ledger.change("1042", refuse)
        assert store.saves == []

    def test_an_order_that_is_not_there_cannot_be_changed(self, ledger: Ledger):
        """No change makes an order."""
        with pytest.raises(OrderNotFoundError):
            ledger.change("1042", describe("x"))


@pytest.mark.parametrize("model", [Order, Link, Contribution, Visit, Tally])
def test_each_kind_of_entry_fills_in_what_entries_leave_open(model: type[Entry]) -> None:
    """Python itself would not mind, since structs are of no abstract base class."""
    assert [name for name in dir(model) if getattr(getattr(model, name), "__isabstractmethod__", False)] == []
