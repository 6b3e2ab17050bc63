"""The use cases: what a shop, a visitor and a person may do with payment links."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from ..errors import (
    ContributionNotOnHoldError,
    InvalidLinkError,
    MalformedAnswerError,
    RecordExistsError,
    RefTakenError,
)
from ..money import parse_usd
from ..orders.dispatch import Dispatcher
from ..orders.entries import Clock, Note
from ..orders.ledger import Ledger
from ..orders.models import Policy
from ..orders.reconcile import Duty
from ..orders.stores.base import OrderStore
from ..orders.sync import Synchronizer
from ..orders.words import MAX_DESCRIPTION, MAX_NOTE, is_entry_id, is_line
from ..values import replace
from .book import ContributionBook, keep_watch
from .gateway import LinkGateway
from .lifecycle import decide
from .models import Contribution, ContributionStatus, Link, LinkStatus, Tally, Visit, slug_name
from .reading import LinkReader
from .visiting import Reception

__all__ = ["LinkService"]

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", re.ASCII)
_NEWEST = 50
_NEWS = timedelta(seconds=60)


class LinkService:
    """Everything that can be done with payment links, their visits and their contributions.

    Arguments as of ``OrderService``; ``make_dispatcher`` makes the dispatcher of a ledger, ``realm`` begins the keys,
    and ``max_addresses`` is how many addresses a visitor may ask of one link in an hour. What the parts do alone
    (``Reception``, ``Synchronizer``, ``Dispatcher``) is offered here under the same names.
    """

    def __init__(
        self,
        *,
        store: OrderStore,
        gateway: LinkGateway,
        make_dispatcher: Callable[[Ledger[Contribution]], Dispatcher[Contribution]],
        clock: Clock,
        policy: Policy,
        make_token: Callable[[], str],
        max_addresses: int,
        methods: tuple[str, ...] | None = None,
        realm: str = "",
    ) -> None:
        self._clock = clock
        self._gateway = gateway
        self._links = Ledger(store=store, model=Link, realm=realm)
        self._contributions = Ledger(store=store, model=Contribution, realm=realm)
        visits = Ledger(store=store, model=Visit, realm=realm)
        self._book = ContributionBook(contributions=self._contributions, visits=visits, policy=policy)
        reader = LinkReader(gateway=gateway, book=self._book, clock=clock, policy=policy)
        synchronizer = Synchronizer(
            ledger=self._links, reader=reader, clock=clock, policy=policy, make_token=make_token
        )
        reception = Reception(
            links=self._links,
            visits=visits,
            tallies=Ledger(store=store, model=Tally, realm=realm),
            gateway=gateway,
            clock=clock,
            make_token=make_token,
            methods=methods,
            max_addresses=max_addresses,
        )
        dispatcher = make_dispatcher(self._contributions)
        self.duties = (
            Duty(ledger=self._links, sync_if_due=synchronizer.sync_if_due, dispatch=self.dispatch_news),
            Duty(ledger=self._contributions, sync_if_due=self._sync_contribution_if_due, dispatch=dispatcher.dispatch),
        )
        self.get = self._links.get
        self.iterate = self._links.iterate
        self.get_visit = visits.get
        self.get_contribution = self._contributions.get
        self.offered_methods = reception.offered_methods
        self.receive_visitor = reception.receive
        self.complete_visit = reception.complete
        self.sync = synchronizer.sync
        self.poll = synchronizer.poll
        self.check = synchronizer.check
        self.dispatch = dispatcher.dispatch
        self._retry = dispatcher.retry

    def create(
        self,
        link_id: str,
        *,
        description: str = "",
        minimum: Decimal | str | int | None = None,
        methods: Sequence[str | int] | None = None,
        slug: str | None = None,
        has_public_list: bool = True,
    ) -> Link:
        """Make a link, or bring the one of this id up to what is asked for; whether it is open stays as it was.

        Raises:
            AmountError, InvalidLinkError: the arguments are not allowed, or the slug is another link's.
            StoreError: the store failed.
        """
        now = self._clock()
        _check(link_id, is_entry_id(link_id), "a link id is 1 to 64 printable characters")
        _check(link_id, is_line(description, MAX_DESCRIPTION), f"a description is at most {MAX_DESCRIPTION} characters")
        _check(
            link_id,
            slug is None or (isinstance(slug, str) and _SLUG.fullmatch(slug) is not None),
            "a slug is 1 to 64 of a-z, 0-9 and -, and neither begins nor ends with -",
        )
        link = Link(
            link_id=link_id,
            description=description,
            minimum=None if minimum is None else parse_usd(minimum),
            method_ids=_parse_methods(link_id, methods),
            slug=slug,
            has_public_list=has_public_list,
            created_at=now,
            changed_at=now,
            history=(Note(at=now, reason="created", actor="shop"),),
        )
        try:
            return self._add_or_update(link)
        except RefTakenError as error:
            raise InvalidLinkError(link_id, f"the slug {slug!r} is another link's") from error

    def _add_or_update(self, link: Link) -> Link:
        if self._links.find(link.link_id) is None:
            try:
                return self._links.add(link)
            except RecordExistsError:
                # Several processes of a shop may start at once.
                pass
        return self._links.change(link.link_id, lambda known: _with_terms(known, link))

    def get_by_slug(self, slug: str) -> Link | None:
        """Read the link of a slug."""
        return self._links.get_by_name(slug_name(slug))

    def close(self, link_id: str, *, actor: str = "shop", note: str = "") -> Link:
        """Close a link: it gives out no more addresses. It stays watched, for those that it gave out stay."""
        return self._set_status(link_id, LinkStatus.CLOSED, reason="closed", actor=actor, note=note)

    def reopen(self, link_id: str, *, actor: str = "shop", note: str = "") -> Link:
        """Open a link that was closed."""
        return self._set_status(link_id, LinkStatus.OPEN, reason="opened", actor=actor, note=note)

    def _set_status(self, link_id: str, status: LinkStatus, *, reason: str, actor: str, note: str) -> Link:
        _check_words(link_id, actor, note)
        step = Note(at=self._clock(), reason=reason, actor=actor, note=note)

        def compute(link: Link) -> Link:
            return link if link.status is status else replace(link, status=status, changed_at=step.at).with_note(step)

        return self._links.change(link_id, compute)

    def receive_hint(self, invoice_id: str) -> Link | None:
        """Act on an authentic webhook that names an invoice; ``None`` if it is no link's. Errors as ``sync``."""
        link = self._links.get_by_invoice(invoice_id)
        return None if link is None else self.sync(link.link_id, is_hinted=True, known=link)

    def list_contributions(self, link_id: str, *, limit: int, before: Contribution | None = None) -> list[Contribution]:
        """List a link's contributions, newest first by when the gateway saw them; ``before`` is the last known one."""
        return self._contributions.list_newest(Contribution.label_of(link_id), limit=limit, before=before)

    def iterate_contributions(self, link_id: str) -> Iterator[Contribution]:
        """Go through all of a link's contributions, newest first, a page at a time."""
        return self._contributions.iterate(label=Contribution.label_of(link_id))

    def has_news(self, link: Link) -> bool:
        """Whether a contribution may have changed just now, so that handlers are to be told."""
        return self._clock() - link.changed_at <= _NEWS

    def dispatch_news(self, link_id: str) -> int:
        """Hand out the events of the newest contributions, and return how many; ``reconcile`` finds what is older."""
        newest = self.list_contributions(link_id, limit=_NEWEST)
        return sum(self.dispatch(item.contribution_id) for item in reversed(newest) if item.has_open_events)

    def resolve(self, contribution_id: str, *, is_accepted: bool, actor: str, note: str = "") -> Contribution:
        """Let a person decide about a contribution that waits: take it as received, or turn it down.

        One that was refused may be taken as received after all.

        Raises:
            ContributionNotOnHoldError: it is received already, or refused and to be refused.
            InvalidLinkError: ``actor`` or ``note`` is not printable text of at most 1,000 characters.
        """
        _check_words(contribution_id, actor, note)

        def compute(contribution: Contribution) -> Contribution:
            # What was turned down may turn out to have arrived, and must not be lost to the books for that.
            undecided = {ContributionStatus.ON_HOLD, ContributionStatus.CONFIRMING}
            if contribution.status not in undecided | ({ContributionStatus.REFUSED} if is_accepted else set()):
                raise ContributionNotOnHoldError(contribution_id, f"it is {contribution.status}, not on hold")
            return decide(contribution, self._clock(), is_accepted=is_accepted, actor=actor, note=note)

        return self._book.change(self._contributions.get(contribution_id), compute, self._clock())

    def retry(self, contribution_id: str, *, actor: str, note: str = "") -> Contribution:
        """Make the events due again that failed for good or wait for another try; see ``Dispatcher.retry``."""
        _check_words(contribution_id, actor, note)
        return self._retry(contribution_id, actor=actor, note=note)

    def _sync_contribution_if_due(self, contribution_id: str) -> None:
        """Ask for a transaction by itself that its link is not read so far back for."""
        now = self._clock()
        due = self._contributions.get(contribution_id)
        if due.next_check_at is None or due.next_check_at > now:
            return
        # Who moves it forward may ask; if that fails, it is asked again after the next pause.
        claimed = self._contributions.save(keep_watch(due, now))
        if claimed is None:
            return
        transaction = self._gateway.get_transaction(claimed.transaction_id)
        if transaction.invoice_id != claimed.invoice_id:
            raise MalformedAnswerError("get_transaction", detail="the transaction is on another invoice")
        self._book.rewrite(claimed, transaction, max(now, claimed.read_at))


