"""Log streams in memory: what has arrived and is not in S3 yet, and where in S3 the rest is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import le, lt

from loadgen.lab.defects import Hold
from loadgen.lab.loki.chunks import ChunkRef, Entries
from loadgen.lab.loki.labels import Labels, fingerprint, format_labels
from loadgen.lab.loki.level import Metadata

_NEVER = -(1 << 63)


class StreamHead:
    """Entries of one stream that arrived since the last flush; only ever appended to, so readers may take a prefix."""

    __slots__ = (
        "first_arrival_ns", "first_segment", "hold", "in_order", "lines", "metadata", "seen", "size_bytes",
        "times_ns",
    )  # fmt: skip

    def __init__(self, first_segment: int, first_arrival_ns: int) -> None:
        self.times_ns: list[int] = []
        self.lines: list[bytes] = []
        self.metadata: list[Metadata] = []
        self.size_bytes = 0
        self.in_order = True
        self.first_segment = first_segment
        self.first_arrival_ns = first_arrival_ns
        self.hold: Hold | None = None
        self.seen: set[tuple[int, bytes]] | None = None

    def held(self, now_ns: int) -> bool:
        """Whether a defect on order keeps it from S3."""
        return self.hold is not None and not self.hold.over(now_ns)

    def has(self, time_ns: int, line: bytes) -> bool:
        """Whether this very entry is in here; builds an index at the first call."""
        if self.seen is None:
            self.seen = set(zip(self.times_ns, self.lines, strict=True))
        return (time_ns, line) in self.seen

    def extend(self, entries: Entries) -> None:
        """Appends entries, which need not be in order of time."""
        times = entries.times_ns
        if self.in_order:
            behind = bool(self.times_ns) and times[0] < self.times_ns[-1]
            self.in_order = not behind and all(map(le, times, times[1:]))
        self.times_ns += times
        self.lines += entries.lines
        self.metadata += entries.metadata
        self.size_bytes += sum(map(len, entries.lines))
        if self.seen is not None:
            self.seen.update(zip(times, entries.lines, strict=True))

    def entries(self) -> Entries:
        """What is in it now, in order of time; entries of equal time stay in order of arrival."""
        count = len(self.metadata)
        times, lines, metadata = self.times_ns[:count], self.lines[:count], self.metadata[:count]
        if self.in_order:
            return Entries(times, lines, metadata)
        order = sorted(range(count), key=times.__getitem__)
        return Entries([times[i] for i in order], [lines[i] for i in order], [metadata[i] for i in order])


class HeldStream:
    """One stream: label set, head, heads on their way to S3, chunks in S3."""

    __slots__ = ("chunks", "fingerprint", "flushing", "head", "labels", "labels_text", "last", "newest_ns", "oldest_ns")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.labels_text = format_labels(labels)
        self.fingerprint = fingerprint(labels)
        self.head: StreamHead | None = None
        self.flushing: list[StreamHead] = []
        self.chunks: list[ChunkRef] = []
        self.oldest_ns = -_NEVER
        self.newest_ns = _NEVER
        self.last: tuple[int, bytes] = (_NEVER, b"")

    @property
    def unflushed(self) -> bool:
        """Whether it has entries that are not in S3."""
        return self.head is not None or bool(self.flushing)

    def saw(self, first_ns: int, last_ns: int) -> None:
        """Widens the range of time that the stream is known to cover."""
        self.oldest_ns = min(self.oldest_ns, first_ns)
        self.newest_ns = max(self.newest_ns, last_ns)


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A piece of a stream as a query sees it: a chunk in S3, or entries in memory."""

    stream: HeldStream
    from_ns: int
    through_ns: int
    chunk: ChunkRef | None
    head: StreamHead | None


def parts_of(stream: HeldStream, from_ns: int, until_ns: int) -> list[StreamPart]:
    """The pieces of a stream that may hold entries with ``from_ns <= time < until_ns``."""
    parts = [
        StreamPart(stream, c.from_ns, c.through_ns, c, None)
        for c in stream.chunks
        if c.from_ns < until_ns and c.through_ns >= from_ns
    ]
    for head in (*stream.flushing, *((stream.head,) if stream.head else ())):
        if head.times_ns:
            first = head.times_ns[0] if head.in_order else min(head.times_ns)
            last = head.times_ns[-1] if head.in_order else max(head.times_ns)
            if first < until_ns and last >= from_ns:
                parts.append(StreamPart(stream, first, last, None, head))
    return parts


def is_ascending(times: Sequence[int]) -> bool:
    """Whether every time is later than the one before."""
    return all(map(lt, times, times[1:]))


@dataclass(frozen=True, slots=True)
class PushRefused:
    """An entry that a stream does not take, with the reason as Loki words it."""

    time_ns: int
    reason: str


def admit(stream: HeldStream, entries: Entries, window_ns: int, replay: bool) -> tuple[Entries, list[PushRefused]]:
    """What of ``entries`` the stream takes, without putting it there.

    Like Loki's ingester: an entry that is already there (same time and line) is dropped without a word, and one that
    lies further behind the stream's newest than ``window_ns`` is refused (in a replay it is not).
    """
    times = entries.times_ns
    if times[0] > stream.newest_ns and is_ascending(times):
        return entries, []
    newest, last = stream.newest_ns, stream.last
    heads = [*stream.flushing, *((stream.head,) if stream.head else ())]
    keep: list[int] = []
    refused: list[PushRefused] = []
    here: set[tuple[int, bytes]] = set()
    for i, (time_ns, line) in enumerate(zip(times, entries.lines, strict=True)):
        key = (time_ns, line)
        if key == last or key in here or (time_ns <= newest and any(h.has(time_ns, line) for h in heads)):
            continue
        if not replay and newest != _NEVER and time_ns < newest - window_ns:
            refused.append(
                PushRefused(
                    time_ns,
                    f"entry too far behind, entry timestamp is: {rfc3339(time_ns)}, "
                    f"oldest acceptable timestamp is: {rfc3339(newest - window_ns)}",
                )
            )
            continue
        keep.append(i)
        here.add(key)
        last = key
        newest = max(newest, time_ns)
    if len(keep) == len(times):
        return entries, refused
    taken = Entries([times[i] for i in keep], [entries.lines[i] for i in keep], [entries.metadata[i] for i in keep])
    return taken, refused


def rfc3339(time_ns: int) -> str:
    """``2026-11-23T06:07:04Z``."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"


def go_time(time_ns: int) -> str:
    """``2026-11-23 04:07:04.092086484 +0000 UTC``, as Go prints a time."""
    fraction = f".{time_ns % 1_000_000_000:09d}".rstrip("0").rstrip(".")
    return rfc3339(time_ns).replace("T", " ").replace("Z", f"{fraction} +0000 UTC")
