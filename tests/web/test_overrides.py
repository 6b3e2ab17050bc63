"""The templates as a public interface: docs/templates.md names exactly what there is, and a shop can override it."""

import dataclasses
import fnmatch
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import overrides
import pytest
from flask import Blueprint, Flask, template_rendered
from jinja2 import DictLoader, Template, meta, nodes
from msgspec import Struct
from overrides import (
    PAGES,
    PARTIALS,
    SHOWN,
    TEMPLATES,
    WEB,
    Wardrobe,
    mark,
    override,
    quoted,
    read_table,
    without_marks,
)
from screens import act, make_shop, prepare
from worlds import Timepiece

from flask_iterapay import IteraPay, Order
from flask_iterapay.config import LANGUAGES
from flask_iterapay.gateway.models import PaymentMethod, Transaction
from flask_iterapay.links.models import VisitPayment
from flask_iterapay.orders.models import InvoiceRecord
from flask_iterapay.web.link_view import LinkState, LinkView, ListedPayment
from flask_iterapay.web.page import Notice
from flask_iterapay.web.translation import Translation
from flask_iterapay.web.view import MethodOption, PageState, PageView

BLOCKS = [(name, block) for name in PAGES for block in overrides.find_blocks(TEMPLATES[name])]
NAMES = [screen.name for screen in SHOWN]
OF_ORDERS = [screen.name for screen in SHOWN if screen.state]
OF_LINKS = [screen.name for screen in SHOWN if screen.link_state]
CHAINS = {chain for template in TEMPLATES.values() for chain in overrides.find_chains(template)}
STYLES = (WEB / "static" / "checkout.css").read_text(encoding="utf-8")
SCRIPT = (WEB / "static" / "checkout.js").read_text(encoding="utf-8")
CSS, BASE, SUPPORT, WORDS, OVERPAID, LAYOUT, RECEIVED = overrides.read_snippets()
PLACES = ["orders", "links", "visits", "`problem.html`", "`not_found.html`"]

SHOPS_LAYOUT = """
<!doctype html><html lang="en"><head><title>{% block title %}Our shop{% endblock %}</title>
{% block head %}{% endblock %}</head><body><nav>Our shop</nav>{% block main %}{% endblock %}</body></html>
"""


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory: pytest.TempPathFactory) -> Wardrobe:
    """The shops of this module."""
    return Wardrobe(tmp_path_factory.mktemp("shops"))


@pytest.fixture(scope="module")
def plain(wardrobe: Wardrobe) -> dict[str, str]:
    """Every screen as it is shipped."""
    return {name: wardrobe.read(name) for name in NAMES}


@pytest.fixture(scope="module")
def dressed(wardrobe: Wardrobe) -> dict[str, str]:
    """Every screen of a shop that overrides each template, and adds a mark to each block, partial and macro."""
    templates = {name: override(name) for name in TEMPLATES}
    return {name: wardrobe.read(name, templates) for name in NAMES}


def marked(pages: dict[str, str], template: str, part: str = "") -> list[str]:
    """The screens that show a mark."""
    return [name for name, html in pages.items() if mark(template, part) in html]


def find_parts(html: str, start: str, tag: str) -> list[str]:
    """Every element that begins with ``start``, without blanks; of one that has no content, its tag."""
    end = ">" if tag == "link" else f"</{tag}>"
    return ["".join(part.split()) for part in re.findall(f"{start}.*?{end}", html, flags=re.DOTALL)]


def names_of(kind: type) -> set[str]:
    """The public fields and properties of a class."""
    # A value is a struct, or a dataclass where it hides something.
    fields = kind.__struct_fields__ if issubclass(kind, Struct) else [field.name for field in dataclasses.fields(kind)]
    return set(fields) | {name for name, value in vars(kind).items() if isinstance(value, property)}


