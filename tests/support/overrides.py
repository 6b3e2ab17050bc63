"""What docs/templates.md promises of the templates, what they really have, and shops that put their own in their place.

A mark is a word in brackets that no page has otherwise. A template of a shop that adds marks and keeps everything else
gives the shipped page again when they are taken out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import jinja2
from jinja2 import DictLoader, nodes
from screens import SCREENS, Gallery, Screen
from shops import Shop
from sources import ROOT
from werkzeug.test import Client

WEB = ROOT / "flask_iterapay" / "web"
DOCS = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
_FOLDER = WEB / "templates" / "iterapay"
PARSER = jinja2.Environment(autoescape=True)

TEMPLATES = {
    path.relative_to(_FOLDER).as_posix(): PARSER.parse(path.read_text(encoding="utf-8"))
    for path in sorted(_FOLDER.rglob("*.html"))
}
PARTIALS = [name for name in TEMPLATES if name.startswith("_")]
PAGES = [name for name in TEMPLATES if name not in PARTIALS]
INHERITED = {
    "checkout.html": ["base.html", "live.html", "page.html"],
    "link.html": ["base.html", "live.html", "link_page.html"],
}
"""Whose blocks the templates that are nearest to a page have."""

_SCREEN = {screen.name: screen for screen in SCREENS}


def _key_of(screen: Screen) -> tuple[object, ...]:
    """What a screen is the plainest one of, as far as it comes first."""
    # Two states that are spelt alike are equal, so one of them comes with what it is the state of.
    return (screen.state, screen.link_state, screen.is_visit) if screen.state or screen.link_state else (screen.name,)


SHOWN = [
    *{_key_of(screen): screen for screen in reversed(SCREENS)}.values(),
    _SCREEN["choose_method_refused"],
    replace(_SCREEN["paid"], name="paid_returning", config={"ITERAPAY_RETURN_SECONDS": 20}),
    _SCREEN["link_waiting_told"],
]
"""A screen of each state, of an order, a link or a visit, the error pages, and some that show what those do not."""


def read_table(heading: str) -> dict[str, list[str]]:
    """The rows of the table whose first columns are called ``heading``, by what their first cell quotes."""
    [table] = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|---.*\n((?:\|.*\n)+)", DOCS, flags=re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def read_snippets() -> list[tuple[str, str]]:
    """Every file that the page shows: its name, which is the last thing quoted before it, and its text."""
    fences = re.finditer(r"^```\w+\n(.*?)^```$", DOCS, flags=re.MULTILINE | re.DOTALL)
    return [(re.findall(r"`(\w+/[\w/]+\.\w+)`", DOCS[: fence.start()])[-1], fence[1]) for fence in fences]


def quoted(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall("`([^`]+)`", text)


def find_blocks(template: nodes.Template) -> list[str]:
    """The blocks that a template defines."""
    return [block.name for block in template.find_all(nodes.Block)]


def find_chains(template: nodes.Template) -> Iterator[str]:
    """Every variable and attribute that a template reads, as it is written: ``view.invoice.address``."""
    for node in template.find_all((nodes.Name, nodes.Getattr)):
        parts: list[str] = []
        value: nodes.Node = node
        while isinstance(value, nodes.Getattr):
            parts.insert(0, value.attr)
            value = value.node
        if isinstance(value, nodes.Name):
            yield ".".join([value.name, *parts])


def find_data_attributes(script: str) -> set[str]:
    """The data attributes that a script reads or sets: in selectors, by ``dataset``, and taken apart from one."""
    names = re.findall(r"dataset\.(\w+)", script)
    for taken in re.findall(r"\{([^{}]*)\} = [\w.]*\bdataset\b", script):
        names += re.findall(r"\w+", taken)
    found = {re.sub("[A-Z]", lambda match: f"-{match[0].lower()}", name) for name in names}
    return found | set(re.findall(r"\bdata-([a-z][\w-]*)", script))


def mark(template: str, part: str = "") -> str:
    """The mark of a template, or of a block or macro of it."""
    return f"⟦{template} {part}⟧"


def without_marks(html: str) -> str:
    """A page as it would be without them."""
    return re.sub("⟦[^⟦⟧]*⟧", "", html)


def override(name: str) -> str:
    """A template of a shop that adds its marks to the shipped one: one for a partial, one for each block or macro."""
    if name == "_words.html":
        return _override_macros(name)
    if name in PARTIALS:
        return f"{mark(name)}{{% include 'flask_iterapay/{name}' %}}"
    blocks = {block for template in INHERITED.get(name, [name]) for block in find_blocks(TEMPLATES[template])}
    return f"{{% extends 'flask_iterapay/{name}' %}}" + "".join(
        f"{{% block {block} %}}{mark(name, block)}{{{{ super() }}}}{{% endblock %}}" for block in sorted(blocks)
    )


def _override_macros(name: str) -> str:
    macros = [macro.name for macro in TEMPLATES[name].find_all(nodes.Macro)]
    return f"{{% import 'flask_iterapay/{name}' as shipped with context %}}" + "".join(
        f"{{% macro {macro}() %}}{mark(name, macro)}{{{{ shipped.{macro}(*varargs, **kwargs) }}}}{{% endmacro %}}"
        for macro in macros
    )


class Wardrobe:
    """Every screen, in shops whose templates a test may choose."""

    def __init__(self, folder: Path) -> None:
        self.gallery = Gallery(folder, dress=self._dress)
        self._templates: dict[str, str] = {}
        self._worn: dict[str, Mapping[str, str]] = {}
        self._client = Client(self.gallery)

    def read(self, name: str, templates: Mapping[str, str] = MappingProxyType({})) -> str:
        """The HTML of a screen if the shop has ``templates``, by their names under ``iterapay/``."""
        [screen] = [screen for screen in SHOWN if screen.name == name]
        self._templates.clear()
        self._templates.update({f"iterapay/{name}": source for name, source in templates.items()})
        path = self.gallery.url(screen)
        if self._worn.get(name) != templates:
            # A template is cached with the place that it was found in, and a new one of the same name is not seen.
            self.gallery.shop(screen).app.jinja_env.cache.clear()
        self._worn[name] = templates
        # It is another in every form, and nothing else on a page is by chance.
        return re.sub(r'(?<=name="visit" value=")[\w-]{16,}', "visit", self._client.get(path).text)

    def _dress(self, shop: Shop) -> None:
        shop.app.jinja_loader = DictLoader(self._templates)
