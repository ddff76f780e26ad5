"""The local stack: S3, Loki, Mimir, Tempo and Grafana as processes of their own, in one lab directory.

What a lab directory holds: ``lab.json`` (`LabState`), ``config/`` (settings of each server), ``logs/``, ``data/``. It
keeps its data, credentials and, if nobody took them, ports over ``down`` and ``up``: a run can be verified again later.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadgen.lab.defect_orders import exchange
from loadgen.lab.defects import DefectOrder
from loadgen.lab.processes import native
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.planning import (
    ENDPOINTS,
    PART_OF,
    PARTS,
    PORTS_OF,
    PROMETHEUS,
    READY_PATH,
    S3,
    SERVERS,
    Progress,
)
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import LabError, LabState, ProcessState, lab_directory, load_state

__all__ = ["ENDPOINTS", "PARTS", "PART_OF", "EndpointStatus", "Lab", "LabError"]

# S3 may take minutes to end by itself, and loses nothing by a kill.
_S3_GRACE_S = 1.0
_GRACE_S = 8.0


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How one endpoint does.

    Attributes:
        name: one of `ENDPOINTS`.
        url: its address.
        engine: ``embedded``, ``seaweedfs``, or ``native`` with the program and its version.
        pid: of the process behind it, 0 if there is none.
        memory_bytes: its resident memory.
        running: the process lives and the port takes connections.
    """

    name: str
    url: str
    engine: str
    pid: int
    memory_bytes: int
    running: bool


