"""The visitor's routes over the sandbox: from a link's page to its money, and every answer that is not a page."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask_wtf.csrf import CSRFProtect
from itsdangerous import URLSafeSerializer, URLSafeTimedSerializer
from jinja2 import StrictUndefined
from plain_shops import make_plain_shop
from screens import FragileStore, be_refused, close, make_shop, prepare_link
from shops import Shop, csrf_token
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from flask_iterapay import ContributionStatus, IteraPay, LinkStatus
from flask_iterapay.gateway.signing import SIGNATURE_HEADER, sign
from flask_iterapay.web.tokens import TokenSigner

LIBRARY = {"description": "Notebooks for the library", "minimum": "20.00"}
NONCE = "the-visit-of-one-form"
TOLD = {"transaction_detail": "told", "reusable_address": "new"}
HOSTILE = '"><script>alert(1)</script><b/onclick=x>'
EVIL_HEADERS = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "//evil.example",
    "Forwarded": "host=evil.example",
    "Referer": "https://evil.example/",
    "Origin": "https://evil.example",
}
EVIL_QUERY = "?next=https://evil.example/&back=https://evil.example/&address=evil"
# All that a link's page and a visit's can be asked for, and how.
OF_LINKS = (("GET", ""), ("POST", ""))
OF_VISITS = (("GET", ""), ("GET", "/status"), ("GET", "/check"), ("POST", "/check"))


@pytest.fixture
def path(shop: Shop) -> str:
    """The page of a link with a minimum and without a slug."""
    return shop.create_link(**LIBRARY)


def count_at_gateway(shop: Shop) -> tuple[int, int]:
    """How many invoices the sandbox has made, and how many addresses it has given out."""
    invoices = shop.state.sandbox.extensions["iterapay_sandbox"].service.store.list_invoices()
    return len(invoices), sum(len(invoice.addresses) for invoice in invoices)


def ask(shop: Shop, path: str, method: str = "1", *, visit: str = NONCE, **options: Any) -> TestResponse:
    """Send the form of a link's page."""
    return shop.client.post(path, data={"method": method, "visit": visit}, **options)


def hint(shop: Shop, path: str) -> TestResponse:
    """Tell the shop that there is something about the invoice of a visit."""
    body = json.dumps({"event": "invoice.paid", "data": {"invoiceID": shop.visit(path).invoice_id}}).encode()
    headers = {SIGNATURE_HEADER: sign(body, shop.state.settings.webhook_secrets[0])}
    return shop.client.post("/pay/webhook", data=body, headers=headers, content_type="application/json", buffered=True)


def statuses(shop: Shop) -> list[ContributionStatus]:
    """How far everything is that came in, newest first."""
    return [item.status for item in shop.state.links.list_contributions("library", limit=20)]


class TestPayment:
    def test_a_link_is_paid_from_end_to_end(self, shop: Shop, path: str) -> None:
        """Choose, see the address, pay, and the handler hears of it with the visitor's reference."""
        shop.set_sandbox(**TOLD)
        page = shop.client.get(path).text
        assert "Notebooks for the library" in page
        assert "USDT on TRON" in page
        mine = shop.come(path)
        visit = shop.visit(mine)
        page = shop.client.get(mine).text
        assert all(words in page for words in (visit.address, visit.reference, visit.pay_amount, "20.00 USD"))
        shop.send(mine)
        shop.clock.advance(60)
        page = shop.client.get(mine, buffered=True).text
        assert "Received, thank you" in page
        assert f">{visit.address}<" not in page
        [event] = shop.heard
        assert (event.name, event.link_id, event.amount) == ("link.payment_received", "library", visit.pay_amount)
        assert event.reference == visit.reference

    def test_a_visit_can_be_paid_again(self, shop: Shop, path: str) -> None:
        """Each payment is told, and each is heard of once."""
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        for action in ("pay_exact", "pay_over", "pay_short"):
            shop.send(mine, action)
            shop.clock.advance(60)
            assert "Received, thank you" in shop.client.get(mine, buffered=True).text
        assert len(shop.heard) == len({event.key for event in shop.heard}) == 3
        assert len(shop.visit(mine).payments) == 3

    def test_each_visitor_has_an_address_and_is_told_of_his_own_alone(self, shop: Shop, path: str) -> None:
        """Where the gateway gives each one another, and tells which one was paid."""
        shop.set_sandbox(**TOLD)
        first, second = shop.come(path), shop.come(path)
        assert shop.visit(first).address != shop.visit(second).address
        shop.send(second)
        shop.clock.advance(60)
        page = shop.client.get(first).text
        assert shop.visit(first).address in page
        assert "Payments on this link since you came" in page
        assert "Received, thank you" in shop.client.get(second).text

    def test_visitors_who_share_an_address_are_told_of_no_payment_as_theirs(self, shop: Shop, path: str) -> None:
        """Where the gateway gives all of them the same, both see it in the list, and neither is thanked."""
        shop.set_sandbox(transaction_detail="told")
        first, second = shop.come(path), shop.come(path)
        assert shop.visit(first).address == shop.visit(second).address
        shop.send(first)
        shop.clock.advance(60)
        for visit in (first, second):
            page = shop.client.get(visit, buffered=True).text
            assert 'data-state="waiting"' in page
            assert "Payments on this link since you came" in page
        assert [event.reference for event in shop.heard] == [None]

    def test_two_methods_are_two_invoices_and_two_visitors_of_one_are_not(self, shop: Shop, path: str) -> None:
        """A link has one reusable invoice for each method."""
        for method in ("1", "4", "1"):
            shop.come(path, method)
        assert count_at_gateway(shop)[0] == len(shop.link().invoices) == 2

    def test_without_javascript_a_button_brings_the_news(self, shop: Shop, path: str) -> None:
        """One press, one redirect, the new state."""
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        shop.send(mine, "pay_pending")
        shop.clock.advance(20)
        answer = shop.client.post(f"{mine}/check")
        assert (answer.status_code, answer.location) == (303, mine)
        assert "Payment seen" in shop.client.get(mine).text
        shop.send(mine, "settle")
        shop.clock.advance(20)
        assert "Received, thank you" in shop.client.post(f"{mine}/check", follow_redirects=True).text

    def test_a_strict_shop_has_the_same_pages(self, shop: Shop, path: str) -> None:
        """One whose templates fail on whatever they were not given."""
        shop.app.jinja_env.undefined = StrictUndefined
        mine = shop.come(path)
        for page in (path, mine, shop.place("1042"), "/pay/links/nothing"):
            assert shop.client.get(page).status_code == (404 if "nothing" in page else 200)


