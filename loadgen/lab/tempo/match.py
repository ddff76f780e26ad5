"""Evaluation of TraceQL over decoded traces: which spans of a trace a query selects, and what it shows of them.

Semantics are Tempo's: a comparison with an attribute that a span does not have is false, also for ``!=`` and ``!~``;
values of different types never match, except that integers, floats and durations compare as numbers; of an array any
element may match; regular expressions match the whole value.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from loadgen.lab.tempo.json import Json, value_json
from loadgen.lab.tempo.nodes import (
    INTRINSIC_TYPES,
    KIND,
    LOGICAL,
    STATUS,
    Aggregate,
    Attribute,
    FieldExpression,
    Metric,
    Not,
    Query,
    SpanBinary,
    SpanSelect,
    Spanset,
    SpansetFilter,
    SpansetOperation,
    Stage,
    Static,
)
from loadgen.lab.tempo.trace import SpanRow, TraceView, Value

Getter: TypeAlias = Callable[[SpanRow, TraceView], Value]
Predicate: TypeAlias = Callable[[SpanRow, TraceView], bool]
SpansetRule: TypeAlias = Callable[[TraceView, Sequence[SpanRow]], list[SpanRow]]

STATUS_NAMES = {number: name for name, number in STATUS.items()}
KIND_NAMES = {number: name for name, number in KIND.items()}
# What a span set shows without being asked: Tempo leaves these out of the attributes because they have fields.
_NOT_SHOWN = frozenset(
    ("name", "duration", "traceDuration", "rootName", "rootServiceName", "trace:id", "span:id", "nestedSetParent")
)
_ORDERED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = None


class SpanMatcher:
    """A compiled query. Thread-safe; keeps nothing of the traces that it sees."""

    shows_spans = True

    def __init__(self, query: Query) -> None:
        self._rules: list[SpansetRule] = [_spanset(query.spanset)]
        for stage in query.stages:
            rule = _stage(stage)
            if rule is not None:
                self._rules.append(rule)
        attributes = _attributes_of(query)
        self._linked = any(_needs_links(attribute) for attribute in attributes) or _has_structure(query)
        self._shown = tuple(
            (attribute, getter_of(attribute))
            for attribute in dict.fromkeys(attributes)
            if attribute.scope != "intrinsic" or attribute.name not in _NOT_SHOWN
        )
        self._show_name = Attribute("intrinsic", "name") in attributes
        self.required = _required(query)

    def match(self, view: TraceView) -> list[SpanRow]:
        """The spans of ``view`` that the query selects, empty if it does not select the trace."""
        if self._linked:
            view.link()
        spans: list[SpanRow] = view.spans
        for rule in self._rules:
            spans = rule(view, spans)
            if not spans:
                return []
        return spans

    def span_json(self, span: SpanRow, view: TraceView) -> Json:
        """A matched span as a search answer shows it: with the attributes that the query names."""
        out: Json = {"spanID": span.span_id.hex().rjust(16, "0")}
        if self._show_name:
            out["name"] = span.name
        out["startTimeUnixNano"] = str(span.start_ns)
        if span.duration_ns:
            out["durationNanos"] = str(span.duration_ns)
        attributes = []
        for attribute, getter in self._shown:
            value = getter(span, view)
            if value is not None:
                attributes.append({"key": attribute.name, "value": value_json(text_of(attribute, value))})
        if attributes:
            out["attributes"] = attributes
        return out


def text_of(attribute: Attribute, value: Value) -> Value:
    """``value`` as an answer shows it: status and kind by name."""
    if attribute.scope == "intrinsic":
        names = {"status": STATUS_NAMES, "kind": KIND_NAMES}.get(attribute.name)
        if names is not None and isinstance(value, int):
            return names.get(value, str(value))
    return value


def getter_of(attribute: Attribute) -> Getter:
    """Reads the attribute of a span; None means that the span does not have it."""
    name = attribute.name
    if attribute.scope == "resource":
        return lambda span, _view: span.scope.resource_attributes.get(name)
    if attribute.scope == "span":
        return lambda span, _view: span.attributes.get(name)
    if attribute.scope == "parent":
        return lambda span, _view: None if span.parent is None else _either(span.parent, name)
    if attribute.scope == "intrinsic":
        return _INTRINSIC_GETTERS[name]
    return lambda span, _view: _either(span, name)


def predicate_of(expression: FieldExpression | None) -> Predicate:
    """The test that a span set filter makes of each span."""
    if expression is None:
        return lambda _span, _view: True
    if isinstance(expression, Static):
        constant = expression.value is True
        return lambda _span, _view: constant
    if isinstance(expression, Attribute):
        getter = getter_of(expression)
        return lambda span, view: getter(span, view) is True
    if isinstance(expression, Not):
        inner = predicate_of(expression.operand)
        return lambda span, view: not inner(span, view)
    if expression.op in LOGICAL:
        left, right = predicate_of(expression.left), predicate_of(expression.right)
        if expression.op == "&&":
            return lambda span, view: left(span, view) and right(span, view)
        return lambda span, view: left(span, view) or right(span, view)
    return _comparison(expression)


def _either(span: SpanRow, name: str) -> Value:
    value = span.attributes.get(name)
    return span.scope.resource_attributes.get(name) if value is None else value


_INTRINSIC_GETTERS: dict[str, Getter] = {
    "name": lambda span, _view: span.name,
    "kind": lambda span, _view: span.kind,
    "status": lambda span, _view: span.status,
    "statusMessage": lambda span, _view: span.status_message,
    "duration": lambda span, _view: span.duration_ns,
    "childCount": lambda span, _view: span.child_count,
    "traceDuration": lambda _span, view: view.duration_ns,
    "rootName": lambda _span, view: view.root_name,
    "rootServiceName": lambda _span, view: view.root_service,
    # Roots have no parent to their left; which place others have is of no use outside a block.
    "nestedSetParent": lambda span, _view: 1 if span.parent_id else -1,
    "trace:id": lambda _span, view: view.trace_id.hex(),
    "span:id": lambda span, _view: span.span_id.hex(),
    "span:parentID": lambda span, _view: span.parent_id.hex(),
    "instrumentation:name": lambda span, _view: span.scope.instrumentation().name,
    "instrumentation:version": lambda span, _view: span.scope.instrumentation().version,
}


def _comparison(node: SpanBinary) -> Predicate:
    left, right = node.left, node.right
    if isinstance(left, Static) and not isinstance(right, Static):
        mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(node.op, node.op)
        if node.op not in ("=~", "!~"):
            return _comparison(SpanBinary(mirrored, right, left))
    read = _value_getter(left)
    if isinstance(right, Static):
        if right.type == "nil":
            if node.op == "=":
                return lambda span, view: read(span, view) is None
            return lambda span, view: read(span, view) is not None
        wanted = _literal(left, right)
        if node.op == "=" and isinstance(wanted, str):
            return lambda span, view: (
                (value := read(span, view)) == wanted or (isinstance(value, tuple) and wanted in value)
            )
        if node.op in ("=~", "!~"):
            return _regex(read, str(right.value), node.op == "=~")
        test = _test_of(node.op, wanted)
        return lambda span, view: test(read(span, view))
    read_right = _value_getter(right)
    op = node.op
    return lambda span, view: _test_of(op, read_right(span, view))(read(span, view))


def _literal(left: FieldExpression, right: Static) -> Value:
    if isinstance(left, Attribute) and left.scope == "intrinsic" and isinstance(right.value, str):
        if left.name == "trace:id":
            return right.value.lower().rjust(32, "0")
        if left.name in ("span:id", "span:parentID"):
            return right.value.lower()
    return right.value


def _value_getter(expression: FieldExpression) -> Getter:
    if isinstance(expression, Static):
        value = expression.value
        return lambda _span, _view: value
    if isinstance(expression, Attribute):
        return getter_of(expression)
    predicate = predicate_of(expression)
    return lambda span, view: predicate(span, view)


def _test_of(op: str, wanted: Value) -> Callable[[Value], bool]:
    """The comparison ``value <op> wanted`` with Tempo's rules for types."""
    group = _group(wanted)

    def one(value: Value) -> bool:
        if isinstance(value, tuple):
            return any(one(item) for item in value)
        if group is None or _group(value) != group:
            return False
        if op == "=":
            return value == wanted
        if op == "!=":
            return value != wanted
        compare = _ORDERED.get(op)
        if compare is None or group == "bool":
            return False
        try:
            return compare(value, wanted)  # type: ignore[arg-type]  # both are of one ordered type here
        except TypeError:
            return False

    return one


