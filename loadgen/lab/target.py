"""The local lab seen as a target: its addresses and logins, its faults, and a session that starts and stops it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from loadgen.config import ConfigError, Target, parse_target
from loadgen.faults.disruptor import DisruptorError
from loadgen.lab.defects import DefectError, parse_order
from loadgen.lab.processes.compose import open_lab as open_any
from loadgen.lab.processes.manager import Lab
from loadgen.lab.state import LabError, LabState
from loadgen.model import Component

T = TypeVar("T")

WATCHER = "loadgen"


def lab_target(state: LabState) -> Target:
    """The lab as a target: read through its Grafana, S3 watched by a credential that may only list and read."""
    at = state.endpoints
    engine = {process.name: process.engine for process in state.processes}
    watcher = state.credential(WATCHER)
    buckets = dict(state.buckets)
    raw = {
        "name": "local lab",
        "loki": {"url": at.loki, "engine": engine.get("loki", "embedded")},
        "tempo": {
            "otlp_http": at.otlp_http,
            "otlp_grpc": at.otlp_grpc,
            "query_url": at.tempo,
            "engine": engine.get("tempo", "embedded"),
        },
        "mimir": {"url": at.mimir, "engine": engine.get("mimir", "embedded")},
        "grafana": {
            "url": at.grafana,
            "user": state.grafana_user,
            "password": state.grafana_password,
            "engine": engine.get("grafana", "embedded"),
        },
        "s3": {
            "endpoint": at.s3,
            "access_key_id": watcher.access_key,
            "secret_access_key": watcher.secret_key,
            "loki_bucket": buckets["loki"],
            "tempo_bucket": buckets["tempo"],
            "mimir_bucket": buckets["mimir"],
            "engine": engine.get("s3", "seaweedfs"),
            **{name: _login(state, name) for name in buckets},
        },
        "prometheus": {"url": state.url("prometheus") if "prometheus" in engine else ""},
    }
    return parse_target(raw, "the lab", env={})


def _login(state: LabState, component: str) -> dict[str, str]:
    own = state.credential(f"{component}-service")
    return {"access_key_id": own.access_key, "secret_access_key": own.secret_key}


def open_lab() -> Lab:
    """The lab of the default directory; ConfigError when none runs there."""
    lab = open_any()
    if _running_state(lab) is None:
        raise ConfigError(f"no lab runs in {lab.directory}; start one with `loadgen lab up`")
    return lab


def running_lab_target() -> Target | None:
    """The lab of the default directory as a target; None when none runs there."""
    state = _running_state(open_any())
    return None if state is None else lab_target(state)


def _running_state(lab: Lab) -> LabState | None:
    try:
        if lab.state is None or not all(status.running for status in lab.status()):
            return None
        return lab.state
    except LabError as problem:
        raise ConfigError(str(problem)) from problem


class LabDisruptor:
    """Faults in the lab are signals to its processes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def kill(self, component: Component) -> None:
        """SIGKILL."""
        self._do(lambda: self._lab.kill(component, signal.SIGKILL))

    def stop(self, component: Component, grace_s: float) -> bool:
        """SIGTERM, and SIGKILL when the grace is over."""
        return self._do(lambda: self._lab.stop(component, grace_s))

    def start(self, component: Component) -> None:
        """Start it with the settings and ports that it had, until it listens: whether it works is what is measured."""
        self._do(lambda: self._lab.start(component, until_ready=False))

    def _do(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except LabError as problem:
            raise DisruptorError(f"{problem}; to heal it by hand: loadgen lab up") from problem


@dataclass(frozen=True, slots=True)
class LabSession:
    """A lab in use. ``mine``: this session started it, and will stop it."""

    lab: Lab
    mine: bool


@contextlib.contextmanager
def lab_session(keep: bool, progress: Callable[[str], None]) -> Iterator[LabSession]:
    """The default lab, running; what this call started is stopped at the end unless ``keep``."""
    lab = open_any()
    try:
        mine = lab.state is None or not any(status.running for status in lab.status())
        lab.up(progress=progress)
    except LabError as problem:
        raise ConfigError(str(problem)) from problem
    try:
        yield LabSession(lab, mine)
    finally:
        if mine and not keep:
            lab.down()


def plant_defects(lab: Lab, orders: Sequence[str]) -> None:
    """Tell embedded servers to spoil what comes next; each order as `parse_order` reads it."""
    for text in orders:
        try:
            component, order = parse_order(text)
            lab.order_defect(component, order)
        except (LabError, DefectError) as problem:
            raise ConfigError(f"--defect {text}: {problem}") from problem
