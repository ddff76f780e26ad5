"""The watcher stores each new object of the run once, with its time on our clock, whatever S3 does meanwhile."""

from __future__ import annotations

import struct
import threading
import tracemalloc
import uuid
from pathlib import Path

import numpy as np
import pytest
from fake_s3 import BUCKETS, FakeS3, put_tempo_block
from s3_bench import BEGAN_NS, BEGAN_S, UUID, Bench, made, refused

from loadgen.buckets.watcher import MAX_REQUESTS, S3Watcher
from loadgen.checks.s3_traces import held_ids
from loadgen.config import S3Target
from loadgen.history.directory import RunDir
from loadgen.history.held import unpack
from loadgen.kinds import kind_of
from loadgen.kinds.traces.source import SDK_USER
from loadgen.model import MS, NS, Signal


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return made(tmp_path)


# -- what is found -------------------------------------------------------------------------------------------------


def test_new_objects_are_stored_once_with_what_they_hold(bench: Bench) -> None:
    chunk, traces, metrics = bench.put_chunk(1), bench.put_traces(), bench.put_metrics()
    bench.s3.put("loki-chunks", "loki_cluster_seed.json")
    bench.watcher.poll_once()
    bench.watcher.poll_once()
    loki, mimir, tempo = bench.objects().itertuples()
    assert (loki.key, loki.size_bytes, loki.stream) == (chunk, 538, bench.plan.logs.fingerprint(1))
    assert (loki.from_ns, loki.through_ns) == (BEGAN_NS, BEGAN_NS + 9 * NS + MS - 1)
    assert (mimir.key, mimir.items, mimir.from_ns) == (f"{metrics}/meta.json", 7, BEGAN_NS)
    assert mimir.ids == struct.pack("<4I", 0, 4, 1, 4) and BEGAN_NS < mimir.cut_ns <= bench.s3.now_ns
    assert (tempo.items, tempo.ids, tempo.key) == (3, b"", f"{traces}/meta.json")
    [held] = unpack(tempo.traces)
    each = bench.plan.traces.load.traces_per_batch
    assert (held.user, held.numbers.tolist()) == (0, list(range(2 * each, 2 * each + 3)))
    assert tempo.size_bytes == len(bench.s3.buckets["tempo-traces"][f"{traces}/data.parquet"][0])
    for row in (loki, mimir, tempo):
        assert row.modified_ns == BEGAN_NS + 10 * NS <= row.first_seen_ns and not row.detail and not row.compacted
    assert not bench.watcher.problems


def test_objects_of_earlier_runs_are_left_alone_without_reading_them(bench: Bench) -> None:
    bench.put_chunk(first_s=-3600, last_s=-3000, age_s=3600)
    bench.put_traces(age_s=3600)
    bench.put_metrics(age_s=3600)
    bench.watcher.poll_once()
    assert bench.objects().empty and not bench.s3.gets


def test_blocks_of_other_times_and_other_series_are_opened_once_and_not_stored(bench: Bench) -> None:
    put_tempo_block(bench.s3, UUID, bench.ids, BEGAN_S - 9000, BEGAN_S - 8000)
    put_tempo_block(bench.s3, str(uuid.UUID(int=9)), [bytes([7]) * 16], BEGAN_S, BEGAN_S + 5)
    bench.put_metrics(bench.series(0, run="another"))
    bench.put_metrics(bench.series(0, instance="host-99999"))
    bench.put_metrics(from_s=BEGAN_S - 9000)
    for _ in range(3):
        bench.watcher.poll_once()
    assert bench.objects().empty and not bench.watcher.problems
    assert len(bench.s3.gets) == len(set(bench.s3.gets)) == 8


def test_an_object_that_appears_later_is_seen_later(bench: Bench) -> None:
    bench.watcher.poll_once()
    bench.s3.now_ns += 30 * NS
    bench.put_chunk()
    bench.put_traces()
    bench.put_metrics()
    bench.watcher.poll_once()
    assert len(bench.objects()) == 3
    for row in bench.objects().itertuples():
        assert row.modified_ns == BEGAN_NS + 40 * NS and row.first_seen_ns - row.modified_ns < NS


