"""Steps of searches that never happened."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from loadgen.capacity.model import Ending, Flow, SearchKind, Step, Usage

FLOW = Flow("logs", 1e6, 1e6, 5000.0, 4, 0, 0.0, 0, 0.1, 0.2, 1.0)


def flow(signal: str = "logs", mb_s: float = 1.0, **changes: Any) -> Flow:
    """A flow in which everything that was planned was accepted."""
    made = replace(FLOW, signal=signal, planned_bytes_per_s=mb_s * 1e6, accepted_bytes_per_s=mb_s * 1e6)
    return replace(made, **changes)


def usage(component: str = "loki", **figures: Any) -> Usage:
    """What a component used, told by itself."""
    return Usage(component, figures.pop("source", "/metrics"), **figures)


def step(number: int, *parts: Flow | Usage, **changes: Any) -> Step:
    """A step that kept its promises, with these flows and figures."""
    base = Step(
        number=number,
        kind=SearchKind.LOGS,
        level=float(number),
        folder=f"step-{number:02d}",
        began_ns=0,
        took_s=90.0,
        steady_s=60.0,
        ending=Ending.KEPT,
        flows=tuple(part for part in parts if isinstance(part, Flow)),
        usage=tuple(part for part in parts if isinstance(part, Usage)),
    )
    return replace(base, **changes)
