"""What a limit must not be below, for one's own load and for the highest that was kept. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadgen.capacity.model import Flow, Usage

OWN_ROOM = 2.0
"""Above the mean of the user's own load: days have their peaks."""
KEPT_ROOM = 1.1
"""Above a load that was sent evenly."""
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Carried:
    """What a component carried in a step that kept every promise.

    Attributes:
        flow: of its signal.
        usage: what it used, from all sources.
    """

    flow: Flow
    usage: tuple[Usage, ...]

    def held(self, field: str, sent: float) -> float:
        """What it held in memory, earlier steps included, at least what was sent; its limits count all of it.

        ``streams`` of Tempo are live traces.
        """
        held: list[float] = [getattr(one, field) for one in self.usage if getattr(one, field) is not None]
        return max([sent, *held])


@dataclass(frozen=True, slots=True)
class Need:
    """Values that a limit must not be below, in the unit of the setting; None: not known."""

    setting: str
    own: float | None
    kept: float | None
    whole: bool = True

    def text(self, value: float | None) -> str:
        """As it is written into the configuration."""
        if value is None:
            return ""
        up = rounded_up(value)
        return str(max(1, math.ceil(up))) if self.whole else f"{max(0.1, up):g}"


def rounded_up(value: float) -> float:
    """Up to two significant digits, so that a limit is no smaller than what it must let through."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    # A product such as 1.1 * 10 must not become 12 by its last binary digit.
    return float(f"{math.ceil(value / step - 1e-9) * step:.12g}")


def times_of(value: float | None, factor: float) -> float | None:
    """So many times a value that may not be known."""
    return value * factor if value is not None else None


def burst_of(rate: float | None, sent: float | None, every_s: float | None, least: float) -> float | None:
    """What may come at one moment: a second of the limit's rate, or a push of every sender, or one whole push."""
    if rate is None:
        return None
    return max(rate, least, sent * every_s if sent is not None and every_s is not None else 0.0)
