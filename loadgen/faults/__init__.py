"""Faults: each is a context manager; entering injects it, leaving heals it.

To add one, write a file with a class that takes a `Disruptor`, a component and a grace, and name it in `FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from loadgen.faults.disruptor import Disruptor, DisruptorError
from loadgen.faults.kill import Kill
from loadgen.faults.restart import Restart
from loadgen.model import Component


class Injected(Protocol):
    """A fault that has happened; ``what`` names it in reports."""

    what: str


FaultType = Callable[[Disruptor, Component, float], AbstractContextManager[Injected]]
"""Takes who can do it, to whom, and the seconds of grace for an end in order."""

FAULTS: tuple[tuple[str, FaultType], ...] = (
    ("kill", Kill),
    ("restart", Restart),
)

__all__ = ["FAULTS", "Disruptor", "DisruptorError", "FaultType", "Injected", "fault_of"]


def fault_of(kind: str) -> FaultType:
    """The fault with a name; KeyError when there is none."""
    return dict(FAULTS)[kind]