def _group(value: Value) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return None


def _regex(read: Getter, pattern: str, positive: bool) -> Predicate:
    full = re.compile(pattern).fullmatch

    def one(value: Value) -> bool:
        if isinstance(value, tuple):
            return any(one(item) for item in value)
        return isinstance(value, str) and (full(value) is not None) is positive

    return lambda span, view: one(read(span, view))


def _spanset(spanset: Spanset) -> SpansetRule:
    if isinstance(spanset, SpansetFilter):
        predicate = predicate_of(spanset.expression)
        return lambda view, spans: [span for span in spans if predicate(span, view)]
    left, right, op = _spanset(spanset.left), _spanset(spanset.right), spanset.op

    def rule(view: TraceView, spans: Sequence[SpanRow]) -> list[SpanRow]:
        a, b = left(view, spans), right(view, spans)
        if op == "||":
            return _union(a, b)
        if not a or not b:
            return []
        return _union(a, b) if op == "&&" else [span for span in b if _related(op, span, a)]

    return rule


def _union(a: list[SpanRow], b: list[SpanRow]) -> list[SpanRow]:
    have = {id(span) for span in a}
    return sorted(a + [span for span in b if id(span) not in have], key=lambda span: (span.start_ns, span.span_id))


def _related(op: str, span: SpanRow, others: list[SpanRow]) -> bool:
    if op == ">":
        return any(span.parent is other for other in others)
    if op == ">>":
        return any(_above(other, span) for other in others)
    if op == "<":
        return any(other.parent is span for other in others)
    if op == "<<":
        return any(_above(span, other) for other in others)
    return span.parent is not None and any(other is not span and other.parent is span.parent for other in others)


