"""The HTTP surface: every operation in both dialects, and every way to ask wrongly."""

import json
from collections.abc import Callable

import pytest

from flask_iterapay.sandbox.app import MERCHANT_ID as MERCHANT

OTHER_MERCHANT = "00000000-0000-4000-8000-000000000001"
NOWHERE = "00000000-0000-4000-8000-000000000002"
INVOICES = f"/merchants/{MERCHANT}/invoices"
TRANSACTIONS = f"/merchants/{MERCHANT}/transactions"
ORDER = {"amount": "100.00", "type": "onetime", "paymentMethodID": 1}


@pytest.fixture(params=["reference", "guide"])
def dialect(request: pytest.FixtureRequest, sandbox) -> str:
    """Both dialects, one after the other."""
    sandbox.switch(dialect=request.param)
    return request.param


def test_every_answer_follows_the_contract(sandbox, dialect: str, validate: Callable) -> None:
    """The happy path of every operation that the client uses fits its schema in both dialects."""
    created = sandbox.call("POST", INVOICES, json=ORDER)
    validate("createInvoice", created)
    invoice_id = created.json["id"]
    public = f"/public/invoices/{invoice_id}"
    validate("getPublicInvoiceAddress", sandbox.call("GET", f"{public}/method/1/address"))
    for action in ("pay_pending", "confirm", "aml_fail", "unknown_state"):
        sandbox.press(invoice_id, action)
        validate("getInvoice", sandbox.call("GET", f"{INVOICES}/{invoice_id}"))
        validate("getPublicInvoice", sandbox.call("GET", public, headers={}))
    transactions = sandbox.call("POST", f"{TRANSACTIONS}/list", json={"invoiceIDs": [invoice_id]})
    validate("listTransactions", transactions)
    transaction_id = transactions.json["data"][0]["id"]
    validate("getTransaction", sandbox.call("GET", f"{TRANSACTIONS}/{transaction_id}"))
    validate("listInvoices", sandbox.call("GET", INVOICES))
    validate("listPaymentMethods", sandbox.call("GET", "/payment_methods"))
    validate("getMerchant", sandbox.call("GET", f"/merchants/{MERCHANT}"))
    for shape in ("bare", "wrapped"):
        sandbox.switch(dialect=dialect, addresses_shape=shape)
        validate("listPublicInvoiceAddresses", sandbox.call("GET", f"{public}/addresses"))


def test_the_webhook_calls_follow_the_contract(sandbox, dialect: str, validate: Callable) -> None:
    """Registering, reading and removing, with a bearer token."""
    path, options = f"/weebhook/{MERCHANT}", {"headers": sandbox.bearer}
    validate("getWebhook", sandbox.call("GET", path, **options))
    body = {"url": "https://new.example.com/hook", "secret": "another-secret"}
    registered = sandbox.call("POST", path, json=body, **options)
    validate("setWebhook", registered)
    assert registered.json["token"].startswith({"reference": "whsec_", "guide": "whk_"}[dialect])
    shown = sandbox.call("GET", path, **options)
    validate("getWebhook", shown)
    assert shown.json == {"url": "https://new.example.com/hook", "createdAt": "2026-01-15T10:30:00Z"}
    removed = sandbox.call("DELETE", path, **options)
    validate("deleteWebhook", removed)
    assert removed.status_code == 204
    missing = sandbox.call("GET", path, **options)
    validate("getWebhook", missing)
    assert missing.status_code == 404
    assert sandbox.call("GET", f"/merchants/{MERCHANT}").json["settings"]["webhookUrl"] is None


def test_the_reference_dialect_shows_its_fields(sandbox) -> None:
    """A create answers the id alone; reading gives strings, state and method."""
    created = sandbox.call("POST", INVOICES, json=ORDER)
    assert (created.status_code, list(created.json)) == (201, ["id"])
    invoice_id = created.json["id"]
    sandbox.address(invoice_id)
    sandbox.press(invoice_id, "pay_exact")
    assert sandbox.invoice(invoice_id) == {
        "id": invoice_id,
        "amount": "100.00",
        "type": "onetime",
        "state": "paid",
        "createdAt": "2026-01-15T10:30:00Z",
        "paymentMethodID": 1,
        "amlOk": True,
    }


