"""The component takes the rate that it is asked to take, for the whole steady part of the load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from loadgen.checks.case import (
    FOREVER_NS,
    ITEMS,
    RUN_LONGER,
    Case,
    RunCheck,
    counted,
    nobody_sends,
    records,
    share_text,
    touches,
    unknown,
)
from loadgen.checks.few import Tally
from loadgen.checks.health import own_drops, own_lag_ns
from loadgen.checks.surroundings import CLOCK_REFUSED, about_time
from loadgen.judging import Finding
from loadgen.kinds import KINDS, kind_of
from loadgen.kinds.kind import Kind
from loadgen.model import NS, Objective, Outcome, Result, Signal, status_text
from loadgen.plan import push_bytes_of, rate_of
from loadgen.units import bytes_text, duration_text

MIN_BATCHES = 10
# The plan meets a rate on average; single bodies differ in size, and a window cuts through a user's rhythm.
PLAN_TOLERANCE = 0.03
RATE_TOLERANCE = 0.01
# A backlog that is still there so long after the window means that the rate was not taken.
CATCH_UP_NS = 5 * NS
END_MARGIN_NS = NS // 2
# So much of the interval a push may have waited for the one before it and still count as sent on time.
_PROMPT = 0.1
STOP_TIMEOUT_NS = 5 * NS

_OWN = (
    "the generator, not the stack, is short of power: see loadgen.health; give it more processes (run.processes) or a "
    "machine of its own, or a longer run.warmup when there are many users"
)


@dataclass(frozen=True, slots=True)
class Window:
    """The steady part of the load: after the warm-up, before the end. ``cut`` says why it is shorter than planned."""

    from_ns: int
    until_ns: int
    cut: str = ""

    @property
    def length_s(self) -> float:
        """Length in seconds, at least 0."""
        return max(0.0, (self.until_ns - self.from_ns) / NS)


def steady_window(case: Case, signal: Signal) -> Window:
    """The window in which throughput counts."""
    began_ns, run = case.history.info.key.began_ns, case.profile.run
    planned_end_ns = began_ns + round(run.duration * NS)
    receipts = case.history.receipts
    interval_ns = case.plan.pace(signal, 0).interval_ns
    # A push that hangs when the load ends is given a few seconds more; its user was busy until the end.
    stopped_ns = 0
    if len(receipts):
        stopped_ns = max(int(receipts["due_ns"].max()), int(receipts["done_ns"].max()) - STOP_TIMEOUT_NS)
    cut, end_ns = "", planned_end_ns
    if stopped_ns + interval_ns + NS < planned_end_ns:
        end_ns = stopped_ns
        ran_s = max(0, stopped_ns - began_ns) / NS
        cut = (
            f"the load ended after {duration_text(ran_s)} of the planned {duration_text(run.duration)}; judged "
            "over what ran"
        )
    return Window(began_ns + round(run.warmup * NS), end_ns - END_MARGIN_NS, cut)


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of everything that was planned in the window.

    Attributes:
        planned: pushes that fell due, without those that the end of the load cut off.
        handled: receipts among them.
        queued: pushes never tried because an earlier push of the same user waited until the end.
        cut_off: pushes never tried because the load ended while one that was sent on time was on its way: nobody is to
            blame, and nothing is known of them.
        behind_restart: of those queued, behind a push that waited for a component that was being restarted.
        absent: pushes without a receipt: their user did not run.
        accepted_bytes: plain bytes accepted, however late.
        in_time_bytes: of them, answered before the window's end or soon after.
        own_late_bytes: accepted too late, because the generator itself was late.
        push_bytes: mean plain size of a push.
        not_accepted: pushes rejected, unknown, dropped or queued.
        own_dropped: of them, dropped by the generator's own fault.
        overhang_s: from the window's end to the last answer.
    """

    planned: int
    handled: int
    queued: int
    cut_off: int
    behind_restart: int
    absent: int
    accepted_bytes: float
    in_time_bytes: float
    own_late_bytes: float
    push_bytes: float
    not_accepted: int
    own_dropped: int
    overhang_s: float

    @property
    def planned_bytes(self) -> float:
        """Plain bytes that were planned."""
        return self.planned * self.push_bytes

    @property
    def own_bytes(self) -> float:
        """Plain bytes that are missing or late by the generator's own fault."""
        return (self.absent + self.own_dropped) * self.push_bytes + self.own_late_bytes


