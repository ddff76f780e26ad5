"""Persistence and recovery: what a restart costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_history import BEGAN_NS, empty_run, good_run

from loadgen.model import NS, FaultWindow, Result

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


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_item_accepted_before_the_kill_and_missing_after_it_fails(component: str) -> None:
    made = good_run()
    made.change(
        "sightings",
        lambda s: (s.signal, s.phase, s.user, s.n) == (SIGNAL[component], "verify", 0, 15),
        missing=1,
    )
    verdict = made.verdict(f"{component}.persistence")
    assert verdict.result is Result.FAIL
    assert "persist" in verdict.remedy


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