def test_a_block_counts_only_when_its_metadata_is_there(bench: Bench) -> None:
    bench.watcher.poll_once()
    bench.put_traces()
    meta = bench.s3.take("tempo-traces", f"single-tenant/{UUID}/meta.json")
    bench.s3.put("tempo-traces", "single-tenant/work.json")
    bench.watcher.poll_once()
    assert bench.objects().empty and bench.watcher.last_listing_ns["tempo-traces"]
    bench.s3.put("tempo-traces", f"single-tenant/{UUID}/meta.json", meta)
    bench.watcher.poll_once()
    assert len(bench.objects()) == 1


def test_a_compacted_tempo_block_is_marked_and_its_original_keeps_its_time(bench: Bench) -> None:
    bench.put_traces()
    bench.s3.now_ns += 60 * NS
    meta = bench.s3.take("tempo-traces", f"single-tenant/{UUID}/meta.json")
    bench.s3.put("tempo-traces", f"single-tenant/{UUID}/meta.compacted.json", meta)
    bench.put_traces(str(uuid.UUID(int=7)), level=1)
    bench.watcher.poll_once()
    times = {row.compacted: row.modified_ns for row in bench.objects().itertuples()}
    assert times == {False: BEGAN_NS + 10 * NS, True: BEGAN_NS + 70 * NS}


def test_a_compacted_tempo_block_without_its_data_is_nothing(bench: Bench) -> None:
    bench.put_traces()
    meta = bench.s3.take("tempo-traces", f"single-tenant/{UUID}/meta.json")
    bench.s3.put("tempo-traces", f"single-tenant/{UUID}/meta.compacted.json", meta)
    bench.s3.take("tempo-traces", f"single-tenant/{UUID}/data.parquet")
    bench.watcher.poll_once()
    assert bench.objects().empty and not bench.watcher.problems


def test_a_compacted_mimir_block_is_marked(bench: Bench) -> None:
    bench.put_metrics(level=2)
    bench.watcher.poll_once()
    assert bench.objects()["compacted"].tolist() == [True]


def test_another_watcher_of_the_same_run_stores_nothing_twice(bench: Bench) -> None:
    bench.put_chunk()
    bench.put_traces()
    bench.watcher.poll_once()
    bench.run.compact()
    bench.put_metrics()
    bench.another().poll_once()
    bench.another().poll_once()
    assert bench.objects()["component"].tolist() == ["loki", "mimir", "tempo"]


def test_what_one_watcher_could_not_read_another_one_may(bench: Bench) -> None:
    bench.put_traces()
    bench.s3.fails["get tempo-traces"] = refused("AccessDenied")
    for _ in range(4):
        bench.watcher.poll_once()
    del bench.s3.fails["get tempo-traces"]
    bench.another().poll_once()
    assert sorted(bench.objects()["detail"] == "") == [False, True]


# -- tenants -------------------------------------------------------------------------------------------------------


def test_a_configured_tenant_is_the_only_one_looked_at(tmp_path: Path) -> None:
    bench = made(tmp_path, {name: {"tenant": "mine"} for name in ("loki", "tempo", "mimir")})
    bench.put_chunk(tenant="fake")
    key = bench.put_chunk(tenant="mine")
    for bucket in BUCKETS:
        bench.s3.put(bucket, "mine/another/object")
    bench.put_metrics()
    bench.watcher.poll_once()
    bench.watcher.poll_once()
    assert bench.objects()["key"].tolist() == [key]
    asked = [prefix for _, prefix in bench.s3.lists]
    assert asked.count("") == 3 and all(prefix.startswith("mine/") for prefix in asked if prefix)


def test_data_is_found_though_the_component_does_without_the_configured_tenant(tmp_path: Path) -> None:
    bench = made(tmp_path, {name: {"tenant": "mine"} for name in ("loki", "tempo", "mimir")})
    bench.put_chunk(tenant="fake")
    bench.put_traces()
    bench.put_metrics()
    bench.watcher.poll_once()
    assert len(bench.objects()) == 3


