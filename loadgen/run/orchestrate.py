"""A whole run: load → verify → judge → report, with S3 watcher, scraper and faults beside the load.

Locust runs as a child process, because it patches the whole interpreter; everything else happens here. The phases meet
only in the run directory, so what was measured survives whatever ends the run.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol

from loadgen.buckets.watcher import S3Watcher
from loadgen.checks import judge
from loadgen.checks.s3_match import s3_coverage
from loadgen.checks.surroundings import gap_texts
from loadgen.clock import ANCHOR, Clock, ClockWatch, anchored, steady_clock, step_text
from loadgen.config import Profile, Target, parse_profile
from loadgen.config.surroundings import child_environment, current_folder
from loadgen.faults import Disruptor
from loadgen.faults.beside import FaultsBeside
from loadgen.faults.timeline import Timeline
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.joiner import Joiner
from loadgen.history.naming import new_info
from loadgen.history.recorder import Progress, read_progress
from loadgen.judging import outcome
from loadgen.kinds import kinds_in
from loadgen.model import NS, ClockReading, Component, FaultWindow, Result, RunKey, Signal, Verdict
from loadgen.plan import Plan, plan_of
from loadgen.plans import Deployed, default_plan, parse_plan
from loadgen.queries.custom import look_back
from loadgen.reading.verify import verify
from loadgen.report import write_report
from loadgen.run.interrupt import Interrupt
from loadgen.run.joining import handed_on, new_token
from loadgen.run.locate import locust_command
from loadgen.run.standstill import StandstillWatch
from loadgen.run.workers import RemoteWorkers, free_port, read_waiting
from loadgen.scrape.scraper import Scraper
from loadgen.skew import refusal, weigh
from loadgen.targets.clocks import read_clocks
from loadgen.targets.flush import flush_components
from loadgen.targets.readers import open_readers, ping
from loadgen.targets.reading import Patience

STOP_CHILD_WITHIN_S = 30.0
HEAL_WITHIN_S = 60.0
OVERTIME_S = 60


class RunError(Exception):
    """A run cannot begin or go on; the text says where, what and what to do next."""


class Display(Protocol):
    """Where progress is shown."""

    def phase(self, name: str, detail: str = "") -> None:
        """A phase begins."""

    def load(self, progress: Progress, elapsed_s: float, duration_s: float) -> None:
        """How far the load is."""

    def step(self, name: str, done: int, total: int) -> None:
        """How far another phase is."""

    def note(self, text: str) -> None:
        """Something that the person should know."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The end of a run: verdicts, their outcome and the files of the report."""

    run: RunDir
    verdicts: tuple[Verdict, ...]
    outcome: Result
    files: tuple[Path, ...]


def compare_clocks(target: Target, profile: Profile, display: Display) -> tuple[ClockReading, ...]:
    """The servers' clocks beside ours; RunError when they refuse what is sent by ours, a note when they differ."""
    sent = [signal for signal in Signal if profile.users(signal)]
    clocks = read_clocks(target, sent)
    skew = weigh(clocks)
    wrong = refusal(skew, sent, time.time_ns())
    if wrong:
        raise RunError(wrong)
    for text in skew.texts():
        display.note(text)
    return clocks


