"""Freshness probes that were planned and not made: how many, and whether they could hide something. Pure.

A probe is not made when many of its signal still wait for their data, so those not made are likelier late than others:
a promise must not pass on the rest if it would be broken with all of them late.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import Case, counted, nearest_rank, touches
from loadgen.kinds import kind_of
from loadgen.model import Signal

UNMADE = (
    "so many waited because the data was late, or because there are more probes than one process makes at a time: see "
    "the slowest ones; set freshness.every longer, or run.processes higher, then run again"
)


@dataclass(frozen=True, slots=True)
class Unmade:
    """Planned probes that were not made.

    Attributes:
        planned: all that were planned.
        cut: the load was over; nobody is to blame.
        excused: the component was disturbed by a fault.
        others: of which nothing is known.
        why: of the first of these.
    """

    planned: int
    cut: int
    excused: int
    others: int
    why: str

    @property
    def texts(self) -> list[str]:
        """For people; empty if all were made."""
        count = self.cut + self.excused + self.others
        if not count:
            return []
        parts = [
            f"{self.others:,} {self.why}" if self.others else "",
            f"{self.excused:,} during a restart" if self.excused else "",
            f"{self.cut:,} because the load was over" if self.cut else "",
        ]
        told = ", ".join(part for part in parts if part)
        return [f"{counted(count, 'probes')} of {self.planned:,} planned were not made: {told}"]

    def could_hide(self, delay_s: NDArray[np.float64], limit_s: float) -> bool:
        """Whether the p99 would be over the bound if all of which nothing is known were late."""
        worst = np.concatenate([delay_s, np.full(self.others, np.inf)])
        return bool(self.others) and nearest_rank(worst, 0.99) > limit_s


def made_and_unmade(case: Case, signal: Signal, probes: pd.DataFrame) -> tuple[pd.DataFrame, Unmade]:
    """The probes that were made, and what is known of the others."""
    made = probes["looked"].to_numpy(np.int64) > 0
    rest = probes[~made]
    kept = rest["unreadable"].to_numpy(bool)  # by something else than the end of the load
    acked_ns = rest["acked_ns"].to_numpy(np.int64)
    excused = kept & touches(acked_ns, acked_ns, case.outages(kind_of(signal).store))
    others = rest[kept & ~excused]
    why = next((text.removeprefix("not made: ") for text in others["detail"].astype(str) if text), "")
    count = Unmade(len(probes), int((~kept).sum()), int(excused.sum()), len(others), f"({why})" if why else "")
    return probes[made], count
