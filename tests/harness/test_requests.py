"""Hostile requests to every route of two shops, with the gateway and the store whole and broken."""

import base64
import json
from contextlib import suppress

import pytest
from flask import request
from shops import Shop
from sieges import Siege, UnreliableStore

from example_shop import create_app
from example_shop.extensions import iterapay as example_iterapay
from flask_iterapay import IteraPay
from flask_iterapay.gateway.codec import find_invoice_id
from flask_iterapay.web.state import current_iterapay

pytestmark = pytest.mark.harness

SEED = 20260115


def besiege_small_shop(folder, **config):
    """A shop with nothing but the plugin, whose store breaks too, and whose clock is moved."""
    store = UnreliableStore()
    shop = Shop(folder, iterapay=IteraPay(store=store), PROPAGATE_EXCEPTIONS=False, **config)
    shop.iterapay.on("order.paid")(shop.hear)
    return Siege(app=shop.app, iterapay=shop.iterapay, store=store, advance=shop.clock.advance)


def besiege_example_shop(folder, *, has_csrf):
    """The whole example shop; the requests know the cookie of a customer with a cart."""
    config = {"TESTING": True, "PROPAGATE_EXCEPTIONS": False, "WTF_CSRF_ENABLED": has_csrf}
    app = create_app(config, instance_path=str(folder))
    client = app.test_client()
    with client.session_transaction() as session:
        session["cart"] = {"cart_id": "c", "quantities": {"ink": 1}}
    cookie = f"session={client.get_cookie('session').value}"
    return Siege(app=app, iterapay=example_iterapay, cookies=(cookie,))


SIEGES = {
    "the plugin alone": besiege_small_shop,
    "the example shop": lambda folder: besiege_example_shop(folder, has_csrf=False),
    "the example shop behind its CSRF protection": lambda folder: besiege_example_shop(folder, has_csrf=True),
}


@pytest.mark.parametrize("name", SIEGES)
def test_no_request_breaks_a_shop(name, tmp_path, scale, note_figure):
    """No foreign error, no 500, 503 only where something is broken, and nothing moved by whom it is none of."""
    count = scale(200, 6_700)
    siege = SIEGES[name](tmp_path)
    assert siege.run(count, seed=SEED) == []
    assert siege.seen.total() == count
    assert {endpoint for endpoint, _ in siege.seen} == {rule.endpoint for rule in siege.app.url_map.iter_rules()}
    note_figure(
        f"hostile requests: {name}", f"{count:,} sent, 0 foreign errors, 0 answers of 500, 0 orders and links harmed"
    )


def test_the_requests_reach_every_kind_of_answer(tmp_path):
    """A generator whose requests all failed at the door would find nothing behind it."""
    siege = besiege_small_shop(tmp_path)
    siege.run(1_500, seed=SEED)
    assert {200, 303, 400, 401, 404, 405, 413, 415, 422, 503} <= {code for _, code in siege.seen}
    for endpoint in ("link", "begin_visit", "visit", "check_visit", "visit_status"):
        codes = {code for name, code in siege.seen if name == f"iterapay.{endpoint}"}
        assert {303 if endpoint in ("begin_visit", "check_visit") else 200, 404, 503} <= codes, endpoint


def crash_on_letters(app):
    """A status route that takes every token for a number of its own base."""

    def status(token):
        return {"order": int(token.split(".")[0], 36)}

    app.view_functions["iterapay.status"] = status


def believe_tokens(app):
    """A button that reads the order id out of the token without asking who signed it."""

    def check(token):
        try:
            payload = token.split(".")[0]
            order_id = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            current_iterapay.service.poll(str(order_id))
            current_iterapay.service.cancel(str(order_id))
        except Exception:
            return "no", 404
        return "yes"

    app.view_functions["iterapay.check"] = check


def believe_visits(app):
    """A button that reads the reference out of the token without asking who signed it."""

    def check_visit(token):
        try:
            payload = token.split(".")[0]
            reference = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            current_iterapay.links.sync(current_iterapay.links.complete_visit(str(reference)).link_id)
        except Exception:
            return "no", 404
        return "yes"

    app.view_functions["iterapay.check_visit"] = check_visit


def give_to_everybody(app):
    """A page that gives out an address as soon as somebody looks at it."""
    link = app.view_functions["iterapay.link"]

    def give(address):
        link_id = current_iterapay.link_tokens.verify(address)
        if link_id:
            with suppress(Exception):
                current_iterapay.links.receive_visitor(link_id, "4", reference=address[:30], visitor="anybody")
        return link(address)

    app.view_functions["iterapay.link"] = give


def believe_hints(app):
    """A receiver that does not look at the signature."""

    def receive():
        try:
            invoice_id = find_invoice_id(request.get_data()) or ""
            current_iterapay.service.receive_hint(invoice_id) or current_iterapay.links.receive_hint(invoice_id)
        except Exception:
            return "later", 503 if request.headers.get("X") else 200
        return "ok"

    app.view_functions["iterapay.webhook.receive"] = receive


def show_tracebacks(app):
    """An error page for developers, with the answer of a polite one."""
    app.register_error_handler(404, lambda error: ("Traceback (most recent call last): ...", 404))
    app.view_functions["iterapay.checkout"] = lambda token: ("Traceback (most recent call last): ...", 404)


@pytest.mark.parametrize(
    ("plant", "finding"),
    [
        (crash_on_letters, "foreign error ValueError"),
        (believe_tokens, "changed an order of somebody else"),
        (believe_visits, "of somebody else"),
        (give_to_everybody, "made an invoice that nobody pressed a button for"),
        (believe_hints, "of somebody else"),
        (show_tracebacks, "shows a traceback"),
    ],
)
def test_a_bug_put_into_a_route_is_found(plant, finding, tmp_path):
    """Each within a few thousand requests, on a copy of the shop whose one view is wrong."""
    siege = besiege_small_shop(tmp_path)
    plant(siege.app)
    assert finding in str(siege.run(4_000, seed=SEED))
