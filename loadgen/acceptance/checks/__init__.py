"""The acceptance checks. To add one, write a file and name its checks here. Pure: from facts to verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

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
from loadgen.acceptance.facts import Deployment
from loadgen.judging import Check, Finding
from loadgen.model import Verdict

CHECKS: tuple[Check[Deployment], ...] = (
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


def judge(found: Deployment, checks: Sequence[Check[Deployment]] = CHECKS) -> tuple[Verdict, ...]:
    """A verdict for every promise, in the order of ``checks``."""
    return tuple(_verdict(check, found) for check in checks)


def _verdict(check: Check[Deployment], found: Deployment) -> Verdict:
    return check.verdict(found, partial(clocks.by_right_clock, check, found))


__all__ = ["CHECKS", "Check", "Finding", "judge"]
