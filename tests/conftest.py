"""Browser, databases and scale for the tests that need them, and the rule that nothing is skipped in CI."""

import logging
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stamina

if TYPE_CHECKING:
    from databases import Database
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUM = Path("/usr/bin/chromium")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switch between the counts of every run and the counts that the documentation shows."""
    parser.addoption("--full", action="store_true", help="run the harnesses in full and write docs/promises.md")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the harnesses measured; after a full run that passed, write it into the documentation."""
    reports = terminalreporter.stats.get("passed", [])
    if not any(getattr(report, "user_properties", ()) for report in reports):
        return
    import figures  # here, since this file also works alone

    rows = figures.collect(reports)
    terminalreporter.section("figures")
    for subject, figure, _ in rows:
        terminalreporter.line(f"{subject}: {figure}")
    has_failed = terminalreporter.stats.get("failed") or terminalreporter.stats.get("error")
    if terminalreporter.config.getoption("--full") and not has_failed:
        figures.write_page(rows, datetime.now(UTC).date())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a missing browser or database is a failure, so every skip becomes one; expected failures stay."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing, but: {call.excinfo.value}"
    return report


@pytest.fixture(autouse=True, scope="session")
def _retry_without_waiting() -> Iterator[None]:
    """Retry as in production, but without the pauses."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


class _SecretWatch(logging.Filter):
    """Looks through every record of the package, also those below the level that the test lets through.

    A level that the test itself sets on the logger takes the place of ``EVERYTHING`` and holds as ever.
    """

    EVERYTHING = 1

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        from canaries import find_secrets  # here, since this file also works alone

        self.found += find_secrets(self._formatter.format(record))
        logger = logging.getLogger(record.name)
        return logger.level != self.EVERYTHING or record.levelno >= logging.getLogger().level


@pytest.fixture(autouse=True)
def secret_watch() -> Iterator[_SecretWatch]:
    """Whatever a test is about, nothing that the package logs meanwhile shows a secret; ``found`` has what did."""
    logger, watch = logging.getLogger("flask_iterapay"), _SecretWatch()
    logger.setLevel(watch.EVERYTHING)
    logger.addFilter(watch)
    yield watch
    logger.removeFilter(watch)
    logger.setLevel(logging.NOTSET)
    assert watch.found == []


@pytest.fixture(scope="session")
def scale(pytestconfig: pytest.Config) -> Callable[[int, int], int]:
    """Choose a harness's count: the first in every run, the second with ``--full``."""
    is_full: bool = pytestconfig.getoption("--full")
    return lambda normal, full: full if is_full else normal


@pytest.fixture
def note_figure(record_property: Callable[[str, object], None]) -> Callable[[str, str], None]:
    """Note what was measured: the subject and the figure. Shown at the end of the run if the test passes."""
    return lambda subject, figure: record_property("figure", (subject, figure))


@pytest.fixture(scope="session")
def postgresql() -> "Iterator[Database]":
    """A PostgreSQL server, one for each process of the run."""
    from databases import find_missing, run_postgresql

    if missing := find_missing("postgresql"):
        pytest.skip(missing)
    with run_postgresql() as database:
        yield database


@pytest.fixture(scope="session")
def mariadb() -> "Iterator[Database]":
    """A MariaDB server, one for each process of the run."""
    from databases import find_missing, run_mariadb

    if missing := find_missing("mariadb"):
        pytest.skip(missing)
    with run_mariadb() as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new, empty database of each kind, without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.sqlite3'}"
    database: Database = request.getfixturevalue(request.param)
    return database.make_url()


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """Debian's Chromium, one for the whole run; Playwright's own browsers are never downloaded."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Visits:
    """Opens pages and writes down what goes wrong on them.

    ``problems`` holds every console error, a violated content security policy among them, and every exception that a
    script did not catch. A test that provokes one takes it out; what is left at the end fails the test.
    """

    browser: "Browser"
    problems: list[str] = field(default_factory=list)
    contexts: "list[BrowserContext]" = field(default_factory=list)

    def open(self, **options: Any) -> "Page":
        """Open a page in a browser context of its own; the options are those of ``Browser.new_context``."""
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.on("console", self._note)
        context.on("weberror", lambda error: self.problems.append(str(error.error)))
        return context.new_page()

    def close(self) -> None:
        """Close every page, as a test must before its server stops answering them."""
        while self.contexts:
            self.contexts.pop().close()

    def _note(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} at {message.location['url']}")


@pytest.fixture
def visits(chromium: "Browser") -> Iterator[Visits]:
    """Pages in the real browser; the test fails if any of them complained."""
    visits = Visits(chromium)
    yield visits
    visits.close()
    assert visits.problems == []
