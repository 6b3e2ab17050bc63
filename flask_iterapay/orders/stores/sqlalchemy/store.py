"""The store: one transaction for each call, and one ``UPDATE`` for nearly every save."""

import json
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from ....errors import ConfigurationError, RecordExistsError, RefTakenError
from ..base import Record
from . import schema, transactions
from .schema import NAME, NAME_LENGTH, records, refs

__all__ = ["SQLAlchemyStore"]

Result = TypeVar("Result")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ADD = insert(records)
_GET = select(records).where(records.c.key == bindparam("key"))
_GET_BY_REF = select(records).join(refs, refs.c.key == records.c.key).where(refs.c.ref == bindparam("ref"))
_SAVE = update(records).where(records.c.key == bindparam("of_key"), records.c.version == bindparam("expected_version"))
_SAVE_WITH_SAME_REFS = _SAVE.where(records.c.refs == bindparam("same_refs"))
_DUE = (
    select(records)
    .where(records.c.due_at <= bindparam("now"))
    .order_by(records.c.due_at)
    .limit(bindparam("limit", type_=BigInteger))
)
_REFS_OF_KEY = select(refs.c.ref).where(refs.c.key == bindparam("key"))
_ADD_REF = insert(refs)
_FREE_REFS = delete(refs).where(refs.c.ref.in_(bindparam("free", expanding=True)))


class SQLAlchemyStore:
    """An ``OrderStore`` in SQL tables.

    From a URL the store makes engines of its own, one for reads and one for writes, or on SQLite one for both: there in
    WAL mode with ``synchronous=FULL``, everywhere with locks waited for five seconds at most, in a forked child without
    the parent's connections, and closed when the store is collected. An engine that is handed in is the shop's: it is
    never altered, disposed or made safe for forks; the store lays its own isolation level over it, and no more.

    Each call is a transaction of its own, on a connection of its own. With ``create_tables`` the tables are made at
    once, where they are missing.

    Raises:
        ConfigurationError: the URL or its driver cannot be used, or it is SQLite in memory, which threads and
            processes do not share. The URL is never repeated, since it may hold a password.
    """

    is_durable = True

    def __init__(self, url_or_engine: str | Engine, *, create_tables: bool = False) -> None:
        engine = url_or_engine if isinstance(url_or_engine, Engine) else transactions.make_engine(url_or_engine)
        if engine.dialect.name == "sqlite" and not transactions.has_file(engine):
            raise ConfigurationError("ITERAPAY_DATABASE_URL: SQLite needs a file, or every thread has a database alone")
        self._engine = self._reads = self._writes = engine
        if not isinstance(url_or_engine, Engine):
            weakref.finalize(self, engine.dispose)
            if engine.dialect.name != "sqlite":
                # A read that is no transaction is one round trip and not three; SQLite begins none for it anyway.
                self._reads = transactions.make_engine(url_or_engine, isolation_level="AUTOCOMMIT")
                weakref.finalize(self, self._reads.dispose)
        else:
            self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
            # Whatever the shop has set, a write must not be committed statement by statement.
            level = transactions.write_level(engine.dialect.name)
            self._writes = engine.execution_options(isolation_level=level)
        if create_tables:
            self.create_tables()

    def __repr__(self) -> str:
        return f"<SQLAlchemyStore {self._engine.dialect.name}>"

    def create_tables(self) -> None:
        """Make what is missing and record the version. Several processes may do so at once, and again at any time.

        Raises:
            StoreUnavailableError: the database is down or refuses.
        """
        # Who loses the race between looking and making gets an error, and finds everything there the next time.
        self._write(schema.create_tables, is_passing=lambda error: isinstance(error, DBAPIError))

    def add(self, record: Record) -> None:
        """Keep a new record."""
        self._write(lambda connection: _add(connection, record))

    def get(self, key: str) -> Record | None:
        """Read by key."""
        return next(iter(self._read(_GET, key=key)), None) if _is_name(key) else None

    def get_by_ref(self, ref: str) -> Record | None:
        """Read the record that a ref belongs to."""
        return next(iter(self._read(_GET_BY_REF, ref=ref)), None) if _is_name(ref) else None

    def save(self, record: Record, *, expected_version: int) -> bool:
        """Replace a record if its version still is the expected one; mostly a single ``UPDATE``."""
        return self._write(lambda connection: _save(connection, record, expected_version))

    def due(self, now: datetime, limit: int) -> list[Record]:
        """Read records with ``due_at <= now``, oldest first."""
        return self._read(_DUE, now=_to_microseconds(now), limit=limit)

    def search(
        self, prefix: str, *, status: str | None = None, before: Record | None = None, limit: int
    ) -> list[Record]:
        """Read records whose key begins with ``prefix``, newest first."""
        return self._read(_search(prefix, status, before).limit(limit))

    def check_schema(self) -> list[str]:
        """Compare the tables with what this release needs; return each problem as a sentence for a person. Reads only.

        Raises:
            StoreUnavailableError: the database is down or refuses.
        """
        return transactions.run(self._reads, schema.find_problems, is_passing=transactions.is_passing)

    def _read(self, statement: Select[Any], **parameters: object) -> list[Record]:
        def read(connection: Connection) -> list[Record]:
            return [_to_record(row) for row in connection.execute(statement, parameters)]

        return transactions.run(self._reads, read, is_passing=transactions.is_passing)

    def _write(
        self, work: Callable[[Connection], Result], *, is_passing: Callable[[Exception], bool] = transactions.is_passing
    ) -> Result:
        def write(connection: Connection) -> Result:
            transactions.begin_to_write(connection)
            result = work(connection)
            transactions.commit(connection)
            return result

        return transactions.run(self._writes, write, is_passing=is_passing)


