"""When batches of traces reached S3: the blocks of Tempo tell which of the run's traces they hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import Times
from loadgen.history.held import Held, unpack
from loadgen.plan import Plan

Flags = NDArray[np.bool_]
_ID_BYTES = 16


class Blocks:
    """The blocks of a run, the earliest in S3 first: what they hold of a user's traces.

    Args:
        plan: of the run.
        objects: rows of `StoredObject` of Tempo, with ``stored_ns``.
    """

    def __init__(self, plan: Plan, objects: pd.DataFrame) -> None:
        known = objects[(objects["traces"].map(len) > 0) | (objects["ids"].map(len) > 0)]
        known = known.sort_values("stored_ns", kind="stable")
        self._source = plan.traces
        self._packed: list[bytes] = known["traces"].tolist()
        self.stored_ns: list[int] = known["stored_ns"].tolist()
        self.compacted: list[bool] = known["compacted"].tolist()
        self._by_id = _Ids.of(known["ids"].tolist())

    def __len__(self) -> int:
        return len(self._packed)

    def held(self, user: int, first: int, behind: int) -> Iterator[tuple[int, Held]]:
        """By place of the block, the earliest first, which of a user's traces from ``first`` to ``behind`` are there.

        Runs of earlier versions have ids in their blocks; of such an id only the earliest block is told.
        """
        by_id = self._by_id.blocks_of(self._source.ids_of(user, np.arange(first, behind))) if self._by_id else None
        for place, packed in enumerate(self._packed):
            for held in unpack(packed, user):
                yield place, held
            if by_id is not None:
                here = by_id == place
                if here.any():
                    yield place, Held(user, first, here)


@dataclass(frozen=True, slots=True)
class _Ids:
    """Sorted trace ids, and of each the first block that has it."""

    ids: NDArray[np.bytes_]
    block: NDArray[np.intp]

    @classmethod
    def of(cls, blocks: list[bytes]) -> _Ids | None:
        """None where no block has any."""
        counts = [len(ids) // _ID_BYTES for ids in blocks]
        if not any(counts):
            return None
        text = b"".join(ids[: _ID_BYTES * count] for ids, count in zip(blocks, counts, strict=True))
        ids, first = np.unique(np.frombuffer(text, "S16"), return_index=True)  # the first is the earliest
        return cls(ids, np.repeat(np.arange(len(blocks)), counts)[first])

    def blocks_of(self, wanted: NDArray[np.uint8]) -> NDArray[np.intp]:
        """The block of each id, a row of 16 bytes each; -1 for none."""
        flat = np.ascontiguousarray(wanted).reshape(-1, _ID_BYTES).view("S16").ravel()
        place = np.minimum(np.searchsorted(self.ids, flat), len(self.ids) - 1)
        return np.where(self.ids[place] == flat, self.block[place], -1)


@dataclass(frozen=True, slots=True)
class FoundTraces:
    """Batches of one user; the arrays are aligned.

    Attributes:
        stored_ns: when the last trace of the batch was in S3; -1: not all of them are.
        exact: that is the moment itself, not only an upper bound.
    """

    stored_ns: Times
    exact: Flags


def find(blocks: Blocks, user: int, n: Times, since_ns: Times, each: int) -> FoundTraces:
    """When all traces of each batch ``n`` of a user were in S3, in blocks that are not older than ``since_ns``.

    Of a trace that several blocks hold, the earliest block counts. ``each`` is how many traces a batch has.
    """
    first, behind = int(n.min()), int(n.max()) + 1
    at = np.full(behind - first, len(n), np.intp)  # where each batch is; the last place is for those that are not ours
    at[n - first] = np.arange(len(n))
    since_ns = np.append(since_ns, 0)
    there = np.zeros((behind - first, each), np.bool_)
    lacking = np.full(len(n) + 1, each, np.int64)
    stored_ns, exact = np.full(len(n) + 1, -1, np.int64), np.zeros(len(n) + 1, np.bool_)
    for place, held in blocks.held(user, first * each, behind * each):
        batch, bits = _by_batch(held, each, first, behind)
        if not len(bits):
            continue
        seen = there[batch - first : batch - first + len(bits)]
        new = np.count_nonzero(bits & ~seen, axis=1)
        seen |= bits
        at_ns, is_exact = blocks.stored_ns[place], not blocks.compacted[place]
        mine = at[batch - first : batch - first + len(bits)]
        hit = (new > 0) & (since_ns[mine] <= at_ns)
        mine, new = mine[hit], new[hit]
        lacking[mine] -= new
        exact[mine] = is_exact | (exact[mine] & (stored_ns[mine] == at_ns))
        stored_ns[mine] = at_ns
    whole = lacking[:-1] == 0
    return FoundTraces(np.where(whole, stored_ns[:-1], -1), exact[:-1] & whole)


def _by_batch(held: Held, each: int, first: int, behind: int) -> tuple[int, NDArray[np.bool_]]:
    """The first batch that is touched, and a row of bits a batch; only batches from ``first`` to ``behind``."""
    begin = max(held.first // each, first)
    end = min(-(-(held.first + len(held.bits)) // each), behind)
    if end <= begin:
        return first, np.zeros((0, each), np.bool_)
    rows = np.zeros((end - begin) * each, np.bool_)
    shift = held.first - begin * each
    bits = held.bits[max(0, -shift) :]
    shift = max(0, shift)
    bits = bits[: len(rows) - shift]
    rows[shift : shift + len(bits)] = bits
    return begin, rows.reshape(-1, each)


def held_ids(plan: Plan, ids: bytes, traces: bytes) -> NDArray[np.bytes_]:
    """The trace ids that a block holds of the run, in no order, whichever way they are stored."""
    count = len(ids) // _ID_BYTES
    parts = [np.frombuffer(ids[: count * _ID_BYTES], "S16")]
    for held in unpack(traces):
        made = plan.traces.ids_of(held.user, held.numbers)
        parts.append(np.ascontiguousarray(made).reshape(-1, _ID_BYTES).view("S16").ravel())
    return np.unique(np.concatenate(parts))
