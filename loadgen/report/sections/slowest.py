"""The largest latencies of the run, so that a reader can look for their causes."""

from __future__ import annotations

import numpy as np

from loadgen.checks.planned import ending_text
from loadgen.checks.query import latency_ns, people
from loadgen.checks.ranges import range_text
from loadgen.kinds import kind_of
from loadgen.model import NS, Signal
from loadgen.report.parts import Facts, Part, Table
from loadgen.units import duration_text

MOST = 8


def section(facts: Facts) -> Part | None:
    """The slowest pushes and queries."""
    blocks: list[Table] = []
    pushes = _pushes(facts)
    if pushes:
        of_pushes = ("push", "took", "due", "attempts", "outcome", "detail")
        blocks.append(Table(of_pushes, tuple(pushes), right=(1, 3), folded=f"the {len(pushes)} slowest pushes"))
    queries = _queries(facts)
    if queries:
        of_queries = ("query", "took", "due", "status", "detail")
        blocks.append(Table(of_queries, tuple(queries), right=(1, 3), folded=f"the {len(queries)} slowest queries"))
    return Part("slowest", "Largest latencies", tuple(blocks)) if blocks else None


def _pushes(facts: Facts) -> list[tuple[str, ...]]:
    receipts = facts.history.receipts
    sent = receipts[receipts["sent_ns"] > 0]
    took_ns = sent["done_ns"].to_numpy(np.int64) - sent["due_ns"].to_numpy(np.int64)
    rows: list[tuple[str, ...]] = []
    for position in np.argsort(took_ns)[::-1][:MOST]:
        row = sent.iloc[int(position)]
        component = kind_of(Signal(row["signal"])).store.value if row["signal"] in set(Signal) else row["signal"]
        rows.append(
            (
                f"{row['signal']} to {component}, user {row['user']}, batch {row['n']}",
                duration_text(float(took_ns[position]) / NS),
                facts.case.at(int(row["due_ns"])),
                str(row["attempts"]),
                str(row["outcome"]),
                str(row["detail"]) or "–",
            )
        )
    return rows


def _queries(facts: Facts) -> list[tuple[str, ...]]:
    queries = people(facts.case)
    took_ns = latency_ns(queries)
    rows: list[tuple[str, ...]] = []
    for position in np.argsort(took_ns)[::-1][:MOST]:
        row = queries.iloc[int(position)]
        span = f" over {range_text(float(row['range_s']))}" if row["range_s"] else ""
        rows.append(
            (
                f"{row['component']} {row['kind']}{span}",
                duration_text(float(took_ns[position]) / NS),
                facts.case.at(int(row["due_ns"])),
                str(row["status"]) if row["status"] else ending_text(dict(row)) or "no answer",
                str(row["detail"]) or "–",
            )
        )
    return rows