class Lab:
    """One lab directory. All methods raise `LabError` only; methods that change it wait for each other by a lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._children = proc.Children()

    @classmethod
    def open(cls, directory: Path | str | None = None) -> Lab:
        """The lab of this directory (by default `lab_directory`), whether it exists already or not."""
        return cls(lab_directory(directory).resolve())

    @property
    def state(self) -> LabState | None:
        """What is stored of it; None if there is no lab here."""
        return load_state(self.directory)

    def up(
        self,
        progress: Progress | None = None,
        flush_age_s: float | None = None,
        ports: Mapping[str, int] | None = None,
        timeout_s: float = 60.0,
        engines: Mapping[str, str] | None = None,
        limits: Mapping[str, float | None] | None = None,
    ) -> LabState:
        """Starts whatever of the lab does not run; on a failure what this call started is stopped again.

        Args:
            progress: told in a few words what happens.
            flush_age_s: how long accepted data waits before it goes to S3 (by default as before, at first 5 for
                embedded servers and 240 for real ones); a part that runs already keeps its own.
            ports: endpoint name to port, where a certain one is wanted.
            timeout_s: give up when a part does not answer within this time.
            engines: part to ``native`` (the real server from PATH) or ``embedded``; by default as before.
            limits: see `loadgen.lab.limits`; None takes one away, the others stay as before. A running part whose
                limits change starts again.
        """
        tell = progress or (lambda _text: None)
        self._make_directory()
        with self._locked():
            before = self.state
            state = before or plan.new_state(self.directory)
            if flush_age_s is not None:
                state = replace(state, flush_age_s=flush_age_s)
            running = {name for name in plan.parts_of(state) if self._runs(state, name)}
            state = plan.with_limits(plan.with_engines(state, engines or {}, running), limits or {})
            running -= plan.limited_anew(before, state)
            parts = set(plan.parts_of(state))
            plan.check_wanted(state, ports or {}, running)
            if running == parts:
                # An `up` that was killed may have left parts that run and were never asked anything.
                kept = before or state
                kept = kept if kept.proven else self._prove(kept, {}, SERVERS, tell, timeout_s)
                tell("the lab runs already")
                return kept
            self._stop_others(state, running)
            began = time.monotonic()
            for tries_left in (2, 1, 0):
                moved = plan.choose_ports(state, parts - running, ports or {}, tell)
                running -= plan.affected(state, moved, running)
                self._stop_others(state, running)
                try:
                    state = self._start_missing(moved, parts - running, tell, timeout_s)
                    break
                except BaseException as problem:
                    # Whatever ends the start, also a person: no half of a lab is left.
                    self._stop_others(state, running)
                    # Between the choice of a port and its use somebody else may take it, another lab that starts, say.
                    if not (tries_left and isinstance(problem, LabError) and plan.lost_port(moved, parts - running)):
                        raise
                    state = moved
            tell(f"the lab is up after {time.monotonic() - began:.1f} s")
            return state

    def down(self) -> bool:
        """Stops every process of the lab, also those of an `up` that was killed half-way. Data and ports are kept.

        Returns:
            Whether there was anything to stop.
        """
        if not self.directory.is_dir():
            return False
        with self._locked():
            found = proc.find(self.directory)
            self._stop(found)
            try:
                state = self.state
            except LabError:
                # A file that nobody understands is no reason to leave processes behind.
                return bool(found)
            if state is not None and state.processes:
                replace(state, processes=()).save()
            return bool(found)

    def wipe(self) -> None:
        """Stops the lab and removes its directory with all data, credentials and logs."""
        self.down()
        if not self.directory.is_dir():
            return
        self._remove_files()

    def _remove_files(self) -> None:
        ours = {"lab.json", "lab.lock", "config", "logs", "data"}
        for path in self.directory.iterdir():
            if path.name in ours or path.name.startswith("lab.json."):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        # Something that is not the lab's stays, and with it the directory.
        if not any(self.directory.iterdir()):
            self.directory.rmdir()

    def status(self) -> list[EndpointStatus]:
        """How every endpoint does. Raises LabError if there is no lab here."""
        state = self._need_state()
        rows = []
        for name in plan.endpoints_of(state):
            part = PART_OF.get(name, name)
            process = state.process(part)
            alive = process is not None and proc.is_part(process.pid, self.directory, part)
            pid = process.pid if process is not None and alive else 0
            rows.append(
                EndpointStatus(
                    name=name,
                    url=state.url(name),
                    engine=process.engine if process is not None else "",
                    pid=pid,
                    memory_bytes=proc.memory_bytes(pid) if pid else 0,
                    running=alive and proc.accepts(dict(state.ports)[name]),
                )
            )
        return rows

    def kill(self, name: str, number: int = signal.SIGKILL, wait_s: float = 30.0) -> None:
        """Sends one part a signal; for SIGKILL and SIGTERM waits until it is gone. SIGTERM to S3 soon becomes SIGKILL.

        Args:
            name: one of `PARTS`.
            number: the signal.
            wait_s: how long a part may take to end.
        """
        found = self._found(name)
        if number == signal.SIGTERM and name == S3:
            proc.stop(found, self._children, _S3_GRACE_S)
            return
        proc.send(found, number)
        if number in (signal.SIGKILL, signal.SIGTERM) and not proc.wait_gone(found, self._children, wait_s):
            raise LabError(f"{name} still runs {wait_s:.0f} s after signal {number}; try signal {int(signal.SIGKILL)}")

    def stop(self, name: str, grace_s: float) -> bool:
        """Ends one part by SIGTERM, and by SIGKILL after ``grace_s``; True if the first was enough."""
        found = self._found(name)
        proc.send(found, signal.SIGTERM)
        if proc.wait_gone(found, self._children, grace_s):
            return True
        proc.stop(found, self._children, 0)
        return False

    def start(self, name: str, timeout_s: float = 60.0, until_ready: bool = True) -> LabState:
        """Starts one part that does not run again, with its old settings and ports.

        Args:
            name: one of `PARTS`.
            timeout_s: give up after this.
            until_ready: wait until it says that it is ready, not only until it listens: real servers take pushes and
                queries long before they call themselves ready.
        """
        part = self._part(name)
        with self._locked():
            state = self._need_state()
            if self._runs(state, part):
                return state
            self._stop([one for one in proc.find(self.directory) if one.part == part])
            state, offset = self._launch(state, part)
            if part == S3:
                self._wait_s3(state, offset, timeout_s)
            else:
                self._wait_ready(state, {part: offset}, timeout_s, until_ready)
            return state

    # --- starting -----------------------------------------------------------------------------------------------------

    def _start_missing(self, state: LabState, missing: Collection[str], tell: Progress, timeout_s: float) -> LabState:
        unproven = missing if state.proven else SERVERS
        state = replace(state, proven=False)
        state.save()
        offsets: dict[str, int] = {}
        # Grafana needs no S3 for its start; S3 itself mostly waits at first.
        for name in (part for part in (S3, "grafana") if part in missing):
            tell(f"starting {name}")
            state, offsets[name] = self._launch(state, name)
        if S3 in missing:
            self._wait_s3(state, offsets.pop(S3), timeout_s)
        for name in (part for part in plan.parts_of(state) if part in missing and part not in offsets and part != S3):
            tell(f"starting {name}")
            state, offsets[name] = self._launch(state, name)
        self._wait_ready(state, offsets, timeout_s)
        return self._prove(state, offsets, unproven, tell, timeout_s)

    def _prove(
        self, state: LabState, offsets: Mapping[str, int], started: Collection[str], tell: Progress, timeout_s: float
    ) -> LabState:
        """Waits until each store that these parts have to do with takes an item and shows it through Grafana."""
        # Their HTTP clients take a while to import, and most commands of the lab need none.
        from loadgen.lab.proof import prove
        from loadgen.lab.target import lab_target

        stores = plan.stores_behind(started)
        tell("asking " + ", ".join(stores))
        prove(lab_target(state), stores, timeout_s, lambda name: self._check_alive(state, name, offsets.get(name, 0)))
        state = replace(state, proven=True)
        state.save()
        return state

    def _launch(self, state: LabState, name: str) -> tuple[LabState, int]:
        """Starts a part and records it; returns the state and where its log begins."""
        log = self.directory / "logs" / f"{name}.log"
        offset = log.stat().st_size if log.exists() else 0
        extra: dict[str, str] = {}
        if name == S3:
            server = self._seaweed(state)
            server.data_dir.mkdir(parents=True, exist_ok=True)
            seaweed.write_config(server.config, state.credentials)
            argv, extra, engine = server.argv(), server.environment(), "seaweedfs"
        elif state.is_native(name):
            real = native.launch(state, native.need_program(name))
            argv, extra, engine = real.argv, dict(real.environment), real.engine
        else:
            config = self.directory / "config" / f"{name}.json"
            settings = plan.server_settings(state, name)
            Path(settings.data_dir).mkdir(parents=True, exist_ok=True)
            settings.save(config)
            argv, engine = (sys.executable, "-P", "-m", f"loadgen.lab.{name}.server", str(config)), "embedded"
        pid = self._children.start(self.directory, name, argv, log, extra)
        state = state.with_process(ProcessState(name, pid, argv, str(log), state.url(name), engine))
        state.save()
        return state, offset

    def _seaweed(self, state: LabState) -> seaweed.Seaweed:
        config = self.directory / "config" / "s3.json"
        ports = tuple((name, port) for name, port in state.ports if name in seaweed.PORT_FLAGS)
        return seaweed.Seaweed(seaweed.find_weed(), self.directory / "data" / S3, config, ports)

    def _wait_s3(self, state: LabState, offset: int, timeout_s: float) -> None:
        admin = state.credential(seaweed.ADMIN)
        seaweed.set_up(state.url(S3), admin, timeout_s, lambda: self._check_alive(state, S3, offset))

    def _wait_ready(
        self, state: LabState, offsets: Mapping[str, int], timeout_s: float, until_ready: bool = True
    ) -> None:
        """Waits until all these parts answer; ``offsets`` tells where each one's log begins."""
        ports = dict(state.ports)
        waiting = list(offsets)
        deadline = time.monotonic() + timeout_s
        while True:
            for name in list(waiting):
                self._check_alive(state, name, offsets[name])
                if not all(proc.accepts(ports[port]) for port in PORTS_OF[name]):
                    continue
                if not until_ready or proc.http_status(state.url(name) + READY_PATH[name]) == 200:
                    waiting.remove(name)
            if not waiting:
                return
            if time.monotonic() > deadline:
                name = waiting[0]
                log = self.directory / "logs" / f"{name}.log"
                raise LabError(
                    f"{name} at {state.url(name)} is not ready after {timeout_s:.0f} s; the end of {log}:\n"
                    + proc.tail(log, offsets[name])
                )
            time.sleep(0.03)

    def _check_alive(self, state: LabState, name: str, offset: int) -> None:
        self._children.reap()
        process = state.process(name)
        pid = process.pid if process is not None else 0
        # A child that was started a moment ago may not have its environment yet, by which others are told.
        if not self._children.has(pid) and not proc.is_part(pid, self.directory, name):
            log = self.directory / "logs" / f"{name}.log"
            raise LabError(f"{name} ended at its start; the end of {log}:\n{proc.tail(log, offset)}")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _need_state(self) -> LabState:
        state = self.state
        if state is None:
            raise LabError(f"no lab in {self.directory}; start one with `loadgen lab up`")
        return state

    def _found(self, name: str) -> list[proc.FoundProcess]:
        part = self._part(name)
        found = [one for one in proc.find(self.directory) if one.part == part]
        if not found:
            raise LabError(f"{name} does not run in the lab {self.directory}; see `loadgen lab status`")
        return found

    def _part(self, name: str) -> str:
        part = PART_OF.get(name, PROMETHEUS if name == PROMETHEUS else "")
        parts = plan.parts_of(self._need_state())
        if part not in parts:
            raise LabError(f"no part of the lab is called '{name}'; there are {', '.join(parts)}")
        return part

    def _runs(self, state: LabState, name: str) -> bool:
        process = state.process(name)
        if process is None or not proc.is_part(process.pid, self.directory, name):
            return False
        return all(proc.accepts(dict(state.ports)[port]) for port in PORTS_OF[name])

    def _stop_others(self, state: LabState, keep: set[str]) -> None:
        """Stops every process of the lab but the recorded ones of these parts."""
        kept = {process.pid for process in state.processes if process.name in keep}
        self._stop([one for one in proc.find(self.directory) if one.pid not in kept])

    def _stop(self, found: list[proc.FoundProcess]) -> None:
        # S3 goes last, so that the others can still write what they hold.
        try:
            state = self.state
        except LabError:
            state = None
        grace_s = native.STOP_WITHIN_S if state is not None and state.engines else _GRACE_S
        proc.stop([one for one in found if one.part != S3], self._children, grace_s)
        s3 = [one for one in found if one.part == S3]
        commands = [proc.command_line(one.pid) for one in s3]
        proc.stop(s3, self._children, _S3_GRACE_S)
        for argv in commands:
            seaweed.remove_sockets(argv)

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("config", "logs", "data"):
                (self.directory / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            text = f"{self.directory}: cannot be used as lab directory ({error.strerror}); choose another with --dir"
            raise LabError(text) from error

    @contextmanager
    def _locked(self, timeout_s: float = 120.0) -> Iterator[None]:
        path = self.directory / "lab.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LabError(f"{path}: cannot be written ({error.strerror}); choose another --dir") from error
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() > deadline:
                        text = f"{self.directory}: another loadgen command holds this lab; wait for it to end"
                        raise LabError(text) from error
                    time.sleep(0.05)
            yield
        finally:
            os.close(descriptor)

    def order_defect(self, name: str, order: DefectOrder) -> None:
        """Tells a server to spoil what arrives or is asked next; see `loadgen.lab.defects`."""
        self._defects(name, json.dumps(dataclasses.asdict(order)).encode(), "POST")

    def defects(self, name: str) -> list[dict[str, Any]]:
        """The orders of a server, each with its ``hits``: the items that it hit."""
        found: list[dict[str, Any]] = json.loads(self._defects(name, None, "GET"))["defects"]
        return found

    def clear_defects(self, name: str) -> None:
        """Withdraws the orders of a server; what they did stays done."""
        self._defects(name, None, "DELETE")

    def _defects(self, name: str, body: bytes | None, method: str) -> bytes:
        state = self._need_state()
        if name not in SERVERS:
            raise LabError(f"'{name}' cannot be given a defect; {', '.join(SERVERS)} can")
        if name in dict(state.engines):
            raise LabError(f"{name} is a real server here; only embedded ones can be told to misbehave")
        return exchange(name, state.url(name), body, method)
