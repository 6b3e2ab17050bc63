"""The thread that reconciles inside a web process: off by default, one for each process, and hard to kill."""

import queue
import threading

import pytest
from shops import Shop

from flask_iterapay.background import Background

PATIENCE_SECONDS = 30


class Waits:
    """Hands the thread one go for each ``go``, and ends it with ``end``; ``seconds`` is what it asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._answers: queue.Queue[bool] = queue.Queue()

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return self._answers.get(timeout=PATIENCE_SECONDS)

    def go(self) -> None:
        self._answers.put(False)

    def end(self) -> None:
        self._answers.put(True)


def run_rounds(run, waits: Waits, rounds: int) -> None:
    """Let a background thread make so many rounds, and see it end."""
    before = set(threading.enumerate())
    Background(run=run, every_seconds=30, wait=waits).ensure_running()
    [thread] = set(threading.enumerate()) - before
    assert thread.daemon
    for _ in range(rounds):
        waits.go()
    waits.end()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def test_it_runs_after_each_pause():
    """The pause comes first, so that a start costs nothing."""
    rounds, waits = [], Waits()
    run_rounds(lambda: rounds.append(len(waits.seconds)), waits, 3)
    assert (rounds, waits.seconds) == ([1, 2, 3], [30] * 4)


def test_what_it_runs_may_fail(caplog):
    """A database that is away for a moment does not end reconciling for ever."""
    rounds = []

    def run():
        rounds.append(1)
        raise RuntimeError("the database is away")

    run_rounds(run, Waits(), 2)
    assert len(rounds) == 2
    assert caplog.text.count("reconciling failed") == 2


def test_each_process_has_one_thread():
    """Requests do not add threads; a fork does, since threads do not survive it."""
    process_ids = [1]
    waits = Waits()
    background = Background(run=int, every_seconds=1, wait=waits, get_process_id=lambda: process_ids[-1])
    before = set(threading.enumerate())
    for process_id in (1, 1, 1, 2, 2, 1):
        process_ids.append(process_id)
        background.ensure_running()
    threads = set(threading.enumerate()) - before
    waits.end()
    waits.end()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert len(threads) == 2


def test_a_thread_that_cannot_be_had_costs_nobody_a_page(caplog):
    """A process at its limit goes on serving, and the next request tries again."""
    limited = [True]

    class Thread(threading.Thread):
        def start(self):
            if limited:
                raise RuntimeError("can't start new thread")
            super().start()

    background = Background(run=int, every_seconds=1, wait=lambda seconds: True, thread_class=Thread)
    background.ensure_running()
    assert "could not be started" in caplog.text
    limited.clear()
    background.ensure_running()


@pytest.mark.parametrize(("config", "count"), [({}, 0), ({"ITERAPAY_RECONCILE_SECONDS": 1}, 1)], ids=["off", "on"])
def test_a_shop_must_ask_for_it(tmp_path, config, count):
    """By default no thread is started; with the key the first request starts it, and orders get right by themselves."""
    shop = Shop(tmp_path, **config)
    before = set(threading.enumerate())
    path = shop.place()
    shop.choose(path)
    shop.choose(path)
    assert len(set(threading.enumerate()) - before) == count


def test_it_brings_the_news_of_a_payment(tmp_path):
    """Nobody polls, no webhook comes, no command runs: the order is paid and its handler told."""
    told = threading.Event()
    shop = Shop(tmp_path, ITERAPAY_RECONCILE_SECONDS=1)

    @shop.iterapay.on("order.paid")
    def tell(event):
        told.set()

    shop.choose(shop.place())
    shop.act("pay_exact")
    shop.clock.advance(61)
    assert told.wait(PATIENCE_SECONDS)
    assert [event.key for event in shop.heard] == ["order.paid:1042"]
