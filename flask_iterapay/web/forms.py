"""The two forms of the checkout page. Both carry a CSRF token; neither carries money."""

from collections.abc import Iterable

from flask import request
from flask_wtf import FlaskForm
from wtforms import Field, StringField, SubmitField
from wtforms.i18n import DummyTranslations
from wtforms.validators import InputRequired, ValidationError

from ..gateway.models import PaymentMethod

__all__ = ["CheckForm", "MethodForm"]


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


class CheckForm(_BrowserForm):
    """Ask for the payment's status; with ``renew`` pressed, for a new price after the old one ran out."""

    renew = SubmitField()
