"""The pictures of ``docs/checkout-page.md``: every state of the payment page, light and dark.

``python tests/support/screenshots.py`` makes them anew. They are cut to what is on them and reduced to 64 colours,
which is all that a page of text needs.
"""

import io
import sys
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
    from playwright.sync_api import Page

FOLDER = ROOT / "docs" / "images" / "states"
SCHEMES = ("light", "dark")
WIDTH = 800
_COLOURS = 64


def path_of(state: PageState, scheme: str) -> Path:
    """Where the picture of a state lies."""
    return FOLDER / f"{state}-{scheme}.png"


def screen_of(state: PageState) -> Screen:
    """The plainest screen of a state, which bears its name."""
    return next(screen for screen in SCREENS if screen.name == state)


def take(page: "Page") -> bytes:
    """Take a picture of what is shown, as small as it can be."""
    with Image.open(io.BytesIO(page.locator("body").screenshot())) as picture:
        file = io.BytesIO()
        picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        return file.getvalue()


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stamina.set_testing(True, attempts=3, cap=True)
    with TemporaryDirectory() as folder, sync_playwright() as playwright, showing(Path(folder)) as gallery:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 300}, reduced_motion="reduce")
        for state in PageState:
            gallery.open(page, screen_of(state))
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                path_of(state, scheme).write_bytes(take(page))
        browser.close()
    sys.stdout.write(f"{len(PageState) * len(SCHEMES)} pictures\n")


if __name__ == "__main__":
    main()
