"""What the embedded Tempo does with an export before it is stored: decode, validate, split by trace, limit, damage.

Refusals and their texts are those of Tempo's OTLP receivers and distributor.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from google.protobuf.message import DecodeError, EncodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from loadgen.lab.defects import ADDED, STORE_KINDS, DefectKind, Defects, Order
from loadgen.lab.proof_items import TRACE_ID, without_proof
from loadgen.lab.settings import Limits
from loadgen.lab.tempo.live import LiveTrace
from loadgen.lab.tempo.trace import Piece, Scope, Scopes

# Codes of google.rpc.Status.
INVALID_ARGUMENT = 3
RESOURCE_EXHAUSTED = 8
INTERNAL = 13
UNAVAILABLE = 14
RETRY_AFTER_S = 5

_FRAME = struct.Struct("<BQQ")
_VERSION = 1


class IngestError(Exception):
    """An export that is refused as a whole. ``code`` is a google.rpc code; ``reason`` labels the discarded spans."""

    def __init__(self, code: int, text: str, reason: str = "", spans: int = 0) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.spans = spans


class UnreadableError(IngestError):
    """An export that is none: over gRPC the transport refuses it, before the receiver sees it."""

    def __init__(self, text: str, reason: str = "", spans: int = 0) -> None:
        super().__init__(INVALID_ARGUMENT, text, reason, spans)


@dataclass(frozen=True, slots=True)
class Export:
    """One accepted request, or a part of it: its spans by trace, and its bytes for the write-ahead log.

    Attributes:
        received_ns: arrival.
        visible_ns: no read shows it before; 0 for at once.
        logged: goes to the write-ahead log.
        payload: a serialized ExportTraceServiceRequest.
        pieces: trace id -> its spans.
        spans: how many.
    """

    received_ns: int
    visible_ns: int
    payload: bytes
    pieces: dict[bytes, Piece]
    spans: int
    logged: bool = True

    def frame(self) -> bytes:
        """What goes to the write-ahead log."""
        return _FRAME.pack(_VERSION, self.received_ns, self.visible_ns) + self.payload


def export_of_frame(frame: bytes, scopes: Scopes) -> Export:
    """The export that `Export.frame` wrote; raises `IngestError` if the frame is of another kind."""
    if len(frame) < _FRAME.size or frame[0] != _VERSION:
        raise IngestError(INTERNAL, "the write-ahead log holds a record of an unknown version")
    _, received_ns, visible_ns = _FRAME.unpack_from(frame)
    payload = frame[_FRAME.size :]
    pieces, spans = split(decode(payload), scopes)
    return Export(received_ns, visible_ns, payload, pieces, spans)


def decode(data: bytes) -> ExportTraceServiceRequest:
    """The request in ``data``; raises `UnreadableError` with the receiver's text if it is none."""
    try:
        return ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise UnreadableError("unexpected EOF") from None


def split(request: ExportTraceServiceRequest, scopes: Scopes) -> tuple[dict[bytes, Piece], int]:
    """Spans by trace id, and their number. Raises `IngestError` for any bad id, as the real one refuses all then."""
    found: dict[bytes, list[tuple[Scope, bytes]]] = {}
    spans = 0
    for resource in request.resource_spans:
        body = resource.resource.SerializeToString() if resource.HasField("resource") else None
        schema = resource.schema_url
        for part in resource.scope_spans:
            inner = part.scope.SerializeToString() if part.HasField("scope") else None
            try:
                scope = scopes.get(body, schema, inner, part.schema_url)
            except DecodeError:
                raise UnreadableError("unexpected EOF") from None
            for span in part.spans:
                trace_id = span.trace_id
                if len(trace_id) != 16 or len(span.span_id) != 8 or not any(trace_id) or not any(span.span_id):
                    _refuse_ids(request)
                pair = (scope, span.SerializeToString())
                if trace_id in found:
                    found[trace_id].append(pair)
                else:
                    found[trace_id] = [pair]
                spans += 1
    return {trace_id: tuple(pairs) for trace_id, pairs in found.items()}, spans


