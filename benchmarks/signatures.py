"""Verifying a hint: the plugin and other people's libraries, each on 585 bytes signed as it wants them."""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from flask_iterapay.gateway.signing import sign, verify

from .bench import Bench
from .row import Reach, Result, Row, compare
from .timing import Case

__all__ = ["BODY_LENGTH", "ROWS"]

BODY_LENGTH = 585
_SECRET = "a-webhook-secret-of-at-least-32-characters"
_KEY = base64.b64encode(_SECRET.encode()).decode()
# What each of the peers looks for in a body, filled up to the length.
_START, _END = b'{"id":"evt_1","object":"event","type":"paid","event":{"id":"1"},"data":{"note":"', b'"}}'
_BODY = _START + b"x" * (BODY_LENGTH - len(_START) - len(_END)) + _END


def _measure(bench: Bench) -> Result:
    secret, digest = _SECRET.encode(), hmac.digest(_SECRET.encode(), _BODY, hashlib.sha256)
    header = sign(_BODY, _SECRET)
    floor = Case(name="floor", run=lambda: hmac.compare_digest(hmac.digest(secret, _BODY, hashlib.sha256), digest))
    ours = Case(name="ours", run=lambda: verify(_BODY, header, (_SECRET,)))
    peers, absent = list[Case](), list[str]()
    for name, make in _PEERS.items():
        try:
            peers.append(Case(name=name, run=make(import_module(name))))
        except ImportError:
            absent.append(f"{name} not installed")
    return compare(bench.effort, floor, ours, *peers, beside=", ".join(absent))


def _standard(module: Any) -> Callable[[], object]:
    webhook, at = module.Webhook(_KEY), datetime.now(UTC)
    signature = webhook.sign("msg_1", at, _BODY.decode())
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return lambda: webhook.verify(_BODY, headers)


def _svix(module: Any) -> Callable[[], object]:
    return _standard(import_module("svix.webhooks"))


def _stripe(module: Any) -> Callable[[], object]:
    at = int(time.time())
    signature = hmac.digest(_SECRET.encode(), f"{at}.".encode() + _BODY, hashlib.sha256).hex()
    header = f"t={at},v1={signature}"
    return lambda: module.Webhook.construct_event(_BODY, header, _SECRET)


def _coinbase(module: Any) -> Callable[[], object]:
    webhook = import_module("coinbase_commerce.webhook").Webhook
    header, text = sign(_BODY, _SECRET), _BODY.decode()
    return lambda: webhook.construct_event(text, header, _SECRET)


_PEERS = {"standardwebhooks": _standard, "svix": _svix, "coinbase_commerce": _coinbase, "stripe": _stripe}


ROWS: tuple[Row, ...] = (
    Row(
        what=f"verify a {BODY_LENGTH}-byte hint, hex header, one key",
        floor="`hmac.digest` + `compare_digest`",
        reach=Reach(at_most=1.5),
        measure=_measure,
    ),
)