def test_the_guide_dialect_shows_its_fields(sandbox) -> None:
    """A prefixed id, numbers with their exact digits, status, and when it was paid; no method, type or verdict."""
    sandbox.switch(dialect="guide")
    created = sandbox.call("POST", INVOICES, json={"amount": 100.1, "type": "onetime", "description": "Order #1"})
    invoice_id = created.json["id"]
    assert invoice_id.startswith("inv_")
    assert created.text == (
        f'{{"id": "{invoice_id}", "amount": 100.10, "type": "onetime", "description": "Order #1",'
        ' "status": "pending", "createdAt": "2026-01-15T10:30:00Z"}'
    )
    sandbox.address(invoice_id)
    sandbox.press(invoice_id, "pay_exact")
    assert sandbox.invoice(invoice_id) == {
        "id": invoice_id,
        "amount": 100.1,
        "status": "paid",
        "createdAt": "2026-01-15T10:30:00Z",
        "paidAt": "2026-01-15T10:30:00Z",
    }


@pytest.mark.parametrize(
    "body",
    [
        {"amount": "100.00", "type": "onetime", "paymentMethodID": 2, "description": "Order #1234"},
        {"type": "onetime", "methodID": 2, "amount": 100.0},
        {"amount": 100, "type": "onetime", "description": "Order #1042 - Premium Plan"},
        {"amount": "100", "type": "reusable"},
    ],
)
def test_every_documented_form_creates_an_invoice(sandbox, body: dict[str, object]) -> None:
    """The reference's, the concept page's and the guide's, whatever the dialect of the answers."""
    invoice_id = sandbox.call("POST", INVOICES, json=body).json["id"]
    invoice = sandbox.invoice(invoice_id)
    assert (invoice["amount"], invoice["type"]) == ("100.00", body["type"])


@pytest.mark.parametrize("body", [{**ORDER, "amount": 100}, {"amount": "100.00", "type": "onetime", "methodID": 1}])
def test_the_reference_form_alone_can_be_demanded(sandbox, body: dict[str, object]) -> None:
    """Then an amount that is no string, or another name of the method, is refused."""
    sandbox.switch(create_form="reference")
    assert sandbox.call("POST", INVOICES, json=body).status_code == 400
    assert sandbox.call("POST", INVOICES, json=ORDER).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'\xef\xbb\xbf{"amount": "1"}',
        b'{"amount": NaN, "type": "onetime"}',
        b'{"amount": Infinity, "type": "onetime"}',
        b'{"amount": 1e400, "type": "onetime"}',
        b'{"amount": ' + b"9" * 5000 + b', "type": "onetime"}',
        b'{"amount": ' + b"9" * 400 + b', "type": "onetime"}',
        b"[" * 20000,
        b'{"a": ' * 5000 + b"1" + b"}" * 5000,
        b'{"amount": "1.00", "type": "onetime", "description": "\\ud800"}',
        b'{"amount": "0", "type": "onetime"}',
        b'{"amount": -1, "type": "onetime"}',
        b'{"amount": "-1", "type": "onetime"}',
        b'{"amount": "1.001", "type": "onetime"}',
        b'{"amount": "1e3", "type": "onetime"}',
        b'{"amount": true, "type": "onetime"}',
        b'{"amount": null, "type": "onetime"}',
        b'{"amount": {}, "type": "onetime"}',
        b'{"type": "onetime"}',
        b'{"amount": "1.00"}',
        b'{"amount": "1.00", "type": "collect"}',
        b'{"amount": "1.00", "type": ["onetime"]}',
        b'{"amount": "1.00", "type": {"onetime": 1}}',
        b'{"amount": "1.00", "type": "onetime", "description": 7}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": 99}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": "1"}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": true}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": 1.0}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": []}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": null}',
        b'{"amount": "1.00", "type": "onetime", "paymentMethodID": 1, "methodID": 1}',
    ],
)
def test_a_body_that_makes_no_invoice_is_refused(sandbox, validate: Callable, body: bytes) -> None:
    """With a 400 problem that names the field, never with a 500, and nothing is made."""
    response = sandbox.call("POST", INVOICES, data=body, content_type="application/json")
    validate("createInvoice", response)
    assert response.status_code == 400
    assert sandbox.call("GET", INVOICES).json["total"] == 0


