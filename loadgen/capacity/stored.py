"""How many bytes in S3 became of the plain bytes that were accepted: a run's objects held against its receipts. Pure.

A block of Tempo or Mimir may hold other people's data too; of its bytes the run has as large a share as of its traces
or samples. What compaction put into a new block is in the older ones as well until those are deleted, and counts once,
in the new one. Copies that replicas wrote are real bytes until they are compacted away, so they count, and the note
says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.capacity.model import Stored
from loadgen.checks.s3_match import s3_coverage
from loadgen.checks.s3_traces import held_ids
from loadgen.history.values import History
from loadgen.kinds import kind_of
from loadgen.kinds.kind import Holds
from loadgen.kinds.traces.source import SPANS_PER_TRACE
from loadgen.model import MS, NOTHING_CERTAIN_NS, Outcome, Signal
from loadgen.plan import Plan

# A block of two hours has 120 samples of a series that is scraped every minute.
_FEW_SAMPLES = 100
# More items in S3 than this multiple of the accepted ones are copies, not retries.
_COPIES = 1.05

Counts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Share:
    """What of the run is in S3.

    Attributes:
        stored_bytes, compacted_bytes: of the objects, and of those that compaction made, the run's share.
        whole_bytes: of these objects, with what others have in them.
        covered_share: of what was accepted.
        copies: how often it is there on the mean.
        uncounted: objects that do not tell how much is in them, and count as the run's own.
        each: samples of a series in a block, on the mean; 0: not known.
    """

    stored_bytes: float = 0.0
    compacted_bytes: float = 0.0
    whole_bytes: float = 0.0
    covered_share: float = 0.0
    copies: float = 0.0
    uncounted: int = 0
    each: float = 0.0


def stored_of(history: History, plan: Plan, signal: Signal) -> Stored:
    """What became of the accepted data of one signal, as far as the run's watcher of S3 saw it.

    Where nothing was seen, ``stored_bytes`` and ``covered_share`` are 0, and the ratio is not known.
    """
    receipts = history.receipts
    mine = receipts[(receipts["signal"] == signal.value) & (receipts["outcome"] == Outcome.ACCEPTED.value)]
    mine = mine.drop_duplicates(["user", "n"])
    objects = history.objects[history.objects["component"] == kind_of(signal).store.value]
    unreadable = objects[objects["detail"] != ""]
    objects = objects[objects["detail"] == ""].sort_values("first_seen_ns", kind="stable")
    # What was not counted at first may have been later.
    items = objects.groupby(["bucket", "key"])["items"].transform("max") if len(objects) else objects["items"]
    objects = objects.assign(items=items).drop_duplicates(["bucket", "key"])
    modified_ns, first_seen_ns = (objects[name].to_numpy(np.int64) for name in ("modified_ns", "first_seen_ns"))
    objects = objects.assign(seen_ns=np.where(modified_ns > 0, modified_ns, first_seen_ns))
    share = _Share()
    if len(mine) and len(objects):
        share = _SHARES[kind_of(signal).bucket.holds](history, plan, mine, objects)
    unread = unreadable[~unreadable["key"].isin(objects["key"])]["key"].nunique()
    return Stored(
        signal=signal.value,
        plain_bytes=float(mine["plain_bytes"].sum()),
        items=int(mine["items"].sum()),
        stored_bytes=share.stored_bytes,
        covered_share=share.covered_share,
        compacted_share=share.compacted_bytes / share.stored_bytes if share.stored_bytes > 0 else 0.0,
        note="; ".join(_notes(signal, share, unread)),
    )


def _notes(signal: Signal, share: _Share, unread: int) -> list[str]:
    notes = [kind_of(signal).bucket.without] if kind_of(signal).bucket.without else []
    if not share.stored_bytes:
        notes = ["nothing of it was seen in S3"]
    if share.whole_bytes > share.stored_bytes * 1.001:
        what = kind_of(signal).bucket.shared_by
        part = 100 * share.stored_bytes / share.whole_bytes
        notes.append(f"the blocks hold other data too; by {what}, the run's share is {part:.3g} %")
    if share.copies > _COPIES:
        notes.append(f"on the mean it is there {share.copies:.3g} times, as replicas write it until it is compacted")
    if 0 < share.each < _FEW_SAMPLES:
        notes.append(
            f"blocks with {share.each:.3g} samples of a series are mostly index: whole blocks of two hours take less "
            "for each sample"
        )
    if share.uncounted:
        notes.append(f"{share.uncounted} objects do not tell how much is in them, and count as the run's own")
    if unread:
        notes.append(f"{unread} objects could not be read and are not in it")
    return notes


# -- logs ----------------------------------------------------------------------------------------------------------


def _of_logs(history: History, plan: Plan, mine: pd.DataFrame, chunks: pd.DataFrame) -> _Share:
    """A chunk is of one stream, so all of it is the run's."""
    size = float(chunks["size_bytes"].sum())
    # Where the lines were counted, because streams were split, they tell more than the ranges of the chunks.
    lines, accepted = int(chunks["items"].sum()), int(mine["items"].sum())
    if (chunks["items"] > 0).all() and (chunks["part"] > 0).any():
        return _Share(size, 0.0, size, min(1.0, lines / accepted), lines / accepted)
    coverage = s3_coverage(history, plan, plan.logs.signal)
    there = {
        (user, n)
        for user, n, seen in zip(
            coverage.user.tolist(), coverage.n.tolist(), (coverage.stored_ns > 0) | coverage.maybe, strict=True
        )
        if seen
    }
    keys = zip(mine["user"].tolist(), mine["n"].tolist(), strict=True)
    plain = mine["plain_bytes"].to_numpy(np.float64)
    seen_bytes = float(plain[[key in there for key in keys]].sum())
    return _Share(size, 0.0, size, seen_bytes / float(plain.sum()) if plain.sum() else 0.0)


