"""Streams that Loki split: what is in S3 is told by counting lines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_history import BEGAN_NS, Made, good_run, held_series

from loadgen.checks.s3_match import s3_coverage
from loadgen.model import NS, PARTS_LOOK, Result, Signal, StackSample

LATE_NS = 320 * NS


def listed(made: Made, component: str, after_s: int) -> None:
    """A complete look at a bucket, so long after the beginning."""
    label, at_ns = f"component={component},bucket=b", BEGAN_NS + after_s * NS
    made.stack += [StackSample("s3", metric, label, at_ns, 1.0) for metric in ("last_listing", PARTS_LOOK)]


def split_run() -> Made:
    """A run in which Loki dealt the lines of user 0 out among two parts."""
    made = good_run({"faults": []})
    stream = made.plan.logs.fingerprint(0)
    whole = [o for o in made.objects if o.stream == stream]
    made.drop("objects", lambda o: o.stream == stream)
    lines = sum(r.items for r in made.receipts if r.signal == "logs" and r.user == 0)
    each = lines // len(whole) // 2
    parts = [replace(o, key=f"{o.key}/{n}", part=n, items=each) for n in (1, 2) for o in whole]
    parts[-1] = replace(parts[-1], items=lines - each * (len(parts) - 1))
    made.objects += parts
    return made


def test_streams_that_loki_split_are_told_by_counting_their_lines() -> None:
    before = s3_coverage(good_run({"faults": []}).history(), split_run().plan, Signal.LOGS)
    made = split_run()
    coverage = s3_coverage(made.history(), made.plan, Signal.LOGS)
    assert np.array_equal(before.stored_ns, coverage.stored_ns) and coverage.split and not before.split
    assert made.result("logs.s3_delay") is Result.PASS


@pytest.mark.parametrize("why", ["a line too few", "one not counted", "a copy too many"])
def test_they_prove_nothing_unless_the_lines_add_up(why: str) -> None:
    made = split_run()
    last = made.objects[-1]
    made.objects[-1] = replace(last, items={"a line too few": last.items - 1, "one not counted": 0}.get(why, 99))
    coverage = s3_coverage(made.history(), made.plan, Signal.LOGS)
    assert not coverage.stored_ns[coverage.user == 0].any() and coverage.stored_ns[coverage.user == 1].all()
    listed(made, "loki", 900)
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.UNKNOWN and "more log users" in verdict.remedy.replace("\n", " ")
    assert "Loki split their streams" in verdict.evidence[0]


def test_lines_of_pushes_without_an_answer_are_not_mistaken_for_accepted_ones() -> None:
    made = split_run()
    lost = next(r for r in made.receipts if r.signal == "logs" and r.user == 0 and r.n == 7)
    made.change("receipts", lambda r: r is lost, outcome="unknown")
    made.objects[-1] = replace(made.objects[-1], items=made.objects[-1].items - lost.items)
    coverage = s3_coverage(made.history(), made.plan, Signal.LOGS)
    assert not coverage.stored_ns[coverage.user == 0].any()


def test_a_time_that_no_part_spans_is_late() -> None:
    made = split_run()
    newest = max(o.from_ns for o in made.objects if o.component == "loki" and o.part)
    made.drop("objects", lambda o: o.part > 0 and o.from_ns == newest)
    listed(made, "loki", 900)
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.FAIL and "not in S3 after the bound" in verdict.evidence[0]


def test_a_part_that_came_late_is_late_for_what_is_certainly_in_it() -> None:
    made = split_run()
    times = {"modified_ns": lambda o: o.modified_ns + LATE_NS, "first_seen_ns": lambda o: o.first_seen_ns + LATE_NS}
    made.change("objects", lambda o: o.part == 2, **times)
    assert made.result("logs.s3_delay") is Result.FAIL


# -- Mimir's blocks with a part of a user's series ------------------------------------------------------------------


def test_a_block_with_some_of_a_users_series_does_not_prove_its_samples() -> None:
    made = good_run()
    held = held_series(made.plan, 0) + held_series(made.plan, 1, series=9)
    made.change("objects", lambda o: o.component == "mimir", ids=held)
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert (coverage.stored_ns[coverage.user == 0] > 0).all() and (coverage.stored_ns[coverage.user == 1] == 0).all()
    assert coverage.maybe[coverage.user == 1].all()
    listed(made, "mimir", 20_000)
    verdict = made.verdict("metrics.s3_delay")
    assert verdict.result is Result.UNKNOWN and "several ingesters" in verdict.evidence[0]


def test_a_block_without_any_of_a_users_series_is_no_excuse() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "mimir", ids=held_series(made.plan, 0))
    listed(made, "mimir", 20_000)
    assert made.result("metrics.s3_delay") is Result.FAIL


def test_a_block_of_samples_out_of_order_proves_nothing_and_leaves_a_doubt() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "mimir", cut_ns=1)
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert coverage.pending == coverage.accepted and coverage.maybe.all()
