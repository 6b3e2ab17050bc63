"""Where the sandbox's views find what they work with."""

from dataclasses import dataclass, field
from typing import cast

from flask import current_app
from werkzeug.local import LocalProxy

from .service import SandboxService

__all__ = ["SandboxState", "current_sandbox"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxState:
    """The service and the credentials of its only merchant."""

    service: SandboxService
    merchant_id: str
    api_key: str = field(repr=False)
    bearer_token: str = field(repr=False)


current_sandbox = cast("SandboxState", LocalProxy(lambda: current_app.extensions["iterapay_sandbox"]))
