"""How much of what was sent was really looked at."""

from __future__ import annotations

from loadgen.checks.case import ITEMS
from loadgen.checks.content import comparison_of
from loadgen.kinds import SIGNALS, kind_of
from loadgen.model import Outcome
from loadgen.report.parts import Facts, Part, Table, Text


def section(facts: Facts) -> Part | None:
    """What was counted, and what was compared in content, of each signal."""
    rows, texts = [], []
    for signal in SIGNALS:
        both = facts.case.verified(signal)
        if both.empty:
            continue
        accepted = both[both["outcome"] == Outcome.ACCEPTED.value]
        readable = accepted[accepted["seen"] & ~accepted["unreadable"]]
        wrong = int(both["altered"].sum() + both["reordered"].sum())
        what, compared = ITEMS[signal], comparison_of(facts.case, signal)
        rows.append(
            (
                str(signal),
                f"{len(accepted):,}",
                f"{len(readable):,}",
                f"{int(readable['found'].sum()):,} {what}",
                f"{compared.k:,}",
                f"{compared.beside:,}",
                f"{compared.items:,} {what}",
            )
        )
        texts.append(Text(f"{signal}: {compared.text(wrong, what)}."))
        if not compared.everything:
            texts.append(Text(f"{signal}: {kind_of(signal).counted_by}."))
    if not rows:
        return None
    columns = (
        "signal",
        "batches accepted",
        "batches counted",
        "found",
        "sample compared",
        "compared beside it",
        "compared in content",
    )
    intro = Text(
        "Every accepted batch is counted, whatever the sample. Content is compared, item for item, of as many batches "
        "as the profile says (verify.sample, verify.max_compared). They are drawn at random, each with the same chance "
        "and before anything is known of it."
    )
    table = Table(columns, tuple(rows), right=(1, 2, 3, 4, 5, 6))
    return Part("sampling", "What was looked at", (intro, table, *texts))
