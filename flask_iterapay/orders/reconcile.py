"""Finishing what nobody finished: entries of every kind whose time has come are read, and their events handed out."""

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import GatewayError, IteraPayError
from .entries import Clock, Entry
from .ledger import Ledger, find_due
from .models import Order
from .stores.base import OrderStore

__all__ = ["Duty", "ReconcileReport", "Reconciler"]

logger = logging.getLogger("flask_iterapay")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What one round of ``reconcile`` did.

    ``orders`` were looked at, and ``links`` counts payment links and their contributions; ``failures`` are reads that
    failed, ``events`` were handed to handlers.
    """

    orders: int = 0
    links: int = 0
    failures: int = 0
    events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What is to be done with the due entries of one ledger.

    ``sync_if_due`` reads the gateway for an entry, unless somebody has since it was found; ``dispatch`` hands out its
    events and returns how many.
    """

    ledger: Ledger[Any]
    sync_if_due: Callable[[str], object]
    dispatch: Callable[[str], int]


class Reconciler:
    """Does every duty, for the entries that are longest overdue first."""

    def __init__(
        self,
        *,
        store: OrderStore,
        duties: Sequence[Duty],
        clock: Clock,
        shuffle: Callable[[list[Entry]], None] = random.shuffle,
    ) -> None:
        self._store = store
        self._duties = {duty.ledger.model: duty for duty in duties}
        self._clock = clock
        self._shuffle = shuffle

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
        report = ReconcileReport()
        for entry in watch(entries[:limit]):
            report = self._attend(entry, report)
        return report

    def _find_due(self, limit: int) -> list[Entry]:
        return find_due(self._store, [duty.ledger for duty in self._duties.values()], self._clock(), limit)

    def _attend(self, entry: Entry, report: ReconcileReport) -> ReconcileReport:
        is_order = isinstance(entry, Order)
        report = replace(report, orders=report.orders + is_order, links=report.links + (not is_order))
        duty = self._duties[type(entry)]
        try:
            is_read = self._read_if_due(entry, duty)
            events = duty.dispatch(entry.entry_id)
        except IteraPayError as error:
            logger.warning("%s %r could not be finished: %s", entry.KIND, entry.entry_id, error)
            return replace(report, failures=report.failures + 1)
        return replace(report, events=report.events + events, failures=report.failures + (not is_read))

    def _read_if_due(self, entry: Entry, duty: Duty) -> bool:
        """Read the gateway if it is time; False if it failed, which keeps no event from its handlers."""
        try:
            if entry.due_check_at and entry.due_check_at <= self._clock():
                duty.sync_if_due(entry.entry_id)
        except GatewayError as error:
            logger.warning("%s %r could not be read: %s", entry.KIND, entry.entry_id, error)
            return False
        return True
