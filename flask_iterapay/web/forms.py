"""The two forms of the checkout page. Both carry a CSRF token; neither carries money."""

from collections.abc import Iterable

from flask import request
from flask_wtf import FlaskForm
from wtforms import Field, RadioField, SubmitField
from wtforms.validators import InputRequired, ValidationError

from ..gateway.models import PaymentMethod
from .view import method_label

__all__ = ["CheckForm", "MethodForm"]


class _BrowserForm(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A form as browsers send it: left to itself, Flask-WTF would read JSON too, and fail on most of it."""

    def __init__(self) -> None:
        super().__init__(formdata=request.form)


class MethodForm(_BrowserForm):
    """Choose or change the payment method; build it with ``offering``."""

    method = RadioField(
        validators=[InputRequired("Choose a payment method to continue.")],
        # WTForms' own refusal is not a sentence that helps; validate_method says what to do.
        validate_choice=False,
    )

    @classmethod
    def offering(cls, methods: Iterable[PaymentMethod]) -> "MethodForm":
        """Make the form of the present request with ``methods`` as its choices, keyed by ``str(method_id)``."""
        form = cls()
        form.method.choices = [(str(method.method_id), method_label(method)) for method in methods]
        return form

    def validate_method(self, field: Field) -> None:
        """Refuse a method that is not offered, or is no longer."""
        if field.data not in dict(field.choices):
            raise ValidationError("This payment method is not offered. Choose another one.")


class CheckForm(_BrowserForm):
    """Ask for the payment's status; with ``renew`` pressed, for a new price after the old one ran out."""

    renew = SubmitField()
