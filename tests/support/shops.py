"""Small shops for tests of the web side: a Flask app with the plugin on the sandbox."""

import re
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.test import Client
from worlds import Timepiece

from flask_iterapay import IteraPay, Link, LinkEvent, Order, OrderEvent
from flask_iterapay.links.models import Visit


class Shop:
    """A Flask app with the plugin, its sandbox, a clock that stands still, and a list of what its handlers heard.

    ``visits`` are the pages of those who came to its payment links, in the order of their coming.
    """

    def __init__(
        self, folder: Path, *, iterapay: IteraPay | None = None, url_prefix: str = "/pay", **config: object
    ) -> None:
        self.clock = Timepiece()
        self.iterapay = iterapay or IteraPay()
        self.heard: list[Any] = []
        self.visits: list[str] = []
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(
            TESTING=True, SECRET_KEY="a secret key of this test", ITERAPAY_SANDBOX=True, WTF_CSRF_ENABLED=False
        )
        self.app.config.update(config)
        self.iterapay.init_app(self.app, clock=self.clock)
        self.app.register_blueprint(self.iterapay.blueprint, url_prefix=url_prefix)
        if iterapay is None:
            self.iterapay.on("order.paid")(self.hear)
            self.iterapay.on("link.payment_received")(self.hear)
        self.state = self.app.extensions["iterapay"]
        self.client = self.app.test_client()
        self.set_sandbox()

    def hear(self, event: OrderEvent | LinkEvent) -> None:
        self.heard.append(event)

    def place(self, order_id: str = "1042", amount: str = "25.00", **arguments: str) -> str:
        """Place an order and return the path of its page."""
        with self.app.app_context():
            return self.iterapay.checkout_url(self.iterapay.place_order(order_id, amount=amount, **arguments))

    def order(self, order_id: str = "1042") -> Order:
        return self.state.service.get(order_id)

    def choose(self, path: str, method: str = "1", **fields: str) -> None:
        response = self.client.post(path, data={"method": method, **fields}, buffered=True)
        assert response.status_code == 303, response.text

    def act(self, action: str, order_id: str = "1042") -> None:
        """Press a button of the sandbox's panel, without going through the shop."""
        self._press(str(self.order(order_id).current_invoice_id), action=action)

    def create_link(self, link_id: str = "library", **terms: Any) -> str:
        """Make a payment link and return the path of its page."""
        with self.app.app_context():
            return self.iterapay.link_url(self.iterapay.create_link(link_id, **terms))

    def link(self, link_id: str = "library") -> Link:
        return self.state.links.get(link_id)

    def come(self, path: str, method: str = "1", **fields: str) -> str:
        """Choose a method at a payment link, as a new visitor unless a ``visit`` says who; return the visit's page."""
        fields = {"method": method, "visit": f"visitor-number-{len(self.visits)}"} | fields
        response = self.client.post(path, data=fields, buffered=True)
        assert response.status_code == 303, response.text
        self.visits.append(str(response.location))
        return self.visits[-1]

    def visit(self, path: str) -> Visit:
        """The visit of a page."""
        return self.state.links.get_visit(self.state.visit_tokens.verify(path.rpartition("/")[2]))

    def send(self, path: str, action: str = "pay_exact") -> None:
        """Send money to the address of a visit's page, or see one of its payments through."""
        visit = self.visit(path)
        self._press(str(visit.invoice_id), action=action, address=str(visit.address))

    def _press(self, invoice_id: str, **fields: str) -> None:
        response = Client(self.state.sandbox).post(f"/panel/invoices/{invoice_id}", data=fields)
        assert response.status_code == 303, response.text
        response.close()

    def set_sandbox(self, **settings: str) -> None:
        """Switch the sandbox on its panel; what is not named gets its default, but webhooks are dropped.

        A test that wants a webhook sends it, or says ``webhook_faults="duplicate"``.
        """
        response = Client(self.state.sandbox).post("/panel/settings", data={"webhook_faults": "drop"} | settings)
        assert response.status_code == 303, response.text

    def break_gateway(self) -> None:
        """Have the gateway answer 500 to everything from now on."""
        self.set_sandbox(api_fault="500", fault_calls="0")

    def mend_gateway(self) -> None:
        self.set_sandbox()


def csrf_token(html: str) -> str:
    """The token of the first form on a page."""
    match = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', html)
    assert match, "no CSRF token on the page"
    return match[1]
