"""Mistakes that a shop with payment links could make, each as a store or a gateway to hand in."""

from collections.abc import Callable
from typing import Any

from flawed_stores import PassesOn
from flaws import BlindStore, EternalClaimsStore, Flaw, LateEventsStore
from msgspec.structs import replace
from records import read_entry, with_entry

from flask_iterapay.gateway.models import Transaction, TransactionPage, TransactionState
from flask_iterapay.links.gateway import LinkGateway
from flask_iterapay.links.models import Contribution, Link, Visit
from flask_iterapay.orders.entries import Note
from flask_iterapay.orders.stores.base import Record

__all__ = ["LINK_FLAWS", "CountsFlagged", "KeepsList", "KeyedByAmount", "ReadsAll"]


class _RetellingGateway:
    """Tells of each transaction what ``retell`` makes of it."""

    def __init__(self, inner: LinkGateway, *, retell: Callable[[Transaction], Transaction] = lambda item: item) -> None:
        self._inner = inner
        self._retell = retell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def list_newest_transactions(self, *args: Any, **options: Any) -> TransactionPage:
        """List what is retold."""
        page = self._inner.list_newest_transactions(*args, **options)
        return replace(page, items=tuple(self._retell(item) for item in page.items))

    def get_transaction(self, transaction_id: str) -> Transaction:
        """Read and retell."""
        return self._retell(self._inner.get_transaction(transaction_id))


class KeyedByAmount(_RetellingGateway):
    """Takes transactions of one amount for one and the same."""

    def __init__(self, inner: LinkGateway) -> None:
        super().__init__(inner, retell=lambda item: replace(item, transaction_id=item.amount))


class CountsFlagged(_RetellingGateway):
    """Takes money that failed the gateway's AML check for money like any other."""

    def __init__(self, inner: LinkGateway) -> None:
        super().__init__(inner, retell=_settle_flagged)


def _settle_flagged(item: Transaction) -> Transaction:
    return replace(item, state=TransactionState.SETTLED) if item.state is TransactionState.FLAGGED else item


class ReadsOnePage(_RetellingGateway):
    """Takes the first page of a list for all of it."""

    def list_newest_transactions(self, *args: Any, **options: Any) -> TransactionPage:
        """List, as if nothing came after."""
        return replace(super().list_newest_transactions(*args, **options), has_more=False)


class ReadsAll(_RetellingGateway):
    """Never finds that it has read far enough."""

    def list_newest_transactions(self, *args: Any, **options: Any) -> TransactionPage:
        """List, as if nothing were known of what comes after."""
        return replace(super().list_newest_transactions(*args, **options), reaches_to=None)


class _ForgetsSharing(PassesOn):
    """Leaves an address to whoever had it first, whoever else was given it."""

    def save(self, record: Record, *, expected_version: int) -> bool:
        entry = read_entry(record)
        if isinstance(entry, Visit) and entry.is_first_holder:
            record = with_entry(record, replace(entry, is_address_shared=False))
        return self.store.save(record, expected_version=expected_version)


class _ForgetsWaiting(PassesOn):
    """Reads a link no further back than its last reading, whatever still waits there."""

    def save(self, record: Record, *, expected_version: int) -> bool:
        entry = read_entry(record)
        if isinstance(entry, Link) and entry.read_at:
            record = with_entry(record, replace(entry, read_from=entry.read_at, backlog=None))
        return self.store.save(record, expected_version=expected_version)


class _ForgetsStragglers(PassesOn):
    """Never asks again for what a link is not read so far back for."""

    def save(self, record: Record, *, expected_version: int) -> bool:
        entry = read_entry(record)
        if isinstance(entry, Contribution):
            record = with_entry(record, replace(entry, next_check_at=None))
        return self.store.save(record, expected_version=expected_version)


class KeepsList(PassesOn):
    """Writes each contribution into its link as well."""

    def add(self, record: Record) -> None:
        self.store.add(record)
        entry = read_entry(record)
        if isinstance(entry, Contribution):
            self._write_down(entry)

    def _write_down(self, contribution: Contribution) -> None:
        stored = self.store.get(f"link:{contribution.link_id}")
        assert stored
        note = Note(at=contribution.created_at, reason=contribution.contribution_id, actor="gateway")
        link = read_entry(stored).with_note(note)
        newer = replace(with_entry(stored, link), version=stored.version + 1)
        self.store.save(newer, expected_version=stored.version)


LINK_FLAWS = (
    Flaw(name="keyed by amount", promise="extra", gateway=KeyedByAmount),
    Flaw(name="flagged counts", promise="counted without the gateway's word", gateway=CountsFlagged),
    Flaw(name="only one page", promise="at the gateway, and confirming|lost", gateway=ReadsOnePage),
    Flaw(name="shared addresses are attributed", promise="is attributed", store=_ForgetsSharing),
    Flaw(name="what waits is forgotten", promise="at the gateway, and (confirming|on_hold)", store=_ForgetsWaiting),
    Flaw(name="stragglers are forgotten", promise="at the gateway, and confirming", store=_ForgetsStragglers),
    Flaw(name="events in a second step", promise="told as", store=LateEventsStore),
    Flaw(name="read then write", promise="an update was lost|was given another address", store=BlindStore),
    Flaw(name="claims that never end", promise="outlived its holder", store=EternalClaimsStore),
)
