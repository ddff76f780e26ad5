"""Any query over up to 24 h answers within one bound, whichever component it goes to."""

from __future__ import annotations

import numpy as np
import pandas as pd

from loadgen.checks.case import Case, RunCheck, counted, skipped, unknown
from loadgen.checks.few import Tally, enough
from loadgen.checks.own import is_refused, proves_nothing
from loadgen.checks.planned import is_asked, is_failed, planned_texts, tells
from loadgen.checks.query import (
    in_outage,
    in_own_delay,
    latency_ns,
    own_delay_texts,
    people,
    slowest_texts,
)
from loadgen.checks.ranges import held, range_text
from loadgen.checks.suggest import more_queries
from loadgen.judging import Finding
from loadgen.kinds import COMPONENTS
from loadgen.model import NS, Result
from loadgen.units import duration_text

DAY_S = 86_400.0


def _judge(case: Case) -> Finding:
    limit_s = case.profile.objectives.all.query_max
    objective = case.objective("all.query_max", f"max ≤ {duration_text(limit_s)} over up to 24 h", limit_s, "s")
    queries = people(case)
    if queries.empty and not case.profile.dashboards.users and not case.profile.queries:
        return skipped(objective, "the profile has nobody who asks", "set dashboards.users to judge this promise")
    parts, during, delayed = [], 0, 0
    for component in COMPONENTS:
        mine = queries[queries["component"] == component.value]
        outage, own = in_outage(case, component, mine), in_own_delay(case, mine)
        during += int(outage.sum())
        delayed += int((own & ~outage).sum())
        parts.append(mine[~outage & ~own])
    outside = pd.concat(parts)
    short = outside[outside["range_s"] <= DAY_S]
    took_s = latency_ns(short) / NS
    ok = tells(short, limit_s) & ~is_failed(short)
    evidence = planned_texts(short, limit_s)
    if during:
        evidence.append(f"{counted(during, 'queries')} during restarts are not counted")
    evidence += own_delay_texts(delayed)
    if len(short) < len(outside):
        evidence.append(f"{counted(len(outside) - len(short), 'queries')} over more than 24 h are not counted here")
    # A failure is judged by the component's own promise; here it counts only when it also took too long.
    judged = (ok | (is_failed(short) & (took_s > limit_s))) & ~is_refused(short) & ~proves_nothing(short, limit_s)
    over = int((took_s[judged] > limit_s).sum())
    tally, bound = Tally(over, int(judged.sum())), f"over {duration_text(limit_s)}"
    # One over the bound breaks it, however few there were; that none was takes as many as exclude that many are.
    if not over and tally.n < enough():
        return unknown(objective, tally.lacking("queries", bound), more_queries(case, tally), tally.n, evidence)
    failed = int(is_failed(short).sum())
    if failed:
        evidence.append(f"{counted(failed, 'queries')} failed; see logs.query, traces.query and metrics.query")
    counting, asked = short[judged], short[judged & is_asked(short)]
    worst_s = float(np.max(took_s[judged]))
    longest = range_text(float(asked["range_s"].max() if len(asked) else 0.0))
    evidence = [
        f"asked: {counted(len(asked), 'queries')} over up to {longest}",
        *slowest_texts(case, counting, 3),
        *evidence,
    ]
    told = f"{over:,} of {tally.n:,} {bound}" if over else tally.text(bound)
    measured = f"slowest {duration_text(worst_s)}"
    by_component = {one: held(case, one, asked[asked["component"] == one.value], DAY_S) for one in COMPONENTS}
    full = {one: found for one, found in by_component.items() if found is not None}
    if full:
        least = min(full, key=lambda one: full[one].held_s)
        measured += f", {full[least].text} ({least})"
    measured += f"; {told}"
    evidence = [*(f"{one}: {text}" for one, found in full.items() for text in found.warnings), *evidence]
    if over:
        remedy = (
            "see the slowest queries above and the component's own query promise; a single slow query breaks this one"
        )
        return Finding(Result.FAIL, objective, measured, worst_s, len(counting), tuple(evidence), remedy)
    return Finding(Result.PASS, objective, measured, worst_s, len(counting), tuple(evidence))


CHECKS = (
    RunCheck(
        "all.query",
        "any query over up to 24 h answers within one bound",
        _judge,
        ("queries",),
        disturbed_by=COMPONENTS,
    ),
)
