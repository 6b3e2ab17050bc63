"""A shop's own session is its own: no call of the store, no use case and no handler commits it or rolls it back."""

import pytest
from records import CALLS, FIRST, SECOND
from sql_shops import SQLShop, make_store
from sqlalchemy import select

from flask_iterapay.errors import StoreUnavailableError
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore


class Meddling(SQLAlchemyStore):
    """Does to the shop's session, at every save, what a store must not."""

    def __init__(self, db, name):
        super().__init__(db.engine, create_tables=True)
        self._meddle = getattr(db.session, name)

    def save(self, record, *, expected_version):
        self._meddle()
        return super().save(record, expected_version=expected_version)


@pytest.fixture
def make_shop(tmp_path, database_url):
    """Make a shop with a model of its own; SQLite does not wait for locks."""
    shops = []
    options = {"connect_args": {"timeout": 0}} if database_url.startswith("sqlite") else {}

    def make(make_store=make_store):
        shop = SQLShop(tmp_path, database_url, make_store=make_store, **options)
        shops.append(shop)

        class Note(shop.db.Model):
            note_id = shop.db.Column(shop.db.Integer, primary_key=True)
            text = shop.db.Column(shop.db.String(40))

        shop.note = Note
        shop.create_tables()
        return shop

    yield make
    for shop in shops:
        shop.close()


def begin_work(shop):
    """Leave work in the session: written where the database lets others write meanwhile, else only noted down."""
    shop.db.session.add(shop.note(text="pending"))
    if shop.engine.dialect.name != "sqlite":
        shop.db.session.flush()


def is_untouched(shop):
    """Whether the work is neither visible to others nor lost, and can still be committed."""
    is_visible_before = shop.count(shop.note) > 0
    shop.db.session.commit()
    return not is_visible_before and shop.count(shop.note) == 1


def place_and_pay(shop):
    """Place an order and pay it, with everything that a customer's page asks for."""
    service = shop.state.service
    shop.iterapay.place_order("1042", amount="20.00")
    shop.iterapay.place_order("1042", amount="25.00")
    service.choose_method("1042", "1")
    service.check("1042")
    shop.act("pay_exact")
    service.receive_hint(shop.order().current_invoice_id)


def cancel(shop):
    """Place an order and cancel it."""
    shop.iterapay.place_order("1042", amount="25.00")
    shop.iterapay.cancel_order("1042")


def resolve(shop):
    """Accept a payment that came too late."""
    shop.iterapay.place_order("1042", amount="25.00")
    shop.state.service.choose_method("1042", "1")
    shop.act("pay_late")
    shop.clock.advance(24 * 3600)
    shop.iterapay.sync("1042")
    shop.iterapay.resolve_hold("1042", is_accepted=True, actor="kim")


def reconcile(shop):
    """Pay an order that nobody hears of, and find it."""
    shop.iterapay.place_order("1042", amount="25.00")
    shop.state.service.choose_method("1042", "1")
    shop.act("pay_exact")
    shop.clock.advance(3600)
    shop.iterapay.reconcile()
    assert shop.iterapay.get_order("1042").status == "paid"


USE_CASES = [place_and_pay, cancel, resolve, reconcile]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_of_the_store_leaves_the_session_alone(make_shop, name):
    """Pending work outlives every call on the same engine, and the call's own work is committed by itself."""
    shop = make_shop()
    shop.store.add(FIRST)
    shop.store.add(SECOND)
    with shop.app.app_context():
        begin_work(shop)
        CALLS[name](shop.store)
        assert is_untouched(shop)
    assert shop.store.get("order:1").version == (2 if name == "save" else 1)


@pytest.mark.parametrize("use_case", USE_CASES)
def test_a_use_case_leaves_the_session_alone(make_shop, use_case):
    """Pending work outlives everything that can be done to an order in the same request."""
    shop = make_shop()
    with shop.app.app_context():
        begin_work(shop)
        use_case(shop)
        assert is_untouched(shop)


@pytest.mark.parametrize("use_case", USE_CASES)
@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_a_store_that_meddles_is_noticed(make_shop, use_case, name):
    """The same look at the session sees a store that commits it or rolls it back."""
    shop = make_shop(lambda db: Meddling(db, name))
    with shop.app.app_context():
        begin_work(shop)
        use_case(shop)
        assert not is_untouched(shop)


def test_rolled_back_work_takes_no_order_with_it(make_shop):
    """The shop gives up its work, and the order that was placed meanwhile stays."""
    shop = make_shop()
    with shop.app.app_context():
        begin_work(shop)
        shop.iterapay.place_order("1042", amount="25.00")
        shop.db.session.rollback()
        assert shop.count(shop.note) == 0
        assert shop.iterapay.get_order("1042").version == 1


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_every_handler_has_a_session_of_its_own(make_shop, end):
    """What one handler leaves in its session reaches neither the next handler nor whoever caused the event."""
    shop, seen = make_shop(), []

    def leave_work():
        seen.append((shop.db.session(), shop.db.session.scalars(select(shop.note.text)).all()))
        shop.db.session.add(shop.note(text="left"))

    @shop.iterapay.on("order.cancelled")
    def first(event):
        leave_work()
        raise RuntimeError("left without a commit")

    @shop.iterapay.on("order.cancelled")
    def second(event):
        leave_work()
        getattr(shop.db.session, end)()

    with shop.app.app_context():
        begin_work(shop)
        cancel(shop)
        assert len({id(session) for session in (shop.db.session(), *(session for session, _ in seen))}) == 3
        assert [texts for _, texts in seen] == [[], []]
        assert shop.count(shop.note) == (1 if end == "commit" else 0)
        shop.db.session.commit()
        assert shop.count(shop.note) == (2 if end == "commit" else 1)


def test_sqlite_refuses_to_write_beside_the_session(tmp_path):
    """With work written and not committed, SQLite lets nobody write: an order is refused, and the work stays."""
    shop = SQLShop(tmp_path, f"sqlite:///{tmp_path / 'shop.sqlite3'}", connect_args={"timeout": 0})

    class Note(shop.db.Model):
        note_id = shop.db.Column(shop.db.Integer, primary_key=True)

    shop.note = Note
    shop.create_tables()
    with shop.app.app_context():
        shop.db.session.add(Note())
        shop.db.session.flush()
        with pytest.raises(StoreUnavailableError):
            shop.iterapay.place_order("1042", amount="25.00")
        assert is_untouched(shop)
        assert shop.iterapay.place_order("1042", amount="25.00").version == 1
    shop.close()
