"""What the pages of a payment link show: total over every visit, silent about other people's money, honest of time."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from builders import START, USDT, at
from hypothesis import given, settings
from hypothesis import strategies as st
from link_builders import make_contribution, make_link, make_visit
from msgspec import structs
from msgspec.structs import replace

from flask_iterapay.gateway.models import PaymentMethod
from flask_iterapay.links.models import Contribution, ContributionStatus, Link, LinkStatus, Visit, VisitPayment
from flask_iterapay.web.link_view import (
    LinkState,
    LinkView,
    ListedPayment,
    build_link_view,
    build_visit_view,
    visit_state,
)
from flask_iterapay.web.poll import status_payload
from flask_iterapay.web.view import Politeness

NOW = at(600)
DAY = 86_400
BTC = PaymentMethod(method_id=4, name="BTC", network="Bitcoin", ticker="BTC")
CONFIRMING, RECEIVED, ON_HOLD, REFUSED = (
    ContributionStatus.CONFIRMING,
    ContributionStatus.RECEIVED,
    ContributionStatus.ON_HOLD,
    ContributionStatus.REFUSED,
)


def own(*statuses: ContributionStatus) -> tuple[VisitPayment, ...]:
    """Payments to a visit's own address, one after the other."""
    return tuple(
        VisitPayment(transaction_id=f"tx-{number}", amount="20.5", unit="USDT", status=status, sent_at=at(number))
        for number, status in enumerate(statuses)
    )


def listed(*statuses: ContributionStatus, sent: float = 60) -> list[Contribution]:
    """A link's contributions, newest first."""
    return [
        make_contribution(
            status=status, transaction_id=f"tx-{number}", amount=str(number), created_at=at(sent - number)
        )
        for number, status in enumerate(statuses)
    ]


def view_at(seconds: float, *, link: Link | None = None, **fields: object) -> LinkView:
    """What a visit shows so many seconds after it began."""
    return build_visit_view(make_visit(**fields), link or make_link(), [], at(seconds))


THOROUGHLY = settings(max_examples=300, deadline=None)
MOMENTS = st.integers(-DAY, 3 * DAY).map(at)
STATUSES = st.sampled_from(ContributionStatus)
LINKS = st.builds(
    make_link,
    status=st.sampled_from(LinkStatus),
    description=st.sampled_from(["", "Notebooks"]),
    minimum=st.sampled_from([None, Decimal("20"), Decimal("0.01")]),
    has_public_list=st.booleans(),
    read_at=st.none() | MOMENTS,
    unreachable_since=st.none() | MOMENTS,
)
VISITS = st.builds(
    make_visit,
    address=st.sampled_from([None, "T-1"]),
    pay_amount=st.sampled_from([None, "20.000000"]),
    is_refused=st.booleans(),
    is_address_shared=st.booleans(),
    asked_until=st.none() | MOMENTS,
    created_at=MOMENTS,
    changed_at=MOMENTS,
    payments=st.lists(STATUSES, max_size=4).map(lambda statuses: own(*statuses)),
)
NEWEST = st.lists(
    st.builds(make_contribution, status=STATUSES, unit=st.sampled_from([None, "USDT"]), created_at=MOMENTS), max_size=12
).map(lambda items: sorted(items, key=lambda item: item.created_at, reverse=True))


