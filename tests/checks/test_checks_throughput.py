"""Throughput and the generator's own health: what the stack did not take, and what it was never given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_history import BEGAN_NS, Made, empty_run, good_run

from loadgen.model import MS, NS, Outcome, Receipt, Result, StackSample

CHECKS = ("logs.throughput", "traces.throughput", "metrics.throughput")


def refuse(made: Made, signal: str, each: int, **changes: object) -> None:
    """Let every ``each``-th push of a signal not be accepted."""
    values = {"outcome": Outcome.REJECTED.value, "status": 429, "detail": "ingestion rate limit exceeded", **changes}
    made.change("receipts", lambda r: r.signal == signal and r.n % each == 0, **values)


def drop_by_own_fault(row: Receipt) -> bool:
    return row.signal == "logs" and 20 <= row.n < 40


@pytest.mark.parametrize("check", CHECKS)
def test_a_stack_that_takes_everything_passes(check: str) -> None:
    verdict = good_run().verdict(check)
    assert verdict.result is Result.PASS
    assert "100 % of the plan" in verdict.measured
    assert "97 %" in verdict.objective.text  # the tolerance is stated


@pytest.mark.parametrize("check", CHECKS)
def test_refused_pushes_fail_and_the_status_is_shown(check: str) -> None:
    made = good_run()
    refuse(made, check.split(".")[0], 10)
    verdict = made.verdict(check)
    assert verdict.result is Result.FAIL
    assert any("429" in text and "rate limit" in text for text in verdict.evidence)


@pytest.mark.parametrize("check", CHECKS)
def test_without_data_throughput_is_unknown(check: str) -> None:
    assert empty_run().result(check) is Result.UNKNOWN


@pytest.mark.parametrize("check", CHECKS)
def test_throughput_of_a_signal_without_users_is_skipped(check: str) -> None:
    assert good_run({check.split(".")[0]: {"users": 0}, "faults": []}).result(check) is Result.SKIPPED


def test_the_remedy_for_loki_names_its_default_limit() -> None:
    made = good_run()
    refuse(made, "logs", 5)
    assert "ingestion_rate_mb" in made.verdict("logs.throughput").remedy


def test_pushes_that_a_restart_delayed_count_when_they_were_accepted() -> None:
    made = good_run()
    held_ns = BEGAN_NS + 35 * NS
    made.change(
        "receipts",
        lambda r: r.signal == "logs" and 20 <= r.n <= 34,
        done_ns=lambda r: held_ns + r.n * MS,
        last_sent_ns=held_ns,
        attempts=6,
    )
    assert made.result("logs.throughput") is Result.PASS


def test_a_backlog_that_is_only_worked_off_after_the_load_is_a_rate_that_was_not_taken() -> None:
    made = good_run({"faults": []})
    # Every answer takes longer than the one before: at the end the stack is 15 s behind.
    made.change(
        "receipts",
        lambda r: r.signal == "logs",
        done_ns=lambda r: r.due_ns + (r.due_ns - BEGAN_NS) // 4,
        free_ns=lambda r: r.due_ns + (r.due_ns - BEGAN_NS) // 4 - 10 * MS,
        sent_ns=lambda r: r.due_ns + (r.due_ns - BEGAN_NS) // 4 - 10 * MS,
    )
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.FAIL
    assert any("after the window" in text for text in verdict.evidence)


def test_work_dropped_because_the_stack_did_not_answer_is_the_stacks_failure() -> None:
    made = good_run()
    made.change(
        "receipts",
        drop_by_own_fault,
        outcome=Outcome.DROPPED.value,
        sent_ns=0,
        plain_bytes=0,
        free_ns=lambda r: r.due_ns + 31 * NS,
        done_ns=lambda r: r.due_ns + 31 * NS,
    )
    verdicts = made.verdicts()
    assert verdicts["logs.throughput"].result is Result.FAIL
    assert verdicts["loadgen.health"].result is Result.PASS
    assert any("waited for the stack" in text for text in verdicts["loadgen.health"].evidence)


def test_work_dropped_by_the_generators_own_lag_is_never_blamed_on_the_stack() -> None:
    made = good_run()
    made.change(
        "receipts",
        drop_by_own_fault,
        outcome=Outcome.DROPPED.value,
        sent_ns=0,
        plain_bytes=0,
        free_ns=lambda r: r.due_ns - 900 * MS,
        done_ns=lambda r: r.due_ns + 31 * NS,
    )
    verdicts = made.verdicts()
    assert verdicts["logs.throughput"].result is Result.UNKNOWN
    assert "generator" in verdicts["logs.throughput"].remedy
    assert verdicts["loadgen.health"].result is Result.FAIL


def test_planned_pushes_without_a_receipt_make_it_unknown() -> None:
    made = good_run()
    made.drop("receipts", lambda r: r.signal == "logs" and r.user == 1)
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.UNKNOWN
    assert any("without a receipt" in text for text in verdict.evidence)


def test_pushes_queued_behind_one_that_hung_until_the_end_count_against_the_stack() -> None:
    made = good_run({"faults": []})
    made.drop("receipts", lambda r: r.signal == "logs" and r.n > 40)
    made.change(
        "receipts",
        lambda r: r.signal == "logs" and r.n == 40,
        outcome=Outcome.UNKNOWN.value,
        status=0,
        detail="no answer",
        done_ns=BEGAN_NS + 64 * NS,
    )
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.FAIL
    assert any("never tried" in text for text in verdict.evidence)
    assert "35" in verdict.measured.split(", ")[1]  # per cent of the pushes: 2 hung, 36 queued of 109


def slow_at_the_end(late_s: float, took_s: float, **changes: object) -> Made:
    """Both users' last push falls due a second and a half before the end of the load, and one would follow."""
    made = good_run({"faults": []})
    ends = {
        user: max(r.n for r in made.receipts if (r.signal, r.user) == ("logs", user) and r.due_ns < BEGAN_NS + 59 * NS)
        for user in (0, 1)
    }
    made.drop("receipts", lambda r: r.signal == "logs" and r.n > ends[r.user])
    made.change(
        "receipts",
        lambda r: r.signal == "logs" and r.n == ends[r.user],
        free_ns=lambda r: r.due_ns + round(late_s * NS),
        sent_ns=lambda r: r.due_ns + round(late_s * NS),
        done_ns=lambda r: r.due_ns + round(took_s * NS),
        **changes,
    )
    return made


