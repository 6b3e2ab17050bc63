"""The SQL store on real servers: its plans, its locks, and what is left when a connection or a deadlock ends a call."""

import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest
import stamina
from msgspec.structs import replace
from records import CALLS, FIRST, NOW, SECOND
from sqlalchemy import Pool, create_engine, event, make_url, text

from flask_iterapay.errors import RefTakenError, StoreUnavailableError
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.orders.stores.sqlalchemy.schema import records, refs

PATIENCE_SECONDS = 60
# SQLite has one writer at a time, and nobody who could close a connection.
ON_SERVERS = pytest.mark.parametrize("database_url", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def store(database_url):
    """A store with two records."""
    store = SQLAlchemyStore(database_url, create_tables=True)
    store.add(FIRST)
    store.add(SECOND)
    return store


@pytest.fixture
def make_engine(database_url):
    """Make engines as a shop would, and dispose of them."""
    engines = []

    def make(**options):
        engines.append(create_engine(database_url, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@contextmanager
def listening(target, name, listener):
    """Listen to an event for a while."""
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


def fill(engine, count):
    """Add many records with a ref each, of which one in a hundred is due and every other one is paid."""
    rows = [
        {
            "key": f"order:{number}",
            "version": 1,
            "due_at": number if number % 100 == 0 else None,
            "refs": "[]",
            "status": "paid" if number % 2 == 0 else "expired",
            "created_at": number,
            "body": "{}",
        }
        for number in range(10, 10 + count)
    ]
    with engine.begin() as connection:
        connection.execute(records.insert(), rows)
        connection.execute(refs.insert(), [{"ref": f"invoice-{row['key']}", "key": row["key"]} for row in rows])


ANALYZE = {"sqlite": ["ANALYZE"], "postgresql": ["ANALYZE"]}
ANALYZE["mysql"] = ANALYZE["mariadb"] = [f"ANALYZE TABLE {table}" for table in ("iterapay_records", "iterapay_refs")]
EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN "}
# What a plan says when it looks at every row, or sorts what it has found.
SLOW = {
    "sqlite": ("SCAN iterapay_records'", "SCAN iterapay_refs'", "TEMP B-TREE"),
    "postgresql": ("Seq Scan", "Sort"),
    "mysql": ("'ALL'", "filesort", "temporary"),
}
SLOW["mariadb"] = SLOW["mysql"]
READS = {
    "get": lambda store: store.get("order:50"),
    "get_by_ref": lambda store: store.get_by_ref("invoice-order:50"),
    "due": lambda store: store.due(NOW, 10),
    "search": lambda store: store.search("order:", limit=10),
    "search on": lambda store: store.search("order:", before=SECOND, limit=10),
    "search by status": lambda store: store.search("order:", status="paid", limit=10),
    "search on by status": lambda store: store.search("order:", status="paid", before=SECOND, limit=10),
}


@pytest.fixture
def explain(store, make_engine):
    """Return the plan of the one statement that a call sends, over as many records as make planners care."""
    engine = make_engine()
    dialect = engine.dialect.name
    fill(engine, 10_000)
    with engine.connect() as connection:
        for statement in ANALYZE[dialect]:
            connection.exec_driver_sql(statement)
        connection.commit()

    def explain(call):
        sent = []
        with listening(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2:4])):
            call(SQLAlchemyStore(engine))
        [(sql, parameters)] = sent
        with engine.connect() as connection:
            return str(connection.exec_driver_sql(EXPLAIN.get(dialect, "EXPLAIN ") + sql, parameters).all())

    return explain


def test_a_read_uses_an_index_and_sorts_nothing(explain, store):
    """However many records there are, every read goes straight to those that it returns."""
    slow = SLOW[store._engine.dialect.name]
    plans = {name: explain(call) for name, call in READS.items()}
    assert {name: plan for name, plan in plans.items() if any(word in plan for word in slow)} == {}


def test_a_missing_index_shows_in_the_plan(explain, store, make_engine):
    """The same look at the plan notices when an index is gone."""
    dialect = store._engine.dialect.name
    with make_engine().begin() as connection:
        on = " ON iterapay_records" if dialect in {"mysql", "mariadb"} else ""
        connection.exec_driver_sql(f"DROP INDEX iterapay_records_due_at{on}")
    assert any(word in explain(READS["due"]) for word in SLOW[dialect])


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE", None])
def test_a_save_is_atomic_whatever_the_shop_has_set(make_engine, store, level):
    """An engine that commits by itself does not let half a save through, and keeps its own setting."""
    engine = make_engine(isolation_level=level) if level else make_engine()
    with pytest.raises(RefTakenError):
        SQLAlchemyStore(engine).save(replace(FIRST, version=2, refs=("c", "b")), expected_version=1)
    assert store.get("order:1") == FIRST
    assert store.get_by_ref("c") is None
    with engine.connect() as connection:
        connection.execute(records.update().values(status="uncommitted"))
    assert store.get("order:1").status == ("uncommitted" if level == "AUTOCOMMIT" else "new")


def test_a_lock_is_waited_for_within_bounds(store):
    """An engine of the store's own gives up on a lock after five seconds, and then tries again."""
    answers = []
    asked = {"sqlite": "PRAGMA busy_timeout", "postgresql": "SHOW lock_timeout"}.get(
        store._engine.dialect.name, "SELECT @@innodb_lock_wait_timeout"
    )

    def ask(dbapi_connection, record):
        with closing(dbapi_connection.cursor()) as cursor:
            cursor.execute(asked)
            answers.append(cursor.fetchone()[0])

    with listening(Pool, "checkin", ask):
        store.get("order:1")
    assert answers in ([5000], ["5s"], [5])


SHORT = {
    "sqlite": {"timeout": 0},
    "postgresql": {"options": "-c lock_timeout=50ms"},
    "mysql": {"init_command": "SET innodb_lock_wait_timeout = 1"},
}


@pytest.mark.parametrize("name", ["save", "add"])
def test_a_lock_that_stays_is_told(store, make_engine, name, database_url):
    """Behind a transaction that never ends a write fails as unavailable, writes nothing, and works afterwards."""
    patient = SQLAlchemyStore(make_engine(connect_args=SHORT[make_url(database_url).get_backend_name()]))
    with make_engine().connect() as other:
        other.execute(records.update().values(status="locked"))
        other.execute(refs.insert(), {"ref": "c", "key": "order:9"})
        with stamina.set_testing(True, attempts=1), pytest.raises(StoreUnavailableError):
            CALLS[name](patient)
        other.rollback()
    assert store.search("", limit=10) == [SECOND, FIRST]
    assert CALLS[name](patient) in {True, None}


WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


def wait_until_somebody_waits(engine):
    """Ask the server until it says that a transaction waits for another; the store waits for five seconds."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for _ in range(20_000):
            if connection.exec_driver_sql(WAITING[engine.url.get_backend_name()]).scalar():
                return
    raise AssertionError("nobody waits")


def prefer_the_other_as_survivor(connection):
    """PostgreSQL ends whoever notices the deadlock first, MariaDB whoever has written less."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET deadlock_timeout = '30s'")
    else:
        rows = [{"ref": f"weight-{number}", "key": "order:2"} for number in range(100)]
        connection.execute(refs.insert(), rows)


