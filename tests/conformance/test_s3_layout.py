"""What lies in the buckets: the recorded objects are understood, and the stack writes such objects."""

from __future__ import annotations

import gzip
import json
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import export, fresh, get, now_ns, post, push_lines, span_request, wait_for, write
from captured import load_mimir_objects, load_objects
from s3_bench import made
from stacks import Bucket, Stack

from loadgen.targets import blocks

Need = Callable[..., Stack]
RECORDED = load_objects()
GENUINE = load_mimir_objects()
NS, MS = 10**9, 10**6

# What stands for one thing in one key and for another in the next.
_PARTS = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
    (r"\b[0-9A-HJKMNP-TV-Z]{26}\b", "<ulid>"),
    (r"/[0-9a-f]{1,16}/[0-9a-f]{11}:[0-9a-f]{11}:[0-9a-f]{1,8}$", "/<stream>/<from>:<through>:<checksum>"),
    (r"index_\d+", "index_<day>"),
    (r"\d{19}-compactor-\d{13}-\d{13}-[0-9a-f]{8}", "<time>-compactor-<from>-<through>-<checksum>"),
    (r"\d{10}-[^/]+-\d{19}", "<time>-<ingester>-<time>"),
    (r"^(fake|anonymous|single-tenant)/", "<tenant>/"),
    (r"/(fake|anonymous)/", "/<tenant>/"),
)
_TEST_OBJECT = "x"  # somebody tried the bucket out

# Beside what was recorded, real servers write these at other moments of an object's life.
_ALSO = {
    "loki": {"index/index_<day>/<time>-<ingester>-<time>.tsdb.gz", "loki_cluster_seed.json"},
    "tempo": {"<tenant>/<uuid>/meta.compacted.json", "<tenant>/<uuid>/nocompact.flg", "tempo_cluster_seed.json"},
    "mimir": {
        "<tenant>/bucket-index.json.gz",
        "<tenant>/markers/<ulid>-deletion-mark.json",
        "<tenant>/markers/<ulid>-no-compact-mark.json",
        "mimir_cluster_seed.json",
    },
}
# What a bucket may do without: an index that is compacted later, files that only some versions of Tempo write.
_MAY_LACK = {
    "index/index_<day>/<tenant>/<time>-compactor-<from>-<through>-<checksum>.tsdb.gz",
    "<tenant>/index.pb.zst",
    "work.json",
    # Mimir's compactor writes it at its start and then every 15 minutes, the embedded one with each block.
    "<tenant>/bucket-index.json.gz",
}
BUCKETS = {"loki": "loki-chunks", "tempo": "tempo-traces", "mimir": "mimir-blocks"}


def pattern(key: str) -> str:
    """A key with names for what varies in it."""
    for part, name in _PARTS:
        key = re.sub(part, name, key)
    return key


def recorded(part: str) -> list[dict[str, Any]]:
    return [one for one in RECORDED[BUCKETS[part]] if one["key"] != _TEST_OBJECT]


def test_a_recorded_chunk_tells_its_stream_and_its_time_and_nothing_else_is_a_chunk() -> None:
    found = {one["key"]: blocks.loki_chunk(one["key"]) for one in RECORDED["loki-chunks"]}
    assert sum(chunk is not None for chunk in found.values()) == 5
    chunk = found["fake/23b36b14706fa703/1a20703df9c:1a20703df9f:f23fb67a"]
    assert chunk is not None
    assert (chunk.stream, chunk.from_ns, chunk.through_ns) == (
        "23b36b14706fa703",
        1_795_414_024_092 * MS,
        1_795_414_024_096 * MS - 1,
    )
    assert all((chunk is None) == (not key.startswith("fake/")) for key, chunk in found.items())


def test_every_recorded_meta_of_tempo_is_understood_and_nothing_else_is_one() -> None:
    metas = [one for one in RECORDED["tempo-traces"] if one["key"].endswith("/meta.json")]
    named = [one["key"].split("/")[1] for one in RECORDED["tempo-traces"] if one["key"].count("/") == 2]
    assert {name for name in named if blocks.TEMPO_BLOCK.fullmatch(name)} == {one["key"].split("/")[1] for one in metas}
    contents = [blocks.tempo_block(json.dumps(one["content"]).encode()) for one in metas]
    assert [content.items for content in contents] == [1, 1, 2] and not any(one.compacted for one in contents)
    # 2026-11-23T06:07:04Z, a whole second.
    assert (contents[2].from_ns, contents[2].through_ns) == (1_795_414_024 * NS, 1_795_414_025 * NS - 1)


