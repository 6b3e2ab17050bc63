"""The token in a page's address: an id of the shop's, signed, so that no page can be guessed.

It is not secret: the shop's id can be read in it. It does not expire, because a customer may come back to a page at any
time.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from itsdangerous import BadData, URLSafeSerializer

__all__ = ["TokenSigner"]

# The salt sets these tokens apart from everything else that the shop signs with the same key.
_SALT = "flask-iterapay.{purpose}.v1"
# itsdangerous skips what is not base64, which would give each token many spellings, and fails on lone surrogates.
_TOKEN = re.compile(r"[A-Za-z0-9_.-]+")
_REMEMBERED = 1024


class TokenSigner:
    """Signs ids with the newest of the app's secret keys and verifies with all of them.

    ``secret_keys`` are oldest first, as itsdangerous has it: ``[*SECRET_KEY_FALLBACKS, SECRET_KEY]``. What was signed
    for one ``purpose`` is nothing to another.
    """

    def __init__(self, secret_keys: Sequence[str | bytes], *, purpose: str = "checkout") -> None:
        keys = [key.encode() if isinstance(key, str) else key for key in secret_keys]
        self._serializer = URLSafeSerializer(
            keys,
            salt=_SALT.format(purpose=purpose),
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        # Each page that is open asks every few seconds, under the same token.
        self._verify_once = lru_cache(maxsize=_REMEMBERED)(self._verify)

    def sign(self, entry_id: str) -> str:
        """Make the token of an id; URL-safe."""
        return self._serializer.dumps(entry_id)

    def verify(self, token: str) -> str | None:
        """Return the id that a token was made for, or ``None`` if it was not made by us for this purpose."""
        return self._verify_once(token)

    def _verify(self, token: str) -> str | None:
        if not _TOKEN.fullmatch(token):
            return None
        try:
            entry_id = self._serializer.loads(token)
        except BadData:
            return None
        return entry_id if isinstance(entry_id, str) else None