def intake_of(case: Case, signal: Signal, window: Window) -> Intake:
    """Hold the receipts of the window against the plan."""
    planned, queued, cut_off, behind_restart = _planned(case, signal, window, _paced(case, signal))
    inside = due_in(case, signal, window)
    accepted = inside[inside["outcome"] == Outcome.ACCEPTED.value]
    sizes = accepted["plain_bytes"].to_numpy(np.float64)
    done_ns = accepted["done_ns"].to_numpy(np.int64)
    in_time = done_ns <= _patience_ns(case, signal, window)
    own_late = ~in_time & (own_lag_ns(accepted) > NS)
    sent = inside.loc[inside["plain_bytes"] > 0, "plain_bytes"]
    push_bytes = float(sent.mean()) if len(sent) else push_bytes_of(case.plan, signal, case.users(signal))
    return Intake(
        planned=planned,
        handled=len(inside),
        queued=queued,
        cut_off=cut_off,
        behind_restart=behind_restart,
        absent=max(0, planned - len(inside) - queued),
        accepted_bytes=float(sizes.sum()),
        in_time_bytes=float(sizes[in_time].sum()),
        own_late_bytes=float(sizes[own_late].sum()),
        push_bytes=push_bytes,
        not_accepted=len(inside) - len(accepted) + queued,
        own_dropped=int(own_drops(inside).sum()),
        overhang_s=max(0.0, (int(done_ns.max()) - window.until_ns) / NS) if len(done_ns) else 0.0,
    )


def due_in(case: Case, signal: Signal, window: Window) -> pd.DataFrame:
    """The receipts of the planned load that fell due in a window."""
    receipts = _paced(case, signal)
    return receipts[(receipts["due_ns"] >= window.from_ns) & (receipts["due_ns"] < window.until_ns)]


def _paced(case: Case, signal: Signal) -> pd.DataFrame:
    """The receipts of the planned load; the probes through the OpenTelemetry SDK come on top of it."""
    receipts = case.receipts(signal)
    return receipts[receipts["transport"] != "sdk"].drop_duplicates(["user", "n"])


def _patience_ns(case: Case, signal: Signal, window: Window) -> int:
    """Until when what fell due in the window must be answered; a restart at its very end gets its time."""
    ends = [end for begin, end in case.outages(kind_of(signal).store) if begin < window.until_ns and end < FOREVER_NS]
    return max([window.until_ns, *ends]) + CATCH_UP_NS


def _planned(case: Case, signal: Signal, window: Window, receipts: pd.DataFrame) -> tuple[int, int, int, int]:
    """Pushes planned in the window; those never tried because their user waited for the stack until the end; those that
    only the end cut off; and of the ones that waited, those behind a restart."""
    planned = queued = cut_off = behind_restart = 0
    last = receipts.sort_values(["user", "n"]).groupby("user").tail(1)
    sent_ns, ended_ns = last["sent_ns"].to_numpy(np.int64), last["done_ns"].to_numpy(np.int64)
    waited = touches(sent_ns, ended_ns, case.outages(kind_of(signal).store))
    for row, restarted in zip(records(last), waited, strict=True):
        pace = case.plan.pace(signal, row["user"])
        first, after = pace.first_at(window.from_ns), pace.first_at(window.until_ns)
        planned += max(0, after - first)
        behind = max(0, min(after, pace.first_at(row["done_ns"])) - max(first, row["n"] + 1))
        if _was_on_time(row, pace.interval_ns):
            cut_off += behind
            planned -= behind
            continue
        queued += behind
        behind_restart += behind if restarted else 0
    never_ran = case.users(signal) - len(last)
    if never_ran > 0:
        planned += round(never_ran * window.length_s * NS / case.plan.pace(signal, 0).interval_ns)
    return planned, queued, cut_off, behind_restart


