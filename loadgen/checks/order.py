"""What was sent in order is read back in order.

The spans of a trace have no order; their parents and times are compared with the rest of their content.
"""

from __future__ import annotations

from functools import partial

from loadgen.checks.case import ITEMS, Case, Check, Finding
from loadgen.checks.content import judge_compared
from loadgen.model import Signal

_PROMISE = {
    Signal.LOGS: "the lines of a stream come back in the order they were written in",
    Signal.METRICS: "the samples of a series come back in order of time",
}
_ADVICE = {
    Signal.LOGS: "lines of one stream change places when their timestamps are rewritten on the way (timestamp stages, "
    "increment_duplicate_timestamp) or when several senders share one label set; give each sender labels of its own",
    Signal.METRICS: "look for a second sender of the same series, and at out_of_order_time_window",
}


def _judge(case: Case, signal: Signal) -> Finding:
    limit, what = case.bounds(signal).order, ITEMS[signal]
    objective = case.objective(f"{signal}.order", f"≤ {limit} {what} out of order", limit, what)
    return judge_compared(case, signal, "reordered", objective, "out of order", _ADVICE[signal])


CHECKS = tuple(
    Check(
        f"{signal}.order",
        _PROMISE[signal],
        ("TASK-021", "TASK-022"),
        partial(_judge, signal=signal),
        ("receipts", "sightings"),
    )
    for signal in (Signal.LOGS, Signal.METRICS)
)
