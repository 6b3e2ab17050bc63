"""The headers of our answers against shops that mean well, are careless, or replace half of Flask."""

import re

import pytest
from flask import Response, make_response, stream_with_context
from flask.testing import FlaskClient
from shops import Shop

from flask_iterapay import OrderStatus
from flask_iterapay.web.headers import merge_policies

OURS = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NONCE = "'nonce-cmFuZG9t'"
HASH = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
CDN = "https://cdn.example"
NAMES = [directive.split()[0] for directive in OURS.split("; ")]
LOOSE = (
    "default-src * data: blob: 'unsafe-inline' 'unsafe-eval'; script-src * 'unsafe-inline' 'strict-dynamic'; "
    "form-action *; base-uri *; frame-ancestors *; connect-src *; object-src *; worker-src *"
)


def read(policy: str) -> dict[str, list[str]]:
    """The sources of each directive."""
    return {name: sources for name, *sources in (directive.split() for directive in policy.split("; "))}


def added(*policies: str) -> dict[str, list[str]]:
    """What a shop's policies add to ours; everything of ours must be there, in its place."""
    ours, merged = read(OURS), read(merge_policies(tuple(policies)))
    assert list(merged)[: len(ours)] == list(ours)
    assert all(merged[name][: len(sources)] == sources for name, sources in ours.items())
    return {name: sources[len(ours.get(name, ())) :] for name, sources in merged.items() if sources != ours.get(name)}


class TestTakenOver:
    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (f"img-src {CDN}", {"img-src": [CDN]}),
            ("img-src cdn.example:8443/brand/", {"img-src": ["cdn.example:8443/brand/"]}),
            ("img-src *.cdn.example http://localhost:5173", {"img-src": ["*.cdn.example", "http://localhost:5173"]}),
            (f"font-src 'self' {CDN} data:", {"font-src": ["'self'", CDN]}),
            (f"STYLE-SRC 'self' {CDN} {HASH} {NONCE}", {"style-src": [CDN, HASH]}),
            (f"style-src *.cdn.example http://cdn.example {CDN}", {"style-src": [CDN]}),
            (f"img-src\x1f{CDN}; img-src\xa0{CDN}", {}),
            (f"media-src {CDN}", {"media-src": [CDN]}),
            (f"script-src 'self' {CDN} {NONCE} {HASH}", {"script-src": [NONCE, HASH]}),
            (f"img-src {CDN}; img-src https://second.example", {"img-src": [CDN]}),
            (f" ;; img-src\t{CDN} ;", {"img-src": [CDN]}),
            ("report-uri /csp https://log.example/csp", {"report-uri": ["/csp", "https://log.example/csp"]}),
            ("report-to csp", {"report-to": ["csp"]}),
            ("upgrade-insecure-requests", {"upgrade-insecure-requests": []}),
        ],
    )
    def test_what_brands_or_reports(self, policy, expected):
        """Hosts of pictures, fonts, styles and media, marks of styles and scripts, and where reports go."""
        assert added(policy) == expected

    def test_what_the_shop_allows_by_default_alone(self):
        """A browser falls back to the shop's default-src, and so is it read: for brands and marks, not for scripts."""
        brands = {"style-src": [CDN], "img-src": [CDN], "font-src": ["'self'", CDN], "media-src": ["'self'", CDN]}
        assert added(f"default-src 'self' {CDN}") == brands
        assert added(f"default-src 'none' {NONCE}") == {"script-src": [NONCE]}
        assert added(f"default-src {CDN}; img-src 'none'; style-src 'self'; media-src; font-src https:") == {}

    @pytest.mark.parametrize("join", [lambda *policies: policies, lambda *policies: [", ".join(policies)]])
    def test_of_several_policies_what_all_of_them_allow(self, join):
        """In several headers or in one; a policy that says nothing of pictures forbids none."""
        framing = "frame-ancestors 'self'; report-uri /second"
        assert added(*join(f"img-src {CDN}; report-uri /first", framing)) == {
            "img-src": [CDN],
            "report-uri": ["/first"],
        }
        assert added(*join(f"default-src 'none'; img-src {CDN} https://b.example", f"default-src {CDN}")) == {
            "img-src": [CDN]
        }
        assert added(*join(f"img-src {CDN}", "img-src 'none'")) == {}


