"""The acceptance of a deployed stack from end to end: gather, judge, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadgen import __version__
from loadgen.acceptance.checks import judge
from loadgen.acceptance.gather import gather
from loadgen.config import Target
from loadgen.judging import outcome
from loadgen.model import NS, Result, Verdict
from loadgen.plans import Deployed
from loadgen.report import write_verdicts
from loadgen.report.parts import Block, Head, Part, Table, Text
from loadgen.report.sections.requirements import matrix
from loadgen.report.when import moment_text


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
    deployed: Deployed,
    stop: Callable[[], bool] = lambda: False,
) -> Acceptance:
    """Check a deployed stack, and write the report to ``out`` if that is given.

    Raises:
        ConfigError: the file with a secret cannot be read.
        RunDirError: the report cannot be written.
    """
    began_ns = time.time_ns()
    found = gather(target, progress, create_dashboard, s3_wait_s, stop)
    verdicts = deployed.with_ids(judge(found))
    result = outcome(verdicts)
    files: tuple[Path, ...] = ()
    if out is not None:
        length_s = (time.time_ns() - began_ns) / NS
        head = Head(target.name, "check of", began_ns, length_s, verdicts, result, __version__)
        parts = (_asked(target, began_ns), matrix(verdicts, deployed))
        files = write_verdicts(out, head, [part for part in parts if part is not None])
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
