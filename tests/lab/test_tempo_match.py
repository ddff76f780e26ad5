"""What TraceQL selects: the rules of types, missing attributes, spansets, structure and aggregates."""

from __future__ import annotations

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

from loadgen.lab.tempo.match import SpanMatcher
from loadgen.lab.tempo.trace import Scopes, TraceView, from_protobuf, to_protobuf
from loadgen.lab.tempo.traceql import parse

MS = 1_000_000
TRACE_ID = bytes.fromhex("000102030405060708090a0b0c0d0e0f")


def attribute(key: str, value: str | int | float | bool | list[str]) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, str):
        return KeyValue(key=key, value=AnyValue(string_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    if isinstance(value, float):
        return KeyValue(key=key, value=AnyValue(double_value=value))
    out = KeyValue(key=key)
    for item in value:
        out.value.array_value.values.add().string_value = item
    return out


def shop() -> TracesData:
    """gateway "GET /" (1) -> cart "load" (2) -> db "select" (3, error) and db "insert" (4)."""
    data = TracesData()
    for service in ("gateway", "cart", "db"):
        resource = data.resource_spans.add()
        resource.resource.attributes.extend([attribute("service.name", service), attribute("run", "r1")])
        resource.scope_spans.add().scope.name = "lib"
    rows = [
        (0, 1, b"", "GET /", 2, 0, 50, 0),
        (1, 2, b"\1", "load", 3, 5, 30, 0),
        (2, 3, b"\2", "select", 3, 6, 10, 2),
        (2, 4, b"\2", "insert", 3, 12, 10, 0),
    ]
    for part, number, parent, name, kind, start_ms, length_ms, status in rows:
        span = data.resource_spans[part].scope_spans[0].spans.add()
        span.trace_id, span.span_id = TRACE_ID, bytes([0] * 7 + [number])
        span.parent_span_id = parent and bytes([0] * 7) + parent
        span.name = name
        span.status.code = Status.StatusCode.ValueType(status)
        span.kind = Span.SpanKind.ValueType(kind)
        span.start_time_unix_nano = 10**18 + start_ms * MS
        span.end_time_unix_nano = span.start_time_unix_nano + length_ms * MS
        span.attributes.extend([attribute("n", number), attribute("even", number % 2 == 0)])
    data.resource_spans[2].scope_spans[0].spans[0].attributes.extend(
        [attribute("ratio", 0.5), attribute("tags", ["x", "y"]), attribute("run", "own")]
    )
    return data


VIEW = TraceView(TRACE_ID, [from_protobuf(shop().SerializeToString(), Scopes())])


def names(query: str) -> list[str]:
    return [span.name for span in SpanMatcher(parse(query)).match(VIEW)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("{}", ["GET /", "load", "select", "insert"]),
        ('{ resource.service.name = "db" }', ["select", "insert"]),
        ('{ resource.service.name != "db" }', ["GET /", "load"]),
        ('{ resource.missing != "db" }', []),
        ('{ span.missing !~ "x.*" }', []),
        ("{ .missing = nil }", ["GET /", "load", "select", "insert"]),
        ("{ .ratio != nil }", ["select"]),
        ('{ name =~ "sel" }', []),
        ('{ name =~ "sel.*" }', ["select"]),
        ('{ name !~ "sel.*|ins.*" }', ["GET /", "load"]),
        ("{ status = error }", ["select"]),
        ("{ kind = server }", ["GET /"]),
        ("{ duration > 10ms }", ["GET /", "load"]),
        ("{ duration >= 10ms && duration < 50ms }", ["load", "select", "insert"]),
        ("{ traceDuration = 50ms && kind = server }", ["GET /"]),
        ('{ rootName = "GET /" && rootServiceName = "gateway" && name = "load" }', ["load"]),
        ("{ .n >= 3 }", ["select", "insert"]),
        ("{ .n = 2.0 }", ["load"]),
        ('{ .n = "2" }', []),
        ("{ .even }", ["load", "insert"]),
        ("{ .even = false }", ["GET /", "select"]),
        ("{ .even = 1 }", []),
        ("{ !.even && .n > 1 }", ["select"]),
        ("{ .ratio < 0.6 }", ["select"]),
        ('{ .tags = "y" }', ["select"]),
        ('{ .run = "own" }', ["select"]),
        ('{ .run = "r1" }', ["GET /", "load", "insert"]),
        ('{ resource.run = "r1" && .n = 3 }', ["select"]),
        ('{ "db" = resource.service.name }', ["select", "insert"]),
        ("{ 3 <= .n }", ["select", "insert"]),
        ('{ trace:id = "102030405060708090a0b0c0d0e0f" && span:id = "0000000000000003" }', ["select"]),
        ('{ span:parentID = "0000000000000002" }', ["select", "insert"]),
        ('{ instrumentation:name = "lib" && .n = 1 }', ["GET /"]),
        ("{ nestedSetParent < 0 }", ["GET /"]),
        ("{ childCount = 2 }", ["load"]),
        ("{ parent.n = 2 }", ["select", "insert"]),
        ('{ name = "GET /" } && { status = error }', ["GET /", "select"]),
        ('{ name = "none" } && { status = error }', []),
        ('{ name = "none" } || { status = error }', ["select"]),
        ('{ name = "GET /" } >> { status = error }', ["select"]),
        ('{ name = "GET /" } > { status = error }', []),
        ('{ name = "load" } > { status = error }', ["select"]),
        ('{ status = error } << { name = "GET /" }', ["GET /"]),
        ('{ name = "insert" } ~ { status = error }', ["select"]),
        ("{ .n > 2 } | count() > 1", ["select", "insert"]),
        ("{ .n > 2 } | count() > 2", []),
        ("{} | avg(duration) = 25ms", ["GET /", "load", "select", "insert"]),
        ("{} | max(.n) < 4", []),
        ("{ .n > 1 } | { status = error }", ["select"]),
    ],
)  # fmt: skip
def test_a_query_selects(query: str, found: list[str]) -> None:
    assert names(query) == found


def test_a_span_is_shown_with_the_attributes_that_the_query_names() -> None:
    matcher = SpanMatcher(parse('{ resource.service.name = "db" && status = error && duration > 1ms } | select(.n)'))
    (span,) = matcher.match(VIEW)
    assert matcher.span_json(span, VIEW) == {
        "spanID": "0000000000000003",
        "startTimeUnixNano": str(10**18 + 6 * MS),
        "durationNanos": "10000000",
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "db"}},
            {"key": "status", "value": {"stringValue": "error"}},
            {"key": "n", "value": {"intValue": "3"}},
        ],
    }


