"""A database that is not SQLite to whoever asks for its name, but needs no server."""

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class OtherDialect(SQLiteDialect_pysqlite):
    """SQLite under another name, which knows the isolation levels of servers and writes down what was set."""

    name = "other"
    supports_statement_cache = True
    levels: list[str] = []  # noqa: RUF012 - SQLAlchemy makes the instance, so the class is where a test can look
    faults: list[Exception] = []  # noqa: RUF012 - what the driver says to the next levels

    def get_isolation_level_values(self, dbapi_connection: Any) -> list[str]:
        """List what an engine may be asked for."""
        return ["AUTOCOMMIT", "READ COMMITTED", "SERIALIZABLE"]

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Write the level down, and let SQLite have one that it knows."""
        if self.faults:
            raise self.faults.pop(0)
        self.levels.append(level)
        super().set_isolation_level(dbapi_connection, "AUTOCOMMIT" if level == "AUTOCOMMIT" else "SERIALIZABLE")


registry.register("other", "other_dialect", "OtherDialect")
