"""Pages taken apart: templates rendered on an app with nothing but their endpoints, and what a reader sees of them."""

import re
from gettext import NullTranslations
from html.parser import HTMLParser

from flask import Blueprint, Flask
from jinja2 import StrictUndefined
from sources import ROOT

from flask_iterapay.web.translation import Translation, load_translation

WEB = ROOT / "flask_iterapay" / "web"
HOSTILE = '"><script>alert(1)</script><b onclick=x style=y>'
ADDRESS = "TQn9Y2khEsLJW1ChVWFMSMeRDow5KcbLSE"
TX_HASH = "7c2d4206c03a883d9066d620335dc1be272a8dc733cfa3f6d10308faa37facc0"
COMMON = {
    "ip_t": load_translation("en"),
    "is_sandbox": False,
    "support_url": "https://shop.example/help",
    "return_seconds": None,
}
_SPOKEN = {"aria-label", "data-copied", "data-selected", "data-at300", "data-at60", "data-at0", "title"}


class Marked(NullTranslations):
    """A language that shows what was translated: every message stands in brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"


MARKED = Translation(language="en", catalog=Marked())


def create_templates_app() -> Flask:
    """An app that has the templates, the static files and the address of an order's page, and no more."""
    blueprint = Blueprint("iterapay", __name__, template_folder=WEB / "templates", static_folder=WEB / "static")
    blueprint.add_url_rule("/<token>", "checkout", lambda token: "")
    app = Flask(__name__)
    app.secret_key = "for the tests' CSRF tokens only"
    # A template that reads what it was not given must fail here, not show an empty place to a customer.
    app.jinja_env.undefined = StrictUndefined
    app.register_blueprint(blueprint, url_prefix="/pay")
    return app


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text nodes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of that name."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        """All words of the page, with single blanks."""
        return " ".join(" ".join(self.texts).split())


def words(html: str) -> str:
    """What a reader sees of a page, with single blanks."""
    return Page(html).text


def find_untranslated(html: str, values: str) -> list[str]:
    """Words of a page of the marked language that stand in no brackets; ``values``, a pattern, are nobody's words."""
    page = Page(html)
    texts = [page.text, *(value or "" for _, tag in page.tags for name, value in tag.items() if name in _SPOKEN)]
    found = []
    for text in texts:
        while text != (text := re.sub("⟦[^⟦⟧]*⟧", "", text)):
            pass
        found += re.findall(r"[^\W\d_]{2,}", re.sub(rf"\b({values})\b", "", text))
    return found
