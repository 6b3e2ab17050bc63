"""What the payment page weighs in a browser, and whom it asks: 25 kB uncompressed, and nobody but the shop."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from jinja2 import DictLoader
from screens import SCREENS, Gallery, showing
from shops import Shop

from flask_iterapay.config import LANGUAGES

if TYPE_CHECKING:
    from playwright.sync_api import Response

pytestmark = pytest.mark.browser

BUDGET = 25_000
HEAVIEST = ("waiting", "waiting_methods_open", "waiting_renewed", "waiting_transfer_refused", "waiting_unreachable")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """The screens that ask for money, as a shop shows them that is on no sandbox: without its banner."""
    with showing(tmp_path_factory.mktemp("screens"), dress=take_the_banner_off) as gallery:
        yield gallery


def take_the_banner_off(shop: Shop) -> None:
    """Have a shop's pages say nothing of the sandbox that it is on."""
    shop.app.jinja_loader = DictLoader({"iterapay/_sandbox.html": ""})


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_payment_page_is_light_and_asks_nobody_else(visits, gallery: Gallery, language: str) -> None:
    """HTML with its QR code, CSS and JavaScript together, in every language and with every notice."""
    page = visits.open(locale=language)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    for name in HEAVIEST:
        answers.clear()
        gallery.open(page, next(screen for screen in SCREENS if screen.name == name))
        page.wait_for_load_state("networkidle")
        weights = {urlsplit(answer.url).path.rpartition("/")[2]: len(answer.body()) for answer in answers}
        assert weights.keys() >= {"", "checkout.css", "checkout.js"}
        assert sum(weights.values()) < BUDGET, (name, weights)
        assert {urlsplit(answer.url).netloc for answer in answers} == {urlsplit(gallery.base_url).netloc}
        assert page.locator("html").get_attribute("lang").startswith(language)
