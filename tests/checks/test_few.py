"""A percentile of few: what so many over a bound among so many exclude."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_history import Made, good_run

from loadgen.checks import CHECKS, judge
from loadgen.checks.few import ALLOWED, EXCLUDED, Tally, enough, least_share, most_share
from loadgen.checks.suggest import duration_setting
from loadgen.history.values import History
from loadgen.model import NS, Result
from loadgen.units import seconds


def at_most(over: int, n: int, share: float) -> float:
    """The chance of at most ``over`` of ``n``, in whole binomials."""
    return sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(over + 1))


@pytest.mark.parametrize(
    ("over", "n", "confidence", "least", "most"),
    [
        # Clopper and Pearson's intervals of 95 % and 90 % as tables of exact binomial limits have them.
        (0, 10, 0.975, 0.0, 0.3085),
        (1, 10, 0.975, 0.0025, 0.4450),
        (5, 10, 0.975, 0.1871, 0.8129),
        (1, 10, 0.95, 0.0051, 0.3942),
        (5, 50, 0.95, 0.0402, 0.1988),
        (10, 100, 0.95, 0.0553, 0.1637),
        (10, 10, 0.975, 0.6915, 1.0),
    ],
)
def test_the_bounds_are_those_of_published_tables(
    over: int, n: int, confidence: float, least: float, most: float
) -> None:
    assert least_share(over, n, confidence) == pytest.approx(least, abs=6e-5)
    assert most_share(over, n, confidence) == pytest.approx(most, abs=6e-5)


def test_as_many_are_needed_as_tables_of_tolerance_limits_have_it() -> None:
    # Wilks: 95 % of all with 95 % confidence, by the number over; and 99 % of all.
    assert [enough(over) for over in range(7)] == [59, 93, 124, 153, 181, 208, 234]
    assert [enough(over, 0.01) for over in range(3)] == [299, 473, 628]


@given(n=st.integers(1, 400), data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_bound_is_the_share_at_which_so_few_become_a_chance_of_one_in_twenty(n: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(0, n))
    most, least = most_share(over, n), least_share(over, n)
    assert 0 <= least <= over / n <= most <= 1
    assert least == pytest.approx(1 - most_share(n - over, n))
    if over < n:
        assert at_most(over, n, most) == pytest.approx(0.05, abs=1e-9)
        assert most_share(over + 1, n) > most and most_share(over, n + 1) < most


@given(n=st.integers(1, 150), share=st.floats(0.001, 0.999))
@settings(max_examples=60, deadline=None)
def test_whatever_the_share_is_the_bounds_miss_it_in_one_of_twenty_runs_at_most(n: int, share: float) -> None:
    chance = [at_most(over, n, share) - (at_most(over - 1, n, share) if over else 0) for over in range(n + 1)]
    assert sum(p for over, p in enumerate(chance) if most_share(over, n) < share) <= 0.05 + 1e-9
    assert sum(p for over, p in enumerate(chance) if least_share(over, n) > share) <= 0.05 + 1e-9


@given(n=st.integers(1, 2_000), share=st.floats(EXCLUDED, 1))
@settings(max_examples=60, deadline=None)
def test_a_stack_of_which_one_in_twenty_is_over_passes_in_one_of_twenty_runs_at_most(n: int, share: float) -> None:
    # The most that passes, by hand: none below a hundred, then one in each whole hundred.
    passing = [over for over in range(n // 100 + 1) if Tally(over, n).result is Result.PASS]
    assert passing == list(range(n // 100 + 1) if n >= 59 else [])
    assert Tally(n // 100 + 1, n).result is not Result.PASS
    if passing:
        assert at_most(passing[-1], n, share) <= 0.05 + 1e-9


@given(n=st.integers(1, 58))
@settings(max_examples=58, deadline=None)
def test_fewer_than_a_pass_needs_raise_a_false_alarm_in_one_of_twenty_runs_at_most(n: int) -> None:
    failing = [over for over in range(n + 1) if Tally(over, n).result is Result.FAIL]
    assert 1 not in failing
    if failing:
        assert failing == list(range(failing[0], n + 1))
        assert 1 - at_most(failing[0] - 1, n, ALLOWED) <= 0.05


@given(n=st.integers(59, 100_000), data=st.data())
@settings(max_examples=100, deadline=None)
def test_with_enough_of_them_two_or_more_that_are_more_than_a_hundredth_fail(n: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(2, n))
    assert (Tally(over, n).result is Result.FAIL) == (over > n // 100)


@given(n=st.integers(0, 3_000), data=st.data())
@settings(max_examples=200, deadline=None)
def test_every_text_holds_its_numbers_and_claims_nothing_that_is_not_so(n: int, data: st.DataObject) -> None:
    over = data.draw(st.integers(0, min(n, 60)))
    tally = Tally(over, n)
    text = tally.text("over 3 s")
    assert text.startswith(f"{over:,} of {n:,} over 3 s")
    if "fewer than" in text:
        assert float(text.split("fewer than ")[1].split(" %")[0]) >= 100 * most_share(over, n) - 1e-6
        assert tally.result is not Result.FAIL
    if "more than" in text:
        assert float(text.split("more than ")[1].split(" %")[0]) <= 100 * least_share(over, n) + 1e-6
        assert tally.result is Result.FAIL
    if tally.result is Result.UNKNOWN:
        assert Tally(over, tally.needed).result is Result.PASS
        assert f"{tally.needed:,} " in tally.lacking("queries", "over 3 s")


def test_the_texts_are_for_people() -> None:
    assert Tally(0, 64).text("over 3 s") == "0 of 64 over 3 s: with 95 % confidence fewer than 4.6 % are"
    assert Tally(0, 305).text("over 3 s").endswith("fewer than 0.98 % are")
    assert Tally(6, 51).text("over 3 s") == "6 of 51 over 3 s: with 95 % confidence more than 5.2 % are"
    assert Tally(1, 1).text("over 3 s") == "1 of 1 over 3 s"
    assert Tally(0, 0).lacking("probes", "over 3 s") == "no probes measured, at least 59 are needed"


@given(value_s=st.floats(0.001, 1e6))
def test_a_suggested_setting_can_be_written_into_a_profile_and_errs_to_the_safe_side(value_s: float) -> None:
    assert 0.89 * value_s <= seconds(duration_setting(value_s)) <= value_s * 1.000001
    assert value_s * 0.999999 <= seconds(duration_setting(value_s, up=True)) <= max(1.12 * value_s, value_s + 60)


# -- the checks themselves -----------------------------------------------------------------------------------------

RUNS = 200
# In 200 runs 5 % are 10; with a chance of 1 in 100,000 there are more than 26 of them.
MOST_OF_RUNS = 26


def spoiled(history: History, chance: np.random.Generator, share: float) -> History:
    """A run in which a share of all queries and probes is too slow, each by its own luck."""
    queries, sightings = history.queries.copy(), history.sightings.copy()
    slow, late = (chance.random(len(frame)) < share for frame in (queries, sightings))
    queries.loc[slow, "done_ns"] = queries["due_ns"] + 4 * NS
    sightings.loc[late, "last_absent_ns"] = sightings["acked_ns"] + 31 * NS
    sightings.loc[late, "first_seen_ns"] = sightings["acked_ns"] + 32 * NS
    return replace(history, queries=queries, sightings=sightings)


def outcomes(made: Made, seed: int, share: float) -> dict[str, Counter[Result]]:
    """How often a check says what, over many runs."""
    history, chance = made.history(), np.random.default_rng(seed)
    checks = [one for one in CHECKS if one.name in ("logs.query", "logs.freshness")]
    found: dict[str, Counter[Result]] = {one.name: Counter() for one in checks}
    for _ in range(RUNS):
        for verdict in judge(spoiled(history, chance, share), made.plan, checks):
            found[verdict.check][verdict.result] += 1
    return found


def of_logs(queries: int, probes: int) -> Made:
    made = good_run({"faults": [], "metrics": {"users": 0}, "traces": {"users": 0}})
    asked = [one for one in made.queries if one.component == "loki"]
    seen = [one for one in made.sightings if (one.signal, one.phase) == ("logs", "probe")]
    assert len(asked) >= queries and len(seen) >= probes
    made.queries, made.sightings = asked[:queries], seen[:probes]
    return made


@pytest.mark.parametrize(("queries", "probes"), [(20, 10), (59, 59), (80, 100)])
def test_a_stack_of_which_one_in_twenty_is_too_slow_is_passed_in_one_of_twenty_runs_at_most(
    queries: int, probes: int
) -> None:
    for check, counts in outcomes(of_logs(queries, probes), 20_260_101, 0.05).items():
        assert counts[Result.PASS] <= MOST_OF_RUNS, check
        assert counts.total() == RUNS


def test_a_stack_whose_p99_is_within_the_bound_is_not_failed_by_few() -> None:
    for check, counts in outcomes(of_logs(40, 40), 20_260_102, 0.01).items():
        assert counts[Result.FAIL] <= MOST_OF_RUNS and not counts[Result.PASS], check
