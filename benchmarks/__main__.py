"""Measures every row, prints the table, and writes it into ``docs/performance.md``: ``python -m benchmarks``."""

import argparse
import logging
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from . import calls, codes, growth, imports, pages, plugins, reconciling, signatures, throughput, webhooks, writers
from .bench import Bench
from .table import PAGE, measure_rows, write_page
from .timing import Effort

_MODULES = (signatures, webhooks, writers, plugins, pages, codes, calls, imports, growth, reconciling, throughput)
_FULL = Effort(rounds=41, seconds=0.025)
_QUICK = Effort(rounds=1, seconds=0)


def main() -> None:
    """Run the program."""
    options = _parse()
    # Warnings are written, as in production, but nobody is to read them here.
    logging.basicConfig(filename=os.devnull)
    with tempfile.TemporaryDirectory(prefix="iterapay-benchmark-") as folder, ExitStack() as stack:
        effort = _QUICK if options.quick else _FULL
        bench = Bench(effort=effort, is_quick=options.quick, folder=Path(folder), stack=stack)
        rows = [row for module in _MODULES for row in module.ROWS if options.only in f"{module.__name__} {row.what}"]
        lines = list(measure_rows(rows, bench))
    # Figures of one round each are not for the page that everybody reads.
    page = options.page or (None if options.quick else PAGE)
    if page and not options.only:
        write_page(lines, page)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run each case once, and write no page by default")
    parser.add_argument("--only", default="", metavar="WORD", help="only rows whose name has this; writes no page")
    parser.add_argument("--page", type=Path, help="the page to write the table into")
    return parser.parse_args()


if __name__ == "__main__":
    main()
