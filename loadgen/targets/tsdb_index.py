"""How many series with given labels a block of Prometheus' storage engine holds, told from parts of its ``index``.

Format 2, as Prometheus, Mimir, Cortex and Thanos write it, all numbers big-endian. The file ends with a table of
contents: six offsets, the last one that of the postings offset table. That table lists every label pair, sorted, with
the offset of the list of its series. Reading the table up to the last wanted label and then these lists is a small part
of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadgen.targets.blocks import WHOLE_BYTES, BlockError, Read

_MAGIC = b"\xba\xaa\xd7\x00\x02"
_CONTENTS = struct.Struct(">6QI")
_TABLE_OFFSET = 5
_NUMBER = struct.Struct(">I")
_PART_BYTES = 1 << 19
# A table of this size has some ten million label pairs.
_MOST_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Want:
    """Label values that are looked for, by name; ``last`` is the name behind which nothing is wanted."""

    values: Mapping[str, frozenset[str]]
    last: str


def series_counts(
    size_bytes: int, read: Read, required: tuple[str, str], by: str, values: Iterable[str]
) -> dict[str, int]:
    """How many series have the label ``required`` and each of ``values`` for the label ``by``; 0 is left out.

    Raises:
        BlockError: it is no such index, or its table is too large to be read.
    """
    wanted = _Want({required[0]: frozenset((required[1],)), by: frozenset(values)}, max(required[0], by))
    file = _File(size_bytes, read)
    if size_bytes < len(_MAGIC) + _CONTENTS.size or file.get(0, len(_MAGIC)) != _MAGIC:
        raise BlockError("the index is not in format 2 of Prometheus")
    contents = _CONTENTS.unpack(file.get(size_bytes - _CONTENTS.size, _CONTENTS.size))
    try:
        offsets = _offsets(file, contents[_TABLE_OFFSET], wanted)
        if required not in offsets:
            return {}
        mine = file.postings(offsets.pop(required))
        # In the order of the file, so that every part of it is fetched once.
        lists = sorted((offset, value) for (_, value), offset in offsets.items())
        counts = {value: _common(mine, file.postings(offset)) for offset, value in lists}
    except (IndexError, struct.error, UnicodeDecodeError) as problem:
        raise BlockError(f"the index is damaged ({problem})") from problem
    return {value: count for value, count in counts.items() if count}


def _common(sorted_refs: NDArray[np.uint32], refs: NDArray[np.uint32]) -> int:
    """How many of ``refs`` are among ``sorted_refs``."""
    places = np.searchsorted(sorted_refs, refs)
    places[places == len(sorted_refs)] = 0
    return int((sorted_refs[places] == refs).sum()) if len(sorted_refs) else 0


def _offsets(file: _File, table: int, wanted: _Want) -> dict[tuple[str, str], int]:
    """Where the lists of the wanted label pairs begin."""
    if not 0 < table < file.size_bytes:
        raise BlockError("the index has no postings offset table")
    length, count = struct.unpack(">2I", file.get(table, 8))
    if length > _MOST_BYTES:
        raise BlockError(f"the index lists too many label values ({length >> 20} MiB of them)")
    entries = _Entries(file, table + 8, table + 4 + length)
    found: dict[tuple[str, str], int] = {}
    last, names = wanted.last.encode(), {name.encode(): values for name, values in wanted.values.items()}
    for _ in range(count):
        name, value, offset = entries.next()
        if name in names:
            text = value.decode()
            if text in names[name]:
                found[name.decode(), text] = offset
        elif name > last:
            break
    return found


class _File:
    """Parts of a file; the last one is kept, so reading on in small steps fetches few parts."""

    def __init__(self, size_bytes: int, read: Read) -> None:
        self.size_bytes, self._read = size_bytes, read
        self._begin, self._part = 0, b""

    def get(self, offset: int, length: int) -> bytes:
        """``length`` bytes; BlockError if the file is shorter."""
        at = offset - self._begin
        if at < 0 or at + length > len(self._part):
            if offset + length > self.size_bytes:
                raise BlockError("the index is damaged (it is too short)")
            small = self.size_bytes <= WHOLE_BYTES
            self._begin = 0 if small else offset
            most = self.size_bytes if small else max(length, min(_PART_BYTES, self.size_bytes - offset))
            self._part, at = self._read(self._begin, most), offset - self._begin
        content = self._part[at : at + length]
        if len(content) < length:
            raise BlockError("the index is damaged (a part of it is missing)")
        return content

    def postings(self, offset: int) -> NDArray[np.uint32]:
        """The series of a list, sorted."""
        length, count = struct.unpack(">2I", self.get(offset, 8))
        if length != 4 + 4 * count:
            raise BlockError("the index is damaged (a list of series has a wrong length)")
        return np.frombuffer(self.get(offset + 8, 4 * count), dtype=">u4").astype(np.uint32)


class _Entries:
    """The entries of the postings offset table, one after the other."""

    def __init__(self, file: _File, begin: int, end: int) -> None:
        self._file, self._next, self._end = file, begin, end
        self._part, self._at = b"", 0

    def next(self) -> tuple[bytes, bytes, int]:
        """Name, value and offset. Raises IndexError where the table ends too early."""
        try:
            return self._entry()
        except IndexError:
            # The entry is cut off where the part ends: read on from its beginning.
            if self._next >= self._end:
                raise
            rest = self._part[self._at :]
            length = min(_PART_BYTES, self._end - self._next)
            self._part, self._at = rest + self._file.get(self._next, length), 0
            self._next += length
            return self.next()

    def _entry(self) -> tuple[bytes, bytes, int]:
        part, at = self._part, self._at
        if part[at] != 2:
            raise BlockError("the index is damaged (an entry of its table is not a label pair)")
        size, at = _uvarint(part, at + 1)
        name, at = part[at : at + size], at + size
        size, at = _uvarint(part, at)
        value, at = part[at : at + size], at + size
        offset, at = _uvarint(part, at)
        self._at = at
        return name, value, offset


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, and where it ends. Raises IndexError where the data ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at + 1
        shift += 7
