"""Several processes that write to one SQLite file at the same time: how long the unlucky wait."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing.synchronize import Barrier
from statistics import quantiles
from time import perf_counter

from flask_iterapay.gateway.models import InvoiceState
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

from .bench import Bench
from .copies import add_copies, name_invoice
from .databases import make_url
from .floors import send
from .row import Reach, Result, Row, describe
from .shops import Gateway, Shop, make_hint
from .timing import collect

__all__ = ["ROWS"]

_PROCESSES = 4
_START_SECONDS = 60


def _measure(bench: Bench) -> Result:
    url, hints = make_url(bench, "sqlite"), bench.scale(150, 2)
    shop = Shop(SQLAlchemyStore(url, create_tables=True))
    starts = count(step=hints * _PROCESSES)

    def measure_round() -> float:
        start = next(starts)
        numbers = range(start, start + hints * _PROCESSES)
        add_copies(shop, url, numbers)
        times = _write_at_once(url, [numbers[at : at + hints] for at in range(0, len(numbers), hints)])
        hundredths = quantiles(times, n=100)
        return hundredths[98] / hundredths[49]

    (sample,) = collect({"ours": measure_round}, bench.scale(5, 1))
    return describe(sample)


def _write_at_once(url: str, shares: list[range]) -> list[float]:
    """Give each process its share of hints; return the seconds that each hint took."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(shares))
    with ProcessPoolExecutor(len(shares), context, initializer=_meet, initargs=(barrier,)) as pool:
        return [seconds for times in pool.map(_write, [url] * len(shares), shares) for seconds in times]


def _meet(barrier: Barrier) -> None:
    barrier.wait(_START_SECONDS)


def _write(url: str, numbers: range) -> list[float]:
    shop = Shop(SQLAlchemyStore(url), gateway=Gateway(state=InvoiceState.CONFIRMING))
    times = []
    for environ, body in [make_hint(name_invoice(number)) for number in numbers]:
        started_at = perf_counter()
        send(shop.app, environ, body)
        times.append(perf_counter() - started_at)
    return times


ROWS: tuple[Row, ...] = (
    Row(
        what=f"webhook route with news, SQLite, {_PROCESSES} processes at once: p99 over p50",
        floor="-",
        reach=Reach(at_most=4),
        measure=_measure,
    ),
)
