"""Deposit addresses in the shapes of many networks, the same in every run; nobody has the keys of any of them."""

import hashlib
from collections.abc import Iterator
from itertools import cycle, islice

__all__ = ["make_addresses"]

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_HEX = "0123456789abcdefABCDEF"

_SHAPES = (
    ("T", _BASE58, 34),  # TRON
    ("0x", _HEX, 42),  # Ethereum and its kin, in the mixed case of their checksum
    ("bc1q", _BECH32, 42),
    ("BC1P", _BECH32.upper(), 62),  # a code with less to hold, since capitals have a mode of their own
    ("1", _BASE58, 34),
    ("3", _BASE58, 34),
    ("", _BASE58, 44),  # Solana
    ("r", _RIPPLE, 34),
    ("UQ", _BASE64, 48),  # TON
    ("addr1q", _BECH32, 103),  # Cardano
    ("bitcoincash:q", _BECH32, 54),
    ("", "0123456789", 20),  # digits alone, which have a mode of their own too
)


def make_addresses(count: int) -> list[str]:
    """Make that many addresses, the shapes in turn."""
    return list(islice(_make_all(), count))


def _make_all() -> Iterator[str]:
    for number, (prefix, letters, length) in enumerate(cycle(_SHAPES)):
        stream = hashlib.shake_256(str(number).encode()).digest(length)
        yield prefix + "".join(letters[byte % len(letters)] for byte in stream[len(prefix) :])
