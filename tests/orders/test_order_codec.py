"""Orders as text and back: nothing is lost or rounded, and bodies of other releases are read or refused."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest
from builders import START, USDT, at, make_order, make_record, make_snapshot, make_transaction
from hypothesis import HealthCheck, given, settings
from markupsafe import Markup
from msgspec.structs import replace
from strategies import orders

from flask_iterapay.orders.codec import SCHEMA, format_entry, parse_entry
from flask_iterapay.orders.lifecycle import settle
from flask_iterapay.orders.models import (
    Claim,
    EventName,
    HistoryEntry,
    Intent,
    InvoiceRecord,
    Order,
    OrderEvent,
    OrderStatus,
    Policy,
)

# A body as the first release wrote it: releases to come must read it, so it is text and not made by the code.
FIRST_BODY = """
{"schema":1,"order":{"order_id":"1042","amount":"100.00","created_at":"2026-01-15T10:30:00+00:00",
"changed_at":"2026-01-15T10:32:00+00:00","currency":"USD","description":"Order #1042 \u00e9","return_url":"/thanks",
"metadata":{"cart":"7"},"status":"on_hold","hold_reason":"underpaid","settlement":"underpaid","is_late":false,
"invoices":[{"invoice_id":"inv-1","amount":"100.00","method":{"method_id":1,"name":"USDT-TRC20","network":"TRON",
"ticker":"USDT"},"created_at":"2026-01-15T10:30:00+00:00","address":"T-inv-1","pay_amount":"25.150000",
"expires_at":"2026-01-15T10:45:00+00:00","previous_pay_amount":null,"snapshot":{"invoice":{"invoice_id":"inv-1",
"state":"underpaid","spelling":"partially_paid","amount":"100","invoice_type":"onetime","method_id":1,
"has_passed_aml":null,"description":null,"created_at":"2026-01-15T10:30:00+00:00"},"transactions":[{"transaction_id":
"tx-confirmed","invoice_id":"inv-1","amount":"25.150000","state":"confirmed","spelling":"confirmed","created_at":
"2026-01-15T10:31:00+00:00","confirmed_at":null,"tx_hash":null}],"read_at":"2026-01-15T10:32:00+00:00"},
"had_money":true,"unclear_since":null,"dismissed":["tx-0"]}],"current_invoice_id":"inv-1","intent":null,"claim":null,
"next_check_at":null,"read_at":"2026-01-15T10:32:00+00:00","unreachable_since":null,"paid_invoice_id":null,
"anomalies":[],"events":[{"key":"order.on_hold:1042:1","name":"order.on_hold","order_id":"1042","occurred_at":
"2026-01-15T10:32:00+00:00","reason":"underpaid","state":"open","done_by":[],"attempts":0,"next_attempt_at":
"2026-01-15T10:32:00+00:00"}],"history":[{"at":"2026-01-15T10:32:00+00:00","status":"on_hold","reason":
"invoice inv-1: partially_paid; AML unknown; transactions: confirmed","actor":"gateway","note":""}]}}
"""


def make_full_order() -> Order:
    """An order with something in every field that can hold something."""
    record = make_record(
        snapshot=make_snapshot("partially_paid", make_transaction("confirmed", amount="0.100000000000000001")),
        previous_pay_amount="25.10",
        unclear_since=at(5),
        dismissed=frozenset({"b", "a"}),
    )
    intent = Intent(ref="r", method=USDT, amount=Decimal("100.00"), expires_at=at(60), superseded_invoice_id="inv-1")
    event = OrderEvent(
        key="order.confirming:1042:1",
        name=EventName.CONFIRMING,
        order_id="1042",
        occurred_at=at(1),
        done_by=frozenset({"shop.views.ship"}),
        next_attempt_at=at(2),
    )
    order = make_order(record, intent=intent, claim=Claim(token="t", expires_at=at(60)), events=(event,), version=7)
    history = (HistoryEntry(at=at(1), status=order.status, reason="placed", actor="shop"),)
    return replace(order, metadata={"cart": "7"}, return_url="/thanks", read_at=at(120), history=history)


class TestRoundTrip:
    @given(orders())
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def test_any_order_comes_back_as_it_was(self, order):
        """Every field of every part, with its type; metadata sorted by name."""
        again = parse_entry(Order, format_entry(order), version=order.version)
        assert again == order
        assert repr(again) == repr(replace(order, metadata=dict(sorted(order.metadata.items()))))

    def test_an_order_of_every_kind_of_part_comes_back_as_it_was(self):
        """Snapshots, an intent, a claim, events and history."""
        order = make_full_order()
        assert parse_entry(Order, format_entry(order), version=7) == order

    def test_the_version_is_the_records_and_not_the_bodys(self):
        """A body says nothing about how often it was saved."""
        body = format_entry(make_full_order())
        assert "version" not in json.loads(body)["order"]
        assert parse_entry(Order, body, version=12).version == 12

    def test_money_is_written_as_text(self):
        """A number could pass through a float on its way through somebody's database."""

        def refuse(number: str) -> None:
            pytest.fail(f"{number} is written as a number")

        body = format_entry(make_order(make_record(amount=Decimal("1E+2")), amount=Decimal("1E-8")))
        document = json.loads(body, parse_float=refuse)
        assert (document["order"]["amount"], document["order"]["invoices"][0]["amount"]) == ("1E-8", "1E+2")

    def test_the_gateways_own_amounts_keep_every_byte(self):
        """What the customer is shown is what the gateway sent."""
        order = parse_entry(Order, format_entry(make_order(make_record(pay_amount="025.1500"))), version=1)
        assert order.invoices[0].pay_amount == "025.1500"

    def test_times_keep_their_microseconds_and_their_zone(self):
        """Times are aware and UTC, before and after."""
        moment = datetime(2026, 1, 15, 10, 30, 0, 1, tzinfo=UTC)
        read_at = parse_entry(Order, format_entry(make_order(read_at=moment)), version=1).read_at
        assert (read_at, read_at.utcoffset()) == (moment, moment.utcoffset())

    def test_a_method_id_stays_a_number_or_a_text(self):
        """They are opaque, and ``1`` is not ``"1"``."""
        for method_id in (1, "1", "method_usdt_tron"):
            record = make_record(method=replace(USDT, method_id=method_id))
            (again,) = parse_entry(Order, format_entry(make_order(record)), version=1).invoices
            assert (again.method.method_id, type(again.method.method_id)) == (method_id, type(method_id))

    def test_an_empty_list_of_transactions_is_not_an_unknown_one(self):
        """Only one of the two lets an order expire in peace."""
        known, unknown = (
            make_record(snapshot=make_snapshot("expired", is_blind=is_blind)) for is_blind in (False, True)
        )
        assert [
            parse_entry(Order, format_entry(make_order(record)), version=1).invoices[0].snapshot.transactions
            for record in (known, unknown)
        ] == [(), None]

    def test_the_same_order_is_always_the_same_text(self):
        """Sets have no order of their own, so they are sorted."""
        names = [f"handler-{number}" for number in range(50)]
        first, second = (make_order(make_record(dismissed=frozenset(some))) for some in (names, reversed(names)))
        assert format_entry(first) == format_entry(second)

    def test_a_settled_order_settles_alike_after_a_round_trip(self):
        """Nothing that a decision needs is lost in the store."""
        reads = [make_snapshot("paid", read=100), make_snapshot("paid", read=1900)]
        order = stored = make_order(make_record())
        for snapshot in reads:
            order = settle(order, [snapshot], snapshot.read_at, Policy())
            stored = settle(parse_entry(Order, format_entry(stored), version=0), [snapshot], snapshot.read_at, Policy())
        assert stored == order

    def test_texts_and_moments_of_other_classes_are_what_they_say(self):
        """Templates make ``Markup``, and tests freeze time with a class of their own."""

        class Frozen(datetime):
            """A moment of somebody else's."""

        class Dollars(Decimal):
            """An amount of somebody else's."""

        texts = {"description": Markup("a &amp; b"), "return_url": Markup("/thanks")}
        order = replace(
            make_order(),
            **texts,
            amount=Dollars("25.00"),
            metadata=MappingProxyType({Markup("cart"): Markup("7")}),
            read_at=Frozen(2026, 1, 15, 10, 30, 0, 1, tzinfo=UTC),
        )
        again = parse_entry(Order, format_entry(order), version=order.version)
        assert again == replace(order, metadata={"cart": "7"})
        assert {type(again.description), type(again.metadata["cart"])} == {str}

    def test_what_no_record_can_hold_is_refused(self):
        """Rather than written as something that nobody can read."""
        with pytest.raises(TypeError, match="a record cannot hold object"):
            format_entry(replace(make_order(), description=object()))


