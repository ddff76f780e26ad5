"""Which figures of ``/metrics`` are kept, and what each of them tells of a component. Pure."""

from __future__ import annotations

import re

from loadgen.model import Component
from loadgen.scrape import loki, mimir, tempo
from loadgen.scrape.figure import STARTED, Figure, process
from loadgen.stores import STORES

FIGURES: tuple[Figure, ...] = (*loki.FIGURES, *tempo.FIGURES, *mimir.FIGURES, *process(Component.GRAFANA))
"""Every figure of every component."""


def _received() -> list[str]:
    """Counters of what the stores took."""
    names = [(store.received.items, store.received.plain_bytes) for store in STORES]
    return [name for both in names for name in both if name]


def _kept() -> dict[str, tuple[str, ...]]:
    kept: dict[str, tuple[str, ...]] = dict.fromkeys((STARTED, *_received()), ())
    for figure in FIGURES:
        for source in figure.sources:
            labels = {figure.by, *source.only[:1]} - {""}
            for name in source.names:
                kept[name] = tuple(sorted({*kept.get(name, ()), *labels}))
    return kept


KEPT: dict[str, tuple[str, ...]] = _kept()
"""Every name that is kept, with the labels that are told apart; over all others is summed."""

_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')


def labels_of(text: str) -> dict[str, str]:
    """The labels in ``reason="rate_limited",tenant="fake"``; values stay escaped as they are."""
    return dict(_PAIR.findall(text))
