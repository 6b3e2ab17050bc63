"""The client with the sandbox, in both dialects: reusable invoices, and their payments, newest first."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.gateway.models import InvoiceState, InvoiceType, TransactionPage, TransactionState
from flask_iterapay.sandbox.app import API_KEY, MERCHANT_ID, create_sandbox_app
from flask_iterapay.sandbox.engine import Action
from flask_iterapay.sandbox.settings import parse_settings
from flask_iterapay.sandbox.transport import SandboxTransport

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


class Till:
    """A sandbox, a client of it, and a clock that every payment moves by a minute."""

    def __init__(self, path):
        self.now = NOON
        app = create_sandbox_app(path=path, clock=lambda: self.now, deliver=lambda url, headers, body: 200)
        self.service = app.extensions["iterapay_sandbox"].service
        self._transport = SandboxTransport(app)
        self.client = self.make_client()

    def make_client(self, **changes):
        """Make a client that calls the sandbox in this process."""
        return GatewayClient(
            base_url="https://sandbox.invalid",
            merchant_id=MERCHANT_ID,
            api_key=API_KEY,
            transport=self._transport,
            **changes,
        )

    def switch(self, **values):
        """Change the sandbox's settings."""
        self.service.store.save_settings(parse_settings(values))

    def open(self):
        """Create a reusable invoice from 20 USD, and have its address given out."""
        invoice_id = self.client.create_invoice(
            amount=Decimal("20"), method_id=1, description="Tips", invoice_type=InvoiceType.REUSABLE
        )
        self.client.get_deposit_address(invoice_id, 1)
        return invoice_id

    def pay(self, invoice_id, times=1):
        """Have payments arrive, one a minute; returns their ids, newest first."""
        paid = [self._pay(invoice_id) for _ in range(times)]
        return paid[::-1]

    def _pay(self, invoice_id):
        self.now += timedelta(minutes=1)
        return self.service.act(invoice_id, Action.PAY_EXACT).transactions[-1].transaction_id


@pytest.fixture
def till(tmp_path):
    """A till whose clock stands at noon."""
    made = Till(tmp_path / "sandbox.sqlite3")
    with closing(made.client):
        yield made


DIALECTS = pytest.mark.parametrize("dialect", ["reference", "guide"])


@DIALECTS
@pytest.mark.parametrize("form", ["reference", "concept"])
def test_a_reusable_invoice_is_created_and_read(till, dialect, form):
    """C8, C9, C13, C15: either form of the create and either form of the answer lead to the same invoice."""
    till.switch(dialect=dialect)
    client = till.make_client(create_form=form)
    invoice_id = client.create_invoice(
        amount=Decimal("20"), method_id=1, description="Tips", invoice_type=InvoiceType.REUSABLE
    )
    invoice = client.get_invoice(invoice_id)
    assert (invoice.amount, invoice.state) == (Decimal("20"), InvoiceState.OPEN)
    assert invoice.invoice_type == ("reusable" if dialect == "reference" else None)
    assert till.service.store.get(invoice.invoice_id).invoice_type is InvoiceType.REUSABLE


@DIALECTS
@pytest.mark.parametrize("shape", ["bare", "wrapped"])
def test_the_addresses_of_a_reusable_invoice_have_no_end(till, dialect, shape):
    """C7, C19: a null expiry is none, alone and in the list, in either shape and under either name of the method."""
    till.switch(dialect=dialect, addresses_shape=shape)
    invoice_id = till.open()
    address = till.client.get_deposit_address(invoice_id, 1)
    (listed,) = till.client.list_deposit_addresses(invoice_id)
    assert (address.address, address.pay_amount, address.expires_at) == (listed.address, listed.pay_amount, None)
    assert (listed.method_id, listed.expires_at) == (1, None)


@DIALECTS
def test_an_invoice_may_be_paid_by_several_addresses(till, dialect):
    """C10, C21: a gateway that gives every visitor an address of their own lists them all."""
    till.switch(dialect=dialect, reusable_address="new")
    invoice_id = till.open()
    asked = {till.client.get_deposit_address(invoice_id, 1).address for _ in range(3)}
    assert len(asked) == 3
    assert asked < {address.address for address in till.client.list_deposit_addresses(invoice_id)}


@DIALECTS
def test_a_reusable_invoice_stays_open_however_often_it_is_paid(till, dialect):
    """C19: no state tells that somebody paid; the transactions do."""
    till.switch(dialect=dialect)
    invoice_id = till.open()
    paid = till.pay(invoice_id, 3)
    assert till.client.get_invoice(invoice_id).state is InvoiceState.OPEN
    page = till.client.list_newest_transactions([invoice_id])
    assert [item.transaction_id for item in page.items] == paid
    assert {item.state for item in page.items} == {TransactionState.SETTLED}
    assert (page.reaches_to, page.has_more) == (NOON + timedelta(minutes=1), False)


def test_the_newest_come_first_over_several_invoices(till):
    """One read serves many links, and knows nothing of the rest."""
    first, second, other = (till.open() for _ in range(3))
    oldest = till.pay(first)
    till.pay(other)
    middle = till.pay(second)
    newest = till.pay(first)
    page = till.client.list_newest_transactions([first, second])
    assert [item.transaction_id for item in page.items] == [*newest, *middle, *oldest]
    assert page.reaches_to == NOON + timedelta(minutes=1)


def test_what_arrives_between_two_pages_hides_nothing(till):
    """Newer payments move the others on: the next page repeats one, and misses none."""
    invoice_id = till.open()
    paid = till.pay(invoice_id, 5)
    first = till.client.list_newest_transactions([invoice_id], limit=2)
    till.pay(invoice_id)
    second, third = (till.client.list_newest_transactions([invoice_id], page=page, limit=2) for page in (2, 3))
    pages = [[item.transaction_id for item in page.items] for page in (first, second, third)]
    assert pages == [paid[:2], paid[1:3], paid[3:]]
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert first.reaches_to > second.reaches_to > third.reaches_to
    beyond = till.client.list_newest_transactions([invoice_id], page=4, limit=2)
    assert beyond == TransactionPage(items=(), reaches_to=None, has_more=False)


def test_an_invoice_that_nobody_paid_has_an_empty_page(till):
    """Nothing is an answer."""
    assert till.client.list_newest_transactions([till.open()]) == TransactionPage()
