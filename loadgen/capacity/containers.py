"""What the containers of a component used in a cluster, as the Prometheus behind Grafana keeps it.

The kubelet's figures of containers (cAdvisor) and kube-state-metrics' of pods: what a component's own ``/metrics`` do
not tell, such as limits and throttling, and of all its pods together. Pods are told by their names, which the charts
begin with the component's; those that only watch or test it do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from loadgen.capacity.model import Usage
from loadgen.model import MS, NS, Component
from loadgen.targets.mimir import MimirReader
from loadgen.targets.reading import Point, quoted

Query = Callable[[str, int], tuple[Point, ...] | None]
"""A query at a time in milliseconds; None: no answer."""

SOURCE = "prometheus"
# Part of the charts, but not of the component that is measured.
_OTHERS = ".*-(canary|vulture|minio|test|smoke-test)(-.*)?"
# The kubelet's figures are this fresh by default at best, so a finer step shows nothing more.
_STEP_S = 15


def query_of(reader: MimirReader) -> Query:
    """Asks a reader."""
    quiet = reader.recording(None)

    def query(expression: str, at_ms: int) -> tuple[Point, ...] | None:
        return quiet.instant(expression, at_ms).value

    return query


def container_usage(query: Query, namespace: str, component: Component, from_ns: int, until_ns: int) -> Usage | None:
    """What all containers of a component used together between two times; None if Prometheus has no such series.

    Args:
        query: asks the Prometheus.
        namespace: where the pods are.
        component: whose.
        from_ns, until_ns: the window. Prometheus needs two scrapes in it to tell CPU.
    """
    window_s = max(1, round((until_ns - from_ns) / NS))
    ask = _Asked(query, namespace, component, window_s, until_ns // MS)
    cpu = ask.of("container_cpu_usage_seconds_total")
    cores = ask.number(f"sum({ask.once(f'rate({cpu}[{window_s}s])')})")
    memory = ask.once(ask.of("container_memory_working_set_bytes"))
    memory_bytes = ask.number(f"max_over_time(sum({memory})[{window_s}s:{_STEP_S}s])")
    if cores is None and memory_bytes is None:
        return None
    return Usage(
        component=component.value,
        source=SOURCE,
        cores=cores,
        memory_bytes=memory_bytes,
        memory_limit_bytes=_limit(ask, memory),
        throttled_share=_throttled(ask),
        starts=_starts(ask, from_ns),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Queries about the containers of one component in one window."""

    query: Query
    namespace: str
    component: Component
    window_s: int
    at_ms: int

    def of(self, metric: str, more: str = 'container!="",container!="POD"') -> str:
        """A selector: pods have a sum of their own, without a name of a container, and a container that only waits."""
        pods = quoted(f"{self.component.value}-.*")
        parts = [f"namespace={quoted(self.namespace)}", f"pod=~{pods}", f"pod!~{quoted(_OTHERS)}", more]
        return f"{metric}{{{','.join(part for part in parts if part)}}}"

    def once(self, expression: str) -> str:
        """Each container once, however many jobs scrape it."""
        return f"max by (pod, container) ({expression})"

    def number(self, expression: str) -> float | None:
        """The value of a query that has one; None for no series, an error, or no number."""
        points = self.query(expression, self.at_ms)
        if points is None or len(points) != 1:
            return None
        value = points[0].value
        return value if math.isfinite(value) and value >= 0 else None


def _limit(ask: _Asked, memory: str) -> float | None:
    """What they may use together; None if one has no limit, or nobody tells."""
    pods = ask.number(f"count({memory})")
    declared = ask.of("kube_pod_container_resource_limits", 'resource="memory"')
    enforced = ask.of("container_spec_memory_limit_bytes")
    for limits in (ask.once(declared), ask.once(f"{enforced} > 0")):
        if pods is not None and ask.number(f"count({limits})") == pods:
            return ask.number(f"sum({limits})")
    return None


def _throttled(ask: _Asked) -> float | None:
    """The share of scheduling periods in which a limit held a container back; None without a CPU limit."""
    window = f"[{ask.window_s}s]"
    held = ask.once(f"increase({ask.of('container_cpu_cfs_throttled_periods_total')}{window})")
    periods = ask.once(f"increase({ask.of('container_cpu_cfs_periods_total')}{window})")
    # Nothing divided by nothing is not a number, and so not told.
    share = ask.number(f"sum({held}) / sum({periods})")
    return min(1.0, share) if share is not None else None


def _starts(ask: _Asked, from_ns: int) -> int:
    """How often containers were started again, and pods anew, in the window."""
    window = f"[{ask.window_s}s]"
    restarts = ask.of("kube_pod_container_status_restarts_total", "")
    again = ask.number(f"sum({ask.once(f'max_over_time({restarts}{window}) - min_over_time({restarts}{window})')})")
    began = ask.of("kube_pod_start_time", "")
    anew = ask.number(f"count(max by (pod) ({began}) > {from_ns // NS})")
    return round(again or 0.0) + round(anew or 0.0)
