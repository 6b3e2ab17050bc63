"""Stores that break one promise each, to see that the contract notices."""

import threading
from contextlib import suppress
from datetime import UTC, datetime
from fnmatch import fnmatch
from multiprocessing.synchronize import Barrier

from msgspec.structs import replace

from flask_iterapay.errors import RefTakenError, StoreUnavailableError
from flask_iterapay.orders.stores import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore


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


class Caches(MemoryStore):
    """Answers from what it read first."""

    def __init__(self):
        super().__init__()
        self._read = {}

    def get(self, key):
        return self._read.setdefault(key, super().get(key))


class IndexesLater(MemoryStore):
    """Finds a record under its refs as it was one save before."""

    def __init__(self):
        super().__init__()
        self._before = {}

    def get_by_ref(self, ref):
        record = super().get_by_ref(ref)
        return record and self._before.get(record.key, record)

    def save(self, record, *, expected_version):
        self._before[record.key] = self.get(record.key)
        return super().save(record, expected_version=expected_version)


class DropsKeptRefs(MemoryStore):
    """Drops the refs whenever a save leaves them as they are."""

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        is_same = stored is not None and stored.refs == record.refs
        return super().save(replace(record, refs=()) if is_same else record, expected_version=expected_version)


class InventsAnswers(MemoryStore):
    """Has an answer to every question."""

    def get(self, key):
        return super().get(key) or key


class IgnoresLimits(MemoryStore):
    """Gives everything that is due, however little was asked for."""

    def due(self, now, limit):
        return super().due(now, 1000)


class SearchesWithoutLimit(MemoryStore):
    """Gives everything that it finds, however little was asked for."""

    def search(self, prefix, *, status=None, before=None, limit):
        return super().search(prefix, status=status, before=before, limit=1000)


class SearchesOldestFirst(MemoryStore):
    """Begins with the oldest record."""

    def search(self, prefix, *, status=None, before=None, limit):
        return super().search(prefix, status=status, before=before, limit=1000)[::-1][:limit]


class StartsAThread(MemoryStore):
    """Keeps a thread for work in the background."""

    def add(self, record):
        super().add(record)
        threading.Thread(target=threading.Event().wait, args=(5,), daemon=True).start()


class Forgets(MemoryStore):
    """Claims durability, and has none."""

    is_durable = True


class IsAbsent(MemoryStore):
    """Is not broken: says of a database that is down what is to be said."""

    def _fail(self, *arguments, **named):
        raise StoreUnavailableError("down") from OSError("no route")

    add = get = get_by_ref = save = due = search = _fail


class LeaksErrors(IsAbsent):
    """Lets the error of its driver through."""

    def get(self, key):
        raise OSError("no route")


class AnswersWithoutADatabase(IsAbsent):
    """Takes a database that is down for an empty one."""

    def due(self, now, limit):
        return []


class HidesTheCause(IsAbsent):
    """Says that the database is down, and not why."""

    def save(self, record, *, expected_version):
        raise StoreUnavailableError("down")


class ComparesBeforeItWrites(SQLAlchemyStore):
    """Compares in one transaction and writes in another, wherever it was opened."""

    def __init__(self, url: str, everybody_has_compared: Barrier) -> None:
        super().__init__(url, create_tables=True)
        self._everybody_has_compared = everybody_has_compared

    def save(self, record, *, expected_version):
        stored = self.get(record.key)
        if stored is None or stored.version != expected_version:
            return False
        self._everybody_has_compared.wait(60)
        while not super().save(record, expected_version=self.get(record.key).version):
            pass
        return True


class WritesRefsLater(SQLAlchemyStore):
    """Leaves the new refs of each save to the next one."""

    def save(self, record, *, expected_version):
        refs = (f"invoice-{expected_version}",)
        return super().save(replace(record, refs=refs), expected_version=expected_version)
