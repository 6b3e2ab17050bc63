"""The only door for news: claim a payable, read the gateway, settle, save.

Hints, page polls, the customer's check and ``reconcile`` all come through here, so a reading is always taken whole
under one claim, and never while a transaction is open. What is read, and what it means, is the ``Reader``'s.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from ..errors import GatewayError, RateLimitedError
from ..values import Struct, replace
from .entries import Claim, Clock, Payable
from .ledger import Ledger
from .models import Policy
from .schedule import retry_check_at

__all__ = ["Reader", "Reading", "Synchronizer"]

# A claim must outlive the reading that it is for; readers see to it that at most 80 seconds go by.
_CLAIM_SECONDS = 90
_ROUNDS = 3

logger = logging.getLogger("flask_iterapay")


class Reading(Struct, frozen=True, kw_only=True):
    """What one round of calls brought; what was read counts although ``failure`` says that not all could be."""

    failure: GatewayError | None = None


AnyPayable = TypeVar("AnyPayable", bound=Payable)
AnyReading = TypeVar("AnyReading", bound=Reading)


class Reader(Protocol[AnyPayable, AnyReading]):
    """Knows what to read for one kind of payable, and what comes of it. All but ``read`` are pure."""

    def prepare(self, payable: AnyPayable, now: datetime) -> AnyPayable:
        """What time alone has done to it, before it is claimed."""
        ...

    def read(self, payable: AnyPayable) -> AnyReading:
        """Ask the gateway, within 80 seconds.

        Raises:
            GatewayError: nothing could be read.
        """
        ...

    def settle(self, payable: AnyPayable, reading: AnyReading, now: datetime) -> AnyPayable:
        """The payable once the reading is known; it may have changed since it was read for."""
        ...

    def next_check_at(self, payable: AnyPayable, now: datetime) -> datetime | None:
        """When to read it again after this reading; ``None`` for only when a hint comes."""
        ...

    def poll_check_at(self, payable: AnyPayable) -> datetime | None:
        """When a page that polls may have it read."""
        ...


class Synchronizer(Generic[AnyPayable, AnyReading]):
    """Brings the payables of a ledger up to date with the gateway.

    ``make_token`` returns a fresh random string for each claim. ``finish`` has the last word on what is saved after a
    reading.
    """

    def __init__(
        self,
        *,
        ledger: Ledger[AnyPayable],
        reader: Reader[AnyPayable, AnyReading],
        clock: Clock,
        policy: Policy,
        make_token: Callable[[], str],
        finish: Callable[[AnyPayable], AnyPayable] = lambda payable: payable,
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._clock = clock
        self._policy = policy
        self._make_token = make_token
        self._finish = finish

    def sync(self, entry_id: str, *, is_hinted: bool = False, known: AnyPayable | None = None) -> AnyPayable:
        """Read the gateway for a payable and settle it; return it as it stands then.

        If somebody else holds the claim, nothing is read here. With ``is_hinted`` the claim is marked, so that its
        holder saves what he has and reads once more. ``known`` is the payable as it was read a moment ago.

        Raises:
            GatewayError: the gateway could not be read; the payable keeps its state and stays due.
            StoreError: the store failed.
            OrderNotFoundError, LinkNotFoundError: there is none of this id.
        """
        return self._sync(entry_id, is_hinted=is_hinted, known=known)

    def sync_if_due(self, entry_id: str) -> AnyPayable:
        """As ``sync``, unless somebody else has read it since it was found to be due."""
        return self._sync(entry_id, next_read_at=lambda payable: payable.due_check_at)

    def _sync(
        self,
        entry_id: str,
        *,
        is_hinted: bool = False,
        next_read_at: Callable[[AnyPayable], datetime | None] | None = None,
        known: AnyPayable | None = None,
    ) -> AnyPayable:
        for _ in range(_ROUNDS):
            token = self._make_token()
            payable = self._claim(entry_id, token, is_hinted=is_hinted, next_read_at=next_read_at, known=known)
            if payable.claim is None or payable.claim.token != token:
                return payable
            try:
                reading = self._reader.read(payable)
            except GatewayError as error:
                self._give_up(entry_id, token, error)
                raise
            payable, is_last = self._apply(payable, reading, token)
            if reading.failure:
                raise reading.failure
            if is_last:
                return payable
            is_hinted, next_read_at, known = False, None, payable
        return payable

    def poll(self, entry_id: str) -> AnyPayable:
        """Bring a payable up to date if its time has come, as a page does every few seconds.

        However many polls there are, the gateway is read once an interval. Gateway errors are logged and leave their
        mark in ``unreachable_since``; they never escape.
        """
        return self._refresh(entry_id, self._reader.poll_check_at)

    def check(self, entry_id: str) -> AnyPayable:
        """Bring a payable up to date because its customer asks, unless it was read a moment ago. Errors as ``poll``."""
        return self._refresh(entry_id, self._check_at)

    def _check_at(self, payable: AnyPayable) -> datetime | None:
        if payable.read_at is None or payable.unreachable_since or payable.claim:
            return payable.due_check_at
        return payable.read_at + timedelta(seconds=self._policy.sync_seconds)

    def _refresh(self, entry_id: str, next_read_at: Callable[[AnyPayable], datetime | None]) -> AnyPayable:
        payable = self._ledger.get(entry_id)
        if not _has_come(next_read_at(payable), self._clock()):
            return payable
        try:
            return self._sync(entry_id, next_read_at=next_read_at, known=payable)
        except GatewayError as error:
            logger.warning("%s %r could not be refreshed: %s", payable.KIND, entry_id, error)
            return self._ledger.get(entry_id)

    def _claim(
        self,
        entry_id: str,
        token: str,
        *,
        is_hinted: bool,
        next_read_at: Callable[[AnyPayable], datetime | None] | None,
        known: AnyPayable | None,
    ) -> AnyPayable:
        def compute(payable: AnyPayable) -> AnyPayable:
            now = self._clock()
            payable = self._reader.prepare(payable, now)
            if not payable.invoices:
                return payable
            # Asked in the step that claims: of all who saw that it was due, one reads.
            if next_read_at and not _has_come(next_read_at(payable), now):
                return payable
            if payable.claim and payable.claim.expires_at > now:
                return replace(payable, claim=replace(payable.claim, is_hinted=True)) if is_hinted else payable
            return replace(payable, claim=Claim(token=token, expires_at=now + timedelta(seconds=_CLAIM_SECONDS)))

        return self._ledger.change(entry_id, compute, known=known)

    def _apply(self, payable: AnyPayable, reading: AnyReading, token: str) -> tuple[AnyPayable, bool]:
        """Save what was read while the claim is still ours; tell whether there is nothing more to read."""
        while payable.claim is not None and payable.claim.token == token:
            now, is_hinted = self._clock(), payable.claim.is_hinted
            settled = self._give_back(self._reader.settle(payable, reading, now), reading.failure, now)
            # Due again, should this process not come to read once more.
            settled = replace(settled, next_check_at=now) if is_hinted and not reading.failure else settled
            if saved := self._ledger.save(self._finish(settled)):
                return saved, not is_hinted
            payable = self._ledger.get(payable.entry_id)
        return payable, False

    def _give_up(self, entry_id: str, token: str, error: GatewayError) -> None:
        def compute(payable: AnyPayable) -> AnyPayable:
            is_ours = payable.claim is not None and payable.claim.token == token
            return self._give_back(payable, error, self._clock()) if is_ours else payable

        self._ledger.change(entry_id, compute)

    def _give_back(self, payable: AnyPayable, failure: GatewayError | None, now: datetime) -> AnyPayable:
        """Give the claim back, note whether the gateway could be read, and say when to read it next."""
        if failure is None:
            payable = replace(payable, claim=None, unreachable_since=None)
            return replace(payable, next_check_at=self._reader.next_check_at(payable, now))
        asked_seconds = failure.retry_after_seconds if isinstance(failure, RateLimitedError) else None
        payable = replace(payable, claim=None, unreachable_since=payable.unreachable_since or now)
        return replace(payable, next_check_at=retry_check_at(payable, now, self._policy, asked_seconds))


def _has_come(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
