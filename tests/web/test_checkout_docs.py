"""The page of the documentation that shows every state."""

import re

import pytest
from PIL import Image
from screens import showing
from screenshots import SCHEMES, WIDTH, path_of, screen_of
from servers import ROOT

from flask_iterapay.web.view import PageState

PAGE = (ROOT / "docs" / "checkout-page.md").read_text(encoding="utf-8")


def test_the_states_are_shown_in_their_order() -> None:
    """Each state has a row of its own, light and dark."""
    pictures = re.findall(r"\]\(images/states/([\w-]+)\.png\)", PAGE)
    assert pictures == [f"{state}-{scheme}" for state in PageState for scheme in SCHEMES]


@pytest.mark.parametrize("state", PageState)
def test_a_picture_is_light_or_dark_as_it_says(state: PageState) -> None:
    """The corner of each picture has the brightness of its scheme."""
    with Image.open(path_of(state, "light")) as light, Image.open(path_of(state, "dark")) as dark:
        assert light.size == dark.size
        assert min(light.convert("RGB").getpixel((2, 2))) > 200
        assert max(dark.convert("RGB").getpixel((2, 2))) < 60


@pytest.mark.browser
def test_the_pictures_are_of_todays_pages(visits, tmp_path) -> None:
    """Each has the size of the page as it is now; ``python tests/support/screenshots.py`` makes them anew."""
    page = visits.open(viewport={"width": WIDTH, "height": 300})
    with showing(tmp_path) as gallery:
        for state in PageState:
            gallery.open(page, screen_of(state))
            box = page.locator("body").bounding_box()
            with Image.open(path_of(state, "light")) as picture:
                assert picture.size == pytest.approx((box["width"], box["height"]), abs=30), state
        visits.close()
