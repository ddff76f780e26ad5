"""PromQL's binary operators (arithmetic, comparison, set) with vector matching."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from loadgen.lab.mimir.promql_values import (
    METRIC_NAME,
    Bools,
    Floats,
    Ints,
    Labels,
    PromQLError,
    Scalar,
    Value,
    Vector,
    drop_names,
    empty_vector,
    execution_error,
    grouped,
    merged,
    with_label,
)

_ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
_SETS = frozenset({"and", "or", "unless"})


class Cardinality(StrEnum):
    """How many series of one side may match one of the other."""

    ONE_TO_ONE = "one-to-one"
    MANY_TO_ONE = "many-to-one"
    ONE_TO_MANY = "one-to-many"


@dataclass(frozen=True, slots=True)
class Matching:
    """How series of both sides find each other.

    Attributes:
        on: ``names`` are the labels that must agree; otherwise all labels but ``names`` and the metric name must.
        names: labels named by ``on`` or ``ignoring``.
        cardinality: which side may have several series for one of the other.
        include: labels that ``group_left``/``group_right`` takes over from the "one" side.
        as_bool: comparisons give 0 or 1 instead of filtering.
    """

    on: bool = False
    names: tuple[str, ...] = ()
    cardinality: Cardinality = Cardinality.ONE_TO_ONE
    include: tuple[str, ...] = ()
    as_bool: bool = False

    def signature(self, labels: Labels) -> Labels:
        """What two series must have in common to match."""
        if self.on:
            return tuple(pair for pair in labels if pair[0] in self.names)
        return tuple(pair for pair in labels if pair[0] not in self.names and pair[0] != METRIC_NAME)


def label_text(labels: Labels) -> str:
    """Labels as Prometheus prints them in errors."""
    inside = ", ".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return "{" + inside + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def binary(operator: str, left: Value, right: Value, matching: Matching) -> Value:
    """``left operator right``.

    Raises:
        PromQLError: for an operator that is not known, operands that do not fit, or ambiguous matches.
    """
    if operator not in _ARITHMETIC and operator not in _COMPARISON and operator not in _SETS:
        raise PromQLError(f'operator "{operator}" is not supported by the embedded Mimir')
    with np.errstate(all="ignore"):
        if isinstance(left, Scalar) and isinstance(right, Scalar) and operator not in _SETS:
            return Scalar(_compute(operator, left.values, right.values))
        if isinstance(left, Vector) and isinstance(right, Vector):
            if operator in _SETS:
                return _set_operation(operator, left, right, matching)
            return _between_vectors(operator, left, right, matching)
        if isinstance(left, Vector) and isinstance(right, Scalar) and operator not in _SETS:
            return _with_scalar(operator, left, right.values[None, :], matching.as_bool, swapped=False)
        if isinstance(left, Scalar) and isinstance(right, Vector) and operator not in _SETS:
            return _with_scalar(operator, right, left.values[None, :], matching.as_bool, swapped=True)
    raise PromQLError(f'set operator "{operator}" not allowed in binary scalar expression')


def _compute(operator: str, left: Floats, right: Floats) -> Floats:
    if operator in _ARITHMETIC:
        return np.asarray(_ARITHMETIC[operator](left, right), dtype=np.float64)
    return _COMPARISON[operator](left, right).astype(np.float64)


def _with_scalar(operator: str, vector: Vector, scalar: Floats, as_bool: bool, swapped: bool) -> Vector:
    first, second = (scalar, vector.values) if swapped else (vector.values, scalar)
    result = _compute(operator, first, second)
    if operator in _ARITHMETIC or as_bool:
        return drop_names(Vector(vector.labels, result, vector.present))
    return _without_empty(Vector(vector.labels, vector.values, vector.present & (result != 0)))


def _without_empty(vector: Vector) -> Vector:
    kept = np.flatnonzero(vector.present.any(axis=1))
    return vector if len(kept) == len(vector.labels) else vector.rows(kept)


def _any_by_key(present: Bools, ids: Ints, keys: int) -> Bools:
    """For each key and step, whether any of its series is present."""
    out = np.zeros((keys, present.shape[1]), dtype=bool)
    np.logical_or.at(out, ids, present)
    return out


def _set_operation(operator: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    signatures = [matching.signature(labels) for labels in [*left.labels, *right.labels]]
    keys, ids = grouped(signatures)
    left_ids, right_ids = ids[: len(left.labels)], ids[len(left.labels) :]
    if operator == "or":
        taken = _any_by_key(left.present, left_ids, len(keys))[right_ids]
        values, present = np.vstack((left.values, right.values)), np.vstack((left.present, right.present & ~taken))
        return merged(_without_empty(Vector([*left.labels, *right.labels], values, present)))
    has = _any_by_key(right.present, right_ids, len(keys))[left_ids]
    return _without_empty(Vector(left.labels, left.values, left.present & (has if operator == "and" else ~has)))


def _between_vectors(operator: str, left: Vector, right: Vector, matching: Matching) -> Vector:
    steps = left.values.shape[1]
    if not left.labels or not right.labels:
        return empty_vector(steps)
    swap = matching.cardinality is Cardinality.ONE_TO_MANY
    many, one = (right, left) if swap else (left, right)
    keys, ids = grouped(matching.signature(labels) for labels in [*many.labels, *one.labels])
    many_ids, one_ids = ids[: len(many.labels)], ids[len(many.labels) :]
    _refuse_ambiguous(one, one_ids, keys, bool_any(many.present), "left" if swap else "right")
    by_key: dict[int, list[int]] = {}
    for row, key in enumerate(one_ids.tolist()):
        by_key.setdefault(key, []).append(row)
    pairs = [(row, other) for row, key in enumerate(many_ids.tolist()) for other in by_key.get(key, ())]
    if not pairs:
        return empty_vector(steps)
    many_rows = np.array([pair[0] for pair in pairs], dtype=np.int64)
    one_rows = np.array([pair[1] for pair in pairs], dtype=np.int64)
    first, second = (one, many) if swap else (many, one)
    first_rows, second_rows = (one_rows, many_rows) if swap else (many_rows, one_rows)
    present = many.present[many_rows] & one.present[one_rows]
    result = _compute(operator, first.values[first_rows], second.values[second_rows])
    if operator in _COMPARISON and not matching.as_bool:
        present &= result != 0
        result = first.values[first_rows]
    drop_name = operator in _ARITHMETIC or matching.as_bool
    labels = [_result_labels(many.labels[m], one.labels[o], matching, drop_name) for m, o in pairs]
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        clash = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        _refuse_overlap(present, many_ids[many_rows], len(keys), clash)
    else:
        clash = "multiple matches for labels: grouping labels must ensure unique matches"
    return merged(_without_empty(Vector(labels, result, present)), clash)


def bool_any(present: Bools) -> Bools:
    """For each step, whether any series is present."""
    return np.asarray(present.any(axis=0), dtype=bool)


def _refuse_overlap(present: Bools, ids: Ints, keys: int, text: str) -> None:
    counts = np.zeros((keys, present.shape[1]), dtype=np.int64)
    np.add.at(counts, ids, present)
    if bool((counts > 1).any()):
        raise execution_error(text)


def _refuse_ambiguous(one: Vector, ids: Ints, keys: Sequence[Labels], needed: Bools, side: str) -> None:
    counts = np.zeros((len(keys), one.present.shape[1]), dtype=np.int64)
    np.add.at(counts, ids, one.present)
    clashes = np.argwhere((counts > 1) & needed[None, :])
    if not len(clashes):
        return
    key, step = (int(place) for place in clashes[0])
    rows = [row for row in np.flatnonzero(ids == key).tolist() if one.present[row, step]][:2]
    raise execution_error(
        f"found duplicate series for the match group {label_text(keys[key])} on the {side} hand-side of the operation: "
        f"[{', '.join(label_text(one.labels[row]) for row in reversed(rows))}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _result_labels(many: Labels, one: Labels, matching: Matching, drop_name: bool) -> Labels:
    labels = tuple(pair for pair in many if pair[0] != METRIC_NAME) if drop_name else many
    if matching.cardinality is Cardinality.ONE_TO_ONE:
        if matching.on:
            labels = tuple(pair for pair in labels if pair[0] in matching.names)
        else:
            labels = tuple(pair for pair in labels if pair[0] not in matching.names)
    values = dict(one)
    for name in matching.include:
        labels = with_label(labels, name, values.get(name, ""))
    return labels
