"""What the shipped stores do alike beyond the contract: details that mutation testing found without a test."""

import gc
import multiprocessing
import sqlite3
import traceback
import weakref
from contextlib import closing
from datetime import timedelta

import pytest
from msgspec.structs import replace
from records import FIRST, NOW, SECOND
from sqlalchemy import NullPool, Pool, create_engine, event, exc

from flask_iterapay.errors import ConfigurationError, RecordExistsError, RefTakenError, StoreUnavailableError
from flask_iterapay.orders.stores import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore, transactions


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    """Each store, with two records."""
    path = tmp_path / "orders.sqlite"
    store = MemoryStore() if request.param == "memory" else SQLAlchemyStore(f"sqlite:///{path}", create_tables=True)
    store.add(FIRST)
    store.add(SECOND)
    return store


def test_a_refused_write_names_its_record(store):
    """Whoever reads the log of a shop with thousands of orders learns which of them it was."""
    with pytest.raises(RecordExistsError, match="order:1"):
        store.add(FIRST)
    with pytest.raises(RefTakenError, match="order:1"):
        store.save(replace(FIRST, version=2, refs=SECOND.refs), expected_version=1)


def test_a_ref_that_is_named_twice_is_one_ref(store):
    """It is taken once, comes back as it was written, and is free again once."""
    twice = replace(FIRST, key="order:3", refs=("c", "c"))
    store.add(twice)
    assert store.get_by_ref("c") == twice
    assert store.save(replace(twice, version=2, refs=("d", "d")), expected_version=1)
    assert store.get_by_ref("c") is None
    assert store.get_by_ref("d") is not None


def test_the_longest_names_are_found(store):
    """A key and a ref may have 200 characters."""
    longest = replace(FIRST, key="k" * 200, refs=("r" * 200,))
    store.add(longest)
    assert store.get(longest.key) == store.get_by_ref("r" * 200) == longest


def test_durability_is_a_plain_yes_or_no(store):
    """A shop outside debug and testing is refused the store that says no."""
    assert store.is_durable is isinstance(store, SQLAlchemyStore)


@pytest.fixture
def path(tmp_path):
    """A database file with tables."""
    path = tmp_path / "kept.sqlite"
    SQLAlchemyStore(f"sqlite:///{path}", create_tables=True)
    return path


def test_times_are_kept_as_microseconds_since_1970(path):
    """A release that counted from another day would misread every order that an older one has kept."""
    SQLAlchemyStore(f"sqlite:///{path}").add(replace(FIRST, due_at=NOW + timedelta(microseconds=1)))
    with closing(sqlite3.connect(path)) as database:
        [kept] = database.execute("SELECT created_at, due_at FROM iterapay_records")
    assert kept == (1769817600000000, 1769817600000001)


def test_the_order_of_answers_does_not_come_from_an_index(path):
    """A database that is free to choose its way sorts all the same: the oldest due first, the newest created first."""
    with closing(sqlite3.connect(path)) as database:
        for name in ("due_at", "created_at", "status"):
            database.execute(f"DROP INDEX iterapay_records_{name}")
    store = SQLAlchemyStore(f"sqlite:///{path}")
    for key, seconds in [("b", 2), ("c", 3), ("a", 1)]:
        store.add(replace(FIRST, key=key, refs=(), due_at=NOW - timedelta(seconds=seconds)))
    assert [record.key for record in store.due(NOW, 10)] == ["c", "b", "a"]
    assert [record.key for record in store.search("", limit=10)] == ["c", "b", "a"]


def test_a_database_in_memory_under_a_name_is_refused_too():
    """It would end with the process, like one without a name."""
    with pytest.raises(ConfigurationError, match="SQLite needs a file"):
        SQLAlchemyStore(create_engine("sqlite:///file:shop?mode=memory&uri=true", poolclass=NullPool))


def make_error(*arguments, **codes):
    """What SQLAlchemy makes of a driver's error that has these codes."""
    error = sqlite3.InternalError(*arguments)
    vars(error).update(codes)
    return exc.InternalError(None, None, error)


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [
        (make_error("deadlock", pgcode="40P01"), True),
        (make_error("deadlock", sqlstate="40P01"), True),
        (make_error(1213, "deadlock"), True),
        (make_error("what the row held", 1213), False),
        (make_error("something else", pgcode="XX000"), False),
        (exc.InternalError(None, None, None), False),
    ],
    ids=["psycopg2", "psycopg", "MySQL", "a number elsewhere", "another code", "no driver"],
)
def test_a_code_is_read_where_a_driver_puts_it(error, is_worth_it):
    """Each driver has its own place for it, and no other place counts."""
    assert transactions.is_passing(error) is is_worth_it


def test_an_unavailable_database_is_told_by_the_kind_of_error(path):
    """A person learns what to do or what to look for, and nothing of the statement."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE iterapay_records DROP COLUMN body")
    store = SQLAlchemyStore(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailableError) as caught:
        store.get("order:1")
    kind = "the database did not do what was asked (OperationalError SQLITE_ERROR): "
    assert str(caught.value).startswith(kind)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE iterapay_records")
    with pytest.raises(StoreUnavailableError) as caught:
        store.get("order:1")
    assert str(caught.value) == "the tables are missing: run `flask iterapay init-db`"


def test_an_engine_of_its_own_keeps_records_out_of_its_errors(path):
    """A log of an error, with all that is behind it, has no word of an order."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("ALTER TABLE iterapay_records DROP COLUMN body")
    canary = replace(FIRST, key="order:canary")
    with pytest.raises(StoreUnavailableError) as caught:
        SQLAlchemyStore(f"sqlite:///{path}").add(canary)
    assert "order:canary" not in "".join(traceback.format_exception(caught.value))


def test_a_url_that_cannot_be_used_is_told_without_a_word_of_it():
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        SQLAlchemyStore("canary")
    assert str(caught.value).endswith("_DATABASE_URL cannot be used: it is no database URL that SQLAlchemy knows")


def test_a_child_that_ends_leaves_the_parents_connections_alive(database_url):
    """Closing what was inherited would tell the server to end the parent's sessions."""
    store = SQLAlchemyStore(database_url, create_tables=True)
    store.add(FIRST)
    assert store.get("order:1") == FIRST
    opened = []

    def listen(dbapi_connection, connection_record):
        opened.append(dbapi_connection)

    child = multiprocessing.get_context("fork").Process(target=store.get, args=("order:1",))
    child.start()
    child.join(60)
    event.listen(Pool, "connect", listen)
    try:
        assert store.get("order:1") == FIRST
    finally:
        event.remove(Pool, "connect", listen)
    assert (child.exitcode, opened) == (0, [])


def test_a_child_drops_what_it_inherits_without_closing_it(path):
    """What runs first in a child, run here: the old pool is put aside, and never collected."""
    store = SQLAlchemyStore(f"sqlite:///{path}")
    store.add(FIRST)
    inherited, closed = weakref.ref(store._engine.pool), []
    event.listen(store._engine.pool, "close", lambda dbapi_connection, record: closed.append(dbapi_connection))
    transactions._begin_anew_in_child()
    gc.collect()
    assert (store.get("order:1"), closed) == (FIRST, [])
    assert inherited() is not None
    assert store._engine.pool is not inherited()
