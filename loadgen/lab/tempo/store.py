"""The embedded Tempo's storage: write-ahead log, traces in memory, blocks in S3, and never a gap between them.

An export is written to the log and put into memory in one step, and acknowledged when the disk has it. Traces that got
nothing for a while are cut into a block; they stay in memory and in the log until S3 has acknowledged ``meta.json``. A
crash in between stores them twice, which reading hides (see `tempo_trace`).
"""

from __future__ import annotations

import gzip
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loadgen.lab.defects import DefectKind, Hold
from loadgen.lab.exposition import Exposition
from loadgen.lab.proof_items import TRACE_ID, without_proof
from loadgen.lab.s3.store import BucketStore, StoreError
from loadgen.lab.settings import ServerSettings
from loadgen.lab.tempo.blocks import NS, Block, BlockCache, Built, Meta, TempoBlockError, build
from loadgen.lab.tempo.ingest import (
    UNAVAILABLE,
    Export,
    IngestError,
    RateLimit,
    damage,
    decode,
    encode,
    export_of_frame,
    over_limits,
    split,
    trace_defects,
    without,
)
from loadgen.lab.tempo.live import LiveTrace, SpanSource, combined, view_of
from loadgen.lab.tempo.metrics import declare
from loadgen.lab.tempo.trace import Piece, Scopes, TraceView
from loadgen.lab.wal import Position, WriteAheadLog

TENANT = "single-tenant"
MAX_BLOCK_TRACES = 10_000
# Tempo keeps completed blocks beside its live traces for this long; a search without a range sees both.
RECENT_S = 15 * 60
INDEX_EVERY_S = 10.0
WAIT_FOR_LIST_S = 5.0

_LOG = logging.getLogger("loadgen.lab.tempo")


