"""The pages in every language: complete catalogs, the right one for each customer, and numbers left as they are."""

import gettext
import io
import re
from collections import Counter

import catalogs
import pytest
from flask_babel import Babel
from jinja2 import DictLoader
from markupsafe import Markup
from shops import Shop

from flask_iterapay.config import LANGUAGES
from flask_iterapay.web.translation import load_translation

MESSAGES = [message.id for message in catalogs.extract() if message.id]
EVERY_LANGUAGE = pytest.mark.parametrize("language", catalogs.TRANSLATED)


def find_parts(text: str) -> Counter[str]:
    """What a translation must keep: placeholders and tags."""
    return Counter(re.findall(r"%\(\w+\)s|</?\w+>|%(?!\()|<(?!/?\w+>)", text))


class TestCatalogs:
    @EVERY_LANGUAGE
    def test_it_has_exactly_the_messages_of_the_templates(self, language: str) -> None:
        """Nothing is left in English, and nothing stays that no template says any more."""
        translated = {message.id: message.string for message in catalogs.read(language) if message.id}
        assert sorted(translated) == sorted(MESSAGES)
        assert [message for message, text in translated.items() if not text.strip()] == []
        assert not any(message.fuzzy for message in catalogs.read(language) if message.id)

    @EVERY_LANGUAGE
    def test_it_keeps_every_placeholder_and_tag(self, language: str) -> None:
        """A translation can neither lose an amount nor bring markup of its own."""
        for message in filter(lambda message: message.id, catalogs.read(language)):
            assert find_parts(message.string) == find_parts(message.id), message.id

    @EVERY_LANGUAGE
    def test_what_is_compiled_is_what_was_written(self, language: str) -> None:
        """The program reads another file than people do, and both say the same."""
        compiled = gettext.GNUTranslations(io.BytesIO(catalogs.path_of(language, ".mo").read_bytes()))
        written = {message.id: message.string for message in catalogs.read(language) if message.id}
        assert {message: compiled.gettext(message) for message in written} == written
        assert catalogs.path_of(language, ".mo").read_bytes() == catalogs.compile_catalog(language)

    def test_there_is_a_catalog_for_each_language_on_offer(self) -> None:
        """The list in the configuration and the folders agree."""
        folders = {path.name for path in (catalogs.WEB / "translations").iterdir()}
        assert folders == set(LANGUAGES) - {"en"}

    @pytest.mark.parametrize(
        ("message", "text"),
        [("%(a)s on %(b)s", "%(b)s"), ("<strong>now</strong>", "<b>now</b>"), ("now", "<img>"), ("all", "100 %")],
    )
    def test_the_comparison_sees_what_is_lost_or_added(self, message: str, text: str) -> None:
        """A missing placeholder, another tag, a new one, and a sign that would break the formatting."""
        assert find_parts(message) != find_parts(text)


class TestTranslation:
    def test_values_are_escaped_and_messages_may_hold_markup(self) -> None:
        """Only what the package itself says is markup."""
        text = load_translation("de")("Send it on the <strong>%(network)s</strong> network.", network="<b>")
        assert isinstance(text, Markup)
        assert "<strong>&lt;b&gt;</strong>" in text

    def test_an_unknown_message_stays_as_it_is(self) -> None:
        """A shop's own words in an override are shown, not refused."""
        assert load_translation("ja")("Our own words") == "Our own words"

    @pytest.mark.parametrize(
        ("language", "tag", "direction"), [("en", "en", "ltr"), ("ar", "ar", "rtl"), ("zh", "zh-Hans", "ltr")]
    )
    def test_it_knows_its_tag_and_its_direction(self, language: str, tag: str, direction: str) -> None:
        """Screen readers and browsers are told what they read."""
        translation = load_translation(language)
        assert (translation.tag, translation.direction) == (tag, direction)


def read_language(shop: Shop, accept: str | None = None) -> str:
    """The language of an order's page for a browser that asks for ``accept``."""
    headers = {"Accept-Language": accept} if accept else {}
    match = re.search(r'<html lang="([\w-]+)" dir="(ltr|rtl)">', shop.client.get(shop.place(), headers=headers).text)
    assert match
    return match[1]


