"""From a level to the profile of its step, and what that step will send. Pure."""

from __future__ import annotations

import math
from typing import Any

from loadgen.capacity.model import SearchKind
from loadgen.capacity.scales import SCALES, scale_of
from loadgen.capacity.search import Range
from loadgen.config import ConfigError, Profile
from loadgen.kinds import kind_of
from loadgen.model import NS, RunKey, Signal
from loadgen.plan import Plan, plan_of, rate_of

_OFF = {"users": 0}


def range_of(profile: Profile, kind: SearchKind) -> Range:
    """Where the search of a kind begins and ends by a profile; ConfigError when the profile sends nothing of it."""
    limits = profile.capacity
    if kind.signal is not None and not profile.users(kind.signal):
        raise ConfigError(f"the profile has no {kind} users to begin with; set {kind}.users, or leave {kind} out")
    plan = plan_of(_key(), profile)
    rates = {one: planned_rate(plan, one) for one in Signal}
    if kind.signal is not None:
        ladder = scale_of(kind.signal).ladder(profile, rates[kind.signal])
        return Range(kind, ladder.unit, ladder.start, ladder.ceiling, limits.precision)
    if kind is SearchKind.QUERIES:
        if not profile.dashboards.users:
            raise ConfigError("the profile has no dashboards.users to begin with; set it, or leave queries out")
        per_s = profile.dashboards.users / profile.dashboards.refresh
        return Range(kind, "queries/s", per_s, limits.max_queries, limits.precision)
    most = [scale.most(profile, limits, rates[scale.signal]) for scale in SCALES]
    factors = [factor for factor in most if factor is not None]
    return Range(kind, "times", 1.0, max(1.0, min(factors)), limits.precision)


def profile_at(profile: Profile, kind: SearchKind, level: float) -> Profile:
    """The profile of one step.

    One kind is raised. The other signals are left out, except for queries and for all of it; viewers always look on,
    because their latency is a promise too. Every user stays as large as it is: a larger load has more of them.
    """
    raw: dict[str, Any] = profile.model_dump(mode="json")
    raw["faults"] = []
    raw["publish"] = {"metrics": False, "annotation": False}
    for objectives in (raw["objectives"][one.value] for one in Signal):
        objectives["throughput"] = None  # the step's own rate is the promise
    raw["run"]["name"] = f"{profile.run.name}-{kind}"
    if kind.signal is not None:
        for other in Signal:
            if other is not kind.signal:
                raw[other.value] |= _OFF
        raw["queries"] = [one for one in raw["queries"] if one["component"] == kind_of(kind.signal).store.value]
    if kind is SearchKind.QUERIES:
        raw["dashboards"] |= _viewers(profile, level)
    elif kind.signal is not None:
        ladder = scale_of(kind.signal).ladder(profile, planned_rate(plan_of(_key(), profile), kind.signal))
        raw[kind.signal.value] |= ladder.at(level)
    else:
        for scale in SCALES:
            if profile.users(scale.signal):
                raw[scale.signal.value] |= scale.times(profile, level)
    return Profile.model_validate(raw)


def planned_rate(plan: Plan, signal: Signal) -> float:
    """Plain bytes per second that a plan sends of a signal."""
    return rate_of(plan, signal, plan.users(signal))


def planned_bytes(profile: Profile) -> float:
    """Plain bytes that a step with this profile sends in all."""
    plan = plan_of(_key(), profile)
    return sum(planned_rate(plan, one) for one in Signal) * profile.run.duration


def _key() -> RunKey:
    return RunKey("plan", 1, NS)


def _viewers(profile: Profile, per_s: float) -> dict[str, float]:
    users = max(1, math.ceil(per_s * profile.dashboards.refresh - 1e-9))
    return {"users": users, "refresh": users / per_s}
