"""Blocks of the embedded Mimir: ``<tenant>/<ULID>/{meta.json,index,chunks/000001}``.

``meta.json`` is what Mimir writes, and ``index`` says which series have which labels as a TSDB's does, see
`loadgen.lab.mimir.index`. All else has a format of its own: nothing but this server reads it.

* ``index``, in the place of the series: ``LGINDEX1``, then zstd of: number of series (uint32), samples of each (uint32
  each), label bytes of each (uint32 length, then the ``Label`` messages of remote write, sorted by name).
* ``chunks/000001``: ``LGCHUNK1``, length of the first part (uint64), then two parts, each zstd: the times of all
  samples, series by series, as differences from the one before (int64), and their values (float64).

Our numbers are little-endian.
"""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cramjam
import numpy as np
from numpy.typing import NDArray

from loadgen.lab.mimir.head import SampleColumns, decode_spellings, encode_spellings
from loadgen.lab.mimir.index import encode_index, payload_of
from loadgen.lab.mimir.labels import decode_labels

BLOCK_RANGE_MS = 7_200_000
_INDEX_MAGIC = b"LGINDEX1"
_CHUNK_MAGIC = b"LGCHUNK1"
_COUNT = struct.Struct("<I")
_SIZE = struct.Struct("<Q")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LEVEL = 1


class MimirBlockError(Exception):
    """An object of a block cannot be understood; the text says which and why."""


@dataclass(frozen=True, slots=True)
class BlockMeta:
    """One block: its samples have ``min_ms <= time < end_ms``."""

    ulid: str
    min_ms: int
    end_ms: int
    uploaded_s: int

    def overlaps(self, after_ms: int, through_ms: int) -> bool:
        """Whether it may have samples with ``after_ms < time <= through_ms``."""
        return self.min_ms <= through_ms and self.end_ms - 1 > after_ms


@dataclass(frozen=True, slots=True)
class BlockData:
    """Samples sorted by series and time; series ``i`` owns ``starts[i]`` up to (not including) ``starts[i + 1]``."""

    sids: NDArray[np.int32]
    starts: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def size_bytes(self) -> int:
        """Memory that it takes."""
        return self.sids.nbytes + self.starts.nbytes + self.times_ms.nbytes + self.values.nbytes


@dataclass(frozen=True, slots=True)
class PreparedBlock:
    """A block that is ready for upload."""

    meta: BlockMeta
    data: BlockData
    index: bytes
    chunks: bytes


def new_ulid(now_ms: int) -> str:
    """A name for a block: its creation time and 80 random bits, in 26 characters that sort by time."""
    number = (now_ms & ((1 << 48) - 1)) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Whether this can be the name of a block."""
    return len(text) == 26 and all(character in _CROCKFORD for character in text)


def sorted_block(samples: SampleColumns) -> BlockData:
    """The samples sorted by series and time, without exact repetitions (a crash may leave some)."""
    order = np.lexsort((samples.times_ms, samples.sids))
    sids, times, values = samples.sids[order], samples.times_ms[order], samples.values[order]
    again = np.concatenate(([False], (sids[1:] == sids[:-1]) & (times[1:] == times[:-1])))
    if again.any():
        sids, times, values = sids[~again], times[~again], values[~again]
    begins = np.flatnonzero(np.concatenate(([True], sids[1:] != sids[:-1]))) if len(sids) else np.zeros(0, np.int64)
    return BlockData(sids[begins], np.append(begins, len(sids)).astype(np.int64), times, values)


def split_by_range(samples: SampleColumns) -> list[SampleColumns]:
    """The samples in portions of which none crosses a boundary of two hours, oldest first, as Mimir cuts its blocks."""
    numbers = samples.times_ms // BLOCK_RANGE_MS
    if len(numbers) and int(numbers.min()) == int(numbers.max()):
        return [samples]
    return [samples.only(numbers == number) for number in np.unique(numbers)]


def prepare(
    samples: SampleColumns,
    spellings: Sequence[bytes],
    now_ms: int,
    from_boundary: bool = False,
    to_boundary: bool = False,
) -> PreparedBlock:
    """A block of these samples; ``spellings`` are the label bytes of all series by number.

    Where a head is cut in several blocks, they meet at the boundaries: a block begins or ends there, and not at its
    first or behind its last sample.
    """
    data = sorted_block(samples)
    sids = data.sids.tolist()
    counts = np.diff(data.starts).astype("<u4")
    inside = _COUNT.pack(len(sids)) + counts.tobytes() + encode_spellings(spellings[sid] for sid in sids)
    times = bytes(cramjam.zstd.compress(np.diff(data.times_ms, prepend=0).astype("<i8").tobytes(), _LEVEL))
    values = bytes(cramjam.zstd.compress(data.values.astype("<f8").tobytes(), _LEVEL))
    first_ms, last_ms = int(samples.times_ms.min()), int(samples.times_ms.max())
    begin_ms = first_ms // BLOCK_RANGE_MS * BLOCK_RANGE_MS if from_boundary else first_ms
    end_ms = (last_ms // BLOCK_RANGE_MS + 1) * BLOCK_RANGE_MS if to_boundary else last_ms + 1
    meta = BlockMeta(new_ulid(now_ms), begin_ms, end_ms, now_ms // 1000)
    payload = _INDEX_MAGIC + bytes(cramjam.zstd.compress(inside, _LEVEL))
    index = encode_index((decode_labels(spellings[sid]) for sid in sids), payload)
    return PreparedBlock(meta, data, index, _CHUNK_MAGIC + _SIZE.pack(len(times)) + times + values)


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A block as read: label bytes of its series, samples of each, times and values."""

    spellings: list[bytes]
    starts: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    values: NDArray[np.float64]


