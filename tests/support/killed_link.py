"""A payment link's life in a shop that dies by SIGKILL: who visits and pays, and what must have come of it."""

import secrets
from collections import Counter
from dataclasses import dataclass, field

from knives import Knife
from link_books import LinkBooks, Telling, read_books
from mortals import ROUND_SECONDS, ROUNDS, Life, MortalShop
from worlds import make_reconciler

from flask_iterapay.links.models import Visit
from flask_iterapay.links.service import LinkService
from flask_iterapay.orders.models import Policy
from flask_iterapay.orders.reconcile import Reconciler
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.engine import Action, SandboxTransaction
from flask_iterapay.sandbox.settings import parse_settings

__all__ = ["COURSES", "KilledLink", "LinkLife", "find_wrongs"]

# Who comes, and by which method he pays; then who of them pays how, one after the other.
_VISITORS = {"ann": "1", "ben": "1", "cid": "2"}
COURSES: dict[str, tuple[tuple[str, Action], ...]] = {
    "all kinds": (("ann", Action.PAY_PENDING), ("ben", Action.PAY_EXACT), ("cid", Action.AML_FAIL)),
    "the same twice": (("ann", Action.PAY_EXACT), ("ann", Action.PAY_EXACT), ("ben", Action.PAY_PENDING)),
    "in vain": (("cid", Action.PAY_DUST), ("ben", Action.PAY_OVER), ("ann", Action.PAY_PENDING)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLife(Life):
    """One process's part in a link, how that is paid, and how the gateway gives its addresses."""

    link_id: str = "donations"
    course: str = "all kinds"
    telling: Telling = field(default_factory=lambda: Telling(has_new_addresses=True, is_address_told=True))

    def open(self, knife: Knife) -> "KilledLink":
        """Open the shop as a process that has just started sees it."""
        return KilledLink(self, knife)


@dataclass(slots=True)
class KilledLink(MortalShop):
    """The shop of one link."""

    life: LinkLife
    links: LinkService = field(init=False)
    reconciler: Reconciler = field(init=False)

    def open_service(self) -> None:
        """Wire up the links."""
        self.gateway.store.save_settings(parse_settings(self.life.telling.settings))
        store = self.make_store()
        self.links = LinkService(
            store=store,
            gateway=self.make_client(),
            make_dispatcher=self.make_dispatcher,
            clock=self.clock,
            policy=Policy(),
            make_token=lambda: secrets.token_hex(8),
            max_addresses=1000,
        )
        self.reconciler = make_reconciler(store, self.links.duties, self.clock)

    def carry_on(self) -> None:
        """Do what visitors, gateway and cron do until all is finished, from wherever it was left."""
        for _ in range(ROUNDS):
            self.links.create(self.life.link_id)
            visits = {name: self._visit(name, method) for name, method in _VISITORS.items()}
            if self._act(visits) and self._is_finished():
                return
            self._bring_news(visits["ann"])
            self.clock.advance(ROUND_SECONDS)
        raise AssertionError(f"not finished after {ROUNDS} rounds: {self.read_books().find_open_ends()}")

    def _visit(self, name: str, method: str) -> Visit:
        reference = f"{self.life.link_id}-{name}"
        return self.links.receive_visitor(self.life.link_id, method, reference=reference, visitor=reference)

    def _act(self, visits: dict[str, Visit]) -> bool:
        """Take the next step of the course, unless it was taken before a death; True if there was none."""
        steps, sent = COURSES[self.life.course], self._list_transactions()
        if len(sent) < len(steps):
            visit, action = visits[steps[len(sent)][0]], steps[len(sent)][1]
            # Nobody pays before all have an address, so that one which is shared is so for every payment.
            if all(other.address for other in visits.values()):
                self.gateway.act(str(visit.invoice_id), action, address=visit.address)
            return False
        pending = [item for item in sent if item.state == "pending"]
        for item in pending:
            self.gateway.act(item.invoice_id, Action.SETTLE, transaction_id=item.transaction_id)
        return not pending

    def _list_transactions(self) -> list[SandboxTransaction]:
        return [item for invoice in self.gateway.store.list_invoices() for item in invoice.transactions]

    def _is_finished(self) -> bool:
        books = self.read_books()
        is_known = len(books.contributions) == len(books.transactions)
        return is_known and not books.find_open_ends() and all(item.state != "pending" for item in books.contributions)

    def read_books(self) -> LinkBooks:
        """Read what shop and gateway have written down, without coming by any point."""
        store = SQLAlchemyStore(self.life.database_url)
        return read_books(store, self.gateway.store.list_invoices(), self.life.link_id)

    def _bring_news(self, visit: Visit) -> None:
        """Let the news come in one way; reconcile runs in any case, as cron would."""
        if self.life.news == "hint" and visit.invoice_id:
            self.links.receive_hint(visit.invoice_id)
            self.links.dispatch_news(self.life.link_id)
        if self.life.news == "poll":
            self.links.poll(self.life.link_id)
            self.links.dispatch_news(self.life.link_id)
        self.reconciler.reconcile()


def find_wrongs(shop: KilledLink, *, deaths: int) -> list[str]:
    """Compare a finished link with the gateway's books and with what the handler was told."""
    books, heard = shop.read_books(), shop.heard()
    wrongs = books.find_wrongs(Counter(heard), shop.life.telling)
    keys = {event.key for item in books.contributions for event in item.events}
    rules = {
        "repeats for deaths alone": len(heard) <= len(keys) + deaths,
        "invoices for deaths alone": len(books.invoices) <= len(set(_VISITORS.values())) + deaths,
        "every visitor has an address": all(visit.address for visit in books.visits),
        "what happened is what was planned": len(books.transactions) == len(COURSES[shop.life.course]),
    }
    return wrongs + [rule for rule, is_kept in rules.items() if not is_kept]
