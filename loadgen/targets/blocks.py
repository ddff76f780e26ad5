"""What the objects in the buckets hold, told from their keys and their own metadata.

Key layouts: Loki schema v12/v13 chunks ``<tenant>/<fingerprint>/<from>:<through>:<checksum>``, all hex, times in ms,
before that ``<tenant>/<fingerprint>:<from>:<through>:<checksum>``;
Tempo ``<tenant>/<uuid>/meta.json`` beside ``data.parquet``; Mimir ``<tenant>/<ULID>/meta.json`` beside ``index``. Both
meta.json are written after everything else of their block. When Tempo has compacted a block into another, it renames
``meta.json`` to ``meta.compacted.json`` and leaves the data for a while. All of it may lie under a prefix (Loki's
object_prefix, Tempo's prefix, Mimir's storage_prefix), so keys are read from their end.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import cramjam

from loadgen.model import MS, NS

Read = Callable[[int, int], bytes]
"""``read(offset, length)`` gives a part of an object, less at its end."""

_LOKI_CHUNK = re.compile(r"(.*[^/])/([0-9a-f]{1,16})[/:](([0-9a-f]{1,16}):([0-9a-f]{1,16}):[0-9a-f]{1,8})", re.DOTALL)
TEMPO_BLOCK = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The name of a block of Tempo, a UUID."""
MIMIR_BLOCK = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""The name of a block of Mimir, a ULID."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_TIME_CHARS, _ULID_TIME_BITS = 10, 48
_OUT_OF_ORDER = "from-out-of-order"
_ID_BYTES = 16
# Reading whole files up to this size is quicker than several requests for parts.
WHOLE_BYTES = 1 << 20
_LENGTH = struct.Struct(">I")
_TAIL_BYTES = 4096
_TABLE_ENDS = 36
# A range that ends so long after the cut cannot be a matter of clocks.
_AHEAD_NS = 5 * NS


class BlockError(ValueError):
    """An object's content is not what its key promises; the text says what."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds; fields as in `StoredObject`.

    Attributes:
        sources: of which blocks of Mimir it was made; its own name, if nothing was put together.
        proves: false: samples that came out of order are in it, and its range does not say which.
    """

    stream: str = ""
    from_ns: int = 0
    through_ns: int = 0
    items: int = 0
    ids: bytes = b""
    compacted: bool = False
    cut_ns: int = 0
    sources: tuple[str, ...] = ()
    proves: bool = True


def loki_chunk(key: str) -> Content | None:
    """What a chunk's key says; None for other keys. The range reaches to the end of its last millisecond."""
    match = _LOKI_CHUNK.fullmatch(key)
    if match is None:
        return None
    return Content(match[2].lstrip("0") or "0", int(match[4], 16) * MS, int(match[5], 16) * MS + MS - 1)


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk of Loki lies: its tenant with what comes before that, its stream, and the rest of its key."""

    tenant: str
    stream: str
    rest: str


def chunk_place(key: str) -> ChunkPlace | None:
    """The parts of a chunk's key; None for other keys."""
    match = _LOKI_CHUNK.fullmatch(key)
    return None if match is None else ChunkPlace(match[1], match[2], match[3])


