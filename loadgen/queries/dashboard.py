"""What a person's dashboard asks: the panels of a run, as queries through Grafana's panel API and its proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain, zip_longest
from typing import Any

from loadgen.model import MS, NS, Component, QueryTiming, Signal
from loadgen.plan import Plan
from loadgen.reading.traces import run_query
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, quoted, selector

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
# Points of a range query; Prometheus and Loki refuse more than 11,000 a series.
_POINTS = 240
_LOG_LINES = 1000
_SEARCH_HITS = 20


class Shows(Enum):
    """When a panel of a run that sends data shows something."""

    ALWAYS = "always"
    """Whenever the run's data is visible."""
    AGAIN = "again"
    """When it did so before: it asks for some of the data only, which there need not be yet."""
    MAYBE = "maybe"
    """Nobody can tell."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One query of a dashboard.

    Attributes:
        component: who answers in the end.
        name: what a person would call the panel.
        kind: as in `QueryTiming`.
        range_s: width of the time range; 0 for none.
        query: asks; takes readers and the planned time.
        shows: when an empty answer is a wrong one.
    """

    component: Component
    name: str
    kind: str
    range_s: float
    query: Callable[[Readers, int], Reply[Any]]
    shows: Shows = Shows.ALWAYS

    def ask(self, readers: Readers, due_ns: int) -> QueryTiming:
        """Ask once. The latency counts from ``due_ns``; the readers' own recording of timings is left out."""
        timings: list[QueryTiming] = []
        reply = self.query(readers.recording(timings.append), due_ns)
        timing = timings[0]
        return replace(
            timing,
            kind=self.kind,
            source="viewer",
            range_s=self.range_s,
            due_ns=due_ns,
            done_ns=reply.done_ns,
            ok=reply.ok,
            status=reply.status,
            items=max(one.items for one in timings),
            detail=reply.error[:300],
        )


def panels(
    plan: Plan, readers: Readers, now_ns: int, trace_id: bytes = b"", trace_seen: bool = False
) -> Sequence[Panel]:
    """The panels of a run's dashboard at a time, in a fixed order in which the components take turns.

    ``trace_id`` is a trace that was acknowledged, for the panels that show one; without it they are left out.
    ``trace_seen`` says that it has been seen already.
    A viewer who goes through them by index asks everything in turn. Components that nothing is sent to are left out,
    and so are panels by Grafana's own API when reading is direct.
    """
    rows: list[list[Panel]] = []
    if plan.users(Signal.LOGS):
        rows.append(_loki(plan, now_ns, readers.grafana is not None))
    if plan.users(Signal.METRICS):
        rows.append(_mimir(plan, now_ns, readers.grafana is not None))
    if plan.users(Signal.TRACES):
        rows.append(_tempo(plan, now_ns, readers.grafana is not None, trace_id, trace_seen))
    return tuple(panel for panel in chain.from_iterable(zip_longest(*rows)) if panel is not None)