@ON_SERVERS
def test_a_deadlock_is_survived(store, make_engine):
    """Of two transactions that wait for each other the database ends the store's, and the store does it again."""
    engine, victims = make_engine(), []
    change = replace(FIRST, version=2, refs=("a", "c"))
    with engine.connect() as other, listening(store._engine, "handle_error", victims.append):
        prefer_the_other_as_survivor(other)
        other.execute(refs.insert(), {"ref": "c", "key": "order:2"})
        opponent = threading.Thread(target=lambda: lock_and_roll_back(other))

        def close_the_circle(connection, cursor, statement, *arguments):
            # The store has changed the order and goes on to the ref that the other has taken.
            if statement.startswith("INSERT INTO iterapay_refs") and opponent.ident is None:
                opponent.start()
                wait_until_somebody_waits(engine)

        with listening(store._engine, "before_cursor_execute", close_the_circle):
            assert store.save(change, expected_version=1)
        opponent.join(PATIENCE_SECONDS)
    assert store.get_by_ref("c") == change
    # More than one if the second try has the first record again before the other transaction wakes up.
    assert victims
    assert all("deadlock" in str(victim.original_exception).lower() for victim in victims)


def lock_and_roll_back(connection):
    """Wait for the first record, and give everything up again."""
    connection.execute(records.update().where(records.c.key == "order:1").values(status="locked"))
    connection.rollback()


