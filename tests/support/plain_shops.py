"""Shops on a scripted gateway, and nobody's sandbox."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from shops import Shop

from flask_iterapay import IteraPay
from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.orders.stores.memory import MemoryStore

__all__ = ["PlainShop", "make_plain_shop"]


class PlainShop(Shop):
    """A shop without a sandbox, and so without its switches."""

    def set_sandbox(self, **settings: str) -> None:
        """Do nothing: there is none."""


def make_plain_shop(
    folder: Path,
    gateway: Callable[[httpx.Request], httpx.Response],
    *,
    client: dict[str, Any] | None = None,
    **config: object,
) -> PlainShop:
    """Make a shop whose gateway is a function; ``client`` are further arguments of its client.

    Its files may be kept by the browser, and the icon that every browser asks a site for is there.
    """
    transport = httpx.MockTransport(gateway)
    shop = PlainShop(
        folder,
        iterapay=IteraPay(
            client=GatewayClient(
                base_url="https://gateway.example",
                merchant_id="m",
                api_key="k",
                transport=transport,
                **(client or {}),
            ),
            store=MemoryStore(),
        ),
        ITERAPAY_SANDBOX=False,
        ITERAPAY_WEBHOOK_SECRETS="a-webhook-secret-of-at-least-32-characters",
        SEND_FILE_MAX_AGE_DEFAULT=3600,
        **config,
    )
    shop.app.add_url_rule("/favicon.ico", view_func=lambda: ("", 204))
    return shop
