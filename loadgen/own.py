"""The user's own queries: asked beside the load as people would ask them, and how far back there was data for them.

They are timed and judged for errors and latency. What they return is not known beforehand, so it is not judged; but how
much of the asked range held data is told, because a day that holds an hour proves nothing about days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loadgen.config import OwnQuery
from loadgen.model import HELD_DATA, NS, Component, QueryTiming, StackSample
from loadgen.panels import step_s
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

SOURCE = "own"
_LINES = 1000
_HITS = 20
# Where a range is looked at: often enough that a quarter of an hour of a day shows, seldom enough to cost nothing.
_PIECES = 96
_SEARCHES = 12


def ask(readers: Readers, query: OwnQuery, now_ns: int, due_ns: int) -> QueryTiming:
    """Ask once over the range before ``now_ns``; the latency counts from ``due_ns``."""
    timings: list[QueryTiming] = []
    reply = _ask(readers.recording(timings.append), query, now_ns, due_ns)
    return replace(
        timings[0],
        kind=query.title,
        source=SOURCE,
        range_s=query.range,
        due_ns=due_ns,
        done_ns=reply.done_ns,
        ok=reply.ok,
        status=reply.status,
        detail=reply.error[:300],
    )


def _ask(readers: Readers, query: OwnQuery, now_ns: int, due_ns: int) -> Reply[Any]:
    component = Component(query.component)
    start_ns, step = now_ns - round(query.range * NS), step_s(max(1, round(query.range)))
    if component is Component.LOKI:
        if is_log_query(query.query):
            return readers.loki.newest(query.query, start_ns, now_ns, _LINES, due_ns)
        return readers.loki.range(query.query, start_ns, now_ns, step, due_ns)
    if component is Component.MIMIR:
        return readers.mimir.range(query.query, start_ns, now_ns, step, due_ns)
    return readers.tempo.first_hits(query.query, start_ns, now_ns, _HITS, due_ns)


def is_log_query(text: str) -> bool:
    """Whether a LogQL query gives lines (it begins with a selector) and no numbers."""
    return text.lstrip().startswith("{")


def held_data(readers: Readers, query: OwnQuery, now_ns: int) -> float | None:
    """The share of the query's range, before ``now_ns``, that held data; None when it could not be told."""
    component = Component(query.component)
    start_ns, length_s = now_ns - round(query.range * NS), max(_PIECES, round(query.range))
    step = -(-length_s // _PIECES)
    if component is Component.TEMPO:
        return _held_by_search(readers, query.query, start_ns, now_ns)
    if component is Component.LOKI:
        expression = f"sum(count_over_time({query.query}[{step}s]))" if is_log_query(query.query) else query.query
        reply = readers.loki.range(expression, start_ns + step * NS, now_ns, step)
    else:
        reply = readers.mimir.range(query.query, start_ns + step * NS, now_ns, step)
    if reply.value is None:
        return None
    moments = {at for series in reply.value for at, _value in series.points}
    return min(1.0, len(moments) / (length_s // step))


def _held_by_search(readers: Readers, query: str, start_ns: int, end_ns: int) -> float | None:
    length_ns = max(NS, (end_ns - start_ns) // _SEARCHES)
    held = 0
    for piece in range(_SEARCHES):
        begin_ns = start_ns + piece * length_ns
        reply = readers.tempo.first_hits(query, begin_ns, begin_ns + length_ns, 1)
        if reply.value is None:
            return None
        held += reply.value > 0
    return held / _SEARCHES


def look_back(readers: Readers, queries: tuple[OwnQuery, ...], clock: Callable[[], int]) -> list[StackSample]:
    """How much of each query's range held data, as samples to be stored; what cannot be told is left out."""
    samples = []
    for query in queries:
        share = held_data(readers.recording(None), query, clock())
        if share is not None:
            samples.append(StackSample(query.component, HELD_DATA, query.title, clock(), share))
    return samples
