"""What is read at the gateway for a payment link: its transactions, newest first, and no further down than need be.

Reading stops below the oldest transaction that is not final, so that a link with any number of contributions costs no
more than one with a few. What a reading has no time for is a backlog, and the next one goes on where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..errors import GatewayError
from ..gateway.models import Transaction
from ..orders.entries import Clock
from ..orders.models import Policy
from ..orders.schedule import pause_seconds, watched_check_at
from ..orders.sync import Reading
from .book import ContributionBook, is_awaited
from .gateway import LinkGateway
from .models import Backlog, Link

__all__ = ["LinkReader", "LinkReading"]

PAGE_LIMIT = 50
# A page is begun while so many seconds have not passed, and ends within a deadline of 20 more.
_READING_SECONDS = 40
# Our assumption: a transaction is listed at most so long after its createdAt; see gateway.codec.
_OVERLAP = timedelta(seconds=600)
_IDLE_PAUSE_SECONDS = 6 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReading(Reading):
    """What one reading has to say about the link itself; the contributions are written down already.

    ``read_from`` and ``backlog`` are the link's new ones. ``has_news`` tells that a contribution is new or changed.
    """

    read_at: datetime
    read_from: datetime | None
    backlog: Backlog | None
    has_news: bool


class LinkReader:
    """Reads payment links; a ``sync.Reader``."""

    def __init__(self, *, gateway: LinkGateway, book: ContributionBook, clock: Clock, policy: Policy) -> None:
        self._gateway = gateway
        self._book = book
        self._clock = clock
        self._policy = policy

    def prepare(self, payable: Link, now: datetime) -> Link:
        """Drop an intent whose time is up: its invoice, if there is one, is an orphan without an address."""
        is_over = payable.intent is not None and payable.intent.expires_at <= now
        return replace(payable, intent=None) if is_over else payable

    def settle(self, payable: Link, reading: LinkReading, now: datetime) -> Link:
        """The link once the reading is known."""
        return replace(
            payable,
            read_at=reading.read_at,
            read_from=reading.read_from,
            backlog=reading.backlog,
            changed_at=now if reading.has_news else payable.changed_at,
        )

    def next_check_at(self, payable: Link, now: datetime) -> datetime | None:
        """When to read it again: as an order at first, and a few times a day for ever, for addresses never end."""
        if payable.backlog is not None:
            return now
        age = now - max(payable.changed_at, payable.visited_at or payable.changed_at)
        is_idle = age >= timedelta(seconds=self._policy.watch_seconds)
        return now + timedelta(seconds=_IDLE_PAUSE_SECONDS if is_idle else pause_seconds(age))

    def poll_check_at(self, payable: Link) -> datetime | None:
        """When a page that polls may have it read."""
        return watched_check_at(payable, self._policy)

    def read(self, payable: Link) -> LinkReading:
        """Read the newest transactions, then what was left over, and write each down."""
        walk = _Walk(payable, gateway=self._gateway, book=self._book, clock=self._clock)
        backlog = payable.backlog
        if not walk.go(1, payable.read_from):
            # What this walk did not come to lies above what an older one left over: going on from here covers both.
            backlog = Backlog(page=walk.page, down_to=backlog.down_to if backlog else payable.read_from)
        elif backlog is not None:
            is_done = walk.go(backlog.page, backlog.down_to)
            backlog = None if is_done else replace(backlog, page=walk.page)
        return LinkReading(
            read_at=walk.read_at,
            read_from=walk.read_from,
            backlog=backlog,
            has_news=walk.has_news,
            failure=walk.failure,
        )


class _Walk:
    """One reading's way through the list. ``page`` is where it stopped, ``failure`` why, if not for lack of time."""

    def __init__(self, link: Link, *, gateway: LinkGateway, book: ContributionBook, clock: Clock) -> None:
        self._link = link
        self._gateway = gateway
        self._book = book
        self._clock = clock
        self._until = clock() + timedelta(seconds=_READING_SECONDS)
        self._invoice_ids = list(link.invoice_ids)
        self._times: list[datetime] = []
        # Under the claim this is the newest reading, even if the host before us has a clock that runs ahead.
        self.read_at = max(clock(), link.read_at or link.created_at)
        self.page = 0
        self.has_news = False
        self.failure: GatewayError | None = None

    @property
    def read_from(self) -> datetime | None:
        """The oldest transaction that is not final, or else the newest of all; as before if there was none."""
        return min(self._times, default=self._link.read_from)

    def go(self, page: int, bound: datetime | None) -> bool:
        """Read pages from ``page`` on, until they are older than ``bound``; False if it stopped before.

        Raises:
            GatewayError: nothing could be read at all. Later failures are kept, and what was read before counts.
        """
        self.page = page
        while self._clock() < self._until:
            try:
                listed = self._gateway.list_newest_transactions(self._invoice_ids, page=self.page, limit=PAGE_LIMIT)
            except GatewayError as error:
                if not self._times:
                    raise
                self.failure = error
                return False
            self._write(listed.items)
            if not listed.has_more or _is_below(listed.reaches_to, bound):
                return True
            self.page += 1
        return False

    def _write(self, transactions: Sequence[Transaction]) -> None:
        if transactions and not self._times:
            # One from the future must not hide those that come after it.
            self._times.append(min(self.read_at, max(transaction.created_at for transaction in transactions)))
        for transaction in transactions:
            contribution, is_news = self._book.write(self._link, transaction, self.read_at)
            self.has_news = self.has_news or is_news
            if is_awaited(contribution, self.read_at):
                self._times.append(transaction.created_at)


def _is_below(reaches_to: datetime | None, bound: datetime | None) -> bool:
    """Whether a page that reaches so far down is the last to be read; an unsorted one never is."""
    return reaches_to is not None and bound is not None and reaches_to < bound - _OVERLAP