@pytest.mark.parametrize("tenant", ["", "mine"])
def test_blocks_are_found_under_a_storage_prefix_that_nobody_told(tmp_path: Path, tenant: str) -> None:
    bench = made(tmp_path, {name: {"tenant": tenant} for name in ("tempo", "mimir")})
    for bucket, put in (("tempo-traces", bench.put_traces), ("mimir-blocks", bench.put_metrics)):
        prefix = put()
        for key in list(bench.s3.buckets[bucket]):
            bench.s3.put(
                bucket, f"deep/mine/{key.removeprefix(prefix.split('/')[0] + '/')}", bench.s3.take(bucket, key)
            )
        bench.s3.put(bucket, "rules/mine/rule")
    for _ in range(2):
        bench.watcher.poll_once()
    assert [key.split("/")[:2] for key in bench.objects()["key"]] == [["deep", "mine"]] * 2


def test_mimirs_configured_storage_prefix_is_kept_to(tmp_path: Path) -> None:
    bench = made(tmp_path, {"mimir": {"tenant": "anonymous"}}, logs={"users": 0}, traces={"users": 0})
    prefix = bench.put_metrics()
    for key in list(bench.s3.buckets["mimir-blocks"]):
        bench.s3.put("mimir-blocks", f"blocks/{key}", bench.s3.take("mimir-blocks", key))
    target = S3Target(endpoint="http://s3:9000", mimir_prefix="blocks")
    watcher = S3Watcher(target, bench.run, bench.s3.clock, BEGAN_NS, client=lambda _: bench.s3)
    watcher.poll_once()
    assert bench.objects()["key"].tolist() == [f"blocks/{prefix}/meta.json"]
    assert {asked.split("/")[0] for _, asked in bench.s3.lists} == {"blocks"}


def test_the_tenant_is_found_among_many_and_then_the_only_one_looked_at(bench: Bench) -> None:
    for number in range(5):
        bench.s3.put("loki-chunks", f"team-{number}/abc/1:2:3", age_s=99)
        bench.s3.put("mimir-blocks", f"team-{number}/bucket-index.json.gz", age_s=99)
    bench.put_chunk(tenant="team-3")
    bench.put_metrics()
    bench.watcher.poll_once()
    assert bench.objects()["component"].tolist() == ["loki", "mimir"]
    bench.s3.lists.clear()
    bench.watcher.poll_once()
    assert {prefix.split("/")[0] for bucket, prefix in bench.s3.lists if bucket == "loki-chunks"} == {"team-3"}
    assert {prefix for bucket, prefix in bench.s3.lists if bucket == "mimir-blocks"} == {"anonymous/"}


# -- what it costs -------------------------------------------------------------------------------------------------


