"""What a component used, from the samples of its ``/metrics`` that a run stored. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from loadgen.capacity.model import Usage
from loadgen.scrape.counters import increases, scrapes_of
from loadgen.scrape.figure import NO_LIMIT_BYTES, Shape, Source
from loadgen.scrape.figures import FIGURES, labels_of

SOURCE = "/metrics"


def usage_of(stack: pd.DataFrame, component: str, from_ns: int, until_ns: int) -> Usage:
    """What one component used from ``from_ns`` to ``until_ns``.

    Counters become their mean increase per second, and a process that starts anew counts from 0; gauges become their
    peak. What was not scraped, or for a counter not twice, is None.

    Args:
        stack: rows of `StackSample`, as a run stores them.
        component: ``loki``, ``tempo``, ``mimir`` or ``grafana``.
        from_ns, until_ns: the window, both ends included.
    """
    usage = Usage(component, SOURCE)
    rows = stack[(stack["component"] == component) & (stack["at_ns"] >= from_ns) & (stack["at_ns"] <= until_ns)]
    if not len(rows):
        return usage
    rows = rows.sort_values("at_ns", kind="stable")
    scrapes = scrapes_of(rows)
    values: dict[str, Any] = {"starts": len(scrapes.fresh)}
    for figure in FIGURES:
        if figure.component != component:
            continue
        chosen = _first(rows, figure.sources, NO_LIMIT_BYTES if figure.field == "memory_limit_bytes" else None)
        if chosen is None:
            continue
        if figure.shape is Shape.GAUGE:
            values[figure.field] = float(chosen.groupby("at_ns")["value"].sum().max())
        elif scrapes.lasted_s > 0:
            grown = increases(chosen, scrapes, figure.by)
            rates = {name: amount / scrapes.lasted_s for name, amount in grown.items()}
            if figure.by:
                ranked = sorted(rates.items(), key=lambda pair: (-pair[1], pair[0]))
                values[figure.field] = tuple((name, rate) for name, rate in ranked if rate > 0)
            else:
                values[figure.field] = sum(rates.values())
    return replace(usage, **values)


def _first(rows: pd.DataFrame, sources: tuple[Source, ...], below: float | None) -> pd.DataFrame | None:
    """The samples of the first source that has any (below a bound)."""
    for source in sources:
        chosen = rows[rows["metric"].isin(source.names)]
        if source.only:
            name, wanted = source.only
            chosen = chosen[[labels_of(text).get(name) == wanted for text in chosen["labels"]]]
        if below is not None:
            chosen = chosen[chosen["value"] < below]
        if len(chosen):
            return chosen
    return None
