"""Values of LogQL at every step of a query: aggregated over label sets, and combined by arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from loadgen.lab.loki.logql_ast import LogQLError, VectorAggregation
from loadgen.lab.loki.logql_pipeline import Labels

Floats = NDArray[np.float64]
Vector = dict[Labels, Floats]
"""A value for every step by label set; NaN where there is none."""


def aggregate(expr: VectorAggregation, inner: Vector | float) -> Vector:
    """``sum``, ``topk`` and so on of a vector; LogQLError for a number."""
    if isinstance(inner, float):
        raise LogQLError(f"parse error : {expr.op} needs a vector, but got a number")
    groups: dict[Labels, list[Labels]] = {}
    names = set(expr.grouping)
    for labels in inner:
        if expr.without:
            key = tuple(pair for pair in labels if pair[0] not in names)
        else:
            key = tuple(pair for pair in labels if pair[0] in names)
        groups.setdefault(key, []).append(labels)
    if expr.op in {"topk", "bottomk"}:
        return _top(expr, inner, groups)
    out: Vector = {}
    for key, members in groups.items():
        rows = np.stack([inner[m] for m in members])
        there = ~np.isnan(rows)
        some = there.any(axis=0)
        if expr.op == "count":
            values = there.sum(axis=0).astype(np.float64)
        elif expr.op in {"sum", "avg"}:
            values = np.where(there, rows, 0.0).sum(axis=0)
            if expr.op == "avg":
                values = values / np.maximum(there.sum(axis=0), 1)
        elif expr.op == "min":
            values = np.where(there, rows, np.inf).min(axis=0)
        else:
            values = np.where(there, rows, -np.inf).max(axis=0)
        out[key] = np.where(some, values, np.nan)
    return out


def _top(expr: VectorAggregation, inner: Vector, groups: Mapping[Labels, Sequence[Labels]]) -> Vector:
    out: Vector = {}
    for members in groups.values():
        rows = np.stack([inner[m] for m in members])
        worst = -np.inf if expr.op == "topk" else np.inf
        ranked = np.where(np.isnan(rows), worst, rows)
        order = np.argsort(-ranked if expr.op == "topk" else ranked, axis=0, kind="stable")
        chosen = np.zeros(rows.shape, bool)
        np.put_along_axis(chosen, order[: expr.parameter], True, axis=0)
        for i, labels in enumerate(members):
            out[labels] = np.where(chosen[i], rows[i], np.nan)
    return out


def binary(op: str, left: Vector | float, right: Vector | float) -> Vector | float:
    """Arithmetic of two values; vectors are matched by all labels."""
    if isinstance(left, float) and isinstance(right, float):
        return float(_arithmetic(op, np.array([left]), np.array([right]))[0])
    if isinstance(left, float):
        return (
            {k: _arithmetic(op, np.full_like(v, left), v) for k, v in right.items()} if isinstance(right, dict) else {}
        )
    if isinstance(right, float):
        return {k: _arithmetic(op, v, np.full_like(v, right)) for k, v in left.items()}
    return {k: _arithmetic(op, left[k], right[k]) for k in left if k in right}


def _arithmetic(op: str, left: Floats, right: Floats) -> Floats:
    functions: dict[str, Callable[[Floats, Floats], Floats]] = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "%": np.fmod,
        "^": np.power,
    }
    with np.errstate(all="ignore"):
        return functions[op](left, right)
