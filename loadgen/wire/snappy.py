"""Snappy blocks laid out by hand, so that bytes inside the compressed block can be overwritten.

A block is a list of literals and copies (https://github.com/google/snappy/blob/main/format_description.txt); any list
that unpacks to the right bytes is valid, whoever wrote it. Here the constant bytes are matched greedily like a
compressor does, but holes always lie in literals and are never what a copy reads, so writing into them changes
nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from loadgen.wire.proto import varint
from loadgen.wire.template import Hole, Layout, LayoutNotes, Piece, merge, size_of

# A copy costs three bytes and usually a new literal header: shorter matches do not pay.
_MIN_COPY = 6
# Keys that matches are looked up by, longest first: a long one finds the like piece, not merely a like beginning.
_KEY_SIZES = (32, 16, _MIN_COPY)
# Two-byte offsets reach this far; four-byte ones cost more than most matches save.
_WINDOW = (1 << 16) - 1
_MAX_LITERAL = 1 << 16
_MAX_COPY = 64
_MAX_BLOCK = 0xFFFF_FFFF


def literal_header(size: int) -> bytes:
    """The tag of a literal of 1 to 65,536 bytes. Raises ValueError outside of that."""
    if not 1 <= size <= _MAX_LITERAL:
        raise ValueError(f"a literal of {size} bytes is outside of 1…{_MAX_LITERAL}")
    rest = size - 1
    if rest < 60:
        return bytes([rest << 2])
    if rest < 1 << 8:
        return bytes([60 << 2, rest])
    return bytes([61 << 2]) + struct.pack("<H", rest)


def copies(offset: int, size: int) -> bytes:
    """Copies of ``size`` bytes in all from ``offset`` (1 to 65,535) back. Raises ValueError for another offset."""
    if not 1 <= offset <= _WINDOW:
        raise ValueError(f"a copy from {offset} bytes back is outside of 1…{_WINDOW}")
    out, rest = bytearray(), size
    while rest > 0:
        part = min(rest, _MAX_COPY)
        # 1-byte offsets (11 bits) fit lengths 4 to 11 only.
        if 4 <= part <= 11 and offset < 1 << 11:
            out += bytes([1 | (part - 4) << 2 | (offset >> 8) << 5, offset & 0xFF])
        else:
            out += bytes([2 | (part - 1) << 2]) + struct.pack("<H", offset)
        rest -= part
    return bytes(out)


def _equal_run(plain: bytes | bytearray, source: int, source_end: int, at: int, end: int) -> int:
    """How many bytes from ``source`` equal those from ``at``, without passing either end."""
    most = min(source_end - source, end - at)
    run, step = 0, 64
    while run < most:
        part = min(step, most - run)
        if plain[source + run : source + run + part] == plain[at + run : at + run + part]:
            run += part
        elif part == 1:
            break
        else:
            step = part // 2
    return run


class _Writer:
    """Emits literals and copies, and notes where holes come to lie."""

    def __init__(self, plain_bytes: int):
        self.out = bytearray(varint(plain_bytes))
        self.notes = LayoutNotes()
        self._pending = bytearray()
        self._holes: list[tuple[Hole, int]] = []

    def literal(self, chunk: bytes | bytearray) -> None:
        for start in range(0, len(chunk), _MAX_LITERAL):
            part = chunk[start : start + _MAX_LITERAL]
            if len(self._pending) + len(part) > _MAX_LITERAL:
                self.flush()
            self._pending += part

    def hole(self, hole: Hole) -> None:
        if hole.width > _MAX_LITERAL:
            raise ValueError(f"field {hole.field!r}: a hole of {hole.width} bytes does not fit into one literal")
        if len(self._pending) + hole.width > _MAX_LITERAL:
            self.flush()
        self._holes.append((hole, len(self._pending)))
        self._pending += bytes(hole.width)

    def copy(self, offset: int, size: int) -> None:
        self.flush()
        self.out += copies(offset, size)

    def flush(self) -> None:
        if not self._pending:
            return
        self.out += literal_header(len(self._pending))
        for hole, at in self._holes:
            self.notes.note(hole, len(self.out) + at)
        self.out += self._pending
        self._pending.clear()
        self._holes.clear()


def lay_block(pieces: Iterable[Piece]) -> Layout:
    """A snappy block of the pieces, with zeros in the holes.

    Raises:
        ValueError: if the content is larger than a block can be, or a hole larger than a literal.
    """
    merged = merge(pieces)
    size = size_of(merged)
    if size > _MAX_BLOCK:
        raise ValueError(f"{size} bytes do not fit into one snappy block of at most {_MAX_BLOCK}")
    writer = _Writer(size)
    plain = bytearray()
    seen: dict[bytes, tuple[int, int]] = {}
    for piece in merged:
        if isinstance(piece, Hole):
            writer.hole(piece)
            plain += bytes(piece.width)
        else:
            _lay_constant(piece, plain, seen, writer)
    writer.flush()
    return Layout(writer.out, size, writer.notes.offsets, writer.notes.widths)


def _lay_constant(piece: bytes, plain: bytearray, seen: dict[bytes, tuple[int, int]], writer: _Writer) -> None:
    """Emit constant bytes; ``seen`` says for a key where it began last, and where the constant bytes around it end."""
    at, plain_end = len(plain), len(plain) + len(piece)
    base = at
    plain += piece
    waiting = at
    while at < plain_end:
        best, best_source = 0, 0
        for key_size in _KEY_SIZES:
            if plain_end - at < key_size:
                continue
            key = piece[at - base : at - base + key_size]
            found = seen.get(key)
            seen[key] = (at, plain_end)
            if found is None or best or at - found[0] > _WINDOW:
                continue
            best_source = found[0]
            best = _equal_run(plain, best_source, min(found[1], at), at, plain_end)
        if best < _MIN_COPY:
            at += 1
            continue
        if waiting < at:
            writer.literal(piece[waiting - base : at - base])
        writer.copy(at - best_source, best)
        at += best
        waiting = at
    if waiting < plain_end:
        writer.literal(piece[waiting - base :])
