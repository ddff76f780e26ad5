"""The faults beside a load come to a certain end; what is not over then is told, and nothing writes afterwards."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from loadgen.faults.beside import FaultsBeside
from loadgen.model import NS, Component, FaultWindow

BEGUN = FaultWindow("kill", Component.LOKI, 5 * NS, 0, 0, 0, "", unfinished=True)
OVER = replace(BEGUN, healed_ns=6 * NS, query_ok_ns=7 * NS, unfinished=False)


class Kept:
    def __init__(self) -> None:
        self.stored: list[tuple[FaultWindow, ...]] = []
        self.faults = FaultsBeside(self.stored.append)


@pytest.fixture
def kept():
    return Kept()


def test_a_window_takes_the_place_of_its_beginning(kept):
    def work() -> None:
        for component in (Component.LOKI, Component.TEMPO):
            kept.faults.keep(replace(BEGUN, component=component))
            kept.faults.keep(replace(OVER, component=component))

    kept.faults.start(work)
    windows = kept.faults.end(30)
    assert [(one.component, one.unfinished) for one in windows] == [("loki", False), ("tempo", False)]
    assert kept.stored[0] == (replace(BEGUN),) and kept.stored[-1] == windows
    assert kept.faults.problems == ()


def test_a_fault_that_outlasts_its_time_stays_unfinished_is_told_and_writes_nothing_any_more(kept):
    begun, heals, healed = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        kept.faults.keep(BEGUN)
        begun.set()
        heals.wait(60)
        kept.faults.keep(OVER)
        healed.set()

    kept.faults.start(work)
    assert begun.wait(60)
    windows = kept.faults.end(0)
    assert windows == (BEGUN,)
    (problem,) = kept.faults.problems
    assert "the kill of loki was not over" in problem and "loadgen lab up" in problem
    heals.set()
    assert healed.wait(60), "it is healed all the same"
    assert kept.stored == [(BEGUN,)] and kept.faults.close() == (BEGUN,)


def test_a_person_in_a_hurry_is_not_kept_waiting(kept):
    heals = threading.Event()
    kept.faults.start(lambda: heals.wait(60) or None)
    assert kept.faults.end(3600, hurry=lambda: True) == ()
    heals.set()


def test_what_could_not_be_healed_is_told_with_the_way_to_heal_it(kept):
    kept.faults.start(lambda: kept.faults.keep(replace(OVER, healed_ns=0, error="its port is taken; loadgen lab up")))
    kept.faults.end(30)
    assert kept.faults.problems == ("the kill of loki could not be healed: its port is taken; loadgen lab up",)


def test_a_thread_that_breaks_is_told_and_its_fault_stays_unfinished(kept):
    def work() -> None:
        kept.faults.keep(BEGUN)
        raise KeyError("kill")

    kept.faults.start(work)
    assert kept.faults.end(30) == (BEGUN,)
    assert any("KeyError" in problem for problem in kept.faults.problems)
    assert any("was not over" in problem for problem in kept.faults.problems)


def test_without_a_fault_there_is_nothing_to_wait_for(kept):
    assert kept.faults.end(3600) == () and kept.faults.problems == ()
