"""What the components count as discarded, by the reason that their counters give, and the setting behind each. Pure."""

from __future__ import annotations

from loadgen.model import Component
from loadgen.scrape import loki, mimir, tempo
from loadgen.scrape.discard import Discard
from loadgen.stores import STORES

COUNTERS = {store.component: store.discards for store in STORES}
"""The counter of a component; its label ``reason`` is what `Discard.reason` names."""
DISCARDS: tuple[Discard, ...] = (*loki.DISCARDS, *tempo.DISCARDS, *mimir.DISCARDS)
"""The reasons whose setting is known."""

_KNOWN = {(one.component, one.reason): one for one in DISCARDS}


def discard_of(component: Component, reason: str) -> Discard:
    """What is known of a reason; of one that is not known, nothing but its name."""
    return _KNOWN.get((component, reason), Discard(component, reason))
