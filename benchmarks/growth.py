"""Whether anything slows down as orders pile up: each request on a full database beside one with a thousand orders."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from sqlalchemy import Engine, event

from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

from .bench import Bench
from .copies import DUE_LIMIT, add_copies, name_invoice, name_order
from .databases import DATABASES, connect, make_url
from .floors import make_caller, send
from .row import Reach, Result, Row, compare
from .shops import NOW, Shop, make_hint
from .timing import Case

__all__ = ["ROWS"]

_FEW, _MANY = 1_000, 1_000_000
_SEED = 1042

Request = Callable[[], object]

# What to do with an order, by its number; made before it is timed. First what changes nothing: an order that is asked
# for has its gateway read and is due no more, which happens to few of a million orders and to most of a thousand.
_REQUESTS: dict[str, Callable[[Shop, int], Request]] = {
    "`due`": lambda shop, number: partial(shop.store.due, NOW, DUE_LIMIT),
    "look-up by invoice": lambda shop, number: partial(shop.store.get_by_ref, name_invoice(number)),
    "poll": lambda shop, number: make_caller(shop.app, f"{shop.page_of(name_order(number))}/status"),
    "page": lambda shop, number: make_caller(shop.app, shop.page_of(name_order(number))),
    "webhook": lambda shop, number: partial(send, shop.app, *make_hint(name_invoice(number))),
}


@contextmanager
def _fill(bench: Bench, kind: str) -> Iterator[dict[str, tuple[Shop, str, int]]]:
    """Make a shop with few orders and one with many: shop, database URL, number of orders."""
    shops = {}
    for name, count in {"floor": bench.scale(_FEW, 20), "ours": bench.scale(_MANY, 50)}.items():
        url = make_url(bench, kind)
        shop = Shop(SQLAlchemyStore(url, create_tables=True))
        add_copies(shop, url, range(count))
        shops[name] = shop, url, count
    yield shops


# Named functions, since each is started once for all rows of its database.
_FILLS = {"sqlite": partial(_fill, kind="sqlite"), "postgresql": partial(_fill, kind="postgresql")}


def _measure(bench: Bench, kind: str, request: str) -> Result:
    shops = bench.use(_FILLS[kind])
    cases = [_make_case(name, shop, count, _REQUESTS[request]) for name, (shop, _, count) in shops.items()]
    result = compare(bench.effort, cases[0], cases[1])
    return replace(result, notes=tuple(_explain(*shops["ours"], kind, request)))


def _make_case(name: str, shop: Shop, count: int, make: Callable[[Shop, int], Request]) -> Case:
    numbers, requests = random.Random(_SEED), list[Request]()

    def prepare(runs: int) -> None:
        requests.extend(make(shop, numbers.randrange(count)) for _ in range(runs))

    return Case(name=name, prepare=prepare, run=lambda: requests.pop()())


def _explain(shop: Shop, url: str, count: int, kind: str, request: str) -> Iterator[str]:
    """Yield the plan of every statement that a request runs."""
    connection = connect(url)
    explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN (COSTS OFF)"
    for statement, parameters in _record(_REQUESTS[request](shop, count // 2)).items():
        lines = [str(line[-1]).strip(" ->") for line in connection.execute(f"{explain} {statement}", parameters)]
        yield f"* {DATABASES[kind]}, {request}, {statement.split()[0]}: {'; '.join(lines)}"
    connection.close()


def _record(request: Request) -> dict[str, Any]:
    """Run a request and return its statements, each with the parameters that it last had."""
    statements: dict[str, Any] = {}

    def remember(connection: object, cursor: object, statement: str, parameters: Any, *rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            statements[statement] = parameters

    event.listen(Engine, "before_cursor_execute", remember)
    request()
    event.remove(Engine, "before_cursor_execute", remember)
    return statements


ROWS: tuple[Row, ...] = tuple(
    Row(
        what=f"{_MANY:,} orders, {DATABASES[kind]}: {request}",
        floor=f"the same with {_FEW:,} orders",
        reach=Reach(at_most=1.25),
        measure=partial(_measure, kind=kind, request=request),
    )
    for kind in DATABASES
    for request in _REQUESTS
)
