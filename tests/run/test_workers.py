"""Workers on other machines: where they find their master and their target."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import loadgen

from loadgen.config import ConfigError, parse_target
from loadgen.run.workers import (
    RemoteWorkers,
    Waiting,
    read_waiting,
    wait_for_master,
    worker_target,
    write_waiting,
)

SENT = {"name": "far", "grafana": {"url": "http://grafana.example.com", "user": "viewer"}}


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_worker_without_a_target_takes_the_masters_and_its_own_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADGEN_GRAFANA_PASSWORD", "hunter2")
    target = worker_target("", "/etc/not/here.toml", SENT)
    assert (target.name, target.grafana.user, target.grafana.secret_password()) == ("far", "viewer", "hunter2")


def test_a_target_of_the_workers_own_wins(tmp_path: Path) -> None:
    own, masters = tmp_path / "own.toml", tmp_path / "masters.toml"
    own.write_text('name = "own"\n')
    masters.write_text('name = "masters"\n')
    assert worker_target(str(own), str(masters), SENT).name == "own"
    assert worker_target("", str(masters), SENT).name == "masters"


def test_a_target_that_a_worker_cannot_use_is_told_in_words() -> None:
    with pytest.raises(ConfigError, match="the target of the master: nowhere: no such setting"):
        worker_target("", "", {"nowhere": {}})


def test_what_a_master_sends_of_its_target_holds_no_secret() -> None:
    target = parse_target({**SENT, "loki": {"bearer_token": "hunter2"}}, "test", env={})
    assert "hunter2" not in str(target.without_secrets())


def test_waiting_for_a_master_ends_when_somebody_listens(free_port: int) -> None:
    told: list[str] = []
    with socket.socket() as server:

        def sleep(_: float) -> None:
            server.bind(("127.0.0.1", free_port))
            server.listen()

        assert wait_for_master("127.0.0.1", free_port, 60, told.append, now_s=lambda: 0.0, sleep=sleep) == ""
    assert len(told) == 1
    assert f"127.0.0.1:{free_port}" in told[0]


def test_waiting_in_vain_gives_a_sentence_with_a_way_out(free_port: int) -> None:
    now = iter(range(100))
    problem = wait_for_master(
        "127.0.0.1", free_port, 3, lambda _: None, now_s=lambda: float(next(now)), sleep=lambda _: None
    )
    assert problem.startswith(f"no master at 127.0.0.1:{free_port} within 3 s")
    assert "loadgen run --expect-workers" in problem


def test_a_worker_without_a_master_ends_with_two(tmp_path: Path, free_port: int) -> None:
    done = loadgen(tmp_path, "worker", "--master-host", "127.0.0.1", "--master-port", str(free_port), "--wait", "1s")
    assert done.returncode == 2
    assert "no master at" in done.stderr


def test_the_number_of_connected_workers_reaches_the_process_beside_the_master(tmp_path: Path) -> None:
    assert read_waiting(tmp_path) == Waiting(0, 0)
    write_waiting(tmp_path, Waiting(1, 2))
    assert read_waiting(tmp_path) == Waiting(1, 2)


def test_the_master_listens_and_waits_as_told() -> None:
    options = RemoteWorkers(3, "127.0.0.1", 6000, 90.0).locust_options()
    text = " ".join(options)
    assert text.startswith("--master ")
    for part in ("--master-bind-host 127.0.0.1", "--master-bind-port 6000", "--expect-workers 3", "max-wait 90"):
        assert part in text


@pytest.mark.parametrize("option", [("--workers-wait", "soon"), ("--expect-workers", "-1")])
def test_bad_numbers_of_a_master_end_with_two(tmp_path: Path, option: tuple[str, str]) -> None:
    done = loadgen(tmp_path, "run", "--expect-workers", "1", *option)
    assert done.returncode == 2
    assert option[0] in done.stderr


def test_the_worker_command_is_one_of_locusts() -> None:
    known = subprocess.run(
        [sys.executable, "-m", "locust", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for option in ("--worker", "--master-host", "--master-port", "--expect-workers-max-wait", "--master-bind-port"):
        assert option in known
