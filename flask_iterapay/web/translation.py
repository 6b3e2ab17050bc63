"""The languages of the pages: the one that a request is answered in, and the words in it.

The catalogs are the package's own, in a gettext domain of their own, so that they neither need the shop's translations
nor get in their way. Flask-Babel is used where a shop has set it up, and is not needed.
"""

import gettext
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from flask import current_app, request
from markupsafe import Markup

from ..config import LANGUAGES

__all__ = ["Translation", "choose_translation", "load_translation"]

logger = logging.getLogger("flask_iterapay")

_FOLDER = Path(__file__).with_name("translations")
_RIGHT_TO_LEFT = {"ar"}
# What a catalog's name leaves open, as BCP 47 has it.
_TAGS = {"zh": "zh-Hans"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """One language: what templates know as ``ip_t``.

    ``language`` names the catalog. ``ip_t(message, **values)`` translates a message, which may contain markup, and puts
    the values in, escaped; a message without a translation stays English.
    """

    language: str
    catalog: gettext.NullTranslations = field(repr=False)

    def __call__(self, message: str, /, **values: object) -> Markup:
        text = Markup(self.catalog.gettext(message))  # noqa: S704  Messages and catalogs are the package's own.
        return text % values if values else text

    @property
    def tag(self) -> str:
        """The language as BCP 47 spells it, for ``lang``."""
        return _TAGS.get(self.language, self.language)

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``, for ``dir``."""
        return "rtl" if self.language in _RIGHT_TO_LEFT else "ltr"


@cache
def load_translation(language: str) -> Translation:
    """Load one of ``LANGUAGES``, once for each process."""
    is_source = language == LANGUAGES[0]
    catalog = (
        gettext.NullTranslations() if is_source else gettext.translation("iterapay", _FOLDER, languages=[language])
    )
    return Translation(language=language, catalog=catalog)


def choose_translation(languages: Sequence[str]) -> Translation:
    """Choose the language of the present request among ``languages``; the first is for whoever wants none of them.

    The shop's language is that of its Flask-Babel, if that is set up on the app; else the browser decides.
    """
    wanted = _babel_languages() or [tag for tag, quality in request.accept_languages if quality > 0]
    # Regions are of no matter here, and Werkzeug's own choice would take "de" over "en-US" for who prefers the latter.
    wanted = [tag.partition("-")[0].lower() for tag in wanted]
    return load_translation(next((language for language in wanted if language in languages), languages[0]))


def _babel_languages() -> list[str]:
    if "babel" not in current_app.extensions:
        return []
    try:
        from flask_babel import get_locale

        locale = get_locale()
    except Exception:
        logger.warning("the shop's language could not be told, so the browser decides", exc_info=True)
        return []
    return [locale.language] if locale else []
