"""What became of plain bytes in S3."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from made_history import Made, empty_run, good_run, held_series

from loadgen.capacity.model import Stored
from loadgen.capacity.stored import stored_of
from loadgen.kinds import kind_of
from loadgen.model import MS, NS, Outcome, Signal, StoredObject

QUIET: dict[str, Any] = {"faults": []}


def of(made: Made, signal: Signal) -> Stored:
    return stored_of(made.history(), made.plan, signal)


def mine(made: Made, signal: Signal) -> list[StoredObject]:
    return [one for one in made.objects if one.component == kind_of(signal).store.value]


def plain(made: Made, signal: Signal) -> int:
    return sum(one.plain_bytes for one in made.receipts if one.signal == signal.value)


def run_with_whole_blocks(**changes: Any) -> Made:
    """Every block of Tempo and Mimir tells how much is in it, and all of it is the run's."""
    made = good_run({**QUIET, **changes})
    made.change("objects", lambda one: one.component == "tempo", items=lambda one: len(one.ids) // 16)
    for number, one in enumerate(made.objects):
        if one.component == "mimir":
            made.objects[number] = replace(one, items=samples_in(made, one.from_ns, one.through_ns))
    return made


def samples_in(made: Made, from_ns: int, through_ns: int) -> int:
    source = made.plan.metrics
    times = [
        time_ms
        for one in made.receipts
        if one.signal == "metrics" and one.outcome == Outcome.ACCEPTED.value
        for time_ms in source.times_ms(source.batch(one.user, one.n)).tolist()
    ]
    return sum(from_ns <= time_ms * MS <= through_ns for time_ms in times) * source.load.series


def compacted_from(parts: list[StoredObject], key: str, size_bytes: int, ids: bytes, **changes: Any) -> StoredObject:
    """A block that compaction made of others."""
    made = replace(
        parts[0],
        key=key,
        size_bytes=size_bytes,
        modified_ns=max(one.modified_ns for one in parts) + 60 * NS,
        first_seen_ns=max(one.first_seen_ns for one in parts) + 60 * NS,
        from_ns=min(one.from_ns for one in parts),
        through_ns=max(one.through_ns for one in parts),
        items=sum(one.items for one in parts),
        ids=ids,
        compacted=True,
        cut_ns=max(one.cut_ns for one in parts),
    )
    return replace(made, **changes)


@pytest.mark.parametrize("signal", list(Signal))
def test_all_that_was_accepted_is_held_against_all_objects(signal):
    made = run_with_whole_blocks()
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(sum(one.size_bytes for one in mine(made, signal)))
    assert stored.plain_bytes == plain(made, signal)
    assert stored.covered_share == pytest.approx(1.0)
    assert stored.compacted_share == 0.0
    assert stored.ratio == pytest.approx(stored.stored_bytes / plain(made, signal))
    assert "other data" not in stored.note and "replicas" not in stored.note


@pytest.mark.parametrize("signal", list(Signal))
def test_what_is_not_in_s3_yet_does_not_spoil_the_ratio(signal):
    made = run_with_whole_blocks()
    everything = of(made, signal).ratio
    last_ns = max(one.from_ns for one in mine(made, signal))
    made.drop("objects", lambda one: one.component == kind_of(signal).store.value and one.from_ns > last_ns - 31 * NS)
    stored = of(made, signal)
    assert 0.3 < stored.covered_share < 0.7
    # Pushes at the edges of objects and their first seconds weigh a little.
    assert stored.ratio == pytest.approx(everything, rel=0.15)


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_of_a_block_with_other_peoples_data_the_runs_share_counts(signal):
    made = run_with_whole_blocks()
    whole = of(made, signal).stored_bytes
    made.change("objects", lambda one: one.component == kind_of(signal).store.value, items=lambda one: 4 * one.items)
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(whole / 4)
    assert stored.covered_share == pytest.approx(1.0)
    assert "the run's share is 25 %" in stored.note


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_what_compaction_made_anew_counts_once(signal):
    made = run_with_whole_blocks()
    parts = mine(made, signal)
    ids = b"".join(one.ids for one in parts) if signal is Signal.TRACES else parts[0].ids
    made.objects.append(compacted_from(parts, "tenant/new/meta.json", 100_000, ids))
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(100_000)
    assert stored.compacted_share == 1.0
    assert stored.covered_share == pytest.approx(1.0)
    assert "replicas" not in stored.note


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_compaction_of_a_part_leaves_the_other_blocks(signal):
    made = run_with_whole_blocks()
    parts = sorted(mine(made, signal), key=lambda one: one.from_ns)
    first, rest = parts[:2], parts[2:]
    ids = b"".join(one.ids for one in first) if signal is Signal.TRACES else first[0].ids
    made.objects.append(compacted_from(first, "tenant/new/meta.json", 50_000, ids))
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(50_000 + sum(one.size_bytes for one in rest))
    assert stored.compacted_share == pytest.approx(50_000 / stored.stored_bytes)
    assert stored.covered_share == pytest.approx(1.0)


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_compaction_of_what_was_compacted_counts_once(signal):
    made = run_with_whole_blocks()
    parts = sorted(mine(made, signal), key=lambda one: one.from_ns)
    ids = b"".join(one.ids for one in parts[:2]) if signal is Signal.TRACES else parts[0].ids
    second = compacted_from(parts[:2], "tenant/second/meta.json", 50_000, ids)
    ids = b"".join(one.ids for one in parts) if signal is Signal.TRACES else parts[0].ids
    third = compacted_from([*parts, second], "tenant/third/meta.json", 90_000, ids, items=sum(p.items for p in parts))
    made.objects += [third, second]
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(90_000)
    assert stored.covered_share == pytest.approx(1.0)


def test_a_block_of_mimir_that_was_cut_after_the_compaction_is_not_in_it():
    made = run_with_whole_blocks()
    parts = sorted(mine(made, Signal.METRICS), key=lambda one: one.cut_ns)
    new = compacted_from(parts, "tenant/new/meta.json", 1000, parts[0].ids, cut_ns=parts[-2].cut_ns)
    made.objects.append(replace(new, items=sum(one.items for one in parts[:-1])))
    assert of(made, Signal.METRICS).stored_bytes == pytest.approx(1000 + parts[-1].size_bytes)


def test_compacted_blocks_with_a_part_of_the_series_each_all_count():
    made = run_with_whole_blocks()
    parts = mine(made, Signal.METRICS)
    series = made.plan.metrics.load.series
    for number, count in enumerate((series // 2, series - series // 2)):
        new = compacted_from(
            parts, f"tenant/shard{number}/meta.json", 30_000, held_series(made.plan, 0, 1, series=count)
        )
        made.objects.append(replace(new, items=sum(one.items for one in parts) * count // series))
    stored = of(made, Signal.METRICS)
    assert stored.stored_bytes == pytest.approx(60_000)
    assert stored.covered_share == pytest.approx(1.0)


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_copies_of_replicas_count_and_the_note_says_so(signal):
    made = run_with_whole_blocks()
    size = of(made, signal).stored_bytes
    made.objects += [replace(one, key=f"{one.key}-copy") for one in mine(made, signal)]
    stored = of(made, signal)
    assert stored.stored_bytes == pytest.approx(2 * size)
    assert stored.covered_share == pytest.approx(1.0)
    assert "there 2 times" in stored.note


@pytest.mark.parametrize("signal", list(Signal))
def test_an_object_that_was_stored_twice_by_the_watcher_counts_once(signal):
    made = run_with_whole_blocks()
    before = of(made, signal)
    made.objects += mine(made, signal)
    assert of(made, signal) == before


@pytest.mark.parametrize("signal", list(Signal))
def test_unreadable_objects_are_left_out_until_they_could_be_read(signal):
    made = run_with_whole_blocks()
    before = of(made, signal)
    bad = [replace(one, detail="damaged", ids=b"", items=0) for one in mine(made, signal)]
    made.objects += [*bad, replace(bad[0], key="tenant/never/meta.json")]
    stored = of(made, signal)
    assert stored.stored_bytes == before.stored_bytes
    assert "1 objects could not be read" in stored.note


@pytest.mark.parametrize("signal", list(Signal))
def test_nothing_in_s3_gives_no_ratio(signal):
    made = run_with_whole_blocks()
    made.objects.clear()
    stored = of(made, signal)
    assert (stored.stored_bytes, stored.covered_share, stored.ratio) == (0.0, 0.0, None)
    assert stored.plain_bytes == plain(made, signal)
    assert "nothing of it was seen" in stored.note


@pytest.mark.parametrize("signal", list(Signal))
def test_a_run_without_pushes_gives_no_ratio(signal):
    made = empty_run(QUIET)
    assert of(made, signal).ratio is None
    made.objects = mine(good_run(QUIET), signal)
    assert (of(made, signal).plain_bytes, of(made, signal).ratio) == (0.0, None)


@pytest.mark.parametrize("signal", list(Signal))
def test_only_what_was_accepted_is_plain_bytes(signal):
    made = run_with_whole_blocks()
    all_of_it = plain(made, signal)
    odd = [one for one in made.receipts if one.signal == signal.value and one.n % 2]
    made.change("receipts", lambda one: one.signal == signal.value and one.n % 2 == 1, outcome=Outcome.REJECTED.value)
    assert of(made, signal).plain_bytes == all_of_it - sum(one.plain_bytes for one in odd)


def test_a_block_that_does_not_tell_how_much_is_in_it_is_said():
    made = run_with_whole_blocks()
    made.change("objects", lambda one: one.component == "tempo", items=0)
    stored = of(made, Signal.TRACES)
    assert stored.stored_bytes == pytest.approx(sum(one.size_bytes for one in mine(made, Signal.TRACES)))
    assert "do not tell how much" in stored.note


def test_streams_that_loki_split_count_by_their_lines():
    made = run_with_whole_blocks()
    lines = sum(one.items for one in made.receipts if one.signal == "logs")
    chunks = len(mine(made, Signal.LOGS))
    made.change("objects", lambda one: one.component == "loki", part=1, items=lines // chunks // 2)
    stored = of(made, Signal.LOGS)
    assert stored.covered_share == pytest.approx(0.5, abs=0.05)
    assert stored.ratio == pytest.approx(2 * stored.stored_bytes / stored.plain_bytes, rel=0.1)


def test_the_index_of_loki_is_said_not_to_be_in_it():
    assert "without Loki's index" in of(run_with_whole_blocks(), Signal.LOGS).note


def test_blocks_that_were_cut_early_are_said_to_be_mostly_index():
    made = run_with_whole_blocks()
    assert "10 samples of a series are mostly index" in of(made, Signal.METRICS).note
    whole = run_with_whole_blocks(metrics={"samples_per_push": 20})
    assert "mostly index" not in of(whole, Signal.METRICS).note
