"""Links and what belongs to them as text and back: nothing is lost or rounded, and other releases' bodies are read."""

import json
from decimal import Decimal

import pytest
from builders import START, USDT, at
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from link_builders import make_contribution, make_link, make_visit
from link_strategies import contributions, links, tallies, visits
from msgspec.structs import replace

from flask_iterapay.gateway.models import Invoice, InvoiceState, TransactionState
from flask_iterapay.links.models import (
    Backlog,
    Contribution,
    ContributionAnomaly,
    ContributionStatus,
    ContributionStep,
    Link,
    LinkEvent,
    LinkStatus,
    Tally,
    Visit,
    VisitPayment,
)
from flask_iterapay.orders.codec import SCHEMA, format_entry, parse_entry
from flask_iterapay.orders.entries import Entry, EventName, Intent, Note, Snapshot

# Bodies as the first release wrote them: releases to come must read them, so they are text and not made by the code.
FIRST_LINK = """
{"schema":1,"link":{"created_at":"2026-01-15T10:30:00+00:00","changed_at":"2026-01-15T10:30:00+00:00","events":[],
"invoices":[{"invoice_id":"inv-1","amount":"20.00","method":{"method_id":1,"name":"USDT-TRC20","network":"TRON",
"ticker":"USDT"},"created_at":"2026-01-15T10:30:00+00:00","address":null,"pay_amount":null,"expires_at":null,
"previous_pay_amount":null,"snapshot":{"invoice":{"invoice_id":"inv-1","state":"open","spelling":"pending",
"amount":"20.00","invoice_type":"reusable","method_id":1,"has_passed_aml":null,"description":null,
"created_at":"2026-01-15T10:30:00+00:00"},"transactions":null,"read_at":"2026-01-15T10:30:01+00:00"},
"had_money":false,"unclear_since":null,"dismissed":[],"paid_by":[]}],"intent":{"ref":"r","method":{"method_id":1,
"name":"USDT-TRC20","network":"TRON","ticker":"USDT"},"amount":"20.00","expires_at":"2026-01-15T10:31:30+00:00",
"superseded_invoice_id":null},"claim":null,"next_check_at":"2026-01-15T10:32:00+00:00",
"read_at":"2026-01-15T10:32:00+00:00","unreachable_since":null,"link_id":"donations","description":"For the cat \u00e9",
"minimum":"20.00","method_ids":["1","4"],"slug":"cat","has_public_list":false,"status":"closed",
"visited_at":"2026-01-15T10:30:30+00:00","read_from":"2026-01-15T10:31:00+00:00","backlog":{"page":3,"down_to":null,
"awaited_from":"2026-01-15T10:30:05+00:00"},"history":[{"at":"2026-01-15T10:30:00+00:00","reason":"created",
"actor":"shop","note":""},{"at":"2026-01-15T10:31:30+00:00","reason":"closed","actor":"ann","note":"enough"}]}}
"""
FIRST_CONTRIBUTION = """
{"schema":1,"contribution":{"created_at":"2026-01-15T10:31:00+00:00","changed_at":"2026-01-15T10:33:00+00:00",
"events":[{"key":"link.payment_received:inv-1:tx-1","name":"link.payment_received",
"occurred_at":"2026-01-15T10:32:30+00:00","reason":null,"state":"open","done_by":["shop.thank"],"attempts":1,
"next_attempt_at":"2026-01-15T10:32:40+00:00","is_leased":false,"link_id":"donations","contribution_id":"inv-1:tx-1",
"transaction_id":"tx-1","amount":"21.500000","unit":"USDT","method":{"method_id":1,"name":"USDT-TRC20",
"network":"TRON","ticker":"USDT"},"reference":"AAAA"}],"link_id":"donations","invoice_id":"inv-1",
"transaction_id":"tx-1","method":{"method_id":1,"name":"USDT-TRC20","network":"TRON","ticker":"USDT"},
"amount":"21.500000","state":"failed","spelling":"Failed","read_at":"2026-01-15T10:33:00+00:00","unit":"USDT",
"address":"T-1","reference":"AAAA","tx_hash":"h","confirmed_at":"2026-01-15T10:31:01+00:00","status":"received",
"hold_reason":null,"received_at":"2026-01-15T10:32:30+00:00","unclear_since":null,"next_check_at":null,
"is_decided":true,"anomalies":["failed_after_received"],"history":[{"at":"2026-01-15T10:32:30+00:00",
"reason":"accepted by a person","actor":"ann","note":"asked","status":"received"}]}}
"""
FIRST_VISIT = """
{"schema":1,"visit":{"created_at":"2026-01-15T10:30:00+00:00","changed_at":"2026-01-15T10:30:00+00:00","events":[],
"reference":"AAAA","link_id":"donations","method":{"method_id":1,"name":"USDT-TRC20","network":"TRON",
"ticker":"USDT"},"invoice_id":"inv-1","address":"T-1","pay_amount":"20.000000","is_first_holder":true,
"is_address_shared":false,"asked_until":null,"is_refused":false,"payments":[{"transaction_id":"tx-1",
"amount":"21.500000","unit":null,"status":"on_hold","sent_at":"2026-01-15T10:31:00+00:00"}]}}
"""
FIRST_TALLY = """
{"schema":1,"tally":{"created_at":"2026-01-15T10:30:00+00:00","changed_at":"2026-01-15T10:30:05+00:00","events":[],
"tally_id":"donations:0f","begun_at":"2026-01-15T10:30:00+00:00","count":3}}
"""


