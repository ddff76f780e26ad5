"""What an acceptance check is, and what several of them share. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from loadgen.acceptance.facts import Deployment, T, Told
from loadgen.judging import Check, Finding
from loadgen.model import Objective, Result


def check_of(name: str, promise: str, bound: str, judge: Callable[[Deployment], Finding]) -> Check[Deployment]:
    """One promise about a deployed stack; ``bound`` is what is promised, for people."""
    return Check(name, promise, judge, bound=Objective(bound, 0.0, ""))


def ok(measured: str, samples: int = 1, *evidence: str, value: float | None = None) -> Finding:
    """The promise is kept."""
    return Finding(Result.PASS, None, measured, value, samples, evidence)


def broken(measured: str, remedy: str, *evidence: str, samples: int = 1, value: float | None = None) -> Finding:
    """The promise is broken, and what to do about it."""
    return Finding(Result.FAIL, None, measured, value, samples, evidence, remedy)


def untold(why: str, remedy: str, *evidence: str) -> Finding:
    """It could not be told."""
    return Finding(Result.UNKNOWN, evidence=(why, *evidence), remedy=remedy)


def skipped(why: str, remedy: str = "") -> Finding:
    """It does not apply here, or was not asked."""
    return Finding(Result.SKIPPED, evidence=(why,), remedy=remedy)


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
            return Finding(result, None, measured, None, sum(one.samples for one in findings), evidence, remedies)
    raise AssertionError("a finding has one of four results")
