"""The stores that come with the package, and two made outside it, keep every promise of a store."""

import functools
import inspect
import threading

import pytest
from fakeredis import FakeRedis, FakeServer
from redis_store import RedisStore
from sqlalchemy import make_url

from flask_iterapay.errors import RecordExistsError, RefTakenError
from flask_iterapay.orders.stores import MemoryStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.testing import DurableOrderStoreContract, OrderStoreContract


class ToyStore:
    """A list of every record that ever was, the newest last: as small as a store can be."""

    is_durable = False

    def __init__(self):
        self._lock = threading.Lock()
        self._log = []

    def add(self, record):
        if not self.save(record, expected_version=None):
            raise RecordExistsError(record.key)

    def get(self, key):
        return self._newest().get(key)

    def get_by_ref(self, ref):
        return next((record for record in self._newest().values() if ref in record.refs), None)

    def save(self, record, *, expected_version):
        with self._lock:
            stored = self.get(record.key)
            if (stored and stored.version) != expected_version:
                return False
            if any(owner.key != record.key for owner in map(self.get_by_ref, record.refs) if owner):
                raise RefTakenError(record.key)
            self._log.append(record)
            return True

    def due(self, now, limit):
        due = (record for record in self._newest().values() if record.due_at and record.due_at <= now)
        return sorted(due, key=lambda record: record.due_at)[:limit]

    def search(self, prefix, *, status=None, before=None, limit):
        found = [r for r in self._newest().values() if r.key.startswith(prefix) and status in {None, r.status}]
        found.sort(key=lambda r: (r.created_at, r.key), reverse=True)
        return [r for r in found if before is None or (r.created_at, r.key) < (before.created_at, before.key)][:limit]

    def _newest(self):
        return {record.key: record for record in list(self._log)}


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

    def test_it_is_small(self):
        """What a store must do fits into forty lines."""
        assert len(inspect.getsource(ToyStore).splitlines()) <= 40


class TestRedisStore(OrderStoreContract):
    """The promises can be kept by compare-and-set as Redis has it, with a connection for each thread."""

    @pytest.fixture
    def store(self):
        """Give an empty store over a server of its own."""
        return RedisStore(FakeRedis(server=FakeServer(), decode_responses=True))


class TestSQLAlchemyStore(DurableOrderStoreContract):
    """The SQL store keeps every promise on SQLite, PostgreSQL and MariaDB, between processes too."""

    @pytest.fixture
    def open_store(self, database_url):
        """Give a factory that opens the same database again."""
        return functools.partial(SQLAlchemyStore, database_url, create_tables=True)

    @pytest.fixture
    def absent_store(self, database_url, tmp_path):
        """Give a store on the same kind of database, in a missing folder or behind a port where nobody listens."""
        url = make_url(database_url)
        if url.host is None:
            return SQLAlchemyStore(f"sqlite:///{tmp_path}/missing/shop.sqlite3")
        return SQLAlchemyStore(url.set(port=1).render_as_string(hide_password=False))
