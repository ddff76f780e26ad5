"""Moments as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from loadgen.model import NS


def moment_text(time_ns: int) -> str:
    """Date and time in UTC, to the second."""
    return f"{datetime.fromtimestamp(time_ns // NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
