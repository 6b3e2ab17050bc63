"""The QR code as a phone sees it: read from the screen, in every width and theme, it is the address on the page."""

import base64
import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
import zxingcpp
from addresses import make_addresses
from jinja2 import ChoiceLoader, DictLoader
from PIL import Image
from plain_shops import make_plain_shop
from servers import ROOT, serving
from shops import Shop

from flask_iterapay.web.qr import qr_svg

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

QR = (ROOT / "flask_iterapay" / "web" / "templates" / "iterapay" / "_qr.html").read_text(encoding="utf-8")
WIDTHS = (320, 768, 1280)
THEMES = ("light", "dark")
PARTS = 8
ADDRESSES = make_addresses(200)
FEW = ADDRESSES[::8]
URIS = {"1": "tron:{address}?amount={pay_amount}"}
# The address as the page's own text, and where on the screen the code is.
LOOK = """() => {
  const code = document.querySelector("[role=img] svg").getBoundingClientRect();
  const clip = { x: code.x, y: code.y, width: code.width, height: code.height, scale: 1 };
  return [document.querySelector("#ip-address").textContent, clip];
}"""


class Gateway:
    """Gives each invoice the next of some addresses; a reusable one another at each request, or always its first."""

    def __init__(self, addresses: Iterable[str], *, is_always_new: bool = True) -> None:
        self.addresses = iter(addresses)
        self.is_always_new = is_always_new
        self.address = ""
        self.invoices = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=self._answer(request.url.path))

    def _answer(self, path: str) -> object:
        if path == "/payment_methods":
            return [{"id": 1, "name": "USDT-TRC20", "network": "TRON", "ticker": "USDT"}]
        if path.endswith("/address"):
            if self.is_always_new or not self.address:
                self.address = next(self.addresses)
            return {"address": self.address, "amount": "25.150000", "expiresAt": "2026-01-15T10:45:00Z"}
        if path.endswith("/transactions/list"):
            return {"data": []}
        self.invoices += path.endswith("/invoices")
        return {"id": f"inv-{self.invoices}", "state": "pending", "amount": "25.00"}


class Camera:
    """A browser window, and a scanner held to it that reads no inverted code."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self._session = page.context.new_cdp_session(page)

    def views(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield each width and theme, the address on the page, and what the scanner reads."""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 1600})
            address, clip = self.page.evaluate(LOOK)
            for theme in THEMES:
                self.page.emulate_media(color_scheme=theme)
                yield f"{width} px, {theme}", address, self._scan(clip)

    def _scan(self, clip: dict[str, float]) -> list[str]:
        options = {"format": "png", "clip": clip, "optimizeForSpeed": True}
        screenshot = base64.b64decode(self._session.send("Page.captureScreenshot", options)["data"])
        picture = Image.open(io.BytesIO(screenshot))
        return [code.text for code in zxingcpp.read_barcodes(picture, try_invert=False)]


Take = Callable[[Shop, int], tuple[str, str]]
"""Has the shop ask for the next address; gives the path of the page that shows it, and what the store has."""


def take_for_order(shop: Shop, number: int) -> tuple[str, str]:
    """A new order's address."""
    path = shop.place(str(number))
    shop.state.service.choose_method(str(number), "1")
    return path, shop.order(str(number)).current_invoice.address


def take_for_visit(shop: Shop, number: int) -> tuple[str, str]:
    """A new visitor's address, at one payment link."""
    path = shop.come(shop.create_link(minimum="25.00"))
    return path, str(shop.visit(path).address)


def find_differences(
    camera: Camera, base_url: str, shop: Shop, addresses: list[str], *, take: Take = take_for_order
) -> list[tuple[str, str]]:
    """Look at a page for each address; list the views whose code is not what gateway, store and page say."""
    found = []
    for number, address in enumerate(addresses):
        path, stored = take(shop, number)
        camera.page.goto(base_url + path)
        for view, shown, read in camera.views():
            if not [address] == [stored] == [shown] == read:
                found.append((address, view))
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_the_code_on_the_screen_is_the_address(visits, tmp_path, part):
    """Gateway, store, text and code agree, in three widths, light and dark."""
    addresses = ADDRESSES[part::PARTS]
    shop = make_plain_shop(tmp_path, Gateway(addresses))
    with serving(shop.app) as base_url:
        camera = Camera(visits.open())
        assert find_differences(camera, base_url, shop, addresses) == []
        visits.close()


@pytest.mark.parametrize("uris", [None, URIS], ids=["bare", "uris"])
def test_the_code_of_a_visit_is_its_address(visits, tmp_path, uris):
    """Each visitor at a link has an address of his own, and no URI, whose amount would be the minimum."""
    shop = make_plain_shop(tmp_path, Gateway(FEW), ITERAPAY_QR_URIS=uris)
    with serving(shop.app) as base_url:
        camera = Camera(visits.open())
        assert find_differences(camera, base_url, shop, FEW, take=take_for_visit) == []
        visits.close()


def test_the_code_of_an_address_that_is_shared_is_that_address(visits, tmp_path):
    """Where the gateway gives all visitors the same, all pages show it."""
    shop = make_plain_shop(tmp_path, Gateway(FEW, is_always_new=False), ITERAPAY_QR_URIS=URIS)
    with serving(shop.app) as base_url:
        camera = Camera(visits.open())
        assert find_differences(camera, base_url, shop, FEW[:1] * 3, take=take_for_visit) == []
        visits.close()


def test_the_addresses_are_many_and_of_many_kinds():
    """Two hundred different ones, as short and as long as they come."""
    assert len(set(ADDRESSES)) == 200
    assert (min(map(len, ADDRESSES)), max(map(len, ADDRESSES))) == (20, 103)


def replace_code(shop: Shop, svg: str) -> None:
    """Give a shop a template of its own whose code is another."""
    assert QR.count("{{ qr }}") == 1
    template = QR.replace("{{ qr }}", svg)
    shop.app.jinja_loader = ChoiceLoader([DictLoader({"iterapay/_qr.html": template}), shop.app.jinja_loader])


def invert(svg: str) -> str:
    """Draw white on black."""
    return svg.replace("#fff", "#ink").replace("#000", "#fff").replace("#ink", "#000")


@pytest.mark.parametrize(
    "svg",
    [qr_svg(ADDRESSES[1]), qr_svg(ADDRESSES[0].lower()), invert(qr_svg(ADDRESSES[0])), "<svg></svg>"],
    ids=["another address", "another case", "white on black", "no code"],
)
@pytest.mark.parametrize("take", [take_for_order, take_for_visit], ids=["order", "visit"])
def test_a_code_that_holds_something_else_is_noticed(visits, tmp_path, svg, take):
    """The control: every view of a page with a wrong code or an unreadable one is found."""
    shop = make_plain_shop(tmp_path, Gateway(ADDRESSES))
    replace_code(shop, svg)
    with serving(shop.app) as base_url:
        camera = Camera(visits.open())
        found = find_differences(camera, base_url, shop, ADDRESSES[:1], take=take)
        assert len(found) == len(WIDTHS) * len(THEMES)
        visits.close()


def test_a_uri_is_noticed(visits, tmp_path):
    """The control: with the same setting, the code of an order holds what a visit's must not."""
    shop = make_plain_shop(tmp_path, Gateway(FEW), ITERAPAY_QR_URIS=URIS)
    with serving(shop.app) as base_url:
        camera = Camera(visits.open())
        assert len(find_differences(camera, base_url, shop, FEW[:1])) == len(WIDTHS) * len(THEMES)
        visits.close()
