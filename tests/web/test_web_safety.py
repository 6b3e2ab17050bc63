"""What strangers, other sites and a hostile gateway may try on the pages, and what every answer carries against it."""

import io
import json
import re
from html.parser import HTMLParser

import httpx
import pytest
from flask import session
from flask_wtf.csrf import CSRFProtect
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer
from plain_shops import make_plain_shop
from shops import Shop, csrf_token

from flask_iterapay import IteraPay, OrderStatus, StoreUnavailableError
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.orders.stores.memory import MemoryStore
from flask_iterapay.web.tokens import TokenSigner
from flask_iterapay.web.webhook import MAX_BODY_BYTES

SECRET = "a-webhook-secret-of-at-least-32-characters"
HOSTILE = '"><script>alert(1)</script><b/onclick=x>'
EVIL_HEADERS = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "//evil.example",
    "Forwarded": "host=evil.example",
    "X-Original-URL": "https://evil.example/",
    "Referer": "https://evil.example/",
    "Origin": "https://evil.example",
}
EVIL_QUERY = "?next=https://evil.example/&return_url=https://evil.example/&back=https://evil.example/"


class Gateway:
    """Answers every call, with ``text`` wherever the contract leaves it to the gateway; refuses with it if told to."""

    def __init__(self, text: str = HOSTILE) -> None:
        self.text = text
        self.status = 200
        self.paths: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if self.status != 200:
            return httpx.Response(self.status, json={"title": self.text, "detail": self.text, "type": self.text})
        return httpx.Response(200, json=self._answer(request.url.path))

    def _answer(self, path: str) -> object:
        if path == "/payment_methods":
            return [{"id": 1, "name": self.text, "network": self.text, "ticker": self.text}]
        if path.endswith("/address"):
            return {"address": self.text, "amount": "25.150000", "expiresAt": "2026-01-15T10:45:00Z"}
        if path.endswith("/transactions/list"):
            return {"data": [], "total": 0}
        return {"id": "inv-1", "state": "pending", "amount": "25.00", "type": self.text, "description": self.text}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


class Links(HTMLParser):
    """Where a page leads and what it loads, and which tags and attributes it has."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]


class TestTokens:
    """A page is found with the token of its order, and with nothing else that the shop ever signs."""

    @pytest.mark.parametrize("suffix", ["", "/status"])
    def test_what_another_purpose_signed_opens_nothing(self, tmp_path, suffix):
        """A session, a CSRF token, a link of the shop's own or a payment link: the same page as for no token at all."""
        key = "a secret key of this test"
        shop = Shop(tmp_path)
        shop.place()
        with shop.app.test_request_context():
            cookie = shop.app.session_interface.get_signing_serializer(shop.app).dumps("1042")
        foreign = [
            URLSafeSerializer(key).dumps("1042"),
            URLSafeSerializer(key, salt="shop.mail").dumps("1042"),
            URLSafeTimedSerializer(key, salt="wtf-csrf-token").dumps("1042"),
            cookie,
            TokenSigner(["the key of another shop"]).sign("1042"),
        ]
        foreign += [state.sign("1042") for state in (shop.state.link_tokens, shop.state.visit_tokens)]
        absent = shop.client.get(f"/pay/{shop.state.tokens.sign('nobody')}{suffix}")
        assert absent.status_code == 404
        for token in foreign:
            answer = shop.client.get(f"/pay/{token}{suffix}")
            assert (answer.status_code, answer.data, answer.headers) == (404, absent.data, absent.headers)

    def test_a_token_opens_nothing_else_of_the_shop(self, tmp_path):
        """Nor is it taken for a session."""
        shop = Shop(tmp_path)
        shop.app.get("/who")(lambda: dict(session))
        token = shop.place().rpartition("/")[2]
        assert shop.client.get("/who", headers={"Cookie": f"session={token}"}).json == {}

    def test_a_foreign_order_takes_no_button(self, tmp_path):
        """Neither of the two forms does anything under a token that was made with another key."""
        shop = Shop(tmp_path)
        shop.place()
        path = f"/pay/{TokenSigner(['another key']).sign('1042')}"
        assert shop.client.post(path, data={"method": "1"}).status_code == 404
        assert shop.client.post(f"{path}/check").status_code == 404
        assert shop.order().status is OrderStatus.NEW

    @pytest.mark.parametrize("junk", ["~", " ", "é", "\u20ac", "!", "=", "\ud800", "\x00"])
    def test_a_token_has_no_second_spelling(self, junk):
        """Letters that base64 skips are no part of a token, and a lone surrogate is no error."""
        signer = TokenSigner(["key"])
        token = signer.sign("1042")
        assert signer.verify(token[:-5] + junk + token[-5:]) is None
        assert signer.verify(junk + token) is None

    def test_new_links_are_signed_with_the_newest_key(self, tmp_path):
        """The old key may be taken out as soon as the old links are forgotten."""
        shop = Shop(tmp_path, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["oldest", "old"])
        token = shop.place().rpartition("/")[2]
        assert TokenSigner(["new"]).verify(token) == "1042"
        assert all(shop.state.tokens.verify(TokenSigner([key]).sign("1042")) for key in ("oldest", "old", "new"))


