"""Search over what memory and blocks hold: traces by TraceQL or by tags, names and values of tags, rates over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loadgen.lab.tempo.blocks import NS, Block
from loadgen.lab.tempo.json import Json, value_json
from loadgen.lab.tempo.live import SpanSource, combined
from loadgen.lab.tempo.match import KIND_NAMES, STATUS_NAMES, SpanMatcher, getter_of, text_of
from loadgen.lab.tempo.nodes import INTRINSIC_TYPES, INTRINSICS, Attribute, Metric, Query
from loadgen.lab.tempo.store import TraceStore
from loadgen.lab.tempo.trace import ROOT_NOT_RECEIVED, SpanRow, TraceView, Value

MS = 1_000_000
# Tempo's own list of the intrinsic scope.
INTRINSIC_TAGS = (
    "duration", "event:name", "event:timeSinceStart", "instrumentation:name", "instrumentation:version", "kind",
    "link:spanID", "link:traceID", "name", "rootName", "rootServiceName", "span:duration", "span:id", "span:kind",
    "span:name", "span:parentID", "span:status", "span:statusMessage", "status", "statusMessage", "trace:duration",
    "trace:id", "trace:rootName", "trace:rootService", "traceDuration",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SearchRange:
    """A time range in ns, both ends inclusive; (0, 0) means "recent". ``seen_by_ns``: newer arrivals are hidden."""

    start_ns: int
    end_ns: int
    seen_by_ns: int

    def holds(self, view: TraceView) -> bool:
        """Whether the trace overlaps the range."""
        return not self.end_ns or (view.start_ns <= self.end_ns and view.end_ns >= self.start_ns)

    def covers(self, block: Block) -> bool:
        """Whether every trace of the block overlaps the range, by what its meta says."""
        meta = block.meta
        return not self.end_ns or (self.start_ns <= meta.start_s * NS and (meta.end_s + 1) * NS <= self.end_ns)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a search returns, and the trace durations that it keeps (None: any)."""

    limit: int = 20
    spans_per_set: int = 3
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None

    def keeps(self, view: TraceView) -> bool:
        """Whether the trace's duration is asked for."""
        duration = view.duration_ns
        return (self.min_duration_ns is None or duration >= self.min_duration_ns) and (
            self.max_duration_ns is None or duration <= self.max_duration_ns
        )


class Selector(Protocol):
    """Chooses spans of traces."""

    required: tuple[tuple[str, str], ...]
    shows_spans: bool

    def match(self, view: TraceView) -> list[SpanRow]:
        """The chosen spans, empty if the trace is not chosen."""

    def span_json(self, span: SpanRow, view: TraceView) -> Json:
        """A chosen span for the answer."""


class TagSelector:
    """The search of old: every tag must be an attribute of some span or its resource, compared as text."""

    shows_spans = False

    def __init__(self, tags: Sequence[tuple[str, str]]) -> None:
        self.required: tuple[tuple[str, str], ...] = ()
        self._tags = tuple(tags)

    def match(self, view: TraceView) -> list[SpanRow]:
        """All spans of a trace that has every tag."""
        for name, wanted in self._tags:
            if not any(wanted in _tag_texts(span, view, name) for span in view.spans):
                return []
        return view.spans

    def span_json(self, _span: SpanRow, _view: TraceView) -> Json:
        """Nothing: this search shows no spans."""
        return {}


def search(store: TraceStore, selector: Selector, when: SearchRange, bounds: Bounds) -> Json:
    """The answer to ``/api/search``: chosen traces, newest first."""
    found = _Found(store, selector, when, bounds)
    for trace_id, sources in store.live(when.seen_by_ns).items():
        found.offer(trace_id, sources)
    for block in store.blocks(when.start_ns, when.end_ns, when.seen_by_ns):
        if found.enough_before(block):
            break
        if block.may_match(selector.required):
            for view in store.cache.get(block).views():
                found.offer(view.trace_id, [SpanSource((), view)])
    return found.answer()