class TestAddresses:
    def test_a_slug_and_a_signed_id_lead_to_the_same_page(self, shop: Shop) -> None:
        """The printed address is the slug; the signed one was good before there was a slug, and stays so."""
        signed = shop.create_link()
        short = shop.create_link(slug="library")
        assert short == "/pay/links/library"
        assert signed == f"/pay/links/{shop.state.link_tokens.sign('library')}"
        assert [shop.client.get(path).status_code for path in (signed, short)] == [200, 200]
        assert shop.visit(shop.come(signed)).link_id == shop.visit(shop.come(short)).link_id == "library"

    def test_a_slug_that_was_given_up_is_gone(self, shop: Shop) -> None:
        """It may be another link's by now."""
        shop.create_link(slug="old")
        shop.create_link(slug="new")
        assert shop.client.get("/pay/links/old").status_code == 404
        shop.create_link("other", slug="old", description="Another one")
        assert "Another one" in shop.client.get("/pay/links/old").text

    def test_the_id_is_no_address(self, shop: Shop, path: str) -> None:
        """A link without a slug is known to those who were given its address."""
        assert shop.client.get("/pay/links/library").status_code == 404
        assert ask(shop, "/pay/links/library").status_code == 404

    @pytest.mark.parametrize(
        "address",
        [
            "LIBRARY",
            "Library",
            "library%20",
            "%20library",
            "library%00",
            "%00",
            "library.",
            "library%0d%0aX-Evil:1",
            "-",
            "..",
            "'%20OR%201=1%20--",
            "slug:library",
            "%25",
            "_",
            "{{7*7}}",
            "%e2%80%ae%f0%9f%92%b8",
            "%ff%fe",
            "x" * 5000,
            "lıbrary",
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_a_slug_has_no_second_spelling(self, shop: Shop, address: str, method: str) -> None:
        """What was made up is not found, whatever it holds, and nothing is made for it."""
        shop.create_link(slug="library")
        answer = shop.client.open(f"/pay/links/{address}", method=method, data={"method": "1", "visit": NONCE})
        assert answer.status_code == 404
        assert answer.text == shop.client.get("/pay/links/nothing").text
        assert count_at_gateway(shop) == (0, 0)

    def test_an_absolute_address_is_built_on_the_public_url(self, tmp_path: Path) -> None:
        """In a mail that was written during a request to any host."""
        shop = Shop(tmp_path, ITERAPAY_PUBLIC_URL="https://shop.example")
        shop.create_link(slug="library")
        shop.app.get("/mail")(lambda: shop.iterapay.link_url(shop.link(), is_external=True))
        assert shop.client.get("/mail", headers=EVIL_HEADERS).text == "https://shop.example/pay/links/library"

    @pytest.mark.parametrize("address", ["%2e%2e%2fwebhook", "a/b", "library/", "..%5cwebhook", ""])
    def test_a_slug_is_one_part_of_a_path(self, shop: Shop, address: str) -> None:
        """What leads elsewhere leads nowhere."""
        shop.create_link(slug="library")
        assert shop.client.get(f"/pay/links/{address}").status_code == 404


class TestTokens:
    def test_what_another_purpose_signed_opens_nothing(self, shop: Shop, path: str) -> None:
        """An order's token is no link's and no visit's, and the other way round: each is as good as made up."""
        mine, order = shop.come(path), shop.place("library")
        tokens = {kind: page.rpartition("/")[2] for kind, page in (("link", path), ("visit", mine), ("order", order))}
        absent = shop.client.get("/pay/links/nothing")
        pages = [
            *(f"/pay/links/{tokens[kind]}" for kind in ("visit", "order")),
            *(f"/pay/visits/{tokens[kind]}{suffix}" for kind in ("link", "order") for suffix in ("", "/status")),
            *(f"/pay/{tokens[kind]}{suffix}" for kind in ("link", "visit") for suffix in ("", "/status")),
        ]
        for page in pages:
            answer = shop.client.get(page)
            assert (answer.status_code, answer.data, answer.headers) == (404, absent.data, absent.headers), page

    def test_what_the_shop_signs_elsewhere_opens_nothing(self, shop: Shop, path: str) -> None:
        """Nor does a key of another shop, or a token of which a letter was changed."""
        key, mine = "a secret key of this test", shop.come(path)
        reference = shop.visit(mine).reference
        with shop.app.test_request_context():
            cookie = shop.app.session_interface.get_signing_serializer(shop.app).dumps(reference)
        foreign = [
            URLSafeSerializer(key).dumps(reference),
            URLSafeSerializer(key, salt="shop.mail").dumps(reference),
            URLSafeTimedSerializer(key, salt="wtf-csrf-token").dumps(reference),
            cookie,
            TokenSigner(["the key of another shop"], purpose="visit").sign(reference),
            TokenSigner(["the key of another shop"], purpose="link").sign("library"),
            reference,
            mine.rpartition("/")[2][:-3],
            path.rpartition("/")[2].swapcase(),
        ]
        for token in foreign:
            answers = [shop.client.get(f"/pay/links/{token}"), ask(shop, f"/pay/links/{token}")]
            answers += [shop.client.open(f"/pay/visits/{token}{end}", method=verb) for verb, end in OF_VISITS[:2]]
            answers.append(shop.client.post(f"/pay/visits/{token}/check"))
            assert {answer.status_code for answer in answers} == {404}
            assert {answer.text for answer in answers} == {answers[0].text}

    @pytest.mark.parametrize(("verb", "end"), [way for way in OF_VISITS if way != ("GET", "/check")])
    def test_a_visit_that_is_gone_is_not_found(self, shop: Shop, verb: str, end: str) -> None:
        """Its token is ours, and there is nothing behind it."""
        token = shop.state.visit_tokens.sign("AAAA-BBBB-CCCC")
        assert shop.client.open(f"/pay/visits/{token}{end}", method=verb).status_code == 404

    @pytest.mark.parametrize(("verb", "end"), OF_LINKS)
    def test_a_link_that_is_gone_is_not_found(self, shop: Shop, verb: str, end: str) -> None:
        """Its token is ours, and there is nothing behind it."""
        answer = shop.client.open(f"/pay/links/{shop.state.link_tokens.sign('nothing')}{end}", method=verb)
        assert answer.status_code == 404

    def test_visits_signed_with_an_older_key_still_open(self, tmp_path: Path) -> None:
        """Rotation of the app's own key takes nobody's page away."""
        shop = Shop(tmp_path, SECRET_KEY="old")
        mine = shop.come(shop.create_link())
        rotated = Shop(tmp_path, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])
        assert shop.visit(mine).address in rotated.client.get(mine).text


class TestForm:
    def test_the_same_form_twice_is_one_visit(self, shop: Shop, path: str) -> None:
        """A double click gives out one address, and both lead to the same page."""
        shop.set_sandbox(**TOLD)
        answers = [ask(shop, path) for _ in range(3)]
        assert {answer.status_code for answer in answers} == {303}
        assert len({answer.location for answer in answers}) == 1
        assert count_at_gateway(shop) == (1, 1)

    def test_another_form_is_another_visit(self, shop: Shop, path: str) -> None:
        """So are another method, and another link, in the same one."""
        other = shop.create_link("other")
        answers = [
            ask(shop, path),
            ask(shop, path, visit=f"{NONCE}-2"),
            ask(shop, path, "4"),
            ask(shop, other),
        ]
        assert len({answer.location for answer in answers}) == 4

    def test_a_reference_can_be_read_out_and_is_the_shops_own(self, tmp_path: Path) -> None:
        """Twelve letters and digits without those that people confuse, and other ones under another key."""
        references = []
        for key in ("one", "two"):
            shop = Shop(tmp_path / key, SECRET_KEY=key)
            references.append(shop.visit(shop.come(shop.create_link())).reference)
        assert all(re.fullmatch(r"[A-Z2-7]{4}(-[A-Z2-7]{4}){2}", reference) for reference in references)
        assert references[0] != references[1]

    @pytest.mark.parametrize(
        "visit", [None, "", "short", "x" * 65, "with a blank in it", HOSTILE, f"{NONCE}\n", "é" * 20]
    )
    def test_a_form_without_a_visit_of_its_own_does_nothing(self, shop: Shop, path: str, visit: str | None) -> None:
        """It is answered like one that has grown old."""
        data = {"method": "1"} | ({} if visit is None else {"visit": visit})
        answer = shop.client.post(path, data=data)
        assert answer.status_code == 422
        assert "so your last click did nothing" in answer.text
        assert "USDT on TRON" in answer.text
        assert count_at_gateway(shop) == (0, 0)

    def test_the_form_that_comes_back_can_be_sent(self, shop: Shop, path: str) -> None:
        """Whatever was wrong with the one before."""
        for visit in (None, HOSTILE):
            data = {"method": "1"} | ({} if visit is None else {"visit": visit})
            page = shop.client.post(path, data=data).text
            [fresh] = re.findall(r'name="visit" value="([^"]*)"', page)
            assert ask(shop, path, visit=fresh).status_code == 303

    @pytest.mark.parametrize("method", ["", "99", "4", "1; drop table", "USDT", "１"])
    def test_a_method_that_is_not_offered_shows_the_form_again(self, shop: Shop, method: str) -> None:
        """A form error, with the choice still there, and no address; the link's own list counts."""
        path = shop.create_link(methods=[1, 2])
        answer = ask(shop, path, method)
        assert answer.status_code == 422
        assert "USDT on Ethereum" in answer.text
        assert "BTC on Bitcoin" not in answer.text
        assert count_at_gateway(shop) == (0, 0)

    def test_what_a_form_says_of_money_does_not_count(self, shop: Shop, path: str) -> None:
        """Minimum, link and address are the server's own."""
        fields = {"minimum": "0.01", "amount": "0.01", "link_id": "other", "address": "mine", "reference": "mine"}
        visit = shop.visit(shop.come(path, **fields))
        assert (visit.link_id, str(shop.link().invoices[0].amount)) == ("library", "20.00")
        assert "mine" not in (visit.address, visit.reference)

    @pytest.mark.parametrize(
        "body", ["NaN", "null", "[1]", '{"method": "1", "visit": "the-visit-of-one-form"}', "\xff"]
    )
    def test_json_is_no_form(self, shop: Shop, path: str, body: str) -> None:
        """Whatever it holds it chooses nothing."""
        answer = shop.client.post(path, data=body, content_type="application/json")
        assert answer.status_code == 422
        assert count_at_gateway(shop) == (0, 0)

    def test_a_method_that_is_taken_off_meanwhile_is_said(self, tmp_path: Path) -> None:
        """Between the look at the list and the visit; the page has those that are left."""
        shop: Shop

        def answer(request: httpx.Request) -> httpx.Response:
            shop.create_link(methods=["2"])
            methods = [{"id": number, "name": f"M{number}", "network": "N", "ticker": "T"} for number in (1, 2)]
            return httpx.Response(200, json=methods)

        shop = make_plain_shop(tmp_path, answer)
        refused = ask(shop, shop.create_link())
        assert refused.status_code == 422
        assert "This payment method is not available right now." in refused.text
        assert re.findall(r'type="radio"[^>]*value="(\d)"', refused.text) == ["2"]


class TestGets:
    def test_a_get_makes_nothing_at_the_gateway(self, shop: Shop, path: str) -> None:
        """Reloads, previews and crawlers give out no address, neither a new one nor a second."""
        for method in ("GET", "HEAD", "OPTIONS"):
            for _ in range(3):
                shop.client.open(path, method=method)
        assert count_at_gateway(shop) == (0, 0)
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        for method in ("GET", "HEAD", "OPTIONS"):
            for page in (path, mine, f"{mine}/status", f"{mine}/check"):
                shop.clock.advance(61)
                shop.client.open(page, method=method)
        assert count_at_gateway(shop) == (1, 1)

    def test_a_visit_whose_invoice_could_not_be_made_is_gone_on_with_by_its_page(self, shop: Shop, path: str) -> None:
        """What a form began, the page finishes, with one invoice and one address, however often it is asked."""
        shop.set_sandbox(api_fault="500", fault_operation="create", fault_calls="0")
        mine = shop.come(path)
        assert "Preparing your payment" in shop.client.get(mine).text
        shop.mend_gateway()
        assert count_at_gateway(shop) == (0, 0)
        shop.clock.advance(61)
        for _ in range(3):
            assert shop.client.get(f"{mine}/status").json["state"] == "waiting"
            assert "Send USDT to this address" in shop.client.get(mine).text
        assert count_at_gateway(shop) == (1, 1)

    @pytest.mark.parametrize(
        ("method", "ends"),
        [("PUT", ("", "/check", "/status")), ("DELETE", ("", "/check")), ("PATCH", ("",)), ("POST", ("", "/status"))],
    )
    def test_other_methods_are_405(self, shop: Shop, path: str, method: str, ends: tuple[str, ...]) -> None:
        """A visit's page takes no form, and no page takes what no browser sends."""
        mine = shop.come(path)
        for end in ends:
            assert shop.client.open(f"{mine}{end}", method=method).status_code == 405
        assert shop.client.open(path, method="PUT").status_code == 405

    def test_a_head_is_the_page_without_its_body(self, shop: Shop, path: str) -> None:
        """With the same status, for what is there and for what is not."""
        mine = shop.come(path)
        for page, status in ((path, 200), (mine, 200), (f"{mine}/status", 200), ("/pay/links/nothing", 404)):
            answer = shop.client.head(page)
            assert (answer.status_code, answer.data) == (status, b"")

    def test_a_forms_address_that_is_loaded_anew_leads_back_to_the_page(self, shop: Shop, path: str) -> None:
        """The answer to a form leaves its address in the bar, and somebody may press Enter there."""
        mine = shop.come(path)
        answer = shop.client.get(f"{mine}/check")
        assert (answer.status_code, answer.location) == (303, mine)


class TestStatus:
    def test_the_poll_never_tells_address_amount_or_reference(self, shop: Shop, path: str) -> None:
        """Nothing that a poll says could swap where a visitor sends."""
        mine = shop.come(path)
        visit = shop.visit(mine)
        answer = shop.client.get(f"{mine}/status")
        assert set(answer.json) == {"state", "revision", "seconds_left", "next_poll_seconds", "updated_at"}
        assert answer.json["state"] == "waiting"
        assert answer.json["seconds_left"] is None
        assert not any(word in answer.text for word in (visit.address, visit.pay_amount, visit.reference, "20.00"))

    def test_the_poll_finds_the_payment_when_every_webhook_is_lost(self, shop: Shop, path: str) -> None:
        """And hands out the event."""
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        before = shop.client.get(f"{mine}/status").json
        shop.send(mine)
        shop.clock.advance(15)
        after = shop.client.get(f"{mine}/status", buffered=True).json
        assert (after["state"], len(shop.heard)) == ("received", 1)
        assert after["revision"] != before["revision"]

    def test_a_payment_of_somebody_else_is_news_where_it_is_listed(self, shop: Shop) -> None:
        """The page loads again for it, and on a link without a list it has no reason to."""
        for is_listed in (True, False):
            path = shop.create_link(has_public_list=is_listed)
            mine = shop.come(path)
            before = shop.client.get(f"{mine}/status").json
            shop.send(mine)
            shop.clock.advance(15)
            after = shop.client.get(f"{mine}/status", buffered=True).json
            assert (after["revision"] != before["revision"]) is is_listed
            assert after["state"] == "waiting"

    def test_it_says_what_the_page_says(self, shop: Shop, path: str) -> None:
        """A page that asks at once learns nothing new."""
        mine = shop.come(path)
        [revision] = re.findall(r'data-revision="(\w+)"', shop.client.get(mine).text)
        assert shop.client.get(f"{mine}/status").json["revision"] == revision


class TestHints:
    def test_a_hint_turns_the_page_to_received_where_the_address_is_told(self, shop: Shop, path: str) -> None:
        """Without anybody having looked at the page."""
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        shop.send(mine)
        assert hint(shop, mine).status_code == 200
        assert len(shop.heard) == 1
        assert "Received, thank you" in shop.client.get(mine).text

    def test_a_hint_lists_the_payment_where_nothing_is_told(self, shop: Shop, path: str) -> None:
        """The page still waits, and says that somebody has paid."""
        mine = shop.come(path)
        shop.send(mine)
        assert hint(shop, mine).status_code == 200
        assert [event.reference for event in shop.heard] == [None]
        page = shop.client.get(mine).text
        assert 'data-state="waiting"' in page
        assert "Payments on this link since you came" in page

    def test_many_hints_are_one_event(self, shop: Shop, path: str) -> None:
        """A replay carries no authority."""
        mine = shop.come(path)
        shop.send(mine)
        assert {hint(shop, mine).status_code for _ in range(5)} == {200}
        assert len(shop.heard) == 1

    def test_a_hint_that_the_api_does_not_confirm_receives_nothing(self, shop: Shop, path: str) -> None:
        """The body may claim what it likes."""
        mine = shop.come(path)
        assert hint(shop, mine).status_code == 200
        assert (shop.heard, statuses(shop)) == ([], [])

    def test_a_gateway_that_is_down_is_503_and_reconcile_completes_it(self, shop: Shop, path: str) -> None:
        """The sender may try again; if it does not, the link is due all the same."""
        mine = shop.come(path)
        shop.send(mine)
        shop.break_gateway()
        answer = hint(shop, mine)
        shop.mend_gateway()
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        shop.clock.advance(60)
        with shop.app.app_context():
            shop.iterapay.reconcile()
        assert statuses(shop) == [ContributionStatus.RECEIVED]
        assert len(shop.heard) == 1

    def test_a_delivery_of_the_sandbox_itself_arrives(self, shop: Shop, path: str) -> None:
        """Signed, sent and read as the gateway would have it."""
        shop.set_sandbox(webhook_faults="duplicate", **TOLD)
        mine = shop.come(path)
        shop.send(mine)
        assert len(shop.heard) == 1


class TestClosing:
    def test_a_closed_link_gives_no_address(self, shop: Shop, path: str) -> None:
        """Its page says so, a form that is sent all the same leads there, and nothing is made."""
        close(shop)
        assert "This payment link is closed" in shop.client.get(path).text
        answer = ask(shop, path)
        assert (answer.status_code, answer.location) == (303, path)
        assert count_at_gateway(shop) == (0, 0)

    def test_a_visit_to_it_shows_its_address_no_more_and_is_still_watched(self, shop: Shop, path: str) -> None:
        """Money that comes in spite of it is found, and the visitor is told."""
        shop.set_sandbox(**TOLD)
        mine = shop.come(path)
        close(shop)
        page = shop.client.get(mine).text
        assert "This payment link is closed" in page
        assert f">{shop.visit(mine).address}<" not in page
        shop.send(mine)
        shop.clock.advance(60)
        assert "Received, thank you" in shop.client.get(mine, buffered=True).text
        assert len(shop.heard) == 1

    def test_a_form_that_was_sent_before_leads_to_its_visit(self, shop: Shop, path: str) -> None:
        """Who sends it again is not sent away from his own page."""
        before = ask(shop, path)
        close(shop)
        assert ask(shop, path).location == before.location

    def test_a_visit_that_had_no_address_yet_gets_none(self, shop: Shop, path: str) -> None:
        """Neither by its page nor by a button."""
        shop.set_sandbox(api_fault="500", fault_operation="address", fault_calls="0")
        mine = shop.come(path)
        close(shop)
        shop.mend_gateway()
        shop.clock.advance(61)
        for answer in (shop.client.get(mine), shop.client.post(f"{mine}/check", follow_redirects=True)):
            assert "This payment link is closed" in answer.text
        assert count_at_gateway(shop) == (1, 0)

    def test_a_link_that_is_opened_again_goes_on(self, shop: Shop, path: str) -> None:
        """With the addresses that it gave out before."""
        mine = shop.come(path)
        close(shop)
        with shop.app.app_context():
            assert shop.iterapay.reopen_link("library").status is LinkStatus.OPEN
        assert shop.visit(mine).address in shop.client.get(mine).text
        assert "Choose how to pay" in shop.client.get(path).text


def come_from(shop: Shop, path: str, address: str | None, number: int, **headers: str) -> int:
    """Ask for an address from a network address; returns the status."""
    environ = {"REMOTE_ADDR": address}
    return ask(shop, path, visit=f"{NONCE}-{number}", environ_overrides=environ, headers=headers).status_code


class TestLimit:
    @pytest.fixture
    def shop(self, tmp_path: Path) -> Shop:
        """A shop that gives a visitor two addresses an hour."""
        return Shop(tmp_path, ITERAPAY_ADDRESSES_PER_HOUR=2)

    def test_one_too_many_is_429_until_the_hour_is_over(self, shop: Shop, path: str) -> None:
        """With words, with the form still there, and with when to come back; what was given out stays."""
        mine = [shop.come(path) for _ in range(2)]
        shop.clock.advance(600)
        answer = ask(shop, path)
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "3000"
        assert "Use the one that you were given, or come back in an hour." in answer.text
        assert "USDT on TRON" in answer.text
        assert [shop.client.get(page).status_code for page in mine] == [200, 200]
        assert len(shop.link().invoices) == 1
        shop.clock.advance(3000)
        assert ask(shop, path).status_code == 303

    def test_the_same_form_counts_once(self, shop: Shop, path: str) -> None:
        """Nobody is shut out by pressing a button twice."""
        assert [ask(shop, path).status_code for _ in range(5)] == [303] * 5
        assert ask(shop, path, visit=f"{NONCE}-2").status_code == 303

    def test_a_form_that_is_refused_counts_not_at_all(self, shop: Shop, path: str) -> None:
        """Neither a wrong method nor a closed link uses an address up."""
        for number in range(5):
            assert ask(shop, path, "99", visit=f"{NONCE}-{number}").status_code == 422
        assert ask(shop, path).status_code == 303

    def test_each_link_counts_by_itself(self, shop: Shop, path: str) -> None:
        """Two links in one shop are two causes."""
        for link in (path, shop.create_link("other")):
            assert [come_from(shop, link, "192.0.2.1", number) for number in range(3)] == [303, 303, 429]

    @pytest.mark.parametrize(
        ("addresses", "statuses"),
        [
            (["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.1"], [303, 303, 303, 303, 429]),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"], [303, 303, 429]),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:1::3"], [303, 303, 303]),
            (["::ffff:192.0.2.1", "::ffff:192.0.2.2", "::ffff:192.0.2.3"], [303, 303, 303]),
            (["::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201"], [303, 303, 429]),
            ([None, "", "not an address"], [303, 303, 303]),
        ],
        ids=["IPv4", "one home", "two homes", "IPv4 over IPv6", "IPv4 in both spellings", "nonsense"],
    )
    def test_a_visitor_is_a_host_or_a_home(
        self, shop: Shop, path: str, addresses: list[str | None], statuses: list[int]
    ) -> None:
        """An IPv4 address, however it is written, or the half of an IPv6 address that a home has."""
        assert [come_from(shop, path, address, number) for number, address in enumerate(addresses)] == statuses

    def test_a_header_makes_nobody_a_new_visitor(self, shop: Shop, path: str) -> None:
        """Who could choose his own address would have no limit."""
        for number, status in enumerate([303, 303, 429]):
            headers = {"X-Forwarded-For": f"192.0.2.{number}", "Forwarded": f"for=192.0.2.{number}"}
            assert come_from(shop, path, "198.51.100.1", number, **headers) == status

    def test_behind_a_proxy_that_is_set_up_visitors_are_told_apart(self, shop: Shop, path: str) -> None:
        """As the documentation says."""
        shop.app.wsgi_app = ProxyFix(shop.app.wsgi_app)
        for number in range(4):
            headers = {"X-Forwarded-For": f"192.0.2.{number}"}
            assert come_from(shop, path, "127.0.0.1", number, **headers) == 303

    def test_no_network_address_is_kept(self, shop: Shop, path: str, tmp_path: Path) -> None:
        """Neither in the database nor in what the gateway is told."""
        come_from(shop, path, "192.0.2.77", 1)
        come_from(shop, path, "2001:db8:77::1", 2)
        files = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert b"192.0.2.77" not in files
        assert b"2001:db8:77" not in files


