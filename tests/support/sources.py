"""The project's own source, for tests that read code instead of running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "flask_iterapay"


@dataclass(frozen=True, slots=True)
class Module:
    """A module's dotted name and source; ``package`` is what its relative imports start from."""

    name: str
    package: str
    source: str

    @property
    def part(self) -> str:
        """The name within ``flask_iterapay``, empty for the package itself."""
        return self.name.removeprefix(PACKAGE).removeprefix(".")

    def walk(self) -> Iterator[ast.AST]:
        """Yield every node of the source."""
        return ast.walk(ast.parse(self.source))


def read_modules(package: str) -> list[Module]:
    """Read every module of a package."""
    return [_read_module(path) for path in sorted((ROOT / package).rglob("*.py"))]


def make_module(part: str, source: str) -> Module:
    """Make up a module of ``flask_iterapay``, to see what a checker says about it."""
    name = f"{PACKAGE}.{part}"
    return Module(name, name.rpartition(".")[0], source)


def _read_module(path: Path) -> Module:
    *parents, stem = path.relative_to(ROOT).with_suffix("").parts
    package = ".".join(parents)
    return Module(package if stem == "__init__" else f"{package}.{stem}", package, path.read_text(encoding="utf-8"))
