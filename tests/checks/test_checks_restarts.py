"""Persistence and recovery: what a restart costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_history import BEGAN_NS, Made, empty_run, good_run

from loadgen.model import NS, FaultWindow, Result, Sighting

COMPONENTS = ("loki", "tempo", "mimir")
SIGNAL = {"loki": "logs", "tempo": "traces", "mimir": "metrics"}
PERSISTENCE = tuple(f"{component}.persistence" for component in COMPONENTS)
RECOVERY = tuple(f"{component}.recovery" for component in COMPONENTS)
BOTH = (*PERSISTENCE, *RECOVERY)


@pytest.mark.parametrize("check", BOTH)
def test_a_restart_without_loss_passes(check: str) -> None:
    verdict = good_run().verdict(check)
    assert verdict.result is Result.PASS


@pytest.mark.parametrize("check", BOTH)
def test_without_a_planned_restart_it_is_skipped(check: str) -> None:
    verdict = good_run({"faults": []}).verdict(check)
    assert verdict.result is Result.SKIPPED
    assert "[[faults]]" in verdict.remedy


@pytest.mark.parametrize("check", BOTH)
def test_planned_but_never_injected_is_unknown(check: str) -> None:
    made = good_run()
    made.faults.clear()
    assert made.result(check) is Result.UNKNOWN


@pytest.mark.parametrize("check", BOTH)
def test_a_restart_of_which_nothing_else_is_known_is_unknown(check: str) -> None:
    made = empty_run()
    component = check.split(".")[0]
    made.faults = [FaultWindow("kill", component, BEGAN_NS + 50 * NS, BEGAN_NS + 51 * NS, BEGAN_NS + 52 * NS, 3, "")]
    assert made.result(check) is Result.UNKNOWN


def lose(made: Made, component: str, *numbers: int, users: tuple[int, ...] = (0,), seen: bool = False) -> None:
    """Let one item of each of these batches be missing, and let no probe have seen them unless ``seen``."""
    mine = {(user, n) for user in users for n in numbers}

    def hit(s: Sighting, phase: str) -> bool:
        return s.signal == SIGNAL[component] and s.phase == phase and (s.user, s.n) in mine

    made.change("sightings", lambda s: hit(s, "verify"), missing=1)
    if not seen and any(hit(s, "probe") for s in made.sightings):
        made.change("sightings", lambda s: hit(s, "probe"), first_seen_ns=0, missing=1)


def last_before(made: Made, component: str) -> int:
    """The newest batch of user 0 that was accepted before the component's restart."""
    (fault,) = [one for one in made.faults if one.component == component]
    return max(
        r.n for r in made.receipts if (r.signal, r.user) == (SIGNAL[component], 0) and r.done_ns < fault.began_ns
    )


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_newest_data_accepted_before_the_kill_and_missing_after_it_fails(component: str) -> None:
    made = good_run()
    made.drop("sightings", lambda s: s.phase == "probe" and s.signal == SIGNAL[component])
    newest = last_before(made, component)
    lose(made, component, newest)
    verdict = made.verdict(f"{component}.persistence")
    assert verdict.result is Result.FAIL
    assert (verdict.value, "persist" in verdict.remedy) == (1, True)
    assert any("what the restart lost was acknowledged" in text and "before it" in text for text in verdict.evidence)
    assert any(f"user 0, batch {newest}" in text for text in verdict.evidence)
    loss = made.verdict(f"{SIGNAL[component]}.loss")
    assert (loss.result, loss.value) == (Result.FAIL, 1)
    assert any(f"lost by a restart; see {component}.persistence" in text for text in loss.evidence)


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_a_probe_had_seen_before_the_kill_was_lost_by_it_whatever_survived(component: str) -> None:
    made = good_run()
    lose(made, component, 10, 11, 12, seen=True)
    verdict = made.verdict(f"{component}.persistence")
    assert (verdict.result, verdict.value) == (Result.FAIL, 3)
    assert any("had been seen complete before" in t for t in made.verdict(f"{SIGNAL[component]}.loss").evidence)


@pytest.mark.parametrize("component", COMPONENTS)
def test_what_was_lost_before_the_kill_is_a_loss_and_not_the_kills(component: str) -> None:
    made = good_run()
    lose(made, component, 15)
    verdict = made.verdict(f"{component}.persistence")
    assert (verdict.result, verdict.value) == (Result.PASS, 0)
    assert any("missing for another reason" in text for text in verdict.evidence)
    assert made.result(f"{SIGNAL[component]}.loss") is Result.FAIL


def test_what_a_probe_missed_before_the_kill_is_not_the_kills_even_if_it_is_the_newest() -> None:
    made = good_run({"freshness": {"every": 1, "poll": 0.1}})
    newest = last_before(made, "loki")
    lose(made, "loki", newest - 1, newest)
    assert made.result("loki.persistence") is Result.PASS


def test_a_stream_that_is_missing_before_and_after_the_kill_was_not_lost_by_it() -> None:
    made = good_run()
    made.drop("sightings", lambda s: s.phase == "probe" and s.signal == "logs")
    lose(made, "loki", *range(60))
    assert made.result("loki.persistence") is Result.PASS
    assert made.verdict("logs.loss").value == 60


def test_losses_of_two_kills_are_both_the_kills() -> None:
    again = [{"component": "loki", "at": 20}, {"component": "loki", "at": 40}]
    made = good_run({"faults": again})
    made.drop("sightings", lambda s: s.phase == "probe" and s.signal == "logs")
    before = [
        max(r.n for r in made.receipts if (r.signal, r.user) == ("logs", 0) and r.done_ns < fault.began_ns)
        for fault in made.faults
    ]
    lose(made, "loki", *before, 5)
    assert made.verdict("loki.persistence").value == 2


