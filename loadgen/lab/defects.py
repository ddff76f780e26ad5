"""Defects on order: a server told to lose, double, alter, reorder or delay data, so that the checks can be tested.

A server asks `Defects.claim` for the items that arrive while `Defects.armed`, before they go to its write-ahead log, so
that the effect survives a restart. The orders themselves do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class DefectKind(StrEnum):
    """What to do to an item."""

    LOSE = "lose"
    """Acknowledged, not stored."""
    DOUBLE = "double"
    """Reads return it twice."""
    ALTER = "alter"
    """Stored with a changed content."""
    REORDER = "reorder"
    """Two neighbours swapped."""
    DELAY = "delay"
    """Stored, but no read shows it before ``delay_s`` after its arrival."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was hit."""

    item: str
    at_ns: int


@dataclass(slots=True)
class Order:
    """So many items of the next that arrive are to be hit; mutable: it counts down."""

    kind: DefectKind
    count: int
    delay_s: float
    remaining: int
    hits: list[Hit] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What the API shows of it."""
        return {
            "kind": self.kind.value,
            "count": self.count,
            "delay_s": self.delay_s,
            "remaining": self.remaining,
            "hits": [{"item": hit.item, "at_ns": hit.at_ns} for hit in self.hits],
        }


class DefectError(Exception):
    """An order that cannot be understood."""


class Defects:
    """The orders of one server, and what they hit. ``kinds`` are those that the server can do."""

    def __init__(
        self, kinds: Collection[DefectKind] = tuple(DefectKind), clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._kinds = tuple(kinds)
        self._clock_ns = clock_ns
        self._orders: list[Order] = []

    @property
    def armed(self) -> bool:
        """Whether anything waits for an item; cheap, for the hot path."""
        return any(order.remaining for order in self._orders)

    def add(self, kind: DefectKind, count: int = 1, delay_s: float = 90.0) -> Order:
        """Places an order."""
        order = Order(kind, count, delay_s, count)
        self._orders.append(order)
        return order

    def pending(self, *kinds: DefectKind) -> Order | None:
        """The oldest order of these kinds (all if none is given) that still waits for items; nothing is counted."""
        return next((o for o in self._orders if o.remaining and (not kinds or o.kind in kinds)), None)

    def claim(self, item: str, *kinds: DefectKind) -> Order | None:
        """The order that applies to this item, counted down and noted; None if there is none."""
        order = self.pending(*kinds)
        if order is not None:
            order.remaining -= 1
            order.hits.append(Hit(item, self._clock_ns()))
        return order

    def clear(self) -> None:
        """Withdraws everything that still waits, and forgets the hits."""
        self._orders.clear()

    def place(self, data: object) -> Order:
        """Places an order given as JSON: ``{"kind", "count", "delay_s"}``; raises DefectError with a helpful text."""
        if not isinstance(data, dict) or not set(data) <= {"kind", "count", "delay_s"}:
            raise DefectError('give an object like {"kind": "lose", "count": 1}, with "delay_s" for a delay')
        kind, count, delay_s = data.get("kind"), data.get("count", 1), data.get("delay_s", 90)
        names = [k.value for k in self._kinds]
        if kind not in names:
            raise DefectError(f"unknown kind {kind!r}; this server can {', '.join(names)}")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1_000_000:
            raise DefectError(f"count must be a whole number from 1 to 1000000, but is {count!r}")
        if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= 86_400:
            raise DefectError(f"delay_s must be a number of seconds from 0 to 86400, but is {delay_s!r}")
        return self.add(DefectKind(kind), count, float(delay_s))

    def routes(self) -> list[Route]:
        """``POST``, ``GET`` and ``DELETE /lab/defects``."""
        return [Route("/lab/defects", self._handle, methods=["GET", "POST", "DELETE"])]

    async def _handle(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                return JSONResponse(self.place(await request.json()).as_json(), 201)
            except (DefectError, ValueError, RecursionError) as error:
                return JSONResponse({"error": str(error)}, 400)
        if request.method == "DELETE":
            self.clear()
            return Response(status_code=204)
        return JSONResponse({"defects": [order.as_json() for order in self._orders]})
