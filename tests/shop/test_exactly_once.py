"""Handlers run at least once; with the event's key in a table of the shop's own, their work is done exactly once."""

import threading

import pytest
from sources import ROOT
from sql_shops import SQLShop
from sqlalchemy import event as sqlalchemy_event

from flask_iterapay.orders.models import EventState

PATIENCE_SECONDS = 60
# More than a handler may take before another worker takes its event over, and more than any pause before a retry.
LATER_SECONDS = 7 * 3600

MODELS = """
class Shipment(db.Model):
    shipment_id = db.Column(db.Integer, primary_key=True)
    order_id = db.Column(db.String(64), nullable=False)
"""
# The second snippet, so that what is documented is what is tested.
RECIPE = (ROOT / "docs/handlers.md").read_text(encoding="utf-8").split("```python\n")[2].partition("```")[0]
WITHOUT_KEY = """
@iterapay.on("order.paid")
def ship(event):
    db.session.add(Shipment(order_id=event.order_id))
    db.session.commit()
"""
KEY_AFTERWARDS = RECIPE.replace(
    "    db.session.add(HandledEvent",
    "    db.session.add(Shipment(order_id=event.order_id))\n    db.session.commit()\n    db.session.add(HandledEvent",
    1,
).replace("        return  # done before\n    db.session.add(Shipment(order_id=event.order_id))\n", "        return\n")


class Warehouse:
    """A shop that ships by a recipe."""

    def __init__(self, folder, database_url, recipe):
        self.shop = SQLShop(folder, database_url)
        names = {"__name__": "shop", "db": self.shop.db, "iterapay": self.shop.iterapay}
        with self.shop.app.app_context():
            exec(MODELS + recipe, names)
        self.shipment = names["Shipment"]
        self.shop.create_tables()

    @property
    def shipments(self):
        """How many shipments have left."""
        return self.shop.count(self.shipment)

    def dispatch(self, order_id="1042"):
        """Run the handlers that are due, as a worker does."""
        self.shop.state.service.dispatch(order_id)

    def retry(self):
        """Let time pass until the event is due again, and run the handlers."""
        self.shop.clock.advance(LATER_SECONDS)
        self.dispatch()

    def fail_once(self, moment, error):
        """Raise an error at the next such moment of any session."""

        def fail(session):
            sqlalchemy_event.remove(self.shop.db.session, moment, fail)
            raise error

        sqlalchemy_event.listen(self.shop.db.session, moment, fail)

    def is_done(self, order_id="1042"):
        """Whether the event is done, so that no handler will run again."""
        return [event.state for event in self.shop.order(order_id).events if event.name == "order.paid"] == [
            EventState.DONE
        ]


@pytest.fixture
def make_warehouse(tmp_path, database_url):
    """Make a warehouse with one paid order that nobody was told of yet."""
    warehouses = []

    def make(recipe):
        warehouse = Warehouse(tmp_path, database_url, recipe)
        warehouses.append(warehouse)
        warehouse.shop.pay("1042")
        return warehouse

    yield make
    for warehouse in warehouses:
        warehouse.shop.close()


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=["raises", "is killed"])
def test_work_that_was_not_committed_is_done_by_the_next_try(make_warehouse, error):
    """A handler that ends before its commit leaves neither the key nor the work."""
    warehouse = make_warehouse(RECIPE)
    warehouse.fail_once("before_commit", error)
    run_and_die(warehouse)
    assert (warehouse.shipments, warehouse.is_done()) == (0, False)
    warehouse.retry()
    assert (warehouse.shipments, warehouse.is_done()) == (1, True)


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt()], ids=["raises", "is killed"])
@pytest.mark.parametrize(
    ("recipe", "shipments"), [(RECIPE, 1), (WITHOUT_KEY, 2), (KEY_AFTERWARDS, 2)], ids=["recipe", "no key", "key later"]
)
def test_work_that_was_committed_is_not_done_again(make_warehouse, recipe, shipments, error):
    """A handler that ends after its commit and before that is known runs again; without the key it ships twice."""
    warehouse = make_warehouse(recipe)
    warehouse.fail_once("after_commit", error)
    run_and_die(warehouse)
    assert (warehouse.shipments, warehouse.is_done()) == (1, False)
    warehouse.retry()
    assert (warehouse.shipments, warehouse.is_done()) == (shipments, True)


def run_and_die(warehouse):
    """Run the handlers in a worker that may end with them."""
    try:
        warehouse.dispatch()
    except KeyboardInterrupt:
        return


@pytest.mark.parametrize(("recipe", "shipments"), [(RECIPE, 1), (WITHOUT_KEY, 2)], ids=["recipe", "no key"])
def test_two_workers_at_once_do_it_once(make_warehouse, recipe, shipments):
    """A worker that is slower than its lease and the one that took over write at the same moment."""
    warehouse = make_warehouse(recipe)
    both, arrived = threading.Barrier(2), set()
    first_is_in = threading.Event()

    def meet(session, context, instances):
        if threading.get_ident() not in arrived:
            arrived.add(threading.get_ident())
            first_is_in.set()
            both.wait(PATIENCE_SECONDS)

    sqlalchemy_event.listen(warehouse.shop.db.session, "before_flush", meet)
    workers = [threading.Thread(target=warehouse.dispatch) for _ in range(2)]
    workers[0].start()
    assert first_is_in.wait(PATIENCE_SECONDS)
    warehouse.shop.clock.advance(LATER_SECONDS)
    workers[1].start()
    for worker in workers:
        worker.join(PATIENCE_SECONDS)
    assert len(arrived) == 2
    assert (warehouse.shipments, warehouse.is_done()) == (shipments, True)


def test_orders_that_differ_in_case_are_both_shipped(make_warehouse):
    """Keys are compared exactly, so no order counts as another's repeat."""
    warehouse = make_warehouse(RECIPE)
    for order_id in ("a1", "A1"):
        warehouse.shop.pay(order_id)
        warehouse.dispatch(order_id)
        assert warehouse.is_done(order_id)
    assert warehouse.shipments == 2
