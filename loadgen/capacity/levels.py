"""From a level to the profile of its step, and what that step will send. Pure."""

from __future__ import annotations

import math
from typing import Any

from loadgen.capacity.model import Kind
from loadgen.capacity.search import Range
from loadgen.config import ConfigError, Profile
from loadgen.model import NS, RunKey, Signal
from loadgen.plan import Plan, plan_of, rate_of

_OFF = {"users": 0}


def range_of(profile: Profile, kind: Kind) -> Range:
    """Where the search of a kind begins and ends by a profile; ConfigError when the profile sends nothing of it."""
    limits = profile.capacity
    if kind.signal is not None and not profile.users(kind.signal):
        raise ConfigError(f"the profile has no {kind} users to begin with; set {kind}.users, or leave {kind} out")
    plan = plan_of(_key(), profile)
    rates = {one: planned_rate(plan, one) for one in Signal}
    if kind is Kind.LOGS and limits.logs_by == "streams":
        return Range(kind, "streams", profile.logs.users, limits.max_streams, limits.precision)
    if kind is Kind.LOGS:
        return Range(kind, "B/s", rates[Signal.LOGS], limits.max_rate, limits.precision)
    if kind is Kind.TRACES:
        return Range(kind, "B/s", rates[Signal.TRACES], limits.max_rate, limits.precision)
    series = profile.metrics.users * profile.metrics.series
    if kind is Kind.METRICS:
        return Range(kind, "series", series, limits.max_series, limits.precision)
    if kind is Kind.QUERIES:
        if not profile.dashboards.users:
            raise ConfigError("the profile has no dashboards.users to begin with; set it, or leave queries out")
        per_s = profile.dashboards.users / profile.dashboards.refresh
        return Range(kind, "queries/s", per_s, limits.max_queries, limits.precision)
    factors = [limits.max_rate / rate for one, rate in rates.items() if rate and one is not Signal.METRICS]
    factors += [limits.max_series / series] if series else []
    return Range(kind, "times", 1.0, max(1.0, min(factors)), limits.precision)


def profile_at(profile: Profile, kind: Kind, level: float) -> Profile:
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
        raw["queries"] = [one for one in raw["queries"] if one["component"] == kind.signal.component.value]
    if kind is Kind.QUERIES:
        raw["dashboards"] |= _viewers(profile, level)
    elif kind is Kind.LOGS and profile.capacity.logs_by == "streams":
        raw["logs"] |= {"users": round(level)} | (
            {"rate": profile.logs.rate * level / profile.logs.users} if profile.logs.rate else {}
        )
    elif kind is Kind.METRICS:
        raw["metrics"] |= _agents(profile, level)
    elif kind is Kind.ALL:
        for one in Signal:
            raw[one.value] |= _times(profile, one, level)
    else:
        assert kind.signal is not None
        rate = planned_rate(plan_of(_key(), profile), kind.signal)
        raw[kind.signal.value] |= _times(profile, kind.signal, level / rate)
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


def _agents(profile: Profile, series: float) -> dict[str, int | None]:
    users = max(1, math.ceil(series / profile.metrics.series - 1e-9))
    # The interval between pushes stays, so that samples per second rise with the series.
    return {"users": users, "series": max(1, round(series / users)), "rate": None}


def _times(profile: Profile, signal: Signal, factor: float) -> dict[str, float | int | None]:
    users = profile.users(signal)
    if not users:
        return {}
    if signal is Signal.METRICS:
        made: dict[str, float | int | None] = dict(_agents(profile, users * profile.metrics.series * factor))
        return made
    more = max(1, math.ceil(users * factor - 1e-9))
    if signal is Signal.LOGS:
        return {"users": more} | _share(profile.logs.rate, "lines_per_s", profile.logs.lines_per_s, users, more, factor)
    per_s = profile.traces.traces_per_s
    return {"users": more} | _share(profile.traces.rate, "traces_per_s", per_s, users, more, factor)


def _share(
    rate: float | None, name: str, each_per_s: float, before: int, after: int, factor: float
) -> dict[str, float | int | None]:
    """The rate of all users together, or of each, so that the sum is ``factor`` times what it was."""
    if rate:
        return {"rate": rate * factor}
    return {name: each_per_s * before * factor / after}
