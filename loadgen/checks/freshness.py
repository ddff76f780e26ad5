"""What was acknowledged becomes visible soon."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import EXAMPLES, Case, RunCheck, counted, nearest_rank, nobody_sends, overlap_ns, records
from loadgen.checks.few import ALLOWED, Tally
from loadgen.checks.suggest import more_probes
from loadgen.checks.unmade import UNMADE, made_and_unmade
from loadgen.checks.wrong_answers import appeared
from loadgen.judging import Finding
from loadgen.kinds import KINDS, kind_of
from loadgen.kinds.kind import Kind
from loadgen.model import NS, Result, Signal
from loadgen.units import duration_text


def promised_place(signal: Signal, looks: pd.DataFrame) -> pd.DataFrame:
    """The looks that the promise is about: search for traces, because by id they are there at once."""
    probed = kind_of(signal).probed
    return looks[looks["where"] == probed] if probed else looks[looks["where"] != "search"]


def delays_ns(case: Case, signal: Signal, looks: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each look the shortest and longest delay that it proves, without the time in which the component was down.

    Never seen: the longest is not known (-1), the shortest is how long it was waited for.
    """
    acked = looks["acked_ns"].to_numpy(np.int64)
    absent = np.maximum(looks["last_absent_ns"].to_numpy(np.int64), acked)
    seen = looks["first_seen_ns"].to_numpy(np.int64)
    outages = case.outages(kind_of(signal).store)
    least = absent - acked - overlap_ns(acked, absent, outages)
    most = np.where(seen > 0, np.maximum(0, seen - acked - overlap_ns(acked, np.maximum(seen, acked), outages)), -1)
    return np.where(seen > 0, np.minimum(least, most), least), most


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    bounds, component = case.bounds(signal), kind_of(signal).store
    limit_s, worst_s = bounds.freshness_p99, bounds.freshness_max
    text = f"p99 ≤ {duration_text(limit_s)}, none proven later than {duration_text(worst_s)}"
    objective = case.objective(f"{signal}.freshness_p99", text, limit_s, "s")
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    late = _late(case, signal, worst_s)
    probes = case.sightings(signal, "probe")
    here = promised_place(signal, probes)
    here = here[here["acked_ns"] > 0]
    here, unmade = made_and_unmade(case, signal, here)
    unreadable = here[here["unreadable"]]
    least, most = delays_ns(case, signal, here)
    # Waits that a restart fell into say little, unless they are too long even without the time it took.
    acked, until = _span(here)
    disturbed = overlap_ns(acked, until, case.outages(component)) > 0
    over = least > limit_s * NS
    lost = (most < 0) & _lost(case, signal, here)
    given_up = (most < 0) & ~over & ~lost  # the run ended first: nobody knows
    usable = ~here["unreadable"].to_numpy(bool) & ~given_up & ~lost & (~disturbed | over)
    delay_s = np.where(most[usable] < 0, np.inf, most[usable] / NS)
    least_s = np.where(most[usable] < 0, np.inf, least[usable] / NS)
    evidence = _evidence(case, signal, here, usable | lost, given_up, disturbed)
    if lost.any():
        evidence.append(f"{counted(int(lost.sum()), 'probes')} of batches that {signal}.loss judges; left out here")
    outside = int((~disturbed & here["unreadable"].to_numpy(bool)).sum())
    if outside:
        first = next((detail for detail in unreadable["detail"] if detail), "")
        evidence.append(f"{counted(outside, 'probes')} could not be read" + (f", e.g. {first}" if first else ""))
    evidence += unmade.texts + late
    samples = len(delay_s)
    p99_s = nearest_rank(delay_s, 0.99) if samples else None
    measured = ""
    if p99_s is not None:
        never = int(np.isinf(delay_s).sum())
        seen_s = delay_s[np.isfinite(delay_s)]
        measured = f"p99 {duration_text(p99_s) if np.isfinite(p99_s) else 'never seen'}"
        measured += f", slowest {duration_text(float(seen_s.max()))}" if len(seen_s) else ""
        measured += f", {never:,} never seen" if never else ""
    # A delay lies between two looks: so many are surely over the bound, and so many may be.
    bound = f"over {duration_text(limit_s)}"
    surely, maybe = (Tally(int((one > limit_s).sum()), samples) for one in (least_s, delay_s))
    measured += f"; {maybe.text(bound)}" if samples else ""
    value = p99_s if p99_s is not None and np.isfinite(p99_s) else None

    def finding(result: Result, remedy: str = "", *first: str) -> Finding:
        return Finding(result, objective, measured, value, samples, (*first, *evidence), remedy)

    if surely.result is Result.FAIL or late:
        return finding(Result.FAIL, kind.freshness.advice)
    if maybe.over > surely.over and maybe.too_many:
        return finding(
            Result.UNKNOWN,
            "set freshness.poll shorter",
            "the looks are too far apart to tell: it became visible between two",
        )
    if maybe.result is not Result.PASS:
        return finding(Result.UNKNOWN, more_probes(case, signal, maybe), maybe.lacking("probes", bound))
    if unmade.could_hide(delay_s, limit_s):
        return finding(Result.UNKNOWN, UNMADE)
    if outside > ALLOWED * len(here):
        return finding(Result.UNKNOWN, "see the failing queries in the query promises, then run again")
    return finding(Result.PASS)


