"""The embedded Tempo's query API: traces by id, search, tags, metrics, and its own state."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadgen.lab.exposition import Exposition
from loadgen.lab.processes.serve import plain
from loadgen.lab.tempo.blocks import NS
from loadgen.lab.tempo.json import Json, trace_json
from loadgen.lab.tempo.lexer import TraceQLError, parse_duration_ns
from loadgen.lab.tempo.match import SpanMatcher
from loadgen.lab.tempo.nodes import Query
from loadgen.lab.tempo.search import (
    INTRINSIC_TAGS,
    MS,
    Bounds,
    SearchRange,
    Selector,
    TagSelector,
    attribute_named,
    query_range,
    search,
    tag_names,
    tag_values,
)
from loadgen.lab.tempo.store import TraceStore
from loadgen.lab.tempo.trace import to_protobuf
from loadgen.lab.tempo.traceql import parse

MAX_STEPS = 11_000
# Tempo's own defaults.
MAX_LIMIT, MAX_SPANS_PER_SET = 262_144, 100
SEARCH_RANGE_S, METRICS_RANGE_S = 168 * 3600, 24 * 3600

_VARY = {"Vary": "Accept-Encoding"}
_NOT_HEX = re.compile("[^0-9a-fA-F]")
_LOGFMT = re.compile(r'\s*([^\s="]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s="]*))(?=\s|$)')


class TempoBadRequest(Exception):
    """A parameter that cannot be used; answered with 400 and this text."""


class Api:
    """The handlers. They are synchronous: the server runs them in threads, as they may wait for S3."""

    def __init__(
        self,
        store: TraceStore,
        metrics: Exposition,
        flush: Callable[[], None],
        search_delay_s: float = 0.0,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._flush = flush
        self._search_delay_ns = int(search_delay_s * NS)
        self._clock_ns = clock_ns

    def routes(self) -> list[Route]:
        """Every path."""
        return [
            Route("/api/traces/{trace_id}", self._checked(self._trace_v1)),
            Route("/api/v2/traces/{trace_id}", self._checked(self._trace_v2)),
            Route("/querier/api/v2/traces/{trace_id}", self._checked(self._trace_blocks)),
            Route("/api/search", self._checked(self._search)),
            Route("/api/search/tags", self._checked(self._tags_v1)),
            Route("/api/v2/search/tags", self._checked(self._tags_v2)),
            Route("/api/search/tag/{tag:path}/values", self._checked(self._values_v1)),
            Route("/api/v2/search/tag/{tag:path}/values", self._checked(self._values_v2)),
            Route("/api/metrics/query_range", self._checked(self._query_range)),
            Route("/api/echo", lambda _: plain(200, "echo\n")),
            Route("/ready", lambda _: plain(200, "ready\n")),
            Route("/metrics", lambda _: self._metrics.response()),
            Route("/api/status/buildinfo", self._buildinfo),
            Route("/status/version", self._version),
            Route("/flush", self._forced_flush, methods=["GET", "POST"]),
            *self._store.defects.routes(),
        ]

    def _checked(self, handler: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            try:
                return handler(request)
            except TempoBadRequest as error:
                return Response(str(error), 400, _VARY, "text/plain; charset=utf-8")

        return handle

    def _trace_v1(self, request: Request) -> Response:
        view = self._store.trace(_trace_id(request), *_optional_range(request))
        if view is None:
            return Response(status_code=404, headers=_VARY)
        if _wants_protobuf(request):
            return Response(to_protobuf(view), 200, _VARY, "application/protobuf")
        return _json(trace_json(view, "batches"))

    def _trace_v2(self, request: Request) -> Response:
        view = self._store.trace(_trace_id(request), *_optional_range(request))
        data = to_protobuf(view) if view is not None else b""
        if _wants_protobuf(request):
            # TraceByIDResponse: trace = 1.
            return Response(b"\x0a" + _varint(len(data)) + data, 200, _VARY, "application/protobuf")
        return _json({"trace": {} if view is None else trace_json(view, "resourceSpans"), "metrics": {}})

    def _trace_blocks(self, request: Request) -> Response:
        mode = request.query_params.get("mode", "all")
        if mode not in ("all", "blocks", "ingesters", "recent"):
            raise TempoBadRequest(f"invalid value for mode {mode}")
        if mode in ("ingesters", "recent"):
            raise TempoBadRequest(f"mode {mode} is not known here; use blocks or all")
        view = self._store.trace(_trace_id(request), *_optional_range(request), blocks_only=mode == "blocks")
        trace = {} if view is None else {"trace": trace_json(view, "resourceSpans")}
        # This is the querier itself, without the front that compresses.
        return _json({**trace, "metrics": {}}, {})

    def _search(self, request: Request) -> Response:
        params = request.query_params
        bounds = Bounds(
            _positive(params, "limit", 20),
            _number(params, "spss", 3),
            _duration(params, "minDuration"),
            _duration(params, "maxDuration"),
        )
        if bounds.spans_per_set > MAX_SPANS_PER_SET:
            raise TempoBadRequest(f"spans per span set exceeds {MAX_SPANS_PER_SET}. received {bounds.spans_per_set}")
        if bounds.min_duration_ns and bounds.max_duration_ns and bounds.min_duration_ns > bounds.max_duration_ns:
            raise TempoBadRequest("invalid maxDuration: must be greater than minDuration")
        when = self._range(params)
        text, tags = params.get("q", ""), params.get("tags", "")
        if text and tags:
            raise TempoBadRequest("invalid request: can't specify tags and q in the same query")
        selector: Selector = TagSelector(_logfmt(tags)) if tags or not text else SpanMatcher(_searchable(text))
        return _json(search(self._store, selector, when, bounds))

    def _tags_v1(self, request: Request) -> Response:
        scope = _scope(request.query_params)
        resource, span = tag_names(self._store, self._range(request.query_params))
        names = {"resource": resource, "span": span, "intrinsic": set(INTRINSIC_TAGS)}.get(scope, resource | span)
        return _json({"tagNames": sorted(names), "metrics": {}})

    def _tags_v2(self, request: Request) -> Response:
        scope = _scope(request.query_params)
        resource, span = tag_names(self._store, self._range(request.query_params))
        scopes = [("intrinsic", set(INTRINSIC_TAGS)), ("resource", resource), ("span", span)]
        shown = [{"name": n, "tags": sorted(names)} for n, names in scopes if names and scope in ("", n)]
        return _json({"scopes": shown, "metrics": {}})

    def _values_v1(self, request: Request) -> Response:
        attribute = attribute_named(request.path_params["tag"], any_scope=True)
        if attribute is None:
            raise TempoBadRequest("please provide a tagName")
        values = tag_values(self._store, attribute, self._range(request.query_params), None)
        return _json({"tagValues": sorted({value["value"] for value in values}), "metrics": {}})

    def _values_v2(self, request: Request) -> Response:
        tag = request.path_params["tag"]
        attribute = attribute_named(tag, any_scope=False)
        if attribute is None:
            raise TempoBadRequest(f"tag name is not valid intrinsic or scoped attribute: {tag}")
        text = request.query_params.get("q", "")
        selector = SpanMatcher(_searchable(text)) if text else None
        values = tag_values(self._store, attribute, self._range(request.query_params), selector)
        return _json({"tagValues": values, "metrics": {}})

    def _query_range(self, request: Request) -> Response:
        params = request.query_params
        query = _parsed(params.get("q", "") or params.get("query", ""))
        metric = query.metric
        if metric is None:
            raise TempoBadRequest(
                "invalid TraceQL query: not a metrics query; end it with | rate() or | count_over_time(), which are "
                "the metrics functions that this server knows"
            )
        end_ns = _time_ns(params, "end", self._clock_ns())
        start_ns = _time_ns(params, "start", end_ns - 3600 * NS)
        if end_ns <= start_ns:
            raise TempoBadRequest("end must be greater than start")
        if end_ns - start_ns > METRICS_RANGE_S * NS:
            raise TempoBadRequest("metrics query time range exceeds the maximum allowed duration of 24h0m0s")
        step_ns = _step_ns(params.get("step", ""), end_ns - start_ns)
        if (end_ns - start_ns) // step_ns > MAX_STEPS:
            raise TempoBadRequest(f"step is too small for the range: more than {MAX_STEPS} samples a series")
        return _json(
            query_range(self._store, query, metric, SearchRange(start_ns, end_ns, self._seen_by_ns()), step_ns)
        )

    def _buildinfo(self, _request: Request) -> Response:
        fields = ("version", "revision", "branch", "buildUser", "buildDate", "goVersion")
        body = {**dict.fromkeys(fields, ""), "version": "embedded"}
        return Response(json.dumps(body, separators=(",", ":")) + "\n", media_type="application/json")

    def _version(self, _request: Request) -> Response:
        return plain(200, "tempo, version embedded (a small server of loadgen's lab)\n")

    def _forced_flush(self, _request: Request) -> Response:
        self._flush()
        return Response(status_code=204)

    def _seen_by_ns(self) -> int:
        return self._clock_ns() - self._search_delay_ns

    def _range(self, params: Mapping[str, str]) -> SearchRange:
        start, end = _number(params, "start", 0), _number(params, "end", 0)
        if end and not params.get("start"):
            raise TempoBadRequest(
                "error parsing date range: only one of start and end provided: must provide both or neither"
            )
        if (start and end <= start) or end >= 1 << 33:
            raise TempoBadRequest(f"http parameter start must be before end. received start={start} end={end}")
        if end - start > SEARCH_RANGE_S:
            text = f"range specified by start and end exceeds 168h0m0s. received start={start} end={end}"
            raise TempoBadRequest(text)
        return SearchRange(start * NS, end * NS, self._seen_by_ns())


def _json(body: Json, headers: Mapping[str, str] = _VARY) -> Response:
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return Response(text.encode("utf-8", "replace"), 200, headers, "application/json")


def _trace_id(request: Request) -> bytes:
    text = str(request.path_params["trace_id"])
    wrong = _NOT_HEX.search(text)
    if wrong is not None:
        where = f"invalid character '{wrong[0]}' at position {wrong.start() + 1}"
        raise TempoBadRequest(f"trace IDs can only contain hex characters: {where}")
    if len(text) > 32:
        raise TempoBadRequest("trace IDs can't be larger than 128 bits")
    return bytes.fromhex(text.rjust(32, "0"))


def _optional_range(request: Request) -> tuple[int, int]:
    start, end = _number(request.query_params, "start", 0), _number(request.query_params, "end", 0)
    if start and end and end <= start:
        raise TempoBadRequest(f"http parameter start must be before end. received start={start} end={end}")
    return (start * NS, end * NS) if end else (0, 0)


def _wants_protobuf(request: Request) -> bool:
    return "application/protobuf" in request.headers.get("accept", "")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _number(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII):
        wrong = "value out of range" if re.fullmatch(r"[0-9]+", text, re.ASCII) else "invalid syntax"
        raise TempoBadRequest(f'invalid {name}: strconv.ParseUint: parsing "{text[:60]}": {wrong}')
    return int(text)


def _positive(params: Mapping[str, str], name: str, default: int) -> int:
    number = _number(params, name, default)
    if number <= 0:
        raise TempoBadRequest(f"invalid {name}: must be a positive number")
    if number > MAX_LIMIT:
        raise TempoBadRequest(f"{name} {number} exceeds max {name} {MAX_LIMIT}")
    return number


def _duration(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name, "")
    if not text:
        return None
    duration_ns = parse_duration_ns(text)
    if duration_ns is None:
        raise TempoBadRequest(f'invalid {name}: time: invalid duration "{text[:60]}"')
    return duration_ns


def _time_ns(params: Mapping[str, str], name: str, default: int) -> int:
    """Seconds, whole or not, or nanoseconds when there are too many digits for seconds."""
    text = params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,19}(?:\.[0-9]{1,9})?", text, re.ASCII):
        raise TempoBadRequest(f'invalid {name}: "{text[:60]}" is not a time in seconds')
    whole, _, fraction = text.partition(".")
    if len(whole) > 12:
        return int(whole)
    return int(whole) * NS + int(fraction.ljust(9, "0"))


def _step_ns(text: str, width_ns: int) -> int:
    if not text:
        return max(NS, width_ns // 60 // NS * NS)
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", text, re.ASCII):
        step_ns = int(float(text) * NS)
    else:
        step_ns = parse_duration_ns(text) or 0
    if step_ns < MS:
        raise TempoBadRequest(f'invalid step: "{text[:60]}" is not a duration of at least 1ms')
    return step_ns


def _scope(params: Mapping[str, str]) -> str:
    scope = params.get("scope", "")
    if scope not in ("", "none", "resource", "span", "intrinsic"):
        raise TempoBadRequest(f"invalid scope: {scope[:60]}")
    return "" if scope == "none" else scope


def _parsed(text: str) -> Query:
    try:
        return parse(text)
    except TraceQLError as error:
        raise TempoBadRequest(f"invalid TraceQL query: {error}") from None


def _searchable(text: str) -> Query:
    query = _parsed(text)
    if query.metric is not None:
        raise TempoBadRequest("invalid TraceQL query: metrics queries are not searches; use /api/metrics/query_range")
    return query


def _logfmt(text: str) -> list[tuple[str, str]]:
    tags: dict[str, str] = {}
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _LOGFMT.match(text, at)
        if match is None:
            raise TempoBadRequest(f"invalid tags: cannot read name=value at pos {at + 1}")
        if match[1] in tags:
            raise TempoBadRequest(f"invalid tags: tag {match[1]} has been set twice")
        tags[match[1]] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        at = match.end()
    return list(tags.items())
