"""A stack in memory that answers like the readers do, and can be spoiled item by item."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from loadgen.config import Profile, parse_profile
from loadgen.kinds.traces.source import SPANS_PER_TRACE
from loadgen.model import NS, Batch, Outcome, Receipt, RunKey, Signal
from loadgen.plan import Plan, plan_of
from loadgen.targets.loki import LogEntry, LogStream
from loadgen.targets.mimir import RawSeries
from loadgen.targets.reading import Labels, Reply
from loadgen.targets.tempo import FoundSpan, TraceHit

BEGAN_NS = 1_800_000_000 * NS


class FakeTime:
    """A clock that moves by a microsecond with every look, and otherwise by sleeping only."""

    def __init__(self, now_ns: int = BEGAN_NS + 3600 * NS) -> None:
        self.now_ns = now_ns
        self.slept: list[float] = []

    def clock(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def sleep(self, wait_s: float) -> None:
        self.slept.append(wait_s)
        self.now_ns += round(wait_s * NS)


def small_plan(**sections: dict[str, Any]) -> Plan:
    """A plan with few small batches; ``sections`` go over the profile's defaults."""
    raw: dict[str, dict[str, Any]] = {
        "logs": {"users": 2, "lines_per_s": 10, "push_every": 1},
        "metrics": {"users": 2, "series": 20, "push_every": 2},
        "traces": {"users": 2, "traces_per_s": 3, "push_every": 1},
        "verify": {"patience": 30, "parallel": 2},
        "freshness": {"give_up": 10, "poll": 0.5},
    }
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values}
    profile: Profile = parse_profile(raw, "test")
    return plan_of(RunKey("run1", 1, BEGAN_NS), profile)


def receipt_of(batch: Batch, outcome: Outcome = Outcome.ACCEPTED, done_ns: int = 0, **values: Any) -> Receipt:
    """A receipt of one push."""
    at_ns = done_ns or batch.due_ns + 10_000_000
    made = Receipt(
        batch.signal.value, batch.user, batch.n, batch.due_ns, batch.items, outcome.value, "http", batch.due_ns,
        batch.due_ns, batch.due_ns, at_ns, 1, 0, 1000, 100, 200, "",
    )  # fmt: skip
    return replace(made, **values)


@dataclass
class FakeStack:
    """What is stored; also the ``Readers`` that read it, as far as verification and probes need them."""

    plan: Plan
    time: FakeTime
    via: str = "grafana"
    lines: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    labels: dict[str, Labels] = field(default_factory=dict)
    """Of each pod the labels of its lines."""
    samples: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)
    spans: dict[bytes, list[FoundSpan]] = field(default_factory=dict)
    unlisted: set[bytes] = field(default_factory=set)
    hidden: dict[Any, int] = field(default_factory=dict)
    """Items (line, (labels, time) or trace id) that are not shown before a time."""
    fails: Callable[[str], str] = lambda _: ""
    """Takes a query's kind and text, gives an error or nothing."""
    asked: list[str] = field(default_factory=list)
    grafana: None = None

    def __post_init__(self) -> None:
        self.loki, self.mimir, self.tempo = _Loki(self), _Mimir(self), _Tempo(self)

    def put(self, batch: Batch) -> None:
        """Store a batch as it was sent."""
        if batch.signal is Signal.LOGS:
            logs = self.plan.logs
            pod = dict(logs.labels(batch.user))["pod"]
            self.labels.setdefault(pod, logs.labels(batch.user))
            times = [int(at) for at in logs.line_times(batch)]
            self.lines.setdefault(pod, []).extend(zip(times, logs.lines(batch), strict=True))
        elif batch.signal is Signal.METRICS:
            metrics = self.plan.metrics
            times = metrics.times_ms(batch).tolist()
            for labels, row in zip(metrics.series(batch.user), metrics.values(batch).tolist(), strict=True):
                self.samples.setdefault(labels, []).extend(zip(times, row, strict=True))
        else:
            for facts in (one for trace in self.plan.traces.spans(batch) for one in trace):
                span = FoundSpan(
                    facts.trace_id, facts.span_id, facts.parent_id, facts.name, facts.kind, facts.start_ns,
                    facts.end_ns, facts.status, dict(facts.attributes), dict(facts.resource), "loadgen",
                )  # fmt: skip
                self.spans.setdefault(facts.trace_id, []).append(span)

    def reply(self, query: str, value: Callable[[], Any]) -> Reply[Any]:
        self.asked.append(query)
        sent_ns = self.time.clock()
        error = self.fails(query)
        return Reply(None if error else value(), error, 503 if error else 200, sent_ns, self.time.clock())

    def shown(self, item: Any) -> bool:
        return self.hidden.get(item, 0) <= self.time.now_ns


def _wanted(selector: str, label: str) -> re.Pattern[str]:
    match = re.search(rf'{label}=~?"([^"]*)"', selector)
    return re.compile(match[1] if match else ".*")


