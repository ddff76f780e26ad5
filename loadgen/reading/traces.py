"""Reading traces back: found by search, and fetched by id and compared span by span."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadgen.kinds.traces.source import SPANS_PER_TRACE, SpanFacts, TraceSource
from loadgen.model import NS, Batch, Outcome, Signal
from loadgen.plan import Plan
from loadgen.reading.cases import Found, Ledger, Looking, SentBatch, grouped, shortened, unreadable
from loadgen.reading.looks import SEARCH, Look
from loadgen.reading.names import Added, difference_of
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply, quoted
from loadgen.targets.tempo import CANNOT_LIST, SEARCH_LIMIT, FoundSpan, TempoReader
from loadgen.wire.otlp import SCOPE

# Traces are read one by one, so there must be some windows for several to be read at a time.
_WINDOWS = 32
_FEWEST_SPANS = 64 * SPANS_PER_TRACE
_MOST_SPANS = 2_000 * SPANS_PER_TRACE
_LONGEST_TRACE_NS = NS
_FAILURES = 3
_KEPT_SECONDS = 16
# Tempo 3 leaves the newest 30 s out of every search (query_frontend.query_end_cutoff), whole seconds on top. A range
# that lies within them is answered with older traces, or with a 400 where the cut-off falls onto its start.
_HIDDEN_NS = 32 * NS
_CUT_OFF = 400
_PAUSE_S = 1.0
_SPARE = 1.25

Listed = Mapping[bytes, bytes]
"""Trace id to the ids of its spans, in order and joined."""


@dataclass(slots=True)
class _Second:
    """What search listed of one second. The lock is held while it is asked."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    reply: Reply[Listed] | None = None


