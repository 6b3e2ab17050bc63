"""An order store over Redis, written from outside the package: how a shop would make one of its own.

A record is one string. Sorted sets keep what ``due`` and ``search`` ask for in order: Redis breaks ties of a score by
the member's bytes, which is the order of code points. Every write watches the keys that it has compared.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import asdict, replace
from redis import Redis, WatchError

from flask_iterapay.errors import RecordExistsError, RefTakenError
from flask_iterapay.orders.stores import Record

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class RedisStore:
    """An ``OrderStore`` over a client that decodes its answers. How durable it is, the server's settings decide."""

    is_durable = False

    def __init__(self, client: Any) -> None:
        self._redis: Redis = client

    def add(self, record: Record) -> None:
        """Keep a new record."""
        while (is_added := self._write(record, expected_version=None)) is None:
            pass
        if not is_added:
            raise RecordExistsError(record.key)

    def get(self, key: str) -> Record | None:
        """Read by key."""
        return _parse(self._redis.get(f"record:{key}")) if key.isprintable() else None

    def get_by_ref(self, ref: str) -> Record | None:
        """Read the record that a ref belongs to."""
        key = self._redis.get(f"ref:{ref}") if ref.isprintable() else None
        record = self.get(key) if key else None
        return record if record and ref in record.refs else None

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Replace a record if its version still is the expected one."""
        while (is_saved := self._write(record, expected_version=expected_version)) is None:
            pass
        return is_saved

    def due(self, now: datetime, limit: int) -> list[Record]:
        """Read records with ``due_at <= now``, oldest first."""
        records = map(self.get, self._redis.zrangebyscore("due", "-inf", _to_microseconds(now), 0, limit))
        return [record for record in records if record and record.due_at and record.due_at <= now]

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        """Read records whose key begins with ``prefix``, newest first."""
        keys = self._redis.zrange("created", 0, -1, desc=True)
        records = [record for key in keys if key.startswith(prefix) and (record := self.get(key))]
        end = (before.created_at, before.key) if before else (datetime.max.replace(tzinfo=UTC), "")
        found = [record for record in records if (record.created_at, record.key) < end]
        return [record for record in found if status in {None, record.status}][:limit]

    def _write(self, record: Record, *, expected_version: int | None) -> bool | None:
        """Write if the stored version is the expected one; ``None`` if somebody wrote in between."""
        with self._redis.pipeline() as pipe:
            pipe.watch(f"record:{record.key}", *(f"ref:{ref}" for ref in record.refs))
            stored = _parse(pipe.get(f"record:{record.key}"))
            if (stored and stored.version) != expected_version:
                return False
            if any(pipe.get(f"ref:{ref}") not in {None, record.key} for ref in record.refs):
                raise RefTakenError(record.key)
            pipe.multi()
            for ref in stored.refs if stored else ():
                pipe.delete(f"ref:{ref}")
            _put(pipe, record)
            try:
                pipe.execute()
            except WatchError:
                return None
            return True


def _put(pipe: Any, record: Record) -> None:
    for ref in record.refs:
        pipe.set(f"ref:{ref}", record.key)
    pipe.set(f"record:{record.key}", json.dumps(asdict(record), default=datetime.isoformat))
    pipe.zadd("created", {record.key: _to_microseconds(record.created_at)})
    pipe.zrem("due", record.key)
    if record.due_at:
        pipe.zadd("due", {record.key: _to_microseconds(record.due_at)})


def _parse(text: str | None) -> Record | None:
    if text is None:
        return None
    record = Record(**json.loads(text))
    due_at = record.due_at and datetime.fromisoformat(str(record.due_at))
    created_at = datetime.fromisoformat(str(record.created_at))
    return replace(record, due_at=due_at, created_at=created_at, refs=tuple(record.refs))


def _to_microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)
