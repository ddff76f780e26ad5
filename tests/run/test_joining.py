"""Who joins a run as a worker, what strangers can do, and what becomes of what a worker sends."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from loadgen.config import ConfigError, parse_profile, parse_target
from loadgen.config.surroundings import child_environment
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_info
from loadgen.history.recorder import to_ipc
from loadgen.history.values import table_of
from loadgen.model import NS, Receipt, RunKey
from loadgen.run.joining import (
    FILE_VARIABLE,
    VARIABLE,
    found_token,
    given_token,
    handed_on,
    is_loopback,
    knock,
    new_token,
    offered,
    seal,
    token_of_master,
)
from loadgen.run.locate import locust_command
from loadgen.run.workers import RemoteWorkers, free_port, read_waiting, token_for

TOKEN = "a-token-for-the-tests-alone"
SMALL = {
    "run": {"name": "joining", "duration": 40, "warmup": 1},
    "logs": {"users": 1}, "metrics": {"users": 0}, "traces": {"users": 0}, "dashboards": {"users": 0},
}  # fmt: skip


# -- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert given_token({}) == ""
    assert given_token({VARIABLE: TOKEN}) == TOKEN
    assert given_token({FILE_VARIABLE: str(file), VARIABLE: "x"}) == TOKEN
    assert given_token({VARIABLE: "another-long-enough-token"}, str(file)) == TOKEN
    assert given_token({FILE_VARIABLE: "/nowhere", **handed_on(TOKEN)}) == TOKEN


@pytest.mark.parametrize("given", [{VARIABLE: "short"}, {FILE_VARIABLE: "/nowhere/token"}])
def test_a_token_that_will_not_do_is_told_without_it(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="workers' token") as told:
        given_token(given)
    assert "short" not in str(told.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_on_this_machine_alone_a_token_is_made_up(host: str) -> None:
    token, made_up = token_of_master({}, "", host)
    assert made_up
    assert len(token) >= 32
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "192.168.1.5", "loadgen.example.com", "::"])
def test_where_others_can_connect_a_token_must_be_given(host: str) -> None:
    with pytest.raises(ConfigError, match="must show a token"):
        token_of_master({}, "", host)
    assert token_of_master({VARIABLE: TOKEN}, "", host) == (TOKEN, False)


def test_no_text_of_a_master_holds_its_token() -> None:
    workers = RemoteWorkers(2, token=TOKEN)
    for text in (repr(workers), workers.invitation(), workers.too_few(1), *workers.locust_options()):
        assert TOKEN not in text


@pytest.mark.parametrize("runtime", [True, False])
def test_a_person_finds_the_token_of_the_own_run_while_it_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: bool
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path) if runtime else "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with offered(TOKEN, 5557):
        assert found_token("127.0.0.1", 5557) == TOKEN
        assert found_token("127.0.0.1", 5558) == ""
        assert found_token("192.168.1.5", 5557) == ""
        [file] = tmp_path.glob("*/worker-token-5557")
        assert file.stat().st_mode & 0o077 == file.parent.stat().st_mode & 0o077 == 0
    assert found_token("127.0.0.1", 5557) == ""


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"loadgen-{os.getuid()}"
    folder.mkdir()
    (folder / "worker-token-5557").write_text("planted-by-somebody-else")
    folder.chmod(0o777)
    assert found_token("127.0.0.1", 5557) == ""
    with pytest.raises(ConfigError, match="cannot be left there"), offered(TOKEN, 5557):
        pass


# -- a master ------------------------------------------------------------------------------------------------------


class Worker:
    """Speaks to a master as Locust's workers do, or as somebody who pretends to."""

    def __init__(self, context: zmq.Context[Any], port: int, name: str, token: str) -> None:
        self.name = name
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.IDENTITY, name.encode())
        seal(self.socket, token, as_master=False)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def say(self, what: str, data: object = None) -> None:
        with contextlib.suppress(zmq.Again):  # nobody takes anything of who is refused
            self.socket.send(msgpack.dumps((what, data, self.name)), zmq.NOBLOCK)

    def heard(self, what: str, within_s: float = 20.0) -> Any:
        """The next message of a kind; None when none comes."""
        give_up_s = time.monotonic() + within_s
        while (left_s := give_up_s - time.monotonic()) > 0:
            self.say("heartbeat", {"state": "ready", "current_cpu_usage": 1})
            if self.socket.poll(min(1000, round(left_s * 1000))):
                kind, data, _ = msgpack.loads(self.socket.recv(), strict_map_key=False)
                if kind == what:
                    return data
        return None


