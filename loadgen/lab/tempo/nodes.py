"""The nodes of a parsed TraceQL query, and the names that the language knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

LOGICAL = ("&&", "||")
COMPARISONS = ("=", "!=", "=~", "!~", "<", "<=", ">", ">=")
SPANSET_OPERATORS = ("&&", "||", ">", ">>", "<", "<<", "~")
STATUS = {"unset": 0, "ok": 1, "error": 2}
KIND = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
INTRINSICS = {
    "name": ("name", "string"), "span:name": ("name", "string"),
    "kind": ("kind", "kind"), "span:kind": ("kind", "kind"),
    "status": ("status", "status"), "span:status": ("status", "status"),
    "statusMessage": ("statusMessage", "string"), "span:statusMessage": ("statusMessage", "string"),
    "duration": ("duration", "duration"), "span:duration": ("duration", "duration"),
    "childCount": ("childCount", "int"), "span:childCount": ("childCount", "int"),
    "traceDuration": ("traceDuration", "duration"), "trace:duration": ("traceDuration", "duration"),
    "rootName": ("rootName", "string"), "trace:rootName": ("rootName", "string"),
    "rootServiceName": ("rootServiceName", "string"), "trace:rootService": ("rootServiceName", "string"),
    "nestedSetParent": ("nestedSetParent", "int"),
    "trace:id": ("trace:id", "string"), "span:id": ("span:id", "string"), "span:parentID": ("span:parentID", "string"),
    "instrumentation:name": ("instrumentation:name", "string"),
    "instrumentation:version": ("instrumentation:version", "string"),
}  # fmt: skip
"""Written name -> (name inside, type of its value)."""
INTRINSIC_TYPES = dict(INTRINSICS.values())
AGGREGATES = ("count", "avg", "min", "max", "sum")
METRICS = ("rate", "count_over_time")

StaticValue: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Static:
    """A literal. ``type`` is string, int, float, bool, nil, duration (ns), status or kind (OTLP enum numbers)."""

    type: str
    value: StaticValue
    text: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field of a span; ``scope``: ``resource``, ``span``, ``""`` (span, then resource), ``parent``, ``intrinsic``."""

    scope: str
    name: str

    @property
    def text(self) -> str:
        """As written in a query."""
        return self.name if self.scope == "intrinsic" else f"{self.scope}.{self.name}"


@dataclass(frozen=True, slots=True)
class Not:
    """Logical negation inside a filter."""

    operand: FieldExpression

    @property
    def text(self) -> str:
        """As written in a query."""
        return f"!{self.operand.text}"


@dataclass(frozen=True, slots=True)
class SpanBinary:
    """``&&``, ``||`` or a comparison inside a filter."""

    op: str
    left: FieldExpression
    right: FieldExpression

    @property
    def text(self) -> str:
        """As written in a query."""
        return (
            f"({self.left.text}) {self.op} ({self.right.text})"
            if self.op in LOGICAL
            else (f"{self.left.text} {self.op} {self.right.text}")
        )


FieldExpression: TypeAlias = Union["Static", "Attribute", "Not", "SpanBinary"]


@dataclass(frozen=True, slots=True)
class SpansetFilter:
    """``{ … }``; None selects every span."""

    expression: FieldExpression | None


@dataclass(frozen=True, slots=True)
class SpansetOperation:
    """An operator between two spansets of one trace."""

    op: str
    left: Spanset
    right: Spanset


Spanset: TypeAlias = Union["SpansetFilter", "SpansetOperation"]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``| count() > 2``: keeps the spanset if the aggregate of its spans compares as asked."""

    function: str
    field: FieldExpression | None
    op: str
    value: Static


@dataclass(frozen=True, slots=True)
class SpanSelect:
    """``| select(a, b)``: shows more attributes in the answer."""

    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """``| rate() by(a, b)``."""

    function: str
    by: tuple[Attribute, ...]


Stage: TypeAlias = Union["SpansetFilter", "SpansetOperation", "Aggregate", "SpanSelect", "Metric"]


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query: a spanset and what follows it. ``hints`` are those of ``with(…)``; none changes a result here."""

    spanset: Spanset
    stages: tuple[Stage, ...]
    hints: tuple[tuple[str, StaticValue], ...] = ()

    @property
    def metric(self) -> Metric | None:
        """The metrics function at the end, if it has one."""
        last = self.stages[-1] if self.stages else None
        return last if isinstance(last, Metric) else None
