"""The storage of the embedded Mimir: a head in memory behind a write-ahead log, and blocks in S3.

A push is written to the log and to the head in one step and acknowledged when the log is on disk. A flush takes the
head away, uploads it as blocks, and only then lets memory and log go, so a read finds every acknowledged sample at any
moment.

Files in the data directory: ``wal`` (samples by series number), ``series`` (label bytes in the order of the numbers,
never shortened), ``state`` (first and last sample of each series at the last flush: what refuses old samples after a
restart).
"""

from __future__ import annotations

import logging
import os
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.defects import Defects, Hold
from loadgen.lab.mimir.blocks import BlockData, PreparedBlock, StoredBlock, prepare, split_by_range
from loadgen.lab.mimir.bucket import BlockBucket
from loadgen.lab.mimir.head import (
    GrowingColumns,
    Hidden,
    SampleColumns,
    decode_samples,
    decode_spellings,
    encode_samples,
    encode_spellings,
    joined,
)
from loadgen.lab.mimir.promql_values import LabelMatcher, Labels, Samples
from loadgen.lab.mimir.series import SeriesRegistry, spelling_of
from loadgen.lab.proof_items import SERIES_LABELS, without_proof
from loadgen.lab.s3.store import BucketStore
from loadgen.lab.wal import Position, WriteAheadLog

_LOG = logging.getLogger("loadgen.lab.mimir")
_STATE_MAGIC = b"LGSTATE1"
_PROOF = spelling_of(SERIES_LABELS)