# -- traces --------------------------------------------------------------------------------------------------------


def _of_traces(_history: History, plan: Plan, mine: pd.DataFrame, blocks: pd.DataFrame) -> _Share:
    """By ids. Of an id that is in compacted blocks, the newest of those has it."""
    blocks = blocks.sort_values(["compacted", "seen_ns"], ascending=False, kind="stable")
    compacted = distinct = np.zeros(0, "S16")
    own: list[int] = []
    columns = (blocks[name].tolist() for name in ("compacted", "ids", "traces"))
    for is_compacted, ids, packed in zip(*columns, strict=True):
        here = np.setdiff1d(held_ids(plan, ids, packed), compacted, assume_unique=True)
        own.append(len(here))
        distinct = np.union1d(distinct, here)
        if is_compacted:
            compacted = np.union1d(compacted, here)
    traces = int(mine["items"].sum()) / SPANS_PER_TRACE
    return _shared(blocks, np.array(own, np.float64), len(distinct) / traces, sum(own) / max(1, len(distinct)))


# -- metrics -------------------------------------------------------------------------------------------------------


def _of_metrics(_history: History, plan: Plan, mine: pd.DataFrame, blocks: pd.DataFrame) -> _Share:
    """By samples: those that were accepted and lie in the range of a block, of the series that its index lists."""
    blocks = blocks[~_superseded(blocks)]
    series = plan.metrics.load.series
    first = plan.metrics.batch(int(mine["user"].iloc[0]), 0)
    offsets_ms = np.asarray(plan.metrics.times_ms(first), np.int64) - first.due_ns // MS
    users, all_due_ms = mine["user"].to_numpy(np.int64), mine["due_ns"].to_numpy(np.int64) // MS
    due_ms = {user: np.sort(all_due_ms[users == user]) for user in np.unique(users).tolist()}
    expected, held_there = np.zeros(len(blocks), np.float64), 0
    columns = (blocks[name].tolist() for name in ("ids", "from_ns", "through_ns"))
    for row, (ids, from_ns, through_ns) in enumerate(zip(*columns, strict=True)):
        for user, held in _held(ids):
            due = due_ms.get(user)
            if due is not None:
                until = np.searchsorted(due, through_ns // MS - offsets_ms, "right")
                times = int((until - np.searchsorted(due, from_ns // MS - offsets_ms)).clip(0).sum())
                expected[row] += times * min(held, series)
                held_there += min(held, series)
    items = blocks["items"].to_numpy(np.float64)
    own = np.where(items > 0, np.minimum(items, expected), expected)
    there = float(own.sum()) / float(mine["items"].sum())
    shared = _shared(blocks, own, min(1.0, there), there)
    return replace(shared, each=float(own.sum()) / held_there if held_there else 0.0)


def _held(ids: bytes) -> list[tuple[int, int]]:
    """Users and how many of their series a block holds."""
    pairs = np.frombuffer(ids[: len(ids) // 8 * 8], "<u4").reshape(-1, 2)
    return [(int(user), int(count)) for user, count in pairs]


def _superseded(blocks: pd.DataFrame) -> NDArray[np.bool_]:
    """Blocks of which a compacted block has all: it is as wide at least, newer, and made of what was cut by then.

    Two compacted blocks of the same range are not of each other: each has a part of the series.
    """
    begin, end, seen, cut, size = (
        blocks[name].to_numpy(np.int64) for name in ("from_ns", "through_ns", "seen_ns", "cut_ns", "size_bytes")
    )
    compacted = blocks["compacted"].to_numpy(np.bool_)
    users = [{user for user, _ in _held(ids)} for ids in blocks["ids"].tolist()]
    gone = np.zeros(len(size), np.bool_)
    for new in np.flatnonzero(compacted):
        inside = (begin >= begin[new]) & (end <= end[new]) & (seen <= seen[new])
        inside &= ~compacted | (begin > begin[new]) | (end < end[new])
        told = (cut > NOTHING_CERTAIN_NS) & (cut[new] > NOTHING_CERTAIN_NS)
        inside &= ~told | (cut <= cut[new])
        for old in np.flatnonzero(inside):
            gone[old] |= old != new and not users[old].isdisjoint(users[new])
    return gone


def _shared(blocks: pd.DataFrame, own: Counts, covered: float, copies: float) -> _Share:
    """From how many items of each block are the run's to its share of their bytes."""
    items, size = blocks["items"].to_numpy(np.float64), blocks["size_bytes"].to_numpy(np.float64)
    part = np.where(items > 0, np.minimum(1.0, own / np.maximum(items, 1.0)), own > 0)
    there = own > 0
    return _Share(
        stored_bytes=float((size * part).sum()),
        compacted_bytes=float((size * part)[blocks["compacted"].to_numpy(np.bool_)].sum()),
        whole_bytes=float(size[there].sum()),
        covered_share=min(1.0, covered),
        copies=copies,
        uncounted=int((there & (items <= 0)).sum()),
    )


_SHARES = {Holds.STREAM: _of_logs, Holds.SERIES: _of_metrics, Holds.IDS: _of_traces}
