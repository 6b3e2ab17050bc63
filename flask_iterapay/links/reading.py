"""What is read at the gateway for a payment link: its transactions, newest first, and no further down than need be.

Reading stops below the oldest transaction that is not final, so that a link with any number of contributions costs no
more than one with a few. What a reading has no time for is a backlog, and the next ones go on where it stopped, by a
page at least. Until it is worked off, what is not final above it has to wait, or the backlog might wait for ever.

Once a day reading goes down to a day before the last time that it did: for a transaction that was listed up to a day
late, below newer ones.
"""

import logging
from datetime import datetime, timedelta

from ..errors import GatewayError, UnreadableRecordError
from ..gateway.models import TransactionPage
from ..orders.entries import Clock
from ..orders.models import Policy
from ..orders.schedule import pause_seconds, watched_check_at
from ..orders.sync import Reading
from ..values import replace
from .book import ContributionBook, is_awaited
from .gateway import LinkGateway
from .models import Backlog, Link

__all__ = ["LinkReader", "LinkReading"]

PAGE_LIMIT = 50
# A page is begun while so many seconds have not passed, and ends within a deadline of 20 more: somebody may be waiting.
# A page of the backlog may come on top.
_READING_SECONDS = 10
# Our assumption: a transaction is listed at most so long after its createdAt; see gateway.codec.
_OVERLAP = timedelta(seconds=600)
# Should that be wrong, or the order of a list change after a reorganisation of the chain, a day is lost and no money.
_LATEST = timedelta(days=1)
_LOOK_BACK_PAUSE = timedelta(days=1)
_IDLE_PAUSE_SECONDS = 6 * 3600


logger = logging.getLogger("flask_iterapay")


class LinkReading(Reading, frozen=True, kw_only=True):
    """What one reading has to say about the link itself; the contributions are written down already.

    ``read_from``, ``backlog`` and ``looked_back_at`` are the link's new ones. ``has_news`` tells that a contribution is
    new or changed.
    """

    read_at: datetime
    read_from: datetime | None
    backlog: Backlog | None
    looked_back_at: datetime | None
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
            looked_back_at=reading.looked_back_at,
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
        """When a page that polls may have it read: not for every page of a backlog."""
        at = watched_check_at(payable, self._policy)
        if at is None or payable.backlog is None or payable.read_at is None:
            return at
        return max(at, payable.read_at + timedelta(seconds=self._policy.sync_seconds))

    def read(self, payable: Link) -> LinkReading:
        """Read the newest transactions, then what was left over, and write each down."""
        walk = _Walk(payable, gateway=self._gateway, book=self._book, clock=self._clock)
        backlog, read_from, looked_back_at = payable.backlog, payable.read_from, payable.looked_back_at
        down_to = read_from
        if backlog is None and (looked_back_at is None or walk.read_at - looked_back_at >= _LOOK_BACK_PAUSE):
            # By the last such look, since a shop may have been away for a while.
            since = (looked_back_at or walk.read_at - _LOOK_BACK_PAUSE) - _LATEST
            down_to, looked_back_at = read_from and min(read_from, since), walk.read_at
        is_done = walk.go(1, down_to)
        if backlog is None and not is_done:
            backlog = Backlog(page=walk.page, down_to=down_to)
        elif backlog is not None and not walk.failure:
            is_over = walk.go(backlog.page, backlog.down_to)
            backlog = None if is_over else replace(backlog, page=walk.page)
        # Where the newest could not be read to their end beside a backlog, they are read anew from where it was begun.
        if is_done or payable.backlog is None:
            read_from = walk.newest or read_from
        awaited = _earliest(payable.backlog.awaited_from if payable.backlog else None, walk.awaited_from)
        return LinkReading(
            read_at=walk.read_at,
            read_from=read_from if backlog else _earliest(read_from, awaited),
            backlog=backlog and replace(backlog, awaited_from=awaited),
            looked_back_at=looked_back_at,
            has_news=walk.has_news,
            failure=walk.failure,
        )


class _Walk:
    """One reading's way through the list.

    ``page`` is where it stopped, and ``failure`` why, if not for lack of time. ``newest`` and ``awaited_from`` are the
    newest transaction and the oldest that is not final of those that it came by.
    """

    def __init__(self, link: Link, *, gateway: LinkGateway, book: ContributionBook, clock: Clock) -> None:
        self._link = link
        self._gateway = gateway
        self._book = book
        self._clock = clock
        self._until = clock() + timedelta(seconds=_READING_SECONDS)
        self._invoice_ids = list(link.invoice_ids)
        # Under the claim this is the newest reading, even if the host before us has a clock that runs ahead.
        self.read_at = max(clock(), link.read_at or link.created_at)
        self.page = 0
        self.newest: datetime | None = None
        self.awaited_from: datetime | None = None
        self.has_news = False
        self.failure: GatewayError | None = None

    def go(self, page: int, bound: datetime | None) -> bool:
        """Read pages from ``page`` on, one at least, until they are older than ``bound``; False if it stopped before.

        Raises:
            GatewayError: nothing could be read at all. Later failures are kept, and what was read before counts.
        """
        is_first, self.page = self.page == 0, page
        while True:
            try:
                listed = self._gateway.list_newest_transactions(self._invoice_ids, page=self.page, limit=PAGE_LIMIT)
            except GatewayError as error:
                if is_first:
                    raise
                self.failure = error
                return False
            self._take(listed, is_newest=is_first)
            if not listed.has_more or _is_below(listed.reaches_to, bound):
                return True
            is_first = False
            self.page += 1
            if self._clock() >= self._until:
                return False

    def _take(self, listed: TransactionPage, *, is_newest: bool) -> None:
        newest = max((transaction.created_at for transaction in listed.items), default=listed.reaches_to)
        if is_newest and newest is not None:
            # One from the future must not hide those that come after it.
            self.newest = min(self.read_at, newest)
        for transaction in listed.items:
            try:
                contribution, is_news = self._book.write(self._link, transaction, self.read_at)
            except UnreadableRecordError:
                # One damaged record must not keep the others' money from being seen.
                logger.exception("link %r: %s is left alone", self._link.link_id, transaction.transaction_id)
                continue
            self.has_news = self.has_news or is_news
            if is_awaited(contribution, self.read_at):
                self.awaited_from = _earliest(self.awaited_from, transaction.created_at)


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)


def _is_below(reaches_to: datetime | None, bound: datetime | None) -> bool:
    """Whether a page that reaches so far down is the last to be read; an unsorted one never is."""
    return reaches_to is not None and bound is not None and reaches_to < bound - _OVERLAP
