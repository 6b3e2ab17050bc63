"""What importing the plugin costs a shop that has Flask and Flask-WTF anyway; each import in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
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
    # Where nobody keeps compiled modules, the package's own alone would be compiled anew for every import.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bench.folder / "compiled")}
    watches = {name: partial(_import, modules, environment) for name, modules in _IMPORTS.items()}
    # Once before it counts, so that every module is compiled.
    collect(watches, rounds=1)
    return judge(collect(watches, bench.scale(31, 1)))


def _import(modules: str, environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", _PROGRAM.format(modules)]
    answer = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60, env=environment)
    return float(answer.stdout)


ROWS: tuple[Row, ...] = (
    Row(
        what="`import flask_iterapay`",
        floor="import of flask and flask_wtf",
        reach=Reach(at_most=1.2),
        measure=_measure,
    ),
)
