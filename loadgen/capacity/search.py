"""Which level comes next, or why a search is over. Pure: it follows from the steps so far, so a search can be resumed.

Load doubles until a promise breaks, or sinks by halves until none does; then the gap between the highest level that was
kept and the lowest that was not is halved until it is small. A step is made once more before it decides when it says
little: when the generator was late, when a promise could not be judged, and when only a time was too long while nothing
was refused or lost, which a moment's disturbance of the machine can do. Queries are judged by their number: where there
are too few to judge by, more of them can say something, and fewer cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadgen.capacity.model import Ending, Search, SearchKind, Step, Why

ESSENTIAL = (".throughput", ".loss", ".query")
"""The promises without which nothing can be said of a step, by the end of their names."""

MOST_HALVINGS = 6
"""How far below its start a search goes."""

_DIGITS = 3
_TRIES = 2
_ENDS = {Ending.BROKEN: Why.FOUND, Ending.GENERATOR: Why.GENERATOR, Ending.UNTOLD: Why.UNTOLD}
_WHOLE = frozenset(("streams", "series"))
# Limits on how many there may be at a time, by the end of their names; the field of Usage that counts them.
_COUNTED = {"max_global_series_per_user": "series", "max_global_streams_per_user": "streams"}
_FULL = "a server that is full refuses what is new for hours, so levels in between were not tried"


@dataclass(frozen=True, slots=True)
class Range:
    """Where a search goes.

    Attributes:
        kind, unit: as in `Search`.
        start: first level.
        ceiling: never beyond.
        precision: how close kept and broken level come, as a share of the kept one.
    """

    kind: SearchKind
    unit: str
    start: float
    ceiling: float
    precision: float


@dataclass(frozen=True, slots=True)
class Level:
    """The next step's level; ``again`` when it was tried before."""

    level: float
    again: bool = False


def is_disturbance(step: Step) -> bool:
    """Only times were too long: nothing was refused, lost or crashed."""
    timed = all(one.check.endswith((".query", ".freshness")) for one in step.broken)
    return step.ending is Ending.BROKEN and timed and not step.refusals and not step.crashed


def is_too_few(step: Step) -> bool:
    """A step of queries of which nothing but their latency is not told, as there were too few of them to measure it."""
    open_ones = [one for one in step.untold if one.check.endswith(ESSENTIAL)]
    few = all(one.check.endswith(".query") and not one.measured for one in open_ones)
    return step.kind is SearchKind.QUERIES and step.ending is Ending.UNTOLD and bool(open_ones) and few


def decide(steps: Sequence[Step], where: Range) -> Level | Search:
    """The next level of a search, or its end. ``steps`` are those of this search, in order."""
    told = [step for step in steps if step.ending is not Ending.INTERRUPTED]
    if not told:
        return Level(_rounded(min(where.start, where.ceiling), where))
    last = told[-1]
    tries = sum(step.level == last.level for step in told)
    doubtful = last.ending in (Ending.GENERATOR, Ending.UNTOLD) or is_disturbance(last)
    if doubtful and not is_too_few(last) and tries < _TRIES:
        return Level(last.level, again=True)
    endings = {step.level: step.ending for step in told}
    kept = max((level for level, ending in endings.items() if ending is Ending.KEPT), default=None)
    few = {step.level: is_too_few(step) for step in told}
    if kept is None and any(few.values()):
        return _above_too_few(few, endings, where)
    above = min((level for level in endings if kept is None or level > kept), default=None)
    if kept is None:
        assert above is not None  # there is a step, and none was kept
        lower = _rounded(above / 2, where)
        if lower <= 0 or lower >= above or above <= where.start / 2**MOST_HALVINGS:
            why = Why.LOWEST if endings[above] is Ending.BROKEN else _ENDS[endings[above]]
            return Search(where.kind, where.unit, where.ceiling, why, None, above)
        return Level(lower)
    if above is None:
        if kept >= _rounded(where.ceiling, where):
            return Search(where.kind, where.unit, where.ceiling, Why.CEILING, kept, None)
        return Level(_rounded(min(2 * kept, where.ceiling), where))
    counted = _counted(told, where, kept, above)
    if counted is not None:
        return Search(where.kind, where.unit, where.ceiling, Why.FOUND, kept, above, _FULL, counted)
    between = _rounded((kept + above) / 2, where)
    if above <= kept * (1 + where.precision) or not kept < between < above:
        return Search(where.kind, where.unit, where.ceiling, _ENDS[endings[above]], kept, above)
    return Level(between)


