"""Webhook deliveries: what is told, with which faults, how often, and to whom."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from flask_iterapay.errors import ConfigurationError, SignatureError
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, verify


def told(shop) -> list[str]:
    return [json.loads(body)["event"] for _, _, body in shop.received]


@pytest.mark.parametrize(
    ("actions", "events"),
    [
        (["pay_exact"], ["transaction.settled", "invoice.paid"]),
        (["pay_pending", "confirm", "settle"], ["transaction.pending", "transaction.confirmed", "invoice.paid"]),
        (["pay_short"], ["transaction.settled", "invoice.partially_paid"]),
        (["pay_over"], ["transaction.settled", "invoice.overpaid"]),
        (["pay_dust"], ["transaction.failed"]),
        (["aml_fail"], ["transaction.flagged", "invoice.paid"]),
        (["expire", "expire"], ["invoice.expired"]),
        (["unknown_state", "release"], ["invoice.frozen", "invoice.pending"]),
    ],
)
def test_every_change_is_told(sandbox, shop, actions: list[str], events: list[str]) -> None:
    """A transaction's new state and an invoice's new state are one delivery each, and nothing else is."""
    invoice_id = sandbox.offered()
    for action in actions:
        sandbox.press(invoice_id, action)
    assert told(shop)[: len(events)] == events
    assert len(shop.received) == len(events) + actions.count("settle")


@pytest.mark.parametrize(("encoding", "length"), [("hex", 64), ("base64", 44), ("prefixed", 71)])
def test_deliveries_are_signed_in_every_encoding(sandbox, shop, secret: str, encoding: str, length: int) -> None:
    """The receiver's own verification accepts each of them."""
    sandbox.switch(signature_encoding=encoding)
    sandbox.press(sandbox.offered(), "pay_exact")
    for url, headers, body in shop.received:
        assert url == "https://shop.example.com/pay/webhook"
        assert headers["Content-Type"] == "application/json"
        assert len(headers[SIGNATURE_HEADER]) == length
        assert verify(body, headers[SIGNATURE_HEADER], [secret]) == 0


def test_base64_is_the_same_digest(sandbox, shop) -> None:
    """Only the writing differs."""
    sandbox.switch(signature_encoding="base64", webhook_faults=["duplicate"])
    sandbox.press(sandbox.offered(), "expire")
    sandbox.switch()
    sandbox.press(sandbox.offered(), "expire")
    encoded, repeated, _ = (headers[SIGNATURE_HEADER] for _, headers, _ in shop.received)
    assert encoded == repeated
    assert len(base64.b64decode(encoded, validate=True)) == 32


def test_a_corrupt_delivery_fails_verification(sandbox, shop, secret: str) -> None:
    """Its signature is well-formed, and belongs to something else."""
    sandbox.switch(webhook_faults=["corrupt"])
    sandbox.press(sandbox.offered(), "expire")
    (_, headers, body) = shop.received[0]
    with pytest.raises(SignatureError, match="none of our secrets"):
        verify(body, headers[SIGNATURE_HEADER], [secret])


@pytest.mark.parametrize(
    ("envelope", "fields"),
    [("nested", {"id", "event", "createdAt", "data"}), ("flat", {"event", "invoiceID", "transactionID", "state"})],
)
def test_the_body_is_nested_or_flat(sandbox, shop, validate_event, envelope: str, fields: set[str]) -> None:
    """Both inventions fit the contract's open schema and name the invoice."""
    sandbox.switch(envelope=envelope)
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_exact")
    for _, headers, body in shop.received:
        event = json.loads(body)
        validate_event(event, headers[SIGNATURE_HEADER])
        assert event.get("data", event)["invoiceID"] == invoice_id
    assert set(json.loads(shop.received[0][2])) == fields


