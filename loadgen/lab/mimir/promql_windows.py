"""PromQL functions over ranges: rate, increase, *_over_time and their kin, for all series and steps at once.

A range is open on the left, as in Prometheus 3 and Mimir: ``metric[5m]`` at ``t`` holds the samples with
``t - 5m < time <= t``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from loadgen.lab.mimir.promql_values import STALE_BITS, Bools, Floats, Ints, PromQLError, Samples, Vector, quantile_rank

_WINDOWS_AT_ONCE = 250_000
_SAMPLES_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Windows:
    """Ranges of some series at all steps: the samples ``left[i, t]`` up to (not including) ``right[i, t]``.

    Attributes:
        times, values: samples of these series only; positions count from the first of them.
        at: the time of each step, offset included, in ms.
        range_ms: width of each range.
    """

    times: Ints
    values: Floats
    left: Ints
    right: Ints
    at: Ints
    range_ms: int

    @property
    def counts(self) -> Ints:
        """Number of samples in each range."""
        return self.right - self.left


RangeFunction = Callable[[Windows, Floats], tuple[Floats, Bools]]
"""Takes windows and the function's number per step (quantile, seconds; unused by most), gives values and mask."""


def last_at_or_before(samples: Samples, at: Ints) -> Ints:
    """For each series and time, how many samples (counted over all series) lie at or before it, within the series."""
    rows = len(samples.starts) - 1
    if not len(samples.times):
        return np.zeros((rows, len(at)), dtype=np.int64)
    low = int(samples.times.min()) - 1
    span = int(samples.times.max()) - low + 1
    row_of = np.repeat(np.arange(rows, dtype=np.int64), np.diff(samples.starts))
    keys = row_of * span + (samples.times - low)
    offsets = np.clip(at - low, 0, span - 1)
    wanted = np.arange(rows, dtype=np.int64)[:, None] * span + offsets[None, :]
    return np.searchsorted(keys, wanted, side="right").astype(np.int64)


def part(samples: Samples, low: int, high: int) -> Samples:
    """The series ``low`` up to (not including) ``high``."""
    begin, end = int(samples.starts[low]), int(samples.starts[high])
    starts = samples.starts[low : high + 1] - begin
    return Samples(samples.labels[low:high], starts, samples.times[begin:end], samples.values[begin:end])


