"""Values are values: nobody changes one, and nobody mixes up the order of its fields."""

import importlib
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sources import PACKAGE, read_modules

from flask_iterapay import Order, OrderStatus
from flask_iterapay.values import Struct, replace

CLASSES = sorted(
    {
        kind
        for source in read_modules(PACKAGE)
        for kind in vars(importlib.import_module(source.name)).values()
        if isinstance(kind, type) and issubclass(kind, Struct) and kind.__module__.startswith(PACKAGE)
    },
    key=lambda kind: f"{kind.__module__}.{kind.__qualname__}",
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_value_cannot_be_changed_and_is_made_by_names(kind: type[Struct]) -> None:
    """Each class says both for itself, since a struct does not hand down that its fields are named."""
    assert kind.__struct_config__.frozen
    assert kind.__match_args__ == ()


def test_the_classes_are_found() -> None:
    """Those of every layer are among them."""
    assert {"Order", "Link", "Invoice", "Record", "Verdict", "PageView", "LinkView"} <= {
        kind.__name__ for kind in CLASSES
    }


def test_a_copy_has_other_fields_and_the_first_stays() -> None:
    """A field that is not there is refused."""
    now = datetime(2026, 1, 15, tzinfo=UTC)
    order = Order(order_id="1042", amount=Decimal("25.00"), created_at=now, changed_at=now)
    assert replace(order, status=OrderStatus.PAID).status is OrderStatus.PAID
    assert order.status is OrderStatus.NEW
    with pytest.raises(AttributeError):
        order.status = OrderStatus.PAID
    with pytest.raises(TypeError):
        replace(order, state=OrderStatus.PAID)
