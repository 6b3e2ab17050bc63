"""Writing transactions down: each as one contribution, however often and in whatever order it is read."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import RecordExistsError, UnreadableRecordError, VisitNotFoundError
from ..gateway.models import Transaction
from ..orders.ledger import Ledger
from ..orders.models import Policy
from ..values import replace
from .lifecycle import begin, settle, show_payment
from .models import Contribution, ContributionStatus, Link, Visit, address_name

__all__ = ["ContributionBook", "is_awaited", "keep_watch"]

# A transaction that is not final after so long is asked for by itself, so that the whole list is not read for it.
_HORIZON = timedelta(days=1)
_STRAGGLER_PAUSE = timedelta(days=1)
_STRAGGLER_WATCH = timedelta(days=180)
# The documentation knows "failed" alone where it speaks of money that is held for review, and may be released.
_REFUSED_WATCH = timedelta(days=14)

logger = logging.getLogger("flask_iterapay")


class ContributionBook:
    """Writes down what was read of a link's transactions. What was written before is found by its key alone."""

    def __init__(self, *, contributions: Ledger[Contribution], visits: Ledger[Visit], policy: Policy) -> None:
        self._contributions = contributions
        self._visits = visits
        self._policy = policy

    def write(self, link: Link, transaction: Transaction, read_at: datetime) -> tuple[Contribution, bool]:
        """Write a transaction down; return its contribution, and whether anything about it is new.

        Raises:
            StoreError: the store failed; writing it down again is harmless.
        """
        contribution_id = Contribution.make_id(transaction.invoice_id, transaction.transaction_id)
        known = self._contributions.find(contribution_id)
        if known is not None:
            return self.rewrite(known, transaction, read_at)
        new = begin(link, transaction, read_at)
        new = self._make_compute(new, transaction, read_at)(new)
        self._show(new, read_at)
        try:
            written = self._contributions.add(new)
        except RecordExistsError:
            # Somebody whose claim had run out was faster.
            written, _ = self.rewrite(self._contributions.get(contribution_id), transaction, read_at)
        self._show_newest(written, read_at)
        return written, True

    def rewrite(self, known: Contribution, transaction: Transaction, read_at: datetime) -> tuple[Contribution, bool]:
        """Write down a transaction whose contribution is known."""
        compute = self._make_compute(known, transaction, read_at)
        # That it was read once more is no news, so a page of old ones costs no writing.
        if replace(compute(known), read_at=known.read_at) == known:
            return known, False
        return self.change(known, compute, read_at), True

    def change(
        self, known: Contribution, compute: Callable[[Contribution], Contribution], now: datetime
    ) -> Contribution:
        """Change a contribution as ``Ledger.change`` does, and what its visit shows of it."""
        self._show(compute(known), now)
        changed = self._contributions.change(known.entry_id, compute)
        self._show_newest(changed, now)
        return changed

    def _make_compute(
        self, known: Contribution, transaction: Transaction, read_at: datetime
    ) -> Callable[[Contribution], Contribution]:
        reference = known.reference or self._find_reference(known, transaction.address)

        def compute(contribution: Contribution) -> Contribution:
            attributed = replace(contribution, reference=contribution.reference or reference)
            settled = settle(attributed, transaction, read_at, self._policy)
            # By its newest reading: one that comes late must not take back that it is asked for by itself.
            return keep_watch(settled, settled.read_at)

        return compute

    def _find_reference(self, contribution: Contribution, address: str | None) -> str | None:
        """Find the visit that an address was given out to, should the gateway tell the address."""
        try:
            visit = self._visits.get_by_name(address_name(address)) if address else None
        except UnreadableRecordError as error:
            logger.error("contribution %s belongs to a visit that cannot be read: %s", contribution.entry_id, error)
            return None
        is_its_own = visit is not None and visit.invoice_id == contribution.invoice_id and visit.can_tell_payments
        return visit.reference if visit and is_its_own else None

    def _show(self, contribution: Contribution, now: datetime) -> None:
        """Tell the visit that it belongs to, before it is saved: whoever dies in between does both again."""
        if contribution.reference:
            payment = show_payment(contribution)
            try:
                self._visits.change(contribution.reference, lambda visit: visit.with_payment(payment, now))
            except (VisitNotFoundError, UnreadableRecordError) as error:
                # It is a page that is missing, and no reason to lose sight of the money.
                logger.error("contribution %s has no visit to be shown at: %s", contribution.entry_id, error)

    def _show_newest(self, contribution: Contribution, now: datetime) -> None:
        """Tell the visit again once it is saved, until that is the newest: somebody else may have been faster."""
        while contribution.reference:
            self._show(contribution, now)
            newest = self._contributions.get(contribution.entry_id)
            if show_payment(newest) == show_payment(contribution):
                return
            contribution = newest


def is_awaited(contribution: Contribution, now: datetime) -> bool:
    """Whether its link is to be read so far back that the transaction is read again."""
    return not contribution.is_final and now - contribution.created_at < _HORIZON


def keep_watch(contribution: Contribution, now: datetime) -> Contribution:
    """Have a transaction that its link is not read so far back for asked for by itself, once a day.

    For half a year, if it is not final; for two weeks, if the gateway calls it failed.
    """
    age = now - contribution.created_at
    is_refused = contribution.status is ContributionStatus.REFUSED and not contribution.is_decided
    # No link is read any further back for one that failed, however young it is.
    is_watched = (
        age < _REFUSED_WATCH if is_refused else not contribution.is_final and _HORIZON <= age < _STRAGGLER_WATCH
    )
    if not is_watched:
        return replace(contribution, next_check_at=None)
    if contribution.next_check_at is not None and contribution.next_check_at > now:
        return contribution
    return replace(contribution, next_check_at=now + _STRAGGLER_PAUSE)
