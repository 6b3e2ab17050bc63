"""Records in an SQL database, through SQLAlchemy Core: SQLite, PostgreSQL, MySQL and MariaDB.

``metadata`` holds the two tables; a shop adds it to what its migrations compare with. Times are integers (microseconds
since 1970, UTC) and refs a JSON list, so that no database rounds, shifts or reformats what was written. The table
``iterapay_refs`` repeats the refs, one row each, for uniqueness and look-up.
"""

import json
import os
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import stamina
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Engine,
    Index,
    MetaData,
    Pool,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeDecorator

from ...errors import ConfigurationError, RecordExistsError, RefTakenError, StoreUnavailableError
from .base import Record

__all__ = ["SQLAlchemyStore", "metadata"]

Result = TypeVar("Result")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME_LENGTH = 200
_PRAGMAS = ("busy_timeout=5000", "journal_mode=WAL", "synchronous=FULL")

_call_with_retries = stamina.RetryingCaller(attempts=6, timeout=15, wait_initial=0.02, wait_jitter=0.1, wait_max=0.5)
_own_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_pools_of_the_parent: list[Pool] = []


class _Utf8(TypeDecorator[str]):
    """Text kept as bytes: no collation that MySQL and MariaDB share tells trailing blanks apart."""

    impl = mysql.VARBINARY
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.decode()


# On every database these compare and sort by code point, as Python does.
_NAME = (
    String(_NAME_LENGTH)
    .with_variant(String(_NAME_LENGTH, collation="C"), "postgresql")
    .with_variant(_Utf8(4 * _NAME_LENGTH), "mysql", "mariadb")
)
_LONG_TEXT = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")

metadata = MetaData()

