"""Spans as the embedded Tempo keeps them: serialized bytes beside their shared resource and scope, decoded on demand.

A *piece* is what one export request (or one stored block) holds of one trace. Pieces of a trace are combined on read: a
span (span id and kind) appears as often as in the piece that holds it most often. So a retried push or a block that was
written twice changes nothing, and a span that one push carries twice is returned twice, as by the real server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status, TracesData

Value: TypeAlias = str | int | float | bool | bytes | tuple["Value", ...] | None
"""An attribute's value; arrays are tuples, maps are None (TraceQL cannot compare them)."""

ERROR = Status.STATUS_CODE_ERROR
ROOT_NOT_RECEIVED = "<root span not yet received>"


class Scope:
    """Resource and instrumentation scope of spans, shared by all spans that have the same ones.

    ``resource`` and ``scope`` are serialized messages, None if the sender left them out.
    """

    __slots__ = ("_resource_attributes", "resource", "resource_schema", "scope", "scope_schema", "service")

    def __init__(self, resource: bytes | None, resource_schema: str, scope: bytes | None, scope_schema: str) -> None:
        self.resource = resource
        self.resource_schema = resource_schema
        self.scope = scope
        self.scope_schema = scope_schema
        message = ResourceMessage.FromString(resource or b"")
        self._resource_attributes = attributes_of(message.attributes)
        service = self._resource_attributes.get("service.name", "")
        self.service = service if isinstance(service, str) else ""

    @property
    def resource_attributes(self) -> Mapping[str, Value]:
        """Attributes of the resource."""
        return self._resource_attributes

    def instrumentation(self) -> InstrumentationScope:
        """The decoded instrumentation scope, empty if there is none."""
        return InstrumentationScope.FromString(self.scope or b"")


Piece: TypeAlias = tuple[tuple[Scope, bytes], ...]
"""Serialized spans of one trace from one source, each with its scope."""