def fill(s3: FakeS3, objects: int) -> None:
    """So many objects of others: each bucket gets a third."""
    each = objects // 3
    for number in range(each):
        first = BEGAN_NS // MS - 1_000_000 + number
        s3.put("loki-chunks", f"fake/{number // 10 * 0x9E3779B97F4A7C15 % 2**64:x}/{first:x}:{first + 5:x}:1", age_s=60)
    for number in range(each // 4):
        for name in ("bloom-0", "data.parquet", "index", "meta.json"):
            s3.put("tempo-traces", f"single-tenant/{uuid.UUID(int=number << 100)}/{name}", age_s=60)
        ulid = f"01M83{number:021d}"
        for name in ("chunks/000001", "chunks/000002", "index", "meta.json"):
            s3.put("mimir-blocks", f"anonymous/{ulid}/{name}", age_s=60)


def test_a_hundred_thousand_foreign_objects_do_not_make_a_poll_dearer(tmp_path: Path) -> None:
    costs, memory = [], []
    for objects in (0, 100_000):
        bench = made(tmp_path / str(objects))
        fill(bench.s3, objects)
        bench.s3.sort()
        for bucket in BUCKETS:
            bench.s3.put(bucket, "x", age_s=60)
        tracemalloc.start()
        bench.watcher._poll(whole=True)
        bench.put_chunk(), bench.put_traces(), bench.put_metrics()
        bench.requests()
        assert len(bench.objects()) == 3
        costs.append([bench.requests() for _ in range(5)])
        memory.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert not bench.watcher.problems
        assert bench.watcher.last_listing_ns["tempo-traces"] > BEGAN_NS + 10 * NS
    # A row of Tempo's listing is a block, so these have some pages of them; nothing else is more.
    pages = -(-100_000 // 3 // 4 // 1000)
    assert set(costs[0]) == {6}
    assert max(costs[1]) <= 6 + pages - 1
    assert memory[1] - memory[0] < 1_000_000


def test_many_users_are_looked_at_in_turn_with_a_bounded_number_of_requests(tmp_path: Path) -> None:
    bench = made(tmp_path, logs={"users": 500}, metrics={"users": 0}, traces={"users": 0})
    bench.s3.most = 2
    fill(bench.s3, 30_000)
    for user in range(500):
        bench.put_chunk(user)
    polls = 0
    while not bench.watcher.last_listing_ns:
        assert bench.requests() <= MAX_REQUESTS
        polls += 1
    while not bench.watcher.last_listing_ns["loki-chunks"]:
        assert bench.requests() <= MAX_REQUESTS
        polls += 1
    assert 1 < polls < 30
    assert bench.objects()["stream"].nunique() == 500


def test_many_users_take_no_more_requests_than_the_pages_of_the_bucket(tmp_path: Path) -> None:
    bench = made(tmp_path, logs={"users": 500}, metrics={"users": 0}, traces={"users": 0})
    fill(bench.s3, 30_000)
    for user in range(500):
        bench.put_chunk(user)
    assert bench.requests() <= 10_500 // 1000 + 2
    assert len(bench.objects()) == 500


def test_few_users_among_very_many_streams_bring_few_rows_after_the_first_cycle(tmp_path: Path) -> None:
    bench = made(tmp_path, logs={"users": 50}, metrics={"users": 0}, traces={"users": 0})
    fill(bench.s3, 30_000)
    for user in range(50):
        bench.put_chunk(user)
    for _ in range(3):
        assert bench.requests() <= MAX_REQUESTS
    rows, _ = bench.run.rows("stack")
    first, *later = rows.loc[rows["metric"] == "last_listing", "value"].tolist()
    assert first > 5_000 and later == [50, 50]
    assert len(bench.objects()) == 50


def test_streams_whose_data_is_complete_are_asked_for_no_more(bench: Bench) -> None:
    for user in range(3):
        bench.put_chunk(user, 0, 20)
    bench.put_chunk(0, 20.001, 31)
    bench.watcher.poll_once()
    bench.end_load(30)
    bench.watcher.poll_once()
    bench.s3.lists.clear()
    bench.watcher.poll_once()
    left = {prefix.split("/")[1] for bucket, prefix in bench.s3.lists if bucket == "loki-chunks"}
    assert left == {bench.plan.logs.fingerprint(user) for user in (1, 2)}
    bench.put_chunk(1, 20.001, 31)
    bench.put_chunk(2, 20.001, 31)
    bench.watcher.poll_once()
    bench.s3.lists.clear()
    bench.watcher.poll_once()
    assert not [prefix for bucket, prefix in bench.s3.lists if bucket == "loki-chunks"]
    assert bench.watcher.last_listing_ns["loki-chunks"] > BEGAN_NS + 10 * NS


def test_chunks_that_come_out_of_their_order_are_all_found(bench: Bench) -> None:
    spans = [(0, 9), (300, 309), (10, 299), (5, 7000), (290, 320), (7001, 30_000), (25_000, 40_000), (24_000, 24_001)]
    for first, last in spans:
        bench.put_chunk(0, first, last)
        bench.watcher.poll_once()
        bench.s3.now_ns += 60 * NS
    assert len(bench.objects()) == len(spans)
    bench.watcher.poll_once()
    assert len(bench.objects()) == len(spans)


@pytest.mark.parametrize("users", [3, 100])
def test_old_chunks_of_a_long_run_are_neither_listed_nor_stored_again(tmp_path: Path, users: int) -> None:
    bench = made(tmp_path, logs={"users": users}, metrics={"users": 0}, traces={"users": 0})
    for number in range(200):
        for user in range(users):
            bench.put_chunk(user, number * 300, number * 300 + 299.999)
        if number % 50 == 49:
            bench.watcher.poll_once()
    bench.watcher.poll_once()
    stored = bench.objects()
    assert len(stored) == stored["key"].nunique() == 200 * users
    rows, _ = bench.run.rows("stack")
    if users == 3:
        assert rows.loc[rows["metric"] == "last_listing", "value"].iloc[-1] < 40 * users


def test_a_listing_of_many_pages_is_read_to_the_end(bench: Bench) -> None:
    bench.s3.most = 3
    for number in range(20):
        bench.put_chunk(1, number * 10, number * 10 + 9)
        bench.put_traces(str(uuid.UUID(int=number)))
        bench.put_metrics(made_s=number)
    bench.watcher.poll_once()
    assert bench.objects()["component"].value_counts().to_dict() == {"loki": 20, "tempo": 20, "mimir": 20}


def test_buckets_of_signals_that_nobody_sends_are_left_alone(tmp_path: Path) -> None:
    bench = made(tmp_path, metrics={"users": 0}, traces={"users": 0})
    bench.watcher.poll_once()
    assert {bucket for bucket, _ in bench.s3.lists} == {"loki-chunks"}


# -- streams under other names -------------------------------------------------------------------------------------


def strangers(bench: Bench) -> list[float]:
    rows, _ = bench.run.rows("stack")
    values: list[float] = rows.loc[rows["metric"] == "other_streams", "value"].tolist()
    return values


def test_other_streams_of_the_runs_time_are_counted_while_nothing_of_the_run_is_there(bench: Bench) -> None:
    first = BEGAN_NS // MS
    for number in range(3):
        bench.s3.put("loki-chunks", f"fake/{number + 1:x}/{first:x}:{first + 900:x}:1")
    bench.s3.put("loki-chunks", f"fake/77/{first - 90_000:x}:{first - 80_000:x}:1")
    bench.s3.put("loki-chunks", f"fake/78/{first:x}:{first + 900:x}:1", age_s=100)
    bench.watcher.poll_once()
    bench.put_chunk()
    bench.watcher.poll_once()
    assert strangers(bench) == [3, 0]


def test_a_running_watcher_counts_no_other_streams(bench: Bench) -> None:
    bench.requests()
    assert strangers(bench) == []


# -- clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [-90.0, -0.4, 0.4, 90.0])
def test_a_server_clock_that_is_wrong_is_measured_and_corrected(bench: Bench, ahead_s: float) -> None:
    bench.s3.ahead_ns = round(ahead_s * NS)
    for _ in range(40):
        bench.watcher.poll_once()
        bench.s3.now_ns += 130_000_000
    bench.put_chunk()
    put_ns = bench.s3.now_ns
    bench.watcher.poll_once()
    assert abs(bench.watcher.clock_difference_ns - bench.s3.ahead_ns) < 100_000_000
    [row] = bench.objects().itertuples()
    assert -NS - 100_000_000 <= row.modified_ns - put_ns <= 100_000_000
    rows, _ = bench.run.rows("stack")
    low, high = (rows.loc[rows["metric"] == f"clock_ahead_{end}_s", "value"].iloc[-1] for end in ("min", "max"))
    assert low <= ahead_s <= high and high - low < 0.3


def test_equal_clocks_are_not_corrected_for_the_headers_whole_seconds(bench: Bench) -> None:
    for _ in range(20):
        bench.watcher.poll_once()
        bench.s3.now_ns += 310_000_000
    assert bench.watcher.clock_difference_ns == 0


def test_a_server_that_tells_no_time_is_not_compared(bench: Bench) -> None:
    bench.s3.dated = False
    bench.put_chunk()
    bench.watcher.poll_once()
    assert bench.watcher.clock_difference_ns == 0 and len(bench.objects()) == 1
    assert not bench.run.rows("stack")[0]["metric"].str.startswith("clock").any()


# -- what goes wrong -----------------------------------------------------------------------------------------------


def test_a_bucket_that_cannot_be_listed_is_told_and_the_others_are_watched(bench: Bench) -> None:
    bench.s3.fails["list loki-chunks"] = refused("AccessDenied")
    bench.put_metrics()
    bench.watcher.poll_once()
    bench.watcher.poll_once()
    [problem] = bench.watcher.problems
    assert "s3:9000/loki-chunks: AccessDenied" in problem and "(2 times)" in problem
    assert bench.objects()["component"].tolist() == ["mimir"]
    assert bench.watcher.last_listing_ns["loki-chunks"] == 0 < bench.watcher.last_listing_ns["mimir-blocks"]


def test_a_missing_bucket_is_told_once(bench: Bench) -> None:
    bench.s3.fails["list tempo-traces"] = refused("NoSuchBucket", 404)
    for _ in range(3):
        bench.watcher.poll_once()
    [problem] = bench.watcher.problems
    assert "tempo-traces: NoSuchBucket" in problem and "(3 times)" in problem


def test_successful_listings_are_recorded_for_the_judge(bench: Bench) -> None:
    bench.s3.fails["list tempo-traces"] = ConnectionError("away")
    bench.watcher.poll_once()
    rows, _ = bench.run.rows("stack")
    rows = rows[rows["metric"] == "last_listing"]
    assert set(rows["labels"]) == {"component=loki,bucket=loki-chunks", "component=mimir,bucket=mimir-blocks"}
    assert (rows["component"] == "s3").all()
    assert sorted(rows["at_ns"]) == sorted(t for t in bench.watcher.last_listing_ns.values() if t)


def test_a_credential_that_may_only_list_is_told_once_and_finds_what_keys_tell(bench: Bench) -> None:
    for name in ("tempo-traces", "mimir-blocks"):
        bench.s3.fails[f"get {name}"] = refused("AccessDenied")
    bench.put_chunk()
    for number in range(4):
        bench.put_traces(str(uuid.UUID(int=number)))
        bench.put_metrics(made_s=number)
    listed = []
    for _ in range(5):
        bench.requests()
        listed.append(bench.watcher.last_listing_ns["tempo-traces"] > 0)
    assert len(bench.watcher.problems) == 2
    assert all("AccessDenied" in problem and "(4 times)" in problem for problem in bench.watcher.problems)
    objects = bench.objects()
    assert (objects["detail"] != "").sum() == 8 and len(objects) == 9
    # Nobody can say that a bucket was looked through while there is something to try again.
    assert listed == [False, False, True, True, True]


def test_a_single_look_at_everything_tells_what_cannot_be_read(bench: Bench) -> None:
    for name in ("tempo-traces", "mimir-blocks"):
        bench.s3.fails[f"get {name}"] = refused("AccessDenied")
    bench.put_traces()
    bench.put_metrics()
    bench.watcher.poll_once()
    assert len(bench.watcher.problems) == 2 and all("AccessDenied" in detail for detail in bench.objects()["detail"])
    assert all(bench.watcher.last_listing_ns[name] for name in ("tempo-traces", "mimir-blocks"))


def test_s3_that_is_away_for_a_while_is_told_once_and_loses_nothing(bench: Bench) -> None:
    bench.put_chunk()
    bench.put_traces()
    bench.put_metrics()
    for name in ("loki-chunks", "tempo-traces", "mimir-blocks"):
        bench.s3.fails[f"list {name}"] = ConnectionError(f"Could not connect, {name}")
    for number in range(5):
        bench.s3.fails["list loki-chunks"] = ConnectionError(f"Could not connect to ?start-after={number}")
        bench.watcher.poll_once()
    assert len(bench.watcher.problems) == 3 and all("(5 times)" in problem for problem in bench.watcher.problems)
    bench.s3.fails = {f"get {name}": TimeoutError("slow") for name in ("tempo-traces", "mimir-blocks")}
    for _ in range(5):
        bench.watcher.poll_once()
    assert not bench.watcher.last_listing_ns["tempo-traces"]
    bench.s3.fails.clear()
    bench.watcher.poll_once()
    objects = bench.objects()
    assert len(objects) == 3 and not objects["detail"].any()


def test_a_block_that_stays_unreadable_is_stored_with_the_reason(bench: Bench) -> None:
    prefix = bench.put_metrics()
    bench.s3.put("mimir-blocks", f"{prefix}/meta.json", b"{broken")
    for _ in range(5):
        bench.requests()
    [row] = bench.objects().itertuples()
    assert "meta.json is not JSON" in row.detail and row.through_ns == 0
    assert len(bench.watcher.problems) == 1 and len(bench.s3.gets) == 3


def test_a_listing_that_does_not_say_where_it_goes_on_is_no_listing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.s3, "list_objects_v2", lambda **_: {"KeyCount": 0, "IsTruncated": True})
    bench.watcher.poll_once()
    assert "incomplete" in bench.watcher.problems[0] and not any(bench.watcher.last_listing_ns.values())


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
    bench.put_chunk()
    for _ in range(500):
        if len(bench.objects()):
            break
        threading.Event().wait(0.01)
    assert len(bench.objects()) == 1
    bench.put_metrics()
    bench.watcher.stop()
    assert len(bench.objects()) == 2 and threading.active_count() == before
    assert len(bench.run.rows("stack")[0]) >= 3


def test_a_full_disk_keeps_the_rows_for_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from loadgen.history.directory import RunDirError

    def full(*_: object) -> None:
        raise RunDirError("disk full")

    bench.put_chunk()
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "append", full)
        bench.watcher.poll_once()
    assert "disk full" in bench.watcher.problems[0] and bench.objects().empty
    bench.watcher.poll_once()
    assert len(bench.objects()) == 1


