"""``loadgen run``: load, read back, judge, report."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Annotated

import typer

from loadgen.cli.options import (
    DurationOption,
    OutOption,
    PlanOption,
    ProfileOption,
    RateOption,
    TargetOption,
    TokenOption,
)
from loadgen.run.defaults import DEFAULT_PROFILE, LAB, MASTER_PORT

if TYPE_CHECKING:
    from loadgen.faults import Disruptor
    from loadgen.run.workers import RemoteWorkers


def run_command(
    profile: ProfileOption = DEFAULT_PROFILE,
    target: TargetOption = "",
    out: OutOption = None,
    duration: DurationOption = "",
    rate: RateOption = None,
    flush: Annotated[bool, typer.Option("--flush", help="Ask the components to write to S3 after the load.")] = False,
    allow_disruption: Annotated[
        bool,
        typer.Option(
            "--allow-disruption",
            help="Let the profile's faults delete pods of Loki, Tempo and Mimir in the [kubernetes] namespace.",
        ),
    ] = False,
    expect_workers: Annotated[
        int,
        typer.Option(
            envvar="LOADGEN_EXPECT_WORKERS",
            min=0,
            help="Let so many `loadgen worker` on other machines make the load, and begin when they are connected.",
        ),
    ] = 0,
    bind_host: Annotated[
        str,
        typer.Option(
            help="With --expect-workers: the address to listen on; * for all, so that other machines can join, which "
            "needs a token.",
        ),
    ] = "127.0.0.1",
    bind_port: Annotated[int, typer.Option(help="With --expect-workers: the port to listen on.")] = MASTER_PORT,
    workers_wait: Annotated[str, typer.Option(help="With --expect-workers: how long to wait for them.")] = "5m",
    token_file: TokenOption = "",
    plan: PlanOption = "",
) -> None:
    """Load a stack, read everything back, judge every promise and write a report.

    The target file names the stack's addresses; secrets can come from LOADGEN_<SECTION>_<KEY> variables or files.
    Faults of the profile are injected in the local lab, and in a cluster only with --allow-disruption.
    """
    from loadgen.cli.display import TerminalDisplay, run_console
    from loadgen.cli.running import finish, option_seconds, plan_of_run, rates_of, run_and_publish
    from loadgen.config import ConfigError, load_profile
    from loadgen.run.interrupt import Interrupt
    from loadgen.run.joining import token_of_master
    from loadgen.run.locate import find_profile, resolve_target
    from loadgen.run.workers import RemoteWorkers

    console = run_console()
    workers: RemoteWorkers | None = None
    if expect_workers:
        wait_s = option_seconds("--workers-wait", workers_wait)
        token, made_up = token_of_master(os.environ, token_file, bind_host)
        workers = RemoteWorkers(expect_workers, bind_host, bind_port, wait_s, token, made_up)
    deployed = plan_of_run(plan)
    overrides: dict[str, object] = {}
    if duration:
        overrides["run.duration"] = duration
    if flush:
        overrides["verify.flush"] = True
    overrides.update(rates_of(rate or []))
    chosen = load_profile(find_profile(profile), overrides)
    where, source = resolve_target(target)
    disruptor: Disruptor | None = None
    if source == LAB and chosen.faults:
        from loadgen.lab.target import LabDisruptor, open_lab

        disruptor = LabDisruptor(open_lab())
    elif allow_disruption and chosen.faults:
        if not where.kubernetes.namespace:
            raise ConfigError(
                "--allow-disruption: the target names no [kubernetes] namespace; set it to the stack's own"
            )
        from loadgen.targets.pods import ClusterDisruptor

        disruptor = ClusterDisruptor(where.kubernetes, chosen.objectives.logs.recovery_max)
    joining = workers.open() if workers is not None else contextlib.nullcontext()
    with joining, TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        judgement = run_and_publish(chosen, where, source, out, display, interrupt, disruptor, workers, deployed)
    finish(console, judgement)
