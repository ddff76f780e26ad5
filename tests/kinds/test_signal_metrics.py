import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loadgen.kinds.load import MetricLoad
from loadgen.kinds.metrics import source as module
from loadgen.kinds.metrics.source import BLOCK, BUCKETS, COUNTER, GAUGE, HISTOGRAM, MEAN_S, MetricSource
from loadgen.model import MS, NS, RunKey

KEY = RunKey("r", 7, 1_795_414_024_000 * MS)


def named(source: MetricSource, user: int, name: str) -> list[int]:
    return [i for i, labels in enumerate(source.series(user)) if labels[0] == ("__name__", name)]


@settings(max_examples=50, deadline=None)
@given(
    series=st.integers(1, 50),
    samples=st.integers(1, 4),
    interval_ms=st.integers(4, 60_000),
    user=st.integers(0, 99_999),
    n=st.integers(0, 500_000),
)
def test_values_of_a_batch_equal_single_values_bit_for_bit(
    series: int, samples: int, interval_ms: int, user: int, n: int
) -> None:
    source = MetricSource(KEY, MetricLoad(series, interval_ms * MS, samples))
    batch = source.batch(user, n)
    values, times = source.values(batch), source.times_ms(batch).tolist()
    assert values.shape == (series, samples)
    for i in range(series):
        assert values[i].tolist() == [source.value_at(user, i, time_ms) for time_ms in times]


