"""The SQL store beyond the contract: its statements, its transactions, its connections and its tables."""

import gc
import multiprocessing
import sqlite3
import sys
import traceback
from contextlib import closing, contextmanager

import pytest
import stamina
from msgspec.structs import replace
from other_dialect import OtherDialect
from records import CALLS, FIRST, SECOND
from sqlalchemy import Pool, create_engine, create_mock_engine, event, exc, text
from sqlalchemy.dialects import mysql

from flask_iterapay.errors import (
    ConfigurationError,
    RecordExistsError,
    RefTakenError,
    StoreUnavailableError,
)
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore, metadata
from flask_iterapay.orders.stores.sqlalchemy.schema import NAME


@pytest.fixture
def path(tmp_path):
    """Where the database is."""
    return tmp_path / "orders.sqlite"


@pytest.fixture
def url(path):
    """The database as a URL."""
    return f"sqlite:///{path}"


@pytest.fixture
def engine(url):
    """An engine of the shop's own, which does not wait for locks."""
    engine = create_engine(url, connect_args={"timeout": 0})
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine):
    """A store over the shop's engine, with two records."""
    store = SQLAlchemyStore(engine, create_tables=True)
    store.add(FIRST)
    store.add(SECOND)
    return store


@contextmanager
def listening(target, name, listener):
    """Listen to an event for a while."""
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


@contextmanager
def recorded(engine):
    """Write down the statements that reach the driver."""
    statements = []

    def listen(connection, cursor, statement, parameters, context, executemany):
        statements.append((statement, parameters))

    with listening(engine, "before_cursor_execute", listen):
        yield statements


def verbs(statements):
    """Give the first word of each statement and the table that it is about."""
    return [(sql.split()[0], "refs" if "iterapay_refs" in sql else "records") for sql, _ in statements]


def test_a_save_that_keeps_the_refs_is_one_update(store, engine):
    """The path that nearly every save takes touches one row with one statement, under the write lock."""
    with recorded(engine) as statements:
        assert store.save(replace(FIRST, version=2, body="new"), expected_version=1)
    assert verbs(statements) == [("BEGIN", "records"), ("UPDATE", "records")]
    assert statements[0][0] == "BEGIN IMMEDIATE"
    assert " WHERE " in statements[1][0]


def test_a_save_that_changes_refs_writes_only_what_changed(store, engine):
    """Only refs that went are deleted and only new ones inserted."""
    record = replace(FIRST, version=2, refs=("a", "c"))
    with recorded(engine) as statements:
        assert store.save(record, expected_version=1)
        assert store.save(replace(record, version=3, refs=("c",)), expected_version=2)
    writes = [verb for verb in verbs(statements) if verb[1] == "refs"]
    assert writes == [("SELECT", "refs"), ("INSERT", "refs"), ("SELECT", "refs"), ("DELETE", "refs")]


@pytest.mark.parametrize("name", ["get", "get_by_ref", "due", "search"])
def test_a_read_is_one_select(store, engine, name):
    """A read is a single statement, hence of one moment, and begins no transaction that writes."""
    with recorded(engine) as statements:
        CALLS[name](store)
    assert [verb for verb, _ in verbs(statements)] == ["SELECT"]


@pytest.mark.parametrize(
    "call",
    [
        *(CALLS[name] for name in ("get", "get_by_ref", "due", "search")),
        lambda store: store.search("order:", before=SECOND, limit=10),
        lambda store: store.search("order:", status="new", limit=10),
        lambda store: store.search("order:", status="new", before=SECOND, limit=10),
    ],
)
def test_a_read_uses_an_index_and_sorts_nothing(store, engine, path, call):
    """However many records there are, a read looks at those that it returns."""
    with recorded(engine) as statements:
        call(store)
    [(sql, parameters)] = statements
    with closing(sqlite3.connect(path)) as database:
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert [step for step in plan if "INDEX" not in step or "TEMP" in step] == []