def make_first_link() -> Link:
    invoice = Invoice(
        invoice_id="inv-1",
        state=InvoiceState.OPEN,
        spelling="pending",
        amount=Decimal("20.00"),
        invoice_type="reusable",
        method_id=1,
        created_at=START,
    )
    link = make_link(
        description="For the cat é",
        method_ids=("1", "4"),
        slug="cat",
        has_public_list=False,
        status=LinkStatus.CLOSED,
        visited_at=at(30),
        read_from=at(60),
        read_at=at(120),
        next_check_at=at(120),
        backlog=Backlog(page=3, down_to=None, awaited_from=at(5)),
        intent=Intent(ref="r", method=USDT, amount=Decimal("20.00"), expires_at=at(90)),
        history=(
            Note(at=START, reason="created", actor="shop"),
            Note(at=at(90), reason="closed", actor="ann", note="enough"),
        ),
        version=1,
    )
    snapshot = Snapshot(invoice=invoice, transactions=None, read_at=at(1))
    return link.with_invoice(replace(link.invoices[0], snapshot=snapshot))


def make_first_contribution() -> Contribution:
    event = LinkEvent(
        key="link.payment_received:inv-1:tx-1",
        name=EventName.PAYMENT_RECEIVED,
        occurred_at=at(150),
        done_by=frozenset({"shop.thank"}),
        attempts=1,
        next_attempt_at=at(160),
        link_id="donations",
        contribution_id="inv-1:tx-1",
        transaction_id="tx-1",
        amount="21.500000",
        unit="USDT",
        method=USDT,
        reference="AAAA",
    )
    step = ContributionStep(
        at=at(150), reason="accepted by a person", actor="ann", note="asked", status=ContributionStatus.RECEIVED
    )
    return Contribution(
        link_id="donations",
        invoice_id="inv-1",
        transaction_id="tx-1",
        method=USDT,
        amount="21.500000",
        unit="USDT",
        address="T-1",
        reference="AAAA",
        tx_hash="h",
        state=TransactionState.FAILED,
        spelling="Failed",
        created_at=at(60),
        confirmed_at=at(61),
        changed_at=at(180),
        read_at=at(180),
        received_at=at(150),
        status=ContributionStatus.RECEIVED,
        is_decided=True,
        anomalies=(ContributionAnomaly.FAILED_AFTER_RECEIVED,),
        events=(event,),
        history=(step,),
        version=1,
    )