@settings(max_examples=50, deadline=None)
@given(samples=st.integers(1, 9), interval_ms=st.integers(9, 60_000), user=st.integers(0, 99_999))
def test_sample_times_ascend_within_and_between_pushes_and_end_when_due(
    samples: int, interval_ms: int, user: int
) -> None:
    source = MetricSource(KEY, MetricLoad(1, interval_ms * MS, samples))
    batches = [source.batch(user, n) for n in range(4)]
    times = np.concatenate([source.times_ms(batch) for batch in batches])
    assert (np.diff(times) > 0).all()
    assert [int(source.times_ms(batch)[-1]) for batch in batches] == [batch.due_ns // MS for batch in batches]


def test_label_sets_are_sorted_and_unique_over_all_instances() -> None:
    source = MetricSource(KEY, MetricLoad(70, NS))
    everything = [labels for user in range(5) for labels in source.series(user)]
    assert len(set(everything)) == 350
    assert all(list(labels) == sorted(labels) for labels in everything)


def test_a_run_that_goes_on_with_the_series_of_another_sends_the_same_series_with_other_values() -> None:
    load = MetricLoad(40, NS)
    first, then = MetricSource(KEY, load), MetricSource(RunKey("r2", 8, KEY.began_ns, "r"), load)
    assert then.series(3) == first.series(3) != MetricSource(RunKey("r2", 8, KEY.began_ns), load).series(3)
    assert then.values(then.batch(3, 5)).tolist() != first.values(first.batch(3, 5)).tolist()


@settings(max_examples=300, deadline=None)
@given(users=st.integers(1, 100_000), other=st.integers(0, 99_999))
@example(users=100_000, other=99_999)
@example(users=1, other=0)
def test_instances_are_those_of_the_first_users_and_no_others(users: int, other: int) -> None:
    source = MetricSource(KEY, MetricLoad(1, NS))
    pattern = re.compile(source.instances(users))
    for user in {0, users - 1, min(users, 99_999), other}:
        assert bool(pattern.fullmatch(source.instance(user))) is (user < users)


@pytest.mark.parametrize("users", [0, 100_001])
def test_a_number_of_users_that_names_cannot_tell_is_refused(users: int) -> None:
    with pytest.raises(ValueError, match="100,000"):
        MetricSource(KEY, MetricLoad(1, NS)).instances(users)


@pytest.mark.parametrize("series", [1, 4, 5, 15, 16, 17, 31, 32, 100])
def test_any_number_of_series_is_met_exactly_with_whole_histograms_only(series: int) -> None:
    source = MetricSource(KEY, MetricLoad(series, NS))
    assert len(source.series(0)) == series
    blocks = series // BLOCK
    assert len(named(source, 0, f"{HISTOGRAM}_bucket")) == blocks * len(BUCKETS)
    assert len(named(source, 0, f"{HISTOGRAM}_count")) == len(named(source, 0, f"{HISTOGRAM}_sum")) == blocks


def test_counters_rise_by_their_slope_from_the_beginning_of_the_run() -> None:
    source = MetricSource(KEY, MetricLoad(160, NS))
    began_ms = KEY.began_ns // MS
    for i in named(source, 3, COUNTER):
        slope = source.slope(3, i)
        assert slope is not None and slope > 0
        assert source.value_at(3, i, began_ms) == source.value_at(3, i, began_ms - 5000) == 0
        assert source.value_at(3, i, began_ms + 8000) == slope * 8


def test_gauges_swing_and_have_no_slope() -> None:
    source = MetricSource(KEY, MetricLoad(160, NS))
    began_ms = KEY.began_ns // MS
    for i in named(source, 3, GAUGE):
        assert source.slope(3, i) is None
        values = [source.value_at(3, i, began_ms + second * 1000) for second in range(1200)]
        assert min(values) >= 0
        middle, amplitude = (max(values) + min(values)) / 2, (max(values) - min(values)) / 2
        assert 9.5 < amplitude < 100
        assert abs(sum(values) / len(values) - middle) < amplitude / 50


def test_the_sine_table_does_not_depend_on_the_last_digit_of_a_library() -> None:
    # Were an exact value close to half a step, two libraries could round it differently.
    for step, value in enumerate(module._SINE):
        exact = math.sin(2 * math.pi * step / len(module._SINE)) * (1 << 20)
        assert value * (1 << 20) == round(exact)
        assert abs(abs(exact - math.floor(exact)) - 0.5) > 1e-7


def test_the_buckets_of_a_histogram_belong_together_and_are_cumulative() -> None:
    source = MetricSource(KEY, MetricLoad(32, NS))
    series = [dict(labels) for labels in source.series(0)]
    values = source.values(source.batch(0, 100))[:, 0]
    buckets = named(source, 0, f"{HISTOGRAM}_bucket")
    count, total = (named(source, 0, f"{HISTOGRAM}_{part}")[0] for part in ("count", "sum"))
    first = buckets[: len(BUCKETS)]
    assert [series[i]["le"] for i in first] == [le for le, _ in BUCKETS]
    assert len({series[i]["series"] for i in (*first, count, total)}) == 1
    assert (np.diff(values[first]) > 0).all()
    assert values[first[-1]] == values[count] > 0
    assert [values[i] / values[count] for i in first] == pytest.approx([share / 100 for _, share in BUCKETS])
    assert values[total] / values[count] == pytest.approx(MEAN_S)
    # The sum must be possible with these shares in these buckets.
    bounds = [0.0, *(float(le) for le, _ in BUCKETS)]
    shares = np.diff([0, *(share for _, share in BUCKETS)]) / 100
    assert float(np.dot(shares, bounds[:-1])) < MEAN_S


def test_rates_of_buckets_and_count_are_whole_numbers_that_agree() -> None:
    source = MetricSource(KEY, MetricLoad(16, NS))
    count = source.slope(0, named(source, 0, f"{HISTOGRAM}_count")[0])
    buckets = [source.slope(0, i) for i in named(source, 0, f"{HISTOGRAM}_bucket")]
    assert buckets == [count * share / 100 for _, share in BUCKETS]


@pytest.mark.parametrize(
    ("series", "interval_ns", "samples"), [(0, NS, 1), (1, NS, 0), (1, NS, 1001), (1, 0, 1), (1, NS + 1, 1)]
)
def test_an_impossible_load_is_refused(series: int, interval_ns: int, samples: int) -> None:
    with pytest.raises(ValueError, match="metrics"):
        MetricLoad(series, interval_ns, samples)
