"""What the page shows: total over every order, honest about time, silent where there is nothing to say."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from builders import USDT, at, make_order, make_record, make_snapshot, make_transaction
from msgspec.structs import replace

from flask_iterapay.gateway.models import PaymentMethod
from flask_iterapay.orders.models import (
    HoldReason,
    Intent,
    InvoiceRecord,
    Order,
    OrderStatus,
    Settlement,
    Snapshot,
)
from flask_iterapay.web.poll import status_payload
from flask_iterapay.web.view import (
    MethodOption,
    PageState,
    Politeness,
    build_options,
    build_view,
    page_state,
)

NOW = at(120)
RECORDS = (
    (),
    (make_record(address=None, pay_amount=None),),
    (make_record(),),
    (make_record(quote=60),),
    (make_record(quote=None),),
    (make_record(snapshot=make_snapshot("underpaid", "confirmed")),),
    (make_record(snapshot=make_snapshot("somewhere", is_blind=True)),),
)
BTC = PaymentMethod(method_id=3, name="BTC", network="Bitcoin", ticker="BTC")


def waiting(**fields: object) -> Order:
    """An order whose price runs."""
    return make_order(make_record(), **fields)


@pytest.mark.parametrize("status", OrderStatus)
def test_every_order_has_a_page_and_only_two_of_them_an_address(status: OrderStatus) -> None:
    """Whatever the parts of an order are, there is a view, and an address only where money is asked for."""
    parts = product([None, *HoldReason], Settlement, [None, at(100)], RECORDS)
    for reason, settlement, unreachable_since, records in parts:
        order = make_order(
            *records, status=status, hold_reason=reason, settlement=settlement, unreachable_since=unreachable_since
        )
        view = build_view(order, NOW)
        assert view.state is page_state(order, NOW)
        assert (view.invoice is not None) is (view.state in (PageState.WAITING, PageState.UNDERPAID_OPEN))
        assert view.seconds_left is None or view.seconds_left > 0
        assert view.next_poll_seconds is None or 2 <= view.next_poll_seconds <= 60


@pytest.mark.parametrize(
    ("order", "state"),
    [
        (make_order(), PageState.CHOOSE_METHOD),
        (make_order(status=OrderStatus.PREPARING), PageState.PREPARING),
        (make_order(make_record(address=None), status=OrderStatus.AWAITING_PAYMENT), PageState.PREPARING),
        (make_order(make_record(pay_amount=None), status=OrderStatus.AWAITING_PAYMENT), PageState.PREPARING),
        (make_order(status=OrderStatus.AWAITING_PAYMENT), PageState.PREPARING),
        (waiting(), PageState.WAITING),
        (make_order(make_record(quote=None)), PageState.WAITING),
        (make_order(make_record(quote=121)), PageState.WAITING),
        (make_order(make_record(quote=120)), PageState.CHECKING),
        (waiting(status=OrderStatus.CONFIRMING), PageState.CHECKING),
        (waiting(status=OrderStatus.PAID), PageState.PAID),
        (waiting(status=OrderStatus.PAID, settlement=Settlement.OVERPAID), PageState.OVERPAID),
        (waiting(status=OrderStatus.EXPIRED), PageState.EXPIRED),
        (waiting(status=OrderStatus.CANCELLED), PageState.CANCELLED),
        (waiting(status=OrderStatus.EXPIRED, unreachable_since=NOW), PageState.EXPIRED),
        (waiting(unreachable_since=NOW), PageState.WAITING),
        (make_order(make_record(quote=60), unreachable_since=NOW), PageState.UNREACHABLE),
        (make_order(status=OrderStatus.PREPARING, unreachable_since=NOW), PageState.UNREACHABLE),
    ],
)
def test_an_order_has_the_page_of_its_status(order: Order, state: PageState) -> None:
    """Each status leads to its screen, and a price that ran out unread to "checking"."""
    assert page_state(order, NOW) is state


@pytest.mark.parametrize(
    ("snapshot", "state"),
    [
        (make_snapshot("pending", "pending"), PageState.CONFIRMING),
        (make_snapshot("processing"), PageState.CONFIRMING),
        (make_snapshot("paid", is_blind=True), PageState.CONFIRMING),
        (make_snapshot("somewhere"), PageState.CHECKING),
        (make_snapshot("somewhere", "failed"), PageState.CHECKING),
    ],
)
def test_payment_seen_is_said_of_money_alone(snapshot: Snapshot, state: PageState) -> None:
    """A state that nobody knows makes an order confirming as well, and proves no payment."""
    order = make_order(make_record(snapshot=snapshot), status=OrderStatus.CONFIRMING)
    assert page_state(order, NOW) is state


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (HoldReason.AML_UNKNOWN, PageState.UNDER_REVIEW),
        (HoldReason.AML_FAILED, PageState.UNDER_REVIEW),
        (HoldReason.LATE, PageState.LATE),
        (HoldReason.CANCELLED_WITH_MONEY, PageState.CANCELLED),
        (HoldReason.MISMATCH, PageState.EXPIRED_WITH_MONEY),
        (HoldReason.UNKNOWN_STATE, PageState.EXPIRED_WITH_MONEY),
        (HoldReason.EXPIRED_WITH_MONEY, PageState.EXPIRED_WITH_MONEY),
        (None, PageState.EXPIRED_WITH_MONEY),
    ],
)
def test_a_hold_has_the_page_of_its_reason(reason: HoldReason | None, state: PageState) -> None:
    """The customer is told what kind of waiting it is, and never a reason that accuses."""
    assert page_state(waiting(status=OrderStatus.ON_HOLD, hold_reason=reason), NOW) is state


PART = make_record(snapshot=make_snapshot("underpaid", "confirmed"))


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ((PART,), PageState.UNDERPAID_OPEN),
        ((replace(PART, expires_at=NOW),), PageState.UNDERPAID_CLOSED),
        ((replace(PART, address=None),), PageState.UNDERPAID_CLOSED),
        ((PART, make_record("inv-2")), PageState.UNDERPAID_CLOSED),
        ((PART, make_record("inv-2", snapshot=make_snapshot("pending"))), PageState.UNDERPAID_CLOSED),
        ((), PageState.UNDERPAID_CLOSED),
    ],
)
def test_the_rest_is_asked_for_only_where_the_first_part_went(
    records: tuple[InvoiceRecord, ...], state: PageState
) -> None:
    """Another invoice's address, or a price that ran out, would split the money further."""
    order = make_order(*records, status=OrderStatus.ON_HOLD, hold_reason=HoldReason.UNDERPAID)
    assert page_state(order, NOW) is state