def _with_terms(known: Link, wanted: Link) -> Link:
    changed = replace(
        known,
        description=wanted.description,
        minimum=wanted.minimum,
        method_ids=wanted.method_ids,
        slug=wanted.slug,
        has_public_list=wanted.has_public_list,
    )
    step = Note(at=wanted.created_at, reason="terms changed", actor="shop")
    return known if changed == known else changed.with_note(step)


def _parse_methods(link_id: str, methods: Sequence[str | int] | None) -> tuple[str, ...] | None:
    if methods is None:
        return None
    is_list = isinstance(methods, Sequence) and not isinstance(methods, str | bytes)
    is_list = is_list and all(isinstance(method, str | int) and not isinstance(method, bool) for method in methods)
    _check(link_id, is_list and len(methods) > 0, "methods are a list of payment methods' ids, and not an empty one")
    return tuple(dict.fromkeys(str(method) for method in methods))


def _check(link_id: object, is_fine: bool, problem: str) -> None:
    if not is_fine:
        raise InvalidLinkError(str(link_id)[:64], problem)


def _check_words(subject_id: str, *words: str) -> None:
    is_fine = all(is_line(text, MAX_NOTE) for text in words)
    _check(subject_id, is_fine, f"actor and note are at most {MAX_NOTE} printable characters")