@pytest.mark.parametrize("check", ["logs.query", "all.query", "loki.persistence", "loki.recovery", "logs.throughput",
                                   "logs.freshness", "logs.s3_delay"])  # fmt: skip
def test_when_loadgen_ended_during_a_kill_nothing_passes_that_the_kill_disturbs(check: str) -> None:
    made = good_run()
    made.faults[0] = replace(made.faults[0], healed_ns=0, query_ok_ns=0, query_failed=0, unfinished=True)
    made.change("queries", lambda q: q.component == "loki" and q.due_ns > made.faults[0].began_ns, ok=False, status=502)
    made.change(
        "receipts", lambda r: r.signal == "logs" and r.due_ns > made.faults[0].began_ns, outcome="unknown", status=0
    )
    verdict = made.verdict(check)
    assert verdict.result is Result.UNKNOWN
    assert "loadgen ended during the kill of loki" in verdict.evidence[0]
    assert "loadgen lab up" in verdict.remedy
    other = check.replace("logs", "metrics").replace("loki", "mimir")
    assert check == "all.query" or made.result(other) is Result.PASS


def test_an_item_accepted_during_the_outage_counts_too() -> None:
    made = good_run()
    fault = made.faults[0]
    during = next(r for r in made.receipts if r.signal == "logs" and fault.began_ns < r.done_ns < fault.query_ok_ns)
    made.change(
        "sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", during.user, during.n), missing=1
    )
    assert made.result("loki.persistence") is Result.FAIL


def test_a_loss_long_after_the_restart_is_not_the_restarts() -> None:
    made = good_run()
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 0, 50), missing=1)
    assert made.result("loki.persistence") is Result.PASS
    assert made.result("logs.loss") is Result.FAIL


def test_it_says_how_much_was_in_s3_and_how_much_had_to_come_back_from_the_log() -> None:
    evidence = good_run().verdict("loki.persistence").evidence[0]
    assert (
        "40 batches accepted before it, 20 of them already in S3; 20 had to come back from the write-ahead log"
        in evidence
    )


def test_nothing_accepted_before_the_kill_is_unknown() -> None:
    made = good_run()
    made.drop("receipts", lambda r: r.signal == "logs" and r.done_ns < made.faults[0].began_ns)
    assert made.result("loki.persistence") is Result.UNKNOWN


def test_unreadable_batches_make_persistence_unknown() -> None:
    made = good_run()
    made.change("sightings", lambda s: (s.signal, s.phase, s.n) == ("logs", "verify", 3), unreadable=True)
    assert made.result("loki.persistence") is Result.UNKNOWN


def test_fewer_restarts_than_planned_are_unknown() -> None:
    again = [{"component": "loki", "at": 20}, {"component": "loki", "at": 40}]
    made = good_run({"faults": again})
    made.faults.pop()
    assert made.result("loki.persistence") is Result.UNKNOWN
    assert made.result("loki.recovery") is Result.UNKNOWN


def test_recovery_takes_the_larger_of_pushes_and_queries() -> None:
    made = good_run()
    verdict = made.verdict("loki.recovery")
    assert verdict.value == pytest.approx(1.5)
    fault = made.faults[0]
    made.change(
        "receipts",
        lambda r: r.signal == "logs" and r.done_ns > fault.began_ns and r.due_ns < fault.began_ns + 12 * NS,
        done_ns=fault.began_ns + 12 * NS,
        last_sent_ns=fault.began_ns + 12 * NS - 1,
        attempts=5,
    )
    assert made.verdict("loki.recovery").value == pytest.approx(12, abs=0.01)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_slow_recovery_fails(component: str) -> None:
    made = good_run({"objectives": {SIGNAL[component]: {"recovery_max": 1}}})
    verdict = made.verdict(f"{component}.recovery")
    assert verdict.result is Result.FAIL
    assert verdict.objective.overridden


def test_a_push_answered_by_the_dying_process_is_no_recovery() -> None:
    made = good_run()
    fault = made.faults[0]
    position = next(
        i
        for i, r in enumerate(made.receipts)
        if r.signal == "logs" and r.done_ns < fault.began_ns < made.receipts[i + 1].done_ns
    )
    made.receipts[position] = replace(
        made.receipts[position], last_sent_ns=fault.began_ns + 1, done_ns=fault.began_ns + 3_000_000
    )
    assert any("pushes after 70" in text for text in made.verdict("loki.recovery").evidence)


def test_a_component_that_could_not_be_healed_fails_loudly() -> None:
    made = good_run()
    made.faults[0] = replace(made.faults[0], healed_ns=0, query_ok_ns=0, error="port 3100 is taken; stop it by hand")
    verdict = made.verdict("loki.recovery")
    assert verdict.result is Result.FAIL
    assert "port 3100 is taken" in verdict.evidence[0]


def test_a_run_that_ended_before_the_recovery_is_unknown() -> None:
    made = good_run()
    made.faults[0] = replace(made.faults[0], query_ok_ns=0)
    assert made.result("loki.recovery") is Result.UNKNOWN


def test_queries_that_never_worked_again_fail_after_the_bound() -> None:
    made = good_run({"objectives": {"logs": {"recovery_max": 20}}})
    made.faults[0] = replace(made.faults[0], query_ok_ns=0)
    assert made.result("loki.recovery") is Result.FAIL


@pytest.mark.parametrize("component", COMPONENTS)
def test_restarts_of_a_component_that_nobody_sends_to_are_skipped(component: str) -> None:
    made = good_run({SIGNAL[component]: {"users": 0}})
    assert made.result(f"{component}.persistence") is Result.SKIPPED
    assert made.result(f"{component}.recovery") is Result.SKIPPED
