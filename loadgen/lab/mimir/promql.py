"""A PromQL engine over numpy: parses with promql-parser, evaluates an expression at all steps of a query at once.

It knows the selectors, functions, operators and aggregations that dashboards and this project's own queries use, with
Prometheus' semantics (lookback of 5 minutes, staleness markers, extrapolation of rates, left-open ranges); anything
else is a `PromQLError` that names it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import promql_parser as ast

from loadgen.lab.mimir import promql_functions
from loadgen.lab.mimir.promql_aggregate import Grouping, aggregate
from loadgen.lab.mimir.promql_ops import Cardinality, Matching, binary, bool_any
from loadgen.lab.mimir.promql_values import (
    METRIC_NAME,
    Floats,
    Ints,
    LabelMatcher,
    Labels,
    MatchKind,
    PromQLError,
    PromText,
    Samples,
    SampleSource,
    Scalar,
    Value,
    Vector,
    drop_names,
    execution_error,
)
from loadgen.lab.mimir.promql_windows import (
    apply,
    is_stale,
    last_at_or_before,
    part,
    parts,
    range_function,
    without_stale,
)

LOOKBACK_MS = 300_000
MAX_QUERY_CHARS = 10_000
_MAX_NODES = 400
_MAX_CELLS = 20_000_000
_DEFAULT_SUBQUERY_STEP_MS = 60_000
_QUOTED = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\{[^{}]*\}""", re.DOTALL)
_UNKNOWN_FUNCTION = re.compile(r"^(unknown function with name )'(.*)'$", re.DOTALL)
NO_MATCHER = "vector selector must contain at least one non-empty matcher"
_NODE = re.compile(r"[-+*/%^<>=(]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed query."""

    text: str
    tree: Any

    @property
    def is_range_selector(self) -> bool:
        """Whether the query is ``metric[5m]`` (or a subquery): an instant query of it gives raw samples."""
        return isinstance(_unwrapped(self.tree), ast.MatrixSelector | ast.SubqueryExpr)

    @property
    def is_text(self) -> bool:
        """Whether the query is a string literal."""
        return isinstance(_unwrapped(self.tree), ast.StringLiteral)


def parse(text: str) -> Expression:
    """Parses a query.

    Raises:
        PromQLError: ``1:<position>: parse error: …``, as Prometheus says it.
    """
    if len(text) > MAX_QUERY_CHARS:
        raise PromQLError(f"query has {len(text)} characters; the embedded Mimir takes up to {MAX_QUERY_CHARS}")
    # The parser needs time with the square of the nesting and ends the process where it is very deep.
    if len(_NODE.findall(_QUOTED.sub("", _QUOTED.sub("", text)))) > _MAX_NODES:
        raise PromQLError(f"query is nested too deeply; the embedded Mimir takes {_MAX_NODES} operators and calls")
    try:
        return Expression(text, ast.parse(text))
    except ValueError as error:
        reason = _UNKNOWN_FUNCTION.sub(r'\1"\2"', str(error))
        # The parser gives no position. Unclosed things are noticed where the text ends.
        place = f"1:{len(text) + 1 if reason.startswith(('unclosed', 'unexpected end')) else 1}"
        if reason.startswith("no expression"):
            place = "unknown position"
        raise PromQLError(f"{place}: parse error: {reason}") from error


def parse_matchers(text: str) -> list[LabelMatcher]:
    """The matchers of a ``match[]`` parameter, which is a series selector.

    Raises:
        PromQLError: it is not one.
    """
    tree = _unwrapped(parse(text).tree)
    if not isinstance(tree, ast.VectorSelector):
        raise PromQLError(f"1:1: parse error: expected a series selector, got {text!r}")
    return _matchers(tree)


def evaluate(expression: Expression, source: SampleSource, steps_ms: Ints, end_ms: int | None = None) -> Value:
    """The value of a query at each step (times in ms, increasing); ``end_ms`` is its end if that is not the last step.

    Raises:
        PromQLError: for what the engine does not know, or data that makes the query meaningless.
    """
    run = _Evaluation(source, steps_ms, int(steps_ms[0]), int(steps_ms[-1]) if end_ms is None else end_ms)
    try:
        return run.value(expression.tree)
    except RecursionError as error:
        raise PromQLError("the query is nested too deeply for the embedded Mimir") from error


def raw_samples(expression: Expression, source: SampleSource, at_ms: int) -> Samples:
    """The samples of a range selector at one time.

    Raises:
        PromQLError: as `evaluate`.
    """
    steps = np.array([at_ms], dtype=np.int64)
    tree = _unwrapped(expression.tree)
    samples, at, range_ms = _Evaluation(source, steps, at_ms, at_ms).range_samples(tree)
    inside = (samples.times > at[0] - range_ms) & (samples.times <= at[0])
    before = np.concatenate(([0], np.cumsum(inside)))
    return Samples(samples.labels, before[samples.starts], samples.times[inside], samples.values[inside])


def _unwrapped(tree: Any) -> Any:
    while isinstance(tree, ast.ParenExpr):
        tree = tree.expr
    return tree


def _duration_ms(duration: timedelta | None) -> int:
    return 0 if duration is None else duration // timedelta(milliseconds=1)


def _matchers(selector: Any) -> list[LabelMatcher]:
    if getattr(selector.matchers, "or_matchers", None):
        raise PromQLError('"or" between label matchers is not supported by the embedded Mimir')
    found = [
        LabelMatcher(m.name, MatchKind(_KINDS[str(m.op).rpartition(".")[2]]), m.value)
        for m in selector.matchers.matchers
    ]
    if selector.name:
        found.insert(0, LabelMatcher(METRIC_NAME, MatchKind.EQUAL, selector.name))
    return found


class _Evaluation:
    """One query over one grid of steps."""

    def __init__(self, source: SampleSource, steps_ms: Ints, first_ms: int, last_ms: int) -> None:
        self._source = source
        self._steps = steps_ms
        # "@ start()" means the start of the whole query, also inside a subquery.
        self._first, self._last = first_ms, last_ms

    def value(self, tree: Any) -> Value:
        count = len(self._steps)
        match tree:
            case ast.ParenExpr():
                return self.value(tree.expr)
            case ast.NumberLiteral():
                return Scalar(np.full(count, float(tree.val)))
            case ast.StringLiteral():
                return PromText(tree.val)
            case ast.VectorSelector():
                return self._instant(tree, timestamps=False)
            case ast.UnaryExpr():
                return self._negated(self.value(tree.expr))
            case ast.BinaryExpr():
                return binary(str(tree.op), self.value(tree.lhs), self.value(tree.rhs), _matching(tree.modifier))
            case ast.AggregateExpr():
                return self._aggregated(tree)
            case ast.Call():
                return self._called(tree)
            case ast.MatrixSelector() | ast.SubqueryExpr():
                raise PromQLError("a range vector must be the argument of a function, or a whole instant query")
        raise PromQLError(f"{type(tree).__name__} is not supported by the embedded Mimir")

    def _negated(self, value: Value) -> Value:
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        if isinstance(value, Vector):
            return drop_names(Vector(value.labels, -value.values, value.present))
        raise PromQLError("unary expression only allowed on expressions of type scalar or instant vector")

    def _aggregated(self, tree: Any) -> Value:
        vector = self.value(tree.expr)
        if not isinstance(vector, Vector):
            raise PromQLError("expected type instant vector in aggregation expression")
        modifier = tree.modifier
        grouping = Grouping()
        if modifier is not None:
            grouping = Grouping(str(modifier.type).endswith("Without"), tuple(modifier.labels))
        parameter = None if tree.param is None else self.value(tree.param)
        return aggregate(str(tree.op), vector, grouping, parameter)

    def _called(self, tree: Any) -> Value:
        name, arguments = tree.func.name, list(tree.args)
        if name == "time":
            return Scalar(self._steps / 1000)
        if name == "timestamp":
            return self._timestamps(arguments[0])
        if name == "absent":
            return self._absent(arguments[0])
        if any(isinstance(_unwrapped(a), ast.MatrixSelector | ast.SubqueryExpr) for a in arguments):
            return self._of_range(name, arguments)
        return promql_functions.call(name, [self.value(a) for a in arguments], len(self._steps))

    def _of_range(self, name: str, arguments: list[Any]) -> Value:
        is_range = [isinstance(_unwrapped(a), ast.MatrixSelector | ast.SubqueryExpr) for a in arguments]
        ranges = [a for a, found in zip(arguments, is_range, strict=True) if found]
        numbers = [a for a, found in zip(arguments, is_range, strict=True) if not found]
        number = self.value(numbers[0]) if numbers else Scalar(np.zeros(len(self._steps)))
        if not isinstance(number, Scalar):
            raise PromQLError(f"expected type scalar in call to function {name}()")
        function = range_function("present_over_time" if name == "absent_over_time" else name)
        samples, at, range_ms = self.range_samples(_unwrapped(ranges[0]))
        self._limit(len(samples.labels))
        result = apply(function, samples, at, range_ms, number.values)
        if name == "absent_over_time":
            return self._where_absent(result, _unwrapped(ranges[0]))
        return result if name == "last_over_time" else drop_names(result)

    def _absent(self, tree: Any) -> Vector:
        value = self.value(tree)
        if not isinstance(value, Vector):
            raise PromQLError("expected type instant vector in call to function absent()")
        return self._where_absent(value, _unwrapped(tree))

    def _where_absent(self, vector: Vector, tree: Any) -> Vector:
        absent = ~bool_any(vector.present)
        selector = getattr(tree, "vector_selector", tree)
        labels: Labels = ()
        if isinstance(selector, ast.VectorSelector):
            matchers = [m for m in _matchers(selector) if m.name != METRIC_NAME]
            once = [m for m in matchers if sum(other.name == m.name for other in matchers) == 1]
            labels = tuple(sorted((m.name, m.value) for m in once if m.kind is MatchKind.EQUAL and m.value))
        result = Vector([labels], np.ones((1, len(self._steps))), absent[None, :])
        return result if absent.any() else result.rows([])

    def _timestamps(self, tree: Any) -> Vector:
        inner = _unwrapped(tree)
        if isinstance(inner, ast.VectorSelector):
            return drop_names(self._instant(inner, timestamps=True))
        value = self.value(inner)
        if not isinstance(value, Vector):
            raise PromQLError("expected type instant vector in call to function timestamp()")
        times = np.broadcast_to(self._steps / 1000, value.values.shape).copy()
        return drop_names(Vector(value.labels, times, value.present))

    def _times(self, node: Any) -> Ints:
        """The times that a selector looks at: the steps, moved by ``@`` and ``offset``."""
        steps = self._steps
        if node.at is not None:
            kind = str(node.at.type).rpartition(".")[2]
            fixed = {"Start": self._first, "End": self._last}.get(kind)
            if fixed is None:
                fixed = (node.at.at - _EPOCH) // timedelta(milliseconds=1)
            steps = np.full(len(steps), fixed, dtype=np.int64)
        return np.asarray(steps - _duration_ms(node.offset), dtype=np.int64)

    def _limit(self, series: int) -> None:
        if series * len(self._steps) > _MAX_CELLS:
            raise execution_error(
                f"the query would compute {series} series at {len(self._steps)} steps; the embedded Mimir computes "
                f"up to {_MAX_CELLS} values: ask for fewer steps or fewer series"
            )

    def _instant(self, selector: Any, timestamps: bool) -> Vector:
        at = self._times(selector)
        matchers = _matchers(selector)
        samples = self._source.select(matchers, int(at.min()) - LOOKBACK_MS, int(at.max()))
        self._limit(len(samples.labels))
        rows = len(samples.labels)
        values: Floats = np.zeros((rows, len(at)))
        present = np.zeros((rows, len(at)), dtype=bool)
        for low, high in parts(samples, len(at)):
            some = part(samples, low, high)
            if not len(some.times):
                continue
            upto = last_at_or_before(some, at)
            newest = np.maximum(upto - 1, 0)
            found = (upto > some.starts[:-1, None]) & (some.times[newest] > at - LOOKBACK_MS)
            present[low:high] = found & ~is_stale(some.values)[newest]
            values[low:high] = (some.times / 1000 if timestamps else some.values)[newest]
        return Vector(samples.labels, values, present).rows(np.flatnonzero(present.any(axis=1)))

    def range_samples(self, node: Any) -> tuple[Samples, Ints, int]:
        """What a range selector or subquery covers over all steps, its times, and the width of the range in ms."""
        if isinstance(node, ast.SubqueryExpr):
            return self._subquery(node)
        at = self._times(node.vector_selector)
        range_ms = _duration_ms(node.range)
        matchers = _matchers(node.vector_selector)
        return without_stale(self._source.select(matchers, int(at.min()) - range_ms, int(at.max()))), at, range_ms

    def _subquery(self, node: Any) -> tuple[Samples, Ints, int]:
        at, range_ms = self._times(node), _duration_ms(node.range)
        step = _duration_ms(node.step) or _DEFAULT_SUBQUERY_STEP_MS
        first = (int(at.min()) - range_ms) // step * step + step
        inner_steps = np.arange(first, int(at.max()) + 1, step, dtype=np.int64)
        if len(inner_steps) > 1_000_000:
            raise execution_error("the subquery has more than 1,000,000 steps; give it a larger step")
        if not len(inner_steps):
            return Samples([], np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0)), at, range_ms
        inner = _Evaluation(self._source, inner_steps, self._first, self._last).value(node.expr)
        if isinstance(inner, Scalar):
            inner = Vector([()], inner.values[None, :], np.ones((1, len(inner_steps)), dtype=bool))
        if not isinstance(inner, Vector):
            raise PromQLError("subquery is only allowed on instant vector")
        row, column = np.nonzero(inner.present)
        starts = np.searchsorted(row, np.arange(len(inner.labels) + 1)).astype(np.int64)
        return Samples(inner.labels, starts, inner_steps[column], inner.values[row, column]), at, range_ms


def _matching(modifier: Any) -> Matching:
    if modifier is None:
        return Matching()
    fill = getattr(modifier, "fill_values", None)
    if fill is not None and (fill.lhs is not None or fill.rhs is not None):
        raise PromQLError("fill modifiers are not supported by the embedded Mimir")
    on, names = False, ()
    if modifier.matching is not None:
        on = str(modifier.matching.type).endswith("Include")
        names = tuple(modifier.matching.labels)
    cardinality = {
        "ManyToOne": Cardinality.MANY_TO_ONE,
        "OneToMany": Cardinality.ONE_TO_MANY,
    }.get(str(modifier.card).rpartition(".")[2], Cardinality.ONE_TO_ONE)
    include: Sequence[str] = modifier.group_labels or ()
    return Matching(on, names, cardinality, tuple(include), bool(modifier.return_bool))
