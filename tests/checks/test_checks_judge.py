"""Judging a whole run: the registry, the outcome, damaged files, speed."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pandas as pd
import pytest
from made_history import empty_run, good_run

from loadgen.checks import CHECKS, judge, outcome
from loadgen.model import Objective, Result, Verdict
from loadgen.plans import Deployed, default_plan


def verdict(result: Result) -> Verdict:
    return Verdict("x", "y", result, Objective("", 0, ""), "", None, 0)


def test_a_good_run_passes_every_check() -> None:
    verdicts = good_run().verdicts()
    # It was read back at once, so nothing is known of the days after.
    others = {name: v.result for name, v in verdicts.items() if v.result is not Result.PASS}
    assert others == {"history.reach": Result.SKIPPED}
    assert outcome(tuple(verdicts.values())) is Result.PASS


def test_a_run_without_data_passes_no_check() -> None:
    assert Result.PASS not in {v.result for v in empty_run().verdicts().values()}


def test_names_are_unique_and_every_check_has_a_promise() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert all(check.promise and check.reads for check in CHECKS)


def test_everything_but_pass_has_a_remedy() -> None:
    for made in (empty_run(), empty_run({"faults": []}), good_run({"logs": {"users": 0}, "faults": []})):
        for name, one in made.verdicts().items():
            assert one.result is Result.PASS or one.remedy, name


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([Result.PASS, Result.PASS], Result.PASS),
        ([Result.PASS, Result.SKIPPED], Result.PASS),
        ([Result.PASS, Result.UNKNOWN], Result.UNKNOWN),
        ([Result.FAIL, Result.UNKNOWN, Result.PASS], Result.FAIL),
        ([Result.SKIPPED, Result.SKIPPED], Result.UNKNOWN),
        ([], Result.UNKNOWN),
    ],
)
def test_the_outcome_is_the_worst_that_matters(results: list[Result], expected: Result) -> None:
    assert outcome([verdict(result) for result in results]) is expected


def test_verdicts_are_given_the_ids_of_the_plan_and_of_no_other() -> None:
    verdicts = {one.check: one for one in default_plan().with_ids(good_run().verdicts().values())}
    assert {"AC-001-05", "TASK-018"} <= set(verdicts["logs.query"].requirements)
    assert {"AC-001-02", "TASK-009"} <= set(verdicts["logs.s3_delay"].requirements)
    assert {"AC-001-03", "NFR-RECOVER-001", "TASK-022"} <= set(verdicts["loki.persistence"].requirements)
    assert not any(one.requirements for one in Deployed().with_ids(verdicts.values()))


@pytest.mark.parametrize(
    ("damaged", "hurt", "unhurt"),
    [
        ("parts/receipts-main-7-000001.parquet", "logs.loss", "logs.query"),
        ("sightings.parquet", "traces.altered", "traces.s3_delay"),
        ("queries.parquet", "all.query", "logs.loss"),
        ("parts/objects-main-7-000002.parquet", "logs.s3_delay", "logs.loss"),
        ("faults.json: damaged", "loki.recovery", "metrics.query"),
        ("stack.parquet", "loadgen.health", "logs.throughput"),
    ],
)
def test_what_depends_on_a_damaged_file_cannot_pass(damaged: str, hurt: str, unhurt: str) -> None:
    made = good_run()
    made.damaged = (damaged,)
    verdicts = made.verdicts()
    assert verdicts[hurt].result is Result.UNKNOWN
    assert damaged in verdicts[hurt].evidence[0]
    assert verdicts[unhurt].result is Result.PASS


def test_damage_is_not_proof_of_a_late_object() -> None:
    made = good_run()
    made.change(
        "objects", lambda o: o.component == "loki", modified_ns=lambda o: o.modified_ns + 10**12, first_seen_ns=0
    )
    assert made.result("logs.s3_delay") is Result.FAIL
    made.damaged = ("objects.parquet",)
    assert made.result("logs.s3_delay") is Result.UNKNOWN


def test_a_proven_loss_still_fails_beside_a_damaged_file() -> None:
    made = good_run()
    made.change("sightings", lambda s: (s.signal, s.phase, s.user, s.n) == ("logs", "verify", 0, 3), missing=1)
    made.damaged = ("sightings.parquet",)
    assert made.result("logs.loss") is Result.FAIL


def test_a_check_that_breaks_costs_only_its_own_verdict() -> None:
    made = good_run()
    history = made.history()
    broken = replace(history, queries=pd.DataFrame({"nonsense": [1]}))
    verdicts = {v.check: v for v in judge(broken, made.plan)}
    assert verdicts["all.query"].result is Result.UNKNOWN
    assert "judging it failed" in verdicts["all.query"].evidence[0]
    assert verdicts["logs.loss"].result is Result.PASS


def test_the_order_of_rows_does_not_matter() -> None:
    made = good_run()
    before = {name: (v.result, v.measured) for name, v in made.verdicts().items()}
    for rows in (made.receipts, made.sightings, made.queries, made.objects, made.stack):
        random.Random(5).shuffle(rows)
    assert {name: (v.result, v.measured) for name, v in made.verdicts().items()} == before


def test_a_hundred_thousand_receipts_are_judged_in_seconds() -> None:
    made = good_run({"run": {"duration": 300}, "logs": {"users": 300}, "faults": []})
    history = made.history()
    assert len(history.receipts) > 85_000
    began = time.perf_counter()
    verdicts = judge(history, made.plan)
    assert time.perf_counter() - began < 30
    assert outcome(verdicts) is Result.PASS
