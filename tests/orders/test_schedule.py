"""When an order is read again: the pace, the pages that poll, a gateway that fails, and what is due first."""

from datetime import timedelta

import pytest
from builders import USDT, at, make_order, make_record
from msgspec.structs import replace

from flask_iterapay.orders.models import (
    Claim,
    EventName,
    EventState,
    Intent,
    Order,
    OrderEvent,
    OrderStatus,
    Policy,
)
from flask_iterapay.orders.schedule import next_check_at, poll_check_at, retry_check_at

HOUR = 3600
WEEK = 7 * 24 * HOUR
POLICY = Policy()


def make_event(*, at_seconds: float | None, state: EventState = EventState.OPEN, number: int = 1) -> OrderEvent:
    return OrderEvent(
        key=f"order.confirming:1042:{number}",
        name=EventName.CONFIRMING,
        order_id="1042",
        occurred_at=at(0),
        state=state,
        next_attempt_at=None if at_seconds is None else at(at_seconds),
    )


def make_intent(seconds: float) -> Intent:
    return Intent(ref="r", method=USDT, amount=make_order().amount, expires_at=at(seconds))


class TestPace:
    @pytest.mark.parametrize(
        ("age", "pause"),
        [
            (0, 60),
            (HOUR - 0.001, 60),
            (HOUR, 600),
            (6 * HOUR - 0.001, 600),
            (6 * HOUR, 2 * HOUR),
            (WEEK - 0.001, 2 * HOUR),
        ],
    )
    def test_an_order_is_read_ever_more_rarely(self, age, pause):
        """A minute in the first hour, ten minutes to the sixth, then two hours."""
        assert next_check_at(make_order(make_record()), at(age), POLICY) == at(age) + timedelta(seconds=pause)

    @pytest.mark.parametrize("age", [WEEK, 10 * WEEK])
    def test_after_the_watch_only_a_hint_brings_news(self, age):
        """``watch_seconds`` after the last change that a customer can see, nobody asks any more."""
        assert next_check_at(make_order(make_record()), at(age), POLICY) is None

    def test_the_merchant_chooses_how_long_to_watch(self):
        """A short watch also cuts the first pace short."""
        policy = Policy(watch_seconds=100)
        order = make_order(make_record())
        assert next_check_at(order, at(99), policy) == at(159)
        assert next_check_at(order, at(100), policy) is None

    def test_an_order_without_an_invoice_has_nothing_to_read(self):
        """Nobody can have paid it."""
        assert next_check_at(make_order(), at(0), POLICY) is None

    def test_a_change_begins_the_watch_anew(self):
        """Be it a new invoice, or a new price for an old one: money is awaited again."""
        order = make_order(make_record(quote=WEEK + 900), changed_at=at(WEEK))
        assert next_check_at(order, at(WEEK), POLICY) == at(WEEK + 60)

    def test_an_invoice_that_lacks_its_address_is_due_at_once(self):
        """It was made while somebody else was reading; while one is still being made, the maker is waited for."""
        order = make_order(make_record(address=None), status=OrderStatus.PREPARING)
        assert next_check_at(order, at(60), POLICY) == at(60)
        assert next_check_at(replace(order, intent=make_intent(90)), at(60), POLICY) == at(120)

    @pytest.mark.parametrize("status", sorted(set(OrderStatus) - {OrderStatus.PAID, OrderStatus.PREPARING}))
    def test_every_other_status_keeps_the_pace(self, status):
        """A cancelled or expired order is watched for money, a held one for better news."""
        assert next_check_at(make_order(make_record(), status=status), at(60), POLICY) == at(120)

    @pytest.mark.parametrize("age", [0, HOUR, 6 * HOUR])
    def test_a_paid_order_is_watched_at_the_slowest_pace(self, age):
        """For contradictions and second payments, until the watch ends."""
        order = make_order(make_record(), status=OrderStatus.PAID)
        assert next_check_at(order, at(age), POLICY) == at(age + 2 * HOUR)
        assert next_check_at(order, at(WEEK), POLICY) is None