class TestTables:
    @pytest.mark.parametrize(
        ("heading", "names"),
        [
            ("page", set(PAGES)),
            ("partial", set(PARTIALS)),
            ("macro", {macro.name for macro in TEMPLATES["_words.html"].find_all(nodes.Macro)}),
            ("block", {block for _, block in BLOCKS}),
            ("`view`", names_of(PageView)),
            ("`view` of links", names_of(LinkView)),
        ],
    )
    def test_a_table_names_what_there_is_and_nothing_else(self, heading: str, names: set[str]) -> None:
        """Nothing new goes undocumented, and nothing old stays."""
        assert set(read_table(heading)) == names

    def test_there_is_a_template_for_every_state(self) -> None:
        """A value of ``view.state`` is the name of a page."""
        assert {name for name in PAGES if name.startswith("states/")} == {f"states/{state}.html" for state in PageState}
        assert {name for name in PAGES if name.startswith("links/")} == {f"links/{state}.html" for state in LinkState}

    @pytest.mark.parametrize("partial", PARTIALS)
    def test_a_partial_is_on_the_pages_that_the_table_says(self, dressed: dict[str, str], partial: str) -> None:
        """Whoever changes one knows on which pages that is seen."""
        shown = {name for name, html in dressed.items() if f"⟦{partial} " in html}
        kinds = {"orders": set(OF_ORDERS), "links": set(OF_LINKS), "errors": {"not_found", "problem"}}
        found = [kind for kind, names in kinds.items() if shown & names]
        assert read_table("partial")[partial][0] == ("all kinds" if len(found) == len(kinds) else ", ".join(found))

    def test_every_css_variable_is_there_with_its_colours(self) -> None:
        """Names and values are those of the stylesheet, and every variable of a rule is one of them or local to it."""
        light, dark = (
            dict(re.findall(r"(--ip-[\w-]+): ([^;]+);", rules))
            for rules in re.findall(r"^ *\.iterapay \{\n(.*?)\n *\}", STYLES, flags=re.MULTILINE | re.DOTALL)
        )
        table = {
            name: [cell.strip("`") for cell in cells[:2]] for name, cells in read_table("variable | light").items()
        }
        assert table == {name: [value, dark.get(name, "")] for name, value in light.items()}
        declared = set(re.findall(r"[{;]\s*(--[\w-]+):", STYLES))
        assert set(re.findall(r"var\((--[\w-]+)", STYLES)) <= declared
        assert {name for name in declared if name not in light} == {"--ip-char"}

    def test_every_variable_that_the_routes_hand_over_is_there(self, wardrobe: Wardrobe) -> None:
        """The context of the real answers is the documented one, on the pages that the table names."""
        handed: dict[str, set[str]] = {}
        of_every_app: dict[str, object] = {}

        def note(sender: Flask, *, template: Template, context: dict[str, Any], **rest: object) -> None:
            page = str(template.name).removeprefix("iterapay/")
            place = {"checkout.html": "orders", "link.html": "visits" if "token" in context else "links"}.get(page)
            if not of_every_app:
                with sender.test_request_context("/"):
                    sender.update_template_context(of_every_app)
            variables = set(context) - set(of_every_app)
            assert handed.setdefault(place or f"`{page}`", variables) == variables

        with template_rendered.connected_to(note):
            for name in NAMES:
                wardrobe.read(name)
        places = defaultdict(list)
        for place in PLACES:
            for variable in handed[place]:
                places[variable].append(place)
        found = {name: "every page" if len(on) == len(PLACES) else ", ".join(on) for name, on in places.items()}
        assert {name: cells[0] for name, cells in read_table("variable | on").items()} == found

    def test_the_templates_use_no_other_variable(self, wardrobe: Wardrobe) -> None:
        """What a template reads is in the table, is one of Jinja's or Flask's own, or is what a partial takes."""
        wardrobe.read("paid")
        [paid] = [screen for screen in SHOWN if screen.name == "paid"]
        known = set(read_table("variable | on")) | set(wardrobe.gallery.shop(paid).app.jinja_env.globals)
        for name, template in TEMPLATES.items():
            takes = read_table("partial")[name][1].partition("takes")[2] if name in PARTIALS else ""
            imported = {macro for node in template.find_all(nodes.FromImport) for macro in node.names}
            assert meta.find_undeclared_variables(template) - known - imported <= set(quoted(takes)), name

    @pytest.mark.parametrize(
        ("root", "listed", "kind"),
        [
            ("order", list(read_table("`order`")), Order),
            ("view.method", quoted(read_table("`view`")["method"][0].partition("with")[2]), PaymentMethod),
            ("method", quoted(read_table("`view`")["method"][0].partition("with")[2]), PaymentMethod),
            ("view.invoice", quoted(read_table("`view`")["invoice"][0]), InvoiceRecord),
            ("transfer", ["tx_hash", "created_at"], Transaction),
            ("option", ["method", "pay_amount"], MethodOption),
            ("payment", quoted(read_table("`view` of links")["payments"][0].replace("`None`", "")), ListedPayment),
            ("ip_t", ["language", "tag", "direction"], Translation),
        ],
    )
    def test_what_is_listed_of_a_value_is_there_and_is_enough(self, root: str, listed: list[str], kind: type) -> None:
        """The fields are real, and the shipped templates get by on them."""
        assert set(listed) <= names_of(kind)
        used = {chain.removeprefix(f"{root}.").split(".")[0] for chain in CHAINS if chain.startswith(f"{root}.")}
        assert used <= set(listed)
        assert all(f"`{name}`" in overrides.DOCS or f"`{root}.{name}`" in overrides.DOCS for name in listed)

    def test_what_is_listed_of_a_visitors_own_payments_is_there_and_is_enough(self) -> None:
        """They know less than those of a link's list: the method is the visit's."""
        listed = set(quoted(read_table("`view` of links")["own_payments"][0].replace("`None`", "")))
        assert listed <= names_of(VisitPayment)
        templates = [TEMPLATES[name] for name in ("_own_payments.html", "_payment_status.html")]
        chains = {chain for template in templates for chain in overrides.find_chains(template)}
        assert {chain.partition(".")[2] for chain in chains if chain.startswith("payment.")} == listed

    def test_every_data_attribute_is_there(self) -> None:
        """What stands in the templates and what the script reads or sets are the same, and the table has it."""
        source = "".join(path.read_text(encoding="utf-8") for path in (WEB / "templates").rglob("*.html"))
        in_templates = set(re.findall(r"\b(data-[a-z][\w-]*)", source))
        in_script = {f"data-{name}" for name in overrides.find_data_attributes(SCRIPT)}
        assert set(read_table("attribute")) == in_templates | in_script
        assert in_script - in_templates == {"data-is-over", "data-label", "data-low"}

    def test_every_id_is_there(self, plain: dict[str, str]) -> None:
        """The ids of all pages together, and those that the script looks for."""
        ids = {re.sub(r"\d+$", "N", name) for html in plain.values() for name in re.findall(r'\bid="([^"]+)"', html)}
        assert set(read_table("id")) == ids
        assert set(re.findall(r"\b(ip-[\w-]+)", SCRIPT)) <= ids

    def test_notices_and_languages_are_complete(self) -> None:
        """Two lists in sentences."""
        assert set(quoted(read_table("variable | on")["notice"][1])) == {*Notice, "None"}
        [sentence] = re.findall(r"The\s+shipped\s+ones\s+are\s+([^.]*)\.", overrides.DOCS)
        assert quoted(sentence) == list(LANGUAGES)

    def test_the_readers_see_what_would_be_missing(self) -> None:
        """The control: a block, a chain of attributes, and data attributes in each way that a script can name them."""
        template = overrides.PARSER.parse("{% block logo %}{% if view.invoice.amount %}{% endif %}{% endblock %}")
        assert overrides.find_blocks(template) == ["logo"]
        assert "view.invoice.amount" in set(overrides.find_chains(template))
        script = "find('[data-first]'); const { second, third: x } = a.dataset; b.dataset.fourthOne = 1"
        assert {"first", "second", "third", "fourth-one"} <= overrides.find_data_attributes(script)