def _refuse_ids(request: ExportTraceServiceRequest) -> None:
    spans = [span for r in request.resource_spans for s in r.scope_spans for span in s.spans]
    for span in spans:
        if len(span.trace_id) not in (0, 16):
            raise UnreadableError("unmarshal: invalid TraceID length", "invalid_trace_id", len(spans))
        if len(span.span_id) not in (0, 8) or len(span.parent_span_id) not in (0, 8):
            raise UnreadableError("unmarshal: invalid SpanID length", "invalid_span_id", len(spans))
    for span in spans:
        if not any(span.trace_id):
            text = "trace ids must be 128 bit, received 0 bits"
            raise IngestError(INVALID_ARGUMENT, text, "invalid_trace_id", len(spans))
        if not any(span.span_id):
            text = "span ids must be 64 bit and not all zero, received 0 bits"
            raise IngestError(INVALID_ARGUMENT, text, "invalid_span_id", len(spans))


class RateLimit:
    """A token bucket over bytes; a request is taken whole or not at all."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float] = time.monotonic, tenant: str = "single-tenant"
    ) -> None:
        self._tenant = tenant
        self._rate = limits.rate_bytes_per_s
        self._burst = float(limits.burst_bytes or limits.rate_bytes_per_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = clock()

    def take(self, size_bytes: int, spans: int) -> None:
        """Raises `IngestError` if the bytes are too many now."""
        if self._rate <= 0:
            return
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if size_bytes <= self._tokens:
                self._tokens -= size_bytes
                return
        raise self.refusal(size_bytes, spans)

    def refusal(self, size_bytes: int, spans: int) -> IngestError:
        """What a request is told that comes too soon."""
        rate, burst = int(self._rate), int(self._burst)
        bounds = f"(local: {rate} bytes/s, global: 0 bytes/s, burst: {burst} bytes)"
        what, advice = f"ingestion rate limit {bounds} exceeded", "increasing the limit or reducing ingestion rate"
        if size_bytes > max(rate, burst):
            what = f"batch size ({size_bytes} bytes) exceeds ingestion limit {bounds}"
            advice = "reducing batch size or increasing rate limit"
        text = f"RATE_LIMITED: {what} while adding {size_bytes} bytes for user {self._tenant}. consider {advice}."
        return IngestError(RESOURCE_EXHAUSTED, text, "rate_limited", spans)


def over_limits(limits: Limits, pieces: Mapping[bytes, Piece], live: Mapping[bytes, LiveTrace]) -> dict[bytes, str]:
    """The traces of a request that are dropped, each with the reason: too many in memory, or too large.

    Like the real one, which acknowledges the request all the same: only its metric tells of them.
    """
    dropped: dict[bytes, str] = {}
    held = without_proof(len(live), TRACE_ID in live)
    room = limits.max_live_traces - held if limits.max_live_traces else len(pieces)
    for trace_id, piece in pieces.items():
        known = live.get(trace_id)
        size_bytes = sum(len(raw) for _, raw in piece) + (known.size_bytes if known else 0)
        if limits.max_trace_bytes and size_bytes > limits.max_trace_bytes:
            dropped[trace_id] = "trace_too_large"
        elif trace_id == TRACE_ID:
            continue
        elif known is None and room <= 0:
            dropped[trace_id] = "live_traces_exceeded"
        elif known is None:
            room -= 1
    return dropped


def without(request: ExportTraceServiceRequest, trace_ids: Collection[bytes]) -> ExportTraceServiceRequest:
    """The request without these traces."""
    kept = ExportTraceServiceRequest()
    kept.CopyFrom(request)
    _remove(kept, partial(_is_of, trace_ids, True))
    return kept


def trace_defects(clock_ns: Callable[[], int] = time.time_ns) -> Defects:
    """Defects of traces. One item is one trace: ``lose`` drops its last span, or all of it; ``double`` and ``alter``
    hit its first span (``resource`` and ``added``: all that share its resource); ``delay`` and ``forget`` what this
    push holds of it. Spans have no order."""
    kinds = [kind for kind in STORE_KINDS if kind is not DefectKind.REORDER]
    whats = {DefectKind.LOSE: ("span", "trace"), DefectKind.ALTER: ("name", "duration", "attribute", "resource", ADDED)}
    return Defects(kinds, clock_ns, whats)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A part of a request after the defects on order: visible from a time on (0: at once), logged or not."""

    request: ExportTraceServiceRequest
    visible_ns: int = 0
    logged: bool = True


