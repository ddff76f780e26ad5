"""A run of days ago still reads back in full."""

from __future__ import annotations

from loadgen.checks.case import ITEMS, VERIFY_AGAIN, Case, RunCheck, counted, skipped, unknown
from loadgen.checks.loss import count_of, examples, gaps_text
from loadgen.judging import Finding
from loadgen.kinds import kind_of
from loadgen.model import NS, Outcome, Result, Signal
from loadgen.units import duration_text

_ADVICE = (
    "what was there at first and is not any more was deleted, or was never in S3 and went with a pod: look at the "
    "retention of the component, at the lifecycle rules of its bucket and at its compactor"
)


def _judge(case: Case) -> Finding:
    bounds = case.profile.objectives.all
    limit = bounds.history_missing
    after, until = duration_text(bounds.history_after), duration_text(bounds.history_until)
    objective = case.objective(
        "all.history_missing", f"≤ {limit} items missing after {after} to {until}", limit, "items"
    )
    info = case.history.info
    if not info.verified_ns:
        return unknown(objective, "the run was never read back", VERIFY_AGAIN)
    age_s = max(0, info.verified_ns - case.ended_ns()) / NS
    if age_s < bounds.history_after:
        why = f"last read back {duration_text(age_s)} after its load, which is not yet {after}"
        return skipped(objective, why, f"`loadgen verify RUN` reads it back again; do so after {after}")
    if age_s > bounds.history_until:
        why = f"last read back {duration_text(age_s)} after its load; nobody promises to keep it beyond {until}"
        return skipped(
            objective, why, "verify a younger run, or set objectives.all.history_until to the real retention"
        )
    signals = [signal for signal in Signal if case.profile.users(signal)]
    missing = batches = 0
    evidence, gaps, hurt = [], [], []
    for signal in signals:
        both = case.verified(signal)
        accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
        if accepted.empty:
            gaps.append(f"no {signal} were accepted")
            continue
        gone = int(accepted["missing"].sum())
        missing, batches = missing + gone, batches + int((accepted["seen"] & ~accepted["unreadable"]).sum())
        evidence.append(f"{count_of(gone, int(accepted['items'].sum()), ITEMS[signal])} missing")
        if gaps_text(accepted):
            gaps.append(f"{signal}: {gaps_text(accepted)}")
        if gone:
            hurt.append(signal)
            evidence += examples(case, signal, accepted[accepted["missing"] > 0], "missing")
    measured = f"{counted(missing, 'items')} missing after {duration_text(age_s)}"
    if missing > limit:
        advice = "; ".join([_ADVICE, *(kind_of(signal).loss.advice for signal in hurt)])
        return Finding(Result.FAIL, objective, measured, missing, batches, tuple(evidence), advice)
    if gaps:
        return Finding(Result.UNKNOWN, objective, "", None, batches, (*gaps, *evidence), VERIFY_AGAIN)
    return Finding(Result.PASS, objective, measured, missing, batches, tuple(evidence))


CHECKS = (
    RunCheck(
        "history.reach",
        "a run of days ago still reads back in full",
        _judge,
        ("receipts", "sightings"),
    ),
)