class TestOverriding:
    @pytest.mark.parametrize(("template", "block"), BLOCKS)
    def test_a_block_shows_where_the_table_says(self, dressed: dict[str, str], template: str, block: str) -> None:
        """An override is seen on a real page if, and only if, the table names the template for the block."""
        patterns = quoted(read_table("block")[block][0])
        is_documented = any(fnmatch.fnmatch(template, pattern) for pattern in patterns)
        assert bool(marked(dressed, template, block)) is is_documented

    @pytest.mark.parametrize("name", NAMES)
    def test_the_rest_still_stands_if_everything_is_overridden(
        self, plain: dict[str, str], dressed: dict[str, str], name: str
    ) -> None:
        """Every template of the shop extends or includes the shipped one of its name, and none loops."""
        assert dressed[name] != plain[name]
        assert without_marks(dressed[name]) == plain[name]

    @pytest.mark.parametrize("template", TEMPLATES)
    @pytest.mark.parametrize("folder", ["flask_iterapay/", "iterapay/"])
    def test_each_template_can_be_overridden_alone(
        self, wardrobe: Wardrobe, plain: dict[str, str], dressed: dict[str, str], template: str, folder: str
    ) -> None:
        """One file of the shop beside all the shipped ones: its marks are on the page, and the rest still stands.

        It may name the shipped one by its own name, which could not be meant otherwise.
        """
        name = next(name for name, html in dressed.items() if f"⟦{template} " in html)
        html = wardrobe.read(name, {template: override(template).replace("flask_iterapay/", folder)})
        assert f"⟦{template} " in html
        assert without_marks(html) == plain[name]

    @pytest.mark.parametrize("state", [*PageState, *LinkState], ids=repr)
    def test_a_states_template_changes_that_state_alone(
        self, dressed: dict[str, str], state: PageState | LinkState
    ) -> None:
        """Its body is on every screen of the state and on no other, and of the same name a link's is not an order's."""
        of_state = [screen.name for screen in SHOWN if screen.state is state or screen.link_state is state]
        folder = "states" if isinstance(state, PageState) else "links"
        assert marked(dressed, f"{folder}/{state}.html", "body") == of_state

    @pytest.mark.parametrize("block", ["head", "banner", "header", "footer"])
    def test_a_base_of_the_shop_reaches_every_page(self, dressed: dict[str, str], block: str) -> None:
        """The error pages too: the shipped templates extend the shop's base."""
        assert marked(dressed, "base.html", block) == NAMES

    @pytest.mark.parametrize("block", sorted({block for name, block in BLOCKS if name in ("base.html", "live.html")}))
    @pytest.mark.parametrize(("template", "names"), [("checkout.html", OF_ORDERS), ("link.html", OF_LINKS)])
    def test_the_nearest_template_reaches_every_page_of_its_kind(
        self, dressed: dict[str, str], template: str, names: list[str], block: str
    ) -> None:
        """A block that is overridden there shows in every state, even where the state's template empties it."""
        assert marked(dressed, template, block) == names

    @pytest.mark.parametrize("block", sorted(set(overrides.find_blocks(TEMPLATES["live.html"])) - {"headline", "body"}))
    @pytest.mark.parametrize(("template", "names"), [("page.html", OF_ORDERS), ("link_page.html", OF_LINKS)])
    def test_what_both_kinds_have_can_be_changed_for_one(
        self, wardrobe: Wardrobe, plain: dict[str, str], template: str, names: list[str], block: str
    ) -> None:
        """A block of ``live.html`` that is overridden on the way to it is seen on the pages of one kind alone."""
        source = (
            f"{{% extends 'flask_iterapay/{template}' %}}{{% block {block} %}}⟦here⟧{{{{ super() }}}}{{% endblock %}}"
        )
        for name in ("preparing", "link_preparing"):
            html = wardrobe.read(name, {template: source})
            assert without_marks(html) == plain[name]
            assert ("⟦here⟧" in html) is (name in names)

    @pytest.mark.parametrize("macro", read_table("macro"))
    def test_each_macro_is_used(self, dressed: dict[str, str], macro: str) -> None:
        """A macro of the shop writes what the shipped templates show."""
        assert marked(dressed, "_words.html", macro)

    def test_what_an_override_drops_is_noticed(self, wardrobe: Wardrobe, plain: dict[str, str]) -> None:
        """The control: without ``super()`` a block is gone, and under a wrong name nothing is overridden."""
        without_super = "{% extends 'flask_iterapay/page.html' %}{% block summary %}⟦here⟧{% endblock %}"
        html = wardrobe.read("paid", {"page.html": without_super})
        assert "⟦here⟧" in html
        assert without_marks(html) != plain["paid"]
        assert wardrobe.read("paid", {"pages.html": without_super}) == plain["paid"]


