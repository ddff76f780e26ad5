"""The questions that the named tests ask, on `Stack`: pushes as people's agents send them, and reads."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import cramjam
from captured import Answer, Request
from opentelemetry.exporter.prometheus_remote_write.gen.remote_pb2 import WriteRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from stacks import Stack, until

T = TypeVar("T")
Labels = Mapping[str, str]

LOKI_PUSH = {"Content-Type": "application/x-protobuf"}
REMOTE_WRITE = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
OTLP = {"Content-Type": "application/x-protobuf"}
NS, MS = 10**9, 10**6


def fresh(word: str) -> str:
    """A name that no other test or session uses."""
    return f"{word}{secrets.token_hex(5)}"


def get(stack: Stack, endpoint: str, path: str, **parameters: object) -> Answer:
    """A GET with these parameters."""
    query = f"?{urlencode(parameters)}" if parameters else ""
    return stack.ask(endpoint, Request("GET", path + query, {}, ""))


def post(stack: Stack, endpoint: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """A POST."""
    return stack.ask(endpoint, Request("POST", path, headers, body))


def wait_for(stack: Stack, ask: Callable[[], T], good: Callable[[T], bool], seconds: float = 0.0) -> T:
    """Asks until the answer is good or the stack's patience is at its end; the last answer."""
    answer = ask()
    for _ in until(seconds or stack.patience_s):
        if good(answer):
            break
        answer = ask()
    return answer


# --- Loki


def push_lines(stack: Stack, labels: Labels, values: list[list[Any]]) -> Answer:
    """A JSON push of one stream; a value is time in ns, line and, perhaps, structured metadata."""
    stream = {"stream": dict(labels), "values": [[str(value[0]), *value[1:]] for value in values]}
    body = json.dumps({"streams": [stream]}).encode()
    return post(stack, "loki", "/loki/api/v1/push", body, {"Content-Type": "application/json"})


def streams(stack: Stack, selector: str, count: int, around_ns: int) -> list[dict[str, Any]]:
    """The streams of a query, as soon as it finds so many lines."""

    def ask() -> list[dict[str, Any]]:
        answer = get(
            stack,
            "loki",
            "/loki/api/v1/query_range",
            query=selector,
            start=around_ns - 600 * NS,
            end=around_ns + 600 * NS,
            limit=5000,
            direction="forward",
        )
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = json.loads(answer.body)["data"]["result"]
        return found

    return wait_for(stack, ask, lambda found: sum(len(one["values"]) for one in found) >= count)


def lines(found: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Time and text of all lines, in the order of time."""
    return sorted((int(value[0]), value[1]) for one in found for value in one["values"])


# --- Tempo


def span_request(service: str, trace_id: bytes, start_ns: int) -> ExportTraceServiceRequest:
    """One trace of one span."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = service
    span = resource.scope_spans.add().spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name="GET /", kind=2)
    span.start_time_unix_nano, span.end_time_unix_nano = start_ns, start_ns + 5 * MS
    return request


def export(stack: Stack, request: ExportTraceServiceRequest | bytes) -> Answer:
    """An OTLP export."""
    body = request if isinstance(request, bytes) else request.SerializeToString()
    return post(stack, "otlp_http", "/v1/traces", body, OTLP)


# --- Mimir


def write(stack: Stack, labels: Labels, samples: list[tuple[int, float]]) -> Answer:
    """A remote write of one series; samples are times in ms and values."""
    request = WriteRequest()
    series = request.timeseries.add()
    for name, value in sorted(labels.items()):
        series.labels.add(name=name, value=value)
    for at_ms, value in samples:
        series.samples.add(timestamp=at_ms, value=value)
    body = bytes(cramjam.snappy.compress_raw(request.SerializeToString()))
    return post(stack, "mimir", "/api/v1/push", body, REMOTE_WRITE)


def matrix(stack: Stack, query: str, at_ms: int, series: int = 1) -> list[dict[str, Any]]:
    """The result of an instant query, as soon as it has so many series."""

    def ask() -> list[dict[str, Any]]:
        answer = get(stack, "mimir", "/prometheus/api/v1/query", query=query, time=f"{at_ms // 1000}.{at_ms % 1000:03}")
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = json.loads(answer.body)["data"]["result"]
        return found

    return wait_for(stack, ask, lambda found: len(found) >= series)


def now_ns() -> int:
    """Now, in whole milliseconds as all signals can tell them."""
    return time.time_ns() // MS * MS
