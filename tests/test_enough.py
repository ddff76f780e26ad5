"""Profiles that come with the project plan as many queries and probes as their verdicts need, and some to spare."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.detection_row import BASE, Row, Way, merged
from benchmarks.detection_rows import KILLS, ROWS
from loadgen.capacity.levels import profile_at, range_of
from loadgen.capacity.model import SearchKind
from loadgen.checks.few import enough
from loadgen.config import Profile, load_profile, parse_profile
from loadgen.kinds import kind_of
from loadgen.model import NS, Component, RunKey, Signal
from loadgen.plan import Plan, plan_of
from loadgen.queries.dashboard import panels
from loadgen.targets.readers import Readers

ROOT = Path(__file__).parents[1]
LONG = ("homelab", "nfr", "soak", "load", "drill")
PROFILES = [
    *(path for path in sorted((ROOT / "scenarios").glob("*.toml")) if path.stem != "capacity"),
    *(ROOT / "kubernetes/apps/monitoring/loadgen/app/config" / f"{name}.toml" for name in ("load", "drill")),
    ROOT / "tests/e2e/short.toml",
]
MARGIN = 1.2
# Until a restarted component is judged again: it starts, replays, and gets a few seconds of grace.
RESTART_S = {True: 120.0, False: 9.0}
# Until a batch is visible: what was acknowledged later than so long before the end may never be seen.
VISIBLE_S = {True: 35.0, False: 2.5}
MOST_WAITING = 64


def planned(profile: Profile) -> Plan:
    return plan_of(RunKey("enough", 1, NS), profile)


def outages(profile: Profile, component: Component, is_long: bool) -> list[tuple[float, float]]:
    mine = [fault for fault in profile.faults if fault.component == component.value]
    return [(fault.at, fault.at + fault.down + RESTART_S[is_long]) for fault in mine]


def is_calm(from_s: float, until_s: float, spans: list[tuple[float, float]]) -> bool:
    return not any(from_s <= end and until_s >= begin for begin, end in spans)


def queries(profile: Profile, is_long: bool = False) -> Counter[Component]:
    """How many panels of each component are asked outside of its restarts."""
    readers = cast(Readers, SimpleNamespace(grafana=object()))
    choice = [panel.component for panel in panels(planned(profile), readers, 10**18, b"a trace")]
    spans = {one: outages(profile, one, is_long) for one in set(choice)}
    counts: Counter[Component] = Counter()
    for viewer in range(profile.dashboards.users):
        for number in itertools.count():
            due_s = number * profile.dashboards.refresh
            if due_s >= profile.run.duration - 1:
                break
            component = choice[(viewer + 1 + number) % len(choice)]
            counts[component] += is_calm(due_s, due_s + 0.1, spans[component])
    return counts


def probes(profile: Profile, signal: Signal, is_long: bool = False) -> int:
    """How many batches of a signal are probed outside of restarts, and early enough to be seen."""
    plan, spans = planned(profile), outages(profile, kind_of(signal).store, is_long)
    visible_s = VISIBLE_S[is_long] if signal is Signal.TRACES else 1.0
    interval_s = plan.pace(signal, 0).interval_ns / NS
    every = max(1, round(profile.freshness.every / interval_s))
    count = 0
    for user in range(profile.users(signal)):
        phase_s = (plan.pace(signal, user).due(0) - NS) / NS
        for number in itertools.count():
            due_s = phase_s + number * every * interval_s
            if due_s + visible_s >= profile.run.duration:
                break
            count += is_calm(due_s, due_s + visible_s, spans)
    return count


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_built_in_profile_plans_enough_queries_and_probes_to_judge_by(path: Path) -> None:
    profile, is_long = load_profile(path, env={}), path.stem in LONG
    needed = MARGIN * enough(0, 0.01 if is_long else 0.05)
    asked = queries(profile, is_long)
    assert set(asked) == {kind_of(signal).store for signal in Signal}
    assert min(asked.values()) >= needed, asked
    seen = {signal: probes(profile, signal, is_long) for signal in Signal}
    assert min(seen.values()) >= needed, seen


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_no_more_probes_wait_at_a_time_than_there_is_room_for(path: Path) -> None:
    profile = load_profile(path, env={})
    visible_s = VISIBLE_S[path.stem in LONG]
    waiting = profile.traces.users * visible_s / profile.freshness.every
    assert waiting <= MOST_WAITING


@pytest.mark.parametrize("path", [one for one in PROFILES if one.stem in LONG], ids=lambda path: path.stem)
def test_an_own_query_of_a_long_profile_can_be_told_by_itself(path: Path) -> None:
    profile = load_profile(path, env={})
    for query in profile.queries:
        assert profile.run.duration / query.every >= MARGIN * enough(), query.title


@pytest.mark.parametrize("kind", SearchKind)
def test_the_first_step_of_a_search_asks_enough_to_judge_by(kind: SearchKind) -> None:
    profile = load_profile(ROOT / "scenarios/capacity.toml", env={})
    asked = queries(profile_at(profile, kind, range_of(profile, kind).start))
    assert min(asked.values()) >= MARGIN * enough(), asked


def matrix() -> Iterator[Row]:
    yield Row("clean", "", ())
    yield Row("kills", "", (), profile=KILLS)
    yield from (row for row in ROWS if not row.name.endswith("/few"))


@pytest.mark.parametrize("row", list(matrix()), ids=lambda row: row.name)
def test_every_run_of_the_detection_matrix_plans_enough_to_judge_by(row: Row) -> None:
    profile = parse_profile(merged(BASE, row.profile), row.name)
    if row.way is Way.POWERLESS:
        profile = profile.model_copy(update={"faults": ()})
    # Of a component whose outage has no end nothing is judged.
    out = [fault.component for fault in profile.faults] if row.way is Way.KILLED else []
    asked = queries(profile)
    for signal in Signal:
        if kind_of(signal).store.value not in out:
            assert asked[kind_of(signal).store] >= MARGIN * enough(), asked
            assert probes(profile, signal) >= MARGIN * enough(), signal
