"""Which traces of a run an object holds, as bits instead of ids. Pure.

Ids follow from the plan, so the number of a trace among its user's tells as much as its id. A day at 10 MB/s has 700
million of them: 12 GB of ids, but at most 90 MB of bits, and next to nothing where whole stretches are there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct("<IQQI")  # user, number of the first trace, how many bits, how many bytes they take


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one user: trace ``first + i`` is there if ``bits[i]``."""

    user: int
    first: int
    bits: NDArray[np.bool_]

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The numbers of the traces that are there, in order."""
        return np.flatnonzero(self.bits) + np.int64(self.first)


def pack(numbers: Mapping[int, NDArray[np.int64]]) -> bytes:
    """The numbers of traces by user, as `unpack` reads them; empty if there are none."""
    parts = []
    for user, some in sorted(numbers.items()):
        if len(some):
            first, last = int(some.min()), int(some.max())
            bits = np.zeros(last - first + 1, np.bool_)
            bits[some - first] = True
            content = zlib.compress(np.packbits(bits).tobytes(), 1)
            parts += [_HEAD.pack(user, first, len(bits), len(content)), content]
    return b"".join(parts)


def unpack(packed: bytes, only: int | None = None) -> Iterator[Held]:
    """What `pack` made, user by user or of one user alone; ValueError when it is damaged."""
    at = 0
    try:
        while at < len(packed):
            user, first, count, size = _HEAD.unpack_from(packed, at)
            at += _HEAD.size + size
            if only is None or user == only:
                content = np.frombuffer(zlib.decompress(packed[at - size : at]), np.uint8)
                if len(content) != -(-count // 8):
                    raise ValueError(f"damaged ({count} bits in {len(content)} bytes)")
                yield Held(user, first, np.unpackbits(content, count=count).view(np.bool_))
    except (zlib.error, struct.error) as problem:
        raise ValueError(f"damaged ({problem})") from problem