def execute(
    profile: Profile,
    target: Target,
    target_source: str,
    out: Path,
    run_name: str,
    display: Display,
    interrupt: Interrupt,
    disruptor: Disruptor | None = None,
    environment: dict[str, str] | None = None,
    workers: RemoteWorkers | None = None,
    series_of: str = "",
    clocks: Sequence[ClockReading] = (),
    deployed: Deployed | None = None,
) -> Judgement:
    """Run a profile against a target and judge it; with ``workers``, the load is theirs and begins when they are there.

    Samples go on with the series of the run ``series_of``, if one is named. ``clocks`` are the servers', as they were
    found before the run. ``deployed`` is the plan that the report names requirements by; None: the shipped one.

    Raises RunError when the load could not begin, RunDirError when nothing can be stored.
    """
    clock = steady_clock()
    info = new_info(RunKey(run_name, profile.run.seed, 0, series_of), profile, target, target_source)
    info = replace(info, clocks=tuple(clocks), notes=weigh(clocks).texts())
    if deployed is not None:
        info = replace(info, deployment=deployed.model_dump(mode="json"))
    interrupt.next_phase()
    run = RunDir.create(out, info)
    watcher = S3Watcher(target.s3, run, clock, clock())
    scraper = Scraper(target, run, clock, profile.run.duration)
    joiner, witness = Joiner(run), StandstillWatch(run, clock)
    if workers is None:
        display.phase("load", f"{profile.run.duration:g} s, kept in {out}")
    else:
        display.phase("workers", f"waiting for {workers.expected}; {workers.invitation()}")
    watcher.start()
    scraper.start()
    joiner.start()
    witness.start()
    try:
        windows = _load(profile, target, run, clock, display, interrupt, disruptor, environment or {}, workers)
        run.write_faults(windows)
        info = run.info()
        if interrupt.requested:
            run.write_info(replace(info, interrupted=True))
        plan = plan_of(info.key, profile)
        if profile.verify.flush:
            for problem in flush_components(target):
                display.note(problem)
        _read_back(run, plan, target, clock, display, interrupt, settle_s=profile.verify.settle)
        _wait_for_s3(run, plan, clock, display, interrupt, bool(target.s3.endpoint))
    finally:
        scraper.stop()
        watcher.stop()
        joiner.stop()
        witness.stop()
        _note(run, watcher)
    return conclude(run, display)


def _load(
    profile: Profile,
    target: Target,
    run: RunDir,
    clock: Clock,
    display: Display,
    interrupt: Interrupt,
    disruptor: Disruptor | None,
    environment: dict[str, str],
    workers: RemoteWorkers | None,
) -> tuple[FaultWindow, ...]:
    """The load phase: Locust as a child, the faults in a thread, progress to the display."""
    windows: tuple[FaultWindow, ...] = ()
    watch, steps, before = ClockWatch(clock), list[str](), run.info().notes

    def store(known: Sequence[FaultWindow]) -> None:
        with contextlib.suppress(RunDirError):  # written once more after the load, and told then
            run.write_faults(known)

    faults = FaultsBeside(store)
    if profile.faults and disruptor is None:
        display.note("nobody may stop a component here, so the restarts of the profile do not happen")
    interrupt.next_phase()
    with (run.path / "locust.log").open("wb") as log:
        child = _start_locust(profile, run, clock, log, environment, workers)
        try:
            began_ns = _wait_for_begin(child, run, interrupt, display, workers)
            if began_ns:
                if workers is not None:
                    text = f"{profile.run.duration:g} s by {workers.expected} workers, kept in {run.path}"
                    display.phase("load", text)
                timeline = _timeline(profile, target, run, clock, disruptor, faults, _over(child, interrupt))
                faults.start(lambda: timeline.run(began_ns))
                _follow(child, run, profile, clock, began_ns, display, interrupt, watch, steps)
            _end(child)
            so_far = interrupt.count
            windows = faults.end(_faults_end_within_s(profile), hurry=lambda: interrupt.count > so_far)
            _tell_of_faults(run, faults, display)
        finally:
            _end(child)
            faults.close()
    final = read_progress(run.path)
    if final is None or not began_ns:
        _refuse_no_load(run, child, interrupt, workers)
        return windows
    display.load(final, min(profile.run.duration, (clock() - began_ns) / NS), profile.run.duration)
    if child.returncode not in (0, 2) and not interrupt.requested:
        display.note(f"the load ended with exit code {child.returncode}; see {run.path / 'locust.log'}")
    run.compact()
    _add_notes(run, [*steps, *gap_texts(run.info())])
    for text in run.info().notes:
        if text not in before and text not in steps:
            display.note(text)
    return windows


def _start_locust(
    profile: Profile,
    run: RunDir,
    clock: Clock,
    log: BinaryIO,
    environment: Mapping[str, str],
    workers: RemoteWorkers | None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        _locust_command(profile, run, workers),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={
            **child_environment(os.environ, current_folder()),
            ANCHOR: anchored(clock),
            **handed_on(workers.token if workers is not None else new_token()),
            **environment,
        },
        start_new_session=True,  # a Ctrl-C in the terminal is for us; the child is ended in order
    )


def _over(child: subprocess.Popen[bytes], interrupt: Interrupt) -> Callable[[], bool]:
    return lambda: interrupt.end_phase() or child.poll() is not None


