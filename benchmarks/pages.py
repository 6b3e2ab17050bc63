"""What customers ask for: the payment page, and its poll every few seconds."""

from datetime import timedelta
from functools import partial

from flask_iterapay.web.view import build_view

from .bench import Bench
from .databases import DATABASES, make_store
from .floors import make_caller, make_floor
from .row import Reach, Result, Row, compare
from .shops import NOW, Shop
from .timing import Case

__all__ = ["ROWS"]

_FIRST_PAUSE_SECONDS = 3
_QUOTE_SECONDS = 900


def _measure_page(bench: Bench) -> Result:
    shop = Shop(make_store(bench, "sqlite"))
    floor = Case(name="floor", run=make_caller(make_floor(), "/page"))
    page = make_caller(shop.app, shop.page_of(shop.add_order().order_id))
    return compare(bench.effort, floor, Case(name="ours", run=page))


def _measure_poll(bench: Bench, kind: str) -> Result:
    shop = Shop(make_store(bench, kind))
    floor = Case(name="floor", run=make_caller(make_floor(), "/"))
    poll = make_caller(shop.app, f"{shop.page_of(shop.add_order().order_id)}/status")
    return compare(bench.effort, floor, Case(name="ours", run=poll))


def _count_polls(bench: Bench) -> Result:
    order = Shop(make_store(bench, "sqlite")).add_order()
    seconds = polls = 0
    while seconds < _QUOTE_SECONDS:
        pause = build_view(order, NOW + timedelta(seconds=seconds)).next_poll_seconds
        assert pause is not None
        seconds, polls = seconds + pause, polls + 1
    share = polls / (_QUOTE_SECONDS / _FIRST_PAUSE_SECONDS)
    return Result(figure=share, text=f"{share:.2f}")


def _poll_row(kind: str, reach: Reach) -> Row:
    return Row(
        what=f"status poll, unchanged, {DATABASES[kind]}",
        floor="bare Flask GET",
        reach=reach,
        measure=partial(_measure_poll, kind=kind),
    )


ROWS: tuple[Row, ...] = (
    Row(
        what="payment page, QR code known",
        floor="bare one-variable template",
        reach=Reach(at_most=4),
        measure=_measure_page,
    ),
    _poll_row("sqlite", Reach(at_most=3.5)),
    _poll_row("postgresql", Reach(at_most=9.5)),
    Row(
        what="polls of one page while a price of 15 minutes runs",
        floor=f"one every {_FIRST_PAUSE_SECONDS} s",
        # A fifth, and the polls of the first seconds, when news is likeliest.
        reach=Reach(at_most=0.25),
        measure=_count_polls,
    ),
)
