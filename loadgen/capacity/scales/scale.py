"""What a search of capacity must know of a kind: how its load is raised, and what bounds it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from loadgen.capacity.model import OwnLoad
from loadgen.capacity.scales.known import KnownLimit
from loadgen.capacity.scales.need import Carried, Need
from loadgen.config import Profile
from loadgen.config.capacity import CapacitySection
from loadgen.model import Signal
from loadgen.plan import Plan

Settings = Mapping[str, float | int | None]
"""Settings of a section of the profile."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a search raises.

    Attributes:
        unit: of a level.
        start: the level of the profile itself.
        ceiling: the highest that may be asked for.
        at: the settings of the kind's section at a level.
    """

    unit: str
    start: float
    ceiling: float
    at: Callable[[float], Settings]


@dataclass(frozen=True, slots=True)
class HeldLoad:
    """Something that a store holds in memory and that costs by itself.

    Attributes:
        unit: the name of a thousand of it in costs.
        field: of `Usage`, what the store says that it holds.
        sent: of `Flow`, how much of it loadgen sent.
        least: a cost per unit says nothing when all steps together span less than this.
    """

    unit: str
    field: str
    sent: str
    least: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """What a search of capacity must know of a kind.

    Attributes:
        signal: of which kind.
        ladder: what is raised, by a profile and the plain bytes a second that it sends.
        times: settings of the section for so many times the profile's load; the profile has users of it.
        most: by how much a profile with this rate may be raised within its ceilings; None: by nothing that is known.
        given: the user's own load from a number by its name in ``[capacity.own]``; its source is left empty.
        needs: limits, for the own load, for what was carried, and by the time between two pushes.
        not_told: what a reader may miss among them, and how to get it.
        known: limits as the store names them when it refuses.
        series: active series of the plan's users together; 0 where there are none.
        series_bound: they bound a load as its rate does.
        held: what the store holds in memory.
        frame_bytes: what a push has for each item that the store does not count.
        no_bytes: why bytes of the own load may not be known, where the store does not count any.
        reach_s: how far a first push reaches back.
    """

    signal: Signal
    ladder: Callable[[Profile, float], Ladder]
    times: Callable[[Profile, float], Settings]
    most: Callable[[Profile, CapacitySection, float], float | None]
    given: Callable[[Callable[[str], float | None]], OwnLoad]
    needs: Callable[[OwnLoad | None, Carried | None, float | None], Iterator[Need]]
    not_told: Callable[[OwnLoad | None, Carried | None], Iterator[str]]
    known: tuple[KnownLimit, ...]
    series: Callable[[Profile, int], int] = lambda profile, users: 0  # noqa: ARG005
    series_bound: bool = False
    held: tuple[HeldLoad, ...] = ()
    frame_bytes: int = 0
    no_bytes: str = ""
    reach_s: Callable[[Plan], float] = lambda plan: 0.0  # noqa: ARG005


def rate_most(profile: Profile, limits: CapacitySection, rate: float) -> float | None:  # noqa: ARG001
    """So often fits a rate into the ceiling of rates."""
    return limits.max_rate / rate if rate else None


def more_users(users: int, factor: float) -> int:
    """Every user stays as large as it is: a larger load has more of them."""
    return max(1, math.ceil(users * factor - 1e-9))


def shared(
    rate: float | None, name: str, each_per_s: float, before: int, after: int, factor: float
) -> dict[str, float | int | None]:
    """The rate of all users together, or of each, so that the sum is ``factor`` times what it was."""
    if rate:
        return {"rate": rate * factor}
    return {name: each_per_s * before * factor / after}


def plain(settings: Settings) -> dict[str, Any]:
    """As a section of a profile."""
    return dict(settings)
