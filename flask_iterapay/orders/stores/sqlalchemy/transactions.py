"""Engines of the store's own, and transactions that are tried again when what stopped them may pass."""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Literal, TypeVar

import stamina
from sqlalchemy import URL, Connection, Engine, Pool, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from ....errors import ConfigurationError, StoreUnavailableError

__all__ = ["begin_to_write", "commit", "has_file", "is_passing", "make_engine", "run", "write_level"]

Result = TypeVar("Result")
Level = Literal["AUTOCOMMIT", "READ COMMITTED", "SERIALIZABLE"]

_LOCK_SECONDS = 5
_LOOK_SECONDS = 0.0005
_LOCKED = ("SQLITE_BUSY", "SQLITE_LOCKED")
# What a new connection is told: on all of them, how long to wait for somebody else's lock.
_SETTINGS = {
    "sqlite": (f"PRAGMA busy_timeout={_LOCK_SECONDS * 1000}", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"),
    "postgresql": ("SET lock_timeout = '5s'",),
    "mysql": ("SET innodb_lock_wait_timeout = 5",),
    "mariadb": ("SET innodb_lock_wait_timeout = 5",),
}
# Serialization failure and deadlock; lock wait, deadlock, and a cluster's veto; busy. Each says that nothing was done.
_UNDONE = {"40001", "40P01", 1205, 1213, 3101, "SQLITE_BUSY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_LOCKED"}
_TABLE_MISSING = {"42P01", 1146}

_call_with_retries = stamina.RetryingCaller(
    attempts=5,
    timeout=timedelta(seconds=10),
    wait_initial=timedelta(milliseconds=20),
    wait_jitter=timedelta(milliseconds=100),
    wait_max=timedelta(milliseconds=500),
)
_own_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_pools_of_the_parent: list[Pool] = []


def run(engine: Engine, work: Callable[[Connection], Result], *, is_passing: Callable[[Exception], bool]) -> Result:
    """Do ``work`` on a connection of its own, and again a few times if what stopped it may pass.

    What ``work`` has not committed when it ends is rolled back.

    Raises:
        StoreUnavailableError: it did not pass, or not in time.
    """

    # A function without arguments: stamina logs the arguments of what it calls again.
    def attempt() -> Result:
        connection = _connect(engine)
        try:
            return work(connection)
        finally:
            # A shop's engine gets its isolation level back here. What work did is committed by now, or rolled back.
            with suppress(engine.dialect.loaded_dbapi.Error):
                connection.close()

    try:
        try:
            return attempt()
        except Exception as error:
            if not is_passing(error):
                raise
        # Not before it is needed: its machinery takes as long as a read.
        return _call_with_retries(is_passing, attempt)
    except SQLAlchemyError as error:
        raise _explain(error) from error


def _connect(engine: Engine) -> Connection:
    """Connect; SQLAlchemy sets the isolation level without wrapping what the driver says of a connection that broke."""
    foreign: type[Exception] = engine.dialect.loaded_dbapi.Error
    try:
        return engine.connect()
    except foreign as error:
        raise OperationalError(None, None, error, connection_invalidated=True) from error


def commit(connection: Connection) -> None:
    """Commit; an error that leaves open whether that took effect is final.

    A second try would meet the success of the first, and report a lost race or a record that exists already.
    """
    try:
        connection.commit()
    except DBAPIError as error:
        if _is_undone(error):
            connection.rollback()
            raise
        connection.invalidate(error)
        raise StoreUnavailableError("the commit was cut off: read the record to know whether it took effect") from error


def begin_to_write(connection: Connection) -> None:
    """Begin; on SQLite with the write lock, since a transaction that began as a reader cannot wait for it."""
    connection.begin()
    if connection.dialect.name != "sqlite":
        return
    if connection.engine in _own_engines:
        _take_turn(connection)
    # A shop's own engine may have begun already, in a listener or in the driver. Then the first write takes the lock.
    elif not _has_begun(connection):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _take_turn(connection: Connection) -> None:
    """Take SQLite's write lock, looking for it all the time.

    SQLite looks ever more rarely, up to ten times a second, and so whoever was unlucky is overtaken by all who come
    later: with several processes the last in a hundred waited thirty times as long as most.
    """
    driver, until = connection.connection.dbapi_connection, monotonic() + _LOCK_SECONDS
    try:
        _try(connection, driver, "PRAGMA busy_timeout=0")
        while _try(connection, driver, "BEGIN IMMEDIATE").startswith(_LOCKED) and monotonic() < until:
            sleep(_LOOK_SECONDS)
        if not _has_begun(connection):
            # Whatever stands in the way, SQLAlchemy words it like any other error.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        _try(connection, driver, f"PRAGMA busy_timeout={_LOCK_SECONDS * 1000}")


def _try(connection: Connection, driver: Any, statement: str) -> str:
    """Run a statement by SQLite's bare driver; return the name of its error, if it has one, and raise none."""
    try:
        driver.execute(statement)
    except connection.dialect.loaded_dbapi.Error as error:
        return getattr(error, "sqlite_errorname", "")
    return ""


def _has_begun(connection: Connection) -> bool:
    driver: Any = connection.connection.dbapi_connection
    try:
        return bool(driver.in_transaction)
    except connection.dialect.loaded_dbapi.Error:
        # A connection that was closed; its next statement says so.
        return False


def is_passing(error: Exception) -> bool:
    """Whether it is worth another try: busy, deadlocked, not serializable, or a connection that broke."""
    if not isinstance(error, DBAPIError) or _is_table_missing(error):
        return False
    return isinstance(error, OperationalError) or error.connection_invalidated or _is_undone(error)


def make_engine(url: str | URL, *, isolation_level: Level | None = None) -> Engine:
    """Make an engine that waits for locks within bounds and leaves a forked child no connections.

    It is for writes unless another level is asked for.

    Raises:
        ConfigurationError: the URL or its driver cannot be used; without a word of the URL.
    """
    try:
        # Set for good: a level that is lent to a connection has to be taken back, and if that fails the pool loses it.
        level = isolation_level or write_level(make_url(url).get_backend_name())
        engine = create_engine(url, hide_parameters=True, isolation_level=level)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error) if isinstance(error, ImportError) else "it is no database URL that SQLAlchemy knows"
        raise ConfigurationError(f"ITERAPAY_DATABASE_URL cannot be used: {reason}") from None
    settings = _SETTINGS.get(engine.dialect.name, ())
    event.listen(engine, "connect", lambda dbapi_connection, record: _set(dbapi_connection, settings))
    _own_engines.add(engine)
    return engine


