"""A whole search: the stack is asked how it is, steps are run and judged, and what follows is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadgen import __version__
from loadgen.buckets.watcher import S3Watcher
from loadgen.capacity.containers import container_usage, query_of
from loadgen.capacity.cost import costs_of
from loadgen.capacity.judged import Tried, step_of
from loadgen.capacity.knee import knee_of, level_text
from loadgen.capacity.levels import range_of
from loadgen.capacity.model import Capacity, Ending, SearchKind, SearchOutcome, Step, Usage
from loadgen.capacity.own_load import measure_own_load
from loadgen.capacity.recovery import Health, problems_of, signals_of, wait_until_well
from loadgen.capacity.report import write_capacity
from loadgen.capacity.runner import Doing, StepError, run_searches
from loadgen.capacity.scales import SCALES
from loadgen.capacity.sizing import sizing_of
from loadgen.capacity.store import STEPS, save
from loadgen.capacity.stored import stored_of
from loadgen.capacity.usage import usage_of
from loadgen.checks.case import Case
from loadgen.checks.s3_match import s3_coverage
from loadgen.clock import steady_clock
from loadgen.config import Profile, Target, parse_profile
from loadgen.history.directory import RunDir, RunDirError
from loadgen.history.naming import new_run_name
from loadgen.history.recorder import Progress
from loadgen.kinds import COMPONENTS
from loadgen.model import NS, Signal
from loadgen.plan import Plan, plan_of
from loadgen.run.interrupt import Stop
from loadgen.run.orchestrate import Display, RunError, compare_clocks, execute
from loadgen.targets.clocks import read_clocks
from loadgen.targets.flush import flush_components
from loadgen.targets.readers import open_readers
from loadgen.units import bytes_text, duration_text

_POLL_S = 5.0
_EARLY = "flushed early, as asked for: in smaller pieces than usual, which may compress less"

Crashed = Callable[[], tuple[str, ...]]
"""Which components went down by themselves since this was asked last."""


@dataclass(frozen=True, slots=True)
class SearchFound:
    """The end of a search: what it found, what follows, and the files of the report."""

    capacity: Capacity
    outcome: SearchOutcome
    files: tuple[Path, ...]


def new_capacity(profile: Profile, target: Target, source: str) -> Capacity:
    """A search that did not begin yet."""
    now_ns = time.time_ns()
    return Capacity(
        name=new_run_name(now_ns),
        began_ns=now_ns,
        ended_ns=0,
        version=__version__,
        profile=profile.model_dump(mode="json"),
        target=target.without_secrets(),
        target_source=source,
        engines=target.engines(),
    )


class _StepDisplay:
    """A step's progress as one line of the whole search."""

    def __init__(self, display: Display, what: str) -> None:
        self._display, self._what, self._phase = display, what, ""

    def phase(self, name: str, detail: str = "") -> None:  # noqa: ARG002 - there is one line for all of it
        self._phase = name
        self._display.step(f"{self._what}  {name}", 0, 0)

    def load(self, _progress: Progress, elapsed_s: float, duration_s: float) -> None:
        self._display.step(f"{self._what}  load {min(max(elapsed_s, 0), duration_s):.0f}/{duration_s:.0f} s", 0, 0)

    def step(self, name: str, done: int, total: int) -> None:
        self._display.step(f"{self._what}  {self._phase} {name}", done, total)

    def note(self, text: str) -> None:
        self._display.note(text)


