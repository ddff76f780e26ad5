"""A component is killed without a warning, as by the kernel when memory runs out, and started again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from loadgen.faults.fault import Around, FaultKind, FaultSettings
from loadgen.model import Component


class KillSettings(FaultSettings):
    """A kill has nothing to wait for."""

    kind: Literal["kill"] = "kill"

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_runs(cls, raw: Any) -> Any:
        """Earlier versions stored the grace of a restart with every fault."""
        return {name: value for name, value in raw.items() if name != "grace"} if isinstance(raw, dict) else raw


class Kill:
    """SIGKILL, and a start."""

    def __init__(self, settings: FaultSettings, around: Around) -> None:
        self._component, self._around = settings.component, around

    @property
    def affects(self) -> tuple[Component, ...]:
        """Who is killed."""
        return (self._component,)

    def inject(self) -> str:
        """Kill it."""
        self._around.disruptor.kill(self._component)
        return "kill"

    def heal(self) -> None:
        """Start it again."""
        self._around.disruptor.start(self._component)

    def ping(self, component: Component) -> str:
        """Ask it something."""
        return self._around.ping(component)


KILL = FaultKind("kill", KillSettings, Kill)
