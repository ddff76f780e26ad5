"""What was accepted before a restart can be read after it.

Only what the restart lost counts here; anything that is missing at all is counted by the loss check.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from loadgen.checks.case import (
    FOREVER_NS,
    ITEMS,
    RUN_LONGER,
    VERIFY_AGAIN,
    Case,
    RunCheck,
    counted,
    nobody_sends,
    skipped,
    unknown,
)
from loadgen.checks.loss import count_of, examples, gaps_text
from loadgen.checks.restart_losses import lost_by_restart
from loadgen.checks.s3_match import s3_coverage
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import Kind
from loadgen.model import NS, Component, FaultWindow, Objective, Outcome, Result, Signal
from loadgen.units import duration_text


def no_faults(case: Case, component: Component, objective: Objective) -> Finding | None:
    """The finding when there is no fault of a component to judge by; None when there is one."""
    planned = [fault for fault in case.profile.faults if fault.component == component.value]
    if case.faults(component):
        return None
    if planned:
        remedy = (
            "faults are injected where loadgen may stop the component: in the local lab, and in a cluster with "
            "--allow-disruption; let the load run to its end"
        )
        return unknown(objective, f"{counted(len(planned), 'restarts')} planned, none was injected", remedy)
    remedy = f'add [[faults]] with component = "{component}" to the profile to judge this promise'
    return skipped(objective, f"the profile restarts no {component}", remedy)


def not_all_injected(case: Case, component: Component) -> str:
    """Why fewer faults happened than planned, in words; empty if all did."""
    planned = sum(fault.component == component.value for fault in case.profile.faults)
    done = len(case.faults(component))
    return f"only {done} of {counted(planned, 'planned restarts')} happened" if done < planned else ""


def _judge(case: Case, kind: Kind) -> Finding:
    component, signal = kind.store, kind.signal
    limit, what = case.bounds(signal).persistence, ITEMS[signal]
    objective = case.objective(f"{signal}.persistence", f"≤ {limit} {what} missing after a restart", limit, what)
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    without = no_faults(case, component, objective)
    if without is not None:
        return without
    faults = case.faults(component)
    both = case.verified(signal)
    accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
    last_began_ns = faults[-1].began_ns
    ends_ns = max(end for _, end in case.outages(component))
    before = accepted[accepted["done_ns"] < last_began_ns]
    if before.empty:
        return unknown(
            objective, "nothing was accepted before the restart", f"{RUN_LONGER}, or restart later (faults.at)"
        )
    concerned = accepted[accepted["done_ns"] < ends_ns] if ends_ns < FOREVER_NS else accepted
    evidence = [_describe(case, fault, accepted, signal) for fault in faults]
    evidence += [f"{fault.component} could not be started again: {fault.error}" for fault in faults if fault.error]
    if not concerned["seen"].any():
        return unknown(objective, "nothing was read back after the restart", VERIFY_AGAIN, len(concerned), evidence)
    by_restart = lost_by_restart(case, signal, accepted)
    hurt = accepted[by_restart > 0]
    missing, items = int(hurt["missing"].sum()), int(concerned["items"].sum())
    during = sum(
        int(concerned["done_ns"].between(fault.began_ns, fault.query_ok_ns or fault.healed_ns).sum())
        for fault in faults
    )
    measured = f"{count_of(missing, items, what)} missing"
    evidence.append(
        f"judged: {counted(len(concerned), 'batches')} accepted before or during a restart, {during:,} of "
        "them during one"
    )
    ages_s = (by_restart[by_restart > 0] - hurt["done_ns"].to_numpy(np.int64)) / NS
    before_s = ages_s[ages_s > 0]
    if len(before_s):
        evidence.append(
            f"what the restart lost was acknowledged {duration_text(float(before_s.min()))} to "
            f"{duration_text(float(before_s.max()))} before it"
        )
    evidence += examples(case, signal, hurt, "missing")
    otherwise = int(concerned["missing"].sum()) - int(concerned.loc[concerned.index.isin(hurt.index), "missing"].sum())
    if otherwise:
        evidence.append(
            f"{counted(otherwise, what)} from before a restart are missing for another reason: they were missing "
            "before it already, newer ones of the same user survived it, or they go on missing after it; "
            f"{signal}.loss judges them"
        )

    def finding(result: Result, remedy: str = "", *first: str) -> Finding:
        return Finding(result, objective, measured, missing, len(concerned), (*first, *evidence), remedy)

    if missing > limit:
        return finding(Result.FAIL, kind.persistence.advice)
    gaps = gaps_text(concerned)
    if gaps:
        return finding(Result.UNKNOWN, VERIFY_AGAIN, gaps)
    fewer = not_all_injected(case, component)
    if fewer:
        return finding(Result.UNKNOWN, "let the load run to its end", fewer)
    return finding(Result.PASS)


def _describe(case: Case, fault: FaultWindow, accepted: pd.DataFrame, signal: Signal) -> str:
    """One fault, and where the data was at that moment."""
    before = int((accepted["done_ns"] < fault.began_ns).sum())
    text = (
        f"{fault.fault} of {fault.component} {case.at(fault.began_ns)}: {counted(before, 'batches')} accepted before it"
    )
    coverage = s3_coverage(case.history, case.plan, signal)
    if not coverage.listed_ns:
        return f"{text}; how many were in S3 by then is not known"
    earlier = coverage.done_ns < fault.began_ns
    stored = int(np.count_nonzero(earlier & (coverage.stored_ns > 0) & (coverage.stored_ns <= fault.began_ns)))
    return f"{text}, {stored:,} of them already in S3; {before - stored:,} had to come back from the write-ahead log"


CHECKS = tuple(
    RunCheck(
        f"{kind.store}.persistence",
        f"what {kind.title} accepted before a restart can be read after it",
        partial(_judge, kind=kind),
        ("receipts", "sightings", "faults"),
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
