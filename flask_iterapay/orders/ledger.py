"""Entries in a store: read, compute, save, and read again when somebody else was faster.

This is the one mechanism that makes concurrent changes safe. Everything that changes an entry
goes through ``change`` or ``save``; both compare the version that was read with the one that is stored.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from ..errors import StoreUnavailableError, UnreadableRecordError
from ..values import replace
from .codec import format_entry, parse_entry, prepare
from .entries import Entry
from .stores.base import OrderStore, Record

__all__ = ["Ledger", "find_due"]

AnyEntry = TypeVar("AnyEntry", bound=Entry)

_ATTEMPTS = 50
_PAGE_LIMIT = 100

logger = logging.getLogger("flask_iterapay")


class Ledger(Generic[AnyEntry]):
    """The shop's entries of one kind (``model``), kept as versioned records in any ``OrderStore``.

    ``realm`` begins their keys and names. The sandbox has one of its own, so that play money never pays an order of
    the live shop, whatever database the two share.
    """

    def __init__(self, *, store: OrderStore, model: type[AnyEntry], realm: str = "") -> None:
        self.store = store
        self.model = model
        self._realm = realm
        self._prefix = f"{realm}{model.KIND}:"
        prepare(model)

    def get(self, entry_id: str) -> AnyEntry:
        """Read an entry.

        Raises:
            OrderNotFoundError, LinkNotFoundError: there is none; the model says which.
            StoreError: the store failed.
        """
        entry = self.find(entry_id)
        if entry is None:
            raise self.model.not_found(entry_id)
        return entry

    def find(self, entry_id: str) -> AnyEntry | None:
        """Read an entry, or ``None`` if there is none."""
        return self._own(self.store.get(self._prefix + entry_id))

    def get_by_invoice(self, invoice_id: str) -> AnyEntry | None:
        """Read the entry that owns an invoice, if it is one of ours."""
        return self._own(self.store.get_by_ref(invoice_id))

    def get_by_name(self, name: str) -> AnyEntry | None:
        """Read the entry that alone has a name, if it is one of ours."""
        return self._own(self.store.get_by_ref(self._realm + name))

    def add(self, entry: AnyEntry) -> AnyEntry:
        """Write a new entry.

        Raises:
            RecordExistsError, RefTakenError: its id, or one of its invoices or names, is in use.
        """
        entry = replace(entry, version=1)
        self.store.add(self._record(entry))
        return entry

    def save(self, entry: AnyEntry) -> AnyEntry | None:
        """Write an entry if nobody has since it was read; ``None`` if somebody was faster."""
        saved = replace(entry, version=entry.version + 1)
        return saved if self.store.save(self._record(saved), expected_version=entry.version) else None

    def change(
        self, entry_id: str, compute: Callable[[AnyEntry], AnyEntry], *, known: AnyEntry | None = None
    ) -> AnyEntry:
        """Apply ``compute`` to the newest entry and save the result; compute again on every lost race.

        ``compute`` must be free of side effects. If its result equals the entry nothing is written. What it raises
        passes through. ``known`` is the entry as it was read or saved a moment ago, which spares reading it again; if
        somebody has changed it since, the first attempt is lost.

        Raises:
            StoreUnavailableError: every one of the bounded attempts lost its race.
        """
        entry = known or self.get(entry_id)
        for _ in range(_ATTEMPTS):
            changed = compute(entry)
            if changed == entry:
                return entry
            saved = self.save(changed)
            if saved is not None:
                return saved
            entry = self.get(entry_id)
        raise StoreUnavailableError(
            f"{self.model.KIND} {entry_id!r} changed under each of {_ATTEMPTS} attempts to save it"
        )

    def iterate(self, *, label: str | None = None) -> Iterator[AnyEntry]:
        """Go through the entries, newest first, a page at a time; what cannot be read is logged and left out."""
        before: Record | None = None
        while records := self.store.search(self._prefix, status=label, before=before, limit=_PAGE_LIMIT):
            yield from (entry for record in records if (entry := self.parse_readable(record)))
            before = records[-1]

    def list_newest(self, label: str, *, limit: int, before: AnyEntry | None = None) -> list[AnyEntry]:
        """Read one page of the entries of a label, newest first, after ``before``, the last of the page before."""
        last = None if before is None else self._record(before)
        records = self.store.search(self._prefix, status=label, before=last, limit=limit)
        return [entry for record in records if (entry := self.parse_readable(record))]

    def owns(self, record: Record) -> bool:
        """Whether a record is of this ledger."""
        return record.key.startswith(self._prefix)

    def parse_readable(self, record: Record) -> AnyEntry | None:
        """Read an entry from a record of ours, or log that it cannot be read."""
        try:
            return self._parse(record)
        except UnreadableRecordError:
            # One damaged record must not keep the rest from being finished.
            logger.exception("%s cannot be read and is left alone", record.key)
            return None

    def _own(self, record: Record | None) -> AnyEntry | None:
        return None if record is None or not self.owns(record) else self._parse(record)

    def _parse(self, record: Record) -> AnyEntry:
        try:
            return parse_entry(self.model, record.body, version=record.version)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            raise UnreadableRecordError(f"{record.key}: {error}") from error

    def _record(self, entry: AnyEntry) -> Record:
        return Record(
            key=self._prefix + entry.entry_id,
            version=entry.version,
            due_at=entry.due_at,
            refs=(*entry.invoice_ids, *(self._realm + name for name in entry.names)),
            status=entry.label,
            created_at=entry.created_at,
            body=format_entry(entry),
        )


def find_due(store: OrderStore, ledgers: Sequence[Ledger[Any]], now: datetime, limit: int) -> list[Entry]:
    """Find the entries of these ledgers whose time has come, longest overdue first.

    What cannot be read is logged and left out; neither such records nor those of other ledgers in the same store keep
    an entry from its turn.
    """
    window = limit
    while True:
        records = store.due(now, window)
        owned = [(ledger, record) for record in records for ledger in ledgers if ledger.owns(record)]
        entries = [entry for ledger, record in owned if (entry := ledger.parse_readable(record))]
        if len(entries) >= limit or len(records) < window:
            return entries[:limit]
        window *= 4
