"""The example shop in processes of its own: by the README's command, and under gunicorn with four workers."""

import re
from pathlib import Path

import httpx
import pytest
from servers import running

pytestmark = pytest.mark.process

GUNICORN_READY = r"Listening at: (http://\S+)"


class Customer:
    """A browser without pictures: keeps cookies, follows forms."""

    def __init__(self, base_url: str, client: httpx.Client) -> None:
        self.base_url = base_url
        self.client = client

    def get(self, path: str) -> str:
        response = self.client.get(self.base_url + path, follow_redirects=True)
        assert response.status_code == 200, (path, response.status_code)
        return response.text

    def submit(self, path: str, page: str, **fields: str) -> httpx.Response:
        """Post a form with the CSRF token that ``page`` carries."""
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.get(page))
        assert token
        response = self.client.post(
            self.base_url + path, data={"csrf_token": token[1], **fields}, headers={"Referer": self.base_url + page}
        )
        assert response.status_code == 303, (path, response.status_code, response.text)
        return response

    def go_to_payment(self) -> str:
        """Put a notebook into the cart, check out, choose USDT on TRON; returns the payment page's path."""
        self.submit("/cart/notebook/add", "/")
        path = self.submit("/checkout", "/cart").headers["Location"]
        self.submit(path, path, method="1")
        return path

    def pay(self, path: str) -> None:
        panel = re.search(r'href="(/pay/sandbox/panel/invoices/[^"]+)"', self.get(path))
        assert panel
        self.submit(panel[1], panel[1], action="pay_exact")

    def wait_until_paid(self, path: str) -> None:
        """Poll as the page would; each answer tells of a later state, so a bounded number is enough."""
        for _ in range(2000):
            if self.client.get(f"{self.base_url}{path}/status").json()["state"] == "paid":
                return
        raise AssertionError("not paid after 2000 polls")

    def wait_until_shipped(self) -> None:
        """The handler runs after the response of whoever brought the news, so the next pages show it soon."""
        for _ in range(2000):
            if "Shipped" in self.get("/orders"):
                return
        raise AssertionError("not shipped after 2000 looks")


@pytest.fixture
def client():
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def gunicorn(folder: Path) -> list[str]:
    app = f"example_shop:create_app(instance_path={str(folder)!r})"
    return ["gunicorn", "--workers", "4", "--bind", "127.0.0.1:0", app]


ENVIRONMENT = {"FLASK_ITERAPAY_SYNC_SECONDS": "1"}


def test_four_workers_share_shop_and_sandbox_and_a_restart_loses_nothing(tmp_path, client):
    """The order outlives the processes in the middle of its payment, and is shipped once."""
    with running(gunicorn(tmp_path), ready=GUNICORN_READY, env=ENVIRONMENT) as base_url:
        path = Customer(base_url, client).go_to_payment()
    with running(gunicorn(tmp_path), ready=GUNICORN_READY, env=ENVIRONMENT) as base_url:
        customer = Customer(base_url, client)
        assert "Send exactly" in customer.get(path)
        customer.pay(path)
        customer.wait_until_paid(path)
        customer.wait_until_shipped()
        assert customer.get("/orders/1001").count("order.paid") <= 1


def test_the_readmes_command_serves_the_shop(tmp_path, client):
    """flask run, without an account, a key or a second process."""
    command = ["flask", "--app", f"example_shop:create_app(instance_path={str(tmp_path)!r})", "run", "--port", "0"]
    with running(command, ready=r"Running on (http://\S+)", env=ENVIRONMENT) as base_url:
        customer = Customer(base_url, client)
        path = customer.go_to_payment()
        customer.pay(path)
        customer.wait_until_paid(path)
        customer.wait_until_shipped()


def test_the_sandbox_is_a_server_of_its_own(tmp_path, client):
    """A shop in another process can be developed against it."""
    command = ["flask", "--app", "example_shop", "iterapay", "sandbox", "--port", "0"]
    command += ["--database", str(tmp_path / "sandbox.sqlite3")]
    with running(command, ready=r"Running on (http://\S+)", env={"FLASK_DEBUG": "0"}) as base_url:
        assert client.get(f"{base_url}/panel/").status_code == 200
        assert client.get(f"{base_url}/payment_methods").status_code == 401
