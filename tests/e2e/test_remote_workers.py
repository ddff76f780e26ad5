"""A master and workers that share nothing but a connection."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from workplace import Workplace

from loadgen.history.directory import RunDir

pytestmark = pytest.mark.e2e
SHORT = str(Path(__file__).parent / "short.toml")


@pytest.fixture
def port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def elsewhere(lab: Workplace, name: str) -> Workplace:
    """The same machine seen from another folder, as another pod would have it."""
    path = lab.path / name
    path.mkdir()
    return Workplace(path, lab.env)


def test_workers_elsewhere_make_the_load_of_a_run_and_end_with_it(lab: Workplace, port: str) -> None:
    master = lab.start(
        *("loadgen", "run", "--profile", SHORT, "--out", "far"),
        *("--expect-workers", "2", "--bind-host", "127.0.0.1", "--bind-port", port),
    )
    join = ("loadgen", "worker", "--master-host", "127.0.0.1", "--master-port", port)
    # A profile that is not there shows that a worker is told everything by its master.
    pods = [Workplace(elsewhere(lab, f"pod{n}").path, {**lab.env, "LOADGEN_PROFILE": "no-such"}) for n in range(2)]
    workers = [pod.start(*join) for pod in pods]
    output, _ = master.communicate(timeout=180)
    said = [worker.communicate(timeout=60)[0] for worker in workers]
    assert master.returncode == 0, output
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert "2 of 2" in output
    history = RunDir.open(lab.path / "far").history()
    assert set(history.stack[history.stack.component == "loadgen"].labels) >= {"worker 0", "worker 1"}
    assert not history.receipts.duplicated(["signal", "user", "n"]).any()
    assert all(not list(pod.path.iterdir()) for pod in pods), "a worker left files behind"


def test_a_master_that_waits_in_vain_ends_with_two_and_says_who_is_missing(lab: Workplace, port: str) -> None:
    master = lab.start(
        *("loadgen", "run", "--profile", SHORT, "--out", "alone", "--workers-wait", "12s"),
        *("--expect-workers", "2", "--bind-host", "127.0.0.1", "--bind-port", port),
    )
    worker = elsewhere(lab, "lonely").start("loadgen", "worker", "--master-host", "127.0.0.1", "--master-port", port)
    output, _ = master.communicate(timeout=120)
    assert master.returncode == 2, output
    assert "only 1 of 2 workers connected" in output.replace("\n", " ")
    worker.communicate(timeout=90)
    assert worker.returncode == 0


def test_a_worker_that_cannot_use_the_target_tells_its_master(lab: Workplace, port: str) -> None:
    master = lab.start(
        *("loadgen", "run", "--profile", SHORT, "--duration", "6s", "--out", "unlike"),
        *("--expect-workers", "1", "--bind-host", "127.0.0.1", "--bind-port", port),
    )
    pod = elsewhere(lab, "unlike-pod")
    (pod.path / "mine.toml").write_text("[loki]\nurl = 5\n")
    worker = pod.start(
        *("loadgen", "worker", "--master-host", "127.0.0.1", "--master-port", port, "--target", "mine.toml")
    )
    output, _ = master.communicate(timeout=180)
    worker.communicate(timeout=90)
    assert master.returncode == 2, output
    assert worker.returncode == 2
    notes = json.loads((lab.path / "unlike" / "run.json").read_text())["notes"]
    assert any("mine.toml" in note for note in notes), notes