class TraceStore:
    """Everything that is stored. All methods may be called from any thread."""

    def __init__(
        self,
        settings: ServerSettings,
        store: BucketStore | None,
        metrics: Exposition,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Opens the log and replays it; raises OSError if the directory cannot be used."""
        self.tenant = settings.tenant or TENANT
        self.defects = trace_defects(clock_ns)
        self.scopes = Scopes()
        self.cache = BlockCache(self.scopes)
        self._settings = settings
        self._limits = settings.limits
        self._rate = RateLimit(settings.limits, tenant=self.tenant)
        self._store = store
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._live: dict[bytes, LiveTrace] = {}
        self._flushing: dict[bytes, LiveTrace] = {}
        self._held: list[tuple[Hold, dict[bytes, LiveTrace]]] = []
        self._cut: Built | None = None
        self._blocks: dict[str, Block] = {}
        self._born_ns: dict[str, int] = {}
        self._listed = threading.Event()
        self._indexed_at_s = 0.0
        self._index_stale = False
        self._wal = WriteAheadLog(f"{settings.data_dir}/wal")
        declare(metrics, self.tenant, lambda: self.live_traces, lambda: self.block_count, lambda: self._wal.size_bytes)
        self._replay()
        if store is None:
            self._listed.set()

    @property
    def live_traces(self) -> int:
        """Traces that are not in S3 yet; the lab's own one is not counted."""
        return sum(without_proof(len(held), TRACE_ID in held) for held in self._in_memory())

    def _in_memory(self) -> list[dict[bytes, LiveTrace]]:
        """Where traces are that are not in S3, in the order of their arrival."""
        return [*(held for _, held in self._held), self._flushing, self._live]

    @property
    def block_count(self) -> int:
        """Blocks known."""
        return len(self._blocks)

    def ingest(self, data: bytes) -> None:
        """Stores an ExportTraceServiceRequest; it is on disk when this returns. Raises `IngestError`."""
        request = decode(data)
        pieces, spans = self._split(request)
        if not spans:
            return
        self._limit(data, spans)
        received_spans, received_bytes = spans, len(data)
        dropped = self._dropped(pieces)
        if dropped:
            request = without(request, dropped)
            data = encode(request)
            pieces, spans = split(request, self.scopes)
        now_ns = self._clock_ns()
        exports = [Export(now_ns, 0, data, pieces, spans)]
        if self.defects.armed:
            with self._lock:
                exports = []
                for part in damage(request, self.defects, now_ns):
                    part_pieces, part_spans = split(part.request, self.scopes)
                    payload = encode(part.request)
                    exports.append(Export(now_ns, part.visible_ns, payload, part_pieces, part_spans, part.logged))
        position: Position | None = None
        try:
            with self._lock:
                for export in exports:
                    if not export.spans:
                        continue
                    if export.logged:
                        position = self._wal.write(export.frame())
                    self._apply(export, position.segment if position is not None else self._wal.segment)
                self._metrics.add("tempo_distributor_spans_received_total", received_spans, tenant=self.tenant)
                self._metrics.add("tempo_distributor_bytes_received_total", received_bytes, tenant=self.tenant)
            if position is not None:
                self._wal.sync(position)
            if self.defects.claim("a push", DefectKind.BREAK) is not None:
                raise IngestError(UNAVAILABLE, "context deadline exceeded")
        except OSError as error:
            _LOG.error("the write-ahead log cannot be written: %s", error)
            raise IngestError(UNAVAILABLE, f"write-ahead log: {error.strerror}; free some disk space") from error

    def trace(self, trace_id: bytes, start_ns: int = 0, end_ns: int = 0, blocks_only: bool = False) -> TraceView | None:
        """The combined trace, None if there is none. Raises `StoreError` if S3 is needed and away."""
        live = () if blocks_only else self._live_sources(trace_id)
        sources = [*live, *self._block_sources(trace_id, start_ns, end_ns)]
        return combined(trace_id, sources)

    def live(self, arrived_before_ns: int) -> dict[bytes, list[SpanSource]]:
        """What memory holds, of traces whose last piece arrived at or before the time."""
        now_ns = self._clock_ns()
        found: dict[bytes, list[SpanSource]] = {}
        with self._lock:
            for group in self._in_memory():
                for trace_id, trace in group.items():
                    trace.uncover(now_ns)
                    if trace.pieces and trace.arrived_ns <= arrived_before_ns:
                        found.setdefault(trace_id, []).append(SpanSource(tuple(trace.pieces), trace.cached, trace))
        return found

    def blocks(self, start_ns: int, end_ns: int, born_before_ns: int) -> list[Block]:
        """Blocks that overlap the range, newest data first; without a range (0, 0) those of the last minutes."""
        self._wait_for_list()
        with self._lock:
            known = list(self._blocks.values())
            born = dict(self._born_ns)
        known = [block for block in known if born.get(block.meta.block_id, 0) <= born_before_ns]
        if start_ns or end_ns:
            chosen = [block for block in known if block.meta.overlaps(start_ns, end_ns)]
        else:
            since_ns = self._clock_ns() - RECENT_S * NS
            chosen = [b for b in known if max(b.meta.end_s * NS, born.get(b.meta.block_id, 0)) >= since_ns]
        return sorted(chosen, key=lambda block: block.meta.end_s, reverse=True)

    def flush(self, force: bool = False) -> bool:
        """Cuts due traces into a block and writes it; False if S3 could not take it. Call from one thread only."""
        if self._store is None:
            return True
        through_ns = self._clock_ns() if force else 0
        while True:
            if self._cut is None and not self._next_cut(through_ns):
                return True
            if not self._write_cut(self._store):
                return False

    def load_block_list(self) -> bool:
        """Learns which blocks S3 has; False if it could not be asked. Call from one thread only."""
        if self._store is None or self._listed.is_set():
            return True
        try:
            metas = {meta.block_id: meta for meta in self._read_metas(self._store)}
        except StoreError as error:
            _LOG.warning("cannot list blocks yet: %s", error)
            return False
        with self._lock:
            for block_id, meta in metas.items():
                self._blocks.setdefault(block_id, Block(meta, self._store))
        self._listed.set()
        return True

    def warm(self, keep_on: Callable[[], bool]) -> None:
        """Fetches the indexes of known blocks, newest first, so that the first lookups need not."""
        for block in self.blocks(1, 1 << 63, 1 << 63):
            if not keep_on():
                return
            try:
                block.index()
            except StoreError:
                return

    def write_block_list(self, now_s: float, force: bool = False) -> None:
        """Writes ``index.json.gz`` when it is stale, at most every few seconds."""
        if self._store is None or not self._index_stale or not self._listed.is_set():
            return
        if not force and now_s - self._indexed_at_s < INDEX_EVERY_S:
            return
        with self._lock:
            metas = [block.meta.to_json() for block in self._blocks.values() if not block.foreign]
            self._index_stale = False
        body = {"created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "meta": metas, "compacted": []}
        try:
            self._store.put(f"{self.tenant}/index.json.gz", gzip.compress(json.dumps(body).encode(), 1))
            self._indexed_at_s = now_s
        except StoreError as error:
            self._index_stale = True
            _LOG.warning("cannot write the block list: %s", error)

    def close(self) -> None:
        """Closes the log. What is not in S3 comes back at the next start."""
        self._wal.close()

    def _split(self, request: ExportTraceServiceRequest) -> tuple[dict[bytes, Piece], int]:
        try:
            return split(request, self.scopes)
        except IngestError as error:
            self._discard(error)
            raise

    def _dropped(self, pieces: Mapping[bytes, Piece]) -> Collection[bytes]:
        """The traces that the limits on memory do not let in; their spans are counted as discarded."""
        if not self._limits.max_live_traces and not self._limits.max_trace_bytes:
            return ()
        with self._lock:
            dropped = over_limits(self._limits, pieces, self._live)
            for trace_id, reason in dropped.items():
                spans = len(pieces[trace_id])
                self._metrics.add("tempo_discarded_spans_total", spans, reason=reason, tenant=self.tenant)
        return dropped.keys()

    def _limit(self, data: bytes, spans: int) -> None:
        try:
            if self.defects.claim("a push", DefectKind.REFUSE) is not None:
                raise self._rate.refusal(len(data), spans)
            self._rate.take(len(data), spans)
        except IngestError as error:
            self._discard(error)
            raise

    def _discard(self, error: IngestError) -> None:
        if error.spans:
            with self._lock:
                reason = error.reason or "unknown"
                self._metrics.add("tempo_discarded_spans_total", error.spans, reason=reason, tenant=self.tenant)

    def _apply(self, export: Export, segment: int) -> None:
        """Puts an export into memory; the caller holds the lock."""
        created = 0
        for trace_id, piece in export.pieces.items():
            trace = self._live.get(trace_id)
            if trace is None:
                trace = self._live[trace_id] = LiveTrace(trace_id, segment, export.received_ns)
                created += 1
            trace.add(piece, export.received_ns, export.visible_ns)
        if created:
            self._metrics.add("tempo_live_store_traces_created_total", created, tenant=self.tenant)
            self._metrics.add("tempo_ingester_traces_created_total", created, tenant=self.tenant)

    def _replay(self) -> None:
        count = 0
        for frame in self._wal.replay():
            try:
                # Segment 0: no segment may go before all that was replayed is in S3.
                self._apply(export_of_frame(frame, self.scopes), 0)
                count += 1
            except IngestError as error:
                _LOG.warning("a record of the write-ahead log is skipped: %s", error)
        if count:
            _LOG.info("replayed %d exports, %d traces", count, len(self._live))

    def _live_sources(self, trace_id: bytes) -> list[SpanSource]:
        now_ns = self._clock_ns()
        found = []
        with self._lock:
            for group in self._in_memory():
                trace = group.get(trace_id)
                if trace is not None:
                    trace.uncover(now_ns)
                    if trace.pieces:
                        found.append(SpanSource(tuple(trace.pieces), trace.cached, trace))
        return found

    def _block_sources(self, trace_id: bytes, start_ns: int, end_ns: int) -> Iterator[SpanSource]:
        self._wait_for_list()
        with self._lock:
            blocks = list(self._blocks.values())
        for block in reversed(blocks):
            if end_ns and not block.meta.overlaps(start_ns, end_ns):
                continue
            row = block.index().row(trace_id)
            if row is not None:
                view = self.cache.get(block).view(row)
                yield SpanSource((view.piece(),), view)

    def _wait_for_list(self) -> None:
        if not self._listed.wait(WAIT_FOR_LIST_S):
            raise StoreError("the list of blocks cannot be read from S3 yet; check that S3 runs, and try again")

    def _next_cut(self, through_ns: int) -> bool:
        """Moves traces that are due to `_flushing` and builds their block; False if none is due.

        Everything that arrived at or before ``through_ns`` counts as due.
        """
        now_ns = self._clock_ns()
        due_ns = max(through_ns, now_ns - int(self._settings.flush_age_s * NS))
        # Whatever is idle for half the age goes along, or a steady load would make a block at every look.
        early_ns = max(through_ns, now_ns - int(self._settings.flush_age_s * NS / 2))
        with self._lock:
            self._take_back(now_ns)
            for trace in self._live.values():
                trace.uncover(now_ns)
            ready = [trace for trace in self._live.values() if not trace.hidden and trace.pieces]
            if not any(trace.arrived_ns <= due_ns for trace in ready):
                return False
            chosen = [trace for trace in ready if trace.arrived_ns <= early_ns][:MAX_BLOCK_TRACES]
            hold = self.defects.hold(f"a block of {len(chosen)} traces")
            goes = self._flushing
            if hold is not None:
                goes = {}
                self._held.append((hold, goes))
            for trace in chosen:
                del self._live[trace.trace_id]
                goes[trace.trace_id] = trace
        if hold is not None:
            return self._next_cut(through_ns)
        self._wal.rotate()
        self._cut = build([view_of(trace) for trace in chosen], self.tenant)
        return True

    def _take_back(self, now_ns: int) -> None:
        """Lets go of what was withheld from S3 for long enough; the caller holds the lock."""
        over = [hold.over(now_ns) for hold, _ in self._held]
        for (_, traces), free in zip(self._held, over, strict=True):
            for trace_id, trace in traces.items() if free else ():
                later = self._live.get(trace_id)
                if later is not None:
                    trace.join(later)
                self._live[trace_id] = trace
        self._held = [held for held, free in zip(self._held, over, strict=True) if not free]

    def _write_cut(self, store: BucketStore) -> bool:
        built = self._cut
        if built is None:
            return True
        try:
            for key, data in built.objects:
                store.put(key, data)
        except StoreError as error:
            self._metrics.add("tempo_ingester_failed_flushes_total", tenant=self.tenant)
            self._metrics.add("tempo_live_store_local_failed_flushes_total", tenant=self.tenant)
            _LOG.warning("block %s stays in memory: %s", built.meta.block_id, error)
            return False
        self.cache.put(built)
        size_bytes = sum(len(data) for _, data in built.objects)
        with self._lock:
            self._blocks[built.meta.block_id] = Block(built.meta, store, built.index)
            self._born_ns[built.meta.block_id] = self._clock_ns()
            self._flushing = {}
            self._cut = None
            self._index_stale = True
            waiting = (trace.segment for group in self._in_memory() for trace in group.values())
            kept = min(waiting, default=self._wal.segment)
            self._metrics.add("tempo_ingester_blocks_flushed_total", tenant=self.tenant)
            self._metrics.add("tempo_live_store_blocks_completed_total", tenant=self.tenant)
            self._metrics.add("tempo_live_store_local_blocks_flushed_total", tenant=self.tenant)
            self._metrics.observe("tempo_live_store_local_flush_size_bytes", size_bytes)
        self._wal.drop_through(kept - 1)
        return True

    def _read_metas(self, store: BucketStore) -> Iterable[Meta]:
        known: dict[str, Meta] = {}
        packed = store.get(f"{self.tenant}/index.json.gz")
        if packed is not None:
            try:
                for item in json.loads(gzip.decompress(packed))["meta"]:
                    meta = Meta.from_json(item)
                    known[meta.block_id] = meta
            except (OSError, EOFError, ValueError, KeyError, TypeError, TempoBlockError) as error:
                _LOG.warning("index.json.gz is of no use (%s); reading every meta.json", type(error).__name__)
        for info in store.list(f"{self.tenant}/"):
            parts = info.key.split("/")
            if len(parts) != 3 or parts[2] != "meta.json":
                continue
            meta_known = known.get(parts[1])
            if meta_known is not None:
                yield meta_known
                continue
            data = store.get(info.key)
            try:
                if data is not None:
                    yield Meta.from_json(json.loads(data))
            except (ValueError, TempoBlockError) as error:
                _LOG.warning("%s is skipped: %s", info.key, error)
