"""How a promise is judged: a check finds something out from facts, and that becomes a verdict. Pure.

The checks of a run, of a deployed stack and of manifests differ in their facts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from loadgen.mistakes import REPORT_IT, mistake
from loadgen.model import Objective, Result, Verdict

Facts = TypeVar("Facts")

NO_BOUND = Objective("", 0.0, "")
EXIT_CODES: Mapping[Result, int] = {Result.PASS: 0, Result.FAIL: 1, Result.UNKNOWN: 2, Result.SKIPPED: 2}
"""What a script is told of an outcome."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found out; the fields are those of `Verdict`. Without an objective it is judged by the check's."""

    result: Result
    objective: Objective | None = None
    measured: str = ""
    value: float | None = None
    samples: int = 0
    evidence: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Check(Generic[Facts]):
    """One promise.

    Attributes:
        name: e.g. ``logs.loss``, ``s3.buckets`` or ``sops``.
        promise: in words.
        judge: from facts to a finding; pure.
        bound: what is promised, where it does not depend on the facts.
    """

    name: str
    promise: str
    judge: Callable[[Facts], Finding]
    bound: Objective = field(default=NO_BOUND, kw_only=True)

    def verdict(
        self,
        facts: Facts,
        then: Callable[[Finding], Finding] = lambda finding: finding,
        told: bool = True,
        remedy: str = REPORT_IT,
    ) -> Verdict:
        """The verdict; a check that cannot be judged is unknown and costs no other one.

        Args:
            facts: what it is judged by.
            then: what else has a say in the finding.
            told: whether the text of a mistake may be shown; it may hold what was read.
            remedy: what to do about a mistake.
        """
        try:
            finding = then(self.judge(facts))
        except Exception as problem:  # noqa: BLE001 - a mistake of ours in one promise must not cost the others
            why = f"judging it failed: {mistake(problem, with_text=told)}"
            finding = Finding(Result.UNKNOWN, evidence=(why,), remedy=remedy)
        return self.as_verdict(finding)

    def as_verdict(self, finding: Finding) -> Verdict:
        """A finding as the verdict of this promise."""
        return Verdict(
            check=self.name,
            promise=self.promise,
            result=finding.result,
            objective=finding.objective or self.bound,
            measured=finding.measured,
            value=finding.value,
            samples=finding.samples,
            evidence=finding.evidence,
            remedy=finding.remedy,
        )


def outcome(verdicts: Sequence[Verdict]) -> Result:
    """The outcome: fail if any promise is broken, else unknown if any could not be told, else pass.

    Skipped promises do not matter, but if there is nothing else, nothing is known.
    """
    results = {verdict.result for verdict in verdicts}
    for result in (Result.FAIL, Result.UNKNOWN, Result.PASS):
        if result in results:
            return result
    return Result.UNKNOWN