class TestGatewayTrouble:
    @pytest.mark.parametrize("fault", ["500", "401", "429", "garbage", "timeout", "redirect"])
    @pytest.mark.parametrize("operation", ["create", "invoice", "address"])
    def test_a_visit_stays_and_gets_its_address_later(self, shop: Shop, path: str, operation: str, fault: str) -> None:
        """Whatever fails on the way, the visitor has a page that goes on when the gateway is back."""
        shop.set_sandbox(api_fault=fault, fault_operation=operation, fault_calls="0")
        mine = shop.come(path)
        assert "Preparing your payment" in shop.client.get(mine).text
        shop.mend_gateway()
        shop.clock.advance(61)
        assert "Send USDT to this address" in shop.client.post(f"{mine}/check", follow_redirects=True).text
        assert count_at_gateway(shop) == (1, 1)

    @pytest.mark.parametrize("operation", ["create", "invoice", "address"])
    def test_a_page_asks_by_itself_for_what_is_missing(self, shop: Shop, path: str, operation: str) -> None:
        """Nobody has to press anything."""
        shop.set_sandbox(api_fault="500", fault_operation=operation, fault_calls="0")
        mine = shop.come(path)
        shop.mend_gateway()
        shop.clock.advance(61)
        assert shop.client.get(f"{mine}/status").json["state"] == "waiting"
        assert shop.visit(mine).address in shop.client.get(mine).text

    def test_an_answer_that_was_lost_makes_no_second_visit(self, shop: Shop, path: str) -> None:
        """The invoice that nobody knows of is left alone, for its address was never given out."""
        shop.set_sandbox(api_fault="lost_answer", fault_operation="create", fault_calls="1")
        mine = shop.come(path)
        shop.clock.advance(61)
        shop.client.post(f"{mine}/check")
        assert count_at_gateway(shop) == (2, 1)
        assert len(shop.link().invoices) == 1

    def test_a_button_that_could_do_nothing_says_so(self, shop: Shop, path: str) -> None:
        """The page is shown again, and what was sent is not doubted."""
        shop.set_sandbox(api_fault="500", fault_operation="address", fault_calls="0")
        mine = shop.come(path)
        shop.clock.advance(61)
        answer = shop.client.post(f"{mine}/check")
        assert answer.status_code == 503
        assert "We can’t prepare an address right now." in answer.text
        assert "Preparing your payment" in answer.text

    def test_methods_that_were_never_told_are_said(self, shop: Shop, path: str) -> None:
        """The page stays a page when the gateway is down from the start."""
        shop.break_gateway()
        page = shop.client.get(path)
        assert page.status_code == 200
        assert "We can’t load the payment methods right now." in page.text
        answer = ask(shop, path)
        assert answer.status_code == 422
        assert "We can’t load the payment methods right now." in answer.text

    def test_a_gateway_that_fails_later_leaves_the_address(self, shop: Shop, path: str) -> None:
        """It stays on the page, and the trouble is said; so it is on the page of who presses the button."""
        mine = shop.come(path)
        shop.break_gateway()
        shop.clock.advance(61)
        for page in (shop.client.get(mine), shop.client.post(f"{mine}/check", follow_redirects=True)):
            assert page.status_code == 200
            assert "We can’t refresh the status right now." in page.text
            assert shop.visit(mine).address in page.text

    def test_a_method_that_the_gateway_refuses_leads_back_to_the_others(self, tmp_path: Path) -> None:
        """The visit's page says so, and has the way back."""
        shop = make_shop(tmp_path)
        path = prepare_link(shop, be_refused)
        page = shop.client.get(shop.visits[-1])
        assert page.status_code == 200
        assert "No address for this method" in page.text
        assert f'href="{path}"' in page.text
        answer = shop.client.post(f"{shop.visits[-1]}/check")
        assert (answer.status_code, answer.location) == (303, shop.visits[-1])