def parts(samples: Samples, steps: int) -> Iterator[tuple[int, int]]:
    """Series in portions, so that what is computed for all steps of one portion stays small."""
    rows = len(samples.labels)
    portion = max(1, _WINDOWS_AT_ONCE // max(1, steps))
    for low in range(0, rows, portion):
        yield low, min(rows, low + portion)


def is_stale(values: Floats) -> Bools:
    """Where the values are staleness markers."""
    return np.asarray(values.view(np.int64) == STALE_BITS, dtype=bool)


def without_stale(samples: Samples) -> Samples:
    """The samples without staleness markers, which ranges do not contain."""
    stale = is_stale(samples.values)
    if not stale.any():
        return samples
    before = np.concatenate(([0], np.cumsum(~stale)))
    return Samples(samples.labels, before[samples.starts], samples.times[~stale], samples.values[~stale])


def apply(function: RangeFunction, samples: Samples, at: Ints, range_ms: int, number: Floats) -> Vector:
    """A range function of all series at all steps. The labels stay as they are, the metric name included."""
    clean = without_stale(samples)
    rows = len(clean.labels)
    values = np.zeros((rows, len(at)))
    present = np.zeros((rows, len(at)), dtype=bool)
    with np.errstate(all="ignore"):
        for low, high in parts(clean, len(at)):
            some = part(clean, low, high)
            left, right = last_at_or_before(some, at - range_ms), last_at_or_before(some, at)
            windows = Windows(some.times, some.values, left, right, at, range_ms)
            values[low:high], present[low:high] = function(windows, number)
    kept = np.flatnonzero(present.any(axis=1))
    return Vector(clean.labels, values, present).rows(kept)


def reduce_windows(ufunc: np.ufunc, values: Floats, left: Ints, right: Ints) -> Floats:
    """``ufunc`` over each range of positions; 0 where a range is empty."""
    out = np.zeros(left.shape)
    some = right > left
    if some.any():
        pairs = np.empty(2 * int(some.sum()), dtype=np.int64)
        pairs[0::2], pairs[1::2] = left[some], right[some]
        # One more element lets a range end where the samples end.
        out[some] = ufunc.reduceat(np.append(values, 0.0), pairs)[::2]
    return out


def _sum(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    return reduce_windows(np.add, windows.values, windows.left, windows.right), windows.counts > 0


def _avg(windows: Windows, number: Floats) -> tuple[Floats, Bools]:
    total, present = _sum(windows, number)
    return total / np.maximum(windows.counts, 1), present


def _min(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    return reduce_windows(np.fmin, windows.values, windows.left, windows.right), windows.counts > 0


def _max(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    return reduce_windows(np.fmax, windows.values, windows.left, windows.right), windows.counts > 0


def _count(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    return windows.counts.astype(np.float64), windows.counts > 0


def _present(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    return np.ones(windows.left.shape), windows.counts > 0


def _last(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
    present = windows.counts > 0
    if not len(windows.values):
        return np.zeros(present.shape), present
    return windows.values[np.where(present, windows.right - 1, 0)], present


def _ends(windows: Windows, least: int) -> tuple[Bools, Ints, Ints]:
    """Where a range has ``least`` samples, and the positions of its first and last one (0 elsewhere)."""
    enough = windows.counts >= least
    return enough, np.where(enough, windows.left, 0), np.where(enough, windows.right - 1, 0)


def _lost_by_resets(windows: Windows, first: Ints, last: Ints) -> Floats:
    """What a counter lost by resets inside each range."""
    drops = np.flatnonzero(windows.values[1:] < windows.values[:-1]) + 1
    if not len(drops):
        return np.zeros(first.shape)
    lost = windows.values[drops - 1]
    return reduce_windows(np.add, lost, np.searchsorted(drops, first, "right"), np.searchsorted(drops, last, "right"))


def _extrapolated(counter: bool, per_second: bool) -> RangeFunction:
    """Prometheus' rate, increase (counters) and delta: the difference, extended towards the ends of the range."""

    def function(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
        present, first, last = _ends(windows, 2)
        if not present.any():
            return np.zeros(present.shape), present
        times, values = windows.times, windows.values
        result = values[last] - values[first]
        if counter:
            result = result + _lost_by_resets(windows, first, last)
        to_start = (times[first] - (windows.at - windows.range_ms)[None, :]) / 1000
        to_end = (windows.at[None, :] - times[last]) / 1000
        sampled = (times[last] - times[first]) / 1000
        average = sampled / np.maximum(windows.counts - 1, 1)
        threshold = average * 1.1
        to_start = np.where(to_start >= threshold, average / 2, to_start)
        if counter:
            # A counter cannot have been negative: do not extend it further back than to its zero.
            to_zero = np.where((result > 0) & (values[first] >= 0), sampled * (values[first] / result), to_start)
            to_start = np.where(to_zero < to_start, to_zero, to_start)
        to_end = np.where(to_end >= threshold, average / 2, to_end)
        factor = (sampled + to_start + to_end) / sampled
        if per_second:
            factor = factor / (windows.range_ms / 1000)
        return result * factor, present

    return function


def _instant_change(per_second: bool) -> RangeFunction:
    """irate and idelta: the last two samples of the range."""

    def function(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
        present, _first, last = _ends(windows, 2)
        if not present.any():
            return np.zeros(present.shape), present
        previous = np.maximum(last - 1, 0)
        now, before = windows.values[last], windows.values[previous]
        result = now - before
        if per_second:
            result = np.where(now < before, now, result) / ((windows.times[last] - windows.times[previous]) / 1000)
        return result, present

    return function


def _steps_between(differs: Callable[[Floats, Floats], Bools]) -> RangeFunction:
    """changes and resets: how often neighbours in the range differ in a certain way."""

    def function(windows: Windows, _number: Floats) -> tuple[Floats, Bools]:
        present, first, last = _ends(windows, 1)
        marks = np.flatnonzero(differs(windows.values[1:], windows.values[:-1])) + 1
        counted = np.searchsorted(marks, last, "right") - np.searchsorted(marks, first, "right")
        return counted.astype(np.float64), present

    return function


def _changed(now: Floats, before: Floats) -> Bools:
    return np.asarray((now != before) & ~(np.isnan(now) & np.isnan(before)), dtype=bool)


def _fell(now: Floats, before: Floats) -> Bools:
    return np.asarray(now < before, dtype=bool)


def _batches(counts: Ints) -> Iterator[tuple[int, int]]:
    """Windows in portions of a bounded number of samples."""
    total = np.cumsum(counts)
    low = 0
    while low < len(counts):
        done = int(total[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(total, done + _SAMPLES_AT_ONCE, "right")))
        yield low, high
        low = high


Spread = Callable[[Windows, Ints, Ints, Ints, Ints], Floats]
"""Takes windows, then for some of them: step, count, and for each of their samples its window and its position."""


def _each_sample(least: int, spread: Callable[[Floats], Spread]) -> RangeFunction:
    """A function that has to look at every sample of every range, in portions."""

    def function(windows: Windows, number: Floats) -> tuple[Floats, Bools]:
        present = windows.counts >= least
        chosen = np.flatnonzero(present.ravel())
        step = chosen % windows.left.shape[1] if windows.left.shape[1] else chosen
        left, counts = windows.left.ravel()[chosen], windows.counts.ravel()[chosen]
        out = np.zeros(present.size)
        compute = spread(number)
        for low, high in _batches(counts):
            some = counts[low:high]
            window = np.repeat(np.arange(high - low), some)
            begins = np.cumsum(some) - some
            position = np.arange(int(some.sum())) - np.repeat(begins - left[low:high], some)
            out[chosen[low:high]] = compute(windows, step[low:high], some, window, position)
        return out.reshape(present.shape), present

    return function


def _variance(windows: Windows, _step: Ints, counts: Ints, window: Ints, position: Ints) -> Floats:
    values = windows.values[position]
    mean = np.bincount(window, values, len(counts)) / counts
    return np.asarray(np.bincount(window, (values - mean[window]) ** 2, len(counts)) / counts)


def _deviation(windows: Windows, step: Ints, counts: Ints, window: Ints, position: Ints) -> Floats:
    return np.sqrt(_variance(windows, step, counts, window, position))


def _quantile(number: Floats) -> Spread:
    def spread(windows: Windows, step: Ints, counts: Ints, window: Ints, position: Ints) -> Floats:
        values = windows.values[position]
        # NaN sorts first in Prometheus.
        ordered = values[np.lexsort((values, ~np.isnan(values), window))]
        begins = np.cumsum(counts) - counts
        return np.array(
            [
                quantile_of(ordered[begin : begin + count], wanted)
                for begin, count, wanted in zip(begins.tolist(), counts.tolist(), number[step].tolist(), strict=True)
            ]
        )

    return spread


def quantile_of(ordered: Floats, quantile: float) -> float:
    """The quantile of sorted values, interpolated as Prometheus does."""
    if not len(ordered) or np.isnan(quantile):
        return float("nan")
    if quantile < 0 or quantile > 1:
        return float("-inf") if quantile < 0 else float("inf")
    lower, upper, weight = quantile_rank(quantile, len(ordered))
    return float(ordered[lower] * (1 - weight) + ordered[upper] * weight)


def _regression(windows: Windows, origin_ms: Ints, counts: Ints, window: Ints, position: Ints) -> tuple[Floats, Floats]:
    """Slope and intercept (at the origin) of the straight line through the samples of each window."""
    x = (windows.times[position] - origin_ms[window]) / 1000
    y = windows.values[position]
    size = len(counts)
    mean_x, mean_y = np.bincount(window, x, size) / counts, np.bincount(window, y, size) / counts
    dx, dy = x - mean_x[window], y - mean_y[window]
    slope = np.bincount(window, dx * dy, size) / np.bincount(window, dx * dx, size)
    return slope, mean_y - slope * mean_x


def _derivative(windows: Windows, _step: Ints, counts: Ints, window: Ints, position: Ints) -> Floats:
    first = windows.times[position[np.cumsum(counts) - counts]]
    return _regression(windows, first, counts, window, position)[0]


def _prediction(number: Floats) -> Spread:
    def spread(windows: Windows, step: Ints, counts: Ints, window: Ints, position: Ints) -> Floats:
        slope, intercept = _regression(windows, windows.at[step], counts, window, position)
        return slope * number[step] + intercept

    return spread


RANGE_FUNCTIONS: dict[str, RangeFunction] = {
    "rate": _extrapolated(counter=True, per_second=True),
    "increase": _extrapolated(counter=True, per_second=False),
    "delta": _extrapolated(counter=False, per_second=False),
    "irate": _instant_change(per_second=True),
    "idelta": _instant_change(per_second=False),
    "sum_over_time": _sum,
    "avg_over_time": _avg,
    "min_over_time": _min,
    "max_over_time": _max,
    "count_over_time": _count,
    "last_over_time": _last,
    "present_over_time": _present,
    "changes": _steps_between(_changed),
    "resets": _steps_between(_fell),
    "stddev_over_time": _each_sample(1, lambda _number: _deviation),
    "stdvar_over_time": _each_sample(1, lambda _number: _variance),
    "quantile_over_time": _each_sample(1, _quantile),
    "deriv": _each_sample(2, lambda _number: _derivative),
    "predict_linear": _each_sample(2, _prediction),
}
"""The functions of a range that the engine knows."""


def range_function(name: str) -> RangeFunction:
    """The function of that name.

    Raises:
        PromQLError: if it is not one that this engine knows.
    """
    try:
        return RANGE_FUNCTIONS[name]
    except KeyError:
        raise PromQLError(f"function {name}() is not supported by the embedded Mimir") from None
