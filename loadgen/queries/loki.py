"""What people ask Loki: the panels of a run, and their own queries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from loadgen.model import NS, Component
from loadgen.plan import Plan
from loadgen.queries.panel import DAY_S, HOUR_S, MINUTE_S, DashboardState, Panel, Shows, by_grafana, step_s
from loadgen.queries.pieces import PIECES, pieces_held
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, selector

_ME = Component.LOKI
_LOG_LINES = 1000
_SELECTOR = re.compile(r"""\{(?:[^{}"`]|"(?:\\.|[^"\\])*"|`[^`]*`)*\}""")


def panels(plan: Plan, now_ns: int, grafana: bool, _shown: DashboardState) -> list[Panel]:
    """The panels of a run's logs at a time; with Grafana one by its own API too."""
    streams = selector(run=plan.key.run)

    def lines(range_s: int) -> Panel:
        return Panel(
            _ME,
            "log lines",
            "logs",
            float(range_s),
            lambda r, due_ns: r.loki.newest(streams, now_ns - range_s * NS, now_ns, _LOG_LINES, due_ns),
        )

    def volume(range_s: int, function: str) -> Panel:
        step = step_s(range_s)
        expression = f"sum by (app) ({function}({streams}[{max(step, MINUTE_S)}s]))"
        return Panel(
            _ME,
            f"log volume by {function}",
            "range",
            float(range_s),
            lambda r, due_ns: r.loki.range(expression, now_ns - range_s * NS, now_ns, step, due_ns),
            stepped=True,
        )

    made = [
        lines(5 * MINUTE_S),
        volume(5 * MINUTE_S, "rate"),
        volume(HOUR_S, "count_over_time"),
        Panel(
            _ME,
            "lines of the last minute",
            "instant",
            float(MINUTE_S),
            lambda r, due_ns: r.loki.instant(f"sum(count_over_time({streams}[1m]))", now_ns, MINUTE_S, due_ns),
        ),
        lines(HOUR_S),
        volume(DAY_S, "rate"),
        Panel(
            _ME,
            "pods to choose from",
            "labels",
            float(HOUR_S),
            lambda r, due_ns: r.loki.label_values("pod", now_ns - HOUR_S * NS, now_ns, due_ns),
            Shows.AGAIN,
        ),
        lines(DAY_S),
        volume(DAY_S, "count_over_time"),
    ]
    if grafana:
        query = {"expr": streams, "queryType": "range", "maxLines": _LOG_LINES, "direction": "backward"}
        made.append(by_grafana(_ME, "log panel", query, HOUR_S, now_ns, stepped=True))
    return made


def ask(readers: Readers, query: str, start_ns: int, now_ns: int, step: int, due_ns: int) -> Reply[Any]:
    """Ask a person's own query over a range."""
    if is_log_query(query):
        return readers.loki.newest(query, start_ns, now_ns, _LOG_LINES, due_ns)
    return readers.loki.range(query, start_ns, now_ns, step, due_ns)


def is_log_query(text: str) -> bool:
    """Whether a LogQL query gives lines (it begins with a selector) and no numbers."""
    return text.lstrip().startswith("{")


def selection_of(text: str) -> str:
    """A query whose lines are what ``text`` looks through; empty if there is none."""
    if is_log_query(text):
        return text
    found = _SELECTOR.search(text)
    return found[0] if found else ""


def held(readers: Readers, query: str, start_ns: int, end_ns: int, stop: Callable[[], bool]) -> float | None:
    """The share of a range in which there were lines for a query; None when it could not be told."""
    selection = selection_of(query)
    if not selection:
        return None
    return pieces_held(
        lambda begin_ns, until_ns: readers.loki.newest(selection, begin_ns, until_ns, 1), start_ns, end_ns, PIECES, stop
    )
