"""Durations and amounts of memory as the servers and Kubernetes write them."""

from __future__ import annotations

import re

from loadgen.audit.node import Scalar

GIB = 1024**3
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DAYS = {"d": 86400.0, "w": 7 * 86400.0, "y": 365 * 86400.0}
_BYTES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def duration_s(value: Scalar) -> float | None:
    """Seconds of ``4m``, ``1h30m``, ``30d`` or ``0``; None if it is no duration."""
    text = str(value).strip()
    if text == "0":
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|[smhdwy])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * (_SECONDS | _DAYS)[unit] for number, unit in parts)


def bytes_of(value: Scalar) -> float | None:
    """Bytes of a Kubernetes quantity (``1900Mi``, ``2e9``) or of a server's size (``3MB``); None if it is neither."""
    if isinstance(value, bool) or value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*([kKMGT]?i?)B?", str(value).strip())
    if found is None:
        return None
    return float(found[1]) * _BYTES[found[2].lower()]


def number(value: Scalar) -> float | None:
    """A plain number, or a text that is one; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(str(value))
    except ValueError:
        return None
