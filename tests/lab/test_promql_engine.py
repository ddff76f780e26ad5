"""The PromQL engine by itself, with answers worked out by hand or seen on a real server."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.lab.mimir import promql
from loadgen.lab.mimir.promql_text import float_text, parse_duration_ms, parse_time_ms, time_text
from loadgen.lab.mimir.promql_values import LabelMatcher, Labels, PromQLError, Samples, Scalar, Vector

STALE = float(np.array([0x7FF0000000000002], dtype=np.uint64).view(np.float64)[0])
Data = dict[Labels, list[tuple[int, float]]]


class Memory:
    """Samples in a dict."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def select(self, matchers: Sequence[LabelMatcher], after_ms: int, through_ms: int) -> Samples:
        checks = [(matcher.name, matcher.predicate()) for matcher in matchers]
        labels = sorted(own for own in self._data if all(ok(dict(own).get(name, "")) for name, ok in checks))
        rows = [[(t, v) for t, v in self._data[own] if after_ms < t <= through_ms] for own in labels]
        flat = [sample for row in rows for sample in row]
        return Samples(
            labels,
            np.concatenate(([0], np.cumsum([len(row) for row in rows]))).astype(np.int64),
            np.array([t for t, _ in flat], dtype=np.int64),
            np.array([v for _, v in flat], dtype=np.float64),
        )


def series(name: str, **labels: str) -> Labels:
    return tuple(sorted({"__name__": name, **labels}.items()))


def ask(data: Data, query: str, *steps_ms: int) -> dict[Labels, list[float | None]]:
    value = promql.evaluate(promql.parse(query), Memory(data), np.array(steps_ms, dtype=np.int64))
    assert isinstance(value, Vector)
    return {
        labels: [number if there else None for number, there in zip(numbers, mask, strict=True)]
        for labels, numbers, mask in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    }


def test_rate_extrapolates_as_the_real_server() -> None:
    data = {series("m"): [(15_000 * i, float(i + 1)) for i in range(1, 5)]}
    shifted = {series("m"): [(t, v - 1) for t, v in data[series("m")]]}
    (values,) = ask(shifted, "rate(m[1m])", 15_000, 30_000, 45_000, 60_000).values()
    assert values[0] is None
    assert values[1:] == pytest.approx([0.025, 0.041666666666666664, 0.06666666666666665], rel=1e-12)


def test_a_counter_reset_counts_what_came_before_it() -> None:
    data = {series("m"): [(0, 10.0), (10_000, 20.0), (20_000, 5.0), (30_000, 8.0)]}
    (values,) = ask(data, "increase(m[40s])", 30_000).values()
    # 10 + 5 + 3 over 30 s, extended by 10 s of 10 s before the first sample.
    assert values == pytest.approx([18 * 40 / 30])
    assert ask(data, "resets(m[1m])", 30_000) == {(): [1.0]}


def test_an_instant_value_is_at_most_five_minutes_old() -> None:
    data = {series("m"): [(1_000, 7.0)]}
    assert ask(data, "m", 1_000, 300_999) == {series("m"): [7.0, 7.0]}
    assert ask(data, "m", 999, 301_000) == {}


def test_a_staleness_marker_ends_a_series_and_does_not_count_in_ranges() -> None:
    data = {series("m"): [(1_000, 7.0), (2_000, STALE)]}
    assert ask(data, "m", 1_500, 2_500) == {series("m"): [7.0, None]}
    assert ask(data, "count_over_time(m[1m])", 2_500) == {(): [1.0]}


def test_real_nan_is_a_value() -> None:
    data = {series("m"): [(1_000, math.nan)]}
    (values,) = ask(data, "m", 1_500).values()
    assert values[0] is not None
    assert math.isnan(values[0])


def test_ambiguous_matches_are_refused_with_prometheus_words() -> None:
    data = {
        series("a", x="1"): [(1, 1.0)],
        series("b", x="1", y="1"): [(1, 1.0)],
        series("b", x="1", y="2"): [(1, 1.0)],
    }
    with pytest.raises(PromQLError, match="found duplicate series for the match group"):
        ask(data, "a + on (x) b", 1)
    with pytest.raises(PromQLError, match=r"many-to-one matching must be explicit"):
        ask(data, "b + on (x) a", 1)
    assert len(ask(data, "b + on (x) group_left () a", 1)) == 2


def test_histogram_quantiles_interpolate() -> None:
    counts = {"1": 10.0, "2": 20.0, "+Inf": 20.0}
    data = {series("h_bucket", le=le): [(1, count)] for le, count in counts.items()}
    assert ask(data, "histogram_quantile(0.75, h_bucket)", 1) == {(): [1.5]}
    assert ask(data, "histogram_quantile(0.25, h_bucket)", 1) == {(): [0.5]}
    assert ask(data, "histogram_quantile(1, h_bucket)", 1) == {(): [2.0]}


def test_a_minus_binds_weaker_than_a_power() -> None:
    value = promql.evaluate(promql.parse("-1 ^ 2"), Memory({}), np.array([0], dtype=np.int64))
    assert isinstance(value, Scalar)
    assert value.values.tolist() == [-1.0]


@pytest.mark.parametrize(
    "query", ["a{b=~'(x+)+'}", "a{b=~'[[:alpha:]]'}", "holt_winters(a[1m], 1, 1)", "a[1m]", "1 + a[1m]"]
)
def test_what_the_engine_does_not_know_is_an_error_of_its_own(query: str) -> None:
    with pytest.raises(PromQLError):
        ask({series("a", b="x"): [(1, 1.0)]}, query, 1)


@settings(max_examples=200)
@given(st.text(alphabet="ab(){}[]\"'=~!<>+-*/%^,:@ 0123456789msuratedbyonignoringgroup_leftoffset", max_size=60))
def test_any_text_is_answered_or_refused_with_the_engines_own_error(text: str) -> None:
    try:
        promql.evaluate(promql.parse(text), Memory({series("a"): [(1, 1.0)]}), np.array([1, 2], dtype=np.int64))
    except PromQLError as error:
        assert str(error)


@given(st.floats(allow_nan=False))
def test_numbers_read_back_as_they_were(value: float) -> None:
    assert float(float_text(value)) == value


@given(st.integers(0, 2**45))
def test_times_read_back_as_they_were(time_ms: int) -> None:
    assert parse_time_ms(time_text(time_ms)) == time_ms


@given(st.text(max_size=20))
def test_any_time_or_duration_is_read_or_none(text: str) -> None:
    parse_time_ms(text)
    parse_duration_ms(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("15", 15_000), ("0.5", 500), ("1h30m", 5_400_000), ("100ms", 100), ("1d", 86_400_000), ("", None), ("x", None)],
)
def test_durations(text: str, expected: int | None) -> None:
    assert parse_duration_ms(text) == expected


def test_times_in_rfc3339() -> None:
    assert parse_time_ms("1970-01-01T00:00:01.25Z") == 1250
    assert parse_time_ms("1970-01-01T01:00:01+01:00") == 1000
    assert parse_time_ms("1970-13-01T00:00:00Z") is None
