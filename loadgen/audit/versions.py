"""Versions of charts: which exist, as far as this table goes, and which of them a range asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int, int]

_LOKI = """
6.0.0 6.1.0 6.2.0 6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.3.0 6.3.1 6.3.2 6.3.3 6.3.4 6.4.0 6.4.1 6.4.2 6.5.0 6.5.1 6.5.2
6.6.0 6.6.1 6.6.2 6.6.3 6.6.4 6.6.5 6.6.6 6.7.0 6.7.1 6.7.2 6.7.3 6.7.4 6.8.0 6.9.0 6.10.0 6.10.1 6.10.2 6.11.0
6.12.0 6.15.0 6.16.0 6.18.0 6.19.0 6.20.0 6.21.0 6.22.0 6.23.0 6.24.0 6.24.1 6.25.0 6.25.1 6.26.0 6.27.0 6.28.0
6.29.0 6.30.0 6.30.1 6.31.0 6.32.0 6.33.0 6.34.0 6.35.0 6.35.1 6.36.0 6.36.1 6.37.0 6.38.0 6.39.0 6.40.0 6.41.0
6.41.1 6.42.0 6.43.0 6.44.0 6.45.0 6.45.1 6.45.2 6.46.0 6.48.0 6.49.0 6.50.0 6.51.0 6.52.0 6.53.0 6.54.0 6.55.0
7.0.0 7.1.0 7.2.0 7.3.0
"""
_LOKI_COMMUNITY = """
6.55.0 6.56.0 6.56.1 6.57.0 7.0.0 8.0.0 8.1.0 8.1.1 8.1.2 8.1.3 9.0.0 9.1.0 9.1.1 9.1.2 9.2.0 9.2.1 9.2.2 9.3.0
9.3.1 9.3.2 9.3.3 9.3.4 9.3.5 9.3.6 9.3.7 9.4.0 9.4.1 9.4.2 9.4.3 9.4.4 9.4.5 9.5.0 9.5.1 9.5.2 9.5.3 9.5.4 9.5.5
9.5.6 9.5.7 9.5.8 9.5.9 9.5.10 9.5.11 9.5.12 9.5.13 10.0.0 10.0.1 10.0.2 10.0.3 10.1.0 10.2.0 10.2.1 10.2.2 11.0.0
11.0.1 11.0.2 11.0.3 11.0.4 11.0.5 11.1.0 11.2.0 11.2.1 11.3.0 11.3.1 11.3.2 11.3.3 11.4.0 11.4.1 11.4.2 11.4.3
11.4.4 11.4.5 11.4.6 11.4.7 11.4.8 11.4.9 11.4.10 11.4.11 11.4.12 11.5.0 11.5.1 11.5.2 11.6.0 11.6.1 11.6.2 11.6.3
11.6.4 11.7.0 12.0.0 13.0.0 13.0.1 13.0.2 13.0.3 13.1.0 13.1.1 13.1.2 13.1.3 13.2.0 13.2.1 13.2.2 13.2.3 13.2.4
13.2.5 13.3.0 13.3.1 13.3.2 13.3.3 13.4.0 13.4.1 13.4.2 13.5.0 13.6.0 13.6.1 13.6.2 13.6.3 13.7.0 13.7.1 13.7.2
14.0.0 14.1.0 14.2.0 14.2.1 15.0.0 15.0.1 16.0.0 16.0.1 16.1.0 16.1.1 17.0.0 17.0.1 17.0.2 17.1.0 17.1.1 17.1.2
17.1.3 17.1.4 17.1.5 17.1.6 17.1.7 17.2.0 17.3.0 17.3.1 17.3.2 17.3.3 17.3.4 17.4.0 17.4.1 17.4.2 17.4.3 17.4.4
17.4.5 17.4.6 17.4.7 17.4.8 17.4.9 17.4.10 17.4.11 18.0.0 18.0.1 18.1.0 18.1.1 18.2.0 18.3.0 18.3.1 18.4.0 18.4.1
18.4.2 18.4.3 18.4.4 18.5.0 18.5.1 18.5.2 18.5.3 18.5.4 18.6.0 18.7.0 18.7.1 18.7.2 18.7.3 18.7.4 18.7.5 18.7.6
18.8.0 18.8.1 18.9.0 18.9.1 18.10.0 18.10.1 18.11.0
"""
_TEMPO_1 = """
1.2.1 1.3.0 1.3.1 1.4.0 1.5.0 1.5.1 1.6.0 1.6.1 1.6.2 1.6.3 1.7.0 1.7.1 1.7.2 1.7.3 1.8.0 1.9.0 1.10.0 1.10.1 1.10.2
1.10.3 1.11.0 1.12.0 1.13.0 1.14.0 1.15.0 1.16.0 1.17.0 1.18.0 1.18.1 1.18.2 1.18.3 1.19.0 1.20.0 1.21.0 1.21.1
1.22.0 1.23.0 1.23.1 1.23.2 1.23.3 1.24.0 1.24.1 1.24.2 1.24.3 1.24.4
"""
_TEMPO_COMMUNITY = """
1.24.0 1.24.1 1.24.2 1.24.3 1.24.4 1.25.0 1.26.0 1.26.1 1.26.2 1.26.3 1.26.4 1.26.5 1.26.6 1.26.7 2.0.0 2.1.0 2.1.1
2.1.2 2.2.0 2.2.1 2.2.2 2.2.3 2.2.4
"""
_MIMIR = """
5.0.0 5.1.0 5.1.1 5.1.2 5.1.3 5.1.4 5.2.0 5.2.1 5.2.2 5.2.3 5.3.0 5.3.1 5.4.0 5.4.1 5.5.0 5.5.1 5.6.0 5.6.1 5.7.0
5.8.0 6.0.0 6.0.1 6.0.2 6.0.3 6.0.4 6.0.5 6.0.6 6.1.0 6.2.0
"""


def parsed(text: str) -> Version | None:
    """A full version such as ``6.21.0``; None for anything else, pre-releases included."""
    found = re.fullmatch(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:\+[0-9A-Za-z.-]+)?", text.strip())
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def shown(version: Version) -> str:
    """``6.21.0``."""
    return ".".join(map(str, version))


def _table(text: str) -> tuple[Version, ...]:
    return tuple(sorted(version for word in text.split() if (version := parsed(word))))


@dataclass(frozen=True, slots=True)
class PublishedChart:
    """The versions of a chart in a registry, as of August 2026, from the oldest that this table knows."""

    chart: str
    registry: str
    versions: tuple[Version, ...]


PUBLISHED: tuple[PublishedChart, ...] = (
    PublishedChart("loki", "grafana/helm-charts", _table(_LOKI)),
    PublishedChart("loki", "grafana-community/helm-charts", _table(_LOKI_COMMUNITY)),
    PublishedChart("tempo", "grafana/helm-charts", _table(_TEMPO_1)),
    PublishedChart("tempo", "grafana-community/helm-charts", _table(_TEMPO_COMMUNITY)),
    PublishedChart("mimir-distributed", "grafana/helm-charts", _table(_MIMIR)),
)


def published(chart: str, url: str) -> tuple[Version, ...]:
    """The known versions of a chart at an address; of all registries when the address is none of them."""
    mine = [one for one in PUBLISHED if one.chart == chart]
    here = [one for one in mine if f"/{one.registry}" in url or _pages(one.registry) in url]
    return tuple(sorted({version for one in here or mine for version in one.versions}))


def _pages(registry: str) -> str:
    owner, _, name = registry.partition("/")
    return f"{owner}.github.io/{name}"


def matching(wanted: str, versions: tuple[Version, ...]) -> tuple[Version, ...] | None:
    """Those that a range allows (``6.x``, ``~5.6``, ``>=1.23.1 <2``, ``^1 || ^2``); None if it is not understood."""
    groups = [_group(part) for part in wanted.split("||")]
    if any(group is None for group in groups):
        return None
    spans = [span for span in groups if span is not None]
    return tuple(version for version in versions if any(low <= version < high for low, high in spans))


_Span = tuple[Version, Version]
_END: Version = (10**7, 0, 0)


def _group(text: str) -> _Span | None:
    """The span that all comparisons of a text have in common."""
    text = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1 <=\2", text.strip())
    text = re.sub(r"([<>=~^])\s+", r"\1", text)
    low, high = (0, 0, 0), _END
    for word in re.split(r"[\s,]+", text or "*"):
        span = _comparison(word)
        if span is None:
            return None
        low, high = max(low, span[0]), min(high, span[1])
    return low, high


def _comparison(word: str) -> _Span | None:
    found = re.fullmatch(
        r"(>=|<=|>|<|=|~>|~|\^|)v?(\d+|[xX*])?(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-[0-9A-Za-z.]+)?", word
    )
    if not found or not word:
        return None
    sign = found[1]
    numbers = [int(part) for part in found.groups()[1:] if part and part.isdigit()]
    if not numbers:
        return (0, 0, 0), _END
    major, minor, patch = [*numbers, 0, 0][:3]
    low: Version = (major, minor, patch)
    after = _after(low, len(numbers))
    spans: dict[str, _Span] = {
        ">=": (low, _END),
        ">": (after, _END),
        "<": ((0, 0, 0), low),
        "<=": ((0, 0, 0), after),
        "~": (low, _after(low, min(2, len(numbers)))),
        "~>": (low, _after(low, min(2, len(numbers)))),
        "^": (low, _after(low, 1) if low[0] else _after(low, 2)),
    }
    return spans.get(sign, (low, after))


def _after(version: Version, digits: int) -> Version:
    """The first version that differs in the first ``digits`` numbers."""
    major, minor, patch = version
    return ((major + 1, 0, 0), (major, minor + 1, 0), (major, minor, patch + 1))[digits - 1]
