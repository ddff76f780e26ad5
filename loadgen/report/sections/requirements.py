"""The traceability matrix: every requirement, what shows it, and what this report says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from loadgen.model import Result, Verdict
from loadgen.plans import Deployed, Requirement
from loadgen.report.parts import Facts, Part, Table, Text
from loadgen.report.requirements import Traced, traced
from loadgen.report.words import SIGN, WORD

_MANUAL, _ELSEWHERE, _SO_FAR = "manual", "not judged here", "pass so far"
_ORDER = (
    WORD[Result.FAIL],
    WORD[Result.UNKNOWN],
    WORD[Result.PASS],
    _SO_FAR,
    WORD[Result.SKIPPED],
    _ELSEWHERE,
    _MANUAL,
)
_COLUMNS = ("requirement", "what", "outcome", "shown here by", "shown elsewhere by")


def section(facts: Facts) -> Part | None:
    """The matrix of a run."""
    return matrix(facts.verdicts, facts.deployed)


def matrix(verdicts: Sequence[Verdict], deployed: Deployed) -> Part | None:
    """One row a requirement, folded away; what stands out is said above it. None for a plan without any."""
    rows = traced(verdicts, deployed.requirements)
    if not rows:
        return None
    counts = Counter(_told(row) for row in rows)
    said = ", ".join(f"{counts[words]} {words}" for words in _ORDER if counts[words])
    sentence = f"Of {len(rows)} requirements, {said}."
    broken = [row.requirement.id for row in rows if row.result is Result.FAIL]
    if broken:
        sentence += f" Broken: {', '.join(broken)}."
    table = Table(_COLUMNS, tuple(_row(row) for row in rows), folded=f"all {len(rows)}, and what shows each of them")
    return Part("requirements", "Requirements", (Text(sentence), table))


def _row(row: Traced) -> tuple[str, ...]:
    requirement = row.requirement
    here = ", ".join(f"{SIGN[result]} {name}" for name, result in row.judged) or "–"
    return requirement.id, requirement.title, _outcome(row), here, _elsewhere(requirement, row.elsewhere)


def _told(row: Traced) -> str:
    """The outcome in words: a pass counts as one only when all that shows the requirement was judged here."""
    if row.result is None:
        return _MANUAL if row.requirement.manual else _ELSEWHERE
    return _SO_FAR if row.result is Result.PASS and not row.whole else WORD[row.result]


def _outcome(row: Traced) -> str:
    told = _told(row)
    if row.result is None:
        return told
    count = len(row.requirement.names)
    return f"{SIGN[row.result]} {told}" + ("" if row.whole else f" ({row.shown} of {count})")


def _elsewhere(requirement: Requirement, names: Sequence[str]) -> str:
    """What is not judged here, by command; and what only a person can do, which these prove afterwards."""
    texts = []
    for command, all_names in (("run", requirement.run), ("check", requirement.check), ("audit", requirement.audit)):
        mine = [name for name in all_names if name in names]
        if mine:
            texts.append(f"loadgen {command}: {', '.join(mine)}")
    if requirement.manual:
        proof = "; ".join(texts) or "what is shown here"
        return f"by hand: {requirement.manual}; proven by {proof}"
    return "; ".join(texts) or "–"
