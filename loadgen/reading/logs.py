"""Reading logs back: lines counted per stream, and compared with the lines that were sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from loadgen.kinds.logs.lines import SEQ_PATTERN
from loadgen.kinds.logs.source import LogSource
from loadgen.model import NS, Batch, Outcome, Signal
from loadgen.plan import Plan
from loadgen.reading.cases import (
    Found,
    Ledger,
    Looking,
    SentBatch,
    by_user,
    grouped,
    readings,
    settled_by_count,
    shortened,
    unreadable,
)
from loadgen.reading.edges import free_range, rhythm_of
from loadgen.reading.looks import Look
from loadgen.reading.names import Added, difference_of
from loadgen.targets.loki import LogEntry, LogStream, LokiReader
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Labels, Reply, quoted, selector

POD = "pod"
"""The label that tells the streams of a run apart."""

_READ_LINES = 10_000
_COUNT_LINES = 200_000
# More pods than this make a selector too long for some proxies, and more series than Loki returns by default (500).
_MAX_PODS = 200


class LogAuditor:
    """Reads the logs of a run back."""

    signal = Signal.LOGS

    def __init__(self, ledger: Ledger, reader: LokiReader) -> None:
        self._ledger = ledger
        self._reader = reader
        self._source: LogSource = ledger.plan.logs
        self._run = ledger.plan.key.run

    @classmethod
    def of(cls, ledger: Ledger, readers: Readers, looking: Looking) -> LogAuditor:  # noqa: ARG003 - it never waits
        """The auditor of what a ledger names."""
        return cls(ledger, readers.loki)

    def windows(self) -> Iterator[tuple[SentBatch, ...]]:
        """All cases, in windows of time."""
        if self._ledger.whole:
            return grouped(self._ledger.cases(), _READ_LINES)
        return self._ledger.by_users(_MAX_PODS, _COUNT_LINES)

    def regroup(self, cases: Sequence[SentBatch]) -> Iterator[tuple[SentBatch, ...]]:
        """Cases that are looked for again, in windows of time."""
        return grouped(sorted(cases, key=lambda case: case.batch.due_ns), _READ_LINES, _MAX_PODS)

    def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
        """Count what need not be compared, and read the rest."""
        counted: list[Found] = []
        wanted = list(cases)
        if not again and not all(case.compare for case in cases):
            counted, wanted = self._count(cases)
        read = (self._read(users) for users in readings(self._ledger, wanted)) if wanted else ()
        return counted + [found for part in read for found in part]

    # -- counting --------------------------------------------------------------------------------------------------

    def _count(self, cases: Sequence[SentBatch]) -> tuple[list[Found], list[SentBatch]]:
        """What the counts settle, and the cases that must be read: sampled, uncertain, or of a stream that differs.

        Beside the number of lines, the sum of their sequence numbers has to be right: one line that came twice makes
        up for a lost one in the count, but not in the sum.
        """
        users = by_user(cases)
        firsts = {user: self._source.pace(user).due(0) for user in users}
        offsets = self._source.line_times(self._source.batch(0, 0)) - self._source.batch(0, 0).due_ns
        rhythm = rhythm_of(list(firsts.values()), self._source.load.interval_ns, offsets)
        start_ns, end_ns = cases[0].batch.due_ns, max(case.batch.due_ns for case in cases) + int(offsets[-1])
        span = free_range(rhythm, start_ns, end_ns, NS)
        if span is None:
            return [], list(cases)
        selected = self._selector(list(users))
        reply = self._reader.counts(selected, POD, *span)
        if reply.value is None:
            return unreadable(cases, reply.error, reply.sent_ns, reply.done_ns), []
        sums = self._reader.sums(selected, SEQ_PATTERN, POD, *span)
        if sums.value is None:
            return unreadable(cases, sums.error, sums.sent_ns, sums.done_ns), []
        settled: list[Found] = []
        wanted: list[SentBatch] = []
        for user, mine in users.items():
            pod, accepted = _pod(self._source, user), self._ledger.sent(user, Outcome.ACCEPTED)
            # Items of pushes with an unknown outcome can make up for lost ones.
            right = (
                not rhythm.counted(firsts[user], self._ledger.sent(user, Outcome.UNKNOWN), *span)
                and reply.value.get(pod, 0) == rhythm.counted(firsts[user], accepted, *span)
                and sums.value.get(pod, 0) == rhythm.numbers(firsts[user], accepted, *span)
            )
            for case in mine:
                found = settled_by_count(case, reply.sent_ns, sums.done_ns) if right else None
                if found is None:
                    wanted.append(case)
                else:
                    settled.append(found)
        return settled, wanted

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, users: dict[int, list[SentBatch]]) -> list[Found]:
        cases = [case for mine in users.values() for case in mine]
        gap_ns = self._source.load.gap_ns
        start_ns = min(case.batch.due_ns for case in cases) - gap_ns
        end_ns = max(case.batch.due_ns for case in cases) + self._source.load.interval_ns + gap_ns
        reply = self._reader.streams(self._selector(list(users)), start_ns, end_ns, (POD,))
        if reply.value is None:
            return unreadable(cases, reply.error, reply.sent_ns, reply.done_ns)
        streams = {dict(stream.labels).get(POD): stream for stream in reply.value}
        found: list[Found] = []
        for user, mine in users.items():
            stream = streams.get(_pod(self._source, user)) or LogStream((), (), ())
            found += compare_lines(self._source, self._run, mine, stream, reply.sent_ns, reply.done_ns)
        return found

    def _selector(self, users: Sequence[int]) -> str:
        if len(users) == 1:
            return selector(run=self._run, pod=_pod(self._source, users[0]))
        if len(users) > _MAX_PODS:
            return selector(run=self._run)
        pods = "|".join(sorted(re.escape(_pod(self._source, user)).replace("\\-", "-") for user in users))
        return f"{{run={quoted(self._run)}, pod=~{quoted(pods)}}}"


def _pod(source: LogSource, user: int) -> str:
    return dict(source.labels(user))[POD]


@dataclass(slots=True)
class _LineTally:
    """What was found of one batch so far."""

    case: SentBatch
    first_seq: int
    lines: list[str]
    times: list[int]
    exact: dict[int, int] = field(default_factory=dict)
    """How often each line came back unaltered, by its place."""
    right: set[int] = field(default_factory=set)
    """Lines that came back at their time."""
    astray: dict[int, int] = field(default_factory=dict)
    """A wrong time at which a line came back, by its place."""
    altered: set[int] = field(default_factory=set)
    reordered: set[int] = field(default_factory=set)
    detail: str = ""
    added: Added = field(default_factory=Added)

    def note(self, text: str) -> None:
        self.detail = self.detail or shortened(text)


def compare_lines(
    source: LogSource, run: str, cases: Sequence[SentBatch], stream: LogStream, sent_ns: int, done_ns: int
) -> list[Found]:
    """Tell for each batch of one stream which of its lines came back, once, unaltered and in order.

    A line is recognised by its text, else by its time, else by the sequence number in it. Lines that belong to other
    batches, or to nothing that loadgen sent, are left alone.
    """
    tallies: dict[int, _LineTally] = {}
    by_line: dict[str, tuple[_LineTally, int]] = {}
    by_time: dict[int, tuple[_LineTally, int]] = {}
    for case in cases:
        lines, times = source.lines(case.batch), [int(at) for at in source.line_times(case.batch)]
        tally = _LineTally(case, case.batch.n * len(lines), lines, times)
        tallies[case.batch.n] = tally
        for place, (line, at_ns) in enumerate(zip(lines, times, strict=True)):
            by_line[line] = by_time[at_ns] = (tally, place)
    newest_seq = -1
    labels = _Labels(source.labels(cases[0].batch.user))
    for entry in stream.entries:
        known = by_line.get(entry.line)
        if known is None:
            _strange(source, run, cases[0].batch.user, tallies, by_time.get(entry.at_ns), entry)
            continue
        tally, place = known
        seq = tally.first_seq + place
        again = tally.exact.get(place, 0)
        tally.exact[place] = again + 1
        if again:
            tally.note(f"line {seq} came back {again + 1} times: {entry.line}")
        labels.compare(entry, tally, place)
        if entry.at_ns == tally.times[place]:
            tally.right.add(place)
        else:
            tally.astray.setdefault(place, entry.at_ns)
        if seq < newest_seq and not again:
            tally.reordered.add(place)
            tally.note(f"line {seq} came back after line {newest_seq}: {entry.line}")
        newest_seq = max(newest_seq, seq)
    for entry in stream.disordered:
        known = by_line.get(entry.line)
        if known is not None:
            known[0].reordered.add(known[1])
            known[0].note(f"line {known[0].first_seq + known[1]} came back after a later one: {entry.line}")
    return [_settled(source, tally, sent_ns, done_ns) for tally in tallies.values()]


class _Labels:
    """Compares the labels that lines came back with to those that their stream was pushed with."""

    def __init__(self, sent: Labels) -> None:
        self._sent, self._names = sent, [name for name, _ in sent]
        # Lines of a stream share their labels, up to structured metadata.
        self._differences: dict[Labels, str] = {}

    def compare(self, entry: LogEntry, tally: _LineTally, place: int) -> None:
        """Note for a line what its labels say. Where an answer tells none there is nothing to compare."""
        if not entry.labels:
            return
        difference = self._differences.get(entry.labels)
        if difference is None:
            difference = self._differences[entry.labels] = difference_of("label", self._sent, dict(entry.labels))
        tally.added.note("label", self._names, dict(entry.labels))
        if difference:
            tally.altered.add(place)
            tally.note(f"line {tally.first_seq + place}: {difference}")


def _strange(
    source: LogSource,
    run: str,
    user: int,
    tallies: dict[int, _LineTally],
    at_time: tuple[_LineTally, int] | None,
    entry: LogEntry,
) -> None:
    """A line that is none of those expected: an altered one, a neighbour's, or a foreign one."""
    ref = source.find(entry.line)
    mine = ref is not None and ref.run == run and ref.user == user
    if mine and ref is not None:
        n, place = source.locate(ref.seq)
        if n in tallies:
            at_time = at_time or (tallies[n], place)
        elif at_time is not None and _line_of(source, user, ref.seq) == entry.line:
            tally, place = at_time
            tally.reordered.add(place)
            tally.note(f"line {ref.seq} came back at the time of line {tally.first_seq + place}: {entry.line}")
            return
    if at_time is None:
        return
    tally, place = at_time
    tally.altered.add(place)
    tally.note(f"line {tally.first_seq + place} is {entry.line!r} instead of {tally.lines[place]!r}")


