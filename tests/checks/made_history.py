"""Histories of runs that never happened: a faultless one, and helpers to spoil it."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from loadgen.checks import CHECKS, judge
from loadgen.config import Profile, parse_profile
from loadgen.history.sampling import draw_of
from loadgen.history.values import History, RunInfo, frame_of
from loadgen.kinds import kind_of
from loadgen.model import (
    KEPT_LOOK,
    MS,
    NS,
    PARTS_LOOK,
    Batch,
    Component,
    FaultWindow,
    GoneObject,
    Outcome,
    QueryTiming,
    Receipt,
    Result,
    RunKey,
    Sighting,
    Signal,
    StackSample,
    StoredObject,
    Verdict,
)
from loadgen.plan import Plan, plan_of

BEGAN_NS = 1_790_000_000 * NS
COMPONENTS = (Component.LOKI, Component.TEMPO, Component.MIMIR)
FAULTS = [{"component": "loki", "at": 20}, {"component": "tempo", "at": 30}, {"component": "mimir", "at": 40}]
SMALL: dict[str, Any] = {
    "run": {"name": "test", "duration": 60, "warmup": 5},
    "logs": {"users": 2, "lines_per_s": 10, "push_every": 1},
    "metrics": {"users": 2, "series": 10, "push_every": 1},
    "traces": {"users": 2, "traces_per_s": 2, "push_every": 1, "sdk_every": 0},
    "dashboards": {"users": 1, "refresh": 0.2},
    "freshness": {"every": 1, "poll": 0.5},
    "faults": FAULTS,
}
PANELS = {
    Component.LOKI: (("logs", 300.0), ("range", 86_400.0)),
    Component.TEMPO: (("trace", 0.0), ("search", 3_600.0)),
    Component.MIMIR: (("instant", 0.0), ("range", 86_400.0), ("range", 604_800.0)),
}


@dataclass
class Made:
    """A run in the making; its lists may be changed before `history` is asked for."""

    info: RunInfo
    plan: Plan
    receipts: list[Receipt] = field(default_factory=list)
    queries: list[QueryTiming] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    objects: list[StoredObject] = field(default_factory=list)
    stack: list[StackSample] = field(default_factory=list)
    faults: list[FaultWindow] = field(default_factory=list)
    gone: list[GoneObject] = field(default_factory=list)
    damaged: tuple[str, ...] = ()

    def history(self) -> History:
        return History(
            info=self.info,
            receipts=frame_of(self.receipts, Receipt),
            queries=frame_of(self.queries, QueryTiming),
            sightings=frame_of(self.sightings, Sighting),
            objects=frame_of(self.objects, StoredObject),
            stack=frame_of(self.stack, StackSample),
            faults=tuple(self.faults),
            damaged=self.damaged,
            gone=frame_of(self.gone, GoneObject),
        )

    def verdicts(self) -> dict[str, Verdict]:
        return {verdict.check: verdict for verdict in judge(self.history(), self.plan)}

    def verdict(self, check: str) -> Verdict:
        (verdict,) = judge(self.history(), self.plan, [one for one in CHECKS if one.name == check])
        return verdict

    def result(self, check: str) -> Result:
        return self.verdict(check).result

    def change(self, table: str, where: Callable[[Any], bool], **changes: Any) -> int:
        """Replace fields of the rows that match; how many did. A callable computes the new value from the row."""
        rows: list[Any] = getattr(self, table)
        count = 0
        for position, row in enumerate(rows):
            if where(row):
                values = {name: value(row) if callable(value) else value for name, value in changes.items()}
                rows[position] = replace(row, **values)
                count += 1
        assert count, f"nothing in {table} to change"
        return count

    def drop(self, table: str, where: Callable[[Any], bool]) -> None:
        """Take the matching rows out."""
        rows: list[Any] = getattr(self, table)
        kept = [row for row in rows if not where(row)]
        assert len(kept) < len(rows), f"nothing in {table} to drop"
        rows[:] = kept


def profile_of(changes: Mapping[str, Any] | None = None) -> Profile:
    """The small profile with some sections changed."""
    raw = {name: dict(value) if isinstance(value, dict) else value for name, value in SMALL.items()}
    for name, value in (changes or {}).items():
        raw[name] = {**raw.get(name, {}), **value} if isinstance(value, dict) else value
    return parse_profile(raw, "test")


def empty_run(changes: Mapping[str, Any] | None = None, run: str = "made", **info: Any) -> Made:
    """A run of which nothing was recorded."""
    profile = profile_of(changes)
    key = RunKey(run, 7, BEGAN_NS)
    ended_ns = BEGAN_NS + round(profile.run.duration * NS)
    target = {"name": "lab", "via": "grafana", "s3": {"endpoint": "http://127.0.0.1:8333"}}
    facts: dict[str, Any] = {
        "key": key,
        "profile": profile.model_dump(mode="json"),
        "overridden": profile.overridden(),
        "target": target,
        "target_source": "lab",
        "engines": {str(component): "embedded" for component in COMPONENTS},
        "versions": {"loadgen": "0.1.0", "python": "3.11.7"},
        "load_ended_ns": ended_ns,
        "verified_ns": ended_ns + 10 * NS,
    }
    return Made(RunInfo(**{**facts, **info}), plan_of(key, profile))


def good_run(changes: Mapping[str, Any] | None = None, run: str = "made", **info: Any) -> Made:
    """A run in which every promise was kept."""
    made = empty_run(changes, run, **info)
    profile, chance = made.plan.profile, random.Random(3)
    ended_ns = BEGAN_NS + round(profile.run.duration * NS)
    for fault in profile.faults:
        began_ns = BEGAN_NS + round(fault.at * NS)
        healed_ns = began_ns + round(fault.down * NS)
        made.faults.append(FaultWindow(fault.kind, fault.component, began_ns, healed_ns, healed_ns + NS, 8, ""))
    for signal in Signal:
        users = profile.users(signal)
        accepted: list[tuple[Batch, Receipt]] = []
        for user in range(users):
            accepted += _pushes(made, signal, user, ended_ns, chance)
        made.receipts += [receipt for _, receipt in accepted]
        _look(made, signal, [receipt for _, receipt in accepted], ended_ns, chance)
        _store(made, signal, accepted)
    if profile.dashboards.users:
        _ask(made, ended_ns, chance)
    for component in COMPONENTS:
        label = f"component={component},bucket={component}-bucket"
        made.stack.append(StackSample("s3", "last_listing", label, ended_ns + 20 * NS, 12.0))
        if component is Component.LOKI:
            made.stack.append(StackSample("s3", PARTS_LOOK, label, ended_ns + 20 * NS, 12.0))
        made.stack.append(StackSample("s3", KEPT_LOOK, label, ended_ns + 21 * NS, 12.0))
    for second in range(0, round(profile.run.duration) + 1, 5):
        at_ns = BEGAN_NS + second * NS
        for process, cores, size in (
            ("loadgen", 0.2, 180e6),
            ("loki", 0.1, 90e6),
            ("tempo", 0.12, 80e6),
            ("mimir", 0.15, 120e6),
        ):
            label = "worker 0" if process == "loadgen" else ""
            made.stack.append(StackSample(process, "process_cpu_seconds_total", label, at_ns, 3 + cores * second))
            made.stack.append(StackSample(process, "process_resident_memory_bytes", label, at_ns, size + 1e5 * second))
    return made


def _outage(made: Made, component: Component, at_ns: int) -> FaultWindow | None:
    hit = [f for f in made.faults if f.component == component.value and f.began_ns <= at_ns < f.query_ok_ns]
    return hit[0] if hit else None


def _pushes(made: Made, signal: Signal, user: int, ended_ns: int, chance: random.Random) -> list[tuple[Batch, Receipt]]:
    source = made.plan.source(signal)
    pace = source.pace(user)
    size = source.body(source.batch(user, 0)).plain_bytes
    pushes, free_ns = [], BEGAN_NS
    for n in range(pace.last_at(ended_ns - 1) + 1):
        batch = source.batch(user, n)
        sent_ns = max(batch.due_ns, free_ns) + round(chance.lognormvariate(0, 0.5) * MS)
        took_ns = round(chance.lognormvariate(1.5, 0.6) * MS)
        last_ns, attempts = sent_ns, 1
        outage = _outage(made, kind_of(signal).store, sent_ns)
        if outage is not None:
            last_ns, attempts = max(sent_ns, outage.healed_ns + 200 * MS), 4
        done_ns = last_ns + took_ns
        pushes.append(
            (
                batch,
                Receipt(
                    signal=str(signal),
                    user=user,
                    n=n,
                    due_ns=batch.due_ns,
                    items=batch.items,
                    outcome=Outcome.ACCEPTED.value,
                    transport="grpc" if signal is Signal.TRACES and user % 2 else "http",
                    free_ns=free_ns,
                    sent_ns=sent_ns,
                    last_sent_ns=last_ns,
                    done_ns=done_ns,
                    attempts=attempts,
                    ambiguous_attempts=int(attempts > 1),
                    plain_bytes=size,
                    wire_bytes=size // 3,
                    status=1000 if signal is Signal.TRACES and user % 2 else 204,
                    detail="",
                ),
            )
        )
        free_ns = done_ns
    return pushes


def sighting(receipt: Receipt, phase: str, where: str, absent_ns: int, seen_ns: int) -> Sighting:
    """A batch that was found in full."""
    return Sighting(
        signal=receipt.signal,
        user=receipt.user,
        n=receipt.n,
        where=where,
        phase=phase,
        acked_ns=receipt.done_ns,
        last_absent_ns=absent_ns,
        first_seen_ns=seen_ns,
        looked=2,
        expected=receipt.items,
        found=receipt.items,
        missing=0,
        late=0,
        late_absent_ns=0,
        doubled=0,
        altered=0,
        reordered=0,
        compared=receipt.items if phase == "verify" and where != "search" else 0,
        unreadable=False,
        detail="",
    )


def _look(made: Made, signal: Signal, receipts: list[Receipt], ended_ns: int, chance: random.Random) -> None:
    places = ("grafana", "search") if signal is Signal.TRACES else ("grafana",)
    each = max(1, round(made.plan.profile.freshness.every * NS / made.plan.pace(signal, 0).interval_ns))
    verify = made.plan.profile.verify
    items = sum(receipt.items for receipt in receipts)
    draw = draw_of(made.plan.key, signal, items, verify.sample, verify.max_compared)
    for receipt in receipts:
        found = sighting(receipt, "verify", "grafana", 0, ended_ns + 3 * NS)
        made.sightings.append(found if draw.has(receipt.user, receipt.n) else replace(found, compared=0))
        if receipt.n % each == 0 and receipt.done_ns < ended_ns - 3 * NS:
            for where in places:
                delay_ns = round((chance.uniform(0.6, 2.0) if where == "search" else chance.uniform(0.02, 0.4)) * NS)
                seen_ns = receipt.done_ns + delay_ns
                made.sightings.append(
                    sighting(receipt, "probe", where, max(receipt.done_ns, seen_ns - NS // 2), seen_ns)
                )


def _store(made: Made, signal: Signal, accepted: list[tuple[Batch, Receipt]]) -> None:
    """Objects of ten seconds each, written six seconds after their last data."""
    span_ns = 10 * NS
    plan, groups = made.plan, dict[tuple[int, int], list[tuple[Batch, Receipt]]]()
    for batch, receipt in accepted:
        key = (batch.user if signal is Signal.LOGS else 0, batch.due_ns // span_ns)
        groups.setdefault(key, []).append((batch, receipt))
    for (user, piece), members in groups.items():
        last_done_ns = max(receipt.done_ns for _, receipt in members)
        modified_ns = (max(last_done_ns, (piece + 1) * span_ns) + 6 * NS) // NS * NS
        first_ns, last_ns = min(b.due_ns for b, _ in members), max(b.due_ns for b, _ in members)
        ids, stream = b"", ""
        if signal is Signal.LOGS:
            stream = plan.logs.fingerprint(user)
            last_ns = max(int(plan.logs.line_times(batch)[-1]) for batch, _ in members)
        elif signal is Signal.TRACES:
            ids = b"".join(plan.traces.trace_ids(batch).tobytes() for batch, _ in members)
        else:
            first_ns = min(int(plan.metrics.times_ms(batch)[0]) * MS for batch, _ in members)
            ids = held_series(plan, *sorted({batch.user for batch, _ in members}))
        made.objects.append(
            StoredObject(
                component=str(kind_of(signal).store),
                bucket=f"{kind_of(signal).store}-bucket",
                key=f"tenant/{stream or piece}/{user}-{piece}",
                size_bytes=40_000,
                modified_ns=modified_ns,
                first_seen_ns=modified_ns + NS,
                stream=stream,
                from_ns=first_ns // MS * MS,
                through_ns=last_ns // MS * MS,
                items=len(members),
                ids=ids,
                compacted=False,
                cut_ns=modified_ns - NS if signal is Signal.METRICS else 0,
                detail="",
            )
        )


def held_series(plan: Plan, *users: int, series: int | None = None) -> bytes:
    """What a block of Mimir says that it holds: some series of each of these users, or all."""
    count = plan.metrics.load.series if series is None else series
    return b"".join(struct.pack("<II", user, count) for user in users)


def _ask(made: Made, ended_ns: int, chance: random.Random) -> None:
    refresh_ns = round(made.plan.profile.dashboards.refresh * NS)
    panels = [(component, kind, span) for component in COMPONENTS for kind, span in PANELS[component]]
    for number, due_ns in enumerate(range(BEGAN_NS, ended_ns, refresh_ns)):
        component, kind, span = panels[number % len(panels)]
        outage = _outage(made, component, due_ns)
        took_ns = round(chance.lognormvariate(3.5, 0.7) * MS)
        made.queries.append(
            QueryTiming(
                component=str(component),
                kind=kind,
                via="grafana",
                source="viewer",
                range_s=span,
                due_ns=due_ns,
                sent_ns=due_ns + MS,
                done_ns=due_ns + took_ns,
                ok=outage is None,
                status=502 if outage else 200,
                items=0 if outage else 100,
                detail="bad gateway" if outage else "",
            )
        )