def test_reads_do_not_wait_for_a_writer(url, store, path):
    """While another process writes, reads answer at once from what is committed."""
    own = SQLAlchemyStore(url)
    own.get("order:1")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE iterapay_records SET version = 9")
        assert own.get("order:1") == FIRST


def test_an_engine_of_its_own_makes_sqlite_safe(url, store):
    """From a URL the store keeps a write-ahead log, flushes every commit, and waits for locks."""
    pragmas = []

    def ask(dbapi_connection, connection_record):
        names = ("journal_mode", "synchronous", "busy_timeout")
        pragmas.append([dbapi_connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names])

    own = SQLAlchemyStore(url)
    with listening(Pool, "checkin", ask):
        own.get("order:1")
        own.save(replace(FIRST, version=2), expected_version=1)
    full = 2
    assert pragmas == [["wal", full, 5000]] * 2


def test_a_writer_looks_for_the_lock_until_it_is_free(url, store, path):
    """It does not leave that to SQLite, which would look more and more rarely and let all others pass."""
    looks = []
    own = SQLAlchemyStore(url)

    def look(statement):
        if statement == "BEGIN IMMEDIATE":
            looks.append(statement)
            if len(looks) == 10:
                other.execute("ROLLBACK")

    with listening(Pool, "connect", lambda connection, record: connection.set_trace_callback(look)):
        assert own.get("order:1") == FIRST
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        # Not by trying the whole save again, which would look once each time.
        with stamina.set_testing(True, attempts=1):
            assert own.save(replace(FIRST, version=2), expected_version=1)
    assert len(looks) == 10


def test_a_writer_that_may_not_begin_says_why(url, store):
    """Anything but somebody else's lock is no reason to wait, nor what goes wrong after it."""
    broken = []

    def authorize(action, *rest):
        if action == sqlite3.SQLITE_TRANSACTION:
            broken.append(action)
        return sqlite3.SQLITE_DENY if broken else sqlite3.SQLITE_OK

    own = SQLAlchemyStore(url)
    with listening(Pool, "connect", lambda connection, record: connection.set_authorizer(authorize)):
        assert own.get("order:1") == FIRST
    with pytest.raises(StoreUnavailableError, match="SQLITE_AUTH"):
        own.save(replace(FIRST, version=2), expected_version=1)


@pytest.mark.parametrize("is_shops", [True, False], ids=["shop's engine", "own engine"])
def test_a_writer_whose_connection_was_closed_gets_another(url, engine, store, is_shops):
    """It finds out where it begins, and begins anew."""
    closed = []

    def close(connection, *rest):
        if not closed:
            closed.append(connection)
            connection.close()

    writer = SQLAlchemyStore(engine if is_shops else url)
    assert writer.get("order:1") == FIRST
    with listening(Pool, "checkout", close):
        assert writer.save(replace(FIRST, version=2), expected_version=1)
    assert closed


@pytest.mark.parametrize("dialect", ["postgresql", "mysql", "mariadb"])
def test_other_databases_get_exact_types(dialect):
    """Keys compare by code point, bodies have room, times are integers, and no type rounds."""
    statements = []
    engine = create_mock_engine(
        f"{dialect}://", lambda ddl, parameters=None: statements.append(str(ddl.compile(dialect=engine.dialect)))
    )
    metadata.create_all(engine, checkfirst=False)
    ddl = "\n".join(statements)
    assert ddl.count("BIGINT") == 4
    assert "NUMERIC" not in ddl
    name, long_text = (
        ('VARCHAR(200) COLLATE "C"', "TEXT") if dialect == "postgresql" else ("VARBINARY(800)", "LONGTEXT")
    )
    assert ddl.count(name) == 4
    assert ddl.count(f" {long_text} ") == 2


