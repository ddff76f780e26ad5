"""What became of the user's own queries, each by itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import Case, nearest_rank
from loadgen.checks.few import Tally
from loadgen.checks.planned import is_asked, is_failed, waited_s
from loadgen.checks.ranges import amount_text, own_shares, range_text
from loadgen.config import OwnQuery
from loadgen.model import NS, Result
from loadgen.units import duration_text

# The server understood neither the query (400) nor what it should do with it (422).
_REFUSALS = (400, 422)


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What is known of one own query.

    Attributes:
        query: as the profile has it.
        asked: how often, outside of restarts.
        refused: how often the server refused it as a mistake.
        failed: how often it failed otherwise.
        took_s: latencies of the answers, and how long those waited that were never asked or never answered.
        items: the most lines, points or traces of an answer.
        share: which share of its range held data; None when that is not known.
        words: why it was refused or failed first, in the server's own words.
        unasked: how often it was planned beside that, and never asked or never answered.
    """

    query: OwnQuery
    asked: int
    refused: int
    failed: int
    took_s: NDArray[np.float64]
    items: int
    share: float | None
    words: str
    unasked: int = 0

    def quantile_s(self, share: float) -> float | None:
        """Nearest-rank over the answers and failures, a failure being later than any answer; None without any."""
        values = np.concatenate([self.took_s, np.full(self.failed, np.inf)])
        return nearest_rank(values, share) if len(values) else None

    def alone(self, limit_s: float) -> Tally:
        """How often it was slower than a bound, or failed: many panels on little data must not outvote it."""
        return Tally(int((self.took_s > limit_s).sum()) + self.failed, len(self.took_s) + self.failed)

    def few(self, limit_s: float) -> bool:
        """Whether it was asked, and too seldom to be told by itself."""
        return bool(len(self.took_s) or self.failed) and self.alone(limit_s).result is Result.UNKNOWN

    def alone_text(self, limit_s: float) -> str:
        """What its answers say of this query by itself."""
        p99_s = self.quantile_s(0.99)
        p99 = duration_text(p99_s) if p99_s is not None and np.isfinite(p99_s) else "never"
        bound = f"over {duration_text(limit_s)}" + (" or failed" if self.failed else "")
        return f"own query {self.query.title} alone: p99 {p99}; {self.alone(limit_s).text(bound)}"

    @property
    def held_text(self) -> str:
        """How much of its range held data, e.g. ``at most 3 h of 24 h``; empty if that is not known."""
        ranged = range_text(self.query.range)
        if self.share is None:
            return ""
        if not self.share:
            return f"0 of {ranged}"
        most = "at most " if self.share < 1 else ""
        return f"{most}{amount_text(self.share * self.query.range)} of {ranged}"

    @property
    def answered(self) -> int:
        """How often it was answered."""
        return self.asked - self.refused - self.failed

    @property
    def _beside(self) -> tuple[tuple[int, str], ...]:
        return (self.refused, "refused"), (self.failed, "failed"), (self.unasked, "planned and never asked")

    @property
    def text(self) -> str:
        """All of it in one sentence."""
        name, ranged = f"own query {self.query.title}", range_text(self.query.range)
        filled = f"{self.held_text} held data" if self.held_text else f"how much of {ranged} held data is not known"
        if not self.asked and not self.unasked:
            return f"{name}: was not asked; {filled}"
        parts = [f"asked {self.asked:,} ×"]
        slowest_s, p99_s = (float(self.took_s.max()) if len(self.took_s) else None), self.quantile_s(0.99)
        if p99_s is not None and slowest_s is not None:
            p99 = duration_text(p99_s) if np.isfinite(p99_s) else "never"
            parts.append(f"p99 {p99}, slowest {duration_text(slowest_s)}")
        parts += [f"{count:,} {what}" for count, what in self._beside if count]
        if self.answered:
            parts.append(f"returned up to {self.items:,} items" if self.items else "returned nothing")
        return f"{name}: {', '.join(parts)}; {filled}"


def own_facts(case: Case, query: OwnQuery, queries: pd.DataFrame) -> OwnFacts:
    """What became of one own query; ``queries`` are people's, without those during restarts."""
    mine = queries[(queries["source"] == "own") & (queries["kind"] == query.title)]
    mine = mine[mine["component"] == query.component]
    refused, failed, asked = is_refused(mine), is_failed(mine), is_asked(mine)
    return OwnFacts(
        query=query,
        asked=int(asked.sum()),
        refused=int(refused.sum()),
        failed=int((failed & ~refused).sum()),
        took_s=waited_s(mine[~failed]),
        items=int(mine["items"].max()) if len(mine) else 0,
        share=own_shares(case).get(query.title),
        words=next((text for text in mine.loc[failed, "detail"].astype(str) if text), ""),
        unasked=int((~asked).sum()),
    )


def is_refused(queries: pd.DataFrame) -> NDArray[np.bool_]:
    """Own queries that the server takes for a mistake (400, 422): one of the profile, not of the stack.

    A query that was answered at least once is no mistake, whatever was said of it later. Grafana answers 400 also when
    the component refuses its login; that is not meant.
    """
    own = queries["source"] == "own"
    text = queries["detail"].astype(str)
    refused = own & queries["status"].isin(_REFUSALS) & ~queries["ok"] & ~text.str.contains("Authentication to data")
    answered = set(queries.loc[own & queries["ok"], "kind"])
    return (refused & ~queries["kind"].isin(answered)).to_numpy(bool)


def proves_nothing(queries: pd.DataFrame, limit_s: float) -> NDArray[np.bool_]:
    """Own queries that returned nothing and were quick at it: a pass must not rest on them."""
    took_ns = queries["done_ns"] - queries["due_ns"]
    empty = (queries["source"] == "own") & queries["ok"] & (queries["items"] == 0)
    return (empty & (took_ns <= limit_s * NS)).to_numpy(bool)
