"""A step's profile sends what its level says, by more users of the same size, and nothing else is raised with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.capacity.levels import planned_bytes, planned_rate, profile_at, range_of
from loadgen.capacity.model import SearchKind
from loadgen.config import ConfigError, Profile, load_profile
from loadgen.model import NS, RunKey, Signal
from loadgen.plan import plan_of

PROFILE = load_profile(Path(__file__).parents[2] / "scenarios" / "capacity.toml", env={})
# A plan lays out bodies, which takes a moment.
few = settings(deadline=None, max_examples=12)
BY_COUNT = Profile.model_validate(
    {"logs": {"users": 3, "lines_per_s": 50}, "traces": {"users": 2, "traces_per_s": 4}, "metrics": {"users": 2}}
)


def rate(profile: Profile, signal: Signal) -> float:
    return planned_rate(plan_of(RunKey("x", 1, NS), profile), signal)


@pytest.mark.parametrize(("kind", "signal"), [(SearchKind.LOGS, Signal.LOGS), (SearchKind.TRACES, Signal.TRACES)])
@few
@given(factor=st.floats(0.02, 40))
def test_a_step_sends_the_bytes_of_its_level(kind: SearchKind, signal: Signal, factor: float) -> None:
    level = range_of(PROFILE, kind).start * factor
    assert rate(profile_at(PROFILE, kind, level), signal) == pytest.approx(level, rel=0.06)


@few
@given(factor=st.floats(0.1, 40))
def test_where_the_profile_counts_items_a_step_has_so_many_times_as_many(factor: float) -> None:
    made = profile_at(BY_COUNT, SearchKind.ALL, factor)
    assert made.logs.users * made.logs.lines_per_s == pytest.approx(150 * factor)
    assert made.traces.users * made.traces.traces_per_s == pytest.approx(8 * factor)


def test_the_first_level_is_what_the_profile_says() -> None:
    for kind in SearchKind:
        first = profile_at(PROFILE, kind, range_of(PROFILE, kind).start)
        for signal in Signal:
            if first.users(signal):
                assert rate(first, signal) == pytest.approx(rate(PROFILE, signal), rel=0.01)


@few
@given(series=st.integers(1, 200_000))
def test_a_step_of_metrics_has_the_series_of_its_level_at_the_same_interval(series: int) -> None:
    made = profile_at(PROFILE, SearchKind.METRICS, series).metrics
    assert made.users * made.series == pytest.approx(series, rel=0.05, abs=made.users)
    assert made.push_every == PROFILE.metrics.push_every and made.series <= PROFILE.metrics.series


@few
@given(per_s=st.floats(0.1, 50))
def test_a_step_of_queries_has_the_viewers_of_its_level_and_the_load_of_the_first(per_s: float) -> None:
    made = profile_at(PROFILE, SearchKind.QUERIES, per_s)
    assert made.dashboards.users / made.dashboards.refresh == pytest.approx(per_s)
    assert all(rate(made, signal) == pytest.approx(rate(PROFILE, signal)) for signal in Signal)


def test_only_one_signal_is_sent_but_people_still_look_on() -> None:
    made = profile_at(PROFILE, SearchKind.TRACES, 3e6)
    assert (made.logs.users, made.metrics.users) == (0, 0) and made.traces.users == 13
    assert made.dashboards == PROFILE.dashboards


def test_everything_is_raised_by_the_same_factor() -> None:
    made = profile_at(PROFILE, SearchKind.ALL, 2.5)
    assert rate(made, Signal.LOGS) == pytest.approx(2.5 * rate(PROFILE, Signal.LOGS), rel=0.02)
    assert rate(made, Signal.TRACES) == pytest.approx(2.5 * rate(PROFILE, Signal.TRACES), rel=0.02)
    assert made.metrics.users * made.metrics.series == 10_000


def test_streams_are_raised_with_the_rate_of_each_the_same() -> None:
    raw = PROFILE.model_dump(mode="json")
    raw["capacity"]["logs_by"] = "streams"
    profile = Profile.model_validate(raw)
    assert range_of(profile, SearchKind.LOGS).unit == "streams"
    made = profile_at(profile, SearchKind.LOGS, 10)
    assert made.logs.users == 10 and rate(made, Signal.LOGS) == pytest.approx(
        2.5 * rate(profile, Signal.LOGS), rel=0.02
    )


def test_faults_publishing_and_fixed_rates_are_left_out_of_steps() -> None:
    raw = PROFILE.model_dump(mode="json")
    raw["faults"] = [{"at": 20, "component": "loki"}]
    raw["publish"] = {"metrics": True}
    raw["objectives"]["logs"]["throughput"] = 10e6
    made = profile_at(Profile.model_validate(raw), SearchKind.LOGS, 1e6)
    assert made.faults == () and not made.publish.metrics and made.objectives.logs.throughput is None


def test_a_kind_that_the_profile_does_not_send_is_an_error_that_says_what_to_do() -> None:
    alone = Profile.model_validate({"metrics": {"users": 0}, "traces": {"users": 0}, "dashboards": {"users": 0}})
    with pytest.raises(ConfigError, match="metrics.users"):
        range_of(alone, SearchKind.METRICS)
    with pytest.raises(ConfigError, match="dashboards.users"):
        range_of(alone, SearchKind.QUERIES)


def test_the_ceiling_of_everything_is_where_the_first_part_reaches_its_own() -> None:
    where = range_of(PROFILE, SearchKind.ALL)
    made = profile_at(PROFILE, SearchKind.ALL, where.ceiling)
    assert rate(made, Signal.LOGS) <= PROFILE.capacity.max_rate * 1.01
    assert made.metrics.users * made.metrics.series <= PROFILE.capacity.max_series * 1.01


def test_the_bytes_of_a_step_are_its_rate_for_its_whole_length() -> None:
    assert planned_bytes(profile_at(PROFILE, SearchKind.LOGS, 2e6)) == pytest.approx(2e6 * 45, rel=0.02)
