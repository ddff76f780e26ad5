"""A wrong clock and a lost worker: no verdict on the stack by them, and they are named."""

from __future__ import annotations

import pytest
from made_history import BEGAN_NS, Made, good_run

from loadgen.checks.surroundings import CLOCK_REFUSED
from loadgen.model import NS, STOOD_STILL, ClockReading, Outcome, Result, StackSample, WorkerGap

# What genuine Loki 3.7, Mimir 3 and 2.16, and Cortex say of a time that they do not take.
TOO_NEW = (
    "400, 'entry for stream {pod=\"cart-00001\"} has timestamp too new: 2026-11-30T23:19:00Z'",
    "400, 'entry for stream {pod=\"cart-00001\"} has timestamp too old: 2026-10-31T22:19:00Z'",
    "400, received a sample whose timestamp is too far in the future, timestamp: 1 (err-mimir-too-far-in-future)",
    "400, the sample has been rejected because its timestamp is too old (err-mimir-sample-timestamp-too-old)",
    "400, 'timestamp too new: 1795417624092 metric: \"x\"'",
    "400, 'out of bounds'",
)
QUIET = {"faults": []}


def clocks(**ahead_s: float) -> tuple[ClockReading, ...]:
    servers = {"Grafana": 0.0, "Loki": 0.0, "Tempo": 0.0, "Mimir": 0.0, "S3": 0.0, **ahead_s}
    return tuple(ClockReading(name, round((at - 0.4) * NS), round((at + 0.4) * NS)) for name, at in servers.items())


def ours(ahead_s: float) -> tuple[ClockReading, ...]:
    return clocks(**dict.fromkeys(("Grafana", "Loki", "Tempo", "Mimir", "S3"), -ahead_s))


def test_a_clock_that_is_5_s_off_leaves_every_verdict_of_a_good_run() -> None:
    results = {name: one.result for name, one in good_run(clocks=ours(5)).verdicts().items()}
    assert results == {name: one.result for name, one in good_run().verdicts().items()}


@pytest.mark.parametrize("off_s", [-1200, 400])
def test_a_clock_that_is_off_by_more_than_the_bound_leaves_nothing_of_times(off_s: float) -> None:
    found = good_run(clocks=ours(off_s)).verdicts()
    changed = {name for name, one in good_run().verdicts().items() if one.result is not found[name].result}
    assert changed >= {"logs.freshness", "traces.freshness", "metrics.freshness", "logs.s3_delay", "logs.query"}
    assert {found[name].result for name in changed} == {Result.UNKNOWN}
    assert all("this machine's clock is" in found[name].evidence[0] for name in changed)
    assert all("NTP" in found[name].remedy for name in changed)
    assert found["logs.loss"].result is Result.PASS


def late(clock: tuple[ClockReading, ...], by_s: float) -> Made:
    made = good_run(QUIET, clocks=clock)
    delay = {"last_absent_ns": lambda row: row.acked_ns + round(by_s * NS), "first_seen_ns": lambda row: row.acked_ns
             + round((by_s + 0.5) * NS)}  # fmt: skip
    made.change("sightings", lambda row: row.signal == "traces" and row.where == "search", **delay)
    return made


def test_late_by_no_more_than_the_clocks_differ_is_unknown_and_by_more_is_late() -> None:
    assert late((), 90).result("traces.freshness") is Result.FAIL
    assert late(ours(60), 90).result("traces.freshness") is Result.UNKNOWN
    assert late(ours(5), 90).result("traces.freshness") is Result.FAIL
    assert late(clocks(Tempo=-60), 90).result("traces.freshness") is Result.UNKNOWN
    assert late(clocks(Loki=-60), 90).result("traces.freshness") is Result.FAIL


def test_queries_that_failed_are_unknown_by_a_wrong_clock_and_slow_ones_are_slow() -> None:
    def failing(clock: tuple[ClockReading, ...]) -> Made:
        made = good_run(QUIET, clocks=clock)
        made.change("queries", lambda row: row.component == "tempo", ok=False, status=400, detail="start before end")
        return made

    assert failing(()).result("traces.query") is Result.FAIL
    assert failing(ours(60)).result("traces.query") is Result.UNKNOWN
    slow = good_run(QUIET, clocks=ours(60))
    slow.change("queries", lambda row: row.component == "tempo", done_ns=lambda row: row.due_ns + 9 * NS)
    assert slow.result("traces.query") is Result.FAIL


