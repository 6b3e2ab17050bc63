"""The engine: what each simulated payment and step makes of an invoice."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from flask_iterapay.gateway.models import InvoiceState, InvoiceType, TransactionState
from flask_iterapay.sandbox.engine import Action, ActionRefusedError, Refusal, SandboxInvoice, act, quote
from flask_iterapay.sandbox.methods import METHODS

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
LIFETIME = timedelta(minutes=15)


def make_invoice(**changes: object) -> SandboxInvoice:
    facts = {
        "invoice_id": "invoice-1",
        "invoice_type": InvoiceType.ONETIME,
        "amount": Decimal("100.00"),
        "description": "Order #1",
        "method_id": 1,
        "created_at": NOW,
    }
    return SandboxInvoice(**facts | changes)


def make_quoted(method_id: int = 1, **changes: object) -> SandboxInvoice:
    return quote(make_invoice(method_id=method_id, **changes), method_id, now=NOW, lifetime=LIFETIME)


def make_link(visitors: int = 1, *, is_always_new: bool = True) -> SandboxInvoice:
    """A reusable invoice whose address so many visitors asked for."""
    invoice = make_invoice(invoice_type=InvoiceType.REUSABLE)
    for _ in range(visitors):
        invoice = quote(invoice, 1, now=NOW, lifetime=LIFETIME, is_always_new=is_always_new)
    return invoice


def after(*actions: Action, invoice: SandboxInvoice | None = None) -> SandboxInvoice:
    invoice = invoice or make_quoted()
    for number, action in enumerate(actions):
        invoice = act(invoice, action, now=NOW + timedelta(minutes=number), new_id=f"transaction-{number}")
    return invoice


@pytest.mark.parametrize(
    ("actions", "state", "aml_ok", "transactions"),
    [
        ([], "pending", None, []),
        ([Action.PAY_EXACT], "paid", True, ["settled"]),
        ([Action.PAY_PENDING], "pending", None, ["pending"]),
        ([Action.PAY_PENDING, Action.CONFIRM], "paid", None, ["confirmed"]),
        ([Action.PAY_PENDING, Action.CONFIRM, Action.SETTLE], "paid", True, ["settled"]),
        ([Action.PAY_SHORT], "partially_paid", True, ["settled"]),
        ([Action.PAY_SHORT, Action.PAY_SECOND_HALF], "paid", True, ["settled", "settled"]),
        ([Action.PAY_OVER], "overpaid", True, ["settled"]),
        ([Action.PAY_LATE], "paid", True, ["settled"]),
        ([Action.PAY_FIRST_HALF], "partially_paid", True, ["settled"]),
        ([Action.PAY_FIRST_HALF, Action.PAY_SECOND_HALF], "paid", True, ["settled", "settled"]),
        ([Action.PAY_EXACT, Action.PAY_EXACT], "overpaid", True, ["settled", "settled"]),
        ([Action.PAY_DUST], "pending", None, ["failed"]),
        ([Action.PAY_DUST, Action.PAY_EXACT], "paid", True, ["failed", "settled"]),
        ([Action.AML_FAIL], "paid", False, ["flagged"]),
        ([Action.AML_FAIL, Action.SETTLE], "paid", True, ["settled"]),
        ([Action.AML_UNKNOWN], "paid", None, ["confirmed"]),
        ([Action.PAY_EXACT, Action.FLAG], "paid", False, ["flagged"]),
        ([Action.PAY_EXACT, Action.FAIL], "pending", None, ["failed"]),
        ([Action.EXPIRE], "expired", None, []),
        ([Action.EXPIRE, Action.PAY_EXACT], "expired", True, ["settled"]),
        ([Action.EXPIRE, Action.PAY_LATE], "paid", True, ["settled"]),
        ([Action.PAY_EXACT, Action.EXPIRE], "expired", True, ["settled"]),
        ([Action.UNKNOWN_STATE], "frozen", None, []),
        ([Action.UNKNOWN_STATE, Action.PAY_EXACT, Action.RELEASE], "paid", True, ["settled"]),
    ],
)
def test_what_happened_shows_in_state_and_verdict(
    actions: list[Action], state: str, aml_ok: bool | None, transactions: list[str]
) -> None:
    """Each payment and step leaves the state, the AML verdict and the transactions that it promises."""
    invoice = after(*actions)
    assert (invoice.state, invoice.aml_ok) == (state, aml_ok)
    assert [transaction.state for transaction in invoice.transactions] == transactions


@pytest.mark.parametrize("method_id", METHODS)
@pytest.mark.parametrize("actions", [[Action.PAY_EXACT], [Action.PAY_FIRST_HALF, Action.PAY_SECOND_HALF]])
def test_payments_add_up_to_the_price_exactly(method_id: int, actions: list[Action]) -> None:
    """Whatever its decimals, the price is met to the last unit, also in two parts."""
    invoice = after(*actions, invoice=make_quoted(method_id, amount=Decimal("33.33")))
    price = invoice.addresses[0].pay_amount
    assert sum(transaction.amount for transaction in invoice.transactions) == price
    assert -price.as_tuple().exponent == METHODS[method_id].decimals


def test_a_price_covers_the_amount_at_its_rate() -> None:
    """The pay amount is rounded up, never down."""
    for offered in METHODS.values():
        price = offered.price(Decimal("100.00"))
        assert price * offered.rate >= 100 > (price - offered.unit) * offered.rate


def test_a_late_payment_is_dated_after_the_quote() -> None:
    """Its transaction was created two hours after the price ended."""
    invoice = after(Action.PAY_LATE)
    assert invoice.transactions[0].created_at == NOW + LIFETIME + timedelta(hours=2)
    assert invoice.paid_at == invoice.transactions[0].confirmed_at


def test_rounding_is_not_overpayment() -> None:
    """A half at one price and the rest at another may exceed the whole by a unit, and is still exact."""
    invoice = quote(make_invoice(method_id=None), 4, now=NOW, lifetime=LIFETIME)
    invoice = quote(after(Action.PAY_FIRST_HALF, invoice=invoice), 5, now=NOW, lifetime=LIFETIME)
    invoice = after(Action.PAY_SECOND_HALF, invoice=invoice)
    assert invoice.received() > 1
    assert invoice.state == "paid"


def test_a_step_is_dated_once() -> None:
    """Confirming sets the time, and settling keeps it."""
    invoice = after(Action.PAY_PENDING, Action.CONFIRM, Action.SETTLE)
    assert invoice.transactions[0].confirmed_at == NOW + timedelta(minutes=1)


def test_a_step_moves_the_transaction_that_is_named() -> None:
    """Without a name it is the newest that can take it."""
    invoice = after(Action.PAY_PENDING, Action.PAY_PENDING)
    named = act(invoice, Action.CONFIRM, now=NOW, new_id="", transaction_id="transaction-0")
    newest = act(invoice, Action.CONFIRM, now=NOW, new_id="")
    assert [item.state for item in named.transactions] == [TransactionState.CONFIRMED, TransactionState.PENDING]
    assert [item.state for item in newest.transactions] == [TransactionState.PENDING, TransactionState.CONFIRMED]


@pytest.mark.parametrize(
    ("invoice", "actions", "refusal"),
    [
        (make_invoice(), [Action.PAY_EXACT], Refusal.NO_ADDRESS),
        (make_quoted(), [Action.PAY_EXACT, Action.PAY_SECOND_HALF], Refusal.NOTHING_MISSING),
        (make_quoted(invoice_type=InvoiceType.REUSABLE), [Action.PAY_LATE], Refusal.NO_END),
        (make_quoted(invoice_type=InvoiceType.REUSABLE), [Action.PAY_FIRST_HALF], Refusal.NO_END),
        (make_quoted(invoice_type=InvoiceType.REUSABLE), [Action.PAY_SECOND_HALF], Refusal.NO_END),
        (make_quoted(), [Action.CONFIRM], Refusal.NO_TRANSACTION),
        (make_quoted(), [Action.PAY_EXACT, Action.CONFIRM], Refusal.NO_TRANSACTION),
        (make_quoted(), [Action.PAY_DUST, Action.FAIL], Refusal.NO_TRANSACTION),
    ],
)
def test_the_impossible_is_refused_with_its_reason(
    invoice: SandboxInvoice, actions: list[Action], refusal: Refusal
) -> None:
    """Nothing happens that could not happen, and the error says why."""
    with pytest.raises(ActionRefusedError) as caught:
        after(*actions, invoice=invoice)
    assert caught.value.refusal is refusal


def test_a_word_put_on_an_invoice_needs_no_money() -> None:
    """Even a paid state without any transaction can be shown, to try a shop with it."""
    invoice = act(make_quoted(), Action.UNKNOWN_STATE, now=NOW, new_id="", word="paid")
    assert (invoice.state, invoice.paid_at, invoice.transactions) == ("paid", None, ())
    assert InvoiceState.parse(act(invoice, Action.UNKNOWN_STATE, now=NOW, new_id="").state) is InvoiceState.UNKNOWN


def test_an_address_stays_while_its_price_holds() -> None:
    """Asking again before the end changes nothing."""
    invoice = make_quoted()
    assert quote(invoice, 1, now=NOW + LIFETIME - timedelta(seconds=1), lifetime=LIFETIME) == invoice


def test_an_expired_price_is_renewed_at_the_same_address() -> None:
    """The amount moves a little and the end moves on; the address does not."""
    before = make_quoted().addresses
    (renewed,) = quote(make_quoted(), 1, now=NOW + LIFETIME, lifetime=LIFETIME).addresses
    assert renewed.address == before[0].address
    assert before[0].pay_amount < renewed.pay_amount < before[0].pay_amount * Decimal("1.01")
    assert renewed.expires_at == NOW + 2 * LIFETIME


@pytest.mark.parametrize("action", [Action.PAY_PENDING, Action.EXPIRE, Action.UNKNOWN_STATE])
def test_a_price_is_not_renewed_once_something_happened(action: Action) -> None:
    """Money that was seen, and a state set by hand, freeze the price."""
    invoice = after(action)
    assert quote(invoice, 1, now=NOW + 2 * LIFETIME, lifetime=LIFETIME) == invoice


def test_tainted_dust_does_not_freeze_the_price() -> None:
    """A failed transaction is no money."""
    invoice = quote(after(Action.PAY_DUST), 1, now=NOW + LIFETIME, lifetime=LIFETIME)
    assert invoice.addresses[0].expires_at == NOW + 2 * LIFETIME


@pytest.mark.parametrize(("made_for", "asked"), [(1, 2), (1, 99), (None, 99)])
def test_other_methods_get_no_address(made_for: int | None, asked: int) -> None:
    """An invoice made for one method, or a method that does not exist, gives nothing out."""
    assert quote(make_invoice(method_id=made_for), asked, now=NOW, lifetime=LIFETIME).addresses == ()


def test_addresses_are_their_own_and_look_the_part() -> None:
    """One for every invoice and method, of a real one's length, and unmistakably fake."""
    invoice = make_invoice(method_id=None)
    for method_id in METHODS:
        invoice = quote(invoice, method_id, now=NOW, lifetime=LIFETIME)
    other = quote(make_invoice(invoice_id="invoice-2"), 1, now=NOW, lifetime=LIFETIME)
    texts = [item.address for item in (*invoice.addresses, *other.addresses)]
    assert len(set(texts)) == len(METHODS) + 1
    assert {(len(text), text.isascii(), "sandbox" in text.lower()) for text in texts} == {
        (34, True, True),
        (42, True, True),
    }


