"""Handlers: at least once, never twice at a time, never in each other's way."""

from datetime import timedelta
from decimal import Decimal

import pytest
from msgspec.structs import replace
from worlds import Timepiece

from flask_iterapay.orders.dispatch import MAX_ATTEMPTS, Dispatcher, Handler
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.lifecycle import cancel
from flask_iterapay.orders.models import EventName, EventState, Order, OrderEvent
from flask_iterapay.orders.stores.memory import MemoryStore


class Shop:
    """One cancelled order with an open event, and whatever handlers a test wants."""

    def __init__(self, *handlers: Handler) -> None:
        self.clock = Timepiece()
        self.handlers = list(handlers)
        self.ledger = Ledger(store=MemoryStore(), model=Order)
        now = self.clock()
        order = Order(order_id="1042", amount=Decimal(1), created_at=now, changed_at=now)
        self.ledger.add(cancel(order, now, actor="shop"))
        self.dispatcher = Dispatcher(
            ledger=self.ledger,
            clock=self.clock,
            handlers_for=lambda name: self.handlers,
            run=lambda handler, event: handler.call(event),
        )

    def dispatch(self) -> int:
        return self.dispatcher.dispatch("1042")

    @property
    def event(self) -> OrderEvent:
        return self.ledger.get("1042").events[0]


def failing(times: int, calls: list[str], name: str = "failing") -> Handler:
    """A handler that raises the first ``times`` times."""

    def call(event: OrderEvent) -> None:
        calls.append(name)
        if calls.count(name) <= times:
            raise RuntimeError("the warehouse is closed")

    return Handler(name=name, call=call)


def test_an_event_is_handed_out_once():
    """A handler that returns is not called again."""
    calls: list[str] = []
    shop = Shop(failing(0, calls))
    assert (shop.dispatch(), shop.dispatch(), calls) == (1, 0, ["failing"])
    assert (shop.event.state, shop.event.next_attempt_at) == (EventState.DONE, None)
    assert shop.ledger.get("1042").due_at is None


def test_a_handler_that_raises_is_tried_again_with_growing_pauses():
    """After 10 s, then 30 s, under the same key."""
    calls: list[str] = []
    shop = Shop(failing(2, calls))
    key = shop.event.key
    for pause in (10, 30):
        shop.dispatch()
        assert shop.event.next_attempt_at == shop.clock() + timedelta(seconds=pause)
        assert shop.dispatch() == 0
        shop.clock.advance(pause)
    shop.dispatch()
    assert (len(calls), shop.event.state, shop.event.key) == (3, EventState.DONE, key)


def test_handlers_do_not_stand_in_each_others_way():
    """One that raises does not keep the other from running, and only it is tried again."""
    calls: list[str] = []
    shop = Shop(failing(1, calls, "first"), failing(0, calls, "second"))
    shop.dispatch()
    assert calls == ["first", "second"]
    shop.clock.advance(10)
    shop.dispatch()
    assert calls == ["first", "second", "first"]
    assert shop.event.state is EventState.DONE


def test_pauses_end_at_six_hours_and_attempts_at_twelve(caplog):
    """What never succeeds ends as failed, at ERROR, and is not due any more."""
    calls: list[str] = []
    shop = Shop(failing(99, calls))
    pauses = []
    for _ in range(MAX_ATTEMPTS):
        shop.dispatch()
        if shop.event.next_attempt_at:
            pauses.append((shop.event.next_attempt_at - shop.clock()).total_seconds())
            shop.clock.advance(pauses[-1])
    assert pauses == [10, 30, 90, 270, 810, 2430, 7290, 21600, 21600, 21600, 21600]
    assert (len(calls), shop.event.state, shop.dispatch()) == (12, EventState.FAILED, 0)
    assert "failed for good after 12 attempts" in caplog.text


def test_two_workers_do_not_run_an_event_at_the_same_time():
    """While one runs the handler, the other finds the event leased."""
    seen: list[int] = []
    shop = Shop()
    shop.handlers = [Handler(name="slow", call=lambda event: seen.append(shop.dispatch()))]
    shop.dispatch()
    assert seen == [0]


