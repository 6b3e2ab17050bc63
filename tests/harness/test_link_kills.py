"""Kill -9 at every point of a payment link's life: whoever goes on finds it whole, and nothing is lost or extra."""

import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from killed_link import COURSES, KilledLink, LinkLife, find_wrongs
from link_books import Telling
from mortals import NEWS, Flaw, Live, die_at_random, start_living
from servers import name_database

from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

pytestmark = [pytest.mark.harness, pytest.mark.process]

SAME = Telling(has_new_addresses=False, is_address_told=True)
TELLINGS = (SAME, Telling(has_new_addresses=True, is_address_told=True))
_OF_LINKS = ("adding the link", "noting the visit", "saving the intent", "saving the invoice id")
_OF_VISITS = ("adding the tally", "adding the visit", "asking", "saving what the invoice is", "saving the address")
_OF_READINGS = ("claiming", "showing the payment", "adding the contribution", "saving the news", "saving the reading")
_WRITES = (*_OF_LINKS, *_OF_VISITS, *_OF_READINGS, "leasing", "concluding")
_REQUESTS = ("listing methods", "creating", "reading the invoice", "asking for the address", "listing transactions")
STORE_POINTS = tuple(f"{where} {write}" for write in _WRITES for where in ("before", "inside", "after"))
SHARING_POINTS = tuple(f"{where} sharing the address" for where in ("before", "inside", "after"))
POINTS = (
    *STORE_POINTS,
    *(f"{where} {request}" for request in _REQUESTS for where in ("before", "after")),
    *(f"{where} the handler's own commit" for where in ("before", "after")),
    *(f"{where} looking" for where in ("before", "after")),
    *(f"{where} looking by invoice" for where in ("before", "after")),
    "after looking for due orders",
)
# Most lives pass about so many points; where one ends before its number comes up, nobody dies.
_LAST_NUMBER = 500


@pytest.fixture(scope="module")
def live() -> Live:
    """Lives a life in a process of its own; returns the exit code."""
    return start_living()


@pytest.fixture
def first_life(database_url: str, tmp_path: Path) -> LinkLife:
    """The beginning of a link, with tables to keep it in."""
    SQLAlchemyStore(database_url, create_tables=True)
    return LinkLife(database_url=database_url, folder=tmp_path)


def carry_on(life: LinkLife, *, deaths: int) -> list[str]:
    """Finish the link in this process, with nothing of the dead one's memory; tell what is wrong in the end."""
    shop = KilledLink(replace(life, point=None, number=None))
    shop.carry_on()
    return find_wrongs(shop, deaths=deaths)


def die_at(life: LinkLife, live: Live, name: str, point: str) -> list[str]:
    """Die at a point, really, and have another process go on; tell what is wrong in the end."""
    folder = life.folder / name
    folder.mkdir()
    life = replace(life, folder=folder, link_id=f"link-{name}", point=point)
    assert live(life) == -signal.SIGKILL, f"nobody died {point}"
    return carry_on(life, deaths=1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("telling", TELLINGS, ids=str)
@pytest.mark.parametrize(("course", "news"), list(zip(COURSES, NEWS, strict=True)))
def test_an_undisturbed_life_is_right(first_life, live, course, news, telling):
    """Without a kill a process finishes by itself, and there is nothing to go on with."""
    life = replace(first_life, course=course, news=news, telling=telling)
    assert live(life) == 0
    assert carry_on(life, deaths=0) == []


def test_a_kill_at_any_named_point_loses_nothing(first_life, live, scale, note_figure):
    """Each point is really died at, and every transaction ends as one contribution, told under one key."""
    database = name_database(first_life.database_url)
    # Every other one, and on a server a few; only a full run asks them all.
    every = scale(2 if database == "SQLite" else 8, 1)
    points, sharing_points = POINTS[::every], SHARING_POINTS[:: min(every, len(SHARING_POINTS))]
    for number, point in enumerate(points):
        assert die_at(first_life, live, str(number), point) == [], point
    sharing = replace(first_life, telling=SAME)
    for number, point in enumerate(sharing_points):
        assert die_at(sharing, live, f"sharing-{number}", point) == [], point
    figure = f"{len(points) + len(sharing_points)} points: 0 lost, 0 extra, never two invoices to pay for one method"
    note_figure(f"kill -9 of links at named points on {database}", figure)


def test_kills_at_random_lose_nothing(first_life, live, scale, note_figure):
    """Up to three processes in a row die, wherever a seeded generator says, before one may finish the link."""
    wanted = scale(4, 170)
    seed = deaths = repeats = 0
    while deaths < wanted:
        seed += 1
        assert seed <= 3 * wanted
        life, died = _die_at_random(first_life, live, seed)
        assert carry_on(life, deaths=died) == [], f"seed {seed}: {life}"
        deaths += died
        heard = KilledLink(life).heard()
        repeats += len(heard) - len(set(heard))
    figure = f"{deaths} kills, {seed} links: 0 lost, 0 extra, {repeats} repeats, all under the same key"
    note_figure(f"kill -9 of links at random on {name_database(first_life.database_url)}", figure)


def _die_at_random(first_life: LinkLife, live: Live, seed: int) -> tuple[LinkLife, int]:
    chance = random.Random(seed)
    folder = first_life.folder / f"random-{seed}"
    folder.mkdir()
    course, news, telling = chance.choice(list(COURSES)), chance.choice(NEWS), chance.choice(TELLINGS)
    life = replace(first_life, folder=folder, link_id=f"random-{seed}", course=course, news=news, telling=telling)
    return life, die_at_random(life, live, chance, last_number=_LAST_NUMBER)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestControls:
    def test_an_effect_after_the_commit_is_lost(self, first_life, live):
        """Where events are told after the save and stored as done, a kill after the commit loses one for ever."""
        life = replace(first_life, flaw=Flaw.FORGETS_EVENTS)
        (wrong,) = die_at(life, live, "late", "after saving the news")
        assert wrong.startswith("link.payment_received:")
        assert wrong.endswith(" was not heard")

    @pytest.mark.parametrize("point", ["after adding the contribution", "after saving the state"])
    def test_an_event_that_is_saved_in_a_second_step_is_lost(self, first_life, live, point):
        """Where a contribution is saved before its event, a kill in between leaves money that nobody hears of."""
        life = replace(first_life, flaw=Flaw.SAVES_EVENTS_LATE, course="the same twice")
        (wrong,) = die_at(life, live, "second", point)
        assert wrong.endswith(" is received, and told as []")

    def test_an_address_before_the_id_is_saved_is_a_second_payable_invoice(self, first_life, live):
        """Where the address is asked for too early, a kill before the id is saved leaves two that can be paid."""
        life = replace(first_life, flaw=Flaw.ASKS_AT_ONCE)
        wrongs = die_at(life, live, "early", "before saving the invoice id")
        assert any("2 payable invoices" in wrong for wrong in wrongs)
        assert any("the link does not know" in wrong for wrong in wrongs)
