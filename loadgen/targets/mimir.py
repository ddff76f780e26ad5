"""Reading metrics back from Mimir (or anything with the Prometheus API), through Grafana or directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadgen.model import MS, NS, Component, RunKey
from loadgen.targets.reading import (
    Asker,
    Labels,
    Point,
    Record,
    Reply,
    Series,
    Sized,
    duration_text,
    labels_of,
    matrix_of,
    names_of,
    result_of,
    selector,
    vector_of,
)

MAX_POINTS = 11_000
"""The most points per series that a range query may ask for."""


@dataclass(frozen=True, slots=True)
class RawSeries:
    """The stored samples of one series, as they came."""

    labels: Labels
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


class MimirReader:
    """Queries of one Mimir."""

    component = Component.MIMIR

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def recording(self, record: Record | None) -> MimirReader:
        """The same, with timings handed to ``record``."""
        return MimirReader(self._asker.recording(record))

    def trivial(self, now_ns: int) -> Reply[Any]:
        """A question that every Mimir answers quickly, whatever it holds."""
        return self.instant("loadgen_requests_total", now_ns // MS)

    def ping(self, key: RunKey, at_ns: int) -> Reply[Any]:
        """One small query of a run's data at a time."""
        return self.instant(f"count({selector(run=key.series_run)})", at_ns // MS)

    def small(self, at_ns: int) -> Reply[Any]:
        """One small query, whatever data there is."""
        return self.instant("vector(1)", at_ns // MS)

    def raw(self, selector: str, start_ms: int, end_ms: int) -> Reply[tuple[RawSeries, ...]]:
        """The samples with times in [start, end] with their own timestamps.

        By an instant query of a range selector: the one query that neither interpolates nor looks back. Prometheus 3
        leaves the earlier edge of the range out and Prometheus 2 does not, so a little more is asked for and cut.
        """
        whole_s = (end_ms - start_ms) // 1000 + 1
        expression = f"{selector}[{whole_s}s]"
        params = {"query": expression, "time": _seconds(end_ms)}
        reply = self._asker.get("instant", "/api/v1/query", params, float(whole_s), _raw_of)
        if reply.value is None:
            return reply
        cut = tuple(_between(series, start_ms, end_ms) for series in reply.value)
        return reply.with_value(tuple(series for series in cut if len(series.times_ms)))

    def counts(self, selector: str, start_ms: int, end_ms: int) -> Reply[dict[Labels, int]]:
        """Samples in (start, end) of every series; no sample may have the time of an edge.

        The labels come without ``__name__``, so a selector must name one metric.
        """
        reply = self._over_time("count_over_time", selector, start_ms, end_ms)
        if reply.value is None:
            return reply.failed()
        return reply.with_value({labels: round(value) for labels, value in reply.value.items()})

    def sums(self, selector: str, start_ms: int, end_ms: int) -> Reply[dict[Labels, float]]:
        """The sums of the samples that `counts` counts."""
        return self._over_time("sum_over_time", selector, start_ms, end_ms)

    def _over_time(self, function: str, selector: str, start_ms: int, end_ms: int) -> Reply[dict[Labels, float]]:
        expression = f"{function}({selector}[{duration_text((end_ms - start_ms) * MS)}])"
        reply = self.instant(expression, end_ms, (end_ms - start_ms) / 1000)
        if reply.value is None:
            return reply.failed()
        return reply.with_value({point.labels: point.value for point in reply.value})

    def instant(self, expression: str, at_ms: int, range_s: float = 0.0, due_ns: int = 0) -> Reply[tuple[Point, ...]]:
        """A query at one time; ``range_s`` is how far it looks back, for the timing."""
        params = {"query": expression, "time": _seconds(at_ms)}
        return self._asker.get("instant", "/api/v1/query", params, range_s, vector_of, due_ns)

    def range(
        self, expression: str, start_ns: int, end_ns: int, step_s: int, due_ns: int = 0
    ) -> Reply[tuple[Series, ...]]:
        """A query over a range; the caller keeps the number of steps below `MAX_POINTS`."""
        params = {
            "query": expression,
            "start": _seconds(start_ns // MS),
            "end": _seconds(end_ns // MS),
            "step": str(step_s),
        }
        return self._asker.get("range", "/api/v1/query_range", params, (end_ns - start_ns) / NS, matrix_of, due_ns)

    def labels(self, start_ns: int, end_ns: int, due_ns: int = 0) -> Reply[tuple[str, ...]]:
        """Names of labels in a range."""
        params = {"start": _seconds(start_ns // MS), "end": _seconds(end_ns // MS)}
        return self._asker.get("labels", "/api/v1/labels", params, (end_ns - start_ns) / NS, names_of, due_ns)

    def label_values(self, name: str, start_ns: int, end_ns: int, due_ns: int = 0) -> Reply[tuple[str, ...]]:
        """Values of one label in a range."""
        params = {"start": _seconds(start_ns // MS), "end": _seconds(end_ns // MS)}
        path = f"/api/v1/label/{name}/values"
        return self._asker.get("labels", path, params, (end_ns - start_ns) / NS, names_of, due_ns)


def _seconds(at_ms: int) -> str:
    return f"{at_ms // 1000}.{at_ms % 1000:03d}"


def _raw_of(raw: Any) -> Sized[tuple[RawSeries, ...]]:
    series = []
    for item in result_of(raw, "matrix"):
        values = item["values"]
        times_s = np.fromiter((value[0] for value in values), dtype=np.float64, count=len(values))
        # Whole milliseconds survive the way through decimal seconds, once rounded.
        times_ms = np.rint(times_s * 1000.0).astype(np.int64)
        numbers = np.fromiter((float(value[1]) for value in values), dtype=np.float64, count=len(values))
        series.append(RawSeries(labels_of(item["metric"]), times_ms, numbers))
    return Sized(tuple(series), sum(len(one.times_ms) for one in series))


def _between(series: RawSeries, start_ms: int, end_ms: int) -> RawSeries:
    inside = (series.times_ms >= start_ms) & (series.times_ms <= end_ms)
    if inside.all():
        return series
    return RawSeries(series.labels, series.times_ms[inside], series.values[inside])
