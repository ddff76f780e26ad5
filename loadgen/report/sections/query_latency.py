"""How long people's queries took, by component, kind and range."""

from __future__ import annotations

import numpy as np

from loadgen.checks.case import nearest_rank
from loadgen.checks.planned import is_asked, is_failed, tells
from loadgen.checks.query import latency_ns, people
from loadgen.checks.ranges import range_text, run_held_s
from loadgen.kinds import COMPONENTS
from loadgen.model import NS
from loadgen.report.chart import BAD, COLOURS, Row, dots, figure, plain
from loadgen.report.parts import Block, Chart, Facts, Part, Table, Text
from loadgen.report.series import largest
from loadgen.units import duration_text


def section(facts: Facts) -> Part | None:
    """Each query as a dot; of very many the slowest of each stretch of time."""
    rows, table = [], []
    for component in COMPONENTS:
        queries = people(facts.case, component)
        if queries.empty:
            continue
        at_s = (queries["due_ns"].to_numpy(np.int64) - facts.began_ns) / NS
        took_s = np.maximum(1e-6, latency_ns(queries) / NS)
        asked, failed = is_asked(queries), is_failed(queries)
        names = [
            plain(f"{kind} {range_text(span)}" if span else str(kind))
            for kind, span in zip(queries["kind"], queries["range_s"], strict=True)
        ]
        traces = []
        for name, mine, colour, symbol in (
            ("answered", asked & ~failed, COLOURS[component], "circle"),
            ("no answer, waited", ~asked, COLOURS[component], "triangle-up-open"),
            ("failed", failed, BAD, "x"),
        ):
            where = np.flatnonzero(mine)
            kept = where[largest(at_s[where], took_s[where])] if len(where) else where
            if len(kept):
                traces.append(dots(name, at_s[kept], took_s[kept], colour, symbol, [names[i] for i in kept]))
        bound = facts.case.query_bound_s(component)
        limits = ((bound, f"p99 bound {duration_text(bound)}"),) if bound else ()
        rows.append(Row(f"{component}, query latency", traces, "%{y:.3s}s", log=True, limits=limits))
        viewers = queries.assign(took_s=took_s, asked=asked, failed=failed)
        viewers = viewers[(viewers["source"] == "viewer") & tells(viewers, bound)]
        for (kind, span), group in viewers.groupby(["kind", "range_s"]):
            fine = group.loc[~group["failed"], "took_s"].to_numpy(np.float64)
            cells = [duration_text(nearest_rank(fine, share)) if len(fine) else "–" for share in (0.5, 0.99, 1.0)]
            counts = (f"{int((~group['asked']).sum()):,}", f"{int(group['failed'].sum()):,}")
            label = range_text(float(str(span))) if span else "–"
            filled = duration_text(run_held_s(facts.case, component, group[group["asked"]])) if span else "–"
            table.append((str(component), str(kind), label, filled, f"{len(group):,}", *cells, *counts))
    if not rows:
        return None
    drawn, height = figure(facts, rows)
    alt = (
        "Latency of every query of people over the run, by component, failures marked with a cross, waits in vain with "
    )
    alt += "a triangle."
    via = "asked directly" if facts.case.direct else "asked through Grafana"
    columns = (
        "component",
        "kind",
        "range",
        "of it with data",
        "queries",
        "p50",
        "p99",
        "slowest",
        "never asked",
        "failed",
    )
    blocks: list[Block] = [
        Text(
            f"Queries of the dashboard viewers and of the profile itself, {via}, from the planned time to the end of "
            "the answer. What was planned and never asked, because those before had no answer yet, counts until the "
            "next one was answered; what the end of the load cut off before the bound is not in the table."
        ),
        Chart("query-latency", alt, drawn, height),
    ]
    if table:
        blocks.append(
            Text(
                "Viewers ask for data of this run, so of a long range at most as much held data as the run had lasted: "
                "a range full of data may take longer."
            )
        )
        blocks.append(Table(columns, tuple(table), right=(3, 4, 5, 6, 7, 8, 9)))
    return Part("query-latency", "Query latency", tuple(blocks))
