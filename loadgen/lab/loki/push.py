"""What happens to a push: limits, level detection, defects on order, the write-ahead log, memory, and the answer."""

from __future__ import annotations

import asyncio
import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping

from loadgen.lab.defects import ADDED, ITEM_KINDS, LABEL, DefectKind, Defects, Order, relabelled
from loadgen.lab.exposition import Exposition
from loadgen.lab.loki.body import Push, PushError, read_push, streams_of, to_wire
from loadgen.lab.loki.chunks import Entries
from loadgen.lab.loki.labels import Labels, format_labels
from loadgen.lab.loki.level import DETECTED_LEVEL, Metadata, detect
from loadgen.lab.loki.store import Ingested, LokiStore, StreamEntries
from loadgen.lab.loki.streams import HeldStream, PushRefused, go_time, rfc3339
from loadgen.lab.protobuf import WireError, snappy, unsnappy
from loadgen.lab.settings import Limits
from loadgen.lab.wal import WriteAheadLog

# Metadata of our own that makes a read show an entry twice, or only from a time on. Never shown to anybody.
COPIES = "__lab_copies__"
VISIBLE_FROM_NS = "__lab_visible_from_ns__"
_RECORD = struct.Struct("<Bq")
_DEFAULT_MAX_LABELS = 15
_MAX_RETURNED_ERRORS = 10
_LABEL_NAME_BYTES, _LABEL_VALUE_BYTES = 1024, 2048


