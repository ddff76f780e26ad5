"""Numbers and times as Prometheus writes them, and as it reads them from a request."""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_ORDER = ("y", "w", "d", "h", "m", "s", "ms")
_FAR_MS = 1 << 46
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def float_text(value: float) -> str:
    """A sample's value as in the query API: the shortest digits that read back as the same number.

    An exponent is used below 1e-6 and from 1e21 on, as Go's JSON does.
    """
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" in text:
        if 1e-6 <= abs(value) < 1e21:
            return format(Decimal(text), "f")
        return text
    if text in ("nan", "inf", "-inf"):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[text]
    return text


def time_text(time_ms: int) -> str:
    """A timestamp as in the query API: seconds, with three decimals if it is not a whole second."""
    seconds, millis = divmod(time_ms, 1000)
    if not millis:
        return str(seconds)
    if seconds < 0:
        return f"{time_ms / 1000:.3f}"
    return f"{seconds}.{millis:03d}"


def parse_time_ms(text: str) -> int | None:
    """A time parameter: Unix seconds with decimals, or RFC 3339. None if it is neither; far times are cut."""
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        return _rfc3339_ms(text)
    if not math.isfinite(seconds):
        return None
    return int(max(-_FAR_MS, min(_FAR_MS, round(seconds * 1000))))


def _rfc3339_ms(text: str) -> int | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    try:
        whole = datetime.fromisoformat(match[1].upper() + match[3].upper().replace("Z", "+00:00"))
        return int(whole.timestamp()) * 1000 + int(float(match[2] or "0") * 1000 + 1e-6)
    except (ValueError, OverflowError):
        return None


def parse_duration_ms(text: str) -> int | None:
    """A duration parameter: seconds with decimals, or Prometheus' notation (``1h30m``). None if it is neither."""
    try:
        seconds = float(text) if "_" not in text else math.nan
    except ValueError:
        match = _DURATION.fullmatch(text)
        if match is None or not text or len(text) > 100:
            return None
        total = sum(int(count) * _UNITS_MS[unit] for count, unit in zip(match.groups(), _ORDER, strict=True) if count)
        return min(total, _FAR_MS)
    if not math.isfinite(seconds):
        return None
    return int(max(-_FAR_MS, min(_FAR_MS, round(seconds * 1000))))