def test_a_worker_that_dies_leaves_the_event_to_the_next():
    """The lease runs out, and the event comes again under the same key."""

    class Killed(BaseException):
        pass

    def die(event: OrderEvent) -> None:
        raise Killed

    shop = Shop(Handler(name="ship", call=die))
    with pytest.raises(Killed):
        shop.dispatch()
    calls: list[str] = []
    shop.handlers = [failing(0, calls, "ship")]
    assert shop.dispatch() == 0
    shop.clock.advance(600)
    assert (shop.dispatch(), calls) == (1, ["ship"])


def test_what_two_workers_did_adds_up():
    """If a lease ran out under a slow worker, what it finished is still counted as done."""
    calls: list[str] = []
    shop = Shop()

    def slow(event: OrderEvent) -> None:
        calls.append("slow")
        if len(calls) == 1:
            shop.clock.advance(601)
            shop.handlers = [failing(9, calls, "other")]
            shop.dispatch()
            shop.handlers = [Handler(name="slow", call=slow)]

    shop.handlers = [Handler(name="slow", call=slow)]
    shop.dispatch()
    assert calls == ["slow", "other"]
    assert (shop.event.state, shop.event.done_by) == (EventState.DONE, frozenset({"slow"}))


def test_a_lost_race_for_the_lease_looks_again():
    """A save by somebody else between read and lease does not lose the event."""

    class Racing(MemoryStore):
        def save(self, record, *, expected_version):
            if not raced:
                raced.append(True)
                super().save(record, expected_version=expected_version)
                return False
            return super().save(record, expected_version=expected_version)

    raced: list[bool] = []
    calls: list[str] = []
    shop = Shop(failing(0, calls))
    order = shop.ledger.get("1042")
    racing = Racing()
    ledger = Ledger(store=racing, model=Order)
    ledger.add(order)
    dispatcher = Dispatcher(
        ledger=ledger,
        clock=shop.clock,
        handlers_for=lambda name: shop.handlers,
        run=lambda handler, event: handler.call(event),
    )
    # The other worker's save took the lease, so this one must not run the handler as well.
    assert (dispatcher.dispatch("1042"), calls) == (0, [])


def test_an_event_without_handlers_is_done():
    """A shop need not care for every kind of event."""
    shop = Shop()
    shop.dispatch()
    assert shop.event.state is EventState.DONE


def test_a_payment_that_nobody_handles_stays_visible(caplog):
    """Another process may have the handler; if none ever has, it ends as failed, where a person sees it."""
    shop = Shop()
    order = shop.ledger.get("1042")
    event = OrderEvent(
        key="order.paid:1042",
        name=EventName.PAID,
        order_id="1042",
        occurred_at=shop.clock(),
        next_attempt_at=shop.clock(),
    )
    shop.ledger.save(replace(order, events=(event,)))
    shop.dispatch()
    assert (shop.event.state, shop.event.next_attempt_at) == (EventState.OPEN, shop.clock() + timedelta(seconds=10))
    assert "no handler" in caplog.text
    calls: list[str] = []
    shop.handlers = [failing(0, calls)]
    shop.clock.advance(10)
    assert (shop.dispatch(), calls, shop.event.state) == (1, ["failing"], EventState.DONE)


def test_a_payment_that_no_process_ever_handles_fails_in_the_end_at_no_attempt():
    """Looking without handlers wears nothing out; after a week a person sees it."""
    shop = Shop()
    event = OrderEvent(
        key="order.paid:1042",
        name=EventName.PAID,
        order_id="1042",
        occurred_at=shop.clock(),
        next_attempt_at=shop.clock(),
    )
    shop.ledger.save(replace(shop.ledger.get("1042"), events=(event,)))
    looks = 0
    while shop.event.state is EventState.OPEN:
        looks += shop.dispatch()
        shop.clock.advance(3600)
    assert (shop.event.state, shop.event.attempts) == (EventState.FAILED, 1)
    assert looks < 50
    assert shop.clock() - event.occurred_at > timedelta(days=7)