def _above(ancestor: SpanRow, span: SpanRow) -> bool:
    at = span.parent
    seen: set[int] = set()  # broken parents can form a ring
    while at is not None and id(at) not in seen:
        if at is ancestor:
            return True
        seen.add(id(at))
        at = at.parent
    return False


def _stage(stage: Stage) -> SpansetRule | None:
    if isinstance(stage, SpansetFilter | SpansetOperation):
        return _spanset(stage)
    if isinstance(stage, Aggregate):
        return _aggregate(stage)
    return None


def _aggregate(stage: Aggregate) -> SpansetRule:
    test = _test_of(stage.op, stage.value.value)
    read = None if stage.field is None else _value_getter(stage.field)

    def rule(view: TraceView, spans: Sequence[SpanRow]) -> list[SpanRow]:
        if read is None:
            return list(spans) if test(len(spans)) else []
        values = [value for value in (read(span, view) for span in spans) if _group(value) == "number"]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if not numbers:
            return []
        result = {"avg": sum(numbers) / len(numbers), "min": min(numbers), "max": max(numbers), "sum": sum(numbers)}
        return list(spans) if test(result[stage.function]) else []

    return rule


def _attributes_of(query: Query) -> list[Attribute]:
    found: list[Attribute] = []

    def field(node: FieldExpression | None) -> None:
        if isinstance(node, Attribute):
            found.append(node)
        elif isinstance(node, Not):
            field(node.operand)
        elif isinstance(node, SpanBinary):
            field(node.left)
            field(node.right)

    def stage(node: Stage) -> None:
        if isinstance(node, SpansetFilter):
            field(node.expression)
        elif isinstance(node, SpansetOperation):
            stage(node.left)
            stage(node.right)
        elif isinstance(node, Aggregate):
            field(node.field)
        elif isinstance(node, SpanSelect):
            found.extend(node.attributes)
        elif isinstance(node, Metric):
            found.extend(node.by)

    for item in (query.spanset, *query.stages):
        stage(item)
    return found


def _needs_links(attribute: Attribute) -> bool:
    return attribute.scope == "parent" or (attribute.scope == "intrinsic" and attribute.name == "childCount")


def _has_structure(query: Query) -> bool:
    def structural(node: Stage) -> bool:
        return isinstance(node, SpansetOperation) and (
            node.op not in LOGICAL or structural(node.left) or structural(node.right)
        )

    return any(structural(item) for item in (query.spanset, *query.stages))


def _required(query: Query) -> tuple[tuple[str, str], ...]:
    """Resource attributes with the string value that some span of every matching trace must have."""

    def field(node: FieldExpression | None) -> list[tuple[str, str]]:
        if isinstance(node, SpanBinary) and node.op == "&&":
            return field(node.left) + field(node.right)
        if (
            isinstance(node, SpanBinary)
            and node.op == "="
            and isinstance(node.left, Attribute)
            and node.left.scope == "resource"
            and isinstance(node.right, Static)
            and isinstance(node.right.value, str)
        ):
            return [(node.left.name, node.right.value)]
        return []

    def spanset(node: Spanset) -> list[tuple[str, str]]:
        if isinstance(node, SpansetFilter):
            return field(node.expression)
        if node.op == "||":
            return []
        return spanset(node.left) + spanset(node.right)

    return tuple(dict.fromkeys(spanset(query.spanset)))


assert set(_INTRINSIC_GETTERS) == set(INTRINSIC_TYPES), "every intrinsic that parses has a getter"
