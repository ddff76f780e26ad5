"""What people ask Mimir: the panels of a run, and their own queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loadgen.model import MS, NS, Component
from loadgen.plan import Plan
from loadgen.queries.panel import DAY_S, HOUR_S, MINUTE_S, POINTS, DashboardState, Panel, Shows, by_grafana, step_s
from loadgen.queries.pieces import PIECES
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, quoted, selector

_ME = Component.MIMIR


def panels(plan: Plan, now_ns: int, grafana: bool, _shown: DashboardState) -> list[Panel]:
    """The panels of a run's metrics at a time; with Grafana one by its own API too."""
    run = _series(plan)
    # A rate needs several samples in its window.
    window = max(MINUTE_S, -(-4 * plan.metrics.load.interval_ns // NS))

    def over(name: str, expression: Callable[[int], str], range_s: int) -> Panel:
        step = step_s(range_s)
        text = expression(max(window, step))
        return Panel(
            _ME,
            name,
            "range",
            float(range_s),
            lambda r, due_ns: r.mimir.range(text, now_ns - range_s * NS, now_ns, step, due_ns),
            stepped=True,
        )

    def requests(window_s: int) -> str:
        return f"sum by (instance) (rate(loadgen_requests_total{run}[{window_s}s]))"

    def latency(window_s: int) -> str:
        buckets = f"loadgen_request_duration_seconds_bucket{run}"
        return f"histogram_quantile(0.95, sum by (le) (rate({buckets}[{window_s}s])))"

    made = [
        Panel(
            _ME,
            "queue depth now",
            "instant",
            0.0,
            lambda r, due_ns: r.mimir.instant(f"sum(loadgen_queue_depth{run})", now_ns // MS, 0.0, due_ns),
        ),
        over("requests per second", requests, HOUR_S),
        over("latency, 95th percentile", latency, HOUR_S),
        over("requests per second", requests, DAY_S),
        Panel(
            _ME,
            "instances to choose from",
            "labels",
            float(HOUR_S),
            lambda r, due_ns: r.mimir.label_values("instance", now_ns - HOUR_S * NS, now_ns, due_ns),
            Shows.AGAIN,
        ),
        over("requests per second", requests, 7 * DAY_S),
        over("latency, 95th percentile", latency, DAY_S),
    ]
    if grafana:
        step = step_s(HOUR_S)
        query = {
            "expr": requests(window),
            "range": True,
            "instant": False,
            "format": "time_series",
            "intervalMs": step * 1000,
            "maxDataPoints": POINTS + 1,
        }
        made.append(by_grafana(_ME, "requests panel", query, HOUR_S, now_ns, stepped=True))
    return made


def _series(plan: Plan) -> str:
    """Selects the series of a run, and not those that only the runs before it had, whose series it goes on."""
    key, users = plan.key, plan.users(plan.metrics.signal)
    if not key.series_of:
        return selector(run=key.run)
    return f"{{run={quoted(key.series_run)}, instance=~{quoted(plan.metrics.instances(users))}}}"


def ask(readers: Readers, query: str, start_ns: int, now_ns: int, step: int, due_ns: int) -> Reply[Any]:
    """Ask a person's own query over a range."""
    return readers.mimir.range(query, start_ns, now_ns, step, due_ns)


def held(readers: Readers, query: str, start_ns: int, end_ns: int, _stop: Callable[[], bool]) -> float | None:
    """The share of a range in which a query gave a number; None when it could not be told."""
    length_s = max(1, round((end_ns - start_ns) / NS))
    step = -(-length_s // PIECES)
    reply = readers.mimir.range(query, start_ns + step * NS, end_ns, step)
    if reply.value is None:
        return None
    moments = {at for series in reply.value for at, _value in series.points}
    return min(1.0, len(moments) / (length_s // step))
