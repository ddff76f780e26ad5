"""``loadgen check`` as a command: gather, judge, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text as Styled

from loadgen import __version__
from loadgen.acceptance.checks import judge
from loadgen.acceptance.gather import gather
from loadgen.checks import outcome
from loadgen.cli.display import TerminalDisplay
from loadgen.config import ConfigError, Target
from loadgen.model import NS, Result, Verdict
from loadgen.report import write_verdicts
from loadgen.report.parts import Block, Head, Part, Table, Text
from loadgen.report.sections.requirements import matrix
from loadgen.report.terminal import print_verdicts
from loadgen.report.when import moment_text
from loadgen.run.interrupt import Interrupt
from loadgen.run.locate import resolve_target
from loadgen.units import seconds


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The end of a check: its verdicts, their outcome, and the files of the report, if one was asked for."""

    verdicts: tuple[Verdict, ...]
    outcome: Result
    files: tuple[Path, ...]


def accept(
    target: Target,
    progress: Callable[[str], None],
    out: Path | None,
    create_dashboard: bool,
    s3_wait_s: float,
    stop: Callable[[], bool] = lambda: False,
) -> Acceptance:
    """Check a deployed stack, and write the report to ``out`` if that is given.

    Raises:
        ConfigError: the file with a secret cannot be read.
        RunDirError: the report cannot be written.
    """
    began_ns = time.time_ns()
    found = gather(target, progress, create_dashboard, s3_wait_s, stop)
    verdicts = judge(found)
    result = outcome(verdicts)
    files: tuple[Path, ...] = ()
    if out is not None:
        length_s = (time.time_ns() - began_ns) / NS
        head = Head(target.name, "check of", began_ns, length_s, verdicts, result, __version__)
        files = write_verdicts(out, head, (_asked(target, began_ns), matrix(verdicts)))
    return Acceptance(verdicts, result, files)


def _asked(target: Target, began_ns: int) -> Part:
    rows = [
        ("stack", target.name),
        ("asked", moment_text(began_ns)),
        ("Grafana", target.grafana.url or "–"),
        ("Loki", target.loki.url or "–"),
        ("Tempo", " ".join(filter(None, (target.tempo.otlp_http, target.tempo.otlp_grpc))) or "–"),
        ("Mimir", target.mimir.url or "–"),
        ("S3", target.s3.endpoint or "–"),
        ("Prometheus", target.prometheus.url or "–"),
        ("Kubernetes namespace", target.kubernetes.namespace or "–"),
    ]
    blocks: tuple[Block, ...] = (
        Text("One line, one trace by each way and one sample were pushed; nothing else of the stack was changed."),
        Table(("what", "where"), tuple(rows)),
    )
    return Part("asked", "What was asked", blocks)


def check_command(
    target: Annotated[
        str,
        typer.Option(
            "--target",
            envvar="LOADGEN_TARGET",
            help="TOML file that says where the stack is. Without it: the local lab, if one runs.",
        ),
    ] = "",
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
) -> None:
    """Acceptance of a deployed stack, without load: buckets, credentials, pods, logs, data sources, remote write.

    Pushes one log line, one trace by each way and one sample, and changes nothing else. What the target names no
    address for is skipped, and says so: [s3.loki] and so on hold the components' own credentials, [prometheus] the url
    of the Prometheus that writes to Mimir, [kubernetes] the namespace.
    """
    console = Console(highlight=False)
    where, _ = resolve_target(target)
    try:
        wait_s = seconds(s3_wait)
    except ValueError as problem:
        raise ConfigError(f"--s3-wait: {problem}") from problem
    with TerminalDisplay(console) as display, Interrupt().installed() as interrupt:
        display.phase("check", where.name)
        interrupt.next_phase()
        done = accept(where, lambda text: display.step(text, 0, 0), out, create_dashboard, wait_s, interrupt.end_phase)
    print_verdicts(console, done.verdicts, done.outcome)
    for path in done.files:
        if path.suffix == ".html":
            console.print(Styled.assemble("report: ", (str(path), "bold")))
    sys.stdout.flush()
    raise typer.Exit({Result.PASS: 0, Result.FAIL: 1}.get(done.outcome, 2))