@dataclass(frozen=True, slots=True)
class Written:
    """Where a push ends in the two logs."""

    samples: Position | None
    series: Position | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A head that was taken away for a flush.

    Attributes:
        samples: its content, still read from by queries.
        segment: the log may be dropped up to this segment once the blocks are in S3.
        state: first and last samples of the series at that moment.
        blocks: what is uploaded, made once; empty until then.
    """

    samples: SampleColumns
    segment: int
    state: bytes
    blocks: tuple[PreparedBlock, ...]


class SampleStore:
    """All samples of one tenant. Reading is thread-safe; writing must come from one thread at a time (`writing`).

    Attributes:
        registry: the known series; hold `lock` to use it.
        writing: held by whoever decides about and writes a push.
        lock: protects the registry and the head; held for short.
    """

    def __init__(
        self,
        data_dir: Path,
        tenant: str,
        bucket: BucketStore | None,
        clock_ns: Callable[[], int] = time.time_ns,
        defects: Defects | None = None,
    ) -> None:
        """Opens the directory and brings back what its logs hold.

        Raises:
            OSError: the directory cannot be used.
        """
        self._clock_ns = clock_ns
        self._state_path = data_dir / "state"
        self.registry = SeriesRegistry()
        self.writing = threading.Lock()
        self.lock = threading.RLock()
        self._flushing = threading.Lock()
        self._active = GrowingColumns()
        self._taken: _Taken | None = None
        self._defects = defects
        self._held: list[tuple[Hold, SampleColumns]] = []
        self._hidden: list[Hidden] = []
        self._oldest_ns: int | None = None
        self._series_log = WriteAheadLog(data_dir / "series")
        self._wal = WriteAheadLog(data_dir / "wal")
        self._series_written: Position | None = None
        self._new_spellings: list[bytes] = []
        self.replayed_samples = self._replay()
        self.bucket = None if bucket is None else BlockBucket(bucket, tenant, self._register_block)
        # Without the series log, labels are only known from the blocks themselves.
        self._labels_from_blocks = self.registry.count == 0

    @property
    def head_samples(self) -> int:
        """Samples in memory that are not in S3 yet."""
        taken = self._taken
        held = sum(len(samples) for _, samples in self._held)
        return len(self._active) + held + (0 if taken is None else len(taken.samples))

    @property
    def series_count(self) -> int:
        """Known series; the lab's own one is not counted."""
        return without_proof(self.registry.count, self.registry.find_spelling(_PROOF) is not None)

    @property
    def wal_bytes(self) -> int:
        """Size of the logs."""
        return self._wal.size_bytes + self._series_log.size_bytes

    def age_s(self) -> float | None:
        """How long the oldest sample waits for a flush; None if there is none."""
        if self._taken is not None or any(hold.over(self._clock_ns()) for hold, _ in self._held):
            return float("inf")
        oldest = self._oldest_ns
        return None if oldest is None else (self._clock_ns() - oldest) / 1e9

    def add_series(self, spelling: bytes, labels: Labels | None = None) -> int:
        """The number of a series. Needs `lock`, and `log_series` before the lock is given back."""
        sid = self.registry.find_spelling(spelling)
        if sid is None:
            sid = self.registry.add(spelling, labels)
            self._new_spellings.append(spelling)
        return sid

    def log_series(self) -> None:
        """Writes new series to their log; the next `write` and `wait` include them. Needs `lock`.

        Raises:
            OSError: the log cannot be written; the next call tries again.
        """
        if self._new_spellings:
            self._series_written = self._series_log.write(encode_spellings(self._new_spellings))
            self._new_spellings = []

    def write(
        self, samples: SampleColumns, hidden: Sequence[Hidden] = (), forgotten: SampleColumns | None = None
    ) -> Written:
        """Stores samples that were found good; call `wait` with the result before acknowledging. Needs `writing`.

        ``hidden`` ones are not read before their time, ``forgotten`` ones are kept in memory only (defects on order).

        Raises:
            OSError: the log cannot be written; nothing was stored.
        """
        position: Position | None = None
        for some in hidden:
            position = self._wal.write(encode_samples(some.samples, some.until_ns))
        if len(samples):
            position = self._wal.write(encode_samples(samples))
        with self.lock:
            self._hidden.extend(hidden)
            self._append(samples)
            if forgotten is not None:
                self._append(forgotten)
            return Written(position, self._series_written)

    def wait(self, written: Written) -> None:
        """Returns when the push is on disk."""
        if written.series is not None:
            self._series_log.sync(written.series)
        if written.samples is not None:
            self._wal.sync(written.samples)

    def select(self, matchers: Sequence[LabelMatcher], after_ms: int, through_ms: int) -> Samples:
        """The samples with ``after_ms < time <= through_ms`` of the matching series, from memory and S3.

        Raises:
            StoreError: S3 could not give a block that is needed.
        """
        heads, blocks = self._snapshot(after_ms, through_ms)
        with self.lock:
            sids = self.registry.find(matchers)
            labels = [self.registry.labels(sid) for sid in sids.tolist()]
            rank = np.full(self.registry.count, -1, dtype=np.int64)
        rank[sids] = np.arange(len(sids))
        found = [_of_head(head, rank) for head in heads] + [_of_block(block, rank) for block in blocks]
        rows = np.concatenate([rows for rows, _, _ in found])
        times = np.concatenate([times for _, times, _ in found])
        values = np.concatenate([values for _, _, values in found])
        inside = (times > after_ms) & (times <= through_ms)
        if not inside.all():
            rows, times, values = rows[inside], times[inside], values[inside]
        return _assemble(labels, rows, times, values)

    def series(self, selectors: Sequence[Sequence[LabelMatcher]], start_ms: int, end_ms: int) -> list[Labels]:
        """The labels of the series that one of the selectors matches, in a time range, sorted.

        Raises:
            StoreError: as `select`.
        """
        if self._labels_from_blocks:
            self._snapshot(-(1 << 62), 1 << 62)
            self._labels_from_blocks = False
        with self.lock:
            found = [self.registry.within(self.registry.find(some), start_ms, end_ms) for some in selectors]
            sids: list[int] = np.unique(np.concatenate(found)).tolist() if found else []
            return sorted(self.registry.labels(sid) for sid in sids)

    def flush(self) -> int:
        """Brings everything that is in memory to S3; gives the number of blocks made.

        Raises:
            StoreError: S3 cannot take it now; the data stays where it is, and the next call tries again.
        """
        if self.bucket is None:
            return 0
        with self._flushing:
            done = 0
            while True:
                taken = self._taken
                if taken is None:
                    taken = self._take()
                if taken is None:
                    return done
                if self._withheld(taken):
                    continue
                if not taken.blocks:
                    self._taken = taken = self._prepared(taken)
                self.bucket.upload(taken.blocks)
                with self.lock:
                    self.bucket.publish(taken.blocks)
                    self._taken = None
                self._save_state(taken.state)
                self._wal.drop_through(taken.segment)
                done += len(taken.blocks)

    def close(self) -> None:
        """Ends the logs; what is in them comes back at the next start."""
        self._wal.close()
        self._series_log.close()

    def _take(self) -> _Taken | None:
        with self.writing, self.lock:
            self._reveal()
            if not len(self._active):
                return None
            segment = self._wal.rotate()
            for hidden in self._hidden:
                self._wal.append(encode_samples(hidden.samples, hidden.until_ns))
            samples, self._active, self._oldest_ns = self._active.view(), GrowingColumns(), None
            # The log goes on holding what is withheld from S3.
            self._taken = _Taken(samples, 0 if self._held else segment, self._state(), ())
            return self._taken

    def _withheld(self, taken: _Taken) -> bool:
        """Whether a defect on order keeps this head from S3; it stays in memory and in the log."""
        hold = None
        if self._defects is not None and not taken.blocks:
            hold = self._defects.hold(f"a block of {len(taken.samples)} samples")
        if hold is None:
            return False
        with self.lock:
            self._held.append((hold, taken.samples))
            self._taken = None
        return True

    def _prepared(self, taken: _Taken) -> _Taken:
        with self.lock:
            spellings = list(self.registry.spellings())
        now_ms = self._clock_ns() // 1_000_000
        parts = split_by_range(taken.samples)
        last = len(parts) - 1
        blocks = tuple(prepare(part, spellings, now_ms, n > 0, n < last) for n, part in enumerate(parts))
        return replace(taken, blocks=blocks)

    def _append(self, samples: SampleColumns) -> None:
        if len(samples):
            self._active.append(samples)
            if self._oldest_ns is None:
                self._oldest_ns = self._clock_ns()

    def _reveal(self) -> None:
        """Moves samples whose moment has come to where queries and flushes find them."""
        if self._held:
            now = self._clock_ns()
            over = [hold.over(now) for hold, _ in self._held]
            for (_, samples), free in zip(self._held, over, strict=True):
                if free:
                    self._append(samples)
            self._held = [held for held, free in zip(self._held, over, strict=True) if not free]
        if self._hidden:
            now = self._clock_ns()
            self._append(joined(hidden.samples for hidden in self._hidden if hidden.until_ns <= now))
            self._hidden = [hidden for hidden in self._hidden if hidden.until_ns > now]

    def _snapshot(self, after_ms: int, through_ms: int) -> tuple[list[SampleColumns], list[BlockData]]:
        """Memory and blocks of one moment, so that a flush in between hides nothing."""
        if self.bucket is not None:
            self.bucket.blocks()
        with self.lock:
            self._reveal()
            heads = [self._active.view(), *(samples for _, samples in self._held)]
            if self._taken is not None:
                heads.append(self._taken.samples)
            wanted = [] if self.bucket is None else self.bucket.blocks()
        wanted = [block for block in wanted if block.overlaps(after_ms, through_ms)]
        return heads, [] if self.bucket is None else self.bucket.read(wanted)

    def _register_block(self, block: StoredBlock) -> BlockData:
        with self.lock:
            sids = np.array([self.add_series(spelling) for spelling in block.spellings], dtype=np.int32)
            self.log_series()
            wide = np.repeat(sids, np.diff(block.starts))
            self.registry.note(wide, block.times_ms, block.values)
        return BlockData(sids, block.starts, block.times_ms, block.values)

    def _replay(self) -> int:
        for record in self._series_log.replay():
            for spelling in decode_spellings(record):
                self.registry.add(spelling)
        self._load_state()
        total, now = 0, self._clock_ns()
        for record in self._wal.replay():
            try:
                found = decode_samples(record)
            except ValueError as error:
                _LOG.error("a record of the write-ahead log cannot be understood (%s); it is left out", error)
                continue
            samples = found.samples.only(found.samples.sids < self.registry.count)
            if len(samples) < len(found.samples):
                _LOG.error("%d samples of unknown series are left out", len(found.samples) - len(samples))
            self.registry.note(samples.sids, samples.times_ms, samples.values)
            total += len(samples)
            if found.until_ns > now:
                self._hidden.append(Hidden(found.until_ns, samples))
            else:
                self._append(samples)
        if self._oldest_ns is not None:
            # It waited long enough in the time when nobody was there.
            self._oldest_ns = 0
        return total

    def _state(self) -> bytes:
        registry, count = self.registry, self.registry.count
        arrays = (registry.first_ms[:count], registry.last_ms[:count], registry.last_value[:count])
        content = b"".join(part.tobytes() for part in arrays)
        return _STATE_MAGIC + zlib.crc32(content).to_bytes(4, "little") + content

    def _save_state(self, state: bytes) -> None:
        partial = self._state_path.with_name("state.partial")
        with partial.open("wb") as file:
            file.write(state)
            file.flush()
            os.fdatasync(file.fileno())
        partial.replace(self._state_path)

    def _load_state(self) -> None:
        try:
            state = self._state_path.read_bytes()
        except FileNotFoundError:
            return
        head = len(_STATE_MAGIC) + 4
        content = state[head:]
        count = len(content) // 24
        checksum = int.from_bytes(state[len(_STATE_MAGIC) : head], "little")
        if not state.startswith(_STATE_MAGIC) or zlib.crc32(content) != checksum or count > self.registry.count:
            _LOG.error("%s is damaged; samples older than flushed ones will be accepted", self._state_path)
            return
        self.registry.first_ms[:count] = np.frombuffer(content, dtype="<i8", count=count)
        self.registry.last_ms[:count] = np.frombuffer(content, dtype="<i8", count=count, offset=8 * count)
        self.registry.last_value[:count] = np.frombuffer(content, dtype="<f8", count=count, offset=16 * count)


_Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _of_head(head: SampleColumns, rank: NDArray[np.int64]) -> _Rows:
    rows = rank[head.sids]
    chosen = rows >= 0
    if chosen.all():
        return rows, head.times_ms, head.values
    return rows[chosen], head.times_ms[chosen], head.values[chosen]


def _of_block(block: BlockData, rank: NDArray[np.int64]) -> _Rows:
    rows = rank[block.sids]
    counts = np.diff(block.starts)
    chosen = np.flatnonzero(rows >= 0)
    if len(chosen) == len(rows):
        return np.repeat(rows, counts), block.times_ms, block.values
    some = counts[chosen]
    begins = np.cumsum(some) - some
    places = np.arange(int(some.sum())) + np.repeat(block.starts[chosen] - begins, some)
    return np.repeat(rows[chosen], some), block.times_ms[places], block.values[places]


def _assemble(
    labels: list[Labels], rows: NDArray[np.int64], times: NDArray[np.int64], values: NDArray[np.float64]
) -> Samples:
    """Samples in the order of series and time, each once: a crash right behind an upload may leave two copies."""
    if len(rows):
        low = int(times.min())
        keys = rows * (int(times.max()) - low + 1) + (times - low)
        if bool((keys[1:] <= keys[:-1]).any()):
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            first = np.concatenate(([True], keys[1:] != keys[:-1]))
            order = order[first]
            rows, times, values = rows[order], times[order], values[order]
    counts = np.bincount(rows, minlength=len(labels)) if len(rows) else np.zeros(len(labels), dtype=np.int64)
    kept = np.flatnonzero(counts)
    starts = np.concatenate(([0], np.cumsum(counts[kept]))).astype(np.int64)
    return Samples([labels[row] for row in kept.tolist()], starts, times, values)
