"""What objects hold, told from the keys and contents that real servers write."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadgen.kinds.logs.source import fingerprint
from loadgen.model import MS, NS
from loadgen.targets.blocks import (
    MIMIR_BLOCK,
    TEMPO_BLOCK,
    BlockError,
    Content,
    chunk_labels,
    chunk_lines,
    loki_chunk,
    mimir_block,
    tempo_block,
    trace_ids,
    ulid_at,
    ulid_ms,
)

ULID = "01M83G9HFWS8TCMKY5WNGV68RM"


def test_loki_chunk_key_names_stream_and_range() -> None:
    content = loki_chunk("fake/ed2589015d8ccafa/1a206faee4e:1a206faee4f:8e1020f4")
    assert content == Content("ed2589015d8ccafa", 0x1A206FAEE4E * MS, 0x1A206FAEE4F * MS + MS - 1)


@pytest.mark.parametrize(
    "key",
    [
        "x",
        "loki_cluster_seed.json",
        "index/index_20780/fake/1795414026464039981-compactor-1795413438030-1795413438031-a94fd918.tsdb.gz",
        "fake/ed2589015d8ccafa/notachunk",
        "fake/ZZ/1a206faee4e:1a206faee4f:8e1020f4",
    ],
)
def test_other_keys_of_lokis_bucket_are_no_chunks(key: str) -> None:
    assert loki_chunk(key) is None


def test_only_names_of_blocks_are_taken_for_blocks() -> None:
    assert TEMPO_BLOCK.fullmatch("31c02576-dc82-45d2-9619-d7c4039f0667")
    assert not any(TEMPO_BLOCK.fullmatch(name) for name in ("index.json.gz", "work.json", "-" * 36, ULID))
    assert MIMIR_BLOCK.fullmatch(ULID)
    assert not any(
        MIMIR_BLOCK.fullmatch(name) for name in ("markers", "bucket-index.json.gz", ULID[:-1], "8" + ULID[1:])
    )


def test_ulids_sort_by_their_time() -> None:
    ms = ulid_ms(ULID)
    assert ms == 1795414083068  # its objects were modified in this second
    assert ulid_at(ms) == ULID[:10]
    assert ulid_at(ms - 1) < ulid_at(ms) <= ULID < ulid_at(ms + 1)
    assert ulid_at(-5) == "0" * 10


@pytest.mark.parametrize("name", ["", "x" * 26, ULID[:-1], ULID.lower()])
def test_other_names_are_no_ulids(name: str) -> None:
    with pytest.raises(BlockError, match="no ULID"):
        ulid_ms(name)


def mimir_meta(**compaction: object) -> bytes:
    meta = {"ulid": ULID, "minTime": 1795412993391, "maxTime": 1795413600000, "stats": {"numSamples": 5000}}
    return json.dumps({**meta, "compaction": {"level": 1, "sources": [ULID], **compaction}}).encode()


def test_mimir_block_ends_before_its_max_time_and_was_cut_when_it_was_named() -> None:
    cut_ns = ulid_ms(ULID) * MS + MS - 1
    times = (1795412993391 * MS, 1795413599999 * MS + MS - 1)
    expected = Content("", *times, 5000, cut_ns=cut_ns, sources=(ULID,))
    assert mimir_block(mimir_meta()) == expected
    assert mimir_block(mimir_meta(sources=[])) == expected


def test_a_compacted_mimir_block_was_cut_when_its_last_source_was() -> None:
    early, late = (ulid_at(ulid_ms(ULID) + ms) + "0" * 16 for ms in (1000, 2000))
    content = mimir_block(mimir_meta(level=2, sources=[late, early]))
    assert content.compacted and content.cut_ns == ulid_ms(late) * MS + MS - 1


def test_a_block_of_samples_out_of_order_proves_nothing_of_the_others() -> None:
    assert not mimir_block(mimir_meta(hints=["from-out-of-order"])).proves
    assert mimir_block(mimir_meta(hints=["other"])).proves


def test_a_compacted_range_that_ends_after_the_cut_was_made_of_samples_out_of_order() -> None:
    early = ulid_at(1795413600000 - 60_000) + "0" * 16
    assert not mimir_block(mimir_meta(level=2, sources=[early])).proves
    assert mimir_block(mimir_meta(level=1, sources=[early])).proves
    assert mimir_block(mimir_meta(level=2, sources=[early, ulid_at(1795413600000) + "0" * 16])).proves


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-11-23T05:48:59Z", 0),
        ("2026-11-23T05:48:59.25Z", 250 * MS),
        ("2026-11-23T06:48:59.123456789+01:00", 123_456_789),
    ],
)
def test_tempo_block_times_have_up_to_nanoseconds(text: str, ns: int) -> None:
    meta = {"startTime": text, "endTime": text, "totalObjects": 2}
    content = tempo_block(json.dumps(meta).encode())
    assert content.from_ns == 1795412939 * NS + ns and content.through_ns == content.from_ns + NS - 1
    assert content.items == 2 and not content.compacted
    assert tempo_block(json.dumps({**meta, "compactionLevel": 1}).encode()).compacted


@pytest.mark.parametrize("meta", [b"", b"{", b"[]", b"{}", b'{"minTime": "x", "maxTime": 1}', b'{"startTime": 3}'])
def test_damaged_metadata_is_an_error_with_a_reason(meta: bytes) -> None:
    with pytest.raises(BlockError, match=r"meta\.json"):
        mimir_block(meta)
    with pytest.raises(BlockError, match=r"meta\.json"):
        tempo_block(meta)


def parquet(ids: list[bytes], ballast: int) -> bytes:
    table = pa.table(
        {"TraceID": pa.array(ids, pa.binary()), "Rest": pa.array([b"%d" % i * ballast for i in range(len(ids))])}
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


@pytest.mark.parametrize("ballast", [1, 5_000])
def test_trace_ids_are_read_without_the_rest_of_the_file(ballast: int) -> None:
    ids = [i.to_bytes(16, "big") for i in range(1, 1001)]
    content = parquet([*ids, b"\x07" * 8], ballast)
    fetched: list[int] = []

    def read(offset: int, length: int) -> bytes:
        fetched.append(length)
        return content[offset : offset + length]

    assert trace_ids(len(content), read) == b"".join(ids) + b"\x00" * 8 + b"\x07" * 8
    if len(content) > 4 << 20:
        assert sum(fetched) < len(content) // 2


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100, parquet([b"a" * 16], 1)[:-3]])
def test_damaged_data_is_an_error_with_a_reason(content: bytes) -> None:
    with pytest.raises(BlockError, match="TraceID"):
        trace_ids(len(content), lambda offset, length: content[offset : offset + length])


# -- chunks --------------------------------------------------------------------------------------------------------

REAL_CHUNK = (Path(__file__).parent.parent / "data" / "s3" / "loki-chunk-bd6aa44a").read_bytes()


def parts(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: content[offset : offset + length]


def test_a_real_chunk_says_the_labels_of_its_stream_and_its_lines() -> None:
    labels = chunk_labels(REAL_CHUNK)
    assert isinstance(labels, dict)
    assert fingerprint(tuple(labels.items())) == "bd6aa44a45a3d15f" and labels["run"] == "20261124-183037-ce7f"
    assert chunk_labels(REAL_CHUNK[:100]) == int.from_bytes(REAL_CHUNK[:4], "big") > 100
    assert chunk_lines(len(REAL_CHUNK), parts(REAL_CHUNK)) == 56


@pytest.mark.parametrize(
    "content",
    [b"", b"abc", b"\0\0\0\x02xx", b"\x7f\0\0\0" + b"x" * 50, b"\0\0\0\x0enot snappy", b"LGC1 something else"],
)
def test_a_chunk_that_does_not_begin_with_a_header_is_an_error(content: bytes) -> None:
    with pytest.raises(BlockError, match="chunk"):
        chunk_labels(content)


@pytest.mark.parametrize("end", [0, 20, 1000, 2000, 2036])
def test_lines_of_a_chunk_without_its_end_are_not_counted(end: int) -> None:
    with pytest.raises(BlockError, match="chunk"):
        chunk_lines(end, parts(REAL_CHUNK[:end]))


def test_lines_are_counted_over_many_blocks_with_a_table_that_is_longer_than_the_first_part() -> None:
    row = bytes([0x80 | 44, 2]) + b"\x01" * 5  # 300 lines
    table = bytes([0x80 | 104, 7]) + row * 1000
    content = b"x" * 9000 + table + b"crc!" + bytes(16) + len(table).to_bytes(8, "big") + bytes(8)
    assert chunk_lines(len(content), parts(content)) == 300_000
