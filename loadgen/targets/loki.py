"""Reading logs back from Loki, through Grafana or directly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadgen.model import NS, Component, RunKey
from loadgen.targets.most import Most
from loadgen.targets.reading import (
    Asker,
    Labels,
    MalformedAnswer,
    Point,
    Record,
    Reply,
    Series,
    Sized,
    duration_text,
    matrix_of,
    names_of,
    quoted,
    result_of,
    selector,
    vector_of,
)

MAX_ENTRIES = 5000
"""The most entries that Loki returns by default (``max_entries_limit_per_query``)."""
_TOO_MANY_ENTRIES = re.compile(r"max entries limit(?:.*\(\d+ > (\d+)\))?", re.DOTALL)
_TRIVIAL_NS = 300 * NS


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line as it came back, with all names and values that Loki has of it: its labels and structured metadata."""

    at_ns: int
    line: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class LogStream:
    """The entries of one pushed stream, in order of time.

    Attributes:
        labels: those labels that were asked to be kept, sorted.
        entries: all of them; entries of the same time are in the order in which they came.
        disordered: entries that came after a later one of the same stream, in one answer that should be in order.
    """

    labels: Labels
    entries: tuple[LogEntry, ...]
    disordered: tuple[LogEntry, ...]


@dataclass(frozen=True, slots=True)
class _Came:
    labels: Labels
    entries: list[LogEntry]


class LokiReader:
    """Queries of one Loki. What one of its copies learns of Loki's limits, all of them keep to."""

    component = Component.LOKI

    def __init__(self, asker: Asker, most: Most | None = None) -> None:
        self._asker = asker
        self._most = most or Most(MAX_ENTRIES, _TOO_MANY_ENTRIES)

    def recording(self, record: Record | None) -> LokiReader:
        """The same, with timings handed to ``record``."""
        return LokiReader(self._asker.recording(record), self._most)

    def trivial(self, now_ns: int) -> Reply[Any]:
        """A question that every Loki answers quickly, whatever it holds."""
        return self.labels(now_ns - _TRIVIAL_NS, now_ns)

    def ping(self, key: RunKey, at_ns: int) -> Reply[int]:
        """One small query of a run's data of the minute before a time."""
        return self.newest(selector(run=key.run), at_ns - 60 * NS, at_ns, 1)

    def small(self, at_ns: int) -> Reply[Any]:
        """One small query, whatever data there is in the hour before a time."""
        return self.labels(at_ns - 3600 * NS, at_ns)

    def streams(
        self,
        selector: str,
        start_ns: int,
        end_ns: int,
        keep: Sequence[str],
        limit: int = MAX_ENTRIES,
        due_ns: int = 0,
    ) -> Reply[tuple[LogStream, ...]]:
        """All entries of a selector in [start, end), however many, in pages of at most ``limit``.

        Loki's answers split a pushed stream by structured metadata that it added itself (``detected_level``), so
        entries are put together again by the labels named in ``keep``.

        The last timestamp of a full page may be cut in the middle, so it is left to the next page; no entry is lost
        or doubled by that. ``limit`` or more entries of one timestamp cannot be paged: an error. Where Loki allows
        fewer entries, pages are as small as it says.
        """
        streams: dict[Labels, tuple[list[LogEntry], list[LogEntry]]] = {}
        at_ns = start_ns
        sent_ns = 0
        while True:
            reply = self._page(selector, at_ns, end_ns, limit, due_ns if not sent_ns else 0)
            if reply.value is None:
                return reply.failed()
            sent_ns = sent_ns or reply.sent_ns
            count = sum(len(came.entries) for came in reply.value)
            full = count >= min(limit, self._most.items)
            until_ns = max(entry.at_ns for came in reply.value for entry in came.entries) if full else end_ns
            if full and until_ns <= at_ns:
                # Everything on this page has its first timestamp. It is whole only if nothing more has that time.
                error = f"{count} or more entries of {selector} have the time {at_ns}; that cannot be paged"
                return Reply(None, error, reply.status, sent_ns, reply.done_ns)
            for came in reply.value:
                _collect(streams, came, keep, until_ns)
            if not full:
                done = tuple(
                    LogStream(labels, tuple(sorted(entries, key=_time)), tuple(disordered))
                    for labels, (entries, disordered) in sorted(streams.items())
                )
                return Reply(done, "", reply.status, sent_ns, reply.done_ns)
            at_ns = until_ns

    def counts(self, selector: str, by: str, start_ns: int, end_ns: int) -> Reply[dict[str, int]]:
        """Entries in (start, end) by the values of one label, counted by Loki.

        Whether an edge belongs to the range is Loki's business, so no entry may have the time of an edge.
        """
        return self._whole_numbers("count_over_time", selector, by, start_ns, end_ns)

    def sums(self, selector: str, pattern: str, by: str, start_ns: int, end_ns: int) -> Reply[dict[str, int]]:
        """The sum of a whole number that each entry in (start, end) has in its text, by the values of one label.

        ``pattern`` is a regular expression with one named group, which captures the number; entries that it does not
        fit add nothing. Sums are exact up to 2^53. Edges as in `counts`.
        """
        (name,) = re.compile(pattern).groupindex
        numbers = f"{selector} | regexp {quoted(pattern)} | unwrap {name} "
        return self._whole_numbers("sum_over_time", numbers, by, start_ns, end_ns)

    def _whole_numbers(self, function: str, query: str, by: str, start_ns: int, end_ns: int) -> Reply[dict[str, int]]:
        expression = f"sum by ({by}) ({function}({query}[{duration_text(end_ns - start_ns)}]))"
        reply = self.instant(expression, end_ns, (end_ns - start_ns) / NS)
        if reply.value is None:
            return reply.failed()
        return reply.with_value({dict(point.labels).get(by, ""): round(point.value) for point in reply.value})

    def instant(self, expression: str, at_ns: int, range_s: float = 0.0, due_ns: int = 0) -> Reply[tuple[Point, ...]]:
        """A metric query at one time; ``range_s`` is how far it looks back, for the timing."""
        params = {"query": expression, "time": str(at_ns)}
        return self._asker.get("instant", "/loki/api/v1/query", params, range_s, vector_of, due_ns)

    def range(
        self, expression: str, start_ns: int, end_ns: int, step_s: int, due_ns: int = 0
    ) -> Reply[tuple[Series, ...]]:
        """A metric query over a range."""
        params = {"query": expression, "start": str(start_ns), "end": str(end_ns), "step": str(step_s)}
        range_s = (end_ns - start_ns) / NS
        return self._asker.get("range", "/loki/api/v1/query_range", params, range_s, matrix_of, due_ns)

    def newest(self, selector: str, start_ns: int, end_ns: int, limit: int, due_ns: int = 0) -> Reply[int]:
        """How many entries a log panel gets: the newest of a range, up to ``limit``."""
        reply = self._entries(selector, start_ns, end_ns, limit, "backward", due_ns)
        if reply.value is None:
            return reply.failed()
        return reply.with_value(sum(len(came.entries) for came in reply.value))

    def labels(self, start_ns: int, end_ns: int, due_ns: int = 0) -> Reply[tuple[str, ...]]:
        """Names of labels in a range."""
        params = {"start": str(start_ns), "end": str(end_ns)}
        return self._asker.get("labels", "/loki/api/v1/labels", params, (end_ns - start_ns) / NS, names_of, due_ns)

    def label_values(self, name: str, start_ns: int, end_ns: int, due_ns: int = 0) -> Reply[tuple[str, ...]]:
        """Values of one label in a range."""
        params = {"start": str(start_ns), "end": str(end_ns)}
        path = f"/loki/api/v1/label/{name}/values"
        return self._asker.get("labels", path, params, (end_ns - start_ns) / NS, names_of, due_ns)

    def _page(self, selector: str, start_ns: int, end_ns: int, limit: int, due_ns: int) -> Reply[tuple[_Came, ...]]:
        return self._entries(selector, start_ns, end_ns, limit, "forward", due_ns)

    def _entries(
        self, selector: str, start_ns: int, end_ns: int, limit: int, direction: str, due_ns: int
    ) -> Reply[tuple[_Came, ...]]:
        """At most ``limit`` entries, or as many as Loki allows."""

        def get(asker: Asker, most: int, due_ns: int) -> Reply[tuple[_Came, ...]]:
            params = _range(selector, start_ns, end_ns, most, direction)
            return asker.get("logs", "/loki/api/v1/query_range", params, (end_ns - start_ns) / NS, _streams_of, due_ns)

        return self._most.ask(self._asker, limit, get, due_ns)