class TestOtherReleases:
    def test_the_first_releases_body_is_read(self):
        """A body that lies in somebody's database means today what it meant then."""
        order = parse_entry(Order, FIRST_BODY, version=3)
        record = make_record(dismissed=frozenset({"tx-0"}))
        expected = settle(make_order(record), [make_snapshot("partially_paid", "confirmed")], at(120), Policy())
        assert order == replace(
            expected, version=3, description="Order #1042 é", return_url="/thanks", metadata={"cart": "7"}
        )

    def test_fields_of_a_later_release_are_ignored(self):
        """Whatever part they are in: a rollback must not lose orders."""
        order = make_full_order()
        document = json.loads(format_entry(order))
        _add_unknown_fields(document)
        assert parse_entry(Order, json.dumps(document), version=7) == order

    def test_fields_that_an_earlier_release_did_not_know_get_their_defaults(self):
        """A new field with a default needs no migration, in whichever part it is."""
        method = {"method_id": 1, "name": "USDT-TRC20", "network": "TRON", "ticker": "USDT"}
        start = START.isoformat()
        event = {"key": "order.paid:7", "name": "order.paid", "order_id": "7", "occurred_at": start}
        bare = {
            "order_id": "7",
            "amount": "5.00",
            "created_at": start,
            "changed_at": start,
            "invoices": [{"invoice_id": "inv-1", "amount": "5.00", "method": method, "created_at": start}],
            "intent": {"ref": "r", "method": method, "amount": "5.00", "expires_at": start},
            "events": [event],
            "history": [{"at": start, "status": "new", "reason": "placed", "actor": "shop"}],
        }
        amount = Decimal("5.00")
        assert parse_entry(Order, json.dumps({"schema": 1, "order": bare}), version=1) == Order(
            order_id="7",
            amount=amount,
            created_at=START,
            changed_at=START,
            invoices=(InvoiceRecord(invoice_id="inv-1", amount=amount, method=USDT, created_at=START),),
            intent=Intent(ref="r", method=USDT, amount=amount, expires_at=START),
            events=(OrderEvent(key="order.paid:7", name=EventName.PAID, order_id="7", occurred_at=START),),
            history=(HistoryEntry(at=START, status=OrderStatus.NEW, reason="placed", actor="shop"),),
            version=1,
        )

    @pytest.mark.parametrize("name", ["order_id", "amount", "created_at"])
    def test_a_body_without_a_field_that_must_be_there_is_refused(self, name):
        """Nothing is made up, least of all an amount."""
        document = json.loads(format_entry(make_full_order()))
        del document["order"][name]
        with pytest.raises(ValueError, match=f"missing required field `{name}`"):
            parse_entry(Order, json.dumps(document), version=1)

    def test_a_newer_schema_is_refused(self):
        """A body that this release would misread is not read."""
        document = json.loads(format_entry(make_full_order())) | {"schema": SCHEMA + 1}
        with pytest.raises(ValueError, match=f"schema {SCHEMA + 1}, this release reads {SCHEMA}"):
            parse_entry(Order, json.dumps(document), version=1)

    @pytest.mark.parametrize("body", ["", "{", '{"schema": 1, "order": {}}'])
    def test_a_body_that_is_no_order_is_a_value_error(self, body):
        """Cut short or emptied, it is not taken for an order."""
        with pytest.raises(ValueError):
            parse_entry(Order, body, version=1)