def test_a_body_that_is_not_announced_as_json_is_refused(sandbox) -> None:
    """Forms and plain text are not the documented content type."""
    response = sandbox.call("POST", INVOICES, data=json.dumps(ORDER), content_type="text/plain")
    assert response.status_code == 400


def test_a_huge_body_is_refused(sandbox, validate: Callable) -> None:
    """Nobody's invoice is larger than 64 KiB."""
    response = sandbox.call("POST", INVOICES, data=b" " * 70_000, content_type="application/json")
    validate("createInvoice", response)
    assert response.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("POST", INVOICES, "createInvoice"),
        ("GET", INVOICES, "listInvoices"),
        ("GET", f"{INVOICES}/{NOWHERE}", "getInvoice"),
        ("GET", "/payment_methods", "listPaymentMethods"),
        ("POST", f"{TRANSACTIONS}/list", "listTransactions"),
        ("GET", f"{TRANSACTIONS}/{NOWHERE}", "getTransaction"),
        ("GET", f"/merchants/{MERCHANT}", "getMerchant"),
        ("POST", f"/weebhook/{MERCHANT}", "setWebhook"),
        ("GET", f"/weebhook/{MERCHANT}", "getWebhook"),
        ("DELETE", f"/weebhook/{MERCHANT}", "deleteWebhook"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Api-Key": "wrong"},
        {"X-Api-Key": "\xff"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer sandbox-api-key"},
        {"Authorization": "Basic sandbox-bearer-token"},
    ],
)
def test_wrong_credentials_are_refused(
    sandbox, validate: Callable, method: str, path: str, operation_id: str, headers: dict[str, str]
) -> None:
    """A missing or wrong key, and the key sent as if it were a bearer token, are a 401 problem."""
    response = sandbox.call(method, path, headers=headers)
    validate(operation_id, response)
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("POST", f"/merchants/{OTHER_MERCHANT}/invoices", "createInvoice"),
        ("GET", f"/merchants/{OTHER_MERCHANT}/invoices", "listInvoices"),
        ("GET", f"/merchants/{OTHER_MERCHANT}/invoices/{NOWHERE}", "getInvoice"),
        ("POST", f"/merchants/{OTHER_MERCHANT}/transactions/list", "listTransactions"),
        ("GET", f"/merchants/{OTHER_MERCHANT}/transactions/{NOWHERE}", "getTransaction"),
        ("GET", f"/merchants/{OTHER_MERCHANT}", "getMerchant"),
        ("GET", f"/weebhook/{OTHER_MERCHANT}", "getWebhook"),
    ],
)
def test_another_merchant_is_refused(sandbox, validate: Callable, method: str, path: str, operation_id: str) -> None:
    """A key opens its own merchant alone."""
    response = sandbox.call(method, path, headers=sandbox.bearer)
    validate(operation_id, response)
    assert response.status_code == 403


@pytest.mark.parametrize(("dialect_name", "status"), [("reference", 401), ("guide", 200)])
def test_the_key_opens_the_webhook_in_the_guide_alone(sandbox, dialect_name: str, status: int) -> None:
    """The reference wants a bearer token there."""
    sandbox.switch(dialect=dialect_name)
    assert sandbox.call("GET", f"/weebhook/{MERCHANT}").status_code == status


@pytest.mark.parametrize(
    ("strictness", "single", "all_of_them"), [("none", 200, 200), ("list", 200, 401), ("both", 401, 401)]
)
def test_public_addresses_can_want_credentials(sandbox, strictness: str, single: int, all_of_them: int) -> None:
    """The pages disagree, so it can be switched; with the key, they always answer."""
    invoice_id = sandbox.offered()
    sandbox.switch(public_auth=strictness)
    for path, status in (("method/1/address", single), ("addresses", all_of_them)):
        path = f"/public/invoices/{invoice_id}/{path}"
        assert sandbox.call("GET", path, headers={}).status_code == status
        assert sandbox.call("GET", path).status_code == 200


