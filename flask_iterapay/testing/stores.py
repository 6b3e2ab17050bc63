"""The promises of ``OrderStore`` as tests, to be inherited by the tests of any store.

::

    class TestMyStore(DurableOrderStoreContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "orders")

        @pytest.fixture
        def absent_store(self, tmp_path):
            return MyStore(tmp_path / "missing" / "orders")

``pytest.register_assert_rewrite("flask_iterapay.testing")`` in a ``conftest.py`` gives failures their details.
"""

import threading
from datetime import timedelta

import pytest

from ..errors import RecordExistsError, RefTakenError, StoreUnavailableError
from ..orders.stores.base import OrderStore
from .races import (
    RACERS,
    ROUNDS,
    OpenStore,
    add_together,
    count,
    get_count,
    kill_while_saving,
    open_and_count,
    run_in_processes,
    run_in_threads,
    save_together,
)
from .samples import NOW, SECOND, STRANGE, list_calls, list_keys, make_next, make_record, raises

__all__ = ["DurableOrderStoreContract", "OrderStoreContract"]


class OrderStoreContract:
    """What every store keeps. Override ``store`` with a fixture that gives an empty one."""

    @pytest.fixture
    def store(self) -> OrderStore:
        """Give an empty store, a new one for every test."""
        raise NotImplementedError("override the fixture `store`")

    def test_what_was_never_added_is_absent(self, store: OrderStore) -> None:
        """An empty store answers every read with nothing."""
        assert store.get("order:1") is None
        assert store.get_by_ref("invoice") is None
        assert store.due(NOW, 10) == []
        assert store.search("", limit=10) == []

    def test_any_string_may_be_looked_up(self, store: OrderStore) -> None:
        """Keys and refs that nothing could have are absent, not errors."""
        store.add(make_record(refs=("invoice",)))
        assert [text for text in STRANGE if store.get(text) is not None] == []
        assert [text for text in STRANGE if store.get_by_ref(text) is not None] == []

    def test_a_record_comes_back_as_it_was(self, store: OrderStore) -> None:
        """Version, times to the microsecond, refs in their order and long texts in any script come back equal."""
        record = make_record(
            key="order:ÄÖ ✓ عدد 🂡",
            version=7,
            due_at=NOW - timedelta(days=20_000, microseconds=1),
            refs=("z", "Ä🂡", "a"),
            status="on_hold",
            body="{\"a\": '%s', \\ \r\n\t} ä 🂡 " * 10_000,
        )
        store.add(record)
        assert store.get(record.key) == record
        assert store.get_by_ref("Ä🂡") == record

    def test_times_come_back_in_utc(self, store: OrderStore) -> None:
        """Every time that a store gives back is aware and UTC."""
        store.add(make_record(due_at=NOW))
        [record] = store.due(NOW, 1)
        assert record.due_at is not None
        assert (record.due_at.utcoffset(), record.created_at.utcoffset()) == (timedelta(0), timedelta(0))

    def test_a_key_is_added_once(self, store: OrderStore) -> None:
        """Adding under a used key is refused, and changes neither the record nor the refs."""
        first = make_record(refs=("invoice",))
        store.add(first)
        assert raises(RecordExistsError, lambda: store.add(make_record(refs=("other",), body="second")))
        assert store.get(first.key) == first
        assert store.get_by_ref("other") is None

    def test_a_ref_belongs_to_one_record(self, store: OrderStore) -> None:
        """Adding a record with a taken ref is refused whole."""
        first = make_record(1, refs=("invoice",))
        store.add(first)
        assert raises(RefTakenError, lambda: store.add(make_record(2, refs=("free", "invoice"))))
        assert store.get("order:2") is None
        assert store.get_by_ref("free") is None
        assert store.get_by_ref("invoice") == first

    def test_keys_and_refs_are_compared_exactly(self, store: OrderStore) -> None:
        """Case, accents, width and trailing blanks tell keys and refs apart."""
        names = ["a", "A", "á", "a\u0301", "ａ", "a ", " a", "ß", "ss"]
        for number, name in enumerate(names):
            store.add(make_record(number, key=name, refs=(name,)))
        assert [record and record.key for record in map(store.get, names)] == names
        assert [record and record.key for record in map(store.get_by_ref, names)] == names

    def test_save_replaces_the_whole_record(self, store: OrderStore) -> None:
        """A save that expects the stored version changes every field."""
        record = make_record(due_at=NOW)
        store.add(record)
        changed = make_next(record, due_at=None, refs=("invoice",), status="paid", body="changed")
        assert store.save(changed, expected_version=1)
        assert store.get(record.key) == changed
        assert store.due(NOW, 10) == []
        assert store.search("", status="new", limit=10) == []

    def test_save_keeps_refs_that_stay(self, store: OrderStore) -> None:
        """A save that leaves the refs as they are keeps them findable and taken."""
        record = make_record(refs=("invoice",))
        store.add(record)
        assert store.save(make_next(record, body="changed"), expected_version=1)
        assert store.get_by_ref("invoice") == make_next(record, body="changed")
        assert raises(RefTakenError, lambda: store.add(make_record(2, refs=("invoice",))))

    def test_a_stale_save_changes_nothing(self, store: OrderStore) -> None:
        """A save that expects another version than the stored one is refused whole."""
        record = make_next(make_record(refs=("invoice",)))
        store.add(record)
        assert not store.save(make_record(version=2, refs=("stale",), body="stale"), expected_version=1)
        assert not store.save(make_record(version=4, refs=("invoice",), body="early"), expected_version=3)
        assert store.get(record.key) == record
        assert store.get_by_ref("stale") is None

    def test_save_adds_nothing(self, store: OrderStore) -> None:
        """There is nothing to save under a key that was never added."""
        assert not store.save(make_record(refs=("invoice",)), expected_version=0)
        assert store.get("order:1") is None
        assert store.get_by_ref("invoice") is None

    def test_save_replaces_refs(self, store: OrderStore) -> None:
        """Refs that a save leaves out are free again, and new ones are taken."""
        record = make_record(1, refs=("old", "kept"))
        store.add(record)
        changed = make_next(record, refs=("kept", "new"))
        assert store.save(changed, expected_version=1)
        assert store.get_by_ref("old") is None
        assert store.get_by_ref("kept") == store.get_by_ref("new") == changed
        store.add(make_record(2, refs=("old",)))
        assert raises(RefTakenError, lambda: store.add(make_record(3, refs=("new",))))

    def test_save_takes_no_ref_of_another(self, store: OrderStore) -> None:
        """A save with another record's ref is refused whole."""
        first, second = make_record(1, refs=("invoice",)), make_record(2, refs=("own",))
        store.add(first)
        store.add(second)
        thief = make_next(second, refs=("free", "invoice"), body="thief")
        assert raises(RefTakenError, lambda: store.save(thief, expected_version=1))
        assert store.get("order:2") == store.get_by_ref("own") == second
        assert store.get_by_ref("invoice") == first
        assert store.get_by_ref("free") is None

    def test_due_gives_the_oldest_first(self, store: OrderStore) -> None:
        """Records are due at their time, not before it, and the longest overdue come first."""
        for number, seconds in enumerate([0, 3, -2, None, -1, 1]):
            due_at = None if seconds is None else NOW + seconds * SECOND
            store.add(make_record(number, due_at=due_at))
        store.add(make_record(9, due_at=NOW + timedelta(microseconds=1)))
        assert list_keys(store.due(NOW, 10)) == ["order:2", "order:4", "order:0"]
        assert list_keys(store.due(NOW, 2)) == ["order:2", "order:4"]

    def test_a_read_sees_the_write_before_it(self, store: OrderStore) -> None:
        """Whatever was read before, every kind of read shows a write as soon as that has returned."""
        record = make_record(due_at=NOW, refs=("invoice",))
        store.add(record)
        for _ in range(3):
            assert store.due(NOW, 10) == store.search("", limit=10) == [record]
            assert store.get(record.key) == store.get_by_ref("invoice") == record
            record = make_next(record, body=record.body + "changed")
            assert store.save(record, expected_version=record.version - 1)
        assert run_in_threads(lambda _: store.get(record.key)) == [record] * RACERS

    def test_it_starts_no_threads(self, store: OrderStore) -> None:
        """After every kind of call the same threads run as before."""
        before = set(threading.enumerate())
        for call in list_calls(store, make_record(refs=("invoice",))):
            call()
        assert set(threading.enumerate()) - before == set()

    def test_search_gives_the_newest_first(self, store: OrderStore) -> None:
        """Records come by creation and, where that is equal, by key, newest first."""
        for number, seconds in [(1, 5), (2, 0), (3, 9), (4, 5), (10, 5)]:
            store.add(make_record(number, created_at=NOW + seconds * SECOND))
        assert list_keys(store.search("order:", limit=10)) == ["order:3", "order:4", "order:10", "order:1", "order:2"]
        assert list_keys(store.search("order:", limit=2)) == ["order:3", "order:4"]

    def test_search_takes_the_prefix_literally(self, store: OrderStore) -> None:
        """A prefix matches itself alone: no wildcards, no folding of case."""
        for number, key in enumerate(["a_b:1", "a%b:1", "axb:1", "A_b:1", "xa_b:1", "ä_b:1"]):
            store.add(make_record(number, key=key))
        prefixes = ["a_", "a%", "A", "ä_b", "a_b:12", "*"]
        found = [list_keys(store.search(prefix, limit=10)) for prefix in prefixes]
        assert found == [["a_b:1"], ["a%b:1"], ["A_b:1"], ["ä_b:1"], [], []]

    def test_search_pages_meet_every_record_once(self, store: OrderStore) -> None:
        """Asking on from the last record of each page gives every record once, equal times included."""
        for number in range(10):
            store.add(
                make_record(number, created_at=NOW + number // 4 * SECOND, status="odd" if number % 2 else "even")
            )
        assert _pages(store, None) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
        assert _pages(store, "odd") == [9, 7, 5, 3, 1]

    def test_one_of_several_racing_saves_wins(self, store: OrderStore) -> None:
        """Of threads that save what they read of the same version, one is told that it succeeded."""
        store.add(make_record(version=0))
        ready = threading.Barrier(RACERS)

        def race(_: int) -> list[bool]:
            return [save_together(store, version, ready) for version in range(ROUNDS)]

        assert [sum(round_) for round_ in zip(*run_in_threads(race), strict=True)] == [1] * ROUNDS

    def test_racing_threads_lose_no_update(self, store: OrderStore) -> None:
        """Every increment of threads that read, compute and save until they succeed is counted."""
        store.add(make_record(body="0"))
        run_in_threads(lambda _: count(store, ROUNDS))
        assert get_count(store) == RACERS * ROUNDS

    def test_one_of_several_racing_adds_wins(self, store: OrderStore) -> None:
        """Of threads that add records with the same ref, one succeeds, and the ref is its record's."""
        ready = threading.Barrier(RACERS)

        def race(number: int) -> list[str]:
            return [add_together(store, number, round_, ready) for round_ in range(ROUNDS)]

        for round_, keys in enumerate(zip(*run_in_threads(race), strict=True)):
            owner = store.get_by_ref(f"invoice-{round_}")
            assert [key for key in keys if key] == [owner and owner.key]


class DurableOrderStoreContract(OrderStoreContract):
    """What a store that claims durability keeps as well, between processes.

    Override ``open_store`` with a fixture that gives a picklable factory without arguments; each call opens the same
    place again. Override ``absent_store`` with one that gives a store whose place cannot be reached.
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Give a picklable factory that opens the same store again, empty at first."""
        raise NotImplementedError("override the fixture `open_store`")

    @pytest.fixture
    def absent_store(self) -> OrderStore:
        """Give a store whose database is down or was never there."""
        raise NotImplementedError("override the fixture `absent_store`")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> OrderStore:
        """Give an empty store."""
        return open_store()

    def test_an_absent_database_is_told(self, absent_store: OrderStore) -> None:
        """Every call on a store that cannot reach its place ends, with the one error that says so and its cause."""
        calls = list_calls(absent_store, make_record(refs=("invoice",)))
        assert [raises(StoreUnavailableError, call, from_another=True) for call in calls] == [True] * len(calls)

    def test_it_claims_durability(self, store: OrderStore) -> None:
        """A store under this contract says of itself that it is durable."""
        assert store.is_durable

    def test_a_reopened_store_has_everything(self, store: OrderStore, open_store: OpenStore) -> None:
        """Records, refs and the order of search are there when the store is opened again."""
        records = [make_record(number, refs=(f"invoice-{number}",)) for number in (3, 2, 1)]
        for record in records:
            store.add(record)
        reopened = open_store()
        assert reopened.search("", limit=10) == records
        assert reopened.get_by_ref("invoice-2") == records[1]

    def test_racing_stores_lose_no_update(self, store: OrderStore, open_store: OpenStore) -> None:
        """Every increment of threads that each opened the store for themselves is counted."""
        store.add(make_record(body="0"))
        ready = threading.Barrier(RACERS)
        run_in_threads(lambda _: open_and_count(open_store, ready))
        assert get_count(store) == RACERS * ROUNDS

    def test_racing_processes_lose_no_update(self, store: OrderStore, open_store: OpenStore) -> None:
        """Every increment of processes that read, compute and save until they succeed is counted."""
        store.add(make_record(body="0"))
        run_in_processes(open_and_count, open_store)
        assert get_count(store) == RACERS * ROUNDS

    def test_a_killed_process_loses_nothing(self, store: OrderStore, open_store: OpenStore) -> None:
        """What a process was told is saved is there after it was killed, and whole."""
        store.add(make_record(version=0, refs=("invoice-0",), body="0"))
        acknowledged = kill_while_saving(open_store)
        reopened = open_store()
        record = reopened.get("order:1")
        assert record is not None
        assert record.version >= acknowledged
        assert (record.body, record.refs) == (str(record.version), (f"invoice-{record.version}",))
        assert reopened.get_by_ref(record.refs[0]) == record
        assert reopened.save(make_next(record), expected_version=record.version)


def _pages(store: OrderStore, status: str | None) -> list[int]:
    numbers: list[int] = []
    page = store.search("order:", status=status, limit=3)
    while page and len(numbers) < 20:
        numbers += [int(record.key.removeprefix("order:")) for record in page]
        page = store.search("order:", status=status, before=page[-1], limit=3)
    return numbers
