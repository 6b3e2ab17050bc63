"""One page of transactions, newest first: what is asked for, what comes back, and what may be concluded from it."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_iterapay.errors import GatewayServerError, GatewayTimeoutError, MalformedAnswerError
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.gateway.models import TransactionPage

INVOICE_ID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)


def make_items(transaction, hours, **changes):
    """Transactions that were created at these hours of a day."""
    return [
        transaction | {"id": f"t-{number}", "createdAt": f"2024-01-15T{hour:02}:00:00Z"} | changes
        for number, hour in enumerate(hours)
    ]


def make_page(transaction, count, total):
    """One page's answer, with a total or without one."""
    return {"data": make_items(transaction, [12] * count)} | ({} if total is None else {"total": total})


def test_the_newest_are_asked_for_outright(gateway, client, merchant_id):
    """The order is the documented default, and sent all the same; the filter is the body."""
    gateway.answer({"data": [], "total": 0})
    client.list_newest_transactions(["i-1", "i-2"], page=3, limit=50)
    assert (gateway.request.method, gateway.request.url.path) == ("POST", f"/merchants/{merchant_id}/transactions/list")
    assert gateway.request.url.params.multi_items() == [
        ("page", "3"),
        ("limit", "50"),
        ("order", "desc"),
        ("orderBy", "createdAt"),
    ]
    assert json.loads(gateway.request.content) == {"invoiceIDs": ["i-1", "i-2"]}


def test_the_first_hundred_are_asked_for_unless_told_otherwise(gateway, client):
    """A page is the first, and as long as those of every other list of the client."""
    gateway.answer({"data": [], "total": 0})
    client.list_newest_transactions([INVOICE_ID])
    assert gateway.request.url.query == b"page=1&limit=100&order=desc&orderBy=createdAt"


def test_the_whole_list_is_asked_for_as_before(gateway, client):
    """A list that is read to its end needs no order, and asks for none."""
    gateway.answer({"data": [], "total": 0})
    client.list_transactions([INVOICE_ID])
    assert gateway.request.url.query == b"page=1&limit=100"


def test_no_invoices_have_no_newest_transactions(gateway, client):
    """An empty filter would ask for everything, so nothing is asked."""
    assert client.list_newest_transactions([]) == TransactionPage(items=(), reaches_to=None, has_more=False)
    assert gateway.requests == []


def test_a_page_tells_how_far_down_it_reached(gateway, client, transaction):
    """The oldest transaction of a sorted page bounds all that are on later pages."""
    gateway.answer({"data": make_items(transaction, [12, 10, 10, 9]), "total": 7})
    page = client.list_newest_transactions([INVOICE_ID])
    assert [item.transaction_id for item in page.items] == ["t-0", "t-1", "t-2", "t-3"]
    assert (page.reaches_to, page.has_more) == (NOON.replace(hour=9), True)


def test_times_are_compared_whatever_their_offset(gateway, client, transaction):
    """What looks later may be earlier."""
    items = make_items(transaction, [12, 12])
    items[1]["createdAt"] = "2024-01-15T13:00:00+02:00"
    gateway.answer({"data": items, "total": 2})
    assert client.list_newest_transactions([INVOICE_ID]).reaches_to == NOON.replace(hour=11)


@pytest.mark.parametrize("hours", [[9, 10, 12], [12, 9, 10], [10, 12, 9], [12, 12, 13]])
def test_a_page_that_is_not_sorted_proves_nothing(gateway, client, transaction, hours):
    """A gateway that ignores the order is believed what it sends, and nothing is concluded from where it stands."""
    gateway.answer({"data": make_items(transaction, hours), "total": 9})
    page = client.list_newest_transactions([INVOICE_ID])
    assert (len(page.items), page.reaches_to, page.has_more) == (3, None, True)


def test_an_empty_page_reaches_nowhere_and_ends_the_list(gateway, client):
    """Even if the total promises more (C31)."""
    gateway.answer({"data": [], "total": 9})
    assert client.list_newest_transactions([INVOICE_ID], page=2) == TransactionPage()


def test_strangers_are_left_out_and_still_count(gateway, client, transaction):
    """A gateway that ignores the filter adds no stranger's money, and hides none of ours behind a page of strangers."""
    strangers = make_items(transaction, range(22, 2, -1), invoiceID="another")
    strangers[5]["invoiceID"] = INVOICE_ID
    gateway.answer({"data": strangers, "total": 30}, {"data": strangers[6:], "total": 30})
    page = client.list_newest_transactions([INVOICE_ID], limit=20)
    assert [item.transaction_id for item in page.items] == ["t-5"]
    assert (page.reaches_to, page.has_more) == (NOON.replace(hour=3), True)
    only_strangers = client.list_newest_transactions([INVOICE_ID], limit=20)
    assert only_strangers == TransactionPage(items=(), reaches_to=NOON.replace(hour=3), has_more=True)


@pytest.mark.parametrize(("hours", "reaches_to"), [([12, 9, 10], None), ([12, 10, 9], NOON.replace(hour=9))])
def test_a_stranger_out_of_place_shows_that_nothing_is_sorted(gateway, client, transaction, hours, reaches_to):
    """The order is judged by everything that was sent."""
    items = make_items(transaction, hours)
    items[1]["invoiceID"] = "another"
    gateway.answer({"data": items, "total": 3})
    page = client.list_newest_transactions([INVOICE_ID])
    assert (len(page.items), page.reaches_to) == (2, reaches_to)


