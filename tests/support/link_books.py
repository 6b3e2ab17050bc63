"""A payment link as the shop has it, held against the gateway's own books, in the tests' own words.

Read past the package: an invoice is a link's if its description says so, and what became of each transaction is what
the sandbox's file says.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

from flask_iterapay.links.models import Contribution, ContributionStatus, Link, Visit
from flask_iterapay.money import format_decimal
from flask_iterapay.orders.entries import EventName, EventState
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.sandbox.engine import SandboxInvoice, SandboxTransaction

__all__ = ["LinkBooks", "Telling", "read_books"]

_CONFIRMING, _RECEIVED = ContributionStatus.CONFIRMING, ContributionStatus.RECEIVED
_ON_HOLD, _REFUSED = ContributionStatus.ON_HOLD, ContributionStatus.REFUSED
# What the shop may say of a transaction that the gateway leaves in this state. Only one of these is counted.
_SAYS: Mapping[str, Set[ContributionStatus]] = {
    "pending": {_CONFIRMING},
    "confirmed": {_CONFIRMING, _ON_HOLD},
    "settled": {_RECEIVED},
    "flagged": {_ON_HOLD},
    "failed": {_REFUSED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """How the gateway gives addresses out, and whether it tells of a transaction to which one it went."""

    has_new_addresses: bool
    is_address_told: bool

    @property
    def settings(self) -> dict[str, str]:
        """The switches of the sandbox for this."""
        return {
            "reusable_address": "new" if self.has_new_addresses else "same",
            "transaction_detail": "told" if self.is_address_told else "documented",
        }

    def __str__(self) -> str:
        return " ".join(self.settings.values())


@dataclass(kw_only=True)
class LinkBooks:
    """One link, its contributions and its visits in the shop, and its invoices at the gateway, orphans included.

    ``was_settled`` are the transactions that were settled once, whatever they are now; ``shared`` those that were sent
    when their address had been given to several visitors. ``decided`` are those about which a person has spoken.
    """

    link: Link
    contributions: Sequence[Contribution]
    visits: Sequence[Visit]
    invoices: Sequence[SandboxInvoice]
    was_settled: Set[str] = field(default_factory=set)
    shared: Set[str] | None = None
    decided: Set[str] = field(default_factory=set)

    @cached_property
    def transactions(self) -> dict[str, SandboxTransaction]:
        """Every transaction on the link's invoices, by the id that its contribution must have."""
        return {
            f"{item.invoice_id}:{item.transaction_id}": item
            for invoice in self.invoices
            for item in invoice.transactions
        }

    @cached_property
    def transactions_by_id(self) -> dict[str, SandboxTransaction]:
        """The same, by their own ids."""
        return {item.transaction_id: item for item in self.transactions.values()}

    @property
    def received(self) -> int:
        """How many contributions count."""
        return sum(item.status is _RECEIVED for item in self.contributions)

    def find_wrongs_so_far(self) -> list[str]:
        """Whatever must not be at any time, however much has yet to be done."""
        return [*self._find_extra(), *self._find_wrong_events(), *self._find_wrong_invoices()]

    def find_wrongs(self, heard: Counter[str], telling: Telling) -> list[str]:
        """Whatever is not as promised, now that everything has come to rest."""
        return [
            *self.find_open_ends(),
            *self._find_lost(),
            *self.find_wrongs_so_far(),
            *self._find_misjudged(),
            *self._find_unheard(heard),
            *self._find_wrong_references(telling),
            *self._find_wrong_pages(),
        ]

    def find_open_ends(self) -> list[str]:
        """What has yet to be done by somebody."""
        wrongs = ["a claim or an intent outlived its holder"] if self.link.claim or self.link.intent else []
        wrongs += ["there is a backlog"] if self.link.backlog else []
        events = [event for item in self.contributions for event in item.events]
        return wrongs + [f"{event.key} is {event.state}" for event in events if event.state is not EventState.DONE]

    def _find_lost(self) -> Iterator[str]:
        known = {item.contribution_id for item in self.contributions}
        yield from (f"lost: {name}" for name in self.transactions.keys() - known)

    def _find_extra(self) -> Iterator[str]:
        counts = Counter(item.contribution_id for item in self.contributions)
        yield from (f"extra: {name}" for name in counts.keys() - self.transactions.keys())
        yield from (f"twice: {name}" for name, count in counts.items() if count > 1)

    def _pairs(self) -> Iterator[tuple[Contribution, SandboxTransaction]]:
        for item in self.contributions:
            if item.contribution_id in self.transactions:
                yield item, self.transactions[item.contribution_id]

    def _find_misjudged(self) -> Iterator[str]:
        for item, sent in self._pairs():
            allowed = set(_SAYS[sent.state])
            # What is received is never taken back, and what a person has said stands.
            allowed |= {_RECEIVED} if item.transaction_id in self.was_settled else set()
            allowed |= {_RECEIVED, _REFUSED} if item.transaction_id in self.decided else set()
            if item.status not in allowed:
                yield f"{item.contribution_id} is {sent.state} at the gateway, and {item.status}"
            if item.amount != format_decimal(sent.amount):
                yield f"{item.contribution_id} is over {item.amount}, and {sent.amount} was sent"

    def _find_wrong_events(self) -> Iterator[str]:
        """Exactly one event for each contribution that counts, saved with it, and none for the others."""
        for item in self.contributions:
            saved = [event.key for event in item.events if event.name is EventName.PAYMENT_RECEIVED]
            wanted = [f"link.payment_received:{item.contribution_id}"] if item.status is _RECEIVED else []
            if saved != wanted:
                yield f"{item.contribution_id} is {item.status}, and told as {saved}"
            is_counted = item.status is _RECEIVED and item.transaction_id in self.transactions_by_id
            if is_counted and not self._may_count(self.transactions_by_id[item.transaction_id]):
                yield f"{item.contribution_id} is counted without the gateway's word"

    def _may_count(self, sent: SandboxTransaction) -> bool:
        return sent.state == "settled" or sent.transaction_id in self.was_settled | self.decided

    def _find_unheard(self, heard: Counter[str]) -> Iterator[str]:
        keys = {event.key for item in self.contributions for event in item.events}
        yield from (f"{key} was not heard" for key in keys - heard.keys())
        yield from (f"{key} was heard and never saved" for key in self._own(heard) - keys)

    def _own(self, heard: Counter[str]) -> set[str]:
        """The keys that speak of this link's invoices."""
        invoice_ids = [invoice.invoice_id for invoice in self.invoices]
        return {key for key in heard if any(f":{invoice_id}:" in key for invoice_id in invoice_ids)}

    def _find_wrong_references(self, telling: Telling) -> Iterator[str]:
        holders: dict[str, list[Visit]] = {}
        for visit in self.visits:
            holders.setdefault(str(visit.address), []).append(visit)
        if telling.has_new_addresses:
            yield from (f"{visit.reference} shares its address" for visit in self.visits if visit.is_address_shared)
        for item, sent in self._pairs():
            visits = holders.get(sent.address, [])
            is_shared = len(visits) > 1 if self.shared is None else item.transaction_id in self.shared
            # Somebody who died before he was given it may have had the address, too.
            own = visits[0].reference if len(visits) == 1 and not visits[0].is_address_shared else None
            first = next((visit.reference for visit in visits if visit.is_first_holder), None)
            may_be = {None} if is_shared else {None, first}
            # Where nothing but the address can tell, it must.
            must_be = {own} if telling.is_address_told and own and not is_shared else may_be
            if item.reference not in must_be & may_be:
                yield f"{item.contribution_id} is attributed to {item.reference}, and may be to {must_be & may_be}"

    def _find_wrong_pages(self) -> Iterator[str]:
        """Each visit shows its own payments, and as what they are.

        What a person decided is left out: where he is cut short, the page knows of it until he does it again.
        """
        for visit in self.visits:
            own = {
                (item.transaction_id, item.status) for item in self.contributions if item.reference == visit.reference
            }
            shown = {(payment.transaction_id, payment.status) for payment in visit.payments}
            if {name for name, _ in own ^ shown} - self.decided:
                yield f"the page of {visit.reference} does not show its payments"

    def _find_wrong_invoices(self) -> Iterator[str]:
        payable = [invoice for invoice in self.invoices if invoice.addresses]
        choices = Counter((invoice.method_id, invoice.amount) for invoice in payable)
        yield from (f"{count} payable invoices for {choice}" for choice, count in choices.items() if count > 1)
        unknown = {invoice.invoice_id for invoice in payable} - set(self.link.invoice_ids)
        yield from (f"{invoice_id} can be paid, and the link does not know" for invoice_id in unknown)


def read_books(
    store: OrderStore, invoices: Sequence[SandboxInvoice], link_id: str, *, realm: str = "", **known: Set[str] | None
) -> LinkBooks:
    """Read what shop and gateway have of a link that has no description."""
    contributions = Ledger(store=store, model=Contribution, realm=realm).iterate()
    visits = Ledger(store=store, model=Visit, realm=realm).iterate()
    return LinkBooks(
        link=Ledger(store=store, model=Link, realm=realm).get(link_id),
        contributions=[item for item in contributions if item.link_id == link_id],
        visits=[visit for visit in visits if visit.link_id == link_id],
        invoices=[invoice for invoice in invoices if invoice.description.startswith(f"{link_id} [")],
        **known,
    )
