"""The verdicts in the terminal: a table and one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadgen.model import Result, Verdict
from loadgen.report.sections.promises import ORDER
from loadgen.report.words import SIGN, WORD, headline, objective_text

# Narrower terminals leave the objectives out; those of broken promises stand below the table.
WIDE = 100
_STYLE = {Result.PASS: "green", Result.FAIL: "bold red", Result.UNKNOWN: "yellow", Result.SKIPPED: "dim"}


def verdict_table(verdicts: Sequence[Verdict], with_objectives: bool = True) -> Table:
    """One row a promise; what was measured beside what was promised. Text from outside is never read as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("promise", no_wrap=True)
    if with_objectives:
        table.add_column("objective", ratio=2)
    table.add_column("measured", ratio=3)
    table.add_column("n", justify="right", no_wrap=True)
    for verdict in verdicts:
        style = _STYLE[verdict.result]
        measured = verdict.measured or next(iter(verdict.evidence), "")
        cells = [Text(f"{SIGN[verdict.result]} {WORD[verdict.result]}", style), Text(verdict.check)]
        if with_objectives:
            cells.append(Text(objective_text(verdict), "dim" if verdict.result is Result.SKIPPED else ""))
        cells.append(Text(measured, style if verdict.result is not Result.PASS else ""))
        cells.append(Text(f"{verdict.samples:,}" if verdict.samples else "–", "dim"))
        table.add_row(*cells)
    return table


def summary_line(verdicts: Sequence[Verdict], outcome: Result) -> Text:
    """The outcome and one sentence."""
    return Text.assemble(
        (f"{SIGN[outcome]} {WORD[outcome]}", _STYLE[outcome] + " bold"), "  ", headline(outcome, verdicts)
    )


def print_verdicts(console: Console, verdicts: Sequence[Verdict], outcome: Result, most: int = 4) -> None:
    """The table, then what to do about each promise not kept (with ``most`` texts of evidence), then the sentence."""
    console.print(verdict_table(verdicts, with_objectives=console.width >= WIDE))
    for result in ORDER[:2]:
        for verdict in verdicts:
            if verdict.result is result:
                _explain(console, verdict, most)
    console.print(summary_line(verdicts, outcome))


def _explain(console: Console, verdict: Verdict, most: int) -> None:
    console.print(
        Text.assemble((f"{SIGN[verdict.result]} {verdict.check}", _STYLE[verdict.result]), f"  {verdict.promise}")
    )
    console.print(Text(f"    promised: {objective_text(verdict)}"))
    for text in verdict.evidence[:most]:
        console.print(Text(f"    {text}"))
    if len(verdict.evidence) > most:
        console.print(Text(f"    and {len(verdict.evidence) - most} more, in the report", "dim"))
    if verdict.remedy:
        console.print(Text.assemble(("    → ", "bold"), verdict.remedy))
    console.print()
