"""What a page that updates itself is told, every few seconds."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec
from flask import Response, current_app

__all__ = ["LiveView", "answer_poll", "status_payload"]


class LiveView(Protocol):
    """What a page that updates itself must be able to tell a poll."""

    @property
    def state(self) -> StrEnum:
        """The name of its screen."""
        ...

    @property
    def revision(self) -> str:
        """Changes whenever what the page shows changes."""
        ...

    @property
    def seconds_left(self) -> int | None:
        """To the end of the price, if there is one."""
        ...

    @property
    def next_poll_seconds(self) -> int | None:
        """When to ask again; ``None`` for never."""
        ...

    @property
    def updated_at(self) -> datetime:
        """When the gateway was last read."""
        ...


def status_payload(view: LiveView) -> dict[str, str | int | None]:
    """What a poll is told. Never an address or an amount, so that no poll can swap one."""
    return {
        "state": view.state.value,
        "revision": view.revision,
        "seconds_left": view.seconds_left,
        "next_poll_seconds": view.next_poll_seconds,
        "updated_at": view.updated_at.isoformat(timespec="seconds"),
    }


def answer_poll(view: LiveView) -> Response:
    """Tell a poll how things stand, as JSON."""
    # Flask's own JSON takes several times as long, and a shop may have replaced it.
    return current_app.response_class(msgspec.json.encode(status_payload(view)), mimetype="application/json")
