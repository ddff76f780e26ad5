"""What lies between two steps of a search."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from fake_stack import BEGAN_NS, small_plan
from rich.console import Console

from loadgen.capacity import session as module
from loadgen.capacity.model import SearchKind, Why
from loadgen.capacity.session import Session, new_capacity, reach_s
from loadgen.cli.display import TerminalDisplay
from loadgen.config import Profile, Target
from loadgen.model import MS
from loadgen.run.interrupt import Stop
from loadgen.run.orchestrate import RunError


@pytest.mark.parametrize("logs_by", ["rate", "streams"])
@pytest.mark.parametrize("kind", SearchKind)
def test_all_steps_go_on_with_the_series_of_the_search_and_only_those_of_streams_go_by_its_name(
    kind: SearchKind, logs_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def refuse(*arguments: Any, series_of: str, **_: Any) -> None:
        asked.append((arguments[4], series_of))
        raise RunError("the load could not begin")

    monkeypatch.setattr(module, "execute", refuse)
    profile = Profile.model_validate({"capacity": {"logs_by": logs_by}})
    session = Session(
        profile, Target(), "a target", tmp_path, "the-search", TerminalDisplay(Console(file=io.StringIO())), Stop()
    )
    ended = session.search(new_capacity(profile, Target(), "a target"), [kind])
    assert (ended.searches[0].why, ended.searches[0].detail) == (Why.UNTOLD, "the load could not begin")
    [(name, series_of)] = asked
    assert series_of == "the-search"
    assert (name == "the-search") is (kind is SearchKind.LOGS and logs_by == "streams")


@pytest.mark.parametrize("samples", [1, 4, 15])
def test_no_first_push_holds_a_sample_from_before_the_reach(samples: int) -> None:
    plan = small_plan(metrics={"users": 60, "push_every": 60, "samples_per_push": samples})
    source = plan.metrics
    oldest_ms = min(int(source.times_ms(source.batch(user, 0))[0]) for user in range(60))
    before_s = BEGAN_NS / MS / 1000 - oldest_ms / 1000
    # Users begin at different times, so the oldest sample lies within the reach by a share of the interval at most.
    assert before_s <= reach_s(plan) <= max(0, before_s) + 2


def test_without_metrics_nothing_reaches_back() -> None:
    assert reach_s(small_plan(metrics={"users": 0, "push_every": 60, "samples_per_push": 4})) == 0.0