def _add(connection: Connection, record: Record) -> None:
    try:
        connection.execute(_ADD, _to_row(record))
    except IntegrityError as error:
        raise RecordExistsError(f"there is a record under {record.key!r}") from error
    _add_refs(connection, record, record.refs)


def _save(connection: Connection, record: Record, expected_version: int) -> bool:
    row = {**_to_row(record), "of_key": record.key, "expected_version": expected_version}
    if connection.execute(_SAVE_WITH_SAME_REFS, {**row, "same_refs": row["refs"]}).rowcount:
        return True
    if not connection.execute(_SAVE, row).rowcount:
        return False
    stored = set(connection.scalars(_REFS_OF_KEY, {"key": record.key}))
    if free := stored.difference(record.refs):
        connection.execute(_FREE_REFS, {"free": sorted(free)})
    _add_refs(connection, record, set(record.refs) - stored)
    return True


def _add_refs(connection: Connection, record: Record, refs: Iterable[str]) -> None:
    rows = [{"ref": ref, "key": record.key} for ref in sorted(set(refs))]
    try:
        if rows:
            connection.execute(_ADD_REF, rows)
    except IntegrityError as error:
        raise RefTakenError(f"a ref of {record.key!r} belongs to another record") from error


def _search(prefix: str, status: str | None, before: Record | None) -> Select[Any]:
    key, created_at = records.c.key, records.c.created_at
    # Neither LIKE nor a range: the one ignores case on SQLite, the other lures planners away from the right index.
    wanted = bindparam("prefix", prefix, type_=NAME)
    statement = select(records).where(func.substr(key, 1, func.length(wanted), type_=NAME) == wanted)
    if status is not None:
        statement = statement.where(records.c.status == status)
    if before is not None:
        at = _to_microseconds(before.created_at)
        # Spelled out, since MySQL uses no index for a comparison of rows.
        statement = statement.where(created_at <= at, or_(created_at < at, and_(created_at == at, key < before.key)))
    return statement.order_by(created_at.desc(), key.desc())


def _is_name(text: str) -> bool:
    """Whether it could be a key or a ref; a stranger's may hold what databases and drivers choke on."""
    return 0 < len(text) <= NAME_LENGTH and text.isprintable()


def _to_row(record: Record) -> dict[str, object]:
    return {
        "key": record.key,
        "version": record.version,
        "due_at": None if record.due_at is None else _to_microseconds(record.due_at),
        "refs": json.dumps(record.refs),
        "status": record.status,
        "created_at": _to_microseconds(record.created_at),
        "body": record.body,
    }


def _to_record(row: Row[Any]) -> Record:
    return Record(
        key=row.key,
        version=row.version,
        due_at=None if row.due_at is None else _from_microseconds(row.due_at),
        refs=tuple(json.loads(row.refs)),
        status=row.status,
        created_at=_from_microseconds(row.created_at),
        body=row.body,
    )


def _to_microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _from_microseconds(count: int) -> datetime:
    return _EPOCH + timedelta(microseconds=count)
