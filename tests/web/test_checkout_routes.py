"""The customer's routes over the sandbox, from choosing a method to every answer that is not a page."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask_wtf.csrf import CSRFProtect
from shops import Shop, csrf_token

from flask_iterapay import OrderStatus


class TestPage:
    def test_an_order_is_paid_from_end_to_end(self, shop: Shop):
        """Choose, see the address, pay, and the handler hears of it."""
        path = shop.place(return_url="/thanks")
        assert "USDT on TRON" in shop.client.get(path).text
        shop.choose(path)
        record = shop.order().current_invoice
        page = shop.client.get(path).text
        assert record.address in page
        assert record.pay_amount in page
        shop.act("pay_exact")
        shop.clock.advance(15)
        page = shop.client.get(path, buffered=True).text
        assert "Paid, thank you" in page
        assert record.address not in page
        assert 'href="/thanks"' in page
        assert [event.key for event in shop.heard] == ["order.paid:1042"]

    def test_a_get_creates_nothing(self, shop: Shop):
        """Reloads, previews and crawlers make no invoice."""
        path = shop.place()
        for _ in range(3):
            assert shop.client.get(path).status_code == 200
            assert shop.client.get(f"{path}/status").status_code == 200
        assert shop.order().invoices == ()

    @pytest.mark.parametrize("suffix", ["", "/status"])
    def test_a_made_up_token_is_not_found(self, shop: Shop, suffix):
        """The page of an order cannot be guessed, and a wrong guess learns nothing."""
        path = shop.place()
        flipped = path[:-3] + ("A" if path[-3] != "A" else "Q") + path[-2:]
        made_up = [shop.client.get(f"{bad}{suffix}") for bad in ("/pay/1042", flipped)]
        with shop.app.app_context():
            absent = shop.client.get(f"/pay/{shop.state.tokens.sign('nobody')}{suffix}")
        assert {response.status_code for response in (*made_up, absent)} == {404}
        assert made_up[0].text == absent.text

    def test_posts_to_a_made_up_token_are_not_found(self, shop: Shop):
        """Neither form of a page that is not there does anything."""
        assert shop.client.post("/pay/1042", data={"method": "1"}).status_code == 404
        assert shop.client.post("/pay/1042/check").status_code == 404
        token = shop.state.tokens.sign("nobody")
        assert shop.client.post(f"/pay/{token}", data={"method": "1"}).status_code == 404
        assert shop.client.post(f"/pay/{token}/check").status_code == 404

    def test_every_answer_carries_the_safety_headers(self, shop: Shop):
        """Strict CSP, no caching, no foreign referrer, no sniffing, no indexing."""
        path = shop.place()
        for response in (shop.client.get(path), shop.client.get(f"{path}/status"), shop.client.get("/pay/x")):
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in response.headers["Content-Security-Policy"]
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Referrer-Policy"] == "same-origin"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Robots-Tag"] == "noindex"

    def test_styles_and_script_are_served_and_may_be_cached(self, shop: Shop):
        """What the page links to is there."""
        page = shop.client.get(shop.place()).text
        links = re.findall(r'(?:href|src)="(/pay/static/[^"]+)"', page)
        assert len(links) >= 2
        for link in links:
            response = shop.client.get(link)
            assert response.status_code == 200
            assert response.headers["Cache-Control"] != "no-store"
            response.close()

    def test_the_sandbox_is_marked_on_every_page(self, shop: Shop):
        """Nobody sends real money to a made-up address."""
        path = shop.place()
        assert "sandbox" in shop.client.get(path).text.lower()
        shop.choose(path)
        assert "sandbox" in shop.client.get(path).text.lower()


class TestChoosing:
    def test_amount_and_order_in_the_form_are_ignored(self, shop: Shop):
        """What the browser says about money does not count."""
        path = shop.place()
        shop.choose(path, amount="0.01", order_id="1", currency="EUR")
        assert str(shop.order().current_invoice.amount) == "25.00"

    @pytest.mark.parametrize("method", ["99", "", "1; drop table", "USDT"])
    def test_a_method_that_is_not_offered_shows_the_form_again(self, shop: Shop, method):
        """A form error, with the choice still there, and no invoice."""
        path = shop.place()
        response = shop.client.post(path, data={"method": method})
        assert response.status_code == 422
        assert "USDT on TRON" in response.text
        assert shop.order().invoices == ()

    def test_choosing_on_a_paid_order_leads_to_its_page(self, shop: Shop):
        """An old tab cannot reopen a paid order."""
        path = shop.place()
        shop.choose(path)
        shop.act("pay_exact")
        shop.choose(path, method="2")
        assert shop.order().status is OrderStatus.PAID
        assert len(shop.order().invoices) == 1

    def test_a_gateway_that_is_down_is_said_and_keeps_the_order(self, shop: Shop):
        """The customer reads what to do, and nothing was charged."""
        path = shop.place()
        shop.client.get(path)
        shop.break_gateway()
        response = shop.client.post(path, data={"method": "1"})
        assert response.status_code == 503
        assert "Your order is unchanged" in response.text
        assert shop.order().status is OrderStatus.NEW

    def test_methods_that_were_never_told_are_said(self, shop: Shop):
        """The page stays a page when the gateway is down from the start."""
        path = shop.place()
        shop.break_gateway()
        response = shop.client.get(path)
        assert response.status_code == 200
        assert "payment methods" in response.text
        assert shop.client.post(path, data={"method": "1"}).status_code == 422

    def test_a_gateway_that_fails_later_leaves_the_page_up(self, shop: Shop):
        """Address and amount stay while the price runs; the trouble is said."""
        path = shop.place()
        shop.choose(path)
        shop.break_gateway()
        shop.clock.advance(20)
        page = shop.client.get(path).text
        assert "We can't refresh the status right now" in page.replace("’", "'").replace("&#39;", "'")
        assert shop.order().current_invoice.address in page

    def test_too_many_changes_are_refused_with_words(self, shop: Shop):
        """The eleventh invoice is not made."""
        path = shop.place()
        for number in range(10):
            with shop.app.app_context():
                shop.iterapay.place_order("1042", amount=str(number + 1))
            shop.choose(path)
        with shop.app.app_context():
            shop.iterapay.place_order("1042", amount="99")
        response = shop.client.post(path, data={"method": "1"})
        assert response.status_code == 409
        assert "No further price can be made for this order." in response.text


class TestCheck:
    def test_the_button_finds_the_payment_without_javascript(self, shop: Shop):
        """One press, one redirect, the new state."""
        path = shop.place()
        shop.choose(path)
        shop.act("pay_exact")
        shop.clock.advance(20)
        response = shop.client.post(f"{path}/check", follow_redirects=True)
        assert "Paid, thank you" in response.text

    def test_an_expired_price_is_renewed(self, shop: Shop):
        """ "Get a new price" gives one, on the same order."""
        path = shop.place()
        shop.choose(path)
        shop.clock.advance(16 * 60)
        page = shop.client.get(path).text
        assert "This price has expired" in page
        response = shop.client.post(f"{path}/check", data={"renew": "1"}, follow_redirects=True)
        assert shop.order().current_invoice.address in response.text
        assert shop.order().status is OrderStatus.AWAITING_PAYMENT

    def test_a_new_price_from_a_gateway_that_is_down_is_said(self, shop: Shop):
        """The order keeps its state."""
        path = shop.place()
        shop.choose(path)
        shop.clock.advance(16 * 60)
        shop.client.get(path)
        shop.break_gateway()
        response = shop.client.post(f"{path}/check", data={"renew": "1"})
        assert response.status_code == 503
        assert shop.order().status is OrderStatus.EXPIRED


class TestStatus:
    def test_the_poll_never_tells_address_or_amount(self, shop: Shop):
        """Nothing that a poll says could swap what the customer sends."""
        path = shop.place()
        shop.choose(path)
        record = shop.order().current_invoice
        response = shop.client.get(f"{path}/status")
        assert response.json["state"] == "waiting"
        assert 0 < response.json["seconds_left"] <= 900
        assert record.address not in response.text
        assert record.pay_amount not in response.text
        assert "25.00" not in response.text

    def test_the_poll_finds_the_payment_when_every_webhook_is_lost(self, shop: Shop):
        """And hands out the event."""
        path = shop.place()
        shop.choose(path)
        before = shop.client.get(f"{path}/status").json
        shop.act("pay_exact")
        shop.clock.advance(15)
        after = shop.client.get(f"{path}/status", buffered=True).json
        assert after["state"] == "paid"
        assert after["revision"] != before["revision"]
        assert after["next_poll_seconds"] is None
        assert len(shop.heard) == 1

    def test_time_of_another_class_is_time_like_any_other(self, shop: Shop):
        """Tests that freeze time hand out moments of a class of their own, and so may a shop's clock."""

        class Frozen(datetime):
            """Time that stands still."""

        shop.clock.now = Frozen.fromtimestamp(shop.clock.now.timestamp(), UTC)
        path = shop.place()
        shop.choose(path)
        shop.act("pay_exact")
        shop.clock.advance(15)
        assert type(shop.clock.now) is Frozen
        seen = shop.client.get(f"{path}/status", buffered=True).json
        assert seen["state"] == "paid"
        assert shop.client.get(f"{path}/status").json == seen
        assert seen["revision"] in shop.client.get(path).text


