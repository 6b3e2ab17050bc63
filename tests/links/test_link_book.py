"""Transactions written down: once, whoever writes, in whatever order, and under whose name."""

import itertools

import pytest
from builders import at
from hypothesis import given, settings
from hypothesis import strategies as st
from link_builders import REQUIRE, make_link, make_transfer, make_visit
from msgspec.structs import replace
from troubles import Crash, FragileStore, Fuse

from flask_iterapay.errors import StoreUnavailableError
from flask_iterapay.gateway.models import Transaction
from flask_iterapay.links.book import ContributionBook
from flask_iterapay.links.lifecycle import decide
from flask_iterapay.links.models import Contribution, ContributionStatus, Visit
from flask_iterapay.orders.entries import EventName
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores.memory import MemoryStore

LINK = make_link("inv-1", "inv-2")


class Desk:
    """A book whose store can fail, or let somebody else act, at any of its calls; ``rival`` is another process's."""

    def __init__(self, *visits: Visit) -> None:
        store = MemoryStore()
        self.fuse = Fuse()
        self.contributions, self.visits, self.rival = self._open(store)
        _, _, self.book = self._open(FragileStore(store, self.fuse))
        for visit in visits:
            self.visits.add(visit)

    def _open(self, store) -> tuple[Ledger[Contribution], Ledger[Visit], ContributionBook]:
        contributions, visits = Ledger(store=store, model=Contribution), Ledger(store=store, model=Visit)
        return contributions, visits, ContributionBook(contributions=contributions, visits=visits, policy=REQUIRE)

    def write(self, transfer: Transaction, read: float = 120) -> tuple[Contribution, bool]:
        return self.book.write(LINK, transfer, at(read))

    def strike(self, calls: int, run, *, is_after: bool = False) -> None:
        self.fuse.light(calls, run, is_after=is_after, place="store")

    def interrupt(self, calls: int, transfer: Transaction, read: float, *, is_after: bool) -> None:
        """Let another process write a transaction down at one of our calls of the store."""
        self.strike(calls, lambda: self.rival.write(LINK, transfer, at(read)), is_after=is_after)

    def count_calls(self, run) -> int:
        """How many calls of the store something makes."""
        self.strike(10**6, lambda: None)
        run()
        calls = 10**6 - self.fuse.calls_left
        self.fuse.put_out()
        return calls

    @property
    def all(self) -> list[Contribution]:
        return list(self.contributions.iterate())

    def payments(self, reference: str = "AAAA") -> list[tuple[str, str]]:
        return [(item.transaction_id, item.status) for item in self.visits.get(reference).payments]


def raise_(error: type[BaseException]):
    def run() -> None:
        raise error("the database is down")

    return run


def received_keys(desk: Desk) -> list[str]:
    return [e.key for item in desk.all for e in item.events if e.name is EventName.PAYMENT_RECEIVED]


