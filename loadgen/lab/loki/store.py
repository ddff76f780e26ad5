"""The storage of the embedded Loki: write-ahead log, memory, S3, and the way of entries from one to the next.

Everything that changes the streams runs on one thread (the event loop's); slow work (disk, S3, decoding) is given to
other threads. An entry is in exactly one of: the head of its stream, a head that is being flushed, a chunk. It moves
from the second to the third in one step, after S3 has acknowledged chunk and index; only then the log lets go of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadgen.lab.defects import Defects
from loadgen.lab.exposition import Exposition
from loadgen.lab.loki.chunks import (
    INDEX_PREFIX,
    ChunkError,
    Entries,
    IndexedChunk,
    chunk_ref,
    day_of,
    decode_chunk,
    decode_index,
    encode_chunk,
    encode_index,
    is_compacted,
)
from loadgen.lab.loki.labels import Labels
from loadgen.lab.loki.logql_ast import Matcher
from loadgen.lab.loki.streams import HeldStream, PushRefused, StreamHead, StreamPart, admit, parts_of
from loadgen.lab.proof_items import LINE_LABELS, without_proof
from loadgen.lab.s3.store import BucketStore, StoreError
from loadgen.lab.wal import Position, WriteAheadLog

_LOG = logging.getLogger("loadgen.lab.loki")
# So many index files of one writer's kind are merged into one, which keeps a restart after days short.
_MERGE_INDEXES = 64
_CACHE_BYTES = 64 * 2**20
_CHUNK_BYTES = 4 * 2**20
_PARALLEL = 4


@dataclass(frozen=True, slots=True)
class StreamEntries:
    """Entries for one stream."""

    labels: Labels
    entries: Entries


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a push.

    Attributes:
        accepted: what was taken, by stream, for the write-ahead log.
        whole: everything was taken as it came.
        refused: by stream, what was too far behind.
        over_limit: streams that would be one too many, with what was meant for them.
    """

    accepted: list[StreamEntries]
    whole: bool
    refused: list[tuple[HeldStream, int, list[PushRefused]]]
    over_limit: list[StreamEntries]


class ChunkCache:
    """Chunks as they are in S3, the last used ones; thread-safe."""

    def __init__(self, store: BucketStore, limit_bytes: int = _CACHE_BYTES) -> None:
        self._store = store
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._chunks: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        """The object; StoreError if S3 is away or has lost it."""
        with self._lock:
            data = self._chunks.get(key)
            if data is not None:
                self._chunks.move_to_end(key)
                return data
        fetched = self._store.get(key)
        if fetched is None:
            raise StoreError(f"{key}: the index names this chunk, but the bucket does not have it; restore it")
        self.put(key, fetched)
        return fetched

    def put(self, key: str, data: bytes) -> None:
        """Keeps an object, and drops those that were not used for longest."""
        with self._lock:
            self._size_bytes += len(data) - len(self._chunks.pop(key, b""))
            self._chunks[key] = data
            while self._size_bytes > self._limit_bytes and self._chunks:
                _, dropped = self._chunks.popitem(last=False)
                self._size_bytes -= len(dropped)


