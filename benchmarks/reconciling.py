"""Sparing the gateway: many orders read at once, and many polls answered by one reading."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter

from .bench import Bench
from .databases import make_store
from .floors import make_caller
from .row import Reach, Result, Row, judge
from .shops import NOW, Shop
from .timing import collect

__all__ = ["ROWS"]

_PAUSE_SECONDS = 0.05
_POLLING_THREADS = 8
_SYNC_SECONDS = 15
# An order that awaits its payment is due again after a minute.
_DUE_SECONDS = 61


@dataclass(slots=True)
class _Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)


def _measure_reconcile(bench: Bench) -> Result:
    clock = _Clock()
    shop = Shop(make_store(bench, "sqlite"), clock=clock)
    order_ids = [shop.add_order().order_id for _ in range(bench.scale(40, 2))]
    shop.gateway.pause_seconds = _PAUSE_SECONDS

    def attend(work: Callable[[], object]) -> float:
        """Do the work on orders that are all due; return orders per second."""
        clock.advance(_DUE_SECONDS)
        started_at = perf_counter()
        work()
        return len(order_ids) / (perf_counter() - started_at)

    watches = {
        "floor": lambda: attend(lambda: [shop.service.sync(order_id) for order_id in order_ids]),
        "ours": lambda: attend(lambda: shop.service.reconcile(limit=len(order_ids))),
    }
    return judge(collect(watches, bench.scale(3, 1)), beside=f"at most {shop.gateway.peak} calls at once")


def _count_reads(bench: Bench) -> Result:
    clock = _Clock()
    shop = Shop(make_store(bench, "sqlite"), clock=clock)
    poll = make_caller(shop.app, f"{shop.page_of(shop.add_order().order_id)}/status")
    shop.gateway.reads = 0
    intervals, polls = bench.scale(10, 2), bench.scale(1000, 10)
    with ThreadPoolExecutor(_POLLING_THREADS) as pool:
        for _ in range(intervals):
            clock.advance(_SYNC_SECONDS)
            list(pool.map(lambda _: poll(), range(polls)))
    figure = shop.gateway.reads / intervals
    text = f"{figure:.2f} ({shop.gateway.reads} in {intervals} intervals of {polls:,} polls)"
    return Result(figure=figure, text=text)


ROWS: tuple[Row, ...] = (
    Row(
        what="`reconcile`, a gateway that answers in 50 ms: orders per second",
        floor="one order at a time",
        reach=Reach(at_least=6),
        measure=_measure_reconcile,
    ),
    Row(
        what=f"polls of one order from {_POLLING_THREADS} threads: readings of the gateway in each interval",
        floor="-",
        reach=Reach(at_most=1),
        measure=_count_reads,
    ),
)