@dataclass
class _Loki:
    stack: FakeStack

    def streams(self, selector: str, start_ns: int, end_ns: int, keep: Sequence[str]) -> Reply[Any]:
        def value() -> tuple[LogStream, ...]:
            assert list(keep) == ["pod"]
            return tuple(
                LogStream(
                    (("pod", pod),),
                    tuple(
                        LogEntry(at, line, self.stack.labels.get(pod, ()))
                        for at, line in sorted(entries, key=lambda one: one[0])
                        if start_ns <= at < end_ns and self.stack.shown(line)
                    ),
                    (),
                )
                for pod, entries in self.stack.lines.items()
                if _wanted(selector, "pod").fullmatch(pod)
            )

        return self.stack.reply(f"streams {selector}", value)

    def counts(self, selector: str, by: str, start_ns: int, end_ns: int) -> Reply[dict[str, int]]:
        def value() -> dict[str, int]:
            counts = {
                pod: sum(start_ns < at <= end_ns and self.stack.shown(line) for at, line in entries)
                for pod, entries in self.stack.lines.items()
                if _wanted(selector, by).fullmatch(pod)
            }
            assert not any(at in (start_ns, end_ns) for entries in self.stack.lines.values() for at, _ in entries)
            return {pod: count for pod, count in counts.items() if count}

        return self.stack.reply(f"counts {selector}", value)

    def sums(self, selector: str, pattern: str, by: str, start_ns: int, end_ns: int) -> Reply[dict[str, int]]:
        def value() -> dict[str, int]:
            sums: dict[str, int] = {}
            for pod, entries in self.stack.lines.items():
                for at, line in entries if _wanted(selector, by).fullmatch(pod) else ():
                    number = re.search(pattern, line)
                    if start_ns < at <= end_ns and self.stack.shown(line) and number is not None:
                        sums[pod] = sums.get(pod, 0) + int(number[1])
            return sums

        return self.stack.reply(f"sums {selector}", value)


@dataclass
class _Mimir:
    stack: FakeStack

    def raw(self, selector: str, start_ms: int, end_ms: int) -> Reply[Any]:
        def value() -> tuple[RawSeries, ...]:
            found = []
            for labels, samples in self.stack.samples.items():
                if not _wanted(selector, "instance").fullmatch(dict(labels)["instance"]):
                    continue
                some = [s for s in samples if start_ms <= s[0] <= end_ms and self.stack.shown((labels, s[0]))]
                if some:
                    times, values = zip(*some, strict=True)
                    found.append(RawSeries(labels, np.array(times, np.int64), np.array(values, np.float64)))
            return tuple(found)

        return self.stack.reply(f"raw {selector}", value)

    def _within(self, selector: str, start_ms: int, end_ms: int) -> dict[Labels, list[float]]:
        found: dict[Labels, list[float]] = {}
        for labels, samples in self.stack.samples.items():
            names = dict(labels)
            if not _wanted(selector, "__name__").fullmatch(names["__name__"]):
                continue
            if _wanted(selector, "instance").fullmatch(names["instance"]):
                values = [value for at, value in samples if start_ms < at <= end_ms]
                found[tuple(pair for pair in labels if pair[0] != "__name__")] = values
        return {labels: values for labels, values in found.items() if values}

    def counts(self, selector: str, start_ms: int, end_ms: int) -> Reply[dict[Labels, int]]:
        return self.stack.reply(
            f"counts {selector}",
            lambda: {labels: len(values) for labels, values in self._within(selector, start_ms, end_ms).items()},
        )

    def sums(self, selector: str, start_ms: int, end_ms: int) -> Reply[dict[Labels, float]]:
        return self.stack.reply(
            f"sums {selector}",
            lambda: {labels: math.fsum(values) for labels, values in self._within(selector, start_ms, end_ms).items()},
        )


@dataclass
class _Tempo:
    stack: FakeStack

    def trace(self, trace_id: bytes) -> Reply[Any]:
        shown = self.stack.shown(trace_id)
        return self.stack.reply("trace", lambda: tuple(self.stack.spans.get(trace_id, ())) if shown else ())

    def search(self, query: str, start_ns: int, end_ns: int, limit: int = 1000, listed_spans: int = 1) -> Reply[Any]:
        def value() -> dict[bytes, TraceHit]:
            return {
                trace_id: TraceHit(trace_id, len(spans), tuple(span.span_id for span in spans[:listed_spans]))
                for trace_id, spans in self.stack.spans.items()
                if spans
                and start_ns - NS <= spans[0].start_ns <= end_ns + NS
                and trace_id not in self.stack.unlisted
                and self.stack.shown(trace_id)
            }

        return self.stack.reply(f"search {query}", value)


ITEMS = {Signal.LOGS: 10, Signal.METRICS: 20, Signal.TRACES: 3 * SPANS_PER_TRACE}
"""Items in a batch of `small_plan`."""