class TestCsrf:
    def test_a_form_with_the_pages_own_token_is_taken(self, tmp_path):
        """The forms carry what Flask-WTF wants."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        path = shop.place()
        shop.choose(path, csrf_token=csrf_token(shop.client.get(path).text))
        assert shop.order().status is OrderStatus.AWAITING_PAYMENT
        token = csrf_token(shop.client.get(path).text)
        assert shop.client.post(f"{path}/check", data={"csrf_token": token}).status_code == 303

    def test_a_form_without_token_shows_the_page_again(self, tmp_path):
        """An old tab gets a fresh form, and nothing is done."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True)
        path = shop.place()
        for target in (path, f"{path}/check"):
            response = shop.client.post(target, data={"method": "1"})
            assert response.status_code == 422
            assert csrf_token(response.text)
            assert "so your last click did nothing" in response.text
        assert shop.order().invoices == ()

    def test_a_forms_address_that_is_loaded_anew_leads_back_to_the_page(self, shop: Shop):
        """The answer to a form leaves its address in the bar, and somebody may press Enter there."""
        path = shop.place()
        answer = shop.client.get(f"{path}/check")
        assert (answer.status_code, answer.location) == (303, path)


class TestQrUris:
    def test_the_page_says_whether_the_code_holds_the_amount(self, tmp_path):
        """By what the shop chose, and not by what the address happens to contain."""
        uris = {"1": "tron:{address}", "4": "bitcoin:{address}?amount={pay_amount}"}
        shop = Shop(tmp_path, ITERAPAY_QR_URIS=uris)
        for method, words in (
            ("1", "only the address"),
            ("4", "the address and the amount"),
            ("5", "only the address"),
        ):
            path = shop.place(f"order-{method}")
            shop.choose(path, method)
            assert f"The code holds {words}." in shop.client.get(path).text