class TestPolls:
    @pytest.mark.parametrize(
        "status",
        [OrderStatus.PREPARING, OrderStatus.AWAITING_PAYMENT, OrderStatus.CONFIRMING, OrderStatus.ON_HOLD],
    )
    def test_a_page_that_polls_has_the_order_read_every_few_seconds(self, status):
        """``sync_seconds`` after the last reading, whoever else asks."""
        order = make_order(make_record(), status=status, read_at=at(100), next_check_at=at(160))
        assert poll_check_at(order, POLICY) == at(115)
        assert poll_check_at(order, Policy(sync_seconds=40)) == at(140)

    def test_an_order_that_is_due_earlier_is_due_then(self):
        """A hint may have marked it due again."""
        order = make_order(make_record(), read_at=at(100), next_check_at=at(101))
        assert poll_check_at(order, POLICY) == at(101)

    def test_a_page_keeps_an_order_alive_after_the_watch(self):
        """Somebody waits, so it is read although nothing else would read it."""
        order = make_order(make_record(), read_at=at(100), next_check_at=None)
        assert poll_check_at(order, POLICY) == at(115)

    @pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.PAID, OrderStatus.EXPIRED, OrderStatus.CANCELLED])
    def test_where_nothing_will_change_soon_a_poll_keeps_the_pace(self, status):
        """A page left open on a paid or expired order costs no extra reading."""
        order = make_order(make_record(), status=status, read_at=at(100), next_check_at=at(160))
        assert poll_check_at(order, POLICY) == at(160)

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"read_at": None}, 160),
            ({"unreachable_since": at(90)}, 160),
            ({"claim": Claim(token="t", expires_at=at(170))}, 170),
            ({"intent": make_intent(175)}, 175),
        ],
        ids=["never read", "unreachable", "claimed", "intended"],
    )
    def test_a_poll_pushes_neither_a_failing_gateway_nor_whoever_is_reading(self, fields, expected):
        """Ten thousand polls while the gateway is down, or while somebody reads, make no call."""
        order = make_order(make_record(), read_at=at(100), next_check_at=at(160))
        assert poll_check_at(replace(order, **fields), POLICY) == at(expected)


class TestRetries:
    @pytest.mark.parametrize(
        ("failing_for", "pause"),
        [(None, 15), (0, 15), (14, 15), (15, 15), (30, 30), (599, 599), (600, 600), (601, 600), (WEEK - 1, 600)],
    )
    def test_an_order_that_cannot_be_read_is_tried_later_and_later(self, failing_for, pause):
        """As long again as it has failed, between ``sync_seconds`` and ten minutes."""
        since = None if failing_for is None else at(1000 - failing_for)
        order = make_order(make_record(), unreachable_since=since)
        assert retry_check_at(order, at(1000), POLICY) == at(1000 + pause)

    def test_a_reading_that_failed_after_the_watch_is_tried_again(self):
        """A hint came for an old order while the gateway was down: the order stays due, or its money is lost."""
        assert retry_check_at(make_order(make_record()), at(2 * WEEK), POLICY) == at(2 * WEEK + 15)

    def test_an_order_that_cannot_be_read_for_long_is_never_given_up(self):
        """A key may expire while nobody is there, and a payment come; a few tries a day cost little."""
        order = make_order(make_record(), unreachable_since=at(0))
        assert retry_check_at(order, at(WEEK), POLICY) == at(WEEK + 6 * 3600)


class TestDue:
    def test_an_order_is_due_when_it_is_to_be_read(self):
        """And never, if it is not to be read and has nothing to tell."""
        assert make_order(make_record(), next_check_at=at(60)).due_at == at(60)
        assert make_order(make_record()).due_at is None

    @pytest.mark.parametrize(
        ("held", "expected"),
        [
            ({"claim": Claim(token="t", expires_at=at(90))}, 90),
            ({"intent": make_intent(80)}, 80),
            ({"claim": Claim(token="t", expires_at=at(90)), "intent": make_intent(80)}, 90),
            ({"claim": Claim(token="t", expires_at=at(70)), "intent": make_intent(80)}, 80),
        ],
        ids=["claim", "intent", "claim after intent", "intent after claim"],
    )
    @pytest.mark.parametrize("next_check", [None, 10, 300])
    def test_while_somebody_works_on_it_an_order_waits_for_them(self, held, expected, next_check):
        """A claim moves the order out of the way; it is due again when the last of them is over."""
        order = make_order(make_record(), next_check_at=None if next_check is None else at(next_check), **held)
        assert (order.due_check_at, order.due_at) == (at(expected), at(expected))

    @pytest.mark.parametrize(("attempt", "expected"), [(50, 50), (70, 60)])
    def test_an_open_event_and_the_next_check_are_due_whichever_is_first(self, attempt, expected):
        """A failing handler does not starve the readings, nor the readings the handlers."""
        order = make_order(make_record(), next_check_at=at(60), events=(make_event(at_seconds=attempt),))
        assert order.due_at == at(expected)

    def test_an_event_does_not_wait_for_a_claim(self):
        """Handlers need no gateway."""
        claim = Claim(token="t", expires_at=at(90))
        assert make_order(make_record(), claim=claim, events=(make_event(at_seconds=0),)).due_at == at(0)

    def test_the_first_of_several_events_counts(self):
        """One that was tried often does not hide a new one."""
        events = (make_event(at_seconds=500), make_event(at_seconds=20, number=2), make_event(at_seconds=90, number=3))
        assert make_order(events=events).due_at == at(20)

    @pytest.mark.parametrize("state", [EventState.DONE, EventState.FAILED])
    def test_an_event_that_is_over_is_never_due(self, state):
        """Whatever time is left on it."""
        order: Order = make_order(events=(make_event(at_seconds=0, state=state),))
        assert order.due_at is None
        assert make_order(events=(make_event(at_seconds=None),)).due_at is None