@pytest.mark.parametrize(
    ("path", "operation_id"),
    [
        (f"{INVOICES}/{NOWHERE}", "getInvoice"),
        (f"/public/invoices/{NOWHERE}", "getPublicInvoice"),
        (f"/public/invoices/{NOWHERE}/addresses", "listPublicInvoiceAddresses"),
        (f"/public/invoices/{NOWHERE}/method/1/address", "getPublicInvoiceAddress"),
        (f"{TRANSACTIONS}/{NOWHERE}", "getTransaction"),
        ("/public/invoices/%00%F0%9F%98%80%FF", "getPublicInvoice"),
    ],
)
def test_what_does_not_exist_is_not_found(sandbox, validate: Callable, path: str, operation_id: str) -> None:
    """A 404 problem, whatever the id looks like."""
    response = sandbox.call("GET", path)
    validate(operation_id, response)
    assert response.status_code == 404


@pytest.mark.parametrize(("method_id", "status"), [("2", 404), ("99", 404), ("-1", 400), ("one", 400), ("9" * 99, 400)])
def test_a_method_that_is_not_offered_has_no_address(sandbox, validate: Callable, method_id: str, status: int) -> None:
    """Another method than the invoice's is not found; what is no id is refused."""
    response = sandbox.call("GET", f"/public/invoices/{sandbox.create()}/method/{method_id}/address")
    validate("getPublicInvoiceAddress", response)
    assert response.status_code == status


def test_archiving_and_deleting_are_not_offered(sandbox) -> None:
    """The bare POST on an invoice's URL does nothing here, as the client must never send it."""
    path = f"{INVOICES}/{sandbox.create()}"
    for method in ("POST", "DELETE"):
        response = sandbox.call(method, path)
        assert (response.status_code, response.mimetype) == (405, "application/problem+json")
        assert "GET" in response.headers["Allow"]


def test_an_address_is_quoted_in_the_asset(sandbox, clock) -> None:
    """An exact amount, and an end after the set lifetime; renewed once that has passed."""
    sandbox.switch(quote_seconds=60)
    invoice_id = sandbox.create(amount="25.15", paymentMethodID=4)
    first = sandbox.address(invoice_id, 4)
    assert (first["amount"], first["expiresAt"]) == ("0.00039144", "2026-01-15T10:31:00Z")
    assert sandbox.address(invoice_id, 4) == first
    clock.move(seconds=60)
    second = sandbox.address(invoice_id, 4)
    assert second == {"address": first["address"], "amount": "0.00039184", "expiresAt": "2026-01-15T10:32:00Z"}


def test_a_reusable_invoice_can_give_new_addresses(sandbox) -> None:
    """The gateway's guide says that each request gives a new one, another page that it is always the same."""
    invoice_id = sandbox.create(type="reusable")
    assert sandbox.address(invoice_id) == sandbox.address(invoice_id)
    assert sandbox.address(invoice_id)["expiresAt"] is None
    sandbox.switch(reusable_address="new")
    assert sandbox.address(invoice_id)["address"] != sandbox.address(invoice_id)["address"]


def test_the_list_of_addresses_shows_what_was_given_out(sandbox) -> None:
    """Empty before the first demand; then one for each method asked for, bare or wrapped."""
    invoice_id = sandbox.create(paymentMethodID=None)
    path = f"/public/invoices/{invoice_id}/addresses"
    assert sandbox.call("GET", path).json == []
    single = sandbox.address(invoice_id, 3)
    assert sandbox.call("GET", path).json == [{**single, "paymentMethodID": 3}]
    sandbox.switch(addresses_shape="wrapped", dialect="guide")
    assert sandbox.call("GET", path).json == {"data": [{**single, "methodID": 3}]}


def test_an_invoice_without_a_method_takes_any(sandbox) -> None:
    """The guide's form names none; the reference's answer, which must have one, shows the first."""
    invoice_id = sandbox.create(paymentMethodID=None)
    assert sandbox.invoice(invoice_id)["paymentMethodID"] == 1
    assert {sandbox.address(invoice_id, number)["address"][:6] for number in (1, 2, 4)} == {
        "TSANDB",
        "0xSAND",
        "bc1qsa",
    }


