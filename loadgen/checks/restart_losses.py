"""Which of the missing data a restart is to blame for. Pure.

What is missing after a restart need not have been lost by it. Batches of one user that are missing one after the other
are one loss, and a restart is to blame for it

- when a probe had seen some of it complete before the restart, or
- when it was the newest that was accepted before the restart, or was accepted during it.

It is not to blame when a probe had looked for some of it before the restart in vain, when newer data of the same user
survived the restart (which spares nothing newer than what it takes), or when the data goes on missing after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.checks.case import FOREVER_NS, Case, Times
from loadgen.kinds import kind_of
from loadgen.model import NS, Signal


@dataclass(frozen=True, slots=True)
class Probes:
    """What the freshness probes of a signal say.

    Attributes:
        first_seen_ns: by user and number, when each batch that was looked for was first seen complete; 0: never.
        lag_ns: the longest that a batch took to be seen.
    """

    first_seen_ns: Mapping[tuple[int, int], int]
    lag_ns: int


def probes_of(case: Case, signal: Signal) -> Probes:
    """The probes that looked for batches by content; search may see a trace later."""
    looks = case.sightings(signal, "probe")
    looks = looks[(looks["where"] != "search") & ~looks["unreadable"] & (looks["acked_ns"] > 0) & (looks["looked"] > 0)]
    seen = looks["first_seen_ns"].to_numpy(np.int64)
    lags = (seen - looks["acked_ns"].to_numpy(np.int64))[seen > 0]
    keys = zip(looks["user"].tolist(), looks["n"].tolist(), strict=True)
    return Probes(dict(zip(keys, seen.tolist(), strict=True)), int(lags.max()) if len(lags) else 0)


def lost_by_restart(case: Case, signal: Signal, accepted: pd.DataFrame) -> Times:
    """For each accepted batch (rows of `Case.verified`) when the restart that lost it began; 0 if none did."""
    lost_ns = np.zeros(len(accepted), np.int64)
    faults = case.faults(kind_of(signal).store)
    bad = accepted["missing"].to_numpy(np.int64) > 0
    if not faults or not bad.any():
        return lost_ns
    ended_ns = [FOREVER_NS if f.error or not f.query_ok_ns else max(f.query_ok_ns, f.healed_ns) for f in faults]
    spans = list(zip((fault.began_ns for fault in faults), ended_ns, strict=True))
    known = bad | (accepted["seen"] & ~accepted["unreadable"]).to_numpy(bool)
    probes = probes_of(case, signal)
    users, ns, done_ns = (accepted[name].to_numpy(np.int64) for name in ("user", "n", "done_ns"))
    order = np.lexsort((ns, users))
    order = order[known[order] & np.isin(users[order], np.unique(users[bad]))]
    for mine in np.split(order, np.flatnonzero(np.diff(users[order])) + 1):
        stream = _SentStream(int(users[mine[0]]), ns[mine], done_ns[mine], bad[mine], probes, _margin_ns(case, probes))
        lost_ns[mine] = stream.blamed(spans)
    return lost_ns


def _margin_ns(case: Case, probes: Probes) -> int:
    """So long after its acknowledgement a batch that a probe had not seen was really not there."""
    return probes.lag_ns + 2 * round(case.profile.freshness.poll * NS)


@dataclass(frozen=True, slots=True)
class _SentStream:
    """The batches of one user of which it is known whether they are complete, in order."""

    user: int
    ns: Times
    done_ns: Times
    bad: NDArray[np.bool_]
    probes: Probes
    margin_ns: int

    def blamed(self, spans: list[tuple[int, int]]) -> Times:
        """For each batch the beginning of the restart that lost it; 0 if none did."""
        lost_ns = np.zeros(len(self.ns), np.int64)
        # The restart that may have lost a batch is the first that was not over when it was accepted.
        ends = np.array([end for _, end in spans], np.int64)
        suspect = np.searchsorted(ends, self.done_ns, side="right")
        edges = np.flatnonzero(np.diff(self.bad.astype(np.int8)) | (np.diff(suspect) != 0)) + 1
        for part in np.split(np.arange(len(self.ns)), edges):
            if len(part) and self.bad[part[0]] and suspect[part[0]] < len(spans):
                began_ns = spans[int(suspect[part[0]])][0]
                if self._lost_by(part, began_ns):
                    lost_ns[part] = began_ns
        return lost_ns

    def _lost_by(self, part: NDArray[np.intp], began_ns: int) -> bool:
        """Whether a restart lost these neighbouring batches, all of them accepted before it was over."""
        looked = False
        for place in part:
            seen_ns = self.probes.first_seen_ns.get((self.user, int(self.ns[place])))
            if seen_ns is None:
                continue
            if 0 < seen_ns < began_ns:
                return True
            looked |= int(self.done_ns[place]) + self.margin_ns < began_ns
        following = int(part[-1]) + 1
        more = following < len(self.ns)
        if looked or (more and bool(self.bad[following])):
            return False
        during = int(self.done_ns[part[-1]]) >= began_ns
        return during or not (more and int(self.done_ns[following]) < began_ns)
