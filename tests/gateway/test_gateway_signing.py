"""Signatures of hints, against vectors that others can run too."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_iterapay.errors import SignatureError
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign, verify

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "signatures.json").read_text("utf-8"))
BODY = b"Hello, World!"
SECRET = "It's a Secret to Everybody"
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def vectors(kind):
    return [pytest.param(vector, id=vector["name"]) for vector in VECTORS[kind]]


def test_the_header_has_the_documented_name():
    """The header is the one that the guide names."""
    assert SIGNATURE_HEADER == "X-Iterapay-Signature"


def test_signing_gives_the_public_vector():
    """Our signature of GitHub's documented example is GitHub's, in lower-case hex."""
    assert sign(BODY, SECRET) == SIGNATURE


@pytest.mark.parametrize("vector", vectors("accepted"))
@pytest.mark.parametrize("encode", [str, str.encode], ids=["text", "bytes"])
def test_a_genuine_signature_tells_which_secret_made_it(vector, encode):
    """Each documented or likely spelling is accepted, and the position of its secret is returned."""
    body = base64.b64decode(vector["body_base64"])
    assert verify(body, encode(vector["header"]), vector["secrets"]) == vector["position"]


@pytest.mark.parametrize("vector", vectors("rejected"))
def test_anything_else_is_a_signature_error(vector):
    """Absent, malformed, truncated, doubled and foreign signatures all end in the one typed error."""
    with pytest.raises(SignatureError):
        verify(base64.b64decode(vector["body_base64"]), vector["header"], vector["secrets"])


@pytest.mark.parametrize("header", ["0" * 129, "sha256=" * 2_000_000, b"\xff" * 129])
def test_a_long_header_is_refused_by_its_length(header):
    """A header longer than any signature is not even looked at."""
    with pytest.raises(SignatureError, match="too long"):
        verify(BODY, header, [SECRET])


@pytest.mark.parametrize("header", [b"", b"\xff" * 64, b"\xc3\xa4" * 32, b"\x00" * 64, SIGNATURE.encode("utf-16")])
def test_hostile_bytes_are_a_signature_error(header):
    """Header bytes need be no text at all."""
    with pytest.raises(SignatureError):
        verify(BODY, header, [SECRET])


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "the signature header is missing or empty"),
        ("", "the signature header is missing or empty"),
        ("0" * 129, "the signature header is too long"),
        ("0" * 128, "the signature header is malformed"),
        (sign(BODY, "of somebody else"), "the signature was made with none of our secrets"),
    ],
    ids=["absent", "empty", "129 characters", "128 characters", "foreign"],
)
def test_the_reason_tells_what_to_mend(header, reason):
    """A proxy that drops the header, another way of writing it and a wrong secret are told apart in the shop's log."""
    with pytest.raises(SignatureError) as caught:
        verify(BODY, header, [SECRET])
    assert str(caught.value) == reason


def test_the_error_quotes_nothing_of_the_header():
    """What a stranger put into the header does not reach a log."""
    with pytest.raises(SignatureError) as caught:
        verify(BODY, "forged\r\nlog line", [SECRET])
    assert "forged" not in str(caught.value)


@settings(max_examples=50, deadline=None)
@given(body=st.binary(max_size=200), header=st.none() | st.text(max_size=150) | st.binary(max_size=150))
def test_no_header_raises_anything_but_a_signature_error(body, header):
    """Whatever the header holds, one typed error leaves; nothing guessed is ever accepted."""
    with pytest.raises(SignatureError):
        verify(body, header, ["", SECRET])


@settings(max_examples=50, deadline=None)
@given(
    body=st.binary(max_size=200),
    position=st.integers(0, 63),
    letter=st.sampled_from("0123456789abcdef"),
)
def test_a_changed_letter_is_never_accepted(body, position, letter):
    """Every letter of a signature counts."""
    signature = sign(body, SECRET)
    changed = signature[:position] + letter + signature[position + 1 :]
    if changed == signature:
        assert verify(body, changed, [SECRET]) == 0
    else:
        with pytest.raises(SignatureError):
            verify(body, changed, [SECRET])
