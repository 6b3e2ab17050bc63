"""The pictures of ``docs/checkout-page.md`` and ``docs/payment-links.md``: states of the pages, light and dark.

``python tests/support/screenshots.py`` makes them anew. They are cut to what is on them and reduced to 64 colours,
which is all that a page of text needs.
"""

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import stamina
from PIL import Image
from playwright.sync_api import sync_playwright
from screens import SCREENS, Screen, showing
from servers import ROOT

from flask_iterapay.web.view import PageState

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

FOLDER = ROOT / "docs" / "images"
SCHEMES = ("light", "dark")
WIDTH = 800
_COLOURS = 64
# Else a picture would have the size that the fonts of some machine give it.
_FONT = '.iterapay { --ip-font: "Liberation Sans", Arial, sans-serif; }'
_SCREEN = {screen.name: screen for screen in SCREENS}

STATES: Mapping[str, Screen] = {f"states/{state}": _SCREEN[state] for state in PageState}
"""Each state of an order, as the plainest screen that has it shows it; by the name of the picture."""

LINKS: Mapping[str, Screen] = {
    "links/choose_method": _SCREEN["link_choose_method"],
    "links/waiting": _SCREEN["link_waiting_listed"],
    "links/received": _SCREEN["link_received"],
}
"""What a visitor to a payment link meets on his way."""


def path_of(name: str, scheme: str) -> Path:
    """Where a picture lies."""
    return FOLDER / f"{name}-{scheme}.png"


def use_one_font(page: "Page") -> None:
    """Have every page shown in the same font on every machine."""

    def add_font(route: "Route") -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=f"{answer.text()}\n{_FONT}")

    page.route("**/checkout.css", add_font)


def take(page: "Page") -> bytes:
    """Take a picture of what is shown, as small as it can be."""
    with Image.open(io.BytesIO(page.locator("body").screenshot())) as picture:
        file = io.BytesIO()
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        return file.getvalue()


def main() -> None:
    """Write every picture."""
    stamina.set_testing(True, attempts=3, cap=True)
    pictures = {**STATES, **LINKS}
    with TemporaryDirectory() as folder, sync_playwright() as playwright, showing(Path(folder)) as gallery:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 300}, reduced_motion="reduce")
        use_one_font(page)
        for name, screen in pictures.items():
            gallery.open(page, screen)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                path_of(name, scheme).parent.mkdir(parents=True, exist_ok=True)
                path_of(name, scheme).write_bytes(take(page))
        browser.close()
    sys.stdout.write(f"{len(pictures) * len(SCHEMES)} pictures\n")


if __name__ == "__main__":
    main()
