"""Locust workers on other machines: how a master waits for them, and how a worker finds its master and its target.

Master and workers share nothing but a connection. The plan of the run comes from the master, and rows go back to it;
secrets never travel: a worker has its own.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from loadgen.config import ConfigError, Target, parse_target
from loadgen.config.surroundings import child_environment, current_folder
from loadgen.history.directory import write_atomically
from loadgen.run.defaults import LAB, MASTER_PORT
from loadgen.run.joining import found_token, given_token, handed_on, knock, offered
from loadgen.run.locate import locust_command, resolve_target
from loadgen.units import duration_text

_FILE = "workers.json"


@dataclass(frozen=True, slots=True)
class RemoteWorkers:
    """The workers that a master waits for before it begins.

    Attributes:
        expected: so many must be connected.
        bind_host: address that the master listens on; ``*`` for all.
        bind_port: its port.
        wait_s: how long it waits for them.
        token: what they must show.
        made_up: nobody gave the token, so workers on this machine find it by themselves.
    """

    expected: int
    bind_host: str = "127.0.0.1"
    bind_port: int = MASTER_PORT
    wait_s: float = 300.0
    token: str = field(default="", repr=False)
    made_up: bool = False

    def locust_options(self) -> list[str]:
        """What Locust's command line needs to be the master."""
        return [
            *("--master", "--master-bind-host", self.bind_host, "--master-bind-port", str(self.bind_port)),
            *("--expect-workers", str(self.expected), "--expect-workers-max-wait", str(max(1, round(self.wait_s)))),
        ]

    def invitation(self) -> str:
        """What a person does to start one of them."""
        host = "THIS_HOST" if self.bind_host in ("*", "0.0.0.0", "::") else self.bind_host
        where = " on this machine" if self.made_up else " and the same token"
        return f"start each with `loadgen worker --master-host {host} --master-port {self.bind_port}`{where}"

    def open(self) -> AbstractContextManager[None]:
        """Let the workers find what they need, while the run lasts."""
        return offered(self.token, self.bind_port) if self.made_up else nullcontext()

    def too_few(self, connected: int) -> str:
        """The sentence for a run that could not begin."""
        return (
            f"only {connected} of {self.expected} workers connected to {self.bind_host}:{self.bind_port} within "
            f"{duration_text(self.wait_s)}; {self.invitation()}, look at their output, or wait longer (--workers-wait)"
        )


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many workers a master has, of how many it wants."""

    connected: int
    expected: int


def free_port() -> int:
    """A port of this machine that nobody has at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def write_waiting(run: Path, waiting: Waiting) -> None:
    """Let the process beside the master know; RunDirError when nothing can be written."""
    write_atomically(run / _FILE, json.dumps(asdict(waiting)).encode())


def read_waiting(run: Path) -> Waiting:
    """What `write_waiting` stored last; nobody of nobody before that."""
    try:
        return Waiting(**json.loads((run / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return Waiting(0, 0)


def worker_target(own: str, source: str, sent: Mapping[str, Any]) -> Target:
    """The target as a worker sees it.

    Args:
        own: the target that the worker was started with; empty for none.
        source: where the master has its own from.
        sent: the master's target without secrets; these come from the worker's environment and files.

    Raises:
        ConfigError: the target cannot be used here.
    """
    if own:
        return resolve_target(own)[0]
    if source == LAB or Path(source).is_file():
        return resolve_target(source)[0]
    return parse_target(sent, "the target of the master")


def wait_for_master(
    host: str,
    port: int,
    wait_s: float,
    tell: Callable[[str], None],
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait until somebody listens there: its name may not exist yet when both start at once.

    Gives an empty text, or why it was in vain.
    """
    give_up_s = now_s() + wait_s
    told = ""
    while True:
        try:
            socket.create_connection((host, port), timeout=2.0).close()
            return ""
        except OSError as problem:
            why = problem.strerror or str(problem)
        if now_s() >= give_up_s:
            return (
                f"no master at {host}:{port} within {duration_text(wait_s)} ({why}); start it with "
                "`loadgen run --expect-workers N`, and look at its address, its port and what lies between"
            )
        if why != told:
            told = why
            tell(f"waiting for the master at {host}:{port} ({why})")
        sleep(1.0)


def token_for(host: str, port: int, token_file: str) -> str:
    """The token that a master takes; ConfigError when there is none that it would."""
    given = given_token(os.environ, token_file)
    problems = []
    # A master that a person started with Locust itself may want none.
    for token in [given] if given else dict.fromkeys((found_token(host, port), "")):
        problem = knock(host, port, token)
        if not problem:
            return token
        problems.append(problem)
    raise ConfigError(problems[0])


def become_worker(host: str, port: int, target: str, processes: int, token: str = "") -> NoReturn:
    """Turn this process into a Locust worker; it ends when its master does."""
    command = [*locust_command(), "--worker", "--master-host", host, "--master-port", str(port)]
    if target:
        command += ["--load-target", target]
    if processes > 1:
        command += ["--processes", str(processes)]
    sys.stdout.flush()
    os.execve(command[0], command, {**child_environment(os.environ, current_folder()), **handed_on(token)})
