"""When each accepted batch reached S3: receipts held against the objects that were listed. Pure.

Loki names a chunk's stream and time range in its key, so the match is exact. Tempo's blocks list their trace ids, exact
too. Mimir's blocks give their time range only: a block that covers the samples' times is taken to hold them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import Case, Times
from loadgen.checks.restart_losses import lost_by_restart
from loadgen.model import MS, NS, Component, Outcome, Signal
from loadgen.plan import Plan
from loadgen.rundir import History

# An object older than the push by more than what whole seconds and clock corrections explain cannot hold its data.
OLDER_NS = 2 * NS
NEVER = np.int64(2**62)
LISTING = "last_listing"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Accepted batches of one signal and when all of each was in S3; the arrays are aligned.

    Attributes:
        user, n, done_ns: the batch and its acknowledgement.
        stored_ns: when the last part of it was in S3; 0: not seen there.
        lost_ns: when something of it was lost, so that it cannot reach S3 any more; 0: nothing was.
        listed_ns: the last moment that the bucket is known to have been listed; 0: never.
        objects: objects of the component.
        unreadable: objects whose content could not be told.
        size_bytes: of all these objects.
    """

    user: Times
    n: Times
    done_ns: Times
    stored_ns: Times
    lost_ns: Times
    listed_ns: int
    objects: int
    unreadable: int
    size_bytes: int

    @property
    def accepted(self) -> int:
        """Accepted batches."""
        return len(self.done_ns)

    @property
    def pending(self) -> int:
        """Accepted batches that were not seen in S3 and may still come."""
        return int(((self.stored_ns == 0) & (self.lost_ns == 0)).sum())

    @property
    def delay_ns(self) -> Times:
        """From acknowledgement to S3, at least 0, of the batches that are there."""
        there = self.stored_ns > 0
        delay: Times = np.maximum(0, self.stored_ns[there] - self.done_ns[there])
        return delay


def s3_coverage(history: History, plan: Plan, signal: Signal) -> Coverage:
    """Hold the accepted receipts of a signal against the listed objects."""
    receipts = history.receipts
    mine = receipts[(receipts["signal"] == signal.value) & (receipts["outcome"] == Outcome.ACCEPTED.value)]
    mine = mine.drop_duplicates(["user", "n"])
    objects = history.objects[history.objects["component"] == signal.component.value]
    objects = objects.assign(stored_ns=_stored_ns(objects))
    user, n, due_ns = (mine[name].to_numpy(np.int64) for name in ("user", "n", "due_ns"))
    # The attempt that was accepted brought the data, unless an earlier one may have done so too.
    pushed_ns = np.where(mine["ambiguous_attempts"] > 0, mine["sent_ns"], mine["last_sent_ns"]).astype(np.int64)
    since_ns = (pushed_ns - OLDER_NS) // NS * NS
    if signal is Signal.LOGS:
        stored = _logs(plan, user, due_ns, since_ns, objects)
    elif signal is Signal.METRICS:
        stored = _metrics(plan, user, due_ns, since_ns, objects)
    else:
        stored = _traces(plan, user, n, objects)
    stored = np.where((stored >= NEVER) | (stored < since_ns), 0, stored)
    return Coverage(
        user=user,
        n=n,
        done_ns=mine["done_ns"].to_numpy(np.int64),
        stored_ns=stored,
        lost_ns=_lost_ns(Case(history, plan, plan.profile), signal, user, n),
        listed_ns=_listed_ns(history, signal.component),
        objects=len(objects),
        unreadable=int((objects["detail"] != "").sum()),
        size_bytes=int(objects["size_bytes"].sum()),
    )


def _lost_ns(case: Case, signal: Signal, user: Times, n: Times) -> Times:
    """When each batch was lost: with the restart that took it, else as soon as it was acknowledged."""
    both = case.verified(signal)
    accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
    by_restart = lost_by_restart(case, signal, accepted)
    gone = accepted["missing"].to_numpy(np.int64) > 0
    when = np.where(by_restart > 0, by_restart, accepted["done_ns"].to_numpy(np.int64))[gone]
    keys = zip(accepted.loc[gone, "user"].tolist(), accepted.loc[gone, "n"].tolist(), strict=True)
    lost = dict(zip(keys, when.tolist(), strict=True))
    return np.array([lost.get(key, 0) for key in zip(user.tolist(), n.tolist(), strict=True)], np.int64)


def _stored_ns(objects: pd.DataFrame) -> Times:
    """When an object was there: LastModified, never later than the listing that showed it."""
    modified, seen = objects["modified_ns"].to_numpy(np.int64), objects["first_seen_ns"].to_numpy(np.int64)
    return np.where((modified == 0) | ((seen > 0) & (seen < modified)), seen, modified)


def _listed_ns(history: History, component: Component) -> int:
    """When the component's bucket was listed last.

    The watcher leaves a sample of every complete listing. Without any, the object that was seen last tells it; what
    other buckets showed says nothing, because a credential may be good for one bucket only.
    """
    stack = history.stack
    looks = stack[(stack["component"] == Component.S3.value) & (stack["metric"] == LISTING)]
    looks = looks[looks["labels"].str.split(",").str[0] == f"component={component}"]
    objects = history.objects
    seen = objects.loc[objects["component"] == component.value, "first_seen_ns"]
    return max(int(looks["at_ns"].max()) if len(looks) else 0, int(seen.max()) if len(seen) else 0)


