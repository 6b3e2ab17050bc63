"""Many orders read at once: no more than was allowed, handlers one at a time, and nothing left running."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

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


def test_a_round_that_is_broken_off_begins_nothing_more(world: World):
    """Whoever presses Ctrl-C waits for nothing, and what is under way ends by itself."""
    make_due(world, 5 * READERS)
    gate, entered = threading.Event(), itertools.count(1)

    def wait() -> None:
        if next(entered) > READERS:
            gate.wait(PATIENCE_SECONDS)

    def break_off(entries: list[Entry]) -> Iterator[Entry]:
        yield entries[0]
        raise KeyboardInterrupt

    meet(world, wait)
    with pytest.raises(KeyboardInterrupt):
        world.service.reconcile(watch=break_off)
    gate.set()
    for thread in list_readers():
        thread.join(PATIENCE_SECONDS)
    assert next(entered) - 1 <= 2 * READERS


def test_an_error_of_a_reader_is_the_callers(world: World):
    """What nobody foresaw is not lost in a thread."""
    make_due(world, READERS)

    def fail() -> None:
        raise IndexError("nobody foresaw this")

    meet(world, fail)
    with pytest.raises(IndexError, match="nobody foresaw this"):
        world.service.reconcile()


@pytest.mark.process
def test_a_process_that_ends_waits_for_no_reading():
    """A gateway that hangs must not keep a worker from ending."""
    assert run(ENDS) == "ended\n"


@pytest.mark.process
def test_where_no_thread_can_be_had_it_is_done_without():
    """In a small container, say, with a limit on them."""
    assert run(WITHOUT_THREADS) == "8 0\n"


def run(program: str) -> str:
    """Run a program that goes on where ``WORLD`` ends; return what it prints."""
    command = [sys.executable, "-c", WORLD + program]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


WORLD = f"""
import sys, tempfile, threading
from pathlib import Path
sys.path[:0] = ["{Path(__file__).parents[1] / "support"}"]
from worlds import Fault, make_world
world = make_world(Path(tempfile.mkdtemp()), parallel_reads=4)
for number in range(8):
    world.choose(str(number))
world.clock.advance(61)
"""
ENDS = f"""
inside = threading.Semaphore(0)
def hang():
    inside.release()
    threading.Event().wait()
world.wire.faults.append(Fault("{READ}", 99, run=hang))
threading.Thread(target=world.service.reconcile, daemon=True).start()
inside.acquire(timeout=30)
print("ended")
"""
WITHOUT_THREADS = """
# No machine has so much memory for one.
threading.stack_size(1 << 46)
report = world.service.reconcile()
print(report.orders, report.failures)
"""


def list_readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "iterapay-read"]