def _line_of(source: LogSource, user: int, seq: int) -> str:
    """The line with a sequence number; empty if there cannot be one."""
    n, place = source.locate(seq)
    try:
        return source.lines(source.batch(user, n))[place]
    except (ValueError, OverflowError):
        return ""


def _settled(source: LogSource, tally: _LineTally, sent_ns: int, done_ns: int) -> Found:
    for place, at_ns in tally.astray.items():
        if place in tally.right:
            continue
        if _is_line_time(source, tally.case.batch, at_ns):
            tally.reordered.add(place)
            tally.note(f"line {tally.first_seq + place} came back in the place of another: {tally.lines[place]}")
        else:
            tally.altered.add(place)
            tally.note(f"line {tally.first_seq + place} has the time {at_ns} instead of {tally.times[place]}")
    lacking = next((i for i in range(len(tally.lines)) if i not in tally.exact and i not in tally.altered), None)
    if lacking is not None and tally.case.outcome is Outcome.ACCEPTED:
        tally.note(f"line {tally.first_seq + lacking} is missing: {tally.lines[lacking]}")
    return Found(
        case=tally.case,
        sent_ns=sent_ns,
        done_ns=done_ns,
        found=len(tally.exact.keys() | tally.altered),
        doubled=sum(count - 1 for count in tally.exact.values()),
        altered=len(tally.altered),
        reordered=len(tally.reordered),
        compared=len(tally.exact.keys() | tally.altered),
        detail=tally.detail,
        added=tally.added.text,
    )


