"""How much of the range that queries asked for held data: a day that holds an hour proves nothing about days. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from loadgen.checks.case import Case
from loadgen.config import OwnQuery
from loadgen.model import HELD_DATA, NS, Component
from loadgen.units import duration_text

THIN_SHARE = 0.5
"""Below this share of its range with data, a query was not really tested over that range."""


@dataclass(frozen=True, slots=True)
class Held:
    """Of the longest range that people asked a component for.

    Attributes:
        range_s: its width.
        held_s: how much of it held data, as far as is known.
        own: it is a range of the user's own query, not of the run's panels.
    """

    range_s: float
    held_s: float
    own: bool

    @property
    def thin(self) -> bool:
        """Too little of the range held data to speak for the whole."""
        return self.held_s < THIN_SHARE * self.range_s

    @property
    def text(self) -> str:
        """For people, e.g. ``62 s of 1 d held data``."""
        # A share of a range is known in pieces only: one line makes its whole piece count.
        most = "at most " if self.own and self.thin else ""
        return f"{most}{duration_text(self.held_s)} of {duration_text(self.range_s)} held data"


def own_shares(case: Case) -> Mapping[str, float]:
    """By title, which share of an own query's range held data, where that could be told."""
    stack = case.history.stack
    mine = stack[stack["metric"] == HELD_DATA].sort_values("at_ns")
    return {str(label): float(value) for label, value in zip(mine["labels"], mine["value"], strict=True)}


def held(case: Case, component: Component, queries: pd.DataFrame) -> Held | None:
    """How full the best-filled of the longest ranges was that people's queries of a component asked for."""
    longest_s = float(queries["range_s"].max()) if len(queries) else 0.0
    if not longest_s:
        return None
    found: list[Held] = []
    viewers = queries[(queries["source"] == "viewer") & (queries["range_s"] == longest_s)]
    if len(viewers):
        # The panels ask for this run's own data, which begins with the load.
        last_ns = int(viewers["due_ns"].to_numpy(np.int64).max())
        found.append(Held(longest_s, min(longest_s, max(0.0, (last_ns - case.history.info.key.began_ns) / NS)), False))
    shares = own_shares(case)
    found += [
        Held(longest_s, shares[query.title] * longest_s, True)
        for query in own_queries(case, component)
        if query.range == longest_s and query.title in shares
    ]
    return max(found, key=lambda one: one.held_s) if found else None


def own_queries(case: Case, component: Component) -> list[OwnQuery]:
    """The user's own queries of a component."""
    return [query for query in case.profile.queries if query.component == component.value]


def own_text(case: Case, query: OwnQuery, queries: pd.DataFrame) -> str:
    """What an own query looked through, and what came of it, in one sentence."""
    mine = queries[(queries["source"] == "own") & (queries["kind"] == query.title)]
    share = own_shares(case).get(query.title)
    ranged = duration_text(query.range)
    if share is None:
        through = f"how much of {ranged} held data could not be told"
    else:
        through = (
            f"at most {duration_text(share * query.range)} of {ranged} held data"
            if share < 1
            else "all of it held data"
        )
    if mine.empty:
        return f"own query {query.query}: was not asked; {through}"
    most = int(mine["items"].max())
    returned = f"up to {most:,} items" if most else "nothing, so its speed proves nothing"
    return f"own query {query.query}: asked {len(mine):,} ×, returned {returned}; {through}"
