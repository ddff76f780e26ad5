"""OTLP over gRPC, and searches by numbers: of padded bodies, and of what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable

import grpc
import pytest
from asking import export, fresh, get, now_ns, wait_for
from captured import load
from stacks import Stack

from loadgen.config import parse_target
from loadgen.kinds.load import TraceLoad
from loadgen.kinds.traces.source import SpanFacts, TraceSource
from loadgen.model import NS, RunKey
from loadgen.targets.readers import open_readers
from loadgen.targets.tempo import FoundSpan, TempoReader

Need = Callable[..., Stack]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def rpc(stack: Stack, body: bytes) -> bytes:
    """The answer to an export; the address of the receiver is known of a lab only."""
    assert stack.lab is not None
    with grpc.insecure_channel(stack.lab.url("otlp_grpc")) as channel:
        return bytes(channel.unary_unary(EXPORT)(body, timeout=30))


def made(ago_s: int) -> TraceSource:
    """Traces of a run of its own, five a second."""
    return TraceSource(RunKey(fresh("rpc"), 7, now_ns() // NS * NS - ago_s * NS), TraceLoad(5, NS))


def expected(span: SpanFacts, run: str) -> FoundSpan:
    resource = {"service.name": span.service, "loadgen.run": run, "loadgen.user": "00000"}
    return FoundSpan(
        span.trace_id, span.span_id, span.parent_id, span.name, span.kind, span.start_ns, span.end_ns, span.status,
        dict(span.attributes), resource,
    )  # fmt: skip


def reader(stack: Stack) -> TempoReader:
    """The project's own, asking Tempo itself."""
    raw = {"name": "conformance", "via": "direct", "tempo": {"query_url": stack.urls["tempo"]}}
    return open_readers(parse_target(raw, "the stack", env={}), now_ns, None, 30.0, "verify").tempo


def test_a_body_with_padded_numbers_is_taken_over_grpc_and_comes_back_as_it_was_made(need: Need) -> None:
    stack, source = need("tempo", "otlp_http", buckets=True), made(4)
    tempo = reader(stack)
    for n in range(3):
        batch = source.batch(0, n)
        assert rpc(stack, bytes(source.body(batch).wire)) == b"\x0a\x00"
        for spans in source.spans(batch):
            reply = wait_for(
                stack,
                lambda trace_id=spans[0].trace_id: tempo.trace(trace_id),
                lambda got: len(got.value or ()) == 8,
            )
            assert reply.value is not None, reply.error
            found = {span.span_id: span for span in reply.value}
            assert found == {span.span_id: expected(span, source.key.run) for span in spans}


def test_a_padded_sequence_number_is_found_by_its_value(need: Need) -> None:
    stack, source = need("tempo", "otlp_http"), made(20)
    batch = source.batch(0, 2)
    assert export(stack, bytes(source.body(batch).wire)).status == 200
    (wanted,) = (spans[0] for spans in source.spans(batch) if ("loadgen.seq", 13) in spans[0].attributes)
    query = f'{{ resource.loadgen.run = "{source.key.run}" && span.loadgen.seq = 13 }}'
    answer = wait_for(
        stack,
        lambda: json.loads(get(stack, "tempo", "/api/search", q=query).body),
        lambda found: bool(found["traces"]),
    )
    assert [trace["traceID"].zfill(32) for trace in answer["traces"]] == [wanted.trace_id.hex()]


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("export bad protobuf", "INTERNAL", "grpc: error unmarshalling request: unexpected EOF"),
        ("export short trace id", "INTERNAL", "grpc: error unmarshalling request: unmarshal: invalid TraceID length"),
        ("export zero trace id", "INVALID_ARGUMENT", "trace ids must be 128 bit, received 0 bits"),
    ],
)
def test_what_cannot_be_read_is_refused_by_the_transport_over_grpc(need: Need, name: str, code: str, text: str) -> None:
    stack = need("tempo", "otlp_http", buckets=True)
    body = next(case.request.body for case in load("tempo-otlp-http") if case.name == name)
    assert isinstance(body, bytes)
    with pytest.raises(grpc.RpcError) as refused:
        rpc(stack, body)
    assert (refused.value.code().name, refused.value.details()) == (code, text)
