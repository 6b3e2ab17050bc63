"""The forms of the pages. Each carries a CSRF token, and none carries money."""

import re
import secrets
from collections.abc import Iterable

from flask import request
from flask_wtf import FlaskForm
from wtforms import Field, StringField, SubmitField
from wtforms.i18n import DummyTranslations
from wtforms.validators import InputRequired, ValidationError

from ..gateway.models import PaymentMethod

__all__ = ["CheckForm", "MethodForm", "VisitForm"]

_VISIT = re.compile(r"[A-Za-z0-9_-]{16,64}")
_VISIT_BYTES = 16


class _BrowserForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A form as browsers send it: left to itself, Flask-WTF would read JSON too, and fail on most of it."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """Takes no translations of the shop's: what is wrong with a form, its template says."""

        def get_translations(self, form: object) -> DummyTranslations:
            """Translate nothing."""
            return DummyTranslations()

    def __init__(self) -> None:
        super().__init__(formdata=request.form)


class MethodForm(_BrowserForm):
    """Choose or change the payment method; ``methods`` are those on offer. What is wrong with it, its template says."""

    method = StringField(validators=[InputRequired()])

    def __init__(self, methods: Iterable[PaymentMethod]) -> None:
        super().__init__()
        self._method_ids = {str(method.method_id) for method in methods}

    def validate_method(self, field: Field) -> None:
        """Refuse a method that is not offered, or is no longer."""
        if field.data not in self._method_ids:
            raise ValidationError("not offered")


class VisitForm(MethodForm):
    """Choose the payment method of a visit to a payment link; ``visit``, new in every form, tells it from others."""

    visit = StringField(default=lambda: secrets.token_urlsafe(_VISIT_BYTES))

    def validate_visit(self, field: Field) -> None:
        """Refuse what no form of ours has, and put a new one in its place, for the form is shown again."""
        if not field.raw_data or not _VISIT.fullmatch(field.data):
            field.data = secrets.token_urlsafe(_VISIT_BYTES)
            raise ValidationError("not ours")


class CheckForm(_BrowserForm):
    """Ask for the payment's status; with ``renew`` pressed, for a new price after the old one ran out."""

    renew = SubmitField()