@pytest.mark.parametrize(("expires_after", "seconds"), [(900, 780), (120.2, 1), (None, None)])
def test_the_countdown_is_the_servers_and_never_ends_early(expires_after: float | None, seconds: int | None) -> None:
    """Seconds are rounded up, so that zero means that the price is over."""
    assert build_view(make_order(make_record(quote=expires_after)), NOW).seconds_left == seconds


@pytest.mark.parametrize(("waited", "pause"), [(-5, 3), (0, 3), (3, 3), (4, 4), (20, 8), (48, 15), (4000, 15)])
def test_a_waiting_page_asks_ever_more_rarely(waited: int, pause: int) -> None:
    """The pause begins at 3 s after a change and grows to 15 s; a clock that runs back does no harm."""
    order = make_order(make_record(quote=None), changed_at=at(0))
    assert build_view(order, at(waited)).next_poll_seconds == pause


@pytest.mark.parametrize(("failing", "pause"), [(0, 5), (5, 10), (15, 20), (300, 60)])
def test_an_unreachable_gateway_is_asked_about_ever_more_rarely(failing: int, pause: int) -> None:
    """The pause doubles from 5 s to a minute."""
    view = build_view(make_order(make_record(quote=None), unreachable_since=at(0)), at(failing))
    assert view.next_poll_seconds == pause
    assert view.is_unreachable


@pytest.mark.parametrize(
    ("order", "pause"),
    [
        (make_order(), None),
        (make_order(status=OrderStatus.PREPARING), 2),
        (waiting(status=OrderStatus.CONFIRMING), 15),
        (waiting(status=OrderStatus.PAID), None),
        (waiting(status=OrderStatus.CANCELLED), None),
        (waiting(status=OrderStatus.CANCELLED, unreachable_since=NOW), None),
        (waiting(status=OrderStatus.EXPIRED), None),
        (waiting(status=OrderStatus.EXPIRED, next_check_at=at(600)), 30),
        (waiting(status=OrderStatus.ON_HOLD, hold_reason=HoldReason.LATE), 60),
        (waiting(status=OrderStatus.ON_HOLD, hold_reason=HoldReason.LATE, unreachable_since=NOW), 60),
    ],
)
def test_polling_follows_the_state_and_stops_at_the_end(order: Order, pause: int | None) -> None:
    """Where nothing more can happen the page is left alone, and then it claims no trouble either."""
    view = build_view(order, NOW)
    assert view.next_poll_seconds == pause
    assert not (pause is None and view.is_unreachable)


@pytest.mark.parametrize(
    ("order", "politeness"),
    [
        (make_order(), Politeness.OFF),
        (make_order(make_record(quote=60)), Politeness.OFF),
        (waiting(), Politeness.POLITE),
        (waiting(status=OrderStatus.PAID), Politeness.POLITE),
        (waiting(status=OrderStatus.EXPIRED), Politeness.ASSERTIVE),
        (make_order(PART, status=OrderStatus.ON_HOLD, hold_reason=HoldReason.UNDERPAID), Politeness.ASSERTIVE),
    ],
)
def test_only_what_needs_an_act_interrupts(order: Order, politeness: Politeness) -> None:
    """Expired and underpaid are said at once, the rest waits its turn."""
    assert build_view(order, NOW).politeness is politeness


def test_the_revision_stands_still_while_time_passes() -> None:
    """A poll alone never makes the page load again."""
    order = waiting(read_at=at(100))
    later = replace(order, read_at=at(130), version=7)
    assert build_view(order, NOW).revision == build_view(later, NOW + timedelta(seconds=30)).revision


