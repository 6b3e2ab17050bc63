"""Money is never a float; seconds may be. The code is read, not run."""

import ast
from collections.abc import Iterator

import pytest
from sources import PACKAGE, Module, make_module, read_modules

# A float may be announced by a name that ends in "_seconds" or stands here: they are clocks, moments and waits.
TIMES = {"clock", "deadline", "start", "_parse_retry_after", "_plan_retry"}

# The only float constants: pauses between attempts, and moments on the monotonic clock.
TIME_CONSTANTS = {
    "gateway.client": {0.0},
    "gateway.transport": {0.0, 0.2, 0.5, 2.0},
    "orders.stores.sqlalchemy.transactions": {0.0005},
}


def find_floats(module: Module) -> list[str]:
    """List where a module names, makes or writes out a float that is not a time."""
    nodes = list(module.walk())
    excused = {id(part) for annotation in _find_time_annotations(nodes) for part in ast.walk(annotation)}
    constants = TIME_CONSTANTS.get(module.part, set())
    return [
        f"{module.name}:{node.lineno}: {ast.unparse(node)}"
        for node in nodes
        if (isinstance(node, ast.Name) and node.id == "float" and id(node) not in excused)
        or (isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value not in constants)
    ]


def _find_time_annotations(nodes: list[ast.AST]) -> Iterator[ast.AST]:
    for node in nodes:
        match node:
            case (
                ast.arg(arg=name, annotation=ast.AST() as annotation)
                | ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
                | ast.FunctionDef(name=name, returns=ast.AST() as annotation)
            ) if name in TIMES or name.endswith("_seconds"):
                yield annotation


@pytest.mark.parametrize("module", read_modules(PACKAGE), ids=lambda module: module.name)
def test_a_module_has_no_float_but_times(module: Module) -> None:
    """Binary fractions cannot hold cents, so none may come near an amount."""
    assert find_floats(module) == []


@pytest.mark.parametrize(
    "source",
    [
        "total = float(amount)",
        "total = amount * 1.05",
        "def pay(amount: float): ...",
        "def total() -> float: ...",
        "amount: float | None",
        "map(float, amounts)",
        "isinstance(amount, (int, float))",
        "deadline = float(1)",
        "timeout_seconds = 2.5",
    ],
)
def test_the_checker_sees_a_float(source: str) -> None:
    """Calls, constants, annotations and mere mentions are all found; also the constant of a time that is not listed."""
    assert len(find_floats(make_module("orders.lifecycle", source))) == 1


@pytest.mark.parametrize(
    "source", ["def wait(pause_seconds: float): ...", "retry_after_seconds: float | None = None", "pause = 0.5"]
)
def test_the_checker_lets_times_pass(source: str) -> None:
    """Seconds may have fractions."""
    assert find_floats(make_module("gateway.transport", source)) == []
