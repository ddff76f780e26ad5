"""The processes of a lab: started so that they can always be found again, and stopped for good.

Every child gets ``LOADGEN_LAB=<lab directory>`` and ``LOADGEN_LAB_PART=<name>`` in its environment. Whoever carries the
first belongs to the lab, whatever became of the process that started it; whoever does not is never touched, even if it
has a process id that once was the lab's.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadgen.config.surroundings import child_environment, current_folder
from loadgen.lab.state import LabError
from loadgen.targets.proxies import without_proxies

MARK = "LOADGEN_LAB"
PART = "LOADGEN_LAB_PART"

# Below the range from which kernels take the ports of outgoing connections: else, while a server is down, a client's
# own connection may take its port, or even connect to itself.
PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A living process of a lab."""

    pid: int
    part: str
    created: float


class Children:
    """The children that this process started itself: they must be reaped here."""

    def __init__(self) -> None:
        self._started: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, directory: Path, name: str, argv: Sequence[str], log: Path, extra: Mapping[str, str]) -> int:
        """Starts a process in a session of its own, output appended to ``log``; returns its pid.

        Raises:
            LabError: the program cannot be run.
        """
        # All that they talk to is on this machine.
        own = without_proxies(child_environment(os.environ, current_folder(), lab=True))
        environment = {**own, **extra, MARK: str(directory), PART: name}
        # The parts must find this very package, also from another working directory.
        root = str(Path(__file__).resolve().parents[3])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, own.get("PYTHONPATH", ""))))
        environment["PYTHONUNBUFFERED"] = "1"
        # Several threads and memory arenas for numeric work would only cost memory.
        environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1", MALLOC_ARENA_MAX="2")
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=directory,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise LabError(f"{name}: cannot start {argv[0]}: {error.strerror}; see {log}") from error
        self._started[child.pid] = child
        return child.pid

    def has(self, pid: int) -> bool:
        """Whether this is a child that had not ended when `reap` was last called."""
        return pid in self._started

    def reap(self) -> None:
        """Collects the children that ended, so that they do not stay as zombies."""
        for pid, child in list(self._started.items()):
            if child.poll() is not None:
                del self._started[pid]


def find(directory: Path) -> list[FoundProcess]:
    """All living processes of this lab."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get(MARK) == str(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(FoundProcess(process.pid, environment.get(PART, ""), process.create_time()))
    return found


def is_part(pid: int, directory: Path, name: str) -> bool:
    """Whether this pid lives and is this part of this lab, not a stranger that got an old number."""
    try:
        process = psutil.Process(pid)
        environment = process.environ()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError, ValueError, OverflowError):
        return False
    return alive and environment.get(MARK) == str(directory) and environment.get(PART) == name


def command_line(pid: int) -> list[str]:
    """Its arguments, empty if the process is gone."""
    try:
        return list(psutil.Process(pid).cmdline())
    except (psutil.Error, OSError, ValueError, OverflowError):
        return []


def memory_bytes(pid: int) -> int:
    """Resident memory, 0 if the process is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.Error, ValueError, OverflowError):
        return 0


def send(found: Iterable[FoundProcess], number: int) -> None:
    """Signals these processes; one that is gone, or whose number went to another, is left out."""
    for one in found:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            process = psutil.Process(one.pid)
            if process.create_time() == one.created:
                process.send_signal(number)


def stop(found: Collection[FoundProcess], children: Children, grace_s: float) -> None:
    """SIGTERM, after ``grace_s`` SIGKILL; returns when all are gone.

    Raises:
        LabError: one does not even go on SIGKILL.
    """
    send(found, signal.SIGTERM)
    if wait_gone(found, children, grace_s):
        return
    send(found, signal.SIGKILL)
    if not wait_gone(found, children, 10):
        left = ", ".join(f"{one.part} ({one.pid})" for one in found if _lives(one))
        raise LabError(f"these processes do not end on SIGKILL: {left}; they wait for the disk, try again later")


def wait_gone(found: Iterable[FoundProcess], children: Children, timeout_s: float) -> bool:
    """Waits until all have ended; False if the time is over first."""
    deadline = time.monotonic() + timeout_s
    while True:
        children.reap()
        if not any(_lives(one) for one in found):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _lives(one: FoundProcess) -> bool:
    try:
        process = psutil.Process(one.pid)
        return process.create_time() == one.created and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def free_port(taken: Collection[int]) -> int:
    """A port on 127.0.0.1 that nobody has now and that is not in ``taken``."""
    for port in random.sample(PORTS, len(PORTS)):
        if port not in taken and is_free(port):
            return port
    raise LabError(f"no free port from {PORTS.start} to {PORTS.stop - 1}; stop some servers")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
            sock.listen(1)
        except (OSError, OverflowError):
            return False
    return True


def becomes_free(port: int, within_s: float = 2.0) -> bool:
    """Whether a server could listen on this port now or soon: the sockets of a killed process take a moment to go."""
    give_up = time.monotonic() + within_s
    while not is_free(port):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def accepts(port: int, timeout_s: float = 0.5) -> bool:
    """Whether something takes connections there."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s):
            return True
    except OSError:
        return False


def http_status(url: str, timeout_s: float = 2.0) -> int:
    """Status of a GET, 0 without an answer; proxies of the environment are not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return 0


def tail(log: Path, offset: int = 0, lines: int = 12) -> str:
    """The last lines of a log, from ``offset`` on."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset, size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(it wrote nothing)"
