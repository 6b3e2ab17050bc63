"""Records in an SQL database, through SQLAlchemy Core: SQLite, PostgreSQL, MySQL and MariaDB.

``metadata`` holds the tables; a shop adds it to what its migrations compare with.
"""

from .schema import SCHEMA_VERSION, metadata
from .store import SQLAlchemyStore

__all__ = ["SCHEMA_VERSION", "SQLAlchemyStore", "metadata"]
