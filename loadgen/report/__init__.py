"""The report: what a run showed, as HTML, Markdown and JUnit XML.

To add a section, write a file with a function ``section(facts) -> Part | None`` and add it to `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadgen.checks.case import Case
from loadgen.config import parse_profile
from loadgen.history.directory import RunDir, verdicts_json, write_atomically
from loadgen.history.values import History
from loadgen.judging import outcome
from loadgen.mistakes import mistake
from loadgen.model import Verdict
from loadgen.plan import Plan
from loadgen.plans import Deployed
from loadgen.report.html import page
from loadgen.report.junit import junit_xml
from loadgen.report.markdown import summary
from loadgen.report.parts import Facts, Head, Part, Promises, Section, Text
from loadgen.report.sections import (
    freshness,
    own_queries,
    promises,
    push_latency,
    query_latency,
    receipts,
    requirements,
    restarts,
    s3,
    sampling,
    slowest,
    stack,
    throughput,
    what_ran,
)
from loadgen.report.sections.promises import in_order

SECTIONS: tuple[Section, ...] = (
    promises.section,
    throughput.section,
    push_latency.section,
    query_latency.section,
    own_queries.section,
    freshness.section,
    s3.section,
    restarts.section,
    stack.section,
    what_ran.section,
    sampling.section,
    slowest.section,
    receipts.section,
    requirements.section,
)


def write_report(
    run: RunDir, history: History, plan: Plan, verdicts: Sequence[Verdict], deployed: Deployed | None = None
) -> tuple[Path, ...]:
    """Write ``report.html``, ``summary.md`` and ``junit.xml`` into the run's folder; RunDirError when that fails."""
    facts = facts_of(history, plan, verdicts, deployed)
    parts = parts_of(facts)
    files = {
        "report.html": page(facts.head, parts).encode("utf-8", "replace"),
        "summary.md": summary(facts.head, parts).encode("utf-8", "replace"),
        "junit.xml": junit_xml(facts.head),
    }
    return write_files(run.path, files)


def write_verdicts(folder: Path, head: Head, parts: Sequence[Part] = ()) -> tuple[Path, ...]:
    """The same files, and ``verdicts.json``, for what is no run: the promises, and whatever other parts are given.

    RunDirError when they cannot be written.
    """
    shown = (Part("promises", "Promises", (Promises(in_order(head.verdicts)),)), *parts)
    files = {
        "report.html": page(head, shown).encode("utf-8", "replace"),
        "summary.md": summary(head, shown).encode("utf-8", "replace"),
        "junit.xml": junit_xml(head),
        "verdicts.json": verdicts_json(head.name, head.verdicts, head.outcome),
    }
    return write_files(folder, files)


def write_files(folder: Path, files: dict[str, bytes]) -> tuple[Path, ...]:
    """Write each file by its name, whole or not at all; RunDirError when one cannot be written."""
    for name, content in files.items():
        write_atomically(folder / name, content)
    return tuple(folder / name for name in files)


def facts_of(history: History, plan: Plan, verdicts: Sequence[Verdict], deployed: Deployed | None = None) -> Facts:
    """What the sections are made from."""
    case = Case(history, plan, parse_profile(history.info.profile, "run.json"))
    return Facts(case, tuple(verdicts), outcome(verdicts), deployed or Deployed())


def parts_of(facts: Facts) -> tuple[Part, ...]:
    """All sections that have something to say about the run."""
    made = (_made(section, facts) for section in SECTIONS)
    return tuple(part for part in made if part is not None)


def _made(section: Section, facts: Facts) -> Part | None:
    try:
        return section(facts)
    except Exception as problem:  # noqa: BLE001 - one section that cannot be made must not cost the verdicts
        # What is stored may have been edited by hand.
        name = section.__module__.rpartition(".")[2]
        return Part(name, name, (Text(f"This section could not be made: {mistake(problem)}", strong=True),))


__all__ = ["SECTIONS", "write_files", "write_report", "write_verdicts"]
