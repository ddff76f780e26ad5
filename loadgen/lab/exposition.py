"""A small registry of Prometheus metrics with the text exposition format."""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable

from starlette.responses import Response

from loadgen.scrape.process import resident_bytes

LabelSet = tuple[tuple[str, str], ...]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0)


class Exposition:
    """Counters, gauges and histograms by name and labels. A name must keep its type."""

    def __init__(self, memory_limit_bytes: int = 0) -> None:
        """``memory_limit_bytes``: what the process may use; 0 if nothing limits it."""
        self._memory_limit_bytes = memory_limit_bytes
        self._help: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[LabelSet, float]] = {}
        self._buckets: dict[str, dict[LabelSet, list[float]]] = {}
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._gauges: dict[str, Callable[[], float]] = {}
        self._began_s = time.time()

    def counter(self, name: str, text: str, *label_sets: dict[str, str]) -> None:
        """Declares a counter; the given label sets start at 0 (without labels: ``counter(name, text, {})``)."""
        self._help[name] = ("counter", text)
        values = self._values.setdefault(name, {})
        for labels in label_sets:
            values.setdefault(tuple(sorted(labels.items())), 0.0)

    def gauge(self, name: str, text: str, read: Callable[[], float] | None = None) -> None:
        """Declares a gauge; with ``read`` its value is asked for at each scrape."""
        self._help[name] = ("gauge", text)
        self._values.setdefault(name, {})
        if read is not None:
            self._gauges[name] = read

    def histogram(self, name: str, text: str, bounds: tuple[float, ...] = DURATION_BUCKETS_S) -> None:
        """Declares a histogram with these upper bounds."""
        self._help[name] = ("histogram", text)
        self._bounds[name] = bounds
        self._buckets.setdefault(name, {})

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Adds to a counter."""
        key = tuple(sorted(labels.items()))
        values = self._values[name]
        values[key] = values.get(key, 0.0) + value

    def set(self, name: str, value: float, **labels: str) -> None:
        """Sets a gauge."""
        self._values[name][tuple(sorted(labels.items()))] = value

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Puts a value into a histogram."""
        bounds = self._bounds[name]
        row = self._buckets[name].setdefault(tuple(sorted(labels.items())), [0.0] * (len(bounds) + 2))
        row[bisect_left(bounds, value)] += 1
        row[-1] += value

    def value(self, name: str, **labels: str) -> float:
        """The value of a counter or gauge, 0 if it was never touched."""
        return self._values[name].get(tuple(sorted(labels.items())), 0.0)

    def render(self) -> str:
        """All metrics in the text format, with the process's own memory and CPU."""
        out: list[str] = []
        for name, (kind, text) in sorted(self._help.items()):
            out.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n")
            if kind == "histogram":
                self._render_histogram(name, out)
                continue
            if name in self._gauges:
                out.append(f"{name} {_number(self._gauges[name]())}\n")
            out.extend(f"{name}{_labels(key)} {_number(value)}\n" for key, value in sorted(self._values[name].items()))
        for name, kind, text, value in _process(self._began_s, self._memory_limit_bytes):
            out.append(f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {_number(value)}\n")
        return "".join(out)

    def response(self) -> Response:
        """The answer to ``GET /metrics``."""
        return Response(self.render(), media_type=CONTENT_TYPE)

    def _render_histogram(self, name: str, out: list[str]) -> None:
        bounds = self._bounds[name]
        for key, row in sorted(self._buckets[name].items()):
            total = 0.0
            for bound, count in zip((*map(_number, bounds), "+Inf"), row, strict=False):
                total += count
                out.append(f"{name}_bucket{_labels((*key, ('le', bound)))} {_number(total)}\n")
            out.append(f"{name}_sum{_labels(key)} {_number(row[-1])}\n{name}_count{_labels(key)} {_number(total)}\n")


def _process(began_s: float, memory_limit_bytes: int) -> list[tuple[str, str, str, float]]:
    times = os.times()
    limit = ("loadgen_lab_memory_limit_bytes", "gauge", "Beyond it the process dies.", float(memory_limit_bytes))
    return [
        ("process_cpu_seconds_total", "counter", "CPU time, user and system.", times.user + times.system),
        ("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes()),
        ("process_start_time_seconds", "gauge", "Start of the process since the epoch.", began_s),
        *([limit] if memory_limit_bytes else ()),
    ]


def _labels(labels: LabelSet) -> str:
    if not labels:
        return ""
    pairs = (f'{n}="{v}"' for n, v in ((n, _escape(v)) for n, v in labels))
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
