"""The table, as the terminal and ``docs/performance.md`` show it."""

import os
import platform
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .bench import Bench, NotInstalledError
from .row import Row

__all__ = ["PAGE", "Line", "measure_rows", "write_page"]

PAGE = Path(__file__).parents[1] / "docs/performance.md"

_BEGIN = "<!-- table -->\n"
_END = "<!-- end of table -->\n"
_HEAD = "| what | floor = 1 | measured | reach | met | beside it |\n|---|---|---|---|---|---|\n"
# Whose releases the figures depend on; the peers' are among them.
_LIBRARIES = (
    "flask",
    "flask-wtf",
    "httpx",
    "msgspec",
    "qrcode",
    "sqlalchemy",
    "psycopg",
    "gunicorn",
    "standardwebhooks",
    "svix",
    "stripe",
    "coinbase-commerce",
    "dj-stripe",
    "django-payments",
    "segno",
)
_WORDS = {True: "yes", False: "**no**", None: "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A row as it is shown, and what is shown below the table about it."""

    text: str
    notes: tuple[str, ...] = ()


def measure_rows(rows: Iterable[Row], bench: Bench) -> Iterator[Line]:
    """Measure one row after the other, and print each when it is done."""
    for row in rows:
        line = _measure(row, bench)
        print(line.text, *line.notes, sep="\n", flush=True)
        yield line


def _measure(row: Row, bench: Bench) -> Line:
    try:
        result = row.measure(bench)
    except NotInstalledError as missing:
        return Line(text=_format(row.what, row.floor, f"not measured: `{missing}`", str(row.reach), "-", ""))
    floor = f"{row.floor}: {result.floor}" if result.floor else row.floor
    is_met = row.reach.is_met(result.figure)
    notes = list(result.notes)
    if is_met is False and result.profile:
        notes.append(f"* {row.what}, where the time goes: {result.profile()}")
    text = _format(row.what, floor, result.text, str(row.reach), _WORDS[is_met], result.beside)
    return Line(text=text, notes=tuple(notes))


def _format(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def write_page(lines: Sequence[Line], page: Path) -> None:
    """Put the table, and the notes of its rows, between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    after = rest.partition(_END)[2]
    table = "".join(f"{line.text}\n" for line in lines)
    notes = "".join(f"{note}\n" for line in lines for note in line.notes)
    head = f"Measured on {datetime.now(UTC).date().isoformat()}, {_describe_surroundings()}.\n\n{_HEAD}"
    page.write_text(f"{before}{_BEGIN}{head}{table}\n{notes}{_END}{after}", encoding="utf-8")


def _describe_surroundings() -> str:
    """Name the machine's size, and the releases of what was measured."""
    releases = [f"SQLite {sqlite3.sqlite_version}"]
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            releases.append(f"{name} {version(name)}")
    python, system = platform.python_version(), platform.system()
    return f"on {os.cpu_count()} cores under {system}, with Python {python}, {', '.join(releases)}"