class TestRedirects:
    """Where a customer is sent is the server's own decision, whatever the request says."""

    def test_nothing_in_a_request_sends_a_customer_elsewhere(self, tmp_path):
        """Choosing, checking, renewing and every page lead to paths of this site alone."""
        shop = Shop(tmp_path)
        path = shop.place(return_url="/thanks")
        form = {"method": "1", "next": "https://evil.example/", "return_url": "https://evil.example/"}
        for target in (path, f"{path}/check"):
            answer = shop.client.post(target + EVIL_QUERY, data=form, headers=EVIL_HEADERS)
            assert (answer.status_code, answer.location) == (303, path)
            assert "evil" not in str(answer.headers) + answer.text
        for target in (path, f"{path}/status", "/pay/made-up"):
            page = shop.client.get(target + EVIL_QUERY, headers=EVIL_HEADERS)
            assert "evil" not in str(page.headers) + page.text
        shop.act("pay_exact")
        shop.clock.advance(20)
        page = shop.client.get(path + EVIL_QUERY, headers=EVIL_HEADERS, buffered=True)
        assert "/thanks" in Links(page.text).targets
        assert all(re.match(r"/[^/\\]", target) for target in Links(page.text).targets)

    @pytest.mark.parametrize(
        "path", ["panel", "panel/", "panel//settings", "panel/settings", "panel/invoices/{invoice}"]
    )
    def test_the_panel_keeps_to_its_host(self, tmp_path, path):
        """Its forms, and the redirect that mends a missing slash, name no host at all."""
        shop = Shop(tmp_path)
        shop.choose(shop.place())
        target = f"/pay/sandbox/{path}".format(invoice=shop.order().current_invoice_id)
        for answer in (
            shop.client.get(target + EVIL_QUERY, headers=EVIL_HEADERS, buffered=True),
            shop.client.post(target, data={"action": "expire", **_evil_form()}, headers=EVIL_HEADERS, buffered=True),
        ):
            assert answer.status_code in (200, 303, 308, 404, 405)
            assert answer.location is None or re.match(r"/pay/sandbox/panel/", answer.location)
            assert "evil" not in (answer.location or "").partition("?")[0]

    @pytest.mark.parametrize(
        "path", ["\u20ac", "panel/\u20ac", "panel/invoices/\u202e\U0001f4b8", "\u00e9", "payment_methods\u20ac"]
    )
    def test_the_panel_takes_any_letters_for_a_path(self, tmp_path, path):
        """A page that is not there is a 404 in any script."""
        shop = Shop(tmp_path, PROPAGATE_EXCEPTIONS=False)
        assert shop.client.get(f"/pay/sandbox/{path}").status_code in (401, 404)

    def test_absolute_links_are_built_on_the_public_url(self, tmp_path):
        """In a mail that was written during a request to any host, and in what the sandbox delivers to."""
        shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL="https://shop.example")
        shop.app.get("/mail")(lambda: shop.iterapay.checkout_url(shop.iterapay.get_order("1042"), is_external=True))
        path = shop.place()
        assert shop.client.get("/mail", headers=EVIL_HEADERS).text == f"https://shop.example{path}"