def _span(looks: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    acked = looks["acked_ns"].to_numpy(np.int64)
    absent, seen = looks["last_absent_ns"].to_numpy(np.int64), looks["first_seen_ns"].to_numpy(np.int64)
    return acked, np.maximum(acked, np.where(seen > 0, seen, absent))


def _lost(case: Case, signal: Signal, looks: pd.DataFrame) -> NDArray[np.bool_]:
    """Of which looks the batch was read back incomplete: what is lost is no matter of delay."""
    read = case.sightings(signal, "verify")
    missed = pd.MultiIndex.from_frame(read.loc[read["missing"] > 0, ["user", "n"]])
    return np.asarray(pd.MultiIndex.from_frame(looks[["user", "n"]]).isin(missed), dtype=np.bool_)


def _whole(case: Case, signal: Signal, looks: pd.DataFrame) -> NDArray[np.bool_]:
    """Of which looks the batch was read back complete."""
    read = case.sightings(signal, "verify")
    found = pd.MultiIndex.from_frame(read.loc[read["found"] >= read["expected"], ["user", "n"]])
    whole = pd.MultiIndex.from_frame(looks[["user", "n"]]).isin(found) & ~_lost(case, signal, looks)
    return np.asarray(whole, dtype=np.bool_)


def _late(case: Case, signal: Signal, worst_s: float) -> list[str]:
    """Batches of which something was proven invisible for too long and then appeared: late, not lost."""
    frame = case.history.sightings
    frame = frame[(frame["signal"] == signal.value) & (frame["acked_ns"] > 0)]
    probes = promised_place(signal, frame[frame["phase"] == "probe"])
    # A probe that the end of the load cut off has proven its wait all the same, if reading back then found the batch.
    probes = probes[(probes["first_seen_ns"] > 0) | _whole(case, signal, probes)]
    # Reading back knows of parts of a batch: some of it may have been late, and the rest lost.
    read, wrong = appeared(case, signal)
    read = read[~wrong & (read["acked_ns"] > 0)]
    read = read.assign(last_absent_ns=read["late_absent_ns"], first_seen_ns=0)
    looks = pd.concat([probes[~probes["unreadable"]], read])
    # Reading back also looks for pushes that were never acknowledged; nothing was promised of those.
    looks = looks.merge(case.accepted(signal)[["user", "n"]].drop_duplicates(), on=["user", "n"])
    least, _ = delays_ns(case, signal, looks)
    late = looks[least > worst_s * NS].assign(least_ns=least[least > worst_s * NS])
    late = late.sort_values("least_ns", ascending=False).drop_duplicates(["user", "n"])
    texts = [
        f"user {row['user']}, batch {row['n']}, acknowledged {case.at(row['acked_ns'])}: still not visible "
        f"{duration_text(row['least_ns'] / NS)} later, then it appeared"
        + (f": {row['detail']}" if row["detail"] else "")
        for row in records(late.head(EXAMPLES))
    ]
    if len(late) > EXAMPLES:
        texts.append(f"and {counted(len(late) - EXAMPLES, 'batches')} more")
    return texts


def _evidence(
    case: Case,
    signal: Signal,
    here: pd.DataFrame,
    usable: NDArray[np.bool_],
    given_up: NDArray[np.bool_],
    disturbed: NDArray[np.bool_],
) -> list[str]:
    acked, until = _span(here)
    seen = usable & (here["first_seen_ns"].to_numpy(np.int64) > 0)
    texts = []
    if seen.any():
        absent = np.maximum(acked, here["last_absent_ns"].to_numpy(np.int64))
        step_s = float(np.median((until - absent)[seen])) / NS
        poll = duration_text(case.profile.freshness.poll)
        texts.append(f"resolution: looked every {poll}; each delay is known to {duration_text(step_s)} (median)")
    cut, aside = int(given_up.sum()), int((disturbed & ~usable & ~given_up).sum())
    if cut:
        texts.append(f"{counted(cut, 'probes')} ended before their data was visible or the bound reached; left out")
    if aside:
        texts.append(f"{counted(aside, 'probes')} waited through a restart; left out")
    if case.direct:
        texts.append("read directly, not through Grafana")
    if kind_of(signal).probed:
        by_id = case.sightings(signal, "probe")
        by_id = by_id[(by_id["where"] != "search") & (by_id["first_seen_ns"] > 0)]
        if len(by_id):
            _, most = delays_ns(case, signal, by_id)
            texts.append(
                f"by id: p99 {duration_text(nearest_rank(most / NS, 0.99))} over {counted(len(by_id), 'probes')}"
            )
        if here.empty and len(by_id):
            texts.insert(0, "traces were looked for by id only, and the promise is about search")
    return texts


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.freshness",
        kind.freshness.promise,
        partial(_judge, kind=kind),
        ("sightings",),
        disturbed_by=(kind.store,),
    )
    for kind in KINDS
)
