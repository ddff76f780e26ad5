"""What the objects in the buckets hold, told from their keys and their own metadata.

Key layouts: Loki schema v12/v13 chunks ``<tenant>/<fingerprint>/<from>:<through>:<checksum>``, all hex, times in ms;
Tempo ``<tenant>/<uuid>/meta.json`` beside ``data.parquet``; Mimir ``<tenant>/<ULID>/meta.json``. Both meta.json are
written after everything else of their block, and both may lie under a prefix: Mimir needs one where blocks, rules and
alerts share a bucket.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loadgen.model import MS, NS

_LOKI_CHUNK = re.compile(r"[^/]+/([0-9a-f]{1,16})/([0-9a-f]{1,16}):([0-9a-f]{1,16}):[0-9a-f]{1,8}")
_TEMPO_META = re.compile(r"(?:[^/]+/)+[0-9a-fA-F-]{36}/meta\.json")
_MIMIR_META = re.compile(r"(?:[^/]+/)+[0-9A-HJKMNP-TV-Z]{26}/meta\.json")
_ID_BYTES = 16
# Reading whole files up to this size is quicker than several requests for parts.
_WHOLE_BYTES = 1 << 20


class BlockError(ValueError):
    """An object's content is not what its key promises; the text says what."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an object holds; fields as in `StoredObject`."""

    stream: str = ""
    from_ns: int = 0
    through_ns: int = 0
    items: int = 0
    ids: bytes = b""


def loki_chunk(key: str) -> Content | None:
    """What a chunk's key says; None for other keys. The range reaches to the end of its last millisecond."""
    match = _LOKI_CHUNK.fullmatch(key)
    if match is None:
        return None
    return Content(match[1].lstrip("0") or "0", int(match[2], 16) * MS, int(match[3], 16) * MS + MS - 1)


def is_tempo_meta(key: str) -> bool:
    """Whether a key is the metadata of a live Tempo block; ``meta.compacted.json`` is not."""
    return _TEMPO_META.fullmatch(key) is not None


def is_mimir_meta(key: str) -> bool:
    """Whether a key is the metadata of a Mimir block."""
    return _MIMIR_META.fullmatch(key) is not None


def mimir_block(meta: bytes) -> Content:
    """What a Mimir block's meta.json says; its maxTime is exclusive."""
    raw = _object(meta)
    try:
        first, end = int(raw["minTime"]), int(raw["maxTime"])
        samples = int((raw.get("stats") or {}).get("numSamples", 0))
    except (KeyError, TypeError, ValueError) as problem:
        raise BlockError(f"meta.json has no usable minTime and maxTime ({problem!r})") from problem
    return Content(from_ns=first * MS, through_ns=(end - 1) * MS + MS - 1, items=samples)


def tempo_block(meta: bytes, ids: bytes) -> Content:
    """What a Tempo block's meta.json says, with the trace ids of its data; its times are whole seconds."""
    raw = _object(meta)
    try:
        return Content(
            from_ns=_time_ns(raw["startTime"]),
            through_ns=_time_ns(raw["endTime"]) + NS - 1,
            items=int(raw.get("totalObjects", 0)),
            ids=ids,
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise BlockError(f"meta.json has no usable startTime and endTime ({problem!r})") from problem


def trace_ids(size_bytes: int, read: Callable[[int, int], bytes]) -> bytes:
    """The trace ids in a Tempo block's data.parquet, 16 bytes each, in one string.

    ``read(offset, length)`` gives a part of the file. Only the footer and the ``TraceID`` column are read.
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