def test_a_reusable_invoice_never_ends() -> None:
    """Its address has no end, and payments leave it open and without a verdict."""
    invoice = after(Action.PAY_EXACT, Action.PAY_OVER, invoice=make_quoted(invoice_type=InvoiceType.REUSABLE))
    assert invoice.addresses[0].expires_at is None
    assert (invoice.state, invoice.aml_ok, len(invoice.transactions)) == ("pending", None, 2)


@pytest.mark.parametrize(("is_always_new", "expected"), [(False, 1), (True, 200)])
def test_a_reusable_invoice_keeps_its_address_or_gives_another(is_always_new: bool, expected: int) -> None:
    """Both are documented; of ever new addresses the last two hundred are kept."""
    invoice = make_link(visitors=205, is_always_new=is_always_new)
    assert len({item.address for item in invoice.addresses}) == len(invoice.addresses) == expected
    assert invoice.address_for(1) == invoice.addresses[-1]


def test_every_visitor_of_a_reusable_invoice_can_pay() -> None:
    """Each of three holds an address of their own; without a name, money goes to the one given out last."""
    invoice = make_link(visitors=3)
    first, second, third = (item.address for item in invoice.addresses)
    for number, address in enumerate((second, first, None, second)):
        invoice = act(invoice, Action.PAY_EXACT, now=NOW, new_id=str(number), address=address)
    assert [item.address for item in invoice.transactions] == [second, first, third, second]
    assert (invoice.state, invoice.aml_ok) == ("pending", None)