class TestTotal:
    @THOROUGHLY
    @given(visit=VISITS, link=LINKS, newest=NEWEST, now=MOMENTS)
    def test_every_visit_has_a_page_and_only_one_of_them_an_address(
        self, visit: Visit, link: Link, newest: list[Contribution], now: object
    ) -> None:
        """Whatever its parts are, there is a view, an address where money may be sent, and nobody is kept polling."""
        view = build_visit_view(visit, link, newest, now)
        assert view.state is visit_state(visit, link)
        assert (view.invoice is not None) is (view.state is LinkState.WAITING)
        assert view.invoice is None or view.invoice.address == visit.address is not None
        assert view.next_poll_seconds is None or 2 <= view.next_poll_seconds <= 60
        assert not (view.is_unreachable and view.next_poll_seconds is None)
        assert view.seconds_left is None
        assert view.own_payments == visit.payments
        assert not any(secret in json.dumps(status_payload(view)) for secret in ("T-1", "20.0", "21.5", "Notebooks"))

    @THOROUGHLY
    @given(link=LINKS, newest=NEWEST)
    def test_a_links_own_page_has_no_address_and_does_not_poll(self, link: Link, newest: list[Contribution]) -> None:
        """It is for everybody, so it shows nothing that was given to somebody."""
        view = build_link_view(link, newest)
        assert view.state is (LinkState.CLOSED if link.status is LinkStatus.CLOSED else LinkState.CHOOSE_METHOD)
        assert (view.invoice, view.method, view.own_payments, view.next_poll_seconds) == (None, None, (), None)
        assert view.politeness is Politeness.OFF
        assert not view.has_refused_transfer

    @THOROUGHLY
    @given(visit=VISITS, link=LINKS, newest=NEWEST, now=MOMENTS)
    def test_the_list_is_short_newest_first_and_without_what_came_to_nothing(
        self, visit: Visit, link: Link, newest: list[Contribution], now: object
    ) -> None:
        """On both kinds of pages, and it is empty where the shop has switched it off."""
        for view in (build_link_view(link, newest), build_visit_view(visit, link, newest, now)):
            assert len(view.payments) <= 5
            assert [payment.sent_at for payment in view.payments] == sorted(
                (payment.sent_at for payment in view.payments), reverse=True
            )
            assert REFUSED not in {payment.status for payment in view.payments}
            assert link.has_public_list or view.payments == ()


class TestState:
    @pytest.mark.parametrize(
        ("visit", "state"),
        [
            (make_visit(address=None), LinkState.PREPARING),
            (make_visit(address=None, asked_until=at(9999)), LinkState.PREPARING),
            (make_visit(address=None, is_refused=True), LinkState.REFUSED),
            (make_visit(), LinkState.WAITING),
            (make_visit(is_address_shared=True), LinkState.WAITING),
            (make_visit(payments=own(REFUSED)), LinkState.WAITING),
            (make_visit(payments=own(CONFIRMING)), LinkState.CONFIRMING),
            (make_visit(payments=own(ON_HOLD)), LinkState.UNDER_REVIEW),
            (make_visit(payments=own(RECEIVED)), LinkState.RECEIVED),
            (make_visit(payments=own(RECEIVED, ON_HOLD)), LinkState.UNDER_REVIEW),
            (make_visit(payments=own(CONFIRMING, RECEIVED, ON_HOLD)), LinkState.CONFIRMING),
            (make_visit(payments=own(REFUSED, RECEIVED)), LinkState.RECEIVED),
        ],
    )
    def test_a_visit_has_the_page_of_what_came_to_it(self, visit: Visit, state: LinkState) -> None:
        """What is still open comes before what is done, and what failed changes no page."""
        assert visit_state(visit, make_link()) is state

    @pytest.mark.parametrize(
        ("visit", "state"),
        [
            (make_visit(address=None), LinkState.CLOSED),
            (make_visit(address=None, is_refused=True), LinkState.CLOSED),
            (make_visit(), LinkState.CLOSED),
            (make_visit(payments=own(REFUSED)), LinkState.CLOSED),
            (make_visit(payments=own(CONFIRMING)), LinkState.CONFIRMING),
            (make_visit(payments=own(ON_HOLD)), LinkState.UNDER_REVIEW),
            (make_visit(payments=own(RECEIVED)), LinkState.RECEIVED),
        ],
    )
    def test_a_closed_link_takes_the_address_away_and_no_receipt(self, visit: Visit, state: LinkState) -> None:
        """Nobody is asked for more, and whoever has paid still sees what became of it."""
        assert visit_state(visit, make_link(status=LinkStatus.CLOSED)) is state

    def test_what_happened_is_told_and_what_is_being_made_is_not(self) -> None:
        """A screen reader hears of an address and of money, and not of a page that is only preparing."""
        assert view_at(0, address=None).politeness is Politeness.OFF
        assert view_at(0).politeness is Politeness.POLITE
        assert view_at(0, payments=own(RECEIVED)).politeness is Politeness.POLITE


