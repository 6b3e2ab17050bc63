"""What the fuzzer throws at the parsers, to be run as a command: ``python -m fuzz_targets NAME [libFuzzer options]``.

Each target takes bytes and lets nothing through but the typed errors of the parser that it is for: what else comes out
ends the process with a traceback. ``broken_...`` are targets with a bug in them, by which one sees that it is found.
"""

import hmac
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation

import atheris

with atheris.instrument_imports(include=["flask_iterapay"]):
    from itsdangerous import BadData, URLSafeSerializer

    from flask_iterapay.errors import AmountError, SignatureError
    from flask_iterapay.gateway import codec, signing
    from flask_iterapay.gateway.fields import CodecError
    from flask_iterapay.money import format_decimal, parse_decimal, parse_usd
    from flask_iterapay.web.tokens import TokenSigner

SECRETS = ["", "a-webhook-secret-of-at-least-32-characters"]
PARSERS = [
    getattr(codec, name) for name in sorted(codec.__all__) if name.startswith("parse_") and "problem" not in name
]
TOKENS = TokenSigner(["a secret key of this fuzzer"])
SIGNER = TOKENS._serializer.make_signer(TOKENS._serializer.salt)
SIGNED = TOKENS.sign("1042").split(".")
SHAPES = [
    {"id": "inv-1", "state": "paid", "amount": "100.00", "amlOk": True, "paymentMethodID": 1, "type": "onetime"},
    {"id": "t", "invoiceID": "inv-1", "amount": "1.5", "state": "confirmed", "createdAt": "2024-01-15T10:30:00Z"},
    {"address": "TRX9", "amount": "100.500000", "expiresAt": "2024-01-15T10:45:00+02:00", "methodID": "usdt"},
    {"id": 1, "name": "USDT-TRC20", "network": "TRON", "ticker": "USDT"},
    {"id": "m", "name": "Shop", "settings": {"webhookUrl": "https://shop.example/"}},
    {"url": "https://shop.example/", "createdAt": "2024-01-15T10:30:00Z", "token": "whsec_1", "secret": "x"},
]
WORDS = [
    "paid",
    "1.50",
    "2026-01-15T10:30:00Z",
    "2026-02-30 25:61:61.123456789-23:59",
    "NaN",
    "1e9",
    "..",
    "T\u00fc",
    "\n",
]


def signature(data: bytes) -> None:
    """A header that nobody signed is refused, as bytes and as text."""
    provider = atheris.FuzzedDataProvider(data)
    body = provider.ConsumeBytes(64)
    text = provider.ConsumeUnicode(140)
    for header in (text, text.encode("utf-8", "surrogatepass"), data):
        with suppress(SignatureError):
            signing.verify(body, header, SECRETS)
            raise AssertionError(f"accepted {header!r}")


def hint(data: bytes) -> None:
    """Any body names an invoice by a usable id, or none."""
    found = codec.find_invoice_id(data)
    assert found is None or (0 < len(found) <= 64 and found.isprintable())


def answer(data: bytes) -> None:
    """Any answer is one of the documented things or a ``CodecError``, whoever reads it."""
    title, detail = codec.parse_problem(data, secrets=("canary",))
    assert len(title) <= 200
    assert (title + detail).isprintable()
    for value in _read_values(data):
        for parse in PARSERS:
            with suppress(CodecError):
                parse(value)


def _read_values(data: bytes) -> Iterator[object]:
    """The bytes as JSON, if they are any, and as a recipe for an answer that is nearly right."""
    with suppress(CodecError):
        yield codec.decode(data)
    provider = atheris.FuzzedDataProvider(data)
    shape = provider.PickValueInList(SHAPES)
    item = {name: _make_odd(provider, 2) if provider.ConsumeBool() else value for name, value in shape.items()}
    yield from (item, [item], {"data": [item, _make_odd(provider, 2)], "total": _make_odd(provider, 1)})


def _make_odd(provider: atheris.FuzzedDataProvider, depth: int) -> object:
    """Anything that decoded JSON may hold in the place of something else."""
    kind = provider.ConsumeIntInRange(0, 6 if depth else 4)
    if kind == 0:
        return provider.PickValueInList([None, True, False, [], {}, *WORDS])
    if kind == 1:
        return provider.ConsumeUnicode(80)
    if kind == 2:
        return provider.ConsumeInt(12)
    if kind == 3:
        return Decimal(provider.ConsumeInt(8)).scaleb(provider.ConsumeIntInRange(-60, 60))
    if kind == 4:
        return str(provider.ConsumeInt(4))
    items = [_make_odd(provider, depth - 1) for _ in range(provider.ConsumeIntInRange(0, 4))]
    return items if kind == 5 else {provider.PickValueInList(["id", "data", "webhookUrl"]): item for item in items}


def token(data: bytes) -> None:
    """Nobody guesses a token, no text in its place breaks anything, and neither does what another purpose signed."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(200)
    for guess in (text, data.decode("latin-1"), data.decode("utf-8", "surrogateescape"), f"{text}.{SIGNED[1]}"):
        assert TOKENS.verify(guess) is None, guess
    for payload in (data, data.hex().encode(), b"." + data):
        order_id = TOKENS.verify(SIGNER.sign(payload).decode("latin-1"))
        assert order_id is None or isinstance(order_id, str)


def money(data: bytes) -> None:
    """An amount is plain and exact, or an ``AmountError``; whatever is taken is written back without a change."""
    provider = atheris.FuzzedDataProvider(data)
    number = provider.ConsumeInt(16)
    values = [data.decode("utf-8", "surrogateescape"), provider.ConsumeUnicode(80), number, number * 10**4400]
    for value in [*values, *_decimals(data.decode("latin-1")), provider.ConsumeFloat()]:
        with suppress(AmountError):
            amount = parse_decimal(value)
            assert re.fullmatch("[0-9]{1,30}([.][0-9]{1,30})?", format_decimal(amount))
        with suppress(AmountError):
            assert 0 < parse_usd(value) < 10**9


def _decimals(text: str) -> list[Decimal]:
    with suppress(ArithmeticError):
        return [Decimal(text)]
    return []


def broken_signature(data: bytes) -> None:
    """Compares texts, and so raises a ``TypeError`` once a letter is not ASCII."""
    header = atheris.FuzzedDataProvider(data).ConsumeUnicode(140)
    hmac.compare_digest(signing.sign(data, SECRETS[1]), header)


def broken_hint(data: bytes) -> None:
    """Takes what is JSON for an object."""
    with suppress(CodecError):
        codec.decode(data).get("invoiceID")


def broken_answer(data: bytes) -> None:
    """Turns the amount into a float."""
    for value in _read_values(data):
        if isinstance(value, dict) and isinstance(value.get("amount"), str):
            float(value["amount"])


def broken_token(data: bytes) -> None:
    """Hands the text to the serializer as it came."""
    with suppress(BadData):
        URLSafeSerializer("key").loads(data.decode("utf-8", "surrogateescape"))


def broken_money(data: bytes) -> None:
    """Leaves it to ``Decimal`` to say what a number is, and so meets NaN."""
    with suppress(InvalidOperation):
        int(Decimal(data.decode("latin-1")))


if __name__ == "__main__":
    target = globals()[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