def _evil_form() -> dict[str, str]:
    return {"back": "https://evil.example/", "next": "https://evil.example/"}


class BrokenStore(MemoryStore):
    """Finds nothing, ever, because the database is down."""

    def get(self, key):
        raise StoreUnavailableError("the database is down")

    get_by_ref = get


class TestHeaders:
    """Every answer of the blueprint forbids what is not needed, errors and redirects included."""

    @staticmethod
    def check(response, status: int) -> None:
        """The status, and the five headers."""
        assert response.status_code == status, response.text
        policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["base-uri"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert not re.search("unsafe|http:|https:|[*]", str(policy))
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Robots-Tag"] == "noindex"
        response.close()

    def test_on_pages_forms_and_polls(self, tmp_path):
        """Found and not found, taken and refused."""
        shop = Shop(tmp_path)
        path = shop.place()
        client = shop.client
        for method in ("get", "head", "options"):
            self.check(getattr(client, method)(path), 200)
        self.check(client.get(f"{path}/status"), 200)
        self.check(client.post(path, data={"method": "99"}), 422)
        self.check(client.post(path, data={"method": "1"}), 303)
        self.check(client.post(f"{path}/check"), 303)
        for made_up in (
            client.get("/pay/x"),
            client.get("/pay/x/status"),
            client.post("/pay/x"),
            client.head("/pay/x"),
        ):
            self.check(made_up, 404)

    def test_on_the_pages_of_payment_links(self, tmp_path):
        """On the link's own and on those of its visits, and on every refusal."""
        shop = Shop(tmp_path, ITERAPAY_ADDRESSES_PER_HOUR=1)
        path = shop.create_link()
        mine = shop.come(path)
        client = shop.client
        for method in ("get", "head", "options"):
            for page in (path, mine, f"{mine}/status"):
                self.check(getattr(client, method)(page), 200)
        self.check(client.get(f"{mine}/check"), 303)
        self.check(client.post(f"{mine}/check"), 303)
        self.check(client.post(path, data={"method": "99"}), 422)
        self.check(client.post(path, data={"method": "1", "visit": "one-visit-too-many"}), 429)
        for made_up in ("/pay/links/x", "/pay/visits/x", "/pay/visits/x/status"):
            self.check(client.get(made_up), 404)
        for made_up in ("/pay/links/x", "/pay/visits/x/check"):
            self.check(client.post(made_up), 404)

    def test_on_what_another_site_sent(self, tmp_path):
        """A form without its CSRF token."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        CSRFProtect(shop.app)
        for path in (shop.place(), shop.create_link()):
            self.check(shop.client.post(path, data={"method": "1"}), 400)
        for path in ("/pay/x/check", "/pay/links/x", "/pay/visits/x/check"):
            self.check(shop.client.post(path), 404)

    def test_on_every_answer_of_the_webhook(self, tmp_path):
        """It answers no browser, and is no exception all the same."""
        shop = Shop(tmp_path)
        headers = {SIGNATURE_HEADER: sign(b"{}", shop.state.settings.webhook_secrets[0])}
        self.check(shop.client.post("/pay/webhook", data=b"{}", headers=headers, content_type="application/json"), 200)
        self.check(shop.client.post("/pay/webhook", data=b"{}", content_type="application/json"), 401)
        self.check(shop.client.post("/pay/webhook", data=b" " * MAX_BODY_BYTES, content_type="text/plain"), 413)
        self.check(shop.client.post("/pay/webhook", data={"a": "b"}), 415)

    def test_while_something_is_broken(self, tmp_path, gateway):
        """A gateway or a database that is down, and a bug that nobody foresaw."""
        shop = make_plain_shop(tmp_path, gateway, PROPAGATE_EXCEPTIONS=False)
        path = shop.place()
        shop.client.get(path)
        gateway.status = 503
        self.check(shop.client.post(path, data={"method": "1"}), 503)
        shop.app.view_functions["iterapay.status"] = lambda token: 1 / 0
        self.check(shop.client.get(f"{path}/status"), 500)
        (tmp_path / "down").mkdir()
        down = Shop(tmp_path / "down", iterapay=IteraPay(store=BrokenStore()), PROPAGATE_EXCEPTIONS=False)
        pages = (
            f"/pay/{down.state.tokens.sign('1')}",
            "/pay/links/library",
            f"/pay/visits/{down.state.visit_tokens.sign('1')}",
        )
        for answer in (*(down.client.get(page) for page in pages), _send_hint(down)):
            self.check(answer, 503)

    def test_on_the_panel_inside_a_shop(self, tmp_path):
        """Pages, redirects, errors and what the gateway in it answers."""
        shop = Shop(tmp_path)
        get = shop.client.get
        self.check(get("/pay/sandbox/panel/"), 200)
        self.check(get("/pay/sandbox/panel/nothing"), 404)
        self.check(get("/pay/sandbox/panel"), 308)
        self.check(get("/pay/sandbox/payment_methods"), 401)
        self.check(shop.client.post("/pay/sandbox/panel/settings", data={"dialect": "x"}), 400)
        self.check(shop.client.post("/pay/sandbox/panel/settings"), 303)

    def test_a_shop_may_be_stricter_and_not_undone(self, tmp_path):
        """What the shop itself puts on all of its answers does not replace the policy."""
        shop = Shop(tmp_path)

        @shop.app.after_request
        def add(response):
            response.headers.setdefault("Content-Security-Policy", "default-src *")
            return response

        self.check(shop.client.get(shop.place()), 200)

    def test_cookies_are_the_shops_session_and_nothing_else(self, tmp_path):
        """The page needs it for its form, as the shop set it up; poll and webhook leave none."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True, SESSION_COOKIE_SECURE=True, SESSION_COOKIE_SAMESITE="Lax")
        path = shop.place()
        (cookie,) = shop.client.get(path).headers.getlist("Set-Cookie")
        assert re.fullmatch(r"session=[^;]+; Secure; HttpOnly; Path=/; SameSite=Lax", cookie)
        (cookie,) = shop.app.test_client().get(shop.create_link()).headers.getlist("Set-Cookie")
        assert re.fullmatch(r"session=[^;]+; Secure; HttpOnly; Path=/; SameSite=Lax", cookie)
        stranger = shop.app.test_client()
        for answer in (stranger.get(f"{path}/status"), stranger.post("/pay/webhook"), stranger.get("/pay/x")):
            assert "Set-Cookie" not in answer.headers


def _send_hint(shop: Shop, body: bytes = b'{"invoiceID": "inv-1"}'):
    headers = {SIGNATURE_HEADER: sign(body, shop.state.settings.webhook_secrets[0])}
    return shop.client.post("/pay/webhook", data=body, headers=headers, content_type="application/json", buffered=True)


class TestEscaping:
    def test_a_hostile_gateway_runs_nothing_on_the_page(self, tmp_path, gateway):
        """Methods, address and refusals are text on every page of the way, and no tag or attribute comes of them."""
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.place(description=HOSTILE, return_url="/thanks")
        pages = [shop.client.get(path).text]
        shop.choose(path)
        pages.append(shop.client.get(path).text)
        assert pages[-1].count("&lt;script&gt;") >= 3
        gateway.status = 500
        shop.clock.advance(20)
        pages += [shop.client.get(path).text, shop.client.post(f"{path}/check", follow_redirects=True).text]
        shop.place("2")
        for status in (400, 401, 404, 500):
            gateway.status = status
            pages.append(shop.client.post(shop.place("2"), data={"method": "1"}).text)
        for page in pages:
            links = Links(page)
            assert links.tags.count("script") == 1
            assert "b" not in links.tags
            assert not {name for name in links.attributes if name.startswith("on") or name == "style"}
            assert all(target.startswith("/") for target in links.targets)

    def test_words_of_a_refusal_stay_in_the_log(self, tmp_path, gateway):
        """A customer is told what to do, in the shop's own words."""
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.place()
        shop.client.get(path)
        gateway.text, gateway.status = "internal details", 403
        assert "internal details" not in shop.client.post(path, data={"method": "1"}).text

    def test_a_token_in_the_address_is_not_repeated(self, tmp_path):
        """The page of an order that is not there shows nothing of what was asked for."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        CSRFProtect(shop.app)
        for answer in (
            shop.client.get(f"/pay/{HOSTILE}"),
            shop.client.post(f"/pay/{HOSTILE}"),
            shop.client.get("/pay/zzz"),
        ):
            assert answer.status_code == 404
            assert "alert" not in answer.text
            assert "zzz" not in answer.text


class TestForms:
    @pytest.mark.parametrize(
        "body", ["NaN", "7", "null", "[1]", "[" * 5000, '{"method": "1"}', '{"method": {}}', "{", "\xff"]
    )
    @pytest.mark.parametrize("has_csrf", [False, True])
    def test_json_is_no_form(self, tmp_path, body, has_csrf):
        """Whatever it holds it chooses nothing, and is answered like a form that was sent empty."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=has_csrf, PROPAGATE_EXCEPTIONS=False)
        path = shop.place()
        answer = shop.client.post(path, data=body, content_type="application/json")
        assert answer.status_code == 422
        assert "USDT on TRON" in answer.text
        checked = shop.client.post(f"{path}/check", data=body, content_type="application/json")
        assert checked.status_code == (422 if has_csrf else 303)
        assert shop.order().invoices == ()


class TestCsrf:
    def test_the_panel_of_a_shop_wants_the_shops_token(self, tmp_path):
        """Nobody pays with play money, or breaks the gateway, from another site."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        CSRFProtect(shop.app)
        path = shop.place()
        shop.choose(path, csrf_token=csrf_token(shop.client.get(path).text))
        target = f"/pay/sandbox/panel/invoices/{shop.order().current_invoice_id}"
        assert shop.client.post(target, data={"action": "pay_exact"}).status_code == 404
        shop.clock.advance(20)
        assert "Send exactly" in shop.client.get(path).text
        token = csrf_token(shop.client.get(target).text)
        assert shop.client.post(target, data={"action": "pay_exact", "csrf_token": token}).status_code == 303
        shop.clock.advance(20)
        assert "Paid, thank you" in shop.client.get(path).text

    def test_a_token_of_another_session_is_refused(self, tmp_path):
        """An attacker has a session of his own, and its token is good for that one alone."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        CSRFProtect(shop.app)
        path = shop.place()
        stolen = csrf_token(shop.app.test_client().get(path).text)
        shop.client.get(path)
        for target in (path, f"{path}/check"):
            assert shop.client.post(target, data={"method": "1", "csrf_token": stolen}).status_code == 400
        assert shop.order().invoices == ()


class TestLogs:
    @pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\u2028", "\x0b", "\x1b[2K", "\x00", "\x85"])
    def test_nobody_writes_a_record_of_his_own(self, tmp_path, gateway, caplog, end):
        """Line ends from gateways, forms, headers, hints and addresses never reach the text of a record."""
        forged = f"x{end}CRITICAL flask_iterapay: all orders are paid"
        gateway.text = forged
        caplog.set_level("DEBUG", "flask_iterapay")
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.place()
        shop.client.get(path)
        for status in (400, 401, 403, 429, 500):
            gateway.status = status
            shop.client.post(path, data={"method": "1"})
        gateway.status = 200
        shop.client.post(path, data={"method": forged})
        shop.client.get(f"/pay/{forged}")
        for field in ("invoiceID", "event"):
            _send_hint(shop, json.dumps({field: forged}).encode())
        shop.client.post(
            "/pay/webhook", data=b"{}", headers={SIGNATURE_HEADER: forged.encode("ascii", "ignore").strip()[:1]}
        )
        lines = [record.getMessage() for record in caplog.records if record.name == "flask_iterapay"]
        assert len(lines) >= 5
        assert all(line.isprintable() for line in lines)

    def test_a_refusal_is_one_record(self, tmp_path, caplog):
        """A forged hint can fill a log only at the pace at which it is sent."""
        caplog.set_level("DEBUG", "flask_iterapay")
        shop = Shop(tmp_path)
        caplog.clear()
        for _ in range(3):
            shop.client.post("/pay/webhook", data=b"{}", headers={SIGNATURE_HEADER: "0" * 64})
        assert [record.levelname for record in caplog.records if record.name == "flask_iterapay"] == ["WARNING"] * 3


class TestWebhookSize:
    """A body of 64 KiB is too large however it comes, one byte less is read, and size comes before the signature."""

    @pytest.mark.parametrize(("length", "status"), [(MAX_BODY_BYTES - 1, 200), (MAX_BODY_BYTES, 413)])
    def test_chunked(self, tmp_path, length, status):
        """Without a length that was announced."""
        shop = Shop(tmp_path)
        body = b" " * length
        headers = {
            SIGNATURE_HEADER: sign(body, shop.state.settings.webhook_secrets[0]),
            "Transfer-Encoding": "chunked",
        }
        overrides = {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
        answer = shop.client.post(
            "/pay/webhook", headers=headers, content_type="application/json", environ_overrides=overrides
        )
        assert answer.status_code == status

    @pytest.mark.parametrize("claimed", [MAX_BODY_BYTES + 1, 10**12])
    def test_a_length_that_is_too_large_is_refused_unread(self, tmp_path, claimed):
        """Nobody has to send what he announces."""
        shop = Shop(tmp_path)
        body = io.BytesIO(b"{}" + b" " * MAX_BODY_BYTES)
        answer = shop.client.post(
            "/pay/webhook",
            content_type="application/json",
            environ_overrides={"wsgi.input": body, "CONTENT_LENGTH": str(claimed)},
        )
        assert answer.status_code == 413
        assert body.tell() == 0

    def test_an_unsigned_one_is_too_large_first(self, tmp_path, caplog):
        """No signature is computed over it."""
        shop = Shop(tmp_path)
        answer = shop.client.post("/pay/webhook", data=b"x" * MAX_BODY_BYTES, content_type="application/json")
        assert answer.status_code == 413
        assert "signature" not in caplog.text

    @pytest.mark.parametrize("shop_limit", [10, 10 * MAX_BODY_BYTES])
    def test_the_shops_own_limit_does_not_matter(self, tmp_path, shop_limit):
        """A shop that takes pictures takes no larger hints, and one that takes nothing still takes hints."""
        shop = Shop(tmp_path, MAX_CONTENT_LENGTH=shop_limit)
        assert _send_hint(shop).status_code == 200
        assert _send_hint(shop, b" " * MAX_BODY_BYTES).status_code == 413


class TestFlood:
    def test_many_polls_are_one_reading_an_interval(self, tmp_path, gateway):
        """However many tabs ask, and however they ask, the gateway hears of it once in fifteen seconds."""
        gateway.text = "USDT"
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.place()
        shop.choose(path)
        for interval in range(3):
            shop.clock.advance(16)
            before = gateway.paths.count("/merchants/m/invoices/inv-1")
            for _ in range(30):
                shop.client.get(f"{path}/status")
                shop.client.get(path)
                shop.client.post(f"{path}/check")
            assert gateway.paths.count("/merchants/m/invoices/inv-1") == before + 1, interval

    def test_made_up_tokens_and_forged_hints_reach_no_gateway(self, tmp_path, gateway):
        """What nobody signed costs a shop nothing but the answer."""
        shop = make_plain_shop(tmp_path, gateway)
        for number in range(30):
            shop.client.get(f"/pay/{number}")
            shop.client.post(f"/pay/{number}", data={"method": "1"})
            shop.client.post("/pay/webhook", data=b'{"invoiceID": "inv-1"}', headers={SIGNATURE_HEADER: "0" * 64})
        assert gateway.paths == []


def test_an_app_without_the_sandbox_has_no_panel(tmp_path, gateway):
    """Where real money moves the panel is as absent as any other page."""
    shop = make_plain_shop(tmp_path, gateway)
    for path in ("panel/", "panel/settings", "payment_methods"):
        assert shop.client.get(f"/pay/sandbox/{path}").status_code == 404
        assert shop.client.post(f"/pay/sandbox/{path}").status_code == 404
