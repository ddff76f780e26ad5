"""Push bodies made the usual way: protobuf objects built per push, serialized, compressed with python-snappy.

The remote-write and OTLP messages are the official generated ones; for Loki there is no Python package, so its
classes are made from the message definitions by protobuf itself, which is what generated code does too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import snappy
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from loadgen.kinds.traces.source import SpanFacts
from loadgen.wire.otlp import SCOPE

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "double": _FIELD.TYPE_DOUBLE,
}

_LOKI = {
    "Timestamp": "int64 seconds=1, int32 nanos=2",
    "LabelPair": "string name=1, string value=2",
    "Entry": "Timestamp timestamp=1, string line=2, LabelPair* structured_metadata=3",
    "Stream": "string labels=1, Entry* entries=2, uint64 hash=3",
    "PushRequest": "Stream* streams=1",
}
_PROMETHEUS = {
    "Label": "string name=1, string value=2",
    "Sample": "double value=1, int64 timestamp=2",
    "TimeSeries": "Label* labels=1, Sample* samples=2",
    "WriteRequest": "TimeSeries* timeseries=1",
}


def message_class(package: str, messages: dict[str, str], name: str) -> Any:
    """The class of message ``name``, from definitions such as ``"string name=1, Entry* entries=2"``."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, definition in messages.items():
        described = file.message_type.add(name=message)
        for part in definition.split(", "):
            kind, _, rest = part.partition(" ")
            field, _, number = rest.partition("=")
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            described.field.add(
                name=field,
                number=int(number),
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
                type=_TYPES.get(kind, _FIELD.TYPE_MESSAGE),
                type_name=None if kind in _TYPES else f".{package}.{kind}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _write_request_class() -> Any:
    try:
        from opentelemetry.exporter.prometheus_remote_write.gen import remote_pb2
    except ImportError:
        return message_class("prometheus", _PROMETHEUS, "WriteRequest")
    return remote_pb2.WriteRequest  # type: ignore[attr-defined]


PushRequest = message_class("logproto", _LOKI, "PushRequest")
WriteRequest = _write_request_class()


def loki_body(labels: str, times_ns: Sequence[int], lines: Sequence[str]) -> bytes:
    """One stream's push."""
    request = PushRequest()
    stream = request.streams.add(labels=labels)
    for time_ns, line in zip(times_ns, lines, strict=True):
        entry = stream.entries.add(line=line)
        entry.timestamp.seconds, entry.timestamp.nanos = divmod(time_ns, 1_000_000_000)
    compressed: bytes = snappy.compress(request.SerializeToString())
    return compressed


def remote_write_body(
    series: Sequence[Sequence[tuple[str, str]]], times_ms: Sequence[int], values: Sequence[Sequence[float]]
) -> bytes:
    """One push of all series."""
    request = WriteRequest()
    for labels, row in zip(series, values, strict=True):
        timeseries = request.timeseries.add()
        for name, value in labels:
            timeseries.labels.add(name=name, value=value)
        for time_ms, number in zip(times_ms, row, strict=True):
            timeseries.samples.add(value=number, timestamp=time_ms)
    compressed: bytes = snappy.compress(request.SerializeToString())
    return compressed


def otlp_request(
    traces: Sequence[Sequence[SpanFacts]], resource: Sequence[tuple[str, str]]
) -> ExportTraceServiceRequest:
    """One request with all spans, a ResourceSpans per service; ``resource`` is added to the service's name."""
    request = ExportTraceServiceRequest()
    scopes: dict[str, Any] = {}
    for spans in traces:
        for facts in spans:
            scope = scopes.get(facts.service)
            if scope is None:
                resource_spans = request.resource_spans.add()
                for name, text in (("service.name", facts.service), *resource):
                    resource_spans.resource.attributes.add(key=name).value.string_value = text
                scope = scopes[facts.service] = resource_spans.scope_spans.add()
                scope.scope.name = SCOPE
            span = scope.spans.add(
                trace_id=facts.trace_id,
                span_id=facts.span_id,
                parent_span_id=facts.parent_id,
                name=facts.name,
                kind=facts.kind,
                start_time_unix_nano=facts.start_ns,
                end_time_unix_nano=facts.end_ns,
            )
            for name, value in facts.attributes:
                attribute = span.attributes.add(key=name).value
                if isinstance(value, str):
                    attribute.string_value = value
                else:
                    attribute.int_value = value
            span.status.code = facts.status
    return request
