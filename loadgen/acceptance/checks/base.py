"""What an acceptance check is, and what several of them share. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadgen.acceptance.facts import Deployment, T, Told
from loadgen.model import Objective, Result


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found out; the fields are those of `loadgen.model.Verdict`."""

    result: Result
    measured: str = ""
    samples: int = 0
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One promise about a deployed stack.

    Attributes:
        name: e.g. ``s3.buckets``.
        promise: in words.
        bound: what is promised, for people.
        judge: from what was found out to a finding.
    """

    name: str
    promise: str
    bound: str
    judge: Callable[[Deployment], Finding]

    @property
    def objective(self) -> Objective:
        """The bound as verdicts hold it."""
        return Objective(self.bound, 0.0, "")


def ok(measured: str, samples: int = 1, *evidence: str, value: float | None = None) -> Finding:
    """The promise is kept."""
    return Finding(Result.PASS, measured, samples, evidence, "", value)


def broken(measured: str, remedy: str, *evidence: str, samples: int = 1, value: float | None = None) -> Finding:
    """The promise is broken, and what to do about it."""
    return Finding(Result.FAIL, measured, samples, evidence, remedy, value)


def untold(why: str, remedy: str, *evidence: str) -> Finding:
    """It could not be told."""
    return Finding(Result.UNKNOWN, "", 0, (why, *evidence), remedy)


def skipped(why: str, remedy: str = "") -> Finding:
    """It does not apply here, or was not asked."""
    return Finding(Result.SKIPPED, "", 0, (why,), remedy)


def not_told(told: Told[T], remedy: str) -> Finding | None:
    """The finding for an answer that is missing; None when there is one."""
    if told.skipped:
        return skipped(told.skipped, remedy)
    if told.value is None:
        return untold(told.error or "nothing came back", remedy)
    return None


def worst(findings: Sequence[Finding], nothing: str, remedy: str) -> Finding:
    """Several findings as one: broken before untold before kept; skipped only if all are."""
    if not findings:
        return skipped(nothing, remedy)
    for result in (Result.FAIL, Result.UNKNOWN, Result.PASS, Result.SKIPPED):
        mine = [one for one in findings if one.result is result]
        if mine:
            evidence = tuple(text for one in findings for text in one.evidence)
            measured = "; ".join(dict.fromkeys(one.measured for one in mine if one.measured))
            remedies = "; ".join(dict.fromkeys(one.remedy for one in mine if one.remedy))
            return Finding(result, measured, sum(one.samples for one in findings), evidence, remedies)
    raise AssertionError("a finding has one of four results")
