"""What importing the plugin costs a shop that has Flask and Flask-WTF anyway; each import in a process of its own."""

import subprocess
import sys
from functools import partial

from .bench import Bench
from .row import Reach, Result, Row, judge
from .timing import collect

__all__ = ["ROWS"]

_IMPORTS = {
    "floor": "flask, flask_wtf",
    "ours": "flask_iterapay",
    "with httpx, SQLAlchemy and qrcode": "flask_iterapay, httpx, sqlalchemy, qrcode",
}
_PROGRAM = "from time import perf_counter; at = perf_counter(); import {}; print(perf_counter() - at)"


def _measure(bench: Bench) -> Result:
    watches = {name: partial(_import, modules) for name, modules in _IMPORTS.items()}
    # Once before it counts, so that every module is compiled.
    collect(watches, rounds=1)
    return judge(collect(watches, bench.scale(15, 1)))


def _import(modules: str) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(modules)]
    return float(subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stdout)


ROWS: tuple[Row, ...] = (
    Row(
        what="`import flask_iterapay`",
        floor="import of flask and flask_wtf",
        reach=Reach(at_most=1.2),
        measure=_measure,
    ),
)
