"""Runs rows of the detection matrix on a lab of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from benchmarks.detection_around import CLOCK, surround
from benchmarks.detection_assess import Came, batches_of
from benchmarks.detection_row import BASE, BEFORE, READING, Row, Way, merged
from loadgen.config import Target, parse_profile
from loadgen.history.directory import RunDir
from loadgen.history.naming import new_run_name
from loadgen.history.recorder import Progress, read_progress
from loadgen.kinds import kind_of
from loadgen.lab.defects import DefectOrder
from loadgen.lab.limits import NONE, parse_limits
from loadgen.lab.processes.manager import Lab
from loadgen.lab.s3 import seaweed
from loadgen.lab.s3.objectstore import ObjectStore
from loadgen.lab.s3.store import StoreError
from loadgen.lab.settings import ServerSettings
from loadgen.lab.state import LabError, LabState
from loadgen.lab.target import LabDisruptor, lab_target
from loadgen.model import Signal
from loadgen.plan import plan_of
from loadgen.run.defaults import LAB
from loadgen.run.interrupt import Stop
from loadgen.run.orchestrate import Judgement, conclude, execute, verify_again

FLUSH_AGE_S = 1.5
LISTING_EVERY_S = 1.0
SERVERS = ("loki", "tempo", "mimir", "grafana")

Tell = Callable[[str], None]


class RowError(Exception):
    """A row could not be run; the text says why."""


class _Director:
    """Takes a row's steps when they are due, told of the run's progress as its display."""

    def __init__(self, lab: Lab, row: Row, path: Path, tell: Tell) -> None:
        self._lab, self._path, self._tell = lab, path, tell
        self._waiting = sorted(row.steps, key=lambda step: step.at_s)
        self._ordered: set[str] = set()
        self._hits: dict[str, dict[str, None]] = {}
        self._stopped: list[psutil.Process] = []
        self._deleted: list[tuple[str, Deleted]] = []
        self.problem = ""

    def take(self, until_s: float) -> None:
        """Take the steps that are due by a moment."""
        while self._waiting and self._waiting[0].at_s <= until_s:
            try:
                self._waiting.pop(0).act(self)
            except (LabError, RowError, psutil.Error) as problem:
                self.problem = str(problem)

    @property
    def hits(self) -> tuple[str, ...]:
        """What the defects have hit so far, also of servers that were killed meanwhile."""
        for component in self._ordered:
            with suppress(LabError):
                found = [hit["item"] for order in self._lab.defects(component) for hit in order["hits"]]
                self._hits.setdefault(component, {}).update(dict.fromkeys(found))
        return tuple(item for component in self._hits.values() for item in component)

    def end(self) -> None:
        """Let everything behave again."""
        for process in self._stopped:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
        for component in self._ordered:
            with suppress(LabError):
                self._lab.clear_defects(component)
        for component, deleted in self._deleted:  # a server that starts again would miss it in all its answers
            with suppress(StoreError, LabError):
                deleted.put_back()
                self._lab.kill(component, signal.SIGTERM)  # and it may know by now that something is gone
                self._lab.start(component)

    # -- as a stage

    def order(self, component: str, order: DefectOrder) -> None:
        self._lab.order_defect(component, order)
        self._ordered.add(component)

    def signal_server(self, component: str, number: int) -> None:
        pid = next(status.pid for status in self._lab.status() if status.name == component)
        self._signal(psutil.Process(pid), number)

    def signal_load(self, number: int) -> None:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):  # another row's child that ended, or was not waited for yet
                if str(self._path.resolve()) in child.cmdline():
                    self._signal(child, number)

    def delete_stored(self, component: str) -> None:
        state = self._lab.state
        if state is None:
            raise LabError("the lab has gone")
        self._deleted.append((component, delete_stored(state, RunDir.open(self._path), component)))

    def _signal(self, process: psutil.Process, number: int) -> None:
        process.send_signal(number)
        if number == signal.SIGSTOP:
            self._stopped.append(process)

    # -- as a display

    def phase(self, name: str, _detail: str = "") -> None:
        if name == "verify":
            self.take(READING)
        self._tell(name)

    def load(self, _progress: Progress, elapsed_s: float, duration_s: float) -> None:
        self.take(elapsed_s)
        if self._ordered:
            _ = self.hits  # a kill would take them along
        self._tell(f"load {min(max(0.0, elapsed_s), duration_s):.0f}/{duration_s:.0f} s")

    def step(self, name: str, done: int, total: int) -> None:
        self._tell(f"{name} {done}/{total}" if total else name)

    def note(self, text: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Deleted:
    """Objects that were deleted from a bucket, by their keys."""

    bucket: ObjectStore
    contents: dict[str, bytes]

    def put_back(self) -> None:
        """As if nothing had happened. StoreError when S3 does not take it."""
        for key, content in self.contents.items():
            self.bucket.put(key, content)


def delete_stored(state: LabState, run: RunDir, component: str) -> Deleted:
    """Delete one of the run's objects from S3, as a hand or a lifecycle rule does, so that nobody knows of it."""
    objects = run.rows("objects")[0]
    keys = objects[objects["component"] == component].sort_values("from_ns")["key"].tolist()
    if not keys:
        raise RowError("the run left nothing in S3 that could be deleted")
    key = str(keys[len(keys) // 2])
    prefix = key if component == "loki" else key.rpartition("/")[0] + "/"
    admin = state.credential(seaweed.ADMIN)
    bucket = ObjectStore(
        ServerSettings(
            component, "", s3_endpoint=state.url("s3"), s3_bucket=dict(state.buckets)[component],
            s3_access_key=admin.access_key, s3_secret_key=admin.secret_key,
        )
    )  # fmt: skip
    contents = {one.key: bucket.get(one.key) for one in [*bucket.list(prefix)]}
    for each in contents:
        bucket.delete(each)
    if component == "mimir":
        bucket.delete(f"{prefix.rstrip('/').rpartition('/')[0]}/bucket-index.json.gz")
    return Deleted(bucket, {each: content for each, content in contents.items() if content is not None})


class Bench:
    """A running lab, on which runs follow one another; each run has a name and so data of its own."""

    def __init__(self, lab: Lab, runs: Path, stop: Stop) -> None:
        self._lab, self._runs, self._stop = lab, runs, stop
        self._tell: Tell = lambda _: None

    def run(self, row: Row, tell: Tell) -> Came:
        """Plant, load, read back, judge; ``tell`` hears what goes on. RowError when the run could not be made."""
        self._tell = tell
        began_s = time.monotonic()
        name = f"{new_run_name(time.time_ns())}-{row.name.replace('/', '-')}"
        path = self._runs / name
        self._heal(row)
        director = _Director(self._lab, row, path, self._tell)
        try:
            director.take(BEFORE)
            ways = {Way.KILLED: self._killed, Way.SURROUNDED: self._surrounded}
            judgement = ways.get(row.way, self._whole)(row, path, name, director)
            if row.way in (Way.DELETED, Way.TAKEN):
                component = kind_of(Signal(row.name.partition("/")[0])).store.value
                if row.way is Way.DELETED:  # so that it does not go on with what it knows
                    self._lab.kill(component, signal.SIGTERM)
                director.delete_stored(component)
                if row.way is Way.DELETED:
                    self._lab.start(component)
                judgement = verify_again(judgement.run, self._target(row), director, self._stop)
            hits = director.hits
        finally:
            director.end()
        if director.problem:
            raise RowError(f"a defect could not be planted: {director.problem}")
        history = judgement.run.history()
        plan = plan_of(history.info.key, parse_profile(history.info.profile, "run.json"))
        return Came(
            {verdict.check: verdict for verdict in judgement.verdicts},
            hits,
            frozenset(batches_of(hits, plan, history)),
            history,
            path,
            time.monotonic() - began_s,
        )

    def _target(self, row: Row) -> Target:
        target = lab_target(self._need_state())
        changes: dict[str, object] = {"poll": LISTING_EVERY_S}
        if row.way is Way.BLIND:
            changes["secret_access_key"] = SecretStr("wrong")
        return target.model_copy(update={"s3": target.s3.model_copy(update=changes)})

    def _heal(self, row: Row) -> None:
        """What an earlier row left stopped runs again, with the limits of this row."""
        self._lab.up(limits={**parse_limits([NONE]), **row.limits})
        for component in SERVERS:
            self._lab.clear_defects(component)

    def _whole(self, row: Row, path: Path, name: str, director: _Director) -> Judgement:
        profile = parse_profile(merged(BASE, row.profile), row.name)
        environment = {"LOADGEN_LAB_DIR": str(self._lab.directory)}
        target, disruptor = self._target(row), None if row.way is Way.POWERLESS else LabDisruptor(self._lab)
        return execute(profile, target, LAB, path, name, director, self._stop, disruptor, environment)

    def _surrounded(self, row: Row, path: Path, name: str, director: _Director) -> Judgement:
        """Start loadgen as a user does, where nothing around it may change the run."""
        folder = surround(self._runs / f"{name}-around")
        profile = self._runs / f"{name}.toml"
        profile.write_text(toml_of(merged(BASE, row.profile)))
        package = str(Path(__file__).resolve().parents[1])
        path_variable = os.pathsep.join((str(folder / CLOCK), package))
        environment = {**os.environ, "LOADGEN_LAB_DIR": str(self._lab.directory), "PYTHONPATH": path_variable}
        command = [sys.executable, "-m", "loadgen", "run", "--profile", str(profile), "--out", str(path.resolve())]
        process = subprocess.Popen(
            command, env={**environment, "HOME": str(folder), **row.variables}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, start_new_session=True,
        )  # fmt: skip
        load: list[psutil.Process] = []
        try:
            self._wait(lambda: process.poll() is not None, "the run did not end", 150.0)
        finally:
            with suppress(psutil.Error):  # the load has a session of its own, and would outlive a run that hangs
                load = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for child in load:
                with suppress(psutil.Error):
                    child.kill()
            said = process.communicate()[0]
        if not (path / "verdicts.json").exists():
            raise RowError(f"the run ended with exit code {process.returncode}: {' '.join(said.split())[-300:]}")
        return conclude(RunDir.open(path), director)

    def _killed(self, row: Row, path: Path, name: str, director: _Director) -> Judgement:
        """Start loadgen as a user does, kill it in the middle of the first fault, heal the lab, verify the run."""
        profile = self._runs / f"{name}.toml"
        profile.write_text(toml_of(merged(BASE, row.profile)))
        environment = {**os.environ, "LOADGEN_LAB_DIR": str(self._lab.directory)}
        command = [sys.executable, "-m", "loadgen", "run", "--profile", str(profile), "--out", str(path)]
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        load: list[psutil.Process] = []
        try:
            self._wait(lambda: (path / "faults.json").exists(), "loadgen did not inject its fault")
            time.sleep(1.0)
            load = [child for child in psutil.Process(process.pid).children() if "--run-dir" in child.cmdline()]
        finally:
            process.kill()
            process.wait()
        try:
            self._wait(lambda: bool((progress := read_progress(path)) and progress.ended), "the load did not end")
        finally:
            for child in load:
                with suppress(psutil.Error):
                    child.kill()
        self._lab.up()
        return verify_again(RunDir.open(path), self._target(row), director, self._stop)

    def _need_state(self) -> LabState:
        state = self._lab.state
        if state is None:
            raise RowError("the lab has gone")
        return state

    def _wait(self, condition: Callable[[], bool], otherwise: str, within_s: float = 90.0) -> None:
        give_up_s = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > give_up_s or self._stop.requested:
                raise RowError(otherwise)
            self._tell("waiting")
            time.sleep(0.1)


@contextmanager
def bench(lab_folder: Path, runs: Path, stop: Stop) -> Iterator[Bench]:
    """A fresh lab in a folder, stopped and wiped at the end whatever happens. LabError when it cannot be started."""
    lab = Lab.open(lab_folder)
    runs.mkdir(parents=True, exist_ok=True)
    try:
        lab.up(flush_age_s=FLUSH_AGE_S)
        yield Bench(lab, runs, stop)
    finally:
        lab.wipe()


def toml_of(settings: dict[str, Any]) -> str:
    """A profile as TOML: tables of numbers and texts, and the faults as an array of tables."""
    lines: list[str] = []

    def table(name: str, content: dict[str, Any]) -> None:
        lines.append(f"[{name}]")
        lines.extend(f"{key} = {value!r}".replace("'", '"') for key, value in content.items() if not _deep(value))
        for key, value in content.items():
            if isinstance(value, dict):
                table(f"{name}.{key}", value)

    for name, content in settings.items():
        if isinstance(content, dict):
            table(name, content)
        else:
            for one in content:
                lines.append(f"[[{name}]]")
                lines.extend(f"{key} = {value!r}".replace("'", '"') for key, value in one.items())
    return "\n".join(lines) + "\n"


def _deep(value: object) -> bool:
    return isinstance(value, dict)
