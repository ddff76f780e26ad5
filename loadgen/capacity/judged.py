"""A run that was a step of a search becomes a `Step`: how it ended, what it carried, what the stack said. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from loadgen.capacity.limits import limit_of, limit_of_reason
from loadgen.capacity.model import Broken, Ending, Flow, Refusal, SearchKind, Step, Usage
from loadgen.capacity.scales import scale_of
from loadgen.capacity.search import ESSENTIAL
from loadgen.checks.case import Case, counted, nearest_rank, share_text
from loadgen.checks.planned import is_failed, tells
from loadgen.checks.query import in_outage, latency_ns, people
from loadgen.checks.throughput import Window, due_in, intake_of, steady_window
from loadgen.kinds import kind_of, kinds_in
from loadgen.model import NS, Component, Outcome, Result, Signal, Verdict
from loadgen.units import duration_text

HEALTH = "loadgen.health"
# Freshness is no part of it: probes end with the load, and Tempo 3 hides the last 30 s from searches. A fail counts.
_TIMED = (".query", ".freshness")
# One push that was sent twice is a broken connection; some in a hundred are a server that cannot or will not take more.
_RETRIED_SHARE = 0.01
_RETRIED_LEAST = 2
_EVIDENCE = 6

UsageOf = Callable[[pd.DataFrame, str, int, int], Usage]


@dataclass(frozen=True, slots=True)
class Tried:
    """Which step it was.

    Attributes:
        number, kind, level, folder, began_ns, took_s: as in `Step`.
        crashed: components that were seen to go down.
    """

    number: int
    kind: SearchKind
    level: float
    folder: str
    began_ns: int
    took_s: float
    crashed: tuple[str, ...] = ()


def step_of(tried: Tried, case: Case, verdicts: Sequence[Verdict], usage_of: UsageOf) -> Step:
    """The step that a judged run was."""
    signals = [one for one in Signal if case.users(one)]
    windows = {one: steady_window(case, one) for one in signals}
    components = [*(kind_of(one).store for one in signals), Component.GRAFANA]
    until_ns = case.seen_until_ns()
    usage = tuple(_usage(case, component, windows, until_ns, usage_of) for component in components)
    crashed = tuple(dict.fromkeys((*tried.crashed, *(one.component for one in usage if one.starts))))
    refusals = tuple(one for signal in signals for one in _refusals(case, signal, windows[signal]))
    refusals += tuple(one for mine in usage for one in _discards(mine, refusals))
    broken = [
        *(_down(component) for component in crashed),
        *(_broken(one) for one in verdicts if one.result is Result.FAIL and one.check != HEALTH),
        *(one for signal in signals if (one := _retried(case, signal, windows[signal])) is not None),
    ]
    untold = [_broken(one) for one in verdicts if one.result is Result.UNKNOWN and one.check != HEALTH]
    health = next((one.result for one in verdicts if one.check == HEALTH), Result.UNKNOWN)
    judged = {one.check: one for one in verdicts}
    asked = people(case)
    flows = tuple(_flow(case, one, windows[one], judged) for one in signals)
    longest = max((window.length_s for window in windows.values()), default=0.0)
    inside = _within(asked, windows.values())
    return Step(
        number=tried.number,
        kind=tried.kind,
        level=tried.level,
        folder=tried.folder,
        began_ns=tried.began_ns,
        took_s=tried.took_s,
        steady_s=longest,
        ending=_ending(case, broken, untold, health, signals),
        broken=tuple(broken),
        untold=tuple(untold),
        flows=flows,
        queries_per_s=float(inside["ok"].sum()) / longest if longest else 0.0,
        failed_queries=int(is_failed(inside).sum()),
        usage=usage,
        refusals=refusals,
        crashed=crashed,
        plain_bytes=float(case.history.receipts["plain_bytes"].sum()),
        note="" if health is Result.PASS else _health_text(judged.get(HEALTH)),
    )


def _ending(
    case: Case, broken: Sequence[Broken], untold: Sequence[Broken], health: Result, signals: Sequence[Signal]
) -> Ending:
    if case.history.info.interrupted:
        return Ending.INTERRUPTED
    if any(not one.check.endswith(_TIMED) for one in broken):
        return Ending.BROKEN
    if health is Result.FAIL or (broken and health is not Result.PASS):
        # Times that a generator measured which was late itself are its own.
        return Ending.GENERATOR
    if broken:
        return Ending.BROKEN
    names = {f"{signal}{promise}" for signal in signals for promise in ESSENTIAL}
    if any(one.check in names for one in untold):
        return Ending.UNTOLD if health is Result.PASS else Ending.GENERATOR
    return Ending.KEPT


def _broken(verdict: Verdict) -> Broken:
    return Broken(
        verdict.check,
        verdict.promise,
        verdict.objective.text,
        verdict.measured,
        verdict.evidence[:_EVIDENCE],
        verdict.remedy,
    )


def _down(component: str) -> Broken:
    lost = "what was accepted before is in the promise of loss"
    return Broken(
        f"{component}.up",
        f"{component.capitalize()} stays up under the load",
        "no crash",
        "it went down while the step ran",
        (lost,),
        f"see why {component} ended: its log, the memory limit of its container, the last state of its pod",
    )


def _retried(case: Case, signal: Signal, window: Window) -> Broken | None:
    """The promise of taking a rate, where pushes were taken only when they were sent again.

    A short step hides a rate just above a limit: what is refused now is taken a little later, from a token bucket that
    the pauses between steps have filled. For good it would not be.
    """
    sent = due_in(case, signal, window)
    again = sent[(sent["outcome"] == Outcome.ACCEPTED.value) & (sent["attempts"] > 1)]
    if len(again) < _RETRIED_LEAST or len(again) < _RETRIED_SHARE * len(sent):
        return None
    text = next((text for text in again["detail"] if text), "")
    share = share_text(len(again), len(sent))
    return Broken(
        f"{signal}.throughput",
        f"{kind_of(signal).store.value.capitalize()} takes the rate that it is asked to take",
        f"≤ {100 * _RETRIED_SHARE:g} % of pushes sent again",
        f"{share} were taken only when they were sent again",
        (f"{counted(len(again), 'pushes')} of {len(sent):,}" + (f", e.g. {text}" if text else ""),),
    )


def _refusals(case: Case, signal: Signal, window: Window) -> Iterator[Refusal]:
    sent = due_in(case, signal, window)
    refused = sent[(sent["outcome"] != Outcome.ACCEPTED.value) | (sent["attempts"] > 1)]
    for (outcome, status), rows in refused.groupby(["outcome", "status"]):
        texts = [str(text) for text in rows["detail"] if text]
        limits = (limit_of(kind_of(signal).store, int(str(status)), text) for text in texts)
        named = next((one for one in limits if one is not None), None)
        message = named.message if named is not None else next(iter(texts), "")
        yield Refusal(str(signal), str(outcome), int(str(status)), len(rows), message, named)


def _discards(usage: Usage, told: Sequence[Refusal]) -> Iterator[Refusal]:
    """Limits that only the component's own counters tell of: it answers as if it had taken everything."""
    kinds = kinds_in(Component(usage.component))
    named = {one.limit.setting for one in told if one.limit is not None}
    for reason, per_s in usage.discarded:
        limit = limit_of_reason(usage.component, reason, per_s)
        if kinds and limit is not None and limit.setting not in named:
            yield Refusal(str(kinds[0].signal), "discarded", 0, 0, limit.message, limit)


