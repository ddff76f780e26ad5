"""What to set in a profile so that a run has enough to judge by. Pure.

What a run had grows with its length, its users and the shortness of its intervals, so a factor tells it all.
"""

from __future__ import annotations

import math

from loadgen.checks.case import RUN_LONGER, Case
from loadgen.checks.few import Tally
from loadgen.model import NS, Component, Signal

MARGIN = 1.25
"""Restarts and the end of the load cost some of what is planned."""


def more_queries(case: Case, tally: Tally, component: Component | None = None) -> str:
    """How to get as many queries as a pass needs, of one component or of all."""
    dashboards = case.profile.dashboards
    own = [query for query in case.profile.queries if component in (None, Component(query.component))]
    if not tally.n:
        return f"{RUN_LONGER}, or set dashboards.refresh shorter"
    times = _times(tally)
    ways = []
    if dashboards.users:
        ways.append(f"set dashboards.refresh to {duration_setting(dashboards.refresh / times)} or less")
        ways.append(f"dashboards.users to {math.ceil(dashboards.users * times)} or more")
    elif own:
        every = min(query.every for query in own)
        ways.append(f"set every of your queries to {duration_setting(max(1.0, every / times))} or less")
    return ", or ".join([*ways, _longer(case, times, bool(ways))])


def more_probes(case: Case, signal: Signal, tally: Tally) -> str:
    """How to get as many probes of a signal as a pass needs; a user can probe no more than each of its pushes."""
    if not tally.n:
        return f"{RUN_LONGER}, or set freshness.every shorter"
    times, interval_s = _times(tally), case.plan.pace(signal, 0).interval_ns / NS
    probed_s = interval_s * max(1, round(case.profile.freshness.every / interval_s))
    if probed_s / times >= interval_s:
        way = f"set freshness.every to {duration_setting(probed_s / times)} or less"
    else:
        users = math.ceil(case.profile.users(signal) * times * interval_s / probed_s)
        way = f"set freshness.every to {duration_setting(interval_s)} or less and {signal}.users to {users} or more"
    return f"{way}, or {_longer(case, times, True)}"


def duration_setting(value_s: float, up: bool = False) -> str:
    """A duration as a profile takes it, in two digits: never longer than ``value_s``, or never shorter if ``up``."""
    digits = 1 - math.floor(math.log10(value_s))
    exact = round(value_s * 10**digits, 6)
    short = (math.ceil(exact) if up else math.floor(exact)) / 10**digits
    if short < 1:
        return f"{short * 1000:g}ms"
    if short >= 120 and up:
        return f"{math.ceil(round(value_s / 60, 6))}m"
    return f"{short:g}s" if short < 100 else f"{short:.0f}s"


def _longer(case: Case, times: float, besides: bool) -> str:
    longer = f"run.duration to {duration_setting(case.profile.run.duration * times, up=True)} or more"
    return longer if besides else f"set {longer}"


def _times(tally: Tally) -> float:
    return MARGIN * tally.needed / tally.n
