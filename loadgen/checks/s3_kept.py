"""What was in S3 stays there, or a successor holds its data.

Objects that have gone are told by the watcher. Compaction lets objects go too, so what counts is the data: batches that
were proven to be in S3 by all objects that were ever seen there, and are not by those that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import EXAMPLES, Case, RunCheck, counted, nobody_sends, records, skipped, unknown
from loadgen.checks.s3_delay import not_listed
from loadgen.checks.s3_looks import kept_looked_ns
from loadgen.checks.s3_match import Coverage, s3_coverage
from loadgen.checks.s3_traces import held_ids
from loadgen.judging import Finding
from loadgen.kinds import KINDS, kind_of
from loadgen.kinds.kind import Holds, Kind
from loadgen.model import NS, Component, Objective, Result, Signal
from loadgen.plan import Plan
from loadgen.units import duration_text

Flags = NDArray[np.bool_]

_NOTHING_YET = "run `loadgen verify RUN` when something of the run is in S3; it looks again, and judges this then"
_LOOK_AGAIN = "run `loadgen verify RUN`, with a credential that may list and read; it looks for every object again"


@dataclass(frozen=True, slots=True)
class _Gone:
    """An object that has gone, and which of the batches that are nowhere else it held something of."""

    row: dict[str, object]
    held: Flags


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    component = kind.store
    objective = Objective("0 gone", 0.0, "objects")
    if not case.profile.users(signal):
        return nobody_sends(objective, signal)
    looked_ns = kept_looked_ns(case.history, component)
    objects = case.history.objects
    mine = objects[(objects["component"] == component.value) & (objects["detail"] == "")]
    mine = mine.sort_values("first_seen_ns", kind="stable").drop_duplicates(["bucket", "key"])
    if not looked_ns and mine.empty:
        return not_listed(case, objective, component, 0)
    if mine.empty:
        return unknown(objective, "nothing of the run was seen in S3 yet, so nothing can have gone", _NOTHING_YET)
    again = mine[mine["first_seen_ns"] <= looked_ns]
    if again.empty:
        why = f"nobody looked again for the {counted(len(mine), 'objects')} that were seen"
        return unknown(objective, why, _LOOK_AGAIN)
    gone = _gone_of(case, component, again)
    allowed = gone["missed_ns"] - gone["through_ns"] > case.profile.objectives.all.history_until * NS
    evidence = [_looked(case, again, looked_ns)]
    if allowed.any():
        kept_s = case.profile.objectives.all.history_until
        evidence.append(
            f"{counted(int(allowed.sum()), 'objects')} left out: older than {duration_text(kept_s)}, up to which data "
            "is promised to be kept (objectives.all.history_until)"
        )
    gone = gone[~allowed]
    if len(gone) == 0 and len(allowed) == len(again):
        return skipped(objective, evidence[-1], "verify a younger run, or set objectives.all.history_until higher")
    if gone.empty:
        return Finding(Result.PASS, objective, "0 gone", 0.0, len(again), tuple(evidence))
    return _with_gone(case, kind, objective, again, gone, evidence)


def _with_gone(
    case: Case, kind: Kind, objective: Objective, again: pd.DataFrame, gone: pd.DataFrame, evidence: list[str]
) -> Finding:
    """Something is not there any more: does anything else hold its data?"""
    history, signal = case.history, kind.signal
    keys = pd.MultiIndex.from_frame(history.objects[["bucket", "key"]])
    left_objects = history.objects[~keys.isin(pd.MultiIndex.from_frame(gone[["bucket", "key"]]))]
    there = s3_coverage(history, case.plan, signal)
    left = s3_coverage(replace(history, objects=left_objects), case.plan, signal)
    nowhere = (there.stored_ns > 0) & (left.stored_ns == 0)
    lost = [one for one in _holders(case.plan, signal, there, gone, nowhere) if one.held.any()]
    others = len(gone) - len(lost)
    if others:
        evidence.append(f"{counted(others, 'objects')} have gone, and what they held of the run is in other ones")
    if not lost:
        return Finding(Result.PASS, objective, "0 gone without a successor", 0.0, len(again), tuple(evidence))
    held = np.logical_or.reduce([one.held for one in lost])
    certain = held & ~left.maybe
    texts = [_text(case, there, one) for one in lost[:EXAMPLES]]
    if len(lost) > EXAMPLES:
        texts.append(f"and {counted(len(lost) - EXAMPLES, 'objects')} more")
    if not certain.any() or left.unreadable:
        what = "objects that may hold its data cannot be read" if left.unreadable else "others may hold its data"
        why = f"{counted(len(lost), 'objects')} gone, but {what}, so it is not known to be lost"
        return unknown(objective, why, _LOOK_AGAIN, len(again), (*texts, *evidence))
    measured = (
        f"{len(lost):,} of {counted(len(again), 'objects')} gone, and with them {counted(int(held.sum()), 'batches')}"
    )
    return Finding(Result.FAIL, objective, measured, len(lost), len(again), (*texts, *evidence), kind.s3_kept.advice)


def _gone_of(case: Case, component: Component, objects: pd.DataFrame) -> pd.DataFrame:
    """The objects that were missed when they were last looked for, with when they were seen and missed."""
    gone = case.history.gone
    last = gone[gone["component"] == component.value].drop_duplicates(["bucket", "key"], keep="last")
    last = last[last["missed_ns"] > 0][["bucket", "key", "last_seen_ns", "missed_ns"]]
    return objects.merge(last, on=["bucket", "key"], how="inner").sort_values("missed_ns", kind="stable")


def _looked(case: Case, objects: pd.DataFrame, looked_ns: int) -> str:
    first_ns = int(objects["first_seen_ns"].min())
    return (
        f"{counted(len(objects), 'objects')} of the run looked for again, last {case.at(looked_ns)}, "
        f"{duration_text(max(0, looked_ns - first_ns) / NS)} after the first of them was seen"
    )


def _text(case: Case, coverage: Coverage, gone: _Gone) -> str:
    row, places = gone.row, np.flatnonzero(gone.held)
    first = places[np.argmin(coverage.done_ns[places])]
    users = np.unique(coverage.user[places])
    whose = f"user {users[0]}" if len(users) == 1 else f"{counted(len(users), 'users')}"
    seen_ns, missed_ns = int(str(row["last_seen_ns"])), int(str(row["missed_ns"]))
    return (
        f"gone: {row['bucket']}/{row['key']}, last seen {case.at(seen_ns)}, missed first {case.at(missed_ns)}; nothing "
        f"else holds {counted(len(places), 'batches')} of {whose}, the oldest: user {coverage.user[first]}, batch "
        f"{coverage.n[first]}, acknowledged {case.at(int(coverage.done_ns[first]))}"
    )


def _holders(plan: Plan, signal: Signal, coverage: Coverage, gone: pd.DataFrame, nowhere: Flags) -> list[_Gone]:
    """Of each object, the batches among those that are nowhere else of which it held something."""
    places = np.flatnonzero(nowhere)
    if not len(places):
        return []
    batches = [plan.source(signal).batch(int(coverage.user[place]), int(coverage.n[place])) for place in places]
    due_ns = np.array([batch.due_ns for batch in batches], np.int64)
    span = plan.source(signal).span_ns(due_ns, coverage.done_ns[places])
    found = []
    for row in records(gone):
        held = np.zeros(len(nowhere), np.bool_)
        if kind_of(signal).bucket.holds is Holds.IDS:
            mine = held_ids(plan, row["ids"], row["traces"])
            ids = [np.ascontiguousarray(plan.traces.trace_ids(batch)).view("S16").ravel() for batch in batches]
            held[places] = [bool(np.isin(some, mine).any()) for some in ids]
        else:
            near = (span[0] <= row["through_ns"]) & (span[1] >= row["from_ns"])
            held[places] = near & np.isin(coverage.user[places], _users(plan, signal, row, coverage.user[places]))
        found.append(_Gone(row, held))
    return found


def _users(plan: Plan, signal: Signal, row: dict[str, object], users: NDArray[np.int64]) -> list[int]:
    """Whose data an object holds."""
    if kind_of(signal).bucket.holds is Holds.STREAM:
        return [int(user) for user in np.unique(users) if plan.logs.fingerprint(int(user)) == row["stream"]]
    ids = row["ids"]
    assert isinstance(ids, bytes)
    return [int(user) for user in np.frombuffer(ids[: len(ids) // 8 * 8], "<u4").reshape(-1, 2)[:, 0]]


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.s3_kept",
        kind.s3_kept.promise,
        partial(_judge, kind=kind),
        ("receipts", "objects", "gone"),
        proves_by_absence=True,
    )
    for kind in KINDS
)