# -- by time range -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Steps:
    """A function of time that is constant between steps: when data of that time was first in S3."""

    edges_ms: Times
    stored: Times

    def at(self, times_ms: Times) -> Times:
        return self.stored[np.searchsorted(self.edges_ms, times_ms, "right")]

    def piece(self, times_ms: Times) -> NDArray[np.intp]:
        return np.searchsorted(self.edges_ms, times_ms, "right")


def _steps(objects: pd.DataFrame) -> _Steps:
    """The earliest time in S3 as a function of the data's time; objects cover their ranges, both ends inclusive."""
    known = objects[objects["through_ns"] > 0]
    first = known["from_ns"].to_numpy(np.int64) // MS
    after = known["through_ns"].to_numpy(np.int64) // MS + 1
    stored = known["stored_ns"].to_numpy(np.int64)
    edges = np.unique(np.concatenate([first, after]))
    pieces = np.full(len(edges) + 1, NEVER, np.int64)
    begins, ends = np.searchsorted(edges, first) + 1, np.searchsorted(edges, after) + 1
    for begin, end, at_ns in zip(begins, ends, stored, strict=True):
        np.minimum(pieces[begin:end], at_ns, out=pieces[begin:end])
    return _Steps(edges, pieces)


def _covered(objects: pd.DataFrame, due_ms: Times, since_ns: Times, offsets_ms: Times) -> Times:
    """When the last item of each batch was in S3, in objects that are not older than its push.

    What was pushed late, after a restart for example, may lie in the time range of an object that was there before.
    """
    stored = _first(_steps(objects), due_ms, offsets_ms)
    stale = np.flatnonzero(stored < since_ns)
    for since in np.unique(since_ns[stale]):
        rows = stale[since_ns[stale] == since]
        stored[rows] = _first(_steps(objects[objects["stored_ns"] >= since]), due_ms[rows], offsets_ms)
    return stored


def _first(steps: _Steps, due_ms: Times, offsets_ms: Times) -> Times:
    """When the last item of each batch was in S3; its items have the times ``due_ms + offsets_ms``."""
    begin, end = steps.piece(due_ms + offsets_ms[0]), steps.piece(due_ms + offsets_ms[-1])
    stored = steps.stored[begin].copy()
    for index in np.flatnonzero(begin != end):  # few batches lie across the edge of an object
        stored[index] = steps.at(due_ms[index] + offsets_ms).max()
    return stored


def _logs(plan: Plan, user: Times, due_ns: Times, since_ns: Times, objects: pd.DataFrame) -> Times:
    stored = np.full(len(user), NEVER, np.int64)
    if objects.empty or not len(user):
        return stored
    batch = plan.logs.batch(int(user[0]), 0)
    offsets_ns = plan.logs.line_times(batch) - batch.due_ns
    # Lines lie a fixed distance after the due time, which is a whole millisecond, and chunks are named by milliseconds.
    offsets_ms = np.unique(offsets_ns // MS)
    streams = dict(iter(objects.groupby("stream")))
    for one, rows in _rows_by_user(user):
        chunks = streams.get(plan.logs.fingerprint(one))
        if chunks is not None:
            stored[rows] = _covered(chunks, due_ns[rows] // MS, since_ns[rows], offsets_ms)
    return stored


def _metrics(plan: Plan, user: Times, due_ns: Times, since_ns: Times, objects: pd.DataFrame) -> Times:
    if objects.empty or not len(user):
        return np.full(len(user), NEVER, np.int64)
    batch = plan.metrics.batch(int(user[0]), 0)
    offsets_ms = np.unique(np.asarray(plan.metrics.times_ms(batch), np.int64) - batch.due_ns // MS)
    return _covered(objects, due_ns // MS, since_ns, offsets_ms)


def _rows_by_user(user: Times) -> list[tuple[int, NDArray[np.intp]]]:
    order = np.argsort(user, kind="stable")
    users, starts = np.unique(user[order], return_index=True)
    return [(int(one), rows) for one, rows in zip(users, np.split(order, starts[1:]), strict=True)]


# -- by trace id ---------------------------------------------------------------------------------------------------


def _traces(plan: Plan, user: Times, n: Times, objects: pd.DataFrame) -> Times:
    known = objects[objects["ids"].map(len) > 0].sort_values("stored_ns", kind="stable")
    if known.empty or not len(user):
        return np.full(len(user), NEVER, np.int64)
    lengths = known["ids"].map(len).to_numpy(np.int64) // 16
    text = b"".join(ids[: 16 * count] for ids, count in zip(known["ids"], lengths, strict=True))
    ids, first = np.unique(np.frombuffer(text, "S16"), return_index=True)  # the first is the earliest
    at_ns = np.repeat(known["stored_ns"].to_numpy(np.int64), lengths)[first]
    source = plan.traces
    wanted = np.stack([source.trace_ids(source.batch(int(u), int(k))) for u, k in zip(user, n, strict=True)])
    traces = wanted.shape[1]
    flat = np.ascontiguousarray(wanted, np.uint8).reshape(-1, 16).view("S16").ravel()
    place = np.minimum(np.searchsorted(ids, flat), len(ids) - 1)
    found = np.where(ids[place] == flat, at_ns[place], NEVER)
    latest: Times = found.reshape(-1, traces).max(axis=1)
    return latest
