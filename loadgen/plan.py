"""The plan of a run: from a profile to the three sources of synthetic data, and to who sends how much how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from loadgen.config import Profile
from loadgen.kinds.load import LogLoad, MetricLoad, TraceLoad
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import MS, NS, Batch, Body, RunKey, Signal
from loadgen.pacing import Pace

Source = LogSource | MetricSource | TraceSource

# A push stays below what proxies and servers take by default: 1 MB in nginx, 4 MB in the Loki chart's gateway.
MAX_PUSH_BYTES = 900_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run sends: the sources and the number of users of each signal."""

    key: RunKey
    profile: Profile
    logs: LogSource
    metrics: MetricSource
    traces: TraceSource

    def source(self, signal: Signal) -> Source:
        """The source of a signal."""
        source: Source = getattr(self, signal.value)
        return source

    def users(self, signal: Signal) -> int:
        """The number of virtual users of a signal."""
        return self.profile.users(signal)

    def pace(self, signal: Signal, user: int) -> Pace:
        """When a user's batches are due."""
        return self.source(signal).pace(user)

    def body(self, batch: Batch) -> Body:
        """The bytes of a batch."""
        return self.source(batch.signal).body(batch)


def plan_of(key: RunKey, profile: Profile) -> Plan:
    """The plan that follows from a profile. The same key and profile always give the same plan."""
    metric_load = _metric_load(key, profile)
    trace_load = _trace_load(key, profile)
    traces = TraceSource(key, trace_load)
    logs = LogSource(key, _log_load(key, profile), traces, profile.traces.users)
    return Plan(key, profile, logs, MetricSource(key, metric_load), traces)


def push_bytes_of(plan: Plan, signal: Signal, users: int) -> float:
    """Mean plain size of a push of a signal; there must be users."""
    source = plan.source(signal)
    some = range(min(3, users))  # the three formats of lines differ in size
    return sum(source.body(source.batch(user, 1)).plain_bytes for user in some) / len(some)


def rate_of(plan: Plan, signal: Signal, users: int) -> float:
    """Plain bytes per second that so many users of a signal send by the plan."""
    if not users:
        return 0.0
    return users * push_bytes_of(plan, signal, users) / (plan.pace(signal, 0).interval_ns / NS)


def _plain_bytes(source: Source) -> int:
    return source.body(source.batch(0, 1)).plain_bytes


def _interval_ns(interval_s: float) -> int:
    """A whole number of milliseconds, because batches are due at whole milliseconds."""
    return max(1, round(interval_s * 1000)) * MS


def _split(items_per_s: float, push_every_s: float, item_bytes: float) -> tuple[int, int]:
    """Items a push and the interval between pushes that give a rate without too large a push."""
    most = max(1, int(MAX_PUSH_BYTES / item_bytes))
    items = min(most, max(1, round(items_per_s * push_every_s)))
    return items, _interval_ns(items / items_per_s)


def _log_load(key: RunKey, profile: Profile) -> LogLoad:
    logs = profile.logs
    size = _item_bytes(lambda n: LogSource(key, LogLoad(n, NS)), 100)
    per_s = logs.rate / max(1, logs.users) / size if logs.rate else logs.lines_per_s
    lines, interval_ns = _split(per_s, logs.push_every, size)
    return LogLoad(lines, interval_ns)


def _trace_load(key: RunKey, profile: Profile) -> TraceLoad:
    traces = profile.traces
    size = _item_bytes(lambda n: TraceSource(key, TraceLoad(n, NS)), 10)
    per_s = traces.rate / max(1, traces.users) / size if traces.rate else traces.traces_per_s
    count, interval_ns = _split(per_s, traces.push_every, size)
    return TraceLoad(count, interval_ns)


def _metric_load(key: RunKey, profile: Profile) -> MetricLoad:
    metrics = profile.metrics
    interval_ns = _interval_ns(metrics.push_every)
    if metrics.rate:
        one = MetricSource(key, MetricLoad(metrics.series, interval_ns, metrics.samples_per_push))
        interval_ns = _interval_ns(_plain_bytes(one) * max(1, metrics.users) / metrics.rate)
    # Samples of one push are spread over the interval in whole milliseconds.
    samples = min(metrics.samples_per_push, math.floor(interval_ns / MS))
    return MetricLoad(metrics.series, interval_ns, samples)


def _item_bytes(source: Callable[[int], LogSource | TraceSource], items: int) -> float:
    return _plain_bytes(source(items)) / items