def refuse_csrf(tmp_path: Path, *, is_global: bool) -> Shop:
    """A shop whose forms need a token: by Flask-WTF's extension, or by the form alone."""
    shop = Shop(tmp_path, WTF_CSRF_ENABLED=True, PROPAGATE_EXCEPTIONS=False)
    if is_global:
        CSRFProtect(shop.app)
    return shop


class TestCsrf:
    @pytest.mark.parametrize(("is_global", "status"), [(True, 400), (False, 422)])
    def test_a_form_without_token_shows_the_page_again(self, tmp_path: Path, is_global: bool, status: int) -> None:
        """An old tab gets a fresh form that works, and nothing is done."""
        shop = refuse_csrf(tmp_path, is_global=is_global)
        path = shop.create_link(**LIBRARY)
        answer = ask(shop, path)
        assert answer.status_code == status
        assert "so your last click did nothing" in answer.text
        assert "USDT on TRON" in answer.text
        assert count_at_gateway(shop) == (0, 0)
        mine = shop.come(path, csrf_token=csrf_token(answer.text))
        answer = shop.client.post(f"{mine}/check")
        assert answer.status_code == status
        assert "so your last click did nothing" in answer.text
        assert shop.visit(mine).address in answer.text
        token = csrf_token(answer.text)
        assert shop.client.post(f"{mine}/check", data={"csrf_token": token}).status_code == 303

    @pytest.mark.parametrize(
        "page", ["/pay/links/nothing", "/pay/links/a.b", "/pay/visits/nothing/check", "/pay/visits/{gone}/check"]
    )
    def test_an_old_tab_of_what_is_not_there_is_not_found(self, tmp_path: Path, page: str) -> None:
        """Nothing is told of it."""
        shop = refuse_csrf(tmp_path, is_global=True)
        target = page.format(gone=shop.state.visit_tokens.sign("AAAA-BBBB-CCCC"))
        assert shop.client.post(target).status_code == 404

    def test_a_token_of_another_session_is_refused(self, tmp_path: Path) -> None:
        """An attacker has a session of his own, and its token is good for that one alone."""
        shop = refuse_csrf(tmp_path, is_global=True)
        path = shop.create_link()
        stolen = csrf_token(shop.app.test_client().get(path).text)
        shop.client.get(path)
        data = {"method": "1", "visit": NONCE, "csrf_token": stolen}
        assert shop.client.post(path, data=data).status_code == 400
        assert count_at_gateway(shop) == (0, 0)

    def test_polls_and_pages_that_are_not_there_leave_no_cookie(self, tmp_path: Path) -> None:
        """Only a page with a form needs one."""
        shop = refuse_csrf(tmp_path, is_global=True)
        path = shop.create_link()
        mine = shop.come(path, csrf_token=csrf_token(shop.client.get(path).text))
        stranger = shop.app.test_client()
        for page in (f"{mine}/status", "/pay/links/nothing", "/pay/visits/nothing"):
            assert "Set-Cookie" not in stranger.get(page).headers


