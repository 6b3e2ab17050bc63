"""A sandbox, a shop that it tells, and a clock that stands still until it is moved."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator, FormatChecker
from werkzeug.test import TestResponse

from flask_iterapay.sandbox.app import API_KEY, BEARER_TOKEN, MERCHANT_ID, create_sandbox_app
from flask_iterapay.sandbox.service import SandboxService
from flask_iterapay.sandbox.settings import parse_settings

SECRET = "a-webhook-secret-of-thirty-two-characters"


@dataclass
class FakeClock:
    """Stands still until it is moved."""

    now: datetime = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **parts: int) -> None:
        """Let time pass."""
        self.now += timedelta(**parts)


@dataclass
class FakeShop:
    """Takes deliveries, and answers with the statuses it was given, then with 200."""

    received: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)
    statuses: list[int | Exception] = field(default_factory=list)

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        self.received.append((url, headers, body))
        answer = self.statuses.pop(0) if self.statuses else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Driver:
    """Uses a sandbox over HTTP as the client and a person at the panel would."""

    app: Flask
    merchant_id: str = MERCHANT_ID
    key: dict[str, str] = field(default_factory=lambda: {"X-Api-Key": API_KEY})
    bearer: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {BEARER_TOKEN}"})

    @property
    def http(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def service(self) -> SandboxService:
        return self.app.extensions["iterapay_sandbox"].service

    def call(self, method: str, path: str, **options: object) -> TestResponse:
        """Call the API with the key, and let the server close the answer."""
        with self.http.open(path, method=method, **{"headers": self.key, **options}) as response:
            response.get_data()
            return response

    def create(self, **changes: object) -> str:
        """Create an invoice and return its id."""
        body = {"amount": "25.15", "type": "onetime", "paymentMethodID": 1, "description": "Order #1"} | changes
        body = {name: value for name, value in body.items() if value is not None}
        return self.call("POST", f"/merchants/{self.merchant_id}/invoices", json=body).json["id"]

    def address(self, invoice_id: str, method_id: int = 1) -> dict[str, str]:
        """Ask for a deposit address."""
        return self.call("GET", f"/public/invoices/{invoice_id}/method/{method_id}/address").json

    def invoice(self, invoice_id: str) -> dict[str, object]:
        """Read an invoice."""
        return self.call("GET", f"/merchants/{self.merchant_id}/invoices/{invoice_id}").json

    def transactions(self, **wanted: object) -> list[dict[str, object]]:
        """List transactions."""
        return self.call("POST", f"/merchants/{self.merchant_id}/transactions/list", json=wanted).json["data"]

    def press(self, invoice_id: str, action: str, **form: str) -> TestResponse:
        """Press a button of the panel."""
        return self.call("POST", f"/panel/invoices/{invoice_id}", data={"action": action, **form}, headers={})

    def offered(self, **changes: object) -> str:
        """Create an invoice and give its address out."""
        invoice_id = self.create(**changes)
        self.address(invoice_id, changes.get("paymentMethodID", 1))
        return invoice_id

    def switch(self, **settings: object) -> None:
        """Change settings; what is not named gets its default."""
        self.service.store.save_settings(parse_settings(settings))


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still until it is moved."""
    return FakeClock()


@pytest.fixture
def shop() -> FakeShop:
    """The receiver of the deliveries."""
    return FakeShop()


@pytest.fixture
def secret() -> str:
    """What deliveries are signed with."""
    return SECRET


@pytest.fixture
def make_sandbox(tmp_path: Path, clock: FakeClock, shop: FakeShop) -> Callable[..., Driver]:
    """Make a sandbox on this test's file, with other arguments where they are given."""

    def make(**changes: object) -> Driver:
        arguments = {
            "path": tmp_path / "sandbox.sqlite3",
            "clock": clock,
            "deliver": shop,
            "webhook_url": "https://shop.example.com/pay/webhook",
            "webhook_secret": SECRET,
        }
        return Driver(create_sandbox_app(**arguments | changes))

    return make


@pytest.fixture
def sandbox(make_sandbox: Callable[..., Driver]) -> Driver:
    """A fresh sandbox."""
    return make_sandbox()


@pytest.fixture
def sql(tmp_path: Path) -> Callable[[str], None]:
    """Run a statement on the sandbox's file, behind its back."""

    def run(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "sandbox.sqlite3")) as connection:
            connection.execute(statement)
            connection.commit()

    return run


@pytest.fixture(scope="session")
def contract() -> dict[str, Any]:
    """The gateway's contract in OpenAPI 3.1."""
    return yaml.safe_load((Path(__file__).parents[1] / "openapi" / "iterapay.yaml").read_text())


@pytest.fixture(scope="session")
def check_schema(contract: dict[str, Any]) -> Callable[[dict[str, Any], object], None]:
    """Check a value against a schema of the contract."""

    def check(schema: dict[str, Any], value: object) -> None:
        whole = {"components": contract["components"], **schema}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(value)

    return check


@pytest.fixture
def validate(contract: dict[str, Any], check_schema: Callable) -> Callable[[str, TestResponse], None]:
    """Check an answer against what the contract says of its operation."""
    operations = {
        operation["operationId"]: operation
        for item in contract["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }

    def check(operation_id: str, response: TestResponse) -> None:
        answers = operations[operation_id]["responses"]
        answer = answers.get(str(response.status_code)) or answers["default"]
        if "$ref" in answer:
            answer = contract["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        if "content" not in answer:
            assert response.data == b""
            return
        ((media_type, content),) = answer["content"].items()
        assert response.mimetype == media_type
        check_schema(content["schema"], json.loads(response.data))

    return check


@pytest.fixture
def validate_event(check_schema: Callable) -> Callable[[object, str], None]:
    """Check a webhook's body and signature header against the contract's open schemas."""

    def check(event: object, signature: str) -> None:
        check_schema({"$ref": "#/components/schemas/WebhookEvent"}, event)
        check_schema({"$ref": "#/components/schemas/WebhookSignature"}, signature)

    return check