def chunk_labels(head: bytes) -> dict[str, str] | int:
    """The labels of a chunk's stream from the first bytes of its content; how many are needed if these are too few.

    A chunk begins with the length of a header (4 bytes, itself included), and the header is JSON in a snappy stream.

    Raises:
        BlockError: it does not begin so.
    """
    if len(head) < _LENGTH.size:
        raise BlockError("the chunk is shorter than its header")
    (length,) = _LENGTH.unpack_from(head)
    if not _LENGTH.size < length <= WHOLE_BYTES:
        raise BlockError("the chunk does not begin with the length of a header")
    if length > len(head):
        return int(length)
    try:
        header = json.loads(bytes(cramjam.snappy.decompress(head[_LENGTH.size : length])))
        labels = {str(name): str(value) for name, value in header["metric"].items()}
    except (cramjam.DecompressionError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise BlockError(f"the chunk's header cannot be read ({str(problem)[:120]})") from problem
    labels.pop("__name__", None)  # the same for all; not part of the stream's labels
    return labels


def chunk_lines(size_bytes: int, read: Read) -> int:
    """How many lines a chunk holds, from the table of its blocks near its end; ``read(offset, length)`` gives a part.

    The last 16 bytes are length and offset of that table. It ends 36 bytes before the end: with its checksum, and with
    length and offset of what else there is.

    Raises:
        BlockError: the chunk is not in format 4.
    """
    tail = read(max(0, size_bytes - _TAIL_BYTES), min(_TAIL_BYTES, size_bytes))
    if len(tail) < _TABLE_ENDS:
        raise BlockError("the chunk is too short")
    length = int.from_bytes(tail[-16:-8], "big")
    if length > size_bytes - _TABLE_ENDS:
        raise BlockError("the chunk is not in format 4: it has no table of its blocks where that should be")
    if length > len(tail) - _TABLE_ENDS:
        tail = read(size_bytes - _TABLE_ENDS - length, _TABLE_ENDS + length)
    table = tail[len(tail) - _TABLE_ENDS - length : len(tail) - _TABLE_ENDS]
    lines, at = 0, 0
    try:
        blocks, at = _uvarint(table, at)
        for _ in range(blocks):
            count, at = _uvarint(table, at)
            lines += count
            for _ in range(5):  # first time, last time, offset, size, length
                _, at = _uvarint(table, at)
    except IndexError as problem:
        raise BlockError("the chunk is not in format 4: the table of its blocks is damaged") from problem
    if at != length or not blocks:
        raise BlockError("the chunk is not in format 4: the table of its blocks is damaged")
    return lines


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned number in groups of seven bits, and where it ends. Raises IndexError where the data ends."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at


def ulid_at(ms: int) -> str:
    """The beginning of all ULIDs of a millisecond; every ULID of a later one sorts after it."""
    time = max(0, min(ms, (1 << _ULID_TIME_BITS) - 1))
    return "".join(_CROCKFORD[time >> shift & 31] for shift in range(5 * (_ULID_TIME_CHARS - 1), -1, -5))


def ulid_ms(ulid: str) -> int:
    """When a ULID was made; BlockError if it is none."""
    if not MIMIR_BLOCK.fullmatch(ulid):
        raise BlockError(f"{ulid[:40]!r} is no ULID")
    time = 0
    for character in ulid[:_ULID_TIME_CHARS]:
        time = time << 5 | _CROCKFORD.index(character)
    return time


def mimir_block(meta: bytes) -> Content:
    """What a Mimir block's meta.json says; its maxTime is exclusive.

    The blocks that it was made of are named in it, so a compacted block was cut when the last of those was. A block of
    samples that came out of order has the range of a whole period, in the midst of others that are not in it, and so
    has what compaction made of it: that range ends after the cut, which no other does.
    """
    raw = _object(meta)
    try:
        first, end = int(raw["minTime"]), int(raw["maxTime"])
        samples = int((raw.get("stats") or {}).get("numSamples", 0))
        compaction = dict(raw.get("compaction") or {})
        sources = [str(source) for source in compaction.get("sources") or [raw["ulid"]]]
        level = int(compaction.get("level", 1))
        hints = [str(hint) for hint in compaction.get("hints") or ()]
    except (KeyError, TypeError, ValueError) as problem:
        raise BlockError(f"meta.json has no usable minTime, maxTime and ulid ({problem!r})") from problem
    cut_ns = max(ulid_ms(source) for source in sources) * MS + MS - 1
    return Content(
        from_ns=first * MS,
        through_ns=(end - 1) * MS + MS - 1,
        items=samples,
        compacted=level > 1,
        cut_ns=cut_ns,
        sources=tuple(sources),
        proves=_OUT_OF_ORDER not in hints and (level == 1 or end * MS <= cut_ns + _AHEAD_NS),
    )


def tempo_block(meta: bytes) -> Content:
    """What a Tempo block's meta.json or meta.compacted.json says; its times are whole seconds."""
    raw = _object(meta)
    try:
        return Content(
            from_ns=_time_ns(raw["startTime"]),
            through_ns=_time_ns(raw["endTime"]) + NS - 1,
            items=int(raw.get("totalObjects", 0)),
            compacted=int(raw.get("compactionLevel", 0)) > 0,
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise BlockError(f"meta.json has no usable startTime and endTime ({problem!r})") from problem


def trace_ids(size_bytes: int, read: Read) -> bytes:
    """The trace ids in a Tempo block's data.parquet, 16 bytes each, in one string.

    Only the footer and the ``TraceID`` column are read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file: Any
    if size_bytes <= WHOLE_BYTES:
        file = io.BytesIO(read(0, size_bytes))
    else:
        file = io.BufferedReader(_Ranged(size_bytes, read), WHOLE_BYTES)
    try:
        column = pq.ParquetFile(file).read(columns=["TraceID"]).column("TraceID")
        values = column.to_pylist()
    except (pa.ArrowException, KeyError, ValueError) as problem:
        raise BlockError(f"data.parquet has no readable TraceID column ({str(problem)[:120]})") from problem
    return b"".join(value.rjust(_ID_BYTES, b"\x00")[-_ID_BYTES:] for value in values if value)


class _Ranged(io.RawIOBase):
    """A file of which only the parts that are read are fetched."""

    def __init__(self, size_bytes: int, read: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size_bytes, self._read, self._at = size_bytes, read, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size_bytes - self._at)
        if length <= 0:
            return 0
        content = self._read(self._at, length)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)


def _object(content: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(content)
    except ValueError as problem:
        raise BlockError(f"meta.json is not JSON ({problem})") from problem
    if not isinstance(raw, dict):
        raise BlockError("meta.json is not an object")
    return raw


def _time_ns(text: str) -> int:
    """RFC 3339 with up to nine digits of a second, of which Python reads six."""
    whole, dot, rest = str(text).partition(".")
    if dot:
        digits = re.match(r"\d*", rest)
        fraction = digits[0] if digits else ""
        zone = rest[len(fraction) :]
        extra_ns = int(fraction[:9].ljust(9, "0")) if fraction else 0
    else:
        zone, extra_ns = "", 0
    moment = datetime.fromisoformat((whole + zone).replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return int(moment.timestamp()) * NS + extra_ns
