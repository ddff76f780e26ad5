"""What people ask Tempo: the panels of a run, and their own queries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from loadgen.model import NS, Component
from loadgen.plan import Plan
from loadgen.queries.panel import DAY_S, HOUR_S, MINUTE_S, DashboardState, Panel, Shows, by_grafana
from loadgen.queries.pieces import SEARCHES, pieces_held
from loadgen.reading.traces import run_query
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

_ME = Component.TEMPO
_SEARCH_HITS = 20
_TRACE_METRICS = re.compile(r"\|\s*(?:rate|compare|\w+_over_time)\s*\(")


def panels(plan: Plan, now_ns: int, grafana: bool, shown: DashboardState) -> list[Panel]:
    """The panels of a run's traces at a time; with Grafana one by its own API too."""
    trace_id, trace_seen = shown.trace_id, shown.trace_seen
    query = run_query(plan.key.run)
    inner = query[2:-2]

    def search(name: str, text: str, range_s: int, shows: Shows = Shows.ALWAYS) -> Panel:
        return Panel(
            _ME,
            name,
            "search",
            float(range_s),
            lambda r, due_ns: r.tempo.first_hits(text, now_ns - range_s * NS, now_ns, _SEARCH_HITS, due_ns),
            shows,
        )

    made = [
        search("recent traces", query, 5 * MINUTE_S),
        search("failed requests", f"{{ {inner} && status = error }}", HOUR_S, Shows.AGAIN),
        search(
            "slow payments",
            f'{{ {inner} && resource.service.name = "payment" && duration > 50ms }}',
            HOUR_S,
            Shows.AGAIN,
        ),
        Panel(
            _ME,
            "services to choose from",
            "labels",
            0.0,
            lambda r, due_ns: r.tempo.tag_values("resource.service.name", due_ns),
            Shows.MAYBE,
        ),
        search("recent traces", query, DAY_S),
    ]
    if trace_id:
        shows = Shows.ALWAYS if trace_seen else Shows.MAYBE
        made.insert(
            1,
            Panel(_ME, "one trace", "trace", 0.0, lambda r, due_ns: r.tempo.trace(trace_id, due_ns), shows),
        )
        if grafana:
            by_id = {"query": trace_id.hex(), "queryType": "traceId", "limit": _SEARCH_HITS, "tableType": "traces"}
            made.append(by_grafana(_ME, "trace panel", by_id, HOUR_S, now_ns, shows))
    return made


def ask(readers: Readers, query: str, start_ns: int, now_ns: int, step: int, due_ns: int) -> Reply[Any]:
    """Ask a person's own query over a range."""
    if _TRACE_METRICS.search(query):
        return readers.tempo.metrics(query, start_ns, now_ns, step, due_ns)
    return readers.tempo.first_hits(query, start_ns, now_ns, _SEARCH_HITS, due_ns)


def selection_of(text: str) -> str:
    """A query whose traces are what ``text`` looks through; empty if there is none."""
    return _TRACE_METRICS.split(text, maxsplit=1)[0].strip()


def held(readers: Readers, query: str, start_ns: int, end_ns: int, stop: Callable[[], bool]) -> float | None:
    """The share of a range in which there were traces for a query; None when it could not be told."""
    selection = selection_of(query)
    if not selection:
        return None
    return pieces_held(
        lambda begin_ns, until_ns: readers.tempo.first_hits(selection, begin_ns, until_ns, 1),
        start_ns, end_ns, SEARCHES, stop,
    )  # fmt: skip
