"""Telling the shop: each open event goes to its handlers until all of them have succeeded.

At least once, never before the commit, always under the same ``event.key``. An event is leased by moving its next
attempt forward, with the same compare-and-set as everything else, so two workers do not run it at the same time, and
one that dies leaves it to the next.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from ..values import Struct, replace
from .entries import Clock, Entry, Event, EventName, EventState, Note
from .ledger import Ledger

__all__ = ["Dispatcher", "Handler"]

AnyEntry = TypeVar("AnyEntry", bound=Entry)

MAX_ATTEMPTS = 12
_LEASE_SECONDS = 600
_FIRST_PAUSE_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 6 * 3600
_UNHEARD_SECONDS = 7 * 24 * 3600

logger = logging.getLogger("flask_iterapay")


class Handler(Struct, frozen=True, kw_only=True):
    """A shop's function for one kind of event. ``name`` tells the handlers of an event apart over restarts."""

    name: str
    call: Callable[[Any], object]


class Dispatcher(Generic[AnyEntry]):
    """Runs handlers for the open events of a ledger's entries.

    ``handlers_for`` returns the handlers of an event name; ``run`` calls one of them in whatever surroundings the
    shop needs and lets its exception through.
    """

    def __init__(
        self,
        *,
        ledger: Ledger[AnyEntry],
        clock: Clock,
        handlers_for: Callable[[EventName], Sequence[Handler]],
        run: Callable[[Handler, Event], object],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._handlers_for = handlers_for
        self._run = run

    def dispatch(self, entry_id: str) -> int:
        """Run the handlers of every event whose time has come; return how many events were handed out.

        A handler's exception is logged and never escapes.
        """
        count, entry = 0, self._ledger.get(entry_id)
        while leased := self._lease(entry):
            entry, event = leased
            entry = self._conclude(entry, event, self._run_handlers(event))
            count += 1
        return count

    def close_unheard(self, entry: AnyEntry) -> AnyEntry:
        """Mark as done what nobody here listens to, as ``dispatch`` would; a payment stays open.

        In the save that an event is born in, this costs nothing, and a dispatch would cost two more.
        """
        for event in entry.events:
            is_new = event.state is EventState.OPEN and not event.attempts
            if is_new and not event.name.is_payment and not self._handlers_for(event.name):
                entry = entry.with_event(replace(event, state=EventState.DONE, next_attempt_at=None))
        return entry

    def retry(self, entry_id: str, *, actor: str, note: str = "") -> AnyEntry:
        """Make the events of an entry due again: those that failed for good, and those that wait for another try.

        A failed one gets all its attempts anew. What a worker is at stays with it. Who did it and why is recorded; if
        there is nothing to try again, nothing is written.
        """

        def compute(entry: AnyEntry) -> AnyEntry:
            now = self._clock()
            waiting = [event for event in entry.events if _is_waiting(event, now)]
            for event in waiting:
                entry = entry.with_event(replace(event, state=EventState.OPEN, attempts=0, next_attempt_at=now))
            if not waiting:
                return entry
            reason = f"tries {', '.join(event.key for event in waiting)} again"
            return entry.with_note(Note(at=now, reason=reason, actor=actor, note=note))

        return self._ledger.change(entry_id, compute)

    def _lease(self, entry: AnyEntry) -> tuple[AnyEntry, Event] | None:
        """Take the first due event, or ``None``. A lost race means that another worker took it: look again."""
        while event := self._first_due(entry):
            # Whoever ran it last died of it and could not say so.
            is_spent = event.attempts >= MAX_ATTEMPTS
            taken = _fail(event) if is_spent else self._begin_attempt(event)
            saved = self._ledger.save(entry.with_event(taken))
            if saved and not is_spent:
                return saved, taken
            entry = saved or self._ledger.get(entry.entry_id)
        return None

    def _begin_attempt(self, event: Event) -> Event:
        lease_until = self._clock() + timedelta(seconds=_LEASE_SECONDS)
        return replace(event, attempts=event.attempts + 1, next_attempt_at=lease_until, is_leased=True)

    def _first_due(self, entry: AnyEntry) -> Event | None:
        now = self._clock()
        return next(
            (
                event
                for event in entry.events
                if event.state is EventState.OPEN and event.next_attempt_at is not None and event.next_attempt_at <= now
            ),
            None,
        )

    def _run_handlers(self, event: Event) -> frozenset[str]:
        """Run the handlers that have not succeeded yet; return the names of all that have."""
        done = set(event.done_by)
        for handler in self._handlers_for(event.name):
            if handler.name in done:
                continue
            try:
                self._run(handler, event)
            except (Exception, SystemExit):
                # A handler that exits must not take the worker, or reconcile, with it.
                logger.exception("handler %s failed on %s, attempt %d", handler.name, event.key, event.attempts)
            else:
                done.add(handler.name)
        return frozenset(done)

    def _conclude(self, entry: AnyEntry, leased: Event, done_by: frozenset[str]) -> AnyEntry:
        names = {handler.name for handler in self._handlers_for(leased.name)}

        def compute(entry: AnyEntry) -> AnyEntry:
            event = next(event for event in entry.events if event.key == leased.key)
            # Another worker may have taken the event after a lease ran out; what either of them did stays done.
            is_ours = (event.attempts, event.next_attempt_at) == (leased.attempts, leased.next_attempt_at)
            event = replace(event, done_by=event.done_by | done_by)
            if not is_ours and not names <= event.done_by:
                return entry.with_event(event)
            return entry.with_event(self._after_attempt(replace(event, is_leased=False), names))

        return self._ledger.change(entry.entry_id, compute, known=entry)

    def _after_attempt(self, event: Event, names: set[str]) -> Event:
        if not names and event.name.is_payment:
            return self._keep_for_others(event)
        if names <= event.done_by:
            return replace(event, state=EventState.DONE, next_attempt_at=None)
        if event.attempts >= MAX_ATTEMPTS:
            return _fail(event)
        return replace(event, next_attempt_at=self._clock() + timedelta(seconds=_pause_seconds(event.attempts)))

    def _keep_for_others(self, event: Event) -> Event:
        """A payment that nobody is told of is no success: another process may have the handlers that this one lacks.

        It costs no attempt, and after a week it fails, so that a person sees it.
        """
        logger.error("%s: this process has no handler for %s", event.key, event.name)
        age_seconds = int((self._clock() - event.occurred_at).total_seconds())
        if age_seconds >= _UNHEARD_SECONDS:
            return _fail(event)
        pause = min(max(_FIRST_PAUSE_SECONDS, age_seconds), _LONGEST_PAUSE_SECONDS)
        return replace(event, attempts=event.attempts - 1, next_attempt_at=self._clock() + timedelta(seconds=pause))


def _fail(event: Event) -> Event:
    logger.error("%s failed for good after %d attempts", event.key, event.attempts)
    return replace(event, state=EventState.FAILED, next_attempt_at=None, is_leased=False)


def _is_waiting(event: Event, now: datetime) -> bool:
    """Whether a person may make this event due: it failed, or it waits and no worker is at it."""
    if event.state is EventState.FAILED:
        return True
    is_later = event.next_attempt_at is not None and event.next_attempt_at > now
    return event.state is EventState.OPEN and is_later and not event.is_leased


def _pause_seconds(attempts: int) -> int:
    pause: int = _FIRST_PAUSE_SECONDS * 3 ** (attempts - 1)
    return min(pause, _LONGEST_PAUSE_SECONDS)