def test_the_revision_is_of_the_moment_and_not_of_its_class() -> None:
    """A clock may tell time by a class of its own, as those do that tests freeze; the store gives back the usual."""

    class Frozen(datetime):
        """Time that stands still."""

    frozen = Frozen.fromtimestamp(NOW.timestamp(), UTC)
    assert build_view(waiting(changed_at=frozen), NOW).revision == build_view(waiting(changed_at=NOW), NOW).revision


@pytest.mark.parametrize(
    "changed",
    [
        waiting(changed_at=at(1)),
        waiting(unreachable_since=NOW),
        waiting(status=OrderStatus.PAID),
        waiting(next_check_at=NOW),
        make_order(make_record(quote=901)),
        make_order(make_record(quote=60)),
        make_order(make_record(snapshot=make_snapshot("pending", "failed"))),
        make_order(make_record(snapshot=make_snapshot("pending", "pending"))),
    ],
)
def test_the_revision_changes_with_what_is_shown(changed: Order) -> None:
    """State, price, transfers and notices each make the page load again."""
    assert build_view(changed, NOW).revision != build_view(waiting(), NOW).revision


def test_a_poll_is_told_no_address_and_no_amount() -> None:
    """Neither in a field nor inside of one, so that nobody who bends an answer can bend a payment."""
    view = build_view(waiting(read_at=at(100)), NOW)
    payload = status_payload(view)
    assert payload == {
        "state": "waiting",
        "revision": view.revision,
        "seconds_left": 780,
        "next_poll_seconds": 15,
        "updated_at": "2026-01-15T10:31:40+00:00",
    }
    assert all(secret not in str(payload) for secret in ("T-inv-1", "25.15", "100.00"))


def test_the_last_update_is_the_last_reading_or_else_the_last_change() -> None:
    """Before the gateway was ever read, the order's own change is the newest that is known."""
    assert build_view(waiting(), NOW).updated_at == at(0)
    assert build_view(waiting(read_at=at(60)), NOW).updated_at == at(60)


@pytest.mark.parametrize(
    ("records", "previous"),
    [
        ((make_record(),), None),
        ((make_record(previous_pay_amount="24.9"),), "24.9"),
        ((make_record(pay_amount="24.9"), make_record("inv-2")), "24.9"),
        ((make_record(), make_record("inv-2")), None),
        ((make_record(pay_amount="0.0004", method=BTC), make_record("inv-2")), None),
        ((make_record(pay_amount="20.1", amount=Decimal("80.00")), make_record("inv-2")), None),
    ],
)
def test_a_renewed_price_knows_the_one_before(records: tuple[InvoiceRecord, ...], previous: str | None) -> None:
    """Whether the gateway kept the invoice or a new one was made for the same method and amount."""
    assert build_view(make_order(*records), NOW).previous_pay_amount == previous


INTENT = Intent(ref="r", method=BTC, amount=make_order().amount, expires_at=at(180))


@pytest.mark.parametrize(
    ("order", "method"),
    [
        (make_order(), None),
        (make_order(status=OrderStatus.PREPARING, intent=INTENT), BTC),
        (waiting(), USDT),
        (
            make_order(make_record("inv-1", snapshot=make_snapshot("paid")), make_record("inv-2", method=BTC)),
            USDT,
        ),
        (
            make_order(make_record(snapshot=make_snapshot("pending", "pending")), make_record("inv-2", method=BTC)),
            USDT,
        ),
        (
            make_order(make_record(snapshot=make_snapshot("pending", "failed")), make_record("inv-2", method=BTC)),
            BTC,
        ),
    ],
)
def test_the_method_shown_is_the_one_that_the_money_took(order: Order, method: PaymentMethod | None) -> None:
    """A receipt names where the money arrived, even on an invoice that was superseded."""
    assert build_view(order, NOW).method == method


def test_transfers_are_the_live_ones_in_order_and_few() -> None:
    """A failed transfer is no part of the payment, and dust cannot flood a receipt."""
    live = [make_transaction("pending", seen=90 - number, transaction_id=f"t{number}") for number in range(7)]
    record = make_record(snapshot=make_snapshot("processing", make_transaction("failed", seen=1), *live))
    view = build_view(make_order(record, status=OrderStatus.CONFIRMING), NOW)
    assert [transfer.transaction_id for transfer in view.transfers] == ["t6", "t5", "t4", "t3", "t2"]
    assert view.has_refused_transfer


@pytest.mark.parametrize(
    "record",
    [
        make_record("inv-2", method=BTC, pay_amount=None),
        make_record("inv-2", method=BTC, quote=60),
        make_record("inv-2", method=BTC, snapshot=make_snapshot("expired")),
        replace(make_record("inv-2", method=BTC), amount=Decimal("99.00")),
    ],
)
def test_a_pay_amount_that_no_longer_holds_is_not_shown_beside_a_choice(record: InvoiceRecord) -> None:
    """One that ran out, was made for another amount, or was never given."""
    order = make_order(record, current_invoice_id=None)
    assert build_options(order, [USDT, BTC], NOW) == (
        MethodOption(method=USDT, pay_amount=None),
        MethodOption(method=BTC, pay_amount=None),
    )
