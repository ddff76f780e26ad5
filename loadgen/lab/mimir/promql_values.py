"""What the PromQL engine computes with: samples of series, vectors over steps, matchers, and its errors.

An expression is evaluated at all steps of a query at once: a vector is a matrix of series by steps with a mask that
says where a series has a value, because NaN is a value like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Labels = tuple[tuple[str, str], ...]
"""The labels of a series: pairs sorted by name, without empty values."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

METRIC_NAME = "__name__"
_REPEATED_TWICE = re.compile(r"[*+}]\??\)[*+{]")
STALE_BITS = 0x7FF0000000000002
"""The NaN by which Prometheus says that a series ended here."""


class ErrorKind(StrEnum):
    """``errorType`` of the query API."""

    BAD_DATA = "bad_data"
    EXECUTION = "execution"


class PromQLError(Exception):
    """A query that cannot be answered: ``kind`` decides the status (400 or 422), the text goes to the caller."""

    def __init__(self, text: str, kind: ErrorKind = ErrorKind.BAD_DATA) -> None:
        super().__init__(text)
        self.kind = kind


def execution_error(text: str) -> PromQLError:
    """An error of a query that is well-formed but has no answer with this data."""
    return PromQLError(text, ErrorKind.EXECUTION)


def compile_regex(pattern: str) -> re.Pattern[str]:
    """A pattern as PromQL means it: it must match the whole value, and a dot matches newlines too.

    Raises:
        PromQLError: it is none, or one that Python's engine would read differently or need exponential time for.
    """
    if _REPEATED_TWICE.search(pattern) or "[[:" in pattern:
        raise PromQLError(f"regular expression not supported by the embedded Mimir: `{pattern}`")
    try:
        return re.compile(pattern, re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        raise PromQLError(f"error parsing regexp: {error}: `{pattern}`") from error


class MatchKind(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """One condition on a label; a label that a series does not have counts as empty."""

    name: str
    kind: MatchKind
    value: str

    def predicate(self) -> Callable[[str], bool]:
        """A function that tells whether a value satisfies this matcher."""
        wanted = self.value
        if self.kind is MatchKind.EQUAL:
            return lambda value: value == wanted
        if self.kind is MatchKind.NOT_EQUAL:
            return lambda value: value != wanted
        pattern = compile_regex(wanted)
        if self.kind is MatchKind.MATCHES:
            return lambda value: pattern.fullmatch(value) is not None
        return lambda value: pattern.fullmatch(value) is None


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of several series, one series after the other, each in the order of time.

    Attributes:
        labels: of each series.
        starts: series ``i`` owns the samples ``starts[i]`` up to (not including) ``starts[i + 1]``.
        times: milliseconds since the epoch.
        values: one for each time.
    """

    labels: Sequence[Labels]
    starts: Ints
    times: Ints
    values: Floats


class SampleSource(Protocol):
    """Where the engine takes samples from."""

    def select(self, matchers: Sequence[LabelMatcher], after_ms: int, through_ms: int) -> Samples:
        """The samples of the matching series with ``after_ms < time <= through_ms``, series sorted by labels.

        Series without a sample in this range may be left out. Times of one series are strictly increasing.
        """
        ...


@dataclass(frozen=True, slots=True)
class Vector:
    """Series by steps: ``values[i, t]`` counts only where ``present[i, t]``."""

    labels: Sequence[Labels]
    values: Floats
    present: Bools

    def rows(self, index: Sequence[int] | Ints) -> Vector:
        """The series at these positions, in this order."""
        chosen = np.asarray(index, dtype=np.int64)
        return Vector([self.labels[i] for i in chosen.tolist()], self.values[chosen], self.present[chosen])


@dataclass(frozen=True, slots=True)
class Scalar:
    """One number per step."""

    values: Floats


@dataclass(frozen=True, slots=True)
class PromText:
    """A string literal."""

    value: str


Value = Vector | Scalar | PromText


def empty_vector(steps: int) -> Vector:
    """A vector without series."""
    return Vector([], np.empty((0, steps)), np.empty((0, steps), dtype=bool))


def without_name(labels: Labels) -> Labels:
    """The labels without the metric's name."""
    return tuple(pair for pair in labels if pair[0] != METRIC_NAME)


def drop_names(vector: Vector) -> Vector:
    """The vector without metric names, which is what most functions return."""
    return merged(Vector([without_name(labels) for labels in vector.labels], vector.values, vector.present))


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """The labels with one of them set, or removed if the value is empty."""
    rest = [pair for pair in labels if pair[0] != name]
    if value:
        rest.append((name, value))
        rest.sort()
    return tuple(rest)


def merged(vector: Vector, clash: str = "vector cannot contain metrics with the same labelset") -> Vector:
    """The vector with series of equal labels joined.

    Raises:
        PromQLError: if two of them have a value at the same step; ``clash`` is its text.
    """
    if len(set(vector.labels)) == len(vector.labels):
        return vector
    first: dict[Labels, int] = {}
    keep: list[int] = []
    values, present = vector.values.copy(), vector.present.copy()
    for row, labels in enumerate(vector.labels):
        home = first.setdefault(labels, row)
        if home == row:
            keep.append(row)
            continue
        mask = present[row]
        if bool(np.any(present[home] & mask)):
            raise execution_error(clash)
        values[home, mask] = values[row, mask]
        present[home] |= mask
    return Vector(vector.labels, values, present).rows(keep)


def grouped(keys: Iterable[Labels]) -> tuple[list[Labels], Ints]:
    """The distinct keys in the order of their first appearance, and the position of each key among them."""
    places: dict[Labels, int] = {}
    ids = [places.setdefault(key, len(places)) for key in keys]
    return list(places), np.asarray(ids, dtype=np.int64)


def quantile_rank(quantile: float, count: int) -> tuple[int, int, float]:
    """The two neighbours in a sorted list of ``count`` values, and the weight of the upper one."""
    rank = quantile * (count - 1)
    lower = max(0, int(np.floor(rank)))
    return lower, min(count - 1, lower + 1), rank - np.floor(rank)
