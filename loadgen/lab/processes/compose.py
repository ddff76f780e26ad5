"""The lab as containers: the official images with the shipped configuration files, by way of ``docker compose``.

The lab directory holds what the containers need: credentials in ``config/s3.json`` and ``.env`` (readable by its owner
only), addresses filled into Prometheus' and Grafana's files. Data lies in the named volumes of the compose project.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loadgen.lab.processes import native
from loadgen.lab.processes import planning as plan
from loadgen.lab.processes import running as proc
from loadgen.lab.processes.manager import EndpointStatus, Lab
from loadgen.lab.processes.planning import PART_OF, PROMETHEUS, READY_PATH, S3, SERVERS, Progress
from loadgen.lab.s3 import seaweed
from loadgen.lab.state import COMPOSE, LabError, LabState, ProcessState, lab_directory, load_state

FILE = Path(__file__).resolve().parents[1] / "compose.yaml"
PARTS = (S3, *SERVERS, PROMETHEUS)
# Inside the network of the project the servers find each other by name.
_HOSTS = {
    "LAB_LOKI": "loki:3100",
    "LAB_TEMPO": "tempo:3200",
    "LAB_MIMIR": "mimir:8080",
    "LAB_SELF": "localhost:9090",
}


def open_lab(directory: Path | str | None = None, compose: bool = False) -> Lab:
    """The lab of this directory: of containers if it is one already, or if ``compose`` asks for a new one.

    Raises:
        LabError: there is a lab of the other kind already.
    """
    where = lab_directory(directory).resolve()
    state = load_state(where) if compose or (where / "lab.json").exists() else None
    containers = state is not None and dict(state.engines).get(S3) == COMPOSE
    if compose and state is not None and not containers:
        raise LabError(f"{where} has a lab without containers; use another --dir, or `loadgen lab down --wipe` first")
    return ComposeLab(where) if compose or containers else Lab(where)


class ComposeLab(Lab):
    """A lab whose parts are containers. Raises `LabError` only, as `Lab` does."""

    def up(
        self,
        progress: Progress | None = None,
        flush_age_s: float | None = None,
        ports: Mapping[str, int] | None = None,
        timeout_s: float = 300.0,
        engines: Mapping[str, str] | None = None,
        limits: Mapping[str, float | None] | None = None,
    ) -> LabState:
        """Starts the containers; the images are fetched at the first time. Engines and limits cannot be chosen."""
        tell = progress or (lambda _text: None)
        if engines:
            raise LabError("with --compose every part is a container; leave --native and --engine away")
        command = docker_command()
        self._make_directory()
        with self._locked():
            state = self.state or plan.new_state(self.directory)
            if flush_age_s is not None:
                state = replace(state, flush_age_s=flush_age_s)
            state = replace(state, engines=tuple((part, COMPOSE) for part in PARTS))
            state = plan.with_limits(state, limits or {})
            running = {part for part in PARTS if state.ports and all(map(proc.accepts, _ports_of(state, part)))}
            plan.check_wanted(state, ports or {}, running)
            state = plan.choose_ports(state, set(PARTS) - running, ports or {}, tell)
            for part in PARTS:
                state = state.with_process(ProcessState(part, 0, (), "", state.url(part), COMPOSE))
            state.save()
            self._write_files(state)
            tell("starting s3 (images are fetched at the first time)")
            self._compose(command, "up", "-d", S3)
            seaweed.set_up(state.url(S3), state.credential(seaweed.ADMIN), timeout_s, lambda: None)
            tell("starting the servers")
            self._compose(command, "up", "-d")
            self._wait(state, PARTS[1:], timeout_s)
            state = self._prove(state, {}, PARTS, tell, timeout_s)
            tell("the lab is up")
            return state

    def down(self) -> bool:
        """Stops and removes the containers; their volumes stay."""
        state = self.state if self.directory.is_dir() else None
        if state is None:
            return False
        self._compose(docker_command(), "down")
        return True

    def wipe(self) -> None:
        """Removes containers, volumes and the lab directory."""
        if self.directory.is_dir() and self.state is not None:
            self._compose(docker_command(), "down", "--volumes")
            shutil.rmtree(self.directory / "config", ignore_errors=True)
            (self.directory / ".env").unlink(missing_ok=True)
            self._remove_files()

    def status(self) -> list[EndpointStatus]:
        """How every endpoint does; the memory of containers is not known."""
        state = self._need_state()
        ports = dict(state.ports)
        return [
            EndpointStatus(name, state.url(name), COMPOSE, 0, 0, proc.accepts(ports[name]))
            for name in plan.endpoints_of(state)
        ]

    def kill(self, name: str, number: int = signal.SIGKILL, wait_s: float = 90.0) -> None:
        """Sends one part a signal; for SIGTERM waits until it is gone."""
        part = self._part_of(name)
        if number == signal.SIGTERM:
            self._compose(docker_command(), "stop", "--timeout", f"{wait_s:.0f}", part)
        else:
            self._compose(docker_command(), "kill", "--signal", signal.Signals(number).name, part)

    def stop(self, name: str, grace_s: float) -> bool:
        """Ends one part in order; Docker kills it after ``grace_s``."""
        began_s = time.monotonic()
        self._compose(docker_command(), "stop", "--timeout", f"{grace_s:.0f}", self._part_of(name))
        return time.monotonic() - began_s < grace_s

    def start(self, name: str, timeout_s: float = 120.0, until_ready: bool = True) -> LabState:
        """Starts one part again."""
        part, state = self._part_of(name), self._need_state()
        self._compose(docker_command(), "up", "-d", "--no-deps", part)
        self._wait(state, (part,), timeout_s, until_ready)
        return state

    # -- inside ----------------------------------------------------------------------------------------------------

    def _check_alive(self, state: LabState, name: str, offset: int) -> None:
        """Nothing: a container that ended takes no connections, which says as much."""

    def _part_of(self, name: str) -> str:
        part = PART_OF.get(name, name)
        if part not in PARTS:
            raise LabError(f"no part of the lab is called '{name}'; there are {', '.join(PARTS)}")
        return part

    def _write_files(self, state: LabState) -> None:
        seaweed.write_config(self.directory / "config" / "s3.json", state.credentials)
        native.fill_prometheus(state, _HOSTS)
        native.fill_provisioning(state, _HOSTS)
        values = {
            "LAB_PROJECT": f"loadgen-lab-{hashlib.sha256(str(self.directory).encode()).hexdigest()[:8]}",
            "LAB_DIRECTORY": str(self.directory),
            "LAB_CONFIG": str(native.CONFIG),
            "LAB_GRAFANA_USER": state.grafana_user,
            "LAB_GRAFANA_PASSWORD": state.grafana_password,
            **native.flush_environment(state),
            **{f"LAB_PORT_{name.upper()}": str(dict(state.ports)[name]) for name in _PUBLISHED},
        }
        for part, bucket in state.buckets:
            credential = state.credential(f"{part}-service")
            values |= {
                f"LAB_{part.upper()}_BUCKET": bucket,
                f"LAB_{part.upper()}_ACCESS_KEY": credential.access_key,
                f"LAB_{part.upper()}_SECRET_KEY": credential.secret_key,
            }
        path = self.directory / ".env"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            # In single quotes nothing is expanded.
            file.writelines(f"{name}='{value}'\n" for name, value in values.items())

    def _compose(self, command: Sequence[str], *arguments: str) -> str:
        environment = self.directory / ".env"
        done = subprocess.run(
            [*command, "--file", str(FILE), "--env-file", str(environment), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise LabError(f"docker compose {arguments[0]} failed (exit code {done.returncode}):\n{said}")
        return done.stdout

    def _wait(self, state: LabState, parts: Sequence[str], timeout_s: float, until_ready: bool = True) -> None:
        deadline = time.monotonic() + timeout_s
        for part in parts:
            while not all(map(proc.accepts, _ports_of(state, part))) or (
                until_ready and part in READY_PATH and proc.http_status(state.url(part) + READY_PATH[part]) != 200
            ):
                if time.monotonic() > deadline:
                    raise LabError(
                        f"{part} at {state.url(part)} is not ready after {timeout_s:.0f} s; its log: docker compose "
                        f"--file {FILE} --env-file {self.directory / '.env'} logs {part}"
                    )
                time.sleep(0.3)


_PUBLISHED = ("s3", "loki", "tempo", "otlp_http", "otlp_grpc", "mimir", "grafana", PROMETHEUS)


def _ports_of(state: LabState, part: str) -> list[int]:
    ports = dict(state.ports)
    return [ports[name] for name in plan.PORTS_OF[part] if name in _PUBLISHED]


def docker_command() -> tuple[str, ...]:
    """The beginning of every compose command; LabError where Docker, its engine or compose is not there."""
    docker = shutil.which("docker")
    if docker is None:
        raise LabError("docker is not on PATH; install Docker with compose, or use --native or the embedded servers")
    for arguments, what in (
        (("info", "--format", "{{.ServerVersion}}"), "Docker's engine does not answer"),
        (("compose", "version"), "Docker has no compose plugin"),
    ):
        try:
            done = subprocess.run([docker, *arguments], capture_output=True, text=True, errors="replace", timeout=30)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(f"{docker}: cannot be run ({error})") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise LabError(
                f"{what} ({said[-1] if said else 'it said nothing'}); start or install it, or use --native or the "
                "embedded servers"
            )
    return (docker, "compose")