_records = Table(
    "iterapay_records",
    metadata,
    Column("key", _NAME, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("refs", _LONG_TEXT, nullable=False),
    Column("status", _NAME, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("body", _LONG_TEXT, nullable=False),
    Index("iterapay_records_due_at", "due_at"),
    Index("iterapay_records_created_at", "created_at", "key"),
    Index("iterapay_records_status", "status", "created_at", "key"),
)
_refs = Table(
    "iterapay_refs",
    metadata,
    Column("ref", _NAME, primary_key=True),
    Column("key", _NAME, nullable=False),
    Index("iterapay_refs_key", "key"),
)

_ADD = insert(_records)
_GET = select(_records).where(_records.c.key == bindparam("key"))
_GET_BY_REF = select(_records).join(_refs, _refs.c.key == _records.c.key).where(_refs.c.ref == bindparam("ref"))
_SAVE = update(_records).where(
    _records.c.key == bindparam("of_key"), _records.c.version == bindparam("expected_version")
)
_SAVE_WITH_SAME_REFS = _SAVE.where(_records.c.refs == bindparam("same_refs"))
_DUE = (
    select(_records)
    .where(_records.c.due_at <= bindparam("now"))
    .order_by(_records.c.due_at)
    .limit(bindparam("limit", type_=BigInteger))
)
_REFS_OF_KEY = select(_refs.c.ref).where(_refs.c.key == bindparam("key"))
_ADD_REF = insert(_refs)
_FREE_REFS = delete(_refs).where(_refs.c.ref.in_(bindparam("free", expanding=True)))


class SQLAlchemyStore:
    """An ``OrderStore`` in two tables.

    From a URL the store makes an engine of its own: on SQLite in WAL mode with ``synchronous=FULL``, in a forked child
    without the parent's connections, and closed when the store is collected. An engine that is handed in is the shop's:
    it is never altered, disposed or made safe for forks; the store lays its own isolation level over it, and no more.

    Each call is a transaction of its own, on a connection of its own. With ``create_tables`` the tables are made at
    once, where they are missing.

    Raises:
        ConfigurationError: the URL or its driver cannot be used, or it is SQLite in memory, which threads and
            processes do not share. The URL is never repeated, since it may hold a password.
    """

    is_durable = True

    def __init__(self, url_or_engine: str | Engine, *, create_tables: bool = False) -> None:
        engine = url_or_engine if isinstance(url_or_engine, Engine) else _make_engine(url_or_engine)
        if engine.dialect.name == "sqlite" and not _has_file(engine):
            raise ConfigurationError("ITERAPAY_DATABASE_URL: SQLite needs a file, or every thread has a database alone")
        if engine is not url_or_engine:
            weakref.finalize(self, engine.dispose)
        self._engine = engine
        self._reads = engine.execution_options(isolation_level="AUTOCOMMIT")
        # Whatever the shop has set, a write must not be committed statement by statement.
        level = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "READ COMMITTED"
        self._writes = engine.execution_options(isolation_level=level)
        if create_tables:
            self.create_tables()

    def __repr__(self) -> str:
        return f"<SQLAlchemyStore {self._engine.dialect.name}>"

    def create_tables(self) -> None:
        """Make the tables and indexes where they are missing. Several processes may do so at once.

        Raises:
            StoreUnavailableError: the database is down or refuses.
        """
        # Who loses the race between looking and making gets an error, and finds everything there the next time.
        self._write(metadata.create_all, is_passing=lambda error: isinstance(error, DBAPIError))

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

    def _read(self, statement: Select[Any], **parameters: object) -> list[Record]:
        def read(connection: Connection) -> list[Record]:
            return [_to_record(row) for row in connection.execute(statement, parameters)]

        return _transact(self._reads, read, is_passing=_is_passing)

    def _write(
        self, work: Callable[[Connection], Result], *, is_passing: Callable[[Exception], bool] | None = None
    ) -> Result:
        def write(connection: Connection) -> Result:
            _take_write_lock(connection)
            return work(connection)

        return _transact(self._writes, write, is_passing=is_passing or _is_passing)


def _transact(
    engine: Engine, work: Callable[[Connection], Result], *, is_passing: Callable[[Exception], bool]
) -> Result:
    """Do ``work`` in one transaction, and again a few times if what stopped it may pass."""

    # A function without arguments: stamina logs the arguments of what it calls again.
    def transact() -> Result:
        with engine.begin() as connection:
            return work(connection)

    try:
        return _call_with_retries(is_passing, transact)
    except SQLAlchemyError as error:
        raise _explain(error) from error


def _take_write_lock(connection: Connection) -> None:
    """Begin with SQLite's write lock, since a transaction that began as a reader cannot wait for it."""
    if connection.dialect.name != "sqlite":
        return
    driver: Any = connection.connection.dbapi_connection
    # A shop's own engine may have begun already, in a listener or in the driver. Then the first write takes the lock.
    if not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_engine(url: str) -> Engine:
    try:
        engine = create_engine(url, hide_parameters=True)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error) if isinstance(error, ImportError) else "it is no database URL that SQLAlchemy knows"
        raise ConfigurationError(f"ITERAPAY_DATABASE_URL cannot be used: {reason}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
    _own_engines.add(engine)
    return engine


def _set_pragmas(dbapi_connection: Any, connection_record: object) -> None:
    for pragma in _PRAGMAS:
        dbapi_connection.execute(f"PRAGMA {pragma}")


def _has_file(engine: Engine) -> bool:
    return ":memory:" not in (engine.url.database or ":memory:") and engine.url.query.get("mode") != "memory"


def _begin_anew_in_child() -> None:
    """Leave the parent its connections: two processes on one connection corrupt each other's answers."""
    for engine in list(_own_engines):
        # SQLite forbids a child even to close what it inherited, so the old pool must not be collected.
        _pools_of_the_parent.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)


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
    key, created_at = _records.c.key, _records.c.created_at
    # Neither LIKE nor a range: the one ignores case on SQLite, the other lures planners away from the right index.
    wanted = bindparam("prefix", prefix, type_=_NAME)
    statement = select(_records).where(func.substr(key, 1, func.length(wanted), type_=_NAME) == wanted)
    if status is not None:
        statement = statement.where(_records.c.status == status)
    if before is not None:
        at = _to_microseconds(before.created_at)
        # Spelled out, since MySQL uses no index for a comparison of rows.
        statement = statement.where(created_at <= at, or_(created_at < at, and_(created_at == at, key < before.key)))
    return statement.order_by(created_at.desc(), key.desc())


def _is_name(text: str) -> bool:
    """Whether it could be a key or a ref; a stranger's may hold what databases and drivers choke on."""
    return 0 < len(text) <= _NAME_LENGTH and text.isprintable()


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


def _is_passing(error: Exception) -> bool:
    """Whether it is worth another try: busy, deadlocked, not serializable, or a connection that broke."""
    if not isinstance(error, DBAPIError) or _is_table_missing(error):
        return False
    return isinstance(error, OperationalError) or error.connection_invalidated


def _is_table_missing(error: DBAPIError) -> bool:
    """PostgreSQL says so with a SQLSTATE, MySQL with a number, and SQLite in words alone."""
    codes = {getattr(error.orig, "sqlstate", None), *error.orig.args[:1]} if error.orig else set()
    return not codes.isdisjoint({"42P01", 1146}) or "no such table" in str(error.orig)


def _explain(error: SQLAlchemyError) -> StoreUnavailableError:
    if isinstance(error, DBAPIError) and _is_table_missing(error):
        return StoreUnavailableError("the tables are missing: run `flask iterapay init-db`")
    return StoreUnavailableError(f"the database did not do what was asked ({type(error).__name__})")
