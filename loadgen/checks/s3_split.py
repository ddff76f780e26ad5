"""Streams that Loki split into several: which chunks hold a batch, told by counting. Pure.

Loki deals the lines of a push out among the parts, so a chunk that spans a batch's time need not hold any line of it,
and a part of which no chunk was written yet does not show. But when the chunks of all parts hold as many lines as were
accepted, every line is in one of them: in one that spans its time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.model import MS

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Split:
    """Batches of one user whose stream was split; the arrays are aligned.

    Attributes:
        stored_ns: by when all of a batch was in S3; 0: that cannot be told.
        certain_ns: when what is certainly of it was; 0: nothing is certain.
    """

    stored_ns: Times
    certain_ns: Times


def split_batches(chunks: pd.DataFrame, first_ns: Times, last_ns: Times, lines: int) -> Split:
    """When batches were in S3.

    Args:
        chunks: of the user's stream and its parts, with ``stored_ns``.
        first_ns, last_ns: of each batch, the times of its lines.
        lines: how many there must be: of these batches, and of whatever else may have been stored.
    """
    latest, certain = np.zeros(len(first_ns), np.int64), np.zeros(len(first_ns), np.int64)
    columns = (chunks[name].to_numpy(np.int64) for name in ("from_ns", "through_ns", "stored_ns"))
    for from_ns, through_ns, at_ns in zip(*columns, strict=True):
        touched = (first_ns <= through_ns) & (last_ns >= from_ns)
        latest[touched] = np.maximum(latest[touched], at_ns)
        # Its first and its last line are in a chunk, within a millisecond of what its key says.
        for edge_ns in (from_ns, through_ns // MS * MS - MS):
            inside = (first_ns <= edge_ns) & (last_ns >= edge_ns + MS)
            certain[inside] = np.maximum(certain[inside], at_ns)
    items = chunks["items"].to_numpy(np.int64)
    if not (items > 0).all() or int(items.sum()) != lines:
        latest[:] = 0
    return Split(latest, certain)
