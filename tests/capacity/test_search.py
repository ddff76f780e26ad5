"""A search doubles, halves the gap, ends for the right reason, and can be taken up again anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.capacity.model import Broken, Ending, Limit, Refusal, Search, SearchKind, Step, Usage, Why
from loadgen.capacity.search import Level, Range, decide, halvings, planned, stopped

RATE = Range(SearchKind.LOGS, "B/s", 1e6, 50e6, 0.1)
SERIES = Range(SearchKind.METRICS, "series", 1000, 200_000, 0.1)
QUERIES = Range(SearchKind.QUERIES, "queries/s", 2, 50, 0.1)
REFUSED = (Refusal("logs", "rejected", 429, 3, "no"),)


def step(level: float, ending: Ending, slow: bool = False, number: int = 1) -> Step:
    broken = (Broken("logs.query" if slow else "logs.throughput", "", "", ""),) if ending is Ending.BROKEN else ()
    refusals = REFUSED if ending is Ending.BROKEN and not slow else ()
    return Step(number, SearchKind.LOGS, level, "", 0, 1.0, 1.0, ending, broken=broken, refusals=refusals)


def searched(where: Range, ends: Callable[[float], Ending], most: int = 60) -> tuple[Search, list[Step]]:
    steps: list[Step] = []
    while True:
        found = decide(steps, where)
        if isinstance(found, Search):
            return found, steps
        assert len(steps) < most, "the search does not end"
        steps.append(step(found.level, ends(found.level)))


def below(limit: float) -> Callable[[float], Ending]:
    return lambda level: Ending.KEPT if level <= limit else Ending.BROKEN


@given(st.floats(1e6, 49e6))
def test_a_limit_between_start_and_ceiling_is_found_within_the_precision(limit: float) -> None:
    found, steps = searched(RATE, below(limit))
    assert found.why is Why.FOUND and found.kept is not None and found.broke is not None
    assert found.kept <= limit <= found.broke <= found.kept * 1.1
    assert len({one.level for one in steps}) == len(steps)


@given(st.integers(20, 190_000))
def test_levels_of_series_are_whole_numbers(limit: int) -> None:
    found, steps = searched(SERIES, below(limit))
    assert found.why is Why.FOUND
    assert all(one.level == int(one.level) for one in steps)


@given(st.floats(1e6 / 2**5, 0.99e6))
def test_a_limit_below_the_start_is_found_by_halving(limit: float) -> None:
    found, steps = searched(RATE, below(limit))
    assert steps[0].level == 1e6
    assert found.why is Why.FOUND and found.kept is not None and found.kept <= limit <= found.kept * 1.12


def test_load_doubles_until_something_breaks() -> None:
    _, steps = searched(RATE, below(9e6))
    assert [one.level for one in steps[:5]] == [1e6, 2e6, 4e6, 8e6, 16e6]


def test_a_search_that_breaks_nothing_ends_at_the_ceiling_and_not_beyond() -> None:
    found, steps = searched(RATE, below(1e12))
    assert (found.why, found.kept, found.broke) == (Why.CEILING, 50e6, None)
    assert max(one.level for one in steps) == 50e6
    assert tuple(one.level for one in steps) == planned(RATE)


def test_a_search_in_which_everything_breaks_ends_some_halvings_below_its_start() -> None:
    found, steps = searched(RATE, below(0))
    assert (found.why, found.kept) == (Why.LOWEST, None)
    assert 1e6 / 2**7 < min(one.level for one in steps) == found.broke


@pytest.mark.parametrize(("ending", "why"), [(Ending.GENERATOR, Why.GENERATOR), (Ending.UNTOLD, Why.UNTOLD)])
def test_a_step_that_says_nothing_is_made_once_more_and_then_is_the_end_of_what_is_known(
    ending: Ending, why: Why
) -> None:
    found, steps = searched(RATE, lambda level: Ending.KEPT if level < 3e6 else ending)
    assert found.why is why and found.kept is not None and found.kept < 3e6
    assert [one.level for one in steps].count(found.broke) == 2


TOO_FEW = Broken("logs.query", "", "", "", ("0 of 7 queries over 3 s; at least 59 are needed to tell",))
ONE_SLOW = Broken("logs.query", "", "", "1 of 80 over 3 s", ("one alone proves nothing",))


def asked(level: float, ending: Ending, untold: Broken = TOO_FEW) -> Step:
    made = replace(step(level, ending, slow=True), kind=SearchKind.QUERIES)
    return replace(made, untold=(untold,)) if ending is Ending.UNTOLD else made


def queried(where: Range, ends: Callable[[float], Ending]) -> tuple[Search, list[float]]:
    steps: list[Step] = []
    while not isinstance(found := decide(steps, where), Search):
        assert len(steps) < 60, "the search does not end"
        steps.append(asked(found.level, ends(found.level)))
    return found, list(dict.fromkeys(one.level for one in steps))


def between(few_below: float, limit: float) -> Callable[[float], Ending]:
    return lambda level: Ending.UNTOLD if level < few_below else below(limit)(level)


def test_too_few_queries_to_judge_by_become_more_and_not_fewer() -> None:
    found, levels = queried(QUERIES, between(6, 20))
    assert levels[:5] == [2, 4, 8, 16, 32]
    assert found.why is Why.FOUND and found.kept is not None and found.kept <= 20 < 1.1 * found.kept


def test_a_step_in_which_one_query_was_slow_is_made_once_more() -> None:
    assert decide([asked(2, Ending.UNTOLD, ONE_SLOW)], QUERIES) == Level(2, again=True)
    assert decide([asked(2, Ending.UNTOLD)], QUERIES) == Level(4)


@given(st.floats(2.5, 16), st.floats(1.15, 3), st.sampled_from([2, 5, 12, 40]))
def test_what_lies_between_too_few_and_too_many_queries_is_found(few: float, times: float, start: int) -> None:
    found, _ = queried(replace(QUERIES, start=start), between(few, few * times))
    assert found.why is Why.FOUND and found.kept is not None and found.broke is not None
    assert few <= found.kept <= few * times <= found.broke <= 1.11 * found.kept


def test_queries_that_are_too_many_where_they_are_too_few_below_end_the_search_there() -> None:
    found, levels = queried(QUERIES, between(10, 0))
    assert (found.why, found.kept) == (Why.UNTOLD, None)
    assert found.broke is not None and 10 <= found.broke <= 11.1 and found.broke in levels
    assert decide([asked(12, Ending.BROKEN), asked(12, Ending.BROKEN)], replace(QUERIES, start=12)) == Level(6)


def test_the_generator_above_too_few_queries_is_named() -> None:
    found, _ = queried(QUERIES, lambda level: Ending.UNTOLD if level < 10 else Ending.GENERATOR)
    assert (found.why, found.kept) == (Why.GENERATOR, None)


def test_queries_that_cannot_be_judged_even_at_the_ceiling_end_the_search() -> None:
    found, levels = queried(QUERIES, lambda _: Ending.UNTOLD)
    assert levels == [2, 4, 8, 16, 32, 50]
    assert (found.why, found.kept, found.broke) == (Why.UNTOLD, None, 50)


@pytest.mark.parametrize(
    "untold",
    [
        Broken("logs.loss", "", "", "", ("Loki could not be read",)),
        Broken("logs.query", "", "", "p99 1 s", ("own query refused",)),
    ],
)
def test_what_more_queries_would_not_tell_is_tried_again_and_then_lower(untold: Broken) -> None:
    steps = [asked(8, Ending.UNTOLD, untold)]
    assert decide(steps, replace(QUERIES, start=8)) == Level(8, again=True)
    assert decide([*steps, *steps], replace(QUERIES, start=8)) == Level(4)


def test_a_time_that_was_too_long_once_is_no_limit() -> None:
    steps = [step(1e6, Ending.KEPT), step(2e6, Ending.BROKEN, slow=True)]
    assert decide(steps, RATE) == Level(2e6, again=True)
    assert decide([*steps, step(2e6, Ending.KEPT)], RATE) == Level(4e6)
    assert decide([*steps, step(2e6, Ending.BROKEN, slow=True)], RATE) == Level(1.5e6)


def test_a_refusal_needs_no_second_step() -> None:
    assert decide([step(1e6, Ending.KEPT), step(2e6, Ending.BROKEN)], RATE) == Level(1.5e6)


def test_an_interrupted_step_is_made_again() -> None:
    assert decide([step(1e6, Ending.KEPT), step(2e6, Ending.INTERRUPTED)], RATE) == Level(2e6)


@given(st.floats(1e6, 49e6), st.integers(0, 12))
def test_a_search_that_was_cut_anywhere_goes_on_as_if_it_had_not(limit: float, cut: int) -> None:
    whole, steps = searched(RATE, below(limit))
    some = steps[:cut]
    while not isinstance(found := decide(some, RATE), Search):
        some.append(step(found.level, below(limit)(found.level)))
    assert found == whole


def test_a_search_that_is_stopped_tells_what_it_knows() -> None:
    steps = [step(1e6, Ending.KEPT), step(2e6, Ending.KEPT), step(4e6, Ending.BROKEN), step(3e6, Ending.INTERRUPTED)]
    found = stopped(steps, RATE, Why.MINUTES, "late")
    assert (found.kept, found.broke, found.why, found.detail) == (2e6, 4e6, Why.MINUTES, "late")
    assert stopped([], RATE, Why.PENDING).kept is None


def test_a_finer_precision_needs_more_halvings() -> None:
    assert halvings(RATE) == 4
    assert halvings(Range(SearchKind.LOGS, "B/s", 1e6, 5e6, 0.01)) == 7


def full(level: float, ending: Ending, held: float, number: float | None, setting: str) -> Step:
    limit = Limit("mimir", setting, "", number, "no more")
    refusals = (Refusal("metrics", "unknown", 400, 9, "no more", limit),) if ending is Ending.BROKEN else ()
    usage = (Usage("mimir", "/metrics", series=held, streams=held),)
    return Step(1, SearchKind.METRICS, level, "", 0, 1.0, 1.0, ending, usage=usage, refusals=refusals)


@pytest.mark.parametrize(("number", "counted"), [(1700.0, 1600.0), (None, 1650.0)])
def test_a_limit_on_how_many_there_are_is_counted_and_not_searched_for(number: float | None, counted: float) -> None:
    setting = "limits.max_global_series_per_user"
    steps = [full(1000, Ending.KEPT, 1100, None, setting), full(2000, Ending.BROKEN, 1750, number, setting)]
    found = decide(steps, SERIES)
    assert isinstance(found, Search) and found.why is Why.FOUND
    assert (found.kept, found.broke, found.counted) == (1000, 2000, counted)
    assert "full" in found.detail


def test_another_limit_on_series_is_searched_for() -> None:
    steps = [full(1000, Ending.KEPT, 1000, None, "x"), full(2000, Ending.BROKEN, 2000, 9.0, "limits.ingestion_rate")]
    assert decide(steps, SERIES) == Level(1500)