def _usage(case: Case, component: Component, windows: dict[Signal, Window], until_ns: int, usage_of: UsageOf) -> Usage:
    """What a component used in the steady window, and how often it started anew until the end of the step."""
    known = [window for signal, window in windows.items() if component in (kind_of(signal).store, Component.GRAFANA)]
    began_ns = case.history.info.key.began_ns
    if not known or not began_ns:
        return Usage(component.value, "")
    steady = usage_of(case.history.stack, component.value, known[0].from_ns, known[0].until_ns)
    whole = usage_of(case.history.stack, component.value, began_ns - 30 * NS, until_ns + 30 * NS)
    return replace(steady, starts=whole.starts)


def _flow(case: Case, signal: Signal, window: Window, judged: dict[str, Verdict]) -> Flow:
    took = intake_of(case, signal, window)
    length_s = max(window.length_s, 1e-9)
    sent = due_in(case, signal, window)
    accepted = sent[sent["outcome"] == Outcome.ACCEPTED.value]
    took_s = (accepted["done_ns"].to_numpy(np.int64) - accepted["due_ns"].to_numpy(np.int64)) / NS
    asked = _within(people(case, kind_of(signal).store), [window])
    told = tells(asked, case.bounds(signal).query_p99) & ~is_failed(asked)
    answered = asked[told & ~in_outage(case, kind_of(signal).store, asked)]
    users = case.users(signal)
    return Flow(
        signal=str(signal),
        planned_bytes_per_s=took.planned_bytes / length_s if window.length_s else 0.0,
        accepted_bytes_per_s=took.in_time_bytes / length_s if window.length_s else 0.0,
        accepted_items_per_s=float(accepted["items"].sum()) / length_s if window.length_s else 0.0,
        users=users,
        series=scale_of(signal).series(case.profile, users),
        not_accepted_share=min(1.0, (took.not_accepted + took.absent) / took.planned) if took.planned else 0.0,
        lost_items=_count(judged.get(f"{signal}.loss")),
        push_p99_s=nearest_rank(took_s, 0.99) if len(took_s) else None,
        query_p99_s=nearest_rank(latency_ns(answered) / NS, 0.99) if len(answered) else None,
        freshness_p99_s=_value(judged.get(f"{signal}.freshness")),
    )


def _value(verdict: Verdict | None) -> float | None:
    return verdict.value if verdict is not None else None


def _count(verdict: Verdict | None) -> int | None:
    if verdict is None or verdict.value is None or verdict.result not in (Result.PASS, Result.FAIL):
        return None
    return int(verdict.value)


def _within(queries: pd.DataFrame, windows: Iterable[Window]) -> pd.DataFrame:
    spans = list(windows)
    if not spans:
        return queries.iloc[:0]
    from_ns, until_ns = min(one.from_ns for one in spans), max(one.until_ns for one in spans)
    return queries[(queries["due_ns"] >= from_ns) & (queries["due_ns"] < until_ns)]


def _health_text(verdict: Verdict | None) -> str:
    if verdict is None:
        return "nothing is known of the generator's own schedule"
    late = f"own lag p99 {duration_text(verdict.value)}" if verdict.value is not None else verdict.measured
    return f"the generator itself: {next(iter(verdict.evidence), '') or late}"
