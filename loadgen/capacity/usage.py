"""What a component used, from the samples of its ``/metrics`` that a run stored. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from loadgen.capacity.model import Usage
from loadgen.model import NS
from loadgen.scrape_names import FIGURES, NO_LIMIT_BYTES, STARTED, Shape, Source, labels_of

SOURCE = "/metrics"
_SKEW_NS = 60 * NS
"""So far may the clocks of a server and of loadgen lie apart."""


@dataclass(frozen=True, slots=True)
class _Scrapes:
    """The scrapes of one component in a window.

    Attributes:
        process: time of a scrape to the start of the process that answered; several may answer in turns.
        born: process to its first scrape in the window.
        fresh: the processes that began in the window.
    """

    process: dict[int, float]
    born: dict[float, int]
    fresh: frozenset[float]

    @property
    def lasted_s(self) -> float:
        """From the first to the last one."""
        return (max(self.process) - min(self.process)) / NS


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
    scrapes = _scrapes(rows)
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
            grown = _increases(chosen, scrapes, figure.by)
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


def _scrapes(rows: pd.DataFrame) -> _Scrapes:
    started = rows[rows["metric"] == STARTED]
    process = dict.fromkeys((int(at) for at in rows["at_ns"].unique()), 0.0)
    process |= {int(at): float(value) for at, value in zip(started["at_ns"], started["value"], strict=True)}
    ended = {one: at_ns for at_ns, one in process.items()}
    born: dict[float, int] = {}
    fresh = set()
    before: tuple[int, float] | None = None
    for at_ns, one in process.items():
        if one not in born:
            born[one] = at_ns
            # Of several that answer in turns, none began; and the one before does not come back.
            if before is not None and one * NS > before[0] - _SKEW_NS and ended[before[1]] < at_ns:
                fresh.add(one)
        before = at_ns, one
    return _Scrapes(process, born, frozenset(fresh))


def _increases(chosen: pd.DataFrame, scrapes: _Scrapes, by: str) -> dict[str, float]:
    """How much the counters grew, by the value of a label (empty: all together)."""
    grown: dict[str, float] = defaultdict(float)
    last: dict[tuple[str, str, float], float] = {}
    columns = (chosen[name] for name in ("metric", "labels", "at_ns", "value"))
    for metric, labels, at, value in zip(*columns, strict=True):
        at_ns, amount = int(at), float(value)
        process = scrapes.process[at_ns]
        key = str(metric), str(labels), process
        before = last.get(key)
        if before is None:
            # A counter that shows up later than its process began at 0 in between.
            known = at_ns == scrapes.born[process] and process not in scrapes.fresh
            before = amount if known else 0.0
        grown[labels_of(key[1]).get(by, "") if by else ""] += amount - before if amount >= before else amount
        last[key] = amount
    return dict(grown)
