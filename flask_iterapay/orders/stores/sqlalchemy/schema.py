"""The tables, as migrations see them and as statements use them, and whether a database has them.

Times are integers (microseconds since 1970, UTC) and refs a JSON list, so that no database rounds, shifts or reformats
what was written. The table ``iterapay_refs`` repeats the refs, one row each, for uniqueness and look-up.
"""

from collections.abc import Iterator

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Index,
    Inspector,
    MetaData,
    String,
    Table,
    Text,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["NAME", "NAME_LENGTH", "SCHEMA_VERSION", "create_tables", "find_problems", "metadata", "records", "refs"]

SCHEMA_VERSION = 1
"""Goes up when a release adds to the tables. Nothing is taken away, so an older release works on newer tables."""

NAME_LENGTH = 200
_REMEDY = "run your migrations, or `flask iterapay init-db`"


class _Utf8(TypeDecorator[str]):
    """Text kept as bytes: no collation that MySQL and MariaDB share tells trailing blanks apart."""

    impl = mysql.VARBINARY
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.decode()


# On every database these compare and sort by code point, as Python does.
_TEXT_NAME = String(NAME_LENGTH).with_variant(String(NAME_LENGTH, collation="C"), "postgresql")
NAME = _TEXT_NAME.with_variant(_Utf8(4 * NAME_LENGTH), "mysql", "mariadb")
_MIGRATED_NAME = _TEXT_NAME.with_variant(mysql.VARBINARY(4 * NAME_LENGTH), "mysql", "mariadb")
_LONG_TEXT = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _make_tables(metadata: MetaData, name: TypeEngine[str]) -> tuple[Table, Table]:
    records = Table(
        "iterapay_records",
        metadata,
        Column("key", name, primary_key=True),
        Column("version", BigInteger, nullable=False),
        Column("due_at", BigInteger),
        Column("refs", _LONG_TEXT, nullable=False),
        Column("status", name, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("body", _LONG_TEXT, nullable=False),
        Index("iterapay_records_due_at", "due_at"),
        Index("iterapay_records_created_at", "created_at", "key"),
        Index("iterapay_records_status", "status", "created_at", "key"),
    )
    refs = Table(
        "iterapay_refs",
        metadata,
        Column("ref", name, primary_key=True),
        Column("key", name, nullable=False),
        Index("iterapay_refs_key", "key"),
    )
    return records, refs


# Twice: a migration that is written from the metadata must not need a class of this package for ever.
metadata = MetaData()
_make_tables(metadata, _MIGRATED_NAME)
records, refs = _make_tables(MetaData(), NAME)

_schema = Table(
    "iterapay_schema", metadata, Column("version", BigInteger, primary_key=True, autoincrement=False, nullable=False)
)
_VERSION = select(func.max(_schema.c.version))


def create_tables(connection: Connection) -> None:
    """Make what is missing and record the version; at any time again, also after being cut short.

    MySQL commits each of these statements by itself, so a table may be there without its indexes.
    """
    metadata.create_all(connection)
    inspector = inspect(connection)
    for table in metadata.sorted_tables:
        for index in _missing_indexes(inspector, table):
            index.create(connection)
    recorded = connection.scalar(_VERSION)
    if recorded is None:
        connection.execute(insert(_schema), {"version": SCHEMA_VERSION})
    elif recorded < SCHEMA_VERSION:
        connection.execute(update(_schema), {"version": SCHEMA_VERSION})


def find_problems(connection: Connection) -> list[str]:
    """Say in sentences what the tables lack; an empty list if nothing. Reads only."""
    inspector = inspect(connection)
    tables = {table: inspector.has_table(table.name) for table in metadata.sorted_tables}
    problems = [f"the table {table.name} is missing: {_REMEDY}" for table, is_there in tables.items() if not is_there]
    problems += [problem for table, is_there in tables.items() if is_there for problem in _compare(inspector, table)]
    return problems + (list(_compare_version(connection.scalar(_VERSION))) if tables[_schema] else [])


def _compare(inspector: Inspector, table: Table) -> Iterator[str]:
    there = {column["name"] for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            yield f"the table {table.name} lacks the column {column.name}: run your migrations"
    if inspector.get_pk_constraint(table.name)["constrained_columns"] != [column.name for column in table.primary_key]:
        yield f"the table {table.name} lacks its primary key, without which orders get lost: run your migrations"
    for index in _missing_indexes(inspector, table):
        yield f"the table {table.name} lacks the index {index.name}, and reads are slow: {_REMEDY}"


def _missing_indexes(inspector: Inspector, table: Table) -> list[Index]:
    there = {index["name"] for index in inspector.get_indexes(table.name)}
    return sorted((index for index in table.indexes if index.name not in there), key=lambda index: str(index.name))


def _compare_version(recorded: int | None) -> Iterator[str]:
    if recorded is None:
        yield "the version of the tables is not recorded: run `flask iterapay init-db`"
    elif recorded < SCHEMA_VERSION:
        yield f"the tables have version {recorded}, and this release brings {SCHEMA_VERSION}: {_REMEDY}"
    elif recorded > SCHEMA_VERSION:
        yield (
            f"the tables have version {recorded}, and this release knows {SCHEMA_VERSION}: "
            "they were made by a newer flask-iterapay, so upgrade this one too"
        )
