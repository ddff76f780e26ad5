"""Tempo's answers as Grafana's data frames: a trace by its id, and search results."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from loadgen.lab.grafana.frames import Frame, field, frame
from loadgen.lab.grafana.times import QueryError, TimeRange
from loadgen.lab.grafana.upstream import Upstream, UpstreamError
from loadgen.lab.settings import LabDatasource

_KINDS = {
    "SPAN_KIND_INTERNAL": "internal",
    "SPAN_KIND_SERVER": "server",
    "SPAN_KIND_CLIENT": "client",
    "SPAN_KIND_PRODUCER": "producer",
    "SPAN_KIND_CONSUMER": "consumer",
}
_STATUS = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_TRACE_FIELDS = (
    ("traceID", "string"),
    ("spanID", "string"),
    ("parentSpanID", "string"),
    ("operationName", "string"),
    ("serviceName", "string"),
    ("kind", "string"),
    ("statusCode", "number"),
    ("statusMessage", "string"),
    ("instrumentationLibraryName", "string"),
    ("instrumentationLibraryVersion", "string"),
    ("traceState", "string"),
    ("serviceTags", "other"),
    ("startTime", "number"),
    ("duration", "number"),
    ("logs", "other"),
    ("references", "other"),
    ("tags", "other"),
)


def query_tempo(
    query: dict[str, Any], ref_id: str, source: LabDatasource, upstream: Upstream, time_range: TimeRange
) -> list[Frame]:
    """Answers a query of type ``traceId`` or ``traceql``. Raises QueryError."""
    text = query.get("query")
    kind = query.get("queryType") or "traceql"
    if not isinstance(text, str) or not text.strip():
        raise QueryError("trace id is required" if kind == "traceId" else "query is required")
    text = text.strip()
    # Grafana's editor takes a bare trace id in its TraceQL tab too.
    if kind == "traceId" or (kind == "traceql" and all(c in "0123456789abcdefABCDEF" for c in text)):
        return [_trace(text, ref_id, source, upstream)]
    if kind in ("traceql", "traceqlSearch"):
        return [_search(text, query, ref_id, source, upstream, time_range)]
    raise QueryError(f"unsupported query type: '{kind}' for query with refID '{ref_id}'; known are traceId and traceql")


def _get(source: LabDatasource, upstream: Upstream, path: str) -> tuple[int, bytes]:
    try:
        answer = upstream.request("GET", source.url.rstrip("/") + path, {"Accept": "application/json"})
    except UpstreamError as error:
        raise QueryError(f"failed get to tempo: {error}", 502) from error
    return answer.status, answer.body


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError as error:
        raise QueryError(f"failed to convert tempo response: {error}", 502) from error
    if not isinstance(data, dict):
        raise QueryError("failed to convert tempo response: not an object", 502)
    return data


def _trace(trace_id: str, ref_id: str, source: LabDatasource, upstream: Upstream) -> Frame:
    if not all(c in "0123456789abcdefABCDEF" for c in trace_id) or len(trace_id) > 32:
        raise QueryError(f"failed to get trace with id: {trace_id} Status: 400 Bad Request Body: not a trace id")
    status, body = _get(source, upstream, f"/api/v2/traces/{trace_id}")
    version_2 = status != 404
    if not version_2:
        status, body = _get(source, upstream, f"/api/traces/{trace_id}")
    if status == 404:
        raise QueryError(f"failed to get trace with id: {trace_id} Status: 404 Not Found", 404)
    if status != 200:
        text = body[:500].decode("utf-8", "replace")
        raise QueryError(f"failed to get trace with id: {trace_id} Status: {status} Body: {text}", status)
    data = _json(body)
    trace = data.get("trace") if version_2 else data
    groups = (trace.get("resourceSpans") or trace.get("batches")) if isinstance(trace, dict) else None
    if not groups:
        raise QueryError(f"failed to get trace with id: {trace_id} Status: 404 Not Found", 404)
    try:
        rows = [row for group in groups for row in _rows(group)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise QueryError(f"failed to transform trace {trace_id} to data frame: {error}", 502) from error
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in _TRACE_FIELDS]
    meta: dict[str, Any] = {"preferredVisualisationType": "trace"}
    if version_2:
        meta["custom"] = {"partial": data.get("status") == "PARTIAL", "message": data.get("message", "")}
    return frame(ref_id, "Trace", meta, [field(name, kind) for name, kind in _TRACE_FIELDS], columns)


def _rows(group: dict[str, Any]) -> list[tuple[Any, ...]]:
    resource_tags = _tags((group.get("resource") or {}).get("attributes"))
    services = (str(tag["value"]) for tag in resource_tags if tag["key"] == "service.name")
    service = next(services, "OTLPResourceNoServiceName")
    rows = []
    for scope in group.get("scopeSpans") or ():
        library = scope.get("scope") or {}
        for span in scope.get("spans") or ():
            start, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
            status = span.get("status") or {}
            code = status.get("code", 0)
            rows.append(
                (
                    _id(span["traceId"], 32),
                    _id(span["spanId"], 16),
                    _id(span.get("parentSpanId", ""), 16),
                    span.get("name", ""),
                    service,
                    _KINDS.get(str(span.get("kind", "")), ""),
                    _STATUS.get(code, 0) if isinstance(code, str) else int(code),
                    status.get("message", ""),
                    library.get("name", ""),
                    library.get("version", ""),
                    span.get("traceState", ""),
                    resource_tags,
                    start / 1_000_000,
                    (end - start) / 1_000_000,
                    [_log(event) for event in span.get("events") or ()] or None,
                    [_reference(link) for link in span.get("links") or ()] or None,
                    _tags(span.get("attributes")),
                )
            )
    return rows


def _id(text: str, digits: int) -> str:
    """An id as hex. Tempo's JSON has it in base64; 22 or 24, and 11 or 12 characters then."""
    if not text or (len(text) == digits and all(c in "0123456789abcdefABCDEF" for c in text)):
        return text.lower()
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).hex()
    except (binascii.Error, ValueError):
        return text


