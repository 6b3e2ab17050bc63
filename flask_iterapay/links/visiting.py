"""A visitor's turn at a link: counted, written down, and only then given an address.

As with an order, the invoice's id is saved before any of its addresses is asked for, and the invoice is read first to
see that it is the one that was wanted.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from ..errors import (
    GatewayError,
    GatewayRefusedError,
    LinkClosedError,
    LinkMethodError,
    RecordExistsError,
    RefTakenError,
    TooManyAddressesError,
)
from ..gateway.models import DepositAddress, InvoiceType, PaymentMethod
from ..orders.creation import InvoiceCreator, make_intent
from ..orders.entries import Clock, InvoiceRecord, Snapshot
from ..orders.gateway import NOT_OFFERED
from ..orders.ledger import Ledger
from ..orders.verdict import is_ours
from ..values import replace
from .gateway import LinkGateway
from .models import Link, LinkStatus, Tally, Visit, address_name

__all__ = ["Reception"]

_WINDOW = timedelta(hours=1)
_ASKING = timedelta(seconds=60)
_FIRST_PAUSE_SECONDS = 15
_LONGEST_PAUSE_SECONDS = 600
# Addresses given out are noted on the link about once a minute, so that visitors do not race each other for it.
_VISITED_EVERY = timedelta(seconds=60)

logger = logging.getLogger("flask_iterapay")


class Reception:
    """Receives visitors, and gives out addresses.

    ``methods`` is the shop's allow-list of payment method ids, or ``None`` for all; ``max_addresses`` is how many
    addresses one visitor may ask of one link in an hour.
    """

    def __init__(
        self,
        *,
        links: Ledger[Link],
        visits: Ledger[Visit],
        tallies: Ledger[Tally],
        gateway: LinkGateway,
        clock: Clock,
        make_token: Callable[[], str],
        methods: tuple[str, ...] | None,
        max_addresses: int,
    ) -> None:
        self._links = links
        self._visits = visits
        self._tallies = tallies
        self._gateway = gateway
        self._clock = clock
        self._methods = methods
        self._max_addresses = max_addresses
        self._creator = InvoiceCreator(
            ledger=links,
            gateway=gateway,
            clock=clock,
            make_token=make_token,
            invoice_type=InvoiceType.REUSABLE,
            record=Link.with_created_invoice,
            abandon=lambda link, now: replace(link, intent=None),
        )

    def offered_methods(self, link: Link) -> tuple[PaymentMethod, ...]:
        """The payment methods that a visitor may choose from, in the gateway's order."""
        return tuple(
            method
            for method in self._gateway.list_payment_methods()
            if all(ids is None or str(method.method_id) in ids for ids in (self._methods, link.method_ids))
        )

    def receive(self, link_id: str, method_id: str, *, reference: str, visitor: str) -> Visit:
        """Begin a visit and ask for its address; the same ``reference`` again is the same visit.

        ``visitor`` tells one visitor from another, for counting.

        Raises:
            LinkClosedError, LinkMethodError, TooManyAddressesError: no address is given out.
            GatewayError: the gateway failed; the visit is there, and its page asks again.
            StoreError: the store failed.
        """
        known = self._visits.find(reference)
        if known is None:
            link = self._links.get(link_id)
            if link.status is LinkStatus.CLOSED:
                raise LinkClosedError(link_id, "it is closed")
            method = self._find_offered(link, method_id)
            self._count(link_id, visitor)
            self._begin(link, method, reference)
        return self.complete(reference)

    def complete(self, reference: str, *, is_pressed: bool = False) -> Visit:
        """Go on with a visit that has no address yet, from wherever it was left; who is not the first leaves it to him.

        Its page does so as it refreshes itself, so that neither a crash nor another visitor, for whom an invoice is
        just being made, leaves anybody waiting. It finishes what a form began, and begins nothing. After failures it
        waits ever longer, unless a person has pressed a button (``is_pressed``).

        Raises:
            LinkMethodError: the gateway gives none for this method.
            GatewayError, StoreError: as ``receive``.
        """
        visit, now = self._visits.get(reference), self._clock()
        is_waiting = visit.asked_until is not None and visit.asked_until > now
        if visit.address or visit.is_refused or (is_waiting and not (is_pressed and visit.failures)):
            return visit
        link = self._links.get(visit.link_id)
        if link.status is LinkStatus.CLOSED or _is_busy(link, visit.method, now):
            return visit
        asking = self._visits.save(replace(visit, asked_until=now + _ASKING))
        if asking is None:
            return self._visits.get(reference)
        try:
            return self._ask(link, asking)
        except GatewayError:
            self._visits.change(reference, lambda visit: _wait(visit, self._clock()))
            raise

    def _find_offered(self, link: Link, method_id: str) -> PaymentMethod:
        method = next((m for m in self.offered_methods(link) if str(m.method_id) == method_id), None)
        if method is None:
            raise LinkMethodError(link.link_id, f"payment method {method_id!r:.80} is not offered")
        return method

    def _count(self, link_id: str, visitor: str) -> None:
        """Count an address that is asked for; ``TooManyAddressesError`` once the hour's are used up."""
        now = self._clock()
        tally_id = f"{link_id}:{visitor}"

        def compute(tally: Tally) -> Tally:
            if now - tally.begun_at >= _WINDOW:
                tally = replace(tally, begun_at=now, count=0)
            if tally.count >= self._max_addresses:
                wait = tally.begun_at + _WINDOW - now
                raise TooManyAddressesError(
                    link_id, "this visitor has asked for too many", retry_after_seconds=-(-wait // timedelta(seconds=1))
                )
            return replace(tally, count=tally.count + 1, changed_at=now)

        if self._tallies.find(tally_id) is None:
            try:
                self._tallies.add(Tally(tally_id=tally_id, begun_at=now, created_at=now, changed_at=now))
            except RecordExistsError:
                logger.info("link %r: a visitor came twice at once", link_id)
        self._tallies.change(tally_id, compute)

    def _begin(self, link: Link, method: PaymentMethod, reference: str) -> None:
        now = self._clock()
        visit = Visit(reference=reference, link_id=link.link_id, method=method, created_at=now, changed_at=now)
        try:
            self._visits.add(visit)
        except RecordExistsError:
            logger.info("visit %s was begun twice at once", reference)
        self._links.change(link.link_id, lambda link: _note_visit(link, now))

    def _ask(self, link: Link, visit: Visit) -> Visit:
        link = self._create_invoice(link, visit.method)
        record = link.find_invoice(visit.method)
        if record is None:
            return self._visits.change(visit.reference, lambda visit: replace(visit, asked_until=None))
        record = self._verify(link, record)
        if record.snapshot is None or not is_ours(record, record.snapshot.invoice, InvoiceType.REUSABLE):
            logger.error("link %r: invoice %s is not what was asked for", link.link_id, record.invoice_id)
            return self._refuse(visit, record)
        try:
            deposit = self._gateway.get_deposit_address(record.invoice_id, visit.method.method_id)
        except GatewayRefusedError as error:
            if error.status not in NOT_OFFERED:
                raise
            logger.warning("link %r: invoice %s gives no address: %s", link.link_id, record.invoice_id, error)
            return self._refuse(visit, record)
        return self._give(visit, record, deposit)

    def _create_invoice(self, link: Link, method: PaymentMethod) -> Link:
        """Make the link's invoice for a method on first demand, unless somebody else is making one."""
        return self._creator.create(
            link.link_id,
            description=link.description,
            intend=lambda link, ref, now: _with_intent(link, method, ref, now),
        )

    def _verify(self, link: Link, record: InvoiceRecord) -> InvoiceRecord:
        """Read an invoice once, before anybody is given an address of it."""
        if record.snapshot is not None:
            return record
        invoice = self._gateway.get_invoice(record.invoice_id)
        read = replace(record, snapshot=Snapshot(invoice=invoice, transactions=None, read_at=self._clock()))
        self._links.change(link.link_id, lambda link: link.with_invoice(read))
        return read

    def _give(self, visit: Visit, record: InvoiceRecord, deposit: DepositAddress) -> Visit:
        now = self._clock()

        def compute(visit: Visit, *, is_shared: bool = False) -> Visit:
            if visit.address:
                # Asking took so long that another one went on, and this address was shown already.
                return visit
            return replace(
                visit,
                invoice_id=record.invoice_id,
                address=deposit.address,
                pay_amount=deposit.pay_amount,
                is_first_holder=not is_shared,
                is_address_shared=is_shared,
                asked_until=None,
                changed_at=now,
            )

        try:
            return self._visits.change(visit.reference, compute)
        except RefTakenError:
            self._share(deposit.address)
            return self._visits.change(visit.reference, lambda visit: compute(visit, is_shared=True))

    def _share(self, address: str) -> None:
        """Whoever had the address alone has it no more: nobody can tell whose payments to it are."""
        owner = self._visits.get_by_name(address_name(address))
        if owner is not None:
            # It keeps the name, so that the next one to be given the address finds it shared as well.
            self._visits.change(owner.reference, lambda visit: replace(visit, is_address_shared=True))

    def _refuse(self, visit: Visit, record: InvoiceRecord) -> Visit:
        # The merchant may have archived the invoice, or the gateway made another than was asked for. The next visitor
        # has a new one made.
        self._links.change(visit.link_id, lambda link: link.with_retired(record))
        visit = self._visits.change(
            visit.reference,
            lambda visit: visit if visit.address else replace(visit, is_refused=True, asked_until=None),
        )
        if visit.address:
            return visit
        raise LinkMethodError(visit.link_id, f"the gateway gives no address for {visit.method.name!r:.80}")


def _wait(visit: Visit, now: datetime) -> Visit:
    """Let a page ask ever more rarely: a gateway in trouble may have made an invoice each time, and not said so."""
    pause = min(_FIRST_PAUSE_SECONDS * 4**visit.failures, _LONGEST_PAUSE_SECONDS)
    return replace(visit, asked_until=now + timedelta(seconds=pause), failures=visit.failures + 1)


def _is_busy(link: Link, method: PaymentMethod, now: datetime) -> bool:
    """Whether an invoice is being made for the link, of which there is one at a time, and none for this method yet."""
    return link.find_invoice(method) is None and link.intent is not None and link.intent.expires_at > now


def _with_intent(link: Link, method: PaymentMethod, ref: str, now: datetime) -> Link:
    if link.find_invoice(method) is not None or _is_busy(link, method, now):
        return link
    return replace(link, intent=make_intent(ref, method, link.invoice_amount, now))


def _note_visit(link: Link, now: datetime) -> Link:
    """Have a link that somebody visits read often again, as an order whose page was just made."""
    if link.visited_at is not None and now - link.visited_at < _VISITED_EVERY:
        return link
    next_check_at = min(filter(None, [link.next_check_at, now + _VISITED_EVERY]))
    return replace(link, visited_at=now, next_check_at=next_check_at if link.invoices else None)
