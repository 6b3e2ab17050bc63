"""The stores that come with the package, and one made outside it, keep every promise of a store."""

import functools
import threading
from pathlib import Path

import pytest

from flask_iterapay.errors import RecordExistsError, RefTakenError
from flask_iterapay.orders.stores import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.testing import DurableOrderStoreContract, OrderStoreContract


class ToyStore:
    """A list of every record that ever was, the newest last: as small as a store can be."""

    is_durable = False

    def __init__(self):
        self._lock = threading.RLock()
        self._log = []

    def _all(self):
        return list({record.key: record for record in self._log}.values())

    def add(self, record):
        with self._lock:
            if self.get(record.key):
                raise RecordExistsError(record.key)
            self._write(record)

    def get(self, key):
        return next((record for record in self._all() if record.key == key), None)

    def get_by_ref(self, ref):
        return next((record for record in self._all() if ref in record.refs), None)

    def save(self, record, *, expected_version):
        with self._lock:
            stored = self.get(record.key)
            if stored is None or stored.version != expected_version:
                return False
            self._write(record)
            return True

    def due(self, now, limit):
        return sorted((r for r in self._all() if r.due_at and r.due_at <= now), key=lambda r: r.due_at)[:limit]

    def search(self, prefix, *, status=None, before=None, limit):
        found = [r for r in self._all() if r.key.startswith(prefix) and status in {None, r.status}]
        found.sort(key=lambda r: (r.created_at, r.key), reverse=True)
        return [r for r in found if before is None or (r.created_at, r.key) < (before.created_at, before.key)][:limit]

    def _write(self, record):
        if any(owner.key != record.key for owner in map(self.get_by_ref, record.refs) if owner):
            raise RefTakenError(record.key)
        self._log.append(record)


class TestMemoryStore(OrderStoreContract):
    """The store in memory keeps the promises that do not need a disk."""

    @pytest.fixture
    def store(self):
        """Give an empty store."""
        return MemoryStore()

    def test_it_claims_no_durability(self, store):
        """It says of itself that it forgets."""
        assert not store.is_durable


class TestToyStore(OrderStoreContract):
    """The promises can be kept from outside, in a few lines."""

    @pytest.fixture
    def store(self):
        """Give an empty store."""
        return ToyStore()


class TestSQLAlchemyStoreOnSQLite(DurableOrderStoreContract):
    """The SQL store keeps every promise on SQLite, between processes too."""

    @pytest.fixture
    def open_store(self, tmp_path: Path):
        """Give a factory that opens the same file again."""
        return functools.partial(SQLAlchemyStore, f"sqlite:///{tmp_path / 'orders.sqlite'}", create_tables=True)
