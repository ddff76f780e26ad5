"""``loadgen audit`` as a command: read, judge, report."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text as Styled

from loadgen import __version__
from loadgen.audit import RULES, Tree, audit, read_tree
from loadgen.checks import outcome
from loadgen.config import ConfigError
from loadgen.history.directory import verdicts_json
from loadgen.model import NS, Result, Verdict
from loadgen.report import write_verdicts
from loadgen.report.html import page
from loadgen.report.junit import junit_xml
from loadgen.report.markdown import summary
from loadgen.report.parts import Block, Head, Part, Promises, Table, Text
from loadgen.report.sections.promises import in_order
from loadgen.report.sections.requirements import matrix
from loadgen.report.terminal import print_verdicts


class Format(StrEnum):
    """What is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JUNIT = "junit"
    JSON = "json"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class Audit:
    """The end of an audit: its verdicts, their outcome, the files of the report, and what the report begins with."""

    verdicts: tuple[Verdict, ...]
    outcome: Result
    files: tuple[Path, ...]
    head: Head
    parts: tuple[Part, ...]

    def text(self, wanted: Format) -> str:
        """The report in one of the formats for other programs."""
        shown = (Part("promises", "Promises", (Promises(in_order(self.verdicts)),)), *self.parts)
        if wanted is Format.MARKDOWN:
            return summary(self.head, shown)
        if wanted is Format.JUNIT:
            return junit_xml(self.head).decode()
        if wanted is Format.JSON:
            return verdicts_json(self.head.name, self.verdicts, self.outcome).decode()
        return page(self.head, shown)


def audit_folder(folder: Path, out: Path | None, strict: bool, skip: Collection[str]) -> Audit:
    """Audit a folder of manifests, and write the report to ``out`` if that is given.

    Raises:
        ConfigError: there is no such folder, no YAML in it, or a rule of ``skip`` does not exist.
        RunDirError: the report cannot be written.
    """
    known = [rule.name for rule in RULES]
    unknown = [name for name in skip if name not in known]
    if unknown:
        raise ConfigError(f"--skip {unknown[0]}: there is no such rule; the rules are {', '.join(known)}")
    began_ns = time.time_ns()
    tree = read_tree(folder)
    verdicts = audit(tree, strict, skip)
    result = outcome(verdicts)
    length_s = (time.time_ns() - began_ns) / NS
    head = Head(str(folder), "audit of", began_ns, length_s, verdicts, result, __version__)
    parts = (_read(folder, tree, strict), matrix(verdicts))
    files = write_verdicts(out, head, parts) if out is not None else ()
    return Audit(verdicts, result, files, head, parts)


def _read(folder: Path, tree: Tree, strict: bool) -> Part:
    rows = [
        ("folder", str(folder)),
        ("YAML files", f"{len(tree.files):,}"),
        ("other files", f"{len(tree.others):,}"),
        ("not read", "; ".join(f"{one.place}: {one.what}" for one in (*tree.problems, *tree.left_out)) or "–"),
        ("templates of secrets", "mistakes (--strict)" if strict else "reported, not held against the tree"),
    ]
    blocks: tuple[Block, ...] = (
        Text("Nothing but files was read: what runs in the cluster may differ."),
        Table(("what", "value"), tuple(rows)),
    )
    return Part("read", "What was read", blocks)


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
    done = audit_folder(folder, out, strict, skip or [])
    if form is Format.TABLE:
        console = Console(highlight=False)
        print_verdicts(console, done.verdicts, done.outcome, most=1000)
        for path in done.files:
            if path.suffix == ".html":
                console.print(Styled.assemble("report: ", (str(path), "bold")))
    else:
        sys.stdout.write(done.text(form))
    sys.stdout.flush()
    raise typer.Exit({Result.PASS: 0, Result.FAIL: 1}.get(done.outcome, 2))