def test_a_dropped_delivery_is_logged_and_never_sent(sandbox, shop) -> None:
    """The log shows what the shop was not told, and a person can still send it."""
    sandbox.switch(webhook_faults=["drop"])
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "expire")
    assert told(shop) == []
    assert [delivery.state for delivery in sandbox.service.store.list_deliveries()] == ["dropped"]
    sandbox.press(invoice_id, "redeliver")
    assert told(shop) == ["invoice.expired"]


def test_a_duplicate_is_the_same_message_twice(sandbox, shop) -> None:
    """Body and signature are equal, the event's id included."""
    sandbox.switch(webhook_faults=["duplicate"])
    sandbox.press(sandbox.offered(), "expire")
    first, second = shop.received
    assert first == second


def test_a_delayed_delivery_leaves_once_its_time_has_come(sandbox, shop, clock) -> None:
    """Any later request to the sandbox sends it."""
    sandbox.switch(webhook_faults=["delay"], delay_seconds=30)
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "expire")
    clock.move(seconds=29)
    sandbox.invoice(invoice_id)
    assert told(shop) == []
    clock.move(seconds=1)
    sandbox.invoice(invoice_id)
    assert told(shop) == ["invoice.expired"]


def test_reordered_deliveries_are_overtaken(sandbox, shop, clock) -> None:
    """The invoice's news comes before the transaction's, which even later changes overtake."""
    sandbox.switch(webhook_faults=["reorder"], delay_seconds=5)
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_exact")
    sandbox.switch()
    sandbox.press(invoice_id, "expire")
    clock.move(seconds=5)
    sandbox.invoice(invoice_id)
    assert told(shop) == ["invoice.paid", "invoice.expired", "transaction.settled"]


def test_news_that_comes_alone_overtakes_what_is_held_back(sandbox, shop, clock) -> None:
    """A step of a transaction arrives before its first news; once that was sent, the next is held back again."""
    sandbox.switch(webhook_faults=["reorder"], delay_seconds=5)
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_pending")
    sandbox.press(invoice_id, "confirm")
    clock.move(seconds=5)
    sandbox.invoice(invoice_id)
    assert told(shop) == ["transaction.confirmed", "invoice.paid", "transaction.pending"]
    sandbox.press(invoice_id, "settle")
    assert told(shop)[3:] == []
    clock.move(seconds=5)
    sandbox.invoice(invoice_id)
    assert told(shop)[3:] == ["transaction.settled"]


def test_a_delivery_that_is_tried_again_is_not_held_back(sandbox, shop) -> None:
    """Only what was never sent waits to be overtaken."""
    shop.statuses = [503]
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_dust")
    sandbox.switch(webhook_faults=["reorder"])
    sandbox.press(invoice_id, "pay_dust")
    assert len(shop.received) == 1


