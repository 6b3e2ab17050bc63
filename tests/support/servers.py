"""Real servers on loopback: an app in a thread, or a command in a process of its own."""

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ROOT = Path(__file__).parents[2]
_DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "MariaDB"}


def name_database(url: str) -> str:
    """What people call the database behind a URL of the tests."""
    return _DATABASES[sqlalchemy.make_url(url).get_backend_name()]


_ANSWER = "iterapay.tests.answer"


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Say nothing: the tests look at pages, not at access logs."""

    def connection_dropped(self, error: BaseException, environ: "WSGIEnvironment | None" = None) -> None:
        """Close the answer whose reader went away, which Werkzeug forgets if reading the rest of the request fails."""
        answer = (environ or {}).get(_ANSWER)
        if hasattr(answer, "close"):
            answer.close()


class Relay:
    """A WSGI app that is whichever app the present test has: one server for all, since a server is slow to stop."""

    app: Any = None
    base_url: str = ""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.app(environ, start_response)


@contextmanager
def serving(app: Flask, *, ssl_context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve an app from a thread of this process; yields its base URL."""

    def remember(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        answer = environ[_ANSWER] = app(environ, start_response)
        return answer

    server = make_server("127.0.0.1", 0, remember, threaded=True, request_handler=_Quiet, ssl_context=ssl_context)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"{'https' if ssl_context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(command: list[str], *, ready: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a command until the block ends; yields what ``ready``, a pattern with one group, found in its output.

    The command is stopped by SIGTERM to its own process, and killed if it does not obey within ten seconds.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            lines.append(line)
            if match := re.search(ready, line):
                break
        else:
            raise AssertionError(f"{command} ended before it was ready:\n{''.join(lines)}")
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        yield match[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
