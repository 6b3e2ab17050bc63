"""What a store keeps and what it promises. It understands nothing of money."""

from datetime import datetime
from typing import Protocol

from ...values import Struct

__all__ = ["OrderStore", "Record"]


class Record(Struct, frozen=True, kw_only=True):
    """One versioned record.

    ``key`` (``"order:1042"``) and each of ``refs`` (invoice ids) are 1 to 200 printable characters. Times are aware
    and UTC; ``created_at`` never changes. ``status`` is up to 200 characters, and ``body`` text of any length that the
    store does not look into; neither holds NUL or lone surrogates, which not every database takes.
    """

    key: str
    version: int
    due_at: datetime | None
    refs: tuple[str, ...]
    status: str
    created_at: datetime
    body: str


class OrderStore(Protocol):
    """Keeps records, and makes compare-and-set the one way to change them.

    1. *Atomic.* ``add`` and ``save`` take effect as a whole, with every field and every ref, or not at all.
    2. *Compare-and-set.* ``save`` replaces the record only if the stored version is ``expected_version`` in the very
       step that writes, and stores ``record.version``, which the caller sets to ``expected_version + 1``. Of several
       saves that expect the same version exactly one answers True.
    3. *Unique.* A key names one record, and a ref belongs to one record; a ref that ``save`` leaves out is free again.
       Both are compared exactly: case, accents and trailing blanks count.
    4. *Current.* A read that begins after a write has returned sees that write, from whichever thread or process.
    5. *Faithful.* Text comes back character by character, times to the microsecond.
    6. *Ordered.* ``due`` and ``search`` answer in the order that they state, and never more than ``limit`` records.
    7. *Thread-safe*, without any app context; and safe between processes if ``is_durable``, when what was written also
       outlives them.
    8. *Patient, but not for ever.* A busy or absent database is tried again a few times, then
       ``StoreUnavailableError`` is raised, from the error behind it. Whether the write took effect is then unknown
       until the record is read. No other foreign error escapes.
    9. *Alone.* A store starts no threads and touches nobody else's session or transaction.

    ``flask_iterapay.testing.OrderStoreContract`` checks all this.
    """

    @property
    def is_durable(self) -> bool:
        """Whether records outlive the process and are shared with others."""
        ...

    def add(self, record: Record) -> None:
        """Keep a new record.

        Raises:
            RecordExistsError: there is a record under this key.
            RefTakenError: one of the refs belongs to another record.
            StoreUnavailableError: see clause 8.
        """
        ...

    def get(self, key: str) -> Record | None:
        """Read by key. Any string may be asked for.

        Raises:
            StoreUnavailableError: see clause 8.
        """
        ...

    def get_by_ref(self, ref: str) -> Record | None:
        """Read the record that a ref belongs to. Any string may be asked for: refs come in with webhooks.

        Raises:
            StoreUnavailableError: see clause 8.
        """
        ...

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Replace a record as clause 2 says; False if the stored version is another, or there is no such record.

        Raises:
            RefTakenError: one of the refs belongs to another record.
            StoreUnavailableError: see clause 8.
        """
        ...

    def due(self, now: datetime, limit: int) -> list[Record]:
        """Read records with ``due_at <= now``, oldest first.

        Raises:
            StoreUnavailableError: see clause 8.
        """
        ...

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        """Read records whose key begins with ``prefix``, newest first: by ``created_at``, then ``key``, descending.

        ``before`` is the last record of the page before; only its ``created_at`` and ``key`` count, and it need not
        be in the store any more. Keys are ordered by code point.

        Raises:
            StoreUnavailableError: see clause 8.
        """
        ...
