"""Faults: what is done to a stack while it is under load, and undone.

To add one, write a file with its settings and its `Fault`, and put its kind into `FAULTS`.
"""

from __future__ import annotations

from loadgen.faults.disruptor import Disruptor, DisruptorError
from loadgen.faults.fault import Around, Fault, FaultKind, FaultSettings
from loadgen.faults.kill import KILL
from loadgen.faults.restart import RESTART

FAULTS: tuple[FaultKind, ...] = (KILL, RESTART)
"""The first one is what a profile means that names no kind."""

__all__ = ["FAULTS", "Around", "Disruptor", "DisruptorError", "Fault", "FaultKind", "FaultSettings", "fault_of"]


def fault_of(settings: FaultSettings, around: Around) -> Fault:
    """The fault that settings speak of; KeyError when there is none of its kind."""
    return {kind.name: kind for kind in FAULTS}[settings.kind].make(settings, around)
