"""Signed hints, and what a forger makes of them: a seeded stream of bodies, headers and keys, one change or more away.

``find_signer`` says in words of its own whether a header is one of the spellings of a signature by one of the keys.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from flask_iterapay.errors import SignatureError

Verify = Callable[[bytes, str | bytes | None, Sequence[str]], int]

SECRETS = ("the-newest-secret-of-32-characters-or-more", "the-oldest-secret-of-32-characters-or-more")
BODIES = (
    b"",
    b"null",
    b'{"invoiceID": "inv-1", "state": "paid"}',
    b'{"event": "invoice.paid", "data": {"invoiceID": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "amount": "25.00"}}',
    '{"invoiceID": "inv-ü", "note": "\\u00fc \U0001f4b8"}'.encode(),
    b"\xff\xfe\x00not text at all",
)
_ODD_LETTERS = "0123456789abcdefABCDEF+/=-_ ,;\t\r\n\x00\x7fgGzÿéſK０Ａ\u202e\U0001f4b8\ud800"


@dataclass(frozen=True, slots=True)
class Case:
    """One delivery: a body, the header that claims to sign it, and the keys that the shop has."""

    body: bytes
    header: str | bytes | None
    secrets: tuple[str, ...] = SECRETS


def find_signer(case: Case) -> int | None:
    """Say which key made this header for this body: hex in any case or base64, with ``sha256=`` or without."""
    if case.header is None:
        return None
    text = case.header if isinstance(case.header, str) else case.header.decode("latin-1")
    for position, secret in enumerate(case.secrets):
        if secret and _is_spelling(text.removeprefix("sha256="), hmac.new(secret.encode(), case.body, hashlib.sha256)):
            return position
    return None


def _is_spelling(text: str, digest: "hmac.HMAC") -> bool:
    is_hex = text.isascii() and text.lower() == digest.hexdigest()
    return is_hex or text == base64.standard_b64encode(digest.digest()).decode()


def find_flaw(verify: Verify, *, count: int, seed: int) -> tuple[str | None, int]:
    """Try ``count`` forgeries, and the genuine deliveries that turn up among them.

    Returns what is wrong first, if anything is, and how many genuine deliveries were taken. Wrong is a forgery that is
    accepted, a genuine delivery that is refused or put down to another key, and any exception but a ``SignatureError``.
    """
    random = Random(seed)
    forged = genuine = 0
    while forged < count:
        case = make_case(random)
        signer = find_signer(case)
        try:
            position = verify(case.body, case.header, case.secrets)
        except SignatureError:
            position = None
        except Exception as error:
            return f"{error!r} for {case}", genuine
        if position != signer:
            return f"{position} instead of {signer} for {case}", genuine
        forged += signer is None
        genuine += signer is not None
    return None, genuine


def make_case(random: Random) -> Case:
    """A genuine delivery, changed in one place or a few; some changes leave it genuine, as another case of hex does."""
    body = random.choice(BODIES) + b" " * random.choice([0, 0, 0, 1])
    digest = hmac.new(random.choice(SECRETS).encode(), body, hashlib.sha256).digest()
    header = random.choice([digest.hex(), digest.hex(), base64.b64encode(digest).decode(), "sha256=" + digest.hex()])
    case = Case(body, header)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        case = random.choice(_CHANGES)(case, random)
    return case


def _change_bit_of_body(case: Case, random: Random) -> Case:
    if not case.body:
        return replace(case, body=b"\x00")
    body = bytearray(case.body)
    body[random.randrange(len(body))] ^= 1 << random.randrange(8)
    return replace(case, body=bytes(body))


def _change_length_of_body(case: Case, random: Random) -> Case:
    cut = random.randrange(len(case.body) + 1)
    return replace(case, body=random.choice([case.body[:cut], case.body + b"\n", b" " + case.body, case.body * 2]))


def _write_body_anew(case: Case, random: Random) -> Case:
    """The same JSON in another spelling."""
    try:
        value = json.loads(case.body)
    except ValueError:
        return replace(case, body=b"\xef\xbb\xbf" + case.body)
    options = random.choice([{"indent": 1}, {"separators": (",", ":")}, {"sort_keys": True}, {"ensure_ascii": False}])
    return replace(case, body=json.dumps(value, **options).encode())


def _change_letter(case: Case, random: Random) -> Case:
    text = _text(case)
    at = random.randrange(len(text) + 1)
    return replace(case, header=text[:at] + random.choice(_ODD_LETTERS) + text[at + random.choice([0, 1, 1]) :])


def _change_last_letters(case: Case, random: Random) -> Case:
    """Where base64 keeps bits that count for nothing, and its padding."""
    text = _text(case)
    cut = random.choice([1, 2, 3])
    return replace(case, header=text[:-cut] + "".join(random.choices("ABCDEFGHQRSTUVWXYZghwx0123489+/=", k=cut)))


def _change_case(case: Case, random: Random) -> Case:
    text = _text(case)
    return replace(case, header=random.choice([text.upper(), text.swapcase(), text.title(), text.capitalize()]))


def _truncate(case: Case, random: Random) -> Case:
    text = _text(case)
    cut = random.choice([0, 1, 2, 8, 32, len(text) - 1, random.randrange(len(text) + 1)])
    return replace(case, header=random.choice([text[:cut], text[cut:]]))


def _wrap(case: Case, random: Random) -> Case:
    text = _text(case)
    before = random.choice(["sha256=", "SHA256=", "sha1=", "v1=", "sha256:", "Bearer ", " ", "\t", '"', "0x", ""])
    return replace(case, header=before + text + random.choice(["", "", " ", "\r\n", "\n", '"', "\x00", "=", "=="]))


def _repeat(case: Case, random: Random) -> Case:
    """Two headers as servers join them, or one that goes on."""
    text = _text(case)
    other = random.choice([text, "0" * 64, ""])
    comma = random.choice([",", ", ", ";", "", "\n"])
    return replace(case, header=random.choice([text + comma + other, other + comma + text, text * 50]))


def _encode_otherwise(case: Case, random: Random) -> Case:
    text = _text(case)
    ascii_text = text.encode("ascii", "replace")
    others = [
        ascii_text,
        text.encode("utf-16", "replace"),
        base64.b64encode(ascii_text),
        base64.urlsafe_b64encode(ascii_text),
        ascii_text.hex(),
        bytes(byte | 0x80 for byte in ascii_text),
        "".join(chr(ord(letter) + 0xFEE0) if letter.isascii() and letter.isalnum() else letter for letter in text),
    ]
    return replace(case, header=random.choice(others))


def _replace_header(case: Case, random: Random) -> Case:
    digest = hashlib.sha256(case.body)
    headers: list[str | bytes | None] = [
        None,
        "",
        b"",
        "0" * 64,
        b"\xff" * 64,
        digest.hexdigest(),
        case.secrets[0] if case.secrets else "",
        random.randbytes(32).hex(),
        random.randbytes(random.randrange(140)),
        base64.b64encode(random.randbytes(32)).decode(),
    ]
    return replace(case, header=random.choice(headers))


def _sign_with_another_key(case: Case, random: Random) -> Case:
    """A key that is not the shop's, the empty one above all; a list of keys with a hole; another digest."""
    key = random.choice(["", "", " ", SECRETS[0][:-1], SECRETS[0].upper(), f"{SECRETS[0]}\n", ",".join(SECRETS)])
    secrets = random.choice([case.secrets, ("", *SECRETS), (*SECRETS, ""), ("",), ()])
    algorithm = random.choice(["sha256", "sha256", "sha512", "sha1", "sha3_256"])
    return replace(case, header=hmac.new(key.encode(), case.body, algorithm).hexdigest(), secrets=secrets)


def _text(case: Case) -> str:
    """The header as text, never empty, and cut short, since changes upon changes would make it grow without end."""
    text = case.header.decode("latin-1") if isinstance(case.header, bytes) else case.header
    return text[:200] if text else "0"


_CHANGES: tuple[Callable[[Case, Random], Case], ...] = (
    _change_bit_of_body,
    _change_length_of_body,
    _write_body_anew,
    _change_letter,
    _change_last_letters,
    _change_case,
    _truncate,
    _wrap,
    _repeat,
    _encode_otherwise,
    _replace_header,
    _sign_with_another_key,
)
