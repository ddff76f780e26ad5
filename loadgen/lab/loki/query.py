"""Evaluates LogQL over the pieces of streams that a query selects: log lines, and metrics made of them.

Runs in a worker thread, since it may have to fetch chunks from S3; it only reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.loki.chunks import Entries
from loadgen.lab.loki.level import Metadata
from loadgen.lab.loki.logql_ast import Binary, Expr, Literal, LogQLError, LogQuery, RangeAggregation, VectorAggregation
from loadgen.lab.loki.logql_pipeline import Labels, Pipeline
from loadgen.lab.loki.push import COPIES, VISIBLE_FROM_NS
from loadgen.lab.loki.streams import HeldStream, StreamPart
from loadgen.lab.loki.vectors import Floats, Vector, aggregate, binary

_MARKS = frozenset({COPIES, VISIBLE_FROM_NS})


class Line(NamedTuple):
    """One line of an answer."""

    time_ns: int
    line: bytes
    labels: Labels


@dataclass(slots=True)
class Stats:
    """What a query cost, for the ``stats`` of the answer."""

    lines: int = 0
    size_bytes: int = 0
    chunks: int = 0
    returned: int = 0


class Evaluation:
    """One query. ``load`` gives the entries of a part (it may raise StoreError or ChunkError)."""

    def __init__(self, load: Callable[[StreamPart], Entries], now_ns: int, max_series: int = 500) -> None:
        self._load = load
        self._now_ns = now_ns
        self._max_series = max_series
        self._label_sets: dict[tuple[int, Metadata], Labels] = {}
        self.stats = Stats()

    # --- log lines

    def lines(
        self, query: LogQuery, parts: Sequence[StreamPart], start_ns: int, end_ns: int, limit: int, forward: bool
    ) -> list[Line]:
        """The first (or last) ``limit`` lines with ``start_ns <= time < end_ns``, ordered by time in the direction."""
        pipeline = Pipeline(query.stages)
        groups = _groups(parts)
        sign = 1 if forward else -1
        groups.sort(key=lambda g: g.from_ns if forward else -g.through_ns)
        found: list[tuple[int, int, Line]] = []
        sequence = 0
        for group in groups:
            if len(found) >= limit:
                # Never compares lines: no two rows have the same number.
                found.sort()
                del found[limit:]
                furthest = found[-1][0]
                if sign * (group.from_ns if forward else group.through_ns) > furthest:
                    break
                # Nothing beyond the last line that is wanted can be wanted.
                if forward:
                    end_ns = min(end_ns, furthest + 1)
                else:
                    start_ns = max(start_ns, -furthest)
            matched = self._matching(pipeline, group, start_ns, end_ns, limit, forward)
            found.extend((sign * line.time_ns, sequence + i, line) for i, line in enumerate(matched))
            sequence += len(matched)
        found.sort()
        self.stats.returned = min(len(found), limit)
        return [row[2] for row in found[:limit]]

    def _matching(
        self, pipeline: Pipeline, group: _Group, start_ns: int, end_ns: int, limit: int, forward: bool
    ) -> list[Line]:
        most = limit if pipeline.changes_nothing else 0
        entries = self._entries(group, start_ns, end_ns, most * forward, most * (not forward))
        passing = pipeline.passing(entries.lines)
        if not forward:
            passing.reverse()
        out: list[Line] = []
        times, lines, metadata = entries.times_ns, entries.lines, entries.metadata
        simple = pipeline.only_filters_lines
        known = self._labels_by_id(group.stream, metadata)
        for i in passing:
            labels: Labels | None = known[id(metadata[i])]
            if not simple and labels is not None:
                labels = pipeline.labels(lines[i], labels)
            if labels is not None:
                out.append(Line(times[i], lines[i], labels))
                if len(out) >= limit:
                    break
        return out

    # --- metrics

    def metric(self, expr: Expr, parts: Mapping[int, Sequence[StreamPart]], steps_ns: Sequence[int]) -> Vector | float:
        """The value at every step; ``parts`` has the selected parts by ``id()`` of each range aggregation."""
        match expr:
            case Literal(value=value, vector=False):
                return value
            case Literal(value=value):
                return {(): np.full(len(steps_ns), value)}
            case RangeAggregation():
                return self._range(expr, parts[id(expr)], np.array(steps_ns, np.int64))
            case VectorAggregation():
                return aggregate(expr, self.metric(expr.inner, parts, steps_ns))
            case Binary():
                return binary(
                    expr.op, self.metric(expr.left, parts, steps_ns), self.metric(expr.right, parts, steps_ns)
                )

    def _range(self, expr: RangeAggregation, parts: Sequence[StreamPart], steps: NDArray[np.int64]) -> Vector:
        pipeline = Pipeline(expr.query.stages)
        ends = steps - expr.offset_ns
        begins = ends - expr.range_ns
        # The window is open at its beginning and closed at its end.
        start_ns, end_ns = int(begins.min()) + 1, int(ends.max()) + 1
        of_bytes = expr.op.startswith("bytes")
        samples: dict[Labels, tuple[list[NDArray[np.int64]], list[Floats]]] = {}
        for group in _groups(parts):
            entries = self._entries(group, start_ns, end_ns)
            if not len(entries):
                continue
            times = np.array(entries.times_ns, np.int64)
            if expr.unwrap:
                for labels, (where, numbers) in self._unwrapped(pipeline, group.stream, entries, expr.unwrap).items():
                    pair = samples.setdefault(labels, ([], []))
                    pair[0].append(times[where])
                    pair[1].append(np.array(numbers))
                continue
            values = np.fromiter(map(len, entries.lines), np.float64, len(entries)) if of_bytes else None
            for labels, indexes in self._by_labels(pipeline, group.stream, entries).items():
                pair = samples.setdefault(labels, ([], []))
                pair[0].append(times if indexes is None else times[indexes])
                if values is not None:
                    pair[1].append(values if indexes is None else values[indexes])
            if len(samples) > self._max_series:
                raise LogQLError(
                    f"maximum number of series ({self._max_series}) reached for a single query; consider reducing "
                    "query cardinality by adding more specific stream selectors, reducing the time range, or "
                    "aggregating results with functions like sum(), count() or topk()"
                )
        per_second = 1e9 / expr.range_ns if expr.op.endswith("rate") else 1.0
        return {labels: _windows(times, sizes, begins, ends, per_second) for labels, (times, sizes) in samples.items()}

    def _by_labels(
        self, pipeline: Pipeline, stream: HeldStream, entries: Entries
    ) -> dict[Labels, NDArray[np.int64] | None]:
        """Indexes of the entries that count, by label set; None stands for all of them."""
        known = self._labels_by_id(stream, entries.metadata)
        if pipeline.changes_nothing and len(known) == 1:
            return {next(iter(known.values())): None}
        passing = pipeline.passing(entries.lines)
        found: dict[Labels, list[int]] = {}
        for i in passing:
            labels: Labels | None = known[id(entries.metadata[i])]
            if not pipeline.only_filters_lines and labels is not None:
                labels = pipeline.labels(entries.lines[i], labels)
            if labels is None:
                continue
            if any(name == "__error__" for name, _ in labels):
                raise LogQLError(_pipeline_error(labels))
            found.setdefault(labels, []).append(i)
        return {labels: np.array(indexes, np.int64) for labels, indexes in found.items()}

    def _unwrapped(
        self, pipeline: Pipeline, stream: HeldStream, entries: Entries, name: str
    ) -> dict[Labels, tuple[list[int], list[float]]]:
        """Indexes of the entries that have a label, and its numbers, by the other labels."""
        known = self._labels_by_id(stream, entries.metadata)
        found: dict[Labels, tuple[list[int], list[float]]] = {}
        for i in pipeline.passing(entries.lines):
            values = dict(pipeline.labels(entries.lines[i], known[id(entries.metadata[i])]) or ())
            text = values.pop(name, "")
            if not text:
                continue
            try:
                number = float(text)
            except ValueError:
                values["__error__"] = "SampleExtractionErr"
            labels = tuple(sorted(values.items()))
            if "__error__" in values:
                raise LogQLError(_pipeline_error(labels))
            indexes, numbers = found.setdefault(labels, ([], []))
            indexes.append(i)
            numbers.append(number)
        return found

    # --- entries

    def _entries(self, group: _Group, start_ns: int, end_ns: int, first: int = 0, last: int = 0) -> Entries:
        """The entries of a group within the time, once each, with ordered defects applied.

        With ``first`` or ``last`` only so many from that side are wanted; there may be more.
        """
        pieces = [self._load(part) for part in group.parts]
        entries = pieces[0] if len(pieces) == 1 else _merged(pieces)
        self.stats.chunks += sum(part.chunk is not None for part in group.parts)
        begin, end = bisect_left(entries.times_ns, start_ns), bisect_left(entries.times_ns, end_ns)
        if first and end - begin > first:
            wanted = _slice(entries, begin, begin + first)
        elif last and end - begin > last:
            wanted = _slice(entries, end - last, end)
        else:
            wanted = _slice(entries, begin, end)
        self.stats.lines += len(wanted)
        self.stats.size_bytes += sum(map(len, wanted.lines))
        distinct = {id(metadata): metadata for metadata in wanted.metadata}
        if any(name in _MARKS for metadata in distinct.values() for name, _ in metadata):
            return _defective(_slice(entries, begin, end), self._now_ns)
        return wanted

    def _labels_by_id(self, stream: HeldStream, metadata: Sequence[Metadata]) -> dict[int, Labels]:
        # Most entries share a few metadata objects, and their identity is cheaper to look up than their content.
        return {key: self._labels(stream, own) for key, own in {id(m): m for m in metadata}.items()}

    def _labels(self, stream: HeldStream, metadata: Metadata) -> Labels:
        key = (id(stream), metadata)
        labels = self._label_sets.get(key)
        if labels is None:
            own = dict(stream.labels)
            more = {(f"{n}_extracted" if n in own else n): v for n, v in metadata if v}
            labels = self._label_sets[key] = tuple(sorted({**own, **more}.items()))
        return labels


@dataclass(slots=True)
class _Group:
    """Parts of one stream that overlap in time, and therefore may hold the same entry twice."""

    stream: HeldStream
    from_ns: int
    through_ns: int
    parts: list[StreamPart]


def _groups(parts: Sequence[StreamPart]) -> list[_Group]:
    by_stream: dict[int, list[StreamPart]] = {}
    for part in parts:
        by_stream.setdefault(id(part.stream), []).append(part)
    groups: list[_Group] = []
    for own in by_stream.values():
        own.sort(key=lambda p: (p.from_ns, p.through_ns))
        current: _Group | None = None
        for part in own:
            if current is None or part.from_ns > current.through_ns:
                current = _Group(part.stream, part.from_ns, part.through_ns, [part])
                groups.append(current)
            else:
                current.parts.append(part)
                current.through_ns = max(current.through_ns, part.through_ns)
    return groups


def _slice(entries: Entries, begin: int, end: int) -> Entries:
    if begin == 0 and end == len(entries):
        return entries
    return Entries(entries.times_ns[begin:end], entries.lines[begin:end], entries.metadata[begin:end])


def _merged(pieces: Sequence[Entries]) -> Entries:
    seen: set[tuple[int, bytes]] = set()
    rows: list[tuple[int, bytes, Metadata]] = []
    for piece in pieces:
        own = zip(piece.times_ns, piece.lines, piece.metadata, strict=True)
        rows.extend(row for row in own if row[:2] not in seen)
        # Only copies in different pieces are copies: a piece holds an entry once.
        seen.update(zip(piece.times_ns, piece.lines, strict=True))
    rows.sort(key=lambda row: row[0])
    return Entries([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])


def _defective(entries: Entries, now_ns: int) -> Entries:
    out = Entries([], [], [])
    for time_ns, line, metadata in zip(entries.times_ns, entries.lines, entries.metadata, strict=True):
        marks = {name: int(value) for name, value in metadata if name in _MARKS}
        if marks.get(VISIBLE_FROM_NS, 0) > now_ns:
            continue
        clean = tuple(pair for pair in metadata if pair[0] not in _MARKS) if marks else metadata
        for _ in range(marks.get(COPIES, 1)):
            out.times_ns.append(time_ns)
            out.lines.append(line)
            out.metadata.append(clean)
    return out


def _windows(
    times: Sequence[NDArray[np.int64]],
    sizes: Sequence[Floats],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    per_second: float,
) -> Floats:
    at = np.concatenate(times)
    order = np.argsort(at, kind="stable")
    at = at[order]
    first, last = np.searchsorted(at, begins, "right"), np.searchsorted(at, ends, "right")
    if sizes:
        sums = np.concatenate(([0.0], np.cumsum(np.concatenate(sizes)[order])))
        values = sums[last] - sums[first]
    else:
        values = (last - first).astype(np.float64)
    return np.where(last > first, values * per_second, np.nan)


def _pipeline_error(labels: Labels) -> str:
    kind = dict(labels)["__error__"]
    text = "{" + ", ".join(f'{n}="{v}"' for n, v in labels) + "}"
    return (
        f"pipeline error: '{kind}' for series: '{text}'.\n"
        f'Use a label filter to intentionally skip this error. (e.g | __error__!="{kind}").\n'
        'To skip all potential errors you can match empty errors.(e.g __error__="")\n'
        'The label filter can also be specified after unwrap. (e.g | unwrap latency | __error__="" )\n'
    )


def range_aggregations(expr: Expr) -> list[RangeAggregation]:
    """All range aggregations in an expression."""
    match expr:
        case RangeAggregation():
            return [expr]
        case VectorAggregation():
            return range_aggregations(expr.inner)
        case Binary():
            return range_aggregations(expr.left) + range_aggregations(expr.right)
        case Literal():
            return []
