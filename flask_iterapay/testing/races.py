"""Threads and processes that use a store at the same time."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from ..errors import RefTakenError
from ..orders.stores.base import OrderStore
from .samples import make_next, make_record, raises

__all__ = [
    "RACERS",
    "ROUNDS",
    "OpenStore",
    "add_together",
    "count",
    "get_count",
    "kill_while_saving",
    "open_and_count",
    "run_in_processes",
    "run_in_threads",
    "save_together",
]

OpenStore = Callable[[], OrderStore]

RACERS = 4
ROUNDS = 15
_KILL_AFTER = 20
_PATIENCE_SECONDS = 60


def save_together(store: OrderStore, version: int, ready: threading.Barrier) -> bool:
    """Save when all are ready; whether it was told that it succeeded."""
    ready.wait(_PATIENCE_SECONDS)
    return store.save(make_record(version=version + 1), expected_version=version)


def add_together(store: OrderStore, number: int, round_: int, ready: threading.Barrier) -> str:
    """Add a record with the ref of the round when all are ready; its key if that succeeded."""
    record = make_record(number, key=f"order:{round_}-{number}", refs=(f"invoice-{round_}",))
    ready.wait(_PATIENCE_SECONDS)
    return "" if raises(RefTakenError, lambda: store.add(record)) else record.key


def count(store: OrderStore, times: int) -> None:
    """Read, add one and save, until that succeeded so many times."""
    while times:
        record = store.get("order:1")
        assert record is not None
        times -= store.save(make_next(record, body=str(int(record.body) + 1)), expected_version=record.version)


def get_count(store: OrderStore) -> int:
    """Read what was counted."""
    record = store.get("order:1")
    assert record is not None
    return int(record.body)


def run_in_threads(race: Callable[[int], Any]) -> list[Any]:
    """Run a race by several threads; what each of them returns."""
    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(race, range(RACERS), timeout=_PATIENCE_SECONDS))


def run_in_processes(task: Callable[[OpenStore, Barrier], None], open_store: OpenStore) -> None:
    """Run a task in several processes, each with a store that it opens."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(RACERS)
    processes = [context.Process(target=task, args=(open_store, ready), daemon=True) for _ in range(RACERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0] * RACERS


def open_and_count(open_store: OpenStore, ready: Barrier | threading.Barrier) -> None:
    """Open a store and count with it when all are ready."""
    store = open_store()
    ready.wait(_PATIENCE_SECONDS)
    count(store, ROUNDS)


def kill_while_saving(open_store: OpenStore) -> int:
    """Return the version that was acknowledged last before the kill."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_save_for_ever, args=(open_store, sender), daemon=True)
    process.start()
    sender.close()
    acknowledged = 0
    with receiver, suppress(EOFError):
        while receiver.poll(_PATIENCE_SECONDS):
            acknowledged = receiver.recv()
            if acknowledged == _KILL_AFTER:
                process.kill()
    process.join(_PATIENCE_SECONDS)
    assert acknowledged >= _KILL_AFTER
    return acknowledged


def _save_for_ever(open_store: OpenStore, sender: Connection) -> None:
    store = open_store()
    while record := store.get("order:1"):
        number = record.version + 1
        store.save(make_next(record, refs=(f"invoice-{number}",), body=str(number)), expected_version=record.version)
        sender.send(number)
