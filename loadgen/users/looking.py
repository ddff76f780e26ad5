"""What one person looks at: panels that are planned, asked, and waited for. Knows nothing of Locust.

Panels load side by side, as in a browser: one that waits for Loki must not make Mimir's look slow. Panels of the same
component wait for each other, and a person does not open more and more of what does not load. What is planned in the
meantime is not forgotten: when an answer comes, the newest is asked in place of all that wait, and these count until
that one has ended. So every planned panel leaves a row, and a stall shows in all that fell into it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from gevent.lock import RLock

from loadgen.clock import Clock
from loadgen.model import Component, QueryEnd, QueryTiming
from loadgen.queries.panel import Panel

MAX_OPEN = 2
"""Panels of one component that a viewer has open at a time: one that loads, one that waits for it."""
MAX_WAITING = 250
"""Planned panels of one component that are remembered while those wait; beyond, the oldest counts until then."""

_MISSED = "never asked: the ones before had no answer yet"
_CUT = "the load ended before it was asked"
_CUT_OPEN = "the load ended before it was answered"


class Greenlets(Protocol):
    """A group of greenlets, as of gevent."""

    def spawn(self, run: Callable[..., Any], *arguments: Any) -> Any:
        """Begin one."""

    def join(self, timeout: float) -> Any:
        """Wait for all of them."""

    def kill(self, timeout: float) -> Any:
        """End all of them."""


@dataclass(slots=True, eq=False)
class _Look:
    """One planned look at a panel; mutable: it is begun and ended. ``instead_of`` are older ones that it stands for."""

    panel: Panel
    due_ns: int
    sent_ns: int = 0
    ended: bool = False
    instead_of: tuple[_Look, ...] = ()


@dataclass(slots=True)
class _OfComponent:
    """The looks at the panels of one component."""

    turn: RLock = field(default_factory=RLock)
    open: list[_Look] = field(default_factory=list)
    waiting: deque[_Look] = field(default_factory=deque)


class ViewerLooks:
    """The planned looks of one person. Each leaves exactly one row.

    Args:
        ask: asks a panel; takes it and the planned time.
        record: takes the rows.
        clock: epoch nanoseconds.
        greenlets: in which panels are asked.
        via: as in `QueryTiming`.
    """

    def __init__(
        self,
        ask: Callable[[Panel, int], QueryTiming],
        record: Callable[[QueryTiming], None],
        clock: Clock,
        greenlets: Greenlets,
        via: str,
    ) -> None:
        self._ask_panel, self._record, self._clock = ask, record, clock
        self._greenlets, self._via = greenlets, via
        self._closed = False
        self._of: dict[Component, _OfComponent] = {}

    def plan(self, panel: Panel, due_ns: int) -> None:
        """A panel is due: it is asked, or has to wait, or the load is over."""
        look = _Look(panel, due_ns)
        mine = self._of.setdefault(panel.component, _OfComponent())
        if self._closed:
            self._leave(look, QueryEnd.CUT, self._clock())
        elif len(mine.open) < MAX_OPEN:
            self._open(look, mine)
        else:
            mine.waiting.append(look)
            if len(mine.waiting) > MAX_WAITING:
                self._leave(mine.waiting.popleft(), QueryEnd.MISSED, self._clock())

    def unable(self, due_ns: int, why: str) -> None:
        """Nobody can tell which panel was due."""
        self._record(self._row(Component.GRAFANA, "panel", 0.0, due_ns, 0, self._clock(), why, QueryEnd.UNABLE))

    def close(self) -> None:
        """From now on nothing is asked any more; what is planned is cut off."""
        self._closed = True

    def end(self, within_s: float) -> None:
        """Give what is open a moment, then end it. Every look has its row when this returns."""
        self.close()
        try:
            self._greenlets.join(timeout=within_s)
            self._greenlets.kill(timeout=1)
        finally:
            # A greenlet that never came to run cannot tell that it was ended.
            now_ns = self._clock()
            for mine in self._of.values():
                for look in [*mine.open, *mine.waiting]:
                    self._leave(look, QueryEnd.CUT, now_ns)
                mine.open.clear()
                mine.waiting.clear()

    def _open(self, look: _Look, mine: _OfComponent) -> None:
        mine.open.append(look)
        self._greenlets.spawn(self._ask, look, mine)

    def _ask(self, look: _Look, mine: _OfComponent) -> None:
        timing: QueryTiming | None = None
        end, why = QueryEnd.CUT, ""
        try:
            with mine.turn:
                look.sent_ns = self._clock()
                timing = self._ask_panel(look.panel, look.due_ns)
        except Exception as problem:
            # Whatever it is, it is a mistake of ours and goes up; but the stack must not look better for it.
            end, why = QueryEnd.UNABLE, f"loadgen could not ask: {type(problem).__name__}: {problem}"[:300]
            raise
        finally:
            self._after(look, mine, timing, end, why)

    def _after(self, look: _Look, mine: _OfComponent, timing: QueryTiming | None, end: QueryEnd, why: str) -> None:
        if look in mine.open:
            mine.open.remove(look)
        if timing is None:
            self._leave(look, end, self._clock(), why)
        elif not look.ended:
            look.ended = True
            for missed in look.instead_of:
                self._leave(missed, QueryEnd.MISSED, timing.done_ns)
            self._record(timing)
        if self._closed:
            while mine.waiting:
                self._leave(mine.waiting.popleft(), QueryEnd.CUT, self._clock())
        elif mine.waiting and len(mine.open) < MAX_OPEN:
            newest = mine.waiting.pop()
            newest.instead_of = tuple(mine.waiting)
            mine.waiting.clear()
            self._open(newest, mine)

    def _leave(self, look: _Look, end: QueryEnd, now_ns: int, why: str = "") -> None:
        """The row of a look that has no answer, and of those that it stands for."""
        if look.ended:
            return
        look.ended = True
        for missed in look.instead_of:
            self._leave(missed, QueryEnd.CUT, now_ns)
        sent_ns = look.sent_ns if end is QueryEnd.CUT else 0
        if not why:
            why = _MISSED if end is QueryEnd.MISSED else _CUT_OPEN if sent_ns else _CUT
        panel = look.panel
        row = self._row(panel.component, panel.kind, panel.range_s, look.due_ns, sent_ns, now_ns, why, end)
        self._record(row)

    def _row(
        self,
        component: Component,
        kind: str,
        range_s: float,
        due_ns: int,
        sent_ns: int,
        done_ns: int,
        why: str,
        end: QueryEnd,
    ) -> QueryTiming:
        return QueryTiming(
            component=component.value,
            kind=kind,
            via=self._via,
            source="viewer",
            range_s=range_s,
            due_ns=due_ns,
            sent_ns=sent_ns,
            done_ns=max(due_ns, done_ns),
            ok=False,
            status=0,
            items=0,
            detail=why,
            end=end.value,
        )
