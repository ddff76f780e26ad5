"""How much the counters of a component grew, from the scrapes that a run stored; across its restarts. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pandas as pd

from loadgen.model import NS
from loadgen.scrape.figure import STARTED
from loadgen.scrape.figures import labels_of

_SKEW_NS = 60 * NS
"""So far may the clocks of a server and of loadgen lie apart."""


@dataclass(frozen=True, slots=True)
class Scrapes:
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


def scrapes_of(rows: pd.DataFrame) -> Scrapes:
    """Which process answered each scrape.

    Args:
        rows: `StackSample` rows of one component, in order of time.
    """
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
    return Scrapes(process, born, frozenset(fresh))


def increases(chosen: pd.DataFrame, scrapes: Scrapes, by: str) -> dict[str, float]:
    """How much these counters grew, by the value of a label (empty: all together).

    A process that began in between counts from 0; what it counted between its last scrape and its end is not known.
    """
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
