"""Is this shop fit to take money? Looks at database, gateway, handlers and backlog, and changes nothing."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from enum import StrEnum
from itertools import islice

from .errors import (
    BadRequestError,
    ForbiddenError,
    IteraPayError,
    NotFoundError,
    OversizedAnswerError,
    UnauthorizedError,
)
from .links.models import ContributionStatus, Link, LinkStatus
from .orders.entries import Entry
from .orders.models import EventName, EventState
from .values import Struct
from .web.state import IteraPayState

__all__ = ["Finding", "Level", "examine"]

_OVERDUE_SECONDS = 900
_NEWEST = 1000
_NEWEST_LINKS = 100
_NEWEST_PAYMENTS = 100
# An invoice id that nobody has: the question whether the key may list transactions needs one.
_NO_INVOICE = "flask-iterapay-doctor"


class Level(StrEnum):
    """How bad a finding is: fine, worth a look, or in the way of somebody's money."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that was looked at, in a sentence that says what to do if something is to be done."""

    level: Level
    text: str


def examine(state: IteraPayState) -> Iterator[Finding]:
    """Look at all that orders and payment links need, one finding after the other. Nothing is written anywhere."""
    for look in (
        _database,
        _backlog,
        _failed_events,
        _methods,
        _transactions,
        _webhook,
        _handlers,
        _link_handlers,
        _payments,
    ):
        try:
            yield from look(state)
        except IteraPayError as error:
            yield _problem(" ".join(str(error).split()))


def _database(state: IteraPayState) -> Iterator[Finding]:
    check_schema: Callable[[], list[str]] | None = getattr(state.store, "check_schema", None)
    problems = check_schema() if check_schema else []
    yield from map(_problem, problems)
    if not state.store.is_durable:
        yield _warning("the order store lives in memory: every order is lost at a restart")
    elif not problems:
        yield _ok("the order store answers" + (" and its tables are those of this release" if check_schema else ""))


def _backlog(state: IteraPayState) -> Iterator[Finding]:
    entry = state.service.find_overdue()
    overdue = state.clock() - entry.due_at if entry and entry.due_at else timedelta(0)
    if entry and overdue > timedelta(seconds=_OVERDUE_SECONDS):
        minutes = int(overdue.total_seconds()) // 60
        yield _problem(f"{entry.KIND} {entry.entry_id} has been due for {minutes} minutes: is `reconcile` running?")
    else:
        yield _ok("nothing waits for `reconcile`")


def _failed_events(state: IteraPayState) -> Iterator[Finding]:
    failed = [order.order_id for order in islice(state.service.iterate(), _NEWEST) if _has_failed(order)]
    if failed:
        shown = ", ".join(failed[:10])
        yield _problem(f"handlers failed for good on {shown}: `flask iterapay retry ORDER --note ...`")
    else:
        yield _ok(f"no handler has failed for good on the newest {_NEWEST} orders")


def _methods(state: IteraPayState) -> Iterator[Finding]:
    known = {str(method.method_id) for method in state.client.list_payment_methods()}
    wanted = set(state.settings.methods or known)
    if missing := sorted(wanted - known):
        yield _problem(f"ITERAPAY_METHODS names {', '.join(missing)}, which the gateway does not offer")
    if offered := wanted & known:
        yield _ok(f"the API key works, and {len(offered)} payment methods are on offer")
    else:
        yield _problem("no payment method is on offer")
    for link in islice(state.links.iterate(label=LinkStatus.OPEN), _NEWEST_LINKS):
        if link.method_ids is not None and not offered & set(link.method_ids):
            yield _problem(
                f"link {link.link_id} offers no payment method that is on offer: {', '.join(link.method_ids)}"
            )


def _transactions(state: IteraPayState) -> Iterator[Finding]:
    try:
        state.client.list_transactions([_NO_INVOICE])
    except (UnauthorizedError, ForbiddenError, OversizedAnswerError) as error:
        if _has_links(state):
            yield _problem(f"transactions cannot be listed, so no payment over a link is ever seen: {error}")
        yield _warning(f"transactions cannot be listed, so invoices alone decide: {error}")
    except (BadRequestError, NotFoundError) as error:
        yield _warning(f"whether transactions can be listed is not known, since no invoice was asked about: {error}")
    else:
        yield _ok("the API key may list transactions")


def _webhook(state: IteraPayState) -> Iterator[Finding]:
    if state.settings.public_url is None:
        yield _warning("ITERAPAY_PUBLIC_URL is not set, so no webhook can be registered")
        return
    ours = state.settings.public_url + state.webhook_path()
    registered = state.client.get_merchant().webhook_url
    if registered == ours:
        yield _ok(f"the webhook is registered: {ours}")
    else:
        yield _warning(f"the webhook is {registered or 'not registered'}, not {ours}: `reconcile` alone brings news")


def _handlers(state: IteraPayState) -> Iterator[Finding]:
    if state.handlers[EventName.PAID]:
        yield _ok("order.paid has a handler")
    else:
        yield _problem("no handler is registered for order.paid: nobody would be told of a payment")


def _iterate_links(state: IteraPayState) -> Iterator[Link]:
    # By status, for which there is an index: without one, a link is looked for among all that its visitors left.
    for status in LinkStatus:
        yield from state.links.iterate(label=status)


def _has_links(state: IteraPayState) -> bool:
    return next(_iterate_links(state), None) is not None


def _link_handlers(state: IteraPayState) -> Iterator[Finding]:
    if not _has_links(state):
        return
    if state.handlers[EventName.PAYMENT_RECEIVED]:
        yield _ok("link.payment_received has a handler")
    else:
        yield _problem("no handler is registered for link.payment_received: nobody would be told of a link's payment")


def _payments(state: IteraPayState) -> Iterator[Finding]:
    looked_at, failed, held = 0, [], []
    for link in islice(_iterate_links(state), _NEWEST_LINKS):
        looked_at += 1
        payments = state.links.list_contributions(link.link_id, limit=_NEWEST_PAYMENTS)
        if any(map(_has_failed, payments)):
            failed.append(link.link_id)
        if any(payment.status is ContributionStatus.ON_HOLD for payment in payments):
            held.append(link.link_id)
    if failed:
        listing = "`flask iterapay link payments LINK --failed`"
        again = "`flask iterapay link retry CONTRIBUTION --note ...`"
        yield _problem(f"handlers failed for good on payments over {', '.join(failed[:10])}: {listing}, then {again}")
    if held:
        listing = "`flask iterapay link payments LINK --status on_hold`"
        decide = "`flask iterapay link resolve CONTRIBUTION --accept (or --refuse) --note ...`"
        yield _warning(f"payments are on hold over {', '.join(held[:10])}: {listing}, then {decide}")
    if looked_at and not failed and not held:
        yield _ok("of the newest payments over links none is on hold, and no handler has failed for good on one")


def _has_failed(entry: Entry) -> bool:
    return any(event.state is EventState.FAILED for event in entry.events)


def _ok(text: str) -> Finding:
    return Finding(level=Level.OK, text=text)


def _warning(text: str) -> Finding:
    return Finding(level=Level.WARNING, text=text)


def _problem(text: str) -> Finding:
    return Finding(level=Level.PROBLEM, text=text)
