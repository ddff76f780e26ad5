"""Which traces a viewer can ask for by their id: the last ones that were acknowledged, or better, that were seen."""

from __future__ import annotations

import collections

from loadgen.kinds.traces.kind import TRACES
from loadgen.model import Outcome, Receipt, Sighting
from loadgen.plan import Plan
from loadgen.reading.looks import SEARCH

# A viewer looks at the oldest of so many, so that not the very last one is asked for.
_KEPT = 4


class KnownTraces:
    """The last traces of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._acknowledged: collections.deque[tuple[int, int]] = collections.deque(maxlen=_KEPT)
        self._seen: collections.deque[tuple[int, int]] = collections.deque(maxlen=_KEPT)

    def acknowledged(self, receipt: Receipt) -> None:
        """Keep a batch of traces that was accepted."""
        if receipt.signal == TRACES.signal and receipt.outcome == Outcome.ACCEPTED:
            self._acknowledged.append((receipt.user, receipt.n))

    def seen(self, sighting: Sighting) -> None:
        """Keep a batch of traces that a probe has seen by its ids."""
        if sighting.signal == TRACES.signal and sighting.where != SEARCH:
            self._seen.append((sighting.user, sighting.n))

    def trace(self) -> tuple[bytes, bool]:
        """The id of one, and whether it was seen; empty when there is none."""
        known = self._seen or self._acknowledged
        if not known:
            return b"", False
        batch = self._plan.traces.batch(*known[0])
        return bytes(self._plan.traces.trace_ids(batch)[0].tobytes()), known is self._seen