# The first requests of a worker come at once. The threads take turns as often as can be, over classes that are new.
FIRST_READERS = """
import sys, threading
from msgspec import defstruct
from flask_iterapay.orders.codec import parse_entry

def read(model):
    start.wait(60)
    assert parse_entry(model, BODY, version=2).parts[0].amount == 1

BODY = '{"schema": 1, "thing": {"parts": [{"amount": 1, "name": "x"}]}}'
sys.setswitchinterval(1e-6)
for number in range(1000):
    part = defstruct("Part", [("amount", int), ("name", str)], frozen=True)
    fields = [("parts", tuple[part, ...]), ("version", int, 0)]
    model = defstruct("Thing", fields, frozen=True, namespace={"KIND": "thing"})
    start = threading.Barrier(4)
    threads = [threading.Thread(target=read, args=(model,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


@pytest.mark.process
def test_the_first_records_may_be_read_by_many_threads_at_once():
    """Where two made a decoder of the same class at once, the whole process used to die."""
    answer = subprocess.run([sys.executable, "-c", FIRST_READERS], capture_output=True, text=True, timeout=300)
    assert (answer.returncode, answer.stdout) == (0, "alive\n"), answer.stderr


def _add_unknown_fields(value: object) -> None:
    for item in list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        _add_unknown_fields(item)
    if isinstance(value, dict) and "cart" not in value:
        value["from_the_future"] = {"amount": 1}
