"""What was accepted over time, and what was not."""

from __future__ import annotations

import numpy as np

from loadgen.checks.case import ITEMS, share_text
from loadgen.checks.throughput import planned_rate
from loadgen.kinds import SIGNALS
from loadgen.model import NS, Outcome
from loadgen.report.chart import BAD, COLOURS, QUIET, Row, figure, line
from loadgen.report.parts import Chart, Facts, Part, Table, Text
from loadgen.report.series import bins_of, total
from loadgen.units import bytes_text, count_text


def section(facts: Facts) -> Part | None:
    """Plain bytes a second of each signal."""
    bins = bins_of(facts.began_ns, facts.length_s)
    rows, table = [], []
    for signal in SIGNALS:
        receipts = facts.case.receipts(signal)
        if receipts.empty:
            continue
        accepted = receipts["outcome"].to_numpy() == Outcome.ACCEPTED.value
        sizes = receipts["plain_bytes"].to_numpy(np.float64)
        mean = float(sizes[sizes > 0].mean()) if (sizes > 0).any() else 0.0
        sizes = np.where(sizes > 0, sizes, mean)  # what was dropped was never made, and has no size of its own
        index = bins.index(receipts["done_ns"].to_numpy(np.int64))
        taken = total(index[accepted], sizes[accepted], bins.count) / bins.width_s
        colour, x = COLOURS[signal], bins.middles_s()
        traces = [line("accepted", x, taken, colour, fill=True, shape="hvh")]
        if not accepted.all():
            refused = total(index[~accepted], sizes[~accepted], bins.count) / bins.width_s
            traces.append(line("not accepted", x, refused, BAD, dash="dash", shape="hvh"))
        planned = planned_rate(facts.case, signal)
        traces.append(line("planned", x[[0, -1]], np.array([planned, planned]), QUIET, dash="dot", width=1.2))
        rows.append(Row(f"{signal}, plain bytes per second", traces, "%{y:.3s}B/s", suffix="B/s"))
        seconds = (int(receipts["done_ns"].max()) - facts.began_ns) / NS
        items = int(receipts.loc[accepted, "items"].sum())
        table.append(
            (
                str(signal),
                bytes_text(planned) + "/s",
                bytes_text(float(sizes[accepted].sum()) / max(1.0, seconds)) + "/s",
                bytes_text(float(taken.max())) + "/s",
                f"{count_text(items)} {ITEMS[signal]}",
                share_text(int((~accepted).sum()), len(receipts)),
            )
        )
    if not rows:
        return None
    drawn, height = figure(facts, rows)
    alt = "Accepted and not accepted bytes per second of each signal over the run, with the planned rate."
    note = "By the moment of the answer. Bytes are counted before compression."
    if (facts.history.receipts["transport"] == "sdk").any():
        note += " The probes that go through the OpenTelemetry SDK come on top of the planned rate."
    columns = (
        "signal",
        "planned",
        "accepted, mean",
        f"accepted, peak of {bins.width_s} s",
        "items accepted",
        "pushes not accepted",
    )
    return Part(
        "throughput",
        "Throughput",
        (Text(note), Chart("throughput", alt, drawn, height), Table(columns, tuple(table), right=(1, 2, 3, 4, 5))),
    )
