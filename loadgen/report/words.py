"""The words and signs for the four results. Colour is never the only thing that tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadgen.model import Result, Verdict

WORD = {Result.PASS: "pass", Result.FAIL: "FAIL", Result.UNKNOWN: "unknown", Result.SKIPPED: "skipped"}
SIGN = {Result.PASS: "✓", Result.FAIL: "✗", Result.UNKNOWN: "?", Result.SKIPPED: "–"}


def headline(outcome: Result, verdicts: Sequence[Verdict]) -> str:
    """The outcome of a run in one sentence."""
    counts = Counter(verdict.result for verdict in verdicts)
    judged = len(verdicts) - counts[Result.SKIPPED]
    if not judged:
        return "Nothing was judged: every promise was skipped."
    if outcome is Result.PASS:
        text = "The promise was kept." if judged == 1 else f"All {judged} promises were kept."
    elif outcome is Result.FAIL:
        text = f"{counts[Result.FAIL]} of {promises(judged)} {'was' if counts[Result.FAIL] == 1 else 'were'} broken"
        text += f": {names(verdicts, Result.FAIL)}."
        if counts[Result.UNKNOWN]:
            text += f" {counts[Result.UNKNOWN]} could not be told."
    else:
        text = f"{counts[Result.UNKNOWN]} of {promises(judged)} could not be told: {names(verdicts, Result.UNKNOWN)}."
        text += " None was seen broken."
    if counts[Result.SKIPPED]:
        text += f" {counts[Result.SKIPPED]} did not apply."
    return text


def promises(count: int) -> str:
    """``1 promise``, ``3 promises``."""
    return "1 promise" if count == 1 else f"{count} promises"


def names(verdicts: Sequence[Verdict], result: Result, most: int = 5) -> str:
    """The checks with a result, a few of them by name."""
    found = [verdict.check for verdict in verdicts if verdict.result is result]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def objective_text(verdict: Verdict) -> str:
    """The objective; one that is not the built-in default says so."""
    return verdict.objective.text + (" (set by the profile)" if verdict.objective.overridden else "")
