"""The page about mutation testing speaks of code and tests that exist."""

import re

import pytest
from run_mutmut import DOCS, PACKAGE, TARGETS
from sources import ROOT

SURVIVOR = re.compile(r"^\* `([^`]+)`: `(.+?)` → `.*`\n(.*)$", re.MULTILINE)
SURVIVORS = SURVIVOR.findall(DOCS.read_text("utf-8"))


def shrink(text):
    """Make every run of blanks one, since a statement of several lines is listed as one."""
    return " ".join(text.split())


@pytest.mark.parametrize(("module", "line", "reason"), SURVIVORS)
def test_a_survivor_is_in_the_code_and_has_a_reason(module, line, reason):
    """What changed since is to be mutated again, and nothing is listed without saying why it is harmless."""
    assert module in TARGETS
    assert shrink(line) in shrink((ROOT / PACKAGE / module).read_text("utf-8"))
    assert reason.startswith("  ")


def test_every_target_and_its_tests_are_there():
    """A module that moved, or its tests, would be left out in silence; the page has a score for each."""
    page = DOCS.read_text("utf-8")
    for module, tests in TARGETS.items():
        assert [path for path in (f"{PACKAGE}/{module}", *tests) if not (ROOT / path).is_file()] == []
        assert f"| `{module}` |" in page
    assert len(SURVIVORS) == page.count("\n* `")