def _was_on_time(push: Mapping[str, Any], interval_ns: int) -> bool:
    """A push that did not wait for the ones before it and was taken at once, if slowly.

    A user that the stack holds up sends later and later, and its last push waits long before it is sent.
    """
    due_ns = push["due_ns"]
    prompt = push["free_ns"] - due_ns <= _PROMPT * interval_ns and push["done_ns"] - due_ns <= 2 * interval_ns
    return bool(prompt and push["outcome"] == Outcome.ACCEPTED and push["attempts"] == 1)


def planned_rate(case: Case, signal: Signal) -> float:
    """Plain bytes per second that the profile plans for a signal."""
    return rate_of(case.plan, signal, case.users(signal))


def _objective(case: Case, signal: Signal) -> Objective:
    bounds = case.bounds(signal)
    spare = f"≤ {bounds.not_accepted_percent:g} % of pushes not accepted"
    if bounds.throughput is not None:
        text = f"≥ {bytes_text(bounds.throughput)}/s (within {100 * RATE_TOLERANCE:g} %), {spare}"
        return case.objective(f"{signal}.throughput", text, bounds.throughput, "B/s")
    planned = planned_rate(case, signal) if case.users(signal) else 0.0
    text = f"≥ {100 * (1 - PLAN_TOLERANCE):g} % of the planned {bytes_text(planned)}/s, {spare}"
    return case.objective(f"{signal}.not_accepted_percent", text, planned * (1 - PLAN_TOLERANCE), "B/s")


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    objective = _objective(case, signal)
    if not case.users(signal):
        return nobody_sends(objective, signal)
    window = steady_window(case, signal)
    if window.length_s <= 0:
        return unknown(objective, f"the load ended before its steady part began; {window.cut}", RUN_LONGER)
    took = intake_of(case, signal, window)
    if took.handled < MIN_BATCHES:
        why = f"{counted(took.handled, 'pushes')} in the steady window, at least {MIN_BATCHES} are needed"
        return unknown(objective, why, RUN_LONGER, took.handled)
    rate = took.in_time_bytes / window.length_s
    not_accepted = took.not_accepted + took.absent
    measured = f"{bytes_text(rate)}/s ({share_text(took.in_time_bytes, took.planned_bytes)} of the plan), "
    measured += f"{share_text(not_accepted, took.planned)} not accepted"
    evidence = _evidence(case, signal, window, took)
    if _kept(case, signal, window, took, 0.0, not_accepted):
        return Finding(Result.PASS, objective, measured, rate, took.handled, tuple(evidence), "")
    excuse = _excuse(case, signal, window, took)
    if excuse is not None:
        evidence.insert(0, excuse.why)
        return Finding(Result.UNKNOWN, objective, measured, rate, took.handled, tuple(evidence), excuse.remedy)
    return Finding(Result.FAIL, objective, measured, rate, took.handled, tuple(evidence), kind.throughput.advice)


def _kept(case: Case, signal: Signal, window: Window, took: Intake, more_bytes: float, refused: int) -> bool:
    """Whether the objective is kept with so much more taken in time, and so many pushes not accepted."""
    bounds = case.bounds(signal)
    if 100 * refused > bounds.not_accepted_percent * took.planned:
        return False
    in_time_bytes = took.in_time_bytes + more_bytes
    if bounds.throughput is not None:
        return in_time_bytes / window.length_s >= (1 - RATE_TOLERANCE) * bounds.throughput
    return in_time_bytes >= (1 - PLAN_TOLERANCE) * took.planned_bytes


@dataclass(frozen=True, slots=True)
class _Excuse:
    """Why what was not kept need not be the stack's fault, and what to do."""

    why: str
    remedy: str


