"""The SQL store tries again what may pass, and lets no foreign error escape."""

import sqlite3

import pytest
import stamina
from msgspec.structs import replace
from other_dialect import OtherDialect
from records import CALLS, FIRST, SECOND
from sqlalchemy import create_engine, exc

from flask_iterapay.errors import RecordExistsError, StoreError, StoreUnavailableError
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore


def family(error):
    """Give a class of SQLAlchemy's errors and all below it."""
    below = [member for child in error.__subclasses__() if child.__module__ == exc.__name__ for member in family(child)]
    return [error, *below]


@pytest.fixture
def url(tmp_path):
    """Give the URL of a database file."""
    return f"sqlite:///{tmp_path / 'orders.sqlite'}"


@pytest.fixture
def shops_engine(url):
    """Give an engine of the shop's to another kind of database."""
    engine = create_engine(url.replace("sqlite:", "other:"))
    yield engine
    engine.dispose()


@pytest.fixture
def store(url):
    """Give a store with two records."""
    store = SQLAlchemyStore(url, create_tables=True)
    store.add(FIRST)
    store.add(SECOND)
    return store


@pytest.fixture
def faults(store):
    """Errors that a driver raises, one for each statement on our tables."""
    return []


@pytest.fixture
def commit_faults():
    """Pairs for the next commits: the driver's error, and whether the commit takes effect nevertheless."""
    return []


@pytest.fixture
def faulty_store(url, faults, commit_faults):
    """A store over the same database, with a driver that raises what ``faults`` and ``commit_faults`` hold."""

    class Cursor(sqlite3.Cursor):
        def execute(self, sql, parameters=()):
            if faults and "iterapay" in sql:
                raise faults.pop(0)
            return super().execute(sql, parameters)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Cursor):
            return super().cursor(factory)

        def commit(self):
            if not commit_faults or not self.in_transaction:
                super().commit()
                return
            error, has_taken_effect = commit_faults.pop(0)
            if has_taken_effect:
                super().commit()
            raise error

    engine = create_engine(url, connect_args={"factory": Connection})
    yield SQLAlchemyStore(engine)
    engine.dispose()


@pytest.mark.parametrize("error", [sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.IntegrityError])
def test_a_lost_race_for_the_tables_is_no_error(faulty_store, faults, error):
    """Whichever way a database says that somebody was faster, the store looks again."""
    faults.append(error("table iterapay_records already exists"))
    with stamina.set_testing(True, attempts=2):
        faulty_store.create_tables()
    assert faulty_store.get("order:1") == FIRST


class UndefinedTable(sqlite3.ProgrammingError):
    """What psycopg raises."""

    sqlstate = "42P01"


@pytest.mark.parametrize("error", [UndefinedTable("relation"), sqlite3.ProgrammingError(1146, "Table doesn't exist")])
def test_missing_tables_are_recognised_everywhere(faulty_store, faults, error):
    """PostgreSQL and MySQL say the same in codes of their own."""
    faults.append(error)
    with pytest.raises(StoreUnavailableError, match="flask iterapay init-db"):
        faulty_store.get("order:1")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("wrapped", family(exc.DBAPIError), ids=lambda error: error.__name__)
def test_no_error_of_a_driver_escapes(faulty_store, faults, call, wrapped):
    """Whatever a driver raises arrives as an error of the store, with SQLAlchemy's error behind it."""
    raised = sqlite3.Error if wrapped is exc.DBAPIError else getattr(sqlite3, wrapped.__name__)
    faults += [raised("canary")] * 10
    with stamina.set_testing(True, attempts=2), pytest.raises(StoreError) as caught:
        call(faulty_store)
    assert type(caught.value.__cause__) is wrapped
    assert "canary" not in str(caught.value)


def test_every_error_of_sqlalchemy_has_one_root():
    """The one class that the store catches covers every error that SQLAlchemy defines."""
    errors = [value for value in vars(exc).values() if isinstance(value, type) and issubclass(value, Exception)]
    foreign = [error for error in errors if not issubclass(error, exc.SQLAlchemyError | Warning)]
    assert foreign == [exc.EmulatedDBAPIException]
    assert len(family(exc.DBAPIError)) >= 9


