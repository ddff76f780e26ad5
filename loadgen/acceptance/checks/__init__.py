"""The acceptance checks. To add one, write a file and name its checks here. Pure: from facts to verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.acceptance.checks import (
    accepts,
    clocks,
    grafana,
    kubernetes,
    prometheus,
    s3_access,
    s3_buckets,
    s3_prefix,
    s3_settings,
)
from loadgen.acceptance.checks.base import Check, Finding
from loadgen.acceptance.facts import Deployment
from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import Result, Verdict

CHECKS: tuple[Check, ...] = (
    *clocks.CHECKS,
    *s3_buckets.CHECKS,
    *s3_settings.CHECKS,
    *s3_access.CHECKS,
    *kubernetes.CHECKS,
    *accepts.CHECKS,
    *s3_prefix.CHECKS,
    *grafana.CHECKS,
    *prometheus.CHECKS,
)


def judge(found: Deployment, checks: Sequence[Check] = CHECKS) -> tuple[Verdict, ...]:
    """A verdict for every promise, in the order of ``checks``."""
    return tuple(_verdict(check, found) for check in checks)


def _verdict(check: Check, found: Deployment) -> Verdict:
    try:
        finding = clocks.by_right_clock(check, found, check.judge(found))
    except Exception as problem:  # noqa: BLE001 - one promise that cannot be judged must not cost the others
        finding = Finding(Result.UNKNOWN, "", 0, (f"judging it failed: {mistake(problem)}",), REPORT_IT)
    return Verdict(
        check=check.name,
        promise=check.promise,
        result=finding.result,
        objective=check.objective,
        measured=finding.measured,
        value=finding.value,
        samples=finding.samples,
        evidence=finding.evidence,
        remedy=finding.remedy,
    )


__all__ = ["CHECKS", "Check", "Finding", "judge"]
