"""The contract turns red on stores that are broken on purpose, each in one way."""

import functools
import multiprocessing
import re

import broken_stores as broken
import pytest

from flask_iterapay.orders.stores import MemoryStore, OrderStore
from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore
from flask_iterapay.testing import DurableOrderStoreContract, OrderStoreContract

pytest_plugins = ["pytester"]

# The numbered clause of OrderStore, a store that breaks it, and the test that must notice.
CORE = [
    (1, broken.ChecksRefsTooLate, "test_a_ref_belongs_to_one_record"),
    (1, broken.SavesThenReleasesRefs, "test_save_takes_no_ref_of_another"),
    (2, broken.SavesBlindly, "test_a_stale_save_changes_nothing"),
    (2, broken.ReadsThenWrites, "test_one_of_several_racing_saves_wins"),
    (2, broken.LosesUpdates, "test_racing_threads_lose_no_update"),
    (2, broken.LosesUpdates, "test_save_replaces_the_whole_record"),
    (2, broken.InventsRecords, "test_save_adds_nothing"),
    (3, broken.SharesRefs, "test_a_ref_belongs_to_one_record"),
    (3, broken.DropsKeptRefs, "test_save_keeps_refs_that_stay"),
    (3, broken.KeepsOldRefs, "test_save_replaces_refs"),
    (3, broken.IgnoresNewRefs, "test_save_replaces_refs"),
    (3, broken.Overwrites, "test_a_key_is_added_once"),
    (3, broken.FoldsCase, "test_keys_and_refs_are_compared_exactly"),
    (4, broken.Caches, "test_a_read_sees_the_write_before_it"),
    (4, broken.IndexesLater, "test_a_read_sees_the_write_before_it"),
    (5, broken.InventsAnswers, "test_what_was_never_added_is_absent"),
    (5, broken.ForgetsTheZone, "test_times_come_back_in_utc"),
    (5, broken.RoundsTimes, "test_a_record_comes_back_as_it_was"),
    (5, broken.CutsBodies, "test_a_record_comes_back_as_it_was"),
    (6, broken.IsDueInAnyOrder, "test_due_gives_the_oldest_first"),
    (6, broken.IsDueTooEarly, "test_due_gives_the_oldest_first"),
    (6, broken.IgnoresLimits, "test_due_gives_the_oldest_first"),
    (6, broken.SearchesOldestFirst, "test_search_gives_the_newest_first"),
    (6, broken.SearchesWithoutLimit, "test_search_gives_the_newest_first"),
    (6, broken.SearchesWithWildcards, "test_search_takes_the_prefix_literally"),
    (6, broken.SearchesFromTheStart, "test_search_pages_meet_every_record_once"),
    (6, broken.SearchesByTimeAlone, "test_search_pages_meet_every_record_once"),
    (6, broken.SearchesEveryStatus, "test_search_pages_meet_every_record_once"),
    (7, broken.LetsEveryRacerIn, "test_one_of_several_racing_adds_wins"),
    (8, broken.ChokesOnStrangeRefs, "test_any_string_may_be_looked_up"),
    (9, broken.StartsAThread, "test_it_starts_no_threads"),
]
# The same for stores that claim durability; each is noticed by what its fixtures below hand to the test.
DURABLE = [
    (7, broken.Forgets, "test_a_reopened_store_has_everything"),
    (7, broken.Forgets, "test_racing_stores_lose_no_update"),
    (7, broken.Forgets, "test_racing_processes_lose_no_update"),
    (7, broken.Forgets, "test_a_killed_process_loses_nothing"),
    (2, broken.ComparesBeforeItWrites, "test_racing_stores_lose_no_update"),
    (2, broken.ComparesBeforeItWrites, "test_racing_processes_lose_no_update"),
    (1, broken.WritesRefsLater, "test_a_killed_process_loses_nothing"),
]
ABSENT = [broken.LeaksErrors, broken.AnswersWithoutADatabase, broken.HidesTheCause]
NAMES = {"ids": lambda value: getattr(value, "__name__", str(value))}


def list_tests(contract):
    """Return the names of a contract's tests, inherited ones left out."""
    return {name for name in vars(contract) if name.startswith("test_")}


@pytest.mark.parametrize(("clause", "store", "promise"), CORE, **NAMES)
def test_a_broken_store_fails_the_promise_that_it_breaks(clause, store, promise):
    """The named test passes on a good store and fails on the broken one."""
    check = getattr(OrderStoreContract(), promise)
    check(MemoryStore())
    with pytest.raises(AssertionError):
        check(store())


def make_factory(store, url):
    """Return what opens a broken store again, in this process or in another."""
    if store is broken.Forgets:
        return store
    arguments = [multiprocessing.get_context("spawn").Barrier(4)] if store is broken.ComparesBeforeItWrites else []
    return functools.partial(store, url, *arguments)


@pytest.mark.parametrize(("clause", "store", "promise"), DURABLE, **NAMES)
def test_a_broken_store_fails_between_processes(clause, store, promise, tmp_path):
    """Stores that hold as long as nobody else opens them, or nobody dies, fail the durable contract."""
    url = f"sqlite:///{tmp_path / 'orders.sqlite'}"
    SQLAlchemyStore(url, create_tables=True)
    open_store = make_factory(store, url)
    with pytest.raises(AssertionError):
        getattr(DurableOrderStoreContract(), promise)(open_store(), open_store)


@pytest.mark.parametrize("store", ABSENT, **NAMES)
def test_a_store_without_its_database_must_say_so(store):
    """Foreign errors, empty answers and errors without a cause are each noticed (clause 8)."""
    DurableOrderStoreContract().test_an_absent_database_is_told(broken.IsAbsent())
    with pytest.raises((AssertionError, OSError)):
        DurableOrderStoreContract().test_an_absent_database_is_told(store())


def test_a_store_must_claim_its_durability():
    """The durable contract refuses a store that says it is none."""
    DurableOrderStoreContract().test_it_claims_durability(broken.Forgets())
    with pytest.raises(AssertionError):
        DurableOrderStoreContract().test_it_claims_durability(MemoryStore())


def test_every_clause_has_its_bug():
    """No numbered promise of a store is without a store that breaks it."""
    clauses = {int(number) for number in re.findall(r"^ *(\d+)\. \*", str(OrderStore.__doc__), flags=re.MULTILINE)}
    assert clauses == {clause for clause, _, _ in [*CORE, *DURABLE]}
    assert clauses == set(range(1, 10))


def test_every_test_of_the_contract_has_its_bug():
    """No test of the contract is one that cannot fail."""
    assert list_tests(OrderStoreContract) == {promise for _, _, promise in CORE}
    elsewhere = {"test_an_absent_database_is_told", "test_it_claims_durability"}
    assert list_tests(DurableOrderStoreContract) == {promise for _, _, promise in DURABLE} | elsewhere


@pytest.mark.parametrize("contract", [OrderStoreContract, DurableOrderStoreContract])
def test_a_contract_without_a_store_says_what_to_override(contract, pytester):
    """Whoever inherits and forgets the fixture is told its name."""
    pytester.makepyfile(
        f"from flask_iterapay.testing import {contract.__name__}\nclass TestNothing({contract.__name__}): pass\n"
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes().keys() == {"errors"}
    result.stdout.fnmatch_lines(["*override the fixture*"])