class TestStoreTrouble:
    @pytest.fixture
    def broken(self, tmp_path: Path) -> Shop:
        """A shop whose database fails after somebody has come to its link."""
        shop = Shop(
            tmp_path, iterapay=IteraPay(store=FragileStore()), WTF_CSRF_ENABLED=False, PROPAGATE_EXCEPTIONS=False
        )
        CSRFProtect(shop.app)
        shop.come(shop.create_link(slug="library"))
        shop.state.store.is_down = True
        return shop

    def test_every_page_says_so_and_leads_back_to_itself(self, broken: Shop) -> None:
        """503 with words and when to come back, whatever was asked for."""
        link, mine = "/pay/links/library", broken.visits[0]
        ways = [(verb, link + end, link) for verb, end in OF_LINKS]
        ways += [(verb, mine + end, mine) for verb, end in OF_VISITS if (verb, end) != ("GET", "/check")]
        for verb, target, page in ways:
            answer = broken.client.open(target, method=verb, data={"method": "1", "visit": NONCE})
            assert answer.status_code == 503, target
            assert int(answer.headers["Retry-After"]) > 0
            assert f'class="ip-button" href="{page}"' in answer.text
            assert "What you sent is not lost." in answer.text

    def test_an_old_tab_meanwhile_is_said_too(self, broken: Shop) -> None:
        """An error on top of an error is still a page."""
        broken.app.config["WTF_CSRF_ENABLED"] = True
        for target in ("/pay/links/library", f"{broken.visits[0]}/check"):
            assert broken.client.post(target, data={"method": "1"}).status_code == 503

    def test_a_database_that_fails_on_the_way_loses_no_visit(self, broken: Shop) -> None:
        """Wherever it stops, the same form leads to the page once it is back."""
        store = broken.state.store
        store.is_down = False
        for saves in range(6):
            store.saves_left = saves
            answer = ask(broken, "/pay/links/library", visit=f"{NONCE}-{saves}")
            assert answer.status_code in (303, 503)
            store.saves_left = None
            broken.clock.advance(61)
            answer = ask(broken, "/pay/links/library", visit=f"{NONCE}-{saves}")
            assert answer.status_code == 303
            assert broken.visit(str(answer.location)).address


