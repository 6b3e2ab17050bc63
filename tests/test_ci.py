"""The gate: ``.ci/run`` runs what the README documents, and nothing is skipped in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sources import ROOT


def test_the_gate_runs_the_test_command_of_the_readme(tmp_path: Path) -> None:
    """Called from anywhere, the script finds the one command that a reader would copy."""
    shown = subprocess.run([ROOT / ".ci/run", "--show"], cwd=tmp_path, capture_output=True, text=True, check=True)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert shown.stdout == 'pip install -e ".[test]" && pytest -n auto --cov\n'
    assert f"```sh\n{shown.stdout}```\n" in readme


@pytest.mark.parametrize(
    ("ci", "code", "summary"), [("true", 1, "1 failed, 1 xfailed"), ("", 0, "1 skipped, 1 xfailed")]
)
def test_a_skip_is_a_failure_in_ci_alone(ci: str, code: int, summary: str, tmp_path: Path) -> None:
    """A missing browser or database must not pass unseen; a failure that was foreseen stays one."""
    (tmp_path / "conftest.py").write_bytes((ROOT / "tests/conftest.py").read_bytes())
    (tmp_path / "test_skips.py").write_text(
        "import pytest\n"
        "def test_browser(): pytest.skip('no browser')\n"
        "@pytest.mark.xfail\n"
        "def test_wish(): assert False\n"
    )
    environment = {**os.environ, "CI": ci, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-pno:cacheprovider"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == code
    assert summary in answer.stdout
    assert ("CI skips nothing, but: no browser" in answer.stdout) is bool(code)