@pytest.fixture
def three(sandbox, clock) -> list[str]:
    """Three invoices, a minute apart; the second is paid, the third is reusable."""
    made = []
    for facts in (
        {"amount": "10.00"},
        {"amount": "30.00", "paymentMethodID": 4},
        {"amount": "20.00", "type": "reusable"},
    ):
        made.append(sandbox.offered(description=f"Order #{len(made)} {facts['amount']}", **facts))
        clock.move(minutes=1)
    sandbox.press(made[1], "pay_exact")
    return made


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [2, 1, 0]),
        ("order=asc", [0, 1, 2]),
        ("orderBy=amount", [1, 2, 0]),
        ("orderBy=amount&order=asc", [0, 2, 1]),
        ("limit=2", [2, 1]),
        ("limit=2&page=2", [0]),
        ("limit=2&page=9", []),
        ("types[]=onetime", [1, 0]),
        ("types[]=onetime&types[]=reusable", [2, 1, 0]),
        ("types[]=collect", []),
        ("states[]=paid", [1]),
        ("states[]=paid&states[]=pending", [2, 1, 0]),
        ("tokens[]=4", [1]),
        ("tokens[]=USDT", [2, 0]),
        ("tokens[]=BTC&tokens[]=USDT-TRC20", [2, 1, 0]),
        ("amountFrom=20", [2, 1]),
        ("amountTo=20.00", [2, 0]),
        ("dateFrom=2026-01-15T10:31:00Z", [2, 1]),
        ("dateTo=2026-01-15T11:31:00%2B01:00", [1, 0]),
        ("amlOk=true", [1]),
        ("amlOk=false", []),
        ("showArchived=true&collectStates[]=any", [2, 1, 0]),
        ("search=ORDER%20%231", [1]),
    ],
)
def test_invoices_are_filtered_sorted_and_paged(sandbox, three: list[str], query: str, expected: list[int]) -> None:
    """Each parameter of the reference does what it says."""
    response = sandbox.call("GET", f"{INVOICES}?{query}")
    assert [three.index(item["id"]) for item in response.json["data"]] == expected
    assert response.json["total"] == (3 if "limit" in query else len(expected))


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=abc",
        "limit=" + "9" * 5000,
        "page=0",
        "page=1.5",
        "order=up",
        "orderBy=colour",
        "types[]=gift",
        "amountFrom=NaN",
        "amountTo=-1",
        "dateFrom=yesterday",
        "dateTo=2026-01-15T10:31:00",
        "amlOk=maybe",
        "showArchived=2",
    ],
)
def test_a_query_that_means_nothing_is_refused(sandbox, validate: Callable, query: str) -> None:
    """With a 400 problem that names the parameter."""
    response = sandbox.call("GET", f"{INVOICES}?{query}")
    validate("listInvoices", response)
    assert response.status_code == 400
    assert query.split("=")[0] in response.json["detail"]


@pytest.mark.parametrize("date", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
def test_dates_at_the_ends_of_time_are_compared(sandbox, three: list[str], date: str) -> None:
    """No calendar overflows."""
    assert sandbox.call("GET", f"{INVOICES}?dateFrom={date}").status_code == 200


@pytest.fixture
def moves(sandbox, clock) -> tuple[str, str]:
    """Two invoices: the first with dust and a settled payment in USDT, the second with a pending one in BTC."""
    first, second = sandbox.offered(), sandbox.offered(paymentMethodID=4)
    for invoice_id, action in ((first, "pay_dust"), (first, "pay_exact"), (second, "pay_pending")):
        sandbox.press(invoice_id, action)
        clock.move(minutes=1)
    return first, second


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["pending", "settled", "failed"]),
        ({"states": ["settled", "failed"]}, ["settled", "failed"]),
        ({"states": []}, ["pending", "settled", "failed"]),
        ({"tokens": [4]}, ["pending"]),
        ({"dateFrom": "2026-01-15T10:31:00Z"}, ["pending", "settled"]),
        ({"dateTo": "2026-01-15T10:31:00Z", "dateFrom": None}, ["settled", "failed"]),
        ({"invoiceIDs": ["nowhere"]}, []),
    ],
)
def test_transactions_are_filtered(sandbox, moves, wanted: dict[str, object], expected: list[str]) -> None:
    """Each field of the body does what it says; newest first."""
    assert [item["state"] for item in sandbox.transactions(**wanted)] == expected


