"""The loop keeps its bounds, stops for what it must stop for, and leaves everything stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen.capacity.levels import range_of
from loadgen.capacity.model import FORMAT, Capacity, Ending, Refusal, SearchKind, Step, Why
from loadgen.capacity.recovery import Health, wait_until_well
from loadgen.capacity.runner import Doing, StepError, run_searches
from loadgen.capacity.store import FILE, create, load, save
from loadgen.config import Profile
from loadgen.history.directory import RunDirError

RAW: dict[str, Any] = {
    "run": {"duration": 10, "warmup": 2},
    "logs": {"users": 2, "rate": "1MB/s"},
    "traces": {"users": 2, "rate": "1MB/s"},
    "metrics": {"users": 2, "series": 100},
}
WELL = Health((), 0.0)


def profile(**capacity: Any) -> Profile:
    return Profile.model_validate({**RAW, "capacity": capacity})


def nothing(**changes: Any) -> Capacity:
    values: dict[str, Any] = {
        "name": "made", "began_ns": 1, "ended_ns": 0, "version": "0", "profile": {}, "target": {},
        "target_source": "lab", "engines": {"loki": "embedded"},
    }  # fmt: skip
    return Capacity(**{**values, **changes})


class World:
    """Makes steps that break above a limit, and remembers what was asked of it."""

    def __init__(self, limit: float = 5e6, took_s: float = 30.0, sent: float = 1e7) -> None:
        self.limit, self.took_s, self.sent = limit, took_s, sent
        self.levels: list[tuple[SearchKind, float]] = []
        self.kept: list[Capacity] = []
        self.well: Callable[[], Health] = lambda: WELL
        self.stops: Callable[[], bool] = lambda: False
        self.ending: Callable[[float], Ending] = lambda level: Ending.KEPT if level <= self.limit else Ending.BROKEN
        self.error = ""

    def step(self, number: int, kind: SearchKind, level: float, planned: Profile) -> Step:
        if self.error:
            raise StepError(self.error)
        self.levels.append((kind, level))
        refused = (Refusal("logs", "rejected", 429, 1, "no"),)
        return Step(
            number, kind, level, "x", 0, self.took_s, 8, self.ending(level), refusals=refused, plain_bytes=self.sent
        )

    def run(self, capacity: Capacity, chosen: Profile, *kinds: SearchKind) -> Capacity:
        doing = Doing(self.step, lambda: self.well(), self.kept.append, lambda: self.stops())
        return run_searches(capacity, chosen, [range_of(chosen, kind) for kind in kinds], doing)


def test_a_search_finds_its_limit_and_everything_is_stored_after_every_step() -> None:
    world = World()
    done = world.run(nothing(), profile(), SearchKind.LOGS)
    (search,) = done.searches
    assert search.why is Why.FOUND and search.kept is not None and search.broke is not None
    assert search.kept <= 5e6 < search.broke <= 1.1 * search.kept
    assert [step.number for step in done.steps] == list(range(1, len(done.steps) + 1))
    assert len(world.kept) > len(done.steps) and world.kept[-1] == done


def test_searches_follow_each_other_with_numbers_that_go_on() -> None:
    done = World().run(nothing(), profile(), SearchKind.LOGS, SearchKind.TRACES)
    assert [search.kind for search in done.searches] == [SearchKind.LOGS, SearchKind.TRACES]
    assert [step.number for step in done.steps] == list(range(1, len(done.steps) + 1))


@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_a_search_that_was_cut_goes_on_to_the_same_end(cut: int) -> None:
    whole = World().run(nothing(), profile(), SearchKind.LOGS)
    count = [0]

    def stops() -> bool:
        count[0] += 1
        return count[0] > cut

    first = World()
    first.stops = stops
    part = first.run(nothing(), profile(), SearchKind.LOGS)
    assert part.searches == whole.searches or any(one.why is Why.INTERRUPTED for one in part.searches)
    assert World().run(part, profile(), SearchKind.LOGS).searches == whole.searches


def test_the_stack_is_not_loaded_further_when_it_does_not_come_back() -> None:
    world = World()
    world.well = lambda: Health(("tempo does not answer",), 90.0) if len(world.levels) == 2 else WELL
    done = world.run(nothing(), profile(), SearchKind.LOGS, SearchKind.TRACES)
    assert len(world.levels) == 2
    logs, traces = done.searches
    assert logs.why is Why.UNRECOVERED and "tempo does not answer" in logs.detail and logs.kept == world.levels[-1][1]
    assert traces.why is Why.PENDING and "did not come back" in traces.detail


def test_no_step_begins_that_would_send_more_than_allowed_and_other_searches_go_on() -> None:
    world = World(sent=1e7)
    done = world.run(nothing(), profile(max_s3_bytes=45e6), SearchKind.LOGS, SearchKind.METRICS)
    logs, metrics = done.searches
    assert logs.why is Why.BYTES and "max_s3_bytes" in logs.detail
    assert sum(step.plain_bytes for step in done.of(SearchKind.LOGS)) <= 45e6
    assert done.of(SearchKind.METRICS) and metrics.why is not Why.PENDING


def test_no_step_begins_that_would_end_too_late_and_nothing_else_either() -> None:
    world = World(took_s=50)
    done = world.run(nothing(), profile(max_minutes=2), SearchKind.LOGS, SearchKind.TRACES)
    assert len(world.levels) == 2 and done.searches[0].why is Why.MINUTES
    assert done.searches[1].why is Why.PENDING and "max_minutes" in done.searches[1].detail
    more = World(took_s=50).run(done, profile(max_minutes=60), SearchKind.LOGS, SearchKind.TRACES)
    assert [search.why for search in more.searches] == [Why.FOUND, Why.FOUND]


def test_a_step_that_cannot_be_made_ends_all_with_its_reason() -> None:
    world = World()
    world.error = "the load did not begin"
    done = world.run(nothing(), profile(), SearchKind.LOGS, SearchKind.TRACES)
    assert done.searches[0].why is Why.UNTOLD and done.searches[0].detail == world.error
    assert done.searches[1].why is Why.PENDING


def test_an_interrupted_step_is_stored_and_made_again_later() -> None:
    world = World()
    world.ending = lambda level: Ending.INTERRUPTED if level > 3e6 else Ending.KEPT
    part = world.run(nothing(), profile(), SearchKind.LOGS)
    assert part.searches[0].why is Why.INTERRUPTED and part.steps[-1].ending is Ending.INTERRUPTED
    whole = World().run(part, profile(), SearchKind.LOGS)
    assert whole.searches[0].why is Why.FOUND
    assert [step.level for step in whole.steps].count(part.steps[-1].level) == 2


# -- the store -----------------------------------------------------------------------------------------------------


def test_a_search_is_read_as_it_was_stored(tmp_path: Path) -> None:
    done = World().run(nothing(profile=profile().model_dump(mode="json")), profile(), SearchKind.LOGS)
    save(tmp_path, done)
    assert load(tmp_path) == done


def test_a_folder_that_holds_a_search_or_a_run_is_not_taken(tmp_path: Path) -> None:
    create(tmp_path / "one", nothing())
    with pytest.raises(RunDirError, match="--resume"):
        create(tmp_path / "one", nothing())
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "run.json").write_text("{}")
    with pytest.raises(RunDirError, match="holds a run"):
        create(tmp_path / "two", nothing())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "damaged|format"),
        (b"{", "damaged"),
        (b"[]", "format None"),
        (b'{"format": 99}', "format 99"),
        (b'{"format": %d}' % FORMAT, "damaged"),
        (b"\xff\xfe", "damaged"),
    ],
)
def test_a_damaged_search_is_a_clear_error(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(RunDirError, match=text):
        load(tmp_path)
    with pytest.raises(RunDirError, match="no capacity search here"):
        load(tmp_path / "nowhere")


# -- recovery ------------------------------------------------------------------------------------------------------


def test_recovery_is_waited_for_no_longer_than_allowed() -> None:
    now = [0]
    slept: list[float] = []

    def sleep(s: float) -> None:
        slept.append(s)
        now[0] += round(s * 1e9)

    answers = [("loki is away",)] * 3 + [()]
    health = wait_until_well(lambda: answers.pop(0), 60, lambda: now[0], sleep, lambda: False)
    assert health.problems == () and len(slept) == 3 and health.waited_s == sum(slept)
    never = wait_until_well(lambda: ("loki is away",), 20, lambda: now[0], sleep, lambda: False)
    assert never.problems == ("loki is away",) and 20 <= never.waited_s < 25
    stopped = wait_until_well(lambda: ("loki is away",), 20, lambda: now[0], sleep, lambda: True)
    assert stopped.problems and stopped.waited_s == 0
