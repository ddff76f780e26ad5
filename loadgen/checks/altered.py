"""What is read back is what was sent, byte for byte or value for value."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from loadgen.checks.case import ITEMS, Case, Check, Finding
from loadgen.checks.content import judge_compared
from loadgen.model import Signal

_ADVICE = {
    Signal.LOGS: "compare the line in the evidence with what Loki returns; look for pipeline stages, a proxy or "
    "max_line_size_truncate that rewrites lines, then for damaged chunks",
    Signal.TRACES: "compare the span in the evidence with what Tempo returns; look for collector processors that "
    "rewrite "
    "attributes, and for max_attribute_bytes, which cuts long ones",
    Signal.METRICS: "compare the sample in the evidence with what Mimir returns; look for relabelling or recording "
    "rules, a "
    "second sender of the same series, and downsampling",
}


def _judge(case: Case, signal: Signal) -> Finding:
    limit, what = case.bounds(signal).altered, ITEMS[signal]
    objective = case.objective(f"{signal}.altered", f"≤ {limit} {what} altered", limit, what)
    finding = judge_compared(case, signal, "altered", objective, "altered", _ADVICE[signal])
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
    Check(
        f"{signal}.altered",
        f"{ITEMS[signal]} are read back as they were sent",
        ("TASK-021", "TASK-022"),
        partial(_judge, signal=signal),
        ("receipts", "sightings"),
    )
    for signal in (Signal.LOGS, Signal.TRACES, Signal.METRICS)
)
