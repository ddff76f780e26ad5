"""Options that several commands have. Whatever is slow to import stays out of here, so that help is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        envvar="LOADGEN_PROFILE",
        help="A built-in profile (demo, homelab, nfr, soak) or a TOML file.",
    ),
]
TargetOption = Annotated[
    str,
    typer.Option(
        "--target",
        envvar="LOADGEN_TARGET",
        help="TOML file that says where the stack is. Without it: the local lab, if one runs.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder for this run's files (default: reports/<run>; must not hold a run)."),
]
DurationOption = Annotated[
    str, typer.Option("--duration", help="Length of the load, e.g. 90s or 10m, instead of the profile's.")
]
RateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rate", help="10MB/s for every signal, or logs=10MB/s for one; may be repeated.", metavar="[SIGNAL=]RATE"
    ),
]
TokenOption = Annotated[
    str,
    typer.Option(
        "--token-file", help="File with the token of master and workers; else LOADGEN_WORKER_TOKEN or …_TOKEN_FILE."
    ),
]
PlanOption = Annotated[
    str,
    typer.Option(
        "--plan",
        envvar="LOADGEN_PLAN",
        metavar="FILE",
        help="TOML file with the requirements of your deployment, by which reports name what they show, and what the "
        "audit expects of modes and replicas. Not given: lgtm-homelab, which is shipped.",
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(help="Folder of the run, e.g. reports/20260131-235959-ab12.", metavar="RUN")
]