class TestRefused:
    @pytest.mark.parametrize(
        "source",
        [
            "*",
            "https:",
            "http:",
            "data:",
            "blob:",
            "*.com",
            "https://*",
            "*:443",
            "'unsafe-inline'",
            "'unsafe-eval'",
            "'unsafe-hashes'",
            "'wasm-unsafe-eval'",
            "'strict-dynamic'",
            "unsafe-inline",
            "self",
            "none",
            "'none'",
            "'nonce-'",
            "'nonce-a b'",
            "'nonce-\"'",
            "nonce-cmFuZG9t",
            "'sha1-cmFuZG9t'",
            "https://cdn.example\u00e9",
            "https://user@cdn.example",
            "ftp://cdn.example",
            "https://cdn.example:*",
            "//cdn.example",
            "javascript:alert(1)",
        ],
    )
    def test_nothing_loosens_ours(self, source):
        """Wildcards, schemes, unsafe keywords and half a mark come to nothing under every name."""
        names = [*NAMES, "font-src", "media-src", "object-src", "script-src-elem", "worker-src"]
        assert {merge_policies((f"{name} {source}",)) for name in names} == {OURS}

    @pytest.mark.parametrize("name", ["script-src", "connect-src", "form-action", "base-uri", "frame-ancestors"])
    def test_no_host_runs_reads_receives_or_frames(self, name):
        """What reaches beyond pictures and styles is not a brand."""
        assert merge_policies((f"{name} 'self' {CDN}",)) == OURS

    @pytest.mark.parametrize(
        "policy",
        [
            "",
            ";",
            ",",
            ",;,;",
            "img-src",
            "sandbox allow-scripts",
            "require-trusted-types-for 'script'",
            "report-uri",
            "report-to \u00e9",
            "\x00",
            "img-src\x00https://cdn.example",
            "\u2028" * 9,
            "'" * 999,
            "default-src " * 999,
            "img-src https://" + "a." * 999,
            "img-src " + "-." * 999 + "!",
            LOOSE,
        ],
        ids=ascii,
    )
    def test_what_is_malformed_or_none_of_our_business_is_left_out(self, policy):
        """No policy raises, and none of these says anything that we would repeat."""
        assert merge_policies((policy,)) == OURS
        assert merge_policies((policy, policy)) == OURS

    def test_without_a_shops_policy_there_is_ours(self):
        """Word by word."""
        assert merge_policies(()) == OURS


