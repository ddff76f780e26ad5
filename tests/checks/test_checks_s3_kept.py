"""What was in S3 and has gone without a successor is found, and compaction, retention and ignorance are told apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_history import BEGAN_NS, Made, empty_run, good_run

from loadgen.kinds import kind_of
from loadgen.model import KEPT_LOOK, NS, GoneObject, Result, Signal, StoredObject

SIGNALS = list(Signal)
LATER_NS = BEGAN_NS + 75 * NS


def objects_of(made: Made, signal: Signal) -> list[StoredObject]:
    return [one for one in made.objects if one.component == kind_of(signal).store.value]


def take(made: Made, one: StoredObject, at_ns: int = LATER_NS) -> None:
    """Let an object be missed at a look."""
    made.gone.append(GoneObject(one.component, one.bucket, one.key, at_ns - 5 * NS, at_ns))


@pytest.mark.parametrize("signal", SIGNALS)
def test_objects_that_are_all_still_there_keep_the_promise(signal: Signal) -> None:
    verdict = good_run().verdict(f"{signal}.s3_kept")
    assert verdict.result is Result.PASS and verdict.measured == "0 gone" and verdict.samples > 3
    assert "looked for again" in verdict.evidence[0]


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_object_that_has_gone_without_a_successor_is_named_with_its_times_and_what_it_held(signal: Signal) -> None:
    made = good_run()
    one = objects_of(made, signal)[2]
    take(made, one)
    verdict = made.verdict(f"{signal}.s3_kept")
    assert verdict.result is Result.FAIL and verdict.value == 1
    assert verdict.measured.startswith("1 of ") and "with them" in verdict.measured
    text = verdict.evidence[0]
    assert f"{one.bucket}/{one.key}" in text and "last seen +70.0 s" in text and "missed first +75.0 s" in text
    assert "user " in text and "batch " in text
    assert "who deleted it" in verdict.remedy
    others = [other for other in SIGNALS if other is not signal]
    assert all(made.result(f"{other}.s3_kept") is Result.PASS for other in others)
    assert made.result(f"{signal}.s3_delay") is Result.PASS


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_compacted_successor_holds_the_data(signal: Signal) -> None:
    made = good_run()
    olds = objects_of(made, signal)
    if signal is Signal.LOGS:
        olds = [one for one in olds if one.stream == olds[0].stream]
    whole = replace(
        olds[0],
        key="tenant/successor/meta.json",
        from_ns=min(one.from_ns for one in olds),
        through_ns=max(one.through_ns for one in olds),
        ids=b"".join(one.ids for one in olds) if signal is Signal.TRACES else olds[0].ids,
        compacted=True,
        modified_ns=BEGAN_NS + 70 * NS,
        first_seen_ns=BEGAN_NS + 71 * NS,
        cut_ns=max(one.cut_ns for one in olds),
    )
    made.objects.append(whole)
    for one in olds:
        take(made, one)
    verdict = made.verdict(f"{signal}.s3_kept")
    assert verdict.result is Result.PASS
    assert any("is in other ones" in text for text in verdict.evidence)
    take(made, whole)
    assert made.result(f"{signal}.s3_kept") is Result.FAIL


def test_a_successor_that_lacks_one_trace_does_not_hold_the_data() -> None:
    made = good_run()
    one = objects_of(made, Signal.TRACES)[1]
    made.objects.append(replace(one, key="tenant/successor/meta.json", ids=one.ids[:-16], compacted=True))
    take(made, one)
    verdict = made.verdict("traces.s3_kept")
    assert verdict.result is Result.FAIL and "holds 1 batch" in verdict.evidence[0]


def test_a_successor_with_a_part_of_the_series_leaves_it_open() -> None:
    made = good_run()
    one = objects_of(made, Signal.METRICS)[1]
    part = np.frombuffer(one.ids, "<u4").copy()
    part[1::2] = 1
    made.objects.append(replace(one, key="tenant/successor/meta.json", ids=part.tobytes(), compacted=True))
    take(made, one)
    verdict = made.verdict("metrics.s3_kept")
    assert verdict.result is Result.UNKNOWN and "may hold its data" in verdict.evidence[0]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_successor_that_cannot_be_read_leaves_it_open(signal: Signal) -> None:
    made = good_run()
    one = objects_of(made, signal)[1]
    made.objects.append(replace(one, key="tenant/x/meta.json", detail="AccessDenied", ids=b"", stream="", through_ns=0))
    take(made, one)
    verdict = made.verdict(f"{signal}.s3_kept")
    assert verdict.result is Result.UNKNOWN and "cannot be read" in verdict.evidence[0]


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_object_that_is_there_again_is_not_gone(signal: Signal) -> None:
    made = good_run()
    one = objects_of(made, signal)[1]
    take(made, one)
    made.gone.append(GoneObject(one.component, one.bucket, one.key, LATER_NS + NS, 0))
    assert made.result(f"{signal}.s3_kept") is Result.PASS


@pytest.mark.parametrize("signal", SIGNALS)
def test_what_was_older_than_data_is_kept_may_go(signal: Signal) -> None:
    made = good_run({"objectives": {"all": {"history_until": 86_400}}})
    olds = objects_of(made, signal)
    take(made, olds[0], BEGAN_NS + 2 * 86_400 * NS)
    verdict = made.verdict(f"{signal}.s3_kept")
    assert verdict.result is Result.PASS and any("history_until" in text for text in verdict.evidence)
    take(made, olds[1], BEGAN_NS + 3_600 * NS)
    assert made.result(f"{signal}.s3_kept") is Result.FAIL
    for one in olds:
        take(made, one, BEGAN_NS + 3 * 86_400 * NS)
    assert made.result(f"{signal}.s3_kept") is Result.SKIPPED


@pytest.mark.parametrize("signal", SIGNALS)
def test_without_a_look_or_without_objects_nothing_is_known(signal: Signal) -> None:
    name = f"{signal}.s3_kept"
    made = good_run()
    made.drop("stack", lambda row: row.metric == KEPT_LOOK)
    assert made.result(name) is Result.UNKNOWN and "nobody looked again" in made.verdict(name).evidence[0]
    made = good_run()
    made.objects.clear()
    verdict = made.verdict(name)
    assert verdict.result is Result.UNKNOWN and "nothing of the run was seen in S3 yet" in verdict.evidence[0]
    assert empty_run().result(name) is Result.UNKNOWN
    made = empty_run(target={"name": "x"})
    assert "no S3 was configured" in made.verdict(name).evidence[0]


@pytest.mark.parametrize("signal", SIGNALS)
def test_a_signal_that_nobody_sends_is_skipped(signal: Signal) -> None:
    assert good_run({str(signal): {"users": 0}}).result(f"{signal}.s3_kept") is Result.SKIPPED


def test_an_object_that_held_nothing_that_was_accepted_may_go() -> None:
    made = good_run()
    stranger = replace(objects_of(made, Signal.LOGS)[0], key="tenant/1/2", stream="ffff")
    made.objects.append(stranger)
    take(made, stranger)
    assert made.result("logs.s3_kept") is Result.PASS


def test_a_damaged_table_of_objects_proves_nothing_gone() -> None:
    made = good_run()
    take(made, objects_of(made, Signal.LOGS)[0])
    made.damaged = ("objects.parquet",)
    assert made.result("logs.s3_kept") is Result.UNKNOWN
