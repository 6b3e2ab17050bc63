"""Where the time of a case goes, by whose code it is spent in; for the rows that are not where they are to come."""

import cProfile
import pstats
import sysconfig
from collections import Counter
from pathlib import Path
from typing import Any

from .timing import Case

__all__ = ["profile"]

_RUNS = 300
_SMALLEST_SHARE = 0.01
# Whose code a module is, by its top-level package; built-in functions count for whoever calls them.
_OWNERS = {
    "Flask": ("blinker", "flask", "itsdangerous", "werkzeug"),
    "WTForms": ("flask_wtf", "wtforms"),
    "Jinja": ("jinja2", "markupsafe"),
    "SQLAlchemy": ("sqlalchemy",),
    "the database and its driver": ("psycopg", "psycopg_binary"),
    "this plugin": ("flask_iterapay", "msgspec"),
    "the benchmark": ("benchmarks",),
}
_OWNER_OF = {package: owner for owner, packages in _OWNERS.items() for package in packages}
_PLACES = [Path(sysconfig.get_path("purelib")), Path(__file__).parents[1]]

# As ``pstats`` keys them: file, line and name.
_Function = tuple[str, int, str]


def profile(case: Case) -> str:
    """Run a case under the profiler, and write the shares of its time, the largest first.

    A profiler makes Python slower than what is written in C, so the shares are rough.
    """
    case.prepare(_RUNS)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(_RUNS):
        case.run()
    profiler.disable()
    times = _add_up(pstats.Stats(profiler))
    total = times.total()
    shares = [(owner, seconds / total) for owner, seconds in times.most_common() if owner != "the benchmark"]
    return ", ".join(f"{owner} {share:.0%}" for owner, share in shares if share >= _SMALLEST_SHARE)


def _add_up(stats: Any) -> Counter[str]:
    """Add up the seconds that were spent in each owner's own functions."""
    times = Counter[str]()
    for function, (_, _, seconds, _, callers) in stats.stats.items():
        if _is_driver(function):
            times[_OWNER_OF["psycopg"]] += seconds
        elif function[0] == "~" and callers:
            for caller, (_, _, share, _) in callers.items():
                times[_find_owner(caller)] += share
        else:
            times[_find_owner(function)] += seconds
    return times


def _is_driver(function: _Function) -> bool:
    """Whether it is SQLite's driver, which is written in C and named by its classes alone."""
    return function[0] == "~" and "sqlite3." in function[2]


def _find_owner(function: _Function) -> str:
    file = Path(function[0])
    # A template is compiled under the name of its file.
    if file.suffix == ".html":
        return "Jinja"
    for place in _PLACES:
        if file.is_relative_to(place):
            return _OWNER_OF.get(file.relative_to(place).parts[0].removesuffix(".py"), "the rest")
    return "the rest"