def test_visitors_of_one_address_all_pay_to_it() -> None:
    """Where a reusable invoice keeps its address, naming it and not naming it are the same."""
    invoice = make_link(visitors=3, is_always_new=False)
    (only,) = invoice.addresses
    for number, address in enumerate((only.address, None)):
        invoice = act(invoice, Action.PAY_OVER, now=NOW, new_id=str(number), address=address)
    assert [item.address for item in invoice.transactions] == [only.address] * 2


def test_the_oldest_address_that_is_kept_can_be_paid_to() -> None:
    """One older still is as unknown as one that was never given out."""
    invoice = make_link(visitors=1)
    forgotten = invoice.addresses[0].address
    for _ in range(200):
        invoice = quote(invoice, 1, now=NOW, lifetime=LIFETIME, is_always_new=True)
    oldest = invoice.addresses[0].address
    assert act(invoice, Action.PAY_EXACT, now=NOW, new_id="1", address=oldest).transactions[0].address == oldest
    for address in (forgotten, "TSANDBOXnowhere", ""):
        with pytest.raises(ActionRefusedError) as caught:
            act(invoice, Action.PAY_EXACT, now=NOW, new_id="1", address=address)
        assert caught.value.refusal is Refusal.NOT_GIVEN_OUT


def test_an_address_is_paid_by_its_own_method_and_price() -> None:
    """Also where a one-time invoice gave out several."""
    invoice = make_invoice(method_id=None)
    for method_id in (4, 1):
        invoice = quote(invoice, method_id, now=NOW, lifetime=LIFETIME)
    bitcoin = invoice.addresses[0]
    invoice = act(invoice, Action.PAY_EXACT, now=NOW, new_id="1", address=bitcoin.address)
    assert (invoice.transactions[0].method_id, invoice.transactions[0].amount) == (4, bitcoin.pay_amount)
    assert invoice.state == "paid"


