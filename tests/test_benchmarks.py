"""The benchmark program works, and the page shows the table that it writes. Nothing here looks at the time."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from sources import ROOT

from benchmarks.row import Reach, judge
from benchmarks.table import PAGE
from benchmarks.timing import Case, Effort, Sample, collect, measure

# One expression for each row that must be there.
WANTED = [
    "verify a 585-byte hint",
    "webhook route, forged signature",
    "webhook route, nothing new",
    "webhook route, news .* no handler, SQLite",
    "webhook route, news .* with a handler, SQLite",
    "webhook route, news .* no handler, PostgreSQL",
    "webhook route, news .* with a handler, PostgreSQL",
    "SQLite, 4 processes at once: p99 over p50",
    "dj-stripe's webhook view",
    "django-payments's webhook view",
    "payment page, QR code known",
    "first QR of a 42-character address",
    "its size in kB",
    "status poll, unchanged, SQLite",
    "status poll, unchanged, PostgreSQL",
    "polls of one page",
    "a call of the gateway client",
    "`import flask_iterapay`",
    *(
        f"1,000,000 orders, {database}: {request}"
        for database in ("SQLite", "PostgreSQL")
        for request in ("webhook", "page", "poll", "`due`", "look-up by invoice")
    ),
    "`reconcile`.*orders per second",
    "polls of one order",
    "gunicorn.*requests per second",
    "gunicorn.*p99",
]


def read_table(page: Path) -> list[list[str]]:
    """Return the cells of every row below the head."""
    lines = page.read_text(encoding="utf-8").partition("|---|")[2].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def read_figure(cell: str) -> float:
    """Return the number that a cell begins with."""
    return float(re.match(r"[0-9.]+", cell)[0])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as the program writes it when it runs every case once."""
    page = tmp_path_factory.mktemp("benchmarks") / "performance.md"
    page.write_bytes(PAGE.read_bytes())
    command = [sys.executable, "-m", "benchmarks", "--quick", "--page", page]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return page


@pytest.mark.process
def test_the_program_measures_every_row(written: Path) -> None:
    """Nothing that was promised is left out, and nothing is there that was not."""
    rows = [row[0] for row in read_table(written)]
    assert [what for what in WANTED if sum(bool(re.search(what, row)) for row in rows) != 1] == []
    assert len(rows) == len(WANTED)


@pytest.mark.process
def test_the_page_shows_the_table_that_the_program_writes(written: Path) -> None:
    """The rows, their floors and what they are to reach are the program's; only the figures are of another run."""
    shown, made = read_table(PAGE), read_table(written)
    assert [[row[0], row[1].partition(":")[0], row[3]] for row in shown] == [
        [row[0], row[1].partition(":")[0], row[3]] for row in made
    ]
    text, fresh = PAGE.read_text(encoding="utf-8"), written.read_text(encoding="utf-8")
    assert fresh.partition("Measured on")[0] == text.partition("Measured on")[0]


@pytest.mark.parametrize("row", read_table(PAGE), ids=lambda row: row[0])
def test_the_page_calls_met_what_is_met(row: list[str]) -> None:
    """The word beside a figure follows from the figure and what was to be reached."""
    _, _, measured, reach, met, _ = row
    if measured.startswith("not measured") or reach == "-":
        assert met == "-"
        return
    limit = float(reach.rpartition(" ")[2])
    bounds = {"at_most": limit} if reach.startswith("at most") else {"at_least": limit}
    assert met == {True: "yes", False: "**no**"}[Reach(**bounds).is_met(read_figure(measured))]


def test_cases_take_turns_and_are_prepared_for_each_round() -> None:
    """First every case runs twice, to warm up and to be counted; then one round follows the other."""
    log: list[str] = []
    cases = [Case(name=name, run=partial(log.append, name), prepare=lambda count: log.append("-")) for name in "AB"]
    measure(cases, Effort(rounds=2, seconds=0))
    assert "".join(log) == "-A-A" + "-B-B" + "-A-B-A-B"


def test_a_figure_is_the_ratio_of_the_medians() -> None:
    """One slow round moves the quartiles, and not the figure."""
    figures = iter([1.0, 3.0, 2.0, 5.0, 1.0, 4.0])
    samples = collect({"floor": lambda: next(figures), "ours": lambda: next(figures)}, rounds=3)
    result = judge(samples)
    assert (result.figure, result.text, result.floor) == (4, "4.00 (3.50 to 4.50)", "1.00 (1.00 to 1.50)")


def test_peers_are_named_with_their_figures_and_the_absent_ones_without() -> None:
    """What is not installed is said."""
    samples = [Sample(name=name, values=(value,)) for name, value in (("floor", 1.0), ("ours", 2.0), ("peer", 20.0))]
    assert judge(samples, beside="other not installed").beside == "peer 20 (20 to 20), other not installed"


@pytest.mark.parametrize(
    ("reach", "figure", "is_met"),
    [
        (Reach(at_most=1.5), 1.5, True),
        (Reach(at_most=1.5), 1.51, False),
        (Reach(at_least=4), 4, True),
        (Reach(at_least=4), 3.9, False),
        (Reach(), 1, None),
    ],
)
def test_what_is_to_be_reached_is_reached_or_not(reach: Reach, figure: float, is_met: bool | None) -> None:
    """The bound itself is good enough."""
    assert reach.is_met(figure) is is_met