def register_renamed(app: Flask, blueprint: Blueprint) -> None:
    """Another name and another prefix."""
    app.register_blueprint(blueprint, name="kasse", url_prefix="/kasse/zahlung")


def register_nested(app: Flask, blueprint: Blueprint) -> None:
    """Within a blueprint of the shop."""
    parent = Blueprint("parent", __name__)
    parent.register_blueprint(blueprint, url_prefix="/pay")
    app.register_blueprint(parent, url_prefix="/shop")


class TestPlaces:
    @pytest.mark.parametrize("register", [register_renamed, register_nested])
    def test_overrides_hold_under_any_name_and_prefix(
        self, tmp_path: Path, register: Callable[[Flask, Blueprint], None]
    ) -> None:
        """The links of the pages, the context of the error page and the shop's templates do not depend on a name."""
        app = Flask("shop", instance_path=str(tmp_path))
        app.config.update(TESTING=True, SECRET_KEY="a secret key", ITERAPAY_SANDBOX=True)
        app.jinja_loader = DictLoader({"iterapay/base.html": override("base.html")})
        iterapay = IteraPay()
        iterapay.init_app(app, clock=Timepiece())
        register(app, iterapay.blueprint)
        with app.app_context():
            path = iterapay.checkout_url(iterapay.place_order("1042", amount="25.00"))
        client = app.test_client()
        page, missing = client.get(path), client.get(f"{path}-made-up")
        assert (page.status_code, missing.status_code) == (200, 404)
        for answer in (page, missing):
            assert mark("base.html", "header") in answer.text
            assert f'href="{path.rpartition("/")[0]}/static/checkout.css"' in answer.text
        assert f'action="{path}"' in page.text

    @pytest.mark.parametrize(("is_before", "is_seen"), [(True, True), (False, False)])
    def test_a_blueprint_of_the_shop_may_hold_them_if_it_comes_first(
        self, tmp_path: Path, is_before: bool, is_seen: bool
    ) -> None:
        """Flask looks for templates in the order of registration, after the app's own folder."""
        folder = tmp_path / "templates" / "iterapay"
        folder.mkdir(parents=True)
        (folder / "base.html").write_text(override("base.html"), encoding="utf-8")
        theme = Blueprint("theme", __name__, template_folder=str(tmp_path / "templates"))
        app = Flask("shop", instance_path=str(tmp_path))
        app.config.update(TESTING=True, SECRET_KEY="a secret key", ITERAPAY_SANDBOX=True)
        iterapay = IteraPay(app)
        for blueprint in (theme, iterapay.blueprint) if is_before else (iterapay.blueprint, theme):
            app.register_blueprint(blueprint)
        assert (mark("base.html", "header") in app.test_client().get("/made-up").text) is is_seen