class TestChoice:
    @pytest.mark.parametrize(
        ("accept", "language"),
        [
            (None, "en"),
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.5", "de"),
            ("en-US,de;q=0.9", "en"),
            ("nl,fr;q=0.3,en;q=0.2", "fr"),
            ("nl", "en"),
            ("zh-CN", "zh-Hans"),
            ("pt-BR", "pt"),
            ("AR-eg", "ar"),
            ("de;q=0,es;q=0.1", "es"),
            ("*", "en"),
            (";;q=x,-,\u00fc" * 99, "en"),
        ],
    )
    def test_the_browser_decides(self, shop: Shop, accept: str | None, language: str) -> None:
        """The customer's first wish that we can fulfil, whatever the region."""
        assert read_language(shop, accept) == language

    def test_a_shop_may_limit_the_languages(self, tmp_path) -> None:
        """Its first one is for everybody whose own is not among them."""
        shop = Shop(tmp_path, ITERAPAY_LANGUAGES=["fr", "en"])
        assert [read_language(shop, accept) for accept in ("de", "en", "fr", None)] == ["fr", "en", "fr", "fr"]

    def test_flask_babel_decides_where_it_is_set_up(self, shop: Shop) -> None:
        """The page speaks the language of the shop around it, whatever the browser asks for."""
        assert read_language(shop, "es") == "es"
        locale = "de"
        Babel(shop.app, locale_selector=lambda: locale)
        assert read_language(shop, "es") == "de"
        locale = "zh_Hans_CN"
        assert read_language(shop, "es") == "zh-Hans"
        locale = "nl"
        assert read_language(shop, "es") == "en"

    def test_a_shop_whose_choice_fails_still_gets_paid(self, shop: Shop) -> None:
        """A locale that nobody knows, or an extension of the same name that is another, leaves it to the browser."""
        Babel(shop.app, locale_selector=lambda: "klingon")
        assert read_language(shop, "es") == "es"
        shop.app.extensions["babel"] = object()
        assert read_language(shop, "es") == "es"

    def test_the_shops_own_gettext_is_left_alone(self, shop: Shop) -> None:
        """In a template of the shop ``_`` is the shop's, beside ``ip_t``, which is ours."""
        summary = '{% block summary %}{{ _("This order") }} {{ ip_t("Help") }}{% endblock %}'
        page = '{% extends "flask_iterapay/page.html" %}' + summary
        shop.app.jinja_loader = DictLoader({"iterapay/page.html": page})
        Babel(shop.app, locale_selector=lambda: "de")
        assert f"This order {load_translation('de')('Help')}" in shop.client.get(shop.place()).text

    def test_the_error_pages_speak_it_too(self, shop: Shop) -> None:
        """A page that is not there is not there in the customer's language."""
        for path in ("/pay/nothing", "/pay/links/nothing", "/pay/visits/nothing"):
            page = shop.client.get(path, headers={"Accept-Language": "ja"})
            assert page.status_code == 404
            assert load_translation("ja")("This payment page does not exist") in page.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_machine_reads_is_the_same_in_every_language(shop: Shop, language: str) -> None:
    """Amount, address and times are never localised: they are compared with what a wallet shows."""
    path = shop.place()
    shop.choose(path)
    html = shop.client.get(path, headers={"Accept-Language": language}).text
    invoice = shop.order().current_invoice
    assert invoice
    assert f'id="ip-amount">{invoice.pay_amount}</bdi> USDT' in html
    assert f'id="ip-address">{invoice.address}</bdi>' in html
    assert '<bdi dir="ltr">25.00 USD</bdi>' in html
    assert "2026-01-15 10:30 UTC" in html
    assert "10:45 UTC" in html


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_machine_reads_of_a_payment_link_is_the_same_in_every_language(shop: Shop, language: str) -> None:
    """Nor are minimum, address, reference and what came in, however far the words around them are translated."""
    shop.set_sandbox(transaction_detail="told")
    mine = shop.come(shop.create_link(minimum="20.00"))
    shop.send(mine, "pay_over")
    shop.send(shop.come(shop.create_link(minimum="20.00")), "pay_pending")
    shop.clock.advance(60)
    html = shop.client.get(mine, headers={"Accept-Language": language}).text
    visit = shop.visit(mine)
    assert f'id="ip-address">{visit.address}</bdi>' in html
    assert f"<bdi>{visit.reference}</bdi>" in html
    assert html.count('<bdi dir="ltr">20.00 USD</bdi>') == html.count("20.00 USD") == 3
    for amount in (f"{visit.pay_amount} USDT", "22.011007 USDT"):
        assert f'<bdi dir="ltr">{amount}</bdi>' in html
    assert "2026-01-15 10:30 UTC" in html
