"""Hints, polls, edits, crashes and faults in any order: every order ends where the sandbox's truth wants it."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flaws import FLAWS, Flaw
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from interleavings import BrokenPromiseError, Interleavings

from flask_iterapay.orders.stores import MemoryStore, OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

pytestmark = pytest.mark.harness

STEPS = 40
EXAMPLES = 400
STORES: dict[str, Callable[[Path], OrderStore]] = {
    "memory": lambda folder: MemoryStore(),
    "sqlite": lambda folder: SQLAlchemyStore(f"sqlite:///{folder / 'shop.sqlite3'}", create_tables=True),
}


def make_settings(examples: int, **options: object) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=True,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        **options,
    )


@pytest.fixture(autouse=True)
def _without_logs(caplog):
    """Every other handler fails on purpose, and ten thousand tracebacks help nobody."""
    caplog.set_level(logging.CRITICAL + 1, logger="flask_iterapay")


class TestInterleavings:
    @pytest.mark.parametrize(("store", "normal", "full"), [("memory", 20, 2700), ("sqlite", 5, 300)])
    def test_every_order_ends_where_the_truth_wants_it(self, store, normal, full, scale, note_figure):
        """Nothing is lost, taken back or told wrongly on the way, and at the end nothing is left to do."""
        examples = scale(normal, full)
        machine = lambda: Interleavings(make_store=STORES[store])  # noqa: E731
        run_state_machine_as_test(machine, settings=make_settings(examples))
        note_figure(f"interleavings of up to {STEPS} steps ({store})", f"{examples:,} tried, 0 promises broken")

    @pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: flaw.name)
    def test_a_flaw_is_found(self, flaw: Flaw):
        """The same interleavings break a shop that has one of these mistakes."""
        with pytest.raises(BrokenPromiseError, match=flaw.promise):
            run_state_machine_as_test(
                lambda: Interleavings(flaw=flaw), settings=make_settings(EXAMPLES, phases=[Phase.generate])
            )
