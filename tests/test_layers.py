"""Who may import whom. The two tables are the architecture; the code is read, not run."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest
from sources import PACKAGE, ROOT, Module, make_module, read_modules

import flask_iterapay

BASE = {"errors", "money", "values"}
WEB = {*BASE, "config", "gateway", "orders", "links", "sandbox", "web"}

# What each part may import of ours. The longest entry that fits a module counts, and allowing a part allows what lies
# in it. Imports inside functions and for type checkers count like all others.
OURS = {
    "": {"errors", "extension", "links.models", "orders.models", "orders.reconcile"},
    "errors": set(),
    "money": {"errors"},
    "values": set(),
    "config": {*BASE, "config_values"},
    "config_values": set(),
    "gateway": {*BASE, "gateway"},
    # Orders and sandbox both build on these two, so they must not lead any further.
    "gateway.models": {"values"},
    "gateway.signing": {"errors"},
    "orders": {*BASE, "orders", "gateway.models"},
    "orders.stores": {"errors", "orders.stores", "values"},
    # Links build on what they share with orders, and orders know nothing of links.
    "links": {*BASE, "orders", "links", "gateway.models"},
    # Not the client, not its codec, not the orders: one bug must not hide on both sides.
    "sandbox": {*BASE, "sandbox", "gateway.models", "gateway.signing"},
    "sandbox.engine": {*BASE, "sandbox.methods", "gateway.models", "gateway.signing"},
    "web": WEB,
    "background": set(),
    "doctor": WEB,
    "terminal": {*BASE, "orders"},
    "cli": {*WEB, "cli_links", "doctor", "terminal"},
    "cli_links": {*WEB, "terminal"},
    "wiring": WEB,
    "extension": {*WEB, "background", "cli", "wiring"},
    "testing": {*WEB, "cli", "extension", "testing"},
}

SANDBOX_SURFACE = {f"sandbox.{name}" for name in ("app", "faults", "panel", "problems", "rest", "state")}

# Who may import what is not ours; what stands here must be a dependency, or a dependency's own.
FOREIGN = {
    "_typeshed": {"sandbox", "web", "wiring"},
    "click": {"cli", "cli_links", "terminal"},
    "flask": {"cli", "cli_links", "extension", "web", "wiring", *SANDBOX_SURFACE},
    "flask_wtf": {"web"},
    "httpx": {"gateway.transport", "sandbox.transport"},
    "itsdangerous": {"web.tokens"},
    "flask_babel": {"web.translation"},
    "jinja2": {"web"},
    "markupsafe": {"web"},
    "msgspec": {"orders.codec", "values", "web.poll", "web.view"},
    "pytest": {"testing"},
    "qrcode": {"web.qr"},
    "sqlalchemy": {"orders.stores.sqlalchemy"},
    "stamina": {"gateway.transport", "orders.stores.sqlalchemy"},
    "werkzeug": {"sandbox", "web", "wiring"},
    "wtforms": {"web.forms"},
}


def find_imports(module: Module) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, wherever the import stands."""
    for node in module.walk():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.package.split(".")
            start = parents[: len(parents) + 1 - node.level] if node.level else []
            yield from (".".join([*start, *filter(None, [node.module]), alias.name]) for alias in node.names)


def is_within(name: str, parts: set[str]) -> bool:
    """Whether a dotted name is one of the parts or lies in one."""
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def find_violations(module: Module) -> list[str]:
    """List the imports that the two tables do not allow."""
    return [f"{module.name} imports {name}" for name in find_imports(module) if not _is_allowed(module.part, name)]


def _is_allowed(part: str, imported: str) -> bool:
    root, _, ours = imported.partition(".")
    if root == PACKAGE:
        layers = [layer for layer in OURS if is_within(part, {layer})]
        return bool(layers) and is_within(ours, OURS[max(layers, key=len)])
    return root in sys.stdlib_module_names or is_within(part, FOREIGN.get(root, set()))


@pytest.mark.parametrize("module", read_modules(PACKAGE), ids=lambda module: module.name)
def test_a_module_imports_only_what_its_layer_may(module: Module) -> None:
    """Imports run one way, and every library has its place."""
    assert find_violations(module) == []


@pytest.mark.parametrize("module", read_modules("example_shop"), ids=lambda module: module.name)
def test_the_example_shop_uses_only_the_public_names(module: Module) -> None:
    """What the example needs is what every shop gets."""
    ours = {name for name in find_imports(module) if is_within(name, {PACKAGE})}
    assert ours <= {f"{PACKAGE}.{name}" for name in flask_iterapay.__all__}


@pytest.mark.parametrize(
    ("part", "source", "imported"),
    [
        ("errors", "from .money import parse_usd", "flask_iterapay.money.parse_usd"),
        ("gateway.models", "from . import codec", "flask_iterapay.gateway.codec"),
        ("orders.sync", "from ..gateway.client import GatewayClient", "flask_iterapay.gateway.client.GatewayClient"),
        ("orders.sync", "def late():\n    import httpx", "httpx"),
        ("orders.stores.base", "from ...money import parse_usd", "flask_iterapay.money.parse_usd"),
        ("orders.stores.memory", "from sqlalchemy.exc import DBAPIError", "sqlalchemy.exc.DBAPIError"),
        ("sandbox.engine", "from ..orders import models", "flask_iterapay.orders.models"),
        ("sandbox.engine", "from flask import request", "flask.request"),
        ("web.view", "if TYPE_CHECKING:\n    from ..extension import IteraPay", "flask_iterapay.extension.IteraPay"),
        ("extension", "import flask_iterapay.testing", "flask_iterapay.testing"),
        ("newcomer", "from .errors import IteraPayError", "flask_iterapay.errors.IteraPayError"),
        ("money", "import numpy", "numpy"),
    ],
)
def test_the_checker_sees_what_is_forbidden(part: str, source: str, imported: str) -> None:
    """Relative, absolute, local and type-checking imports are all found."""
    assert find_violations(make_module(part, source)) == [f"flask_iterapay.{part} imports {imported}"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    """HTTP client, database, QR codes and sandbox are loaded where they are first needed, not when a shop starts."""
    program = "import sys, flask_iterapay; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = answer.stdout.split()
    assert "flask_iterapay.extension" in loaded
    heavy = {"httpx", "sqlalchemy", "qrcode", "flask_iterapay.sandbox", "flask_iterapay.testing"}
    assert [name for name in loaded if is_within(name, heavy)] == []
