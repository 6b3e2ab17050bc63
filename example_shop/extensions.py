"""The extension objects, in a module of their own so that every other module can import them without a cycle."""

from flask_wtf.csrf import CSRFProtect

from flask_iterapay import IteraPay

__all__ = ["csrf", "iterapay"]

csrf = CSRFProtect()
iterapay = IteraPay()
