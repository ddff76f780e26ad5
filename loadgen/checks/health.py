"""The generator kept its own schedule, so that its own weakness is never blamed on the stack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from loadgen.checks.case import RUN_LONGER, Case, RunCheck, Times, counted, nearest_rank, share_text, unknown
from loadgen.judging import Finding
from loadgen.model import NS, Outcome, Result, Signal
from loadgen.units import duration_text

MIN_RECEIPTS = 20
MIN_CPU_S = 5.0
BUSY_CORES = 0.9
CPU_SECONDS = "process_cpu_seconds_total"

_REMEDY = (
    "give the generator more: run.processes (one for each core), a machine of its own, fewer or larger pushes "
    "(push_every), or less load; then run again"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How well a set of receipts kept to the plan.

    Attributes:
        batches: planned and handled.
        lag_p99_s: how late the generator started what it could have started, nearest-rank; 0 without a push.
        dropped_own: dropped because the generator itself was late.
        dropped_waiting: dropped because an earlier push of the same user was still waiting for the stack.
    """

    batches: int
    lag_p99_s: float
    dropped_own: int
    dropped_waiting: int

    def kept(self, case: Case) -> bool:
        """The generator is not to blame for what is late or missing."""
        bounds = case.profile.objectives.all
        return self.lag_p99_s <= bounds.lag_p99 and 100 * self.dropped_own <= bounds.dropped_percent * max(
            1, self.batches
        )


def own_lag_ns(receipts: pd.DataFrame) -> Times:
    """How late each first attempt began, after it was due and its user had nothing else to do; 0 if never sent."""
    could_ns = np.maximum(receipts["due_ns"].to_numpy(np.int64), receipts["free_ns"].to_numpy(np.int64))
    sent_ns = receipts["sent_ns"].to_numpy(np.int64)
    return np.where(sent_ns > 0, np.maximum(0, sent_ns - could_ns), 0)


def schedule_of(receipts: pd.DataFrame) -> Schedule:
    """How well the receipts kept to the plan."""
    sent = receipts[receipts["sent_ns"] > 0]
    lag_p99_s = nearest_rank(own_lag_ns(sent) / NS, 0.99) if len(sent) else 0.0
    own = own_drops(receipts)
    dropped = int((receipts["outcome"] == Outcome.DROPPED.value).sum())
    return Schedule(len(receipts), lag_p99_s, int(own.sum()), dropped - int(own.sum()))


def own_drops(receipts: pd.DataFrame) -> pd.Series[bool]:
    """Which receipts are of batches that were dropped by the generator's own fault.

    A dropped batch is overdue by the time its user waited for an earlier push plus the time it then took the
    generator to come to it; the longer of the two is to blame.
    """
    due_ns, free_ns, done_ns = (receipts[name].to_numpy(np.int64) for name in ("due_ns", "free_ns", "done_ns"))
    waited_ns = np.maximum(0, free_ns - due_ns)
    idle_ns = np.maximum(0, done_ns - np.maximum(due_ns, free_ns))
    own: pd.Series[bool] = (receipts["outcome"] == Outcome.DROPPED.value) & (idle_ns >= waited_ns)
    return own


def cpu_cores(case: Case) -> dict[str, float]:
    """Mean cores that each process of the generator used during the load; without those seen too briefly."""
    stack = case.history.stack
    mine = stack[(stack["component"] == "loadgen") & (stack["metric"] == CPU_SECONDS)]
    ended_ns = case.ended_ns()
    mine = mine[(mine["at_ns"] >= case.history.info.key.began_ns) & (mine["at_ns"] <= ended_ns)]
    cores = {}
    for label, rows in mine.groupby("labels"):
        times, values = rows["at_ns"].to_numpy(np.int64), rows["value"].to_numpy(np.float64)
        first, last = int(times.argmin()), int(times.argmax())
        lasted_s = (times[last] - times[first]) / NS
        if lasted_s >= MIN_CPU_S:
            cores[str(label)] = float((values[last] - values[first]) / lasted_s)
    return cores


def _judge(case: Case) -> Finding:
    bounds = case.profile.objectives.all
    objective = case.objective(
        "all.lag_p99",
        f"own lag p99 ≤ {duration_text(bounds.lag_p99)}, ≤ {bounds.dropped_percent:g} % dropped by own fault",
        bounds.lag_p99,
        "s",
    )
    receipts = case.history.receipts
    if len(receipts) < MIN_RECEIPTS:
        why = f"{counted(len(receipts), 'pushes')} planned, at least {MIN_RECEIPTS} are needed"
        return unknown(objective, why, RUN_LONGER, len(receipts))
    all_of_it = schedule_of(receipts)
    own, waiting = all_of_it.dropped_own, all_of_it.dropped_waiting
    measured = f"own lag p99 {duration_text(all_of_it.lag_p99_s)}, {share_text(own, len(receipts))} dropped"
    evidence = [_by_signal(case)]
    if own:
        evidence.append(f"{counted(own, 'batches')} dropped because the generator itself came too late")
    if waiting:
        evidence.append(
            f"{counted(waiting, 'batches')} dropped because an earlier push of the same user still waited for the "
            "stack; "
            "that is the stack's doing and does not count here"
        )
    cores = cpu_cores(case)
    busiest = max(cores, key=lambda label: cores[label], default="")
    if cores:
        evidence.append(f"busiest process: {busiest or 'main'} with {cores[busiest]:.2f} cores on average")
    else:
        evidence.append("the generator's own CPU was not measured")
    value = all_of_it.lag_p99_s
    if not all_of_it.kept(case):
        return Finding(Result.FAIL, objective, measured, value, len(receipts), tuple(evidence), _REMEDY)
    if cores and cores[busiest] > BUSY_CORES:
        evidence.insert(
            0, f"a process of the generator used {cores[busiest]:.2f} of one core: measured latencies may be its own"
        )
        return Finding(Result.UNKNOWN, objective, measured, value, len(receipts), tuple(evidence), _REMEDY)
    return Finding(Result.PASS, objective, measured, value, len(receipts), tuple(evidence))


def _by_signal(case: Case) -> str:
    parts = []
    for signal in Signal:
        receipts = case.receipts(signal)
        if len(receipts):
            worst_s = float(own_lag_ns(receipts).max()) / NS
            p99_s = schedule_of(receipts).lag_p99_s
            parts.append(f"{signal} p99 {duration_text(p99_s)}, max {duration_text(worst_s)}")
    return "own lag by signal: " + "; ".join(parts)


CHECKS = (
    RunCheck(
        "loadgen.health",
        "the generator kept its own schedule",
        _judge,
        ("receipts", "stack"),
    ),
)