def damage(request: ExportTraceServiceRequest, defects: Defects, now_ns: int) -> Iterator[Damaged]:
    """The request with the orders applied, in parts."""
    apart: list[tuple[bytes, Order]] = []
    for trace_id in dict.fromkeys(span.trace_id for span in _spans(request)):
        order = defects.claim(f"trace {trace_id.hex()}")
        if order is not None and order.kind in (DefectKind.DELAY, DefectKind.FORGET):
            apart.append((trace_id, order))
        elif order is not None:
            _damage_trace(request, trace_id, order)
    for trace_id, order in apart:
        part = ExportTraceServiceRequest()
        part.CopyFrom(request)
        _remove(part, partial(_is_of, {trace_id}, False))
        _remove(request, partial(_is_of, {trace_id}, True))
        delayed = order.kind is DefectKind.DELAY
        yield Damaged(part, now_ns + order.delay_ns if delayed else 0, logged=delayed)
    yield Damaged(request)


def encode(request: ExportTraceServiceRequest) -> bytes:
    """Serialized; `IngestError` for what protobuf cannot write."""
    try:
        return request.SerializeToString()
    except EncodeError as error:
        raise IngestError(INVALID_ARGUMENT, str(error)) from None


def _damage_trace(request: ExportTraceServiceRequest, trace_id: bytes, order: Order) -> None:
    if order.kind is DefectKind.LOSE:
        spans = [span for span in _spans(request) if span.trace_id == trace_id]
        keys = {(span.span_id, span.kind) for span in (spans if order.asked.what == "trace" else spans[-1:])}
        _remove(request, lambda span: span.trace_id == trace_id and (span.span_id, span.kind) in keys)
        return
    for resource in request.resource_spans:
        for part in resource.scope_spans:
            for span in part.spans:
                if span.trace_id == trace_id:
                    if order.kind is DefectKind.DOUBLE:
                        part.spans.add().CopyFrom(span)
                    else:
                        _alter(resource.resource if order.asked.what in ("resource", ADDED) else span, order.asked.what)
                    return


def _alter(span: Span | Resource, what: str) -> None:
    if isinstance(span, Resource) and what == ADDED:
        span.attributes.add(key="cluster").value.string_value = "home"
    elif isinstance(span, Resource):
        # The last, because the first is the name of the service, by which traces are searched for.
        value = span.attributes[-1].value if span.attributes else span.attributes.add(key="altered").value
        value.string_value = _altered(value.string_value)
    elif what == "duration":
        span.end_time_unix_nano += 1_000_000
    elif what == "attribute":
        value = span.attributes[0].value if span.attributes else span.attributes.add(key="altered").value
        value.string_value = _altered(value.string_value)
    else:
        span.name = _altered(span.name)


def _is_of(ids: Collection[bytes], wanted: bool, span: Span) -> bool:
    return (span.trace_id in ids) is wanted


def _altered(name: str) -> str:
    if not name:
        return "?"
    return name[:-1] + ("y" if name.endswith("x") else "x")


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        for part in resource.scope_spans:
            yield from part.spans


def _remove(request: ExportTraceServiceRequest, gone: Callable[[Span], bool]) -> None:
    for resource in request.resource_spans:
        for part in resource.scope_spans:
            kept = [span for span in part.spans if not gone(span)]
            if len(kept) < len(part.spans):
                copies = [span.SerializeToString() for span in kept]
                del part.spans[:]
                part.spans.extend(Span.FromString(copy) for copy in copies)
