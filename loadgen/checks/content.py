"""The common part of two promises that only a comparison of content can tell: unaltered, and in order."""

from __future__ import annotations

import pandas as pd

from loadgen.checks.case import ITEMS, RUN_LONGER, VERIFY_AGAIN, Case, Finding, counted, nobody_sends, unknown
from loadgen.checks.loss import examples, gaps_text
from loadgen.model import Objective, Outcome, Result, Signal

# Fewer compared batches than this say next to nothing, unless they are all there are.
MIN_COMPARED = 10


def judge_compared(
    case: Case, signal: Signal, column: str, objective: Objective, wrong_text: str, advice: str
) -> Finding:
    """Judge the sum of ``column`` over the batches whose content was compared."""
    limit, what = objective.limit, ITEMS[signal]
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    both = case.verified(signal)
    accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
    if both.empty:
        return unknown(objective, "nothing was sent", RUN_LONGER)
    compared = both[both["compared"] > 0]
    hurt = both[both[column] > 0]
    wrong, items = int(hurt[column].sum()), int(compared["compared"].sum())
    measured = f"{wrong:,} of {items:,} compared {what} {wrong_text}"
    evidence = [strength(compared, accepted, wrong, what), *examples(case, signal, hurt, column)]
    if wrong > limit:
        return Finding(Result.FAIL, objective, measured, wrong, items, tuple(evidence), advice)
    if compared.empty:
        return unknown(
            objective,
            gaps_text(accepted) or "no batch was compared in content",
            f"{VERIFY_AGAIN}; verify.sample and verify.max_compared must be above 0",
        )
    if len(compared) < min(MIN_COMPARED, len(accepted)):
        evidence.insert(0, f"only {counted(len(compared), 'batches')} compared, too few to judge by")
        remedy = f"raise verify.sample or verify.max_compared, then {VERIFY_AGAIN}"
        return Finding(Result.UNKNOWN, objective, measured, wrong, items, tuple(evidence), remedy)
    return Finding(Result.PASS, objective, measured, wrong, items, tuple(evidence))


def strength(compared: pd.DataFrame, accepted: pd.DataFrame, wrong: int, what: str) -> str:
    """How much the comparison is worth, in one sentence."""
    items = int(compared["compared"].sum())
    head = f"compared: {counted(items, what)} in {counted(len(compared), 'batches')} of {len(accepted):,} accepted"
    in_full = int((compared["compared"] >= compared["items"]).sum())
    if len(compared) >= len(accepted) and in_full == len(compared):
        return f"{head}, which is all of them, in full"
    if in_full < len(compared):
        head += f" ({in_full:,} of them in full)"
    if wrong or not len(compared):
        return head
    bound = f"fewer than {min(100.0, 300 / len(compared)):.2g} % of all batches are wrong (3/k)"
    return (
        f"{head}; a sample: 0 wrong in k = {len(compared):,} compared batches means with 95 % confidence that {bound}"
    )
