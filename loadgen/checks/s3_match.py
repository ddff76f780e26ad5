"""When each accepted batch reached S3: receipts held against the objects that were found. Pure.

Loki names a chunk's stream and time range in its key, so the match is exact; of streams that Loki split, lines are
counted. Tempo's blocks list their traces, exact too. A block of Mimir tells its time range and how many series of
each user are in it, and proves what was acknowledged before it was cut, if all of the user's are. What compaction made
of older objects proves that data is there, but not since when: an upper bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import Case, Times
from loadgen.checks.restart_losses import lost_by_restart
from loadgen.checks.s3_looks import first_look_ns, listed_ns_of, parts_looked_ns, strangers_of
from loadgen.checks.s3_split import split_batches
from loadgen.checks.s3_traces import Blocks, find
from loadgen.history.values import History
from loadgen.kinds import kind_of
from loadgen.kinds.kind import Holds
from loadgen.model import MS, NOTHING_CERTAIN_NS, NS, Outcome, Signal
from loadgen.plan import Plan

# An object older than the push by more than what whole seconds and clock corrections explain cannot hold its data.
OLDER_NS = 2 * NS
# Who watches sees an object sooner than this after it was written.
_SEEN_LATE_NS = 15 * NS
NEVER = np.int64(2**62)
CLOCK_MIN, CLOCK_MAX = "clock_ahead_min_s", "clock_ahead_max_s"

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Accepted batches of one signal and when all of each was in S3; the arrays are aligned.

    Attributes:
        user, n, done_ns: the batch and its acknowledgement.
        stored_ns: when the last part of it was in S3; 0: not seen there.
        lost_ns: when something of it was lost, so that it cannot reach S3 any more; 0: nothing was.
        exact: ``stored_ns`` is the moment itself; else it was there by then, perhaps earlier.
        maybe: not proven, but an object may hold it: it was pushed while the object was being made.
        listed_ns: the last moment that the bucket is known to have been listed; 0: never.
        objects: objects of the component.
        unreadable: objects whose content could not be told.
        unreadable_why: of one of them.
        size_bytes: of all these objects.
        strangers: Loki: streams with chunks of the run's time of which nobody knows whether they are the run's under
            other labels; 0 if nobody had to count them.
        split: Loki split streams of the run into several.
        first_look_ns: the first moment that the bucket is known to have been looked at; 0: never.
        searched_ns: the last moment that whatever lacked is known to have been looked for everywhere: for Loki, in the
            parts of split streams too; 0: never.
    """

    user: Times
    n: Times
    done_ns: Times
    stored_ns: Times
    lost_ns: Times
    exact: Flags
    maybe: Flags
    listed_ns: int
    objects: int
    unreadable: int
    unreadable_why: str
    size_bytes: int
    strangers: int
    split: bool
    first_look_ns: int
    searched_ns: int

    @property
    def accepted(self) -> int:
        """Accepted batches."""
        return len(self.done_ns)

    @property
    def pending(self) -> int:
        """Accepted batches that were not seen in S3 and may still come."""
        return int(((self.stored_ns == 0) & (self.lost_ns == 0)).sum())

    @property
    def watched(self) -> Flags:
        """Of the batches that are there: whether anybody can have seen them come.

        What was there long before the first look may be a copy: S3 dates objects anew when a bucket is copied,
        replicated or moved below a prefix.
        """
        there = self.stored_ns > 0
        watched: Flags = self.first_look_ns - self.stored_ns[there] <= _SEEN_LATE_NS
        return watched

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
    objects = history.objects[history.objects["component"] == kind_of(signal).store.value]
    # What could not be read, or was not counted, at first may have been later.
    items = objects.groupby(["bucket", "key"])["items"].transform("max") if len(objects) else objects["items"]
    objects = objects.assign(items=items)
    objects = objects.assign(stored_ns=_stored_ns(objects), unreadable=objects["detail"] != "")
    objects = objects.sort_values(["unreadable", "stored_ns"], kind="stable").drop_duplicates(["bucket", "key"])
    user, n, due_ns, done_ns = (mine[name].to_numpy(np.int64) for name in ("user", "n", "due_ns", "done_ns"))
    # The attempt that was accepted brought the data, unless an earlier one may have done so too.
    pushed_ns = np.where(mine["ambiguous_attempts"] > 0, mine["sent_ns"], mine["last_sent_ns"]).astype(np.int64)
    case = Case(history, plan, plan.profile)
    there = int(mine["items"].sum()) - int(case.sightings(signal, "verify")["missing"].sum())
    extra = _extra_items(receipts[receipts["signal"] == signal.value])
    batches = _Batches(user, n, due_ns, (pushed_ns - OLDER_NS) // NS * NS, done_ns, there, extra)
    places = _Places.nowhere(len(mine))
    if len(objects) and len(mine):
        places = _MATCHES[kind_of(signal).bucket.holds](plan, batches, objects)
    return Coverage(
        user=batches.user,
        n=batches.n,
        done_ns=batches.done_ns,
        stored_ns=np.where(places.stored_ns >= NEVER, 0, places.stored_ns),
        lost_ns=_lost_ns(case, signal, batches.user, batches.n),
        exact=places.exact,
        maybe=places.maybe & (places.stored_ns >= NEVER),
        listed_ns=listed_ns_of(history, kind_of(signal).store),
        objects=len(objects),
        unreadable=int(objects["unreadable"].sum()),
        unreadable_why=str(objects["detail"].max()) if len(objects) else "",
        size_bytes=int(objects["size_bytes"].sum()),
        strangers=strangers_of(history, kind_of(signal).store),
        split=bool((objects["part"] > 0).any()),
        first_look_ns=first_look_ns(history, kind_of(signal).store, objects),
        searched_ns=_searched_ns(history, signal),
    )


def _searched_ns(history: History, signal: Signal) -> int:
    if kind_of(signal).bucket.in_parts:
        return parts_looked_ns(history, kind_of(signal).store)
    return listed_ns_of(history, kind_of(signal).store)


def _lost_ns(case: Case, signal: Signal, user: Times, n: Times) -> Times:
    """When each batch was lost: with the restart that took it, else as soon as it was acknowledged."""
    if not (case.sightings(signal, "verify")["missing"] > 0).any():
        return np.zeros(len(user), np.int64)
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


@dataclass(frozen=True, slots=True)
class _Batches:
    """Accepted batches; the arrays are aligned. An object from before ``since_ns`` cannot hold the batch.

    ``there`` is how many items all of them have, without those that are missing.
    ``extra``: by user, items that may have been stored beyond those that were accepted once.
    """

    user: Times
    n: Times
    due_ns: Times
    since_ns: Times
    done_ns: Times
    there: int
    extra: Mapping[int, int]

    def __len__(self) -> int:
        return len(self.user)

    def at(self, rows: NDArray[np.intp]) -> _Batches:
        """Some of them."""
        user, n, due_ns, since_ns, done_ns = (
            column[rows] for column in (self.user, self.n, self.due_ns, self.since_ns, self.done_ns)
        )
        return _Batches(user, n, due_ns, since_ns, done_ns, self.there, self.extra)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where batches, or parts of them, are: fields as in `Coverage`, with NEVER for what was not seen."""

    stored_ns: Times
    exact: Flags
    maybe: Flags

    @classmethod
    def nowhere(cls, count: int) -> _Places:
        """Nothing was seen."""
        return cls(np.full(count, NEVER, np.int64), np.zeros(count, np.bool_), np.zeros(count, np.bool_))

    def put(self, rows: NDArray[np.intp], places: _Places) -> None:
        """Set some of them."""
        self.stored_ns[rows], self.exact[rows], self.maybe[rows] = places.stored_ns, places.exact, places.maybe


def _all_of(stored_ns: NDArray[np.int64], exact: Flags, maybe: Flags) -> tuple[Times, Flags, Flags]:
    """From a row of parts to the batch: it is there when its last part is, and that may be known exactly."""
    last: Times = stored_ns.max(axis=1)
    missing = stored_ns >= NEVER
    known: Flags = np.logical_or.reduce((stored_ns == last[:, None]) & exact, axis=1) & (last < NEVER)
    possible: Flags = (last >= NEVER) & np.logical_and.reduce(maybe | ~missing, axis=1)
    return last, known, possible


# -- by time range -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ranges:
    """Objects with the ranges of their data, both ends inclusive, the earliest in S3 first.

    ``holds`` has a row an object and a column a user: all of the user's series are in it; ``part``: some of them are,
    as when each ingester has its share. None: the objects were chosen by stream. ``items`` is
    how many samples an object says that it has.
    """

    first_ms: Times
    last_ms: Times
    stored_ns: Times
    compacted: Flags
    cut_ns: Times
    items: Times
    holds: Flags | None
    part: Flags | None

    @classmethod
    def of(cls, objects: pd.DataFrame, users: int = 0, series: int = 0) -> _Ranges:
        """The objects of which the range is known; ``users`` and their ``series`` if it matters whose they hold."""
        known = objects[objects["through_ns"] > 0].sort_values("stored_ns", kind="stable")
        counts = np.zeros((len(known), users), np.int64)
        for row, ids in enumerate(known["ids"] if users else ()):
            held = np.frombuffer(ids[: len(ids) // 8 * 8], "<u4").reshape(-1, 2)
            held = held[held[:, 0] < users]
            counts[row, held[:, 0]] = held[:, 1]
        return cls(
            known["from_ns"].to_numpy(np.int64) // MS,
            known["through_ns"].to_numpy(np.int64) // MS,
            known["stored_ns"].to_numpy(np.int64),
            known["compacted"].to_numpy(np.bool_),
            known["cut_ns"].to_numpy(np.int64),
            known["items"].to_numpy(np.int64),
            counts >= series if users else None,
            counts > 0 if users else None,
        )

    def proof(
        self, one: NDArray[np.intp] | int, user: Times, since_ns: Times, done_ns: Times, surely: Flags
    ) -> tuple[Flags, Flags]:
        """Whether objects that cover a time must hold what was pushed then; and whether they may, but need not.

        What was acknowledged when the object was cut is in it, and what it itself shows (``surely``). What else came
        between the cut and the object's appearance in S3 is not in it if all clocks agree, but nobody compares the
        clock of the component.
        """
        cut_ns, stored_ns = self.cut_ns[one], self.stored_ns[one]
        young = stored_ns >= since_ns
        before = (cut_ns == 0) | (done_ns <= cut_ns) | (surely & (cut_ns != NOTHING_CERTAIN_NS))
        if self.holds is None or self.part is None:
            return young & before, young & ~before
        whole = self.holds[one, user] & before
        return young & whole, young & self.part[one, user] & ~whole


def _covered(ranges: _Ranges, batches: _Batches, offsets_ms: Times) -> _Places:
    """Where batches are whose items have the times ``due + offsets_ms``."""
    order = np.argsort(batches.due_ns, kind="stable")
    sorted_ = batches.at(order)
    due_ms = sorted_.due_ns // MS
    begins, ends = due_ms + offsets_ms[0], due_ms + offsets_ms[-1]
    places = _Places.nowhere(len(batches))
    across = np.zeros(len(batches), np.bool_)
    for one, (first, last) in enumerate(zip(ranges.first_ms.tolist(), ranges.last_ms.tolist(), strict=True)):
        low, high = np.searchsorted(begins, first), np.searchsorted(ends, last, "right")
        touched = slice(np.searchsorted(ends, first), np.searchsorted(begins, last, "right"))
        across[touched.start : min(low, touched.stop)] = True
        across[max(high, touched.start) : touched.stop] = True
        rows = np.arange(low, max(low, high))
        rows = rows[places.stored_ns[rows] >= NEVER]
        if not len(rows):
            continue
        # Something made it reach so far, and no two users write at the same time.
        surely = (begins[rows] == first) | (ends[rows] == last)
        must, may = ranges.proof(one, sorted_.user[rows], sorted_.since_ns[rows], sorted_.done_ns[rows], surely)
        places.stored_ns[rows[must]] = ranges.stored_ns[one]
        # It may have been in an object that was there before.
        places.exact[rows[must]] = ~places.maybe[rows[must]] & ~ranges.compacted[one]
        places.maybe[rows] |= may
    for row in np.flatnonzero(across):  # few batches lie across the edge of an object
        places.put(np.array([row]), _part_by_part(ranges, sorted_, int(row), due_ms[row] + offsets_ms))
    found = _Places.nowhere(len(batches))
    found.put(order, places)
    return found


def _part_by_part(ranges: _Ranges, batches: _Batches, row: int, times_ms: Times) -> _Places:
    """Where one batch is of which several objects hold parts."""
    near = np.flatnonzero((ranges.first_ms <= times_ms[-1]) & (ranges.last_ms >= times_ms[0]))
    covers = (ranges.first_ms[near] <= times_ms[:, None]) & (ranges.last_ms[near] >= times_ms[:, None])
    user, since_ns, done_ns = (np.full(len(near), a[row]) for a in (batches.user, batches.since_ns, batches.done_ns))
    at_end = np.isin(ranges.first_ms[near], times_ms) | np.isin(ranges.last_ms[near], times_ms)
    must, may = ranges.proof(near, user, since_ns, done_ns, at_end)
    proven, possible = covers & must, covers & may
    place = proven.argmax(axis=1)  # objects are in the order of their times, so the first is the earliest
    there = proven.any(axis=1)
    stored = np.where(there, ranges.stored_ns[near][place], NEVER)
    earlier = possible & (np.arange(len(near)) < place[:, None])
    exact = there & ~ranges.compacted[near][place] & ~earlier.any(axis=1)
    maybe: Flags = np.logical_or.reduce(possible, axis=1)
    return _Places(*_all_of(stored[None, :], exact[None, :], maybe[None, :]))


def _logs(plan: Plan, batches: _Batches, objects: pd.DataFrame) -> _Places:
    batch = plan.logs.batch(int(batches.user[0]), 0)
    offsets_ns = plan.logs.line_times(batch) - batch.due_ns
    # Lines lie a fixed distance after the due time, which is a whole millisecond, and chunks are named by milliseconds.
    offsets_ms = np.unique(offsets_ns // MS)
    places = _Places.nowhere(len(batches))
    streams = dict(iter(objects.groupby("stream")))
    for one, rows in _rows_by_user(batches.user):
        chunks = streams.get(plan.logs.fingerprint(one))
        if chunks is None:
            continue
        mine = batches.at(rows)
        found = _covered(_Ranges.of(chunks), mine, offsets_ms)
        if (chunks["part"] > 0).any():
            found = _in_parts(chunks, mine, offsets_ns, found, mine.extra.get(one, 0))
        places.put(rows, found)
    return places


def _in_parts(chunks: pd.DataFrame, batches: _Batches, offsets_ns: Times, spanned: _Places, extra: int) -> _Places:
    """Where batches of a stream are that Loki split, and whose chunks span as much as ``spanned`` says."""
    lines = len(batches) * len(offsets_ns) + extra
    split = split_batches(chunks, batches.due_ns + offsets_ns[0], batches.due_ns + offsets_ns[-1], lines)
    there = spanned.stored_ns < NEVER
    stored = np.where(there & (split.stored_ns > 0), split.stored_ns, NEVER)
    return _Places(stored, split.certain_ns == stored, there & (stored >= NEVER))


def _extra_items(receipts: pd.DataFrame) -> dict[int, int]:
    """By user, items of pushes without an answer, and of attempts without one before the last."""
    times = receipts["ambiguous_attempts"] + (receipts["outcome"] == Outcome.UNKNOWN.value)
    sums = (receipts["items"] * times).groupby(receipts["user"]).sum()
    return {int(user): int(count) for user, count in zip(sums.index.tolist(), sums.tolist(), strict=True) if count}


def _metrics(plan: Plan, batches: _Batches, objects: pd.DataFrame) -> _Places:
    batch = plan.metrics.batch(int(batches.user[0]), 0)
    offsets_ms = np.unique(np.asarray(plan.metrics.times_ms(batch), np.int64) - batch.due_ns // MS)
    ranges = _Ranges.of(objects, int(batches.user.max()) + 1, plan.metrics.load.series)
    places = _covered(ranges, batches, offsets_ms)
    waiting = np.flatnonzero(places.stored_ns >= NEVER)
    everything = int(ranges.items.sum()) == batches.there and not ranges.compacted.any()
    if everything and len(waiting) and places.maybe[waiting].all():
        # The blocks have just as many samples as were accepted: so what may be in one of them is.
        due_ms = batches.due_ns[waiting] // MS
        for row, first_ms, last_ms in zip(waiting, due_ms + offsets_ms[0], due_ms + offsets_ms[-1], strict=True):
            near = (ranges.first_ms <= last_ms) & (ranges.last_ms >= first_ms)
            places.stored_ns[row] = ranges.stored_ns[near].max()
    return places


def _rows_by_user(user: Times) -> list[tuple[int, NDArray[np.intp]]]:
    order = np.argsort(user, kind="stable")
    users, starts = np.unique(user[order], return_index=True)
    return [(int(one), rows) for one, rows in zip(users, np.split(order, starts[1:]), strict=True)]


# -- by trace ------------------------------------------------------------------------------------------------------


def _traces(plan: Plan, batches: _Batches, objects: pd.DataFrame) -> _Places:
    places = _Places.nowhere(len(batches))
    blocks = Blocks(plan, objects)
    for user, rows in _rows_by_user(batches.user) if len(blocks) else ():
        each = plan.traces.load.traces_per_batch
        found = find(blocks, user, batches.n[rows], batches.since_ns[rows], each)
        places.stored_ns[rows] = np.where(found.stored_ns < 0, NEVER, found.stored_ns)
        places.exact[rows] = found.exact
    return places


_MATCHES = {Holds.STREAM: _logs, Holds.SERIES: _metrics, Holds.IDS: _traces}
