"""Where to cut time for counting: at moments on which no item lies, so that it does not matter whom an edge belongs to.

An item of user ``u`` can only be at ``due(n) + offset`` for the offsets of one batch, and due times repeat with the
interval, so the distance of a moment from the nearest item follows from its place in the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CANDIDATES = 257


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When the items of some users can be.

    Attributes:
        firsts: due time of batch 0 of each user.
        interval: time between batches.
        offsets: times of a batch's items after its due time, ascending; all in one unit.
    """

    firsts: NDArray[np.int64]
    interval: int
    offsets: NDArray[np.int64]

    def distance(self, moments: NDArray[np.int64]) -> NDArray[np.int64]:
        """The distance of each moment from the nearest item of any user."""
        places = np.sort(self.offsets % self.interval)
        places = np.concatenate(([places[-1] - self.interval], places, [places[0] + self.interval]))
        best = np.full(len(moments), np.iinfo(np.int64).max, dtype=np.int64)
        for first in self.firsts:
            place = (moments - first) % self.interval
            after = np.searchsorted(places, place)
            before = np.maximum(after - 1, 0)
            near = np.minimum(np.abs(places[np.minimum(after, len(places) - 1)] - place), place - places[before])
            np.minimum(best, near, out=best)
        return best

    def counted(self, first: int, ns: NDArray[np.int64], start: int, end: int) -> int:
        """How many items of these batches of one user lie between start and end (exclusive)."""
        begins, ends = self._places(first, ns, start, end)
        return int(np.sum(ends - begins))

    def numbers(self, first: int, ns: NDArray[np.int64], start: int, end: int) -> int:
        """The sum of the running numbers of the items that `counted` counts; item ``i`` of batch ``n`` of ``k`` has
        the number ``n * k + i``."""
        begins, ends = self._places(first, ns, start, end)
        of_batches = ns * len(self.offsets) * (ends - begins)
        of_places = (ends * (ends - 1) - begins * (begins - 1)) // 2
        return int(np.sum(of_batches + of_places))

    def times(self, first: int, ns: NDArray[np.int64], start: int, end: int) -> NDArray[np.int64]:
        """The times of the items that `counted` counts."""
        times = (first + ns * self.interval)[:, None] + self.offsets
        return times[(times > start) & (times < end)]

    def _places(
        self, first: int, ns: NDArray[np.int64], start: int, end: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each batch the place of the first item after the start, and of the first one that is not before the end.

        They are equal where no item lies between.
        """
        dues = first + ns * self.interval
        begins = np.searchsorted(self.offsets, start - dues, side="right")
        ends = np.searchsorted(self.offsets, end - dues, side="left")
        return begins, np.maximum(begins, ends)


def free_range(rhythm: Rhythm, first: int, last: int, second: int) -> tuple[int, int] | None:
    """A range of whole seconds that holds [first, last], with no item of any user on its edges.

    ``second`` is the length of a second in the unit of the times. None when there is no such range, because the items
    are too dense.
    """
    length = (-(-(last - first + 2) // second) + 1) * second
    slack = length - (last - first + 2)
    steps = min(_CANDIDATES, slack + 1)
    ends: NDArray[np.int64] = last + 1 + (np.arange(steps, dtype=np.int64) * slack) // max(1, steps - 1)
    distance = np.minimum(rhythm.distance(ends), rhythm.distance(ends - length))
    best = int(np.argmax(distance))
    if distance[best] < 1:
        return None
    end = int(ends[best])
    return end - length, end


def rhythm_of(firsts: Sequence[int], interval: int, offsets: NDArray[np.int64]) -> Rhythm:
    """A rhythm from plain numbers."""
    return Rhythm(np.array(firsts, dtype=np.int64), interval, offsets)
