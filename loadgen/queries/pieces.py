"""How much of a range held data, looked at piece by piece: each asks for one item only, which is quick to answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from loadgen.model import NS
from loadgen.targets.reading import Reply

# Often enough that a quarter of an hour of a day shows, seldom enough to cost nothing.
PIECES = 96
SEARCHES = 12


def pieces_held(
    count: Callable[[int, int], Reply[int]], start_ns: int, end_ns: int, pieces: int, stop: Callable[[], bool]
) -> float | None:
    """The share of the pieces of a range that hold something; None when one of them could not be told."""
    pieces = max(1, min(pieces, (end_ns - start_ns) // NS))
    edges = [start_ns + (end_ns - start_ns) * piece // pieces for piece in range(pieces + 1)]
    held = 0
    for begin_ns, until_ns in pairwise(edges):
        reply = count(begin_ns, until_ns) if not stop() else None
        if reply is None or reply.value is None:
            return None
        held += reply.value > 0
    return held / pieces
