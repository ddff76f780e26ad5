"""A configured limit as servers speak of it when they refuse a push. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loadgen.model import Component


@dataclass(frozen=True, slots=True)
class KnownLimit:
    """A limit as servers speak of it. ``group`` of the pattern, if any, holds its value in ``unit``."""

    component: Component
    setting: str
    pattern: re.Pattern[str]
    unit: str


def known(component: Component, setting: str, pattern: str, unit: str) -> KnownLimit:
    """A limit whose text matches a pattern, in whatever case."""
    return KnownLimit(component, setting, re.compile(pattern, re.IGNORECASE), unit)
