"""``loadgen capacity``: how much the stack carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loadgen.cli.options import TargetOption


def capacity_command(
    signal: Annotated[
        list[str] | None,
        typer.Option(
            "--signal",
            metavar="logs|traces|metrics|queries|all",
            help="What to raise; may be repeated. Not given: everything that the profile's capacity.kinds names.",
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            "--profile",
            envvar="LOADGEN_PROFILE",
            help="A built-in profile or a TOML file: its load is the first step, its [capacity] section says how far.",
        ),
    ] = "capacity",
    target: TargetOption = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the search (default: reports/capacity-<name>).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with the search in this folder.", metavar="FOLDER")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the steps and what they would write, and send nothing.")
    ] = False,
    duration: Annotated[str, typer.Option(help="Length of the load of each step, e.g. 60s.")] = "",
    max_rate: Annotated[str, typer.Option(help="Never more than this of one signal, e.g. 20MB/s.")] = "",
    max_series: Annotated[int | None, typer.Option(help="Never more active series than this.")] = None,
    max_s3_bytes: Annotated[
        str, typer.Option("--max-s3-bytes", help="Plain bytes that all steps may send, e.g. 20GB.")
    ] = "",
    max_minutes: Annotated[float | None, typer.Option(help="No step begins that would end later.")] = None,
    flush: Annotated[
        bool,
        typer.Option(
            "--flush",
            help="Ask the components to write to S3 after the last step, so that its growth is known at once.",
        ),
    ] = False,
) -> None:
    """Raise the load in steps until a promise breaks: what the stack carries, what it costs, when S3 is full.

    Each step is a run of its own, judged with the checks of any run. Load doubles until something breaks, then the gap
    is halved to within 10 %. It stops at the ceilings of the profile's [capacity] section, and never goes on against a
    stack that does not come back to work after a step. Ctrl-C keeps the steps so far; --resume goes on.

    Exit codes: 0 every search has an answer; 1 a promise broke at the lowest load, a component crashed, or the stack
    did not recover; 2 it could not be told, also when the generator was the limit or the search was cut short.
    """
    from loadgen.cli.searching import search_capacity

    given: dict[str, object] = {
        "run.duration": duration,
        "capacity.max_rate": max_rate,
        "capacity.max_series": max_series,
        "capacity.max_s3_bytes": max_s3_bytes,
        "capacity.max_minutes": max_minutes,
        "verify.flush": True if flush else None,
    }
    overrides = {name: value for name, value in given.items() if value not in ("", None)}
    search_capacity(signal, profile, target, out, resume, dry_run, overrides)
