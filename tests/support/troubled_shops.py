"""What walks through whole shops have in common: a small world in which any call of a deed may go wrong.

The trouble is in one call of the store or of the wire: a crash, somebody faster, bad answers, or handlers that fail.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
from flaws import SOUND, Flaw
from logbooks import BrokenPromiseError
from troubles import Crash, FragileStore, FragileTransport, Fuse
from worlds import make_client, make_world

from flask_iterapay.errors import IteraPayError, StoreUnavailableError
from flask_iterapay.orders.entries import Event
from flask_iterapay.orders.models import Policy
from flask_iterapay.orders.stores import MemoryStore, OrderStore

__all__ = ["KINDS", "Trouble", "TroubledShop"]

KINDS = ("crash", "crash", "crash", "somebody faster", "somebody faster", "bad answers", "deaf handlers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What goes wrong during one deed, one of ``KINDS``: at the call of the store or the wire after ``calls`` others.

    ``meanwhile`` is what somebody faster does there.
    """

    kind: str
    place: str
    calls: int
    is_after: bool
    meanwhile: str


class TroubledShop:
    """A shop in a small world. What it sells and how that is judged is for its subclasses to say."""

    def __init__(
        self, *, flaw: Flaw = SOUND, make_store: Callable[[Path], OrderStore] = lambda folder: MemoryStore()
    ) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(prefix="interleavings-")
        self.folder = Path(self._folder.name)
        self.flaw = flaw
        self.policy = Policy()
        self._fuse = Fuse()
        # Read past whatever is wrong with the shop's own parts.
        self.store: OrderStore = make_store(self.folder)
        self.world = make_world(self.folder)
        self.clock = self.world.clock
        self.heard: Counter[str] = Counter()
        self._is_deaf = False
        self._broken: BrokenPromiseError | None = None
        transport = flaw.transport(self.make_transport(FragileTransport(self.world.wire, self._fuse)))
        self.gateway_client = flaw.gateway(make_client(transport))
        self.prepare()
        self.open()

    def make_transport(self, transport: httpx.BaseTransport) -> httpx.BaseTransport:
        """The way to the gateway, as the shop has it."""
        return transport

    def prepare(self) -> None:
        """Set up what outlives the shop's process."""

    def open(self) -> None:
        """Start the shop's process, on the store as it stands."""
        raise NotImplementedError

    def do(self, deed: str, subject: str) -> None:
        """Do what somebody does; what is refused may be raised."""
        raise NotImplementedError

    def compare(self) -> None:
        """Hold the shop against what was seen before and against the truth; raise ``BrokenPromiseError``."""
        raise NotImplementedError

    def conclude(self) -> None:
        """All trouble has ended: let time go on, and hold what came of it against the truth."""
        raise NotImplementedError

    def make_shop_store(self) -> OrderStore:
        """The store as the shop's process sees it."""
        return self.flaw.store(FragileStore(self.store, self._fuse))

    def handle(self, event: Event) -> None:
        """Hear of an event, as long as handlers work."""
        if self._is_deaf:
            raise RuntimeError("this handler does not work today")
        self.heard[event.key] += 1

    def teardown(self) -> None:
        """All trouble ends, and what was begun must find its way by itself."""
        try:
            if self._broken is None:
                self.conclude()
        finally:
            self._folder.cleanup()

    def attempt(self, deed: str, subject: str, trouble: Trouble | None) -> None:
        """Do something that may go wrong, and look at what came of it."""
        if trouble:
            strike = self._make_strike(trouble, subject)
            self._fuse.light(trouble.calls, strike, is_after=trouble.is_after, place=trouble.place)
        try:
            self._do(deed, subject)
        except Crash:
            self.open()
        finally:
            self._heal()
        self.look()

    def _do(self, deed: str, subject: str) -> None:
        # What is refused is refused, and whoever asked lives with it.
        with suppress(IteraPayError):
            self.do(deed, subject)

    def look(self) -> None:
        """Compare, and remember what was broken: nothing may swallow it."""
        if self._broken:
            raise self._broken
        try:
            self.compare()
        except BrokenPromiseError as error:
            self._broken = error
            raise

    def demand(self, is_kept: bool, promise: str) -> None:
        """Demand what is kept for the next look: what a handler raises is caught by the package."""
        if not is_kept:
            self._broken = BrokenPromiseError(promise)

    def _make_strike(self, trouble: Trouble, subject: str) -> Callable[[], object]:
        strikes: dict[str, Callable[[], object]] = {
            "crash": self._crash,
            "somebody faster": lambda: self._interfere(trouble.meanwhile, subject),
            "bad answers": self._lose_store if trouble.place == "store" else lambda: self._lose_gateway(trouble),
            "deaf handlers": self._go_deaf,
        }
        return strikes[trouble.kind]

    def _crash(self) -> None:
        raise Crash

    def _lose_store(self) -> None:
        raise StoreUnavailableError("the database is down")

    def _lose_gateway(self, trouble: Trouble) -> None:
        # From here on for the rest of the deed, or just once, so that reads are tried again with success.
        times = 99 if trouble.calls % 2 else 1
        if trouble.calls % 3:
            self.world.wire.cut("", times=times, is_after=trouble.is_after)
        else:
            self.world.wire.fail("", times=times)

    def _interfere(self, deed: str, subject: str) -> None:
        self._do(deed, subject)
        self.look()

    def _go_deaf(self) -> None:
        self._is_deaf = True

    def _heal(self) -> None:
        self._fuse.put_out()
        self.world.wire.mend()
        self._is_deaf = False
