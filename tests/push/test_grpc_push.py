"""OTLP by gRPC: as serialized bytes, and through the real SDK; the same outcomes as by HTTP."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from scripted import Reply, free_port, scripted

from loadgen.config import ConfigError, Target
from loadgen.kinds.load import TraceLoad
from loadgen.kinds.traces.source import TraceSource
from loadgen.model import NS, Outcome, RunKey
from loadgen.push.grpc import EXPORT_METHOD, GrpcPusher
from loadgen.push.retry import PushPolicy
from loadgen.push.sdk import SdkProbe
from loadgen.push.ways import OTLP_GRPC
from loadgen.push.ways.way import Pushing

POLICY = PushPolicy(timeout_s=1.0, retry_for_s=0.6, backoff_first_s=0.02)
BEGAN_NS = 1_800_000_000 * NS
Export = Callable[[bytes, Any], bytes]


@contextlib.contextmanager
def otlp_server(export: Export) -> Iterator[str]:
    """A gRPC server with one method that takes and gives bytes."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(export) if details.method == EXPORT_METHOD else None

    server = grpc.server(ThreadPoolExecutor(2), handlers=(Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(5)


def push_once(export: Export, policy: PushPolicy = POLICY) -> Any:
    with otlp_server(export) as address:
        pusher = GrpcPusher(address, None, policy)
        try:
            return pusher.push(b"body")
        finally:
            pusher.close()


def failing(code: grpc.StatusCode, times: int = 10**6, retry_s: float | None = None) -> Export:
    calls = iter(range(times))

    def export(_: bytes, context: Any) -> bytes:
        if next(calls, None) is None:
            return b""
        if retry_s is not None:
            detail = AnyMessage()
            detail.Pack(RetryInfo(retry_delay={"nanos": int(retry_s * 1e9)}))
            raw = Status(code=8, details=[detail]).SerializeToString()
            context.set_trailing_metadata((("grpc-status-details-bin", raw),))
        context.abort(code, "the reason")
        raise AssertionError

    return export


def test_bytes_and_login_arrive() -> None:
    seen: list[Any] = []

    def export(body: bytes, context: Any) -> bytes:
        seen.append((body, {item.key: item.value for item in context.invocation_metadata()}))
        return b""

    with otlp_server(export) as address:
        tempo = {"otlp_grpc": address, "user": "u", "password": "p", "tenant": "me"}
        target = Target.model_validate({"tempo": tempo})
        pusher = OTLP_GRPC.open(target, Pushing(POLICY))
        result = pusher.push(memoryview(b"body"))
        pusher.close()
    assert (result.outcome, result.status, result.attempts) == (Outcome.ACCEPTED, 1000, 1)
    assert seen[0][0] == b"body"
    assert seen[0][1]["authorization"] == "Basic dTpw" and seen[0][1]["x-scope-orgid"] == "me"


@pytest.mark.parametrize(
    ("code", "outcome", "retried"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, Outcome.REJECTED, False),
        (grpc.StatusCode.UNAUTHENTICATED, Outcome.REJECTED, False),
        (grpc.StatusCode.PERMISSION_DENIED, Outcome.REJECTED, False),
        (grpc.StatusCode.UNIMPLEMENTED, Outcome.REJECTED, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Outcome.REJECTED, False),
        (grpc.StatusCode.INTERNAL, Outcome.UNKNOWN, False),
        (grpc.StatusCode.UNAVAILABLE, Outcome.UNKNOWN, True),
    ],
)
def test_codes_are_mapped(code: grpc.StatusCode, outcome: Outcome, retried: bool) -> None:
    result = push_once(failing(code))
    assert result.outcome is outcome and result.status == 1000 + code.value[0]
    assert (result.attempts > 1) == retried
    assert code.name in result.detail and "the reason" in result.detail


def test_resource_exhausted_with_retry_info_waits_as_asked() -> None:
    result = push_once(failing(grpc.StatusCode.RESOURCE_EXHAUSTED, times=1, retry_s=0.25))
    assert (result.outcome, result.attempts, result.ambiguous_attempts) == (Outcome.ACCEPTED, 2, 0)
    assert result.last_sent_ns - result.sent_ns >= 250_000_000


def test_refused_grpc_connection_is_rejected_after_retries() -> None:
    pusher = GrpcPusher(f"127.0.0.1:{free_port()}", None, POLICY)
    result = pusher.push(b"x")
    pusher.close()
    assert result.outcome is Outcome.REJECTED and result.attempts > 1 and "UNAVAILABLE" in result.detail


def test_grpc_partial_success_is_unknown() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    result = push_once(lambda _body, _context: answer.SerializeToString())
    assert result.outcome is Outcome.UNKNOWN and "2 spans refused" in result.detail


@pytest.mark.parametrize("address", ["", "tempo", "ftp://tempo:4317", "tempo:http"])
def test_unusable_address_is_a_configuration_error(address: str) -> None:
    with pytest.raises(ConfigError, match="tempo:4317"):
        GrpcPusher(address, None, POLICY)


def test_works_under_gevent() -> None:
    with otlp_server(lambda _body, _context: b"") as address:
        code = f"""
from gevent import monkey; monkey.patch_all()
import grpc.experimental.gevent; grpc.experimental.gevent.init_gevent()
import gevent
from loadgen.push.grpc import GrpcPusher
from loadgen.push.http import PushPolicy
pusher = GrpcPusher({address!r}, None, PushPolicy(5.0, 5.0))
jobs = [gevent.spawn(pusher.push, b"x") for _ in range(8)]
gevent.joinall(jobs)
assert all(job.value.outcome == "accepted" for job in jobs), [job.value for job in jobs]
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# -- through the SDK -----------------------------------------------------------------------------------------------


def tempo(**values: str) -> Target:
    return Target.model_validate({"tempo": values})


def planned() -> tuple[TraceSource, list[Any]]:
    source = TraceSource(RunKey("sdk1", 7, BEGAN_NS), TraceLoad(2, NS))
    return source, [span for trace in source.spans(source.batch(3, 5)) for span in trace]


def spans_in(body: bytes) -> dict[bytes, tuple[Any, ...]]:
    found = {}
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {item.key: item.value.string_value for item in resource.resource.attributes}
        assert about["loadgen.run"] == "sdk1"
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
                found[span.span_id] = (
                    span.trace_id,
                    span.parent_span_id,
                    about["service.name"],
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code,
                    attributes,
                )
    return found


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_sdk_emits_exactly_the_planned_spans(transport: Any) -> None:
    _, spans = planned()
    bodies: list[bytes] = []

    def export(body: bytes, _: Any) -> bytes:
        bodies.append(body)
        return b""

    with otlp_server(export) as address, scripted(Reply(200, b"")) as server:
        probe = SdkProbe(tempo(otlp_http=server.url, otlp_grpc=address), transport, POLICY)
        result = probe.push([spans], {"loadgen.run": "sdk1", "loadgen.user": "00003"})
        probe.close()
    bodies += [request.body for request in server.requests]
    assert result.outcome is Outcome.ACCEPTED and result.attempts == 1 and len(bodies) == 1
    assert spans_in(bodies[0]) == {
        s.span_id: (
            s.trace_id, s.parent_id, s.service, s.name, s.kind, s.start_ns, s.end_ns, s.status, dict(s.attributes)
        )
        for s in spans
    }  # fmt: skip


def test_sdk_http_failure_says_why() -> None:
    _, spans = planned()
    with scripted(Reply(401, b"no")) as server:
        probe = SdkProbe(tempo(otlp_http=server.url), "http", POLICY)
        result = probe.push([spans], {})
        probe.close()
    assert (result.outcome, result.status) == (Outcome.REJECTED, 401) and "401" in result.detail


def test_sdk_grpc_failure_says_why() -> None:
    _, spans = planned()
    with otlp_server(failing(grpc.StatusCode.INVALID_ARGUMENT)) as address:
        probe = SdkProbe(tempo(otlp_grpc=address), "grpc", POLICY)
        result = probe.push([spans], {})
        probe.close()
    assert (result.outcome, result.status) == (Outcome.REJECTED, 1003)


def test_sdk_without_a_server_is_unknown_and_does_not_raise() -> None:
    _, spans = planned()
    probe = SdkProbe(tempo(otlp_http=f"http://127.0.0.1:{free_port()}"), "http", POLICY)
    result = probe.push([spans], {})
    probe.close()
    assert result.outcome is Outcome.UNKNOWN and "gave up" in result.detail
