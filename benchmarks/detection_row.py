"""What a row of the detection matrix is, and the short run that every row makes.

All bounds that are about time are generous, so that a slow machine raises no alarm, except where a row tests them.
There are as many queries and probes as a pass needs, and some to spare (tests/test_enough.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from loadgen.lab.defects import DefectKind, DefectOrder
from loadgen.model import Result, Signal

BEFORE, READING = -1.0, float("inf")
"""Moments of a step: before the load, and when reading back begins. Others are seconds of the load."""
MANY = 1_000_000
HOUR_S = 3_600.0

BASE: dict[str, Any] = {
    "run": {"name": "detection", "duration": 12, "warmup": 1, "max_late": 30},
    "logs": {"users": 4, "lines_per_s": 20, "push_every": 0.5},
    "metrics": {"users": 4, "series": 24, "push_every": 0.5},
    "traces": {"users": 4, "traces_per_s": 2, "push_every": 0.5, "sdk_every": 2},
    "dashboards": {"users": 4, "refresh": 0.17},
    "freshness": {"every": 0.5, "poll": 0.2, "give_up": 60},
    "verify": {"settle": 0.3, "patience": 4, "s3_wait": 30},
    "objectives": {
        "all": {"query_max": 20},
        **{
            one.value: {
                "query_p99": 10, "freshness_p99": 20, "freshness_max": 30, "s3_delay_max": 60, "recovery_max": 60,
            }
            for one in Signal
        },
    },
}  # fmt: skip
SIGNALS = (Signal.LOGS, Signal.TRACES, Signal.METRICS)
QUERIES = tuple(f"{one}.query" for one in SIGNALS)
FRESHNESS = tuple(f"{one}.freshness" for one in SIGNALS)
LOSSES = tuple(f"{one}.loss" for one in SIGNALS)


class Stage(Protocol):
    """What a step can do to the lab and to the load."""

    def order(self, component: str, order: DefectOrder) -> None:
        """Tell a server to misbehave."""

    def signal_server(self, component: str, number: int) -> None:
        """Send a signal to a server of the lab."""

    def signal_load(self, number: int) -> None:
        """Send a signal to the process that makes the load."""

    def delete_stored(self, component: str) -> None:
        """Delete one of the run's objects from S3, behind the component's back."""


Act = Callable[[Stage], None]
Hit = tuple[int, int]
"""User and number of a batch that a defect has hit."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is done at a moment of the run."""

    at_s: float
    act: Act


class Way(Enum):
    """How the run of a row is made."""

    WHOLE = "as a user makes it"
    KILLED = "loadgen is killed while a fault lasts, and the run is verified later"
    BLIND = "the watcher of S3 has a wrong credential"
    POWERLESS = "nobody may stop a component"
    DELETED = "a block is deleted from S3 after the run, its server restarted, and the run read back once more"
    SURROUNDED = "by the command, in a folder full of foreign modules and settings, with variables of its own"
    TAKEN = "an object is deleted from S3 behind its server's back after the run, which is then read back once more"


@dataclass(frozen=True, slots=True)
class Row:
    """One planted defect.

    Attributes:
        name: ``<signal or place>/<defect>``.
        planted: the defect in words.
        finders: the checks that must find it; none: it is to be borne without an alarm.
        verdict: what they must say.
        steps: how it is planted.
        profile: what differs from `BASE`.
        also: other checks that rightly fail with it, and why.
        unsure: other checks that rightly cannot tell with it, and why.
        points_to: texts of which one must stand in the evidence of each finder.
        items: what the finder must measure for each item hit, e.g. 1 missing line; 0: not compared.
        names_batch: the evidence must name a batch that was hit.
        stalls: the signal whose push latency must show a stall of three seconds in its p99.
        way: how the run is made.
        limits: what embedded servers refuse or drop in this run, as `--limit` names it, in plain units.
        advises: what the remedy of each finder must say.
        variables: of the environment of a run that is `Way.SURROUNDED`; SKEW_S sets its clock wrong by so many seconds.
    """

    name: str
    planted: str
    finders: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    verdict: Result = Result.FAIL
    also: Mapping[str, str] = field(default_factory=dict)
    unsure: Mapping[str, str] = field(default_factory=dict)
    points_to: tuple[str, ...] = ()
    items: int = 0
    names_batch: bool = False
    stalls: Signal | None = None
    way: Way = Way.WHOLE
    limits: Mapping[str, float] = field(default_factory=dict)
    advises: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Omitted:
    """A combination that cannot be planted, and why."""

    name: str
    planted: str
    why: str


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with some replaced."""
    made = dict(base)
    for key, value in changes.items():
        made[key] = merged(made.get(key, {}), value) if isinstance(value, Mapping) else value
    return made


def order(component: str, kind: DefectKind, at_s: float = BEFORE, **more: Any) -> Step:
    """A step that places an order; ``more`` as in `DefectOrder`."""
    return Step(at_s, lambda stage: stage.order(component, DefectOrder(kind, **more)))