class TestElsewhere:
    def test_nothing_in_a_request_sends_a_visitor_elsewhere(self, shop: Shop) -> None:
        """Whatever host and target it names, every page and redirect is a path of this site."""
        path = shop.create_link(slug="library")
        form = {"method": "1", "visit": NONCE, "next": "https://evil.example/", "back": "https://evil.example/"}
        answer = shop.client.post(path + EVIL_QUERY, data=form, headers=EVIL_HEADERS)
        mine = str(answer.location)
        assert re.fullmatch(r"/pay/visits/[\w.-]+", mine)
        answers = [answer, shop.client.post(f"{mine}/check{EVIL_QUERY}", data=form, headers=EVIL_HEADERS)]
        assert answers[-1].location == mine
        pages = (path, mine, f"{mine}/status", f"{mine}/check", "/pay/links/nothing", "/pay/visits/nothing")
        answers += [shop.client.get(page + EVIL_QUERY, headers=EVIL_HEADERS) for page in pages]
        for answer in answers:
            assert "evil" not in str(answer.headers) + answer.text

    def test_under_another_prefix_every_address_is_right(self, tmp_path: Path) -> None:
        """A shop may mount the pages where it likes, itself included."""
        shop = Shop(tmp_path, url_prefix="/kasse/zahlung", APPLICATION_ROOT="/")
        path = shop.create_link(slug="library")
        assert path == "/kasse/zahlung/links/library"
        mine = shop.come(path)
        page = shop.client.get(mine, environ_overrides={"SCRIPT_NAME": "/laden"}).text
        assert f'data-status="/laden{mine}/status"' in page
        assert f'action="/laden{mine}/check"' in page


