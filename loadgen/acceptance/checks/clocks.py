"""All clocks agree: else what was refused or not found may have been asked for at a wrong time."""

from __future__ import annotations

from dataclasses import replace

from loadgen.acceptance.checks.base import broken, check_of, not_told, ok, untold
from loadgen.acceptance.facts import Deployment
from loadgen.judging import Check, Finding
from loadgen.model import NS, Result
from loadgen.skew import AGREE_NS, SET_IT, Skew, weigh
from loadgen.units import duration_text

_ADDRESS = "add an address of Grafana, of a component or of S3 to the target"
_BOUND = f"within {duration_text(AGREE_NS / NS)}"
# These push, look or sign by this machine's time of day.
_TIMED = frozenset(
    (
        "loki.accepts", "tempo.accepts", "mimir.accepts", "loki.s3_prefix", "tempo.s3_prefix", "mimir.s3_prefix",
        "s3.buckets", "s3.versioning", "s3.lifecycle", "s3.object_lock", "s3.isolation", "s3.tls", "mimir.history",
        "prometheus.remote_write", "prometheus.parity", "grafana.loki", "grafana.tempo", "grafana.mimir",
    )
)  # fmt: skip
# S3 refuses what was signed at a time so wrong, which must not be taken for a denial.
_SIGNED_WITHIN_S = 900.0


def _judge(found: Deployment) -> Finding:
    missing = not_told(found.clocks, _ADDRESS)
    if missing is not None:
        return missing
    readings = found.clocks.value or ()
    if not readings:
        return untold("no answer was dated", "see that the addresses in the target are right and answer")
    skew = weigh(readings)
    if skew.odd:
        far_s = max(abs(one.ahead_ns + skew.ours_ns) for one in skew.odd) / NS
        remedy = f"on the machines of {', '.join(one.name for one in skew.odd)}: {SET_IT}"
        texts, count = skew.texts(), len(readings)
        return broken(f"up to {duration_text(far_s)} apart", remedy, *texts, samples=count, value=far_s)
    if skew.ours_ns:
        return untold(skew.ours_text, f"on this machine: {SET_IT}")
    return ok(f"this machine and {', '.join(one.name for one in readings)} agree {_BOUND}", len(readings))


def by_right_clock(check: Check[Deployment], found: Deployment, finding: Finding) -> Finding:
    """A finding of which this machine's clock leaves nothing is unknown, and names it."""
    skew = weigh(found.clocks.value or ())
    if check.name not in _TIMED or not skew.ours_ns or not _is_spoiled(check, finding, skew):
        return finding
    return replace(
        finding,
        result=Result.UNKNOWN,
        evidence=(skew.ours_text, *finding.evidence),
        remedy=f"on this machine: {SET_IT}; then check again",
        value=None,
    )


def _is_spoiled(check: Check[Deployment], finding: Finding, skew: Skew) -> bool:
    denied = check.name == "s3.isolation" and abs(skew.ours_s) >= _SIGNED_WITHIN_S
    return finding.result in (Result.FAIL, Result.UNKNOWN) or (denied and finding.result is Result.PASS)


CHECKS = (
    check_of(
        "clocks",
        "Grafana, the components, S3 and this machine have the same time",
        f"agree {_BOUND}",
        _judge,
    ),
)
