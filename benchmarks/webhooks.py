"""The webhook's route: refused, with nothing new, and with news, beside a bare POST that commits as it has to."""

from collections.abc import Callable
from functools import partial

from flask_iterapay.gateway.models import InvoiceState
from flask_iterapay.gateway.signing import SIGNATURE_HEADER

from .bench import Bench
from .databases import DATABASES, make_commit, make_store
from .floors import make_caller, make_floor, send
from .row import Reach, Result, Row, compare
from .shops import WEBHOOK, Shop, make_hint
from .timing import Case

__all__ = ["ROWS", "make_news_case"]


def _measure_forged(bench: Bench) -> Result:
    shop, (_, body) = Shop(make_store(bench, "sqlite")), make_hint("any")
    forged = {SIGNATURE_HEADER: "0" * 64}
    ours = make_caller(shop.app, WEBHOOK, method="POST", body=body, headers=forged, status="401 UNAUTHORIZED")
    return compare(bench.effort, _bare_post(body), Case(name="ours", run=ours))


def _measure_nothing_new(bench: Bench) -> Result:
    # With a handler, since an event that nobody hears would be tried again and again.
    shop = Shop(make_store(bench, "sqlite"), has_handler=True)
    order = shop.add_order()
    shop.gateway.state = InvoiceState.PAID
    environ, body = make_hint(str(order.current_invoice_id))
    send(shop.app, environ, body)
    return compare(bench.effort, _bare_post(body), Case(name="ours", run=lambda: send(shop.app, environ, body)))


def _bare_post(body: bytes, commit: Callable[[], object] = lambda: None) -> Case:
    return Case(name="floor", run=make_caller(make_floor(commit), "/", method="POST", body=body))


def _measure_news(bench: Bench, kind: str, *, state: InvoiceState, has_handler: bool) -> Result:
    shop = Shop(make_store(bench, kind), has_handler=has_handler)
    record = shop.store.get(f"order:{shop.add_order().order_id}")
    assert record is not None
    floor = _bare_post(make_hint("any")[1], make_commit(bench, kind, record.body))
    return compare(bench.effort, floor, make_news_case("ours", shop, state))


def make_news_case(name: str, shop: Shop, state: InvoiceState) -> Case:
    """Time hints about orders that wait for money, of which the gateway then says that it is in ``state``."""
    hints = list[Callable[[], None]]()

    def prepare(count: int) -> None:
        shop.gateway.state = InvoiceState.OPEN
        ids = [str(shop.add_order().current_invoice_id) for _ in range(count)]
        hints.extend(partial(send, shop.app, *make_hint(invoice_id)) for invoice_id in ids)
        shop.gateway.state = state

    return Case(name=name, prepare=prepare, run=lambda: hints.pop()())


def _news_rows(kind: str, reach: Reach) -> tuple[Row, ...]:
    floor = {
        "sqlite": "bare Flask POST + one raw `sqlite3` commit (WAL, FULL)",
        "postgresql": "bare Flask POST + one-statement psycopg commit",
    }[kind]
    return (
        Row(
            what=f"webhook route, news that money was seen, no handler, {DATABASES[kind]}",
            floor=floor,
            reach=reach,
            measure=partial(_measure_news, kind=kind, state=InvoiceState.CONFIRMING, has_handler=False),
        ),
        Row(
            what=f"webhook route, news that the order is paid, with a handler, {DATABASES[kind]}",
            floor=floor,
            reach=Reach(),
            measure=partial(_measure_news, kind=kind, state=InvoiceState.PAID, has_handler=True),
        ),
    )


ROWS: tuple[Row, ...] = (
    Row(
        what="webhook route, forged signature",
        floor="bare Flask POST that reads its body",
        reach=Reach(at_most=1.4),
        measure=_measure_forged,
    ),
    Row(
        what="webhook route, nothing new: paid already and read a moment ago",
        floor="bare Flask POST that reads its body",
        reach=Reach(at_most=3),
        measure=_measure_nothing_new,
    ),
    *_news_rows("sqlite", Reach(at_most=2.5)),
    *_news_rows("postgresql", Reach(at_most=3)),
)
