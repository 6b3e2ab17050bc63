"""The signed receiver: every row of its table of answers, and CSRF protection from every side."""

import io
import json

import msgspec
import pytest
from flask import Blueprint, Flask, jsonify, request
from flask_wtf.csrf import CSRFProtect
from shops import Shop

from flask_iterapay import IteraPay, OrderStatus
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.web.webhook import MAX_BODY_BYTES


def send(shop: Shop, body: bytes, *, signature: str | None = None, path: str = "/pay/webhook", **arguments):
    """Post a webhook, signed with the shop's secret unless told otherwise."""
    if signature is None:
        signature = sign(body, shop.state.settings.webhook_secrets[0])
    arguments.setdefault("content_type", "application/json")
    return shop.client.post(path, data=body, headers={SIGNATURE_HEADER: signature}, buffered=True, **arguments)


def hint(shop: Shop) -> bytes:
    return json.dumps({"event": "invoice.paid", "data": {"invoiceID": shop.order().current_invoice_id}}).encode()


@pytest.fixture
def waiting(shop: Shop) -> Shop:
    """A shop with one order that waits for its payment."""
    shop.choose(shop.place())
    return shop


class TestAnswers:
    def test_a_hint_about_a_paid_invoice_pays_the_order(self, waiting: Shop):
        """Verified, read at the gateway, saved, handed out."""
        waiting.act("pay_exact")
        assert send(waiting, hint(waiting)).status_code == 200
        assert waiting.order().status is OrderStatus.PAID
        assert [event.key for event in waiting.heard] == ["order.paid:1042"]

    def test_a_hint_that_the_api_does_not_confirm_changes_nothing(self, waiting: Shop):
        """The body may claim what it likes."""
        body = json.dumps({"invoiceID": waiting.order().current_invoice_id, "state": "paid", "amlOk": True}).encode()
        assert send(waiting, body).status_code == 200
        assert waiting.order().status is OrderStatus.AWAITING_PAYMENT

    @pytest.mark.parametrize("signature", ["", "0" * 64, "sha256=", "é" * 64, "x" * 100_000, "a,b"])
    def test_a_wrong_signature_is_401_and_writes_nothing(self, waiting: Shop, signature):
        """One constant answer; the order is not even read again."""
        waiting.act("pay_exact")
        before = waiting.order()
        response = send(waiting, hint(waiting), signature=signature)
        assert (response.status_code, response.text) == (401, "signature missing or wrong\n")
        assert waiting.order() == before

    def test_no_signature_is_401(self, waiting: Shop):
        """A header that is absent is a signature that is wrong."""
        assert waiting.client.post("/pay/webhook", data=hint(waiting)).status_code == 401

    def test_only_the_raw_bytes_verify(self, waiting: Shop):
        """The same JSON, written another way, is another body."""
        body = hint(waiting)
        signature = sign(body, waiting.state.settings.webhook_secrets[0])
        assert send(waiting, json.dumps(json.loads(body), indent=1).encode(), signature=signature).status_code == 401

    @pytest.mark.parametrize("length", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
    def test_a_huge_body_is_413_even_if_signed(self, shop: Shop, length):
        """The cap comes before the signature."""
        assert send(shop, b" " * length).status_code == 413

    def test_a_chunked_body_at_the_cap_is_413(self, shop: Shop):
        """A server may cut a chunked body at the cap without a word, so a full buffer is too large."""
        response = shop.client.post(
            "/pay/webhook",
            headers={SIGNATURE_HEADER: "0" * 64, "Transfer-Encoding": "chunked"},
            content_type="application/json",
            environ_overrides={
                "wsgi.input": io.BytesIO(b" " * (MAX_BODY_BYTES + 10)),
                "wsgi.input_terminated": True,
            },
        )
        assert response.status_code == 413

    def test_the_largest_body_below_the_cap_is_read(self, shop: Shop):
        """One byte less is a body like any other."""
        assert send(shop, b" " * (MAX_BODY_BYTES - 1)).status_code == 200

    @pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
    def test_a_form_is_415(self, shop: Shop, content_type):
        """What a form parser may have eaten cannot be verified."""
        assert send(shop, b"a=b", content_type=content_type).status_code == 415

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b"7",
            b'"text"',
            b"{}",
            b"NaN",
            b'{"invoiceID": NaN}',
            b'\xef\xbb\xbf{"invoiceID": "x"}',
            b"\xff\xfe",
            b"[" * 30_000,
            b'{"invoiceID": ' + b"9" * 5000 + b"}",
            b'{"invoiceID": "not-ours", "event": "whatever"}',
            b'{"data": {"data": {"data": {}}}}',
        ],
        ids=lambda body: body[:16].decode("latin-1"),
    )
    def test_signed_garbage_is_200_and_changes_nothing(self, waiting: Shop, body):
        """Nothing that is authentic is worth a retry, and nothing breaks."""
        before = waiting.order()
        assert send(waiting, body).status_code == 200
        assert waiting.order() == before

    def test_a_gateway_that_is_down_is_503_and_reconcile_completes_it(self, waiting: Shop):
        """The sender may try again; if it does not, the order is due all the same."""
        waiting.act("pay_exact")
        waiting.break_gateway()
        response = send(waiting, hint(waiting))
        waiting.mend_gateway()
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        waiting.clock.advance(60)
        with waiting.app.app_context():
            waiting.iterapay.reconcile()
        assert waiting.order().status is OrderStatus.PAID
        assert len(waiting.heard) == 1

    def test_every_configured_secret_verifies_and_the_log_says_which(self, tmp_path, caplog):
        """Rotation: the old secret is good until it is taken out."""
        caplog.set_level("INFO", "flask_iterapay")
        secrets = ["the-newest-secret-of-32-characters-or-more", "the-oldest-secret-of-32-characters-or-more"]
        shop = Shop(tmp_path, ITERAPAY_WEBHOOK_SECRETS=secrets)
        body = b'{"invoiceID": "not-ours"}'
        for position, secret in enumerate(secrets):
            assert send(shop, body, signature=sign(body, secret)).status_code == 200
            assert f"secret {position}" in caplog.text
        assert not any(secret in caplog.text for secret in secrets)
        assert send(shop, body, signature=sign(body, "another-secret-of-32-characters-or-more")).status_code == 401

    def test_duplicates_pay_once(self, waiting: Shop):
        """Ten deliveries, one event."""
        waiting.act("pay_exact")
        for _ in range(10):
            assert send(waiting, hint(waiting)).status_code == 200
        assert [event.key for event in waiting.heard] == ["order.paid:1042"]

    def test_a_handler_that_raises_does_not_change_the_answer(self, waiting: Shop):
        """The gateway hears that the hint was taken; the handler is tried again."""
        calls = []

        def fail(event):
            calls.append(event.key)
            raise RuntimeError("the warehouse is closed")

        waiting.iterapay.on("order.paid")(fail)
        waiting.act("pay_exact")
        assert send(waiting, hint(waiting)).status_code == 200
        assert calls == ["order.paid:1042"]
        assert len(waiting.heard) == 1
        waiting.clock.advance(10)
        with waiting.app.app_context():
            waiting.iterapay.reconcile()
        assert calls == ["order.paid:1042"] * 2
        assert len(waiting.heard) == 1


