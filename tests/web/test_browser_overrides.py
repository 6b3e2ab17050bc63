"""A shop's own styles and markup in a real browser, as docs/templates.md describes them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from customers import Customer
from jinja2 import DictLoader, FileSystemLoader
from overrides import read_snippets, read_table
from screens import SCREENS, make_shop, showing
from servers import serving
from shops import Shop

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

CSS, BASE, *_ = read_snippets()
BRAND_COLOURS = [
    f"rgb({', '.join(str(part) for part in bytes.fromhex(colour))})"
    for colour in re.findall("--ip-accent: #([0-9a-f]{6})", CSS[1])
]
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><circle cx="32" cy="32" r="30"/></svg>'
COUNT_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => violations.push(event.effectiveDirective));
"""
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# Nothing of the shipped markup but what the tables of attributes and ids name.
BARE_TEMPLATES = {
    "iterapay/page.html": """
      {% extends "flask_iterapay/page.html" %}
      {% block content %}
      <b role="status" data-live="polite"></b><b role="alert" data-live="assertive"></b>
      <main data-state="{{ view.state }}" data-status="{{ url_for('.status', token=token) }}"
        data-revision="{{ view.revision }}"
        data-next-poll="{{ view.next_poll_seconds or '' }}" data-politeness="{{ view.politeness }}">
        <b data-ended hidden>Over</b><h1 data-announce>{{ self.headline() }}</h1>{{ self.body() }}
      </main>
      <b data-offline hidden>Away</b>
      {% endblock %}
      {% block footer %}<time data-updated></time>{% endblock %}""",
    "iterapay/_copy.html": """
      <button type="button" id="{{ target }}-copy" data-copy="{{ target }}"
        data-copied="Got it" data-selected="Marked" data-script hidden>{{ what }}</button>""",
    "iterapay/_address.html": """
      <b id="ip-address">{{ view.invoice.address }}</b>
      {% with target = "ip-address", what = "Take it" %}{% include "iterapay/_copy.html" %}{% endwith %}""",
    "iterapay/_timer.html": """
      <b data-script hidden><b>Left</b><i role="timer" data-seconds-left="{{ view.seconds_left }}"
        data-at300="Five" data-at60="One" data-at0="Over"></i></b>""",
    "iterapay/_return.html": """
      <a id="ip-return" href="{{ order.return_url }}">Back</a>
      <b data-return="{{ return_seconds }}" hidden><span>Soon back</span><button id="ip-stay">Stay</button></b>""",
}


def open_page(page: "Page", folder: Path, dress: Callable[[Shop], None]) -> Iterator["Page"]:
    """Show the screen on which a method is chosen, in a shop that is dressed up; counts what the policy refuses."""
    [screen] = [screen for screen in SCREENS if screen.name == "choose_method"]
    page.add_init_script(COUNT_VIOLATIONS)
    with showing(folder, dress=dress) as gallery:
        gallery.open(page, screen)
        yield page
        page.context.close()


def read_colours(page: "Page") -> list[str]:
    """The colours of the button, light and dark."""
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.locator("#ip-choose").evaluate("element => getComputedStyle(element).backgroundColor"))
    return colours


class TestBrand:
    @pytest.fixture
    def branded(self, visits: Any, tmp_path: Path) -> Iterator["Page"]:
        """A page of a shop that did what the first section of the documentation says."""
        for name, text in (CSS, BASE, ("static/logo.svg", LOGO)):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

        def dress(shop: Shop) -> None:
            shop.app.jinja_loader = FileSystemLoader(tmp_path / "templates")
            shop.app.static_folder = str(tmp_path / "static")

        yield from open_page(visits.open(), tmp_path, dress)

    @pytest.fixture
    def styled(self, visits: Any, tmp_path: Path) -> Iterator["Page"]:
        """A page of a shop that wrote the same rules into the page itself."""
        head = f"{{% block head %}}{{{{ super() }}}}<style>{CSS[1]}</style>{{% endblock %}}"
        loader = DictLoader({"iterapay/base.html": f"{{% extends 'flask_iterapay/base.html' %}}{head}"})

        def dress(shop: Shop) -> None:
            shop.app.jinja_loader = loader

        yield from open_page(visits.open(), tmp_path, dress)

    def test_the_variables_colour_the_page_and_nothing_is_refused(self, branded: "Page") -> None:
        """The button is of the brand's colours, the logo is shown, and the policy has nothing to object to."""
        assert read_colours(branded) == BRAND_COLOURS
        assert branded.get_by_role("img", name="Our shop").evaluate("image => image.naturalWidth") == 64
        assert branded.evaluate("violations") == []
        for scheme in ("light", "dark"):
            branded.emulate_media(color_scheme=scheme)
            results = Axe().run(branded, options={"runOnly": WCAG}).response
            assert "color-contrast" in [rule["id"] for rule in results["passes"]]
            assert [rule["id"] for rule in results["violations"]] == []

    def test_styles_in_the_page_itself_are_refused(self, styled: "Page", visits: Any) -> None:
        """The control: what is no file of its own changes no colour, and is counted."""
        assert len({*read_colours(styled), *BRAND_COLOURS}) == 4
        assert styled.evaluate("violations") == ["style-src-elem"]
        assert len(visits.problems) == 1
        visits.problems.clear()