class TestOnce:
    def test_a_transaction_that_is_written_again_is_no_news(self):
        """And costs no writing, however often it is read."""
        desk = Desk()
        assert desk.write(make_transfer())[1] is True
        version = desk.all[0].version
        for read in (130, 140, 10_000):
            contribution, is_news = desk.write(make_transfer(), read)
            assert (is_news, contribution.version) == (False, version)
        assert received_keys(desk) == ["link.payment_received:inv-1:tx-1"]

    @given(st.permutations([("pending", 100), ("confirmed", 200), ("settled", 300), ("settled", 400)]))
    @settings(max_examples=24, deadline=None)
    def test_the_order_of_readings_does_not_matter(self, readings):
        """What was read last counts, whoever comes first to write it down."""
        desk = Desk(make_visit())
        for state, read in readings:
            desk.write(make_transfer(state, address="T-1"), read)
        assert [item.status for item in desk.all] == [ContributionStatus.RECEIVED]
        assert received_keys(desk) == ["link.payment_received:inv-1:tx-1"]
        assert desk.payments() == [("tx-1", "received")]

    @pytest.mark.parametrize("ours", ["pending", "settled"])
    @pytest.mark.parametrize("theirs", ["pending", "settled"])
    @pytest.mark.parametrize("is_known", [True, False])
    @pytest.mark.parametrize("is_newer", [True, False])
    def test_two_who_write_at_once_write_one(self, ours, theirs, is_known, is_newer):
        """Whoever is faster, at any call of the store: one contribution, one event, and the visit shows what holds."""
        read = 300 if is_newer else 100

        def begin() -> Desk:
            desk = Desk(make_visit())
            if is_known:
                desk.rival.write(LINK, make_transfer("half_past_nine", address="T-1"), at(90))
            return desk

        desk = begin()
        calls = desk.count_calls(lambda: desk.write(make_transfer(ours, address="T-1"), read))
        for call, is_after in itertools.product(range(calls), [False, True]):
            desk = begin()
            desk.interrupt(call, make_transfer(theirs, address="T-1"), 200, is_after=is_after)
            desk.write(make_transfer(ours, address="T-1"), read)
            (contribution,) = desk.all
            is_received = contribution.status is ContributionStatus.RECEIVED
            assert len(received_keys(desk)) == is_received
            # An older word may be the newest when it is written down, and received is never taken back.
            newest = ours if is_newer else theirs
            assert is_received or newest != "settled"
            assert not is_received or "settled" in (ours, theirs)
            assert desk.payments() == [("tx-1", contribution.status)], (call, is_after)

    @pytest.mark.parametrize("before", [None, "pending"])
    @pytest.mark.parametrize("error", [Crash, StoreUnavailableError])
    def test_who_dies_in_between_is_followed_by_one_who_does_it_all(self, before, error):
        """At any call of the store: what was left undone is done by the next reading, and nothing twice."""

        def begin() -> Desk:
            desk = Desk(make_visit())
            if before:
                desk.write(make_transfer(before, address="T-1"), 90)
            return desk

        desk = begin()
        calls = desk.count_calls(lambda: desk.write(make_transfer(address="T-1")))
        assert calls >= 4
        for call, is_after in itertools.product(range(calls), [False, True]):
            desk = begin()
            desk.strike(call, raise_(error), is_after=is_after)
            with pytest.raises(error):
                desk.write(make_transfer(address="T-1"))
            desk.write(make_transfer(address="T-1"), 180)
            assert received_keys(desk) == ["link.payment_received:inv-1:tx-1"]
            assert desk.payments() == [("tx-1", "received")], (call, is_after)

    def test_ids_are_opaque(self):
        """A colon or a percent sign in one makes no two transactions look like one."""
        desk = Desk()
        pairs = [
            ("a", "b:c"),
            ("a:b", "c"),
            ("a%3Ab", "c"),
            ("a%253Ab", "c"),
            ("a", "b%3Ac"),
            ("%", ":"),
            (":", "%"),
            ("ü", "é"),
        ]
        link = make_link(*dict.fromkeys(invoice_id for invoice_id, _ in pairs))
        for invoice_id, transaction_id in pairs * 2:
            desk.book.write(link, make_transfer("flagged", transaction_id, invoice_id=invoice_id), at(120))
            desk.book.write(link, make_transfer("settled", transaction_id, invoice_id=invoice_id), at(130))
        assert sorted((item.invoice_id, item.transaction_id) for item in desk.all) == sorted(pairs)
        keys = [event.key for item in desk.all for event in item.events]
        assert len(set(keys)) == len(keys) == 2 * len(pairs)

    def test_one_transaction_id_on_two_invoices_is_two_contributions(self):
        """Nobody promises that they are unique over invoices."""
        desk = Desk()
        for invoice_id in ("inv-1", "inv-2"):
            desk.write(make_transfer(invoice_id=invoice_id))
        assert sorted(received_keys(desk)) == [f"link.payment_received:{name}:tx-1" for name in ("inv-1", "inv-2")]