class ShopResponse(Response):
    """A response class as a shop may have its own, with headers of its own, and something that it begins with."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.stamp = "made by the shop"

    def get_wsgi_headers(self, environ):
        headers = super().get_wsgi_headers(environ)
        headers["X-Brand"] = type(self).__mro__[2].__name__
        headers["Content-Security-Policy"] = LOOSE
        return headers


def check(answer, status: int = 200, *, is_stored: bool = False, policy: str = OURS) -> None:
    """An answer has this status and our headers, each of them once."""
    assert answer.status_code == status, answer.text
    assert answer.headers.getlist("Content-Security-Policy") == [policy]
    assert answer.headers.getlist("Referrer-Policy") == ["same-origin"]
    assert answer.headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert answer.headers.getlist("X-Robots-Tag") == ["noindex"]
    assert (answer.headers.getlist("Cache-Control") == ["no-store"]) is not is_stored
    answer.close()


def assign(response: Response) -> Response:
    """Put headers on every answer as extensions do."""
    response.headers["Content-Security-Policy"] = LOOSE
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "sniff"
    response.headers["X-Robots-Tag"] = "all"
    response.headers["Cache-Control"] = "public, max-age=600"
    return response


def set_defaults(response: Response) -> Response:
    """Put headers on every answer that does not have them."""
    response.headers.setdefault("Content-Security-Policy", LOOSE)
    response.headers.setdefault("Referrer-Policy", "unsafe-url")
    return response


def add(response: Response) -> Response:
    """Put further headers on every answer."""
    response.headers.add("Content-Security-Policy", LOOSE)
    response.headers.add("Content-Security-Policy", "default-src *, img-src *")
    response.headers.add("Referrer-Policy", "unsafe-url")
    return response


def remove(response: Response) -> Response:
    """Take all headers off every answer."""
    response.headers.clear()
    return response


def visit_everything(shop: Shop) -> None:
    """Check an answer of every kind."""
    client, path = shop.client, shop.place()
    for method in (client.get, client.head, client.options):
        check(method(path))
    check(client.get(f"{path}/status"))
    check(client.post(path, data={"method": "99"}), 422)
    check(client.post(path, data={"method": "1"}), 303)
    check(client.get("/pay/made-up"), 404)
    link = shop.create_link()
    visit = shop.state.links.receive_visitor("library", "1", reference="AAAA-BBBB-CCCC", visitor="v")
    mine = f"/pay/visits/{shop.state.visit_tokens.sign(visit.reference)}"
    for page in (link, mine, f"{mine}/status"):
        check(client.get(page))
    check(client.post(link, data={"method": "99"}), 422)
    check(client.post(f"{mine}/check"), 303)
    check(client.get("/pay/links/made-up"), 404)
    check(client.get("/pay/visits/made-up"), 404)
    check(client.post("/pay/webhook"), 401)
    check(client.get("/pay/sandbox/panel/"))
    check(client.get("/pay/sandbox/panel/nothing"), 404)


class TestLastWord:
    @pytest.mark.parametrize("change", [assign, set_defaults, add, remove])
    def test_whatever_a_shop_does_to_every_answer(self, tmp_path, change):
        """Pages, polls, forms, errors, the webhook and the panel keep our headers, and each is there once."""
        shop = Shop(tmp_path)
        shop.app.after_request(change)
        visit_everything(shop)

    @pytest.mark.parametrize("change", [assign, set_defaults, add])
    def test_files_too_and_they_may_be_stored(self, tmp_path, change):
        """A file is streamed past Werkzeug, asked for by its head alone, in part, and not sent twice."""
        shop = Shop(tmp_path)
        shop.app.after_request(change)
        first = shop.client.get("/pay/static/checkout.js", buffered=True)
        check(first, is_stored=True)
        tag = {"If-None-Match": first.headers["ETag"]}
        check(shop.client.get("/pay/static/checkout.js", headers=tag, buffered=True), 304, is_stored=True)
        check(shop.client.head("/pay/static/checkout.js", buffered=True), is_stored=True)
        check(shop.client.get("/pay/static/checkout.js", headers={"Range": "bytes=0-9"}), 206, is_stored=True)
        assert shop.client.get("/pay/static/none.js").status_code == 404

    def test_on_a_bug_that_nobody_foresaw(self, tmp_path):
        """The shop's own page of an internal error is on our address, and so under our policy."""
        shop = Shop(tmp_path, PROPAGATE_EXCEPTIONS=False)
        path = shop.place()
        shop.app.after_request(assign)
        shop.app.view_functions["iterapay.status"] = lambda token: 1 / 0
        check(shop.client.get(f"{path}/status"), 500)

    def test_over_a_response_class_of_the_shop(self, tmp_path):
        """It stays what it is, and does what it does; only our headers are not its to set."""
        shop = Shop(tmp_path)
        shop.app.response_class = ShopResponse
        seen: list[bool] = []

        @shop.app.after_request
        def look(response):
            seen.append(isinstance(response, ShopResponse))
            response.brand = "Marginalia"
            return response

        visit_everything(shop)
        assert all(seen)
        assert shop.client.get(shop.place()).headers["X-Brand"] == "ShopResponse"

    def test_each_answer_of_a_view_begins_as_one_of_the_shops(self, tmp_path):
        """A page, a poll and the webhook's answer are made by its class, and not just called one of it later."""
        shop = Shop(tmp_path)
        shop.app.response_class = ShopResponse
        stamps: list[str] = []

        @shop.app.after_request
        def look(response):
            stamps.append(response.stamp)
            return response

        path = shop.place()
        visit = shop.client.get(shop.create_link())
        answers = [shop.client.get(path), shop.client.get(f"{path}/status"), shop.client.post("/pay/webhook"), visit]
        assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
        assert stamps == ["made by the shop"] * 4

    def test_over_an_answer_that_is_streamed(self, tmp_path):
        """Nothing of it is read before it is sent."""
        shop = Shop(tmp_path)
        path, sent = shop.place(), []

        def stream(token):
            def produce():
                for part in "ab":
                    sent.append(part)
                    yield part

            return Response(stream_with_context(produce()), headers={"Content-Security-Policy": LOOSE})

        shop.app.view_functions["iterapay.status"] = stream
        answer = shop.client.get(f"{path}/status")
        assert sent == ["a"]
        assert answer.text == "ab"
        check(answer)

    def test_over_one_answer_that_is_given_twice(self, tmp_path):
        """A shop may make its error page once and hand it out for ever."""
        shop = Shop(tmp_path)
        page = Response("sorry")
        shop.app.view_functions["iterapay.status"] = lambda token: page
        for _ in range(3):
            check(shop.client.get(f"{shop.place()}/status"))

    def test_handlers_still_run_after_the_answer(self, tmp_path):
        """What was to happen when the answer is closed happens."""
        shop = Shop(tmp_path)
        shop.app.after_request(assign)
        path = shop.place()
        shop.choose(path)
        shop.act("pay_exact")
        shop.clock.advance(20)
        check(shop.client.get(path, buffered=True))
        assert shop.order().status is OrderStatus.PAID
        assert [event.order_id for event in shop.heard] == ["1042"]

    def test_pages_of_the_shop_are_the_shops(self, tmp_path):
        """Nothing of ours is on them."""
        shop = Shop(tmp_path)
        shop.app.get("/")(lambda: make_response("welcome"))
        shop.app.after_request(assign)
        answer = shop.client.get("/")
        assert answer.headers["Content-Security-Policy"] == LOOSE
        assert answer.headers["Cache-Control"] == "public, max-age=600"


