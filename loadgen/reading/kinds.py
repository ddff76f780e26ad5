"""How each kind is read back. To add one, write a file with its auditor and its looks, and put it into `READINGS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadgen.model import Batch, Signal
from loadgen.plan import Plan
from loadgen.reading import logs, metrics, traces
from loadgen.reading.cases import Auditor, Ledger, Looking
from loadgen.reading.looks import Look
from loadgen.targets.readers import Readers


@dataclass(frozen=True, slots=True)
class Reading:
    """How a kind is read back.

    Attributes:
        auditor: reads all of a run back.
        looks: where one batch is looked for while the load runs, and how; the first one is by content. Takes the plan,
            readers, the batch and a clock.
    """

    auditor: Callable[[Ledger, Readers, Looking], Auditor]
    looks: Callable[[Plan, Readers, Batch, Callable[[], int]], Sequence[tuple[str, Look]]]


READINGS: Mapping[Signal, Reading] = {
    logs.LogAuditor.signal: Reading(logs.LogAuditor.of, logs.looks),
    metrics.MetricAuditor.signal: Reading(metrics.MetricAuditor.of, metrics.looks),
    traces.TraceAuditor.signal: Reading(traces.TraceAuditor.of, traces.looks),
}