class Master:
    def __init__(self, run: Path, port: int, context: zmq.Context[Any]) -> None:
        self.run, self.port, self._context = run, port, context
        self.workers: list[Worker] = []

    def worker(self, name: str, token: str) -> Worker:
        self.workers.append(Worker(self._context, self.port, name, token))
        return self.workers[-1]

    @property
    def notes(self) -> str:
        return "\n".join(json.loads((self.run / "run.json").read_text())["notes"])

    def wait(self, condition: Callable[[], object], within_s: float = 20.0) -> None:
        give_up_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up_s, (self.run / "locust.log").read_text()
            time.sleep(0.02)


@contextmanager
def master(path: Path, token: str, workers: int = 1) -> Iterator[Master]:
    """A master as `loadgen run` starts it, against a target where nobody is."""
    profile, target = (
        parse_profile(SMALL, "test"),
        parse_target({"loki": {"url": "http://127.0.0.1:1"}}, "test", env={}),
    )
    (path / "target.toml").write_text("[loki]\nurl = 'http://127.0.0.1:1'\n")
    info = new_info(RunKey("joining", 1, 0), profile, target, str(path / "target.toml"))
    run = RunDir.create(path / "run", info)
    port = free_port()
    options = RemoteWorkers(workers, "127.0.0.1", port, 60.0).locust_options()
    command = [*locust_command(), "--headless", "-u", "1", "-r", "1", "-t", "60s", "--run-dir", str(run.path), *options]
    environment = {**child_environment(os.environ, path), **handed_on(token)}
    with (run.path / "locust.log").open("wb") as log, zmq.Context() as context:
        child = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=path)
        try:
            found = Master(run.path, port, context)
            found.wait(lambda: (run.path / "workers.json").exists())
            yield found
            for worker in found.workers:  # else it waits for them
                worker.say("loadgen_finished", {})
        finally:
            child.terminate()
            child.wait(30)
            context.destroy(linger=0)


def receipts(n: int) -> bytes:
    return to_ipc(
        table_of([Receipt("logs", 0, n, NS, 1, "accepted", "http", 1, 1, 1, 2, 1, 0, 9, 9, 204, "")], Receipt)
    )


def test_who_does_not_know_the_token_is_no_worker_and_is_told_of(tmp_path: Path) -> None:
    with master(tmp_path, TOKEN) as one:
        strangers = [one.worker("nobody", ""), one.worker("guesser", "some-other-long-token")]
        for stranger in strangers:
            stranger.say("client_ready", "2.47.0")
            stranger.say("loadgen_rows", {"table": "../../../x", "rows": receipts(1)})
        assert "wants a token" in knock("127.0.0.1", one.port, "")
        assert "has another token" in knock("127.0.0.1", one.port, "some-other-long-token")
        assert knock("127.0.0.1", one.port, TOKEN) == ""
        assert read_waiting(one.run).connected == 0
        known = one.worker("known", TOKEN)
        known.say("client_ready", "2.47.0")
        assert known.heard("ack") is not None
        spawn = known.heard("spawn")
        assert spawn is not None
        assert TOKEN not in str(spawn)
        assert all(stranger.heard("spawn", 0.2) is None for stranger in strangers)
        one.wait(lambda: "somebody without the token" in one.notes)
    told = [file.read_text(errors="replace") for file in one.run.rglob("*") if file.is_file()]
    assert not [text for text in told if TOKEN in text]


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_what_no_worker_sends_is_refused_and_told_and_the_run_goes_on(tmp_path: Path, token: str) -> None:
    with master(tmp_path, token) as one:
        worker = one.worker("known", token)
        worker.say("client_ready", "2.47.0")
        assert worker.heard("spawn") is not None
        worker.socket.send(b"\x93\x01\x02")
        worker.socket.send(b"no message at all")
        worker.socket.send(msgpack.dumps((1, {}, ["x"])))
        worker.say("loadgen_rows", {"table": "../../../x", "rows": receipts(1)})
        worker.say("loadgen_rows", {"table": "receipts", "rows": receipts(1)[:90]})
        worker.say("loadgen_rows", "nothing like it")
        worker.say("loadgen_hello", "nothing like it")
        worker.say("loadgen_clock", {"behind_ns": "soon"})
        worker.say("loadgen_rows", {"table": "receipts", "rows": receipts(2)})
        one.wait(lambda: list((one.run / "parts").glob("receipts-*")))
        one.wait(lambda: "refused" in one.notes)
        assert "workers have no table '../../../x'" in one.notes
        assert "receipts: damaged" in one.notes
    outside = [file for file in tmp_path.rglob("*") if "x-" in file.name and file.parent.name != "parts"]
    assert not outside
    [kept] = RunDir.open(one.run).history().receipts["n"].tolist()
    assert kept == 2


