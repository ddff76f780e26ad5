"""Checks: a run's history becomes verdicts. Pure: no HTTP, no clock, one promise a file.

To add a promise, write a file with its `RunCheck` and add a line to `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from loadgen.checks import (
    all_query,
    altered,
    duplicates,
    freshness,
    health,
    history_reach,
    loss,
    order,
    persistence,
    query,
    recovery,
    s3_delay,
    s3_kept,
    throughput,
)
from loadgen.checks.case import Case, RunCheck
from loadgen.checks.surroundings import with_surroundings
from loadgen.config import parse_profile
from loadgen.history.values import History
from loadgen.judging import Finding, outcome
from loadgen.model import Component, Result, Verdict
from loadgen.plan import Plan

CHECKS: tuple[RunCheck, ...] = (
    *loss.CHECKS,
    *duplicates.CHECKS,
    *altered.CHECKS,
    *order.CHECKS,
    *throughput.CHECKS,
    *query.CHECKS,
    *all_query.CHECKS,
    *freshness.CHECKS,
    *s3_delay.CHECKS,
    *s3_kept.CHECKS,
    *persistence.CHECKS,
    *recovery.CHECKS,
    *history_reach.CHECKS,
    *health.CHECKS,
)


def judge(history: History, plan: Plan, checks: Sequence[RunCheck] = CHECKS) -> tuple[Verdict, ...]:
    """A verdict for every promise, in the order of ``checks``.

    Objectives come from the profile that is stored with the run. ConfigError when that profile is not valid.
    """
    case = Case(history, plan, parse_profile(history.info.profile, "run.json"))
    return tuple(_verdict(check, case) for check in checks)


def _verdict(check: RunCheck, case: Case) -> Verdict:
    def then(finding: Finding) -> Finding:
        return with_surroundings(check, case, _with_open_faults(check, case, _with_damage(check, case, finding)))

    # What is stored may have been edited by hand.
    remedy = "this is a mistake in loadgen or a run directory that was changed by hand; please report it"
    return check.verdict(case, then, remedy=remedy)


def _with_open_faults(check: RunCheck, case: Case, finding: Finding) -> Finding:
    """What a restart disturbs cannot be told when loadgen ended in the middle of one."""
    mine = {component.value for component in check.disturbed_by} | {Component.GRAFANA.value}
    begun = [fault for fault in case.history.faults if fault.unfinished and fault.component in mine]
    failed = finding.result is Result.FAIL and not check.proves_by_absence
    if not begun or not check.disturbed_by or failed or finding.result is Result.SKIPPED:
        return finding
    why = f"loadgen ended during the {begun[0].fault} of {begun[0].component} at {case.at(begun[0].began_ns)}"
    return replace(
        finding,
        result=Result.UNKNOWN,
        evidence=(f"{why}; nobody knows when that was over", *finding.evidence),
        remedy=f"see that {begun[0].component} runs (in the lab: loadgen lab up), then run again",
    )


def _with_damage(check: RunCheck, case: Case, finding: Finding) -> Finding:
    """What depends on damaged files cannot pass, nor fail on what may only be missing from them."""
    hurt = [name for name in case.history.damaged if any(table in name for table in check.reads)]
    unproven = finding.result is Result.PASS or (finding.result is Result.FAIL and check.proves_by_absence)
    if not hurt or not unproven:
        return finding
    return replace(
        finding,
        result=Result.UNKNOWN,
        evidence=(f"damaged and left out: {', '.join(hurt[:5])}", *finding.evidence),
        remedy="rows of this run are lost with the damaged files; run again",
    )


__all__ = ["CHECKS", "RunCheck", "judge", "outcome"]
