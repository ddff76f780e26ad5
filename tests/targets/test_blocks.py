"""What objects hold, told from the keys and contents that real servers write."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadgen.model import MS, NS
from loadgen.targets.blocks import (
    BlockError,
    Content,
    is_mimir_meta,
    is_tempo_meta,
    loki_chunk,
    mimir_block,
    tempo_block,
    trace_ids,
)


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


def test_only_metadata_of_live_blocks_counts() -> None:
    block = "single-tenant/31c02576-dc82-45d2-9619-d7c4039f0667"
    assert is_tempo_meta(f"{block}/meta.json")
    assert not any(is_tempo_meta(f"{block}/{name}") for name in ("meta.compacted.json", "data.parquet", "bloom-0"))
    assert not is_tempo_meta("single-tenant/index.json.gz") and not is_tempo_meta("work.json")
    assert is_mimir_meta("fake/01M83G9HFWS8TCMKY5WNGV68RM/meta.json")
    assert not is_mimir_meta("fake/markers/01M83G9HFWS8TCMKY5WNGV68RM-deletion-mark.json")
    assert not is_mimir_meta("fake/bucket-index.json.gz")


def test_mimir_block_ends_before_its_max_time() -> None:
    meta = {"minTime": 1795412993391, "maxTime": 1795413600000, "stats": {"numSamples": 5000}}
    content = mimir_block(json.dumps(meta).encode())
    assert content == Content("", 1795412993391 * MS, 1795413599999 * MS + MS - 1, 5000)


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
    content = tempo_block(json.dumps(meta).encode(), b"i" * 32)
    assert content.from_ns == 1795412939 * NS + ns and content.through_ns == content.from_ns + NS - 1
    assert (content.items, content.ids) == (2, b"i" * 32)


@pytest.mark.parametrize("meta", [b"", b"{", b"[]", b"{}", b'{"minTime": "x", "maxTime": 1}', b'{"startTime": 3}'])
def test_damaged_metadata_is_an_error_with_a_reason(meta: bytes) -> None:
    with pytest.raises(BlockError, match=r"meta\.json"):
        mimir_block(meta)
    with pytest.raises(BlockError, match=r"meta\.json"):
        tempo_block(meta, b"")


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


def test_blocks_are_known_under_a_storage_prefix_too() -> None:
    assert is_mimir_meta("blocks/anonymous/01M83G9HFWS8TCMKY5WNGV68RM/meta.json")
    assert is_tempo_meta("traces/single-tenant/31c02576-dc82-45d2-9619-d7c4039f0667/meta.json")
    assert not is_mimir_meta("01M83G9HFWS8TCMKY5WNGV68RM/meta.json")
    assert not is_mimir_meta("ruler/anonymous/rules")
