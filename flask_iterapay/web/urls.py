"""Addresses: where our own pages are, and where a customer may be sent back to."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Blueprint, Flask, has_request_context, request

from ..errors import NotInitialisedError

__all__ = ["is_allowed_return_url", "path_for", "path_from_root"]

# Browsers read a backslash as a slash and skip control characters, so "/\evil.example" leaves the site.
_SUSPICIOUS = re.compile(r"[\x00-\x20\x7f\\]")


def path_for(app: Flask, blueprint: Blueprint, endpoint: str, **values: str) -> str:
    """The path of one of the blueprint's endpoints as a browser must ask for it.

    Works with and without a request, and under whatever name, prefix or parent the shop registered the blueprint.

    Raises:
        NotInitialisedError: the blueprint is not registered on this app.
    """
    root = request.root_path if has_request_context() else str(app.config["APPLICATION_ROOT"])
    return root.rstrip("/") + path_from_root(app, blueprint, endpoint, **values)


def path_from_root(app: Flask, blueprint: Blueprint, endpoint: str, **values: str) -> str:
    """The same path below the shop's own root, which is what ``PUBLIC_URL`` stands for."""
    name = next((name for name, registered in app.blueprints.items() if registered is blueprint), None)
    if name is None:
        raise NotInitialisedError(
            "register the blueprint: app.register_blueprint(iterapay.blueprint, url_prefix='/pay')"
        )
    path: str = app.url_map.bind("localhost", "/").build(f"{name}.{endpoint}", values)
    if not path.startswith("/"):
        raise NotInitialisedError("the blueprint cannot be registered under a subdomain or a host of its own")
    return path


def is_allowed_return_url(url: str, origins: Iterable[str]) -> bool:
    """Whether a return URL is a path on this site, or absolute on one of the allowed origins."""
    if not isinstance(url, str) or not url.isprintable() or _SUSPICIOUS.search(url):
        return False
    if url.startswith("/"):
        return not url.startswith("//")
    try:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}".lower()
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and origin in {allowed.lower() for allowed in origins}
