"""Time ranges, steps and variables as Grafana's query API takes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime

MS = 1_000_000
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "M": 2_592_000_000,
            "y": 31_536_000_000}  # fmt: skip
_RELATIVE = re.compile(r"now((?:[+-]\d+[smhdwMy])*)")
_OFFSET = re.compile(r"([+-])(\d+)([smhdwMy])")
# Prometheus refuses more points per series.
MAX_POINTS = 11_000
_MIN_STEP_MS = 15_000
_VARIABLE = re.compile(r"\$(?:__(\w+)|\{__(\w+)\})")


class QueryError(Exception):
    """A query that cannot be understood; ``status`` is what Grafana would answer."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From and to, in nanoseconds since the epoch."""

    from_ns: int
    to_ns: int

    @property
    def width_ms(self) -> int:
        """Its length."""
        return max(0, (self.to_ns - self.from_ns) // MS)


def parse_time(value: object, now_ns: int) -> int:
    """A moment in ns: milliseconds as number or text, RFC 3339, or relative (``now-1h``).

    Raises:
        QueryError: anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value * MS
    text = str(value).strip() if isinstance(value, str) else ""
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text) * MS
    match = _RELATIVE.fullmatch(text)
    if match:
        offset_ms = sum(int(sign + count[:9]) * _UNIT_MS[unit] for sign, count, unit in _OFFSET.findall(match.group(1)))
        return now_ns + offset_ms * MS
    try:
        moment = datetime.fromisoformat(text)
        return round(moment.timestamp() * 1_000) * MS
    except (ValueError, OverflowError) as error:
        raise QueryError(f"cannot parse time {value!r}; give ms since the epoch or a form like now-1h") from error


def step_ms(time_range: TimeRange, interval_ms: object, max_points: object, min_step_ms: int = 0) -> int:
    """The step of a range query: what the panel asks for, within what the servers allow.

    Args:
        time_range: of the query.
        interval_ms: the panel's interval, if it says one.
        max_points: how many points it can show, if it says so.
        min_step_ms: lower bound from the query itself.
    """
    step = _positive(interval_ms)
    if not step:
        points = _positive(max_points) or 100
        step = max(_MIN_STEP_MS, _round(time_range.width_ms / points))
    return max(step, min_step_ms, math.ceil(time_range.width_ms / MAX_POINTS), 1)


def interpolate(expression: str, step: int, time_range: TimeRange) -> str:
    """Replaces Grafana's own variables, e.g. ``$__interval`` and ``${__range}``."""
    values = {
        "interval": f"{step}ms" if step % 1_000 else f"{step // 1_000}s",
        "interval_ms": str(step),
        "rate_interval": f"{max(step + _MIN_STEP_MS, 4 * _MIN_STEP_MS) // 1_000}s",
        "rate_interval_ms": str(max(step + _MIN_STEP_MS, 4 * _MIN_STEP_MS)),
        "range": f"{round(time_range.width_ms / 1_000)}s",
        "range_s": str(round(time_range.width_ms / 1_000)),
        "range_ms": str(time_range.width_ms),
        "auto": f"{max(1, step // 1_000)}s",
    }
    return _VARIABLE.sub(lambda match: values.get(match.group(1) or match.group(2), match.group(0)), expression)


def parse_duration_ms(value: object) -> int:
    """A step like ``15s`` or ``500ms`` in ms; 0 for none. Raises QueryError for anything else."""
    if value in (None, ""):
        return 0
    match = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)(ms|[smhdwMy]?)", str(value).strip())
    if match is None:
        raise QueryError(f"cannot parse interval {value!r}; give a form like 15s")
    unit = match.group(2) or "s"
    return math.ceil(float(match.group(1)) * (1 if unit == "ms" else _UNIT_MS[unit]))


def _positive(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 1:
        return int(value)
    return 0


def _round(value_ms: float) -> int:
    """A step that people like to read, near the given one."""
    nice = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000,
            300_000, 600_000, 900_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000,
            86_400_000, 604_800_000)  # fmt: skip
    return min(nice, key=lambda step: abs(step - value_ms))
