"""``loadgen audit``: judge a folder of manifests."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loadgen.cli.options import PlanOption


class Format(StrEnum):
    """What is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    JSON = "json"
    HTML = "html"


def audit_command(
    folder: Annotated[Path, typer.Argument(help="Folder of the manifests, e.g. kubernetes/.", metavar="DIR")],
    form: Annotated[Format, typer.Option("--format", help="What to print on standard output.")] = Format.TABLE,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the report: report.html, summary.md, junit.xml, verdicts.json."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Templates of secrets are mistakes: the tree is deployed as it is.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="RULE", help="Leave a rule out; may be repeated.")
    ] = None,
    plan: PlanOption = "",
) -> None:
    """Acceptance of a GitOps tree, without a cluster: can what these manifests deploy keep its promises?

    Reads every YAML file below DIR (Flux Kustomizations, OCIRepositories, HelmReleases, Secrets, ConfigMaps), works out
    the values that count, those of the charts' defaults included, and judges: SOPS and secrets, HTTPS to S3, chart
    versions, replicas, memory, buckets, data sources, remote write, flush ages, limits and retention. Every finding
    names file and line and says what to write instead. No value of a secret is printed.

    A Secret that says of itself that it is a template (in its file's name or first comment, or by an annotation
    */template: "true") is reported and not held against the tree; --strict does. What comes from a place that is not
    below DIR, or from a chart version that is not known, is unknown, never a pass.
    """
    from rich.console import Console
    from rich.text import Text

    from loadgen.audit import RULES
    from loadgen.cli.auditing import audit_folder
    from loadgen.cli.running import refuse_unknown
    from loadgen.judging import EXIT_CODES
    from loadgen.plans import load_plan
    from loadgen.report.terminal import print_verdicts

    deployed = load_plan(plan)
    refuse_unknown(deployed.unknown("audit", [rule.name for rule in RULES]), plan)
    done = audit_folder(folder, out, strict, skip or [], deployed)
    if form is Format.TABLE:
        console = Console(highlight=False)
        print_verdicts(console, done.verdicts, done.outcome, most=1000)
        for path in done.files:
            if path.suffix == ".html":
                console.print(Text.assemble("report: ", (str(path), "bold")))
    else:
        sys.stdout.write(done.text(form))
    sys.stdout.flush()
    raise typer.Exit(EXIT_CODES[done.outcome])
