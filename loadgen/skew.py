"""Whose clock is wrong, and what that spoils. Pure.

Servers date their answers in whole seconds, so one answer bounds the difference between two clocks to a second and the
time that it took; several narrow it down.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from loadgen.kinds import kind_of
from loadgen.model import NS, ClockReading, Signal
from loadgen.stores import STORES
from loadgen.units import duration_text

AGREE_NS = 2 * NS
"""Clocks that differ by less count as one."""

SET_IT = "let NTP set it (timedatectl set-ntp true, or chronyc makestep)"


def reading_of(name: str, dates: Sequence[tuple[int, int, int]]) -> ClockReading | None:
    """What answers tell of a server's clock; each is its date, and our times of sending and receiving, in ns.

    An answer whose date contradicts the ones before it begins anew: a clock was set, or two servers take turns.
    """
    found: ClockReading | None = None
    for date_ns, sent_ns, done_ns in dates:
        one = ClockReading(name, date_ns - done_ns, date_ns + NS - sent_ns)
        if found is None or one.low_ns > found.high_ns or one.high_ns < found.low_ns:
            found = one
        else:
            found = ClockReading(name, max(one.low_ns, found.low_ns), min(one.high_ns, found.high_ns))
    return found


@dataclass(frozen=True, slots=True)
class Skew:
    """Whose clock differs.

    Attributes:
        ours_ns: how far this machine's clock is ahead of most servers' (below 0: behind); 0 when it agrees with them.
        judges: the servers that say so; those that agree when it does.
        odd: servers whose clocks differ from all these.
    """

    ours_ns: int
    judges: tuple[ClockReading, ...]
    odd: tuple[ClockReading, ...]

    @property
    def ours_s(self) -> float:
        """The same in seconds."""
        return self.ours_ns / NS

    @property
    def ours_text(self) -> str:
        """This machine's clock in a sentence's first half; empty when it agrees."""
        if not self.ours_ns:
            return ""
        return f"this machine's clock is {_far(self.ours_ns)} {_those_of(self.judges)}"

    def texts(self) -> tuple[str, ...]:
        """What a reader should know, a sentence each."""
        found = [f"{self.ours_text}; {SET_IT}"] if self.ours_ns else []
        for one in self.odd:
            here = "" if self.ours_ns else " and this machine's" if self.judges else "this machine's"
            others = f"{_those_of(self.judges) if self.judges else ''}{here}"
            far = _far(one.ahead_ns + self.ours_ns)
            found.append(f"the clock of {one.name}, or of a proxy before it, is {far} {others}")
        return tuple(found)


def weigh(readings: Sequence[ClockReading]) -> Skew:
    """Whose clock is wrong: this machine's when more servers agree on another time than on ours."""
    agreeing = [one for one in readings if abs(one.ahead_ns) <= AGREE_NS]
    differing = [one for one in readings if abs(one.ahead_ns) > AGREE_NS]
    groups = [[other for other in differing if abs(other.ahead_ns - one.ahead_ns) <= AGREE_NS] for one in differing]
    largest = max(groups, key=lambda group: (len(group), -abs(group[0].ahead_ns)), default=[])
    if len(largest) <= len(agreeing):
        return Skew(0, tuple(agreeing), tuple(differing))
    middle_ns = sorted(one.ahead_ns for one in largest)[len(largest) // 2]
    return Skew(-middle_ns, tuple(largest), tuple(one for one in readings if one not in largest))


def refusal(skew: Skew, sent: Collection[Signal], now_ns: int) -> str:
    """Why a run cannot start with this machine's clock as it is; empty when the servers will take what it sends."""
    ahead = skew.ours_ns > 0
    asked = {kind_of(one).store for one in sent}
    bounds = [(store.title, store.ahead_s if ahead else store.behind_s) for store in STORES if store.component in asked]
    refusing = [(title, far_s) for title, far_s in bounds if far_s is not None and abs(skew.ours_s) >= far_s]
    if not skew.ours_ns or not refusing:
        return ""
    way = "ahead" if ahead else "behind"
    there_ns = now_ns - skew.ours_ns
    takers = ", ".join(f"{title} {duration_text(far_s)} or more" for title, far_s in refusing)
    return (
        f"{skew.ours_text}: it is {_moment(now_ns)} here and {_moment(there_ns)} there. What is too far {way} is "
        f"refused by default ({takers}), and no verdict would hold. Set this machine's clock: {SET_IT}, "
        "then begin again"
    )


def _far(ahead_ns: int) -> str:
    return f"{duration_text(abs(ahead_ns) / NS)} {'ahead of' if ahead_ns > 0 else 'behind'}"


def _those_of(readings: Sequence[ClockReading]) -> str:
    return f"those of {_names(readings)}"


def _names(readings: Sequence[ClockReading]) -> str:
    names = [one.name for one in readings]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _moment(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
