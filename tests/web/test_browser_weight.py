"""What a payment page weighs in a browser, and whom it asks: 25 kB uncompressed, and nobody but the shop."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from jinja2 import DictLoader
from screens import SCREENS, Gallery, Screen, break_gateway, come, look_at_link, send, set_sandbox, showing
from servers import ROOT
from shops import Shop
from werkzeug.test import Client

from flask_iterapay.config import LANGUAGES
from flask_iterapay.web.link_view import MAX_LISTED, LinkState

if TYPE_CHECKING:
    from playwright.sync_api import Response

pytestmark = pytest.mark.browser

BUDGET = 25_000
STATIC = ROOT / "flask_iterapay" / "web" / "static"
FILES = {name: (STATIC / name).stat().st_size for name in ("checkout.css", "checkout.js")}
FULL = Screen(
    name="link_waiting_full",
    link_state=LinkState.WAITING,
    is_visit=True,
    steps=(
        set_sandbox(transaction_detail="told", reusable_address="new"),
        come("5"),
        come(),
        send("pay_dust"),
        *[send("pay_pending", visit=0)] * MAX_LISTED,
        look_at_link,
        break_gateway,
    ),
)
"""A visit with every notice, and below it as many payments as are ever listed, each with 18 decimals and its unit."""

ALL = (*SCREENS, FULL)
SCREEN = {screen.name: screen for screen in ALL}
HEAVIEST = ("waiting_stale_form", "waiting_methods_open", "waiting_unreachable", "link_choose_method_listed", FULL.name)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """Every screen as a shop shows it that is on no sandbox: without its banner, and with a token in each form."""
    with showing(tmp_path_factory.mktemp("screens"), dress=take_the_banner_off) as gallery:
        for screen in ALL:
            gallery.url(screen)
            # A form that a screen is the answer to came without one.
            gallery.shop(screen).app.config["WTF_CSRF_ENABLED"] |= screen.form is None
        yield gallery


def take_the_banner_off(shop: Shop) -> None:
    """Have a shop's pages say nothing of the sandbox that it is on."""
    shop.app.jinja_loader = DictLoader({"iterapay/_sandbox.html": ""})


def weigh(html: bytes, screen: Screen) -> int:
    """The bytes of a page, less what its addresses only have in the gallery."""
    return len(html.replace(f"/{screen.name}/pay/".encode(), b"/pay/"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_is_light_and_asks_nobody_else(visits, gallery: Gallery, language: str) -> None:
    """HTML with its QR code, CSS and JavaScript together, in every language and with every notice."""
    page = visits.open(locale=language)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    for name in HEAVIEST:
        answers.clear()
        gallery.open(page, SCREEN[name])
        page.wait_for_load_state("networkidle")
        bodies = {urlsplit(answer.url).path.rpartition("/")[2]: answer.body() for answer in answers}
        weights = {name: len(body) for name, body in bodies.items()} | {"": weigh(bodies[""], SCREEN[name])}
        assert weights.items() >= FILES.items()
        assert sum(weights.values()) < BUDGET, (name, weights)
        assert {urlsplit(answer.url).netloc for answer in answers} == {urlsplit(gallery.base_url).netloc}
        assert page.locator("html").get_attribute("lang").startswith(language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_other_page_is_too_heavy(gallery: Gallery, language: str) -> None:
    """The same for every screen that there is, of orders, links and visits, with what a browser was seen to load."""
    client = Client(gallery)
    found = {}
    for screen in ALL:
        html = client.get(gallery.url(screen), headers={"Accept-Language": language}).data
        found[screen.name] = weigh(html, screen) + sum(FILES.values())
    assert {name: weight for name, weight in found.items() if weight >= BUDGET} == {}


def test_the_fullest_list_is_weighed(gallery: Gallery) -> None:
    """The page has the notices, the payments and the token that make it heavy."""
    html = Client(gallery).get(gallery.url(FULL)).text
    assert html.count("0.006288517167651868 ETH") == MAX_LISTED
    assert html.count('class="ip-notice"') == 2
    assert html.count("csrf_token") == 1