def test_transactions_are_those_of_the_invoices_asked_for(sandbox, moves: tuple[str, str]) -> None:
    """And show what the reference shows."""
    (transaction,) = sandbox.transactions(invoiceIDs=[moves[1], "nowhere"])
    assert transaction == sandbox.call("GET", f"{TRANSACTIONS}/{transaction['id']}").json
    assert transaction["invoiceID"] == moves[1]
    assert (transaction["amount"], transaction["confirmedAt"]) == ("0.00039144", None)
    assert len(sandbox.transactions(invoiceIDs=list(moves))) == 3


def test_transactions_are_paged_and_need_no_body(sandbox, moves) -> None:
    """The body may be left out; the query pages."""
    response = sandbox.call("POST", f"{TRANSACTIONS}/list?limit=2&page=2&orderBy=amount")
    assert (len(response.json["data"]), response.json["total"]) == (1, 3)


@pytest.mark.parametrize("detail", ["documented", "told"])
def test_transactions_tell_what_is_documented_or_more(sandbox, dialect: str, detail: str, validate: Callable) -> None:
    """The address and the asset are told on demand, in list and single answer, and break no schema."""
    sandbox.switch(dialect=dialect, transaction_detail=detail)
    invoice_id = sandbox.offered(paymentMethodID=4)
    sandbox.press(invoice_id, "pay_pending")
    listed = sandbox.call("POST", f"{TRANSACTIONS}/list")
    validate("listTransactions", listed)
    (transaction,) = listed.json["data"]
    single = sandbox.call("GET", f"{TRANSACTIONS}/{transaction['id']}")
    validate("getTransaction", single)
    assert single.json == transaction
    documented = {"id", "invoiceID", "amount", "state", "createdAt", "confirmedAt", "txHash"}
    assert set(transaction) - documented == ({"address", "symbol"} if detail == "told" else set())
    if detail == "told":
        assert transaction["address"] == sandbox.address(invoice_id, 4)["address"]
        assert transaction["symbol"] == "BTC"


@pytest.mark.parametrize(("mode", "distinct"), [("same", 1), ("new", 3)])
def test_visitors_pay_one_reusable_invoice_in_any_order(sandbox, dialect: str, mode: str, distinct: int) -> None:
    """Each to the address that they were shown; the invoice stays as it was, and every transaction is its own."""
    sandbox.switch(dialect=dialect, reusable_address=mode, transaction_detail="told")
    invoice_id = sandbox.create(type="reusable")
    before = sandbox.invoice(invoice_id)
    first, second, third = (sandbox.address(invoice_id)["address"] for _ in range(3))
    paid = [(second, "pay_exact"), (first, "pay_over"), (third, "pay_pending"), (second, "pay_short")]
    for address, action in paid:
        sandbox.press(invoice_id, action, address=address)
    transactions = sandbox.transactions(invoiceIDs=[invoice_id])
    assert [item["address"] for item in reversed(transactions)] == [address for address, _ in paid]
    assert len({item["address"] for item in transactions}) == distinct
    assert sandbox.invoice(invoice_id) == before
    assert before.get("state", before.get("status")) == "pending"


@pytest.fixture
def many(sandbox, clock) -> tuple[str, list[str]]:
    """A reusable invoice and its 130 transactions, oldest first: thirteen minutes with ten in each."""
    invoice_id = sandbox.offered(type="reusable")
    for number in range(130):
        if number % 10 == 0:
            clock.move(minutes=1)
        changed = sandbox.service.act(invoice_id, "pay_over" if number % 3 else "pay_exact")
    return invoice_id, [item.transaction_id for item in changed.transactions]


