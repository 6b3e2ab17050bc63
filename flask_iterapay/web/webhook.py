"""The signed receiver. A blueprint object of its own, because it is the only thing exempt from CSRF protection.

An authentic webhook is a hint: it names an invoice worth looking at, and proves nothing. It is 401 without a valid
signature, 200 once what it says is known, and 503 if it has to come again.
"""

import logging

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import RequestEntityTooLarge

from ..errors import GatewayError, SignatureError, StoreError
from ..gateway.codec import find_invoice_id
from ..gateway.signing import SIGNATURE_HEADER, verify
from .state import current_iterapay

__all__ = ["MAX_BODY_BYTES", "create_webhook_blueprint", "receive"]

MAX_BODY_BYTES = 64 * 1024
_RETRY_AFTER_SECONDS = 30
_FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}

logger = logging.getLogger("flask_iterapay")


def create_webhook_blueprint() -> Blueprint:
    """Make the receiver's blueprint, one for each ``IteraPay`` object."""
    blueprint = Blueprint("webhook", __name__)
    blueprint.post("/webhook")(receive)
    return blueprint


def receive() -> Response:
    """Answer one webhook. The order of the checks is the promise: size, then signature, then everything else."""
    if request.mimetype in _FORM_TYPES:
        # A form body may have been consumed by somebody else's parser already, so its raw bytes cannot be trusted.
        return _answer(415, "send the raw JSON body")
    body = _read_body()
    if body is None:
        return _answer(413, "body too large")
    try:
        position = verify(body, request.headers.get(SIGNATURE_HEADER), current_iterapay.settings.webhook_secrets)
    except SignatureError as error:
        logger.warning("webhook refused: %s", error)
        return _answer(401, "signature missing or wrong")
    return _act(find_invoice_id(body), position)


def _read_body() -> bytes | None:
    """The raw bytes, or ``None`` at 64 KiB: a chunked body over the limit may be cut there without an error."""
    request.max_content_length = MAX_BODY_BYTES
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        return None
    return body if len(body) < MAX_BODY_BYTES else None


def _act(invoice_id: str | None, position: int) -> Response:
    if invoice_id is None:
        logger.info("webhook signed with secret %d names no invoice", position)
        return _answer(200, "ok")
    try:
        payable = current_iterapay.service.receive_hint(invoice_id) or current_iterapay.links.receive_hint(invoice_id)
    except (GatewayError, StoreError) as error:
        logger.warning("webhook signed with secret %d about %r not acted on yet: %s", position, invoice_id, error)
        return _answer(503, "try again later", retry_after_seconds=_RETRY_AFTER_SECONDS)
    if payable is None:
        logger.info("webhook signed with secret %d names %r, which is not ours", position, invoice_id)
        return _answer(200, "ok")
    logger.info("webhook signed with secret %d: %s %r is %s", position, payable.KIND, payable.entry_id, payable.status)
    current_iterapay.dispatch_later(payable)
    return _answer(200, "ok")


def _answer(status: int, text: str, *, retry_after_seconds: int | None = None) -> Response:
    response = current_app.response_class(f"{text}\n", status=status, mimetype="text/plain")
    if retry_after_seconds is not None:
        response.retry_after = retry_after_seconds
    return response
