"""Faults: each is a context manager; entering injects it, leaving heals it.

To add one, write a file with a class that takes a `Disruptor` and a component, and name it in `FAULTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from loadgen.faults.disruptor import Disruptor, DisruptorError
from loadgen.faults.kill import Kill
from loadgen.faults.restart import Restart
from loadgen.model import Component

FaultType = Callable[[Disruptor, Component], AbstractContextManager[None]]

FAULTS: tuple[tuple[str, FaultType], ...] = (
    ("kill", Kill),
    ("restart", Restart),
)

__all__ = ["FAULTS", "Disruptor", "DisruptorError", "FaultType", "fault_of"]


def fault_of(kind: str) -> FaultType:
    """The fault with a name; KeyError when there is none."""
    return dict(FAULTS)[kind]
