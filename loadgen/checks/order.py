"""What was sent in order is read back in order.

The spans of a trace have no order; their parents and times are compared with the rest of their content.
"""

from __future__ import annotations

from functools import partial

from loadgen.checks.case import ITEMS, Case, RunCheck
from loadgen.checks.content import judge_compared
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import KindWords
from loadgen.model import Signal


def _judge(case: Case, signal: Signal, told: KindWords) -> Finding:
    limit, what = case.bounds(signal).order, ITEMS[signal]
    objective = case.objective(f"{signal}.order", f"≤ {limit} {what} out of order", limit, what)
    return judge_compared(case, signal, "reordered", objective, "out of order", told.advice)


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.order",
        kind.order.promise,
        partial(_judge, signal=kind.signal, told=kind.order),
        ("receipts", "sightings"),
    )
    for kind in KINDS
    if kind.order is not None
)