class TestPolling:
    @pytest.mark.parametrize(
        ("age", "pause"),
        [(-5, 5), (0, 5), (3, 5), (4, 6), (100, 30), (220, 60), (4000, 60), (DAY - 1, 60), (DAY, None)],
    )
    def test_a_waiting_page_asks_ever_more_rarely_and_not_after_a_day(self, age: int, pause: int | None) -> None:
        """The pause grows from 5 s to a minute; a clock that runs back does no harm."""
        assert view_at(age).next_poll_seconds == pause

    @pytest.mark.parametrize(
        ("fields", "pause"),
        [
            ({"address": None}, 2),
            ({"payments": own(CONFIRMING)}, 15),
            ({"payments": own(ON_HOLD)}, 60),
            ({"payments": own(RECEIVED)}, 60),
        ],
    )
    def test_the_other_pages_ask_at_their_own_pace_for_a_day(self, fields: dict[str, object], pause: int) -> None:
        """However long ago they changed, since nobody waits for an address any more."""
        assert [view_at(age, **fields).next_poll_seconds for age in (0, 4000, DAY - 1, DAY)] == [pause] * 3 + [None]

    @pytest.mark.parametrize(
        "view",
        [
            view_at(0, address=None, is_refused=True),
            view_at(0, link=make_link(status=LinkStatus.CLOSED)),
            build_link_view(make_link(), []),
        ],
    )
    def test_a_page_on_which_nothing_more_happens_does_not_ask(self, view: LinkView) -> None:
        """Neither one that was refused nor one that is closed."""
        assert view.next_poll_seconds is None

    @pytest.mark.parametrize(("failing", "pause"), [(0, 5), (1, 6), (25, 30), (55, 60), (600, 60), (40_000, 60)])
    @pytest.mark.parametrize("fields", [{}, {"address": None}])
    def test_a_gateway_in_trouble_is_asked_ever_more_rarely(
        self, failing: int, pause: int, fields: dict[str, object]
    ) -> None:
        """The pause doubles to a minute and no further, so that its return is soon seen."""
        link = make_link(unreachable_since=at(40_000 - failing))
        assert view_at(40_000, link=link, changed_at=at(40_000), **fields).next_poll_seconds == pause

    @pytest.mark.parametrize(("age", "is_unreachable"), [(0, True), (DAY, False)])
    def test_a_page_that_no_longer_asks_blames_nobody(self, age: int, is_unreachable: bool) -> None:
        """Its news is old because it is no longer asked for."""
        assert view_at(age, link=make_link(unreachable_since=START)).is_unreachable is is_unreachable


OTHER = {
    "state": LinkState.CLOSED,
    "politeness": Politeness.ASSERTIVE,
    "next_poll_seconds": 59,
    "updated_at": at(9999),
    "is_unreachable": True,
    "description": "Pencils",
    "minimum": "5.00 USD",
    "has_public_list": False,
    "method": BTC,
    "invoice": None,
    "own_payments": own(RECEIVED),
    "payments": (ListedPayment(amount="1", unit=None, method=BTC, status=RECEIVED, sent_at=START),),
    "has_refused_transfer": True,
    "seconds_left": 5,
}
OF_TIME = {"politeness", "next_poll_seconds", "updated_at", "seconds_left"}


class TestRevision:
    @pytest.mark.parametrize("name", [field.name for field in structs.fields(LinkView)])
    def test_it_changes_with_what_is_shown_and_not_with_time(self, name: str) -> None:
        """Each part of the view either makes the page load again or is told by the poll itself."""
        view = view_at(0)
        assert (replace(view, **{name: OTHER[name]}).revision == view.revision) is (name in OF_TIME)

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ({"amount": "1"}, {"amount": "2"}),
            ({"unit": None}, {"unit": "USDT"}),
            ({"status": CONFIRMING}, {"status": RECEIVED}),
            ({"created_at": at(1)}, {"created_at": at(2)}),
            ({"method": USDT}, {"method": BTC}),
        ],
    )
    def test_it_changes_with_every_part_of_a_listed_payment(
        self, before: dict[str, object], after: dict[str, object]
    ) -> None:
        """A payment that was confirmed meanwhile is shown so."""
        views = [build_link_view(make_link(), [make_contribution("settled", **fields)]) for fields in (before, after)]
        assert views[0].revision != views[1].revision

    @THOROUGHLY
    @given(visit=VISITS, link=LINKS, newest=NEWEST, times=st.tuples(MOMENTS, MOMENTS))
    def test_the_mere_passing_of_time_is_no_news(
        self, visit: Visit, link: Link, newest: list[Contribution], times: tuple[object, object]
    ) -> None:
        """Two looks at the same visit differ only where one of them still says that the gateway is silent."""
        one, other = (build_visit_view(visit, link, newest, now) for now in times)
        assert (one.revision == other.revision) is (one.is_unreachable == other.is_unreachable)


