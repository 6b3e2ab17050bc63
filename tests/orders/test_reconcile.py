"""Many orders read at once: no more than was allowed, handlers one at a time, and nothing left running."""

import threading
from collections.abc import Callable, Iterator

import pytest
from worlds import Fault, World, make_world

from flask_iterapay.orders.entries import Entry
from flask_iterapay.orders.models import OrderStatus

READ = "GET /merchants/11111111-1111-4111-8111-111111111111/invoices/"
READERS = 4
# For a machine that is busy with something else; a test that passes does not wait.
PATIENCE_SECONDS = 60


class Crowd:
    """Counts how many are in it at once, and lets nobody out before it is as large as it should get."""

    def __init__(self, size: int) -> None:
        self.peak = self._inside = 0
        self._barrier = threading.Barrier(size)
        self._lock = threading.Lock()

    def join(self) -> None:
        with self._lock:
            self._inside += 1
            self.peak = max(self.peak, self._inside)
        self._barrier.wait(PATIENCE_SECONDS)
        with self._lock:
            self._inside -= 1


def make_due(world: World, count: int) -> list[str]:
    """Have orders paid of which nobody was told, so that reconcile finds them."""
    order_ids = [str(number) for number in range(count)]
    for order_id in order_ids:
        world.act("pay_exact", world.choose(order_id))
    world.clock.advance(61)
    return order_ids


def meet(world: World, run: Callable[[], object]) -> None:
    """Do something in the middle of every reading."""
    world.wire.faults.append(Fault(READ, 99, run=run))


@pytest.fixture
def world(tmp_path) -> World:
    return make_world(tmp_path, parallel_reads=READERS)


def test_as_many_are_read_at_once_as_was_allowed(world: World):
    """Four readers meet in the gateway, twice, and there is never a fifth."""
    order_ids = make_due(world, 2 * READERS)
    crowd = Crowd(READERS)
    meet(world, crowd.join)
    report = world.service.reconcile()
    assert crowd.peak == READERS
    assert (report.orders, report.events, report.failures) == (2 * READERS, 2 * READERS, 0)
    assert {world.service.get(order_id).status for order_id in order_ids} == {OrderStatus.PAID}


def test_handlers_run_one_at_a_time_where_reconcile_was_called(tmp_path):
    """What a handler keeps for its thread, such as a connection, is the caller's."""
    handlers, readers = list[int](), list[int]()
    world = make_world(tmp_path, parallel_reads=READERS, handle=lambda event: handlers.append(threading.get_ident()))
    make_due(world, READERS)
    meet(world, lambda: readers.append(threading.get_ident()))
    world.service.reconcile()
    assert handlers == [threading.get_ident()] * READERS
    assert threading.get_ident() not in readers


def test_one_at_a_time_needs_no_thread(tmp_path):
    """A shop that allows one read has it in the caller's own thread."""
    world = make_world(tmp_path)
    make_due(world, 2)
    readers = list[int]()
    meet(world, lambda: readers.append(threading.get_ident()))
    world.service.reconcile()
    assert set(readers) == {threading.get_ident()}


def test_a_round_that_is_broken_off_leaves_no_thread(world: World):
    """Whoever presses Ctrl-C gets the prompt back once what is under way has come to its end."""
    make_due(world, 2 * READERS)
    before = threading.active_count()

    def break_off(entries: list[Entry]) -> Iterator[Entry]:
        yield entries[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.service.reconcile(watch=break_off)
    assert threading.active_count() == before
