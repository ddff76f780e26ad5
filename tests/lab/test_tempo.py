"""The embedded Tempo over real HTTP and gRPC: what the real one answered to the same requests, and what clients do."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from loadgen.lab.processes.serve import serving
from loadgen.lab.s3.localstore import MemoryStore
from loadgen.lab.settings import Limits, ServerSettings
from loadgen.lab.tempo.otlp import METHOD
from loadgen.lab.tempo.server import Tempo

PROTOBUF = {"Content-Type": "application/x-protobuf"}
# A trace that a real Tempo 3.0.3 was sent: "GET /cart" of checkout with two database calls, the second one failed.
CART = b64decode(
    "CtUCCjMKGgoMc2VydmljZS5uYW1lEgoKCGNoZWNrb3V0ChUKC2xvYWRnZW4ucnVuEgYKBGNhcDESnQIKCQoHbG9hZGdlbhJUChAAAQIDBAUGBwgJ"
    "CgsMDQ4PEggBAgMEBQYHASoJR0VUIC9jYXJ0MAI5VIDI14qX6hhB1HDD2oqX6hhKFwoQaHR0cC5zdGF0dXNfY29kZRIDGMgBElsKEAABAgMEBQYH"
    "CAkKCwwNDg8SCAECAwQFBgcCIggBAgMEBQYHASoEZGIgMTADOZTC19eKl+oYQZQutNqKl+oYShcKEGh0dHAuc3RhdHVzX2NvZGUSAxjIAXoAEl0K"
    "EAABAgMEBQYHCAkKCwwNDg8SCAECAwQFBgcDIggBAgMEBQYHASoEZGIgMjADOdQE59eKl+oYQVTspNqKl+oYShcKEGh0dHAuc3RhdHVzX2NvZGUS"
    "AxjIAXoCGAI="
)
CART_ID = "000102030405060708090a0b0c0d0e0f"
START = 1795414024


class Server:
    def __init__(self, tempo: Tempo, url: str, s3: MemoryStore) -> None:
        self.tempo = tempo
        self.url = url
        self.otlp = f"http://127.0.0.1:{tempo.otlp_port}/v1/traces"
        self.s3 = s3

    def push(self, body: bytes = CART) -> requests.Response:
        return requests.post(self.otlp, data=body, headers=PROTOBUF, timeout=5)

    def get(self, path: str, **params: Any) -> requests.Response:
        return requests.get(self.url + path, params=params, timeout=10)

    def flush(self) -> None:
        """Bring everything to S3 and wait for it."""
        assert requests.post(f"{self.url}/flush", timeout=5).status_code == 204
        path, deadline = f"/querier/api/v2/traces/{CART_ID}", time.monotonic() + 5
        while self.get(path, mode="blocks").json() == {"metrics": {}} and time.monotonic() < deadline:
            time.sleep(0.02)

    def search(self, query: str, **params: Any) -> Any:
        answer = self.get("/api/search", q=query, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["traces"]

    def rpc(self, body: bytes) -> bytes:
        with grpc.insecure_channel(f"127.0.0.1:{self.tempo.grpc_port}") as channel:
            answer: bytes = channel.unary_unary(METHOD)(body, timeout=5)
            return answer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    s3 = MemoryStore()
    tempo = Tempo(ServerSettings("tempo", str(tmp_path), flush_age_s=600, flush_check_s=0.05), s3)
    with serving(tempo.app) as url:
        yield Server(tempo, url, s3)


def cart(change: Any) -> bytes:
    """The trace with ``change(span)`` applied to every span."""
    request = ExportTraceServiceRequest.FromString(CART)
    for span in request.resource_spans[0].scope_spans[0].spans:
        change(span)
    return request.SerializeToString()


def with_trace_id(trace_id: bytes) -> bytes:
    return cart(lambda span: setattr(span, "trace_id", trace_id))


def with_span_id(span_id: bytes) -> bytes:
    return cart(lambda span: setattr(span, "span_id", span_id))


JSON_BODY = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "json-svc"}}]},
            "scopeSpans": [
                {
                    "spans": [
                        {
                            "traceId": "5b8efff798038103d269b633813fc60c",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "j",
                            "kind": 2,
                            "startTimeUnixNano": "1795414024091086484",
                            "endTimeUnixNano": "1795414024092086484",
                        }
                    ]
                }
            ],
        }
    ]
}


@pytest.mark.parametrize(
    ("method", "content_type", "body", "status", "answer_type", "answer"),
    [
        ("POST", "application/x-protobuf", CART, 200, "application/x-protobuf", b"\n\0"),
        ("POST", "application/x-protobuf", b"", 200, "application/x-protobuf", b"\n\0"),
        (
            "POST", "application/x-protobuf", b"\xff\xff", 400, "application/x-protobuf",
            b"\x08\x03\x12\x0eunexpected EOF",
        ),
        (
            "POST", "application/x-protobuf", with_trace_id(bytes(16)), 400, "application/x-protobuf",
            b"\x08\x03\x12*trace ids must be 128 bit, received 0 bits",
        ),
        (
            "POST", "application/x-protobuf", with_span_id(bytes(8)), 400, "application/x-protobuf",
            b"\x08\x03\x129span ids must be 64 bit and not all zero, received 0 bits",
        ),
        (
            "POST", "application/x-protobuf", with_trace_id(b"abc"), 400, "application/x-protobuf",
            b"\x08\x03\x12!unmarshal: invalid TraceID length",
        ),
        (
            "POST", "application/json", json.dumps(JSON_BODY).encode(), 200, "application/json",
            b'{"partialSuccess":{}}',
        ),
        (
            "POST", "text/plain", b"x", 415, "text/plain",
            b"415 unsupported media type, supported: [application/json, application/x-protobuf]",
        ),
        (
            "POST", "application/json", b"", 400, "application/json",
            b'{"code":3,"message":"cannot parse the JSON: Expecting value: line 1 column 1 (char 0)"}',
        ),
        ("GET", "", b"", 405, "text/plain", b"405 method not allowed, supported: [POST]"),
    ],
)  # fmt: skip
def test_otlp_http_answers_as_the_real_receiver(
    server: Server, method: str, content_type: str, body: bytes, status: int, answer_type: str, answer: bytes
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    got = requests.request(method, server.otlp, data=body, headers=headers, timeout=5)
    assert (got.status_code, got.headers["Content-Type"], got.content) == (status, answer_type, answer)


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"resourceSpans": 3}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}'],
)
def test_bad_json_is_a_400_with_a_json_status(server: Server, body: bytes) -> None:
    got = requests.post(server.otlp, data=body, headers={"Content-Type": "application/json"}, timeout=5)
    assert got.status_code == 400
    assert got.json()["code"] == 3


def test_a_gzipped_push_is_read_and_a_broken_one_refused(server: Server) -> None:
    headers = {**PROTOBUF, "Content-Encoding": "gzip"}
    assert requests.post(server.otlp, data=gzip.compress(CART), headers=headers, timeout=5).status_code == 200
    assert server.get(f"/api/traces/{CART_ID}").status_code == 200
    for body in (b"no gzip", gzip.compress(CART)[:-9]):
        assert requests.post(server.otlp, data=body, headers=headers, timeout=5).status_code == 400
    headers["Content-Encoding"] = "zstd"
    assert requests.post(server.otlp, data=CART, headers=headers, timeout=5).status_code == 400


def test_grpc_takes_a_push_and_refuses_bad_ids_and_bad_bytes(server: Server) -> None:
    assert server.rpc(CART) == b"\n\0"
    assert server.get(f"/api/v2/traces/{CART_ID}").json()["trace"]["resourceSpans"]
    for body, code, text in (
        (with_trace_id(bytes(16)), grpc.StatusCode.INVALID_ARGUMENT, "trace ids must be 128 bit, received 0 bits"),
        (
            with_trace_id(b"abc"),
            grpc.StatusCode.INTERNAL,
            "grpc: error unmarshalling request: unmarshal: invalid TraceID length",
        ),
        (b"\xff\xff", grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request: unexpected EOF"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            server.rpc(body)
        assert (caught.value.code(), caught.value.details()) == (code, text)
    with pytest.raises(grpc.RpcError) as caught:
        server.rpc(bytes(17 * 1024 * 1024))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_over_the_rate_limit_both_receivers_say_when_to_come_back(tmp_path: Path) -> None:
    settings = ServerSettings("tempo", str(tmp_path), limits=Limits(rate_bytes_per_s=1, burst_bytes=len(CART)))
    tempo = Tempo(settings, MemoryStore())
    with serving(tempo.app) as url:
        server = Server(tempo, url, MemoryStore())
        assert server.push().status_code == 200
        got = server.push()
        assert (got.status_code, got.headers["Retry-After"]) == (429, "5")
        status = Status.FromString(got.content)
        assert status.code == 8
        assert [one.type_url for one in status.details] == ["type.googleapis.com/google.rpc.RetryInfo"]
        headers = {"Content-Type": "application/json"}
        url_of_json = f"http://127.0.0.1:{tempo.otlp_port}/v1/traces"
        refused = requests.post(url_of_json, data=json.dumps(JSON_BODY), headers=headers, timeout=10).json()
        assert refused["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "5s"}]
        with pytest.raises(grpc.RpcError) as caught:
            server.rpc(CART)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = RetryInfo()
        assert Status.FromString(details).details[0].Unpack(info)
        assert info.retry_delay.seconds == 5


CART_JSON = {
    "resource": {
        "attributes": [
            {"key": "service.name", "value": {"stringValue": "checkout"}},
            {"key": "loadgen.run", "value": {"stringValue": "cap1"}},
        ]
    },
    "scopeSpans": [
        {
            "scope": {"name": "loadgen"},
            "spans": [
                {
                    "traceId": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AQIDBAUGBwE=", "name": "GET /cart",
                    "kind": "SPAN_KIND_SERVER", "startTimeUnixNano": "1795414024042086484",
                    "endTimeUnixNano": "1795414024092086484",
                    "attributes": [{"key": "http.status_code", "value": {"intValue": "200"}}], "status": {},
                },
                {
                    "traceId": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AQIDBAUGBwI=", "parentSpanId": "AQIDBAUGBwE=",
                    "name": "db 1", "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": "1795414024043086484",
                    "endTimeUnixNano": "1795414024091086484",
                    "attributes": [{"key": "http.status_code", "value": {"intValue": "200"}}], "status": {},
                },
                {
                    "traceId": "AAECAwQFBgcICQoLDA0ODw==", "spanId": "AQIDBAUGBwM=", "parentSpanId": "AQIDBAUGBwE=",
                    "name": "db 2", "kind": "SPAN_KIND_CLIENT", "startTimeUnixNano": "1795414024044086484",
                    "endTimeUnixNano": "1795414024090086484",
                    "attributes": [{"key": "http.status_code", "value": {"intValue": "200"}}],
                    "status": {"code": "STATUS_CODE_ERROR"},
                },
            ],
        }
    ],
}  # fmt: skip


def test_a_trace_is_read_in_both_versions_as_the_real_one_writes_it(server: Server) -> None:
    server.push()
    assert server.get(f"/api/traces/{CART_ID}").json() == {"batches": [CART_JSON]}
    expected = {"trace": {"resourceSpans": [CART_JSON]}, "metrics": {}}
    assert server.get(f"/api/v2/traces/{CART_ID}").json() == expected
    assert server.get(f"/api/v2/traces/{CART_ID.lstrip('0')}").json() == expected


def test_a_trace_is_read_as_protobuf_on_request(server: Server) -> None:
    server.push()
    sent = ExportTraceServiceRequest.FromString(CART)
    for version, prefix in (("", 0), ("/v2", 3)):
        headers = {"Accept": "application/protobuf"}
        got = requests.get(f"{server.url}/api{version}/traces/{CART_ID}", headers=headers, timeout=5)
        assert got.headers["Content-Type"] == "application/protobuf"
        assert list(TracesData.FromString(got.content[prefix:]).resource_spans) == list(sent.resource_spans)


def test_an_absent_trace_is_404_in_version_1_and_empty_in_version_2(server: Server) -> None:
    absent = "f" * 32
    got = server.get(f"/api/traces/{absent}")
    assert (got.status_code, got.content) == (404, b"")
    assert server.get(f"/api/v2/traces/{absent}").json() == {"trace": {}, "metrics": {}}


@pytest.mark.parametrize(
    ("path", "params", "text"),
    [
        (
            "/api/v2/traces/xyz", {},
            "trace IDs can only contain hex characters: invalid character 'x' at position 1",
        ),
        ("/api/traces/" + "a" * 33, {}, "trace IDs can't be larger than 128 bits"),
        (
            "/api/search", {"q": "{ resource."},
            "invalid TraceQL query: parse error at line 0, col 3: "
            "syntax error: unexpected END_ATTRIBUTE, expecting IDENTIFIER",
        ),
        ("/api/search", {"limit": "0"}, "invalid limit: must be a positive number"),
        ("/api/search", {"limit": "x"}, 'invalid limit: strconv.ParseUint: parsing "x": invalid syntax'),
        ("/api/search", {"limit": "-1"}, 'invalid limit: strconv.ParseUint: parsing "-1": invalid syntax'),
        (
            "/api/search", {"limit": "9" * 20},
            'invalid limit: strconv.ParseUint: parsing "99999999999999999999": value out of range',
        ),
        ("/api/search", {"limit": 262_145}, "limit 262145 exceeds max limit 262144"),
        ("/api/search", {"spss": 101}, "spans per span set exceeds 100. received 101"),
        ("/api/search", {"start": 1}, "http parameter start must be before end. received start=1 end=0"),
        ("/api/search", {"start": 5, "end": 5}, "http parameter start must be before end. received start=5 end=5"),
        (
            "/api/search", {"end": 5},
            "error parsing date range: only one of start and end provided: must provide both or neither",
        ),
        (
            "/api/search", {"start": 1, "end": 604_802},
            "range specified by start and end exceeds 168h0m0s. received start=1 end=604802",
        ),
        (
            "/api/v2/search/tags", {"start": 1, "end": 604_802},
            "range specified by start and end exceeds 168h0m0s. received start=1 end=604802",
        ),
        (
            "/api/metrics/query_range", {"q": "{} | rate()", "start": 1, "end": 86_402, "step": "600s"},
            "metrics query time range exceeds the maximum allowed duration of 24h0m0s",
        ),
        (
            "/api/search", {"start": 9, "end": 3},
            "http parameter start must be before end. received start=9 end=3",
        ),
        ("/api/search", {"tags": "a=b a=c"}, "invalid tags: tag a has been set twice"),
        ("/api/search", {"minDuration": "x"}, 'invalid minDuration: time: invalid duration "x"'),
    ],
)  # fmt: skip
def test_bad_parameters_are_a_400_in_plain_text(server: Server, path: str, params: dict[str, Any], text: str) -> None:
    got = server.get(path, **params)
    assert (got.status_code, got.headers["Content-Type"], got.text) == (400, "text/plain; charset=utf-8", text)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/api/metrics/query_range", {"q": "{}"}),
        ("/api/metrics/query_range", {"q": "{} | rate()", "step": "x"}),
        ("/api/metrics/query_range", {"q": "{} | rate()", "start": "9", "end": "3"}),
        ("/api/metrics/query_range", {"q": "{} | rate()", "step": "1ms"}),
        ("/api/search", {"q": "{} | rate()"}),
        ("/api/search", {"q": "{}", "start": "9" * 18, "end": "9" * 19}),
        ("/api/v2/search/tags", {"scope": "nope"}),
        ("/api/v2/search/tag/service.name/values", {}),
    ],
)
def test_what_it_does_not_know_is_a_400_that_says_so(server: Server, path: str, params: dict[str, str]) -> None:
    server.push()
    got = server.get(path, **params)
    assert got.status_code == 400 and got.text


def test_a_search_answers_as_the_real_one(server: Server) -> None:
    server.push()

    def span(number: int, ns: str, duration: str, key: str, value: str) -> dict[str, Any]:
        return {
            "spanID": f"010203040506070{number}",
            "startTimeUnixNano": ns,
            "durationNanos": duration,
            "attributes": [{"key": key, "value": {"stringValue": value}}],
        }

    def spanset(key: str, value: str) -> dict[str, Any]:
        rows = [("1795414024042086484", "50000000"), ("1795414024043086484", "48000000"),
                ("1795414024044086484", "46000000")]  # fmt: skip
        return {"spans": [span(i + 1, *row, key, value) for i, row in enumerate(rows)], "matched": 3}

    whole = spanset("loadgen.run", "cap1")
    query = '{ resource.loadgen.run="cap1" && duration > 10ms }'
    assert server.search(query, start=START - 600, end=START + 60, limit=5, spss=3) == [
        {
            "traceID": "102030405060708090a0b0c0d0e0f",
            "rootServiceName": "checkout",
            "rootTraceName": "GET /cart",
            "startTimeUnixNano": "1795414024042086484",
            "durationMs": 50,
            "spanSet": whole,
            "spanSets": [whole],
            "serviceStats": {"checkout": {"spanCount": 3, "errorCount": 1}},
        }
    ]
    (found,) = server.search("{ status = error }", start=START - 600, end=START + 60)
    assert found["spanSet"] == {
        "spans": [span(3, "1795414024044086484", "46000000", "status", "error")],
        "matched": 1,
    }
    (found,) = server.search("{}", start=START - 600, end=START + 60, spss=1)
    assert (len(found["spanSet"]["spans"]), found["spanSet"]["matched"]) == (1, 3)
    assert server.search('{ resource.service.name="nothing" }') == []
    assert server.search("{}", start=START - 600, end=START - 300) == []


def test_the_search_of_old_finds_by_tags_and_duration(server: Server) -> None:
    server.push()
    when = {"start": START - 600, "end": START + 60}

    def found(**params: Any) -> int:
        return len(server.get("/api/search", **when, **params).json()["traces"])

    assert found(tags="service.name=checkout http.status_code=200") == 1
    assert found(tags='name="GET /cart" status.code=error') == 1
    assert found(tags="service.name=other") == 0
    assert found(minDuration="40ms") == 1
    assert found(minDuration="60ms") == 0
    assert found(maxDuration="40ms") == 0
    assert found() == 1


def test_a_search_can_lag_behind_lookups_by_id(tmp_path: Path) -> None:
    tempo = Tempo(ServerSettings("tempo", str(tmp_path), flush_age_s=0.1, flush_check_s=0.05), MemoryStore(), 0.5)
    with serving(tempo.app) as url:
        server = Server(tempo, url, MemoryStore())
        when = {"start": START - 600, "end": START + 60}
        server.push()
        assert server.get(f"/api/traces/{CART_ID}").status_code == 200
        assert server.search("{}", **when) == []
        deadline = time.monotonic() + 5
        while not server.search("{}", **when) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(server.search("{}", **when)) == 1


def test_tags_and_their_values_are_listed(server: Server) -> None:
    server.push()
    when = {"start": START - 600, "end": START + 60}
    scopes = {s["name"]: s["tags"] for s in server.get("/api/v2/search/tags", **when).json()["scopes"]}
    assert scopes["resource"] == ["loadgen.run", "service.name"]
    assert scopes["span"] == ["http.status_code"]
    assert "traceDuration" in scopes["intrinsic"]
    assert server.get("/api/search/tags", **when).json()["tagNames"] == [
        "http.status_code", "loadgen.run", "service.name"
    ]  # fmt: skip

    def values(tag: str, **params: Any) -> Any:
        return server.get(f"/api/v2/search/tag/{tag}/values", **when, **params).json()["tagValues"]

    assert values("resource.service.name") == [{"type": "string", "value": "checkout"}]
    assert values(".http.status_code") == [{"type": "int", "value": "200"}]
    assert values("name", q="{ status = error }") == [{"type": "string", "value": "db 2"}]
    assert {"type": "keyword", "value": "error"} in values("status")
    assert server.get("/api/search/tag/service.name/values", **when).json()["tagValues"] == ["checkout"]


@pytest.mark.parametrize(
    "when", [{}, {"start": START - 600, "end": START + 60}, {"start": START, "end": START + 1}], ids=str
)
def test_values_of_a_block_are_the_same_as_in_memory(server: Server, when: dict[str, int]) -> None:
    for number, values in enumerate(({"text": "a", "mixed": "1"}, {"text": "b", "mixed": 1}, {"listed": ["x", "y"]})):
        request = ExportTraceServiceRequest.FromString(with_trace_id(bytes([number] * 15 + [1])))
        for name, value in values.items():
            attribute = request.resource_spans[0].resource.attributes.add(key=name)
            if isinstance(value, list):
                attribute.value.array_value.values.extend(AnyValue(string_value=one) for one in value)
            elif isinstance(value, int):
                attribute.value.int_value = value
            else:
                attribute.value.string_value = str(value)
        server.push(request.SerializeToString())
    server.push()

    def all_values() -> dict[str, Any]:
        names = ("service.name", "text", "mixed", "listed", "nowhere")
        paths = {name: f"/api/v2/search/tag/resource.{name}/values" for name in names}
        got = {name: server.get(path, **when).json()["tagValues"] for name, path in paths.items()}
        return {name: sorted((one["type"], one["value"]) for one in found) for name, found in got.items()}

    before = all_values()
    if when:
        assert before["text"] == [("string", "a"), ("string", "b")]
        assert before["mixed"] == [("int", "1"), ("string", "1")] and not before["nowhere"]
    server.flush()
    assert all_values() == before


def test_rates_are_counted_by_step_and_attribute(server: Server) -> None:
    server.push()
    params = {"start": START - 304, "end": START + 60, "step": "60s"}
    got = server.get("/api/metrics/query_range", q='{ resource.service.name="checkout" } | rate()', **params).json()
    (series,) = got["series"]
    assert series["labels"] == [{"key": "__name__", "value": {"stringValue": "rate"}}]
    assert series["samples"][0]["timestampMs"] == "1795413720000"
    # A sample stands at the end of the step whose spans it counts.
    assert [s for s in series["samples"] if "value" in s] == [{"timestampMs": "1795414080000", "value": 3 / 60}]
    got = server.get("/api/metrics/query_range", q="{} | count_over_time() by(status, name)", **params).json()
    assert len(got["series"]) == 3
    assert got["series"][0]["labels"] == [
        {"key": "status", "value": {"stringValue": "error"}},
        {"key": "name", "value": {"stringValue": "db 2"}},
    ]
    assert sum(s.get("value", 0) for row in got["series"] for s in row["samples"]) == 3


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (START - 24, START - 4, {START - 24: 0, START - 14: 0, START - 4: 0}),
        (START - 18, START + 1, {START - 24: 0, START - 14: 0, START - 4: 0, START + 6: 0.3}),
        (START + 10, START + 16, {START + 6: 0.3, START + 16: 0}),
    ],
)
def test_samples_stand_at_multiples_of_the_step_around_the_range(
    server: Server, start: int, end: int, expected: dict[int, float]
) -> None:
    server.push()
    got = server.get("/api/metrics/query_range", q="{} | rate()", start=start, end=end, step="10s").json()
    found = {int(s["timestampMs"]) // 1000: s.get("value", 0) for s in got["series"][0]["samples"]}
    assert found == pytest.approx(expected)


def test_a_forced_flush_brings_the_trace_to_s3(server: Server) -> None:
    server.push()
    path = f"/querier/api/v2/traces/{CART_ID}"
    assert server.get(path, mode="blocks").json() == {"metrics": {}}
    server.flush()
    assert server.get(path, mode="blocks").json()["trace"]["resourceSpans"] == [CART_JSON]
    assert any(key.endswith("/meta.json") for key in server.s3.objects)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/echo", 200, "echo\n"),
        ("/ready", 200, "ready\n"),
        ("/api/nope", 404, "404 page not found\n"),
        ("/", 404, "404 page not found\n"),
    ],
)
def test_plain_answers_are_those_of_the_real_one(server: Server, path: str, status: int, text: str) -> None:
    got = server.get(path)
    assert (got.status_code, got.text) == (status, text)
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert got.headers["X-Content-Type-Options"] == "nosniff"


def test_buildinfo_version_and_metrics_are_served(server: Server) -> None:
    server.push()
    server.push(with_trace_id(bytes(16)))
    assert set(server.get("/api/status/buildinfo").json()) >= {"version", "revision", "branch"}
    assert "version" in server.get("/status/version").text
    text = server.get("/metrics").text
    assert 'tempo_distributor_spans_received_total{tenant="single-tenant"} 3\n' in text
    assert 'tempo_discarded_spans_total{reason="invalid_trace_id",tenant="single-tenant"} 3\n' in text
    assert "tempo_ingester_live_traces 1\n" in text
    assert "process_resident_memory_bytes" in text


def test_while_s3_is_away_a_lookup_that_needs_it_is_a_500(server: Server) -> None:
    server.push()
    server.tempo.store.flush(force=True)
    server.tempo.store.cache._loaded.clear()
    server.s3.away = True
    assert server.get(f"/api/traces/{CART_ID}").status_code == 500
    assert server.push(with_trace_id(b"b" * 16)).status_code == 200
    server.s3.away = False
    assert server.get(f"/api/traces/{CART_ID}").status_code == 200


def test_defects_are_ordered_over_http(server: Server) -> None:
    assert requests.post(f"{server.url}/lab/defects", json={"kind": "alter"}, timeout=5).status_code == 201
    server.push()
    body = server.get(f"/api/traces/{CART_ID}").json()
    assert body["batches"][0]["scopeSpans"][0]["spans"][0]["name"] == "GET /carx"
    (order,) = server.get("/lab/defects").json()["defects"]
    assert order["hits"][0]["item"] == f"trace {CART_ID}"


@pytest.mark.parametrize("transport", ["http", "grpc"])
def test_the_opentelemetry_sdks_own_exporters_work(server: Server, transport: str) -> None:
    exporter: Any
    if transport == "http":
        exporter = HttpExporter(endpoint=server.otlp, timeout=5)
    else:
        exporter = GrpcExporter(endpoint=f"127.0.0.1:{server.tempo.grpc_port}", insecure=True, timeout=5)
    provider = TracerProvider(resource=Resource.create({"service.name": "sdk"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
        inner.set_attribute("n", 1)
        inner.add_event("happened", {"why": "test"})
    assert provider.force_flush(5000)
    provider.shutdown()
    trace_id = f"{outer.get_span_context().trace_id:032x}"
    spans = server.get(f"/api/traces/{trace_id}").json()["batches"][0]["scopeSpans"][0]["spans"]
    assert [span["name"] for span in spans] == ["outer", "inner"]
    assert spans[1]["events"][0]["name"] == "happened"
    (found,) = server.search('{ resource.service.name = "sdk" && span.n = 1 }')
    assert found["traceID"] == trace_id.lstrip("0")


def free_ports(count: int) -> list[int]:
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind(("127.0.0.1", 0))
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def start(config: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "loadgen.lab.tempo.server", str(config)], env={**os.environ})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if requests.get(f"http://127.0.0.1:{port}/ready", timeout=1).ok:
                return process
        except requests.ConnectionError:
            assert process.poll() is None
            time.sleep(0.02)
    process.kill()
    process.wait()
    raise AssertionError("the server did not become ready")


def test_a_killed_process_comes_back_with_all_that_it_had_acknowledged(tmp_path: Path) -> None:
    port, otlp, rpc = free_ports(3)
    config = tmp_path / "tempo.json"
    settings = ServerSettings(
        "tempo", str(tmp_path / "data"), port=port, otlp_port=otlp, grpc_port=rpc,
        s3_endpoint=f"file://{tmp_path}/s3", s3_bucket="tempo-traces", flush_age_s=0.2, flush_check_s=0.05,
    )  # fmt: skip
    settings.save(config)
    acknowledged: list[str] = []
    process = start(config, port)
    try:
        for number in range(1, 121):
            if number % 40 == 0:
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = start(config, port)
            trace_id = number.to_bytes(16, "big")
            answer = requests.post(
                f"http://127.0.0.1:{otlp}/v1/traces", data=with_trace_id(trace_id), headers=PROTOBUF, timeout=5
            )
            if answer.status_code == 200:
                acknowledged.append(trace_id.hex())
            time.sleep(0.005)
        assert len(acknowledged) == 120
        for text in acknowledged:
            got = requests.get(f"http://127.0.0.1:{port}/api/traces/{text}", timeout=10).json()
            assert len(got["batches"][0]["scopeSpans"][0]["spans"]) == 3, text
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()


def test_a_taken_port_is_named_and_ends_with_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for ports in ({"otlp_port": port}, {"grpc_port": port}, {"port": port}):
            config = tmp_path / "tempo.json"
            ServerSettings("tempo", str(tmp_path / "data"), **ports).save(config)
            done = subprocess.run(
                [sys.executable, "-m", "loadgen.lab.tempo.server", str(config)],
                capture_output=True,
                text=True,
                timeout=20,
            )
            assert done.returncode == 2
            assert f"127.0.0.1:{port}: cannot listen" in done.stderr
            assert "Traceback" not in done.stderr
