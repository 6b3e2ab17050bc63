"""Durable stores with a bug put in, to show that the harnesses over whole shops turn red."""

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from msgspec.structs import replace
from records import read_entry, with_entry

from flask_iterapay.orders.entries import Event, EventState
from flask_iterapay.orders.stores.base import OrderStore, Record

_PATIENCE_SECONDS = 15


class PassesOn:
    """A store that leaves everything to another; what a subclass overrides is its bug."""

    is_durable = True

    def __init__(self, store: OrderStore) -> None:
        self.store = store

    def add(self, record: Record) -> None:
        self.store.add(record)

    def get(self, key: str) -> Record | None:
        return self.store.get(key)

    def get_by_ref(self, ref: str) -> Record | None:
        return self.store.get_by_ref(ref)

    def save(self, record: Record, *, expected_version: int) -> bool:
        return self.store.save(record, expected_version=expected_version)

    def due(self, now: datetime, limit: int) -> list[Record]:
        return self.store.due(now, limit)

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        return self.store.search(prefix, status=status, before=before, limit=limit)


class ForgetsEvents(PassesOn):
    """Calls the handler straight after the save, and stores the events as done: the effect after the commit."""

    def __init__(self, store: OrderStore, *, tell: Callable[[Event], object]) -> None:
        super().__init__(store)
        self._tell = tell

    def add(self, record: Record) -> None:
        forgetful, news = _forget(record)
        self.store.add(forgetful)
        self._tell_all(news)

    def save(self, record: Record, *, expected_version: int) -> bool:
        forgetful, news = _forget(record)
        is_saved = self.store.save(forgetful, expected_version=expected_version)
        self._tell_all(news if is_saved else [])
        return is_saved

    def _tell_all(self, news: list[Event]) -> None:
        for event in news:
            self._tell(event)


def _forget(record: Record) -> tuple[Record, list[Event]]:
    """The record with all of its events done, and those that were not."""
    entry = read_entry(record)
    news = [event for event in entry.events if event.state is EventState.OPEN]
    for event in news:
        entry = entry.with_event(replace(event, state=EventState.DONE, next_attempt_at=None))
    return with_entry(record, entry), news


class NeverDue(PassesOn):
    """Forgets when anything must be looked at again."""

    def add(self, record: Record) -> None:
        self.store.add(replace(record, due_at=None))

    def save(self, record: Record, *, expected_version: int) -> bool:
        return self.store.save(replace(record, due_at=None), expected_version=expected_version)


class ReadsThenWrites(PassesOn):
    """Compares the version in one step and writes in the next.

    Two racers that compared the same version wait for each other in between, in whichever processes they are, once
    the key's folder in ``meetings`` is there: what a schedule may do once in a thousand times happens every time.
    """

    def __init__(self, store: OrderStore, *, meetings: Path) -> None:
        super().__init__(store)
        self._meetings = meetings

    def save(self, record: Record, *, expected_version: int) -> bool:
        stored = self.store.get(record.key)
        if stored is None or stored.version != expected_version:
            return False
        if (folder := find_meeting(self._meetings, record.key)).is_dir():
            meet(folder / str(expected_version))
        while not self.store.save(record, expected_version=stored.version):
            stored = self.store.get(record.key)
            assert stored
        return True


def find_meeting(meetings: Path, key: str) -> Path:
    """Where the racers for a record meet."""
    return meetings / quote(key, safe="")


def meet(place: Path) -> None:
    """Return once somebody else is here too, or after a while. Who comes first waits for a word of who comes next."""
    waiting = place.with_name(f"{place.name} {os.getpid()} {threading.get_ident()}")
    os.mkfifo(waiting)
    # Opened before it can be found, so that the word is not lost.
    with os.fdopen(os.open(waiting, os.O_RDONLY | os.O_NONBLOCK), "rb") as ear:
        try:
            os.link(waiting, place)
        except FileExistsError:
            _say_here(place)
        else:
            select.select([ear], [], [], _PATIENCE_SECONDS)


def _say_here(place: Path) -> None:
    # Nobody listens any more where the first has lost patience.
    with suppress(OSError), os.fdopen(os.open(place, os.O_WRONLY | os.O_NONBLOCK), "wb") as mouth:
        mouth.write(b"here")
