from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripted import Reply, scripted

from loadgen.lab.defect_orders import exchange
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import Lab
from loadgen.lab.processes.planning import new_state
from loadgen.lab.state import LabError, ProcessState, lab_directory

SLEEP = (sys.executable, "-c", "print('awake', flush=True); import time; time.sleep(60)")
STUBBORN = (
    sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('awake', flush=True); time.sleep(60)",
)  # fmt: skip


@pytest.fixture
def children(tmp_path: Path) -> Iterator[proc.Children]:
    made = proc.Children()
    yield made
    proc.stop(proc.find(tmp_path), made, 0)
    assert proc.find(tmp_path) == []


def start(children: proc.Children, directory: Path, argv: tuple[str, ...], name: str = "loki") -> int:
    log = directory / f"{name}.log"
    pid = children.start(directory, name, argv, log, {})
    deadline = time.monotonic() + 10
    while "awake" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return pid


def test_a_child_is_found_by_its_mark(children: proc.Children, tmp_path: Path) -> None:
    pid = start(children, tmp_path, SLEEP)
    assert [(found.pid, found.part) for found in proc.find(tmp_path)] == [(pid, "loki")]
    assert proc.is_part(pid, tmp_path, "loki")
    assert not proc.is_part(pid, tmp_path, "mimir")
    assert not proc.is_part(pid, tmp_path / "other", "loki")
    assert proc.find(tmp_path / "other") == []


def test_a_grandchild_is_found_too(children: proc.Children, tmp_path: Path) -> None:
    code = f"import subprocess; subprocess.Popen({list(SLEEP)!r}).wait()"
    start(children, tmp_path, (sys.executable, "-c", code))
    assert len(proc.find(tmp_path)) == 2


def test_stop_ends_what_ignores_sigterm(children: proc.Children, tmp_path: Path) -> None:
    start(children, tmp_path, STUBBORN)
    start(children, tmp_path, SLEEP, "mimir")
    proc.stop(proc.find(tmp_path), children, 0.3)
    assert proc.find(tmp_path) == []


def test_a_pid_of_another_time_is_not_signalled() -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL) as stranger:
        proc.send([proc.FoundProcess(stranger.pid, "loki", created=1.0)], signal.SIGKILL)
        assert stranger.poll() is None
        stranger.kill()


def test_a_program_that_is_not_there_is_an_error(children: proc.Children, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot start /no/such"):
        children.start(tmp_path, "loki", ("/no/such",), tmp_path / "log", {})


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**70])
def test_an_impossible_pid_is_nobody(pid: int, tmp_path: Path) -> None:
    assert not proc.is_part(pid, tmp_path, "loki")
    assert proc.memory_bytes(2**22 + 1) == 0


def test_a_free_port_is_free_and_none_of_the_taken() -> None:
    first = proc.free_port(())
    assert proc.is_free(first)
    assert not proc.accepts(first)
    assert first in proc.PORTS
    assert proc.free_port(set(proc.PORTS) - {first}) == first
    with pytest.raises(LabError, match="no free port"):
        proc.free_port(proc.PORTS)


def test_a_listening_port_is_not_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert not proc.is_free(taken.getsockname()[1])
        assert proc.accepts(taken.getsockname()[1])


def test_the_tail_of_a_log_starts_at_the_offset(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n" + "".join(f"line {i}\n" for i in range(50)))
    assert proc.tail(log, 4, 2) == "line 48\nline 49"
    assert "old" not in proc.tail(log, 4, 100)
    assert proc.tail(log, log.stat().st_size) == "(it wrote nothing)"
    assert "no log" in proc.tail(tmp_path / "absent")


@pytest.mark.parametrize(
    ("option", "environment", "expected"),
    [
        ("/a", {"LOADGEN_LAB_DIR": "/b"}, "/a"),
        (None, {"LOADGEN_LAB_DIR": "/b", "XDG_STATE_HOME": "/c"}, "/b"),
        (None, {"XDG_STATE_HOME": "/c"}, "/c/loadgen/lab"),
        (None, {"XDG_STATE_HOME": "relative"}, str(Path.home() / ".local/state/loadgen/lab")),
        (None, {}, str(Path.home() / ".local/state/loadgen/lab")),
    ],
)
def test_the_lab_directory_is_the_option_or_from_the_environment(
    option: str | None, environment: dict[str, str], expected: str
) -> None:
    assert lab_directory(option, environment) == Path(expected)


def test_a_server_that_is_killed_in_the_middle_of_an_answer_is_told_as_one_that_does_not_answer() -> None:
    with scripted(Reply(200, b'{"defects": []}', cut=3)) as server:
        with pytest.raises(LabError, match="loki at .* does not answer"):
            exchange("loki", server.url, None, "GET")
        assert proc.http_status(server.url) == 200


def test_what_is_no_http_answer_has_no_status() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        speaking = threading.Thread(target=_say_nonsense, args=(listening,))
        speaking.start()
        assert proc.http_status(f"http://127.0.0.1:{listening.getsockname()[1]}") == 0
        speaking.join()


def _say_nonsense(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")


def test_a_child_whose_environment_cannot_be_read_yet_has_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path)
    pid = start(lab._children, tmp_path, SLEEP)
    state = new_state(tmp_path).with_process(ProcessState("loki", pid, SLEEP, "", "http://127.0.0.1:1"))
    # As it is for a moment after a program was started.
    monkeypatch.setattr(proc, "is_part", lambda *_: False)
    lab._check_alive(state, "loki", 0)
    proc.stop(proc.find(tmp_path), lab._children, 0)
    (tmp_path / "logs").mkdir()
    with pytest.raises(LabError, match="loki ended at its start"):
        lab._check_alive(state, "loki", 0)