class TestSnippets:
    def test_every_snippet_is_run(self) -> None:
        """The tests below, and those of the brand in the browser, know all files that the page shows."""
        assert [path for path, _ in (CSS, BASE, SUPPORT, WORDS, OVERPAID, LAYOUT, RECEIVED)] == [
            "static/brand.css",
            "templates/iterapay/base.html",
            "templates/iterapay/_support.html",
            "templates/iterapay/_words.html",
            "templates/iterapay/states/overpaid.html",
            "templates/iterapay/base.html",
            "templates/iterapay/links/received.html",
        ]

    @pytest.mark.parametrize("name", NAMES)
    def test_the_base_adds_logo_and_stylesheet(self, wardrobe: Wardrobe, plain: dict[str, str], name: str) -> None:
        """On every page, which is otherwise as it was."""
        html = wardrobe.read(name, {"base.html": BASE[1]})
        added = re.findall(r'<link rel="stylesheet" href="[^"]*/static/brand\.css">|<header>.*?</header>', html)
        assert len(added) == 2
        for part in added:
            html = html.replace(part, "", 1)
        assert html.split() == plain[name].split()

    def test_the_support_partial_adds_a_telephone_number(self, wardrobe: Wardrobe) -> None:
        """Both ways to get help stand side by side."""
        html = wardrobe.read("late", {"_support.html": SUPPORT[1]})
        number = '<a href="tel:+4930123456"><bdi dir="ltr">+49 30 123456</bdi></a>'
        assert f">Contact support</a> {number}" in html

    @pytest.mark.parametrize("name", NAMES)
    def test_the_macro_changes_the_orders_amount(self, wardrobe: Wardrobe, plain: dict[str, str], name: str) -> None:
        """It alone, wherever it stands."""
        assert wardrobe.read(name, {"_words.html": WORDS[1]}) == plain[name].replace("25.00 USD<", "25.00 US$<")

    def test_the_states_template_says_it_in_the_shops_words(self, tmp_path: Path) -> None:
        """The rest of the receipt stands, and nothing needs to be set up for it."""
        shop = make_shop(tmp_path)
        shop.app.jinja_loader = DictLoader({"iterapay/states/overpaid.html": OVERPAID[1]})
        html = shop.client.get(prepare(shop, act("pay_over"), return_url="/thanks")).text
        assert "We send the difference back within two days." in html
        assert "Order amount" in html
        assert 'href="/thanks"' in html

    def test_the_links_template_thanks_in_the_shops_words(self, wardrobe: Wardrobe) -> None:
        """What has arrived stands below, and the way to another payment; the shipped words are gone."""
        html = wardrobe.read("link_received", {"links/received.html": RECEIVED[1]})
        assert "Thank you! Every notebook goes to the library." in html
        assert '<bdi dir="ltr">20.010006 USDT</bdi>' in html
        assert "Make another payment" in html
        assert "Your payment is complete" not in html

    @pytest.mark.parametrize("name", NAMES)
    def test_the_pages_fit_into_a_layout_of_the_shop(
        self, wardrobe: Wardrobe, plain: dict[str, str], name: str
    ) -> None:
        """Title, styles, script, banner, content and footer of every page are in it, each once."""
        base = LAYOUT[1].replace('"layout.html"', '"iterapay/layout.html"')
        html = wardrobe.read(name, {"base.html": base, "layout.html": SHOPS_LAYOUT})
        for tag in ("title", "link", "script", "main", "aside", "footer"):
            start = {"link": "<link rel"}.get(tag, f"<{tag}")
            found, expected = (find_parts(page, start, tag) for page in (html, plain[name]))
            assert found == expected
            assert len(found) == 1 or (tag == "script" and name in ("not_found", "problem"))
        assert '<div class="iterapay" lang="en" dir="ltr">' in html
