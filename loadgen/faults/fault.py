"""What a fault is: it is injected, it lasts for a while, it is healed, and what it affected is asked until it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from loadgen.faults.disruptor import Disruptor
from loadgen.model import Component
from loadgen.settings import Seconds, Section, StoreName


class FaultSettings(Section):
    """``[[faults]]``: one fault of the timeline. Each kind adds settings of its own."""

    kind: str
    at: Seconds = Field(..., description="after the beginning of the load")
    component: StoreName = Field(..., description="to whom")
    down: Seconds = Field(0.5, description="time until it is healed")

    @property
    def ending_s(self) -> float:
        """How long injecting it may take."""
        return 0.0


class Fault(Protocol):
    """One fault. `inject` and `heal` return when it is done, or raise `DisruptorError`."""

    @property
    def affects(self) -> tuple[Component, ...]:
        """The components whose queries may fail because of it."""

    def inject(self) -> str:
        """Do it; gives what was done in words, as reports have it."""

    def heal(self) -> None:
        """Undo it."""

    def ping(self, component: Component) -> str:
        """Ask one of those that it affects; empty when that works, else what is wrong."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a fault works with.

    Attributes:
        disruptor: stops and starts components.
        ping: a small query of a component through the way that people use; gives an empty text when it worked.
    """

    disruptor: Disruptor
    ping: Callable[[Component], str]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    Attributes:
        name: as a profile has it.
        settings: what a profile may say of it.
        make: one fault from its settings.
    """

    name: str
    settings: type[FaultSettings]
    make: Callable[[FaultSettings, Around], Fault]
