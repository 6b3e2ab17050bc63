"""Tokens: signed, salted, rotated, and never guessable."""

import pytest
from itsdangerous import URLSafeSerializer

from flask_iterapay.web.tokens import TokenSigner


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
