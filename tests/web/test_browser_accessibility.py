"""Every screen of the checkout against WCAG 2.2 AA in a real browser, however people have set theirs up."""

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import zxingcpp
from axe_playwright_python.sync_playwright import Axe
from flask import Response
from jinja2 import DictLoader
from PIL import Image
from screens import SCREENS, Gallery, Screen, showing
from shops import Shop

from flask_iterapay.web.link_view import LinkState
from flask_iterapay.web.view import PageState

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page, ViewportSize

pytestmark = pytest.mark.browser

AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations", "incomplete"],
}
WIDE: "ViewportSize" = {"width": 1280, "height": 900}
NARROW: "ViewportSize" = {"width": 320, "height": 640}
CALM: dict[str, Any] = {"reduced_motion": "reduce"}
SCREEN = {screen.name: screen for screen in SCREENS}
WAITING = SCREEN["waiting"]
WAITING_AT_LINK = SCREEN["link_waiting_listed"]
OF_BOTH_KINDS = pytest.mark.parametrize("screen", [WAITING, WAITING_AT_LINK], ids=["order", "link"])
ORDERS_ASKING = [screen for screen in SCREENS if screen.state in (PageState.WAITING, PageState.UNDERPAID_OPEN)]
LINKS_ASKING = [screen for screen in SCREENS if screen.link_state is LinkState.WAITING]
ASKING = ORDERS_ASKING + LINKS_ASKING


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a page is shown. ``only_here`` is a CSS rule whose content holds in this look: a fault can hide in it."""

    name: str
    viewport: "ViewportSize" = field(default_factory=lambda: WIDE)
    media: dict[str, Any] = field(default_factory=dict)
    only_here: str


LOOKS = (
    Look(name="light", only_here="@media (prefers-color-scheme: light)"),
    Look(name="dark", media={"color_scheme": "dark"}, only_here="@media (prefers-color-scheme: dark)"),
    Look(name="light-320", viewport=NARROW, only_here="@media (width <= 320px)"),
    Look(
        name="dark-320",
        viewport=NARROW,
        media={"color_scheme": "dark"},
        only_here="@media (width <= 320px) and (prefers-color-scheme: dark)",
    ),
    Look(name="forced-colors", media={"forced_colors": "active"}, only_here="@media (forced-colors: active)"),
)
MIRRORED = Look(name="mirrored", only_here="@scope ([dir=rtl])")
NO_SCRIPT = Look(name="no-script", only_here="@scope (main:has([data-script][hidden]))")


CHECKS = {
    "targets": """visible("a, button, summary, label:has([type=radio])").filter((element) => {
      const { width, height } = element.getBoundingClientRect();
      return width < 44 || height < 44;
    })""",
    "focus": """visible("a, button, summary, input").filter((element) => {
      element.focus();
      const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
      const isOutlined = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
      const isSeen = isOutlined && contrast(outlineColor, ground(element.parentElement)) >= 3;
      return !isSeen || !element.matches(":focus-visible");
    })""",
    "gradient": """visible("main *, footer *").filter((element) => {
      const { backgroundImage, color } = getComputedStyle(element);
      const bands = backgroundImage.match(/rgba?\\([^)]*\\)/g) ?? [];
      return bands.some((band) => channels(band)[3] !== 0 && contrast(color, band) < 4.5);
    })""",
    "heading": "all('h1').length === 1 && all('h1')[0].textContent.trim() ? [] : [document.body]",
    "landmark": "all('main').length === 1 && all('main h1').length ? [] : [document.body]",
    "refresh": "all('meta[http-equiv=refresh i]')",
    "motion": "document.getAnimations().map((animation) => animation.effect.target)",
    # A page that turns by itself has two regions to say so in, and both are silent while it loads.
    "regions": """all("[data-status]").flatMap(() => {
      const regions = all("[data-live]").map(({ role, textContent }) => role + textContent);
      return regions.join() === "status,alert" ? [] : [document.body];
    })""",
}
TOOLS = """
const all = (selector) => [...document.querySelectorAll(selector)];
const visible = (selector) => all(selector).filter((element) => element.checkVisibility());
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  while (element && channels(getComputedStyle(element).backgroundColor)[3] === 0) element = element.parentElement;
  return element ? getComputedStyle(element).backgroundColor : "rgb(255, 255, 255)";
};
const luminance = (color) => {
  const [red, green, blue] = channels(color).map((value) => (value / 255 + 0.055) / 1.055).map((value) => value ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one, other) => {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
};
"""
FIND = f"""() => {{
  {TOOLS}
  const found = {{ {", ".join(f"{name}: {code}" for name, code in CHECKS.items())} }};
  const describe = (name, {{ localName, id, className }}) => `${{name}}: ${{localName}}#${{id}}.${{className}}`;
  return Object.entries(found).flatMap(([name, elements]) => elements.map((element) => describe(name, element)));
}}"""


class Viewer:
    """A browser that goes from screen to screen, and looks at each of them in several ways."""

    def __init__(self, page: "Page", *, has_script: bool = True, is_mirrored: bool = False) -> None:
        self.page = page
        self._has_script = has_script
        self._is_mirrored = is_mirrored
        self._session: CDPSession = page.context.new_cdp_session(page)

    def go_to(self, gallery: Gallery, screen: Screen) -> None:
        """Open a screen. Where JavaScript is off, none of the page's ever runs, but what a test evaluates may."""
        self._allow_scripts(self._has_script)
        gallery.open(self.page, screen)
        self._allow_scripts(True)
        if self._is_mirrored:
            self.page.evaluate("document.documentElement.dir = 'rtl'")
        self.page.evaluate(Axe().axe_script)

    def _allow_scripts(self, is_allowed: bool) -> None:
        if not self._has_script:
            self._session.send("Emulation.setScriptExecutionDisabled", {"value": not is_allowed})

    def find_faults(self, look: Look) -> list[str]:
        """Everything that axe objects to or cannot decide, or that breaks a rule of our own: which, and where."""
        self.page.set_viewport_size(look.viewport)
        self.page.emulate_media(**{"color_scheme": "light", "forced_colors": "none"} | look.media)
        results = self.page.evaluate("(options) => axe.run(options)", AXE_OPTIONS)
        found = [(fault["id"], node) for fault in results["violations"] for node in fault["nodes"]]
        doubts = [(fault["id"], node) for fault in results["incomplete"] for node in fault["nodes"]]
        found += [(rule, node) for rule, node in doubts if not _is_beyond_axe(rule, node, look)]
        return [f"{rule}: {' '.join(map(str, node['target']))}" for rule, node in found] + self._break_our_rules()

    def _break_our_rules(self) -> list[str]:
        # Once a key was pressed, the browser shows where the focus is.
        self.page.keyboard.press("Tab")
        return self.page.evaluate(FIND)


def _is_beyond_axe(rule: str, node: dict[str, Any], look: Look) -> bool:
    """Whether axe is in doubt of a contrast that it cannot work out.

    It reads the text colour of the style sheet where a forced one has taken its place. On a gradient it gives up, and
    a rule of our own compares the text with each of its colours.
    """
    if rule != "color-contrast":
        return False
    is_gradient = any((check["data"] or {}).get("messageKey") == "bgGradient" for check in node["any"])
    return is_gradient or "forced_colors" in look.media


def find_address(gallery: Gallery, screen: Screen) -> str:
    """The address that a screen asks for money at, as the shop has it."""
    shop = gallery.shop(screen)
    return shop.visit(shop.visits[-1]).address if screen.is_visit else shop.order().current_invoice.address


def find_all(viewer: Viewer, gallery: Gallery, looks: tuple[Look, ...]) -> dict[str, tuple[str, str]]:
    """Every fault of any screen in any of the looks, and where it was met first."""
    found: dict[str, tuple[str, str]] = {}
    for screen in SCREENS:
        viewer.go_to(gallery, screen)
        for look in looks:
            for fault in viewer.find_faults(look):
                found.setdefault(fault, (screen.name, look.name))
    return found


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """Every screen as it is shipped."""
    with showing(tmp_path_factory.mktemp("screens")) as gallery:
        yield gallery


WORN = """
{% extends "iterapay/FOLDER/" ~ view.state ~ ".html" %}
{% block head %}{{ super() }}<link rel="stylesheet" href="{{ url_for('worn') }}">{% endblock %}
{% block body %}{{ costume.html|safe }}{{ super() }}{% endblock %}
"""


@dataclass(slots=True)
class Costume:
    """What a shop's own template puts on every page, with styles of its own: the faults of a test."""

    html: str = ""
    css: str = ""

    def dress(self, shop: Shop) -> None:
        """Put it on a shop."""
        templates = {"checkout": "states", "link": "links"}
        shop.app.jinja_loader = DictLoader(
            {f"iterapay/{name}.html": WORN.replace("FOLDER", folder) for name, folder in templates.items()}
        )
        shop.app.jinja_env.globals["costume"] = self
        shop.app.add_url_rule("/worn.css", "worn", lambda: Response(self.css, mimetype="text/css"))


@pytest.fixture(scope="module")
def costume():
    """What the shops of ``worn_gallery`` wear."""
    return Costume()


@pytest.fixture(scope="module")
def worn_gallery(tmp_path_factory, costume):
    """Every screen as a shop may spoil it."""
    with showing(tmp_path_factory.mktemp("worn"), dress=costume.dress) as gallery:
        yield gallery


FAULTS = (
    ("color-contrast", "<p id=fault>Words</p>", "#fault { color: #999; background: #aaa }"),
    ("button-name", "<button type=button></button>", ""),
    ("target-size", "<p><button>A</button><button>B</button></p>", "button { inline-size: 10px; padding: 0 }"),
    ("label", "<input>", ""),
    ("targets", "<a id=fault href=/>Words</a>", "#fault { display: block; block-size: 43px }"),
    ("targets", "<label><input type=radio></label>", ""),
    ("focus", "<a href=/>Words</a>", "a:focus-visible { outline: none !important }"),
    ("focus", "<a href=/>Words</a>", "a:focus-visible { outline-width: 1px !important }"),
    ("focus", "<a href=/>Words</a>", "a:focus-visible { outline-color: #ccc !important }"),
    ("gradient", "<p id=fault>Words</p>", "#fault { color: #000; background: linear-gradient(#fff, #666) }"),
    ("heading", "<h1>Words</h1>", ""),
    ("heading-order", "<h4>Words</h4>", ""),
    ("landmark", "<main></main>", ""),
    ("refresh", "<meta http-equiv=Refresh content=300>", ""),
    ("regions", "<p data-live=polite role=status></p>", ""),
    ("motion", "", "h1 { animation: blink 1s infinite } @keyframes blink { to { color: red } }"),
)
"""The rule that is broken, and what breaks it."""


class TestScreens:
    def test_no_screen_has_a_fault_in_any_look(self, visits, gallery):
        """Axe objects to nothing and leaves nothing undecided, and the rules that it does not know hold as well."""
        assert find_all(Viewer(visits.open(**CALM)), gallery, LOOKS) == {}

    def test_no_screen_has_a_fault_from_right_to_left(self, visits, gallery):
        """The same for who reads from right to left."""
        viewer = Viewer(visits.open(locale="ar", **CALM), is_mirrored=True)
        assert find_all(viewer, gallery, (MIRRORED,)) == {}

    def test_no_screen_has_a_fault_without_a_script(self, visits, gallery):
        """The same for who has switched JavaScript off."""
        viewer = Viewer(visits.open(java_script_enabled=False, **CALM), has_script=False)
        assert find_all(viewer, gallery, (NO_SCRIPT,)) == {}

    @OF_BOTH_KINDS
    def test_a_fault_of_one_look_is_found_in_it(self, visits, worn_gallery, costume, screen):
        """Words that can be read everywhere else are pointed at, so the look is on while axe looks."""
        looks = (*LOOKS, MIRRORED, NO_SCRIPT)
        grey = "color: #999; background: #aaa; forced-color-adjust: none"
        costume.html = "".join(f"<p id={look.name}>Words</p>" for look in looks)
        costume.css = "".join(f"{look.only_here} {{ #{look.name} {{ {grey} }} }}" for look in looks)
        viewers = [Viewer(visits.open())] * len(LOOKS)
        viewers.append(Viewer(visits.open(), is_mirrored=True))
        viewers.append(Viewer(visits.open(java_script_enabled=False), has_script=False))
        for look, viewer in zip(looks, viewers, strict=True):
            viewer.go_to(worn_gallery, screen)
            assert f"color-contrast: #{look.name}" in viewer.find_faults(look)

    @OF_BOTH_KINDS
    def test_a_fault_of_each_kind_is_found(self, visits, worn_gallery, costume, screen):
        """A shop whose own template or style breaks a rule is told which."""
        viewer, missed = Viewer(visits.open()), []
        for rule, costume.html, costume.css in FAULTS:
            viewer.go_to(worn_gallery, screen)
            found = viewer.find_faults(LOOKS[0])
            if rule not in {fault.partition(":")[0] for fault in found}:
                missed.append((rule, costume.html, costume.css))
        assert missed == []


WIDTHS = """() => ["", "font-size: 200%", "font-size: 200%; direction: rtl"].map((style) => {
  document.documentElement.style.cssText = style;
  return document.documentElement.scrollWidth;
})"""


class TestReflow:
    def test_no_page_is_scrolled_sideways_on_a_narrow_screen(self, visits, gallery):
        """Every page fits into 320 px, also with text of twice the size, and from right to left."""
        page = visits.open(viewport=NARROW)
        found = {}
        for screen in SCREENS:
            gallery.open(page, screen)
            found[screen.name] = page.evaluate(WIDTHS)
        assert found == {screen.name: [320, 320, 320] for screen in SCREENS}

    @OF_BOTH_KINDS
    def test_a_page_that_is_too_wide_is_found(self, visits, worn_gallery, costume, screen):
        """What fits at first and no longer with large text is measured, in both directions."""
        costume.html, costume.css = "<p id=fault>Words</p>", "#fault { inline-size: 15rem }"
        page = visits.open(viewport=NARROW)
        worn_gallery.open(page, screen)
        narrow, *wide = page.evaluate(WIDTHS)
        assert narrow == 320
        assert min(wide) > 320


class TestPrint:
    def test_paper_has_what_is_to_be_paid_and_no_buttons(self, visits, gallery):
        """Address, amount, network and reference are printed; what can only be pressed is not."""
        page = visits.open()
        for screen in ORDERS_ASKING:
            self.print(page, gallery, screen)
            invoice = gallery.shop(screen).order().current_invoice
            for words in (invoice.pay_amount, invoice.method.network, "1042"):
                assert page.get_by_text(words).first.is_visible()

    def test_paper_of_a_link_has_the_reference_and_the_minimum(self, visits, gallery):
        """And no amount that would have to be met, but what has come in so far."""
        page = visits.open()
        for screen in LINKS_ASKING:
            self.print(page, gallery, screen)
            shop = gallery.shop(screen)
            visit = shop.visit(shop.visits[-1])
            for words in (visit.method.network, visit.reference, *(["20.00 USD"] if shop.link().minimum else [])):
                assert page.get_by_text(words).first.is_visible()
            assert page.locator("section dt:visible").count() == page.locator("section dt").count()

    def print(self, page: "Page", gallery: Gallery, screen: Screen) -> None:
        """Open a screen and print it: the address is on the paper, and no button."""
        page.emulate_media(media="screen")
        gallery.open(page, screen)
        assert page.get_by_role("button").count() > 0
        page.emulate_media(media="print")
        assert page.get_by_role("button").or_(page.get_by_role("radio")).count() == 0
        assert page.locator("#ip-address").inner_text() == find_address(gallery, screen)


def ring(picture: Image.Image, inset: float, thickness: float) -> list[tuple[int, int]]:
    """The darkest and lightest grey of each side of a square ring within a picture."""
    near, far = inset, inset + thickness
    width, height = picture.size
    sides = (
        (near, near, width - near, far),
        (near, height - far, width - near, height - near),
        (near, near, far, height - near),
        (width - far, near, width - near, height - near),
    )
    return [picture.crop(tuple(map(round, side))).getextrema() for side in sides]


class TestQrCode:
    @pytest.mark.parametrize(
        "options",
        [{}, {"color_scheme": "dark"}, {"forced_colors": "active", "color_scheme": "dark"}, {"viewport": NARROW}],
        ids=["light", "dark", "forced-colors", "light-320"],
    )
    def test_it_is_large_and_black_on_white(self, visits, gallery, options):
        """At least 200 px wide, in a white frame of four modules, and read without being turned inside out."""
        page = visits.open(**options)
        for screen in ASKING:
            gallery.open(page, screen)
            code = page.locator("[role=img] svg")
            picture = Image.open(io.BytesIO(code.screenshot())).convert("L")
            assert min(picture.size) >= 200
            [found] = zxingcpp.read_barcodes(picture, try_invert=False)
            assert found.text == find_address(gallery, screen)
            module = picture.width / int((code.get_attribute("viewBox") or "").split()[2])
            # The outermost module may have a border and round corners.
            assert ring(picture, module, 2.5 * module) == [(255, 255)] * 4
            assert ring(picture, 4.5 * module, 6 * module) == [(0, 255)] * 4