@pytest.fixture(params=["same", "new"])
def link(sandbox, request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """A reusable invoice and the addresses of its three visitors, in both address modes."""
    sandbox.switch(reusable_address=request.param)
    invoice_id = sandbox.create(type="reusable")
    return invoice_id, [sandbox.address(invoice_id)["address"] for _ in range(3)]


def pay_as_everyone(sandbox, link: tuple[str, list[str]]) -> list[str]:
    """Let each visitor pay; returns the ids of the transactions, in that order."""
    invoice_id, addresses = link
    for address in addresses:
        sandbox.press(invoice_id, "pay_pending", address=address)
    return [item["id"] for item in reversed(sandbox.transactions(invoiceIDs=[invoice_id]))]


def told_of(shop) -> list[str]:
    return [json.loads(body)["data"]["transactionID"] for _, _, body in shop.received]


def test_a_reusable_invoice_tells_of_its_transactions_alone(sandbox, shop, link: tuple[str, list[str]]) -> None:
    """Every step of every one, and never of itself, since its state stays."""
    first, second, third = pay_as_everyone(sandbox, link)
    for transaction_id, action in ((second, "confirm"), (first, "settle"), (second, "settle"), (third, "fail")):
        sandbox.press(link[0], action, transaction_id=transaction_id)
    assert told(shop) == [
        *("transaction.pending", "transaction.pending", "transaction.pending"),
        *("transaction.confirmed", "transaction.settled", "transaction.settled", "transaction.failed"),
    ]
    assert told_of(shop) == [first, second, third, second, first, second, third]


def test_the_news_of_each_transaction_is_dropped_by_itself(sandbox, shop, link: tuple[str, list[str]]) -> None:
    """What was switched off for one visitor says nothing of the others, and the log shows it."""
    first, second, third = pay_as_everyone(sandbox, link)
    sandbox.switch(webhook_faults=["drop"])
    sandbox.press(link[0], "settle", transaction_id=second)
    sandbox.switch()
    sandbox.press(link[0], "settle", transaction_id=first)
    assert told_of(shop) == [first, second, third, first]
    assert [item.state for item in sandbox.service.store.list_deliveries()].count("dropped") == 1


def test_the_news_of_each_transaction_is_doubled_by_itself(sandbox, shop, link: tuple[str, list[str]]) -> None:
    """Twice for each, word for word."""
    sandbox.switch(webhook_faults=["duplicate"])
    first, second, third = pay_as_everyone(sandbox, link)
    assert told_of(shop) == [first, first, second, second, third, third]
    assert shop.received[0] == shop.received[1]


def test_the_news_of_a_later_visitor_overtakes_that_of_an_earlier(
    sandbox, shop, clock, link: tuple[str, list[str]]
) -> None:
    """One transaction is held back until another has overtaken it; a step overtakes it as well."""
    sandbox.switch(webhook_faults=["reorder"], delay_seconds=5)
    first, second, third = pay_as_everyone(sandbox, link)
    sandbox.press(link[0], "confirm", transaction_id=third)
    assert told_of(shop) == [second, third]
    clock.move(seconds=5)
    sandbox.invoice(link[0])
    assert told_of(shop) == [second, third, first, third]
    assert told(shop)[-3:] == ["transaction.confirmed", "transaction.pending", "transaction.pending"]


def test_nothing_changed_is_nothing_to_reorder(sandbox, shop) -> None:
    """A fault without an event does nothing."""
    sandbox.switch(webhook_faults=["reorder", "duplicate"])
    sandbox.press(sandbox.offered(), "release")
    assert told(shop) == []


@pytest.mark.parametrize("answer", [500, 302, 404, ConnectionError("refused")])
def test_whatever_is_no_success_is_tried_again(sandbox, shop, clock, answer: int | Exception) -> None:
    """Five attempts in all, further and further apart; then it has failed."""
    shop.statuses = [answer] * 9
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "expire")
    for number, wait in enumerate((5, 30, 120, 600), start=1):
        clock.move(seconds=wait - 1)
        sandbox.invoice(invoice_id)
        assert len(shop.received) == number
        clock.move(seconds=1)
        sandbox.invoice(invoice_id)
        assert len(shop.received) == number + 1
    clock.move(days=30)
    sandbox.invoice(invoice_id)
    assert len(shop.received) == 5
    (delivery,) = sandbox.service.store.list_deliveries()
    assert (delivery.state, delivery.attempts) == ("failed", 5)
    assert delivery.status == (answer if isinstance(answer, int) else None)


def test_a_success_ends_the_attempts(sandbox, shop, clock) -> None:
    """The answer is kept for the log."""
    shop.statuses = [503, 204]
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "expire")
    clock.move(seconds=5)
    sandbox.invoice(invoice_id)
    (delivery,) = sandbox.service.store.list_deliveries()
    assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 2, 204)


def test_a_delivery_whose_sender_died_is_sent_by_another(sandbox, shop, clock) -> None:
    """A claim ends by itself after a minute."""
    sandbox.switch(webhook_faults=["delay"], delay_seconds=0)
    invoice_id = sandbox.offered()
    sandbox.service.act(invoice_id, "expire")
    claimed = sandbox.service.store.claim_delivery(clock())
    assert claimed is not None
    assert sandbox.service.store.claim_delivery(clock() + timedelta(seconds=59)) is None
    clock.move(seconds=60)
    sandbox.invoice(invoice_id)
    assert told(shop) == ["invoice.expired"]
    sandbox.service.store.save_delivery(claimed)
    assert [delivery.state for delivery in sandbox.service.store.list_deliveries()] == ["delivered"]


