"""What came out of a run of the detection matrix, held against what was planted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.detection_row import Hit, Row
from loadgen.checks.case import nearest_rank
from loadgen.history.values import History
from loadgen.model import MS, NS, Outcome, Result, Signal, Verdict
from loadgen.plan import Plan

HEALTH = "loadgen.health"
# What a stall of three seconds must at least leave in the p99; steps are taken every quarter of a second.
STALL_VISIBLE_S = 2.5


@dataclass(frozen=True, slots=True)
class Came:
    """What came out of one run.

    Attributes:
        verdicts: by check.
        hits: descriptions of the items that the defects hit.
        batches: the batches they belong to.
        history: everything stored of the run.
        path: its folder.
        took_s: for all of it.
    """

    verdicts: dict[str, Verdict]
    hits: tuple[str, ...]
    batches: frozenset[Hit]
    history: History
    path: Path
    took_s: float


# -- what was hit --------------------------------------------------------------------------------------------------

_POD, _TIME = re.compile(r'pod="[a-z]+-(\d+)"'), re.compile(r"\} (\d{19}) ")
_INSTANCE, _MOMENT = re.compile(r'instance="[a-z]+-(\d+)"'), re.compile(r" @ (\d+)$")
_TRACE = re.compile(r"trace ([0-9a-f]{32})$")


def batches_of(hits: Sequence[str], plan: Plan, history: History) -> Iterator[Hit]:
    """User and number of the batches that the items hit belong to."""
    traces: dict[str, Hit] = {}
    for hit in hits:
        pod, at, instance, moment = _POD.search(hit), _TIME.search(hit), _INSTANCE.search(hit), _MOMENT.search(hit)
        trace = _TRACE.search(hit)
        if pod and at:
            yield int(pod[1]), plan.pace(Signal.LOGS, int(pod[1])).last_at(int(at[1]))
        elif instance and moment:
            yield int(instance[1]), plan.pace(Signal.METRICS, int(instance[1])).last_at(int(moment[1]) * MS)
        elif trace:
            traces = traces or _traces(plan, history)
            if trace[1] in traces:
                yield traces[trace[1]]


def _traces(plan: Plan, history: History) -> dict[str, Hit]:
    mine = history.receipts[history.receipts["signal"] == Signal.TRACES.value]
    found: dict[str, Hit] = {}
    for user, n in zip(mine["user"].tolist(), mine["n"].tolist(), strict=True):
        for one in plan.traces.trace_ids(plan.traces.batch(user, n)):
            found[one.tobytes().hex()] = (user, n)
    return found


# -- what came out of it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a run compares with what its row expects.

    Attributes:
        found_by: every check that fails, and those expected that cannot tell.
        alarms: failing checks that the defect does not explain.
        doubts: checks that cannot tell, though the defect does not explain it.
        problems: what else is not as expected, in words.
        busy: the generator itself was late, so the run says little.
    """

    found_by: tuple[str, ...]
    alarms: tuple[str, ...]
    doubts: tuple[str, ...]
    problems: tuple[str, ...]
    busy: bool

    @property
    def ok(self) -> bool:
        """Found by the checks that are meant for it, and by nothing else."""
        return not (self.alarms or self.doubts or self.problems)


def assess(row: Row, came: Came) -> Assessment:
    """Hold verdicts against a row."""
    results = {check: verdict.result for check, verdict in came.verdicts.items()}
    failing = {check for check, result in results.items() if result is Result.FAIL}
    open_ = {check for check, result in results.items() if result is Result.UNKNOWN}
    mine = set(row.finders)
    found = {check for check in mine if results.get(check) is row.verdict}
    problems = [f"{check} says {results.get(check, 'nothing')}" for check in row.finders if check not in found]
    problems += [f"{check} does not fail" for check in row.also if check not in failing]
    for check in row.finders:
        if check in found:
            problems += _evidence(row, came, came.verdicts[check])
    if row.stalls is not None:
        p99_s = stalled_p99_s(came.history, row.stalls)
        if p99_s < STALL_VISIBLE_S:
            problems.append(f"p99 of the push latency is {p99_s:.2f} s")
    return Assessment(
        tuple(sorted(failing | found)),
        tuple(sorted(failing - (mine if row.verdict is Result.FAIL else set()) - row.also.keys())),
        tuple(sorted(open_ - mine - row.unsure.keys())),
        tuple(problems),
        HEALTH not in mine and results.get(HEALTH) is not Result.PASS,
    )


def stalled_p99_s(history: History, one: Signal) -> float:
    """The p99 of the push latency of a signal, in seconds, as the report shows it."""
    mine = history.receipts
    mine = mine[(mine["signal"] == one.value) & (mine["outcome"] == Outcome.ACCEPTED.value)]
    took_ns = mine["done_ns"].to_numpy(np.int64) - mine["due_ns"].to_numpy(np.int64)
    return nearest_rank(took_ns / NS, 0.99)


def _evidence(row: Row, came: Came, verdict: Verdict) -> list[str]:
    """Where the evidence of a finder does not point at what was planted."""
    said = "\n".join(verdict.evidence)
    problems = []
    if row.points_to and not any(text in said for text in row.points_to):
        problems.append(f"the evidence of {verdict.check} does not say {' or '.join(map(repr, row.points_to))}")
    if row.advises not in verdict.remedy:
        problems.append(f"the remedy of {verdict.check} does not say {row.advises!r}")
    if row.steps and row.names_batch and not came.hits:
        problems.append("the defect hit nothing")
    elif row.names_batch and not any(f"user {user}, batch {n}," in said for user, n in came.batches):
        problems.append(f"the evidence of {verdict.check} names no batch that was hit")
    if row.items and verdict.value != row.items * len(came.hits):
        problems.append(f"{verdict.check} counts {verdict.value} where {row.items * len(came.hits)} were hit")
    return problems