def write_level(dialect_name: str) -> Level:
    """The isolation level of a write; SQLite knows no weaker one that is safe."""
    return "SERIALIZABLE" if dialect_name == "sqlite" else "READ COMMITTED"


def has_file(engine: Engine) -> bool:
    """Whether a SQLite engine keeps its data where others find it."""
    return ":memory:" not in (engine.url.database or ":memory:") and engine.url.query.get("mode") != "memory"


def _set(dbapi_connection: Any, settings: tuple[str, ...]) -> None:
    cursor = dbapi_connection.cursor()
    for setting in settings:
        cursor.execute(setting)
    cursor.close()
    # PostgreSQL forgets what was set in a transaction that is rolled back.
    dbapi_connection.commit()


def _begin_anew_in_child() -> None:
    """Leave the parent its connections: two processes on one connection corrupt each other's answers."""
    for engine in list(_own_engines):
        # SQLite forbids a child even to close what it inherited, so the old pool must not be collected.
        _pools_of_the_parent.append(engine.pool)
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew_in_child)


def _is_undone(error: DBAPIError) -> bool:
    return not _codes(error).isdisjoint(_UNDONE)


def _is_table_missing(error: DBAPIError) -> bool:
    return not _codes(error).isdisjoint(_TABLE_MISSING) or "no such table" in str(error.orig)


def _codes(error: DBAPIError) -> set[object]:
    """PostgreSQL's drivers name a SQLSTATE, MySQL's begin with a number, and SQLite's has names of its own."""
    first = error.orig.args[:1] if error.orig else ()
    names = (getattr(error.orig, name, None) for name in ("sqlstate", "pgcode", "sqlite_errorname"))
    return {*names, *(number for number in first if isinstance(number, int))}


def _explain(error: SQLAlchemyError) -> StoreUnavailableError:
    if isinstance(error, DBAPIError) and _is_table_missing(error):
        return StoreUnavailableError("the tables are missing: run `flask iterapay init-db`")
    codes = sorted(map(str, filter(None, _codes(error)))) if isinstance(error, DBAPIError) else []
    kind = " ".join([type(error).__name__, *codes])
    return StoreUnavailableError(f"the database did not do what was asked ({kind}): is it there, and the URL right?")
