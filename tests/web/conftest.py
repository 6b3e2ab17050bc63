"""A shop without a browser, and a customer in one."""

from collections.abc import Iterator

import pytest
import screens
from customers import Customer
from servers import Relay, serving
from shops import Shop


@pytest.fixture
def shop(tmp_path):
    """A shop on the sandbox whose forms need no CSRF token."""
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """The server of a module's tests."""
    relay = Relay()
    with serving(relay) as relay.base_url:
        yield relay


@pytest.fixture
def customer(visits, tmp_path, relay: Relay) -> Customer:
    """A customer of a shop whose pages bring news with every poll."""
    shop = screens.make_shop(tmp_path)
    relay.app = shop.app
    return Customer(visits, shop, relay.base_url)
