"""Protobuf primitives, and the ``Label`` messages by which the embedded Mimir knows its series."""

from __future__ import annotations

from functools import lru_cache

from loadgen.lab.mimir.promql_values import Labels

WORD = 1 << 64


class WriteRequestError(Exception):
    """The bytes are no write request; the text is what Go's protobuf decoder would say, as far as it is known."""


class Truncated(WriteRequestError):
    """The bytes end too early."""

    def __init__(self) -> None:
        super().__init__("unexpected EOF")


def varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """An unsigned number of up to 64 bits, and the position behind it."""
    result = shift = 0
    while position < end:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & (WORD - 1), position
        shift += 7
        if shift > 63:
            raise WriteRequestError("proto: integer overflow")
    raise Truncated


def skip_field(data: bytes, tag: int, position: int, end: int) -> int:
    """The position behind a field that means nothing here.

    Raises:
        WriteRequestError: the field is malformed, or a known one has a type that it never has.
    """
    number, kind = tag >> 3, tag & 7
    if number == 0:
        raise WriteRequestError(f"proto: illegal tag {number} (wire type {kind})")
    if kind == 0:
        return varint(data, position, end)[1]
    if kind == 1:
        position += 8
    elif kind == 5:
        position += 4
    elif kind == 2:
        length, position = varint(data, position, end)
        position += length
    else:
        raise WriteRequestError(f"proto: illegal wireType {kind}")
    if position > end:
        raise Truncated
    return position


def decode_labels(spelling: bytes) -> Labels:
    """Name and value of each ``Label`` message in a run of them (each with its tag and length).

    Raises:
        WriteRequestError: they are malformed.
    """
    pairs: list[tuple[str, str]] = []
    position, size = 0, len(spelling)
    while position < size:
        length = spelling[position + 1] if position + 1 < size else 0
        position += 2
        if length > 0x7F:
            length, position = varint(spelling, position - 1, size)
        stop = position + length
        if stop > size:
            raise Truncated
        pairs.append(_label(spelling[position:stop]))
        position = stop
    return tuple(pairs)


# Most labels of a series are those of its neighbours.
@lru_cache(65_536)
def _label(message: bytes) -> tuple[str, str]:
    texts = ["", ""]
    position, size = 0, len(message)
    while position < size:
        tag, position = varint(message, position, size)
        if tag in (0x0A, 0x12):
            length, position = varint(message, position, size)
            if position + length > size:
                raise Truncated
            # What is not UTF-8 is refused by name, and the other series of the request are stored.
            texts[(tag >> 3) - 1] = message[position : position + length].decode("utf-8", "surrogateescape")
            position += length
        else:
            position = skip_field(message, tag, position, size)
    return texts[0], texts[1]


def encode_labels(labels: Labels) -> bytes:
    """The labels as ``Label`` messages, the inverse of `decode_labels`."""
    return b"".join(map(_message, labels))


@lru_cache(65_536)
def _message(pair: tuple[str, str]) -> bytes:
    inside = bytearray()
    for tag, text in ((0x0A, pair[0].encode()), (0x12, pair[1].encode())):
        inside += bytes((tag,)) + encode_varint(len(text)) + text
    return b"\x0a" + encode_varint(len(inside)) + bytes(inside)


def encode_varint(number: int) -> bytes:
    """A number from 0 to 2^64 - 1."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
