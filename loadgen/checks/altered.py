"""What is read back is what was sent, byte for byte or value for value."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from loadgen.checks.case import ITEMS, Case, RunCheck
from loadgen.checks.content import judge_compared
from loadgen.judging import Finding
from loadgen.kinds import KINDS
from loadgen.kinds.kind import Kind
from loadgen.model import Signal


def _judge(case: Case, kind: Kind) -> Finding:
    signal = kind.signal
    limit, what = case.bounds(signal).altered, ITEMS[signal]
    objective = case.objective(f"{signal}.altered", f"≤ {limit} {what} altered", limit, what)
    finding = judge_compared(case, signal, "altered", objective, "altered", kind.altered.advice)
    return replace(finding, evidence=(*finding.evidence, *added_texts(case, signal)))


def added_texts(case: Case, signal: Signal) -> list[str]:
    """What came back beside what was sent, each name once. It is told and not held against anybody."""
    looks = case.sightings(signal, "verify")
    texts = looks.loc[looks["added"] != "", "added"].unique().tolist()
    first: dict[str, str] = {}
    for one in sorted(line for text in texts for line in text.split("\n")):
        first.setdefault(one.partition("=")[0], one)
    return ["added on the way: " + ", ".join(first.values())] if first else []


CHECKS = tuple(
    RunCheck(
        f"{kind.signal}.altered",
        f"{kind.items} are read back as they were sent",
        partial(_judge, kind=kind),
        ("receipts", "sightings"),
    )
    for kind in KINDS
)
