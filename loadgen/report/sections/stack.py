"""What the components and the generator itself used."""

from __future__ import annotations

import numpy as np
import pandas as pd

from loadgen.model import NS
from loadgen.report.chart import COLOURS, QUIET, Row, figure, line
from loadgen.report.parts import Chart, Facts, Part, Table
from loadgen.report.series import MAX_BINS, Floats
from loadgen.units import bytes_text

MEMORY, CPU = "process_resident_memory_bytes", "process_cpu_seconds_total"


def section(facts: Facts) -> Part | None:
    """Memory and CPU over time."""
    stack = facts.history.stack
    memory, cpu, table = [], [], []
    for key, samples in stack[stack["metric"].isin([MEMORY, CPU])].groupby(["component", "labels"]):
        component, labels = (str(part) for part in key)
        name = f"{component} {labels}".strip()
        colour = COLOURS.get(component, QUIET)
        resident = samples[samples["metric"] == MEMORY]
        cells = ["–", "–"]
        if len(resident):
            x, y = _points(facts, resident)
            memory.append(line(name, x, y, colour))
            cells[0] = bytes_text(float(y.max()))
        seconds = samples[samples["metric"] == CPU]
        if len(seconds) > 1:
            x, y = _points(facts, seconds)
            cores = np.diff(y) / np.maximum(1e-9, np.diff(x))
            cores[cores < 0] = np.nan  # a counter that starts again with its process
            if np.isfinite(cores).any():
                cpu.append(line(name, (x[1:] + x[:-1]) / 2, cores, colour))
                cells[1] = f"{np.nanmean(cores):.2f} / {np.nanmax(cores):.2f}"
        table.append((name, *cells))
    if not table:
        return None
    rows = [
        Row(title, traces, hover, suffix=suffix)
        for title, traces, hover, suffix in (
            ("resident memory", memory, "%{y:.3s}B", "B"),
            ("CPU, cores", cpu, "%{y:.2f} cores", ""),
        )
        if traces
    ]
    blocks: list[Chart | Table] = []
    if rows:
        drawn, height = figure(facts, rows)
        alt = "Resident memory and CPU cores of each component and of the generator over the run."
        blocks.append(Chart("stack", alt, drawn, height))
    blocks.append(Table(("process", "memory, peak", "cores, mean / peak"), tuple(table), right=(1, 2)))
    return Part("stack", "Memory and CPU", tuple(blocks))


def _points(facts: Facts, samples: pd.DataFrame) -> tuple[Floats, Floats]:
    samples = samples.sort_values("at_ns").iloc[:: max(1, len(samples) // MAX_BINS)]
    return (samples["at_ns"].to_numpy(np.int64) - facts.began_ns) / NS, samples["value"].to_numpy(np.float64)