class TestWaysOn:
    def test_an_expired_price_can_be_left_for_another_method(self, shop: Shop):
        """A customer whose asset is no longer at hand is not bound to it."""
        path = shop.place()
        shop.choose(path)
        shop.act("expire")
        shop.clock.advance(60)
        page = shop.client.get(path).text
        assert "This price has expired" in page
        assert "Pay with another method" in page
        shop.choose(path, "4")
        assert shop.order().current_invoice.method.ticker == "BTC"

    def test_a_method_that_the_shop_no_longer_offers_is_not_priced_anew(self, tmp_path):
        """The page says so, and has the others."""
        shop = Shop(tmp_path)
        path = shop.place()
        shop.choose(path)
        shop.act("expire")
        shop.clock.advance(60)
        later = Shop(tmp_path, ITERAPAY_METHODS=["4"])
        later.clock.now = shop.clock.now
        response = later.client.post(f"{path}/check", data={"renew": "1"})
        assert response.status_code == 422
        assert "This payment method is not available right now." in response.text
        assert "BTC on Bitcoin" in response.text

    def test_a_new_price_that_cannot_be_made_asks_for_the_button_that_is_there(self, shop: Shop):
        """No page names a button of another one."""
        path = shop.place()
        shop.choose(path)
        shop.act("expire")
        shop.clock.advance(60)
        shop.client.get(path)
        shop.set_sandbox(api_fault="500", fault_operation="create", fault_calls="0")
        response = shop.client.post(f"{path}/check", data={"renew": "1"})
        assert response.status_code == 503
        assert "Please press the button again in a minute." in response.text


class TestStoreTrouble:
    def test_an_old_tab_while_the_database_is_down_is_said_too(self, tmp_path):
        """An error on top of an error is still a page."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True, PROPAGATE_EXCEPTIONS=False)
        CSRFProtect(shop.app)
        path = shop.place()
        _break_database(shop, tmp_path)
        assert shop.client.post(path, data={"method": "1"}).status_code == 503

    def test_an_old_tab_of_a_made_up_order_is_not_found(self, tmp_path):
        """Nothing is told of what is not there."""
        shop = Shop(tmp_path, WTF_CSRF_ENABLED=True, PROPAGATE_EXCEPTIONS=False)
        CSRFProtect(shop.app)
        assert shop.client.post("/pay/1042", data={"method": "1"}).status_code == 404

    def test_a_database_that_is_down_is_said(self, shop: Shop, tmp_path):
        """503 with words, never a stack trace."""
        path = shop.place()
        _break_database(shop, tmp_path)
        response = shop.client.get(path)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        assert "Traceback" not in response.text


def _break_database(shop: Shop, folder: Path) -> None:
    """Put a folder where the database was, so that nothing can be opened there."""
    shop.state.store._engine.dispose()
    for file in folder.glob("iterapay.sqlite3*"):
        file.unlink()
    (folder / "iterapay.sqlite3").mkdir()
