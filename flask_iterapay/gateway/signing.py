"""Signatures of hints: HMAC-SHA256 over the raw body (contract section 3.6).

What the documentation does not say, and we assume: the digest is written in hex (any case) or in standard base64
with padding, with or without ``sha256=`` in front, and one header carries one signature. A header that equals the
webhook's token is refused like any other text (contract C25): it would not be bound to the body.
"""

import base64
import re
from collections.abc import Sequence
from hmac import compare_digest, digest

from ..errors import SignatureError

__all__ = ["SIGNATURE_HEADER", "sign", "verify"]

SIGNATURE_HEADER = "X-Iterapay-Signature"

_MAX_HEADER_LENGTH = 128
# 32 bytes are 43 base64 characters, and the last of them carries only four bits: any other letter there would be a
# second spelling of the same digest.
_match_signature = re.compile(r"(?:sha256=)?(?:([0-9A-Fa-f]{64})|([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=))").fullmatch


def sign(body: bytes, secret: str) -> str:
    """Write the signature of a body as lower-case hex."""
    return digest(secret.encode(), body, "sha256").hex()


def verify(body: bytes, header: str | bytes | None, secrets: Sequence[str]) -> int:
    """Return the position of the secret that signed this body.

    Every secret is tried, whichever matches; an empty one matches nothing.

    Raises:
        SignatureError: the header is absent, oversized, malformed, or made with none of the secrets. No other
            exception leaves this function, whatever the header holds.
    """
    claimed = _parse_header(header)
    found = None
    for position, secret in enumerate(secrets):
        if compare_digest(digest(secret.encode(), body, "sha256"), claimed) and secret and found is None:
            found = position
    if found is None:
        raise SignatureError("the signature was made with none of our secrets")
    return found


def _parse_header(header: str | bytes | None) -> bytes:
    if not header:
        raise SignatureError("the signature header is missing or empty")
    if len(header) > _MAX_HEADER_LENGTH:
        raise SignatureError("the signature header is too long")
    if isinstance(header, bytes):
        # Whatever is not ASCII becomes a replacement character, which no signature contains.
        header = header.decode("ascii", "replace")
    found = _match_signature(header)
    if found is None:
        raise SignatureError("the signature header is malformed")
    in_hex, in_base64 = found.groups()
    return bytes.fromhex(in_hex) if in_hex else base64.b64decode(in_base64)