def _tags(attributes: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [{"key": row["key"], "value": _attribute(row.get("value") or {})} for row in attributes or ()]


def _attribute(value: dict[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind in ("arrayValue", "kvlistValue"):
            return json.dumps(content, separators=(",", ":"))
        return content
    return None


def _log(event: dict[str, Any]) -> dict[str, Any]:
    fields = [{"key": "message", "value": event["name"]}] if event.get("name") else []
    fields += _tags(event.get("attributes"))
    return {"timestamp": int(event.get("timeUnixNano", 0)) / 1_000_000, "fields": fields}


def _reference(link: dict[str, Any]) -> dict[str, Any]:
    return {
        "spanID": _id(link.get("spanId", ""), 16),
        "traceID": _id(link.get("traceId", ""), 32).lstrip("0"),
        "tags": _tags(link.get("attributes")),
    }


def _search(
    text: str, query: dict[str, Any], ref_id: str, source: LabDatasource, upstream: Upstream, time_range: TimeRange
) -> Frame:
    parameters: dict[str, str] = {"q": text}
    for name in ("limit", "spss"):
        value = query.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            parameters[name] = str(value)
    start_s, end_s = time_range.from_ns // 1_000_000_000, -(-time_range.to_ns // 1_000_000_000)
    parameters.update(start=str(start_s), end=str(max(end_s, start_s + 1)))
    status, body = _get(source, upstream, f"/api/search?{urlencode(parameters)}")
    if status != 200:
        raise QueryError(f"{body[:500].decode('utf-8', 'replace').strip()} (status {status})", status)
    traces = _json(body).get("traces") or []
    try:
        traces = sorted(traces, key=lambda trace: -int(trace.get("startTimeUnixNano", 0)))
        return _spans(traces, ref_id) if query.get("tableType") == "spans" else _traces(traces, ref_id, source)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise QueryError(f"failed to convert tempo response: {error}", 502) from error


def _traces(traces: Sequence[dict[str, Any]], ref_id: str, source: LabDatasource) -> Frame:
    link = {"datasourceUid": source.uid, "datasourceName": source.name,
            "query": {"query": "${__value.raw}", "queryType": "traceql"}}  # fmt: skip
    fields = [
        field("traceID", "string", displayNameFromDS="Trace ID",
              links=[{"title": "Trace: ${__value.raw}", "url": "", "internal": link}]),
        field("startTime", "time", displayNameFromDS="Start time"),
        field("traceService", "string", displayNameFromDS="Service"),
        field("traceName", "string", displayNameFromDS="Name"),
        field("traceDuration", "number", displayNameFromDS="Duration", unit="ms", noValue="<1 ms"),
    ]  # fmt: skip
    values: list[list[Any]] = [
        [trace.get("traceID", "") for trace in traces],
        [int(trace.get("startTimeUnixNano", 0)) // 1_000_000 for trace in traces],
        [trace.get("rootServiceName", "") for trace in traces],
        [trace.get("rootTraceName", "") for trace in traces],
        [trace.get("durationMs") or None for trace in traces],
    ]
    meta = {"preferredVisualisationType": "table", "custom": {"uniqueRowIdFields": [0]}}
    return frame(ref_id, "Traces", meta, fields, values)


def _spans(traces: Sequence[dict[str, Any]], ref_id: str) -> Frame:
    rows = []
    for trace in traces:
        sets = trace.get("spanSets") or ([trace["spanSet"]] if trace.get("spanSet") else [])
        rows += [
            (trace, span, {tag["key"]: tag["value"] for tag in _tags(span.get("attributes"))})
            for group in sets
            for span in group.get("spans") or ()
        ]
    names = sorted({name for _, _, tags in rows for name in tags})
    fields = [
        field("traceIdHidden", "string", custom={"hidden": True}),
        field("traceService", "string", displayNameFromDS="Trace Service"),
        field("traceName", "string", displayNameFromDS="Trace Name"),
        field("spanID", "string", displayNameFromDS="Span ID", unit="string"),
        field("time", "time", displayNameFromDS="Start time"),
        field("name", "string", displayNameFromDS="Name"),
        *(field(name, "string", displayNameFromDS=name) for name in names),
        field("duration", "number", displayNameFromDS="Duration", unit="ns"),
    ]
    values: list[list[Any]] = [
        [trace.get("traceID", "") for trace, _, _ in rows],
        [trace.get("rootServiceName", "") for trace, _, _ in rows],
        [trace.get("rootTraceName", "") for trace, _, _ in rows],
        [span.get("spanID", "") for _, span, _ in rows],
        [int(span.get("startTimeUnixNano", 0)) // 1_000_000 for _, span, _ in rows],
        [span.get("name", "") for _, span, _ in rows],
        *([tags.get(name) for _, _, tags in rows] for name in names),
        [int(span.get("durationNanos", 0)) for _, span, _ in rows],
    ]
    meta = {"preferredVisualisationType": "table", "custom": {"uniqueRowIdFields": [3]}}
    return frame(ref_id, "Spans", meta, fields, values)
