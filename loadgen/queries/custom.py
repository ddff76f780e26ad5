"""The user's own queries: asked beside the load as people would ask them, and how far back there was data for them.

They are timed and judged for errors and latency. What they return is not known beforehand, so it is not judged; but how
much of the asked range held data is told, because a day that holds an hour proves nothing about days.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from loadgen.clock import Clock
from loadgen.config import OwnQuery
from loadgen.history.directory import RunDir
from loadgen.kinds import COMPONENTS
from loadgen.model import HELD_DATA, NS, Component, QueryEnd, QueryTiming, StackSample
from loadgen.pacing import Pace, pace_of
from loadgen.queries import loki, mimir, tempo
from loadgen.queries.panel import step_s
from loadgen.queries.pieces import PIECES
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

SOURCE = "own"
_STEP_S = 0.5
_ASK = dict(zip(COMPONENTS, (loki.ask, mimir.ask, tempo.ask), strict=True))
_HELD = dict(zip(COMPONENTS, (loki.held, mimir.held, tempo.held), strict=True))


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
    reply: Reply[Any] = _ASK[component](readers, query.query, start_ns, now_ns, step, due_ns)
    return reply


class OwnAsking:
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
    return _HELD[component](readers, query.query, end_ns - round(query.range * NS), end_ns, stop)


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
            share = max(share, 1 / PIECES) if returned[query.title] else share
            samples.append(StackSample(query.component, HELD_DATA, query.title, clock(), share))
    return tuple(samples)