def _timeline(
    profile: Profile,
    target: Target,
    run: RunDir,
    clock: Clock,
    disruptor: Disruptor | None,
    faults: FaultsBeside,
    over: Callable[[], bool],
) -> Timeline:
    """The faults of the profile, with pings through the way that people use."""
    readers = open_readers(target, clock, lambda _: None, profile.dashboards.timeout, source="probe")
    return Timeline(
        profile.faults,
        disruptor,
        lambda component: ping(readers, component, run.info().key),
        clock,
        lambda s: time.sleep(max(0.0, s)),
        over,
        faults.keep,
        give_up_s=lambda component: _recovery_max(profile, component),
    )


def _follow(
    child: subprocess.Popen[bytes],
    run: RunDir,
    profile: Profile,
    clock: Clock,
    began_ns: int,
    display: Display,
    interrupt: Interrupt,
    watch: ClockWatch,
    steps: list[str],
) -> None:
    """Show how far the load is until it ends, and note in ``steps`` when this machine's clock jumps."""
    while child.poll() is None and not interrupt.end_phase():
        step_ns = watch.step_ns()
        if step_ns:
            text = step_text("this machine", step_ns, (clock() - began_ns) / NS)
            steps.append(text)
            display.note(text)
        progress = read_progress(run.path)
        if progress is not None:
            display.load(progress, (clock() - began_ns) / NS, profile.run.duration)
        interrupt.changed.wait(0.25)


def _refuse_no_load(
    run: RunDir, child: subprocess.Popen[bytes], interrupt: Interrupt, workers: RemoteWorkers | None
) -> None:
    """RunError for a load that did not begin, unless a person ended it before."""
    if interrupt.requested:
        return
    if workers is not None:
        connected = read_waiting(run.path).connected
        if connected < workers.expected:
            raise RunError(workers.too_few(connected))
    raise RunError(f"the load did not begin (exit code {child.returncode}):\n{_tail(run.path / 'locust.log')}")


def _recovery_max(profile: Profile, component: Component) -> float:
    """How long a component may take to recover."""
    return max((profile.objectives.of(kind.signal).recovery_max for kind in kinds_in(component)), default=0.0)


def _faults_end_within_s(profile: Profile) -> float:
    """How long a fault that lasts when the load ends may take to be healed, and its last ping to be given up."""
    longest_s = max((one.ending_s + _recovery_max(profile, one.component) for one in profile.faults), default=0)
    return longest_s + profile.dashboards.timeout + HEAL_WITHIN_S


def _tell_of_faults(run: RunDir, faults: FaultsBeside, display: Display) -> None:
    """Tell at once, and in the report, what a person has to know of the faults."""
    problems = faults.problems
    for problem in problems:
        display.note(problem)
    if problems:
        info = run.info()
        run.write_info(replace(info, notes=(*info.notes, *problems)))


def _locust_command(profile: Profile, run: RunDir, workers: RemoteWorkers | None = None) -> list[str]:
    users = profile.logs.users + profile.metrics.users + profile.traces.users + profile.dashboards.users
    command = [
        *(*locust_command(), "--headless", "--only-summary"),
        *("-u", str(users), "-r", str(max(1, min(100, users)))),
        # The load ends itself, after its duration from its first due time; this is for when it does not.
        *("-t", f"{round(profile.run.duration) + OVERTIME_S}s", "--run-dir", str(run.path.resolve())),
    ]
    if workers is not None:
        command += workers.locust_options()
    elif profile.run.processes > 1:
        # Its own processes are one more master and its workers; nobody else has business there.
        port = str(free_port())
        command += ["--processes", str(profile.run.processes)]
        command += ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
        command += ["--master-host", "127.0.0.1", "--master-port", port]
    return command