KILL_OTHERS = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    "mysql": "SELECT concat('KILL ', id) FROM information_schema.processlist"
    " WHERE db = database() AND id <> connection_id()",
}


@ON_SERVERS
@pytest.mark.parametrize("is_shops", [True, False], ids=["shop's engine", "own engine"])
@pytest.mark.parametrize("name", CALLS)
def test_a_restarted_database_is_met_with_new_connections(store, make_engine, name, is_shops):
    """Connections that the server closed are replaced in the middle of the call that finds out."""
    if is_shops:
        store = SQLAlchemyStore(make_engine())
        store.get("order:1")
    engine = make_engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for (command,) in connection.exec_driver_sql(KILL_OTHERS[engine.url.get_backend_name()]).all():
            if isinstance(command, str):
                connection.exec_driver_sql(command)
    CALLS[name](store)
    assert store.get("order:1").version == (2 if name == "save" else 1)


TRIGGER = """
CREATE SEQUENCE tries;
CREATE FUNCTION interfere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('tries') = 1 THEN {interference} END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER interfere AFTER UPDATE ON iterapay_records DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION interfere();
"""


@pytest.fixture
def interfere(postgresql):
    """Return a store on PostgreSQL, with a trigger that does something in the first commit of a save."""
    engines = []

    def interfere(interference):
        url = postgresql.make_url()
        store = SQLAlchemyStore(url, create_tables=True)
        store.add(FIRST)
        engines.append(create_engine(url))
        with engines[0].begin() as connection:
            connection.execute(text(TRIGGER.format(interference=interference)))
        return store

    yield interfere
    for engine in engines:
        engine.dispose()


def test_a_commit_that_cannot_be_serialized_is_tried_again(interfere):
    """PostgreSQL itself refuses the first commit, and the second succeeds."""
    store = interfere("RAISE EXCEPTION 'refused' USING ERRCODE = 'serialization_failure';")
    assert store.save(replace(FIRST, version=2), expected_version=1)
    assert store.get("order:1").version == 2


def test_a_connection_that_breaks_in_the_commit_is_told(interfere):
    """A server that dies in the commit leaves the outcome open, so the save is not repeated."""
    store = interfere("PERFORM pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(StoreUnavailableError, match="read the record"):
        store.save(replace(FIRST, version=2), expected_version=1)
    assert store.get("order:1") == FIRST
    assert store.save(replace(FIRST, version=2), expected_version=1)


def test_an_older_record_is_due_first_on_every_database(store):
    """Times far apart and below the second are ordered as numbers, not as text."""
    oldest = replace(FIRST, key="order:3", refs=(), due_at=NOW - timedelta(days=20_000))
    store.add(oldest)
    store.add(replace(FIRST, key="order:4", refs=(), due_at=NOW + timedelta(microseconds=1)))
    assert [record.key for record in store.due(NOW, 1)] == ["order:3"]
    assert "order:4" not in [record.key for record in store.due(NOW, 10)]


def test_four_processes_make_the_tables_at_once(database_url):
    """Workers that start together on an empty database all come up."""
    program = (
        "import sys\n"
        "from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "store = SQLAlchemyStore(sys.argv[1], create_tables=True)\n"
        "print(store.search('', limit=1), store.check_schema())\n"
    )
    command = [sys.executable, "-c", program, database_url]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(4)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 4
    for worker in workers:
        worker.stdin.write("\n")
    assert [worker.communicate(timeout=PATIENCE_SECONDS)[0] for worker in workers] == ["[] []\n"] * 4
