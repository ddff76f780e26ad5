"""After a restart, pushes and queries work again within their time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from loadgen.checks.case import RUN_LONGER, Case, RunCheck, nobody_sends, skipped
from loadgen.checks.persistence import no_faults, not_all_injected
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import Kind
from loadgen.model import NS, FaultWindow, Outcome, Result, Signal
from loadgen.units import duration_text


@dataclass(frozen=True, slots=True)
class Recovered:
    """Seconds from a fault's injection until pushes and queries worked again; None: not seen."""

    pushes_s: float | None
    queries_s: float | None


def recovered(case: Case, signal: Signal, fault: FaultWindow) -> Recovered:
    """How long a fault lasted for those who push and for those who ask.

    A push that began just as the fault was injected may still have been answered by the dying process. So where pushes
    met the outage (they needed several attempts), the first of those that got through counts.
    """
    receipts = case.accepted(signal)
    sent_ns, last_sent_ns = receipts["sent_ns"].to_numpy(np.int64), receipts["last_sent_ns"].to_numpy(np.int64)
    after = last_sent_ns > fault.began_ns
    up_ns = fault.query_ok_ns or fault.healed_ns or 2**62
    met = after & (receipts["attempts"].to_numpy(np.int64) > 1) & (sent_ns <= up_ns)
    chosen: pd.DataFrame = receipts[met] if met.any() else receipts[after]
    pushes_s = (int(chosen["done_ns"].min()) - fault.began_ns) / NS if len(chosen) else None
    queries_s = (fault.query_ok_ns - fault.began_ns) / NS if fault.query_ok_ns else None
    return Recovered(pushes_s, queries_s)


def _judge(case: Case, kind: Kind) -> Finding:
    component, signal = kind.store, kind.signal
    limit_s = case.bounds(signal).recovery_max
    objective = case.objective(
        f"{signal}.recovery_max", f"pushes and queries again ≤ {duration_text(limit_s)}", limit_s, "s"
    )
    if not case.profile.users(signal):
        if any(fault.component == component.value for fault in case.profile.faults):
            return nobody_sends(objective, signal)
        return skipped(objective, f"the profile restarts no {component}", "add [[faults]] to judge this promise")
    without = no_faults(case, component, objective)
    if without is not None:
        return without
    faults = case.faults(component)
    seen = _watched(case, signal, faults, limit_s)
    errors = [fault for fault in faults if fault.error]
    fewer = not_all_injected(case, component)
    never = seen.too_late or bool(errors)

    def finding(result: Result, remedy: str = "", *first: str) -> Finding:
        told = result in (Result.PASS, Result.FAIL) and not never and seen.slowest_s
        measured = f"again after {duration_text(seen.slowest_s)}" if told else "not again" if never else ""
        value = seen.slowest_s or None
        return Finding(result, objective, measured, value, len(faults), (*first, *seen.evidence), remedy)

    if errors:
        why = f"the {errors[0].fault} of {component} could not be healed: {errors[0].error}"
        return finding(Result.FAIL, f"start {component} by hand, then {RUN_LONGER.split(' (')[0]} again", why)
    if seen.too_late or seen.slowest_s > limit_s:
        return finding(Result.FAIL, kind.recovery.advice)
    if seen.unclear:
        return finding(
            Result.UNKNOWN, f"{RUN_LONGER}, or restart earlier (faults.at)", "the load ended before it recovered"
        )
    if fewer:
        return finding(Result.UNKNOWN, "let the load run to its end", fewer)
    return finding(Result.PASS)


@dataclass(frozen=True, slots=True)
class _Watched:
    """What was seen of all faults together.

    Attributes:
        slowest_s: the longest that pushes or queries took to work again, of those that did; 0: none did.
        too_late: some did not, although they were watched for longer than they may take.
        unclear: some did not, and were not watched for so long.
        evidence: a sentence a fault.
    """

    slowest_s: float
    too_late: bool
    unclear: bool
    evidence: tuple[str, ...]


def _watched(case: Case, signal: Signal, faults: Sequence[FaultWindow], limit_s: float) -> _Watched:
    took: list[float] = []
    waited: list[float] = []
    evidence = []
    for fault in faults:
        seen = recovered(case, signal, fault)
        evidence.append(_describe(case, fault, seen, signal))
        watched_s = (case.seen_until_ns() - fault.began_ns) / NS
        pushed_until_s = (case.ended_ns() - fault.began_ns) / NS
        for took_s, waited_s in ((seen.pushes_s, pushed_until_s), (seen.queries_s, watched_s)):
            if took_s is not None:
                took.append(took_s)
            else:
                waited.append(waited_s)
    too_late = any(waited_s > limit_s for waited_s in waited)
    unclear = any(waited_s <= limit_s for waited_s in waited)
    return _Watched(max(took, default=0.0), too_late, unclear, tuple(evidence))


def _describe(case: Case, fault: FaultWindow, seen: Recovered, signal: Signal) -> str:
    pushes = (
        f"pushes after {duration_text(seen.pushes_s)}" if seen.pushes_s is not None else "no push was accepted again"
    )
    queries = (
        f"queries after {duration_text(seen.queries_s)}" if seen.queries_s is not None else "no query worked again"
    )
    text = f"{fault.fault} {case.at(fault.began_ns)}: {pushes}, {queries} ({fault.query_failed:,} failed in between)"
    if fault.healed_ns:
        text += f"; started again after {duration_text((fault.healed_ns - fault.began_ns) / NS)}"
    receipts = case.receipts(signal)
    met = receipts[
        (receipts["done_ns"] > fault.began_ns) & (receipts["sent_ns"] <= (fault.query_ok_ns or fault.began_ns))
    ]
    lost = int((met["outcome"] != Outcome.ACCEPTED.value).sum())
    return text + (f"; {lost:,} pushes given up" if lost else "")


CHECKS = tuple(
    RunCheck(
        f"{kind.store}.recovery",
        f"pushes to {kind.title} and queries of it work again after a restart",
        partial(_judge, kind=kind),
        ("receipts", "faults"),
        proves_by_absence=True,
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
