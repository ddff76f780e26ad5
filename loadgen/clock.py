"""The clock that everything measured is read from."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

Clock = Callable[[], int]


def steady_clock(ahead_ns: int = 0) -> Clock:
    """Epoch nanoseconds that never jump: the wall clock's time at the start, moved on by the monotonic clock.

    Latencies stay right when the wall clock is set while a run goes on. A wall clock that is known to be ahead of the
    right one is put right by ``ahead_ns``.
    """
    anchor_ns = time.time_ns() - time.monotonic_ns() - ahead_ns
    return lambda: anchor_ns + time.monotonic_ns()


ANCHOR = "LOADGEN_CLOCK_ANCHOR_NS"
"""The variable by which a process hands its steady clock on to a child."""


def anchored(clock: Clock) -> str:
    """A steady clock as the value of `ANCHOR`."""
    return str(clock() - time.monotonic_ns())


def handed_clock(environ: Mapping[str, str]) -> Clock:
    """The clock of the process that started this one, so that both agree whatever the wall clock did meanwhile."""
    text = environ.get(ANCHOR, "")
    if not text.removeprefix("-").isdigit():
        return steady_clock()
    anchor_ns = int(text)
    return lambda: anchor_ns + time.monotonic_ns()


class ClockWatch:
    """Notices that somebody set the wall clock (NTP, a person) or that the machine slept, while a steady clock ran on.

    A clock that NTP slows down or speeds up a little is no step, however far it gets in a day.
    """

    STEP_NS = 1_000_000_000

    def __init__(self, clock: Clock, wall: Clock = time.time_ns) -> None:
        self._clock, self._wall = clock, wall
        self._ahead_ns = wall() - clock()

    def step_ns(self) -> int:
        """By how much the wall clock went on beyond the steady one since the last look; 0 when it was not set."""
        before_ns, self._ahead_ns = self._ahead_ns, self._wall() - self._clock()
        step_ns = self._ahead_ns - before_ns
        return step_ns if abs(step_ns) >= self.STEP_NS else 0


def step_text(whose: str, step_ns: int, after_s: float) -> str:
    """The sentence for a clock that was set while a run went on."""
    way = "forward" if step_ns > 0 else "back"
    return (
        f"the clock of {whose} was set {way} by {abs(step_ns) / 1e9:.1f} s, {after_s:+.1f} s into the load (or the "
        "machine slept); times of this run go on as they were"
    )