def test_other_databases_hear_nothing_of_sqlite(path):
    """Elsewhere a write is an ordinary transaction that reads what is committed, and a read is none."""
    engine = create_engine(f"other:///{path}")
    store = SQLAlchemyStore(engine, create_tables=True)
    OtherDialect.levels.clear()
    store.add(FIRST)
    assert OtherDialect.levels[0] == "READ COMMITTED"
    OtherDialect.levels.clear()
    assert store.get("order:1") == FIRST
    assert OtherDialect.levels[0] == "AUTOCOMMIT"
    engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_engines_of_its_own_keep_their_isolation_levels(path):
    """What is lent to a connection has to be taken back, and a connection that breaks then is lost to its pool."""
    OtherDialect.levels.clear()
    store = SQLAlchemyStore(f"other:///{path}", create_tables=True)
    for record in (FIRST, SECOND):
        store.add(record)
        assert store.get(record.key) == record
    assert OtherDialect.levels == ["READ COMMITTED", "AUTOCOMMIT"]


def test_names_are_bytes_on_mysql():
    """Keys and refs go to MySQL and come back as UTF-8."""
    kept = NAME.dialect_impl(mysql.dialect())
    to_database, from_database = kept.bind_processor(mysql.dialect()), kept.result_processor(mysql.dialect(), None)
    assert to_database("order:Ä ") == b"order:\xc3\x84 "
    assert from_database(b"order:\xc3\x84 ") == "order:Ä "
    assert (to_database(None), from_database(None)) == (None, None)


@pytest.mark.parametrize("record", [replace(FIRST, key="order:3"), replace(FIRST, key="order:3", refs=("c", "b"))])
def test_a_refused_add_leaves_nothing(store, engine, record):
    """Record and refs are one transaction."""
    with pytest.raises(RefTakenError) as caught:
        store.add(record)
    assert isinstance(caught.value.__cause__, exc.IntegrityError)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM iterapay_records")).scalar() == 2
        assert connection.execute(text("SELECT count(*) FROM iterapay_refs")).scalar() == 2


def test_a_used_key_is_told_before_a_taken_ref(store):
    """Adding the same record again is about the key, though its refs are taken too."""
    with pytest.raises(RecordExistsError) as caught:
        store.add(FIRST)
    assert isinstance(caught.value.__cause__, exc.IntegrityError)


def test_the_shops_engine_stays_as_it_was(store, engine):
    """The store's transactions leave no setting, listener or open transaction on the shop's engine."""
    with recorded(engine) as statements, engine.begin() as connection:
        assert connection.get_isolation_level() == "SERIALIZABLE"
        driver = connection.connection.dbapi_connection
        assert (driver.isolation_level, driver.in_transaction) == ("", False)
    assert "BEGIN IMMEDIATE" not in [sql for sql, _ in statements]


def test_the_shops_transaction_is_its_own(store, engine, url):
    """What the shop has not committed is neither seen nor committed nor rolled back by the store."""
    SQLAlchemyStore(url).get("order:1")  # leaves the file in WAL mode, where readers and a writer do not collide
    with engine.connect() as connection:
        connection.execute(text("UPDATE iterapay_records SET version = 9"))
        assert store.get("order:1") == FIRST
        connection.rollback()
    assert store.get("order:1") == FIRST


@pytest.mark.parametrize(
    "options", [{"isolation_level": "AUTOCOMMIT"}, {"skip_autocommit_rollback": True}, {}], ids=str
)
def test_a_save_is_atomic_whatever_the_shop_has_set(url, options, store):
    """An engine that commits by itself does not let half a save through."""
    engine = create_engine(url, **options)
    with pytest.raises(RefTakenError):
        SQLAlchemyStore(engine).save(replace(FIRST, version=2, refs=("c", "b")), expected_version=1)
    engine.dispose()
    assert store.get("order:1") == FIRST
    assert store.get_by_ref("c") is None