def test_at_most_ten_deliveries_leave_after_one_request(sandbox, shop) -> None:
    """A backlog is worked off over several requests."""
    invoice_id = sandbox.offered()
    for _ in range(12):
        sandbox.service.act(invoice_id, "pay_dust")
    sandbox.invoice(invoice_id)
    assert len(shop.received) == 10
    sandbox.invoice(invoice_id)
    assert len(shop.received) == 12


def test_a_shop_that_calls_back_is_not_told_the_next_thing_meanwhile(make_sandbox: Callable) -> None:
    """While the shop deals with one delivery, its calls to the gateway send nothing."""
    depths: list[int] = []
    running: list[str] = []

    def call_back(url: str, headers: object, body: bytes) -> int:
        running.append(url)
        depths.append(len(running))
        assert sandbox.invoice(invoice_id)["state"] == "paid"
        running.pop()
        return 200

    sandbox = make_sandbox(deliver=call_back)
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "pay_exact")
    assert depths == [1, 1]


def test_without_a_target_nothing_is_queued(make_sandbox: Callable, shop) -> None:
    """And nothing waits for a target that comes later."""
    sandbox = make_sandbox(webhook_url=None, webhook_secret=None)
    sandbox.press(sandbox.offered(), "pay_exact")
    assert sandbox.service.store.list_deliveries() == []


def test_a_secret_alone_is_enough_where_the_receiver_is_handed_in(make_sandbox: Callable, shop) -> None:
    """Inside a shop there is one receiver, and it needs no URL."""
    sandbox = make_sandbox(webhook_url=None)
    sandbox.press(sandbox.offered(), "expire")
    assert told(shop) == ["invoice.expired"]


def test_a_url_without_a_secret_is_refused(make_sandbox: Callable) -> None:
    """Nothing could be signed."""
    with pytest.raises(ConfigurationError, match="secret"):
        make_sandbox(webhook_secret=None)


def test_a_registration_replaces_the_target(sandbox, shop) -> None:
    """The next delivery goes there, signed with the new secret."""
    body = {"url": "https://elsewhere.example.com/hook", "secret": "another-secret"}
    sandbox.call("POST", f"/weebhook/{sandbox.merchant_id}", json=body, headers=sandbox.bearer)
    sandbox.press(sandbox.offered(), "expire")
    ((url, headers, sent),) = shop.received
    assert url == "https://elsewhere.example.com/hook"
    assert verify(sent, headers[SIGNATURE_HEADER], ["another-secret"]) == 0


def test_removing_the_registration_drops_what_is_queued(sandbox, shop, clock) -> None:
    """Not even the target that the sandbox was started with comes back."""
    shop.statuses = [500]
    invoice_id = sandbox.offered()
    sandbox.press(invoice_id, "expire")
    sandbox.call("DELETE", f"/weebhook/{sandbox.merchant_id}", headers=sandbox.bearer)
    clock.move(days=1)
    sandbox.press(invoice_id, "release")
    assert len(shop.received) == 1
    assert [delivery.state for delivery in sandbox.service.store.list_deliveries()] == ["dropped"]


def test_a_lost_store_does_not_spoil_the_answer(sandbox, shop, sql, caplog) -> None:
    """Deliveries come after the answer, so their trouble is only logged."""
    sql("DROP TABLE deliveries")
    assert sandbox.create()
    assert "deliveries wait" in caplog.text


def test_a_secret_stays_out_of_the_repr(sandbox, secret: str) -> None:
    """What is logged by accident holds no key."""
    state = sandbox.app.extensions["iterapay_sandbox"]
    assert secret not in repr(sandbox.service.webhook)
    assert sandbox.key["X-Api-Key"] not in repr(state)