@dataclass(frozen=True, slots=True)
class Session:
    """A stack to search, and where the search is kept.

    Attributes:
        profile, target, source: as in a run.
        folder: of the search.
        name: of the search. The series of all steps go by this name, so that those of one step go on in the next: new
            ones for each would pile up in memory, and against the limit on how many there are. Steps that raise
            streams do the same with their streams. What they send differs by their seed. Everything else goes by a
            name of its step, so that viewers do not look at ever more data; of metrics they look at the users of the
            step alone.
        display, stop: of the terminal.
        crashed: see `Crashed`; the lab's keeper knows it, elsewhere the components' own start times tell.
    """

    profile: Profile
    target: Target
    source: str
    folder: Path
    name: str
    display: Display
    stop: Stop
    crashed: Crashed = tuple

    def ask_first(self) -> None:
        """RunError when the stack is failing already: then it is not loaded."""
        self.display.phase("check", f"does {self.target.name} work?")
        problems = problems_of(self.target, self.profile, signals_of(self.profile), steady_clock())
        if problems:
            texts = "\n".join(f"  - {problem}" for problem in problems)
            raise RunError(f"the stack is failing already, so it is not loaded:\n{texts}")
        compare_clocks(self.target, self.profile, self.display)

    def measure_own(self, capacity: Capacity) -> Capacity:
        """With the load that the stack carries for its user, as it is before the first step."""
        self.display.phase("today", "what the stack carries without loadgen")
        clock = steady_clock()
        readers = open_readers(self.target, clock, None, self.profile.dashboards.timeout, "own")
        return replace(capacity, own=measure_own_load(readers, self.target, clock))

    def search(self, capacity: Capacity, kinds: Sequence[SearchKind]) -> Capacity:
        """Go on with the searches of these kinds."""
        ranges = [range_of(self.profile, kind) for kind in kinds]
        units = {where.kind: where.unit for where in ranges}

        def step(number: int, kind: SearchKind, level: float, planned: Profile) -> Step:
            return self._step(number, kind, level, units[kind], planned)

        doing = Doing(
            step=step,
            well=self._wait_until_well,
            keep=lambda known: save(self.folder, known),
            stop=self.stop.end_phase,
        )
        return run_searches(capacity, self.profile, ranges, doing)

    def _step(self, number: int, kind: SearchKind, level: float, unit: str, planned: Profile) -> Step:
        what = f"{kind} at {level_text(level, unit)}"
        self.display.phase(f"step {number}", what)
        planned = planned.model_copy(
            update={
                "run": planned.run.model_copy(update={"seed": planned.run.seed + number}),
                "verify": planned.verify.model_copy(update={"flush": False}),  # once, after the last step
            }
        )
        place = f"{STEPS}/{number:03d}-{kind}-{level:.4g}"
        began_ns = time.time_ns()
        self.crashed()  # what went down between steps is no doing of this one
        try:
            done = execute(
                planned,
                self.target,
                self.source,
                self.folder / place,
                self.name if unit == "streams" else new_run_name(began_ns),
                _StepDisplay(self.display, what),
                self.stop,
                series_of=self.name,
                clocks=read_clocks(self.target, signals_of(planned)),
            )
        except RunError as problem:
            if self.stop.requested:
                return Step(number, kind, level, place, began_ns, 0.0, 0.0, Ending.INTERRUPTED)
            raise StepError(str(problem)) from problem
        history = done.run.history()
        case = Case(history, plan_of(history.info.key, planned), planned)
        took_s = (time.time_ns() - began_ns) / NS
        tried = Tried(number, kind, level, place, began_ns, took_s, self.crashed())
        made = step_of(tried, case, done.verdicts, usage_of)
        made = replace(made, usage=(*made.usage, *self._containers(case, made)))
        self.display.step(_step_text(what, made), 0, 0)
        self.stop.sleep(max(0.0, reach_s(case.plan) - (time.time_ns() - case.ended_ns()) / NS))
        return made

    def _containers(self, case: Case, step: Step) -> Iterator[Usage]:
        """What the containers used, where there is a cluster whose Prometheus tells it."""
        namespace = self.target.kubernetes.namespace
        if not namespace or not step.steady_s:
            return
        readers = open_readers(self.target, steady_clock(), None, self.profile.dashboards.timeout, "own")
        until_ns = case.ended_ns()
        for component in COMPONENTS:
            used = container_usage(
                query_of(readers.mimir), namespace, component, until_ns - round(step.steady_s * NS), until_ns
            )
            if used is not None:
                yield used

    def _wait_until_well(self) -> Health:
        clock = steady_clock()
        signals = signals_of(self.profile)
        return wait_until_well(
            lambda: problems_of(self.target, self.profile, signals, clock),
            self.profile.capacity.recover_within,
            clock,
            self.stop.sleep,
            self.stop.end_phase,
        )

    def watch_stored(self, capacity: Capacity) -> Capacity:
        """With what became of plain bytes in S3: the data of the highest step that was kept of each signal."""
        chosen = {signal: step for signal in Signal if (step := _to_store(capacity, signal)) is not None}
        if not chosen or not self.target.s3.endpoint or self.stop.requested:
            return capacity
        self.display.phase("S3", "waiting for the data of the steps")
        early = self.profile.verify.flush
        for problem in flush_components(self.target) if early else ():
            self.display.note(problem)
        clock = steady_clock()
        give_up_ns = clock() + round(self.profile.capacity.s3_wait * NS)
        waiting = dict(chosen)
        while waiting:
            pending = 0
            for signal, step in list(waiting.items()):
                left = self._look(signal, step)
                pending += left
                if not left:
                    del waiting[signal]
            self.display.step(f"{pending:,} pushes are not in S3 yet" if pending else "all of it is there", 0, 0)
            if clock() >= give_up_ns or self.stop.end_phase():
                break
            if waiting:
                self.stop.sleep(_POLL_S)
        stored = []
        for signal, step in chosen.items():
            with contextlib.suppress(RunDirError):
                case = self._case(step)
                seen = stored_of(case.history, case.plan, signal)
                stored.append(replace(seen, note="; ".join(filter(None, (seen.note, _EARLY)))) if early else seen)
        return replace(capacity, stored=tuple(stored))

    def _look(self, signal: Signal, step: Step) -> int:
        """Look for a step's data in S3 once more; how many accepted pushes are not there yet."""
        run = RunDir.open(self.folder / step.folder)
        watcher = S3Watcher(self.target.s3, run, steady_clock(), run.info().key.began_ns)
        watcher.poll_once()
        case = self._case(step)
        return s3_coverage(case.history, case.plan, signal).pending

    def _case(self, step: Step) -> Case:
        run = RunDir.open(self.folder / step.folder)
        history = run.history()
        profile = parse_profile(history.info.profile, f"{run.path}/run.json")
        return Case(history, plan_of(history.info.key, profile), profile)


