"""What was acknowledged stays: through flushes, restarts and kills, with S3 there or away."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import signal
import threading
import time
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pytest
import requests
from mimir_harness import Client, Process, Series, message, packed, served

from loadgen.lab.mimir.blocks import BLOCK_RANGE_MS, decode, is_ulid, new_ulid
from loadgen.lab.mimir.head import SampleColumns
from loadgen.lab.mimir.promql_values import LabelMatcher, MatchKind
from loadgen.lab.mimir.series import spelling_of
from loadgen.lab.mimir.store import SampleStore
from loadgen.lab.s3.localstore import MemoryStore
from loadgen.lab.s3.store import StoreError

NOW_MS = int(time.time() * 1000)
UP = [LabelMatcher("__name__", MatchKind.EQUAL, "up")]


def up(*samples: tuple[int, float], **labels: str) -> Series:
    return Series({"__name__": "up", **labels}, samples)


def objects(directory: Path) -> dict[str, bytes]:
    bucket = directory / "bucket"
    return {unquote(path.name): path.read_bytes() for path in bucket.iterdir()} if bucket.exists() else {}


def test_a_flush_writes_blocks_that_meet_at_two_hours_and_do_not_cross_them(tmp_path: Path) -> None:
    edge = NOW_MS // BLOCK_RANGE_MS * BLOCK_RANGE_MS
    with served(tmp_path) as client:
        client.push(up((edge - 1000, 1.0), (edge - 7, 2.0), (edge + 3, 3.0)))
        client.push(up((edge + 5, 4.0), a="b"))
        client.flush()
        found = objects(tmp_path)
        index = json.loads(gzip.decompress(found["anonymous/bucket-index.json.gz"]))
        metas = [json.loads(found[f"anonymous/{block['block_id']}/meta.json"]) for block in index["blocks"]]
        assert [(m["minTime"], m["maxTime"]) for m in metas] == [(edge - 1000, edge), (edge, edge + 6)]
        assert [m["stats"]["numSamples"] for m in metas] == [2, 2]
        assert [m["stats"]["numSeries"] for m in metas] == [1, 2]
        for meta in metas:
            prefix = f"anonymous/{meta['ulid']}"
            assert is_ulid(meta["ulid"])
            assert (meta["thanos"]["labels"], meta["out_of_order"]) == ({}, False)
            assert meta["thanos"]["files"][0]["size_bytes"] == len(found[f"{prefix}/chunks/000001"])
            block = decode(meta["ulid"], found[f"{prefix}/index"], found[f"{prefix}/chunks/000001"])
            assert len(block.values) == meta["stats"]["numSamples"]
        assert client.samples("up", edge + 5) == {
            '{"__name__": "up"}': [(edge - 1000, 1.0), (edge - 7, 2.0), (edge + 3, 3.0)],
            '{"__name__": "up", "a": "b"}': [(edge + 5, 4.0)],
        }
        assert "cortex_ingester_shipper_uploads_total 2\n" in client.get("/metrics").text


def test_ulids_sort_by_time() -> None:
    names = [new_ulid(moment) for moment in (1, 2, NOW_MS, NOW_MS + 1)]
    assert names == sorted(names)
    assert all(is_ulid(name) for name in names)


def test_a_flush_happens_by_itself_when_data_is_old_enough(tmp_path: Path) -> None:
    with served(tmp_path, flush_age_s=0.2) as client:
        client.push(up((NOW_MS, 1.0)))
        limit = time.monotonic() + 5
        while not any(key.endswith("meta.json") for key in objects(tmp_path)) and time.monotonic() < limit:
            time.sleep(0.02)
        assert client.only("up", NOW_MS) == [(NOW_MS, 1.0)]
        assert any(key.endswith("meta.json") for key in objects(tmp_path))


def test_everything_acknowledged_is_there_after_sigkill_under_load(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with Process(tmp_path, flush_age_s=0.1) as server:
        stop = threading.Event()

        def load() -> None:
            client = Client(server.client.url)
            moment = NOW_MS - 100_000
            while not stop.is_set():
                moment += 7
                with contextlib.suppress(requests.RequestException):
                    rows = [up((moment, float(moment)), series=f"{i:03d}") for i in range(20)]
                    if client.push(*rows).status_code == 200:
                        acknowledged.append(moment)

        thread = threading.Thread(target=load)
        thread.start()
        for _ in range(2):
            time.sleep(0.6)
            before = len(acknowledged)
            assert before > 10
            server.stop(signal.SIGKILL)
            assert server.start() < 5
        time.sleep(0.3)
        stop.set()
        thread.join()
        found = server.client.samples("up", NOW_MS + 1_000_000, "2d")
        assert len(found) == 20
        for samples in found.values():
            times = [moment for moment, _ in samples]
            assert set(acknowledged) <= set(times)
            assert len(times) == len(set(times))
            assert all(value == moment for moment, value in samples)
        assert server.stop() == 0


def test_old_samples_are_refused_after_a_restart_also_for_flushed_series(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.push(up((NOW_MS, 4.0)))
        client.flush()
    with served(tmp_path) as client:
        assert "err-mimir-sample-out-of-order" in client.push(up((NOW_MS - 1, 1.0))).text
        assert "err-mimir-sample-duplicate-timestamp" in client.push(up((NOW_MS, 5.0))).text
        assert client.push(up((NOW_MS, 4.0))).status_code == 200
        assert client.push(up((NOW_MS + 1, 5.0))).status_code == 200
        assert client.only("up", NOW_MS + 1) == [(NOW_MS, 4.0), (NOW_MS + 1, 5.0)]


def test_blocks_are_found_after_the_data_directory_is_lost(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.push(up((NOW_MS, 4.0), a="b"))
        client.flush()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "bucket" / quote("anonymous/bucket-index.json.gz", safe="")).unlink()
    with served(tmp_path) as client:
        assert client.get("/prometheus/api/v1/label/a/values").json()["data"] == ["b"]
        client.push(up((NOW_MS + 1, 5.0), a="b"), up((NOW_MS + 1, 6.0), a="c"))
        assert client.samples("up", NOW_MS + 1) == {
            '{"__name__": "up", "a": "b"}': [(NOW_MS, 4.0), (NOW_MS + 1, 5.0)],
            '{"__name__": "up", "a": "c"}': [(NOW_MS + 1, 6.0)],
        }


def test_defects_survive_a_restart(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        for place, kind in enumerate(("lose", "double", "alter", "delay")):
            client.defect(kind, delay_s=3600)
            client.push(Series({"__name__": f"m_{kind}"}, [(NOW_MS + place, 5.0)]))
    with served(tmp_path) as client:
        found = client.samples('{__name__=~"m_.*"}', NOW_MS + 10)
        assert found == {
            '{"__name__": "m_alter"}': [(NOW_MS + 2, 11.0)],
            '{"__name__": "m_double"}': [(NOW_MS + 1, 5.0), (NOW_MS + 2, 5.0)],
        }


def columns(*rows: tuple[int, int, float]) -> SampleColumns:
    return SampleColumns(
        np.array([row[0] for row in rows], dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.int64),
        np.array([row[2] for row in rows]),
    )


def put(store: SampleStore, *rows: tuple[int, int, float]) -> None:
    with store.writing:
        with store.lock:
            for sid, _, _ in rows:
                store.add_series(spelling_of((("__name__", "up"), ("s", str(sid)))))
            store.log_series()
        samples = columns(*rows)
        written = store.write(samples)
        store.registry.note(samples.sids, samples.times_ms, samples.values)
    store.wait(written)


def test_nothing_is_lost_while_s3_is_away(tmp_path: Path) -> None:
    bucket = MemoryStore()
    store = SampleStore(tmp_path, "anonymous", bucket)
    assert len(store.select(UP, 0, 10).times) == 0
    put(store, (0, 1, 1.0))
    bucket.away = True
    for moment in (2, 3):
        with pytest.raises(StoreError):
            store.flush()
        put(store, (0, moment, float(moment)))
        assert store.select(UP, 0, 10).times.tolist() == list(range(1, moment + 1))
    assert store.head_samples == 3
    store.close()
    again = SampleStore(tmp_path, "anonymous", bucket)
    assert again.replayed_samples == 3
    bucket.away = False
    assert again.select(UP, 0, 10).times.tolist() == [1, 2, 3]
    assert again.flush() == 1
    assert again.select(UP, 0, 10).times.tolist() == [1, 2, 3]
    assert again.head_samples == 0
    again.close()


def test_a_crash_between_upload_and_cleaning_up_doubles_nothing(tmp_path: Path) -> None:
    bucket = MemoryStore()
    store = SampleStore(tmp_path / "a", "anonymous", bucket)
    put(store, (0, 1, 1.0), (1, 2, 2.0))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    store.flush()
    store.close()
    again = SampleStore(tmp_path / "b", "anonymous", bucket)
    found = again.select(UP, 0, 10)
    assert (found.times.tolist(), found.values.tolist(), found.starts.tolist()) == ([1, 2], [1.0, 2.0], [0, 1, 2])
    again.close()


def test_reads_during_flushes_see_every_sample(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "anonymous", MemoryStore())
    put(store, (0, 1, 1.0))
    stop = threading.Event()
    failures: list[BaseException] = []

    def flush() -> None:
        try:
            while not stop.is_set():
                store.flush()
        except BaseException as error:  # noqa: BLE001 - handed to the thread of the test
            failures.append(error)

    thread = threading.Thread(target=flush)
    thread.start()
    for moment in range(2, 60):
        put(store, (0, moment, float(moment)))
        assert store.select(UP, 0, 1000).times.tolist() == list(range(1, moment + 1))
    stop.set()
    thread.join()
    store.close()
    assert not failures


def test_a_damaged_block_costs_only_itself(tmp_path: Path) -> None:
    bucket = MemoryStore()
    store = SampleStore(tmp_path / "a", "anonymous", bucket)
    put(store, (0, 1, 1.0))
    store.flush()
    put(store, (0, 2, 2.0))
    store.flush()
    store.close()
    first = min(key for key in bucket.objects if key.endswith("/index"))
    bucket.objects[first] = b"not an index"
    again = SampleStore(tmp_path / "a", "anonymous", bucket)
    assert again.select(UP, 0, 10).times.tolist() == [2]
    again.close()


def test_a_large_push_is_fast_and_its_body_is_not_kept(tmp_path: Path) -> None:
    rows = [up((NOW_MS, float(i) + 0.5), series=f"{i:05d}") for i in range(2000)]
    with served(tmp_path) as client:
        for step in range(3):
            moved = [Series(row.labels, [(NOW_MS + step, row.samples[0][1] + step)]) for row in rows]
            assert client.push_body(packed(message(*moved))).status_code == 200
        counts = client.query("count_over_time(up[5m])", time=(NOW_MS + 10) / 1000)
        assert len(counts) == 2000
        assert {row["value"][1] for row in counts} == {"3"}
        assert client.query('up{series="00007"}', time=(NOW_MS + 10) / 1000)[0]["value"][1] == "9.5"


def test_forgotten_samples_are_read_until_the_process_ends_unless_they_reached_s3(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.defect("forget", count=2)
        client.push(up((NOW_MS, 1.0), a="flushed"))
        client.flush()
        client.push(up((NOW_MS + 1, 2.0), a="lapsed"), up((NOW_MS + 1, 3.0), a="kept"))
        assert len(client.samples("up", NOW_MS + 10)) == 3
    with served(tmp_path) as client:
        assert set(client.samples("up", NOW_MS + 10)) == {
            '{"__name__": "up", "a": "flushed"}',
            '{"__name__": "up", "a": "kept"}',
        }


def test_a_withheld_block_is_read_and_kept_in_the_log_until_it_goes_to_s3(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.defect("withhold", delay_s=3600)
        client.push(up((NOW_MS, 1.0), a="b"))
        client.flush()
        assert blocks(tmp_path) == 0
        client.push(up((NOW_MS + 1, 2.0), a="b"))
        client.flush()
        assert blocks(tmp_path) == 1
        assert client.only("up", NOW_MS + 10) == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
    with served(tmp_path) as client:
        assert client.only("up", NOW_MS + 10) == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]
        client.defect("withhold", delay_s=3600)
        client.flush()
        assert blocks(tmp_path) == 1
        assert client.delete("/lab/defects").status_code == 204
        client.flush()
        assert blocks(tmp_path) == 2
        assert client.only("up", NOW_MS + 10) == [(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]


def test_a_refused_push_is_a_429_that_says_when_to_come_again(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.defect("refuse")
        answer = client.push(up((NOW_MS, 1.0)))
        assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)
        assert client.push(up((NOW_MS, 1.0))).status_code == 200


def test_a_broken_push_is_a_500_and_stores_everything(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        client.defect("break")
        assert client.push(up((NOW_MS, 1.0))).status_code == 500
        assert client.push(up((NOW_MS, 1.0))).status_code == 200
        assert client.only("up", NOW_MS + 10) == [(NOW_MS, 1.0)]


def blocks(directory: Path) -> int:
    return len(list((directory / "bucket").glob("*meta.json")))