def _range(selector: str, start_ns: int, end_ns: int, limit: int, direction: str) -> dict[str, str]:
    return {
        "query": selector,
        "start": str(start_ns),
        "end": str(end_ns),
        "limit": str(limit),
        "direction": direction,
    }


def _streams_of(raw: Any) -> Sized[tuple[_Came, ...]]:
    streams = tuple(
        _Came(labels, [LogEntry(int(value[0]), value[1], labels) for value in item["values"]])
        for item in result_of(raw, "streams")
        for labels in (tuple(item["stream"].items()),)
    )
    for came in streams:
        if not all(isinstance(entry.line, str) for entry in came.entries):
            raise MalformedAnswer("an entry's line is not a text")
    return Sized(streams, sum(len(came.entries) for came in streams))


def _collect(
    streams: dict[Labels, tuple[list[LogEntry], list[LogEntry]]], came: _Came, keep: Sequence[str], until_ns: int
) -> None:
    """Add the entries before ``until_ns`` to the stream that they belong to."""
    labels = tuple(sorted((name, value) for name, value in came.labels if name in keep))
    entries, disordered = streams.setdefault(labels, ([], []))
    newest_ns = 0
    for entry in came.entries:
        if entry.at_ns < until_ns:
            entries.append(entry)
            if entry.at_ns < newest_ns:
                disordered.append(entry)
        newest_ns = max(newest_ns, entry.at_ns)


def _time(entry: LogEntry) -> int:
    return entry.at_ns
