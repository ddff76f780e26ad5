"""An audit from end to end: read, judge, report."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from loadgen import __version__
from loadgen.audit import RULES, Tree, audit, read_tree
from loadgen.cli.audit import Format
from loadgen.config import ConfigError
from loadgen.history.directory import verdicts_json
from loadgen.judging import outcome
from loadgen.model import NS, Result, Verdict
from loadgen.plans import Deployed, default_plan
from loadgen.report import write_verdicts
from loadgen.report.html import page
from loadgen.report.junit import junit_xml
from loadgen.report.markdown import summary
from loadgen.report.parts import Block, Head, Part, Promises, Table, Text
from loadgen.report.sections.promises import in_order
from loadgen.report.sections.requirements import matrix


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


def audit_folder(
    folder: Path, out: Path | None, strict: bool, skip: Collection[str], deployed: Deployed | None = None
) -> Audit:
    """Audit a folder of manifests, and write the report to ``out`` if that is given.

    By the shipped plan unless one is given.

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
    deployed = deployed or default_plan()
    verdicts = deployed.with_ids(audit(tree, strict, skip, expected=deployed.audit))
    result = outcome(verdicts)
    length_s = (time.time_ns() - began_ns) / NS
    head = Head(str(folder), "audit of", began_ns, length_s, verdicts, result, __version__)
    made = (_read(folder, tree, strict), matrix(verdicts, deployed))
    parts = tuple(part for part in made if part is not None)
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