def test_every_recorded_meta_of_mimir_is_understood_and_nothing_else_is_one() -> None:
    metas = [one for one in RECORDED["mimir-blocks"] if "content" in one]
    named = {one["key"].split("/")[1] for one in RECORDED["mimir-blocks"]}
    assert {name for name in named if blocks.MIMIR_BLOCK.fullmatch(name)} == {one["key"].split("/")[1] for one in metas}
    contents = [blocks.mimir_block(json.dumps(one["content"]).encode()) for one in metas]
    assert [content.items for content in contents] == [5000, 5004]
    assert (contents[1].from_ns, contents[1].through_ns) == (1_795_413_600_000 * MS, 1_795_414_024_093 * MS - 1)


@pytest.mark.parametrize("version", GENUINE)
def test_every_genuine_meta_of_mimir_is_understood_and_nothing_else_is_one(version: str) -> None:
    objects = GENUINE[version]["mimir-blocks"]
    metas = [one for one in objects if one["key"].endswith("/meta.json")]
    named = {one["key"].split("/")[1] for one in objects}
    assert {name for name in named if blocks.MIMIR_BLOCK.fullmatch(name)} == {one["key"].split("/")[1] for one in metas}
    contents = [blocks.mimir_block(json.dumps(one["content"]).encode()) for one in metas]
    assert [content.items for content in contents] == [1, 201, 1]
    assert not any(content.compacted for content in contents) and all(content.proves for content in contents)
    newest_ns = (GENUINE[version]["recorded_s"] * 1_000 + 93) * MS
    # Two blocks of one flush meet at the boundary of two hours; the next flush begins where this one ended.
    assert contents[0].through_ns + 1 == contents[1].from_ns == contents[1].from_ns // (7_200 * NS) * 7_200 * NS
    assert contents[1].through_ns + 1 == contents[2].from_ns == newest_ns
    assert all(content.cut_ns > 0 and content.sources == (content_of["ulid"],) for content, content_of in _pairs(metas))


def _pairs(metas: list[dict[str, Any]]) -> list[tuple[blocks.Content, dict[str, Any]]]:
    return [(blocks.mimir_block(json.dumps(one["content"]).encode()), one["content"]) for one in metas]


@pytest.mark.parametrize("version", GENUINE)
def test_a_genuine_bucket_is_taken_for_what_it_is_whatever_else_lies_in_it(version: str, tmp_path: Path) -> None:
    bench = made(tmp_path)
    prefix = bench.put_metrics()
    ulid = prefix.rpartition("/")[2]
    own = json.loads(bench.s3.take("mimir-blocks", f"{prefix}/meta.json"))
    genuine = next(one["content"] for one in GENUINE[version]["mimir-blocks"] if "thanos" in one.get("content", {}))
    meta = {**genuine, "ulid": ulid, "minTime": own["minTime"], "maxTime": own["maxTime"]}
    meta["compaction"] = {"level": 1, "sources": [ulid]}
    for one in GENUINE[version]["mimir-blocks"]:
        content = json.dumps(one["content"]).encode() if "content" in one else b"x" * one["size"]
        bench.s3.put("mimir-blocks", one["key"], content, age_s=9_000_000)
    for name in ("chunks/000001", "meta.json"):
        bench.s3.put("mimir-blocks", f"{prefix}/{name}", json.dumps(meta).encode())
    for mark in ("deletion-mark", "no-compact-mark"):
        bench.s3.put("mimir-blocks", f"anonymous/markers/{ulid}-{mark}.json", b"{}")
    bench.watcher.poll_once()
    (found,) = bench.objects().itertuples()
    assert (found.key, found.component, found.items) == (f"{prefix}/meta.json", "mimir", genuine["stats"]["numSamples"])
    assert not bench.watcher.problems


