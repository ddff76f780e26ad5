"""``loadgen check``: is a deployed stack as it has to be?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from loadgen.cli.options import PlanOption, TargetOption


def check_command(
    target: TargetOption = "",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the report: report.html, summary.md, junit.xml, verdicts.json."),
    ] = None,
    create_dashboard: Annotated[
        bool, typer.Option("--create-dashboard", help="Create loadgen's dashboard in Grafana where it is missing.")
    ] = False,
    s3_wait: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for the first objects in S3, e.g. 5m.")
    ] = "15s",
    plan: PlanOption = "",
) -> None:
    """Acceptance of a deployed stack, without load: buckets, credentials, pods, logs, data sources, remote write.

    Pushes one log line, one trace by each way and one sample, and changes nothing else. What the target names no
    address for is skipped, and says so: [s3.loki] and so on hold the components' own credentials, [prometheus] the url
    of the Prometheus that writes to Mimir, [kubernetes] the namespace.
    """
    from rich.console import Console
    from rich.text import Text

    from loadgen.acceptance.checks import CHECKS
    from loadgen.cli.accepting import accept
    from loadgen.cli.display import TerminalDisplay
    from loadgen.cli.running import option_seconds, refuse_unknown
    from loadgen.judging import EXIT_CODES
    from loadgen.plans import load_plan
    from loadgen.report.terminal import print_verdicts
    from loadgen.run.interrupt import Interrupt
    from loadgen.run.locate import resolve_target

    console = Console(highlight=False)
    where, _ = resolve_target(target)
    wait_s = option_seconds("--s3-wait", s3_wait)
    deployed = load_plan(plan)
    refuse_unknown(deployed.unknown("check", [check.name for check in CHECKS]), plan)
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        display.phase("check", where.name)
        interrupt.next_phase()
        done = accept(
            where, lambda text: display.step(text, 0, 0), out, create_dashboard, wait_s, deployed, interrupt.end_phase
        )
    print_verdicts(console, done.verdicts, done.outcome)
    for path in done.files:
        if path.suffix == ".html":
            console.print(Text.assemble("report: ", (str(path), "bold")))
    sys.stdout.flush()
    raise typer.Exit(EXIT_CODES[done.outcome])
