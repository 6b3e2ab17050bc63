"""Secrets that are easy to find again, and the places where one looks for them: logs, pages, representations, files."""

import base64
import logging
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from forgeries import SECRETS as SIGNING_SECRETS
from worlds import API_KEY as WORLD_API_KEY
from worlds import SECRET as WORLD_SECRET

from flask_iterapay.config import SANDBOX_API_KEY, SANDBOX_WEBHOOK_SECRET
from flask_iterapay.sandbox.app import BEARER_TOKEN as SANDBOX_BEARER_TOKEN

API_KEY = "canary-api-key-5be1c7"
WEBHOOK_SECRET = "canary-webhook-secret-of-32-characters-or-more"
OLD_WEBHOOK_SECRET = "canary-older-webhook-secret-of-32-characters"
BEARER_TOKEN = "canary-bearer-token-77ab21"
SECRET_KEY = "canary-secret-key-of-the-app"
OLD_SECRET_KEY = "canary-older-secret-key-of-the-app"
PASSWORD = "canary-password-of-the-database"

CANARIES = (API_KEY, WEBHOOK_SECRET, OLD_WEBHOOK_SECRET, BEARER_TOKEN, SECRET_KEY, OLD_SECRET_KEY, PASSWORD)
_KNOWN = (
    "canary",
    WORLD_API_KEY,
    WORLD_SECRET,
    SANDBOX_API_KEY,
    SANDBOX_WEBHOOK_SECRET,
    SANDBOX_BEARER_TOKEN,
    *SIGNING_SECRETS,
    "a secret key of this test",
)
_SPELLINGS = (
    *_KNOWN,
    *(base64.b64encode(secret.encode()).decode().rstrip("=")[:-1] for secret in CANARIES),
    *(secret.encode().hex() for secret in CANARIES),
    *(quote(secret, safe="") for secret in CANARIES),
)
_TESTS = str(Path(__file__).parents[1])


def find_secrets(text: str) -> list[str]:
    """Name the secrets of any test that stand in a text, plainly, quoted, in base64 or in hex; with what is around."""
    places = ((spelling, text.find(spelling)) for spelling in _SPELLINGS if spelling in text)
    return [f"{spelling!r} in {text[max(0, at - 60) : at + 60]!r}" for spelling, at in places]


def format_traceback(error: BaseException) -> str:
    """Write an error as reporters do that keep the variables of every frame. The tests' own frames are left out."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        lines += [repr(seen), str(seen), repr(getattr(seen, "__notes__", ""))]
        lines += list(_format_frames(seen.__traceback__))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(lines)


def _format_frames(frames: TracebackType | None) -> Iterator[str]:
    for frame, number in traceback.walk_tb(frames):
        if not frame.f_code.co_filename.startswith(_TESTS):
            yield f"{frame.f_code.co_filename}:{number} {frame.f_code.co_name}"
            yield from (f"{name} = {_safe_repr(value)}" for name, value in frame.f_locals.items())


def _safe_repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<no repr: {type(error).__name__}>"


def describe_objects(roots: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Give the representation of every object of the package that can be reached through attributes and containers."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif type(value).__module__.startswith("flask_iterapay"):
            yield type(value).__qualname__, f"{value!r} {value!s}"
            names = [*getattr(value, "__dict__", ()), *getattr(type(value), "__slots__", ())]
            waiting += [getattr(value, name, None) for name in names]


class Recorder(logging.Handler):
    """Writes down all that a log record carries, and the traceback with its variables."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message, the arguments and whatever else somebody's formatter might print."""
        text = f"{record.getMessage()} {vars(record)}"
        if record.exc_info and record.exc_info[1]:
            text += format_traceback(record.exc_info[1])
        self.lines.append((f"log of {record.name}", text))


@dataclass
class EchoingGateway:
    """A gateway at the WSGI level that, once it has a ``status``, repeats all that it was told in its refusals."""

    inner: Any
    status: str | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Pass the request on, or answer with everything that came."""
        if self.status is None:
            return self.inner(environ, start_response)
        said = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        text = f"{said} {body!r}".replace("\\", "/").replace('"', "'")
        start_response(f"{self.status} Said so", [("Content-Type", "application/problem+json")])
        return [f'{{"title": "{text}", "detail": "{text}", "type": "{text}"}}'.encode()]


@dataclass
class Search:
    """What was seen, by where it was seen."""

    seen: list[tuple[str, str]] = field(default_factory=list)

    def add(self, place: str, text: object) -> None:
        """Keep a text to look through."""
        self.seen.append((place, str(text)))

    def add_files(self, folder: Path) -> None:
        """Keep every byte of every file of a folder."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.add(f"file {path.name}", path.read_bytes().decode("latin-1"))

    def find(self) -> list[str]:
        """Say where a secret was seen, and which."""
        return [f"{place}: {found}" for place, text in self.seen for found in find_secrets(text)]