def reach_s(plan: Plan) -> float:
    """How far a first push reaches back: the next step must not begin sooner after this one's end.

    The same series go on, and a sample before their newest one would be out of order.
    """
    return max(scale.reach_s(plan) for scale in SCALES)


def conclude(folder: Path, capacity: Capacity) -> SearchFound:
    """What follows from a search as it stands, and its report."""
    profile = parse_profile(capacity.profile, f"{folder}/capacity.json")
    outcome = outcome_of(capacity, profile)
    return SearchFound(capacity, outcome, write_capacity(folder, capacity, outcome))


def outcome_of(capacity: Capacity, profile: Profile) -> SearchOutcome:
    """What follows from a search. Pure."""
    knees = tuple(knee_of(search, capacity.of(search.kind)) for search in capacity.searches)
    costs = costs_of(capacity.steps)
    sizing = sizing_of(capacity, costs, profile.capacity.retention, profile.capacity.bucket_size)
    return SearchOutcome(tuple(knee.sentence for knee in knees), knees, costs, sizing)


def _to_store(capacity: Capacity, signal: Signal) -> Step | None:
    """The step that tells most of what is stored of a signal: the highest that was kept."""
    steps = [step for step in capacity.steps if step.ending is Ending.KEPT]
    sent = [(flow.accepted_bytes_per_s, step) for step in steps for flow in step.flows if flow.signal == signal.value]
    return max(sent, key=lambda one: one[0])[1] if sent else None


def _step_text(what: str, step: Step) -> str:
    broke = ", ".join(dict.fromkeys(one.check for one in step.broken)) or ", ".join(
        dict.fromkeys(one.check for one in step.untold)
    )
    flows = " ".join(f"{flow.signal} {bytes_text(flow.accepted_bytes_per_s)}/s" for flow in step.flows)
    slowest = max((flow.query_p99_s for flow in step.flows if flow.query_p99_s is not None), default=None)
    took = f", queries p99 {duration_text(slowest)}" if slowest is not None else ""
    why = f" ({broke})" if broke and step.ending is not Ending.KEPT else ""
    return f"{what}: {step.ending}{why}; {flows}{took}"
