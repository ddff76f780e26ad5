"""Bodies with holes: laid out once, and afterwards only the holes are overwritten.

A layout is a sequence of pieces: bytes that never change, and `Hole` pieces that a later write fills. A *field* is
all holes of one name, in their order; its values are written by one assignment of numpy, a strided one if the holes
recur at a constant distance and an indexed one if not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Hole:
    """``width`` bytes that change from push to push; holes of one ``field`` have the same width."""

    field: str
    width: int


Piece = bytes | Hole


def size_of(pieces: Iterable[Piece]) -> int:
    """Length of the pieces in bytes."""
    return sum(piece.width if isinstance(piece, Hole) else len(piece) for piece in pieces)


def merge(pieces: Iterable[Piece]) -> list[Piece]:
    """The same pieces with adjacent constant ones joined and empty ones left out."""
    merged: list[Piece] = []
    constant: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, bytes):
            constant.append(piece)
            continue
        joined = b"".join(constant)
        if joined:
            merged.append(joined)
        constant.clear()
        merged.append(piece)
    joined = b"".join(constant)
    if joined:
        merged.append(joined)
    return merged


@dataclass(frozen=True, slots=True)
class Layout:
    """Laid-out bytes with zeros in the holes.

    Attributes:
        data: the bytes, compressed or not.
        plain_bytes: their size before compression.
        offsets: where in ``data`` the holes of each field are.
        widths: how wide the holes of each field are.
    """

    data: bytearray
    plain_bytes: int
    offsets: dict[str, list[int]]
    widths: dict[str, int]


class LayoutNotes:
    """Collects where holes are while a layout is made."""

    def __init__(self) -> None:
        self.offsets: dict[str, list[int]] = {}
        self.widths: dict[str, int] = {}

    def note(self, hole: Hole, offset: int) -> None:
        """A hole is at ``offset``. Raises ValueError if its field has holes of another width."""
        if self.widths.setdefault(hole.field, hole.width) != hole.width:
            raise ValueError(
                f"field {hole.field!r} has holes of {self.widths[hole.field]} and of {hole.width} bytes; "
                "holes of one field have to be equally wide, so name them apart"
            )
        self.offsets.setdefault(hole.field, []).append(offset)


def lay_plain(pieces: Iterable[Piece]) -> Layout:
    """Pieces one after the other, uncompressed."""
    data, notes = bytearray(), LayoutNotes()
    for piece in pieces:
        if isinstance(piece, Hole):
            notes.note(piece, len(data))
            data += bytes(piece.width)
        else:
            data += piece
    return Layout(data, len(data), notes.offsets, notes.widths)


class Places:
    """The holes of one field in one buffer."""

    __slots__ = ("_index", "_view", "count", "width")

    def __init__(self, buffer: bytearray, offsets: Sequence[int] | NDArray[np.intp], width: int):
        """Holes of ``width`` bytes at ``offsets``. Raises ValueError if one lies outside the buffer."""
        at = np.asarray(offsets, dtype=np.intp)
        self.count, self.width = len(at), width
        if self.count and (at.min() < 0 or at.max() + width > len(buffer)):
            raise ValueError(f"holes of {width} bytes at {at.min()}…{at.max()} do not lie within {len(buffer)} bytes")
        dtype = np.dtype(f"V{width}")
        steps = np.unique(np.diff(at))
        self._index: NDArray[np.intp] | None = None
        if self.count and len(steps) <= 1:
            stride = int(steps[0]) if len(steps) else width
            self._view: NDArray[Any] = np.ndarray(self.count, dtype, buffer, int(at[0]), (stride,))
            return
        # One overlapping item starts at every byte, so that an index is a byte offset.
        self._view = np.ndarray(max(0, len(buffer) - width + 1), dtype, buffer, 0, (1,))
        self._index = at

    @property
    def index(self) -> NDArray[np.intp] | None:
        """The offsets if the holes are irregular, else None."""
        return self._index

    def share(self, index: NDArray[np.intp]) -> None:
        """Use an equal index that somebody else holds already, to save memory."""
        self._index = index

    def write(self, values: NDArray[Any]) -> None:
        """Fill hole ``i`` with the bytes of ``values[i]``; a contiguous array whose items are as wide as the holes.

        Raises:
            ValueError: if number or width do not fit.
        """
        if values.size != self.count or values.itemsize != self.width:
            raise ValueError(
                f"{values.size} values of {values.itemsize} bytes do not fit {self.count} holes of {self.width} bytes"
            )
        items = values.reshape(-1).view(self._view.dtype)
        if self._index is None:
            self._view[:] = items
        else:
            self._view[self._index] = items


class IndexPool:
    """Equal index arrays, kept once: the layouts of many users differ in their constant bytes only."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], NDArray[np.intp]] = {}

    def pooled(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        """An array equal to ``index``, the first one that was seen."""
        known = self._known.setdefault((len(index), xxhash.xxh64_intdigest(index.tobytes())), index)
        return known if np.array_equal(known, index) else index


class Template:
    """One layout with its fields, ready to be overwritten."""

    __slots__ = ("_places", "plain_bytes", "wire")

    def __init__(self, layout: Layout, pool: IndexPool | None = None):
        self.wire = memoryview(layout.data)
        self.plain_bytes = layout.plain_bytes
        self._places = {
            field: Places(layout.data, offsets, layout.widths[field]) for field, offsets in layout.offsets.items()
        }
        if pool is not None:
            for places in self._places.values():
                if places.index is not None:
                    places.share(pool.pooled(places.index))

    def write(self, field: str, values: NDArray[Any]) -> None:
        """Fill the holes of ``field``, in their order; see `Places.write`."""
        self._places[field].write(values)

    def fields(self) -> tuple[str, ...]:
        """Names of all fields."""
        return tuple(self._places)
