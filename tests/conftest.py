"""A real browser for the tests that need one, and the rule that nothing is skipped in CI."""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import stamina

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUM = Path("/usr/bin/chromium")


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
