"""The traceability matrix: every requirement, what shows it, and what this report says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadgen.model import Result, Verdict
from loadgen.report.parts import Facts, Part, Table, Text
from loadgen.report.words import SIGN, WORD
from loadgen.requirements import Requirement, Traced, traced

_COLUMNS = ("requirement", "what", "outcome", "shown here by", "shown elsewhere by")


def section(facts: Facts) -> Part | None:
    """The matrix of a run."""
    return matrix(facts.verdicts)


def matrix(verdicts: Sequence[Verdict]) -> Part:
    """One row a requirement, folded away; what stands out is said above it."""
    rows = traced(verdicts)
    counts = Counter(row.result for row in rows)
    judged = len(rows) - counts[None]
    told = ", ".join(f"{counts[result]} {WORD[result]}" for result in Result if counts[result])
    text = f"{judged} of {len(rows)} requirements are judged in this report"
    broken = [row.requirement.id for row in rows if row.result is Result.FAIL]
    sentence = f"{text}: {told}." if judged else f"{text}."
    if broken:
        sentence += f" Broken: {', '.join(broken)}."
    table = Table(_COLUMNS, tuple(_row(row) for row in rows), folded=f"all {len(rows)}, and what shows each of them")
    return Part("requirements", "Requirements", (Text(sentence), table))


def _row(row: Traced) -> tuple[str, ...]:
    requirement = row.requirement
    here = ", ".join(f"{SIGN[result]} {name}" for name, result in row.judged) or "–"
    return requirement.id, requirement.title, _outcome(row), here, _elsewhere(requirement, row.elsewhere)


def _outcome(row: Traced) -> str:
    """The worst result; how much of what could show it stands behind it, if that is not all."""
    if row.result is None:
        return "manual" if row.requirement.manual else "not judged here"
    part = f" ({len(row.judged)} of {len(row.requirement.names)})" if row.elsewhere else ""
    return f"{SIGN[row.result]} {WORD[row.result]}{part}"


def _elsewhere(requirement: Requirement, names: Sequence[str]) -> str:
    """What is not judged here, by command; and what only a person can do."""
    texts = []
    for command, all_names in (("run", requirement.run), ("check", requirement.check), ("audit", requirement.audit)):
        mine = [name for name in all_names if name in names]
        if mine:
            texts.append(f"loadgen {command}: {', '.join(mine)}")
    if requirement.manual:
        texts.append(f"by hand: {requirement.manual}, which {', '.join(requirement.names)} prove afterwards")
    return "; ".join(texts) or "–"
