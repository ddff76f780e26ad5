"""What commands that run something have in common."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from loadgen.checks import CHECKS
from loadgen.cli.display import TerminalDisplay
from loadgen.config import ConfigError, Profile, Target
from loadgen.faults import Disruptor
from loadgen.history.archive import ArchivePlace, place_of
from loadgen.history.naming import new_run_name
from loadgen.judging import EXIT_CODES
from loadgen.kinds import kind_of
from loadgen.model import Signal
from loadgen.plans import Deployed, load_plan
from loadgen.push.preflight import check_reachable
from loadgen.report.terminal import print_verdicts
from loadgen.run.interrupt import Interrupt
from loadgen.run.orchestrate import Judgement, RunError, compare_clocks, execute
from loadgen.run.publish import publish
from loadgen.run.workers import RemoteWorkers
from loadgen.skew import refusal, weigh
from loadgen.targets.clocks import read_clocks
from loadgen.units import seconds


def option_seconds(option: str, text: str) -> float:
    """The duration that an option gives; ConfigError if it is none."""
    try:
        return seconds(text)
    except ValueError as problem:
        raise ConfigError(f"{option}: {problem}") from problem


def publish_run(
    judgement: Judgement,
    profile: Profile,
    target: Target,
    display: TerminalDisplay,
    came_from: ArchivePlace | None = None,
) -> None:
    """Tell the outcome where the profile and the target say."""
    if not (profile.publish.metrics or profile.publish.annotation or target.s3.reports_url or came_from):
        return
    display.phase("publish")
    told = publish(
        judgement.run, judgement.verdicts, judgement.outcome, profile.publish, target, time.time_ns(), came_from
    )
    for note in told.notes:
        display.note(note)
    if told.url:
        display.note(f"kept in {told.url}")


def rates_of(texts: list[str]) -> dict[str, object]:
    """Settings of a profile that ``--rate`` overrides; ConfigError if it names no signal."""
    rates: dict[str, object] = {}
    for text in texts:
        signal, separator, rate = text.rpartition("=")
        if separator and signal not in set(Signal):
            raise ConfigError(f"--rate {text}: {signal!r} is not a signal; write logs=…, metrics=… or traces=…")
        for name in [signal] if separator else list(Signal):
            rates[f"{name}.rate"] = rate
    return rates


def run_and_publish(
    profile: Profile,
    target: Target,
    source: str,
    out: Path | None,
    display: TerminalDisplay,
    interrupt: Interrupt,
    disruptor: Disruptor | None,
    workers: RemoteWorkers | None = None,
    deployed: Deployed | None = None,
) -> Judgement:
    """Run a profile against a target, judge it, and tell the outcome. Raises what `execute` raises."""
    name = new_run_name(time.time_ns())
    if target.s3.reports_url:
        place_of(target.s3.reports_url)  # a mistake in it shall not wait for the end of the run
    preflight(target, profile, display)
    clocks = compare_clocks(target, profile, display)
    folder = out or Path("reports") / name
    judgement = execute(
        profile,
        target,
        source,
        folder,
        name,
        display,
        interrupt,
        disruptor,
        workers=workers,
        clocks=clocks,
        deployed=deployed,
    )
    publish_run(judgement, profile, target, display)
    return judgement


def preflight(target: Target, profile: Profile, display: TerminalDisplay) -> None:
    """RunError with all that is wrong if a target cannot be used for a profile."""
    display.phase("check", f"is {target.name} reachable?")
    sent = [signal for signal in Signal if profile.users(signal)]
    asked = {query.component for query in profile.queries}
    problems = check_reachable(
        target, sent, asked=[signal for signal in Signal if kind_of(signal).store.value in asked]
    )
    if problems:
        # A clock that is wrong can be the reason: S3 refuses it, and a certificate is not valid yet by it.
        skew = weigh(read_clocks(target, sent))
        wrong = refusal(skew, sent, time.time_ns())
        problems = (*((wrong,) if wrong else skew.texts()), *problems)
        raise RunError("the target cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))


def plan_of_run(place: str) -> Deployed | None:
    """The plan of a file that a run shall be reported by; None if none is given.

    ConfigError when it cannot be used, or names checks that there are not.
    """
    if not place:
        return None
    deployed = load_plan(place)
    refuse_unknown(deployed.unknown("run", [check.name for check in CHECKS]), place)
    return deployed


def refuse_unknown(unknown: Sequence[str], place: str) -> None:
    """ConfigError with what a plan names that there is not."""
    if unknown:
        raise ConfigError("\n".join(f"--plan {place}: {text}" for text in unknown))


def finish(console: Console, judgement: Judgement) -> None:
    """Print the verdicts and end with their exit code."""
    print_verdicts(console, judgement.verdicts, judgement.outcome)
    for path in judgement.files:
        if path.suffix == ".html":
            console.print(Text.assemble("report: ", (str(path), "bold")))
    sys.stdout.flush()
    raise typer.Exit(EXIT_CODES[judgement.outcome])
