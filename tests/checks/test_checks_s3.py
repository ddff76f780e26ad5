"""The delay to S3, and how receipts are held against what was listed."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from made_history import BEGAN_NS, empty_run, good_run, held_series

from loadgen.checks.s3_match import s3_coverage
from loadgen.history.values import frame_of
from loadgen.kinds import kind_of
from loadgen.model import MS, NS, PARTS_LOOK, Receipt, Result, RunKey, Signal, StackSample, StoredObject
from loadgen.plan import plan_of

CHECKS = ("logs.s3_delay", "traces.s3_delay", "metrics.s3_delay")
COMPONENT = {"logs": "loki", "traces": "tempo", "metrics": "mimir"}
LIMIT_S = {"logs": 300, "traces": 600, "metrics": 14_400}


@pytest.mark.parametrize("check", CHECKS)
def test_data_that_is_soon_in_s3_passes(check: str) -> None:
    verdict = good_run().verdict(check)
    assert verdict.result is Result.PASS
    assert verdict.value == pytest.approx(16, abs=1.1)
    assert any("whole seconds" in text for text in verdict.evidence)


@pytest.mark.parametrize("check", CHECKS)
def test_data_that_came_too_late_fails_and_the_setting_is_named(check: str) -> None:
    made = good_run()
    signal = check.split(".")[0]
    late_ns = (LIMIT_S[signal] + 20) * NS
    made.change(
        "objects",
        lambda o: o.component == COMPONENT[signal],
        modified_ns=lambda o: o.modified_ns + late_ns,
        first_seen_ns=lambda o: o.first_seen_ns + late_ns,
    )
    verdict = made.verdict(check)
    assert verdict.result is Result.FAIL
    setting = {"logs": "chunk_idle_period", "traces": "max_block_duration", "metrics": "block_ranges_period"}[signal]
    assert setting in verdict.remedy


@pytest.mark.parametrize("check", CHECKS)
def test_without_any_data_it_is_unknown(check: str) -> None:
    assert empty_run().result(check) is Result.UNKNOWN


@pytest.mark.parametrize("check", CHECKS)
def test_without_a_listing_it_is_unknown(check: str) -> None:
    made = good_run()
    made.objects.clear()
    made.drop("stack", lambda s: s.component == "s3")
    verdict = made.verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert "credential" in verdict.remedy


def test_without_s3_in_the_target_the_remedy_is_to_give_one() -> None:
    made = good_run(target={"via": "grafana", "s3": {"endpoint": ""}})
    made.objects.clear()
    made.drop("stack", lambda s: s.component == "s3")
    assert "[s3]" in made.verdict("logs.s3_delay").remedy


@pytest.mark.parametrize("check", CHECKS)
def test_a_signal_without_users_is_skipped(check: str) -> None:
    assert good_run({check.split(".")[0]: {"users": 0}, "faults": []}).result(check) is Result.SKIPPED


@pytest.mark.parametrize("check", CHECKS)
def test_data_that_is_not_there_yet_is_unknown_with_its_share(check: str) -> None:
    made = good_run()
    component = COMPONENT[check.split(".")[0]]
    newest = max(o.through_ns for o in made.objects if o.component == component)
    made.drop("objects", lambda o: o.component == component and o.through_ns > newest - 9 * NS)
    verdict = made.verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert "not there" in verdict.measured
    assert "loadgen verify" in verdict.remedy


@pytest.mark.parametrize("check", CHECKS)
def test_data_that_is_not_there_after_the_bound_fails(check: str) -> None:
    made = good_run()
    signal = check.split(".")[0]
    made.drop("objects", lambda o: o.component == COMPONENT[signal])
    listed_ns = BEGAN_NS + (LIMIT_S[signal] + 100) * NS
    label = f"component={COMPONENT[signal]},bucket=b"
    made.stack += [StackSample("s3", metric, label, listed_ns, 1.0) for metric in ("last_listing", PARTS_LOOK)]
    assert made.result(check) is Result.FAIL


@pytest.mark.parametrize("looked_s", [0, 299])
def test_lines_that_nobody_looked_for_in_parts_after_the_bound_are_not_said_to_be_late(
    looked_s: int,
) -> None:
    made = good_run({"faults": []})
    made.drop("stack", lambda s: s.metric == PARTS_LOOK)
    first = min(o.from_ns for o in made.objects if o.component == "loki")
    made.drop("objects", lambda o: o.component == "loki" and o.from_ns == first)
    label = "component=loki,bucket=b"
    made.stack.append(StackSample("s3", "last_listing", label, BEGAN_NS + 900 * NS, 1.0))
    if looked_s:
        made.stack.append(StackSample("s3", PARTS_LOOK, label, BEGAN_NS + looked_s * NS, 1.0))
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.UNKNOWN and "other names" in verdict.evidence[0]
    assert "loadgen verify" in verdict.remedy
    made.stack.append(StackSample("s3", PARTS_LOOK, label, BEGAN_NS + 900 * NS, 1.0))
    assert made.result("logs.s3_delay") is Result.FAIL


def test_listings_of_other_buckets_prove_nothing_late() -> None:
    made = good_run()
    made.drop("objects", lambda o: o.component == "loki")
    made.drop("stack", lambda s: s.labels.startswith("component=loki"))
    made.stack.append(StackSample("s3", "last_listing", "component=tempo,bucket=loki", BEGAN_NS + 900 * NS, 1.0))
    assert made.result("logs.s3_delay") is Result.UNKNOWN


def test_objects_that_cannot_be_read_prove_nothing_late() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "tempo", ids=b"", detail="AccessDenied")
    made.stack.append(StackSample("s3", "last_listing", "component=tempo,bucket=b", BEGAN_NS + 900 * NS, 1.0))
    verdict = made.verdict("traces.s3_delay")
    assert verdict.result is Result.UNKNOWN
    assert "read the buckets" in verdict.remedy


def test_metrics_before_their_first_block_say_how_to_get_an_answer() -> None:
    made = good_run()
    made.drop("objects", lambda o: o.component == "mimir")
    verdict = made.verdict("metrics.s3_delay")
    assert verdict.result is Result.UNKNOWN
    assert "--flush" in verdict.remedy


def test_a_forced_flush_is_told() -> None:
    verdict = good_run({"verify": {"flush": True}}).verdict("logs.s3_delay")
    assert any("forced by a flush" in text for text in verdict.evidence)


def test_a_chunk_of_another_stream_does_not_count() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "loki", stream="abc")
    coverage = s3_coverage(made.history(), made.plan, Signal.LOGS)
    assert coverage.pending == coverage.accepted


def test_a_batch_across_two_chunks_is_there_when_both_are() -> None:
    made = good_run()
    first = next(o for o in made.objects if o.component == "loki" and o.stream == made.plan.logs.fingerprint(0))
    batch = made.plan.logs.batch(0, 3)
    times = made.plan.logs.line_times(batch)
    cut_ns = int(times[5])
    made.drop("objects", lambda o: o.component == "loki" and o.stream == first.stream)
    early, late = first.modified_ns, first.modified_ns + 40 * NS
    made.objects += [
        replace(first, through_ns=cut_ns - MS, modified_ns=early, first_seen_ns=early + NS),
        replace(
            first,
            key="late",
            from_ns=cut_ns,
            through_ns=first.through_ns + 60 * NS,
            modified_ns=late,
            first_seen_ns=late + NS,
        ),
    ]
    coverage = s3_coverage(made.history(), made.plan, Signal.LOGS)
    stored = {(u, n): at for u, n, at in zip(coverage.user, coverage.n, coverage.stored_ns, strict=True)}
    assert stored[0, 2] == early
    assert stored[0, 3] == late
    assert stored[0, 4] == late


def test_a_batch_of_which_a_line_lies_outside_of_all_chunks_is_not_there() -> None:
    made = good_run()
    stream = made.plan.logs.fingerprint(0)
    last = max((o for o in made.objects if o.stream == stream), key=lambda o: o.through_ns)
    position = made.objects.index(last)
    made.objects[position] = replace(last, through_ns=last.through_ns - 5 * MS)
    assert s3_coverage(made.history(), made.plan, Signal.LOGS).pending == 1


def test_the_earliest_object_counts_whatever_compaction_writes_later() -> None:
    made = good_run()
    before = s3_coverage(made.history(), made.plan, Signal.TRACES).stored_ns
    every = b"".join(o.ids for o in made.objects if o.component == "tempo")
    one = next(o for o in made.objects if o.component == "tempo")
    late = BEGAN_NS + 500 * NS
    made.objects.insert(0, replace(one, key="compacted", ids=every, modified_ns=late, first_seen_ns=late))
    assert np.array_equal(before, s3_coverage(made.history(), made.plan, Signal.TRACES).stored_ns)


def test_a_batch_of_which_one_trace_is_missing_is_not_there() -> None:
    made = good_run()
    ids = made.plan.traces.trace_ids(made.plan.traces.batch(0, 9))[0].tobytes()
    made.change("objects", lambda o: ids in o.ids, ids=lambda o: o.ids.replace(ids, b""))
    coverage = s3_coverage(made.history(), made.plan, Signal.TRACES)
    assert coverage.pending == 1


def test_last_modified_is_never_later_than_the_listing_that_showed_it() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "loki", modified_ns=lambda o: o.first_seen_ns + 30 * NS)
    verdict = made.verdict("logs.s3_delay")
    assert verdict.value == pytest.approx(17, abs=1.1)


def test_an_object_from_before_the_push_cannot_hold_it() -> None:
    made = good_run()
    made.change(
        "objects", lambda o: o.component == "mimir", modified_ns=BEGAN_NS - 60 * NS, first_seen_ns=BEGAN_NS - 59 * NS
    )
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert coverage.pending == coverage.accepted


@pytest.mark.parametrize("signal", list(Signal))
def test_a_hundred_thousand_batches_are_matched_in_seconds(signal: Signal) -> None:
    users, pushes = 100, 1_000
    made = empty_run({"run": {"duration": 2 * pushes}, signal.value: {"users": users}, "faults": []})
    plan = plan_of(RunKey("many", 1, BEGAN_NS), made.plan.profile)
    source = plan.source(signal)
    receipts, objects = [], []
    for user in range(users):
        pace = source.pace(user)
        for n in range(pushes):
            due = pace.due(n)
            receipts.append(
                Receipt(signal, user, n, due, 10, "accepted", "http", due, due, due, due + MS, 1, 0, 100, 30, 204, "")
            )
    step_ns = 50 * pace.interval_ns
    for piece in range(pushes // 50 + 2):
        begin = BEGAN_NS + piece * step_ns
        for user in range(users if signal is Signal.LOGS else 1):
            ids = b""
            if signal is Signal.TRACES:
                mine = [(r.user, r.n) for r in receipts if begin <= r.due_ns < begin + step_ns]
                ids = b"".join(source.trace_ids(source.batch(u, n)).tobytes() for u, n in mine)  # type: ignore[union-attr]
            elif signal is Signal.METRICS:
                ids = held_series(plan, *range(users))
            stream = plan.logs.fingerprint(user) if signal is Signal.LOGS else ""
            at = begin + step_ns + 5 * NS
            objects.append(
                StoredObject(
                    kind_of(signal).store,
                    "b",
                    f"{user}/{piece}",
                    1,
                    at,
                    at,
                    stream,
                    begin - 2 * NS,
                    begin + step_ns,
                    1,
                    ids,
                    False,
                    0,
                    "",
                )
            )
    made.receipts, made.objects = receipts, objects
    history = made.history()
    began = time.perf_counter()
    coverage = s3_coverage(history, plan, signal)
    took_s = time.perf_counter() - began
    assert coverage.accepted == users * pushes
    assert coverage.pending == 0
    assert took_s < 20
    assert isinstance(frame_of(objects[:1], StoredObject).iloc[0]["ids"], bytes)


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_lost_is_a_matter_of_loss_and_not_of_s3(check: str) -> None:
    made = good_run()
    signal = check.split(".")[0]
    newest = max(o.through_ns for o in made.objects if o.component == COMPONENT[signal])
    made.drop("objects", lambda o: o.component == COMPONENT[signal] and o.through_ns > newest - 9 * NS)
    assert made.result(check) is Result.UNKNOWN
    gone = {(r.user, r.n) for r in made.receipts if r.signal == signal and r.due_ns > BEGAN_NS + 45 * NS}
    made.change("sightings", lambda s: (s.signal, s.phase) == (signal, "verify") and (s.user, s.n) in gone, missing=1)
    verdict = made.verdict(check)
    assert verdict.result is Result.PASS
    assert any("left out, because something of each is lost" in text for text in verdict.evidence)
    assert made.result(f"{signal}.loss") is Result.FAIL


def test_what_a_restart_took_after_it_had_waited_too_long_for_s3_is_overdue() -> None:
    made = good_run({"objectives": {"logs": {"s3_delay_max": 5}}, "faults": [{"component": "loki", "at": 50}]})
    made.drop("objects", lambda o: o.component == "loki")
    made.change("sightings", lambda s: (s.signal, s.phase) == ("logs", "verify") and s.n < 50, missing=1)
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.FAIL
    assert any("not in S3: user 0, batch 0" in text for text in verdict.evidence)


def test_when_everything_is_lost_nothing_is_said_of_s3() -> None:
    made = good_run({"faults": []})
    made.drop("objects", lambda o: o.component == "loki")
    made.change("sightings", lambda s: s.signal == "logs" and s.phase == "verify", missing=1)
    made.drop("sightings", lambda s: s.signal == "logs" and s.phase == "probe")
    assert made.result("logs.s3_delay") is Result.UNKNOWN


def test_batches_that_are_not_in_s3_are_named() -> None:
    made = good_run({"objectives": {"logs": {"s3_delay_max": 25}}})
    stream = made.plan.logs.fingerprint(1)
    first = min(o.from_ns for o in made.objects if o.stream == stream)
    made.drop("objects", lambda o: o.stream == stream and o.from_ns == first)
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.FAIL
    assert any("not in S3: user 1, batch 0" in text for text in verdict.evidence)


def test_what_was_pushed_late_is_looked_for_in_objects_that_are_not_older_than_the_push() -> None:
    made = good_run({"faults": []})
    # The push waited through a restart, while a block with its time range came from another user.
    late_ns = BEGAN_NS + 45 * NS
    made.change(
        "receipts",
        lambda r: (r.signal, r.user, r.n) == ("metrics", 1, 20),
        last_sent_ns=late_ns,
        done_ns=late_ns + MS,
        attempts=5,
    )
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    (place,) = np.flatnonzero((coverage.user == 1) & (coverage.n == 20))
    assert coverage.stored_ns[place] == 0
    template = next(o for o in made.objects if o.component == "mimir")
    modified_ns = BEGAN_NS + 50 * NS
    made.objects.append(
        replace(template, key="later", from_ns=BEGAN_NS + 10 * NS, through_ns=BEGAN_NS + 48 * NS,
                cut_ns=modified_ns - NS, modified_ns=modified_ns, first_seen_ns=modified_ns)
    )  # fmt: skip
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert coverage.stored_ns[place] == modified_ns
    assert (coverage.delay_ns <= 20 * NS).all()