class _Found:
    """The traces found so far. What two sources hold of one trace is combined before it is judged again."""

    def __init__(self, store: TraceStore, selector: Selector, when: SearchRange, bounds: Bounds) -> None:
        self._store = store
        self._selector = selector
        self._when = when
        self._bounds = bounds
        self._hits: dict[bytes, tuple[TraceView, list[SpanRow]]] = {}
        self._parts: dict[bytes, list[SpanSource]] = {}
        self._bytes = 0
        self._jobs = 1

    def offer(self, trace_id: bytes, sources: list[SpanSource]) -> None:
        before = self._parts.get(trace_id)
        parts = sources if before is None else [*before, *sources]
        view = combined(trace_id, [_pieces(source) for source in parts] if len(parts) > 1 else parts)
        if view is None:
            return
        self._parts[trace_id] = parts
        self._bytes += view.size_bytes
        if self._when.holds(view) and self._bounds.keeps(view):
            spans = self._selector.match(view)
            if spans:
                self._hits[trace_id] = (view, spans)

    def enough_before(self, block: Block) -> bool:
        """Whether every trace of this and older blocks is older than what was found already."""
        self._jobs += 1
        if len(self._hits) < self._bounds.limit:
            return False
        starts = sorted((view.start_ns for view, _ in self._hits.values()), reverse=True)
        return starts[self._bounds.limit - 1] >= (block.meta.end_s + 1) * NS

    def answer(self) -> Json:
        newest = sorted(self._hits.values(), key=lambda hit: (-hit[0].start_ns, hit[0].trace_id))
        traces = [self._trace(view, spans) for view, spans in newest[: self._bounds.limit]]
        metrics: Json = {"inspectedBytes": str(self._bytes)} if self._bytes else {}
        return {"traces": traces, "metrics": {**metrics, "completedJobs": self._jobs, "totalJobs": self._jobs}}

    def _trace(self, view: TraceView, spans: list[SpanRow]) -> Json:
        out: Json = {
            "traceID": view.trace_id.hex().lstrip("0"),
            "rootServiceName": view.root_service or ROOT_NOT_RECEIVED,
        }
        if view.root_name:
            out["rootTraceName"] = view.root_name
        out["startTimeUnixNano"] = str(view.start_ns)
        if view.duration_ns >= MS:
            out["durationMs"] = view.duration_ns // MS
        if self._selector.shows_spans:
            shown = [self._selector.span_json(span, view) for span in spans[: self._bounds.spans_per_set or None]]
            spanset = {"spans": shown, "matched": len(spans)}
            out["spanSet"] = spanset
            out["spanSets"] = [spanset]
        out["serviceStats"] = {
            service: {"spanCount": count, "errorCount": errors} if errors else {"spanCount": count}
            for service, (count, errors) in view.services.items()
        }
        return out


def tag_names(store: TraceStore, when: SearchRange) -> tuple[set[str], set[str]]:
    """Names of resource and of span attributes."""
    resource: set[str] = set()
    span_names: set[str] = set()
    for view in _views(store, when):
        for span in view.spans:
            resource.update(span.scope.resource_attributes)
            span_names.update(span.attributes)
    return resource, span_names


def tag_values(store: TraceStore, attribute: Attribute, when: SearchRange, selector: Selector | None) -> list[Json]:
    """Distinct values with their types, as version 2 of the API gives them."""
    if attribute.scope == "intrinsic" and attribute.name in ("status", "kind"):
        names = STATUS_NAMES if attribute.name == "status" else KIND_NAMES
        return [{"type": "keyword", "value": name} for name in names.values()]
    getter = getter_of(attribute)
    values: dict[tuple[str, str], None] = {}

    def listed(block: Block) -> bool:
        """Whether the block's index tells all that it holds; decoding thousands of traces takes seconds."""
        if attribute.scope != "resource" or selector is not None or not when.covers(block):
            return False
        names = block.index().resources.get(attribute.name, frozenset())
        values.update(dict.fromkeys(("string", name) for name in sorted(names or ())))
        return names is not None

    for view in _views(store, when, listed):
        view.link()
        for span in view.spans if selector is None else selector.match(view):
            value = getter(span, view)
            for one in value if isinstance(value, tuple) else (value,):
                typed = _typed(attribute, one)
                if typed is not None:
                    values[typed] = None
    return [{"type": kind, "value": value} for kind, value in values]