def test_a_shop_may_begin_transactions_in_a_listener(engine, store):
    """SQLAlchemy's own recipe for SQLite does not collide with the store's."""
    with listening(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN")):
        assert CALLS["save"](store)
        assert store.get("order:1").version == 2


def test_the_shops_engine_outlives_the_store(store, engine):
    """A store that is collected leaves the shop's pooled connections open."""
    pool, idle = engine.pool, engine.pool.checkedin()
    del store
    gc.collect()
    assert idle > 0
    assert (engine.pool, engine.pool.checkedin()) == (pool, idle)


def test_a_collected_store_closes_what_is_its_own(url, store):
    """Connections that the store opened from a URL are closed with it."""
    closed = []
    own = SQLAlchemyStore(url)
    own.get("order:1")
    with listening(Pool, "close", lambda dbapi_connection, record: closed.append(dbapi_connection)):
        del own
        gc.collect()
    assert len(closed) == 1


def test_a_forked_child_opens_connections_of_its_own(url, store):
    """A child shares none of its parent's connections, and the parent keeps them."""
    opened = []
    own = SQLAlchemyStore(url)
    own.get("order:1")

    def count_in_child():
        own.get("order:1")
        sys.exit(len(opened))

    with listening(Pool, "connect", lambda dbapi_connection, record: opened.append(dbapi_connection)):
        child = multiprocessing.get_context("fork").Process(target=count_in_child)
        child.start()
        child.join(60)
        own.get("order:1")
    assert child.exitcode == 1
    assert opened == []


def test_tables_are_made_once(engine, store):
    """Making them again changes nothing and loses nothing."""
    store.create_tables()
    assert store.get("order:1") == FIRST


def test_tables_can_come_from_the_shops_migrations(url, engine):
    """The metadata is all that a store needs."""
    metadata.create_all(engine)
    own = SQLAlchemyStore(url)
    own.add(FIRST)
    assert own.get("order:1") == FIRST


@pytest.mark.parametrize("name", CALLS)
def test_missing_tables_are_explained(url, name):
    """Whoever forgot to make the tables is told the command."""
    with pytest.raises(StoreUnavailableError, match="flask iterapay init-db"):
        CALLS[name](SQLAlchemyStore(url))


@pytest.mark.parametrize("name", ["add", "save"])
def test_a_write_gives_up_on_a_database_that_stays_locked(store, path, name):
    """Behind a writer that never ends a write fails, and writes nothing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with stamina.set_testing(True, attempts=2), pytest.raises(StoreUnavailableError):
            CALLS[name](store)
    assert store.search("", limit=10) == [SECOND, FIRST]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:"])
def test_sqlite_in_memory_is_refused(url):
    """Every connection would be a database of its own."""
    with pytest.raises(ConfigurationError, match="ITERAPAY_DATABASE_URL"):
        SQLAlchemyStore(url)


def test_an_engine_in_memory_is_refused():
    """The same holds for an engine that is handed in."""
    with pytest.raises(ConfigurationError, match="ITERAPAY_DATABASE_URL"):
        SQLAlchemyStore(create_engine("sqlite://"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "canary",
        "canary://shop:canary@db/shop",
        "oracle+nothing://shop:canary@db/shop",
        "postgresql://shop:can/ary@db:canary/shop",
        "postgresql+asyncpg_canary://shop:canary@db/shop",
    ],
)
def test_an_unusable_url_is_not_repeated(url):
    """What is wrong with a URL is told without a word of it, in the traceback too."""
    with pytest.raises(ConfigurationError, match="ITERAPAY_DATABASE_URL") as caught:
        SQLAlchemyStore(url)
    assert "ary" not in "".join(traceback.format_exception(caught.value))


def test_a_missing_driver_is_named():
    """Whoever forgot to install the driver learns its name."""
    with pytest.raises(ConfigurationError, match="No module named 'cx_Oracle'"):
        SQLAlchemyStore("oracle+cx_oracle://shop:canary@db/shop")


def test_repr_has_no_password(tmp_path):
    """A store says which kind of database it uses, and no more."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/canary.sqlite")
    assert repr(store) == "<SQLAlchemyStore sqlite>"