class TestCsrfExemption:
    """CSRFProtect may come first, last or not at all, and the blueprint may be nested."""

    @pytest.mark.parametrize("order", ["csrf, init, register", "init, csrf, register", "init, register, csrf"])
    @pytest.mark.parametrize("is_nested", [False, True], ids=["flat", "nested"])
    def test_the_webhook_is_exempt_however_the_shop_initialises(self, tmp_path, order, is_nested):
        """And only the webhook: the checkout form stays protected."""
        iterapay = IteraPay()
        app = Flask("shop", instance_path=str(tmp_path))
        app.config.update(TESTING=True, SECRET_KEY="key", ITERAPAY_SANDBOX=True)

        def register():
            if not is_nested:
                app.register_blueprint(iterapay.blueprint, url_prefix="/pay")
                return
            parent = Blueprint("parent", "shop")
            parent.register_blueprint(iterapay.blueprint, url_prefix="/pay")
            app.register_blueprint(parent)

        steps = {"csrf": lambda: CSRFProtect(app), "init": lambda: iterapay.init_app(app), "register": register}
        for step in order.split(", "):
            steps[step]()
        app.post("/other")(lambda: "not protected")
        client = app.test_client()
        body = b"{}"
        signature = sign(body, app.extensions["iterapay"].settings.webhook_secrets[0])
        assert client.post("/pay/webhook", data=body, headers={SIGNATURE_HEADER: signature}).status_code == 200
        assert client.post("/other").status_code == 400
        with app.app_context():
            path = iterapay.checkout_url(iterapay.place_order("1042", amount=1))
        refused = client.post(path, data={"method": "1"})
        assert refused.status_code == 400
        assert "USDT on TRON" in refused.text
        assert client.post(f"{path}/check").status_code == 400

    def test_a_function_of_the_shop_with_the_same_name_is_not_exempt(self, tmp_path):
        """The exemption is the blueprint's, not that of every function called like ours."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        CSRFProtect(shop.app)

        def receive():
            return "not protected"

        receive.__module__ = "flask_iterapay.web.webhook"
        shop.app.post("/receive")(receive)
        assert shop.client.post("/receive").status_code == 400

    def test_a_shop_that_reads_the_form_first_does_not_break_the_signature(self, tmp_path):
        """A before_request that touches request.form leaves a JSON body alone."""
        shop = Shop(tmp_path)
        shop.app.before_request(lambda: request.form.get("x"))
        assert send(shop, b"{}").status_code == 200


def test_what_is_handed_out_can_be_written_as_json(tmp_path) -> None:
    """As ``docs/handlers.md`` says: an order with its events, an event, a report, a link."""
    shop = Shop(tmp_path)
    shop.choose(shop.place())
    shop.act("pay_exact")
    shop.clock.advance(60)
    with shop.app.test_request_context():
        report = shop.iterapay.reconcile()
        shop.create_link()
        values = [report, shop.order(), *shop.heard, shop.link()]
        texts = [jsonify(msgspec.to_builtins(value)).json for value in values]
    assert len(texts) == 4
    assert (texts[1]["status"], texts[1]["amount"], texts[2]["key"]) == ("paid", "25.00", "order.paid:1042")