class TestMerged:
    @pytest.mark.parametrize("change", ["__setitem__", "setdefault", "add"])
    def test_a_shops_brand_and_reports_are_on_every_page(self, tmp_path, change):
        """However the shop's policy came to be on the answer; its report-only policy stays as it is."""
        shop = Shop(tmp_path)

        @shop.app.after_request
        def brand(response):
            getattr(response.headers, change)("Content-Security-Policy", f"img-src {CDN} *; report-uri /csp")
            response.headers["Content-Security-Policy-Report-Only"] = LOOSE
            return response

        policy = f"{OURS.replace('data:', f'data: {CDN}')}; report-uri /csp"
        for path in (shop.place(), "/pay/made-up"):
            answer = shop.client.get(path)
            check(answer, answer.status_code, policy=policy)
            assert answer.headers["Content-Security-Policy-Report-Only"] == LOOSE

    def test_a_nonce_is_taken_from_each_answer_anew(self, tmp_path):
        """No answer carries the nonce of another."""
        shop, numbers = Shop(tmp_path), iter(range(10, 99))

        @shop.app.after_request
        def brand(response):
            response.headers["Content-Security-Policy"] = f"script-src 'nonce-{next(numbers)}'"
            return response

        def read_nonces(client: FlaskClient) -> list[str]:
            return re.findall("nonce-[0-9]+", client.get(path).headers["Content-Security-Policy"])

        path = shop.place()
        assert [read_nonces(shop.client) for _ in range(3)] == [["nonce-10"], ["nonce-11"], ["nonce-12"]]
