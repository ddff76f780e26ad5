"""PromQL functions of instant vectors: mathematics, labels, histograms, order."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from loadgen.lab.mimir.promql_values import (
    METRIC_NAME,
    Floats,
    Labels,
    PromQLError,
    PromText,
    Scalar,
    Value,
    Vector,
    compile_regex,
    drop_names,
    empty_vector,
    execution_error,
    grouped,
    merged,
    with_label,
)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _sign(values: Floats) -> Floats:
    return np.asarray(np.sign(values))


_MATHS: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "sgn": _sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": np.degrees,
    "rad": np.radians,
}


def _vector(arguments: list[Value], place: int) -> Vector:
    value = arguments[place]
    if not isinstance(value, Vector):
        raise PromQLError("expected type instant vector in function argument")
    return value


def _scalar(arguments: list[Value], place: int, default: Floats | None = None) -> Floats:
    if place >= len(arguments) and default is not None:
        return default
    value = arguments[place]
    if not isinstance(value, Scalar):
        raise PromQLError("expected type scalar in function argument")
    return value.values


def _text(arguments: list[Value], place: int) -> str:
    value = arguments[place]
    if not isinstance(value, PromText):
        raise PromQLError("expected type string in function argument")
    return value.value


def call(name: str, arguments: list[Value], steps: int) -> Value:
    """A function that is neither of a range nor about time.

    Raises:
        PromQLError: for a function that is not known, or arguments that do not fit.
    """
    with np.errstate(all="ignore"):
        if name in _MATHS:
            vector = _vector(arguments, 0)
            return drop_names(Vector(vector.labels, _MATHS[name](vector.values), vector.present))
        if name == "round":
            return _round(_vector(arguments, 0), _scalar(arguments, 1, np.ones(steps)))
        if name in ("clamp", "clamp_min", "clamp_max"):
            return _clamp(name, arguments, steps)
        if name == "vector":
            return Vector([()], _scalar(arguments, 0)[None, :].copy(), np.ones((1, steps), dtype=bool))
        if name == "scalar":
            return _to_scalar(_vector(arguments, 0))
        if name == "pi":
            return Scalar(np.full(steps, np.pi))
        if name in ("sort", "sort_desc"):
            return _sort(_vector(arguments, 0), descending=name == "sort_desc")
        if name == "label_replace":
            return _label_replace(_vector(arguments, 0), *(_text(arguments, place) for place in range(1, 5)))
        if name == "label_join":
            rest = [_text(arguments, place) for place in range(1, len(arguments))]
            return _label_join(_vector(arguments, 0), rest[0], rest[1], rest[2:])
        if name == "histogram_quantile":
            return _histogram_quantile(_scalar(arguments, 0), _vector(arguments, 1))
    raise PromQLError(f"function {name}() is not supported by the embedded Mimir")


def _round(vector: Vector, to_nearest: Floats) -> Vector:
    inverse = 1.0 / to_nearest
    return drop_names(Vector(vector.labels, np.floor(vector.values * inverse + 0.5) / inverse, vector.present))


def _clamp(name: str, arguments: list[Value], steps: int) -> Vector:
    vector = _vector(arguments, 0)
    low = np.full(steps, -np.inf) if name == "clamp_max" else _scalar(arguments, 1)
    high = np.full(steps, np.inf) if name == "clamp_min" else _scalar(arguments, 2 if name == "clamp" else 1)
    values = np.maximum(np.minimum(vector.values, high), low)
    return drop_names(Vector(vector.labels, values, vector.present & (low <= high)))


def _to_scalar(vector: Vector) -> Scalar:
    if not vector.labels:
        return Scalar(np.full(vector.values.shape[1], np.nan))
    alone = vector.present.sum(axis=0) == 1
    return Scalar(np.where(alone, np.where(vector.present, vector.values, 0.0).sum(axis=0), np.nan))


def _sort(vector: Vector, descending: bool) -> Vector:
    if vector.values.shape[1] != 1:
        return vector
    values = vector.values[:, 0]
    return vector.rows(np.lexsort((-values if descending else values, np.isnan(values))))


def _expand(template: str, match: re.Match[str]) -> str:
    """Go's regular-expression expansion: an unknown group is empty."""

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        try:
            return match[int(name) if name.isdecimal() else name] or ""
        except (IndexError, ValueError):
            return ""

    return _REFERENCE.sub(group, template)