def test_a_worker_is_told_its_masters_time_and_a_clock_that_is_off_is_noted(tmp_path: Path) -> None:
    with master(tmp_path, TOKEN) as one:
        worker = one.worker("off", TOKEN)
        worker.say("client_ready", "2.47.0")
        assert worker.heard("ack") is not None
        worker.say("loadgen_hello", {"version": "0.0.0", "sent_ns": 5})
        told = worker.heard("loadgen_time")
        assert told["sent_ns"] == 5
        assert abs(told["now_ns"] - time.time_ns()) < 30 * NS
        worker.say("loadgen_clock", {"behind_ns": 90 * NS})
        assert worker.heard("spawn") is not None
        one.wait(lambda: "the clock of worker 0 is 90 s behind this machine's" in one.notes)
        assert "worker 0 is of another version of loadgen" in one.notes


def test_a_worker_that_falls_silent_is_lost_and_one_that_is_heard_again_is_back(tmp_path: Path) -> None:
    with master(tmp_path, TOKEN, workers=2) as one:
        steady, shaky = one.worker("steady", TOKEN), one.worker("shaky", TOKEN)
        for worker in (steady, shaky):
            worker.say("client_ready", "2.47.0")
            worker.heard("ack")
        assert steady.heard("spawn") is not None

        def gaps() -> list[dict[str, int]]:
            steady.say("heartbeat", {"state": "running", "current_cpu_usage": 1})
            return list(json.loads((one.run / "run.json").read_text())["gaps"])

        one.wait(gaps)
        [lost] = gaps()
        assert (lost["worker"], lost["back_ns"]) == (1, 0)

        def back() -> bool:
            shaky.say("heartbeat", {"state": "running", "current_cpu_usage": 1})
            return gaps()[0]["back_ns"] > lost["heard_ns"]

        one.wait(back)


def test_when_all_workers_are_lost_the_load_ends(tmp_path: Path) -> None:
    with master(tmp_path, TOKEN) as one:
        worker = one.worker("only", TOKEN)
        worker.say("client_ready", "2.47.0")
        assert worker.heard("spawn") is not None
        one.wait(lambda: "all workers were lost" in one.notes)
        one.wait(lambda: json.loads((one.run / "progress.json").read_text())["ended"])


def test_a_worker_takes_no_token_to_a_master_that_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as open_master:
        port = open_master.bind_to_random_port("tcp://127.0.0.1")
        assert token_for("127.0.0.1", port, "") == ""
        with offered(TOKEN, port):  # left behind by a run that was killed
            assert token_for("127.0.0.1", port, "") == ""


def test_a_worker_with_a_wrong_token_ends_before_it_begins(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("some-other-long-token")
    with zmq.Context() as context, context.socket(zmq.ROUTER) as sealed:
        seal(sealed, new_token(), as_master=True)
        port = sealed.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(ConfigError, match="has another token") as told:
            token_for("127.0.0.1", port, str(file))
        assert "some-other" not in str(told.value)


def test_a_port_where_something_else_listens_is_no_master(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert "no answer as a master gives it" in knock("127.0.0.1", mute.getsockname()[1], TOKEN, 0.3)
