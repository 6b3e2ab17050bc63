"""The translations: what the templates say, and what each language makes of it.

``python tests/support/catalogs.py`` brings every catalog up to date after words in the templates changed: new messages
come in empty, old ones go, and what is translated is compiled. A test fails until the empty ones are filled in.
"""

import io
from pathlib import Path

import jinja2.ext
from babel.messages import Catalog, mofile, pofile

import flask_iterapay
from flask_iterapay.config import LANGUAGES

WEB = Path(flask_iterapay.__file__).parent / "web"
TEMPLATES = WEB / "templates"
TRANSLATED = LANGUAGES[1:]
_HEADER = "# Words of the payment page. Made by tests/support/catalogs.py; only the translations are written by hand."


def extract() -> Catalog:
    """Collect every message of the templates, in the order of their files."""
    catalog = Catalog(project="flask-iterapay", header_comment=_HEADER)
    for path in sorted(TEMPLATES.rglob("*.html")):
        with path.open("rb") as file:
            found = jinja2.ext.babel_extract(file, ["ip_t"], [], {"encoding": "utf-8", "silent": "false"})
            for _, _, message, _ in found:
                # A call with values is given as a tuple of which only the first is a message.
                text = message if isinstance(message, str) else message[0]
                catalog.add(text, locations=[(path.relative_to(TEMPLATES).as_posix(), None)])
    return catalog


def path_of(language: str, suffix: str) -> Path:
    """Where a language's catalog lies: ``.po`` for people, ``.mo`` for the program."""
    return WEB / "translations" / language / "LC_MESSAGES" / f"iterapay{suffix}"


def read(language: str) -> Catalog:
    """Read what people wrote; empty if there is nothing yet."""
    path = path_of(language, ".po")
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return pofile.read_po(file, locale=language)


def updated(language: str) -> Catalog:
    """A language's catalog with exactly the messages of the templates; a changed message is a new one."""
    old, catalog = read(language), extract()
    catalog.locale = language
    for message in catalog:
        if message.id and (known := old.get(message.id)):
            message.string = known.string
    return catalog


def write(catalog: Catalog) -> bytes:
    """What a ``.po`` file holds, without dates, so that the same words give the same file."""
    file = io.BytesIO()
    pofile.write_po(file, catalog, width=120, omit_header=True)
    language = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: {catalog.locale}\\n"\n'
    return f"{_HEADER}\n{language}\n".encode() + file.getvalue()


class _BareCatalog(Catalog):
    """A catalog whose header does not say which Babel made it, and when."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        """What gettext needs to read it."""
        return [("Content-Type", "text/plain; charset=utf-8"), ("Language", str(self.locale))]


def compile_catalog(language: str) -> bytes:
    """What a ``.mo`` file holds: the same for the same words, whenever it is made and by whatever Babel."""
    file = io.BytesIO()
    catalog = _BareCatalog(locale=language)
    for message in read(language):
        if message.id and message.string:
            catalog.add(message.id, message.string)
    mofile.write_mo(file, catalog)
    return file.getvalue()


if __name__ == "__main__":
    for name in TRANSLATED:
        path_of(name, ".po").parent.mkdir(parents=True, exist_ok=True)
        path_of(name, ".po").write_bytes(write(updated(name)))
        path_of(name, ".mo").write_bytes(compile_catalog(name))
        missing = [message.id for message in read(name) if message.id and not message.string]
        print(f"{name}: {len(missing)} messages without a translation")
