from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.config import Profile, Target
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.model import NS, STOOD_STILL, RunKey
from loadgen.run.standstill import StandstillWatch


def stood(path: Path, wakes_s: list[float]) -> list[float]:
    """What is kept of a machine on which a wait of one second took as long as given, each time."""
    run = RunDir.create(path / "run", new_info(RunKey("r", 1, 0, ""), Profile(), Target(), "lab"))
    now, left = [1_000 * NS], list(wakes_s)

    def wait(_seconds: float) -> bool:
        now[0] += round(left.pop(0) * NS)
        return not left

    watch = StandstillWatch(run, lambda: now[0], wait)
    watch.start()
    watch.stop()
    rows = run.rows("stack")[0]
    assert set(rows["metric"]) <= {STOOD_STILL}
    return [float(value) for value in rows["value"]]


@pytest.mark.parametrize(
    ("wakes_s", "kept"),
    [
        ([1.0, 1.0], []),
        ([1.0, 3.5, 1.0], []),
        ([1.0, 780.0, 1.0], [779.0]),
        ([1.0, 61.0, 1.0, 31.0], [60.0, 30.0]),
        ([0.4], []),
    ],
    ids=["awake", "busy", "asleep", "twice", "ended early"],
)
def test_each_time_that_the_machine_stood_still_is_kept(
    tmp_path: Path, wakes_s: list[float], kept: list[float]
) -> None:
    assert stood(tmp_path, wakes_s) == kept
