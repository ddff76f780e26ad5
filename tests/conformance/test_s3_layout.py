"""What lies in the buckets: the recorded objects are understood, and the stack writes such objects."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from asking import export, fresh, get, now_ns, post, push_lines, span_request, wait_for, write
from captured import load_objects
from stacks import Bucket, Stack

from loadgen.targets import blocks

Need = Callable[..., Stack]
RECORDED = load_objects()
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
    "mimir": {"<tenant>/bucket-index.json.gz", "<tenant>/markers/<ulid>-deletion-mark.json"},
}
# What a bucket may do without: an index that is compacted later, files that only some versions of Tempo write.
_MAY_LACK = {
    "index/index_<day>/<tenant>/<time>-compactor-<from>-<through>-<checksum>.tsdb.gz",
    "<tenant>/index.pb.zst",
    "work.json",
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


def _push(stack: Stack, part: str) -> None:
    at = now_ns()
    if part == "loki":
        assert push_lines(stack, {"app": "shop", "run": fresh("s3")}, [[at, "a"]]).status == 204
    elif part == "tempo":
        assert export(stack, span_request(fresh("svc"), secrets.token_bytes(16), at)).status == 200
    else:
        assert write(stack, {"__name__": fresh("s3_"), "job": "loadgen"}, [(at // MS, 1.0)]).status == 200


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
    expected = [_shape(one["content"]) for one in recorded(part) if "content" in one]
    assert metas
    for meta in metas:
        assert _shape(meta) in expected


def _shape(value: Any) -> Any:
    """Keys and types; a list is of the kinds of its elements, each once; a number with a fraction is one too."""
    if isinstance(value, dict):
        return {key: _shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted({json.dumps(_shape(one), sort_keys=True) for one in value})
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