def test_required_resource_attributes_are_those_of_every_match() -> None:
    assert SpanMatcher(parse('{ resource.a = "1" && .b = 2 } && { resource.c = "3" }')).required == (
        ("a", "1"),
        ("c", "3"),
    )
    assert SpanMatcher(parse('{ resource.a = "1" || resource.b = "2" }')).required == ()
    assert SpanMatcher(parse('{ resource.a = "1" } || { resource.b = "2" }')).required == ()


def test_a_ring_of_parents_does_not_hang() -> None:
    data = shop()
    data.resource_spans[0].scope_spans[0].spans[0].parent_span_id = bytes([0] * 7 + [3])
    view = TraceView(TRACE_ID, [from_protobuf(data.SerializeToString(), Scopes())])
    assert [s.name for s in SpanMatcher(parse("{ .n = 4 } >> { .n = 1 }")).match(view)] == []
    assert view.root_name == ""


def test_a_span_of_two_pieces_is_returned_once_and_one_doubled_in_a_piece_twice() -> None:
    piece = from_protobuf(shop().SerializeToString(), Scopes())
    assert len(TraceView(TRACE_ID, [piece, piece]).spans) == 4
    doubled = (*piece, piece[2])
    assert [s.name for s in TraceView(TRACE_ID, [piece, doubled, piece]).spans].count("select") == 2


def test_a_trace_survives_being_written_and_read() -> None:
    again = TraceView(TRACE_ID, [from_protobuf(to_protobuf(VIEW), Scopes())])
    assert [s.raw for s in again.spans] == [s.raw for s in VIEW.spans]
    assert again.services == {"gateway": [1, 0], "cart": [1, 0], "db": [2, 1]}