def _push(stack: Stack, part: str) -> None:
    at = now_ns()
    if part == "loki":
        assert push_lines(stack, {"app": "shop", "run": fresh("s3")}, [[at, "a"]]).status == 204
    elif part == "tempo":
        assert export(stack, span_request(fresh("svc"), secrets.token_bytes(16), at)).status == 200
    else:
        # After a flush Mimir refuses what is older than the newest it had, and a recorded sample lies 9 minutes ahead.
        labels = {"__name__": fresh("s3_"), "job": "loadgen"}
        answers = (write(stack, labels, [(at // MS + ahead_ms, 1.0)]) for ahead_ms in (0, 570_000))
        assert any(answer.status == 200 for answer in answers)


def _flush(stack: Stack, part: str) -> None:
    if part == "loki":
        post(stack, "loki", "/flush", b"", {})
    elif part == "mimir":
        get(stack, "mimir", "/ingester/flush", wait="true")


def _stored(stack: Stack, part: str) -> tuple[Bucket, list[str]]:
    """The bucket, once it holds what a flush leaves in it."""
    _push(stack, part)
    bucket = stack.bucket(part)
    wanted = {pattern(one["key"]) for one in recorded(part)} - _MAY_LACK

    def ask() -> list[str]:
        _flush(stack, part)
        return bucket.list()

    return bucket, wait_for(stack, ask, lambda keys: wanted <= {pattern(key) for key in keys}, 60.0)


@pytest.mark.parametrize("part", ["loki", "tempo", "mimir"])
def test_what_is_stored_has_the_recorded_keys_and_no_others(part: str, need: Need) -> None:
    stack = need(part, *(["otlp_http"] if part == "tempo" else []), buckets=True)
    _, keys = _stored(stack, part)
    there, before = {pattern(key) for key in keys}, {pattern(one["key"]) for one in recorded(part)}
    assert before - _MAY_LACK <= there <= before | _ALSO[part]


@pytest.mark.parametrize("part", ["tempo", "mimir"])
def test_a_stored_block_describes_itself_with_the_recorded_fields(part: str, need: Need) -> None:
    stack = need(part, *(["otlp_http"] if part == "tempo" else []), buckets=True)
    bucket, keys = _stored(stack, part)
    metas = [json.loads(bucket.get(key)) for key in keys if key.endswith("/meta.json")]
    expected = [_shape(content) for content in _contents(stack, part)]
    assert metas
    for meta in metas:
        assert _shape(meta) in expected


def test_the_index_of_mimirs_bucket_lists_the_blocks_as_the_genuine_one_does(need: Need) -> None:
    stack = need("mimir", buckets=True)
    bucket, keys = _stored(stack, "mimir")
    indexes = [key for key in keys if key.endswith("/bucket-index.json.gz")]
    if not indexes:
        pytest.skip("the compactor of this server has not looked at the bucket yet")
    index = json.loads(gzip.decompress(bucket.get(indexes[0])))
    expected = [one["content"] for one in GENUINE["3"]["mimir-blocks"] if one["key"].endswith("bucket-index.json.gz")]
    assert _shape(index) in [_shape(one) for one in expected] and index["version"] == expected[0]["version"]
    assert {one["segments_format"] for one in index["blocks"]} == {"1b6d"}


def _contents(stack: Stack, part: str) -> list[dict[str, Any]]:
    """What the metadata of such a server's blocks was recorded to hold."""
    if part != "mimir" or stack.mimir_file == "mimir-like-cortex":
        return [one["content"] for one in recorded(part) if "content" in one]
    version = {"mimir": "3", "mimir-2.16": "2.16"}[stack.mimir_file]
    return [one["content"] for one in GENUINE[version]["mimir-blocks"] if one["key"].endswith("/meta.json")]


def _shape(value: Any) -> Any:
    """Keys and types; a list is of the kinds of its elements, each once; a number with a fraction is one too.

    Which attributes have columns of their own is a default of Tempo that every version changes.
    """
    if isinstance(value, dict):
        return {key: _shape(one) if key != "dedicatedColumns" else "columns" for key, one in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(one), sort_keys=True) for one in value})
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
