"""Which requirements this run says something about, and what."""

from __future__ import annotations

from loadgen.model import Result
from loadgen.report.parts import Facts, Part, Table
from loadgen.report.words import WORD

_WORST = (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED)


def section(facts: Facts) -> Part | None:
    """One row a requirement: the checks that cover it, and the worst of their results."""
    checks: dict[str, list[str]] = {}
    results: dict[str, set[Result]] = {}
    for verdict in facts.verdicts:
        for requirement in verdict.requirements:
            checks.setdefault(requirement, []).append(verdict.check)
            results.setdefault(requirement, set()).add(verdict.result)
    rows = []
    for requirement in sorted(checks):
        worst = next(result for result in _WORST if result in results[requirement])
        rows.append((requirement, WORD[worst], ", ".join(checks[requirement])))
    if not rows:
        return None
    folded = f"{len(rows)} requirements that this run covers"
    return Part(
        "requirements", "Requirements", (Table(("requirement", "outcome", "checks"), tuple(rows), folded=folded),)
    )