def decode(name: str, index: bytes, chunks: bytes) -> StoredBlock:
    """The content of a block's objects.

    Raises:
        BlockError: they are not what `prepare` makes.
    """
    try:
        payload = payload_of(index)
        if not payload.startswith(_INDEX_MAGIC) or not chunks.startswith(_CHUNK_MAGIC):
            raise MimirBlockError(f"block {name} was not written by the embedded Mimir, which cannot read it")
        inside = bytes(cramjam.zstd.decompress(payload[len(_INDEX_MAGIC) :]))
        (count,) = _COUNT.unpack_from(inside)
        counts = np.frombuffer(inside, dtype="<u4", count=count, offset=_COUNT.size)
        spellings = decode_spellings(inside[_COUNT.size + 4 * count :])
        begin = len(_CHUNK_MAGIC) + _SIZE.size
        (length,) = _SIZE.unpack_from(chunks, len(_CHUNK_MAGIC))
        times = np.cumsum(np.frombuffer(bytes(cramjam.zstd.decompress(chunks[begin : begin + length])), dtype="<i8"))
        values = np.frombuffer(bytes(cramjam.zstd.decompress(chunks[begin + length :])), dtype="<f8")
    except (cramjam.DecompressionError, struct.error, ValueError) as error:
        raise MimirBlockError(f"block {name} is damaged ({error}); delete it if its data is not needed") from error
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
    if len(spellings) != count or int(starts[-1]) != len(times) or len(times) != len(values):
        raise MimirBlockError(f"block {name} is damaged (its parts do not fit); delete it if its data is not needed")
    return StoredBlock(spellings, starts, times.astype(np.int64), values.astype(np.float64))


def meta_json(block: PreparedBlock) -> bytes:
    """``meta.json`` as Mimir 3 writes it."""
    meta, series, samples = block.meta, len(block.data.sids), len(block.data.times_ms)
    content: dict[str, Any] = {
        "ulid": meta.ulid,
        "minTime": meta.min_ms,
        "maxTime": meta.end_ms,
        "stats": {"numSamples": samples, "numFloatSamples": samples, "numSeries": series, "numChunks": series},
        "compaction": {"level": 1, "sources": [meta.ulid]},
        "version": 1,
        "out_of_order": False,
        "thanos": {
            "labels": {},
            "downsample": {"resolution": 0},
            "source": "receive",
            "segment_files": ["000001"],
            "files": [
                {"rel_path": "chunks/000001", "size_bytes": len(block.chunks)},
                {"rel_path": "index", "size_bytes": len(block.index)},
                {"rel_path": "meta.json"},
            ],
        },
    }
    return json.dumps(content, indent=1).encode()


def read_meta(content: bytes, uploaded_s: int) -> BlockMeta | None:
    """The block that a ``meta.json`` describes; None if it cannot be understood."""
    try:
        found = json.loads(content)
        return BlockMeta(str(found["ulid"]), int(found["minTime"]), int(found["maxTime"]), uploaded_s)
    except (ValueError, KeyError, TypeError):
        return None
