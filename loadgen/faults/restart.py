"""A component is restarted in order, as by a roll-out: SIGTERM, wait for its end or kill it at last, start."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from loadgen.faults.fault import Around, FaultKind, FaultSettings
from loadgen.model import Component
from loadgen.settings import Seconds


class RestartSettings(FaultSettings):
    """How long it may take to end."""

    kind: Literal["restart"] = "restart"
    grace: Seconds = Field(30.0, description="time to end in order, then it is killed, as Kubernetes does")

    @property
    def ending_s(self) -> float:
        """All of its grace."""
        return self.grace


class Restart:
    """SIGTERM, and a start."""

    def __init__(self, settings: FaultSettings, around: Around) -> None:
        self._component, self._around = settings.component, around
        self._grace_s = settings.ending_s

    @property
    def affects(self) -> tuple[Component, ...]:
        """Who is restarted."""
        return (self._component,)

    def inject(self) -> str:
        """End it."""
        in_order = self._around.disruptor.stop(self._component, self._grace_s)
        return "restart" if in_order else f"restart (killed after {self._grace_s:g} s of grace)"

    def heal(self) -> None:
        """Start it again."""
        self._around.disruptor.start(self._component)

    def ping(self, component: Component) -> str:
        """Ask it something."""
        return self._around.ping(component)


RESTART = FaultKind("restart", RestartSettings, Restart)
