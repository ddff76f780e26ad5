"""Which trace ids are of the run: they follow from the plan, so neither they nor other people's need to be kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadgen.buckets.wanted import Wanted
from loadgen.history.held import pack
from loadgen.kinds.traces.source import SDK_USER
from loadgen.model import Signal

_AT_ONCE = 100_000


def own_traces(ids: bytes, wanted: Wanted, from_ns: int, through_ns: int) -> bytes:
    """Which traces of the run these ids are of, packed; the block that has them holds traces of these times."""
    # A block's times may be those of the arrival, which can be as much later as a push is late or tried again.
    begin_ns, end_ns = from_ns - wanted.late_ns, through_ns + wanted.late_ns
    if wanted.ended_ns:
        end_ns = min(end_ns, wanted.ended_ns + wanted.late_ns)
    there = np.unique(np.frombuffer(ids, "S16"))
    ours: dict[int, NDArray[np.int64]] = {}
    source = wanted.plan.traces
    each = source.load.traces_per_batch
    users = (*wanted.users[Signal.TRACES], SDK_USER)
    for user in users if len(there) else ():
        pace = source.pace(user)
        first, behind = pace.first_at(begin_ns) * each, (pace.last_at(end_ns) + 1) * each
        found = []
        for begin in range(first, behind, _AT_ONCE):
            seqs = np.arange(begin, min(begin + _AT_ONCE, behind), dtype=np.int64)
            planned = np.ascontiguousarray(source.ids_of(user, seqs)).reshape(-1, 16).view("S16").ravel()
            places = np.minimum(np.searchsorted(there, planned), len(there) - 1)
            found.append(seqs[there[places] == planned])
        if found:
            ours[user] = np.concatenate(found)
    return pack(ours)
