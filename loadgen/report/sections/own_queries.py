"""What became of the user's own queries."""

from __future__ import annotations

import numpy as np
import pandas as pd

from loadgen.checks.own import OwnFacts, own_facts
from loadgen.checks.planned import tells
from loadgen.checks.query import in_outage, in_own_delay, people
from loadgen.checks.ranges import own_queries, range_text
from loadgen.kinds import COMPONENTS
from loadgen.report.parts import Block, Facts, Part, Table, Text
from loadgen.units import duration_text

_COLUMNS = (
    "component", "name", "query", "range", "held data", "asked", "refused", "failed", "p50", "p99", "slowest", "items",
)  # fmt: skip


def section(facts: Facts) -> Part | None:
    """One row a query, and the servers' own words on those that did not work."""
    known: list[OwnFacts] = []
    for component in COMPONENTS:
        queries: pd.DataFrame = people(facts.case, component)
        bound_s = facts.case.query_bound_s(component)
        calm = queries[
            ~in_outage(facts.case, component, queries) & ~in_own_delay(facts.case, queries) & tells(queries, bound_s)
        ]
        known += [own_facts(facts.case, query, calm) for query in own_queries(facts.case, component)]
    if not known:
        return None
    blocks: list[Block] = [
        Text(
            "The profile's own queries ([[queries]]): timed and judged for errors and latency, not for what they "
            "return. Times during restarts, and while the generator itself was late, are left out. How much of a range "
            "held data was looked at after the load, in pieces, so it is at most so much."
        ),
        Table(_COLUMNS, tuple(_row(one) for one in known), right=(5, 6, 7, 8, 9, 10)),
    ]
    for one in known:
        if one.words:
            blocks.append(Text(f"{one.query.title}: {one.words}"))
        if one.unasked:
            blocks.append(
                Text(
                    f"{one.query.title} was planned {one.unasked:,} times more and not asked, because the one before "
                    "had no answer yet; these count as long as they waited."
                )
            )
        if one.answered and not one.items:
            blocks.append(Text(f"{one.query.title} returned nothing, so its speed proves nothing."))
    return Part("own-queries", "Own queries", tuple(blocks))


def _row(one: OwnFacts) -> tuple[str, ...]:
    quantiles = [one.quantile_s(0.5), one.quantile_s(0.99), float(one.took_s.max()) if len(one.took_s) else None]
    return (
        one.query.component,
        one.query.name or "–",
        one.query.query,
        range_text(one.query.range),
        one.held_text or "not known",
        f"{one.asked:,}",
        f"{one.refused:,}",
        f"{one.failed:,}",
        *("–" if took_s is None else duration_text(took_s) if np.isfinite(took_s) else "never" for took_s in quantiles),
        (f"up to {one.items:,}" if one.items else "nothing") if one.answered else "–",
    )
