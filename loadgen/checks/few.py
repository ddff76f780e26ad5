"""What so many over a bound among so many say of a share: exact binomial arithmetic, and when it is enough. Pure.

A percentile of few is their maximum, and says little: with 20 queries a stack in which one in twenty is too slow shows
none of them in every third run. So a verdict says what its number excludes (one-sided Clopper-Pearson bounds), and
where that is too little it cannot be told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from loadgen.history.sampling import CONFIDENCE, percent_text
from loadgen.model import Result

ALLOWED = 0.01
"""The share that a p99, and a promise of at most 1 %, lets be over the bound."""
EXCLUDED = 0.05
"""The share that a pass must exclude."""
_HALVINGS = 60


def most_share(over: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The share of all that is over the bound at most, when ``over`` of ``n`` were; one-sided Clopper-Pearson."""
    _check(over, n)
    if over >= n:
        return 1.0
    if not over:
        return 1 - math.exp(math.log(1 - confidence) / n)
    chosen = _log_choices(over, n)
    low, high = over / n, 1.0
    for _ in range(_HALVINGS):
        share = (low + high) / 2
        low, high = (share, high) if _tail(chosen, n, share) > 1 - confidence else (low, share)
    return high


def least_share(over: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The share of all that is over the bound at least, when ``over`` of ``n`` were."""
    return 1 - most_share(n - over, n, confidence)


@cache
def enough(over: int = 0, excluded: float = EXCLUDED) -> int:
    """The fewest of which ``over`` over the bound still exclude a share: 59 for 5 % with none, 299 for 1 %."""
    if most_share(over, over + 1) <= excluded:
        return over + 1
    low, high = over + 1, 2 * (over + 1)
    while most_share(over, high) > excluded:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if most_share(over, middle) <= excluded else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class Tally:
    """So many of so many were over a bound that one in a hundred may be over."""

    over: int
    n: int

    @property
    def too_many(self) -> bool:
        """More than one in a hundred of these: their nearest-rank p99 is over the bound."""
        return self.over > ALLOWED * self.n + 1e-9

    @property
    def needed(self) -> int:
        """How many a pass needs if no more of them are over the bound than these."""
        return max(enough(self.over), math.ceil(self.over / ALLOWED - 1e-9))

    @property
    def result(self) -> Result:
        """Pass where the p99 keeps the bound and 5 % are excluded; fail where it does not, and that is no accident.

        One alone is never held against anybody. More are, among as many as a pass needs at least; among fewer only if
        they prove that more than one in a hundred are.
        """
        if not self.too_many:
            return Result.PASS if self.n >= self.needed else Result.UNKNOWN
        told = self.over > 1 and (self.n >= enough() or least_share(self.over, self.n) > ALLOWED)
        return Result.FAIL if told else Result.UNKNOWN

    def text(self, bound: str) -> str:
        """What they say, e.g. ``0 of 64 over 3 s: with 95 % confidence fewer than 4.6 % are``."""
        head = f"{self.over:,} of {self.n:,} {bound}"
        if not self.n:
            return head
        percent = f"{100 * CONFIDENCE:g} %"
        most, least = most_share(self.over, self.n), least_share(self.over, self.n)
        if self.over > 1 and self.too_many and least > ALLOWED:
            return f"{head}: with {percent} confidence more than {percent_text(least, up=False)} are"
        if self.result is Result.FAIL or most >= 1:
            return head
        return f"{head}: with {percent} confidence fewer than {percent_text(most)} are"

    def lacking(self, nouns: str, bound: str) -> str:
        """Why it cannot be told: what these exclude, and how many more it takes."""
        if not self.n:
            return f"no {nouns} measured, at least {enough()} are needed"
        alone = "one alone proves nothing, and " if self.over == 1 else ""
        more = f"at least {self.needed:,} {nouns} are needed to tell, {self.needed - self.n:,} more"
        return f"{self.text(bound)}; {alone}{more}"


def _check(over: int, n: int) -> None:
    if not 0 <= over <= n or not n:
        raise ValueError(f"{over} of {n} cannot be over a bound")


def _log_choices(over: int, n: int) -> NDArray[np.float64]:
    """The logarithms of n over i, for i from 0 to ``over``."""
    i = np.arange(1, over + 1, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(np.log((n - i + 1) / i))])


def _tail(chosen: NDArray[np.float64], n: int, share: float) -> float:
    """The chance of at most ``len(chosen) - 1`` of ``n``."""
    i = np.arange(len(chosen), dtype=np.float64)
    return float(np.exp(chosen + i * math.log(share) + (n - i) * math.log1p(-share)).sum())
