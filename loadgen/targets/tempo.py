"""Reading traces back from Tempo, through Grafana or directly."""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from loadgen.model import NS, Component, RunKey
from loadgen.targets.http import Answer
from loadgen.targets.most import Most
from loadgen.targets.reading import Absence, Asker, MalformedAnswer, Record, Reply, Sized, quoted

SEARCH_LIMIT = 1000
_SEARCH_LIMIT_MAX = 64_000
_ANY = 2**32 - 1
# query_frontend.search.max_result_limit, 0 (none) or 262,144 by default.
_TOO_MANY_TRACES = re.compile(r"limit \d+ exceeds max limit (\d+)")
CANNOT_LIST = "search cannot list them all"
"""In the error of a search that finds more traces within one second than Tempo gives to a query."""
_KINDS = {"UNSPECIFIED": 0, "INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUS = {"UNSET": 0, "OK": 1, "ERROR": 2}
Attribute = str | int | float | bool
_TRIVIAL_NS = 300 * NS


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """One span as it came back; numbers of kind and status are OTLP's."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    attributes: Mapping[str, Attribute]
    resource: Mapping[str, Attribute]
    scope: str | None = field(default=None, compare=False)
    """Name of its instrumentation scope; None where the answer has none."""


@dataclass(frozen=True, slots=True)
class TraceHit:
    """One trace in a search result; ``matched`` spans fulfil the query, of which some are listed by id."""

    trace_id: bytes
    matched: int
    span_ids: tuple[bytes, ...] = ()


def _is_bare_404(answer: Answer) -> bool:
    return answer.status == 404 and not answer.body.strip()


class TempoReader:
    """Queries of one Tempo."""

    component = Component.TEMPO

    def __init__(self, asker: Asker, most: Most | None = None) -> None:
        self._asker = asker
        self._most = most or Most(_ANY, _TOO_MANY_TRACES)

    def recording(self, record: Record | None) -> TempoReader:
        """The same, with timings handed to ``record``. What one of them learns of Tempo's limit, all keep to."""
        return TempoReader(self._asker.recording(record), self._most)

    def trivial(self, now_ns: int) -> Reply[Any]:
        """A question that every Tempo answers quickly, whatever it holds."""
        return self.first_hits("{ }", now_ns - _TRIVIAL_NS, now_ns, 1)

    def ping(self, key: RunKey, at_ns: int) -> Reply[int]:
        """One small query of a run's data of the minute before a time."""
        return self.first_hits(f"{{ resource.loadgen.run = {quoted(key.run)} }}", at_ns - 60 * NS, at_ns, 1)

    def small(self, at_ns: int) -> Reply[Any]:
        """One small query, whatever data there is in the hour before a time."""
        return self.first_hits("{}", at_ns - 3600 * NS, at_ns, 1)

    def trace(self, trace_id: bytes, due_ns: int = 0) -> Reply[tuple[FoundSpan, ...]]:
        """All spans of a trace, empty if Tempo does not have it.

        Asks v2 of the API, where an absent trace is an empty answer. In front of an older Tempo v2 is a 404, but so
        it is when a proxy or data source is wrong, so then v1 is asked, where only a 404 without text means absent.
        """
        path = f"/api/v2/traces/{trace_id.hex()}"
        reply = self._asker.get("trace", path, {}, 0.0, _trace_v2, due_ns)
        if reply.status == 404:
            v1 = f"/api/traces/{trace_id.hex()}"
            return self._asker.get("trace", v1, {}, 0.0, _trace_v1, 0, Absence(Sized((), 0), _is_bare_404))
        return reply

    def search(
        self,
        query: str,
        start_ns: int,
        end_ns: int,
        limit: int = SEARCH_LIMIT,
        due_ns: int = 0,
        listed_spans: int = 1,
    ) -> Reply[dict[bytes, TraceHit]]:
        """All traces that a TraceQL query finds in a range, by id, however many.

        Of each trace up to ``listed_spans`` are listed.

        Tempo's search stops at its limit without saying so. A result that reaches it is asked for again in two halves
        of the range, and below two seconds with a higher limit, up to what Tempo allows. Start and end are rounded
        outwards to whole seconds, so traces of just outside may be among the hits.
        """
        start_s, end_s = start_ns // NS, max(start_ns // NS + 1, math.ceil(end_ns / NS))
        hits: dict[bytes, TraceHit] = {}
        waiting = [(start_s, end_s, limit)]
        sent_ns = 0
        while waiting:
            first_s, last_s, most = waiting.pop()
            reply = self._search(query, first_s, last_s, most, listed_spans, 0 if sent_ns else due_ns)
            most = min(most, self._most.items)
            if reply.value is None:
                return reply.failed()
            sent_ns = sent_ns or reply.sent_ns
            if len(reply.value) >= most:
                if last_s - first_s > 1:
                    middle_s = (first_s + last_s) // 2
                    waiting += [(first_s, middle_s, most), (middle_s, last_s, most)]
                    continue
                if most < min(_SEARCH_LIMIT_MAX, self._most.items):
                    waiting.append((first_s, last_s, most * 4))
                    continue
                error = f"more than {most} traces within one second; {CANNOT_LIST}"
                return Reply(None, error, reply.status, sent_ns, reply.done_ns)
            for hit in reply.value:
                known = hits.get(hit.trace_id)
                if known is None or known.matched < hit.matched:
                    hits[hit.trace_id] = hit
        return Reply(hits, "", reply.status, sent_ns, reply.done_ns)

    def first_hits(self, query: str, start_ns: int, end_ns: int, limit: int, due_ns: int = 0) -> Reply[int]:
        """How many traces one search as a person's panel makes it finds, up to ``limit``."""
        start_s, end_s = start_ns // NS, math.ceil(end_ns / NS)
        reply = self._search(query, start_s, end_s, limit, 3, due_ns)
        return reply.failed() if reply.value is None else reply.with_value(len(reply.value))

    def _search(
        self, query: str, start_s: int, end_s: int, limit: int, listed_spans: int, due_ns: int
    ) -> Reply[tuple[TraceHit, ...]]:
        """One search for at most ``limit`` traces, or as many as Tempo allows."""

        def get(asker: Asker, most: int, due_ns: int) -> Reply[tuple[TraceHit, ...]]:
            span = {"start": str(start_s), "end": str(end_s)}
            params = {"q": query, **span, "limit": str(most), "spss": str(listed_spans)}
            return asker.get("search", "/api/search", params, float(end_s - start_s), _hits_of, due_ns)

        return self._most.ask(self._asker, limit, get, due_ns)

    def metrics(self, query: str, start_ns: int, end_ns: int, step_s: int, due_ns: int = 0) -> Reply[int]:
        """How many points above zero a TraceQL metrics query gives over a range."""
        start_s, end_s = start_ns // NS, math.ceil(end_ns / NS)
        params = {"q": query, "start": str(start_s), "end": str(end_s), "step": f"{step_s}s"}
        path = "/api/metrics/query_range"
        return self._asker.get("range", path, params, float(end_s - start_s), _points_of, due_ns)

    def tag_values(self, tag: str, due_ns: int = 0) -> Reply[tuple[str, ...]]:
        """Values of one attribute, e.g. ``resource.service.name``."""
        return self._asker.get("labels", f"/api/v2/search/tag/{tag}/values", {}, 0.0, _tag_values_of, due_ns)


def padded_id(text: str, digits: int = 32) -> bytes:
    """An id of a search result, which comes in hex without leading zeros."""
    return bytes.fromhex(text.zfill(digits))


def _hits_of(raw: Any) -> Sized[tuple[TraceHit, ...]]:
    if not isinstance(raw, dict) or not isinstance(raw.get("traces", []), list):
        raise MalformedAnswer("the answer is no search result; is this Tempo?")
    if "traces" not in raw and "metrics" not in raw:
        raise MalformedAnswer("the answer has neither traces nor metrics; is this Tempo?")
    hits = []
    for item in raw.get("traces", []):
        sets = item.get("spanSets") or ([item["spanSet"]] if item.get("spanSet") else [])
        matched = sum(int(one.get("matched", len(one.get("spans", ())))) for one in sets)
        listed = tuple(padded_id(span["spanID"], 16) for one in sets for span in one.get("spans", ()))
        hits.append(TraceHit(padded_id(item["traceID"]), matched, listed))
    return Sized(tuple(hits), len(hits))


def _points_of(raw: Any) -> Sized[int]:
    if (
        not isinstance(raw, dict)
        or not isinstance(raw.get("series", []), list)
        or not raw.keys() & {"series", "metrics"}
    ):
        raise MalformedAnswer("the answer has neither series nor metrics; is this Tempo?")
    # A point without data comes without a value, or as zero.
    count = sum(bool(sample.get("value")) for one in raw.get("series", ()) for sample in one.get("samples") or ())
    return Sized(count, count)


def _trace_v2(raw: Any) -> Sized[tuple[FoundSpan, ...]]:
    if not isinstance(raw, dict) or "trace" not in raw:
        # A querier behind v2 leaves the trace out when it has nothing.
        if isinstance(raw, dict) and "metrics" in raw:
            return Sized((), 0)
        raise MalformedAnswer("the answer has no trace; is this Tempo?")
    if raw.get("status") == "PARTIAL":
        raise MalformedAnswer(f"Tempo returned a part of the trace only: {raw.get('message', 'no reason given')}")
    spans = _spans_of((raw["trace"] or {}).get("resourceSpans") or [])
    return Sized(spans, 1 if spans else 0)


def _trace_v1(raw: Any) -> Sized[tuple[FoundSpan, ...]]:
    spans = _spans_of(raw.get("batches") or raw.get("resourceSpans") or [])
    return Sized(spans, 1 if spans else 0)


def _spans_of(batches: list[Any]) -> tuple[FoundSpan, ...]:
    spans: list[FoundSpan] = []
    for batch in batches:
        resource = _attributes_of((batch.get("resource") or {}).get("attributes"))
        for scope in batch.get("scopeSpans") or batch.get("instrumentationLibrarySpans") or []:
            named = (scope.get("scope") or scope.get("instrumentationLibrary") or {}).get("name")
            spans += [_span_of(span, resource, named) for span in scope.get("spans") or []]
    return tuple(spans)


def _span_of(span: Mapping[str, Any], resource: Mapping[str, Attribute], scope: str | None) -> FoundSpan:
    return FoundSpan(
        trace_id=_id_of(span["traceId"]),
        span_id=_id_of(span["spanId"]),
        parent_id=_id_of(span.get("parentSpanId") or ""),
        name=span.get("name", ""),
        kind=_enum_of(span.get("kind", 0), "SPAN_KIND_", _KINDS),
        start_ns=int(span["startTimeUnixNano"]),
        end_ns=int(span["endTimeUnixNano"]),
        status=_enum_of((span.get("status") or {}).get("code", 0), "STATUS_CODE_", _STATUS),
        attributes=_attributes_of(span.get("attributes")),
        resource=resource,
        scope=scope,
    )


def _id_of(text: str) -> bytes:
    """An id, empty if it is all zero: base64 in Tempo's answers, hex in OTLP's JSON; their lengths tell them apart."""
    try:
        raw = bytes.fromhex(text) if len(text) in (16, 32) else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as problem:
        raise MalformedAnswer(f"an id cannot be read: {text!r:.60}") from problem
    return raw if any(raw) else b""


def _enum_of(value: object, prefix: str, numbers: Mapping[str, int]) -> int:
    if isinstance(value, int):
        return value
    return numbers.get(str(value).removeprefix(prefix), -1)


def _attributes_of(raw: Any) -> dict[str, Attribute]:
    return {item["key"]: _value_of(item.get("value") or {}) for item in raw or ()}


def _value_of(value: Mapping[str, Any]) -> Attribute:
    if "stringValue" in value:
        return str(value["stringValue"])
    if "intValue" in value:
        return int(value["intValue"])  # int64 is a text in protobuf's JSON
    if "doubleValue" in value:
        return float(value["doubleValue"])
    if "boolValue" in value:
        return bool(value["boolValue"])
    return str(value)


def _tag_values_of(raw: Any) -> Sized[tuple[str, ...]]:
    if not isinstance(raw, dict) or "tagValues" not in raw:
        raise MalformedAnswer("the answer has no tagValues; is this Tempo?")
    values = tuple(str(item["value"]) for item in raw["tagValues"] or ())
    return Sized(values, len(values))
