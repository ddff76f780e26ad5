"""What an object in S3 proves of a batch: since when it was there, and when nobody can say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_history import BEGAN_NS, Made, good_run, held_series

from loadgen.checks.s3_match import s3_coverage
from loadgen.kinds import kind_of
from loadgen.model import MS, NS, PARTS_LOOK, Result, Signal, StackSample

CHECKS = ("logs.s3_delay", "traces.s3_delay", "metrics.s3_delay")
COMPONENT = {"logs": "loki", "traces": "tempo", "metrics": "mimir"}
LIMIT_S = {"logs": 300, "traces": 600, "metrics": 14_400}


def compacted(check: str, late_ns: int) -> Made:
    """A run whose objects were all seen compacted only, so much later than they were written."""
    made = good_run()
    made.change(
        "objects",
        lambda o: o.component == COMPONENT[check.split(".")[0]],
        compacted=True,
        modified_ns=lambda o: o.modified_ns + late_ns,
        first_seen_ns=lambda o: o.first_seen_ns + late_ns,
    )
    return made


@pytest.mark.parametrize("check", ["traces.s3_delay", "metrics.s3_delay"])
def test_an_upper_bound_within_the_limit_passes(check: str) -> None:
    verdict = compacted(check, 60 * NS).verdict(check)
    assert verdict.result is Result.PASS
    assert "at most" in verdict.measured
    assert any("compacted" in text and "upper bound" in text for text in verdict.evidence)


@pytest.mark.parametrize("check", ["traces.s3_delay", "metrics.s3_delay"])
def test_an_upper_bound_beyond_the_limit_is_unknown(check: str) -> None:
    verdict = compacted(check, (LIMIT_S[check.split(".")[0]] + 60) * NS).verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert "upper bound beyond" in verdict.evidence[0]
    assert "s3_wait" in verdict.remedy


@pytest.mark.parametrize("check", ["traces.s3_delay", "metrics.s3_delay"])
def test_one_batch_that_is_surely_late_fails_among_upper_bounds(check: str) -> None:
    signal = check.split(".")[0]
    made = compacted(check, (LIMIT_S[signal] + 60) * NS)
    last = max((o for o in made.objects if o.component == COMPONENT[signal]), key=lambda o: o.through_ns)
    made.objects[made.objects.index(last)] = replace(last, compacted=False)
    assert made.result(check) is Result.FAIL


@pytest.mark.parametrize("signal", [Signal.TRACES, Signal.METRICS])
def test_an_original_makes_the_bound_of_its_compacted_copy_exact(signal: Signal) -> None:
    made = good_run()
    before = s3_coverage(made.history(), made.plan, signal)
    copies = [
        replace(o, key=f"{o.key}-2", compacted=True, modified_ns=o.modified_ns + 99 * NS, first_seen_ns=0)
        for o in made.objects
        if o.component == kind_of(signal).store
    ]
    made.objects[:0] = copies
    after = s3_coverage(made.history(), made.plan, signal)
    assert np.array_equal(before.stored_ns, after.stored_ns)
    assert before.exact.all() and after.exact.all()


def test_a_block_proves_nothing_that_was_acknowledged_after_it_was_cut() -> None:
    made = good_run()
    cut_ns = BEGAN_NS + 30 * NS
    one = next(o for o in made.objects if o.component == "mimir")
    made.drop("objects", lambda o: o.component == "mimir")
    stored_ns = cut_ns + 2 * NS
    whole = replace(
        one, from_ns=BEGAN_NS - NS, through_ns=BEGAN_NS + 99 * NS, cut_ns=cut_ns, modified_ns=stored_ns, first_seen_ns=0
    )
    made.objects.append(whole)
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    before = coverage.done_ns <= cut_ns
    assert before.any() and not before.all()
    assert np.array_equal(coverage.stored_ns > 0, before)
    # What was pushed while the block was on its way may be in it, if the clocks differ; later pushes cannot.
    mine = [r for r in made.receipts if r.signal == "metrics"]
    sent = {(r.user, r.n): r.sent_ns if r.ambiguous_attempts else r.last_sent_ns for r in mine}
    under_way = np.array(
        [(sent[u, n] - 2 * NS) // NS * NS <= stored_ns for u, n in zip(coverage.user, coverage.n, strict=True)]
    )
    assert np.array_equal(coverage.maybe, ~before & under_way)
    assert coverage.maybe.any() and not coverage.maybe.all()
    # The next block proves the rest, but what may have been in the first one was there by then at the latest.
    made.objects.append(replace(whole, key="next", cut_ns=cut_ns + 99 * NS, modified_ns=cut_ns + 100 * NS))
    both = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert not both.pending and not both.maybe.any()
    assert np.array_equal(both.exact, ~coverage.maybe)
    assert np.array_equal(both.stored_ns[before], coverage.stored_ns[before])


def test_what_a_block_may_hold_is_unknown_and_not_late() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "mimir", cut_ns=lambda o: o.cut_ns - 20 * NS)
    listed_ns = BEGAN_NS + 20_000 * NS
    made.stack.append(StackSample("s3", "last_listing", "component=mimir,bucket=b", listed_ns, 1.0))
    verdict = made.verdict("metrics.s3_delay")
    assert verdict.result is Result.UNKNOWN
    assert "may hold them" in verdict.evidence[0]


def test_a_block_without_the_users_series_does_not_count() -> None:
    made = good_run()
    made.change("objects", lambda o: o.component == "mimir", ids=held_series(made.plan, 1))
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert set(coverage.user[coverage.stored_ns > 0]) == {1}
    assert set(coverage.user[coverage.stored_ns == 0]) == {0}


@pytest.mark.parametrize("signal", [Signal.LOGS, Signal.METRICS])
def test_an_older_object_of_the_same_range_hides_no_newer_one(signal: Signal) -> None:
    made = good_run()
    newest = [o for o in made.objects if o.component == kind_of(signal).store]
    old_ns = BEGAN_NS - 60 * NS
    made.objects[:0] = [replace(o, key=f"{o.key}-old", modified_ns=old_ns, first_seen_ns=0) for o in newest]
    coverage = s3_coverage(made.history(), made.plan, signal)
    assert coverage.pending == 0 and (coverage.stored_ns > BEGAN_NS).all()


def test_a_block_that_became_readable_later_is_no_longer_unreadable() -> None:
    made = good_run()
    mine = [o for o in made.objects if o.component == "tempo"]
    made.objects[:0] = [replace(o, ids=b"", through_ns=0, detail="AccessDenied") for o in mine]
    coverage = s3_coverage(made.history(), made.plan, Signal.TRACES)
    assert (coverage.unreadable, coverage.objects, coverage.pending) == (0, len(mine), 0)


def test_without_any_of_its_streams_but_with_others_nobody_says_that_lines_are_not_in_s3() -> None:
    made = good_run()
    made.drop("objects", lambda o: o.component == "loki")
    label = "component=loki,bucket=b"
    at_ns = BEGAN_NS + 900 * NS
    made.stack += [StackSample("s3", metric, label, at_ns, 1.0) for metric in ("last_listing", PARTS_LOOK)]
    assert made.result("logs.s3_delay") is Result.FAIL
    made.stack.append(StackSample("s3", "other_streams", label, BEGAN_NS + 900 * NS, 4.0))
    verdict = made.verdict("logs.s3_delay")
    assert verdict.result is Result.UNKNOWN
    assert "4 other streams" in verdict.evidence[0] and "other labels" in verdict.evidence[0]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(-0.2, 0.3, "is right"), (4.1, 4.3, "ahead of this one by between +4.10 s and +4.30 s"), (None, None, "no Date")],
)
def test_the_clock_of_the_s3_server_is_in_the_evidence(low: float | None, high: float | None, text: str) -> None:
    made = good_run()
    if low is not None and high is not None:
        made.stack += [
            StackSample("s3", "clock_ahead_min_s", "", BEGAN_NS, low),
            StackSample("s3", "clock_ahead_max_s", "", BEGAN_NS, high),
        ]
    for check in CHECKS:
        assert any(text in evidence for evidence in made.verdict(check).evidence)


@pytest.mark.parametrize("end", ["from_ns", "through_ns"])
def test_a_block_that_ends_with_a_sample_holds_it_even_if_the_acknowledgement_came_after_the_cut(end: str) -> None:
    made = good_run({"faults": []})
    newest = max((r for r in made.receipts if r.signal == "metrics"), key=lambda r: r.due_ns)
    (one,) = [o for o in made.objects if o.component == "mimir" and o.from_ns <= newest.due_ns <= o.through_ns]
    made.objects.remove(one)
    cut = replace(one, cut_ns=newest.done_ns - MS, **{end: newest.due_ns})
    made.objects.append(cut)
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    (place,) = np.flatnonzero((coverage.user == newest.user) & (coverage.n == newest.n))
    assert coverage.stored_ns[place] > 0 and not coverage.maybe[place]
    midst = replace(cut, from_ns=one.from_ns - NS, through_ns=one.through_ns + NS)
    made.objects[-1] = midst
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert coverage.stored_ns[place] == 0 and coverage.maybe[place]
    # If all blocks together have just as many samples as were accepted, what may be in one of them is.
    rest = sum(o.items for o in made.objects if o.component == "mimir") - midst.items
    accepted = sum(r.items for r in made.receipts if r.signal == "metrics")
    made.objects[-1] = replace(midst, items=accepted - rest)
    coverage = s3_coverage(made.history(), made.plan, Signal.METRICS)
    assert coverage.stored_ns[place] == midst.modified_ns and not coverage.exact[place] and not coverage.pending