class _RateBucket:
    """A token bucket over bytes; a rate of 0 lets everything pass."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst or rate
        self._tokens, self._at_ns = self._burst, 0

    def take(self, amount: float, now_ns: int) -> bool:
        if not self._rate:
            return True
        elapsed_s = max(0, now_ns - self._at_ns) / 1e9 if self._at_ns else 0.0
        self._tokens = min(self._burst, self._tokens + elapsed_s * self._rate)
        self._at_ns = now_ns
        if amount > self._tokens:
            return False
        self._tokens -= amount
        return True


def line_defects(clock_ns: Callable[[], int]) -> Defects:
    """Defects of lines: what is altered is the text, a label of its stream, or a label added to them."""
    return Defects(clock_ns=clock_ns, whats={DefectKind.ALTER: ("text", LABEL, ADDED)})


class Distributor:
    """The way of a push from the request's body to its answer."""

    def __init__(
        self,
        store: LokiStore,
        wal: WriteAheadLog,
        limits: Limits,
        defects: Defects,
        metrics: Exposition,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._wal = wal
        self._limits = limits
        self._defects = defects
        self._metrics = metrics
        self._clock_ns = clock_ns
        self._bucket = _RateBucket(limits.rate_bytes_per_s, limits.burst_bytes)

    async def push(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Stores the entries of a request; what was taken is on disk when this returns, or raises.

        Raises:
            PushError: Loki's refusal. After a 400 the valid entries are stored, as Loki does it.
            OSError: the write-ahead log cannot be written.
        """
        now_ns = self._clock_ns()
        push = read_push(body, headers, self._limits.max_body_bytes)
        if self._defects.claim("a push", DefectKind.REFUSE) is not None:
            raise self._rate_limited(push.streams)
        if not push.streams:
            raise PushError(422, "error at least one valid stream is required for ingestion")
        lines = sum(len(s.entries) for s in push.streams)
        size = sum(_size_bytes(s.entries) for s in push.streams)
        self._metrics.add("loki_distributor_lines_received_total", lines, tenant=self._store.tenant)
        self._metrics.add("loki_distributor_bytes_received_total", size, tenant=self._store.tenant)
        valid, errors = self._validate(push.streams, now_ns)
        if not valid:
            if errors:
                raise PushError(400, _grouped(errors))
            return
        self._limit_rate(valid, now_ns)
        untouched = not errors
        forgotten: list[StreamEntries] = []
        if self._defects.armed:
            touched, forgotten = self._spoil(valid, now_ns)
            untouched, valid = untouched and touched is valid, touched

        def record(outcome: Ingested) -> bytes:
            if untouched and outcome.whole and push.wire:
                return _RECORD.pack(1, now_ns) + body_of(push, body, headers)
            return _RECORD.pack(1, now_ns) + snappy(to_wire(outcome.accepted))

        outcome, position = self._store.ingest(_detected(valid), record, now_ns)
        if forgotten:
            # As in a replay: into memory, and not into the log.
            self._store.ingest(_detected(forgotten), None, now_ns)
        if position is not None:
            await asyncio.to_thread(self._wal.sync, position)
        if self._defects.claim("a push", DefectKind.BREAK) is not None:
            raise PushError(500, "context deadline exceeded")
        self._answer(outcome, errors)

    def replay(self) -> int:
        """Puts what the write-ahead log still has into memory; returns the number of entries."""
        count = 0
        for payload in self._wal.replay():
            if len(payload) < _RECORD.size:
                continue
            _, arrived_ns = _RECORD.unpack_from(payload)
            try:
                streams = streams_of(unsnappy(payload[_RECORD.size :], 1 << 31))
            except (WireError, PushError):
                # Its checksum was right, so another version wrote it; the rest of the log may still be good.
                self._metrics.add("loki_ingester_wal_corruptions_total")
                continue
            detected = _detected(streams)
            self._store.ingest(detected, None, arrived_ns)
            count += sum(len(s.entries) for s in detected)
        self._metrics.add("loki_ingester_wal_recovered_entries_total", count)
        return count

    # --- validation

    def _validate(self, streams: list[StreamEntries], now_ns: int) -> tuple[list[StreamEntries], list[str]]:
        errors: list[str] = []
        valid: list[StreamEntries] = []
        oldest = now_ns - round(self._limits.max_age_s * 1e9)
        newest = now_ns + round(self._limits.future_grace_s * 1e9)
        for stream in streams:
            entries = stream.entries
            if not len(entries):
                continue
            problem = self._label_problem(stream)
            if problem:
                errors.append(problem[1])
                self._discard(problem[0], entries)
                continue
            times = entries.times_ns
            longest = max(map(len, entries.lines))
            if min(times) >= oldest and max(times) <= newest and longest <= self._limits.max_line_bytes:
                valid.append(stream)
                continue
            kept = self._valid_entries(stream, oldest, newest, errors)
            if len(kept):
                valid.append(StreamEntries(stream.labels, kept))
        return valid, errors

    def _label_problem(self, stream: StreamEntries) -> tuple[str, str] | None:
        labels = stream.labels
        limit = self._limits.max_labels or _DEFAULT_MAX_LABELS
        # The name that Loki itself adds does not count.
        if len(labels) - 1 > limit:
            text = f"entry for stream '{format_labels(labels)}' has {len(labels) - 1} label names; limit {limit}"
            return "max_label_names_per_series", text
        for name, value in labels:
            if len(name) > _LABEL_NAME_BYTES:
                return "label_name_too_long", f"stream '{format_labels(labels)}' has label name too long: '{name}'"
            if len(value) > _LABEL_VALUE_BYTES:
                return "label_value_too_long", f"stream '{format_labels(labels)}' has label value too long: '{value}'"
        return None

    def _valid_entries(self, stream: StreamEntries, oldest: int, newest: int, errors: list[str]) -> Entries:
        name, limit = format_labels(stream.labels), self._limits.max_line_bytes
        kept = Entries([], [], [])
        source = stream.entries
        for time_ns, line, metadata in zip(source.times_ns, source.lines, source.metadata, strict=True):
            reason = ""
            if time_ns < oldest:
                reason = "greater_than_max_sample_age"
                errors.append(
                    f"entry for stream '{name}' has timestamp too old: {rfc3339(time_ns)}, "
                    f"oldest acceptable timestamp is: {rfc3339(oldest)}"
                )
            elif time_ns > newest:
                reason = "too_far_in_future"
                errors.append(f"entry for stream '{name}' has timestamp too new: {rfc3339(time_ns)}")
            elif len(line) > limit:
                reason = "line_too_long"
                errors.append(
                    f"max entry size '{limit}' bytes exceeded for stream '{name}' "
                    f"while adding an entry with length '{len(line)}' bytes"
                )
            if reason:
                self._discard(reason, Entries([time_ns], [line], [metadata]))
                continue
            kept.times_ns.append(time_ns)
            kept.lines.append(line)
            kept.metadata.append(metadata)
        return kept

    def _limit_rate(self, streams: list[StreamEntries], now_ns: int) -> None:
        if not self._bucket.take(sum(_size_bytes(s.entries) for s in streams), now_ns):
            raise self._rate_limited(streams)

    def _rate_limited(self, streams: list[StreamEntries]) -> PushError:
        lines = sum(len(s.entries) for s in streams)
        size = sum(_size_bytes(s.entries) for s in streams)
        for stream in streams:
            self._discard("rate_limited", stream.entries)
        return PushError(
            429,
            f"ingestion rate limit exceeded for user {self._store.tenant} (limit: {int(self._limits.rate_bytes_per_s)} "
            f"bytes/sec) while attempting to ingest '{lines}' lines totaling '{size}' bytes, reduce log volume or "
            "contact your Loki administrator to see if the limit can be increased",
        )

    def _discard(self, reason: str, entries: Entries) -> None:
        tenant = self._store.tenant
        self._metrics.add("loki_discarded_samples_total", len(entries), reason=reason, tenant=tenant)
        self._metrics.add("loki_discarded_bytes_total", _size_bytes(entries), reason=reason, tenant=tenant)

    # --- defects

    def _spoil(self, streams: list[StreamEntries], now_ns: int) -> tuple[list[StreamEntries], list[StreamEntries]]:
        """The entries with the pending defects applied (the very same list if none applied), and the forgotten ones."""
        out: list[StreamEntries] = []
        forgotten: list[StreamEntries] = []
        hit = False
        for stream in streams:
            changed, lapsed = Entries([], [], []), Entries([], [], [])
            elsewhere: dict[Labels, Entries] = {}
            source = stream.entries
            i = 0
            while i < len(source):
                time_ns, line, metadata = source.times_ns[i], source.lines[i], source.metadata[i]
                following = i + 1 < len(source)
                kinds = [k for k in ITEM_KINDS if following or k is not DefectKind.REORDER]
                order = self._defects.claim(_item(stream, time_ns, line), *kinds)
                hit = hit or order is not None
                if order is not None and order.kind is DefectKind.REORDER:
                    changed.times_ns.extend(source.times_ns[i : i + 2])
                    changed.lines.extend((source.lines[i + 1], line))
                    changed.metadata.extend((source.metadata[i + 1], metadata))
                    i += 2
                    continue
                i += 1
                if order is not None and order.kind is DefectKind.LOSE:
                    continue
                to = lapsed if order is not None and order.kind is DefectKind.FORGET else changed
                altered = order if order is not None and order.kind is DefectKind.ALTER else None
                labels = relabelled(stream.labels, altered.asked.what) if altered else None
                if labels is not None:
                    to = elsewhere.setdefault(labels, Entries([], [], []))
                to.times_ns.append(time_ns)
                to.lines.append(_altered(line) if altered and labels is None else line)
                to.metadata.append(metadata + _mark(order, now_ns))
            out.append(StreamEntries(stream.labels, changed))
            out.extend(StreamEntries(labels, entries) for labels, entries in elsewhere.items())
            forgotten.append(StreamEntries(stream.labels, lapsed))
        return (out if hit else streams), [stream for stream in forgotten if len(stream.entries)]

    # --- answer

    def _answer(self, outcome: Ingested, errors: list[str]) -> None:
        tenant = self._store.tenant
        for stream, total, refused in outcome.refused:
            self._metrics.add("loki_discarded_samples_total", len(refused), reason="too_far_behind", tenant=tenant)
            if not outcome.over_limit:
                raise PushError(400, _too_far_behind(stream, total, refused, tenant))
        if outcome.over_limit:
            for item in outcome.over_limit:
                self._discard("stream_limit", _as_sent(item.entries))
            # Of several, the answer names the last one.
            name = format_labels(outcome.over_limit[-1].labels)
            raise PushError(
                429,
                f"maximum active stream limit exceeded when trying to create stream {name}, reduce the number of "
                "active streams (reduce labels or reduce label values), or contact your Loki administrator to see if "
                f"the limit can be increased, user: '{tenant}'",
            )
        if errors:
            raise PushError(400, _grouped(errors))


def body_of(push: Push, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The push as a snappy block: as it came, unless it was compressed once more for the way."""
    return snappy(push.wire) if headers.get("content-encoding", "") in {"gzip", "deflate"} else body


def _detected(streams: list[StreamEntries]) -> list[StreamEntries]:
    """The streams that have entries, with the level of each."""
    return [
        StreamEntries(s.labels, Entries(s.entries.times_ns, s.entries.lines, _levels(s)))
        for s in streams
        if len(s.entries)
    ]


def _levels(stream: StreamEntries) -> list[Metadata]:
    return detect(stream.labels, stream.entries.lines, stream.entries.metadata)


def _as_sent(entries: Entries) -> Entries:
    """The entries without the level that was detected."""
    metadata = [tuple(pair for pair in pairs if pair[0] != DETECTED_LEVEL) for pairs in entries.metadata]
    return Entries(entries.times_ns, entries.lines, metadata)


def _size_bytes(entries: Entries) -> int:
    return sum(map(len, entries.lines)) + sum(len(n) + len(v) for m in entries.metadata if m for n, v in m)


def _grouped(errors: list[str]) -> str:
    counts = Counter(errors)
    if len(errors) == 1:
        return errors[0]
    return "; ".join(f"{n} errors like: {text}" for text, n in counts.items())


def _too_far_behind(stream: HeldStream, total: int, refused: list[PushRefused], tenant: str) -> str:
    rows = "".join(
        f"entry with timestamp {go_time(r.time_ns)} ignored, reason: '{r.reason}',\n"
        for r in refused[:_MAX_RETURNED_ERRORS]
    )
    ignored = f"total ignored: {len(refused)} out of {total}"
    return f"{rows}user '{tenant}', {ignored} for stream: {stream.labels_text}"


def _item(stream: StreamEntries, time_ns: int, line: bytes) -> str:
    return f"{format_labels(stream.labels)} {time_ns} {line[:200].decode('utf-8', 'replace')}"


def _altered(line: bytes) -> bytes:
    """The line with its last digit changed, or with one more byte if it has none."""
    for i in range(len(line) - 1, -1, -1):
        if 48 <= line[i] <= 57:
            return line[:i] + bytes([48 + (line[i] - 47) % 10]) + line[i + 1 :]
    return line + b"~"


def _mark(order: Order | None, now_ns: int) -> Metadata:
    if order is not None and order.kind is DefectKind.DOUBLE:
        return ((COPIES, "2"),)
    if order is not None and order.kind is DefectKind.DELAY:
        return ((VISIBLE_FROM_NS, str(now_ns + order.delay_ns)),)
    return ()
