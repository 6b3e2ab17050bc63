"""The least that a web request can cost: Flask itself, and requests handed to an app without a server in between."""

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from flask import Flask, render_template, request
from jinja2 import DictLoader
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["make_caller", "make_environ", "make_floor", "send"]


def make_floor(commit: Callable[[], object] = lambda: None) -> Flask:
    """Make a bare app: a GET, a POST that reads its body and commits, and a page with one variable."""
    app = Flask("floor")
    # Every shop has one, and Flask looks into each session with it.
    app.secret_key = "a secret key of this benchmark"
    app.jinja_loader = DictLoader({"page.html": "<!doctype html><title>{{ title }}</title>"})

    @app.get("/")
    def get() -> str:
        return "ok\n"

    @app.post("/")
    def post() -> str:
        request.get_data(cache=False)
        commit()
        return "ok\n"

    @app.get("/page")
    def page() -> str:
        return render_template("page.html", title="Pay")

    return app


def make_caller(
    app: "WSGIApplication",
    path: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    status: str = "200 OK",
) -> Callable[[], None]:
    """Return a function that sends one request, reads the answer, and closes it, which is when handlers run."""
    environ = make_environ(path, method=method, headers=headers)

    def call() -> None:
        send(app, environ, body, status)

    return call


def make_environ(path: str, *, method: str, headers: Mapping[str, str] | None = None) -> "WSGIEnvironment":
    """Make what a server would hand to the app for a request whose body comes later."""
    content_type = "application/json" if method == "POST" else None
    builder = EnvironBuilder(path, method=method, headers=Headers(headers), content_type=content_type)
    return builder.get_environ() | {"REMOTE_ADDR": "127.0.0.1"}


def send(app: "WSGIApplication", environ: "WSGIEnvironment", body: bytes, status: str = "200 OK") -> None:
    """Hand one request to an app; an answer with another status is an error."""
    statuses: list[str] = []

    def start_response(line: str, headers: object, exc_info: object = None) -> "Callable[[bytes], object]":
        statuses.append(line)
        return lambda data: None

    start: StartResponse = start_response
    answer = app({**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}, start)
    b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    if statuses != [status]:
        raise AssertionError(f"{environ['PATH_INFO']} answered {statuses}, not {status}")
