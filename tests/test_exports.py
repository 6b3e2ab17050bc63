"""What a module says that it offers is what it offers."""

import ast
import importlib
import inspect
import re
from types import ModuleType

import click
import pytest
from flask import Blueprint
from sources import PACKAGE, Module, make_module, read_modules

import flask_iterapay
from flask_iterapay import errors

MODULES = [*read_modules(PACKAGE), *read_modules("example_shop")]


def find_public(source: Module, module: ModuleType) -> set[str]:
    """Return the public classes and functions that a module defines, except its own blueprint's and command group's."""
    return {
        node.name
        for node in ast.parse(source.source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
        if not any(_is_registration(decorator, module) for decorator in node.decorator_list)
    }


def _is_registration(decorator: ast.expr, module: ModuleType) -> bool:
    name = ast.unparse(decorator).partition(".")[0]
    return isinstance(getattr(module, name, None), Blueprint | click.Group)


def sort_key(name: str) -> tuple[int, str]:
    """Order as isort does: constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("source", MODULES, ids=lambda source: source.name)
def test_the_list_of_a_module_is_true(source: Module) -> None:
    """Every public class and function is listed, everything listed exists, once and in order."""
    module = importlib.import_module(source.name)
    listed = list(getattr(module, "__all__", ()))
    assert find_public(source, module) - {*listed} == set()
    assert [name for name in listed if not hasattr(module, name)] == []
    assert listed == sorted(set(listed), key=sort_key)


def test_a_public_function_is_found() -> None:
    """Imports are not a module's own, private names not public, and a view is its blueprint's; the rest counts."""
    code = "from os import sep\nclass Cart: ...\ndef _own(): ...\ndef total(): ...\n@shop.get('/')\ndef view(): ..."
    module = ModuleType("newcomer")
    vars(module)["shop"] = Blueprint("shop", "newcomer")
    assert find_public(make_module("newcomer", code), module) == {"Cart", "total"}


def test_the_package_offers_its_list_and_nothing_else() -> None:
    """No name is public by accident; the package's own modules do not count."""
    public = {name for name in vars(flask_iterapay) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(flask_iterapay, name))}
    assert public - modules == set(flask_iterapay.__all__)


def test_every_error_is_public() -> None:
    """Whatever the package raises on purpose can be caught by its name."""
    assert set(errors.__all__) <= set(flask_iterapay.__all__)


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    """The docstring draws every error under the class that it derives from."""
    assert read_tree(str(errors.__doc__)) == {
        name: next(base.__name__ for base in vars(errors)[name].__bases__) for name in errors.__all__
    }


def read_tree(drawing: str) -> dict[str, str]:
    """Return each drawn name with the one it hangs under; a level is four characters deep."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for branch, name in re.findall(r"^ {4}([│├└─ ]*)(\w+Error)\b", drawing, flags=re.MULTILINE):
        path = [*path[: len(branch) // 4], name]
        parents[name] = path[-2] if len(path) > 1 else "Exception"
    return parents
