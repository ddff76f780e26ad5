"""A judged run becomes a step: what it carried, how it ended, and what the stack said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from made_history import Made, good_run

from loadgen.capacity.judged import Tried, step_of
from loadgen.capacity.model import Ending, SearchKind, Step, Usage
from loadgen.capacity.search import is_disturbance
from loadgen.checks import judge
from loadgen.checks.case import Case
from loadgen.config import parse_profile
from loadgen.model import NS, Outcome, Signal

TRIED = Tried(3, SearchKind.ALL, 2.0, "steps/003", 0, 90.0)
CALM: dict[str, Any] = {"faults": [], "run": {"name": "test", "duration": 60, "warmup": 5}}
LIMIT = "ingestion rate limit exceeded for user fake (limit: 4000000 bytes/sec) while attempting to ingest"


def nothing_known(_stack: pd.DataFrame, component: str, _from_ns: int, _until_ns: int) -> Usage:
    return Usage(component, "/metrics")


def step(made: Made, tried: Tried = TRIED, usage: Any = nothing_known) -> Step:
    history = made.history()
    case = Case(history, made.plan, parse_profile(history.info.profile, "x"))
    return step_of(tried, case, judge(history, made.plan), usage)


def run() -> Made:
    return good_run(CALM)


def refuse(made: Made, signal: Signal, share: int, **values: Any) -> None:
    """Every ``share``-th push of a signal ends as ``values`` say."""
    changed = [
        replace(one, **values) if one.signal == signal.value and one.n % share == 0 else one for one in made.receipts
    ]
    made.receipts[:] = changed


def test_a_good_run_is_a_step_that_was_kept_with_its_load() -> None:
    made = step(run())
    assert made.ending is Ending.KEPT and not made.broken and not made.refusals
    assert {flow.signal for flow in made.flows} == {"logs", "metrics", "traces"}
    for flow in made.flows:
        assert flow.accepted_bytes_per_s > 0.9 * flow.planned_bytes_per_s
        assert flow.lost_items == 0 and flow.not_accepted_share == 0
        assert flow.push_p99_s is not None and flow.query_p99_s is not None and flow.freshness_p99_s is not None
    assert made.queries_per_s > 0 and made.failed_queries == 0


def test_refused_pushes_break_the_step_and_name_the_limit() -> None:
    made = run()
    refuse(made, Signal.LOGS, 4, outcome=Outcome.REJECTED.value, status=429, detail=f"http://x: 429, '{LIMIT}'")
    found = step(made)
    assert found.ending is Ending.BROKEN
    assert "logs.throughput" in [one.check for one in found.broken]
    (refusal,) = found.refusals
    assert refusal.limit is not None and refusal.limit.number == 4e6 and refusal.pushes > 10
    assert not is_disturbance(found)


def test_pushes_that_were_taken_only_at_the_second_attempt_break_the_step() -> None:
    made = run()
    refuse(made, Signal.LOGS, 4, attempts=2, detail=f"http://x: 429, '{LIMIT}'")
    found = step(made)
    assert found.ending is Ending.BROKEN and found.refusals[0].limit is not None
    assert any("only when they were sent again" in one.measured for one in found.broken)


def test_one_push_that_was_sent_twice_breaks_nothing() -> None:
    made = run()
    position = next(n for n, one in enumerate(made.receipts) if one.signal == "logs" and one.n == 20)
    made.receipts[position] = replace(made.receipts[position], attempts=2, detail="connection reset")
    assert step(made).ending is Ending.KEPT


def test_lost_lines_break_the_step_and_are_counted() -> None:
    made = run()
    position = next(n for n, one in enumerate(made.sightings) if (one.signal, one.phase) == ("logs", "verify"))
    one = made.sightings[position]
    made.sightings[position] = replace(one, missing=3, found=one.found - 3, first_seen_ns=0)
    found = step(made)
    assert found.ending is Ending.BROKEN
    assert next(flow for flow in found.flows if flow.signal == "logs").lost_items == 3


def test_slow_queries_alone_are_a_disturbance_until_they_come_again() -> None:
    made = run()
    made.queries[:] = [
        replace(one, done_ns=one.due_ns + 8 * NS) if one.component == "loki" else one for one in made.queries
    ]
    found = step(made)
    assert found.ending is Ending.BROKEN and is_disturbance(found)


def test_a_generator_that_was_late_says_nothing_of_the_stack() -> None:
    made = run()
    made.receipts[:] = [
        replace(one, sent_ns=one.sent_ns + 2 * NS, last_sent_ns=one.last_sent_ns + 2 * NS, done_ns=one.done_ns + 2 * NS)
        for one in made.receipts
    ]
    found = step(made)
    assert found.ending is Ending.GENERATOR and found.note


def test_what_could_not_be_read_back_is_untold() -> None:
    made = run()
    made.sightings[:] = [
        replace(one, unreadable=True, missing=0, found=0) if one.phase == "verify" else one for one in made.sightings
    ]
    found = step(made)
    assert found.ending is Ending.UNTOLD
    assert {"logs.loss", "traces.loss", "metrics.loss"} <= {one.check for one in found.untold}
    assert all(flow.lost_items is None for flow in found.flows)


def test_an_interrupted_run_is_an_interrupted_step_whatever_it_broke() -> None:
    made = run()
    refuse(made, Signal.LOGS, 2, outcome=Outcome.REJECTED.value, status=429, detail=LIMIT)
    made.info = replace(made.info, interrupted=True)
    assert step(made).ending is Ending.INTERRUPTED


def test_a_component_that_went_down_breaks_the_step_first_of_all() -> None:
    found = step(run(), replace(TRIED, crashed=("tempo",)))
    assert found.ending is Ending.BROKEN and found.crashed == ("tempo",)
    assert found.broken[0].check == "tempo.up"


def test_a_component_that_says_it_started_anew_went_down() -> None:
    found = step(run(), usage=lambda _s, component, _f, _u: Usage(component, "/metrics", starts=component == "loki"))
    assert found.crashed == ("loki",) and found.ending is Ending.BROKEN


def test_a_limit_that_only_the_components_counters_tell_is_named() -> None:
    def counts(_s: pd.DataFrame, component: str, _f: int, _u: int) -> Usage:
        return Usage(component, "/metrics", discarded=(("live_traces_exceeded", 12.0), ("internal_error", 1.0)))

    found = step(run(), usage=counts)
    (refusal,) = [one for one in found.refusals if one.signal == "traces"]
    assert refusal.limit is not None and refusal.limit.setting.endswith("max_traces_per_user")
    assert found.ending is Ending.KEPT  # others may send too; what is ours was not lost


def test_a_run_without_anything_is_no_kept_step() -> None:
    made = run()
    for rows in (made.receipts, made.queries, made.sightings):
        rows.clear()
    assert step(made).ending in (Ending.UNTOLD, Ending.GENERATOR)


def test_queries_that_were_never_asked_are_slow_in_a_step_and_neither_answered_nor_failed() -> None:
    made, before = run(), step(run())
    stalled = [one for one in made.queries if one.component == "loki" and 20 <= one.due_ns % (60 * NS) / NS < 40]
    made.queries[:] = [
        replace(one, end="missed", ok=False, status=0, sent_ns=0, done_ns=one.due_ns + 9 * NS)
        if one in stalled
        else one
        for one in made.queries
    ]
    found = step(made)
    assert stalled and found.failed_queries == 0 and found.queries_per_s < before.queries_per_s
    p99_s = next(flow.query_p99_s for flow in found.flows if flow.signal == "logs")
    assert p99_s is not None and p99_s > 8
    assert "logs.query" in [one.check for one in found.broken]
