"""What must be found (cases, from receipts) and what one look found of it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.history.sampling import draw_of
from loadgen.model import NS, Batch, Outcome, Signal
from loadgen.plan import Plan

_OUTCOMES = (Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.REJECTED)
MAX_DETAIL = 300
# Batches further apart than this are asked for separately.
_FAR_APART_NS = 10 * NS
_MAX_SPAN_NS = 3600 * NS


@dataclass(frozen=True, slots=True)
class SentBatch:
    """One batch that was sent, and what its push ended with.

    Attributes:
        batch: the batch as it was planned.
        outcome: accepted, unknown or rejected.
        acked_ns: when the push was answered or given up.
        compare: whether its content is to be compared, beyond counting.
    """

    batch: Batch
    outcome: Outcome
    acked_ns: int
    compare: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found of a case.

    Attributes:
        sent_ns, done_ns: when the look's first query was sent and its last answer was read.
        found, doubled, altered, reordered, compared: as in `Sighting`.
        detail: the first evidence of anything wrong.
        added: what came back and was not sent, as in `Sighting`.
        shown: another query of the same look showed all of it, so what is missing here was not absent.
        error: why the look says nothing; empty if it does.
    """

    case: SentBatch
    sent_ns: int
    done_ns: int
    found: int = 0
    doubled: int = 0
    altered: int = 0
    reordered: int = 0
    compared: int = 0
    detail: str = ""
    added: str = ""
    shown: bool = False
    error: str = ""

    @property
    def missing(self) -> int:
        """Accepted items that were not there."""
        return self.case.batch.items - self.found if self.case.outcome is Outcome.ACCEPTED else 0


@dataclass(frozen=True, slots=True)
class Looking:
    """How auditors wait.

    Attributes:
        clock: epoch nanoseconds.
        sleep: waits so many seconds, or less.
        stop: true when a person wants the end.
    """

    clock: Callable[[], int]
    sleep: Callable[[float], None]
    stop: Callable[[], bool]


class Auditor(Protocol):
    """Reads one signal back. Used by several threads at a time."""

    signal: Signal

    def windows(self) -> Iterator[tuple[SentBatch, ...]]:
        """All cases, in groups that are read together."""

    def regroup(self, cases: Sequence[SentBatch]) -> Iterator[tuple[SentBatch, ...]]:
        """Some cases, in groups that are read together."""

    def look(self, cases: Sequence[SentBatch], again: bool) -> list[Found]:
        """What is there of the cases of one group; one `Found` for each. ``again`` reads all of them in full."""


