"""When work is due. Pure: a pace is a function of the run's beginning, never of what happened before.

The plan is open: a slow answer does not move later work, so a stalled server cannot hide its own stall. Every user has
a phase of its own, which spreads the pushes evenly over the interval, and all phases count from the beginning of the
run, which makes the due time of any batch of any user computable by anyone who knows the run.
"""

from __future__ import annotations

from dataclasses import dataclass

# The golden ratio's fractional part as a 64-bit number: its multiples fill an interval evenly, however many.
_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Pace:
    """A steady plan.

    Attributes:
        began_ns: beginning of the run.
        interval_ns: time between two operations of one user.
        phase_ns: offset of the first operation within the interval.
    """

    began_ns: int
    interval_ns: int
    phase_ns: int = 0

    def due(self, n: int) -> int:
        """The planned time of operation ``n`` (from 0), in epoch nanoseconds."""
        return self.began_ns + self.phase_ns + n * self.interval_ns

    def first_at(self, now_ns: int) -> int:
        """The first operation that is not due before ``now_ns``."""
        return max(0, -(-(now_ns - self.began_ns - self.phase_ns) // self.interval_ns))

    def last_at(self, now_ns: int) -> int:
        """The last operation that is due at or before ``now_ns``; negative before the first one."""
        return (now_ns - self.began_ns - self.phase_ns) // self.interval_ns


def pace_of(user: int, began_ns: int, interval_ns: int) -> Pace:
    """The plan of user number ``user``: its phase spreads users over the interval, in whole milliseconds.

    Whole milliseconds, because metrics have no finer time and every signal's content is derived from the due time.
    """
    phase_ns = (user * _GOLDEN % _WORD) * interval_ns // _WORD
    return Pace(began_ns, interval_ns, phase_ns // 1_000_000 * 1_000_000)
