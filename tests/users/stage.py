"""A stage for the real users: greenlets of gevent, a clock that only moves when all of them wait, and components that
answer when they are told to."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import gevent
from gevent.event import Event

from loadgen.model import NS, Component, QueryTiming
from loadgen.queries.panel import Panel

BEGAN_NS = 1_800_000_000 * NS


class VirtualTime:
    """Greenlets sleep in it; it moves on to the next of them when none has anything left to do."""

    def __init__(self) -> None:
        self.now_ns = BEGAN_NS
        self._waiting: list[tuple[int, int, Event]] = []
        self._numbers = itertools.count()

    def clock(self) -> int:
        return self.now_ns

    @property
    def now_s(self) -> float:
        return (self.now_ns - BEGAN_NS) / NS

    def sleep(self, wait_s: float) -> None:
        if wait_s <= 0:
            gevent.sleep(0)
            return
        over = Event()
        heapq.heappush(self._waiting, (self.now_ns + round(wait_s * NS), next(self._numbers), over))
        over.wait()

    def run_until(self, at_s: float) -> None:
        """Let everything happen that happens by then."""
        until_ns = BEGAN_NS + round(at_s * NS)
        self._settle()
        while self._waiting and self._waiting[0][0] <= until_ns:
            at_ns, _, over = heapq.heappop(self._waiting)
            self.now_ns = max(self.now_ns, at_ns)
            over.set()
            self._settle()
        self.now_ns = max(self.now_ns, until_ns)

    @staticmethod
    def _settle() -> None:
        for _ in range(8):  # a greenlet that was woken may wake another, and so on
            gevent.sleep(0)


@dataclass
class Stack:
    """Components that answer at once, except in their stalls: what is asked then is answered when the stall is over."""

    time: VirtualTime
    stalls: dict[Component, tuple[float, float]] = field(default_factory=dict)
    takes_s: float = 0.02
    raises: BaseException | None = None
    asked: list[Component] = field(default_factory=list)
    open: dict[Component, int] = field(default_factory=dict)
    most_open: int = 0

    def answer(self, component: Component) -> None:
        """Wait for an answer."""
        self.asked.append(component)
        if self.raises is not None:
            raise self.raises
        self.open[component] = self.open.get(component, 0) + 1
        self.most_open = max(self.most_open, self.open[component])
        try:
            from_s, until_s = self.stalls.get(component, (0.0, 0.0))
            wait_s = until_s - self.time.now_s if from_s <= self.time.now_s < until_s else 0.0
            self.time.sleep(wait_s + self.takes_s)
        finally:
            self.open[component] -= 1

    def panel(self, component: Component, kind: str = "range") -> Panel:
        """A panel that this stack answers."""

        class Answered(Panel):
            def ask(panel, _readers: Any, due_ns: int) -> QueryTiming:
                sent_ns = self.time.now_ns
                self.answer(component)
                seen_ns = (due_ns, sent_ns, self.time.now_ns)
                return QueryTiming(component.value, kind, "grafana", "viewer", 3600.0, *seen_ns, True, 200, 1, "")

        return Answered(component, kind, kind, 3600.0, lambda *_: None)  # type: ignore[arg-type, return-value]


class Told:
    """Locust's environment, as far as users need it: it hears of requests, and holds what they share."""

    def __init__(self, load: Any) -> None:
        self.loadgen = load
        self.requests: list[dict[str, Any]] = []
        self.events = SimpleNamespace(request=SimpleNamespace(fire=lambda **told: self.requests.append(told)))


def load_of(time: VirtualTime, refresh_s: float, **more: Any) -> Any:
    """What users share, with rows that are kept in a list."""
    rows: list[Any] = []
    return SimpleNamespace(
        clock=time.clock,
        rows=rows,
        recorder=SimpleNamespace(add=rows.append),
        profile=SimpleNamespace(dashboards=SimpleNamespace(refresh=refresh_s)),
        plan=None,
        readers=SimpleNamespace(via="grafana"),
        shown=SimpleNamespace(judged=lambda _, timing: timing),
        known=SimpleNamespace(trace=lambda: (b"", False)),
        next_viewer=lambda: 0,
        **more,
    )


def planned(refresh_s: float, until_s: float) -> list[int]:
    """When a viewer that began at the beginning planned to look."""
    return list(range(BEGAN_NS, BEGAN_NS + round(until_s * NS) + 1, round(refresh_s * NS)))


def dues(rows: Iterable[Any]) -> list[int]:
    """The planned times of rows, sorted."""
    return sorted(row.due_ns for row in rows)


Choice = Callable[..., list[Panel]]