class Scopes:
    """Keeps one `Scope` object for equal ones, bounded: the oldest half is forgotten (not invalidated) when full."""

    def __init__(self, bound: int = 20_000) -> None:
        self._bound = bound
        self._known: dict[tuple[bytes | None, str, bytes | None, str], Scope] = {}

    def get(self, resource: bytes | None, resource_schema: str, scope: bytes | None, scope_schema: str) -> Scope:
        """The shared scope of these serialized parts."""
        key = (resource, resource_schema, scope, scope_schema)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._bound:
                for old in list(self._known)[: self._bound // 2]:
                    self._known.pop(old, None)
            known = self._known.setdefault(key, Scope(*key))
        return known


class SpanRow:
    """A span with the fields that every search needs; attributes are decoded when first asked for."""

    __slots__ = (
        "_attributes", "child_count", "end_ns", "kind", "name", "parent", "parent_id", "raw", "scope", "span_id",
        "start_ns", "status",
    )  # fmt: skip

    def __init__(self, scope: Scope, raw: bytes) -> None:
        message = Span.FromString(raw)
        self.scope = scope
        self.raw = raw
        self.span_id = message.span_id
        self.parent_id = message.parent_span_id
        self.name = sys.intern(message.name)
        self.kind: int = message.kind
        self.start_ns = message.start_time_unix_nano
        self.end_ns = message.end_time_unix_nano
        self.status: int = message.status.code
        self.parent: SpanRow | None = None
        self.child_count = 0
        self._attributes: dict[str, Value] | None = None

    @property
    def duration_ns(self) -> int:
        """Never negative, as the real server stores it."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def attributes(self) -> Mapping[str, Value]:
        """The span's own attributes."""
        if self._attributes is None:
            self._attributes = attributes_of(Span.FromString(self.raw).attributes)
        return self._attributes

    @property
    def status_message(self) -> str:
        """Text of the status."""
        return Span.FromString(self.raw).status.message


class TraceView:
    """A combined trace, decoded as far as a search needs it. Spans are sorted by start, then span id."""

    __slots__ = (
        "end_ns",
        "linked",
        "root_name",
        "root_service",
        "services",
        "size_bytes",
        "spans",
        "start_ns",
        "trace_id",
    )

    def __init__(self, trace_id: bytes, pieces: Sequence[Piece]) -> None:
        self.trace_id = trace_id
        self.linked = False
        self.spans = self._combined(pieces)
        self.spans.sort(key=lambda span: (span.start_ns, span.span_id))
        self.start_ns = self.spans[0].start_ns if self.spans else 0
        self.end_ns = max((span.end_ns for span in self.spans), default=0)
        self.size_bytes = sum(len(span.raw) for span in self.spans)
        root = next((span for span in self.spans if not span.parent_id), None)
        self.root_service = root.scope.service if root else ""
        self.root_name = root.name if root else ""
        services: dict[str, list[int]] = {}
        for span in self.spans:
            counts = services.setdefault(span.scope.service, [0, 0])
            counts[0] += 1
            counts[1] += span.status == ERROR
        self.services = services

    @property
    def duration_ns(self) -> int:
        """From the first start to the last end."""
        return max(0, self.end_ns - self.start_ns)

    def link(self) -> None:
        """Gives every span its parent (None for roots and orphans) and the number of its children."""
        if self.linked:
            return
        by_id = {span.span_id: span for span in self.spans}
        # Two threads may do this at once, so it must come to the same however often it is done.
        children: dict[bytes, int] = {}
        for span in self.spans:
            span.parent = by_id.get(span.parent_id) if span.parent_id and span.parent_id != span.span_id else None
            if span.parent is not None:
                children[span.parent_id] = children.get(span.parent_id, 0) + 1
        for span in self.spans:
            span.child_count = children.get(span.span_id, 0)
        self.linked = True

    def piece(self) -> Piece:
        """The combined spans as one piece."""
        return tuple((span.scope, span.raw) for span in self.spans)

    def _combined(self, pieces: Sequence[Piece]) -> list[SpanRow]:
        if len(pieces) == 1:
            return [SpanRow(scope, raw) for scope, raw in pieces[0]]
        kept: dict[tuple[bytes, int], int] = {}
        spans: list[SpanRow] = []
        for piece in pieces:
            here: dict[tuple[bytes, int], int] = {}
            for scope, raw in piece:
                span = SpanRow(scope, raw)
                key = (span.span_id, span.kind)
                here[key] = here.get(key, 0) + 1
                if here[key] > kept.get(key, 0):
                    kept[key] = here[key]
                    spans.append(span)
        return spans


def groups_of(spans: Iterable[SpanRow]) -> list[list[list[SpanRow]]]:
    """Spans by resource, and in it by scope, in order of first appearance."""
    resources: dict[tuple[bytes | None, str], dict[tuple[bytes | None, str], list[SpanRow]]] = {}
    for span in spans:
        scope = span.scope
        scopes = resources.setdefault((scope.resource, scope.resource_schema), {})
        scopes.setdefault((scope.scope, scope.scope_schema), []).append(span)
    return [list(scopes.values()) for scopes in resources.values()]


def to_protobuf(view: TraceView) -> bytes:
    """``TracesData`` of the trace, which is also Tempo's own trace message (field 1: resource spans)."""
    return b"".join(_field(1, _resource_spans(scopes)) for scopes in groups_of(view.spans))


def from_protobuf(data: bytes, scopes: Scopes) -> Piece:
    """The piece that a ``TracesData`` message holds; raises protobuf's DecodeError for anything else."""
    return tuple(pair for resource in TracesData.FromString(data).resource_spans for pair in spans_of(resource, scopes))


def spans_of(resource: ResourceSpans, scopes: Scopes) -> Iterable[tuple[Scope, bytes]]:
    """Every span of ``resource``, serialized, with its shared scope."""
    body = resource.resource.SerializeToString() if resource.HasField("resource") else None
    for part in resource.scope_spans:
        inner = part.scope.SerializeToString() if part.HasField("scope") else None
        scope = scopes.get(body, resource.schema_url, inner, part.schema_url)
        for span in part.spans:
            yield scope, span.SerializeToString()


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Attributes by key; of a key that appears twice the first one counts, as in Tempo's columns."""
    attributes: dict[str, Value] = {}
    for pair in pairs:
        key = sys.intern(pair.key)
        if key not in attributes:
            attributes[key] = value_of(pair.value)
    return attributes


def value_of(value: AnyValue) -> Value:
    """The Python value of an OTLP value."""
    which = value.WhichOneof("value")
    if which == "string_value":
        return value.string_value
    if which == "int_value":
        return value.int_value
    if which == "double_value":
        return value.double_value
    if which == "bool_value":
        return value.bool_value
    if which == "bytes_value":
        return value.bytes_value
    if which == "array_value":
        return tuple(value_of(item) for item in value.array_value.values)
    return None


def _resource_spans(scopes: list[list[SpanRow]]) -> bytes:
    first = scopes[0][0].scope
    parts = [] if first.resource is None else [_field(1, first.resource)]
    for spans in scopes:
        scope = spans[0].scope
        inner = [] if scope.scope is None else [_field(1, scope.scope)]
        inner.extend(_field(2, span.raw) for span in spans)
        if scope.scope_schema:
            inner.append(_field(3, scope.scope_schema.encode()))
        parts.append(_field(2, b"".join(inner)))
    if first.resource_schema:
        parts.append(_field(3, first.resource_schema.encode()))
    return b"".join(parts)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    head = bytearray((number << 3 | 2,))
    size = len(data)
    while size > 0x7F:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head) + data
