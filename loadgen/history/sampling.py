"""Which batches are compared in content, and what a comparison without a mistake is worth. Pure.

Every batch that was sent is drawn or not drawn by a hash of its name and the run's seed: each with the same chance, at
the beginning of a run as at its end, and whatever became of it. So anyone who has the receipts can tell which batches
belong to the sample, and what was compared for another reason is not mistaken for a part of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import xxhash

from loadgen.model import RunKey, Signal

CONFIDENCE = 0.95
WEAK_BELOW = 30
"""A sample of fewer batches cannot exclude that about one batch in ten is wrong."""


@dataclass(frozen=True, slots=True)
class Draw:
    """A choice among the batches of one signal; ``share`` is the chance of each."""

    key: RunKey
    signal: Signal
    share: float

    @property
    def everything(self) -> bool:
        """Whether no batch is left out."""
        return self.share >= 1.0

    def has(self, user: int, n: int) -> bool:
        """Whether a batch belongs to the sample."""
        if self.everything or self.share <= 0:
            return self.everything
        name = f"{self.key.seed}/{self.key.run}/{self.signal}/{user}/{n}"
        return xxhash.xxh64_intdigest(name.encode()) < self.share * 2.0**64


def draw_of(key: RunKey, signal: Signal, items: int, sample: float, max_compared: int) -> Draw:
    """The draw from ``items`` that were sent: a share of ``sample``, or less to compare about ``max_compared``."""
    return Draw(key, signal, min(sample, max_compared / items) if items else 0.0)


def wrong_share_below(k: int) -> float:
    """The share of wrong batches that 0 wrong in a random sample of ``k`` (≥ 1) excludes with 95 % confidence.

    Exact for few batches, ``1 - 0.05^(1/k)``; for many the rule of three, ``3/k``, which is a little more. Both hold
    for any number of batches in all, since drawing without putting back only tells more.
    """
    return 1 - (1 - CONFIDENCE) ** (1 / k) if k < WEAK_BELOW else 3 / k


def bound_text(k: int) -> str:
    """`wrong_share_below` as a percentage of two digits, rounded up so that it never claims more."""
    return percent_text(wrong_share_below(k))


def percent_text(share: float, up: bool = True) -> str:
    """A share (> 0) as a percentage of two digits, rounded up, so that "fewer than" it holds, or down."""
    percent = 100 * share
    digits = 1 - math.floor(math.log10(percent))
    # A number that is exact in two digits must not be pushed up or down by its last binary place.
    exact = round(percent * 10**digits, 6)
    shown = (math.ceil(exact) if up else math.floor(exact)) / 10**digits
    return f"{shown:.{max(0, digits)}f} %"