class TestAttribution:
    def test_a_payment_to_a_visits_own_address_is_its_own(self):
        """Handlers are told, and the visit shows it."""
        desk = Desk(make_visit(), make_visit("BBBB", "T-2"))
        contribution, _ = desk.write(make_transfer(address="T-2"))
        assert (contribution.reference, contribution.events[0].reference) == ("BBBB", "BBBB")
        assert (desk.payments("AAAA"), desk.payments("BBBB")) == ([], [("tx-1", "received")])

    @pytest.mark.parametrize(
        "visit",
        [
            make_visit(is_address_shared=True),
            make_visit(is_first_holder=False, is_address_shared=True),
            make_visit(invoice_id="another"),
            make_visit(address="t-1"),
            make_visit(address=None),
        ],
        ids=["shared", "second holder", "of another invoice", "other spelling", "no address yet"],
    )
    def test_what_cannot_be_told_is_attributed_to_nobody(self, visit):
        """No visitor is shown what may be another's."""
        desk = Desk(visit)
        contribution, _ = desk.write(make_transfer(address="T-1"))
        assert (contribution.reference, contribution.events[0].reference, desk.payments()) == (None, None, [])

    @pytest.mark.parametrize("address", [None, "T-unknown"])
    def test_a_gateway_that_tells_no_known_address_attributes_nothing(self, address):
        """Money counts all the same."""
        desk = Desk(make_visit())
        contribution, _ = desk.write(make_transfer(address=address))
        assert (contribution.status, contribution.reference) == (ContributionStatus.RECEIVED, None)

    def test_an_address_that_is_told_late_attributes_late(self):
        """A later reading may know more, and then it is news."""
        desk = Desk(make_visit())
        assert desk.write(make_transfer("pending"), 120)[0].reference is None
        contribution, is_news = desk.write(make_transfer("pending", address="T-1"), 130)
        assert (contribution.reference, is_news, desk.payments()) == ("AAAA", True, [("tx-1", "confirming")])
        assert desk.write(make_transfer(), 140)[0].events[-1].reference == "AAAA"
        assert desk.payments() == [("tx-1", "received")]

    def test_what_was_attributed_stays_so_when_the_address_is_shared_later(self):
        """Only what comes from then on is nobody's."""
        desk = Desk(make_visit())
        desk.write(make_transfer("pending", address="T-1"))
        desk.visits.change("AAAA", lambda visit: replace(visit, is_address_shared=True))
        desk.write(make_transfer(address="T-1"), 130)
        desk.write(make_transfer("settled", "tx-2", address="T-1"), 130)
        assert {item.transaction_id: item.reference for item in desk.all} == {"tx-1": "AAAA", "tx-2": None}
        assert desk.payments() == [("tx-1", "received")]

    def test_a_visit_shows_its_newest_payments_in_their_order(self):
        """Twenty of them, whenever they were read."""
        desk = Desk(make_visit())
        for number in [*range(10, 25), *range(10)]:
            desk.write(make_transfer("pending", f"tx-{number}", sent=number, address="T-1"))
        assert [name for name, _ in desk.payments()] == [f"tx-{number}" for number in range(5, 25)]
        desk.write(make_transfer("settled", "tx-7", sent=7, address="T-1"), 130)
        assert dict(desk.payments())["tx-7"] == "received"

    @pytest.mark.parametrize("is_accepted", [True, False])
    def test_a_visit_is_shown_what_a_person_decided(self, is_accepted):
        """Also if a reading comes in between, at any call of the store."""

        def begin() -> Desk:
            desk = Desk(make_visit())
            desk.write(make_transfer("flagged", address="T-1"))
            return desk

        def make_decision(contribution: Contribution) -> Contribution:
            return decide(contribution, at(300), is_accepted=is_accepted, actor="ann", note="")

        desk = begin()
        calls = desk.count_calls(lambda: desk.book.change(desk.all[0], make_decision, at(300)))
        for call, is_after in itertools.product(range(calls), [False, True]):
            desk = begin()
            desk.interrupt(call, make_transfer("half_past_nine", address="T-1"), 310, is_after=is_after)
            decided = desk.book.change(desk.all[0], make_decision, at(300))
            assert decided.status is (ContributionStatus.RECEIVED if is_accepted else ContributionStatus.REFUSED)
            assert desk.payments() == [("tx-1", decided.status)], (call, is_after)


def test_a_visit_that_cannot_be_read_hides_no_payment_that_is_new():
    """It is written as if its address had never been given out, and attributed once the record is mended."""
    desk = Desk(make_visit())
    record = desk.visits.store.get("visit:AAAA")
    spoilt = replace(record, body="{", version=2)
    assert desk.visits.store.save(spoilt, expected_version=1)
    contribution, _ = desk.write(make_transfer("pending", address="T-1"))
    assert (contribution.status, contribution.reference) == (ContributionStatus.CONFIRMING, None)
    assert desk.visits.store.save(replace(record, version=3), expected_version=2)
    contribution, _ = desk.write(make_transfer(address="T-1"), 130)
    assert (contribution.events[0].reference, desk.payments()) == ("AAAA", [("tx-1", "received")])
