"""The watcher stores each new object once, with its time on our clock, whatever S3 does meanwhile."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadgen.config import S3Target
from loadgen.model import NS, RunKey
from loadgen.rundir import RunDir, RunInfo
from loadgen.s3watch import S3Watcher

BEGAN_NS = 1_800_000_000 * NS
CHUNK = "fake/ed2589015d8ccafa/1a206faee4e:1a206faee4f:8e1020f4"
TEMPO = "single-tenant/31c02576-dc82-45d2-9619-d7c4039f0667"
MIMIR = "anonymous/01M83G9HFWS8TCMKY5WNGV68RM/meta.json"
IDS = [bytes([i]) * 16 for i in (1, 2, 3)]


class FakeS3:
    """Buckets in memory behind the methods of a boto3 client that the watcher uses."""

    def __init__(self) -> None:
        self.now_ns = BEGAN_NS + 10 * NS
        self.ahead_ns = 0
        self.page = 1000
        self.buckets: dict[str, dict[str, tuple[bytes, int]]] = {
            name: {} for name in ("loki-chunks", "tempo-traces", "mimir-blocks")
        }
        self.fails: dict[str, Exception] = {}
        self.gets: list[str] = []

    def clock(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns

    def put(self, bucket: str, key: str, content: bytes = b"x", age_s: float = 0.0) -> None:
        self.buckets[bucket][key] = (content, (self.now_ns + self.ahead_ns) // NS * NS - round(age_s * NS))

    def put_trace_block(self) -> None:
        sink = io.BytesIO()
        pq.write_table(pa.table({"TraceID": pa.array(IDS, pa.binary(16))}), sink)
        meta = {"startTime": "2026-11-23T05:48:59Z", "endTime": "2026-11-23T05:49:00Z", "totalObjects": 3}
        self.put("tempo-traces", f"{TEMPO}/data.parquet", sink.getvalue())
        self.put("tempo-traces", f"{TEMPO}/meta.json", json.dumps(meta).encode())

    def put_metric_block(
        self, content: bytes = b'{"minTime": 1000, "maxTime": 2000, "stats": {"numSamples": 7}}'
    ) -> None:
        self.put("mimir-blocks", MIMIR, content)

    def list_objects_v2(self, Bucket: str, ContinuationToken: str = "") -> dict[str, Any]:
        if f"list {Bucket}" in self.fails:
            raise self.fails[f"list {Bucket}"]
        keys = sorted(self.buckets[Bucket])
        begin = int(ContinuationToken or 0)
        part = keys[begin : begin + self.page]
        more = begin + self.page < len(keys)
        date = datetime.fromtimestamp((self.now_ns + self.ahead_ns) // NS, UTC)
        return {
            "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(date, usegmt=True)}},
            "Contents": [
                {
                    "Key": key,
                    "Size": len(self.buckets[Bucket][key][0]),
                    "LastModified": datetime.fromtimestamp(self.buckets[Bucket][key][1] / NS, UTC),
                }
                for key in part
            ],
            "IsTruncated": more,
            **({"NextContinuationToken": str(begin + self.page)} if more else {}),
        }

    def get_object(self, Bucket: str, Key: str, Range: str = "") -> dict[str, Any]:
        self.gets.append(Key)
        if f"get {Key}" in self.fails:
            raise self.fails[f"get {Key}"]
        content = self.buckets[Bucket][Key][0]
        if Range:
            first, last = Range.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last) + 1]
        return {"Body": io.BytesIO(content)}


class Bench:
    def __init__(self, path: Path) -> None:
        self.s3 = FakeS3()
        self.run = RunDir.create(path / "run", RunInfo(RunKey("r", 1, BEGAN_NS), {}, (), {}, "test", {}, {}))
        self.watcher = self.another()

    def another(self) -> S3Watcher:
        target = S3Target(endpoint="http://s3:9000", poll=0.01)
        return S3Watcher(target, self.run, self.s3.clock, BEGAN_NS, client=lambda _: self.s3)

    def objects(self) -> pd.DataFrame:
        rows, damaged = self.run.rows("objects")
        assert not damaged
        return rows.sort_values("component", ignore_index=True)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_new_objects_are_stored_once_with_what_they_hold(bench: Bench) -> None:
    bench.s3.put("loki-chunks", CHUNK, b"c" * 538)
    bench.s3.put_trace_block()
    bench.s3.put_metric_block()
    bench.s3.put("loki-chunks", "loki_cluster_seed.json")
    bench.watcher.poll_once()
    bench.watcher.poll_once()
    loki, mimir, tempo = bench.objects().itertuples()
    assert (loki.stream, loki.size_bytes, loki.from_ns) == ("ed2589015d8ccafa", 538, 0x1A206FAEE4E * 1_000_000)
    assert (mimir.items, mimir.from_ns // 1_000_000, mimir.through_ns // 1_000_000) == (7, 1000, 1999)
    assert (tempo.items, tempo.ids, tempo.key) == (3, b"".join(IDS), f"{TEMPO}/meta.json")
    assert tempo.size_bytes == len(bench.s3.buckets["tempo-traces"][f"{TEMPO}/data.parquet"][0])
    for row in (loki, mimir, tempo):
        assert row.modified_ns == BEGAN_NS + 10 * NS <= row.first_seen_ns and not row.detail
    assert not bench.watcher.problems


def test_objects_of_earlier_runs_are_left_alone_without_reading_them(bench: Bench) -> None:
    bench.s3.put("loki-chunks", CHUNK, age_s=3600)
    bench.s3.put("mimir-blocks", MIMIR, age_s=3600)
    bench.watcher.poll_once()
    assert bench.objects().empty and not bench.s3.gets


def test_an_object_that_appears_later_is_seen_later(bench: Bench) -> None:
    bench.watcher.poll_once()
    bench.s3.now_ns += 30 * NS
    bench.s3.put("loki-chunks", CHUNK)
    bench.watcher.poll_once()
    [row] = bench.objects().itertuples()
    assert row.modified_ns == BEGAN_NS + 40 * NS and row.first_seen_ns - row.modified_ns < NS


def test_listings_of_many_pages_are_read_to_the_end(bench: Bench) -> None:
    bench.s3.page = 3
    for i in range(20):
        bench.s3.put("loki-chunks", f"fake/{i + 1:x}/1a206faee4e:1a206faee4f:8e1020f4")
    bench.watcher.poll_once()
    assert len(bench.objects()) == 20


def test_another_watcher_of_the_same_run_stores_nothing_twice(bench: Bench) -> None:
    bench.s3.put("loki-chunks", CHUNK)
    bench.watcher.poll_once()
    bench.run.compact()
    bench.s3.put_metric_block()
    bench.another().poll_once()
    assert bench.objects()["component"].tolist() == ["loki", "mimir"]


@pytest.mark.parametrize("ahead_s", [-90.0, 90.0])
def test_a_server_clock_that_is_wrong_is_measured_and_corrected(bench: Bench, ahead_s: float) -> None:
    bench.s3.ahead_ns = round(ahead_s * NS)
    for _ in range(40):
        bench.watcher.poll_once()
        bench.s3.now_ns += 130_000_000
    bench.s3.put("loki-chunks", CHUNK)
    put_ns = bench.s3.now_ns
    bench.watcher.poll_once()
    assert abs(bench.watcher.clock_difference_ns - bench.s3.ahead_ns) < 100_000_000
    [row] = bench.objects().itertuples()
    assert -NS - 100_000_000 <= row.modified_ns - put_ns <= 100_000_000


def test_equal_clocks_are_not_corrected_for_the_headers_whole_seconds(bench: Bench) -> None:
    for _ in range(20):
        bench.watcher.poll_once()
        bench.s3.now_ns += 310_000_000
    assert bench.watcher.clock_difference_ns == 0


def test_a_bucket_that_cannot_be_listed_is_told_and_the_others_are_watched(bench: Bench) -> None:
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListObjectsV2")
    bench.s3.fails["list loki-chunks"] = error
    bench.s3.put_metric_block()
    bench.watcher.poll_once()
    bench.watcher.poll_once()
    [problem] = bench.watcher.problems
    assert "s3:9000/loki-chunks: AccessDenied" in problem and "(2 times)" in problem
    assert bench.objects()["component"].tolist() == ["mimir"]
    assert bench.watcher.last_listing_ns["loki-chunks"] == 0 < bench.watcher.last_listing_ns["mimir-blocks"]


def test_successful_listings_are_recorded_for_the_judge(bench: Bench) -> None:
    bench.s3.fails["list tempo-traces"] = ConnectionError("away")
    bench.watcher.poll_once()
    rows, _ = bench.run.rows("stack")
    assert set(rows["labels"]) == {"component=loki,bucket=loki-chunks", "component=mimir,bucket=mimir-blocks"}
    assert (rows["component"] == "s3").all() and (rows["metric"] == "last_listing").all()
    assert sorted(rows["at_ns"]) == sorted(t for t in bench.watcher.last_listing_ns.values() if t)


def test_a_block_that_cannot_be_read_yet_is_tried_again(bench: Bench) -> None:
    bench.s3.put_metric_block()
    bench.s3.fails[f"get {MIMIR}"] = TimeoutError("slow")
    bench.watcher.poll_once()
    assert bench.objects().empty
    del bench.s3.fails[f"get {MIMIR}"]
    bench.watcher.poll_once()
    [row] = bench.objects().itertuples()
    assert row.items == 7 and not row.detail


def test_a_block_that_stays_unreadable_is_stored_with_the_reason(bench: Bench) -> None:
    bench.s3.put_metric_block(b"{broken")
    for _ in range(5):
        bench.watcher.poll_once()
    [row] = bench.objects().itertuples()
    assert "meta.json is not JSON" in row.detail and row.through_ns == 0
    assert len(bench.watcher.problems) == 1 and bench.s3.gets.count(MIMIR) == 3


def test_without_an_endpoint_nothing_is_watched_and_that_is_told(bench: Bench) -> None:
    watcher = S3Watcher(S3Target(), bench.run, bench.s3.clock)
    watcher.start()
    watcher.poll_once()
    watcher.stop()
    assert "no [s3] endpoint" in watcher.problems[0]


def test_a_client_that_cannot_be_made_is_a_problem_and_no_exception(bench: Bench) -> None:
    watcher = S3Watcher(S3Target(endpoint="nonsense"), bench.run, bench.s3.clock)
    watcher.poll_once()
    assert watcher.problems and bench.objects().empty


def test_the_thread_watches_until_it_is_stopped_and_looks_once_more(bench: Bench) -> None:
    before = threading.active_count()
    bench.watcher.start()
    bench.s3.put("loki-chunks", CHUNK)
    for _ in range(500):
        if len(bench.objects()):
            break
        threading.Event().wait(0.01)
    assert len(bench.objects()) == 1
    bench.s3.put_metric_block()
    bench.watcher.stop()
    assert len(bench.objects()) == 2 and threading.active_count() == before
    assert len(bench.run.rows("stack")[0]) >= 3


def test_a_full_disk_keeps_the_rows_for_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from loadgen.rundir import RunDirError

    def full(*_: object) -> None:
        raise RunDirError("disk full")

    bench.s3.put("loki-chunks", CHUNK)
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "append", full)
        bench.watcher.poll_once()
    assert "disk full" in bench.watcher.problems[0] and bench.objects().empty
    bench.watcher.poll_once()
    assert len(bench.objects()) == 1