def observe(customer: Customer) -> dict[str, object]:
    """Copy, wait for news, and stay: what the customer saw and heard."""
    page = customer.open(permissions=["clipboard-read", "clipboard-write"])
    countdown = page.get_by_role("timer").inner_text()
    page.locator("#ip-address-copy").click()
    page.locator("#ip-address-copy").filter(has_not_text="Take it").wait_for(state="attached")
    copied = page.locator("#ip-address-copy").inner_text()
    customer.shop.act("pay_exact")
    customer.poll(customer.pause())
    customer.see("Paid, thank you")
    has_notice = page.locator("#ip-stay").is_visible()
    if has_notice:
        page.locator("#ip-stay").click()
    return {
        "countdown": countdown,
        "copied": copied,
        "clipboard": page.evaluate("navigator.clipboard.readText()"),
        "updated": page.locator("footer time").inner_text(),
        "has_notice": has_notice,
        "stays": page.locator("#ip-stay").is_hidden(),
        "heard": customer.hear()[-1],
    }


class TestHooks:
    @pytest.fixture
    def customer(self, visits: Any, tmp_path: Path) -> Iterator[Customer]:
        """A customer of a shop whose markup is its own."""
        shop = make_shop(tmp_path, ITERAPAY_RETURN_SECONDS=20)
        shop.app.jinja_loader = DictLoader(BARE_TEMPLATES)
        with serving(shop.app) as base_url:
            yield Customer(visits, shop, base_url)
            visits.close()

    def test_what_is_listed_is_all_that_the_script_needs(self, customer: Customer) -> None:
        """Countdown, copying, polls, news, announcements and the redirect work on markup that has nothing else."""
        seen = observe(customer)
        assert seen == {
            "countdown": "15:00",
            "copied": "Got it",
            "clipboard": customer.shop.order().invoices[0].address,
            "updated": f"{customer.shop.order().read_at:%Y-%m-%d %H:%M} UTC",
            "has_notice": True,
            "stays": True,
            "heard": ["polite", "Paid, thank you. Soon back"],
        }

    @pytest.mark.parametrize(
        ("attribute", "changed"),
        [("data-copied", {"copied"}), ("data-updated", {"updated"}), ("data-return", {"has_notice", "heard"})],
    )
    def test_what_is_left_out_does_not_work(self, customer: Customer, attribute: str, changed: set[str]) -> None:
        """The control: without an attribute of the table, what it is for does not happen."""
        customer.shop.app.jinja_loader = DictLoader(
            {name: re.sub(rf"{attribute}\b", "data-x", markup) for name, markup in BARE_TEMPLATES.items()}
        )
        seen = observe(customer)
        whole = {"copied": "Got it", "has_notice": True, "heard": ["polite", "Paid, thank you. Soon back"]}
        whole["updated"] = f"{customer.shop.order().read_at:%Y-%m-%d %H:%M} UTC"
        assert {name for name, value in whole.items() if seen[name] != value} == changed

    def test_the_bare_markup_has_every_listed_attribute(self) -> None:
        """None of the table is left out of it, but those that the script itself sets."""
        markup = "".join(BARE_TEMPLATES.values())
        assert {name for name in read_table("attribute") if name not in markup} == {
            "data-is-over",
            "data-label",
            "data-low",
        }
