"""What a LogQL query is made of, after parsing. Pure values; see `loadgen.lab.loki.logql` for the parser."""

from __future__ import annotations

import re
from dataclasses import dataclass


class LogQLError(Exception):
    """A query that cannot be run; the text is in the style of Loki's own."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label of a stream: ``op`` is ``=``, ``!=``, ``=~`` or ``!~``; expressions are anchored."""

    name: str
    op: str
    value: str
    pattern: re.Pattern[str] | None = None

    def matches(self, value: str) -> bool:
        """Whether a label value (empty: the label is absent) fulfils it."""
        if self.pattern is None:
            return (value == self.value) == (self.op == "=")
        return (self.pattern.fullmatch(value) is not None) == (self.op == "=~")


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Keeps lines: ``op`` is ``|=``, ``!=``, ``|~`` or ``!~``; any of the alternatives (negative: none of them)."""

    op: str
    needles: tuple[bytes, ...]
    patterns: tuple[re.Pattern[bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Parser:
    """``| logfmt`` or ``| json``."""

    kind: str


@dataclass(frozen=True, slots=True)
class Capture:
    """``| regexp "…"``: named groups become labels."""

    pattern: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Compare:
    """A condition on a label after parsing. ``kind`` is ``string``, ``number``, ``duration`` (in s) or ``bytes``."""

    name: str
    op: str
    kind: str
    text: str = ""
    number: float = 0.0
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Both:
    """``left and right`` (also with a comma or a space) or ``left or right``."""

    op: str
    left: Condition
    right: Condition


Condition = Compare | Both


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """``| condition``."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Select:
    """``| drop a, b`` or ``| keep a, b``."""

    keep: bool
    names: frozenset[str]


Stage = LineFilter | Parser | Capture | LabelFilter | Select


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A selector with its pipeline."""

    matchers: tuple[Matcher, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeAggregation:
    """``count_over_time``, ``rate``, ``bytes_over_time`` or ``bytes_rate`` of a log query over a window.

    ``sum_over_time`` adds up the label that ``unwrap`` names.
    """

    op: str
    query: LogQuery
    range_ns: int
    offset_ns: int = 0
    unwrap: str = ""


@dataclass(frozen=True, slots=True)
class VectorAggregation:
    """``sum``, ``min``, ``max``, ``avg``, ``count``, ``topk`` or ``bottomk``, with or without grouping."""

    op: str
    inner: Expr
    parameter: int = 0
    grouping: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Literal:
    """A number; ``vector`` if written as ``vector(number)``."""

    value: float
    vector: bool = False


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic of two expressions, matched by all labels."""

    op: str
    left: Expr
    right: Expr


Expr = RangeAggregation | VectorAggregation | Literal | Binary
Query = LogQuery | Expr
