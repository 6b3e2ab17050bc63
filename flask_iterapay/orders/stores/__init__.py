"""Where orders are kept: what a store promises, and the store in memory.

The store for SQL databases is in ``flask_iterapay.orders.stores.sqlalchemy``, which alone imports SQLAlchemy.
"""

from .base import OrderStore, Record
from .memory import MemoryStore

__all__ = ["MemoryStore", "OrderStore", "Record"]
