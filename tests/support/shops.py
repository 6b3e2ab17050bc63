"""Small shops for tests of the web side: a Flask app with the plugin on the sandbox."""

import re
from pathlib import Path

from flask import Flask
from werkzeug.test import Client
from worlds import Timepiece

from flask_iterapay import IteraPay, Order, OrderEvent


class Shop:
    """A Flask app with the plugin, its sandbox, a clock that stands still, and a list of what its handlers heard."""

    def __init__(
        self, folder: Path, *, iterapay: IteraPay | None = None, url_prefix: str = "/pay", **config: object
    ) -> None:
        self.clock = Timepiece()
        self.iterapay = iterapay or IteraPay()
        self.heard: list[OrderEvent] = []
        self.app = Flask("shop", instance_path=str(folder))
        self.app.config.update(
            TESTING=True, SECRET_KEY="a secret key of this test", ITERAPAY_SANDBOX=True, WTF_CSRF_ENABLED=False
        )
        self.app.config.update(config)
        self.iterapay.init_app(self.app, clock=self.clock)
        self.app.register_blueprint(self.iterapay.blueprint, url_prefix=url_prefix)
        if iterapay is None:
            self.iterapay.on("order.paid")(self.hear)
        self.state = self.app.extensions["iterapay"]
        self.client = self.app.test_client()
        self.set_sandbox()

    def hear(self, event: OrderEvent) -> None:
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
        invoice_id = self.order(order_id).current_invoice_id
        response = Client(self.state.sandbox).post(f"/panel/invoices/{invoice_id}", data={"action": action})
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
