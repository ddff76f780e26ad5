"""How soon after its acknowledgement data became visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import nearest_rank
from loadgen.checks.freshness import promised_place
from loadgen.kinds import SIGNALS, kind_of
from loadgen.model import NS
from loadgen.report.chart import BAD, COLOURS, Row, dots, figure
from loadgen.report.parts import Chart, Facts, Part, Table, Text
from loadgen.report.series import Floats, largest
from loadgen.units import duration_text


def section(facts: Facts) -> Part | None:
    """Each probe as a dot at its acknowledgement."""
    rows, table = [], []
    for signal in SIGNALS:
        probes = facts.case.sightings(signal, "probe")
        probes = probes[probes["acked_ns"] > 0]
        not_made = {str(where): int((group["looked"] == 0).sum()) for where, group in probes.groupby("where")}
        probes = probes[~probes["unreadable"] & (probes["looked"] > 0)]
        told = {str(where): _numbers(*_delays(group)) for where, group in probes.groupby("where")}
        nothing = ("0", *["–"] * 3, "0")
        for where, count in not_made.items():
            if where in told or count:
                table.append((str(signal), where, *told.get(where, nothing), f"{count:,}"))
        here = promised_place(signal, probes)
        if here.empty:
            continue
        at_s = (here["acked_ns"].to_numpy(np.int64) - facts.began_ns) / NS
        seen, delay_s = _delays(here)
        traces = []
        for name, mine, colour, symbol in (
            ("visible", seen, COLOURS[signal], "circle"),
            ("not seen, waited", ~seen, BAD, "triangle-up-open"),
        ):
            chosen = np.flatnonzero(mine)
            kept = chosen[largest(at_s[chosen], delay_s[chosen])] if len(chosen) else chosen
            if len(kept):
                traces.append(dots(name, at_s[kept], delay_s[kept], colour, symbol))
        bound = facts.case.bounds(signal).freshness_p99
        limits = ((bound, f"p99 bound {duration_text(bound)}"),)
        place = kind_of(signal).probed or "reading"
        rows.append(Row(f"{signal}, visible by {place}", traces, "%{y:.3s}s", log=True, limits=limits))
    if not table:
        return None
    blocks: list[Chart | Table | Text] = [
        Text(
            f"From acknowledgement to the first look that showed everything; looked every "
            f"{duration_text(facts.profile.freshness.poll)}, which is the resolution."
        )
    ]
    if rows:
        drawn, height = figure(facts, rows)
        alt = "Delay until each probed batch was visible, by signal over the run, on a logarithmic scale."
        blocks.append(Chart("freshness", alt, drawn, height))
    columns = ("signal", "where", "probes", "p50", "p99", "slowest", "never seen", "not made")
    blocks.append(Table(columns, tuple(table), right=(2, 3, 4, 5, 6, 7)))
    return Part("freshness", "Freshness", tuple(blocks))


def _delays(looks: pd.DataFrame) -> tuple[NDArray[np.bool_], Floats]:
    """Which were seen, and the delay of each in seconds; for those never seen, how long they were waited for."""
    acked = looks["acked_ns"].to_numpy(np.int64)
    seen_ns, absent_ns = looks["first_seen_ns"].to_numpy(np.int64), looks["last_absent_ns"].to_numpy(np.int64)
    seen = seen_ns > 0
    return seen, np.maximum(1e-3, (np.where(seen, seen_ns, absent_ns) - acked) / NS)


def _numbers(seen: NDArray[np.bool_], delay_s: Floats) -> tuple[str, ...]:
    fine = delay_s[seen]
    cells = [duration_text(nearest_rank(fine, share)) if len(fine) else "–" for share in (0.5, 0.99, 1.0)]
    return f"{len(seen):,}", *cells, f"{int((~seen).sum()):,}"
