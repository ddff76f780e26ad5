"""Does the stack work, before it is loaded further? Asked before the first step and between steps."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from loadgen.clock import Clock
from loadgen.config import Profile, Target
from loadgen.kinds import kind_of
from loadgen.model import NS, RunKey, Signal
from loadgen.push.preflight import check_reachable
from loadgen.targets.readers import open_readers, ping
from loadgen.units import duration_text

_EVERY_S = 2.0
_NO_RUN = RunKey("none", 0, 0)


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the stack works: nothing in ``problems`` means that it does. ``waited_s``: until it did."""

    problems: tuple[str, ...]
    waited_s: float


def problems_of(target: Target, profile: Profile, signals: Collection[Signal], clock: Clock) -> tuple[str, ...]:
    """What is wrong with a stack that carries no load of ours, a sentence each.

    It must take an empty push, list its buckets and answer a query within the promise of queries.
    """
    found = check_reachable(target, signals)
    if found:
        return found
    readers = open_readers(target, clock, None, profile.dashboards.timeout, "preflight")
    texts = []
    for signal in signals:
        began_ns = clock()
        error = ping(readers, kind_of(signal).store, _NO_RUN)
        took_s, limit_s = (clock() - began_ns) / NS, profile.objectives.of(signal).query_p99
        if error:
            texts.append(f"{kind_of(signal).store} does not answer a simple query: {error}")
        elif took_s > limit_s:
            texts.append(
                f"{kind_of(signal).store} takes {duration_text(took_s)} for a simple query, promised are "
                f"{duration_text(limit_s)}"
            )
    return tuple(texts)


def wait_until_well(
    ask: Callable[[], tuple[str, ...]],
    within_s: float,
    clock: Clock,
    sleep: Callable[[float], None],
    stop: Callable[[], bool],
) -> Health:
    """Ask until nothing is wrong any more, or the time is over, or ``stop`` says so."""
    began_ns = clock()
    while True:
        problems = ask()
        waited_s = (clock() - began_ns) / NS
        if not problems or waited_s >= within_s or stop():
            return Health(problems, waited_s)
        sleep(_EVERY_S)


def signals_of(profile: Profile) -> tuple[Signal, ...]:
    """The signals that a profile sends."""
    return tuple(signal for signal in Signal if profile.users(signal))
