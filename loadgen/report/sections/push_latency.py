"""How long pushes took, from the planned time to the answer."""

from __future__ import annotations

import numpy as np

from loadgen.checks.case import nearest_rank
from loadgen.kinds import SIGNALS
from loadgen.model import NS
from loadgen.report.chart import COLOURS, Row, figure, line
from loadgen.report.parts import Chart, Facts, Part, Table, Text
from loadgen.report.series import bins_of, ranks
from loadgen.units import duration_text

SHARES = (0.5, 0.95, 0.99)
_STYLE = (("p50", "solid", 2.0), ("p95", "dash", 1.4), ("p99", "dot", 1.6))


def section(facts: Facts) -> Part | None:
    """Percentiles over time, one row a signal."""
    bins = bins_of(facts.began_ns, facts.length_s)
    rows, table = [], []
    for signal in SIGNALS:
        accepted = facts.case.accepted(signal)
        if accepted.empty:
            continue
        due_ns = accepted["due_ns"].to_numpy(np.int64)
        took_s = np.maximum(1e-6, (accepted["done_ns"].to_numpy(np.int64) - due_ns) / NS)
        lines = ranks(bins.index(due_ns), took_s, bins.count, SHARES)
        traces = [
            line(name, bins.middles_s(), values, COLOURS[signal], dash, width)
            for (name, dash, width), values in zip(_STYLE, lines, strict=True)
        ]
        rows.append(Row(f"{signal}, push latency", traces, "%{y:.3s}s", log=True))
        cells = [duration_text(nearest_rank(took_s, share)) for share in SHARES]
        table.append((str(signal), f"{len(took_s):,}", *cells, duration_text(float(took_s.max()))))
    if not rows:
        return None
    drawn, height = figure(facts, rows)
    alt = "Median, 95th and 99th percentile of the push latency of each signal over the run, on a logarithmic scale."
    return Part(
        "push-latency",
        "Push latency",
        (
            Text(
                "From the planned time to the answer, retries included, so that a stalled server cannot hide its stall."
            ),
            Chart("push-latency", alt, drawn, height),
            Table(("signal", "accepted pushes", "p50", "p95", "p99", "slowest"), tuple(table), right=(1, 2, 3, 4, 5)),
        ),
    )
