"""Pushes into the embedded Mimir: parse, refuse what the real one refuses, and store the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import cramjam
import numpy as np
from numpy.typing import NDArray

from loadgen.lab.defects import DefectKind, Defects, relabelled
from loadgen.lab.mimir import validate as refusals
from loadgen.lab.mimir.head import Hidden, SampleColumns, no_samples
from loadgen.lab.mimir.labels import WriteRequestError, varint
from loadgen.lab.mimir.promql_values import Labels
from loadgen.lab.mimir.remote_write import WriteColumns, WriteParser
from loadgen.lab.mimir.series import spelling_of
from loadgen.lab.mimir.store import SampleStore, Written
from loadgen.lab.mimir.validate import SampleRefusal
from loadgen.lab.proof_items import SERIES_LABELS
from loadgen.lab.settings import Limits

_REFUSED = -1


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a push.

    Attributes:
        refusal: the answer, if anything was refused; the rest is stored all the same.
        received: samples in it.
        stored: samples accepted (also those that were known already).
        discarded: refused samples by reason.
    """

    refusal: SampleRefusal | None
    received: int = 0
    stored: int = 0
    discarded: dict[str, int] = field(default_factory=dict)


class TokenBucket:
    """``rate`` tokens per second up to ``burst``; 0 means no limit."""

    def __init__(self, rate: float, burst: int, clock_ns: Callable[[], int]) -> None:
        self.rate = rate
        self.burst = burst or max(1, int(rate))
        self._clock_ns = clock_ns
        self._tokens = float(self.burst)
        self._at_ns = clock_ns()

    def take(self, count: int) -> bool:
        """Takes the tokens if there are enough."""
        if self.rate <= 0:
            return True
        now = self._clock_ns()
        self._tokens = min(float(self.burst), self._tokens + max(0, now - self._at_ns) / 1e9 * self.rate)
        self._at_ns = now
        if count > self._tokens:
            return False
        self._tokens -= count
        return True


def uncompressed(body: bytes, limit_bytes: int) -> bytes | SampleRefusal:
    """The content of a snappy block.

    The length that the block itself states is looked at first, so that a small body cannot ask for much memory.
    """
    corrupt = SampleRefusal(400, "decompress snappy: snappy: corrupt input", "")
    try:
        length, _ = varint(body, 0, len(body))
    except WriteRequestError:
        return SampleRefusal(400, "getting snappy decoded length: snappy: corrupt input", "")
    if length > limit_bytes:
        return refusals.too_large(length, limit_bytes, compressed=False)
    if length == 0:
        return b"" if len(body) == 1 else corrupt
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError:
        return corrupt


