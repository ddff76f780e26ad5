"""The user's own queries: asked beside the load as people would ask them, and how far back there was data for them.

They are timed and judged for errors and latency. What they return is not known beforehand, so it is not judged; but how
much of the asked range held data is told, because a day that holds an hour proves nothing about days.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from loadgen.clock import Clock
from loadgen.config import OwnQuery
from loadgen.history.directory import RunDir
from loadgen.model import HELD_DATA, NS, Component, QueryEnd, QueryTiming, StackSample
from loadgen.pacing import Pace, pace_of
from loadgen.queries.dashboard import step_s
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

SOURCE = "own"
_LINES = 1000
_HITS = 20
# Where a range is looked at: often enough that a quarter of an hour of a day shows, seldom enough to cost nothing.
_PIECES = 96
_SEARCHES = 12
_STEP_S = 0.5
_TRACE_METRICS = re.compile(r"\|\s*(?:rate|compare|\w+_over_time)\s*\(")
_SELECTOR = re.compile(r"""\{(?:[^{}"`]|"(?:\\.|[^"\\])*"|`[^`]*`)*\}""")


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
    if _TRACE_METRICS.search(query.query):
        return readers.tempo.metrics(query.query, start_ns, now_ns, step, due_ns)
    return readers.tempo.first_hits(query.query, start_ns, now_ns, _HITS, due_ns)


def is_log_query(text: str) -> bool:
    """Whether a LogQL query gives lines (it begins with a selector) and no numbers."""
    return text.lstrip().startswith("{")


def selection_of(component: Component, text: str) -> str:
    """A query of Loki or Tempo whose lines or traces are what ``text`` looks through; empty if there is none."""
    if component is Component.TEMPO:
        return _TRACE_METRICS.split(text, maxsplit=1)[0].strip()
    if is_log_query(text):
        return text
    selector = _SELECTOR.search(text)
    return selector[0] if selector else ""


class Asking:
    """The own queries of a run, each at a pace of its own, one of each under way at a time."""

    def __init__(self, readers: Readers, clock: Clock, began_ns: int) -> None:
        self._readers, self._clock, self._began_ns = readers, clock, began_ns

    def pace(self, number: int, query: OwnQuery) -> Pace:
        """When the query with that place in the profile is due."""
        return pace_of(number, self._began_ns, round(query.every * NS))

    def ask_forever(
        self,
        number: int,
        query: OwnQuery,
        record: Callable[[QueryTiming], None],
        sleep: Callable[[float], None],
        stop: Callable[[], bool],
    ) -> None:
        """Ask again and again, until ``stop()``; every planned time leaves a row.

        What an answer cost that was slow is counted whole. Of the times that passed meanwhile the last is made up for,
        and its waiting counts too; those before it are never asked, and count until that one has ended.
        """
        pace = self.pace(number, query)
        n = pace.first_at(self._clock())
        try:
            while not stop():
                now_ns = self._clock()
                wait_s = (pace.due(n) - now_ns) / NS
                if wait_s > 0:
                    # In small steps, so that the end of the load is noticed.
                    sleep(min(wait_s, _STEP_S))
                    continue
                newest = max(n, pace.last_at(now_ns))
                timing = self._ask(query, pace.due(newest))
                end, why = QueryEnd.MISSED, "never asked: the one before had no answer yet"
                for missed in range(n, newest):
                    record(self._unasked(query, pace.due(missed), timing.done_ns, end, why))
                record(timing)
                n = newest + 1
        finally:
            # Also when this is ended in the middle of a question: then what it was and what waited for it are left.
            now_ns = self._clock()
            for cut in range(n, pace.last_at(now_ns - 1) + 1):
                record(self._unasked(query, pace.due(cut), now_ns, QueryEnd.CUT, "the load ended before its answer"))

    def _ask(self, query: OwnQuery, due_ns: int) -> QueryTiming:
        try:
            return ask(self._readers, query, self._clock(), due_ns)
        except Exception as problem:  # noqa: BLE001 - a mistake of ours is told in the row, and later times have theirs
            why = f"loadgen could not ask: {type(problem).__name__}: {problem}"[:300]
            return self._unasked(query, due_ns, self._clock(), QueryEnd.UNABLE, why)

    def _unasked(self, query: OwnQuery, due_ns: int, until_ns: int, end: QueryEnd, why: str) -> QueryTiming:
        times = (due_ns, 0, max(due_ns, until_ns))
        via = self._readers.via
        return QueryTiming(
            query.component, query.title, via, SOURCE, query.range, *times, False, 0, 0, why, end=end.value
        )


# -- how far back there was data -----------------------------------------------------------------------------------


def held_data(readers: Readers, query: OwnQuery, end_ns: int, stop: Callable[[], bool] = lambda: False) -> float | None:
    """The share of the query's range, before ``end_ns``, that held data; None when it could not be told.

    The range is looked at in pieces, each by a question that is quick to answer: is there anything at all?
    """
    component = Component(query.component)
    start_ns, length_s = end_ns - round(query.range * NS), max(1, round(query.range))
    if component is Component.MIMIR:
        step = -(-length_s // _PIECES)
        reply = readers.mimir.range(query.query, start_ns + step * NS, end_ns, step)
        if reply.value is None:
            return None
        moments = {at for series in reply.value for at, _value in series.points}
        return min(1.0, len(moments) / (length_s // step))
    selection = selection_of(component, query.query)
    if not selection:
        return None
    ask_one = readers.tempo.first_hits if component is Component.TEMPO else readers.loki.newest
    pieces = _SEARCHES if component is Component.TEMPO else _PIECES
    return _pieces_held(
        lambda begin_ns, until_ns: ask_one(selection, begin_ns, until_ns, 1), start_ns, end_ns, pieces, stop
    )


def _pieces_held(
    count: Callable[[int, int], Reply[int]], start_ns: int, end_ns: int, pieces: int, stop: Callable[[], bool]
) -> float | None:
    pieces = max(1, min(pieces, (end_ns - start_ns) // NS))
    edges = [start_ns + (end_ns - start_ns) * piece // pieces for piece in range(pieces + 1)]
    held = 0
    for begin_ns, until_ns in pairwise(edges):
        reply = count(begin_ns, until_ns) if not stop() else None
        if reply is None or reply.value is None:
            return None
        held += reply.value > 0
    return held / pieces


def look_back(
    run: RunDir, readers: Readers, queries: Sequence[OwnQuery], clock: Clock, stop: Callable[[], bool]
) -> tuple[StackSample, ...]:
    """How much of each query's range held data when it was asked last, as samples to be stored.

    What was told already stays: of a run of days ago, later looks would find what its queries could not have found.
    What was never asked, or cannot be told, is left out.
    """
    asked, _ = run.rows("queries")
    own = asked[(asked["source"] == SOURCE) & (asked["end"] == QueryEnd.ASKED.value)]
    last_ns = own.groupby("kind")["due_ns"].max().to_dict()
    returned = own.groupby("kind")["items"].max().to_dict()
    stored, _ = run.rows("stack")
    told = set(stored.loc[stored["metric"] == HELD_DATA, "labels"])
    samples = []
    for query in queries:
        if query.title not in last_ns or query.title in told:
            continue
        share = held_data(readers.recording(None), query, int(last_ns[query.title]), stop)
        if share is not None:
            # Looks between which little data lies can miss all of it; what was returned was there.
            share = max(share, 1 / _PIECES) if returned[query.title] else share
            samples.append(StackSample(query.component, HELD_DATA, query.title, clock(), share))
    return tuple(samples)
