"""Data of the run is found wherever a component keeps it in its bucket, and what is laid out otherwise is told so."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_s3 import BUCKETS, FakeS3
from hypothesis import given, settings
from hypothesis import strategies as st
from made_history import BEGAN_NS as BEGAN_MADE_NS
from made_history import good_run
from s3_bench import BEGAN_NS, UUID, Bench, made

from loadgen.buckets.keys import Names
from loadgen.buckets.layout import owner_of
from loadgen.buckets.watcher import MAX_REQUESTS, S3Watcher
from loadgen.checks.s3_looks import looks_of
from loadgen.config import S3Target
from loadgen.model import LAYOUT, MS, NS, PARTS_LOOK, Component, Result, StackSample, bucket_labels
from loadgen.targets.blocks import chunk_place, loki_chunk

COMPONENTS = (Component.LOKI, Component.TEMPO, Component.MIMIR)


def fill(bench: Bench) -> None:
    for user in range(3):
        bench.put_chunk(user)
    bench.put_traces()
    bench.put_metrics()


def move(s3: FakeS3, prefix: str, copy: bool = False, tenant: str = "") -> None:
    """Everything below another prefix, as if the servers had been set up so; with another tenant, if one is named."""
    for bucket, objects in s3.buckets.items():
        for key in list(objects):
            to = f"{prefix}{tenant + key[key.index('/') :] if tenant else key}"
            s3.put(bucket, to, objects[key][0])
            if not copy:
                s3.take(bucket, key)


def watcher(bench: Bench, **target: Any) -> S3Watcher:
    s3 = S3Target(endpoint="http://s3:9000", poll=0.01, **target)
    return S3Watcher(s3, bench.run, bench.s3.clock, BEGAN_NS, client=lambda _: bench.s3)


def layout(bench: Bench, component: Component) -> tuple[float | None, str]:
    """Whether the bucket is understood, as the judge sees it, and what was seen."""
    stack = bench.run.history().stack
    values = stack[(stack["metric"] == LAYOUT) & stack["labels"].str.startswith(f"component={component},")]["value"]
    return (None if values.empty else values.iloc[-1]), looks_of(bench.run.history(), component).strange


PREFIXES = ["loki/", "a/b/", "a/b/c/d/", "cafe/", "lgtm-", "fake/", "2024/01/", "index2/", "deadbeef/"]


@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_data_below_a_prefix_that_nobody_told_is_found_by_one_look(tmp_path: Path, prefix: str, ended: bool) -> None:
    bench = made(tmp_path)
    fill(bench)
    move(bench.s3, prefix)
    if ended:
        bench.end_load(9)
    bench.watcher.poll_once()
    if prefix == "fake/" and not ended:
        # The prefix looks like a tenant, which is taken for granted once.
        bench.watcher.poll_once()
    objects = bench.objects()
    assert objects["component"].tolist() == ["loki"] * 3 + ["mimir", "tempo"]
    assert not objects["detail"].any() and not bench.watcher.problems
    assert all(key.startswith(prefix) for key in objects["key"])
    assert len(bench.s3.lists) < 60


@pytest.mark.parametrize("written", ["a/b", "a/b/", "/a/b/"])
def test_a_prefix_that_is_set_is_kept_to_however_its_slashes_are_written(tmp_path: Path, written: str) -> None:
    tenants = dict(zip(("loki", "tempo", "mimir"), ("fake", "single-tenant", "anonymous"), strict=True))
    bench = made(tmp_path, {name: {"tenant": tenant} for name, tenant in tenants.items()})
    fill(bench)
    move(bench.s3, "a/b/")
    bench.s3.put("loki-chunks", "z/fake/0123456789abcdef/1:2:3")
    one = watcher(bench, loki_prefix=written, tempo_prefix=written, mimir_prefix=written)
    one.poll_once()
    assert len(bench.objects()) == 5 and not one.problems and not one.notes
    assert all(asked.startswith("a/b/") for _, asked in bench.s3.lists)


@pytest.mark.parametrize("settled", [True, False])
def test_of_two_clusters_below_two_prefixes_the_runs_data_is_taken_from_its_own(tmp_path: Path, settled: bool) -> None:
    bench = made(tmp_path)
    fill(bench)
    move(bench.s3, "home/")
    for number in range(3):
        first = BEGAN_NS // MS
        bench.s3.put("loki-chunks", f"aaa/fake/{0x1234567890ABCDEF + number:x}/{first:x}:{first + 5:x}:1")
        bench.s3.put("tempo-traces", f"aaa/single-tenant/{UUID[:-1]}{number}/meta.json", b"{}", age_s=99)
        bench.s3.put("mimir-blocks", f"aaa/anonymous/01M83G9HFWS8TCMKY5WNGV68R{number}/meta.json", b"{}", age_s=99)
    one = watcher(bench, **({"loki_prefix": "home"} if settled else {}))
    one.poll_once()
    assert len(bench.objects()) == 5 and all(key.startswith("home/") for key in bench.objects()["key"])
    assert any('loki_prefix = "home"' in note for note in one.notes) is not settled


def test_one_bucket_for_all_three_components_is_looked_through_by_each_for_its_own(tmp_path: Path) -> None:
    bench = made(tmp_path)
    fill(bench)
    for bucket, name in zip(BUCKETS, ("loki", "tempo", "mimir"), strict=True):
        for key in list(bench.s3.buckets[bucket]):
            bench.s3.buckets.setdefault("shared", {})
            bench.s3.put("shared", f"{name}/{key}", bench.s3.take(bucket, key))
    one = watcher(bench, loki_bucket="shared", tempo_bucket="shared", mimir_bucket="shared")
    one.poll_once()
    assert sorted(bench.objects()["component"]) == ["loki"] * 3 + ["mimir", "tempo"]
    again = watcher(bench, loki_bucket="shared", tempo_bucket="shared", mimir_bucket="shared")
    again.look_whole()
    assert len(bench.objects()) == 5 and bench.run.rows("gone")[0].empty


@pytest.mark.parametrize("prefix", ["", "a/b/"])
def test_chunks_of_older_schemas_are_found_beside_newer_ones(tmp_path: Path, prefix: str) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    old = [bench.put_chunk(user) for user in range(3)]
    for key in old:
        tenant, stream, rest = key.split("/")
        bench.s3.put("loki-chunks", f"{prefix}{tenant}/{stream}:{rest}", bench.s3.take("loki-chunks", key))
    bench.watcher.poll_once()
    assert len(bench.objects()) == 3
    new = bench.put_chunk(0, 10, 19)
    bench.s3.put("loki-chunks", f"{prefix}{new}", bench.s3.take("loki-chunks", new))
    bench.watcher.look_whole()
    assert len(bench.objects()) == 4 and bench.run.rows("gone")[0].empty
    bench.s3.take("loki-chunks", bench.objects()["key"].iloc[0])
    bench.watcher.look_whole()
    assert len(bench.run.rows("gone")[0]) == 1


def test_a_tenant_other_than_the_configured_one_is_found_and_told_apart(tmp_path: Path) -> None:
    bench = made(tmp_path, {name: {"tenant": "mine"} for name in ("loki", "tempo", "mimir")})
    fill(bench)
    move(bench.s3, "p/", tenant="theirs")
    bench.watcher.poll_once()
    assert len(bench.objects()) == 5


def test_an_old_deployments_folder_of_the_same_name_does_not_hide_the_new_one(tmp_path: Path) -> None:
    bench = made(tmp_path, {name: {"tenant": "fake"} for name in ("loki", "tempo", "mimir")})
    fill(bench)
    move(bench.s3, "new/", tenant="fake")
    for bucket in BUCKETS:
        bench.s3.put(bucket, "fake/old/thing")
    bench.end_load(9)
    bench.watcher.poll_once()
    assert len(bench.objects()) == 5


STRANGE = {
    "only an index": ["index/index_20780/fake/1795414026464039981-compactor-1795413438030-a94fd918.tsdb.gz"],
    "names in base64": [f"fake/{base64.b64encode(b'fake/ed25:1a2:1a3:8e1').decode()}"],
    "another layout": ["chunks/2026/12/01/part-0001.parquet"],
    "files in the root": ["backup.tar.gz"],
    "another component's": [f"single-tenant/{UUID}/meta.json"],
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("prefix", ["", "deep/er/"])
def test_a_bucket_that_looks_otherwise_makes_the_delay_unknown_and_says_what_is_there(
    tmp_path: Path, what: str, prefix: str
) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    for key in STRANGE[what]:
        bench.s3.put("loki-chunks", prefix + key)
    bench.end_load(9)
    bench.watcher.poll_once()
    understood, seen = layout(bench, Component.LOKI)
    assert understood == 0 and STRANGE[what][0].split("/")[0].split(".")[0][:5] in seen
    assert bench.watcher.last_listing_ns["loki-chunks"] and not bench.watcher.problems


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["loki_cluster_seed.json"],
        ["fake/0123456789abcdef/1a206faee4e:1a206faee4f:8e1020f4", "index/index_20780/x.tsdb.gz"],
    ],
)
def test_a_bucket_that_looks_as_it_must_leaves_the_blame_where_it_is(tmp_path: Path, keys: list[str]) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    for key in keys:
        bench.s3.put("loki-chunks", key, age_s=9000)
    bench.end_load(9)
    bench.watcher.poll_once()
    assert layout(bench, Component.LOKI) == (1, "")


def test_a_mimir_without_any_block_yet_is_understood(tmp_path: Path) -> None:
    bench = made(tmp_path, logs={"users": 0}, traces={"users": 0})
    bench.s3.put("mimir-blocks", "anonymous/bucket-index.json.gz")
    bench.end_load(9)
    bench.watcher.poll_once()
    assert layout(bench, Component.MIMIR) == (1, "")


def test_a_wrong_prefix_is_told_when_the_data_lies_elsewhere(tmp_path: Path) -> None:
    bench = made(tmp_path)
    fill(bench)
    bench.end_load(9)
    one = watcher(bench, loki_prefix="wrong")
    one.poll_once()
    assert len(bench.objects()) == 5
    assert any('set loki_prefix = ""' in note for note in one.notes)


def test_what_is_not_found_in_a_strange_bucket_is_unknown_and_never_a_fail(tmp_path: Path) -> None:
    run = good_run()
    run.drop("objects", lambda row: row.component == "loki")
    for metric in ("last_listing", PARTS_LOOK):
        run.stack.append(StackSample("s3", metric, "component=loki,bucket=b", BEGAN_NS + 10**6 * NS, 0))
    assert run.result("logs.s3_delay") is Result.FAIL
    labels = bucket_labels(Component.LOKI, "b", why="index/ (an index)")
    run.stack.append(replace(run.stack[-1], metric=LAYOUT, labels=labels, value=0.0))
    verdict = run.verdict("logs.s3_delay")
    assert verdict.result is Result.UNKNOWN and "index/ (an index)" in verdict.evidence[0]
    assert "loki_prefix" in verdict.remedy and "object_prefix" in verdict.remedy and "chunk_idle" not in verdict.remedy


# -- what it costs -------------------------------------------------------------------------------------------------


def test_looking_for_a_prefix_among_very_many_folders_stays_cheap(tmp_path: Path) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    for number in range(5_000):
        bench.s3.put("loki-chunks", f"backups/{number:05d}/file-{number}", age_s=60)
        bench.s3.put("loki-chunks", f"other/fake/{number * 0x9E3779B97F4A7C15 % 2**64:x}/1:2:{number:x}", age_s=60)
    bench.put_chunk(0)
    move(bench.s3, "zzz/", copy=True)
    for key in list(bench.s3.buckets["loki-chunks"]):
        if key.startswith(("fake/", "zzz/backups", "zzz/other")):
            bench.s3.take("loki-chunks", key)
    polls = 0
    while bench.objects().empty:
        assert bench.requests() <= MAX_REQUESTS
        polls += 1
        assert polls < 10
    assert bench.requests() <= 4


def test_a_settled_place_costs_no_look_at_folders(tmp_path: Path) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    fill(bench)
    move(bench.s3, "a/b/")
    bench.watcher.poll_once()
    bench.s3.lists.clear()
    bench.watcher.poll_once()
    assert all(prefix.startswith("a/b/fake/") for _, prefix in bench.s3.lists) and len(bench.s3.lists) == 3


# -- keys ----------------------------------------------------------------------------------------------------------

NAME = st.text(st.characters(blacklist_characters="/", blacklist_categories=("Cs",)), min_size=1, max_size=12)
HEX = st.integers(0, 2**64 - 1).map(lambda number: f"{number:x}")


@settings(max_examples=200, deadline=None)
@given(st.lists(NAME, min_size=1, max_size=5), HEX, st.integers(0, 2**42), st.integers(0, 2**42), st.sampled_from("/:"))
def test_a_chunks_key_is_read_from_its_end_whatever_comes_before(
    folders: list[str], stream: str, first: int, last: int, between: str
) -> None:
    tenant, rest = "/".join(folders), f"{first:x}:{last:x}:8e1020f4"
    place = chunk_place(f"{tenant}/{stream}{between}{rest}")
    content = loki_chunk(f"{tenant}/{stream}{between}{rest}")
    assert place is not None and content is not None
    assert (place.tenant, place.stream, place.rest) == (tenant, stream, rest)
    assert (content.from_ns, content.through_ns) == (first * MS, last * MS + MS - 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(NAME, max_size=4), st.lists(NAME, max_size=4))
def test_names_that_people_give_are_nobodys_data(folders: list[str], files: list[str]) -> None:
    plain = [name for name in folders if len(name) < 12 and name not in ("markers",)]
    assert (
        owner_of("a/", Names(tuple(plain), tuple(one for one in files if ":" not in one and "index" not in one)))
        is None
    )


@pytest.mark.parametrize(("seen_s", "result"), [(1, Result.FAIL), (60, Result.UNKNOWN)])
def test_a_late_object_that_was_there_long_before_anybody_looked_may_be_a_copy(seen_s: float, result: Result) -> None:
    """As when a bucket is copied below a prefix: S3 dates the copies anew."""
    run = good_run()
    run.drop("stack", lambda row: row.metric == "last_listing")
    late_ns = BEGAN_MADE_NS + 2_000 * NS
    for one in [one for one in run.objects if one.component == "loki"]:
        run.objects.remove(one)
        run.objects.append(replace(one, modified_ns=late_ns, first_seen_ns=late_ns + round(seen_s * NS)))
    verdict = run.verdict("logs.s3_delay")
    assert verdict.result is result
    assert result is Result.FAIL or "may be a copy" in verdict.evidence[0]