def _excuse(case: Case, signal: Signal, window: Window, took: Intake) -> _Excuse | None:
    """What else than the stack may have kept the objective from being kept; None: nothing."""
    if _kept(case, signal, window, took, took.own_bytes, took.not_accepted - took.own_dropped):
        return _Excuse(f"{bytes_text(took.own_bytes)} were not sent, or too late, by the generator's own fault", _OWN)
    queued = took.own_bytes + took.behind_restart * took.push_bytes
    if _kept(case, signal, window, took, queued, took.not_accepted - took.own_dropped - took.behind_restart):
        why = "the load ended before what had queued up during a restart was sent"
        return _Excuse(why, f"{RUN_LONGER}, or restart earlier (faults.at)")
    untimely = int(about_time(_not_accepted(case, signal, window)).sum())
    accepted_then = took.not_accepted + took.absent - untimely
    if untimely and _kept(case, signal, window, took, untimely * took.push_bytes, accepted_then):
        why = f"{counted(untimely, 'pushes')} were refused for the times in them: the clocks differ"
        return _Excuse(why, CLOCK_REFUSED)
    asked, planned_per_s = case.bounds(signal).throughput, took.planned_bytes / window.length_s
    if asked is not None and planned_per_s < (1 - RATE_TOLERANCE) * asked and kept_by_plan(case, signal, took):
        why = f"only {bytes_text(planned_per_s)}/s were asked for, so the objective was never tried"
        return _Excuse(why, f"set {signal}.rate to {bytes_text(asked)}/s or more, then run again")
    return None


def kept_by_plan(case: Case, signal: Signal, took: Intake) -> bool:
    """Everything that was planned was taken, whatever the rate."""
    few = 100 * took.not_accepted <= case.bounds(signal).not_accepted_percent * took.planned
    return few and took.in_time_bytes >= (1 - PLAN_TOLERANCE) * took.planned_bytes


def _not_accepted(case: Case, signal: Signal, window: Window) -> pd.DataFrame:
    inside = due_in(case, signal, window)
    return inside[inside["outcome"] != Outcome.ACCEPTED.value]


def _evidence(case: Case, signal: Signal, window: Window, took: Intake) -> list[str]:
    inside = due_in(case, signal, window)
    accepted = inside[inside["outcome"] == Outcome.ACCEPTED.value]
    per_s = int(accepted["items"].sum()) / window.length_s
    texts = [
        f"steady window: {case.at(window.from_ns)} to {case.at(window.until_ns)}; "
        f"{took.planned:,} pushes planned, {len(accepted):,} accepted; {per_s:,.0f} {ITEMS[signal]}/s"
    ]
    if window.cut:
        texts.append(window.cut)
    if not took.not_accepted + took.absent:
        texts.append(f"every push of the window counts; {Tally(0, took.planned).text('not accepted')}")
    if took.absent:
        texts.append(f"{counted(took.absent, 'pushes')} planned but without a receipt: their users did not run")
    if took.queued:
        texts.append(f"{counted(took.queued, 'pushes')} never tried, because the push before waited until the end")
    if took.cut_off:
        pushes = counted(took.cut_off, "pushes")
        texts.append(f"{pushes} not counted: the load ended while the one before, sent on time, was on its way")
    refused = _not_accepted(case, signal, window)
    for (outcome, status), rows in refused.groupby(["outcome", "status"]):
        first = next((text for text in rows["detail"] if text), "")
        code = f", {status_text(int(str(status)))}" if status else ""
        texts.append(f"{len(rows):,} {outcome}{code}" + (f", e.g. {first}" if first else ""))
    if took.in_time_bytes < took.accepted_bytes:
        late = bytes_text(took.accepted_bytes - took.in_time_bytes)
        texts.append(
            f"{late} were accepted too late: the last answer came {duration_text(took.overhang_s)} after the window"
        )
    retried = accepted[accepted["attempts"] > 1]
    if len(retried):
        first = next((text for text in retried["detail"] if text), "")
        texts.append(
            f"{counted(len(retried), 'pushes')} needed more than one attempt" + (f", e.g. {first}" if first else "")
        )
    return texts


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.throughput",
        f"{kind.title} takes the rate that it is asked to take",
        partial(_judge, kind=kind),
        ("receipts",),
        proves_by_absence=True,
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
