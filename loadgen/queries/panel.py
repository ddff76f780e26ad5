"""One query of a dashboard, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from loadgen.model import NS, Component, QueryTiming
from loadgen.targets.readers import Readers
from loadgen.targets.reading import Reply

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
POINTS = 240
"""Points of a range query; Prometheus and Loki refuse more than 11,000 a series."""


class Shows(Enum):
    """When a panel of a run that sends data shows something."""

    ALWAYS = "always"
    """Whenever the run's data is visible."""
    AGAIN = "again"
    """When it did so before: it asks for some of the data only, which there need not be yet."""
    MAYBE = "maybe"
    """Nobody can tell."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One query of a dashboard.

    Attributes:
        component: who answers in the end.
        name: what a person would call the panel.
        kind: as in `QueryTiming`.
        range_s: width of the time range; 0 for none.
        query: asks; takes readers and the planned time.
        shows: when an empty answer is a wrong one.
        stepped: it shows a value a step, as of a rate, which needs two pushes in a step.
    """

    component: Component
    name: str
    kind: str
    range_s: float
    query: Callable[[Readers, int], Reply[Any]]
    shows: Shows = Shows.ALWAYS
    stepped: bool = False

    def ask(self, readers: Readers, due_ns: int) -> QueryTiming:
        """Ask once. The latency counts from ``due_ns``; the readers' own recording of timings is left out."""
        timings: list[QueryTiming] = []
        reply = self.query(readers.recording(timings.append), due_ns)
        timing = timings[0]
        return replace(
            timing,
            kind=self.kind,
            source="viewer",
            range_s=self.range_s,
            due_ns=due_ns,
            done_ns=reply.done_ns,
            ok=reply.ok,
            status=reply.status,
            items=max(one.items for one in timings),
            detail=reply.error[:300],
        )


@dataclass(frozen=True, slots=True)
class DashboardState:
    """What a dashboard knows of its run: a trace that was acknowledged, and whether it has been seen already."""

    trace_id: bytes = b""
    trace_seen: bool = False


def step_s(range_s: int) -> int:
    """The step of a range query: whole seconds, at most `POINTS` points."""
    return max(1, -(-range_s // POINTS))


def by_grafana(
    component: Component,
    name: str,
    query: dict[str, Any],
    range_s: int,
    now_ns: int,
    shows: Shows = Shows.ALWAYS,
    stepped: bool = False,
) -> Panel:
    """A panel that Grafana asks by its own API; ``query`` is what the data source's editor would make."""

    def ask(readers: Readers, due_ns: int) -> Reply[Any]:
        if readers.grafana is None:
            raise ValueError(f"the panel {name!r} needs Grafana, but reading is direct")
        return readers.grafana.panel(component, query, now_ns - range_s * NS, now_ns, due_ns)

    return Panel(component, name, "panel", float(range_s), ask, shows, stepped)
