"""What a check is given, what it gives back, and the arithmetic that several checks share. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from loadgen.config import Profile, SignalObjectives
from loadgen.history.values import History
from loadgen.judging import Check, Finding
from loadgen.kinds import KINDS, kinds_in
from loadgen.model import MS, NS, Component, FaultWindow, Objective, Outcome, Result, Signal
from loadgen.plan import Plan
from loadgen.units import count_text, duration_text

Times = NDArray[np.int64]

FOREVER_NS = 2**62
# After the first query that works again, caches and connection pools still settle.
FAULT_GRACE_NS = 5 * NS
EXAMPLES = 5

ITEMS = {kind.signal: kind.items for kind in KINDS}
VERIFY_AGAIN = "read the run back with `loadgen verify RUN`; it judges again"
RUN_LONGER = "run longer (run.duration), so that there is enough to judge by"


@dataclass(frozen=True, slots=True)
class Case:
    """A run that is judged."""

    history: History
    plan: Plan
    profile: Profile

    def bounds(self, signal: Signal) -> SignalObjectives:
        """The objectives of a signal."""
        return self.profile.objectives.of(signal)

    def query_bound_s(self, component: Component) -> float:
        """How long queries of a component may take, by the kinds that it keeps; 0 if nothing is promised."""
        return max((self.bounds(kind.signal).query_p99 for kind in kinds_in(component)), default=0.0)

    def objective(self, setting: str, text: str, limit: float, unit: str) -> Objective:
        """The objective behind a setting such as ``logs.loss``, marked when it is not the built-in one."""
        known = self.history.info.overridden
        return Objective(text, limit, unit, setting in known or f"objectives.{setting}" in known)

    def users(self, signal: Signal) -> int:
        """Virtual users that ran, or were to run where that is not known."""
        return self.history.info.users.get(str(signal), self.profile.users(signal))

    def receipts(self, signal: Signal) -> pd.DataFrame:
        """The receipts of a signal."""
        frame = self.history.receipts
        return frame[frame["signal"] == signal.value]

    def accepted(self, signal: Signal) -> pd.DataFrame:
        """The receipts of a signal that were accepted."""
        frame = self.receipts(signal)
        return frame[frame["outcome"] == Outcome.ACCEPTED.value]

    def sightings(self, signal: Signal, phase: str) -> pd.DataFrame:
        """The sightings of a signal in a phase."""
        frame = self.history.sightings
        return frame[(frame["signal"] == signal.value) & (frame["phase"] == phase)]

    def verified(self, signal: Signal) -> pd.DataFrame:
        """Every push that was sent, beside what reading back found of it.

        Columns of the receipt, and of the sighting: ``seen`` (there is one), ``unreadable``, ``missing``, ``doubled``,
        ``altered``, ``reordered``, ``compared``, ``found`` and ``what`` (its detail). A batch that was read back
        several times counts as it was found last. Traces count by id; a search that does not list a trace yet is
        late, not a loss.
        """
        looks = self.sightings(signal, "verify")
        by_content = looks[looks["where"] != "search"]
        looks = by_content if len(by_content) else looks
        looked_ns = np.maximum(looks["first_seen_ns"].to_numpy(np.int64), looks["last_absent_ns"].to_numpy(np.int64))
        looks = looks.iloc[np.argsort(looked_ns, kind="stable")].drop_duplicates(["user", "n"], keep="last")
        columns = ["user", "n", "found", "missing", "doubled", "altered", "reordered", "compared", "unreadable"]
        looks = looks[[*columns, "detail"]].rename(columns={"detail": "what"}).assign(seen=True)
        sent = self.receipts(signal).drop(columns="detail").drop_duplicates(["user", "n"], keep="last")
        sent = sent[sent["outcome"] != Outcome.DROPPED.value]
        both = sent.merge(looks, on=["user", "n"], how="left")
        both["seen"] = both["seen"].notna()
        both["unreadable"] = both["unreadable"].eq(True)
        for column in columns[2:-1]:
            both[column] = both[column].fillna(0).astype(np.int64)
        both["what"] = both["what"].fillna("").astype(str)
        return both

    def faults(self, component: Component) -> tuple[FaultWindow, ...]:
        """The faults of a component, in order."""
        mine = [fault for fault in self.history.faults if fault.component == component.value]
        return tuple(sorted(mine, key=lambda fault: fault.began_ns))

    def outages(self, component: Component) -> tuple[tuple[int, int], ...]:
        """The times in which a component may fail because of a fault: from its injection until it works again."""
        mine = (component.value, Component.GRAFANA.value)
        return tuple(
            (fault.began_ns, _fault_end(fault) + FAULT_GRACE_NS)
            for fault in self.history.faults
            if fault.component in mine
        )

    def own_delays(self) -> tuple[tuple[int, int], ...]:
        """The times in which the generator itself came too late to its work, so that what it timed may be its own."""
        receipts = self.history.receipts
        could_ns = np.maximum(receipts["due_ns"].to_numpy(np.int64), receipts["free_ns"].to_numpy(np.int64))
        sent_ns = receipts["sent_ns"].to_numpy(np.int64)
        late = sent_ns - could_ns > round(self.profile.objectives.all.lag_p99 * NS)
        return tuple(merged(list(zip(could_ns[late].tolist(), sent_ns[late].tolist(), strict=True))))

    def at(self, time_ns: int) -> str:
        """A time as a reader finds it again in the charts and in the servers' logs."""
        return f"{(time_ns - self.history.info.key.began_ns) / NS:+.1f} s ({clock_text(time_ns)} UTC)"

    def ended_ns(self) -> int:
        """When the load ended, as well as it is known."""
        ended = self.history.info.load_ended_ns
        if ended:
            return ended
        return int(self.history.receipts["due_ns"].max()) if len(self.history.receipts) else 0

    def seen_until_ns(self) -> int:
        """The latest moment that anything is known of."""
        known = [self.ended_ns(), self.history.info.verified_ns]
        known += [int(frame[name].max()) for frame, name in self._clocks() if len(frame)]
        return max(known)

    def _clocks(self) -> tuple[tuple[pd.DataFrame, str], ...]:
        history = self.history
        return (
            (history.receipts, "done_ns"),
            (history.queries, "done_ns"),
            (history.objects, "first_seen_ns"),
            (history.stack, "at_ns"),
            (history.sightings, "first_seen_ns"),
            (history.sightings, "last_absent_ns"),
        )

    def bucket(self, component: Component) -> str:
        """The name of a component's bucket, as the target has it."""
        s3 = self.history.info.target.get("s3")
        named = s3.get(f"{component}_bucket") if isinstance(s3, dict) else ""
        return str(named or f"the bucket of {component}")

    @property
    def direct(self) -> bool:
        """The run read from the components themselves, not through Grafana."""
        return self.history.info.target.get("via") == "direct"