class Ledger:
    """The batches of one signal that were sent, in order of their due times, kept as columns."""

    def __init__(self, plan: Plan, signal: Signal, receipts: pd.DataFrame, sample: float, max_compared: int) -> None:
        """``receipts`` has the columns of `Receipt`; ``sample`` is the share of batches that are compared, or less."""
        self.plan = plan
        self.signal = signal
        sent = receipts[(receipts["signal"] == signal.value) & receipts["outcome"].isin(_OUTCOMES)]
        sent = sent.drop_duplicates(["user", "n"], keep="last").sort_values(["due_ns", "user"], kind="stable")
        self.users: NDArray[np.int64] = sent["user"].to_numpy(np.int64)
        self.ns: NDArray[np.int64] = sent["n"].to_numpy(np.int64)
        self.due_ns: NDArray[np.int64] = sent["due_ns"].to_numpy(np.int64)
        self.acked_ns: NDArray[np.int64] = sent["done_ns"].to_numpy(np.int64)
        names = [outcome.value for outcome in _OUTCOMES]
        self.outcomes: NDArray[np.int8] = np.array([names.index(name) for name in sent["outcome"]], dtype=np.int8)
        self.items_per_batch = self._batch(0, 0).items
        self._draw = draw_of(plan.key, signal, len(self.users) * self.items_per_batch, sample, max_compared)
        self.whole = self._draw.everything
        self._by_outcome: dict[Outcome, dict[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return len(self.users)

    def case(self, index: int) -> SentBatch:
        """The case at a position."""
        user, n = int(self.users[index]), int(self.ns[index])
        outcome = _OUTCOMES[self.outcomes[index]]
        return SentBatch(self._batch(user, n), outcome, int(self.acked_ns[index]), self._draw.has(user, n))

    def cases(self) -> Iterator[SentBatch]:
        """All cases in order of due time; made one at a time, so that memory stays flat."""
        return (self.case(index) for index in range(len(self)))

    def by_users(self, together: int, max_items: int) -> Iterator[tuple[SentBatch, ...]]:
        """All cases: some users at a time, each set in windows of time."""
        users = np.unique(self.users)
        for first in range(0, len(users), together):
            mine = np.flatnonzero(np.isin(self.users, users[first : first + together]))
            yield from grouped((self.case(int(index)) for index in mine), max_items)

    def sent_between(self, users: Iterable[int], first_due_ns: int, last_due_ns: int) -> int:
        """How many batches of some users were due in a range."""
        begin = np.searchsorted(self.due_ns, first_due_ns, side="left")
        end = np.searchsorted(self.due_ns, last_due_ns, side="right")
        return int(np.isin(self.users[begin:end], list(users)).sum())

    def sent(self, user: int, outcome: Outcome) -> NDArray[np.int64]:
        """The numbers of a user's batches with an outcome, ascending."""
        if outcome not in self._by_outcome:
            mine = self.outcomes == _OUTCOMES.index(outcome)
            users, ns = self.users[mine], self.ns[mine]
            order = np.lexsort((ns, users))
            names, begins = np.unique(users[order], return_index=True)
            parts = np.split(ns[order], begins[1:])
            self._by_outcome[outcome] = dict(zip(names.tolist(), parts, strict=False))
        return self._by_outcome[outcome].get(user, np.empty(0, dtype=np.int64))

    def _batch(self, user: int, n: int) -> Batch:
        return self.plan.source(self.signal).batch(user, n)


def grouped(cases: Iterable[SentBatch], max_items: int, max_users: int = 1 << 30) -> Iterator[tuple[SentBatch, ...]]:
    """Cases that come in order of due time, cut where they are far apart, span too long, or hold too much."""
    group: list[SentBatch] = []
    items = 0
    users: set[int] = set()
    for case in cases:
        if group and (
            items + case.batch.items > max_items
            or case.batch.due_ns - group[-1].batch.due_ns > _FAR_APART_NS
            or case.batch.due_ns - group[0].batch.due_ns > _MAX_SPAN_NS
            or (len(users) >= max_users and case.batch.user not in users)
        ):
            yield tuple(group)
            group, items, users = [], 0, set()
        group.append(case)
        items += case.batch.items
        users.add(case.batch.user)
    if group:
        yield tuple(group)


def runs_of(cases: Sequence[SentBatch]) -> Iterator[tuple[SentBatch, ...]]:
    """The cases of one user, cut into runs of neighbouring batches."""
    run: list[SentBatch] = []
    for case in sorted(cases, key=lambda one: one.batch.n):
        if run and case.batch.n != run[-1].batch.n + 1:
            yield tuple(run)
            run = []
        run.append(case)
    if run:
        yield tuple(run)


def readings(ledger: Ledger, cases: Sequence[SentBatch]) -> Iterator[dict[int, list[SentBatch]]]:
    """What to read in one query each, by user: everything at once where most of it is wanted, else run by run."""
    users = by_user(cases)
    dues = [case.batch.due_ns for case in cases]
    if 2 * len(cases) >= ledger.sent_between(users, min(dues), max(dues)):
        yield users
        return
    for user, mine in users.items():
        for run in runs_of(mine):
            yield {user: list(run)}


def by_user(cases: Iterable[SentBatch]) -> dict[int, list[SentBatch]]:
    """Cases by their user."""
    users: dict[int, list[SentBatch]] = {}
    for case in cases:
        users.setdefault(case.batch.user, []).append(case)
    return users


def settled_by_count(case: SentBatch, sent_ns: int, done_ns: int) -> Found | None:
    """What is known of a case in a range whose count is right; None if it must be read all the same."""
    if case.compare or case.outcome is Outcome.UNKNOWN:
        return None
    return Found(case, sent_ns, done_ns, found=case.batch.items if case.outcome is Outcome.ACCEPTED else 0)


def unreadable(cases: Iterable[SentBatch], error: str, sent_ns: int, done_ns: int) -> list[Found]:
    """What a failed look says: nothing."""
    return [Found(case, sent_ns, done_ns, error=error[:MAX_DETAIL]) for case in cases]


def shortened(text: str) -> str:
    """Evidence of a storable length."""
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
