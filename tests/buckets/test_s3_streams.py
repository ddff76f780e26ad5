"""Streams of the run are found though Loki names them otherwise, and the lines of those that it split are counted."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import cramjam
import pytest
from s3_bench import BEGAN_NS, Bench, made, refused

from loadgen.checks import CHECKS, judge
from loadgen.model import MS, NS, Outcome, Receipt, Result

FAST: dict[str, Any] = {"users": 2, "rate": "4MB/s"}


def head(labels: dict[str, str]) -> bytes:
    """The beginning of a chunk, as Loki writes it."""
    header = bytes(cramjam.snappy.compress(json.dumps({"metric": {"__name__": "logs", **labels}}).encode()))
    return struct.pack(">I", len(header) + 4) + header + b"data"


def chunk(lines: int) -> bytes:
    """A chunk with a table of two blocks at its end, as Loki writes it; only that is read."""
    table = bytes([2, lines - 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    return b"head" * 20 + table + b"crc!" + struct.pack(">QQ", 0, 0) + struct.pack(">QQ", len(table), 80)


def put_strangers(bench: Bench, streams: int, content: bytes) -> None:
    first = BEGAN_NS // MS
    for number in range(streams):
        bench.s3.put("loki-chunks", f"fake/{number + 1:x}/{first:x}:{first + 900:x}:1", content)


def strangers(bench: Bench) -> list[float]:
    rows, _ = bench.run.rows("stack")
    values: list[float] = rows.loc[rows["metric"] == "other_streams", "value"].tolist()
    return values


def put_part(bench: Bench, number: int, first_s: float, last_s: float, lines: int) -> None:
    bench.put_chunk(0, first_s, last_s, content=chunk(lines), added={"__stream_shard__": str(number)})


@pytest.mark.parametrize("users", [3, 60])
def test_labels_that_something_on_the_way_added_are_learned_from_a_chunk(tmp_path: Path, users: int) -> None:
    bench = made(tmp_path, logs={"users": users, "lines_per_s": 10})
    put_strangers(bench, 20, head({"app": "other"}))
    for user in range(users):
        labels = {**dict(bench.plan.logs.labels(user)), "cluster": "home"}
        bench.put_chunk(user, content=head(labels), added={"cluster": "home"})
    bench.watcher.poll_once()
    assert set(bench.objects()["stream"]) == {bench.plan.logs.fingerprint(user) for user in range(users)}
    assert strangers(bench) == [0] and "cluster='home' added" in bench.watcher.notes[0]
    bench.put_chunk(0, 10, 19, added={"cluster": "home"})
    bench.watcher.poll_once()
    assert len(bench.objects()) == users + 1


def test_streams_of_others_that_were_looked_into_are_not_counted(tmp_path: Path) -> None:
    bench = made(tmp_path)
    put_strangers(bench, 50, head({"app": "other", "run": "another"}))
    bench.watcher.poll_once()
    assert strangers(bench) == [0] and len(bench.s3.gets) == 50
    bench.watcher.poll_once()
    assert len(bench.s3.gets) == 50 and not bench.watcher.notes


def test_streams_that_cannot_be_looked_into_are_counted(tmp_path: Path) -> None:
    bench = made(tmp_path)
    put_strangers(bench, 5, head({"app": "other"}))
    bench.s3.fails["get loki-chunks"] = refused("AccessDenied")
    bench.watcher.poll_once()
    assert strangers(bench) == [5]
    bench.s3.fails.clear()
    bench.watcher.poll_once()
    assert strangers(bench) == [5, 0]


def test_more_streams_than_can_be_looked_into_are_counted(tmp_path: Path) -> None:
    bench = made(tmp_path)
    put_strangers(bench, 400, head({"app": "other"}))
    bench.watcher.poll_once()
    assert strangers(bench) == [100] and len(bench.s3.gets) == 300


def test_a_stream_of_the_run_whose_labels_explain_nothing_is_counted(tmp_path: Path) -> None:
    bench = made(tmp_path)
    put_strangers(bench, 1, head({"run": "r", "all": "else"}))
    bench.watcher.poll_once()
    assert strangers(bench) == [1] and bench.objects().empty


def test_of_a_stream_that_loki_split_all_parts_are_found_and_their_lines_counted(tmp_path: Path) -> None:
    bench = made(tmp_path, logs=FAST)
    bench.put_chunk(0, 0, 5, content=chunk(10))
    for number in range(3):
        put_part(bench, number, 5, 9, 20 + number)
    bench.requests()
    rows = bench.objects().sort_values("part")
    assert rows["part"].tolist() == [0, 1, 2, 3] and rows["items"].tolist() == [10, 20, 21, 22]
    assert set(rows["stream"]) == {bench.plan.logs.fingerprint(0)} and not any(rows["detail"])
    put_part(bench, 3, 9, 12, 5)
    bench.another().poll_once()
    assert sorted(bench.objects()["part"]) == [0, 1, 2, 3, 4]


def test_lines_that_may_not_be_read_are_not_known(tmp_path: Path) -> None:
    bench = made(tmp_path, logs=FAST)
    bench.put_chunk(0, 0, 5, content=chunk(10))
    bench.s3.fails["get loki-chunks"] = refused("AccessDenied")
    bench.requests()
    assert [(row.items, row.detail) for row in bench.objects().itertuples()] == [(0, "")]


def test_s3_that_goes_away_while_lines_are_counted_loses_no_chunk(tmp_path: Path) -> None:
    bench = made(tmp_path, logs=FAST)
    bench.put_chunk(0, 0, 5, content=chunk(10))
    bench.put_chunk(1, 0, 5, content=chunk(11))
    bench.s3.fails["get loki-chunks"] = ConnectionError("reset")
    bench.requests()
    bench.s3.fails.clear()
    bench.requests()
    assert sorted(bench.objects()["items"]) == [10, 11]


def test_slow_streams_are_not_read_to_be_counted(tmp_path: Path) -> None:
    bench = made(tmp_path)
    bench.put_chunk()
    bench.requests()
    assert len(bench.objects()) == 1 and not bench.s3.gets


def test_slow_streams_may_have_parts_where_loki_is_restarted_in_the_run(tmp_path: Path) -> None:
    bench = made(tmp_path, faults=[{"component": "loki", "kind": "kill", "at": 3}])
    bench.put_chunk(0, 0, 4, content=chunk(5))
    put_part(bench, 0, 4, 5, 1)
    put_part(bench, 1, 4, 5, 1)
    bench.put_chunk(0, 6, 9, content=chunk(4))
    bench.requests()
    rows = bench.objects().sort_values(["part", "from_ns"])
    assert rows["part"].tolist() == [0, 0, 1, 2] and rows["items"].tolist() == [5, 4, 1, 1]


def test_parts_of_streams_that_should_be_whole_are_learned_from_a_chunk(tmp_path: Path) -> None:
    bench = made(tmp_path)
    for number in ("0", "1"):
        labels = {**dict(bench.plan.logs.labels(0)), "__stream_shard__": number}
        bench.put_chunk(0, content=head(labels), added={"__stream_shard__": number})
    bench.watcher.poll_once()
    assert sorted(bench.objects()["part"]) == [1, 2]


# -- slow streams that Loki split for some seconds ------------------------------------------------------------------

ALONE: dict[str, Any] = {
    "logs": {"users": 1, "lines_per_s": 10, "push_every": 1},
    "metrics": {"users": 0},
    "traces": {"users": 0},
}
KILLED = [{"component": "loki", "kind": "kill", "at": 3}]
BATCHES = 14


def pushed(bench: Bench) -> None:
    """Every batch was accepted at once."""
    rows = []
    for n in range(BATCHES):
        batch = bench.plan.logs.batch(0, n)
        at = batch.due_ns + MS
        rows.append(
            Receipt(
                signal="logs", user=0, n=n, due_ns=batch.due_ns, items=batch.items, outcome=Outcome.ACCEPTED.value,
                transport="http", free_ns=0, sent_ns=at, last_sent_ns=at, done_ns=at + MS, attempts=1,
                ambiguous_attempts=0, plain_bytes=9, wire_bytes=9, status=204, detail="",
            )
        )  # fmt: skip
    bench.run.append(rows)


def put_batches(bench: Bench, first: int, last: int, shards: tuple[int, ...] = ()) -> None:
    """Whole batches in one chunk of the stream, or dealt out among shards."""
    logs = bench.plan.logs
    times = [at for n in range(first, last + 1) for at in logs.line_times(logs.batch(0, n)).tolist()]
    for place, shard in enumerate(shards or (None,)):
        mine = [(at - BEGAN_NS) / NS for at in times[place :: len(shards) or 1]]
        added = {} if shard is None else {"__stream_shard__": str(shard)}
        bench.put_chunk(0, mine[0], mine[-1], content=chunk(len(mine)), added=added)


def result_of(bench: Bench) -> Result:
    (verdict,) = judge(bench.run.history(), bench.plan, [one for one in CHECKS if one.name == "logs.s3_delay"])
    return verdict.result


def bench_of_holes(path: Path, faults: list[dict[str, Any]]) -> Bench:
    target = {"s3": {"endpoint": "http://s3:9000"}}
    bench = made(path, target, **ALONE, faults=faults)
    pushed(bench)
    bench.s3.now_ns = BEGAN_NS + 20 * NS
    return bench


@pytest.mark.parametrize("faults", [[], KILLED], ids=["no fault", "a fault"])
@pytest.mark.parametrize("shards", [(0,), (0, 1), (0, 1, 2)], ids=len)
@pytest.mark.parametrize("hole", [(0, 1), (5, 6), (12, 13)], ids=["begin", "middle", "end"])
@pytest.mark.parametrize("again", [False, True], ids=["at once", "verified later"])
def test_what_lacks_in_a_slow_stream_is_found_in_its_parts_and_proven(
    tmp_path: Path, faults: list[dict[str, Any]], shards: tuple[int, ...], hole: tuple[int, int], again: bool
) -> None:
    bench = bench_of_holes(tmp_path, faults)
    for first, last in ((0, hole[0] - 1), (hole[1] + 1, BATCHES - 1)):
        if first <= last:
            put_batches(bench, first, last)
    if again:
        bench.watcher.poll_once()
    put_batches(bench, *hole, shards)
    bench.end_load(BATCHES)
    bench.s3.now_ns = BEGAN_NS + 900 * NS
    (bench.another() if again else bench.watcher).poll_once()
    assert sorted(set(bench.objects()["part"])) == [0, *(shard + 1 for shard in shards)]
    assert result_of(bench) is Result.PASS


@pytest.mark.parametrize("faults", [[], KILLED], ids=["no fault", "a fault"])
def test_what_is_in_no_part_either_is_late(tmp_path: Path, faults: list[dict[str, Any]]) -> None:
    bench = bench_of_holes(tmp_path, faults)
    put_batches(bench, 0, 4)
    put_batches(bench, 7, BATCHES - 1)
    bench.end_load(BATCHES)
    bench.s3.now_ns = BEGAN_NS + 900 * NS
    bench.watcher.poll_once()
    assert result_of(bench) is Result.FAIL


def test_a_running_watcher_looks_for_parts_only_where_there_is_a_hole(tmp_path: Path) -> None:
    bench = bench_of_holes(tmp_path, [])
    put_batches(bench, 0, 4)
    bench.requests()
    assert bench.requests() == 1 and not bench.s3.gets
    put_batches(bench, 7, BATCHES - 1)
    put_batches(bench, 5, 6, (0,))
    bench.requests()
    assert sorted(bench.objects()["part"]) == [0, 0, 0, 0, 1], "what was found before is stored again, counted"
    bench.s3.gets.clear()
    # The stream, its part, and the next part that may be there.
    assert bench.requests() == 3 and not bench.s3.gets
