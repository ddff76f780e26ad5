"""Which configured limit a server names when it refuses a push. Pure.

The patterns of each store are in ``scales``; here is what proxies in front of them say. A text that matches none names
no limit: then nothing is said of one. Refusals for an order or an age of samples are none: how old a sample may be is
configured too, but raising that carries no more load.
"""

from __future__ import annotations

import re

from loadgen.capacity.model import Limit
from loadgen.capacity.scales import SCALES
from loadgen.capacity.scales.known import KnownLimit
from loadgen.kinds.metrics.kind import METRICS
from loadgen.model import Component
from loadgen.scrape.discards import COUNTERS, discard_of
from loadgen.units import bytes_text, size_bytes

MAX_MESSAGE = 300


KNOWN: tuple[KnownLimit, ...] = tuple(limit for scale in SCALES for limit in scale.known)
# What Mimir says of every limit, also of those that are not listed above; the grace periods are no limits of a load.
_FLAG = re.compile(
    r"[Tt]o adjust the related (?:per-tenant )?limits?, configure "
    r"(-(?!validation\.(?:create|past)-grace-period)[\w.-]+\w)"
)
# The number alone would not do: Mimir's refusals tell sizes, times and values of samples.
_PROXY = re.compile(
    r"request entity too large|(?:payload|content) too large|client intended to send too large body", re.IGNORECASE
)


def limit_of(component: Component, status: int, message: str) -> Limit | None:
    """The limit that an answer names; None if it names none.

    Args:
        component: who was pushed to.
        status: as in `Receipt`.
        message: the answer's text.
    """
    short = message[:MAX_MESSAGE]
    for known in KNOWN:
        found = known.pattern.search(message) if known.component is component else None
        if found is not None:
            text = next((group for group in found.groups() if group), "")
            number = _number(text, known.unit)
            return Limit(component.value, known.setting, _value_text(number, known.unit), number, short)
    flag = _FLAG.search(message) if component is METRICS.store else None
    if flag is not None:
        return Limit(component.value, flag[1], "", None, short)
    if status == 413 or (status // 100 == 4 and _PROXY.search(message)):
        return Limit(
            component.value, "client_max_body_size of the proxy in front, or the largest message", "", None, short
        )
    return None


def limit_of_reason(component: str, reason: str, per_s: float) -> Limit | None:
    """The limit behind a reason of a component's own counter of discarded items; None if it is no limit on how much."""
    if component not in {one.value for one in COUNTERS}:
        return None
    known = discard_of(Component(component), reason)
    if not known.amount:
        return None
    said = f"{component} counts {per_s:,.0f} items a second as discarded, reason {reason}"
    return Limit(component, known.setting, "", None, said)


def _number(text: str, unit: str) -> float | None:
    try:
        # Loki's sizes are powers of two, whatever they are called.
        return size_bytes(re.sub(r"(?i)([kmg])b$", r"\1ib", text)) if unit == "size" else float(text)
    except ValueError:
        return None


def _value_text(number: float | None, unit: str) -> str:
    if number is None:
        return ""
    if unit in ("bytes/s", "size"):
        return f"{bytes_text(number)}/s"
    if unit == "bytes":
        return bytes_text(number)
    return f"{number:,.0f} {unit}" if number == int(number) else f"{number:g} {unit}"
