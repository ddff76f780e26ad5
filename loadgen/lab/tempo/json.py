"""Traces as Tempo's JSON: protobuf's JSON mapping with base64 ids, enum names and 64-bit integers as strings.

``resource``, ``scope`` and ``status`` are always there, empty if the sender left them out, as in the real answers.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable
from typing import Any, TypeAlias

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from loadgen.lab.tempo.trace import SpanRow, TraceView, Value, groups_of

Json: TypeAlias = dict[str, Any]


def trace_json(view: TraceView, key: str) -> Json:
    """The trace with its resource spans under ``key`` (``batches`` in version 1, ``resourceSpans`` in version 2)."""
    return {key: [_resource_spans(scopes) for scopes in groups_of(view.spans)]}


def value_json(value: Value) -> Json:
    """A decoded attribute value as OTLP JSON."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": _double(value)}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"arrayValue": {"values": [value_json(item) for item in value]}}
    return {}


def _resource_spans(scopes: list[list[SpanRow]]) -> Json:
    first = scopes[0][0].scope
    out: Json = {}
    resource = Resource.FromString(first.resource or b"")
    inner: Json = {}
    _put_attributes(inner, resource.attributes, resource.dropped_attributes_count)
    out["resource"] = inner
    out["scopeSpans"] = [_scope_spans(spans) for spans in scopes]
    # Schemas are taken and never given back, as by the real one.
    return out


def _scope_spans(spans: list[SpanRow]) -> Json:
    scope = spans[0].scope
    out: Json = {}
    message = InstrumentationScope.FromString(scope.scope or b"")
    inner: Json = {}
    if message.name:
        inner["name"] = message.name
    if message.version:
        inner["version"] = message.version
    _put_attributes(inner, message.attributes, message.dropped_attributes_count)
    out["scope"] = inner
    out["spans"] = [_span(Span.FromString(span.raw)) for span in spans]
    return out


def _span(span: Span) -> Json:
    out: Json = {"traceId": b64encode(span.trace_id).decode(), "spanId": b64encode(span.span_id).decode()}
    kind = _enum(Span.SpanKind, span.kind) if span.kind else ""
    _put(out, traceState=span.trace_state, parentSpanId=b64encode(span.parent_span_id).decode(), name=span.name)
    _put(out, kind=kind, startTimeUnixNano=_nanos(span.start_time_unix_nano))
    _put(out, endTimeUnixNano=_nanos(span.end_time_unix_nano))
    _put_attributes(out, span.attributes, span.dropped_attributes_count)
    _put(out, events=[_event(event) for event in span.events], droppedEventsCount=span.dropped_events_count)
    _put(out, links=[_link(link) for link in span.links], droppedLinksCount=span.dropped_links_count)
    status: Json = {}
    code = _enum(Status.StatusCode, span.status.code) if span.status.code else ""
    _put(status, message=span.status.message, code=code)
    out["status"] = status
    _put(out, flags=span.flags)
    return out


def _put(out: Json, **fields: Any) -> None:
    """What is not empty, as protobuf's mapping to JSON leaves out the rest."""
    out.update((name, value) for name, value in fields.items() if value)


def _nanos(at_ns: int) -> str:
    return str(at_ns) if at_ns else ""


def _event(event: Span.Event) -> Json:
    out: Json = {}
    if event.time_unix_nano:
        out["timeUnixNano"] = str(event.time_unix_nano)
    if event.name:
        out["name"] = event.name
    _put_attributes(out, event.attributes, event.dropped_attributes_count)
    return out


def _link(link: Span.Link) -> Json:
    out: Json = {"traceId": b64encode(link.trace_id).decode(), "spanId": b64encode(link.span_id).decode()}
    if link.trace_state:
        out["traceState"] = link.trace_state
    _put_attributes(out, link.attributes, link.dropped_attributes_count)
    if link.flags:
        out["flags"] = link.flags
    return out


def _put_attributes(out: Json, pairs: Iterable[KeyValue], dropped: int) -> None:
    attributes = [{"key": pair.key, "value": _any(pair.value)} for pair in pairs]
    if attributes:
        out["attributes"] = attributes
    if dropped:
        out["droppedAttributesCount"] = dropped


def _any(value: AnyValue) -> Json:
    which = value.WhichOneof("value")
    if which == "string_value":
        return {"stringValue": value.string_value}
    if which == "int_value":
        return {"intValue": str(value.int_value)}
    if which == "double_value":
        return {"doubleValue": _double(value.double_value)}
    if which == "bool_value":
        return {"boolValue": value.bool_value}
    if which == "bytes_value":
        return {"bytesValue": b64encode(value.bytes_value).decode()}
    if which == "array_value":
        items = [_any(item) for item in value.array_value.values]
        return {"arrayValue": {"values": items} if items else {}}
    if which == "kvlist_value":
        pairs = [{"key": pair.key, "value": _any(pair.value)} for pair in value.kvlist_value.values]
        return {"kvlistValue": {"values": pairs} if pairs else {}}
    return {}


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _enum(enum: Any, number: int) -> str | int:
    """The name, or the number itself when the specification has no name for it."""
    try:
        return str(enum.Name(number))
    except ValueError:
        return number
