"""The page of the documentation that shows every state, and the pictures in it and of payment links."""

import re

import pytest
from PIL import Image
from screens import showing
from screenshots import LINKS, SCHEMES, STATES, WIDTH, path_of, use_one_font
from servers import ROOT

PAGE = (ROOT / "docs" / "checkout-page.md").read_text(encoding="utf-8")
PICTURES = {**STATES, **LINKS}


def test_the_states_are_shown_in_their_order() -> None:
    """Each state has a row of its own, light and dark."""
    pictures = re.findall(r"\]\(images/([\w/-]+)\.png\)", PAGE)
    assert pictures == [f"{name}-{scheme}" for name in STATES for scheme in SCHEMES]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_light_or_dark_as_it_says(name: str) -> None:
    """The corner of each picture has the brightness of its scheme."""
    with Image.open(path_of(name, "light")) as light, Image.open(path_of(name, "dark")) as dark:
        assert light.size == dark.size
        assert min(light.convert("RGB").getpixel((2, 2))) > 200
        assert max(dark.convert("RGB").getpixel((2, 2))) < 60


@pytest.mark.browser
def test_the_pictures_are_of_todays_pages(visits, tmp_path) -> None:
    """Each has the size of the page as it is now; ``python tests/support/screenshots.py`` makes them anew."""
    page = visits.open(viewport={"width": WIDTH, "height": 300})
    use_one_font(page)
    with showing(tmp_path) as gallery:
        for name, screen in PICTURES.items():
            gallery.open(page, screen)
            box = page.locator("body").bounding_box()
            with Image.open(path_of(name, "light")) as picture:
                assert picture.size == pytest.approx((box["width"], box["height"]), abs=30), name
        visits.close()
