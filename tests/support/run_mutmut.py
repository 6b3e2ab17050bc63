"""Mutation testing of what decides about money: ``python tests/support/run_mutmut.py [MODULE ...]``.

Copies the checkout, so that no mutated line comes near it, and puts every mutant of each target to the tests named
here. mutmut mutates functions alone; what a module computes when it is imported (tables, patterns, SQL statements)
is mutated with the same operators, one file at a time. Prints each module's score, and each survivor as
``docs/mutation.md`` lists it. Ends with 1 if others survive than are explained there, or a score is below 95 %.

Needs the extras ``test`` and ``mutation``, one core and about a quarter of an hour.
"""

import contextlib
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sources import ROOT

PACKAGE = "flask_iterapay"
DOCS = ROOT / "docs" / "mutation.md"
LEAST_SCORE = 95
TIMEOUT_SECONDS = 120
CAUGHT = {"killed", "timeout"}

LIFECYCLE = ["tests/orders/test_lifecycle.py", "tests/orders/test_lifecycle_changes.py"]
VERDICT = ["tests/orders/test_verdict.py", "tests/orders/test_verdict_money.py"]
STORES = ["tests/orders/test_store_contract.py", "tests/orders/test_store_mutants.py"]
SQL = [*STORES, *(f"tests/orders/test_store_{name}.py" for name in ("sqlalchemy", "sqlalchemy_errors", "schema"))]
TARGETS = {
    "gateway/signing.py": ["tests/gateway/test_gateway_signing.py"],
    "money.py": ["tests/test_money.py"],
    "web/tokens.py": ["tests/web/test_tokens.py"],
    "orders/verdict.py": [*VERDICT, *LIFECYCLE, "tests/test_values.py"],
    "orders/lifecycle.py": [*LIFECYCLE, *VERDICT],
    "orders/stores/memory.py": STORES,
    "orders/stores/sqlalchemy/store.py": SQL,
    "orders/stores/sqlalchemy/transactions.py": SQL,
}
# Their constants are settings of database servers and the pace of retries, which SQLite says nothing about.
WITHOUT_CONSTANTS = {"orders/stores/sqlalchemy/transactions.py"}
# SQLite stands for all databases, and one process for several: a mutant has to be judged in seconds.
OTHERS = "not postgresql and not mariadb and not process and not Redis and not Toy"
# Hypothesis draws the same examples every time, so that a mutant's fate does not depend on luck.
OPTIONS = ["-p", "no:cacheprovider", "--hypothesis-profile=ci", "-k", OTHERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """A mutant that no test noticed."""

    module: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"* `{self.module}`: `{self.before}` → `{self.after}`"


@dataclass(slots=True)
class Score:
    """How many mutants of a module there were, and which survived."""

    count: int = 0
    survivors: list[Survivor] = field(default_factory=list)

    @property
    def percent(self) -> float:
        """The share that was noticed."""
        return 100 * (1 - len(self.survivors) / self.count)


def main(modules: list[str]) -> int:
    """Mutate the modules, print what became of it, and return the exit status."""
    targets = {module: TARGETS[module] for module in modules or TARGETS}
    scores = {module: Score() for module in targets}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
        # mutmut finds its settings and the code in the folder where it runs.
        with contextlib.chdir(copy):
            if not has_passed(list_tests(targets)):
                sys.exit("The tests fail without any mutant.")
            mutate_functions(targets, scores)
            for module in targets.keys() - WITHOUT_CONSTANTS:
                mutate_constants(module, targets[module], scores[module])
    print_scores(scores)
    return int(has_surprises(scores) or min(score.percent for score in scores.values()) < LEAST_SCORE)


def has_surprises(scores: dict[str, Score]) -> bool:
    """Compare the survivors with those that the documentation explains, and print the difference.

    A listed one that is killed counts too: either a test got better, or tests fail whatever the mutant is.
    """
    survivors = {str(survivor) for score in scores.values() for survivor in score.survivors}
    beginnings = tuple(f"* `{module}`: " for module in scores)
    listed = {line for line in DOCS.read_text("utf-8").splitlines() if line.startswith(beginnings)}
    for title, lines in [("survived and is not listed", survivors - listed), ("listed and killed", listed - survivors)]:
        print(f"\n{title}: {len(lines)}", *sorted(lines), sep="\n")
    return survivors != listed


def print_scores(scores: dict[str, Score]) -> None:
    """Print the table of the documentation."""
    print("\n| module | mutants | killed | score |\n|---|--:|--:|--:|")
    for module, score in scores.items():
        killed = score.count - len(score.survivors)
        print(f"| `{module}` | {score.count} | {killed} | {score.percent:.1f} % |")


def mutate_functions(targets: dict[str, list[str]], scores: dict[str, Score]) -> None:
    """Let mutmut mutate the functions of all modules, each against the tests that run through it."""
    from mutmut.stats import status_by_exit_code

    write_settings(targets)
    _run_mutmut("run", "--max-children", "1", stdout=sys.stderr)
    for module, score in scores.items():
        results = json.loads(Path("mutants", PACKAGE, f"{module}.meta").read_text("utf-8"))["exit_code_by_key"]
        score.count += len(results)
        survivors = [name for name, exit_code in results.items() if status_by_exit_code[exit_code] not in CAUGHT]
        for name in survivors:
            shown = _run_mutmut("show", name, stdout=subprocess.PIPE).stdout
            score.survivors.append(_make_survivor(module, shown.splitlines()))


def list_tests(targets: dict[str, list[str]]) -> list[str]:
    """Every test file of the targets once."""
    return list(dict.fromkeys(test for tests in targets.values() for test in tests))


def write_settings(targets: dict[str, list[str]]) -> None:
    """Add mutmut's settings to the copy's project file, where it looks for them."""
    settings = {
        "source_paths": [PACKAGE],
        "only_mutate": [f"{PACKAGE}/{module}" for module in targets],
        "also_copy": ["docs", "example_shop", "README.md"],
        # Each mutant gets a process that has not run a test yet. One that has keeps what tests cached of the true code,
        # which lets mutants live, and Hypothesis refuses to run a method for a second instance, which kills them all.
        "process_isolation": "forkserver",
        "pytest_add_cli_args": OPTIONS,
        "pytest_add_cli_args_test_selection": list_tests(targets),
    }
    with Path("pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("\n[tool.mutmut]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def _run_mutmut(*arguments: str, stdout: Any) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("mutmut"), *arguments]
    return subprocess.run(command, stdout=stdout, text=True, check=True)


def mutate_constants(module: str, tests: list[str], score: Score) -> None:
    """Put each mutant of what a module computes at its import into the copy, and run the module's tests."""
    path = Path(PACKAGE, module)
    source = path.read_text("utf-8")
    for mutant in make_constants(path, source):
        score.count += 1
        path.write_text(mutant, "utf-8")
        if has_passed(tests):
            difference = difflib.unified_diff(source.splitlines(), mutant.splitlines(), n=0, lineterm="")
            score.survivors.append(_make_survivor(module, difference))
    path.write_text(source, "utf-8")


def make_constants(path: Path, source: str) -> Iterator[str]:
    """Yield the module with each mutation outside its functions, but for ``__all__``, which another test checks."""
    import libcst
    from mutmut.mutation.file_mutation import create_mutations

    module, mutations, _, _ = create_mutations(str(path), source)
    for mutation in mutations:
        if not isinstance(mutation.contained_by_top_level_function, libcst.FunctionDef):
            mutant = module.deep_replace(mutation.original_node, mutation.mutated_node).code
            if "__all__ = [" in mutant and _get_names(mutant) == _get_names(source):
                yield mutant


def _get_names(source: str) -> str:
    return source.partition("__all__ = [")[2].partition("]")[0]


def has_passed(tests: list[str]) -> bool:
    """Whether the tests pass; not to end counts as having failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", *OPTIONS, *tests]
    # No compiled files: one of the same second and length would be taken for the mutant.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        result = subprocess.run(command, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def _make_survivor(module: str, difference: Iterable[str]) -> Survivor:
    changes = [line for line in difference if not line.startswith(("---", "+++"))]
    before, after = (" ".join(line[1:].strip() for line in changes if line.startswith(sign)) for sign in "-+")
    return Survivor(module=module, before=before, after=after)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
