"""Kill -9 at every point of an order's life: whoever goes on finds it whole, and it ends as if nothing had been."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from killed_shop import COURSES, KilledShop, OrderLife, find_wrongs
from mortals import NEWS, Flaw, Live, die_at_random, start_living
from servers import name_database

from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

pytestmark = [pytest.mark.harness, pytest.mark.process]

_FIRST_WRITES = ("placing", "saving the intent", "saving the invoice id", "claiming", "saving the address")
_WRITES = (*_FIRST_WRITES, "saving the news", "leasing", "concluding")
_REQUESTS = ("listing methods", "creating", "reading the invoice", "asking for the address", "listing transactions")
STORE_POINTS = tuple(f"{where} {write}" for write in _WRITES for where in ("before", "inside", "after"))
POINTS = (
    *STORE_POINTS,
    *(f"{where} {request}" for request in _REQUESTS for where in ("before", "after")),
    *(f"{where} the handler's own commit" for where in ("before", "after")),
    *(f"{where} looking" for where in ("before", "after")),
    "after looking by invoice",
    "after looking for due orders",
)
# Most lives pass about so many points; where one ends before its number comes up, nobody dies.
_LAST_NUMBER = 160


@pytest.fixture(scope="module")
def live() -> Live:
    """Lives a life in a process of its own; returns the exit code."""
    return start_living()


@pytest.fixture
def first_life(database_url: str, tmp_path: Path) -> OrderLife:
    """The beginning of an order, with tables to keep it in."""
    SQLAlchemyStore(database_url, create_tables=True)
    return OrderLife(database_url=database_url, folder=tmp_path)


def carry_on(life: OrderLife, *, deaths: int) -> list[str]:
    """Finish the order in this process, with nothing of the dead one's memory; tell what is wrong in the end."""
    shop = KilledShop(replace(life, point=None, number=None))
    shop.carry_on()
    return find_wrongs(shop, deaths=deaths)


@pytest.mark.parametrize("news", NEWS)
@pytest.mark.parametrize("course", COURSES)
def test_an_undisturbed_life_is_right(first_life, live, course, news):
    """Without a kill a process finishes the order by itself, and there is nothing to go on with."""
    life = replace(first_life, course=course, news=news)
    assert live(life) == 0
    assert carry_on(life, deaths=0) == []


def test_a_kill_at_any_named_point_loses_nothing(first_life, live, scale, note_figure):
    """Each point is really died at, and the order ends paid once, told under one key, with one payable invoice."""
    database = name_database(first_life.database_url)
    # The other points are the same to every database; only a full run asks them all.
    points = POINTS[: scale(len(POINTS) if database == "SQLite" else len(STORE_POINTS), len(POINTS))]
    for number, point in enumerate(points):
        folder = first_life.folder / str(number)
        folder.mkdir()
        life = replace(first_life, folder=folder, order_id=f"named-{number}", point=point)
        assert live(life) == -signal.SIGKILL, f"nobody died {point}"
        assert carry_on(life, deaths=1) == [], point
    note_figure(f"kill -9 at named points on {database}", f"{len(points)} points: 0 lost, 0 extra transitions")


def test_kills_at_random_lose_nothing(first_life, live, scale, note_figure):
    """Up to three processes in a row die, wherever a seeded generator says, before one may finish the order."""
    wanted = scale(4, 170)
    seed = deaths = repeats = 0
    while deaths < wanted:
        seed += 1
        assert seed <= 3 * wanted
        life, died = _die_at_random(first_life, live, seed)
        assert carry_on(life, deaths=died) == [], f"seed {seed}: {life}"
        deaths += died
        repeats += len(KilledShop(life).heard()) - len(COURSES[life.course].event_keys)
    subject = f"kill -9 at random on {name_database(first_life.database_url)}"
    figure = f"{deaths} kills, {seed} orders: 0 lost, 0 extra transitions, {repeats} repeats, all under the same key"
    note_figure(subject, figure)


def _die_at_random(first_life: OrderLife, live: Live, seed: int) -> tuple[OrderLife, int]:
    chance = random.Random(seed)
    folder = first_life.folder / str(seed)
    folder.mkdir()
    course, news = chance.choice(list(COURSES)), chance.choice(NEWS)
    life = replace(first_life, folder=folder, order_id=f"random-{seed}", course=course, news=news)
    return life, die_at_random(life, live, chance, last_number=_LAST_NUMBER)


def test_an_effect_after_the_commit_is_lost(first_life, live):
    """Control: where events are not saved with their change, a kill after the commit loses the payment for ever."""
    life = replace(first_life, flaw=Flaw.FORGETS_EVENTS, point="after saving the news")
    assert live(life) == -signal.SIGKILL
    assert carry_on(life, deaths=1) == ["each event heard"]


def test_an_address_before_the_id_is_saved_is_a_second_payable_invoice(first_life, live):
    """Control: where the address is asked for too early, a kill before the id is saved leaves two that can be paid."""
    life = replace(first_life, flaw=Flaw.ASKS_AT_ONCE, point="before saving the invoice id")
    assert live(life) == -signal.SIGKILL
    assert carry_on(life, deaths=1) == ["one payable invoice"]