def refused(signal: str, detail: str, status: int = 400, share: int = 1, **info: object) -> Made:
    made = good_run(QUIET, **info)
    made.change(
        "receipts", lambda row: row.signal == signal and row.n % share == 0, outcome=Outcome.UNKNOWN.value,
        status=status, detail=detail,
    )  # fmt: skip
    return made


@pytest.mark.parametrize("detail", TOO_NEW)
@pytest.mark.parametrize("share", [1, 3])
def test_pushes_refused_for_their_time_are_no_matter_of_rates(detail: str, share: int) -> None:
    for signal in ("logs", "metrics"):
        verdict = refused(signal, detail, share=share).verdict(f"{signal}.throughput")
        assert verdict.result is Result.UNKNOWN
        assert "refused for the times in them" in verdict.evidence[0]
        assert verdict.remedy == CLOCK_REFUSED
        assert "ingestion_rate" not in verdict.remedy


def test_pushes_refused_for_the_rate_still_fail() -> None:
    verdict = refused("logs", "429, ingestion rate limit exceeded", 429, share=2).verdict("logs.throughput")
    assert verdict.result is Result.FAIL


def test_a_few_refused_for_their_time_do_not_excuse_the_others() -> None:
    made = refused("logs", "429, ingestion rate limit exceeded", 429, share=2)
    made.change("receipts", lambda row: row.signal == "logs" and row.n % 20 == 1, outcome="unknown", detail=TOO_NEW[0])
    assert made.result("logs.throughput") is Result.FAIL


def test_a_lost_worker_is_the_reason_of_what_is_unknown() -> None:
    lost = (WorkerGap(1, BEGAN_NS + 9 * NS),)
    made = good_run(QUIET, gaps=lost)
    made.drop("receipts", lambda row: row.user == 1 and row.due_ns > BEGAN_NS + 9 * NS)
    found = made.verdicts()
    for name in ("logs.throughput", "loadgen.health"):
        assert found[name].result is Result.UNKNOWN
        assert found[name].evidence[0].startswith("worker 1 was lost at +9.0 s")
        assert "see why it ended" in found[name].remedy
    assert not [one for one in found.values() if one.result is Result.FAIL]


def test_a_worker_that_was_away_is_told_with_both_times() -> None:
    made = good_run(QUIET, gaps=(WorkerGap(0, BEGAN_NS + 9 * NS, BEGAN_NS + 15 * NS),))
    [first, *_] = made.verdict("loadgen.health").evidence
    assert first.startswith("worker 0 was not heard from +9.0 s")
    assert "+15.0 s" in first


def test_without_a_gap_nothing_changes() -> None:
    assert good_run(QUIET).result("loadgen.health") is Result.PASS


# -- a machine that stood still ------------------------------------------------------------------------------------


def slow(stood_s: float) -> Made:
    """A run whose queries took a minute; the machine stood still for a while."""
    made = good_run(QUIET)
    made.change("queries", lambda row: True, done_ns=lambda row: row.due_ns + 60 * NS)
    if stood_s:
        made.stack.append(StackSample("loadgen", STOOD_STILL, "", BEGAN_NS + 30 * NS, stood_s))
    return made


def test_what_was_slow_while_this_machine_stood_still_is_nobodys_fault() -> None:
    assert slow(0).result("logs.query") is Result.FAIL
    verdict = slow(55).verdict("logs.query")
    assert verdict.result is Result.UNKNOWN
    assert verdict.evidence[0].startswith("this machine stood still for 55 s until +30.0 s")
    assert "keep this machine awake" in verdict.remedy
    assert slow(55).result("loadgen.health") is Result.UNKNOWN, "its own schedule was not kept"


def test_what_is_lost_stays_lost_though_this_machine_stood_still() -> None:
    made = good_run(QUIET)
    made.change("sightings", lambda s: (s.signal, s.phase, s.n) == ("logs", "verify", 3), missing=2)
    made.stack.append(StackSample("loadgen", STOOD_STILL, "", BEGAN_NS + 30 * NS, 55.0))
    assert made.result("logs.loss") is Result.FAIL
    assert made.result("logs.query") is Result.PASS