def test_a_push_that_the_end_cut_off_behind_a_slow_one_is_nobodys_fault() -> None:
    verdict = slow_at_the_end(late_s=0.0, took_s=1.7).verdict("logs.throughput")
    assert verdict.result is Result.PASS
    assert any("not counted: the load ended" in text for text in verdict.evidence)


@pytest.mark.parametrize(
    ("late_s", "took_s", "changes"),
    [
        (0.4, 1.7, {}),  # its user was held up before
        (0.0, 3.5, {}),  # it hung
        (0.0, 1.7, {"outcome": Outcome.UNKNOWN.value}),
        (0.0, 1.7, {"attempts": 2}),
    ],
)
def test_pushes_at_the_end_behind_one_that_was_not_just_slow_count_against_the_stack(
    late_s: float, took_s: float, changes: dict[str, object]
) -> None:
    verdict = slow_at_the_end(late_s, took_s, **changes).verdict("logs.throughput")
    assert verdict.result is Result.FAIL
    assert any("never tried" in text for text in verdict.evidence)


def test_a_run_cut_short_is_judged_over_what_ran() -> None:
    made = good_run({"faults": []}, interrupted=True, load_ended_ns=BEGAN_NS + 30 * NS)
    made.drop("receipts", lambda r: r.due_ns > BEGAN_NS + 30 * NS)
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.PASS
    assert any("of the planned 60 s" in text for text in verdict.evidence)


def test_pushes_queued_behind_a_restart_until_the_end_cannot_be_judged() -> None:
    made = good_run({"faults": [{"component": "loki", "at": 55}]})
    fault = made.faults[0]
    end_ns = BEGAN_NS + 62 * NS
    made.faults[0] = replace(fault, healed_ns=end_ns - 2 * NS, query_ok_ns=end_ns - 2 * NS)
    hung = {
        user: min(r.n for r in made.receipts if (r.signal, r.user) == ("logs", user) and r.done_ns > fault.began_ns)
        for user in (0, 1)
    }
    made.drop("receipts", lambda r: r.signal == "logs" and r.n > hung[r.user])
    made.change("receipts", lambda r: r.signal == "logs" and r.n == hung[r.user], done_ns=end_ns, attempts=6)
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.UNKNOWN
    assert "queued up during a restart" in verdict.evidence[0]
    assert "longer" in verdict.remedy


def test_a_run_cut_short_during_the_warm_up_is_unknown() -> None:
    made = good_run({"faults": []}, interrupted=True, load_ended_ns=BEGAN_NS + 4 * NS)
    made.drop("receipts", lambda r: r.due_ns > BEGAN_NS + 4 * NS)
    assert made.result("logs.throughput") is Result.UNKNOWN


def test_an_own_rate_is_the_objective_and_marked() -> None:
    made = good_run({"objectives": {"logs": {"throughput": 2000}}})
    verdict = made.verdict("logs.throughput")
    assert verdict.result is Result.PASS
    assert verdict.objective.overridden
    assert verdict.objective.limit == 2000


def test_a_rate_that_was_never_asked_for_is_unknown_not_failed() -> None:
    verdict = good_run({"objectives": {"logs": {"throughput": "10MB/s"}}}).verdict("logs.throughput")
    assert verdict.result is Result.UNKNOWN
    assert "logs.rate" in verdict.remedy


# -- health --------------------------------------------------------------------------------------------------------


def test_a_generator_that_keeps_its_schedule_is_healthy() -> None:
    verdict = good_run().verdict("loadgen.health")
    assert verdict.result is Result.PASS
    assert verdict.value is not None and verdict.value < 0.05


def test_a_generator_that_is_late_is_not_healthy() -> None:
    made = good_run()
    made.change("receipts", lambda r: r.n % 20 == 0, sent_ns=lambda r: max(r.due_ns, r.free_ns) + 2 * NS)
    verdict = made.verdict("loadgen.health")
    assert verdict.result is Result.FAIL
    assert verdict.value == pytest.approx(2.0)
    assert "processes" in verdict.remedy


def test_waiting_for_the_stack_is_not_the_generators_lag() -> None:
    made = good_run()
    made.change(
        "receipts",
        lambda r: r.n % 2 == 0,
        free_ns=lambda r: r.due_ns + 9 * NS,
        sent_ns=lambda r: r.due_ns + 9 * NS + MS,
        done_ns=lambda r: r.due_ns + 10 * NS,
    )
    assert made.result("loadgen.health") is Result.PASS


def test_without_receipts_health_is_unknown() -> None:
    assert empty_run().result("loadgen.health") is Result.UNKNOWN


def test_a_saturated_core_makes_health_unknown() -> None:
    made = good_run()
    made.stack = [
        StackSample("loadgen", "process_cpu_seconds_total", "worker 0", BEGAN_NS + second * NS, 0.97 * second)
        for second in range(0, 60, 5)
    ]
    verdict = made.verdict("loadgen.health")
    assert verdict.result is Result.UNKNOWN
    assert "run.processes" in verdict.remedy