def test_a_transaction_that_a_page_repeats_counts_as_it_was_seen_last(gateway, client, transaction):
    """Each comes once, as in the whole list (C31)."""
    items = [transaction | {"state": "pending"}, transaction]
    gateway.answer({"data": items, "total": 2})
    assert [item.spelling for item in client.list_newest_transactions([INVOICE_ID]).items] == ["confirmed"]


@pytest.mark.parametrize(
    ("number", "limit", "count", "total", "has_more"),
    [
        pytest.param(1, 100, 100, 101, True, id="the total is not reached"),
        pytest.param(1, 100, 100, 100, False, id="the total ends a full page"),
        pytest.param(2, 100, 100, 200, False, id="the total ends a later full page"),
        pytest.param(1, 100, 99, None, False, id="a short page ends a list without a total"),
        pytest.param(1, 100, 100, None, True, id="a full page without a total"),
        pytest.param(3, 5, 5, None, True, id="full is what was asked for"),
        pytest.param(3, 5, 4, None, False, id="short is less than was asked for"),
        pytest.param(1, 100, 50, 120, True, id="the gateway allows fewer items than were asked for"),
        pytest.param(2, 100, 50, 120, True, id="the gateway goes on to allow fewer"),
        pytest.param(1, 100, 2, 9, True, id="a total that is too high"),
        pytest.param(2, 100, 0, 9, False, id="an empty page ends it"),
        pytest.param(1, 100, 0, None, False, id="an empty page without a total"),
        pytest.param(2, 100, 10, 110, True, id="a last page that may be one of many short ones"),
    ],
)
def test_a_page_tells_whether_there_is_another(gateway, client, transaction, number, limit, count, total, has_more):
    """C31, for one page that knows nothing of those before it: rather one empty page too many than one too few."""
    gateway.answer(make_page(transaction, count, total))
    assert client.list_newest_transactions([INVOICE_ID], page=number, limit=limit).has_more is has_more


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 60), limit=st.integers(1, 12), cap=st.integers(1, 12), has_total=st.booleans())
def test_going_on_while_there_is_more_finds_everything(count, limit, cap, has_total):
    """Whatever the length of list and pages, no transaction is missed, and at most one page is asked for in vain.

    A gateway that cuts pages short and gives no total cannot be seen through, in this list as in the others.
    """
    size = min(limit, cap) if has_total else limit
    ids = [f"t-{number}" for number in range(count)]
    pages = [ids[start : start + size] for start in range(0, count, size)]
    client, numbers = make_walker(pages, total=count if has_total else None)
    found = []
    while True:
        page = client.list_newest_transactions(["i-1"], page=len(numbers) + 1, limit=limit)
        found += [item.transaction_id for item in page.items]
        if not page.has_more:
            break
    assert found == ids
    assert len(numbers) <= len(pages) + 1


def make_walker(pages, *, total):
    """A client of a gateway with these pages of ids, and the numbers of the pages that it was asked for."""
    numbers = []

    def answer(request):
        number = int(request.url.params["page"])
        numbers.append(number)
        ids = pages[number - 1] if number <= len(pages) else []
        fields = {"invoiceID": "i-1", "amount": "1", "state": "settled"}
        data = [fields | {"id": item, "createdAt": format_time(item)} for item in ids]
        return httpx.Response(200, json={"data": data, "total": total})

    transport = httpx.MockTransport(answer)
    client = GatewayClient(base_url="https://api.iterapay.com", merchant_id="m", api_key="k", transport=transport)
    return client, numbers


def format_time(transaction_id):
    """The higher the number, the older."""
    return (NOON - timedelta(minutes=int(transaction_id.removeprefix("t-")))).isoformat()


def test_a_page_is_read_again_within_one_deadline(gateway, client, clock, transaction):
    """A page is a read like any other: tried again while the gateway is unavailable, and never past the deadline."""

    def be_slow():
        clock.now += 19
        return httpx.Response(503)

    gateway.answer(503, {"data": [transaction], "total": 1}, be_slow)
    assert len(client.list_newest_transactions([INVOICE_ID]).items) == 1
    with pytest.raises(GatewayServerError, match="list_newest_transactions"):
        client.list_newest_transactions([INVOICE_ID])
    assert len(gateway.requests) == 3


def test_a_page_that_comes_too_late_is_no_page(gateway, client, clock):
    """The deadline holds for the answer too, and the error names the call."""

    def be_late():
        clock.now += 20
        return {"data": []}

    gateway.answer(be_late)
    with pytest.raises(GatewayTimeoutError, match="list_newest_transactions"):
        client.list_newest_transactions([INVOICE_ID])


@pytest.mark.parametrize("field", ["id", "invoiceID", "amount", "state", "createdAt"])
def test_a_broken_transaction_does_not_hide_the_others(gateway, client, transaction, caplog, field):
    """It is logged and left out, counts for the length of its page, and refuses a list that must be whole."""
    broken = {name: value for name, value in transaction.items() if name != field}
    gateway.answer({"data": [transaction, broken]})
    page = client.list_newest_transactions([INVOICE_ID], limit=2)
    assert [item.transaction_id for item in page.items] == [transaction["id"]]
    assert page.has_more
    assert "cannot be read and is left out" in caplog.text
    gateway.answer({"data": [transaction, broken]})
    with pytest.raises(MalformedAnswerError):
        client.list_transactions([INVOICE_ID])
