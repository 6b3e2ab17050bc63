"""Reconciling without a second program: one thread in each process that serves requests. Off by default."""

import logging
import os
import threading
from collections.abc import Callable

__all__ = ["Background"]

logger = logging.getLogger("flask_iterapay")


class Background:
    """Calls ``run`` every ``every_seconds``, from a daemon thread that the first request of a process starts.

    A thread does not survive a fork, so each worker gets its own; ``run`` must bear several at once. What it raises is
    logged, and it is called again. A process that ends does not wait for it. ``wait`` waits for so many seconds and
    returns whether the thread should end.
    """

    def __init__(
        self,
        *,
        run: Callable[[], object],
        every_seconds: int,
        wait: Callable[[int], bool] | None = None,
        get_process_id: Callable[[], int] = os.getpid,
        thread_class: type[threading.Thread] = threading.Thread,
    ) -> None:
        self._run = run
        self._every_seconds = every_seconds
        self._wait = wait or _wait
        self._get_process_id = get_process_id
        self._thread_class = thread_class
        self._threads: dict[int, threading.Thread] = {}

    def ensure_running(self) -> None:
        """Start the thread of this process, unless it was started before."""
        process_id = self._get_process_id()
        if process_id in self._threads:
            return
        thread = self._thread_class(target=self._repeat, name="iterapay-reconcile", daemon=True)
        # Two requests may come at once; a lock instead could be inherited in its locked state.
        if self._threads.setdefault(process_id, thread) is not thread:
            return
        try:
            thread.start()
        except RuntimeError:
            # No thread to be had: the request goes on without, and the next one tries again.
            logger.exception("the thread that reconciles could not be started")
            self._threads.pop(process_id, None)

    def _repeat(self) -> None:
        while not self._wait(self._every_seconds):
            try:
                self._run()
            except Exception:
                logger.exception("reconciling failed, and will be tried again")


def _wait(seconds: int) -> bool:
    return threading.Event().wait(seconds)
