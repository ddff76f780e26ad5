"""What was restarted, and how long it took."""

from __future__ import annotations

from loadgen.checks.case import clock_text
from loadgen.checks.recovery import recovered
from loadgen.kinds import kinds_in
from loadgen.model import NS, Component
from loadgen.report.parts import Facts, Part, Table
from loadgen.units import duration_text


def section(facts: Facts) -> Part | None:
    """One row a fault."""
    rows = []
    for fault in facts.history.faults:
        kinds = kinds_in(Component(fault.component)) if fault.component in set(Component) else ()
        seen = recovered(facts.case, kinds[0].signal, fault) if kinds else None
        pushes = duration_text(seen.pushes_s) if seen and seen.pushes_s is not None else "–"
        queries = duration_text(seen.queries_s) if seen and seen.queries_s is not None else "–"
        up = duration_text((fault.healed_ns - fault.began_ns) / NS) if fault.healed_ns else "never"
        at = f"{(fault.began_ns - facts.began_ns) / NS:.1f} s ({clock_text(fault.began_ns)} UTC)"
        error = fault.error or ("loadgen ended before it was over" if fault.unfinished else "–")
        rows.append((fault.component, fault.fault, at, up, pushes, queries, f"{fault.query_failed:,}", error))
    if not rows:
        return None
    columns = ("component", "what", "at", "running again", "pushes again", "queries again", "queries failed", "error")
    return Part("restarts", "Restarts", (Table(columns, tuple(rows), right=(3, 4, 5, 6)),))
