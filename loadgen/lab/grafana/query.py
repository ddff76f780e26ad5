"""``POST /api/ds/query`` of the embedded Grafana: panels' queries, turned into requests of the components."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from loadgen.lab.grafana import frames
from loadgen.lab.grafana.tempo import query_tempo
from loadgen.lab.grafana.times import (
    MS,
    QueryError,
    TimeRange,
    interpolate,
    parse_duration_ms,
    parse_time,
    step_ms,
)
from loadgen.lab.grafana.upstream import Upstream, UpstreamError
from loadgen.lab.settings import LabDatasource

_DEFAULT_LINES = 1_000


class NoSuchSource(Exception):
    """A query names a data source that there is not."""


def answer(
    request: object, sources: Mapping[str, LabDatasource], upstream: Upstream, now_ns: int
) -> tuple[int, dict[str, Any]]:
    """Answers a whole request.

    Args:
        request: the body, parsed.
        sources: data sources by uid.
        upstream: the connections.
        now_ns: what ``now`` means.

    Returns:
        HTTP status (200, or 400 if any query failed) and body.

    Raises:
        QueryError: the request as a whole makes no sense.
        NoSuchSource: an unknown data source.
    """
    if not isinstance(request, dict):
        raise QueryError("bad request data")
    queries = request.get("queries")
    if not isinstance(queries, list) or not queries or not all(isinstance(query, dict) for query in queries):
        raise QueryError("No queries found in query")
    whole = _range(request, now_ns)
    planned = [(str(query.get("refId") or "A"), query, _source(query, sources)) for query in queries]
    results: dict[str, Any] = {}
    status = 200
    for ref_id, query, source in planned:
        own = query.get("timeRange")
        try:
            time_range = _range(own, now_ns) if isinstance(own, dict) else whole
            results[ref_id] = {"status": 200, "frames": _run(query, ref_id, source, upstream, time_range)}
        except QueryError as error:
            status = 400
            results[ref_id] = {
                "error": str(error), "errorSource": "downstream", "status": error.status, "frames": [],
            }  # fmt: skip
    return status, {"results": results}


def _range(request: dict[str, Any], now_ns: int) -> TimeRange:
    span = TimeRange(parse_time(request.get("from", "now-6h"), now_ns), parse_time(request.get("to", "now"), now_ns))
    if span.to_ns < span.from_ns:
        raise QueryError("the time range ends before it begins; swap from and to")
    return span


def _source(query: dict[str, Any], sources: Mapping[str, LabDatasource]) -> LabDatasource:
    named = query.get("datasource")
    uid = named.get("uid") if isinstance(named, dict) else named
    if uid is None and query.get("datasourceId") is not None:
        # The number that the list of data sources gives them.
        number = query["datasourceId"]
        if isinstance(number, int) and 1 <= number <= len(sources):
            return list(sources.values())[number - 1]
    source = sources.get(uid) if isinstance(uid, str) else None
    if source is None:
        raise NoSuchSource(str(uid))
    return source


def _run(
    query: dict[str, Any], ref_id: str, source: LabDatasource, upstream: Upstream, time_range: TimeRange
) -> list[frames.Frame]:
    try:
        if source.type == "loki":
            return _loki(query, ref_id, source, upstream, time_range)
        if source.type == "tempo":
            return query_tempo(query, ref_id, source, upstream, time_range)
        if source.type == "prometheus":
            return _prometheus(query, ref_id, source, upstream, time_range)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise QueryError(f"the answer of {source.name} is not of a known form: {error!r}", 502) from error
    raise QueryError(f"no plugin for data sources of type '{source.type}'; known are loki, prometheus, tempo", 404)


def _expression(query: dict[str, Any], step: int, time_range: TimeRange) -> str:
    text = query.get("expr")
    if not isinstance(text, str) or not text.strip():
        raise QueryError("the query has no 'expr'")
    return interpolate(text, step, time_range)


def _get(source: LabDatasource, upstream: Upstream, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    url = f"{source.url.rstrip('/')}{path}?{urlencode(parameters)}"
    try:
        got = upstream.request("GET", url, {"Accept": "application/json"})
    except UpstreamError as error:
        raise QueryError(str(error), 504 if error.timed_out else 502) from error
    if got.status != 200:
        raise QueryError(_error_text(got.body) or f"status {got.status}", got.status)
    try:
        data = json.loads(got.body)
    except ValueError as error:
        raise QueryError(f"error reading the answer of {source.name}: {error}", 502) from error
    if not isinstance(data, dict):
        raise QueryError(f"error reading the answer of {source.name}: not an object", 502)
    return data


def _error_text(body: bytes) -> str:
    text = body[:4_000].decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except ValueError:
        return text
    if isinstance(data, dict):
        parts = [str(data[key]) for key in ("errorType", "error", "message") if data.get(key)]
        return ": ".join(parts) or text
    return text


def _loki(
    query: dict[str, Any], ref_id: str, source: LabDatasource, upstream: Upstream, time_range: TimeRange
) -> list[frames.Frame]:
    minimum = parse_duration_ms(query.get("step"))
    step = step_ms(time_range, query.get("intervalMs"), query.get("maxDataPoints"), minimum)
    text = _expression(query, step, time_range)
    kind = query.get("queryType") or ("instant" if query.get("instant") else "range")
    direction = query.get("direction") or "backward"
    if direction not in ("backward", "forward"):
        raise QueryError(f"invalid direction {direction!r}; give backward or forward")
    limit = query.get("maxLines")
    lines = limit if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0 else _DEFAULT_LINES
    parameters = {"query": text, "limit": str(lines), "direction": str(direction)}
    if kind == "range":
        parameters.update(start=str(time_range.from_ns), end=str(time_range.to_ns), step=f"{step}ms")
        path = "/loki/api/v1/query_range"
    elif kind == "instant":
        parameters["time"] = str(time_range.to_ns)
        path = "/loki/api/v1/query"
    else:
        raise QueryError(f"invalid queryType {kind!r}; give range or instant")
    data = _get(source, upstream, path, parameters)
    form, results = frames.check_shape(data, "streams", "matrix", "vector", "scalar")
    if form == "streams":
        made = frames.log_frame(ref_id, results, f"Expr: {text}", data["data"].get("stats") or {})
        return [made] if results else []
    if form == "scalar":
        return [frames.scalar_frame(ref_id, results, f"Expr: {text}")]
    executed = f"Expr: {text}\nStep: {_seconds(step)}" if form == "matrix" else f"Expr: {text}"
    meta_type = "timeseries-multi" if form == "matrix" else "numeric-multi"
    return frames.series_frames(
        ref_id, results, form, executed, step if form == "matrix" else 0, meta_type,
        prometheus=False, pattern=_text(query.get("legendFormat")),
    )  # fmt: skip


def _prometheus(
    query: dict[str, Any], ref_id: str, source: LabDatasource, upstream: Upstream, time_range: TimeRange
) -> list[frames.Frame]:
    minimum = parse_duration_ms(query.get("interval"))
    step = step_ms(time_range, query.get("intervalMs"), query.get("maxDataPoints"), minimum)
    text = _expression(query, step, time_range)
    instant = bool(query.get("instant"))
    ranged = bool(query.get("range", not instant))
    if query.get("format", "time_series") not in ("time_series", "table", "heatmap"):
        raise QueryError(f"invalid format {query.get('format')!r}; give time_series, table or heatmap")
    made: list[frames.Frame] = []
    executed = f"Expr: {text}\nStep: {_seconds(step)}"
    pattern = _text(query.get("legendFormat"))
    if ranged:
        # Aligned, so that a panel that is loaded again shows the same points.
        start = time_range.from_ns // MS // step * step
        end = time_range.to_ns // MS // step * step
        parameters = {"query": text, "start": f"{start / 1000:.3f}", "end": f"{end / 1000:.3f}",
                      "step": f"{step / 1000:.3f}"}  # fmt: skip
        data = _get(source, upstream, "/api/v1/query_range", parameters)
        form, results = frames.check_shape(data, "matrix")
        made += frames.series_frames(
            ref_id, results, form, executed, step, "timeseries-multi", prometheus=True, pattern=pattern
        )
    if instant:
        data = _get(source, upstream, "/api/v1/query", {"query": text, "time": f"{time_range.to_ns / 1e9:.3f}"})
        form, results = frames.check_shape(data, "vector", "matrix", "scalar")
        if form == "scalar":
            made.append(frames.scalar_frame(ref_id, results, executed))
        else:
            meta_type = "timeseries-multi" if form == "matrix" else "numeric-multi"
            made += frames.series_frames(
                ref_id, results, form, executed, 0, meta_type, prometheus=True, pattern=pattern
            )
    return made or [frames.empty_frame(ref_id, executed)]


def _seconds(step: int) -> str:
    return f"{step // 1000}s" if step % 1000 == 0 else f"{step}ms"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def by_uid(sources: Sequence[LabDatasource]) -> dict[str, LabDatasource]:
    """Data sources by uid, in their order."""
    return {source.uid: source for source in sources}
