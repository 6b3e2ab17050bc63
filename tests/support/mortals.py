"""A shop in a process that dies by SIGKILL at a chosen point, and that any later process can go on with.

Everything that must outlive a process is in files or in the database: the shop's records, the sandbox, the clock, and
what the handler was told. A ``Life`` says where they are and where it ends, so that it can be lived by a process of its
own.
"""

import multiprocessing
import random
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from multiprocessing import forkserver
from pathlib import Path
from typing import TypeVar

import pytest
from flask import Flask
from flawed_stores import ForgetsEvents
from flaws import LateEventsStore
from knives import Knife, KnifeStore, KnifeWire
from sqlalchemy import Engine, event
from worlds import API_KEY, MERCHANT_ID, make_dispatcher

from flask_iterapay.gateway.client import GatewayClient
from flask_iterapay.orders.dispatch import Dispatcher
from flask_iterapay.orders.entries import Event
from flask_iterapay.orders.ledger import Ledger
from flask_iterapay.orders.stores.base import OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.sandbox.app import create_sandbox_app
from flask_iterapay.sandbox.service import SandboxService
from flask_iterapay.sandbox.transport import SandboxTransport

__all__ = ["NEWS", "ROUNDS", "ROUND_SECONDS", "Flaw", "Life", "Live", "MortalShop", "die_at_random", "start_living"]

NEWS = ("hint", "poll", "reconcile")
ROUNDS = 40
ROUND_SECONDS = 61
_START = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
_PATIENCE_SECONDS = 60
_SUPPORT = Path(__file__).parent
# Everything that lives need, so that one server forks those of every test file.
_PRELOAD = (
    "killed_shop",
    "killed_link",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
    "pymysql",
)


class Flaw(StrEnum):
    """A bug that can be put in."""

    FORGETS_EVENTS = "forgets events"
    SAVES_EVENTS_LATE = "saves events late"
    ASKS_AT_ONCE = "asks for the address at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life(ABC):
    """One process's part: where everything is, how news come in, and when the process dies.

    It dies at the first ``point`` of that name, or at the point of that ``number``, counted from 1.
    """

    database_url: str
    folder: Path
    news: str = "hint"
    point: str | None = None
    number: int | None = None
    flaw: Flaw | None = None

    @abstractmethod
    def open(self, knife: Knife) -> "MortalShop":
        """Open the shop as a process that has just started sees it."""

    def live(self) -> None:
        """Go on until all is finished, or until death. For a process of its own."""
        knife = Knife(point=self.point, number=self.number)
        # On every engine, since this process has but one.
        event.listen(Engine, "commit", lambda connection: knife.commit())
        self.open(knife).carry_on()


AnyLife = TypeVar("AnyLife", bound=Life)
Live = Callable[[Life], int | None]


class AsksAtOnce(GatewayClient):
    """A client with a bug put in: it has the address given out before anybody has saved the invoice's id."""

    def create_invoice(self, **arguments: object) -> str:
        invoice_id = super().create_invoice(**arguments)
        self.get_deposit_address(invoice_id, arguments["method_id"])
        return invoice_id


@dataclass(frozen=True, slots=True)
class ClockFile:
    """A clock that stands still until it is told to go on, for one process after the other."""

    path: Path

    def __call__(self) -> datetime:
        return datetime.fromisoformat(self.path.read_text()) if self.path.exists() else _START

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.path.write_text((self() + timedelta(seconds=seconds)).isoformat())


@dataclass(slots=True)
class MortalShop(ABC):
    """A shop, its sandbox, its customers and its handler, as one process sees them."""

    life: Life
    knife: Knife = field(default_factory=Knife)
    clock: ClockFile = field(init=False)
    sandbox: Flask = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ClockFile(self.life.folder / "clock")
        self.sandbox = create_sandbox_app(
            path=self.life.folder / "sandbox.sqlite3", merchant_id=MERCHANT_ID, api_key=API_KEY, clock=self.clock
        )
        self.open_service()

    @abstractmethod
    def open_service(self) -> None:
        """Wire up what is to be tried, with the store, the client and the dispatchers that this class makes."""

    @abstractmethod
    def carry_on(self) -> None:
        """Do what customers, gateway and cron do until all is finished, from wherever it was left."""

    def make_store(self) -> OrderStore:
        store = KnifeStore(SQLAlchemyStore(self.life.database_url), self.knife)
        if self.life.flaw is Flaw.SAVES_EVENTS_LATE:
            return LateEventsStore(store)
        return ForgetsEvents(store, tell=self.hear) if self.life.flaw is Flaw.FORGETS_EVENTS else store

    def make_client(self) -> GatewayClient:
        client = AsksAtOnce if self.life.flaw is Flaw.ASKS_AT_ONCE else GatewayClient
        wire = KnifeWire(SandboxTransport(self.sandbox), self.knife)
        return client(base_url="https://sandbox.invalid", merchant_id=MERCHANT_ID, api_key=API_KEY, transport=wire)

    def make_dispatcher(self, ledger: Ledger) -> Dispatcher:
        return make_dispatcher(ledger, self.clock, self.hear)

    def hear(self, told: Event) -> None:
        """The shop's handler: what it does is one line at the end of a file, written in one step."""
        with self.knife.around("the handler's own commit"), (self.life.folder / "heard").open("ab", 0) as file:
            file.write(f"{told.key}\n".encode())

    def heard(self) -> list[str]:
        """The keys that handlers were told, in order, by all processes so far."""
        path = self.life.folder / "heard"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def gateway(self) -> SandboxService:
        """The gateway from behind: its books, and what happens on its chain."""
        service: SandboxService = self.sandbox.extensions["iterapay_sandbox"].service
        return service


def start_living() -> Live:
    """Return what lives a life in a process of its own, forked from one that has all imported; it returns the code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOAD))
    with pytest.MonkeyPatch.context() as environment:
        # The server that forks is started with this environment and with nothing else of ours.
        environment.setenv("PYTHONPATH", str(_SUPPORT))
        forkserver.ensure_running()

    def live(life: Life) -> int | None:
        process = context.Process(target=life.live)
        process.start()
        process.join(_PATIENCE_SECONDS)
        process.kill()
        return process.exitcode

    return live


def die_at_random(life: AnyLife, live: Live, chance: random.Random, *, last_number: int) -> int:
    """Let up to three processes in a row die wherever ``chance`` says; return how many did.

    Where a life ends before its number comes up, nobody dies.
    """
    numbers = [chance.randint(1, last_number) for _ in range(chance.randint(1, 3))]
    return sum(live(replace(life, number=number)) == -signal.SIGKILL for number in numbers)