def _wait_for_begin(
    child: subprocess.Popen[bytes],
    run: RunDir,
    interrupt: Interrupt,
    display: Display,
    workers: RemoteWorkers | None,
) -> int:
    """The beginning of the load; 0 when it was ended before, RunError with Locust's own words when it failed."""
    while child.poll() is None and not interrupt.end_phase():
        if workers is not None:
            display.step("connected", read_waiting(run.path).connected, workers.expected)
        progress = read_progress(run.path)
        if progress is not None:
            return progress.began_ns
        interrupt.changed.wait(0.05)
    progress = read_progress(run.path)
    return progress.began_ns if progress else 0


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child in order, and at last by force; its own children are in its session."""
    if child.poll() is not None:
        return
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(STOP_CHILD_WITHIN_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _tail(path: Path, lines: int = 12) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no output)"


def _read_back(
    run: RunDir, plan: Plan, target: Target, clock: Clock, display: Display, interrupt: Interrupt, settle_s: float = 0
) -> None:
    interrupt.next_phase()
    display.phase("verify", "everything is read back")
    interrupt.changed.wait(settle_s)
    verify(
        run,
        plan,
        target,
        clock=clock,
        sleep=interrupt.sleep,
        progress=display.step,
        stop=interrupt.end_phase,
    )
    if plan.profile.queries and not interrupt.end_phase():
        patience = Patience(interrupt.sleep, interrupt.end_phase)
        readers = open_readers(target, clock, None, plan.profile.verify.timeout, "own", patience=patience)
        display.phase("ranges", "how far back the own queries could look")
        run.append(look_back(run, readers, plan.profile.queries, clock, interrupt.end_phase))
    run.compact()
    run.write_info(replace(run.info(), verified_ns=clock()))


def _wait_for_s3(run: RunDir, plan: Plan, clock: Clock, display: Display, interrupt: Interrupt, watched: bool) -> None:
    """Go on watching S3 until everything accepted is there, or the time for it is over."""
    if not watched:
        return
    interrupt.next_phase()
    give_up_ns = clock() + round(plan.profile.verify.s3_wait * NS)
    display.phase("S3", "waiting for the rest of the data")
    while clock() < give_up_ns and not interrupt.end_phase():
        pending, total = _pending_in_s3(run, plan)
        display.step("in S3", total - pending, total)
        if pending == 0:
            return
        interrupt.changed.wait(2.0)


def _pending_in_s3(run: RunDir, plan: Plan) -> tuple[int, int]:
    """Batches accepted but not yet seen in S3, and all accepted ones."""
    pending = total = 0
    history = run.history()
    for one in Signal:
        coverage = s3_coverage(history, plan, one)
        pending += coverage.pending
        total += coverage.accepted
    return pending, total


def _note(run: RunDir, watcher: S3Watcher) -> None:
    """Let the report say what the S3 watcher met."""
    notes = [f"watching S3: {problem}" for problem in watcher.problems]
    notes += watcher.notes
    if abs(watcher.clock_difference_ns) >= NS:
        notes.append(f"the clock of the S3 server differs by {watcher.clock_difference_ns / NS:+.1f} s; corrected")
    _add_notes(run, notes)


def _add_notes(run: RunDir, notes: Sequence[str]) -> None:
    info = run.info()
    run.write_info(replace(info, notes=(*info.notes, *(note for note in notes if note not in info.notes))))


def conclude(run: RunDir, display: Display, deployed: Deployed | None = None) -> Judgement:
    """Judge what is stored of a run and write the report, by the plan ``deployed``, else the one of the run."""
    display.phase("judge")
    history = run.history()
    profile = parse_profile(history.info.profile, f"{run.path}/run.json")
    plan = plan_of(history.info.key, profile)
    if deployed is None:
        kept = history.info.deployment
        deployed = parse_plan(kept, f"{run.path}/run.json") if kept else default_plan()
    verdicts = deployed.with_ids(judge(history, plan))
    result = outcome(verdicts)
    run.write_verdicts(verdicts, result)
    display.phase("report")
    files = write_report(run, history, plan, verdicts, deployed)
    return Judgement(run, verdicts, result, files)


def verify_again(run: RunDir, target: Target, display: Display, interrupt: Interrupt) -> Judgement:
    """Read a stored run back once more, and judge it anew."""
    clock = steady_clock()
    info = run.info()
    profile = parse_profile(info.profile, f"{run.path}/run.json")
    if info.key.began_ns == 0:
        raise RunError(f"{run.path}: the load of this run never began; there is nothing to verify")
    plan = plan_of(info.key, profile)
    watcher = S3Watcher(target.s3, run, clock, info.key.began_ns)
    watcher.look_whole()
    _note(run, watcher)
    _read_back(run, plan, target, clock, display, interrupt)
    return conclude(run, display)
