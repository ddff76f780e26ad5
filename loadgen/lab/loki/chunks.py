"""Objects of the embedded Loki in S3: chunks and index files. Keys are the real Loki's, the contents are our own.

Chunk, key ``<tenant>/<fingerprint hex>/<from ms hex>:<through ms hex>:<crc32 hex>`` (through is rounded up): the bytes
``LGC1``, then three parts, each a uint32 length and its bytes: a JSON header ``{"labels": [[name, value], …],
``LGC1``, then three parts, each a uint32 length and its bytes: a JSON header ``{"labels": [[name, value], …],
"metadata": [[[name, value], …], …], "count": n}``; a snappy block of n int64 times (ns), n uint32 places in the
metadata list, n uint32 lengths of lines; a snappy block of all lines behind each other. Numbers are little-endian.

Index, key ``index/index_<days since epoch>/<written s>-lab-<crc32 hex>-<written ns>.tsdb.gz``, and where such files
were merged ``index/index_<days>/<tenant>/<written ns>-compactor-<from ms>-<through ms>-<crc32 hex>.tsdb.gz``: gzip of
``{"streams": {fingerprint: [[name, value], …]}, "chunks": [[fingerprint, key, from ns, through ns, entries, bytes],
…]}``. It is written after its chunks, so it never names one that does not exist.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cramjam
import numpy as np

from loadgen.lab.loki.labels import Labels
from loadgen.lab.loki.level import Metadata

_MAGIC = b"LGC1"
_DAY_NS = 86_400_000_000_000
INDEX_PREFIX = "index/"


class ChunkError(Exception):
    """An object whose content is not what it should be."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Log entries of one stream in order of time: three lists of one length."""

    times_ns: list[int]
    lines: list[bytes]
    metadata: list[Metadata]

    def __len__(self) -> int:
        return len(self.times_ns)


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """A chunk in S3; both times are those of entries in it."""

    key: str
    from_ns: int
    through_ns: int
    entries: int
    size_bytes: int


def encode_chunk(labels: Labels, entries: Entries) -> bytes:
    """The content of a chunk."""
    places: dict[Metadata, int] = {}
    where = [places.setdefault(m, len(places)) for m in entries.metadata]
    header = json.dumps({"labels": labels, "metadata": list(places), "count": len(entries)}).encode()
    columns = b"".join(
        (
            np.array(entries.times_ns, "<i8").tobytes(),
            np.array(where, "<u4").tobytes(),
            np.fromiter(map(len, entries.lines), "<u4", len(entries)).tobytes(),
        )
    )
    parts = (
        header,
        bytes(cramjam.snappy.compress_raw(columns)),
        bytes(cramjam.snappy.compress_raw(b"".join(entries.lines))),
    )
    return _MAGIC + b"".join(struct.pack("<I", len(part)) + part for part in parts)


def decode_chunk(data: bytes, key: str) -> Entries:
    """The entries of a chunk; raises ChunkError naming the key if they cannot be read."""
    try:
        if data[:4] != _MAGIC:
            raise ValueError("it does not begin with LGC1")
        if f"{zlib.crc32(data):x}" != key.rsplit(":", 1)[-1]:
            raise ValueError("its checksum differs from the key's")
        header_bytes, columns_bytes, lines_bytes = _parts(data)
        header = json.loads(header_bytes)
        count = int(header["count"])
        columns = bytes(cramjam.snappy.decompress_raw(columns_bytes))
        times = np.frombuffer(columns, "<i8", count)
        where = np.frombuffer(columns, "<u4", count, 8 * count)
        ends = np.cumsum(np.frombuffer(columns, "<u4", count, 12 * count)).tolist()
        text = bytes(cramjam.snappy.decompress_raw(lines_bytes))
        table: list[Metadata] = [tuple((str(n), str(v)) for n, v in m) for m in header["metadata"]]
        lines = [text[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        return Entries(times.tolist(), lines, [table[i] for i in where.tolist()])
    except Exception as error:
        # Whatever goes wrong in there (snappy, JSON, shapes), the object is broken and the caller must hear its name.
        raise ChunkError(f"{key}: not a readable chunk: {error}; delete it or restore an older version") from error


def _parts(data: bytes) -> list[bytes]:
    parts, at = [], 4
    for _ in range(3):
        (length,) = struct.unpack_from("<I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return parts


def chunk_ref(tenant: str, fingerprint: str, entries: Entries, data: bytes) -> ChunkRef:
    """The reference of an encoded chunk, with its key."""
    first, last = entries.times_ns[0], entries.times_ns[-1]
    times = f"{first // 1_000_000:x}:{-(-last // 1_000_000):x}"
    key = f"{tenant}/{fingerprint}/{times}:{zlib.crc32(data):x}"
    return ChunkRef(key, first, last, len(entries), sum(map(len, entries.lines)))


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """A chunk with the stream that it belongs to."""

    fingerprint: str
    labels: Labels
    ref: ChunkRef


def day_of(ref: ChunkRef) -> int:
    """The index period of a chunk: days since the epoch."""
    return ref.from_ns // _DAY_NS


def encode_index(
    tenant: str, day: int, chunks: Sequence[IndexedChunk], now_ns: int, compacted: bool
) -> tuple[str, bytes]:
    """Key and content of an index file for chunks of one day; ``compacted`` if it replaces several others."""
    streams = {c.fingerprint: c.labels for c in chunks}
    rows = [
        (c.fingerprint, c.ref.key, c.ref.from_ns, c.ref.through_ns, c.ref.entries, c.ref.size_bytes) for c in chunks
    ]
    data = gzip.compress(json.dumps({"streams": streams, "chunks": rows}).encode(), 3, mtime=0)
    first = min(c.ref.from_ns for c in chunks) // 1_000_000
    last = -(-max(c.ref.through_ns for c in chunks) // 1_000_000)
    checksum = f"{zlib.crc32(data):08x}"
    if not compacted:
        # In the place of the ingester's name, so that two of one moment do not overwrite each other.
        return f"{INDEX_PREFIX}index_{day}/{now_ns // 1_000_000_000}-lab-{checksum}-{now_ns}.tsdb.gz", data
    name = f"{now_ns}-compactor-{first}-{last}-{checksum}.tsdb.gz"
    return f"{INDEX_PREFIX}index_{day}/{tenant}/{name}", data


def is_compacted(key: str) -> bool:
    """Whether an index file is one that others were merged into."""
    return "-compactor-" in key


def decode_index(data: bytes, key: str) -> Iterable[IndexedChunk]:
    """The chunks that an index file names; raises ChunkError."""
    try:
        content = json.loads(gzip.decompress(data))
        streams: dict[str, Labels] = {
            fp: tuple((str(n), str(v)) for n, v in pairs) for fp, pairs in content["streams"].items()
        }
        return [
            IndexedChunk(fp, streams[fp], ChunkRef(str(k), int(first), int(last), int(entries), int(size)))
            for fp, k, first, last, entries, size in content["chunks"]
        ]
    except Exception as error:
        # As above: gzip, JSON or shapes, the index is broken.
        raise ChunkError(f"{key}: not a readable index: {error}; delete it or restore an older version") from error