def make_first_visit() -> Visit:
    payment = VisitPayment(
        transaction_id="tx-1", amount="21.500000", unit=None, status=ContributionStatus.ON_HOLD, sent_at=at(60)
    )
    return make_visit(payments=(payment,), version=1)


FIRST = {
    FIRST_LINK: make_first_link(),
    FIRST_CONTRIBUTION: make_first_contribution(),
    FIRST_VISIT: make_first_visit(),
    FIRST_TALLY: Tally(tally_id="donations:0f", begun_at=START, count=3, created_at=START, changed_at=at(5), version=1),
}
EVERY_KIND = pytest.mark.parametrize(("body", "entry"), FIRST.items(), ids=[entry.KIND for entry in FIRST.values()])


class TestRoundTrip:
    @given(st.one_of(links, contributions, visits, tallies))
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def test_whatever_it_is_comes_back_as_it_was(self, entry: Entry):
        """Every field of every part, with its type."""
        again = parse_entry(type(entry), format_entry(entry), version=entry.version)
        assert again == entry
        assert repr(again) == repr(entry)

    @EVERY_KIND
    def test_nothing_is_written_as_a_fraction(self, body: str, entry: Entry):
        """A number could pass through a float on its way through somebody's database."""

        def refuse(number: str) -> None:
            pytest.fail(f"{number} is written as a number")

        json.loads(format_entry(entry), parse_float=refuse)

    def test_the_gateways_own_amounts_keep_every_byte(self):
        """What is shown and told is what the gateway sent."""
        contribution = make_contribution("pending", amount="025.1500")
        assert parse_entry(Contribution, format_entry(contribution), version=0).amount == "025.1500"
        visit = make_visit(pay_amount="0.000000000000000001")
        assert parse_entry(Visit, format_entry(visit), version=0).pay_amount == "0.000000000000000001"

    def test_no_list_of_methods_is_not_an_empty_one(self):
        """All on offer, and none, are different things."""
        again = [
            parse_entry(Link, format_entry(make_link(method_ids=method_ids)), version=0).method_ids
            for method_ids in (None, ())
        ]
        assert again == [None, ()]


class TestOtherReleases:
    @EVERY_KIND
    def test_a_body_of_the_first_release_is_read(self, body: str, entry: Entry):
        """Into exactly this."""
        assert parse_entry(type(entry), body, version=1) == entry

    @EVERY_KIND
    def test_fields_of_a_newer_release_are_passed_over(self, body: str, entry: Entry):
        """During a rollback what is known is read."""
        document = json.loads(body)
        document[entry.KIND]["from_the_future"] = {"amount": 1}
        assert parse_entry(type(entry), json.dumps(document), version=1) == entry

    @EVERY_KIND
    def test_a_newer_schema_is_refused(self, body: str, entry: Entry):
        """A body that this release would misread is not read."""
        document = json.loads(body) | {"schema": SCHEMA + 1}
        with pytest.raises(ValueError, match=f"schema {SCHEMA + 1}"):
            parse_entry(type(entry), json.dumps(document), version=1)

    @pytest.mark.parametrize("name", ["link_id", "invoice_id", "transaction_id", "amount", "state", "read_at"])
    def test_a_contribution_without_what_makes_it_is_refused(self, name: str):
        """Nothing is made up, least of all an amount."""
        document = json.loads(FIRST_CONTRIBUTION)
        del document["contribution"][name]
        with pytest.raises(ValueError, match=name):
            parse_entry(Contribution, json.dumps(document), version=1)

    @pytest.mark.parametrize("kind", [Link, Contribution, Visit, Tally])
    def test_one_kind_is_not_read_as_another(self, kind: type[Entry]):
        """Each body says what it is."""
        for body, entry in FIRST.items():
            if not isinstance(entry, kind):
                with pytest.raises((ValueError, LookupError)):
                    parse_entry(kind, body, version=1)
