"""How much of the range that queries asked for held data: a day that holds an hour proves nothing about days. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from loadgen.checks.case import Case
from loadgen.config import OwnQuery
from loadgen.kinds import kinds_in
from loadgen.model import HELD_DATA, NS, Component
from loadgen.stores import promised_range_s
from loadgen.units import duration_text

THIN_SHARE = 0.5
"""Below this share of its range with data, a promise about the range was not really tested."""


@dataclass(frozen=True, slots=True)
class HeldRange:
    """How far back data was asked for, and how far back there was some.

    Attributes:
        range_s: the longest range that people asked a component for.
        held_s: the most of any of their ranges that held data, as far as is known.
        own: that was a range of the user's own query, not of the run's panels.
        promised_s: the range that the promise speaks of; 0 if it speaks of none.
    """

    range_s: float
    held_s: float
    own: bool
    promised_s: float

    @property
    def thin(self) -> bool:
        """Too little to speak for the whole range."""
        return self.held_s < THIN_SHARE * self.promised_s

    @property
    def amount(self) -> str:
        """How much held data. A share of a range is known in pieces only: one line makes its whole piece count."""
        if not self.held_s:
            return "nothing"
        return ("at most " if self.own and self.held_s < self.range_s else "") + amount_text(self.held_s)

    @property
    def text(self) -> str:
        """For people, e.g. ``over ranges up to 24 h, of which 62 s held data of this run``."""
        whose = "" if self.own else " of this run"
        return f"over ranges up to {range_text(self.range_s)}, of which {self.amount} held data{whose}"

    @property
    def warnings(self) -> list[str]:
        """What a reader must not believe, if there is such a thing."""
        if not self.thin:
            return []
        return [
            f"tested on {self.amount} of {range_text(self.promised_s)} only, which is all that "
            + ("the stack has data for" if self.own else "this run's own data fills")
            + "; a range full of data may take longer"
        ]


def held(case: Case, component: Component, queries: pd.DataFrame, promised_s: float = 0.0) -> HeldRange | None:
    """How much data the fullest range held that people's queries of a component asked for; None without ranges.

    ``promised_s`` is the range that is promised, if it is not the component's own.
    """
    longest_s = float(queries["range_s"].max()) if len(queries) else 0.0
    if not longest_s:
        return None
    promised_s = promised_s or promised_range_s(component)
    found = [
        HeldRange(longest_s, run_held_s(case, component, queries[queries["source"] == "viewer"]), False, promised_s)
    ]
    shares = own_shares(case)
    answered = set(queries.loc[(queries["source"] == "own") & queries["ok"], "kind"])
    found += [
        HeldRange(longest_s, shares[query.title] * query.range, True, promised_s)
        for query in own_queries(case, component)
        if query.title in answered and query.title in shares
    ]
    return max(found, key=lambda one: one.held_s)


def run_held_s(case: Case, component: Component, queries: pd.DataFrame) -> float:
    """How much of the ranges of panels held data of this run, at most: it begins with the first accepted push."""
    accepted = [rows for kind in kinds_in(component) if len(rows := case.accepted(kind.signal))]
    if queries.empty or not accepted:
        return 0.0
    since_s = (queries["due_ns"].to_numpy(np.int64) - min(int(rows["due_ns"].min()) for rows in accepted)) / NS
    return float(max(0.0, np.minimum(since_s, queries["range_s"].to_numpy(np.float64)).max()))


def own_shares(case: Case) -> Mapping[str, float]:
    """By title, which share of an own query's range held data, where that could be told."""
    stack = case.history.stack
    mine = stack[stack["metric"] == HELD_DATA].sort_values("at_ns")
    return {str(label): float(value) for label, value in zip(mine["labels"], mine["value"], strict=True)}


def own_queries(case: Case, component: Component) -> list[OwnQuery]:
    """The user's own queries of a component."""
    return [query for query in case.profile.queries if query.component == component.value]


def range_text(range_s: float) -> str:
    """A time range as people name it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if range_s >= length and range_s % length == 0 and (unit != "d" or range_s > length):
            return f"{range_s / length:g} {unit}"
    return f"{range_s:g} s" if range_s else "no range"


def amount_text(amount_s: float) -> str:
    """A measured length of time; a whole unit is named as ranges are."""
    return range_text(amount_s) if amount_s >= 60 and amount_s % 60 == 0 else duration_text(amount_s)
