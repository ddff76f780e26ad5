"""How much of what was sent was really looked at."""

from __future__ import annotations

from loadgen.checks.case import ITEMS
from loadgen.checks.content import strength
from loadgen.model import Outcome, Signal
from loadgen.report.parts import Facts, Part, Table, Text


def section(facts: Facts) -> Part | None:
    """What was counted, and what was compared in content, of each signal."""
    rows, texts = [], []
    for signal in (Signal.LOGS, Signal.METRICS, Signal.TRACES):
        both = facts.case.verified(signal)
        if both.empty:
            continue
        accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
        readable = accepted[accepted["seen"] & ~accepted["unreadable"]]
        compared = both[both["compared"] > 0]
        wrong = int(both["altered"].sum() + both["reordered"].sum())
        what = ITEMS[signal]
        rows.append(
            (
                str(signal),
                f"{len(accepted):,}",
                f"{len(readable):,}",
                f"{int(readable['found'].sum()):,} {what}",
                f"{len(compared):,}",
                f"{int(compared['compared'].sum()):,} {what}",
            )
        )
        texts.append(Text(f"{signal}: {strength(compared, accepted, wrong, what)}."))
    if not rows:
        return None
    columns = ("signal", "batches accepted", "batches read back", "found", "batches compared", "compared in content")
    intro = Text("Every accepted batch is counted; its content is compared, item for item, as far as the profile says.")
    return Part("sampling", "What was looked at", (intro, Table(columns, tuple(rows), right=(1, 2, 3, 4, 5)), *texts))
