"""The load phase: a child that makes the load, faults beside it, and the certain end of both."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from loadgen.clock import steady_clock
from loadgen.config import Profile, Target, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.model import Component, RunKey
from loadgen.run import orchestrate
from loadgen.run.interrupt import Interrupt

# Says that the load has begun, and ends when it is told to by a file.
CHILD = """
import json, pathlib, sys, time
run = pathlib.Path(sys.argv[1])
zero = {one: 0 for one in ("logs", "metrics", "traces")}
now = time.time_ns()
rows = dict(began_ns=now, at_ns=now, users=1, items=zero, plain_bytes=zero, batches=zero, failed=zero, ended=False)
(run / "progress.json").write_text(json.dumps(rows))
while not (run / "over").exists():
    time.sleep(0.01)
"""


class Stuck:
    """A disruptor that kills, and does not come back from starting again before it may."""

    def __init__(self, run: Path) -> None:
        self._over, self.may_start, self.started = run / "over", threading.Event(), threading.Event()

    def kill(self, component: Component) -> None:
        self._over.touch()

    def stop(self, component: Component, grace_s: float) -> bool:
        return True

    def start(self, component: Component) -> None:
        self.may_start.wait(60)
        self.started.set()


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def __getattr__(self, _: str) -> Any:
        return lambda *_: None


def profile_of(**recovery_s: float) -> Profile:
    objectives = {signal: {"recovery_max": limit} for signal, limit in recovery_s.items()}
    faults = [{"component": "mimir", "at": 0, "grace": 7}]
    return parse_profile({"objectives": objectives, "faults": faults, "run": {"warmup": 0, "duration": 5}}, "test")


@pytest.mark.parametrize(("component", "limit_s"), [("loki", 10), ("metrics", 20), ("tempo", 30)])
def test_a_component_may_take_the_time_of_its_own_promise_to_recover(component, limit_s):
    profile = profile_of(logs=10, metrics=20, traces=30)
    component = Component.MIMIR if component == "metrics" else Component(component)
    assert orchestrate._recovery_max(profile, component) == limit_s


def test_the_load_is_over_in_a_bounded_time_though_a_fault_is_not_and_nothing_writes_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(
        orchestrate, "_locust_command", lambda _p, run, _w: [sys.executable, "-c", CHILD, str(run.path)]
    )
    monkeypatch.setattr(orchestrate, "_faults_end_within_s", lambda _: 0.2)
    profile, target = profile_of(), Target.model_validate({"grafana": {"url": "http://127.0.0.1:1"}})
    run = RunDir.create(tmp_path / "run", new_info(RunKey("r", 1, 0), profile, target, "test"))
    stuck, display = Stuck(run.path), Notes()
    windows = orchestrate._load(
        profile, target, run, steady_clock(), display, Interrupt(), stuck, {}, None
    )  # fmt: skip
    assert [(one.component, one.unfinished) for one in windows] == [("mimir", True)]
    assert any("the kill of mimir was not over" in note for note in display.notes)
    assert any("the kill of mimir was not over" in note for note in run.info().notes)
    run.write_faults([])
    stuck.may_start.set()
    assert stuck.started.wait(60)
    for thread in threading.enumerate():
        if thread.name == "faults":
            thread.join(60)
    assert json.loads((run.path / "faults.json").read_text()) == []
