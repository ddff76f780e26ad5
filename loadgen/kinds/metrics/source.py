"""Metrics whose every value is a closed formula of time, so that queries have a right answer that can be computed.

Each instance has blocks of sixteen series: four counters, four gauges, and a histogram (six buckets, sum, count).
Where fewer than sixteen remain, there is no histogram but more counters, since a histogram with missing buckets has
no quantiles.

* A counter rises by a constant slope from the beginning of the run (and is 0 before).
* A gauge is ``base + amplitude * sin``, with the sine from a table of exact binary fractions: a library's sine
  differs between machines in the last digit, and values are compared exactly, perhaps days later and elsewhere.
* A histogram's observations have constant shares in its buckets, so every quantile is constant and known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from loadgen.kinds.hashing import stream_key, words
from loadgen.kinds.load import MetricLoad
from loadgen.kinds.names import checked, expect
from loadgen.model import MS, Batch, Body, RunKey, Signal
from loadgen.pacing import Pace, pace_of
from loadgen.wire import remote_write
from loadgen.wire.template import IndexPool, Template

Labels = tuple[tuple[str, str], ...]

COUNTER = "loadgen_requests_total"
GAUGE = "loadgen_queue_depth"
HISTOGRAM = "loadgen_request_duration_seconds"

BUCKETS = (("0.05", 10), ("0.1", 30), ("0.25", 60), ("0.5", 85), ("1", 97), ("+Inf", 100))
"""Upper bounds of the histogram, and how many of a hundred observations are at most that."""
MEAN_S = 0.25
"""Mean of the observations."""

BLOCK = 16
_COUNTERS, _GAUGES = 4, 4
_SINE_STEPS = 1 << 14
_MOST_USERS = 100_000  # what five digits can number
_KEPT_SERIES = 16
_PERIODS_MS = (60_000, 120_000, 300_000, 600_000)


class _Kind(IntEnum):
    LINEAR = 0
    GAUGE = 1


def _sine() -> NDArray[np.float64]:
    """A sine wave in steps, each value a multiple of 2^-20."""
    scale = 1 << 20
    steps = [round(math.sin(2 * math.pi * step / _SINE_STEPS) * scale) for step in range(_SINE_STEPS)]
    return np.array(steps, dtype=np.float64) / scale


_SINE = _sine()


@dataclass(frozen=True, slots=True)
class _Row:
    """One series: ``per_s`` for those that rise; base, amplitude, period and phase for gauges."""

    labels: Labels
    kind: _Kind
    per_s: float = 0.0
    base: int = 0
    amplitude: int = 0
    period_ms: int = 1
    phase: int = 0


@dataclass(frozen=True, slots=True)
class _SeriesColumns:
    """The rows of a user as arrays; the last four belong to the rows whose numbers are in ``gauges``."""

    per_s: NDArray[np.float64]
    gauges: NDArray[np.int64]
    base: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    period_ms: NDArray[np.int64]
    phase: NDArray[np.int64]


def _columns(rows: tuple[_Row, ...]) -> _SeriesColumns:
    gauges = [i for i, row in enumerate(rows) if row.kind is _Kind.GAUGE]
    return _SeriesColumns(
        per_s=np.array([row.per_s for row in rows]),
        gauges=np.array(gauges, dtype=np.int64),
        base=np.array([rows[i].base for i in gauges], dtype=np.float64),
        amplitude=np.array([rows[i].amplitude for i in gauges], dtype=np.float64),
        period_ms=np.array([rows[i].period_ms for i in gauges], dtype=np.int64),
        phase=np.array([rows[i].phase for i in gauges], dtype=np.int64),
    )


class MetricSource:
    """The metrics of all instances of a run."""

    signal = Signal.METRICS

    def __init__(self, key: RunKey, load: MetricLoad):
        """Raises ValueError if the run's name cannot be used."""
        self.key, self.load = checked(key), load
        self._began_ms = key.began_ns // MS
        steps = np.arange(load.samples_per_push - 1, -1, -1, dtype=np.int64)
        self._back_ms = steps * load.interval_ms // load.samples_per_push
        self._columns: dict[int, _SeriesColumns] = {}
        self._series: dict[int, tuple[Labels, ...]] = {}
        self._templates: dict[int, Template] = {}
        self._samples = remote_write.SampleRows(load.series, load.samples_per_push)
        self._pool = IndexPool()

    def pace(self, user: int) -> Pace:
        """When the pushes of an instance are due."""
        return pace_of(user, self.key.began_ns, self.load.interval_ns)

    def batch(self, user: int, n: int) -> Batch:
        """Push ``n`` of an instance; its items are samples."""
        items = self.load.series * self.load.samples_per_push
        return Batch(self.signal, user, n, self.pace(user).due(n), items)

    def series(self, user: int) -> tuple[Labels, ...]:
        """The labels of every series of an instance, each sorted by name."""
        if user not in self._series:
            # Labels take far more memory than numbers, and pushes need them only once: keep those of few users.
            while len(self._series) >= _KEPT_SERIES:
                del self._series[next(iter(self._series))]
            self._series[user] = tuple(row.labels for row in self._rows(user))
        return self._series[user]

    def instance(self, user: int) -> str:
        """The value of the label ``instance``, which tells the series of one user from those of others."""
        return f"host-{user:05d}"

    def instances(self, users: int) -> str:
        """A regular expression for the label ``instance`` of the first ``users`` users (1 to 100,000) and no others.

        It says which digits, not which names: a query by GET would not have room for thousands of these.
        """
        if not 1 <= users <= _MOST_USERS:
            raise ValueError(f"{users} users: 1 to {_MOST_USERS:,} can be told from others")
        # Below 00420 are 000xx … 003xx, then 0040x and 0041x.
        digits = f"{users:05d}" if users < _MOST_USERS else ""
        parts = [
            f"{digits[:place]}[0-{int(digit) - 1}]{'[0-9]' * (4 - place)}"
            for place, digit in enumerate(digits)
            if digit > "0"
        ]
        return f"host-({'|'.join(parts) or '[0-9]{5}'})"

    def span_ns(self, due_ns: NDArray[np.int64], _done_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """From when to when the items of batches are, in two rows; those of metrics follow from the plan."""
        batch = self.batch(0, 0)
        offsets = self.times_ms(batch) * MS - batch.due_ns
        return np.stack([due_ns + offsets.min(), due_ns + offsets.max()])

    def times_ms(self, batch: Batch) -> NDArray[np.int64]:
        """The times of the batch's samples, ascending, the same for every series."""
        return expect(batch, self.signal).due_ns // MS - self._back_ms

    def values(self, batch: Batch) -> NDArray[np.float64]:
        """All values of the batch, a row per series and a column per time."""
        return self.values_at(batch.user, self.times_ms(batch))

    def values_at(self, user: int, times_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values of an instance at any times, a row per series and a column per time."""
        return self._values(self._user(user), times_ms)

    def value_at(self, user: int, series_index: int, t_ms: int) -> float:
        """The value of a series at any time."""
        columns = self._user(user)
        elapsed_ms = max(0, t_ms - self._began_ms)
        gauge = self._gauge_number(columns, series_index)
        if gauge is None:
            return float(columns.per_s[series_index]) * float(elapsed_ms) / 1000.0
        step = elapsed_ms * _SINE_STEPS // int(columns.period_ms[gauge]) + int(columns.phase[gauge])
        return float(columns.base[gauge]) + float(columns.amplitude[gauge]) * float(_SINE[step % _SINE_STEPS])

    def slope(self, user: int, series_index: int) -> float | None:
        """By how much a counter, bucket, sum or count rises per second; None for a gauge."""
        columns = self._user(user)
        if self._gauge_number(columns, series_index) is not None:
            return None
        return float(columns.per_s[series_index])

    def prepare(self, user: int) -> None:
        """Lay out the body of an instance now, so that its first push does not have to."""
        self._template(user)
        self._user(user)

    def body(self, batch: Batch) -> Body:
        """The compressed WriteRequest of the batch; valid until the next one of the same instance.

        Raises:
            ValueError: if it is due outside of 1970 to 2109.
        """
        times = self.times_ms(batch)
        template = self._template(batch.user)
        values = self._values(self._user(batch.user), times)
        template.write(remote_write.SAMPLE.field, self._samples.filled(values, times))
        return Body(template.wire, template.plain_bytes, batch.items)

    @staticmethod
    def _gauge_number(columns: _SeriesColumns, series_index: int) -> int | None:
        """Where a series is among the gauges; None if it is not a gauge."""
        at = int(np.searchsorted(columns.gauges, series_index))
        return at if at < len(columns.gauges) and columns.gauges[at] == series_index else None

    def _template(self, user: int) -> Template:
        if user not in self._templates:
            layout = remote_write.lay((row.labels for row in self._rows(user)), self.load.samples_per_push)
            self._templates[user] = Template(layout, self._pool)
        return self._templates[user]

    def _values(self, columns: _SeriesColumns, times_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        elapsed_ms = np.maximum(times_ms - self._began_ms, 0)
        values = columns.per_s[:, None] * elapsed_ms.astype(np.float64)
        values /= 1000.0
        if len(columns.gauges):
            steps = elapsed_ms * _SINE_STEPS // columns.period_ms[:, None]
            steps += columns.phase[:, None]
            steps &= _SINE_STEPS - 1
            gauges = _SINE.take(steps)
            gauges *= columns.amplitude[:, None]
            gauges += columns.base[:, None]
            values[columns.gauges] = gauges
        return values

    def _user(self, user: int) -> _SeriesColumns:
        if user not in self._columns:
            self._columns[user] = _columns(self._rows(user))
        return self._columns[user]

    def _rows(self, user: int) -> tuple[_Row, ...]:
        slopes = words(stream_key(self.key, self.signal, user, "slope"), 0, self.load.series)
        shapes = words(stream_key(self.key, self.signal, user, "gauge"), 0, self.load.series)
        rows: list[_Row] = []
        while len(rows) < self.load.series:
            first, last = len(rows), min(len(rows) + BLOCK, self.load.series)
            gauges = range(first + _COUNTERS, first + _COUNTERS + _GAUGES)
            whole = last - first == BLOCK
            for index in range(first, gauges.stop if whole else last):
                make, word = (self._gauge, shapes[index]) if index in gauges else (self._counter, slopes[index])
                rows.append(make(user, index, int(word)))
            if whole:
                rows.extend(self._histogram(user, gauges.stop, int(slopes[gauges.stop])))
        return tuple(rows)

    def _labels(self, user: int, name: str, index: int, le: str = "") -> Labels:
        bound = (("le", le),) if le else ()
        return (
            ("__name__", name),
            ("instance", self.instance(user)),
            ("job", "loadgen"),
            *bound,
            ("run", self.key.series_run),
            ("series", f"{index:05d}"),
        )

    def _counter(self, user: int, index: int, word: int) -> _Row:
        return _Row(self._labels(user, COUNTER, index), _Kind.LINEAR, per_s=(1 + word % 4000) / 8)

    def _gauge(self, user: int, index: int, word: int) -> _Row:
        amplitude = 10 + word % 90
        return _Row(
            self._labels(user, GAUGE, index),
            _Kind.GAUGE,
            base=amplitude + (word >> 8) % 100,
            amplitude=amplitude,
            period_ms=_PERIODS_MS[(word >> 16) % len(_PERIODS_MS)],
            phase=(word >> 24) % _SINE_STEPS,
        )

    def _histogram(self, user: int, index: int, word: int) -> list[_Row]:
        """One histogram: its series differ in name and ``le`` only, so that they belong together in queries."""
        hundredths = 1 + word % 40  # a hundredth of the observations per second: buckets then rise by whole numbers
        buckets = [
            _Row(self._labels(user, f"{HISTOGRAM}_bucket", index, le), _Kind.LINEAR, per_s=float(hundredths * share))
            for le, share in BUCKETS
        ]
        count = float(hundredths * 100)
        return [
            *buckets,
            _Row(self._labels(user, f"{HISTOGRAM}_sum", index), _Kind.LINEAR, per_s=count * MEAN_S),
            _Row(self._labels(user, f"{HISTOGRAM}_count", index), _Kind.LINEAR, per_s=count),
        ]
