"""The numbers of virtual users: no two users of a signal in a run have the same, on whatever workers they are.

Numbers decide ids and labels, so a number that is given twice is the same data twice. Workers that are there when the
test begins count up from 0 in turn, without gaps. A worker that joins later counts down from `MOST`, by a pairing of
its own place and its own count. Where the two ranges could meet is fixed beforehand, and the probe through the
OpenTelemetry SDK has its number above both.
"""

from __future__ import annotations

from loadgen.kinds.traces.source import SDK_USER

MOST = 100_000
"""What the five digits of pods, hosts and spans can number."""
_FROM_BELOW = MOST // 2

assert SDK_USER >= MOST


class NoNumberLeft(Exception):
    """A worker cannot start another user without giving a number twice; the text says why."""


def user_number(worker: int, workers: int, k: int, planned: int) -> int:
    """The number of the ``k``-th user (from 0) of a signal that a worker starts.

    Args:
        worker: the worker's own place, from 0.
        workers: how many there were when the test began; one with a higher place joined later.
        k: how many users of the signal this worker has started before.
        planned: users of the signal that the whole test was to have.

    Raises:
        NoNumberLeft: all numbers that this worker may give are given.
    """
    middle = min(MOST, max(_FROM_BELOW, planned))
    if worker < workers:
        number = k * workers + worker
        if number < middle:
            return number
    else:
        late = worker - workers
        # Cantor's pairing: every pair has a number of its own, and small pairs have small ones.
        number = MOST - 1 - ((late + k) * (late + k + 1) // 2 + late)
        if number >= middle:
            return number
    raise NoNumberLeft(
        f"worker {worker} has started {k:,} users of this signal, and no number is left that nobody else has; "
        "start the load again with all workers present (--expect-workers)"
    )
