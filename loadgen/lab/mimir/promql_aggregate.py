"""PromQL's aggregations: sum, avg, min, max, count, group, stddev, stdvar, topk, bottomk, quantile, count_values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadgen.lab.mimir.promql_text import float_text
from loadgen.lab.mimir.promql_values import (
    METRIC_NAME,
    Bools,
    Floats,
    Ints,
    Labels,
    PromQLError,
    PromText,
    Scalar,
    Value,
    Vector,
    empty_vector,
    grouped,
    merged,
    with_label,
)
from loadgen.lab.mimir.promql_windows import quantile_of

OPERATORS = frozenset(
    ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values")
)
"""The aggregations that the engine knows."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """``by (names)`` or ``without (names)``; no names and not ``without`` puts everything into one group."""

    without: bool = False
    names: tuple[str, ...] = ()

    def key(self, labels: Labels) -> Labels:
        """The labels of the group that a series belongs to."""
        if self.without:
            return tuple(pair for pair in labels if pair[0] not in self.names and pair[0] != METRIC_NAME)
        return tuple(pair for pair in labels if pair[0] in self.names)


def aggregate(operator: str, vector: Vector, grouping: Grouping, parameter: Value | None) -> Vector:
    """One value per group and step (or, for topk and bottomk, the chosen series).

    Raises:
        PromQLError: for an operator that is not known, or a parameter that does not fit.
    """
    if operator not in OPERATORS:
        raise PromQLError(f"aggregation {operator}() is not supported by the embedded Mimir")
    if operator == "count_values":
        if not isinstance(parameter, PromText):
            raise PromQLError("expected type string in aggregation parameter")
        return _count_values(vector, grouping, parameter.value)
    if not vector.labels:
        return empty_vector(vector.values.shape[1])
    keys, ids = grouped(grouping.key(labels) for labels in vector.labels)
    order = np.argsort(ids, kind="stable")
    groups = _Groups(vector.rows(order), np.searchsorted(ids[order], np.arange(len(keys))))
    with np.errstate(all="ignore"):
        if operator in ("topk", "bottomk"):
            return _extremes(vector, ids, _numbers(parameter), largest=operator == "topk")
        if operator == "quantile":
            return Vector(keys, *_quantiles(groups, _numbers(parameter)))
        return Vector(keys, *_plain(operator, groups))


def _numbers(parameter: Value | None) -> Floats:
    if not isinstance(parameter, Scalar):
        raise PromQLError("expected type scalar in aggregation parameter")
    return parameter.values


@dataclass(frozen=True, slots=True)
class _Groups:
    """Series ordered by group; ``starts`` are the first rows of the groups."""

    vector: Vector
    starts: Ints

    def reduce(self, ufunc: np.ufunc, filled: Floats) -> Floats:
        return np.asarray(ufunc.reduceat(filled, self.starts, axis=0))

    def counts(self) -> Ints:
        return np.asarray(np.add.reduceat(self.vector.present.astype(np.int64), self.starts, axis=0))

    def spread(self, per_group: Floats) -> Floats:
        """Each group's values, repeated for each of its series."""
        sizes = np.diff(np.append(self.starts, len(self.vector.labels)))
        return np.repeat(per_group, sizes, axis=0)


def _plain(operator: str, groups: _Groups) -> tuple[Floats, Bools]:
    values, mask = groups.vector.values, groups.vector.present
    counts = groups.counts()
    present = counts > 0
    if operator == "count":
        return counts.astype(np.float64), present
    if operator == "group":
        return np.ones(counts.shape), present
    if operator in ("min", "max"):
        return groups.reduce(np.fmin if operator == "min" else np.fmax, np.where(mask, values, np.nan)), present
    total = groups.reduce(np.add, np.where(mask, values, 0.0))
    if operator == "sum":
        return total, present
    mean = total / np.maximum(counts, 1)
    if operator == "avg":
        return mean, present
    squares = np.where(mask, (values - groups.spread(mean)) ** 2, 0.0)
    variance = groups.reduce(np.add, squares) / np.maximum(counts, 1)
    return (np.sqrt(variance) if operator == "stddev" else variance), present


def _quantiles(groups: _Groups, wanted: Floats) -> tuple[Floats, Bools]:
    values, mask = groups.vector.values, groups.vector.present
    counts = groups.counts()
    out = np.zeros(counts.shape)
    ends = np.append(groups.starts[1:], len(groups.vector.labels))
    for group, (low, high) in enumerate(zip(groups.starts.tolist(), ends.tolist(), strict=True)):
        some, there = values[low:high], mask[low:high]
        # Absent values last; NaN first, as in Prometheus.
        order = np.lexsort((some, ~np.isnan(some), ~there), axis=0)
        ordered = np.take_along_axis(some, order, axis=0)
        for step in np.flatnonzero(counts[group]).tolist():
            out[group, step] = quantile_of(ordered[: counts[group, step], step], float(wanted[step]))
    return out, counts > 0


def _extremes(vector: Vector, ids: Ints, wanted: Floats, largest: bool) -> Vector:
    """topk and bottomk: at each step the k largest or smallest of each group; NaN comes last."""
    keys = -vector.values if largest else vector.values
    wide = np.broadcast_to(ids[:, None], keys.shape)
    order = np.lexsort((keys, np.isnan(keys), ~vector.present, wide), axis=0)
    sorted_ids = np.take_along_axis(wide, order, axis=0)
    rank = np.empty(keys.shape, dtype=np.int64)
    starts = np.searchsorted(np.sort(ids), sorted_ids[:, 0]) if len(ids) else ids
    np.put_along_axis(rank, order, np.arange(len(ids))[:, None] - starts[:, None], axis=0)
    if bool(np.isnan(wanted).any()):
        raise PromQLError("Parameter value is NaN")
    limit = np.clip(wanted, 0, len(ids)).astype(np.int64)
    chosen = Vector(vector.labels, vector.values, vector.present & (rank < limit[None, :]))
    kept = np.flatnonzero(chosen.present.any(axis=1))
    if vector.values.shape[1] == 1:
        # The answer to an instant query is in the order of rank.
        kept = kept[np.lexsort((rank[kept, 0], ids[kept]))]
    return chosen.rows(kept)


def _count_values(vector: Vector, grouping: Grouping, name: str) -> Vector:
    steps = vector.values.shape[1]
    labels: list[Labels] = []
    masks: list[Bools] = []
    for row, own in enumerate(vector.labels):
        there = vector.present[row]
        for value in np.unique(vector.values[row][there]).tolist():
            same = there & ((vector.values[row] == value) | (np.isnan(vector.values[row]) & np.isnan(value)))
            labels.append(with_label(grouping.key(own), name, float_text(value)))
            masks.append(same)
    if not labels:
        return empty_vector(steps)
    keys, ids = grouped(labels)
    counts = np.zeros((len(keys), steps))
    np.add.at(counts, ids, np.array(masks))
    return merged(Vector(keys, counts, counts > 0))