class TestPayments:
    def test_a_visitor_sees_what_came_since_he_did(self) -> None:
        """Older ones cannot be his; two minutes are granted to clocks that differ."""
        newest = [*listed(RECEIVED, sent=60), *listed(RECEIVED, sent=-120), *listed(RECEIVED, sent=-121)]
        view = build_visit_view(make_visit(), make_link(), newest, NOW)
        assert [payment.sent_at for payment in view.payments] == [at(60), at(-120)]
        assert len(build_link_view(make_link(), newest).payments) == 3

    def test_five_are_listed_and_those_that_failed_take_no_place(self) -> None:
        """Tainted dust pushes nobody's payment off the list."""
        newest = listed(*[REFUSED, RECEIVED] * 2, ON_HOLD, CONFIRMING, RECEIVED, RECEIVED)
        view = build_link_view(make_link(), newest)
        assert [payment.amount for payment in view.payments] == ["1", "3", "4", "5", "6"]

    def test_a_link_may_keep_its_payments_to_itself(self) -> None:
        """Then the page does not even know them, but the visitor's own."""
        visit, newest = make_visit(payments=own(RECEIVED)), listed(RECEIVED)
        view = build_visit_view(visit, make_link(has_public_list=False), newest, NOW)
        assert (view.payments, view.own_payments, view.has_public_list) == ((), visit.payments, False)

    @pytest.mark.parametrize("unit", [None, "USDT"])
    def test_the_amount_and_the_unit_are_the_gateways_own(self, unit: str | None) -> None:
        """Nothing is rounded, and no unit is guessed."""
        [payment] = build_link_view(make_link(), [make_contribution("settled", amount="0.10", unit=unit)]).payments
        assert (payment.amount, payment.unit) == ("0.10", unit)

    @pytest.mark.parametrize(
        ("statuses", "is_told"), [((REFUSED,), True), ((RECEIVED, REFUSED), True), ((ON_HOLD,), False)]
    )
    def test_a_payment_of_his_own_that_failed_is_told(
        self, statuses: tuple[ContributionStatus, ...], is_told: bool
    ) -> None:
        """Other people's are no business of his."""
        view = build_visit_view(make_visit(payments=own(*statuses)), make_link(), listed(REFUSED), NOW)
        assert view.has_refused_transfer is is_told


class TestWords:
    @pytest.mark.parametrize(("minimum", "text"), [(None, None), ("20", "20.00 USD"), ("0.01", "0.01 USD")])
    def test_the_minimum_is_in_dollars(self, minimum: str | None, text: str | None) -> None:
        """And absent where the visitor is free."""
        link = make_link(minimum=None if minimum is None else Decimal(minimum))
        assert build_link_view(link, []).minimum == text
        assert view_at(0, link=link).minimum == text

    def test_the_last_update_is_the_last_reading_or_else_the_last_change(self) -> None:
        """Before the gateway was ever read, nothing newer is known."""
        assert view_at(60, changed_at=at(30)).updated_at == at(30)
        assert view_at(60, link=make_link(read_at=at(50))).updated_at == at(50)
        assert build_link_view(make_link(changed_at=at(7)), []).updated_at == at(7)

    def test_a_poll_is_told_no_address_and_no_amount(self) -> None:
        """Nobody who bends an answer can bend a payment."""
        view = view_at(0, link=make_link(read_at=at(0)))
        assert status_payload(view) == {
            "state": "waiting",
            "revision": view.revision,
            "seconds_left": None,
            "next_poll_seconds": 5,
            "updated_at": (START + timedelta(0)).isoformat(timespec="seconds"),
        }
