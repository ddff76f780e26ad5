"""How capacity is searched for, kind by kind. To add one, write a file and put it into `SCALES`."""

from __future__ import annotations

from loadgen.capacity.scales.logs import LOGS
from loadgen.capacity.scales.metrics import METRICS
from loadgen.capacity.scales.scale import Scale
from loadgen.capacity.scales.traces import TRACES
from loadgen.model import Signal

SCALES: tuple[Scale, ...] = (LOGS, METRICS, TRACES)


def scale_of(signal: Signal) -> Scale:
    """How capacity of a kind is searched for."""
    return {scale.signal: scale for scale in SCALES}[signal]