def test_a_step_does_not_ask_for_the_address() -> None:
    """A form that names one along with the transaction is not refused."""
    invoice = act(make_link(), Action.PAY_PENDING, now=NOW, new_id="1")
    moved = act(invoice, Action.CONFIRM, now=NOW, new_id="", address="nowhere", transaction_id="1")
    assert moved.transactions[0].state is TransactionState.CONFIRMED


def test_a_reusable_invoice_offers_what_can_be_paid_again_and_again() -> None:
    """Nothing comes too late, and nothing completes anything."""
    onetime, reusable = make_quoted().payments, make_link().payments
    assert set(onetime) - set(reusable) == {Action.PAY_LATE, Action.PAY_FIRST_HALF, Action.PAY_SECOND_HALF}
    for number, action in enumerate(reusable):
        invoice = act(make_link(), action, now=NOW, new_id=str(number))
        assert (invoice.state, len(invoice.transactions)) == ("pending", 1)


def test_less_than_the_minimum_comes_in_all_the_same() -> None:
    """A tenth less is a transaction like any other: what it is worth is for the shop to judge."""
    invoice = act(make_link(), Action.PAY_SHORT, now=NOW, new_id="1")
    (transaction,) = invoice.transactions
    assert (transaction.state, invoice.state) == (TransactionState.SETTLED, "pending")
    assert transaction.amount < invoice.addresses[0].pay_amount


def test_only_a_reusable_invoice_gives_new_addresses() -> None:
    """The setting leaves one-time invoices alone."""
    invoice = make_quoted()
    assert quote(invoice, 1, now=NOW, lifetime=LIFETIME, is_always_new=True) == invoice


def test_a_transaction_offers_the_steps_it_can_take() -> None:
    """A failed one can do nothing any more."""
    steps = {item.state.value: item.steps for item in after(Action.PAY_PENDING, Action.PAY_DUST).transactions}
    assert steps == {"pending": (Action.CONFIRM, Action.SETTLE, Action.FLAG, Action.FAIL), "failed": ()}
    assert all(len(item.tx_hash) == 64 for item in after(Action.PAY_EXACT).transactions)