@dataclass(frozen=True)
class RunCheck(Check[Case]):
    """One promise about a run.

    Attributes:
        reads: tables of the run that it depends on; when one of them is damaged it cannot pass.
        proves_by_absence: it fails on what is not there, so that damage could also be the reason of a fail.
        disturbed_by: components whose restarts it has to allow for; when the end of one is not known it cannot pass.
    """

    reads: tuple[str, ...] = ()
    proves_by_absence: bool = False
    disturbed_by: tuple[Component, ...] = ()


def records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The rows of a frame, for the few that are shown to people."""
    for row in frame.to_dict("records"):
        yield {str(name): value for name, value in row.items()}


# -- helpers -------------------------------------------------------------------------------------------------------


def unknown(objective: Objective, why: str, remedy: str, samples: int = 0, evidence: Sequence[str] = ()) -> Finding:
    """It cannot be told."""
    return Finding(Result.UNKNOWN, objective, "", None, samples, (why, *evidence), remedy)


def skipped(objective: Objective, why: str, remedy: str) -> Finding:
    """It does not apply to this run."""
    return Finding(Result.SKIPPED, objective, "", None, 0, (why,), remedy)


def nobody_sends(objective: Objective, signal: Signal) -> Finding:
    """The profile has no users of a signal."""
    return skipped(
        objective, f"the profile has no {signal} users", f"set {signal}.users in the profile to judge this promise"
    )


def nearest_rank(values: NDArray[np.float64], share: float) -> float:
    """The smallest observed value that at least ``share`` of all observations do not exceed (nearest-rank).

    Exact on raw data: the answer is always one of the observations, nothing is interpolated or rounded.
    ``values`` must not be empty.
    """
    rank = max(1, int(np.ceil(share * len(values) - 1e-9)))
    return float(np.partition(values, rank - 1)[rank - 1])


def overlap_ns(from_ns: Times, until_ns: Times, spans: Sequence[tuple[int, int]]) -> Times:
    """How much of each interval lies inside any of ``spans``, in nanoseconds."""
    total = np.zeros(len(from_ns), np.int64)
    for begin, end in merged(spans):
        total += np.maximum(0, np.minimum(until_ns, end) - np.maximum(from_ns, begin))
    return total


def merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that touch joined."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def touches(from_ns: Times, until_ns: Times, spans: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which intervals share a moment with any of ``spans``."""
    hit = np.zeros(len(from_ns), bool)
    for begin, end in spans:
        hit |= (from_ns <= end) & (until_ns >= begin)
    return hit


def clock_text(time_ns: int) -> str:
    """Time of day in UTC with milliseconds."""
    moment = datetime.fromtimestamp(time_ns // NS, UTC)
    return f"{moment:%H:%M:%S}.{time_ns % NS // MS:03d}"


def near_fault(case: Case, component: Component, time_ns: int) -> str:
    """How a moment lies to the nearest fault of a component, in words; empty when none is near."""
    for fault in case.faults(component):
        if fault.began_ns <= time_ns <= _fault_end(fault) + FAULT_GRACE_NS:
            return f"during the {fault.fault} of {fault.component} at {case.at(fault.began_ns)}"
        before_ns = fault.began_ns - time_ns
        if 0 < before_ns <= 60 * NS:
            return f"{duration_text(before_ns / NS)} before the {fault.fault} of {fault.component}"
    return ""


def share_text(part: float, whole: float) -> str:
    """A part as a percentage with as many digits as it needs."""
    if not whole or not part:
        return "0 %"
    if part == whole:
        return "100 %"
    return f"{100 * part / whole:.3g} %"


def counted(number: float, noun: str) -> str:
    """``1 line``, ``1,234 lines``: ``noun`` is given in the plural."""
    irregular = {"batches": "batch", "further batches": "further batch", "pushes": "push"}
    irregular |= {"queries": "query", "own queries": "own query"}
    singular = irregular.get(noun, noun.removesuffix("s"))
    return f"{count_text(number)} {singular if number == 1 else noun}"


def _fault_end(fault: FaultWindow) -> int:
    """When the effects of a fault end: with the first query that works; never, if none did or nobody knows."""
    if fault.error or not fault.query_ok_ns:
        return FOREVER_NS
    return max(fault.query_ok_ns, fault.healed_ns)
