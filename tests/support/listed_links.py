"""A link that is read from a list, for tests of how far it is read."""

from datetime import timedelta

from builders import at
from link_builders import REQUIRE, make_link, make_transfer
from listed_gateway import ListedGateway
from worlds import Timepiece, make_links

from flask_iterapay.links.models import Contribution, Link
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.models import Policy
from flask_iterapay.orders.reconcile import Reconciler, ReconcileReport
from flask_iterapay.orders.stores.memory import MemoryStore

__all__ = ["DAY", "Shop"]

DAY = 24 * 3600


class Shop:
    """A link that is read from a list; the clock begins ten hours after it was made."""

    def __init__(self, *invoice_ids: str, policy: Policy = REQUIRE) -> None:
        self.clock = Timepiece()
        self.clock.advance(36_000)
        self.gateway = ListedGateway(self.clock)
        self.handled: list[str] = []
        self.store = MemoryStore()
        Ledger(store=self.store, model=Link).add(make_link(*invoice_ids))
        self.links = make_links(
            store=self.store,
            gateway=self.gateway,
            clock=self.clock,
            handle=lambda event: self.handled.append(event.key),
            policy=policy,
        )

    def now(self) -> float:
        return (self.clock() - at(0)).total_seconds()

    def arrive(self, state: str, name: object, *, ago: float = 0, **fields) -> None:
        """List a transaction that was sent some seconds ago, or let it take another state."""
        known = {item.transaction_id: item.created_at for item in self.gateway.transactions}
        created_at = known.get(f"tx-{name}", self.clock() - timedelta(seconds=ago))
        self.gateway.put(make_transfer(state, f"tx-{name}", created_at=created_at, **fields))

    def fill(self, count: int, *, every: float = 60, state: str = "settled") -> None:
        """List transactions that were sent in regular distances until now; the newest is tx-0."""
        self.gateway.transactions = [
            make_transfer(state, f"tx-{number}", sent=self.now() - number * every) for number in reversed(range(count))
        ]

    def sync(self) -> list[int]:
        """Read the link; return the pages that were read."""
        self.gateway.pages.clear()
        self.links.sync("donations")
        return list(self.gateway.pages)

    def reconcile(self) -> ReconcileReport:
        reconciler = Reconciler(store=self.store, duties=self.links.duties, clock=self.clock, shuffle=lambda due: None)
        return reconciler.reconcile(limit=1000)

    def get(self, name: object) -> Contribution:
        return self.links.get_contribution(f"inv-1:tx-{name}")

    @property
    def link(self) -> Link:
        return self.links.get("donations")

    @property
    def written(self) -> list[Contribution]:
        return list(Ledger(store=self.store, model=Contribution).iterate())
