"""Trouble for one call out of many: a crash, a database that is down, somebody else who is faster.

A fuse counts the calls of a store and of a transport together. When it has burnt down, the call that is reached does
not come to be, or does and is not answered.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from flask_iterapay.orders.stores.base import OrderStore

__all__ = ["Crash", "FragileStore", "FragileTransport", "Fuse"]


class Crash(BaseException):
    """The process is gone: nothing in it may catch this and go on."""


@dataclass(slots=True)
class Fuse:
    """Runs ``strike`` at one of the calls that go through it, before the call or ``is_after`` it; then it is spent.

    Only the calls of ``place`` (``"store"``, ``"wire"``) count.
    """

    calls_left: int = 0
    strike: Callable[[], object] | None = None
    is_after: bool = False
    place: str = ""

    def light(self, calls: int, strike: Callable[[], object], *, is_after: bool, place: str) -> None:
        """Strike at the call of a place that comes after so many others."""
        self.calls_left, self.strike, self.is_after, self.place = calls, strike, is_after, place

    def put_out(self) -> None:
        """Let every call through."""
        self.strike = None

    def guard(self, place: str, call: Callable[[], Any]) -> Any:
        """Make a call, unless it is the one."""
        strike = self._burn(place)
        if strike and not self.is_after:
            strike()
        result = call()
        if strike and self.is_after:
            strike()
        return result

    def _burn(self, place: str) -> Callable[[], object] | None:
        strike = self.strike
        if strike is None or self.place != place:
            return None
        if self.calls_left:
            self.calls_left -= 1
            return None
        self.strike = None
        return strike


class FragileStore:
    """A store whose calls go through a fuse."""

    def __init__(self, inner: OrderStore, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        return lambda *args, **options: self._fuse.guard("store", lambda: method(*args, **options))


class FragileTransport(httpx.BaseTransport):
    """A transport whose requests go through a fuse."""

    def __init__(self, inner: httpx.BaseTransport, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on, or burn."""
        answer: httpx.Response = self._fuse.guard("wire", lambda: self._inner.handle_request(request))
        return answer