def attribute_named(text: str, any_scope: bool) -> Attribute | None:
    """The attribute that a tag API names: an intrinsic, or a scoped name; with ``any_scope`` also a bare one."""
    if text in INTRINSICS:
        return Attribute("intrinsic", INTRINSICS[text][0])
    for scope in ("resource", "span", ""):
        if text.startswith(f"{scope}.") and len(text) > len(scope) + 1:
            return Attribute(scope, text[len(scope) + 1 :])
    return Attribute("", text) if any_scope and text else None


def query_range(store: TraceStore, query: Query, metric: Metric, when: SearchRange, step_ns: int) -> Json:
    """The answer to ``/api/metrics/query_range``: one series for each value of the ``by`` attributes.

    Samples stand at multiples of the step, from the start, rounded down, to the end, rounded up; each counts the spans
    of the step that ends with it, that end included.
    """
    first, last = when.start_ns // step_ns, -(-when.end_ns // step_ns)
    steps = last - first + 1
    when = replace(when, start_ns=max(0, first - 1) * step_ns, end_ns=last * step_ns)
    matcher = SpanMatcher(query)
    getters = [(attribute, getter_of(attribute)) for attribute in metric.by]
    series: dict[tuple[Value, ...], list[int]] = {} if getters else {(): [0] * steps}
    for view in _views(store, when):
        for span in matcher.match(view):
            at = -(-span.start_ns // step_ns) - first
            if 0 <= at < steps:
                key = tuple(text_of(attribute, getter(span, view)) for attribute, getter in getters)
                series.setdefault(key, [0] * steps)[at] += 1
    # Rounded as the real one does it: a multiple of the inverse.
    factor = 1 / (step_ns / NS) if metric.function == "rate" else 1
    rows = []
    for key, counts in sorted(series.items(), key=lambda item: str(item[0])):
        labels = [
            {"key": attribute.text, "value": value_json("nil" if value is None else value)}
            for (attribute, _), value in zip(getters, key, strict=True)
        ] or [{"key": "__name__", "value": {"stringValue": metric.function}}]
        samples: list[Json] = []
        for at, count in enumerate(counts):
            sample: Json = {"timestampMs": str((first + at) * step_ns // MS)}
            if count:
                sample["value"] = count * factor
            samples.append(sample)
        rows.append({"labels": labels, "samples": samples})
    return {"series": rows, "metrics": {"completedJobs": 1, "totalJobs": 1}}


def _views(
    store: TraceStore, when: SearchRange, skip: Callable[[Block], bool] = lambda _: False
) -> Iterator[TraceView]:
    """Every trace of the range once, combined; without the blocks to skip."""
    parts = store.live(when.seen_by_ns)
    for block in store.blocks(when.start_ns, when.end_ns, when.seen_by_ns):
        for view in store.cache.get(block).views() if block.may_match(()) and not skip(block) else ():
            parts.setdefault(view.trace_id, []).append(SpanSource((), view))
    for trace_id, sources in parts.items():
        whole = combined(trace_id, [_pieces(source) for source in sources] if len(sources) > 1 else sources)
        if whole is not None and when.holds(whole):
            yield whole


def _pieces(source: SpanSource) -> SpanSource:
    if source.pieces or source.view is None:
        return source
    return SpanSource((source.view.piece(),), source.view)


def _tag_texts(span: SpanRow, view: TraceView, name: str) -> tuple[str, ...]:
    special = {
        "name": span.name,
        "root.name": view.root_name,
        "root.service.name": view.root_service,
        "status.code": STATUS_NAMES.get(span.status, ""),
        "error": "true" if span.status == 2 else "",
    }.get(name)
    values = [span.attributes.get(name), span.scope.resource_attributes.get(name), special]
    return tuple(_text(value) for value in values if value is not None)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _typed(attribute: Attribute, value: Value) -> tuple[str, str] | None:
    if value is None or isinstance(value, bytes | tuple):
        return None
    if isinstance(value, bool):
        return "bool", _text(value)
    if attribute.scope == "intrinsic" and INTRINSIC_TYPES[attribute.name] == "duration":
        return "duration", f"{value}ns"
    if isinstance(value, int):
        return "int", str(value)
    return ("float", repr(value)) if isinstance(value, float) else ("string", value)
