"""The contract turns red on stores that are broken on purpose, each in one way."""

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatch

import pytest

from flask_iterapay.errors import RefTakenError
from flask_iterapay.orders.stores import MemoryStore
from flask_iterapay.testing import DurableOrderStoreContract, OrderStoreContract

pytest_plugins = ["pytester"]


class SavesBlindly(MemoryStore):
    """Compares with the version that is stored now, whatever the caller expected."""

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        return stored is not None and super().save(record, expected_version=stored.version)


class ReadsThenWrites(MemoryStore):
    """Compares in one step and writes in the next, with time for others in between."""

    def __init__(self):
        super().__init__()
        self._everybody_has_compared = threading.Barrier(4)

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        if stored is None or stored.version != expected_version:
            return False
        self._everybody_has_compared.wait(60)
        while not super().save(record, expected_version=self.get(record.key).version):
            pass
        return True


class LosesUpdates(MemoryStore):
    """Says of every other save that it succeeded, and forgets it."""

    def save(self, record, *, expected_version):
        return record.version % 2 == 0 or super().save(record, expected_version=expected_version)


class InventsRecords(MemoryStore):
    """Makes a record where there is none to save."""

    def save(self, record, *, expected_version):
        if self.get(record.key) is None:
            self.add(record)
        return super().save(record, expected_version=expected_version)


class SharesRefs(MemoryStore):
    """Gives a ref to whoever asks last."""

    def add(self, record):
        with self._lock:
            self._keys_by_ref = {ref: key for ref, key in self._keys_by_ref.items() if ref not in record.refs}
        super().add(record)


class ChecksRefsTooLate(MemoryStore):
    """Writes the record before it finds that a ref is taken."""

    def add(self, record):
        super().add(replace(record, refs=()))
        self.save(record, expected_version=record.version)


class KeepsOldRefs(MemoryStore):
    """Adds new refs on a save, and never frees one."""

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        refs = dict.fromkeys((*stored.refs, *record.refs)) if stored else record.refs
        return super().save(replace(record, refs=tuple(refs)), expected_version=expected_version)


class IgnoresNewRefs(MemoryStore):
    """Leaves the refs of the first write for ever."""

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        return super().save(replace(record, refs=stored.refs if stored else ()), expected_version=expected_version)


class SavesThenReleasesRefs(MemoryStore):
    """Finds the taken ref of a save only after the rest has been written."""

    def save(self, record, *, expected_version):
        try:
            return super().save(record, expected_version=expected_version)
        except RefTakenError:
            super().save(replace(record, refs=()), expected_version=expected_version)
            raise


class Overwrites(MemoryStore):
    """Takes an add under a used key for a save."""

    def add(self, record):
        stored = self.get(record.key)
        if stored is None:
            super().add(record)
        else:
            self.save(record, expected_version=stored.version)


class FoldsCase(MemoryStore):
    """Compares keys as MySQL does unless told otherwise."""

    def get(self, key):
        return next((self._records[other] for other in self._records if other.casefold() == key.casefold()), None)


class ForgetsTheZone(MemoryStore):
    """Gives times back without their zone."""

    def due(self, now, limit):
        return [replace(record, due_at=record.due_at.replace(tzinfo=None)) for record in super().due(now, limit)]


class RoundsTimes(MemoryStore):
    """Keeps no fractions of a second."""

    def add(self, record):
        super().add(replace(record, created_at=record.created_at.replace(microsecond=0)))


class CutsBodies(MemoryStore):
    """Keeps as much as a small column does."""

    def add(self, record):
        super().add(replace(record, body=record.body[:65535]))


class IsDueInAnyOrder(MemoryStore):
    """Gives due records in the order in which they were added."""

    def due(self, now, limit):
        return [record for record in self._records.values() if record.due_at and record.due_at <= now][:limit]


class IsDueTooEarly(MemoryStore):
    """Gives records before their time."""

    def due(self, now, limit):
        return super().due(datetime.max.replace(tzinfo=UTC), limit)


class SearchesWithWildcards(MemoryStore):
    """Takes the prefix for a pattern."""

    def search(self, prefix, *, status=None, before=None, limit):
        found = super().search("", status=status, before=before, limit=1000)
        return [record for record in found if fnmatch(record.key, prefix.replace("%", "*").replace("_", "?") + "*")]


class SearchesFromTheStart(MemoryStore):
    """Gives the first page for every page."""

    def search(self, prefix, *, status=None, before=None, limit):
        return super().search(prefix, status=status, limit=limit)