def read_page(sandbox, invoice_id: str, query: str, **wanted: object) -> tuple[list[str], int]:
    """The ids of a page of an invoice's transactions, and the total."""
    body = {"invoiceIDs": [invoice_id]} | wanted
    answer = sandbox.call("POST", f"{TRANSACTIONS}/list?{query}", json=body).json
    return [item["id"] for item in answer["data"]], answer["total"]


@pytest.mark.parametrize("limit", [7, 50, 100, 130, 1000])
def test_pages_hold_every_transaction_once(sandbox, many: tuple[str, list[str]], limit: int) -> None:
    """Newest first, also among those of one moment; the other order is the same list from its other end."""
    invoice_id, made = many
    for order, expected in (("desc", made[::-1]), ("asc", made)):
        pages = [
            read_page(sandbox, invoice_id, f"limit={limit}&page={page}&order={order}&orderBy=createdAt")
            for page in range(1, -(-130 // limit) + 2)
        ]
        assert [transaction_id for page, _ in pages for transaction_id in page] == expected
        assert {total for _, total in pages} == {130}
        assert pages[-1][0] == []


def test_the_first_page_is_twenty_of_the_newest(sandbox, many: tuple[str, list[str]]) -> None:
    """Nothing is asked for but the invoice."""
    invoice_id, made = many
    assert read_page(sandbox, invoice_id, "") == (made[:-21:-1], 130)


def test_a_long_list_is_cut_by_date_before_it_is_paged(sandbox, many: tuple[str, list[str]]) -> None:
    """The total counts what is left, and both ends belong to it."""
    invoice_id, made = many
    wanted = {"dateFrom": "2026-01-15T10:34:00Z"}
    assert read_page(sandbox, invoice_id, "limit=60&page=2", **wanted) == (made[30:70][::-1], 100)
    assert read_page(sandbox, invoice_id, "limit=5&order=asc", **wanted) == (made[30:35], 100)
    wanted["dateTo"] = "2026-01-15T10:34:00Z"
    assert read_page(sandbox, invoice_id, "", **wanted) == (made[30:40][::-1], 10)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"states": "settled"}, ""),
        ({"states": [1]}, ""),
        ({"tokens": ["1"]}, ""),
        ({"tokens": [True]}, ""),
        ({"invoiceIDs": [{}]}, ""),
        ({"invoiceIDs": None}, ""),
        ({"dateFrom": 7}, ""),
        ([], ""),
        ({}, "?limit=none"),
    ],
)
def test_a_transaction_filter_that_means_nothing_is_refused(
    sandbox, validate: Callable, body: object, query: str
) -> None:
    """With a 400 problem."""
    response = sandbox.call("POST", f"{TRANSACTIONS}/list{query}", json=body)
    validate("listTransactions", response)
    assert response.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "https://shop.example.com/"},
        {"url": "https://shop.example.com/", "secret": ""},
        {"url": "https://shop.example.com/", "secret": 7},
        {"url": "http://shop.example.com/", "secret": "secret"},
        {"url": "https://shop.example.com/ and more", "secret": "secret"},
        {"url": ["https://shop.example.com/"], "secret": "secret"},
    ],
)
def test_a_registration_needs_a_secure_url_and_a_secret(sandbox, validate: Callable, body: object) -> None:
    """Anything else is a 400 problem."""
    response = sandbox.call("POST", f"/weebhook/{MERCHANT}", json=body, headers=sandbox.bearer)
    validate("setWebhook", response)
    assert response.status_code == 400


@pytest.mark.parametrize("url", ["http://localhost:5000/hook", "http://127.0.0.1", "http://[::1]:80/"])
def test_plain_http_is_fine_on_loopback(sandbox, url: str) -> None:
    """A shop under development has no certificate."""
    body = {"url": url, "secret": "secret"}
    assert sandbox.call("POST", f"/weebhook/{MERCHANT}", json=body, headers=sandbox.bearer).status_code == 200


def test_a_path_that_nobody_serves_is_a_problem(sandbox, check_schema: Callable) -> None:
    """With the path as a reference in it, however odd."""
    response = sandbox.call("GET", "/no such/\u2603")
    check_schema({"$ref": "#/components/schemas/Problem"}, response.json)
    assert response.json["instance"] == "/no%20such/%E2%98%83"