def _check_label(function: str, name: str) -> None:
    if not _LABEL_NAME.fullmatch(name):
        raise execution_error(f"invalid destination label name in {function}(): {name}")


_SAME = "vector cannot contain metrics with the same labelset"


def _label_replace(vector: Vector, target: str, template: str, source: str, pattern: str) -> Vector:
    regex = compile_regex(pattern)
    _check_label("label_replace", target)

    def replaced(labels: Labels) -> Labels:
        match = regex.fullmatch(dict(labels).get(source, ""))
        return labels if match is None else with_label(labels, target, _expand(template, match))

    return merged(Vector([replaced(labels) for labels in vector.labels], vector.values, vector.present), _SAME)


def _label_join(vector: Vector, target: str, separator: str, sources: list[str]) -> Vector:
    _check_label("label_join", target)

    def joined(labels: Labels) -> Labels:
        values = dict(labels)
        return with_label(labels, target, separator.join(values.get(name, "") for name in sources))

    return merged(Vector([joined(labels) for labels in vector.labels], vector.values, vector.present), _SAME)


def _bound(labels: Labels) -> float | None:
    text = dict(labels).get("le", "")
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _histogram_quantile(quantile: Floats, vector: Vector) -> Vector:
    bounds = [_bound(labels) for labels in vector.labels]
    usable = [row for row, bound in enumerate(bounds) if bound is not None]
    buckets = vector.rows(usable)
    uppers = np.array([bounds[row] for row in usable], dtype=np.float64)
    keys, ids = grouped(
        tuple(pair for pair in labels if pair[0] not in ("le", METRIC_NAME)) for labels in buckets.labels
    )
    steps = vector.values.shape[1]
    values, present = np.zeros((len(keys), steps)), np.zeros((len(keys), steps), dtype=bool)
    if not keys:
        return empty_vector(steps)
    order = np.lexsort((uppers, ids))
    edges = np.searchsorted(ids[order], np.arange(len(keys) + 1))
    for group in range(len(keys)):
        rows = order[edges[group] : edges[group + 1]]
        mask = buckets.present[rows]
        present[group] = mask.any(axis=0)
        # Steps with the same buckets are computed together; usually that is all of them.
        patterns, which = np.unique(mask, axis=1, return_inverse=True)
        for number in range(patterns.shape[1]):
            chosen, at = rows[patterns[:, number]], np.flatnonzero(which.ravel() == number)
            if len(chosen):
                values[group, at] = _from_buckets(quantile[at], uppers[chosen], buckets.values[np.ix_(chosen, at)])
    return Vector(keys, values, present)


def _from_buckets(quantile: Floats, uppers: Floats, counts: Floats) -> Floats:
    """Prometheus' bucketQuantile for several steps: ``uppers`` are sorted, ``counts`` are cumulative."""
    distinct, first = np.unique(uppers, return_index=True)
    merged_counts = np.maximum.accumulate(np.nan_to_num(np.add.reduceat(counts, first, axis=0)), axis=0)
    steps = counts.shape[1]
    if len(distinct) < 2 or distinct[-1] != np.inf:
        return _outside(quantile, np.full(steps, np.nan))
    total = merged_counts[-1]
    rank = quantile * total
    bucket = np.argmax(merged_counts[:-1] >= rank[None, :], axis=0)
    bucket = np.where((merged_counts[:-1] >= rank[None, :]).any(axis=0), bucket, len(distinct) - 1)
    column = np.arange(steps)
    below = np.maximum(bucket - 1, 0)
    before = np.where(bucket > 0, merged_counts[below, column], 0.0)
    start = np.where(bucket > 0, distinct[below], 0.0)
    share = (rank - before) / (merged_counts[bucket, column] - before)
    result = start + (distinct[bucket] - start) * share
    result = np.where((bucket == 0) & (distinct[0] <= 0), distinct[0], result)
    result = np.where(bucket == len(distinct) - 1, distinct[-2], result)
    return _outside(quantile, np.where(total == 0, np.nan, result))


def _outside(quantile: Floats, inside: Floats) -> Floats:
    result = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, inside))
    return np.asarray(np.where(np.isnan(quantile), np.nan, result))
