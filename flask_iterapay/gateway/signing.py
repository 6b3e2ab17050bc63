"""Signatures of hints: HMAC-SHA256 over the raw body (contract section 3.6).

What the documentation does not say, and we assume: the digest is written in hex (any case) or in standard base64
with padding, with or without ``sha256=`` in front, and one header carries one signature. A header that equals the
webhook's token is refused like any other text (contract C25): it would not be bound to the body.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

from ..errors import SignatureError

__all__ = ["SIGNATURE_HEADER", "sign", "verify"]

SIGNATURE_HEADER = "X-Iterapay-Signature"

_MAX_HEADER_LENGTH = 128
# 32 bytes are 43 base64 characters, and the last of them carries only four bits: any other letter there would be a
# second spelling of the same digest.
_SIGNATURE = re.compile(rb"(?:sha256=)?(?:([0-9A-Fa-f]{64})|([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=))")


def sign(body: bytes, secret: str) -> str:
    """Write the signature of a body as lower-case hex."""
    return _digest(body, secret).hex()


def verify(body: bytes, header: str | bytes | None, secrets: Sequence[str]) -> int:
    """Return the position of the secret that signed this body.

    Every secret is tried, whichever matches; an empty one matches nothing.

    Raises:
        SignatureError: the header is absent, oversized, malformed, or made with none of the secrets. No other
            exception leaves this function, whatever the header holds.
    """
    claimed = _parse_header(header)
    matches = [hmac.compare_digest(_digest(body, secret), claimed) and secret != "" for secret in secrets]
    if True not in matches:
        raise SignatureError("the signature was made with none of our secrets")
    return matches.index(True)


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), body, hashlib.sha256)


def _parse_header(header: str | bytes | None) -> bytes:
    if not header:
        raise SignatureError("the signature header is missing or empty")
    if len(header) > _MAX_HEADER_LENGTH:
        raise SignatureError("the signature header is too long")
    if isinstance(header, str):
        # Whatever is not ASCII becomes a question mark, which no signature contains.
        header = header.encode("ascii", "replace")
    found = _SIGNATURE.fullmatch(header)
    if found is None:
        raise SignatureError("the signature header is malformed")
    hexadecimal, base64_text = found.groups()
    return bytes.fromhex(hexadecimal.decode()) if hexadecimal else base64.b64decode(base64_text)
