"""What a report says of each requirement of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loadgen.model import Result, Verdict
from loadgen.plans import Requirement

_WORST = (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED)


@dataclass(frozen=True, slots=True)
class Traced:
    """A requirement and what a report says of it.

    Attributes:
        requirement: the requirement.
        result: the worst result of those that show it and were judged here; None if none was.
        judged: those that were, with their result.
        elsewhere: those that were not.
    """

    requirement: Requirement
    result: Result | None
    judged: tuple[tuple[str, Result], ...]
    elsewhere: tuple[str, ...]

    @property
    def shown(self) -> int:
        """How many of those that show it did so here; what was skipped shows nothing."""
        return sum(result is not Result.SKIPPED for _, result in self.judged)

    @property
    def whole(self) -> bool:
        """All of them did."""
        return self.shown == len(self.requirement.names)


def traced(verdicts: Sequence[Verdict], requirements: Iterable[Requirement]) -> tuple[Traced, ...]:
    """Every requirement with what these verdicts say of it."""
    results = {verdict.check: verdict.result for verdict in verdicts}
    return tuple(_traced(requirement, results) for requirement in requirements)


def _traced(requirement: Requirement, results: dict[str, Result]) -> Traced:
    judged = tuple((name, results[name]) for name in requirement.names if name in results)
    found = {result for _, result in judged}
    worst = next((result for result in _WORST if result in found), None)
    return Traced(requirement, worst, judged, tuple(name for name in requirement.names if name not in results))
