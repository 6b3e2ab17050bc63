"""Tokens: signed, salted, rotated, and never guessable."""

import base64
import gc
import hmac
import weakref

import pytest
from itsdangerous import URLSafeSerializer

from flask_iterapay.web.tokens import TokenSigner

PURPOSES = ("checkout", "link", "visit")


def to_base64(value):
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def test_a_token_leads_back_to_its_order():
    """Whatever an order id may contain survives the trip through an address."""
    for order_id in ("1042", "a/b?c#d", "Bestellung №5", "x" * 64):
        assert TokenSigner(["key"]).verify(TokenSigner(["key"]).sign(order_id)) == order_id


@pytest.mark.parametrize("token", ["", ".", "1042", "a.b", "é.é", "\x00", "x" * 10_000])
def test_what_we_did_not_sign_is_nothing(token):
    """A made-up token has no order, and raises nothing."""
    assert TokenSigner(["key"]).verify(token) is None


def test_every_changed_character_breaks_a_token():
    """There is no token beside the one that was signed."""
    signer = TokenSigner(["key"])
    token = signer.sign("1042")
    for position, character in enumerate(token):
        # The last character of base64 carries spare bits, so a neighbour could decode to the same bytes.
        other = "A" if character != "A" else "Q"
        assert signer.verify(token[:position] + other + token[position + 1 :]) is None


def test_a_token_of_another_purpose_is_refused():
    """The salt keeps what the shop signs elsewhere from opening a page."""
    assert TokenSigner(["key"]).verify(URLSafeSerializer("key").dumps("1042")) is None


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_token_is_good_for_its_own_purpose_alone(purpose):
    """The page of an order, of a payment link and of a visit are three things, even under one id."""
    token = TokenSigner(["key"], purpose=purpose).sign("1042")
    assert [other for other in PURPOSES if TokenSigner(["key"], purpose=other).verify(token)] == [purpose]


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_token_is_made_as_it_always_was(purpose):
    """Links that customers have kept outlive releases: HMAC-SHA256 of the id, under a key for this purpose."""
    key = hmac.digest(b"key", f"flask-iterapay.{purpose}.v1".encode(), "sha256")
    payload = to_base64(b'"1042"')
    signature = to_base64(hmac.digest(key, payload.encode(), "sha256"))
    assert TokenSigner(["key"], purpose=purpose).sign("1042") == f"{payload}.{signature}"
    assert (TokenSigner(["key"]).sign("1042") == f"{payload}.{signature}") is (purpose == "checkout")


def test_a_key_may_be_text_or_bytes():
    """Flask takes either for ``SECRET_KEY``, and a shop may change from one to the other."""
    text, both = TokenSigner(["kéy"]), TokenSigner(["old", "kéy".encode()])
    assert both.sign("1042") == text.sign("1042")
    assert both.verify(text.sign("1042")) == "1042"


def test_old_keys_verify_and_the_newest_signs():
    """Rotation keeps the links that were sent before, and none outlives its key."""
    old, rotated, new = TokenSigner(["old"]), TokenSigner(["old", "new"]), TokenSigner(["new"])
    assert rotated.verify(old.sign("1042")) == "1042"
    assert new.verify(rotated.sign("1042")) == "1042"
    assert new.verify(old.sign("1042")) is None


def test_only_a_string_is_an_order_id():
    """A signed value of another shape is refused, should a later release ever sign one."""
    signer = TokenSigner(["key"])
    assert signer.verify(signer._serializer.dumps(["1042"])) is None


def test_what_is_asked_again_is_answered_alike():
    """Whether the answer is remembered or worked out anew, and for more tokens than are remembered."""
    signer = TokenSigner(["key"])
    tokens = {signer.sign(str(number)): str(number) for number in range(1100)}
    for _ in range(2):
        assert [signer.verify(token) for token in tokens] == list(tokens.values())
        assert signer.verify("made.up") is None
        assert signer.verify(next(iter(tokens))) == "0"
    assert TokenSigner(["another key"]).verify(next(iter(tokens))) is None


def test_no_more_is_remembered_than_a_thousand_tokens():
    """Strangers may ask for as many pages as they like: the memory of the process does not grow by it."""

    class Text(str):
        """A text that tells when it is forgotten."""

    signer, remembered = TokenSigner(["key"]), weakref.WeakSet()
    for number in range(1100):
        token = Text(f"made-up.{number}")
        remembered.add(token)
        signer.verify(token)
    del token
    gc.collect()
    assert len(remembered) == 1024
