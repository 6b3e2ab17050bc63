"""Where orders are kept: what a store promises, and the stores that come with the package."""

from .base import OrderStore, Record
from .memory import MemoryStore
from .sqlalchemy import SQLAlchemyStore

__all__ = ["MemoryStore", "OrderStore", "Record", "SQLAlchemyStore"]
