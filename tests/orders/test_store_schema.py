"""The tables of the SQL store have a version, can be made again at any time, and say what they lack."""

import re

import pytest
from records import CALLS, FIRST, SECOND
from sources import ROOT
from sqlalchemy import create_engine, event

from flask_iterapay.errors import StoreUnavailableError
from flask_iterapay.orders.stores.sqlalchemy import SCHEMA_VERSION, SQLAlchemyStore, metadata

INIT = "`flask iterapay init-db`"


@pytest.fixture
def engine(database_url):
    """An engine as a shop makes it."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine):
    """A store with its tables and two records."""
    store = SQLAlchemyStore(engine, create_tables=True)
    store.add(FIRST)
    store.add(SECOND)
    return store


def execute(engine, *statements):
    """Run statements as somebody with a database client would."""
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def drop_index(engine, name, table):
    """Drop an index."""
    on = f" ON {table}" if engine.dialect.name in {"mysql", "mariadb"} else ""
    execute(engine, f"DROP INDEX {name}{on}")


def get_versions(engine):
    """Return every row of the table that holds the version."""
    with engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT version FROM iterapay_schema").scalars())


def test_what_create_tables_made_is_complete(store, engine):
    """Fresh tables have no problems, and the version is there once, however often they are made."""
    store.create_tables()
    assert store.check_schema() == []
    assert get_versions(engine) == [SCHEMA_VERSION]
    assert store.search("", limit=10) == [SECOND, FIRST]


def test_an_empty_database_lacks_every_table(engine):
    """Each missing table is named, with the command that makes it; looking makes none."""
    for _ in range(2):
        problems = SQLAlchemyStore(engine).check_schema()
        assert [problem.split()[2] for problem in problems] == [table.name for table in metadata.sorted_tables]
        assert all(INIT in problem for problem in problems)


def test_a_missing_index_is_named_and_made_again(store, engine):
    """An index that is gone is a problem until the tables are made again."""
    drop_index(engine, "iterapay_records_due_at", "iterapay_records")
    [problem] = store.check_schema()
    assert "iterapay_records_due_at" in problem
    assert INIT in problem
    store.create_tables()
    assert store.check_schema() == []


def test_a_missing_column_is_named(store, engine):
    """A table that lacks a column is a problem that only a migration mends."""
    drop_index(engine, "iterapay_records_due_at", "iterapay_records")
    execute(engine, "ALTER TABLE iterapay_records DROP COLUMN due_at")
    problems = store.check_schema()
    assert "iterapay_records lacks the column due_at: run your migrations" in problems[0]


def test_a_missing_primary_key_is_named(store, engine):
    """Tables that somebody copied without their keys would let two orders share an invoice."""
    execute(engine, "DROP TABLE iterapay_refs", "CREATE TABLE iterapay_refs AS SELECT 'a' AS ref, 'order:1' AS \"key\"")
    problems = store.check_schema()
    assert any("iterapay_refs lacks its primary key" in problem for problem in problems)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, f"not recorded: run {INIT}"),
        (SCHEMA_VERSION - 1, f"this release brings {SCHEMA_VERSION}"),
        (SCHEMA_VERSION + 1, "newer flask-iterapay"),
    ],
)
def test_another_version_is_told(store, engine, version, words):
    """No version, an older one and a newer one are told apart; none of them stops the store."""
    execute(
        engine,
        "DELETE FROM iterapay_schema",
        *[f"INSERT INTO iterapay_schema VALUES ({version})"][: version is not None],
    )
    [problem] = store.check_schema()
    assert words in problem
    assert CALLS["save"](store)


def test_an_older_version_is_brought_up_and_a_newer_one_kept(store, engine):
    """Making the tables records this release's version, unless a newer release was there."""
    execute(engine, f"UPDATE iterapay_schema SET version = {SCHEMA_VERSION - 1}")
    store.create_tables()
    assert get_versions(engine) == [SCHEMA_VERSION]
    execute(engine, f"UPDATE iterapay_schema SET version = {SCHEMA_VERSION + 1}")
    store.create_tables()
    assert get_versions(engine) == [SCHEMA_VERSION + 1]


@pytest.mark.parametrize("name", CALLS)
def test_a_store_needs_no_version(store, engine, name):
    """Tables from before there was a version work as they are."""
    execute(engine, "DROP TABLE iterapay_schema")
    CALLS[name](store)
    assert [problem.split()[2] for problem in store.check_schema()] == ["iterapay_schema"]


def test_making_the_tables_can_be_cut_short_anywhere(engine):
    """After a crash behind each of its statements the next try finishes; MySQL keeps what was made until then."""
    store, made = SQLAlchemyStore(engine), []

    def crash(connection, cursor, statement, parameters, context, executemany):
        if statement.lstrip().startswith(("CREATE", "INSERT")):
            made.append(statement)
            raise InterruptedError

    statements = 3 + sum(len(table.indexes) for table in metadata.tables.values()) + 1
    event.listen(engine, "after_cursor_execute", crash)
    for _ in range(statements):
        try:
            store.create_tables()
        except InterruptedError:
            continue
        break
    event.remove(engine, "after_cursor_execute", crash)
    store.create_tables()
    assert store.check_schema() == []
    # Where each statement commits by itself every try came one further; elsewhere each began from nothing.
    is_transactional = engine.dialect.name not in {"mysql", "mariadb"}
    assert len(set(made)) == (1 if is_transactional else statements)


def test_a_database_that_is_down_cannot_be_checked(tmp_path):
    """The check itself fails as unavailable."""
    with pytest.raises(StoreUnavailableError):
        SQLAlchemyStore(f"sqlite:///{tmp_path}/missing/shop.sqlite3").check_schema()


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_the_documented_columns_are_the_real_ones(table):
    """Each table stands in the documentation with each of its columns, and with no other."""
    page = (ROOT / "docs/database.md").read_text(encoding="utf-8")
    rows = page.split(f"\n`{table.name}`, ", 1)[1].split("\n\n", 2)[1]
    assert re.findall(r"^\| `(\w+)` \|", rows, flags=re.MULTILINE) == [column.name for column in table.columns]


def test_the_documented_version_is_the_real_one():
    """The page says which version the tables have now."""
    assert f"the version of these tables, now {SCHEMA_VERSION} |" in (ROOT / "docs/database.md").read_text(
        encoding="utf-8"
    )