def test_a_handler_that_kills_its_worker_every_time_ends_as_failed():
    """Nobody lived to say so, and still it does not go on for ever."""

    class Killed(BaseException):
        pass

    def die(event: OrderEvent) -> None:
        deaths.append(event.attempts)
        raise Killed

    deaths: list[int] = []
    shop = Shop(Handler(name="ship", call=die))
    for _ in range(MAX_ATTEMPTS):
        with pytest.raises(Killed):
            shop.dispatch()
        shop.clock.advance(600)
    assert (shop.dispatch(), len(deaths), shop.event.state) == (0, MAX_ATTEMPTS, EventState.FAILED)


def test_a_handler_that_exits_does_not_take_the_worker_with_it():
    """sys.exit in a handler is a failure like any other."""

    def leave(event: OrderEvent) -> None:
        raise SystemExit(3)

    calls: list[str] = []
    shop = Shop(Handler(name="leaving", call=leave), failing(0, calls, "next"))
    assert (shop.dispatch(), calls, shop.event.state) == (1, ["next"], EventState.OPEN)


class TestRetry:
    def test_a_failed_event_gets_all_its_attempts_anew(self):
        """Once the warehouse is open again, a person has it told; who and why is recorded."""
        calls: list[str] = []
        shop = Shop(failing(MAX_ATTEMPTS, calls))
        for _ in range(MAX_ATTEMPTS):
            shop.dispatch()
            shop.clock.advance(6 * 3600)
        assert (shop.event.state, shop.dispatch()) == (EventState.FAILED, 0)
        order = shop.dispatcher.retry("1042", actor="ana", note="warehouse is open")
        assert (shop.event.state, shop.event.attempts, shop.event.next_attempt_at) == (EventState.OPEN, 0, shop.clock())
        assert order.due_at == shop.clock()
        entry = order.history[-1]
        assert (entry.at, entry.actor, entry.note) == (shop.clock(), "ana", "warehouse is open")
        assert entry.reason == f"tries {shop.event.key} again"
        assert (shop.dispatch(), shop.event.state) == (1, EventState.DONE)

    def test_a_handler_that_succeeded_is_not_called_again(self):
        """Trying again is for what failed."""
        calls: list[str] = []
        shop = Shop(failing(0, calls, "sound"), failing(1, calls, "broken"))
        shop.dispatch()
        shop.dispatcher.retry("1042", actor="ana")
        shop.dispatch()
        assert calls == ["sound", "broken", "broken"]
        assert shop.event.state is EventState.DONE

    def test_an_event_that_waits_is_tried_at_once(self):
        """Whoever has mended the handler need not wait out the pause."""
        shop = Shop(failing(1, []))
        shop.dispatch()
        assert shop.dispatch() == 0
        shop.dispatcher.retry("1042", actor="ana")
        assert shop.dispatch() == 1

    def test_what_a_worker_is_at_stays_with_it(self):
        """A person's impatience does not run a handler beside itself."""
        shop = Shop()
        orders: list[Order] = []
        shop.handlers.append(
            Handler(name="slow", call=lambda event: orders.append(shop.dispatcher.retry("1042", actor="ana")))
        )
        before = len(shop.ledger.get("1042").history)
        shop.dispatch()
        assert [len(order.history) for order in orders] == [before]
        assert (shop.event.state, shop.event.is_leased) == (EventState.DONE, False)

    def test_with_nothing_to_try_nothing_is_written(self):
        """An order whose events are done stays as it is."""
        shop = Shop()
        shop.dispatch()
        before = shop.ledger.get("1042")
        assert shop.dispatcher.retry("1042", actor="ana") == before


def test_a_late_worker_does_not_end_a_lease():
    """A third worker must not begin beside the second."""
    shop = Shop()
    leases: list[OrderEvent] = []

    def work(event: OrderEvent) -> None:
        if event.attempts == 1:
            shop.clock.advance(601)
            leased = shop.dispatcher._lease(shop.ledger.get("1042"))
            assert leased is not None
            leases.append(leased[1])
        raise RuntimeError("too late")

    shop.handlers.append(Handler(name="slow", call=work))
    shop.dispatch()
    assert shop.event == leases[0]
