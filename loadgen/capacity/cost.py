"""What a unit of load costs: a straight line through the steps of a search, for each component and resource. Pure.

Loads that rise together cannot be told apart. Then the one that explains the resource by the way the component works
takes all of it, and the unit of the cost says which: memory goes to what is held (series, streams), work and writing to
what passes through (MB/s). Loads that vary independently share one plane, and each has its `Cost` with the same
``idle`` and ``fit``.

The load is what was accepted, so a step in which the component refused a part counts as well. A step does not count in
which something crashed, the component started anew, a person ended it, or the generator did not keep its schedule: what
was used in it is not the cost of a steady load.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from loadgen.capacity.model import Cost, Ending, Flow, SearchKind, Step, Usage
from loadgen.capacity.scales import SCALES
from loadgen.kinds import COMPONENTS, kind_of, kinds_in
from loadgen.model import Component

MB_S = "MB/s"
QUERIES = "1,000 queries"
"""Of queries per second, so that cores become CPU seconds."""

RESOURCES = ("cores", "memory_bytes", "s3_written_bytes_per_s", "s3_requests_per_s", "wal_bytes")

_LEFT_OUT = (Ending.INTERRUPTED, Ending.GENERATOR)
# With one fewer, a line goes through all points whatever they are, and its fit says nothing.
_MORE_LOADS_THAN_UNKNOWNS = 1
# Loads nearer than this share of the largest differ by the noise of the generator.
_SAME_LOAD = 0.03
# What changes by less than this share of the largest is held constant, as far as the servers let it be.
_VARIES = 0.15
# From where on a load follows from the others so far that its own part cannot be told.
_COLLINEAR = 0.9

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Load:
    """One kind of load.

    Attributes:
        unit: of it.
        of: how much of it a step had; None: not known.
        otherwise: what counts in all steps where ``of`` does not know it in one.
        least: a cost per unit says nothing when all steps together span less than this, in the unit.
    """

    unit: str
    of: Callable[[Step, Component], float | None]
    otherwise: Callable[[Step, Component], float | None] | None = None
    raised_by: tuple[SearchKind, ...] = ()
    least: float = 0.0

    def column(self, steps: Sequence[Step], component: Component) -> Column | None:
        """How much of it each step had; None if that is not known, or they hardly differ."""
        if self.raised_by and not any(step.kind in self.raised_by for step in steps):
            return None
        for of in (self.of, self.otherwise):
            values = [of(step, component) if of is not None else None for step in steps]
            known = [value for value in values if value is not None and math.isfinite(value)]
            if known and len(known) == len(values):
                column = np.array(known, np.float64)
                return column if np.ptp(column) > max(self.least, _VARIES * np.abs(column).max()) else None
        return None


def costs_of(steps: Sequence[Step]) -> tuple[Cost, ...]:
    """The costs that the steps tell; nothing for a resource with too few loads to lay a line through.

    Nothing costs less than nothing: of all planes without a negative growth or ``idle`` it is the nearest, so a load
    that seems to lower what is used costs 0. A poor fit is given as it is. Where the resource is the same in all steps,
    the growth is 0 and the fit 1. Where a component has figures from several sources, those of the one with the most
    steps count.
    """
    steps = [step for step in steps if step.ending not in _LEFT_OUT and not step.crashed]
    return tuple(
        cost for component in COMPONENTS for resource in RESOURCES for cost in _fitted(steps, component, resource)
    )


def _fitted(steps: Sequence[Step], component: Component, resource: str) -> tuple[Cost, ...]:
    known = _known(steps, component, resource)
    used = np.array([value for _, value in known], np.float64)
    chosen: list[tuple[str, Column]] = []
    for load in _loads(component, resource):
        column = load.column([step for step, _ in known], component)
        columns = [one for _, one in chosen]
        if column is None or (chosen and _follows(columns, column) >= _COLLINEAR):
            continue
        if _distinct([*columns, column]) >= len(columns) + 2 + _MORE_LOADS_THAN_UNKNOWNS:
            chosen.append((load.unit, column))
    if not chosen:
        return ()
    slopes, fit, idle = _plane([column for _, column in chosen], used)
    return tuple(
        Cost(
            component=component.value,
            resource=resource,
            unit=unit,
            per_unit=float(slope),
            idle=idle,
            fit=fit,
            steps=len(known),
            low=float(column.min()),
            high=float(column.max()),
        )
        for (unit, column), slope in zip(chosen, slopes, strict=True)
    )


def _known(steps: Sequence[Step], component: Component, resource: str) -> list[tuple[Step, float]]:
    """The steps that tell what the component used of a resource, all from the same source."""
    by_source: dict[str, list[tuple[Step, float]]] = {}
    for step in steps:
        mine = _usages(step, component)
        if any(usage.starts for usage in mine):
            continue
        for source in dict.fromkeys(usage.source for usage in mine):
            value = next((getattr(usage, resource) for usage in mine if usage.source == source), None)
            if value is not None and math.isfinite(value):
                by_source.setdefault(source, []).append((step, float(value)))
    return max(by_source.values(), key=len, default=[])


def _plane(columns: Sequence[Column], used: Column) -> tuple[list[float], float, float]:
    """By least squares: growth per unit of each column, the share of the variation it explains, and what is left.

    Each part is left out where it would be negative. There are few, so all ways to leave some out are tried.
    """
    largest = float(np.abs(used).max())
    if np.ptp(used) <= 1e-12 * largest:
        return [0.0] * len(columns), 1.0, float(used.mean())
    parts, used = [np.ones(len(used)), *columns], used / largest
    best, error = [0.0] * len(parts), float(used @ used)
    # From all of them down: with the same error, the more parts the better.
    for number in range(len(parts), 0, -1):
        for some in combinations(range(len(parts)), number):
            amounts, off = _least_squares([parts[index] for index in some], used)
            if min(amounts) >= 0 and off < error:
                best, error = [0.0] * len(parts), off
                for index, amount in zip(some, amounts, strict=True):
                    best[index] = amount
    around = used - used.mean()
    idle, *slopes = (amount * largest for amount in best)
    return slopes, min(1.0, max(0.0, 1.0 - error / float(around @ around))), idle


def _least_squares(parts: Sequence[Column], used: Column) -> tuple[list[float], float]:
    """How much of each part comes nearest, and the sum of squares that is left."""
    # They differ by orders of magnitude.
    scale = np.array([np.abs(part).max() for part in parts])
    table = np.column_stack(parts) / scale
    amounts = np.linalg.lstsq(table, used, rcond=None)[0]
    off = used - table @ amounts
    return [float(amount) for amount in amounts / scale], float(off @ off)


def _follows(columns: Sequence[Column], column: Column) -> float:
    """Which share of the variation of a load follows from others."""
    _, off = _least_squares([np.ones(len(column)), *columns], column)
    around = column - column.mean()
    return 1.0 - off / float(around @ around)


def _distinct(columns: Sequence[Column]) -> int:
    """How many really different loads there are."""
    table = np.column_stack(columns)
    largest = np.abs(table).max(axis=0)
    table = table / np.where(largest > 0, largest, 1.0)
    seen: list[Column] = []
    for row in table:
        if all(np.abs(row - one).max() > _SAME_LOAD for one in seen):
            seen.append(row)
    return len(seen)


# -- loads ---------------------------------------------------------------------------------------------------------


def _usages(step: Step, component: Component) -> list[Usage]:
    return [usage for usage in step.usage if usage.component == component.value]


def _flow(step: Step, component: Component) -> Flow | None:
    mine = {kind.signal.value for kind in kinds_in(component)}
    return next((flow for flow in step.flows if flow.signal in mine), None)


def _passed(step: Step, component: Component) -> float:
    flow = _flow(step, component)
    return flow.accepted_bytes_per_s / 1e6 if flow is not None else 0.0


def _held(step: Step, component: Component, field: str) -> float | None:
    """What the component itself says that it holds: earlier steps and other senders are in that too."""
    values = [getattr(usage, field) for usage in _usages(step, component)]
    return next((value / 1000 for value in values if value is not None), None)


def _queries(step: Step, component: Component) -> float:  # noqa: ARG001 - viewers ask all components in turn
    return step.queries_per_s / 1000


_THROUGH = _Load(MB_S, _passed)
# An overloaded stack answers fewer queries, so elsewhere their rate follows what it is meant to explain.
_ASKED = _Load(QUERIES, _queries, raised_by=(SearchKind.QUERIES, SearchKind.ALL))


def _held_of(component: Component) -> tuple[_Load, ...]:
    """What a store holds in memory: as it says itself, or else as it was sent."""
    held = [one for scale in SCALES if kind_of(scale.signal).store is component for one in scale.held]

    def says(field: str) -> Callable[[Step, Component], float | None]:
        return lambda step, store: _held(step, store, field)

    def sent(field: str) -> Callable[[Step, Component], float | None]:
        return lambda step, store: _sent(step, store, field)

    return tuple(_Load(one.unit, says(one.field), sent(one.sent), least=one.least) for one in held)


def _sent(step: Step, component: Component, field: str) -> float:
    flow = _flow(step, component)
    return getattr(flow, field) / 1000 if flow is not None else 0.0


def _loads(component: Component, resource: str) -> tuple[_Load, ...]:
    """What can explain a resource, the likeliest first: it takes what it shares with the others."""
    held = _held_of(component)
    return {
        "cores": (_THROUGH, _ASKED, *held),
        "memory_bytes": (*held, _THROUGH),
        "s3_written_bytes_per_s": (_THROUGH,),
        "s3_requests_per_s": (_THROUGH, _ASKED, *held),
        "wal_bytes": (_THROUGH, *held),
    }[resource]
