"""The promises of ``OrderStore`` as tests, to be inherited by the tests of any store.

::

    class TestMyStore(DurableOrderStoreContract):
        @pytest.fixture
        def open_store(self, tmp_path):
            return functools.partial(MyStore, tmp_path / "orders")

``pytest.register_assert_rewrite("flask_iterapay.testing.stores")`` in a ``conftest.py`` gives failures their details.
"""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest

from ..errors import RecordExistsError, RefTakenError
from ..orders.stores.base import OrderStore, Record

__all__ = ["DurableOrderStoreContract", "OrderStoreContract"]

OpenStore = Callable[[], OrderStore]

_NOW = datetime(2026, 1, 31, 23, 59, 59, 123456, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_RACERS = 4
_ROUNDS = 15
_KILL_AFTER = 20
_PATIENCE_SECONDS = 60
# What look-ups may be asked by a stranger: blanks, wildcards, quotes, controls, lone surrogates, and far too much.
_STRANGE = ["", " ", "%", "_", "*", "'", '"', "\\", "\0", "a\0b", "\n", "\ud800", "🂡", "x" * 100_000]


def _record(number: int = 1, **changes: Any) -> Record:
    record = Record(
        key=f"order:{number}",
        version=1,
        due_at=None,
        refs=(),
        status="new",
        created_at=_NOW + number * _SECOND,
        body="",
    )
    return replace(record, **changes)


def _next(record: Record, **changes: Any) -> Record:
    return replace(record, version=record.version + 1, **changes)


def _keys(records: list[Record]) -> list[str]:
    return [record.key for record in records]


def _raises(error: type[Exception], call: Callable[[], object]) -> bool:
    try:
        call()
    except error:
        return True
    return False


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
        assert store.due(_NOW, 10) == []
        assert store.search("", limit=10) == []

    def test_any_string_may_be_looked_up(self, store: OrderStore) -> None:
        """Keys and refs that nothing could have are absent, not errors."""
        store.add(_record(refs=("invoice",)))
        assert [text for text in _STRANGE if store.get(text) is not None] == []
        assert [text for text in _STRANGE if store.get_by_ref(text) is not None] == []

    def test_a_record_comes_back_as_it_was(self, store: OrderStore) -> None:
        """Version, times to the microsecond, refs in their order and long texts in any script come back equal."""
        record = _record(
            key="order:ÄÖ ✓ عدد 🂡",
            version=7,
            due_at=_NOW - timedelta(days=20_000, microseconds=1),
            refs=("z", "Ä🂡", "a"),
            status="on_hold",
            body="{\"a\": '%s', \\ \r\n\t} ä 🂡 " * 10_000,
        )
        store.add(record)
        assert store.get(record.key) == record
        assert store.get_by_ref("Ä🂡") == record

    def test_times_come_back_in_utc(self, store: OrderStore) -> None:
        """Every time that a store gives back is aware and UTC."""
        store.add(_record(due_at=_NOW))
        [record] = store.due(_NOW, 1)
        assert record.due_at is not None
        assert (record.due_at.utcoffset(), record.created_at.utcoffset()) == (timedelta(0), timedelta(0))

    def test_a_key_is_added_once(self, store: OrderStore) -> None:
        """Adding under a used key is refused, and changes neither the record nor the refs."""
        first = _record(refs=("invoice",))
        store.add(first)
        assert _raises(RecordExistsError, lambda: store.add(_record(refs=("other",), body="second")))
        assert store.get(first.key) == first
        assert store.get_by_ref("other") is None

    def test_a_ref_belongs_to_one_record(self, store: OrderStore) -> None:
        """Adding a record with a taken ref is refused whole."""
        first = _record(1, refs=("invoice",))
        store.add(first)
        assert _raises(RefTakenError, lambda: store.add(_record(2, refs=("free", "invoice"))))
        assert store.get("order:2") is None
        assert store.get_by_ref("free") is None
        assert store.get_by_ref("invoice") == first

    def test_keys_and_refs_are_compared_exactly(self, store: OrderStore) -> None:
        """Case, accents, width and trailing blanks tell keys and refs apart."""
        names = ["a", "A", "á", "a\u0301", "ａ", "a ", " a", "ß", "ss"]
        for number, name in enumerate(names):
            store.add(_record(number, key=name, refs=(name,)))
        assert [record and record.key for record in map(store.get, names)] == names
        assert [record and record.key for record in map(store.get_by_ref, names)] == names

    def test_save_replaces_the_whole_record(self, store: OrderStore) -> None:
        """A save that expects the stored version changes every field."""
        record = _record(due_at=_NOW)
        store.add(record)
        changed = _next(record, due_at=None, refs=("invoice",), status="paid", body="changed")
        assert store.save(changed, expected_version=1)
        assert store.get(record.key) == changed
        assert store.due(_NOW, 10) == []
        assert store.search("", status="new", limit=10) == []

    def test_save_keeps_refs_that_stay(self, store: OrderStore) -> None:
        """A save that leaves the refs as they are keeps them findable and taken."""
        record = _record(refs=("invoice",))
        store.add(record)
        assert store.save(_next(record, body="changed"), expected_version=1)
        assert store.get_by_ref("invoice") == _next(record, body="changed")
        assert _raises(RefTakenError, lambda: store.add(_record(2, refs=("invoice",))))

    def test_a_stale_save_changes_nothing(self, store: OrderStore) -> None:
        """A save that expects another version than the stored one is refused whole."""
        record = _next(_record(refs=("invoice",)))
        store.add(record)
        assert not store.save(_record(version=2, refs=("stale",), body="stale"), expected_version=1)
        assert not store.save(_record(version=4, refs=("invoice",), body="early"), expected_version=3)
        assert store.get(record.key) == record
        assert store.get_by_ref("stale") is None

    def test_save_adds_nothing(self, store: OrderStore) -> None:
        """There is nothing to save under a key that was never added."""
        assert not store.save(_record(refs=("invoice",)), expected_version=0)
        assert store.get("order:1") is None
        assert store.get_by_ref("invoice") is None

    def test_save_replaces_refs(self, store: OrderStore) -> None:
        """Refs that a save leaves out are free again, and new ones are taken."""
        record = _record(1, refs=("old", "kept"))
        store.add(record)
        changed = _next(record, refs=("kept", "new"))
        assert store.save(changed, expected_version=1)
        assert store.get_by_ref("old") is None
        assert store.get_by_ref("kept") == store.get_by_ref("new") == changed
        store.add(_record(2, refs=("old",)))
        assert _raises(RefTakenError, lambda: store.add(_record(3, refs=("new",))))

    def test_save_takes_no_ref_of_another(self, store: OrderStore) -> None:
        """A save with another record's ref is refused whole."""
        first, second = _record(1, refs=("invoice",)), _record(2, refs=("own",))
        store.add(first)
        store.add(second)
        thief = _next(second, refs=("free", "invoice"), body="thief")
        assert _raises(RefTakenError, lambda: store.save(thief, expected_version=1))
        assert store.get("order:2") == store.get_by_ref("own") == second
        assert store.get_by_ref("invoice") == first
        assert store.get_by_ref("free") is None

    def test_due_gives_the_oldest_first(self, store: OrderStore) -> None:
        """Records are due at their time, not before it, and the longest overdue come first."""
        for number, seconds in enumerate([0, 3, -2, None, -1, 1]):
            due_at = None if seconds is None else _NOW + seconds * _SECOND
            store.add(_record(number, due_at=due_at))
        store.add(_record(9, due_at=_NOW + timedelta(microseconds=1)))
        assert _keys(store.due(_NOW, 10)) == ["order:2", "order:4", "order:0"]
        assert _keys(store.due(_NOW, 2)) == ["order:2", "order:4"]

    def test_search_gives_the_newest_first(self, store: OrderStore) -> None:
        """Records come by creation and, where that is equal, by key, newest first."""
        for number, seconds in [(1, 5), (2, 0), (3, 9), (4, 5), (10, 5)]:
            store.add(_record(number, created_at=_NOW + seconds * _SECOND))
        assert _keys(store.search("order:", limit=10)) == ["order:3", "order:4", "order:10", "order:1", "order:2"]
        assert _keys(store.search("order:", limit=2)) == ["order:3", "order:4"]

    def test_search_takes_the_prefix_literally(self, store: OrderStore) -> None:
        """A prefix matches itself alone: no wildcards, no folding of case."""
        for number, key in enumerate(["a_b:1", "a%b:1", "axb:1", "A_b:1", "xa_b:1", "ä_b:1"]):
            store.add(_record(number, key=key))
        prefixes = ["a_", "a%", "A", "ä_b", "a_b:12", "*"]
        found = [_keys(store.search(prefix, limit=10)) for prefix in prefixes]
        assert found == [["a_b:1"], ["a%b:1"], ["A_b:1"], ["ä_b:1"], [], []]

    def test_search_pages_meet_every_record_once(self, store: OrderStore) -> None:
        """Asking on from the last record of each page gives every record once, equal times included."""
        for number in range(10):
            store.add(_record(number, created_at=_NOW + number // 4 * _SECOND, status="odd" if number % 2 else "even"))
        assert _pages(store, None) == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
        assert _pages(store, "odd") == [9, 7, 5, 3, 1]

    def test_one_of_several_racing_saves_wins(self, store: OrderStore) -> None:
        """Of threads that save what they read of the same version, one is told that it succeeded."""
        store.add(_record(version=0))
        ready = threading.Barrier(_RACERS)

        def race(_: int) -> list[bool]:
            return [_save_together(store, version, ready) for version in range(_ROUNDS)]

        assert [sum(round_) for round_ in zip(*_in_threads(race), strict=True)] == [1] * _ROUNDS

    def test_racing_threads_lose_no_update(self, store: OrderStore) -> None:
        """Every increment of threads that read, compute and save until they succeed is counted."""
        store.add(_record(body="0"))
        _in_threads(lambda _: _count(store, _ROUNDS))
        assert _counted(store) == _RACERS * _ROUNDS

    def test_one_of_several_racing_adds_wins(self, store: OrderStore) -> None:
        """Of threads that add records with the same ref, one succeeds, and the ref is its record's."""
        ready = threading.Barrier(_RACERS)

        def race(number: int) -> list[str]:
            return [_add_together(store, number, round_, ready) for round_ in range(_ROUNDS)]

        for round_, keys in enumerate(zip(*_in_threads(race), strict=True)):
            owner = store.get_by_ref(f"invoice-{round_}")
            assert [key for key in keys if key] == [owner and owner.key]


class DurableOrderStoreContract(OrderStoreContract):
    """What a store that claims durability keeps as well, between processes.

    Override ``open_store`` with a fixture that gives a picklable factory without arguments; each call opens the same
    place again.
    """

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """Give a picklable factory that opens the same store again, empty at first."""
        raise NotImplementedError("override the fixture `open_store`")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> OrderStore:
        """Give an empty store."""
        return open_store()

    def test_it_claims_durability(self, store: OrderStore) -> None:
        """A store under this contract says of itself that it is durable."""
        assert store.is_durable

    def test_a_reopened_store_has_everything(self, store: OrderStore, open_store: OpenStore) -> None:
        """Records, refs and the order of search are there when the store is opened again."""
        records = [_record(number, refs=(f"invoice-{number}",)) for number in (3, 2, 1)]
        for record in records:
            store.add(record)
        reopened = open_store()
        assert reopened.search("", limit=10) == records
        assert reopened.get_by_ref("invoice-2") == records[1]

    def test_racing_stores_lose_no_update(self, store: OrderStore, open_store: OpenStore) -> None:
        """Every increment of threads that each opened the store for themselves is counted."""
        store.add(_record(body="0"))
        ready = threading.Barrier(_RACERS)
        _in_threads(lambda _: _open_and_count(open_store, ready))
        assert _counted(store) == _RACERS * _ROUNDS

    def test_racing_processes_lose_no_update(self, store: OrderStore, open_store: OpenStore) -> None:
        """Every increment of processes that read, compute and save until they succeed is counted."""
        store.add(_record(body="0"))
        _in_processes(_open_and_count, open_store)
        assert _counted(store) == _RACERS * _ROUNDS

    def test_a_killed_process_loses_nothing(self, store: OrderStore, open_store: OpenStore) -> None:
        """What a process was told is saved is there after it was killed, and whole."""
        store.add(_record(version=0, refs=("invoice-0",), body="0"))
        acknowledged = _kill_while_saving(open_store)
        reopened = open_store()
        record = reopened.get("order:1")
        assert record is not None
        assert record.version >= acknowledged
        assert (record.body, record.refs) == (str(record.version), (f"invoice-{record.version}",))
        assert reopened.get_by_ref(record.refs[0]) == record
        assert reopened.save(_next(record), expected_version=record.version)


def _pages(store: OrderStore, status: str | None) -> list[int]:
    numbers: list[int] = []
    page = store.search("order:", status=status, limit=3)
    while page and len(numbers) < 20:
        numbers += [int(record.key.removeprefix("order:")) for record in page]
        page = store.search("order:", status=status, before=page[-1], limit=3)
    return numbers


def _save_together(store: OrderStore, version: int, ready: threading.Barrier) -> bool:
    ready.wait(_PATIENCE_SECONDS)
    return store.save(_record(version=version + 1), expected_version=version)


def _add_together(store: OrderStore, number: int, round_: int, ready: threading.Barrier) -> str:
    record = _record(number, key=f"order:{round_}-{number}", refs=(f"invoice-{round_}",))
    ready.wait(_PATIENCE_SECONDS)
    return "" if _raises(RefTakenError, lambda: store.add(record)) else record.key


def _count(store: OrderStore, times: int) -> None:
    while times:
        record = store.get("order:1")
        assert record is not None
        times -= store.save(_next(record, body=str(int(record.body) + 1)), expected_version=record.version)


def _counted(store: OrderStore) -> int:
    record = store.get("order:1")
    assert record is not None
    return int(record.body)


def _in_threads(race: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(_RACERS) as pool:
        return list(pool.map(race, range(_RACERS), timeout=_PATIENCE_SECONDS))


def _in_processes(task: Callable[[OpenStore, Barrier], None], open_store: OpenStore) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(_RACERS)
    processes = [context.Process(target=task, args=(open_store, ready), daemon=True) for _ in range(_RACERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0] * _RACERS


def _open_and_count(open_store: OpenStore, ready: Barrier | threading.Barrier) -> None:
    store = open_store()
    ready.wait(_PATIENCE_SECONDS)
    _count(store, _ROUNDS)


def _kill_while_saving(open_store: OpenStore) -> int:
    """Return the version that was acknowledged last before the kill."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_save_for_ever, args=(open_store, sender), daemon=True)
    process.start()
    sender.close()
    acknowledged = 0
    with receiver, suppress(EOFError):
        while receiver.poll(_PATIENCE_SECONDS):
            acknowledged = receiver.recv()
            if acknowledged == _KILL_AFTER:
                process.kill()
    process.join(_PATIENCE_SECONDS)
    assert acknowledged >= _KILL_AFTER
    return acknowledged


def _save_for_ever(open_store: OpenStore, sender: Connection) -> None:
    store = open_store()
    while record := store.get("order:1"):
        number = record.version + 1
        store.save(_next(record, refs=(f"invoice-{number}",), body=str(number)), expected_version=record.version)
        sender.send(number)