def test_an_exhausted_pool_is_unavailable(url, store):
    """Waiting in vain for a connection is an error of the store too."""
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(StoreUnavailableError) as caught:
        SQLAlchemyStore(engine).get("order:1")
    engine.dispose()
    assert isinstance(caught.value.__cause__, exc.TimeoutError)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(
    "error",
    [
        sqlite3.OperationalError("database is locked"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
    ],
    ids=["busy", "connection lost"],
)
def test_what_may_pass_is_tried_again(faulty_store, faults, store, call, error):
    """A busy database and a broken connection are met with another attempt, and nothing is done twice."""
    faults += [error, error]
    with stamina.set_testing(True, attempts=3):
        call(faulty_store)
    assert faults == []
    assert store.get("order:1").version in {1, 2}


def test_patience_ends(faulty_store, faults):
    """The attempts are counted, and the last error is behind the answer."""
    faults += [sqlite3.OperationalError("database is locked")] * 10
    with stamina.set_testing(True, attempts=3), pytest.raises(StoreUnavailableError):
        faulty_store.get("order:1")
    # One attempt before stamina is asked, and three of its own.
    assert len(faults) == 6


@pytest.mark.parametrize(
    "error", [sqlite3.DataError("too long"), sqlite3.OperationalError("no such table: iterapay_x")]
)
def test_what_will_not_pass_is_not_tried_again(faulty_store, faults, error):
    """An error that repeats itself is reported at once."""
    faults += [error] * 10
    with stamina.set_testing(True, attempts=3), pytest.raises(StoreUnavailableError):
        faulty_store.get("order:1")
    assert len(faults) == 9


def test_an_unreachable_database_is_unavailable(tmp_path):
    """A path that cannot be opened is an error of the store at its first use."""
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/missing/orders.sqlite")
    with stamina.set_testing(True, attempts=1), pytest.raises(StoreUnavailableError):
        store.get("order:1")


def test_a_retry_logs_nothing_of_the_record(faulty_store, faults, caplog):
    """The log of a retry has no key, ref or body in it."""
    faults += [sqlite3.OperationalError("database is locked")] * 2
    with stamina.set_testing(True, attempts=2):
        faulty_store.add(replace(FIRST, key="order:canary", refs=("canary",), body="canary"))
    assert caplog.records
    assert "canary" not in "".join(str(vars(record)) for record in caplog.records)


def refused(code, kind=sqlite3.OperationalError):
    """Make an error that says in one driver's way that nothing was done: a SQLSTATE, a number or a name."""
    error = kind(code, "refused") if isinstance(code, int) else kind("refused")
    if isinstance(code, str):
        setattr(error, "sqlite_errorname" if code.startswith("SQLITE") else "sqlstate", code)
    return error


WRITES = {
    "add": lambda store: store.add(replace(FIRST, key="order:3", refs=("c",))),
    "save": lambda store: store.save(replace(FIRST, version=2, body="new"), expected_version=1),
    "save with new refs": lambda store: store.save(replace(FIRST, version=2, refs=("c",)), expected_version=1),
}


@pytest.mark.parametrize("has_taken_effect", [True, False])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_commit_that_was_cut_off_is_not_tried_again(faulty_store, commit_faults, store, write, has_taken_effect):
    """Nobody knows whether the write took effect, and that is said; a second try could meet its own success."""
    commit_faults.append((sqlite3.OperationalError("server closed the connection unexpectedly"), has_taken_effect))
    with pytest.raises(StoreUnavailableError, match="read the record") as caught:
        write(faulty_store)
    assert type(caught.value.__cause__) is exc.OperationalError
    is_there = store.get_by_ref("c") is not None or store.get("order:1").body == "new"
    assert is_there == has_taken_effect


@pytest.mark.parametrize("code", ["40001", "40P01", 1205, 1213, 3101, "SQLITE_BUSY", "SQLITE_LOCKED"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_commit_that_was_refused_is_tried_again(faulty_store, commit_faults, write, code):
    """A deadlock, a serialization failure or a lock in the commit undid the write, so it is done again."""
    commit_faults += [(refused(code), False), (refused(code, sqlite3.InternalError), False)]
    with stamina.set_testing(True, attempts=3):
        assert write(faulty_store) in {True, None}
    assert commit_faults == []


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_trying_a_commit_again_would_deny_our_own_success(faulty_store, commit_faults, write):
    """What the rule prevents: had the cut-off commit been tried again, a success would count as somebody else's."""
    commit_faults.append((refused("SQLITE_BUSY"), True))
    try:
        is_success = write(faulty_store)
    except RecordExistsError:
        is_success = False
    assert is_success is False


def test_a_read_commits_nothing(faulty_store, commit_faults):
    """Reads leave no commit that could be cut off."""
    commit_faults.append((sqlite3.OperationalError("cut"), False))
    for name in ("get", "get_by_ref", "due", "search"):
        CALLS[name](faulty_store)
    assert len(commit_faults) == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_connection_found_broken_before_its_first_statement_is_replaced(store, shops_engine, call):
    """Setting the isolation level may be the first to notice, and SQLAlchemy lets the driver's own error through."""
    other = SQLAlchemyStore(shops_engine)
    OtherDialect.faults.append(sqlite3.OperationalError("server has gone away"))
    call(other)
    assert OtherDialect.faults == []


def test_a_connection_that_stays_broken_is_unavailable(store, shops_engine):
    """The driver's own error does not escape there either."""
    other = SQLAlchemyStore(shops_engine)
    OtherDialect.faults += [sqlite3.OperationalError("server has gone away")] * 3
    with stamina.set_testing(True, attempts=2), pytest.raises(StoreUnavailableError):
        other.get("order:1")
    assert OtherDialect.faults == []