class LokiStore:
    """All streams of the one tenant."""

    def __init__(
        self,
        tenant: str,
        wal: WriteAheadLog,
        store: BucketStore | None,
        metrics: Exposition,
        window_ns: int,
        max_streams: int = 0,
        clock_ns: Callable[[], int] = time.time_ns,
        defects: Defects | None = None,
    ) -> None:
        self.tenant = tenant
        self._defects = defects
        self._wal = wal
        self._store = store
        self._metrics = metrics
        self._window_ns = window_ns
        self._max_streams = max_streams
        self._clock_ns = clock_ns
        self._streams: dict[Labels, HeldStream] = {}
        self._unflushed: dict[Labels, HeldStream] = {}
        self._cache = ChunkCache(store) if store is not None else None
        self._flushing = asyncio.Lock()
        self._failing = False
        self._indexing = asyncio.Lock()
        self._index_known = store is None
        self._index_keys: dict[int, list[str]] = {}

    # --- arrival

    def ingest(
        self, pushed: Sequence[StreamEntries], record: Callable[[Ingested], bytes] | None, now_ns: int
    ) -> tuple[Ingested, Position | None]:
        """Puts entries into memory and hands what was taken to the write-ahead log.

        ``record`` makes the payload for the log; None means that the entries come from there (a replay). The answer's
        position must be on disk before anybody is told that the entries are stored. Raises OSError if the log refuses;
        then nothing has changed.
        """
        replay = record is None
        accepted: list[StreamEntries] = []
        taken: list[tuple[HeldStream, Entries]] = []
        refused: list[tuple[HeldStream, int, list[PushRefused]]] = []
        over_limit: list[StreamEntries] = []
        whole = True
        for item in pushed:
            stream = self._streams.get(item.labels)
            if stream is None:
                stream = HeldStream(item.labels)
            if not stream.unflushed and self._max_streams and not replay and item.labels != LINE_LABELS:
                fresh = sum(1 for s, _ in taken if not s.unflushed)
                if self.streams_in_memory + fresh >= self._max_streams:
                    over_limit.append(item)
                    whole = False
                    continue
            self._streams.setdefault(item.labels, stream)
            entries, late = admit(stream, item.entries, self._window_ns, replay)
            whole = whole and entries is item.entries
            if late:
                refused.append((stream, len(item.entries), late))
            if len(entries):
                accepted.append(StreamEntries(item.labels, entries))
                taken.append((stream, entries))
        outcome = Ingested(accepted, whole, refused, over_limit)
        position = None
        if record is not None and taken:
            position = self._wal.write(record(outcome))
        for stream, entries in taken:
            self._insert(stream, entries, position.segment if position else 0, now_ns)
        return outcome, position

    def _insert(self, stream: HeldStream, entries: Entries, segment: int, now_ns: int) -> None:
        if stream.head is None:
            stream.head = StreamHead(segment, now_ns)
            self._unflushed[stream.labels] = stream
        stream.head.extend(entries)
        stream.last = (entries.times_ns[-1], entries.lines[-1])
        stream.saw(min(entries.times_ns), max(entries.times_ns))

    # --- queries

    async def select(self, matchers: Sequence[Matcher], from_ns: int, until_ns: int) -> list[StreamPart]:
        """The pieces that hold ``from_ns <= time < until_ns`` of the matching streams, as they are at this moment.

        Raises StoreError or ChunkError if the index in S3 is not known yet and cannot be read.
        """
        await self.know_index()
        parts: list[StreamPart] = []
        for stream in self.matching(matchers):
            if stream.oldest_ns < until_ns and stream.newest_ns >= from_ns:
                parts += parts_of(stream, from_ns, until_ns)
        return parts

    def matching(self, matchers: Sequence[Matcher]) -> list[HeldStream]:
        """The streams that fulfil all conditions, of those known."""
        out = []
        for labels, stream in self._streams.items():
            values = dict(labels)
            if all(m.matches(values.get(m.name, "")) for m in matchers):
                out.append(stream)
        return out

    def load(self, part: StreamPart) -> Entries:
        """The entries of a piece, in order of time; may ask S3 (StoreError, ChunkError), so not for the event loop."""
        if part.head is not None:
            return part.head.entries()
        if part.chunk is None or self._cache is None:
            return Entries([], [], [])
        return decode_chunk(self._cache.get(part.chunk.key), part.chunk.key)

    async def know_index(self) -> None:
        """Reads the index from S3 if that was not done yet: label sets and chunks of everything stored earlier."""
        if self._index_known:
            return
        async with self._indexing:
            if self._index_known or self._store is None:
                return
            files = await asyncio.to_thread(self._read_index, self._store)
            for key, chunks in files:
                day = int(key.split("/")[1].removeprefix("index_"))
                keys = self._index_keys.setdefault(day, [])
                if not is_compacted(key) and key not in keys:
                    keys.append(key)
                self._learn(chunks)
            self._index_known = True

    def _learn(self, chunks: Iterable[IndexedChunk]) -> None:
        known: dict[Labels, set[str]] = {}
        for chunk in chunks:
            stream = self._streams.get(chunk.labels)
            if stream is None:
                stream = self._streams[chunk.labels] = HeldStream(chunk.labels)
            keys = known.get(chunk.labels)
            if keys is None:
                keys = known[chunk.labels] = {c.key for c in stream.chunks}
            if chunk.ref.key not in keys:
                keys.add(chunk.ref.key)
                stream.chunks.append(chunk.ref)
                stream.saw(chunk.ref.from_ns, chunk.ref.through_ns)

    def _read_index(self, store: BucketStore) -> list[tuple[str, list[IndexedChunk]]]:
        out = []
        for info in store.list(INDEX_PREFIX):
            folders = info.key.split("/")
            if folders[2:-1] not in ([], [self.tenant]) or not folders[1].removeprefix("index_").isdecimal():
                continue
            data = store.get(info.key)
            # Merged into another one since it was listed.
            if data is None:
                continue
            chunks = [c for c in decode_index(data, info.key) if c.ref.key.startswith(f"{self.tenant}/")]
            if chunks:
                out.append((info.key, chunks))
        return out

    # --- flush

    async def flush(self, older_than_ns: int) -> bool:
        """Brings what arrived up to ``older_than_ns`` to S3; False if something is still to do (S3 is away).

        Raises OSError if the write-ahead log cannot be rotated.
        """
        if self._store is None:
            return False
        async with self._flushing:
            now_ns = self._clock_ns()
            due = [
                s
                for s in self._unflushed.values()
                if not all(head.held(now_ns) for head in s.flushing)
                or (s.head is not None and s.head.first_arrival_ns <= older_than_ns)
            ]
            if not due:
                return True
            await asyncio.to_thread(self._wal.rotate)
            jobs: list[tuple[HeldStream, StreamHead]] = []
            for stream in due:
                if stream.head is not None and stream.head.first_arrival_ns <= older_than_ns:
                    if self._defects is not None:
                        stream.head.hold = self._defects.hold(f"a chunk of {stream.labels_text}")
                    stream.flushing.append(stream.head)
                    stream.head = None
                jobs += [(stream, head) for head in stream.flushing if not head.held(now_ns)]
            if not jobs:
                return True
            try:
                done = await self._upload(self._store, jobs)
            except (StoreError, OSError) as error:
                # It is tried again every second, which would fill the log with one sentence.
                if not self._failing:
                    _LOG.warning("flush: %s; trying again until it works", error)
                self._failing = True
                self._metrics.add("loki_ingester_chunks_flush_failures_total")
                return False
            if self._failing:
                _LOG.info("flush works again")
            self._failing = False
            for stream, head, chunks in done:
                stream.chunks += [chunk.ref for chunk in chunks]
                stream.flushing.remove(head)
                if not stream.unflushed:
                    self._unflushed.pop(stream.labels, None)
            self._drop_log()
            await self._merge_indexes(self._store)
            return True

    async def _upload(
        self, store: BucketStore, jobs: Sequence[tuple[HeldStream, StreamHead]]
    ) -> list[tuple[HeldStream, StreamHead, list[IndexedChunk]]]:
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(stream: HeldStream, head: StreamHead) -> list[IndexedChunk]:
            async with gate:
                return await asyncio.to_thread(self._put_head, store, stream, head)

        # The first one alone: while S3 is away there is no use in trying hundreds.
        first = await one(*jobs[0])
        rest = await asyncio.gather(*(one(s, h) for s, h in jobs[1:]), return_exceptions=True)
        results: list[list[IndexedChunk]] = [first]
        for result in rest:
            if isinstance(result, BaseException):
                raise result
            results.append(result)
        by_day: dict[int, list[IndexedChunk]] = {}
        for chunks in results:
            for chunk in chunks:
                by_day.setdefault(day_of(chunk.ref), []).append(chunk)
        for day, chunks in by_day.items():
            key, data = encode_index(self.tenant, day, chunks, self._clock_ns(), compacted=False)
            await asyncio.to_thread(store.put, key, data)
            self._index_keys.setdefault(day, []).append(key)
        return [(stream, head, chunks) for (stream, head), chunks in zip(jobs, results, strict=True)]

    def _put_head(self, store: BucketStore, stream: HeldStream, head: StreamHead) -> list[IndexedChunk]:
        out = []
        for entries in _cut(head.entries()):
            data = encode_chunk(stream.labels, entries)
            ref = chunk_ref(self.tenant, stream.fingerprint, entries, data)
            store.put(ref.key, data)
            if self._cache is not None:
                self._cache.put(ref.key, data)
            out.append(IndexedChunk(stream.fingerprint, stream.labels, ref))
            self._metrics.add("loki_ingester_chunks_flushed_total", reason="max_age")
            self._metrics.add("loki_ingester_chunk_stored_bytes_total", len(data), tenant=self.tenant)
            self._metrics.observe("loki_ingester_chunk_age_seconds", (self._clock_ns() - head.first_arrival_ns) / 1e9)
        return out

    def _drop_log(self) -> None:
        heads = [h for s in self._unflushed.values() for h in (*s.flushing, *((s.head,) if s.head else ()))]
        oldest = min((h.first_segment for h in heads), default=self._wal.segment)
        self._wal.drop_through(oldest - 1)

    async def _merge_indexes(self, store: BucketStore) -> None:
        for day, keys in list(self._index_keys.items()):
            if len(keys) < _MERGE_INDEXES:
                continue

            def merge(keys: tuple[str, ...] = tuple(keys), day: int = day) -> None:
                files = ((key, store.get(key)) for key in keys)
                chunks = [c for key, data in files if data is not None for c in decode_index(data, key)]
                if chunks:
                    store.put(*encode_index(self.tenant, day, chunks, self._clock_ns(), compacted=True))
                for key in keys:
                    store.delete(key)

            try:
                await asyncio.to_thread(merge)
            except (StoreError, ChunkError) as error:
                _LOG.warning("merging index files: %s", error)
            else:
                self._index_keys[day] = []

    # --- figures

    @property
    def streams_in_memory(self) -> int:
        """Streams with entries that are not in S3 yet; the lab's own one is not counted."""
        return without_proof(len(self._unflushed), LINE_LABELS in self._unflushed)

    @property
    def chunks_in_memory(self) -> int:
        """Heads, also those on their way."""
        return sum(len(s.flushing) + (s.head is not None) for s in self._unflushed.values())

    @property
    def flush_queue(self) -> int:
        """Heads on their way to S3."""
        return sum(len(s.flushing) for s in self._unflushed.values())


def _cut(entries: Entries) -> list[Entries]:
    """Pieces of a few megabytes, so that a big head does not become an object that no cache can hold."""
    total = sum(map(len, entries.lines))
    if total <= _CHUNK_BYTES:
        return [entries]
    pieces, begin, size = [], 0, 0
    for i, line in enumerate(entries.lines):
        size += len(line)
        if size >= _CHUNK_BYTES or i == len(entries) - 1:
            span = slice(begin, i + 1)
            pieces.append(Entries(entries.times_ns[span], entries.lines[span], entries.metadata[span]))
            begin, size = i + 1, 0
    return pieces
