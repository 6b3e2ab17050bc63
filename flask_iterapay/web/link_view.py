"""What the pages of a payment link show, as frozen values, without Flask: the link's own page, and a visitor's.

All words are in the templates. What is decided here is which page it is, and what a visitor may be told is his own.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from ..gateway.models import PaymentMethod
from ..links.models import Contribution, ContributionStatus, Link, LinkStatus, Visit, VisitPayment
from ..money import format_usd
from ..orders.entries import InvoiceRecord
from ..values import Struct
from .view import DAY_SECONDS, Politeness, fingerprint

__all__ = ["LinkState", "LinkView", "ListedPayment", "build_link_view", "build_visit_view", "visit_state"]

MAX_LISTED = 5
# What the gateway saw a moment before the address was written down is the visitor's all the same.
_CLOCKS_DIFFER = timedelta(seconds=120)


class LinkState(StrEnum):
    """One screen each; the value names its template."""

    CHOOSE_METHOD = "choose_method"
    PREPARING = "preparing"
    WAITING = "waiting"
    CONFIRMING = "confirming"
    UNDER_REVIEW = "under_review"
    RECEIVED = "received"
    REFUSED = "refused"
    CLOSED = "closed"


_POLITENESS = {
    LinkState.CHOOSE_METHOD: Politeness.OFF,
    LinkState.PREPARING: Politeness.OFF,
}
_SECONDS_TO_POLL = {
    LinkState.PREPARING: 2,
    LinkState.WAITING: 5,
    LinkState.CONFIRMING: 15,
    LinkState.UNDER_REVIEW: 60,
    LinkState.RECEIVED: 60,
}


class ListedPayment(Struct, frozen=True, kw_only=True):
    """One payment in a link's public list; ``amount`` is the gateway's own string, its ``unit`` mostly not known."""

    amount: str
    unit: str | None
    method: PaymentMethod
    status: ContributionStatus
    sent_at: datetime


class LinkView(Struct, frozen=True, kw_only=True):
    """Everything that the templates and the poll need to know of a link, or of a visit to it, at one moment.

    ``minimum`` is in USD, with its currency. ``method`` and ``invoice`` are those of a visit; ``invoice`` is set only
    where money may be sent, so that no other page can show an address. ``own_payments`` are known to be the visitor's,
    oldest first; ``payments`` are the newest of the link, all alike, newest first. ``seconds_left`` is always
    ``None``, since no price runs out.
    """

    state: LinkState
    politeness: Politeness
    next_poll_seconds: int | None
    updated_at: datetime
    is_unreachable: bool
    description: str
    minimum: str | None
    has_public_list: bool
    method: PaymentMethod | None = None
    invoice: InvoiceRecord | None = None
    own_payments: tuple[VisitPayment, ...] = ()
    payments: tuple[ListedPayment, ...] = ()
    has_refused_transfer: bool = False
    seconds_left: None = None

    @property
    def revision(self) -> str:
        """Changes whenever what the page shows changes, and not with the mere passing of time."""
        return fingerprint(
            self.state,
            self.is_unreachable,
            self.description,
            self.minimum,
            self.has_public_list,
            self.method,
            self.invoice,
            self.own_payments,
            self.payments,
            self.has_refused_transfer,
        )


def build_link_view(link: Link, newest: Sequence[Contribution]) -> LinkView:
    """Gather what the page of a link shows; ``newest`` are its newest contributions, newest first."""
    state = LinkState.CLOSED if link.status is LinkStatus.CLOSED else LinkState.CHOOSE_METHOD
    return LinkView(
        state=state,
        politeness=Politeness.OFF,
        next_poll_seconds=None,
        updated_at=link.read_at or link.changed_at,
        is_unreachable=link.unreachable_since is not None,
        description=link.description,
        minimum=_format_minimum(link),
        has_public_list=link.has_public_list,
        payments=_list_payments(link, newest),
    )


def build_visit_view(visit: Visit, link: Link, newest: Sequence[Contribution], now: datetime) -> LinkView:
    """Gather what the page of a visit shows at ``now``."""
    state = visit_state(visit, link)
    since = [item for item in newest if item.created_at >= visit.created_at - _CLOCKS_DIFFER]
    own = visit.payments
    pause = _next_poll_seconds(state, visit, link, now)
    is_unreachable = link.unreachable_since is not None and pause is not None
    return LinkView(
        state=state,
        politeness=_POLITENESS.get(state, Politeness.POLITE),
        next_poll_seconds=pause,
        updated_at=link.read_at or visit.changed_at,
        is_unreachable=is_unreachable,
        description=link.description,
        minimum=_format_minimum(link),
        has_public_list=link.has_public_list,
        method=visit.method,
        invoice=_make_invoice(visit, link) if state is LinkState.WAITING else None,
        own_payments=own,
        payments=_list_payments(link, since),
        has_refused_transfer=any(payment.status is ContributionStatus.REFUSED for payment in own),
    )


def visit_state(visit: Visit, link: Link) -> LinkState:
    """Name the screen of a visit. Pure, and total over every visit."""
    statuses = {payment.status for payment in visit.payments}
    if ContributionStatus.CONFIRMING in statuses:
        return LinkState.CONFIRMING
    if ContributionStatus.ON_HOLD in statuses:
        return LinkState.UNDER_REVIEW
    if ContributionStatus.RECEIVED in statuses:
        return LinkState.RECEIVED
    if link.status is LinkStatus.CLOSED:
        return LinkState.CLOSED
    if visit.address is not None:
        return LinkState.WAITING
    return LinkState.REFUSED if visit.is_refused else LinkState.PREPARING


def _next_poll_seconds(state: LinkState, visit: Visit, link: Link, now: datetime) -> int | None:
    """Say when the browser may ask again: ever more rarely, and no more after a day."""
    pause = _SECONDS_TO_POLL.get(state)
    age = max(0, int((now - visit.changed_at).total_seconds()))
    if pause is None or age >= DAY_SECONDS:
        return None
    if link.unreachable_since is not None:
        pause = max(pause, 5 + int((now - link.unreachable_since).total_seconds()))
    return min(60, pause + age // 4 if state is LinkState.WAITING else pause)


def _format_minimum(link: Link) -> str | None:
    return None if link.minimum is None else f"{format_usd(link.minimum)} USD"


def _make_invoice(visit: Visit, link: Link) -> InvoiceRecord:
    """The invoice as the partials for address and QR code know one."""
    return InvoiceRecord(
        invoice_id=visit.invoice_id or "",
        amount=link.invoice_amount,
        method=visit.method,
        created_at=visit.created_at,
        address=visit.address,
        pay_amount=visit.pay_amount,
    )


def _list_payments(link: Link, newest: Sequence[Contribution]) -> tuple[ListedPayment, ...]:
    if not link.has_public_list:
        return ()
    shown = [item for item in newest if item.status is not ContributionStatus.REFUSED]
    return tuple(
        ListedPayment(
            amount=item.amount, unit=item.unit, method=item.method, status=item.status, sent_at=item.created_at
        )
        for item in shown[:MAX_LISTED]
    )
