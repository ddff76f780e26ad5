from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from loki_harness import NOW_NS, NS, Clock, loki, wait_for

from loadgen.lab.loki.chunks import ChunkError, Entries, chunk_ref, decode_chunk, encode_chunk
from loadgen.lab.s3.localstore import MemoryStore
from loadgen.lab.s3.store import StoreError
from loadgen.lab.settings import ServerSettings

CHUNK = re.compile(r"fake/[0-9a-f]+/[0-9a-f]+:[0-9a-f]+:[0-9a-f]+")
NEW_INDEX = r"\d{10}-lab-[0-9a-f]{8}-\d{19}"
MERGED_INDEX = r"fake/\d{19}-compactor-\d+-\d+-[0-9a-f]+"
INDEX = re.compile(rf"index/index_20780/({NEW_INDEX}|{MERGED_INDEX})\.tsdb\.gz")


def segments(directory: Path) -> int:
    return sum(path.stat().st_size for path in (directory / "wal").glob("*.wal"))


def test_a_flushed_stream_has_the_real_key_and_leaves_memory_and_log(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        labels = {"job": "loadgen", "service_name": "loadgen", "signal": "logs", "stream_id": "0001"}
        client.push((labels, [(str(NOW_NS), "a"), (str(NOW_NS + 1_500_000), "b")]))
        assert segments(tmp_path) > 0
        client.flush()
        keys = sorted(client.store.objects)
        chunk = next(k for k in keys if CHUNK.fullmatch(k))
        # The fingerprint that a real Loki gave this label set; the last millisecond is rounded up.
        assert chunk.startswith(f"fake/ed2589015d8ccafa/{NOW_NS // 10**6:x}:{NOW_NS // 10**6 + 2:x}:")
        assert [k for k in keys if k != chunk and not INDEX.fullmatch(k)] == []
        wait_for(lambda: segments(tmp_path) == 0)
        assert client.metric("loki_ingester_memory_streams") == 0
        assert client.texts('{job="loadgen"}', end=NOW_NS + NS) == ["a", "b"]


def test_what_is_old_enough_is_flushed_by_itself_and_the_rest_stays(tmp_path: Path) -> None:
    with loki(tmp_path, flush_age_s=5) as client:
        client.lines(3)
        client.clock.now_ns += 3 * NS
        client.lines(3, {"app": "a", "pod": "later"})
        client.clock.now_ns += 3 * NS
        wait_for(lambda: client.metric("loki_ingester_memory_streams") == 1)
        assert sum(bool(CHUNK.fullmatch(k)) for k in client.store.objects) == 1
        assert segments(tmp_path) > 0
        assert client.total() == 6


def test_chunks_of_a_stream_in_order_do_not_overlap(tmp_path: Path) -> None:
    with loki(tmp_path) as client:
        for n in range(4):
            client.lines(10, back_ns=(40 - n * 10) * NS)
            client.flush()
        chunks = (k.split("/")[2].split(":") for k in client.store.objects if CHUNK.match(k))
        spans = sorted((int(first, 16), int(last, 16)) for first, last, _ in chunks)
        assert len(spans) == 4
        assert all(before[1] < after[0] for before, after in pairwise(spans))
        assert client.total() == 40


def test_a_restart_reads_the_log_and_s3(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.lines(5, back_ns=20 * NS)
        client.flush()
        client.lines(7, back_ns=10 * NS)
    with loki(tmp_path, store, clock=clock) as client:
        assert client.metric("loki_ingester_wal_recovered_entries_total") == 7
        assert client.total() == 12
        assert client.get("/loki/api/v1/label/app/values").json()["data"] == ["a"]
        client.lines(1, back_ns=5 * NS)
        client.flush()
        assert client.total() == 13


def test_everything_is_found_again_from_s3_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    with loki(tmp_path / "one", store) as client:
        client.push(({"app": "a", "odd": 'q"\\\n'}, [(str(NOW_NS), "x", {"trace_id": "t"})]))
        client.flush()
        before = client.range('{app="a"}')
    with loki(tmp_path / "two", store) as client:
        assert client.range('{app="a"}') == before != []


def test_while_s3_is_away_nothing_is_lost_and_it_is_flushed_later(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock, flush_age_s=1) as client:
        client.lines(5, back_ns=30 * NS)
        client.flush()
        store.away = True
        client.lines(5, back_ns=20 * NS)
        clock.now_ns += 2 * NS
        wait_for(lambda: client.metric("loki_ingester_chunks_flush_failures_total") > 1)
        client.lines(5, back_ns=10 * NS)
        assert client.total() == 15
    with loki(tmp_path, store, clock=clock, flush_age_s=1) as client:
        client.lines(5, back_ns=5 * NS)
        failed = client.get("/loki/api/v1/query", 500, query='sum(count_over_time({app="a"}[1h]))')
        assert "the store is away" in failed.text
        store.away = False
        assert client.total() == 20
        clock.now_ns += 2 * NS
        wait_for(lambda: client.metric("loki_ingester_memory_chunks") == 0)
        assert client.total() == 20
        wait_for(lambda: segments(tmp_path) == 0)


class StopsAtIndex(MemoryStore):
    """Takes chunks, but no index: S3 going away in the middle of a flush."""

    refuse = True

    def put(self, key: str, data: bytes) -> None:
        if self.refuse and key.startswith("index/"):
            raise StoreError(f"{key}: gone")
        super().put(key, data)


def test_a_flush_cut_short_between_chunk_and_index_neither_loses_nor_doubles(tmp_path: Path) -> None:
    store, clock = StopsAtIndex(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.lines(5)
        client.session.post(f"{client.url}/flush")
        wait_for(lambda: client.metric("loki_ingester_chunks_flush_failures_total") >= 1)
        assert client.total() == 5
    with loki(tmp_path, store, clock=clock) as client:
        client.lines(5, first=5)
        assert client.total() == 10
        store.refuse = False
        client.flush()
        assert client.total() == 10
    with loki(tmp_path, store, clock=clock) as client:
        assert client.texts('{app="a"}') == [f"level=info seq={i}" for i in range(10)]


class Slow(MemoryStore):
    """Takes its time with every chunk."""

    def put(self, key: str, data: bytes) -> None:
        time.sleep(0.2)
        super().put(key, data)


def test_lines_that_arrive_during_a_flush_are_visible_and_kept(tmp_path: Path) -> None:
    store, clock = Slow(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        client.lines(5, back_ns=20 * NS)
        client.session.post(f"{client.url}/flush")
        wait_for(lambda: client.metric("loki_ingester_flush_queue_length") == 1)
        client.lines(5, back_ns=10 * NS)
        assert client.total() == 10
        wait_for(lambda: client.metric("loki_ingester_memory_chunks") == 1)
        assert client.total() == 10
    with loki(tmp_path, store, clock=clock) as client:
        assert client.total() == 10
        assert client.metric("loki_ingester_wal_recovered_entries_total") == 5


def test_many_index_files_are_merged_and_still_found(tmp_path: Path) -> None:
    store, clock = MemoryStore(), Clock()
    with loki(tmp_path, store, clock=clock) as client:
        for n in range(70):
            client.lines(1, back_ns=(100 - n) * NS)
            client.flush()
        indexes = [k for k in store.objects if INDEX.fullmatch(k)]
        assert len(indexes) < 10
        assert client.total() == 70
    with loki(tmp_path, store, clock=clock) as client:
        assert client.total() == 70


def test_a_chunk_that_s3_lost_is_an_error_and_not_a_silent_gap(tmp_path: Path) -> None:
    store = MemoryStore()
    with loki(tmp_path, store) as client:
        client.lines(5)
        client.flush()
    store.delete(next(k for k in store.objects if CHUNK.fullmatch(k)))
    with loki(tmp_path, store) as client:
        failed = client.get("/loki/api/v1/query", 500, query='sum(count_over_time({app="a"}[1h]))', time=NOW_NS)
        assert "the bucket does not have it" in failed.text


metadata = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(tuple)


@given(rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), metadata), min_size=1))
@settings(max_examples=60, deadline=None)
def test_a_chunk_gives_back_what_was_put_in(rows: list[tuple[int, bytes, tuple[tuple[str, str], ...]]]) -> None:
    entries = Entries([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows])
    data = encode_chunk((("a", "b"),), entries)
    assert decode_chunk(data, chunk_ref("fake", "1", entries, data).key) == entries


@given(at=st.integers(0, 10_000), byte=st.integers(1, 255), cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_damaged_chunk_is_named(at: int, byte: int, cut: bool) -> None:
    entries = Entries([1, 2], [b"abc", b"defg"], [(), (("x", "y"),)])
    data = bytearray(encode_chunk((("a", "b"),), entries))
    key = chunk_ref("fake", "1", entries, bytes(data)).key
    at %= len(data)
    damaged = data[:at] if cut else data[:at] + bytes([data[at] ^ byte]) + data[at + 1 :]
    with pytest.raises(ChunkError, match="fake/1/"):
        decode_chunk(bytes(damaged), key)


def start(config: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "loadgen.lab.loki.server", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stderr is not None
    for row in process.stderr:
        if found := re.search(r"listens on (\S+)", row):
            return process, f"http://{found.group(1)}"
    raise AssertionError("the server did not start")


def test_after_sigkill_everything_acknowledged_is_there(tmp_path: Path) -> None:
    config = tmp_path / "loki.json"
    bucket = f"file://{tmp_path / 'bucket'}"
    ServerSettings("loki", str(tmp_path / "data"), s3_endpoint=bucket, flush_age_s=0.2, flush_check_s=0.05).save(config)
    session = requests.Session()
    sent = 0
    for round_number in range(3):
        process, url = start(config)
        try:
            deadline = time.monotonic() + 0.4
            while time.monotonic() < deadline:
                values = [[str(time.time_ns() + i), f"seq={sent + i}"] for i in range(10)]
                body = {"streams": [{"stream": {"app": "a"}, "values": values}]}
                assert session.post(f"{url}/loki/api/v1/push", json=body).status_code == 204
                sent += 10
            query = {"query": 'sum(count_over_time({app="a"}[1h]))', "time": str(time.time_ns() + NS)}
            found = session.get(f"{url}/loki/api/v1/query", params=query).json()["data"]["result"]
            assert int(found[0]["value"][1]) == sent, round_number
        finally:
            process.send_signal(signal.SIGKILL if round_number < 2 else signal.SIGTERM)
            assert process.wait(10) == (-signal.SIGKILL if round_number < 2 else 0)
            assert process.stderr is not None
            process.stderr.close()
    assert any((tmp_path / "bucket").iterdir())