class Ingester:
    """Takes pushes for a store. Thread-safe."""

    def __init__(
        self,
        store: SampleStore,
        tenant: str,
        limits: Limits,
        defects: Defects,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._limits = limits
        self._defects = defects
        self._clock_ns = clock_ns
        self._parser = WriteParser()
        self._sids = np.full(1024, _REFUSED, dtype=np.int32)
        self._known_slots = 0
        self._slot_refusals: dict[int, SampleRefusal] = {}
        self._bucket = TokenBucket(limits.rate_samples_per_s, limits.burst_samples, clock_ns)
        self._newest_ms = store.registry.newest_ms

    def push(self, body: bytes) -> IngestResult:
        """Stores the samples of a snappy-compressed write request; they are on disk when this returns.

        Raises:
            OSError: the disk refuses; nothing was stored.
        """
        plain = uncompressed(body, self._limits.max_body_bytes)
        if isinstance(plain, SampleRefusal):
            return IngestResult(plain)
        with self._store.writing:
            try:
                columns = self._parser.parse(plain)
            except WriteRequestError as error:
                return IngestResult(SampleRefusal(400, str(error), ""))
            received = len(columns.slots)
            if not self._bucket.take(columns.items) or self._defects.claim("a push", DefectKind.REFUSE) is not None:
                refusal = refusals.rate_limited(self._bucket.rate, self._bucket.burst, columns.items)
                return IngestResult(refusal, received, 0, {refusal.reason: received})
            with self._store.lock:
                self._learn()
                self._store.log_series()
            result, written = self._decide(columns)
            if self._parser.full:
                self._parser.reset()
                self._known_slots = 0
                self._slot_refusals.clear()
        self._store.wait(written)
        if self._defects.claim("a push", DefectKind.BREAK) is not None:
            return replace(result, refusal=SampleRefusal(500, "context deadline exceeded", ""))
        return result

    def _learn(self) -> None:
        """Finds the series of label spellings that were not seen before."""
        count = self._parser.slot_count
        while count > len(self._sids):
            self._sids = np.concatenate((self._sids, np.full(len(self._sids), _REFUSED, dtype=np.int32)))
        for slot in range(self._known_slots, count):
            labels = tuple(sorted(pair for pair in self._parser.labels(slot) if pair[1]))
            refusal = refusals.check_labels(labels, self._limits.max_labels)
            if refusal is None:
                spelling = spelling_of(labels)
                limit, registry = self._limits.max_series, self._store.registry
                known = labels == SERIES_LABELS or registry.find_spelling(spelling) is not None
                if limit and self._store.series_count >= limit and not known:
                    refusal = refusals.too_many_series(self._tenant, limit)
            if refusal is None:
                self._sids[slot] = self._store.add_series(spelling, labels)
            else:
                self._sids[slot] = _REFUSED
                self._slot_refusals[slot] = refusal
        self._known_slots = count

    def _decide(self, columns: WriteColumns) -> tuple[IngestResult, Written]:
        found = _Findings()
        sids = self._sids[columns.slots]
        good = sids >= 0
        for place in np.flatnonzero(~good).tolist():
            found.add(self._slot_refusals[int(columns.slots[place])])
        horizon_ms = self._clock_ns() // 1_000_000 + int(self._limits.future_grace_s * 1000)
        for place in np.flatnonzero(good & (columns.times_ms > horizon_ms)).tolist():
            labels = self._labels(int(sids[place]))
            found.add(refusals.too_far_in_future(labels, int(columns.times_ms[place])))
            good[place] = False
        for slot in columns.histogram_slots:
            found.add(refusals.native_histogram(self._parser.labels(slot)))
        for _ in range(columns.nameless):
            found.add(refusals.nameless_metadata())
        samples = SampleColumns(sids, columns.times_ms, columns.values)
        if not good.all():
            samples = samples.only(good)
        samples = self._recent(samples, found)
        fresh, known = self._in_order(samples, found)
        written = self._write(fresh)
        stored = len(fresh) + known
        return IngestResult(found.refusal, len(sids) + len(columns.histogram_slots), stored, found.reasons), written

    def _write(self, fresh: SampleColumns) -> Written:
        visible, hidden, forgotten = self._harmed(fresh) if self._defects.armed else (fresh, [], no_samples())
        written = self._store.write(visible, hidden, forgotten)
        with self._store.lock:
            # Of the samples as they were sent, so that a defect does not show in how later ones are judged.
            self._store.registry.note(fresh.sids, fresh.times_ms, fresh.values)
        return written

    def _labels(self, sid: int) -> Labels:
        return self._store.registry.labels(sid)

    def _recent(self, samples: SampleColumns, found: _Findings) -> SampleColumns:
        """The samples that do not lie too far behind the newest of all series."""
        if not len(samples):
            return samples
        newest_ms = int(samples.times_ms[0]) if self._newest_ms is None else self._newest_ms
        recent = samples.times_ms >= newest_ms - refusals.BEHIND_NEWEST_MS
        for place in np.flatnonzero(~recent).tolist():
            labels, time_ms = self._labels(int(samples.sids[place])), int(samples.times_ms[place])
            found.add(refusals.too_old(self._tenant, labels, time_ms), decisive=True)
        samples = samples if recent.all() else samples.only(recent)
        if len(samples):
            self._newest_ms = max(newest_ms, int(samples.times_ms.max()))
        return samples

    def _in_order(self, samples: SampleColumns, found: _Findings) -> tuple[SampleColumns, int]:
        """The samples that are newer than all of their series, and how many others count as stored.

        Those are the ones that are stored already, and those that a request has out of order in itself, or twice for
        one time: a real ingester judges a request by what was stored before it, and drops these without a word.
        """
        if not len(samples):
            return samples, 0
        if bool((samples.sids[1:] < samples.sids[:-1]).any()):
            order = np.argsort(samples.sids, kind="stable")
            samples = SampleColumns(samples.sids[order], samples.times_ms[order], samples.values[order])
        registry = self._store.registry
        stored_ms, stored_value = registry.last_ms[samples.sids], registry.last_value[samples.sids]
        last_ms = stored_ms.copy()
        again = samples.sids[1:] == samples.sids[:-1]
        if bool((again & (samples.times_ms[1:] <= samples.times_ms[:-1])).any()):
            _newest_before(samples, last_ms)
        newer = samples.times_ms > last_ms
        known = 0
        for place in np.flatnonzero(~newer).tolist():
            sid, time_ms = int(samples.sids[place]), int(samples.times_ms[place])
            if time_ms < stored_ms[place]:
                found.add(refusals.out_of_order(self._tenant, self._labels(sid), time_ms), decisive=True)
            elif time_ms > stored_ms[place] or _same(samples.values[place], stored_value[place]):
                known += 1
            else:
                there, new = float(stored_value[place]), float(samples.values[place])
                refusal = refusals.duplicate_timestamp(self._tenant, self._labels(sid), time_ms, there, new)
                found.add(refusal, decisive=True)
        return (samples if newer.all() else samples.only(newer)), known

    def _harmed(self, samples: SampleColumns) -> tuple[SampleColumns, list[Hidden], SampleColumns]:
        """The samples after the defects on order: seen at once, hidden for a while, and seen but not logged."""
        now_ns = self._clock_ns()
        rows: list[tuple[int, int, float]] = []
        lapsed: list[tuple[int, int, float]] = []
        hidden: list[Hidden] = []
        zipped = zip(samples.sids.tolist(), samples.times_ms.tolist(), samples.values.tolist(), strict=True)
        for sid, time_ms, value in zipped:
            item = f"{refusals.metric_text(self._labels(sid))} @ {time_ms}"
            order = self._defects.claim(item)
            kind = None if order is None else order.kind
            if kind is DefectKind.LOSE:
                continue
            if kind is DefectKind.DELAY and order is not None:
                hidden.append(Hidden(now_ns + order.delay_ns, _columns([(sid, time_ms, value)])))
                continue
            to = lapsed if kind is DefectKind.FORGET else rows
            if kind is DefectKind.ALTER and order is not None:
                labels = relabelled(self._labels(sid), order.asked.what)
                to.append((sid, time_ms, value * 2 + 1) if labels is None else (self._series(labels), time_ms, value))
            else:
                to.append((sid, time_ms, value))
            if kind is DefectKind.DOUBLE:
                rows.append((sid, time_ms + 1, value))
        rows.sort(key=lambda row: row[0])  # what was stored under other labels has another number
        return _columns(rows), hidden, _columns(lapsed)

    def _series(self, labels: Labels) -> int:
        with self._store.lock:
            sid = self._store.add_series(spelling_of(labels), labels)
            self._store.log_series()
        return sid


@dataclass(slots=True)
class _Findings:
    """Refusals of one push: the first decides the answer, but one of the ingester comes before the distributor's."""

    refusal: SampleRefusal | None = None
    decisive: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, refusal: SampleRefusal, decisive: bool = False) -> None:
        self.reasons[refusal.reason] = self.reasons.get(refusal.reason, 0) + 1
        if self.refusal is None or (decisive and not self.decisive):
            self.refusal, self.decisive = refusal, decisive


def _newest_before(samples: SampleColumns, last_ms: NDArray[np.int64]) -> None:
    """Where a request itself is not in order: puts what each sample must be newer than into the array."""
    newest: dict[int, int] = {}
    for place, (sid, time_ms) in enumerate(zip(samples.sids.tolist(), samples.times_ms.tolist(), strict=True)):
        if sid in newest:
            last_ms[place] = newest[sid]
        newest[sid] = max(time_ms, int(last_ms[place]))


def _same(left: np.float64, right: np.float64) -> bool:
    """Bit by bit, as Prometheus compares: NaN equals itself."""
    return left.tobytes() == right.tobytes()


def _columns(rows: list[tuple[int, int, float]]) -> SampleColumns:
    if not rows:
        return no_samples()
    return SampleColumns(
        np.array([row[0] for row in rows], dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows], dtype=np.float64),
    )
