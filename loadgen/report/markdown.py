"""The report as GitHub-flavoured Markdown: the same parts, without the charts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from loadgen.model import Result, Verdict
from loadgen.report.parts import Block, Cell, Heading, Link, Part, Promises, Sentence, Table, Text
from loadgen.report.when import moment_text
from loadgen.report.words import SIGN, WORD, objective_text

_SPECIAL = re.compile(r"([\\`*\[\]<>|~])")
_EDGE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def summary(head: Heading, parts: Sequence[Part]) -> str:
    """The whole document."""
    what = escape(head.what.removesuffix(" of").capitalize())
    lines = [
        f"# {head.overall.sign} {head.overall.word}: {escape(head.name)}",
        "",
        *_first(head.sentences),
        "",
        f"{what} of {moment_text(head.began_ns)}. {escape(head.note)}".rstrip(),
    ]
    for part in parts:
        lines += ["", f"## {escape(part.title)}"]
        for block in part.blocks:
            lines += _block(block)
    return "\n".join(lines) + "\n"


def _first(sentences: Sequence[Sentence]) -> list[str]:
    if len(sentences) == 1:
        return [escape(sentences[0].text)]
    return [f"- **{one.sign} {escape(one.word)}:** {escape(one.text)}" for one in sentences]


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return ["", escape(block.text)]
    if isinstance(block, Promises):
        return _promises(block.verdicts)
    if isinstance(block, Table):
        table = _table(block.columns, block.rows, block.right)
        if not block.folded:
            return ["", *table]
        return ["", "<details>", f"<summary>{escape(block.folded)}</summary>", "", *table, "", "</details>"]
    return []


def _promises(verdicts: Sequence[Verdict]) -> list[str]:
    traced = any(verdict.requirements for verdict in verdicts)
    rows = [
        (
            f"{SIGN[verdict.result]} {WORD[verdict.result]}",
            verdict.check,
            verdict.promise,
            objective_text(verdict),
            verdict.measured or "–",
            f"{verdict.samples:,}",
            *((", ".join(verdict.requirements) or "–",) if traced else ()),
        )
        for verdict in verdicts
    ]
    last = ("requirements",) if traced else ()
    columns = ("outcome", "check", "promise", "objective", "measured", "samples", *last)
    lines = ["", *_table(columns, rows, (5,))]
    for verdict in verdicts:
        if verdict.result in (Result.FAIL, Result.UNKNOWN):
            lines += ["", f"### {SIGN[verdict.result]} {escape(verdict.check)}", ""]
            lines += [f"- {escape(text)}" for text in verdict.evidence]
            if verdict.remedy:
                lines += ["", f"**What to do:** {escape(verdict.remedy)}"]
    others = [verdict for verdict in verdicts if verdict.result in (Result.PASS, Result.SKIPPED) and verdict.evidence]
    if others:
        lines += ["", "<details>", "<summary>evidence of the others</summary>"]
        for verdict in others:
            lines += ["", f"**{escape(verdict.check)}**", "", *(f"- {escape(text)}" for text in verdict.evidence)]
        lines += ["", "</details>"]
    return lines


def _table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[int]) -> list[str]:
    rule = ["---:" if number in right else "---" for number in range(len(columns))]
    lines = [[escape(column) for column in columns], rule, *([_cell(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cell(cell: Cell) -> str:
    return f"[{escape(cell.text)}]({cell.href})" if isinstance(cell, Link) else escape(cell)


def escape(text: str) -> str:
    """Text that reads in Markdown as it is: no tag, link, table cell or emphasis comes out of it."""
    one_line = " ".join(text.split()).replace("&", "&amp;")
    return _EDGE.sub(r"\\_", _SPECIAL.sub(r"\\\1", one_line))
