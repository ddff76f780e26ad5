"""Many observations become few points, so that a long run's report stays small: at most some hundred a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.model import NS

MAX_BINS = 600
MAX_POINTS = 2000
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bins:
    """A time line cut into pieces of equal width, from the beginning of the load."""

    began_ns: int
    width_s: int
    count: int

    def index(self, at_ns: Ints) -> Ints:
        """The piece that each moment lies in; moments outside go to the first or last piece."""
        piece = (at_ns - self.began_ns) // (self.width_s * NS)
        clipped: Ints = np.clip(piece, 0, self.count - 1)
        return clipped

    def middles_s(self) -> Floats:
        """The middle of each piece, in seconds since the beginning."""
        return (np.arange(self.count, dtype=np.float64) + 0.5) * self.width_s


def bins_of(began_ns: int, length_s: float) -> Bins:
    """Pieces for a span of time: of a second where possible, never more than `MAX_BINS`."""
    for width_s in _WIDTHS_S:
        if length_s / width_s <= MAX_BINS:
            break
    else:
        width_s = int(np.ceil(length_s / MAX_BINS))
    return Bins(began_ns, width_s, max(1, int(np.ceil(length_s / width_s))))


def total(index: Ints, values: Floats, count: int) -> Floats:
    """The sum in each piece."""
    sums = np.zeros(count)
    np.add.at(sums, index, values)
    return sums


def ranks(index: Ints, values: Floats, count: int, shares: tuple[float, ...]) -> list[Floats]:
    """Nearest-rank percentiles in each piece, NaN where it is empty; one array a share."""
    order = np.lexsort((values, index))
    inside = np.bincount(index, minlength=count)[:count]
    start = np.concatenate([[0], np.cumsum(inside)[:-1]])
    filled = inside > 0
    lines = []
    for share in shares:
        rank = np.maximum(1, np.ceil(share * inside - 1e-9).astype(np.int64))
        line = np.full(count, np.nan)
        line[filled] = values[order][(start + rank - 1)[filled]]
        lines.append(line)
    return lines


def largest(at: Floats, values: Floats, most: int = MAX_POINTS) -> NDArray[np.int64]:
    """Positions of at most ``most`` observations, in order of time: of every stretch of time the largest.

    What stands out is kept, whatever is left out.
    """
    if len(at) <= most:
        everything: Ints = np.argsort(at, kind="stable")
        return everything
    span = float(at.max() - at.min()) or 1.0
    piece = np.minimum(((at - at.min()) / span * most).astype(np.int64), most - 1)
    order = np.lexsort((-values, piece))
    kept: Ints = order[np.unique(piece[order], return_index=True)[1]]
    return kept


def numbers(values: Floats, digits: int = 5) -> list[float | None]:
    """Values as JSON takes them: short, and null for what is not a number."""
    return [None if not np.isfinite(value) else float(f"{value:.{digits}g}") for value in values]
