"""``loadgen verify``: read a stored run back again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loadgen.cli.options import OutOption, TargetOption

if TYPE_CHECKING:
    from loadgen.history.archive import ArchivePlace


def verify_command(
    run_place: Annotated[
        str, typer.Argument(help="Folder of the run, s3://bucket/prefix/RUN, or s3://bucket/prefix.", metavar="RUN")
    ],
    target: TargetOption = "",
    out: OutOption = None,
    older_than: Annotated[
        str, typer.Option(help="Of a folder of runs in S3, the newest is taken that is at least so old.")
    ] = "24h",
    younger_than: Annotated[str, typer.Option(help="And at most so old: what the stack keeps.")] = "30d",
) -> None:
    """Read a stored run back again (days later too), and judge it anew.

    Everything that was sent follows from the run's seed and receipts, so nothing else is needed. The target is the one
    of the run unless another is given; secrets come from the environment again. A run in S3 is copied to --out first,
    and what is found is kept beside it, under verified-<time>/.
    """
    from loadgen.cli.display import TerminalDisplay, run_console
    from loadgen.cli.running import finish, option_seconds, preflight, publish_run
    from loadgen.config import parse_profile
    from loadgen.history.archive import SCHEME, fetch_run
    from loadgen.history.directory import RunDir
    from loadgen.run.interrupt import Interrupt
    from loadgen.run.locate import resolve_target
    from loadgen.run.orchestrate import verify_again

    console = run_console()
    came_from: ArchivePlace | None = None
    if run_place.startswith(SCHEME):
        ages_s = (option_seconds("--older-than", older_than), option_seconds("--younger-than", younger_than))
        run_folder, came_from = fetch_run(run_place, resolve_target(target)[0].s3, out, time.time_ns(), ages_s)
    else:
        run_folder = Path(run_place)
    stored = RunDir.open(run_folder)
    where, _ = resolve_target(target or stored.info().target_source)
    profile = parse_profile(stored.info().profile, f"{run_folder}/run.json")
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        preflight(where, profile, display)
        judgement = verify_again(stored, where, display, interrupt)
        if came_from is not None:
            publish_run(judgement, profile, where, display, came_from)
    finish(console, judgement)