def _above_too_few(few: Mapping[float, bool], endings: Mapping[float, Ending], where: Range) -> Level | Search:
    """The next level of a search of queries that kept none, and had too few to judge by at some levels."""
    above = min((level for level, is_few in few.items() if not is_few), default=None)
    low = max((level for level, is_few in few.items() if is_few and (above is None or level < above)), default=0.0)
    if above is None:
        higher = _rounded(min(2 * low, where.ceiling), where)
        return Level(higher) if higher > low else Search(where.kind, where.unit, where.ceiling, Why.UNTOLD, None, low)
    between = _rounded((low + above) / 2, where)
    if above <= low * (1 + where.precision) or not low < between < above:
        why = Why.GENERATOR if endings[above] is Ending.GENERATOR else Why.UNTOLD
        return Search(where.kind, where.unit, where.ceiling, why, None, above)
    return Level(between)


def _counted(steps: Sequence[Step], where: Range, kept: float, above: float) -> float | None:
    """How many series or streams a limit on their number lets through of ours; None where it was no such limit.

    What the component holds beside ours is what it held of others in the last step that was kept.
    """
    broke = next((step for step in reversed(steps) if step.level == above), None)
    fine = next((step for step in reversed(steps) if step.level == kept), None)
    if broke is None or fine is None or where.unit not in _WHOLE or broke.ending is not Ending.BROKEN:
        return None
    for refusal in broke.refusals:
        limit = refusal.limit
        field = _COUNTED.get(limit.setting.rpartition(".")[2], "") if limit is not None else ""
        if limit is None or not field:
            continue
        most = limit.number or _held(broke, limit.component, field)
        held = _held(fine, limit.component, field)
        others = max(0.0, held - kept) if held is not None else 0.0
        return min(above, max(kept, most - others)) if most is not None else None
    return None


def _held(step: Step, component: str, field: str) -> float | None:
    return next((getattr(one, field) for one in step.usage if one.component == component), None)


def planned(where: Range) -> tuple[float, ...]:
    """The levels of a search in which nothing breaks: what a dry run shows."""
    levels: list[float] = []
    level = _rounded(min(where.start, where.ceiling), where)
    while not levels or levels[-1] < _rounded(where.ceiling, where):
        levels.append(level)
        level = _rounded(min(2 * level, where.ceiling), where)
    return tuple(levels)


def halvings(where: Range) -> int:
    """How many further steps close the gap after the first break at most."""
    gap, steps = 1.0, 0
    while gap > where.precision:
        gap, steps = gap / 2, steps + 1
    return steps


def stopped(steps: Sequence[Step], where: Range, why: Why, detail: str = "") -> Search:
    """A search that was ended from outside, with what it knows so far."""
    endings = {step.level: step.ending for step in steps if step.ending is not Ending.INTERRUPTED}
    kept = max((level for level, ending in endings.items() if ending is Ending.KEPT), default=None)
    broke = min(
        (level for level, ending in endings.items() if ending is Ending.BROKEN and (kept is None or level > kept)),
        default=None,
    )
    return Search(where.kind, where.unit, where.ceiling, why, kept, broke, detail)


def _rounded(level: float, where: Range) -> float:
    """A level that a person can read: three digits, and a whole number of what cannot be parted."""
    short = float(f"{level:.{_DIGITS}g}")
    return float(max(1, round(short))) if where.unit in _WHOLE else short
