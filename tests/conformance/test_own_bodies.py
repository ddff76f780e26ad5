"""The bodies that loadgen lays out by hand, sent to the servers and read back exactly.

Snappy blocks that no compressor made, and varints that are padded to a fixed width, are valid, but unusual.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import cramjam
from asking import LOKI_PUSH, NS, REMOTE_WRITE, export, fresh, get, lines, matrix, now_ns, post, streams, wait_for
from stacks import Stack

from loadgen.kinds.load import LogLoad, MetricLoad, TraceLoad
from loadgen.kinds.logs.source import LogSource
from loadgen.kinds.metrics.source import MetricSource
from loadgen.kinds.traces.source import SpanFacts, TraceSource
from loadgen.model import RunKey

Need = Callable[..., Stack]
MS = 10**6
_KINDS = {"SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2}


def key(word: str, ago_s: int = 4) -> RunKey:
    """A run that began on a whole second, a little ago."""
    return RunKey(fresh(word), 7, now_ns() // NS * NS - ago_s * NS)


def by_compressor(plain: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(plain))


def test_the_log_body_is_taken_and_every_line_comes_back_as_it_was_made(need: Need) -> None:
    stack, run = need("loki"), key("logs")
    source = LogSource(run, LogLoad(300, 2 * NS))
    for user in range(3):
        batch = source.batch(user, 0)
        wire = bytes(source.body(batch).wire)
        plain = bytes(cramjam.snappy.decompress_raw(wire))
        assert wire != by_compressor(plain)
        if batch.due_ns % NS == 0:
            assert b"\x10\x80\x80\x80\x80\x00" in plain, "no padded nanoseconds in the body"
        assert post(stack, "loki", "/loki/api/v1/push", wire, LOKI_PUSH).status == 204
        labels = dict(source.labels(user))
        found = streams(stack, f'{{run="{run.run}",pod="{labels["pod"]}"}}', batch.items, batch.due_ns)
        assert lines(found) == list(zip(source.line_times(batch).tolist(), source.lines(batch), strict=True))
        assert all(labels.items() <= one["stream"].items() for one in found)
    assert source.batch(0, 0).due_ns % NS == 0


def test_the_metrics_body_is_taken_and_every_sample_comes_back_as_it_was_made(need: Need) -> None:
    stack, run = need("mimir"), key("metrics")
    source = MetricSource(run, MetricLoad(48, 2 * NS, 5))
    made: dict[frozenset[tuple[str, str]], list[tuple[int, float]]] = {}
    for n in range(2):
        batch = source.batch(0, n)
        wire = bytes(source.body(batch).wire)
        assert wire != by_compressor(bytes(cramjam.snappy.decompress_raw(wire)))
        assert post(stack, "mimir", "/api/v1/push", wire, REMOTE_WRITE).status == 200
        times = source.times_ms(batch).tolist()
        for labels, values in zip(source.series(0), source.values(batch).tolist(), strict=True):
            made.setdefault(frozenset(labels), []).extend(zip(times, values, strict=True))
    last_ms = source.batch(0, 1).due_ns // MS
    found = matrix(stack, f'{{run="{run.run}"}}[2m]', last_ms, len(made))
    read = {
        frozenset(one["metric"].items()): [(round(at * 1000), float(value)) for at, value in one["values"]]
        for one in found
    }
    assert read == made


def test_the_traces_body_is_taken_and_every_span_comes_back_as_it_was_made(need: Need) -> None:
    stack, run = need("otlp_http", "tempo"), key("traces", 420)
    # Sequence numbers around 128 and 16,384, whose shortest varints differ in width.
    source = TraceSource(run, TraceLoad(4, NS // 10))
    for n in (0, 32, 4096):
        batch = source.batch(0, n)
        assert export(stack, bytes(source.body(batch).wire)).status == 200
        for spans in source.spans(batch):
            path = f"/api/v2/traces/{spans[0].trace_id.hex()}"
            body = wait_for(
                stack,
                lambda path=path: json.loads(get(stack, "tempo", path).body),
                lambda got: len(_spans(got, run.run)) == 8,
            )
            assert sorted(_spans(body, run.run), key=_id) == sorted(spans, key=_id)


def _id(span: SpanFacts) -> bytes:
    return span.span_id


def _spans(body: dict[str, Any], run: str) -> list[SpanFacts]:
    found = []
    for resource in body["trace"].get("resourceSpans", ()):
        of = {one["key"]: one["value"]["stringValue"] for one in resource["resource"]["attributes"]}
        assert (of["loadgen.run"], of["loadgen.user"]) == (run, "00000")
        for part in resource["scopeSpans"]:
            assert part["scope"]["name"] == "loadgen"
            found.extend(_span(span, of["service.name"]) for span in part["spans"])
    return found


def _span(span: dict[str, Any], service: str) -> SpanFacts:
    return SpanFacts(
        trace_id=base64.b64decode(span["traceId"]),
        span_id=base64.b64decode(span["spanId"]),
        parent_id=base64.b64decode(span.get("parentSpanId", "")),
        service=service,
        name=span["name"],
        kind=_KINDS[span["kind"]],
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        status={"": 0, "STATUS_CODE_ERROR": 2}[span["status"].get("code", "")],
        attributes=tuple((one["key"], _value(one["value"])) for one in span["attributes"]),
    )


def _value(value: dict[str, Any]) -> str | int:
    return int(value["intValue"]) if "intValue" in value else str(value["stringValue"])
