"""Records in the memory of one process: for tests and first steps, gone when the process ends."""

import threading
from datetime import datetime

from ...errors import RecordExistsError, RefTakenError
from .base import Record

__all__ = ["MemoryStore"]


class MemoryStore:
    """An ``OrderStore`` in a dict behind one lock."""

    is_durable = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._keys_by_ref: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Keep a new record."""
        with self._lock:
            if record.key in self._records:
                raise RecordExistsError(f"there is a record under {record.key!r}")
            self._put(record)

    def get(self, key: str) -> Record | None:
        """Read by key."""
        with self._lock:
            return self._records.get(key)

    def get_by_ref(self, ref: str) -> Record | None:
        """Read the record that a ref belongs to."""
        with self._lock:
            key = self._keys_by_ref.get(ref)
            return None if key is None else self._records[key]

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Replace a record if its version still is the expected one."""
        with self._lock:
            stored = self._records.get(record.key)
            if stored is None or stored.version != expected_version:
                return False
            self._put(record)
            return True

    def due(self, now: datetime, limit: int) -> list[Record]:
        """Read records with ``due_at <= now``, oldest first."""
        with self._lock:
            times = [(record.due_at, record.key) for record in self._records.values() if record.due_at is not None]
            return [self._records[key] for due_at, key in sorted(times) if due_at <= now][:limit]

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        """Read records whose key begins with ``prefix``, newest first."""
        with self._lock:
            found = [
                record
                for record in self._records.values()
                if record.key.startswith(prefix)
                and (status is None or record.status == status)
                and (before is None or _position(record) < _position(before))
            ]
        return sorted(found, key=_position, reverse=True)[:limit]

    def _put(self, record: Record) -> None:
        if any(self._keys_by_ref.get(ref, record.key) != record.key for ref in record.refs):
            raise RefTakenError(f"a ref of {record.key!r} belongs to another record")
        stored = self._records.get(record.key)
        for ref in stored.refs if stored else ():
            self._keys_by_ref.pop(ref, None)
        self._keys_by_ref |= dict.fromkeys(record.refs, record.key)
        self._records[record.key] = record


def _position(record: Record) -> tuple[datetime, str]:
    return record.created_at, record.key
