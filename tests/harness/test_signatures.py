"""Forged signatures by the thousand: none is accepted, and nothing but one typed error leaves."""

import base64
import hashlib
import hmac
import json

import pytest
from forgeries import Case, find_flaw, find_signer

from flask_iterapay.errors import SignatureError
from flask_iterapay.gateway.signing import sign, verify

pytestmark = pytest.mark.harness

SEED = 20260115


def test_no_forgery_is_accepted(scale, note_figure):
    """Bodies, headers, encodings and keys changed in every way: only a true signature of these very bytes counts."""
    count = scale(20_000, 1_000_000)
    flaw, genuine = find_flaw(verify, count=count, seed=SEED)
    assert flaw is None
    # Otherwise a verify that refuses everything would pass.
    assert genuine > count / 100
    note_figure("mutated signatures", f"{count:,} tried, 0 accepted, 0 foreign errors; {genuine:,} genuine taken")


def test_the_oracle_knows_the_public_vector():
    """What the harness measures with agrees with GitHub's documented example, and with no neighbour of it."""
    header = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    case = Case(b"Hello, World!", header, ("It's a Secret to Everybody",))
    assert find_signer(case) == 0
    assert find_signer(Case(b"Hello, World!", header[:-1] + "8", case.secrets)) is None
    assert find_signer(Case(b"hello, World!", header, case.secrets)) is None


def prefix_verify(body, header, secrets):
    """Compares only as many characters as the header has."""
    text = str(header)
    return _first(sign(body, secret)[: len(text)] == text for secret in secrets if secret)


def reserialising_verify(body, header, secrets):
    """Signs what it understood of the body instead of its bytes."""
    try:
        return verify(json.dumps(json.loads(body)).encode(), header, secrets)
    except ValueError:
        return verify(body, header, secrets)


def empty_key_verify(body, header, secrets):
    """Takes a hole in the list of keys for a key."""
    return _first(hmac.compare_digest(sign(body, secret).encode(), _bytes(header)) for secret in secrets)


def text_verify(body, header, secrets):
    """Compares texts, which raises a ``TypeError`` for letters outside of ASCII."""
    if not isinstance(header, str):
        return verify(body, header, secrets)
    return _first(hmac.compare_digest(sign(body, secret), header) for secret in secrets if secret)


def lenient_base64_verify(body, header, secrets):
    """Decodes base64 as the standard library does: what is no letter of it is skipped, and spare bits are dropped."""
    try:
        claimed = base64.b64decode(_bytes(header))
    except ValueError:
        claimed = b""
    digests = [hmac.digest(secret.encode(), body, hashlib.sha256) for secret in secrets if secret]
    return digests.index(claimed) if claimed in digests else verify(body, header, secrets)


def _first(matches):
    found = list(matches)
    if True not in found:
        raise SignatureError("none of our secrets")
    return found.index(True)


def _bytes(header):
    return header.encode("utf-8", "replace") if isinstance(header, str) else header or b""


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (prefix_verify, "instead of None"),
        (reserialising_verify, "instead of None"),
        (empty_key_verify, "instead of None"),
        (text_verify, "TypeError"),
        (lenient_base64_verify, "instead of None"),
    ],
)
def test_a_broken_verify_is_found(broken, finding):
    """Each way in which others got it wrong turns the harness red within the counts of the normal run."""
    flaw, _ = find_flaw(_strict_about_the_rest(broken), count=20_000, seed=SEED)
    assert flaw is not None
    assert finding in flaw


def _strict_about_the_rest(broken):
    """Takes whatever the true one takes, so that only what the broken one takes or raises beyond it can be found."""

    def call(body, header, secrets):
        try:
            return verify(body, header, secrets)
        except SignatureError:
            return broken(body, header, secrets)

    return call
