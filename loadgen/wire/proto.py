"""Protocol Buffers, the encoding only: varints, keys, and length-delimited fields that may hold holes.

Source: https://protobuf.dev/programming-guides/encoding/. Varints here may be padded: trailing groups of zero bits
keep a number's encoding equally wide whatever its value. Parsers accept that (they have to, for numbers that shrank
in place).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from loadgen.wire.template import Hole, Piece, merge, size_of

VARINT, FIXED64, BYTES = 0, 1, 2
_ONE_BYTE = tuple(bytes([number]) for number in range(128))


def varint(number: int, width: int = 0) -> bytes:
    """An unsigned number as a varint, padded to ``width`` bytes if that is given.

    Raises:
        ValueError: if it is negative, longer than 64 bits, or needs more than ``width`` bytes.
    """
    if width == 0 and 0 <= number < len(_ONE_BYTE):
        return _ONE_BYTE[number]
    if not 0 <= number < 1 << 64:
        raise ValueError(f"{number} is not an unsigned 64-bit number")
    out = bytearray()
    rest = number
    while rest > 0x7F or len(out) + 1 < width:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    if width and len(out) > width:
        raise ValueError(f"{number} needs {len(out)} bytes as a varint, and there is room for {width}")
    return bytes(out)


def key(number: int, wire_type: int) -> bytes:
    """The key that begins a field."""
    return varint(number << 3 | wire_type)


def number_field(number: int, value: int) -> bytes:
    """An integer, enum or bool field."""
    return key(number, VARINT) + varint(value)


def double_field(number: int, value: float) -> bytes:
    """A double field."""
    return key(number, FIXED64) + struct.pack("<d", value)


def bytes_field(number: int, payload: bytes) -> bytes:
    """A string, bytes or message field without holes."""
    return key(number, BYTES) + varint(len(payload)) + payload


def text_field(number: int, text: str) -> bytes:
    """A string field."""
    return bytes_field(number, text.encode())


def message_field(number: int, pieces: Iterable[Piece]) -> list[Piece]:
    """A string, bytes or message field whose content has holes."""
    content = merge(pieces)
    return merge([key(number, BYTES) + varint(size_of(content)), *content])


def hole_field(number: int, hole: Hole) -> list[Piece]:
    """A string or bytes field that is one hole."""
    return [key(number, BYTES) + varint(hole.width), hole]


# The 7-bit groups of a number below 2^35 but the first, and how far each moves when it gets a byte of its own.
_FIRST_GROUP = np.uint64(0x7F)
_GROUPS = tuple((np.uint64(0x7F << 7 * group), np.uint64(group)) for group in range(1, 5))
_CONTINUED = np.uint64(0x80808080)


def varints5(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers below 2^35 as 5-byte varints, each in the low 40 bits of a word (little endian). Not checked."""
    spread = numbers & _FIRST_GROUP
    spread |= _CONTINUED
    part = np.empty_like(spread)
    for mask, shift in _GROUPS:
        np.bitwise_and(numbers, mask, out=part)
        part <<= shift
        spread |= part
    return spread