class Tags(HTMLParser):
    """The tags and attributes of a page, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.targets: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "action")]


class HostileGateway:
    """Answers every call of a link, with markup wherever the contract leaves it to the gateway."""

    def __init__(self, text: str = HOSTILE, unit: str = "<b/onclick=x>") -> None:
        self.text = text
        self.unit = unit
        self.status = 200
        self.is_paid = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.status != 200:
            return httpx.Response(self.status, json={"title": self.text, "detail": self.text, "type": self.text})
        return httpx.Response(200, json=self._answer(request.url.path))

    def _answer(self, path: str) -> object:
        if path == "/payment_methods":
            return [{"id": 1, "name": self.text, "network": self.text, "ticker": self.text}]
        if path.endswith("/address"):
            return {"address": HOSTILE, "amount": "20.010006"}
        if path.endswith("/transactions/list"):
            times = {"createdAt": "2026-01-15T10:30:01Z", "confirmedAt": "2026-01-15T10:30:02Z"}
            told = {"address": HOSTILE, "symbol": self.unit, "txHash": self.text}
            item = {"id": self.text, "invoiceID": "inv-1", "amount": "20.1", "state": "settled"} | times | told
            return {"data": [item] if self.is_paid else [], "total": None}
        return {"id": "inv-1", "state": "pending", "amount": "20.00", "type": "reusable", "description": self.text}


class TestEscaping:
    def test_a_hostile_gateway_and_description_run_nothing_on_any_page(self, tmp_path: Path) -> None:
        """Methods, address, amounts, units and refusals are text, and no tag or attribute comes of them."""
        gateway = HostileGateway()
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.create_link(description=HOSTILE, minimum="20.00")
        pages = [shop.client.get(path).text]
        mine = shop.come(path)
        pages.append(shop.client.get(mine).text)
        assert pages[-1].count("&lt;script&gt;") >= 4
        gateway.is_paid = True
        shop.clock.advance(61)
        pages += [shop.client.get(page).text for page in (mine, path)]
        assert "Received, thank you" in pages[-2]
        assert all("&lt;b/onclick=x&gt;" in page for page in pages[-2:])
        for gateway.status in (400, 401, 404, 500):
            shop.clock.advance(61)
            pages += [ask(shop, path, visit=f"{NONCE}-{gateway.status}", follow_redirects=True).text]
            pages += [shop.client.get(mine).text, shop.client.post(f"{mine}/check", follow_redirects=True).text]
        for page in pages:
            tags = Tags(page)
            assert tags.tags.count("script") == 1
            assert "b" not in tags.tags
            assert not {name for name in tags.attributes if name.startswith("on") or name == "style"}
            assert all(re.match(r"/[^/\\]", target) for target in tags.targets)

    def test_what_was_asked_for_is_not_repeated(self, shop: Shop, path: str) -> None:
        """The page of what is not there shows nothing of its address, and a form nothing of what it was sent."""
        for page in (f"/pay/links/{HOSTILE}", f"/pay/visits/{HOSTILE}", "/pay/links/zzz"):
            answer = shop.client.get(page)
            assert answer.status_code == 404
            assert not any(word in answer.text for word in ("alert(", "zzz"))
        answer = shop.client.post(path, data={"method": HOSTILE, "visit": HOSTILE})
        assert answer.status_code == 422
        assert "alert(" not in answer.text

    def test_words_of_a_refusal_stay_in_the_log(self, tmp_path: Path) -> None:
        """A visitor is told what to do, in the shop's own words."""
        gateway = HostileGateway("internal details")
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.create_link()
        gateway.text = "a name"
        shop.client.get(path)
        gateway.text = "internal details"
        for gateway.status in (400, 403, 500):
            answer = ask(shop, path, visit=f"{NONCE}-{gateway.status}", follow_redirects=True)
            assert "internal details" not in answer.text

    @pytest.mark.parametrize("end", ["\r\n", "\n", "\u2028", "\x1b[2K", "\x00", "\x85"])
    def test_nobody_writes_a_record_of_his_own(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
    ) -> None:
        """Line ends from gateways, forms and addresses never reach the text of a record."""
        forged = f"x{end}CRITICAL flask_iterapay: all links are paid"
        caplog.set_level("DEBUG", "flask_iterapay")
        gateway = HostileGateway(forged)
        shop = make_plain_shop(tmp_path, gateway)
        path = shop.create_link()
        shop.client.get(path)
        for gateway.status in (400, 401, 403, 404, 429, 500, 200):
            shop.clock.advance(61)
            answer = ask(shop, path, visit=f"{NONCE}-{gateway.status}")
            shop.client.get(str(answer.location or path))
            shop.client.post(f"{answer.location}/check")
        ask(shop, path, forged, visit=forged)
        shop.client.get(f"/pay/links/{forged}")
        shop.client.get(f"/pay/visits/{forged}")
        lines = [record.getMessage() for record in caplog.records if record.name == "flask_iterapay"]
        assert len(lines) >= 5
        assert all(line.isprintable() for line in lines)


