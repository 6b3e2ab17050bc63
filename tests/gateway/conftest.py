"""A gateway at the transport: answers are laid out in advance, requests are kept."""

from collections import deque
from urllib.parse import unquote

import httpx
import pytest
import stamina

from flask_iterapay.gateway.client import GatewayClient

API_KEY = "canary-key-4f1d9a"
MERCHANT_ID = "b0fcc813-a7ce-4bbc-932f-dbef6f59ca7f"


class Clock:
    """A monotonic clock that moves by hand."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Gateway:
    """Answers requests in turn with what was laid out: JSON for a 200, a status, a response, an error to raise, or a
    function that makes one of these.
    """

    def __init__(self):
        self.requests = []
        self._answers = deque()

    def answer(self, *answers):
        self._answers.extend(answers)

    def __call__(self, request):
        self.requests.append(request)
        answer = self._answers.popleft()
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, int):
            return httpx.Response(answer)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    @property
    def request(self):
        """The newest request."""
        return self.requests[-1]

    @property
    def path(self):
        """The newest request's path as it goes over the wire, in segments that a server would decode."""
        return [unquote(part) for part in self.request.url.raw_path.split(b"?")[0].decode().split("/")][1:]


@pytest.fixture(autouse=True, scope="module")
def retries_without_waiting():
    """Retry as in production, but without the pauses."""
    with stamina.set_testing(True, attempts=10, cap=True):
        yield


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gateway():
    return Gateway()


@pytest.fixture
def make_client(gateway, clock):
    """Make a client of the fake gateway; keywords override its settings."""

    def make(**settings):
        defaults = {
            "base_url": "https://api.iterapay.com",
            "merchant_id": MERCHANT_ID,
            "api_key": API_KEY,
            "transport": httpx.MockTransport(gateway),
            "clock": clock,
        }
        return GatewayClient(**defaults | settings)

    return make


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def api_key():
    return API_KEY


@pytest.fixture
def merchant_id():
    return MERCHANT_ID


@pytest.fixture
def invoice():
    """An invoice in the reference's dialect."""
    return {
        "id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "amount": "100.00",
        "type": "onetime",
        "state": "pending",
        "createdAt": "2024-01-15T10:30:00Z",
        "paymentMethodID": 1,
    }


@pytest.fixture
def transaction():
    """A transaction in the reference's dialect."""
    return {
        "id": "7d9c1f70-0c7e-4f3a-9d55-2f3b8f1f0a11",
        "invoiceID": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "amount": "100.50",
        "state": "confirmed",
        "createdAt": "2024-01-15T10:30:00Z",
        "confirmedAt": "2024-01-15T10:35:12Z",
        "txHash": "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
    }


@pytest.fixture
def address():
    """A deposit address as the reference shows it."""
    return {
        "address": "TRX9xKqP2mNvLwXbY3zJdR7oU5cH1sA4fE",
        "amount": "100.500000",
        "expiresAt": "2024-01-15T10:45:00Z",
    }


@pytest.fixture
def methods():
    """The payment methods of the documentation's sample."""
    return [
        {"id": 1, "name": "USDT-TRC20", "network": "TRON", "ticker": "USDT"},
        {"id": 2, "name": "USDT-ERC20", "network": "Ethereum", "ticker": "USDT"},
    ]
