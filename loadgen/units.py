"""Durations, sizes and rates as people write them: ``90s``, ``5m``, ``24h``, ``10MB``, ``10MB/s``; and back to text."""

from __future__ import annotations

import re

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4, "kib": 1024, "mib": 1024**2, "gib": 1024**3}


def seconds(text: str | float) -> float:
    """Seconds of a duration such as ``1h30m``, ``250ms`` or a bare number; ValueError says what is allowed."""
    if isinstance(text, (int, float)):
        value = float(text)
    else:
        compact = text.strip().replace(" ", "")
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", compact)
        if parts and "".join(number + unit for number, unit in parts) == compact:
            value = sum(float(number) * _DURATION[unit] for number, unit in parts)
        else:
            try:
                value = float(compact)
            except ValueError:
                raise ValueError(f"{text!r} is not a duration; write it like 90s, 5m, 24h or 250ms") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a duration; it must be zero or more")
    return value


def size_bytes(text: str | float) -> float:
    """Bytes of a size such as ``10MB`` or ``2GiB`` (a trailing ``/s`` is allowed); ValueError says what is allowed."""
    if isinstance(text, (int, float)):
        value = float(text)
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?i?b)?(/s)?", text.strip().replace(" ", "").lower())
        if match is None or (match[2] or "b") not in _SIZE:
            raise ValueError(f"{text!r} is not a size; write it like 512KB, 10MB or 2GiB (with /s for a rate)")
        value = float(match[1]) * _SIZE[match[2] or "b"]
    if not 0 <= value < float("inf"):
        raise ValueError(f"{text!r} is not a size; it must be zero or more")
    return value


def duration_text(value_s: float) -> str:
    """A duration for people, three significant digits: ``12 ms``, ``1.24 s``, ``5 min``."""
    if value_s < 0:
        return "-" + duration_text(-value_s)
    if value_s < 0.9995:
        return f"{value_s * 1000:.3g} ms"
    if value_s < 120:
        return f"{value_s:.3g} s"
    if value_s < 7200:
        return f"{value_s / 60:.3g} min"
    if value_s < 172800:
        return f"{value_s / 3600:.3g} h"
    return f"{value_s / 86400:.3g} d"


def bytes_text(value: float) -> str:
    """A size for people in decimal units: ``512 B``, ``1.24 MB``."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.0f} B"


def count_text(value: float) -> str:
    """A whole number with thin separators: ``12,345``."""
    return f"{value:,.0f}"