class TestFlood:
    def test_many_polls_are_one_reading_an_interval(self, tmp_path: Path) -> None:
        """However many visitors look, and however they ask, the gateway's list is read once in fifteen seconds."""
        paths: list[str] = []
        gateway = HostileGateway("USDT", "USDT")

        def answer(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return gateway(request)

        shop = make_plain_shop(tmp_path, answer)
        path = shop.create_link(minimum="20.00")
        visits = [shop.come(path) for _ in range(5)]
        for interval in range(3):
            shop.clock.advance(16)
            before = sum(path.endswith("/transactions/list") for path in paths)
            for mine in visits * 5:
                shop.client.get(f"{mine}/status")
                shop.client.get(mine)
                shop.client.post(f"{mine}/check")
                shop.client.get(path)
            assert sum(path.endswith("/transactions/list") for path in paths) == before + 1, interval

    def test_made_up_addresses_reach_no_gateway(self, tmp_path: Path) -> None:
        """What nobody signed costs a shop nothing but the answer."""
        paths: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            paths.append(request.url.path)
            return httpx.Response(500)

        shop = make_plain_shop(tmp_path, answer)
        for number in range(30):
            ask(shop, f"/pay/links/{number}")
            for verb, end in (*OF_VISITS, ("GET", "")):
                shop.client.open(f"/pay/visits/{number}{end}", method=verb)
        assert paths == []

    def test_a_gateway_in_trouble_is_not_asked_by_every_page_for_an_address(self, tmp_path: Path) -> None:
        """The pages that wait for one ask every two seconds, and the gateway hears of few."""
        paths: list[str] = []
        gateway = HostileGateway("USDT", "USDT")

        def answer(request: httpx.Request) -> httpx.Response:
            if not request.url.path.endswith("/address"):
                return gateway(request)
            paths.append(request.url.path)
            return httpx.Response(403)

        shop = make_plain_shop(tmp_path, answer)
        mine = shop.come(shop.create_link(minimum="20.00"))
        before = len(paths)
        for _ in range(30):
            shop.clock.advance(2)
            assert shop.client.get(f"{mine}/status").json["state"] == "preparing"
        assert 1 <= len(paths) - before <= 5