class Listing:
    """Searches for the traces of a run, second by second, each second once.

    Search sees whole seconds, and at a high rate a window of batches is a small part of one, so its neighbours share
    what was listed. Only the last few seconds are kept, and nothing of a search that failed. For several threads.

    Args:
        reader: of Tempo.
        run: name of the run.
        per_s: traces expected a second; a search for fewer would only be made again with a higher limit.
        newest_ns: when the newest push of the run was due.
        newest: trace ids of it.
        clock: epoch nanoseconds.
        sleep: waits so many seconds, or less.
        stop: true when a person wants the end.
        users: whose traces they are. Where Tempo cannot list all of one second, they are asked for one by one.
    """

    def __init__(
        self,
        reader: TempoReader,
        run: str,
        per_s: float,
        newest_ns: int,
        newest: frozenset[bytes],
        clock: Callable[[], int],
        sleep: Callable[[float], None],
        stop: Callable[[], bool],
        users: Sequence[int] = (),
    ) -> None:
        self._reader = reader
        self._query = run_query(run)
        self._by_user = [run_query(run, user) for user in users]
        self._limit = max(SEARCH_LIMIT, math.ceil(per_s * _SPARE) + SEARCH_LIMIT)
        self._newest_ns = newest_ns
        self._newest = newest
        self._clock = clock
        self._sleep = sleep
        self._stop = stop
        self._shows_newest: bool | None = None
        self._seconds: OrderedDict[int, _Second] = OrderedDict()
        self._lock = threading.Lock()

    def hides(self, end_ns: int) -> bool:
        """Whether search still leaves out what was sent before ``end_ns``: it is young, and the newest is not shown."""
        if self._clock() >= end_ns + _HIDDEN_NS:
            return False
        if self._shows_newest is None:
            reply = self._second(self._newest_ns // NS)
            if reply.value is None:
                return reply.status == _CUT_OFF
            self._shows_newest = not self._newest.isdisjoint(reply.value)
        return not self._shows_newest

    def of(self, start_ns: int, end_ns: int, settled: bool = False) -> Reply[tuple[Listed, ...]]:
        """What is listed in a range, a part each second; its times are of the first and the last of these searches.

        With ``settled`` it waits until search hides nothing of the range, and what was listed earlier does not count.
        """
        while settled and self._clock() < end_ns + _HIDDEN_NS and not self._stop():
            self._sleep(_PAUSE_S)
        parts: list[Reply[Listed]] = []
        for second in range(start_ns // NS, max(start_ns // NS + 1, math.ceil(end_ns / NS))):
            reply = self._second(second, (second + 1) * NS + _HIDDEN_NS if settled else 0)
            if reply.value is None:
                return Reply(None, reply.error, reply.status, reply.sent_ns, reply.done_ns)
            parts.append(reply)
        return Reply(
            tuple(reply.value for reply in parts if reply.value is not None),
            "",
            parts[-1].status,
            min(reply.sent_ns for reply in parts),
            max(reply.done_ns for reply in parts),
        )

    def fresh(self, start_ns: int, end_ns: int) -> Reply[tuple[Listed, ...]]:
        """The same by one search that is made now."""
        reply = self._search(start_ns, end_ns)
        return reply.failed() if reply.value is None else reply.with_value((reply.value,))

    def _second(self, second: int, not_before_ns: int = 0) -> Reply[Listed]:
        with self._lock:
            kept = self._seconds.setdefault(second, _Second())
            self._seconds.move_to_end(second)
            while len(self._seconds) > _KEPT_SECONDS:
                self._seconds.popitem(last=False)
        with kept.lock:
            if kept.reply is not None and kept.reply.sent_ns >= not_before_ns:
                return kept.reply
            reply = self._search(second * NS, (second + 1) * NS)
            if reply.value is not None:
                kept.reply = reply
            return reply

    def _search(self, start_ns: int, end_ns: int) -> Reply[Listed]:
        whole = self._ask(self._query, start_ns, end_ns)
        if CANNOT_LIST not in whole.error:
            return whole
        parts: list[Reply[Listed]] = []
        for query in self._by_user:
            if self._stop():
                return whole
            parts.append(self._ask(query, start_ns, end_ns))
            if parts[-1].value is None:
                return parts[-1]
        if not parts:
            return whole
        listed = {one: spans for part in parts for one, spans in (part.value or {}).items()}
        return Reply(listed, "", parts[-1].status, parts[0].sent_ns, parts[-1].done_ns)

    def _ask(self, query: str, start_ns: int, end_ns: int) -> Reply[Listed]:
        reply = self._reader.search(query, start_ns, end_ns, limit=self._limit, listed_spans=SPANS_PER_TRACE + 1)
        if reply.value is None:
            return reply.failed()
        return reply.with_value({one: b"".join(sorted(hit.span_ids)) for one, hit in reply.value.items()})


class TraceAuditor:
    """Reads the traces of a run back."""

    signal = Signal.TRACES

    def __init__(
        self,
        ledger: Ledger,
        reader: TempoReader,
        clock: Callable[[], int],
        sleep: Callable[[float], None],
        stop: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._stop = stop
        self._source: TraceSource = ledger.plan.traces
        self._short: set[tuple[int, int]] = set()
        load = self._source.load
        per_s = ledger.plan.users(Signal.TRACES) * load.traces_per_batch / (load.interval_ns / NS)
        last = ledger.case(len(ledger) - 1).batch
        newest = frozenset(row.tobytes() for row in self._source.trace_ids(last))
        users = np.unique(ledger.users).tolist()
        self._listing = Listing(reader, ledger.plan.key.run, per_s, last.due_ns, newest, clock, sleep, stop, users)

    @classmethod
    def of(cls, ledger: Ledger, readers: Readers, looking: Looking) -> TraceAuditor:
        """The auditor of what a ledger names."""
        return cls(ledger, readers.tempo, looking.clock, looking.sleep, looking.stop)

    def windows(self) -> Iterator[tuple[SentBatch, ...]]:
        """All cases, in windows of time."""
        share = len(self._ledger) * self._ledger.items_per_batch // _WINDOWS
        return grouped(self._ledger.cases(), max(_FEWEST_SPANS, min(_MOST_SPANS, share)))

    def regroup(self, cases: Sequence[SentBatch]) -> Iterator[tuple[SentBatch, ...]]:
        """Cases that are looked for again."""
        return grouped(sorted(cases, key=lambda case: case.batch.due_ns), _FEWEST_SPANS)

    def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
        """Search for all traces of a window, then fetch those that are to be compared or that search did not settle.

        Search settles a batch when it lists exactly the spans that were sent, by id: a span that came twice does not
        make up for a lost one. It does not settle one of which something was missing by id before.
        """
        start_ns = cases[0].batch.due_ns
        end_ns = max(case.batch.due_ns for case in cases) + self._source.load.interval_ns + _LONGEST_TRACE_NS
        # What is looked for again may have come in the meantime.
        reply = self._listing.fresh(start_ns, end_ns) if again else self._listing.of(start_ns, end_ns)
        hits = reply.value
        listed = [hits is not None and self._listed(case, hits) for case in cases]
        absent = any(case.outcome is Outcome.ACCEPTED and not there for case, there in zip(cases, listed, strict=True))
        told = hits is not None or reply.status == _CUT_OFF
        if not again and told and absent and self._listing.hides(end_ns):
            # A little patience is cheaper than a query for every trace of half a minute.
            reply = self._listing.of(start_ns, end_ns, settled=True)
            hits = reply.value
            listed = [hits is not None and self._listed(case, hits) for case in cases]
        if hits is None and not again and not any(case.compare for case in cases):
            return unreadable(cases, reply.error, reply.sent_ns, reply.done_ns)
        results: list[Found] = []
        failed = 0
        for place, case in enumerate(cases):
            found = self._one(case, listed[place], reply)
            results.append(found)
            failed = failed + 1 if found.error else 0
            if failed >= (_FAILURES if hits is not None else 1):
                # Tempo is away: every further trace would only wait for another time-out.
                return results + unreadable(cases[place + 1 :], found.error, found.sent_ns, found.done_ns)
        return results

    def _listed(self, case: SentBatch, hits: tuple[Listed, ...]) -> bool:
        """Whether search lists exactly the spans of a batch."""
        ids = [row.tobytes() for row in self._source.trace_ids(case.batch)]
        sent = [b"".join(sorted(row.tobytes() for row in spans)) for spans in self._source.span_ids(case.batch)]
        return all(any(part.get(one) == spans for part in hits) for one, spans in zip(ids, sent, strict=True))

    def _one(self, case: SentBatch, listed: bool, searched: Reply[tuple[Listed, ...]]) -> Found:
        key = (case.batch.user, case.batch.n)
        if listed and not case.compare and case.outcome is Outcome.ACCEPTED and key not in self._short:
            return Found(case, searched.sent_ns, searched.done_ns, found=case.batch.items)
        hits = searched.value
        ids = [row.tobytes() for row in self._source.trace_ids(case.batch)]
        facts = self._source.spans(case.batch)
        tally = TraceTally()
        done_ns = searched.done_ns
        for trace_id, expected in zip(ids, facts, strict=True):
            if self._stop():
                return Found(case, searched.sent_ns, done_ns, error="the verification was stopped")
            reply = self._reader.trace(trace_id)
            done_ns = reply.done_ns
            if reply.value is None:
                return Found(case, searched.sent_ns, done_ns, error=reply.error)
            compare_spans(expected, reply.value, tally)
            if hits is not None and reply.value and not any(trace_id in part for part in hits):
                tally.unlisted += 1
        if tally.found < case.batch.items:
            self._short.add(key)  # from now on only what is read by id counts
        detail = tally.detail
        if listed and tally.found < case.batch.items:
            detail = shortened(f"search lists all of it; {detail}")
        elif tally.unlisted:
            detail = shortened(f"not found by search: {tally.unlisted} of {len(ids)} traces; {detail}".rstrip("; "))
        elif hits is None:
            detail = shortened(f"search failed: {searched.error}; {detail}".rstrip("; "))
        return Found(
            case=case,
            sent_ns=searched.sent_ns,
            done_ns=done_ns,
            found=tally.found,
            doubled=tally.doubled,
            altered=tally.altered,
            compared=tally.found,
            detail=detail,
            added=tally.added.text,
            shown=listed and tally.found < case.batch.items,
        )


def run_query(run: str, user: int | None = None) -> str:
    """The TraceQL query for the spans of a run, or of one of its emitters."""
    of_user = f' && resource.loadgen.user = "{user:05d}"' if user is not None else ""
    return f"{{ resource.loadgen.run = {quoted(run)}{of_user} }}"


@dataclass(slots=True)
class TraceTally:
    """What was found of the traces of one batch so far."""

    found: int = 0
    doubled: int = 0
    altered: int = 0
    unlisted: int = 0
    detail: str = ""
    added: Added = field(default_factory=Added)

    def note(self, text: str) -> None:
        """Keep the first evidence."""
        self.detail = self.detail or shortened(text)


def compare_spans(expected: Sequence[SpanFacts], came: Sequence[FoundSpan], tally: TraceTally) -> None:
    """Add up what came back of one trace.

    A span is recognised by its id, else by its start and end. A trace that is absent altogether adds nothing.
    """
    by_id: dict[bytes, list[FoundSpan]] = {}
    for span in came:
        by_id.setdefault(span.span_id, []).append(span)
    known = {facts.span_id for facts in expected}
    strange = [span for span in came if span.span_id not in known]
    for facts in expected:
        where = f"span {facts.span_id.hex()} of trace {facts.trace_id.hex()}"
        found = by_id.get(facts.span_id, [])
        if not found:
            twin = next((s for s in strange if (s.start_ns, s.end_ns) == (facts.start_ns, facts.end_ns)), None)
            if twin is None:
                tally.note(f"{where} ({facts.name}) is missing")
                continue
            strange.remove(twin)
            found = [twin]
        tally.found += 1
        tally.doubled += len(found) - 1
        if len(found) > 1:
            tally.note(f"{where} came back {len(found)} times")
        for span in found:
            tally.added.note("attribute", (name for name, _ in facts.attributes), span.attributes)
            tally.added.note("resource attribute", (name for name, _ in facts.resource), span.resource)
        differences = [text for span in found if (text := difference(facts, span))]
        if differences:
            tally.altered += 1
            tally.note(f"{where}: {differences[0]}")


def difference(facts: SpanFacts, span: FoundSpan) -> str:
    """The first thing in which a span differs from what was sent; empty if all of that came back.

    What came back beside it is no difference (`Tally.added`). Answers without a scope say nothing about it.
    """
    pairs: tuple[tuple[str, object, object], ...] = (
        ("span id", span.span_id.hex(), facts.span_id.hex()),
        ("trace id", span.trace_id.hex(), facts.trace_id.hex()),
        ("parent", span.parent_id.hex(), facts.parent_id.hex()),
        ("resource attribute service.name", span.resource.get("service.name"), facts.service),
        ("name", span.name, facts.name),
        ("kind", span.kind, facts.kind),
        ("start", span.start_ns, facts.start_ns),
        ("end", span.end_ns, facts.end_ns),
        ("status", span.status, facts.status),
        ("scope", SCOPE if span.scope is None else span.scope, SCOPE),
    )
    for name, got, want in pairs:
        if got != want:
            return f"{name} is {got!r} instead of {want!r}"
    return difference_of("attribute", facts.attributes, span.attributes) or difference_of(
        "resource attribute", facts.resource, span.resource
    )


def looks(plan: Plan, readers: Readers, batch: Batch, clock: Callable[[], int]) -> Sequence[tuple[str, Look]]:
    """The traces of a batch by their ids, and by search."""
    ids = frozenset(row.tobytes() for row in plan.traces.trace_ids(batch))
    waiting = set(ids)

    def by_id() -> Reply[int]:
        """Traces that were complete once are not asked for again; ``waiting`` are the others."""
        partly = sent_ns = 0
        reply: Reply[int] | None = None
        for trace_id in sorted(waiting):
            came = readers.tempo.trace(trace_id)
            if came.value is None:
                return came.failed()
            spans = len({span.span_id for span in came.value})
            if spans >= SPANS_PER_TRACE:
                waiting.discard(trace_id)
            else:
                partly += spans
            sent_ns = sent_ns or came.sent_ns
            reply = Reply(0, "", came.status, sent_ns, came.done_ns)
        found = (len(ids) - len(waiting)) * SPANS_PER_TRACE + partly
        now_ns = clock()
        return reply.with_value(found) if reply is not None else Reply(found, "", 0, now_ns, now_ns)

    def by_search() -> Reply[int]:
        """A trace that search lists counts as visible, whatever of it search has seen yet."""
        until_ns = batch.due_ns + plan.traces.load.interval_ns + _LONGEST_TRACE_NS
        reply = readers.tempo.search(run_query(plan.key.run, batch.user), batch.due_ns, until_ns)
        return (
            reply.failed() if reply.value is None else reply.with_value(len(ids & reply.value.keys()) * SPANS_PER_TRACE)
        )

    return ((readers.via, by_id), (SEARCH, by_search))