def step_s(range_s: int) -> int:
    """The step of a range query: whole seconds, at most `_POINTS` points."""
    return max(1, -(-range_s // _POINTS))


def _loki(plan: Plan, now_ns: int, grafana: bool) -> list[Panel]:
    streams = selector(run=plan.key.run)

    def lines(range_s: int) -> Panel:
        return Panel(
            Component.LOKI,
            "log lines",
            "logs",
            float(range_s),
            lambda r, due_ns: r.loki.newest(streams, now_ns - range_s * NS, now_ns, _LOG_LINES, due_ns),
        )

    def volume(range_s: int, function: str) -> Panel:
        step = step_s(range_s)
        expression = f"sum by (app) ({function}({streams}[{max(step, _MINUTE_S)}s]))"
        return Panel(
            Component.LOKI,
            f"log volume by {function}",
            "range",
            float(range_s),
            lambda r, due_ns: r.loki.range(expression, now_ns - range_s * NS, now_ns, step, due_ns),
        )

    made = [
        lines(5 * _MINUTE_S),
        volume(5 * _MINUTE_S, "rate"),
        volume(_HOUR_S, "count_over_time"),
        Panel(
            Component.LOKI,
            "lines of the last minute",
            "instant",
            float(_MINUTE_S),
            lambda r, due_ns: r.loki.instant(f"sum(count_over_time({streams}[1m]))", now_ns, _MINUTE_S, due_ns),
        ),
        lines(_HOUR_S),
        volume(_DAY_S, "rate"),
        Panel(
            Component.LOKI,
            "pods to choose from",
            "labels",
            float(_HOUR_S),
            lambda r, due_ns: r.loki.label_values("pod", now_ns - _HOUR_S * NS, now_ns, due_ns),
            Shows.AGAIN,
        ),
        lines(_DAY_S),
        volume(_DAY_S, "count_over_time"),
    ]
    if grafana:
        query = {"expr": streams, "queryType": "range", "maxLines": _LOG_LINES, "direction": "backward"}
        made.append(_by_grafana(Component.LOKI, "log panel", query, _HOUR_S, now_ns))
    return made


def _mimir(plan: Plan, now_ns: int, grafana: bool) -> list[Panel]:
    run = _series(plan)
    # A rate needs several samples in its window.
    window = max(_MINUTE_S, -(-4 * plan.metrics.load.interval_ns // NS))

    def over(name: str, expression: Callable[[int], str], range_s: int) -> Panel:
        step = step_s(range_s)
        text = expression(max(window, step))
        return Panel(
            Component.MIMIR,
            name,
            "range",
            float(range_s),
            lambda r, due_ns: r.mimir.range(text, now_ns - range_s * NS, now_ns, step, due_ns),
        )

    def requests(window_s: int) -> str:
        return f"sum by (instance) (rate(loadgen_requests_total{run}[{window_s}s]))"

    def latency(window_s: int) -> str:
        buckets = f"loadgen_request_duration_seconds_bucket{run}"
        return f"histogram_quantile(0.95, sum by (le) (rate({buckets}[{window_s}s])))"

    made = [
        Panel(
            Component.MIMIR,
            "queue depth now",
            "instant",
            0.0,
            lambda r, due_ns: r.mimir.instant(f"sum(loadgen_queue_depth{run})", now_ns // MS, 0.0, due_ns),
        ),
        over("requests per second", requests, _HOUR_S),
        over("latency, 95th percentile", latency, _HOUR_S),
        over("requests per second", requests, _DAY_S),
        Panel(
            Component.MIMIR,
            "instances to choose from",
            "labels",
            float(_HOUR_S),
            lambda r, due_ns: r.mimir.label_values("instance", now_ns - _HOUR_S * NS, now_ns, due_ns),
            Shows.AGAIN,
        ),
        over("requests per second", requests, 7 * _DAY_S),
        over("latency, 95th percentile", latency, _DAY_S),
    ]
    if grafana:
        step = step_s(_HOUR_S)
        query = {
            "expr": requests(window),
            "range": True,
            "instant": False,
            "format": "time_series",
            "intervalMs": step * 1000,
            "maxDataPoints": _POINTS + 1,
        }
        made.append(_by_grafana(Component.MIMIR, "requests panel", query, _HOUR_S, now_ns))
    return made


def _series(plan: Plan) -> str:
    """Selects the series of a run, and not those that only the runs before it had, whose series it goes on."""
    key, users = plan.key, plan.users(Signal.METRICS)
    if not key.series_of:
        return selector(run=key.run)
    return f"{{run={quoted(key.series_run)}, instance=~{quoted(plan.metrics.instances(users))}}}"


def _tempo(plan: Plan, now_ns: int, grafana: bool, trace_id: bytes, trace_seen: bool) -> list[Panel]:
    query = run_query(plan.key.run)
    inner = query[2:-2]

    def search(name: str, text: str, range_s: int, shows: Shows = Shows.ALWAYS) -> Panel:
        return Panel(
            Component.TEMPO,
            name,
            "search",
            float(range_s),
            lambda r, due_ns: r.tempo.first_hits(text, now_ns - range_s * NS, now_ns, _SEARCH_HITS, due_ns),
            shows,
        )

    made = [
        search("recent traces", query, 5 * _MINUTE_S),
        search("failed requests", f"{{ {inner} && status = error }}", _HOUR_S, Shows.AGAIN),
        search(
            "slow payments",
            f'{{ {inner} && resource.service.name = "payment" && duration > 50ms }}',
            _HOUR_S,
            Shows.AGAIN,
        ),
        Panel(
            Component.TEMPO,
            "services to choose from",
            "labels",
            0.0,
            lambda r, due_ns: r.tempo.tag_values("resource.service.name", due_ns),
            Shows.MAYBE,
        ),
        search("recent traces", query, _DAY_S),
    ]
    if trace_id:
        shows = Shows.ALWAYS if trace_seen else Shows.MAYBE
        made.insert(
            1,
            Panel(Component.TEMPO, "one trace", "trace", 0.0, lambda r, due_ns: r.tempo.trace(trace_id, due_ns), shows),
        )
        if grafana:
            by_id = {"query": trace_id.hex(), "queryType": "traceId", "limit": _SEARCH_HITS, "tableType": "traces"}
            made.append(_by_grafana(Component.TEMPO, "trace panel", by_id, _HOUR_S, now_ns, shows))
    return made


def _by_grafana(
    component: Component,
    name: str,
    query: dict[str, Any],
    range_s: int,
    now_ns: int,
    shows: Shows = Shows.ALWAYS,
) -> Panel:
    def ask(readers: Readers, due_ns: int) -> Reply[Any]:
        if readers.grafana is None:
            raise ValueError(f"the panel {name!r} needs Grafana, but reading is direct")
        return readers.grafana.panel(component, query, now_ns - range_s * NS, now_ns, due_ns)

    return Panel(component, name, "panel", float(range_s), ask, shows)
