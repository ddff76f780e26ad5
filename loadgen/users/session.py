"""What surrounds the Locust users: options, the run directory, rows of all processes, the exit code.

The order of Locust's events is: init → test_start → (users run) → test_stopping → test_stop → quitting. Locust's
statistics are for its own display; what is judged are the rows that are recorded here.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gevent
import grpc.experimental.gevent as grpc_gevent
import locust.log
import pyarrow as pa
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadgen.clock import ANCHOR, ClockWatch, handed_clock, steady_clock, step_text
from loadgen.config import ConfigError, Profile, Target, load_profile, parse_profile
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.naming import new_info, new_run_name
from loadgen.history.recorder import ProgressKeeper, Recorder, run_sink
from loadgen.model import MS, NS, ClockReading, RunKey, Signal
from loadgen.run.defaults import DEFAULT_PROFILE
from loadgen.run.joining import given_token
from loadgen.run.locate import find_profile, resolve_target
from loadgen.run.workers import Waiting, worker_target, write_waiting
from loadgen.scrape.process import self_samples
from loadgen.skew import refusal, weigh
from loadgen.targets.clocks import read_clocks
from loadgen.users import link
from loadgen.users.crew import Crew, Hand
from loadgen.users.load import Load, start_up_ns
from loadgen.users.logs import LogShipper
from loadgen.users.metrics import MetricsAgent
from loadgen.users.people import DashboardViewer, tell_of_query
from loadgen.users.pushing import PushingUser
from loadgen.users.traces import TracedService

log = logging.getLogger("loadgen")

FLUSH_EVERY_S = 1.0
PUSHING: tuple[type[PushingUser], ...] = (LogShipper, MetricsAgent, TracedService)
"""Who sends each kind, in the order of the kinds."""
FINISH_WITHIN_S = 15.0
# Workers elsewhere open their connections when they are told of the run, and their machine may be slower.
FAR_START_UP_NS = 2 * NS


class _Session:
    """The part of this process in a test: reads the options, opens the run, flushes rows, ends it in order."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.options: Namespace = environment.parsed_options
        self.run: RunDir | None = None
        self.progress: ProgressKeeper | None = None
        self.recorder: Recorder | None = None
        self.crew: Crew | None = None
        self.hand: Hand | None = None
        self._flusher: gevent.Greenlet | None = None
        self._waiter: gevent.Greenlet | None = None
        self.clock = handed_clock(os.environ)
        self.watch = ClockWatch(self.clock)
        self.early: list[str] = []
        self.problem = ""
        # Locust lays the master's options over a worker's own before a test starts.
        self._own_target: str = self.options.load_target

    def init(self) -> None:
        """Read the profile, so that mistakes show before anything starts, and share the users out by its numbers.

        A worker is told all of it by its master.
        """
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.register_message("loadgen_finish", self._on_finish, concurrent=True)
            self.hand = Hand(runner, self.clock)
            return
        profile, _ = self.configuration()
        by_name = {cls.__name__: profile.users(cls.signal) for cls in PUSHING}
        by_name[DashboardViewer.__name__] = profile.dashboards.users
        for cls in self.environment.user_classes:
            cls.weight = by_name.get(cls.__name__, cls.weight)
        self.environment.user_classes[:] = [cls for cls in self.environment.user_classes if cls.weight > 0]
        if self.options.num_users is None:
            self.options.num_users = sum(by_name.values())
        if self.options.spawn_rate is None:
            self.options.spawn_rate = max(1, min(100, self.options.num_users))
        if not self.environment.stop_timeout:
            self.environment.stop_timeout = 5.0
        if isinstance(runner, MasterRunner):
            self.crew = Crew(self.environment, self.clock, self._note)
            if self.options.run_dir and (Path(self.options.run_dir) / "run.json").exists():
                self._waiter = gevent.spawn(self._tell_waiting, Path(self.options.run_dir), runner)

    def configuration(self) -> tuple[Profile, str]:
        """The profile and where the target is described; a run directory made beforehand decides both."""
        run_dir = self.options.run_dir
        if run_dir and (Path(run_dir) / "run.json").exists():
            info = RunDir.open(Path(run_dir)).info()
            return parse_profile(info.profile, f"{run_dir}/run.json"), info.target_source
        overrides = {}
        for text in self.options.rate or ():
            signal, _, rate = text.partition("=")
            if signal not in set(Signal) or not rate:
                raise ConfigError(f"--rate {text}: write it like logs=10MB/s (logs, metrics or traces)")
            overrides[f"{signal}.rate"] = rate
        return load_profile(find_profile(self.options.load_profile), overrides), self.options.load_target

    def _tell_waiting(self, run: Path, runner: MasterRunner) -> None:
        while True:
            write_waiting(run, Waiting(len(runner.clients.ready), self.options.expect_workers))
            gevent.sleep(0.5)

    def test_start(self) -> None:
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            options = self.options
            target = worker_target(self._own_target, options.loadgen_target_source, options.loadgen_target)
            key = RunKey(options.loadgen_run, options.loadgen_seed, options.loadgen_began_ns, options.loadgen_series_of)
            profile = parse_profile(options.loadgen_profile, "profile of the master")
            assert self.hand is not None  # made with the process
            self.recorder = Recorder(self.hand.send)
            if self.hand.behind_ns:
                self.clock = steady_clock(-self.hand.behind_ns)
            index, workers = runner.worker_index, options.loadgen_workers
            self._begin(Load(key, profile, target, self.recorder, index, workers, self.clock))
            return
        profile, source = self.configuration()
        target, source = resolve_target(source)
        clocks = self._compare_clocks(profile, target)
        workers, far_ns = 1, 0
        if isinstance(runner, MasterRunner):
            far_ns = 0 if self.options.processes else FAR_START_UP_NS
            workers = max(1, len(runner.clients.ready) + len(runner.clients.running) + len(runner.clients.spawning))
        if self.crew is not None:
            self.crew.begin(self._store)
        busy_ns = start_up_ns(profile, self.options.num_users, workers, self.clock) + far_ns
        began_ns = (self.clock() + busy_ns) // MS * MS
        run_dir = Path(self.options.run_dir) if self.options.run_dir else None
        if run_dir is not None and (run_dir / "run.json").exists() and not (run_dir / "progress.json").exists():
            self.run = RunDir.open(run_dir, "load")
            info = self.run.info()
            # A run that was prepared for us has a length of its own, which counts from the first due time.
            end_ns = began_ns + round(profile.run.duration * NS)
            gevent.spawn_later((end_ns - self.clock()) / NS, runner.quit)
        else:
            name = new_run_name(began_ns)
            info = new_info(RunKey(name, profile.run.seed, began_ns), profile, target, source)
            info = replace(info, clocks=clocks, notes=weigh(clocks).texts())
            self.run = RunDir.create(
                run_dir if run_dir and not run_dir.exists() else Path("reports") / name, info, "load"
            )
            log.info("run directory: %s", self.run.path)
        key = replace(info.key, began_ns=began_ns)
        self.run.write_info(replace(info, key=key, workers=workers, notes=(*info.notes, *self.early)))
        self.early.clear()
        self.progress = ProgressKeeper(self.run.path, began_ns)
        self.recorder = Recorder(run_sink(self.run, self.progress))
        if self.crew is not None:
            vars(self.options).update(
                loadgen_run=key.run,
                loadgen_seed=key.seed,
                loadgen_began_ns=key.began_ns,
                loadgen_series_of=key.series_of,
                loadgen_workers=workers,
                loadgen_profile=profile.model_dump(mode="json"),
                loadgen_target=target.without_secrets(),
                loadgen_target_source=source,
            )
            if self._waiter is not None:
                self._waiter.kill()
                write_waiting(self.run.path, Waiting(workers, self.options.expect_workers))
            self._begin(None)
        else:
            self._begin(Load(key, profile, target, self.recorder, 0, 1, self.clock))

    def _compare_clocks(self, profile: Profile, target: Target) -> tuple[ClockReading, ...]:
        """The servers' clocks beside ours; nothing where that was done already. ConfigError when ours will not do."""
        if self.options.run_dir and (Path(self.options.run_dir) / "run.json").exists():
            return ()
        sent = [signal for signal in Signal if profile.users(signal)]
        clocks = read_clocks(target, sent)
        skew = weigh(clocks)
        wrong = refusal(skew, sent, time.time_ns())
        if wrong:
            raise ConfigError(wrong)
        for text in skew.texts():
            log.warning("%s", text)
        return clocks

    def _store(self, table: str, rows: pa.Table) -> None:
        """Rows of a worker."""
        if self.run is not None and self.progress is not None:
            run_sink(self.run, self.progress)(table, rows)

    def _begin(self, load: Load | None) -> None:
        self.environment.loadgen = load
        if load is not None and load.worker == 0:
            load.start_own_queries(partial(tell_of_query, self.environment))
        self._flusher = gevent.spawn(self._flush_forever)

    def _flush_forever(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            self.flush()
            self._look_around()

    def _look_around(self) -> None:
        """Was a clock set, is a worker lost?"""
        step_ns = self.watch.step_ns()
        load: Load | None = self.environment.loadgen
        if step_ns and ANCHOR not in os.environ:  # else whose clock this is watches it
            began_ns = load.plan.key.began_ns if load is not None else self.clock()
            text = step_text("this machine", step_ns, (self.clock() - began_ns) / NS)
            if self.hand is not None:
                self.environment.runner.send_message("loadgen_problem", text)
            else:
                self._note(text)
        if self.crew is not None and self.run is not None and self.crew.look():
            self.run.write_info(replace(self.run.info(), gaps=tuple(self.crew.gaps)))
            if self.crew.all_lost:
                self._note("all workers were lost, so the load ended there")
                if self.options.headless:
                    gevent.spawn(self.environment.runner.quit)

    def flush(self, ended: bool = False) -> None:
        """Hand the rows on. A full disk is told and tried again, it does not end the load."""
        recorder = self.recorder
        if recorder is None:
            return
        load: Load | None = self.environment.loadgen
        if load is not None:
            for sample in self_samples(self.clock(), f"worker {load.worker}"):
                recorder.add(sample)
        try:
            recorder.flush()
            if self.progress is not None:
                self.progress.write(self.clock(), self.environment.runner.user_count, ended)
            self.problem = ""
        except (RunDirError, OSError) as problem:
            if str(problem) != self.problem:
                log.error("%s", problem)
            self.problem = str(problem)

    def spawning_complete(self) -> None:
        """Keep how many users of each signal run: ``-u`` may ask for others than the profile's."""
        if self.run is not None:
            target = self.environment.runner.target_user_classes_count
            counts = {str(cls.signal): target.get(cls.__name__, 0) for cls in PUSHING}
            self.run.write_info(replace(self.run.info(), users=counts))

    def test_stopping(self) -> None:
        """Before users are stopped: probes end, and a master collects what its workers have."""
        load: Load | None = getattr(self.environment, "loadgen", None)
        if load is not None:
            load.stop()
        if self.crew is not None and self.run is not None:
            self._look_around()
            self.crew.finish(FINISH_WITHIN_S)

    def test_stop(self) -> None:
        """After the users have stopped."""
        load: Load | None = getattr(self.environment, "loadgen", None)
        if load is not None:
            load.close()
        if self._flusher is not None:
            self._flusher.kill()
            self._flusher = None
        self.flush(ended=True)
        if self.run is not None:
            try:
                self.run.compact()
                self.run.write_info(replace(self.run.info(), load_ended_ns=self.clock()))
            except RunDirError as problem:
                log.error("%s", problem)

    def _note(self, text: str) -> None:
        log.warning("%s", text)
        if self.run is None:
            self.early.append(text)
            return
        info = self.run.info()
        self.run.write_info(replace(info, notes=(*info.notes, text)))

    def quitting(self) -> None:
        """Decide the exit code: failed pushes are data of the run, not failures of the generator."""
        runner = self.environment.runner
        # After a signal Locust comes here while its users still push: they stop first, so that all has its receipt.
        if isinstance(runner, MasterRunner):
            runner.stop(send_stop_to_client=False)
        elif runner is not None:
            runner.stop()
        self.test_stop_once()
        if isinstance(runner, WorkerRunner):
            runner.send_message("loadgen_finished", {})
            self.environment.process_exit_code = 2 if locust.log.unhandled_greenlet_exception or self.problem else 0
            return
        accepted = self.progress.accepted_batches if self.progress else 0
        broken = (
            locust.log.unhandled_greenlet_exception or self.problem or (self.crew is not None and self.crew.problem)
        )
        self.environment.process_exit_code = 0 if accepted and not broken else 2

    def test_stop_once(self) -> None:
        """A process that is ended without a stop still hands on what it has."""
        if self._flusher is not None:
            self.test_stop()

    # -- between master and workers --

    def _on_finish(self, **_: Any) -> None:
        """A worker is asked to end: users stop gracefully, then everything recorded goes to the master."""
        load: Load | None = getattr(self.environment, "loadgen", None)
        if load is not None:
            load.stop()
        self.environment.runner.stop()
        self.environment.runner.send_message("loadgen_finished", {})

    def cannot_start(self, problem: Exception) -> None:
        """End this process with a clear line; a worker tells its master too."""
        log.error("%s", problem)
        self.problem = str(problem)
        self.environment.process_exit_code = 2
        if isinstance(self.environment.runner, WorkerRunner):
            self.environment.runner.send_message("loadgen_problem", self.problem)
        self.environment.runner.quit()


def configure() -> None:
    """Hang loadgen on Locust's events; called once, by the locustfile."""
    # gRPC's own threads would block the event loop that Locust runs on.
    grpc_gevent.init_gevent()
    session: _Session | None = None

    def refused() -> None:
        if session is not None and session.crew is not None:
            session.crew.stranger()

    try:
        link.dress(given_token(os.environ), refused)
    except ConfigError as problem:
        sys.stderr.write(f"loadgen: {problem}\n")
        sys.exit(2)

    @events.init_command_line_parser.add_listener
    def _arguments(parser: Any, **_: Any) -> None:
        group = parser.add_argument_group("loadgen")
        group.add_argument(
            "--load-profile",
            default=DEFAULT_PROFILE,
            env_var="LOADGEN_PROFILE",
            help="name of a built-in profile or path of a TOML file (default: %(default)s)",
        )
        group.add_argument(
            "--load-target",
            default="",
            env_var="LOADGEN_TARGET",
            help="path of a target file; without it, the local lab if one runs",
        )
        group.add_argument(
            "--rate", action="append", metavar="SIGNAL=RATE", help="scale a signal, e.g. logs=10MB/s; may be repeated"
        )
        group.add_argument("--run-dir", default="", help="folder for the run (default: reports/<run>)")

    @events.init.add_listener
    def _init(environment: Environment, **_: Any) -> None:
        nonlocal session
        session = current = _Session(environment)
        environment.loadgen = None
        try:
            current.init()
            if not isinstance(environment.runner, WorkerRunner):
                resolve_target(current.configuration()[1])
        except (ConfigError, RunDirError) as problem:
            sys.stderr.write(f"loadgen: {problem}\n")
            sys.exit(2)
        listeners = environment.events
        listeners.test_start.add_listener(lambda **_: _guard(current, current.test_start))
        listeners.spawning_complete.add_listener(lambda **_: _guard(current, current.spawning_complete))
        listeners.test_stopping.add_listener(lambda **_: current.test_stopping())
        listeners.test_stop.add_listener(lambda **_: current.test_stop_once())
        listeners.quitting.add_listener(lambda **_: current.quitting())


def _guard(session: _Session, start: Any) -> None:
    """An error at the start ends the process with a clear line instead of a traceback an hour later."""
    try:
        start()
    except (ConfigError, RunDirError) as problem:
        session.cannot_start(problem)
