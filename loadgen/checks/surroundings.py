"""What surrounds the generator is not the stack's fault: a clock that is wrong, a worker that was lost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import EXAMPLES, Case, RunCheck, clock_text
from loadgen.history.values import RunInfo
from loadgen.judging import NO_BOUND, Finding
from loadgen.kinds import kind_of
from loadgen.model import NS, STOOD_STILL, Result, Signal
from loadgen.skew import SET_IT, weigh
from loadgen.stores import STORES
from loadgen.units import duration_text

# The servers' words for a time that they do not take: Loki, Mimir and Cortex, and S3.
_OF_TIME = re.compile(
    r"too new|too far in the (?:future|past)|too-far-in-(?:future|past)|timestamp(?: is|-)? ?too[ -]old|out of bounds"
    r"|RequestTimeTooSkewed"
)
# The shortest range that people look at by panels: a clock that is wrong by as much shows them something else.
_SHORTEST_RANGE_S = 300.0
_PLACES = {store.title: store.component for store in STORES}

CLOCK_REFUSED = (
    "what was refused was refused for its time, so this is about clocks, not rates: compare the clocks of this "
    f"machine, its workers and the component ({SET_IT}); if they agree, see the component's creation_grace_period and "
    "reject_old_samples_max_age (Loki), creation_grace_period and out_of_order_time_window (Mimir)"
)
_CLOCK_REMEDY = f"{SET_IT}, on this machine or on the one that is named above; then run again"
_TIMED = frozenset({"throughput", "query", "freshness", "s3_delay", "recovery"})
_AWAKE = (
    "keep this machine awake and give it the memory that it needs (a laptop that sleeps, a virtual machine that is "
    "paused, memory that is swapped out), or run loadgen elsewhere; then run again"
)
_LOST_REMEDY = (
    "see why it ended: its own output, its memory limit, its node (in a cluster: kubectl describe pod); then run again"
)


def about_time(receipts: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pushes were refused for the times in them."""
    details = receipts["detail"].astype(str)
    return np.asarray(details.str.contains(_OF_TIME, regex=True), dtype=np.bool_)


def with_surroundings(check: RunCheck, case: Case, finding: Finding) -> Finding:
    """The finding, unless a wrong clock makes it worthless; lost workers become the reason of what is unknown."""
    return _with_gaps(check, case, _with_standstill(check, case, _with_clocks(check, case, finding)))


# -- clocks --------------------------------------------------------------------------------------------------------


def _with_clocks(check: RunCheck, case: Case, finding: Finding) -> Finding:
    if finding.result not in (Result.PASS, Result.FAIL) or not case.history.info.clocks:
        return finding
    for off_s, text in _wrong_clocks(check, case):
        if _is_worthless(check.name, finding, off_s):
            return replace(
                finding, result=Result.UNKNOWN, evidence=(text, *finding.evidence), remedy=_CLOCK_REMEDY, value=None
            )
    return finding


def _wrong_clocks(check: RunCheck, case: Case) -> Iterator[tuple[float, str]]:
    """By how many seconds clocks differ that a check's times come from, and a sentence for each."""
    skew = weigh(case.history.info.clocks)
    texts = list(skew.texts())
    if skew.ours_ns:
        yield abs(skew.ours_s), texts.pop(0)
    mine = {component.value for component in check.disturbed_by} | {
        kind_of(signal).store.value for signal in _of(check)
    }
    for one, text in zip(skew.odd, texts, strict=True):
        place = _PLACES.get(one.name)
        if place is None or place.value in mine:
            yield abs(one.ahead_ns + skew.ours_ns) / NS, text


def _of(check: RunCheck) -> list[Signal]:
    return [signal for signal in Signal if check.name.startswith(f"{signal}.")]


def _is_worthless(name: str, finding: Finding, off_s: float) -> bool:
    """Whether so wrong a clock leaves nothing of a finding. Latencies and counts do not depend on the time of day."""
    kind, failed = name.rpartition(".")[2], finding.result is Result.FAIL
    limit, value = (finding.objective or NO_BOUND).limit, finding.value
    if kind in ("freshness", "s3_delay"):
        # What is too late by more than the clocks differ is too late.
        return off_s > limit or (failed and (value is None or value - off_s <= limit))
    if kind == "query":
        return off_s > _SHORTEST_RANGE_S or (failed and (value is None or value <= limit))
    return kind == "recovery" and failed


# -- the machine ---------------------------------------------------------------------------------------------------


def standstill_texts(case: Case) -> list[str]:
    """When this machine stood still, a sentence each; the longest ones if there are many."""
    stack = case.history.stack
    mine = stack[(stack["metric"] == STOOD_STILL) & (stack["component"] == "loadgen")]
    longest = mine.sort_values("value", ascending=False, kind="stable").head(EXAMPLES)
    pairs = zip(longest["at_ns"].tolist(), longest["value"].tolist(), strict=True)
    return [f"this machine stood still for {duration_text(stood_s)} until {case.at(at_ns)}" for at_ns, stood_s in pairs]


def _with_standstill(check: RunCheck, case: Case, finding: Finding) -> Finding:
    """What failed may have failed for it: nobody pushed or asked meanwhile, and what was under way took as long."""
    own = check.name == "loadgen.health"
    if own:
        if finding.result is Result.FAIL and (stood := standstill_texts(case)):
            return replace(finding, evidence=(*stood, *finding.evidence), remedy=_AWAKE)
        told = finding.result is not Result.PASS
    else:
        told = finding.result is not Result.FAIL or check.name.rpartition(".")[2] not in _TIMED
    stood = [] if told else standstill_texts(case)
    if not stood:
        return finding
    return replace(finding, result=Result.UNKNOWN, evidence=(*stood, *finding.evidence), remedy=_AWAKE)


# -- workers -------------------------------------------------------------------------------------------------------


def gap_texts(info: RunInfo) -> tuple[str, ...]:
    """Who was lost or away, and when, a sentence each."""

    def at(time_ns: int) -> str:
        return f"{(time_ns - info.key.began_ns) / NS:+.1f} s ({clock_text(time_ns)} UTC)"

    texts = []
    for gap in info.gaps:
        if gap.back_ns:
            texts.append(f"worker {gap.worker} was not heard from {at(gap.heard_ns)} to {at(gap.back_ns)}")
        else:
            texts.append(f"worker {gap.worker} was lost at {at(gap.heard_ns)}: nothing was heard of it afterwards")
    return tuple(texts)


def _with_gaps(check: RunCheck, case: Case, finding: Finding) -> Finding:
    lost = gap_texts(case.history.info)
    own = check.name == "loadgen.health"
    if not lost or not set(check.reads) & {"receipts", "queries", "sightings"}:
        return finding
    if finding.result is Result.UNKNOWN or (own and finding.result is Result.PASS):
        return replace(finding, result=Result.UNKNOWN, evidence=(*lost, *finding.evidence), remedy=_LOST_REMEDY)
    return finding
