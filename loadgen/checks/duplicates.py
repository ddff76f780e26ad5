"""What was sent once is there once.

Delivery is at least once: a push that timed out may have been stored before it was sent again. Copies in such batches
are reported, but they are what retrying means, and no fault of the stack.
"""

from __future__ import annotations

from functools import partial

from loadgen.checks.case import ITEMS, RUN_LONGER, VERIFY_AGAIN, Case, RunCheck, counted, nobody_sends, unknown
from loadgen.checks.loss import examples, gaps_text
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import Kind
from loadgen.model import Outcome, Result


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    limit, what = case.bounds(signal).duplicates, ITEMS[signal]
    objective = case.objective(f"{signal}.duplicates", f"≤ {limit} {what} more than once", limit, what)
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    both = case.verified(signal)
    readable = both[both["seen"] & ~both["unreadable"]]
    if both.empty:
        return unknown(objective, "nothing was sent", RUN_LONGER)
    if readable.empty or not readable["found"].any():
        return unknown(objective, "nothing was found when it was read back", VERIFY_AGAIN, len(both))
    retried = readable["ambiguous_attempts"] > 0
    surplus = int(readable.loc[~retried, "doubled"].sum())
    allowed = int(readable.loc[retried, "doubled"].sum())
    evidence = [
        f"{counted(len(readable), 'batches')} counted, {int(retried.sum()):,} of them after an ambiguous attempt"
    ]
    if allowed:
        evidence.append(
            f"{counted(allowed, 'surplus copies')} come from pushes that were repeated because the answer to an "
            "earlier "
            "attempt never came or was a server error; that is at-least-once delivery and does not count here"
        )
    evidence += examples(case, signal, readable[~retried & (readable["doubled"] > 0)], "doubled")
    measured = f"{surplus:,} surplus copies" if surplus != 1 else "1 surplus copy"
    if surplus > limit:
        advice = kind.duplicates.advice
        return Finding(Result.FAIL, objective, measured, surplus, len(readable), tuple(evidence), advice)
    gaps = gaps_text(both[both["outcome"] == Outcome.ACCEPTED.value])
    if gaps:
        return Finding(Result.UNKNOWN, objective, measured, surplus, len(readable), (gaps, *evidence), VERIFY_AGAIN)
    return Finding(Result.PASS, objective, measured, surplus, len(readable), tuple(evidence))


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.duplicates",
        f"every {kind.item} is there once",
        partial(_judge, kind=kind),
        ("receipts", "sightings"),
    )
    for kind in KINDS
)