def _is_line_time(source: LogSource, batch: Batch, at_ns: int) -> bool:
    """Whether some line of the batch's stream has this time."""
    n = source.pace(batch.user).last_at(at_ns)
    return n >= 0 and at_ns in source.line_times(source.batch(batch.user, n))


def count_of_present(source: LogSource, batch: Batch, stream: LogStream) -> int:
    """How many of a batch's lines are among the entries: for telling whether it is visible, without judging it."""
    lines = set(source.lines(batch))
    times = {int(at) for at in source.line_times(batch)}
    present = {entry.at_ns for entry in stream.entries if entry.at_ns in times}
    return max(len(present), len({entry.line for entry in stream.entries if entry.line in lines}))


def looks(plan: Plan, readers: Readers, batch: Batch, clock: Callable[[], int]) -> Sequence[tuple[str, Look]]:  # noqa: ARG001
    """The lines of a batch's stream and time."""
    labels, times = dict(plan.logs.labels(batch.user)), plan.logs.line_times(batch)
    chosen = selector(run=labels["run"], pod=labels[POD])

    def look() -> Reply[int]:
        reply = readers.loki.streams(chosen, int(times[0]), int(times[-1]) + 1, (POD,))
        if reply.value is None:
            return reply.failed()
        return reply.with_value(sum(count_of_present(plan.logs, batch, stream) for stream in reply.value))

    return ((readers.via, look),)