class SearchesByTimeAlone(MemoryStore):
    """Skips what was created at the same time as the last record of the page before."""

    def search(self, prefix, *, status=None, before=None, limit):
        found = super().search(prefix, status=status, before=before, limit=1000)
        return [record for record in found if before is None or record.created_at < before.created_at][:limit]


class SearchesEveryStatus(MemoryStore):
    """Does not look at the status."""

    def search(self, prefix, *, status=None, before=None, limit):
        return super().search(prefix, before=before, limit=limit)


class ChokesOnStrangeRefs(MemoryStore):
    """Takes any text for a key that exists."""

    def get_by_ref(self, ref):
        return super().get_by_ref(ref if ref.isprintable() else next(iter(self._keys_by_ref)))


class LetsEveryRacerIn(MemoryStore):
    """Looks for the ref in one step and writes in the next."""

    def add(self, record):
        with suppress(RefTakenError):
            super().add(record)


class Forgets(MemoryStore):
    """Claims durability, and has none."""

    is_durable = True


BROKEN = [
    (SavesBlindly, "test_a_stale_save_changes_nothing"),
    (ReadsThenWrites, "test_one_of_several_racing_saves_wins"),
    (LosesUpdates, "test_racing_threads_lose_no_update"),
    (LosesUpdates, "test_save_replaces_the_whole_record"),
    (InventsRecords, "test_save_adds_nothing"),
    (SharesRefs, "test_a_ref_belongs_to_one_record"),
    (ChecksRefsTooLate, "test_a_ref_belongs_to_one_record"),
    (KeepsOldRefs, "test_save_replaces_refs"),
    (IgnoresNewRefs, "test_save_replaces_refs"),
    (SavesThenReleasesRefs, "test_save_takes_no_ref_of_another"),
    (Overwrites, "test_a_key_is_added_once"),
    (FoldsCase, "test_keys_and_refs_are_compared_exactly"),
    (ForgetsTheZone, "test_times_come_back_in_utc"),
    (RoundsTimes, "test_a_record_comes_back_as_it_was"),
    (CutsBodies, "test_a_record_comes_back_as_it_was"),
    (IsDueInAnyOrder, "test_due_gives_the_oldest_first"),
    (IsDueTooEarly, "test_due_gives_the_oldest_first"),
    (SearchesWithWildcards, "test_search_takes_the_prefix_literally"),
    (SearchesFromTheStart, "test_search_pages_meet_every_record_once"),
    (SearchesByTimeAlone, "test_search_pages_meet_every_record_once"),
    (SearchesEveryStatus, "test_search_pages_meet_every_record_once"),
    (ChokesOnStrangeRefs, "test_any_string_may_be_looked_up"),
    (LetsEveryRacerIn, "test_one_of_several_racing_adds_wins"),
]


@pytest.mark.parametrize(("broken", "promise"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_store_fails_the_promise_that_it_breaks(broken, promise):
    """The named test passes on a good store and fails on the broken one."""
    check = getattr(OrderStoreContract(), promise)
    check(MemoryStore())
    with pytest.raises(AssertionError):
        check(broken())


@pytest.mark.parametrize(
    "promise",
    [
        "test_a_reopened_store_has_everything",
        "test_racing_processes_lose_no_update",
        "test_a_killed_process_loses_nothing",
    ],
)
def test_a_store_that_forgets_is_not_durable(promise):
    """A store in memory fails every promise between processes."""
    with pytest.raises(AssertionError):
        getattr(DurableOrderStoreContract(), promise)(Forgets(), MemoryStore)


def test_a_store_must_claim_its_durability():
    """The durable contract refuses a store that says it is none."""
    DurableOrderStoreContract().test_it_claims_durability(Forgets())
    with pytest.raises(AssertionError):
        DurableOrderStoreContract().test_it_claims_durability(MemoryStore())


@pytest.mark.parametrize("contract", [OrderStoreContract, DurableOrderStoreContract])
def test_a_contract_without_a_store_says_what_to_override(contract, pytester):
    """Whoever inherits and forgets the fixture is told its name."""
    pytester.makepyfile(
        f"from flask_iterapay.testing import {contract.__name__}\nclass TestNothing({contract.__name__}): pass\n"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes().keys() == {"errors"}
    result.stdout.fnmatch_lines(["*override the fixture*"])
