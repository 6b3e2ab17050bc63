"""Finishing what nobody finished: entries of every kind whose time has come are read, and their events handed out."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from queue import SimpleQueue
from typing import Any

from ..errors import GatewayError, IteraPayError
from ..values import Struct, replace
from .entries import Clock, Entry
from .ledger import Ledger, find_due
from .models import Order
from .stores.base import OrderStore

__all__ = ["Duty", "ReconcileReport", "Reconciler"]

logger = logging.getLogger("flask_iterapay")

_Reading = tuple[Entry, IteraPayError | None]
"""An entry, and what went wrong when it was read."""


class ReconcileReport(Struct, frozen=True, kw_only=True):
    """What one round of ``reconcile`` did.

    ``orders`` were looked at, and ``links`` counts payment links and their contributions; ``failures`` are reads that
    failed, ``events`` were handed to handlers.
    """

    orders: int = 0
    links: int = 0
    failures: int = 0
    events: int = 0


class Duty(Struct, frozen=True, kw_only=True):
    """What is to be done with the due entries of one ledger.

    ``sync_if_due`` reads the gateway for an entry, unless somebody has since it was found; ``dispatch`` hands out its
    events and returns how many.
    """

    ledger: Ledger[Any]
    sync_if_due: Callable[[str], object]
    dispatch: Callable[[str], int]


class Reconciler:
    """Does every duty, for the entries that are longest overdue first.

    The gateway is read for ``parallel_reads`` of them at once, in threads of the round's own; with 1 there are none.
    Handlers run one at a time, in the caller's thread.
    """

    def __init__(
        self,
        *,
        store: OrderStore,
        duties: Sequence[Duty],
        clock: Clock,
        shuffle: Callable[[list[Entry]], None] = random.shuffle,
        parallel_reads: int = 1,
    ) -> None:
        self._store = store
        self._duties = {duty.ledger.model: duty for duty in duties}
        self._clock = clock
        self._shuffle = shuffle
        self._parallel_reads = parallel_reads

    def find_overdue(self) -> Entry | None:
        """Return the entry that has waited longest for somebody to look at it, or ``None`` if none is due."""
        return next(iter(self._find_due(1)), None)

    def reconcile(
        self, *, limit: int = 100, watch: Callable[[Sequence[Entry]], Iterable[Entry]] = iter
    ) -> ReconcileReport:
        """Finish what nobody finished: read the entries that are due and hand out their events.

        Takes at most ``limit``, longest overdue first. Several may run at once: each finds more than it takes and
        shuffles, so that they do not fight over the head, and claims keep them apart. One entry's failure never stops
        the rest. ``watch`` gets the entries and gives them back one by one, so that a caller can show progress.
        """
        entries = self._find_due(limit * 4)
        self._shuffle(entries)
        entries = entries[:limit]
        report = ReconcileReport()
        with closing(self._read_all(entries)) as readings:
            # In the order in which they were read; what is watched is how many there were.
            for _, (entry, failure) in zip(watch(entries), readings, strict=False):
                report = self._conclude(entry, failure, report)
        return report

    def _find_due(self, limit: int) -> list[Entry]:
        return find_due(self._store, [duty.ledger for duty in self._duties.values()], self._clock(), limit)

    def _read_all(self, entries: Sequence[Entry]) -> Generator[_Reading]:
        """Read each entry; what has not been begun when nobody wants more is left to another round."""
        todo, readings = deque(entries), SimpleQueue[_Reading | BaseException]()

        def read_on() -> None:
            while todo:
                with suppress(IndexError):
                    readings.put(self._read_next(todo))

        threads = min(self._parallel_reads, len(entries))
        is_ahead = threads > 1 and _start(threads, read_on)
        try:
            for _ in entries:
                reading = readings.get() if is_ahead else self._read_next(todo)
                if isinstance(reading, BaseException):
                    raise reading
                yield reading
        finally:
            todo.clear()

    def _read_next(self, todo: deque[Entry]) -> _Reading | BaseException:
        """Read the next entry; ``IndexError`` if there is none. Any other error is returned, to be raised elsewhere."""
        entry = todo.popleft()
        try:
            return entry, self._read(entry)
        except BaseException as error:  # noqa: BLE001  It is raised where the round waits for it.
            return error

    def _read(self, entry: Entry) -> IteraPayError | None:
        """Read the gateway if it is time; return what went wrong."""
        try:
            if entry.due_check_at and entry.due_check_at <= self._clock():
                self._duties[type(entry)].sync_if_due(entry.entry_id)
        except IteraPayError as error:
            logger.warning("%s %r could not be read: %s", entry.KIND, entry.entry_id, error)
            return error
        return None

    def _conclude(self, entry: Entry, failure: IteraPayError | None, report: ReconcileReport) -> ReconcileReport:
        is_order = isinstance(entry, Order)
        report = replace(
            report,
            orders=report.orders + is_order,
            links=report.links + (not is_order),
            failures=report.failures + (failure is not None),
        )
        # A gateway that fails keeps no event from its handlers; a store that fails does.
        if failure and not isinstance(failure, GatewayError):
            return report
        try:
            events = self._duties[type(entry)].dispatch(entry.entry_id)
        except IteraPayError as error:
            logger.warning("the events of %s %r could not be handed out: %s", entry.KIND, entry.entry_id, error)
            return replace(report, failures=report.failures + (failure is None))
        return replace(report, events=report.events + events)


def _start(threads: int, work: Callable[[], None]) -> bool:
    """Start as many threads as can be had, up to so many; False if there is none.

    A process that ends does not wait for them: what they read is under a claim, which ends by itself.
    """
    for number in range(threads):
        try:
            threading.Thread(target=work, daemon=True, name="iterapay-read").start()
        except RuntimeError as error:
            logger.warning("reconcile reads with %d threads: %s", number, error)
            return number > 0
    return True