def test_every_signal_has_its_bucket() -> None:
    target = S3Target()
    assert len({target.bucket(kind_of(signal).store) for signal in Signal}) == 3


# -- what Mimir's blocks hold --------------------------------------------------------------------------------------


def test_a_block_tells_of_each_user_how_many_series_it_holds(bench: Bench) -> None:
    bench.put_metrics([*bench.series(0)[:3], *bench.series(1), *bench.series(0, run="another")])
    bench.watcher.poll_once()
    [row] = bench.objects().itertuples()
    assert row.ids == struct.pack("<4I", 0, 3, 1, 4)


def test_samples_that_came_out_of_order_and_what_compaction_made_of_them_are_certain_of_nothing(bench: Bench) -> None:
    late = bench.put_metrics(made_s=5, hints=["from-out-of-order"]).split("/")[1]
    other = bench.put_metrics(made_s=4).split("/")[1]
    bench.put_metrics(made_s=2, level=2, sources=[late, other])
    bench.put_metrics(made_s=1, level=2, length_s=4000)
    bench.watcher.poll_once()
    rows = bench.objects().sort_values("key")
    assert [cut_ns > 1 for cut_ns in rows["cut_ns"]] == [False, True, False, False]


def test_of_a_block_of_traces_only_the_ids_of_the_run_are_kept(bench: Bench) -> None:
    bench.ids += [bytes([7]) * 16, bytes([9]) * 16]
    bench.put_traces()
    bench.watcher.poll_once()
    [row] = bench.objects().itertuples()
    ours = np.frombuffer(b"".join(bench.ids[:3]), "S16")
    assert held_ids(bench.plan, row.ids, row.traces).tolist() == sorted(ours.tolist())


def test_traces_of_the_sdk_probe_are_of_the_run(bench: Bench) -> None:
    source = bench.plan.traces
    bench.ids = [one.tobytes() for one in source.trace_ids(source.batch(SDK_USER, 1))]
    bench.put_traces()
    bench.watcher.poll_once()
    assert len(bench.objects()) == 1
