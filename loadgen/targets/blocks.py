"""What the objects in the buckets hold, told from their keys and their own metadata.

Key layouts: Loki schema v12/v13 chunks ``<tenant>/<fingerprint>/<from>:<through>:<checksum>``, all hex, times in ms;
Tempo ``<tenant>/<uuid>/meta.json`` beside ``data.parquet``; Mimir ``<tenant>/<ULID>/meta.json`` beside ``index``. Both
meta.json are written after everything else of their block. When Tempo has compacted a block into another, it renames
``meta.json`` to ``meta.compacted.json`` and leaves the data for a while. Blocks may lie under a prefix: Mimir
needs one where blocks, rules and alerts share a bucket.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loadgen.model import MS, NS

Read = Callable[[int, int], bytes]
"""``read(offset, length)`` gives a part of an object, less at its end."""

_LOKI_CHUNK = re.compile(r"[^/]+/([0-9a-f]{1,16})/([0-9a-f]{1,16}):([0-9a-f]{1,16}):[0-9a-f]{1,8}")
TEMPO_BLOCK = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""The name of a block of Tempo, a UUID."""
MIMIR_BLOCK = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
"""The name of a block of Mimir, a ULID."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ULID_TIME_CHARS, _ULID_TIME_BITS = 10, 48
_OUT_OF_ORDER = "from-out-of-order"
_ID_BYTES = 16
# Reading whole files up to this size is quicker than several requests for parts.
_WHOLE_BYTES = 1 << 20
_INDEX_HEAD = b"\xba\xaa\xd7\x00\x02"
_FIRST_BYTES, _NEXT_BYTES = 1 << 16, 1 << 18


class BlockError(ValueError):
    """An object's content is not what its key promises; the text says what."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds; fields as in `StoredObject`. ``proves`` is false if it says nothing of other samples."""

    stream: str = ""
    from_ns: int = 0
    through_ns: int = 0
    items: int = 0
    ids: bytes = b""
    compacted: bool = False
    cut_ns: int = 0
    proves: bool = True


def loki_chunk(key: str) -> Content | None:
    """What a chunk's key says; None for other keys. The range reaches to the end of its last millisecond."""
    match = _LOKI_CHUNK.fullmatch(key)
    if match is None:
        return None
    return Content(match[1].lstrip("0") or "0", int(match[2], 16) * MS, int(match[3], 16) * MS + MS - 1)


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
    samples that came out of order lies in the midst of others that are not in it.
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
    return Content(
        from_ns=first * MS,
        through_ns=(end - 1) * MS + MS - 1,
        items=samples,
        compacted=level > 1,
        cut_ns=max(ulid_ms(source) for source in sources) * MS + MS - 1,
        proves=_OUT_OF_ORDER not in hints,
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
    if size_bytes <= _WHOLE_BYTES:
        file = io.BytesIO(read(0, size_bytes))
    else:
        file = io.BufferedReader(_Ranged(size_bytes, read), _WHOLE_BYTES)
    try:
        column = pq.ParquetFile(file).read(columns=["TraceID"]).column("TraceID")
        values = column.to_pylist()
    except (pa.ArrowException, KeyError, ValueError) as problem:
        raise BlockError(f"data.parquet has no readable TraceID column ({str(problem)[:120]})") from problem
    return b"".join(value.rjust(_ID_BYTES, b"\x00")[-_ID_BYTES:] for value in values if value)


def index_symbols(size_bytes: int, read: Read) -> Iterator[bytes]:
    """The symbol table at the head of a block's ``index`` (TSDB index format 2): every label name and value, sorted.

    Fetched piece by piece as far as the caller goes on.

    Raises:
        BlockError: it is no such index, or it is damaged.
    """
    head = read(0, min(size_bytes, _FIRST_BYTES))
    if head[:5] != _INDEX_HEAD:
        raise BlockError("index does not begin as the TSDB index format 2 does")
    if len(head) < 13:
        raise BlockError("index ends before its symbol table")
    end = 9 + int.from_bytes(head[5:9], "big")
    if end > size_bytes:
        raise BlockError("index is shorter than its symbol table")
    left = int.from_bytes(head[9:13], "big")
    buffer, at, fetched = head[:end], 13, len(head)
    while left:
        length, begin = _uvarint(buffer, at)
        if begin and begin + length <= len(buffer):
            yield buffer[begin : begin + length]
            at, left = begin + length, left - 1
            continue
        if fetched >= end:
            raise BlockError("the symbol table of index is damaged: it ends within a symbol")
        more = read(fetched, min(end - fetched, max(_NEXT_BYTES, length)))
        if not more:
            raise BlockError("index is shorter than its symbol table")
        buffer, at, fetched = buffer[at:] + more, 0, fetched + len(more)


def _uvarint(buffer: bytes, at: int) -> tuple[int, int]:
    """A number and the place after it; the place is 0 if the buffer ends within it."""
    value = shift = 0
    for place in range(at, min(at + 5, len(buffer))):
        byte = buffer[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    if len(buffer) - at >= 5:
        raise BlockError("the symbol table of index is damaged: a length is too large")
    return 0, 0


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
