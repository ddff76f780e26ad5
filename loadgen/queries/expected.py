"""What a panel must show: an answer that is a success and empty is no answer when data is known to be there.

Two things make that known: the same panel has shown something before, or a freshness probe has seen data. Both hold
only as long as everything that the run has sent lies in the panel's range, so that nothing can have fallen out of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import inf

from loadgen.model import HIDING, NS, Component, QueryTiming
from loadgen.queries.panel import Panel, Shows, step_s
from loadgen.reading.looks import SEARCH

# How far an instant query of a metric looks back when it names no range.
_LOOKBACK_S = 300.0
FOREVER_NS = 2**62


class Shown:
    """What the panels and probes of one process have seen so far.

    Args:
        began_ns: beginning of the run; there is no data of it before.
        interval_s: by component, the time between two pushes of a user.
        continues: the components in which the run goes on with series of runs before it. A panel may show these, which
            says nothing of the run's own data before a probe has seen some.
    """

    def __init__(
        self, began_ns: int, interval_s: Mapping[Component, float], continues: Collection[Component] = ()
    ) -> None:
        self._began_ns = began_ns
        self._continues = frozenset(continues)
        self._interval_s = interval_s
        self._shown_ns: dict[tuple[Component, str, float], int] = {}
        self._visible_ns: dict[tuple[Component, bool], int] = {}

    def seen(self, component: Component, where: str, at_ns: int) -> None:
        """A probe has seen data; ``where`` as in `Sighting`."""
        self._visible_ns.setdefault((component, where == SEARCH), at_ns)

    def judged(self, panel: Panel, timing: QueryTiming) -> QueryTiming:
        """The timing, as of a failed query if it succeeded with nothing although data must be there."""
        key = (panel.component, panel.name, panel.range_s)
        visible_ns = self._visible_ns.get((panel.component, panel.kind == SEARCH), 0)
        if timing.items and (visible_ns or panel.component not in self._continues):
            self._shown_ns[key] = min(timing.done_ns, self._shown_ns.get(key, timing.done_ns))
        if not timing.ok or timing.items or panel.shows is Shows.MAYBE:
            return timing
        reach_s = panel.range_s or (_LOOKBACK_S if panel.kind == "instant" else inf)
        if (timing.sent_ns - self._began_ns) / NS >= reach_s:
            return timing
        flowing_s = (timing.sent_ns - visible_ns) / NS if visible_ns else -1.0
        if panel.shows is Shows.ALWAYS and flowing_s >= self._needs_s(panel):
            return replace(timing, ok=False, detail=f"{HIDING}, although a probe had seen data before")
        # An answer that was still on its way says nothing about a query that was sent before it came.
        if timing.sent_ns >= self._shown_ns.get(key, FOREVER_NS):
            return replace(timing, ok=False, detail=f"{HIDING}, although it had shown data before")
        return timing

    def _needs_s(self, panel: Panel) -> float:
        """How long data must have been visible before a panel shows any: a rate needs two samples in a step."""
        if panel.stepped:
            return step_s(round(panel.range_s)) + 2 * self._interval_s[panel.component]
        return 0.0
