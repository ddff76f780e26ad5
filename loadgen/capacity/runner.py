"""The loop of a search: which step comes next, if it may be made, and what is stored after it. Makes no load itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loadgen.capacity.levels import planned_bytes, profile_at
from loadgen.capacity.model import Capacity, Ending, Search, SearchKind, Step, Why
from loadgen.capacity.recovery import Health
from loadgen.capacity.search import Level, Range, decide, stopped
from loadgen.config import Profile
from loadgen.units import bytes_text, duration_text

_OVER = frozenset((Why.FOUND, Why.CEILING, Why.LOWEST, Why.GENERATOR, Why.UNTOLD))
# Beside its load a step reads everything back; until one has been made nobody knows how long that takes.
_GUESS = 2.5


class StepError(Exception):
    """A step could not be made; the text says why."""


@dataclass(frozen=True, slots=True)
class Doing:
    """What the loop needs of the world.

    Attributes:
        step: make the step of this number, kind and level, and judge it. Raises StepError.
        well: wait until the stack works again.
        keep: store the search as it stands.
        stop: the person wants to end it.
    """

    step: Callable[[int, SearchKind, float, Profile], Step]
    well: Callable[[], Health]
    keep: Callable[[Capacity], None]
    stop: Callable[[], bool]


def run_searches(capacity: Capacity, profile: Profile, ranges: Sequence[Range], doing: Doing) -> Capacity:
    """Go on with every search that is not over, in order; what is known so far is kept after every step."""
    halted = ""
    for where in ranges:
        known = next((one for one in capacity.searches if one.kind is where.kind), None)
        if known is not None and known.why in _OVER:
            continue
        if halted:
            capacity = _with(capacity, stopped(capacity.of(where.kind), where, Why.PENDING, halted))
            continue
        capacity, halted = _search(capacity, profile, where, doing)
    doing.keep(capacity)
    return capacity


def _search(capacity: Capacity, profile: Profile, where: Range, doing: Doing) -> tuple[Capacity, str]:
    """One search; the second value says why no other one may begin, if so."""

    def end(why: Why, detail: str, halts: str = "") -> tuple[Capacity, str]:
        ended = _with(capacity, stopped(capacity.of(where.kind), where, why, detail))
        doing.keep(ended)
        return ended, halts

    while True:
        steps = capacity.of(where.kind)
        next_one = decide(steps, where)
        if isinstance(next_one, Search):
            capacity = _with(capacity, next_one)
            doing.keep(capacity)
            return capacity, ""
        if doing.stop():
            return end(Why.INTERRUPTED, "", "the search was interrupted before")
        planned = profile_at(profile, where.kind, next_one.level)
        refusal = _not_allowed(capacity, profile, planned, where)
        if refusal is not None:
            why, detail = refusal
            return end(why, detail, detail if why is Why.MINUTES else "")
        try:
            step = _made(capacity, where, next_one, planned, doing)
        except StepError as problem:
            return end(Why.UNTOLD, str(problem), "a step before could not be made")
        capacity = replace(capacity, steps=(*capacity.steps, step))
        doing.keep(_with(capacity, stopped(capacity.of(where.kind), where, Why.PENDING)))
        if step.ending is Ending.INTERRUPTED or doing.stop():
            return end(Why.INTERRUPTED, "", "the search was interrupted before")
        health = doing.well()
        if health.problems:
            detail = f"after step {step.number}, for {duration_text(health.waited_s)}: {'; '.join(health.problems[:3])}"
            return end(Why.UNRECOVERED, detail, f"the stack did not come back to work after step {step.number}")


def _made(capacity: Capacity, where: Range, level: Level, planned: Profile, doing: Doing) -> Step:
    number = max((step.number for step in capacity.steps), default=0) + 1
    return doing.step(number, where.kind, level.level, planned)


def _not_allowed(capacity: Capacity, profile: Profile, planned: Profile, where: Range) -> tuple[Why, str] | None:
    """Why a step may not be made, if it may not."""
    limits = profile.capacity
    sent, more = sum(step.plain_bytes for step in capacity.steps), planned_bytes(planned)
    if sent + more > limits.max_s3_bytes:
        detail = (
            f"{bytes_text(sent)} were sent, the next step sends {bytes_text(more)}, "
            f"max_s3_bytes is {bytes_text(limits.max_s3_bytes)}"
        )
        return Why.BYTES, detail
    spent_s = sum(step.took_s for step in capacity.steps)
    before = [step.took_s for step in capacity.of(where.kind)]
    expected_s = before[-1] if before else _GUESS * planned.run.duration
    if spent_s + expected_s > 60 * limits.max_minutes:
        detail = (
            f"the steps took {duration_text(spent_s)}, the next one would take about {duration_text(expected_s)}, "
            f"max_minutes is {limits.max_minutes:g}"
        )
        return Why.MINUTES, detail
    return None


def _with(capacity: Capacity, search: Search) -> Capacity:
    """The search, in the place of what was known of it."""
    kinds = [one.kind for one in capacity.searches]
    if search.kind not in kinds:
        return replace(capacity, searches=(*capacity.searches, search))
    return replace(capacity, searches=tuple(search if one.kind is search.kind else one for one in capacity.searches))
