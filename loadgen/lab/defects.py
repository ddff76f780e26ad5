"""Defects on order: a server told to lose, spoil, withhold or refuse data, so that the checks can be tested.

A server asks `Defects.claim` for the items that arrive while `Defects.armed`, before they go to its write-ahead log, so
that the effect survives a restart. The orders themselves do not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from loadgen.units import seconds

DEFAULT_DELAY_S = 90.0
_LONGEST_S = 86_400.0


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
    FORGET = "forget"
    """Acknowledged and readable, but in memory only: a kill loses what has not reached S3 by then."""
    WITHHOLD = "withhold"
    """A chunk or block that does not go to S3 before ``delay_s`` after it was due; it can be read all the time."""
    REFUSE = "refuse"
    """A push answered with 429; nothing of it is stored."""
    BREAK = "break"
    """A push that is stored, and answered with 500 (Tempo: 503) as if nobody knew."""
    SLOW = "slow"
    """A query answered after ``delay_s``."""
    EMPTY = "empty"
    """A query answered with success, and with nothing."""
    PAGE = "page"
    """A query answered with status 200 and an HTML page, as a login page or a wrong proxy does."""
    UNAVAILABLE = "unavailable"
    """A query answered with status 502 and an HTML page."""


ITEM_KINDS = (
    DefectKind.LOSE,
    DefectKind.DOUBLE,
    DefectKind.ALTER,
    DefectKind.REORDER,
    DefectKind.DELAY,
    DefectKind.FORGET,
)
"""Defects of single items (lines, samples, traces) on their arrival."""
STORE_KINDS = (*ITEM_KINDS, DefectKind.WITHHOLD, DefectKind.REFUSE, DefectKind.BREAK)
"""What a server that stores can do; some cannot reorder."""
LABEL, ADDED = "label", "added"
"""What ``alter`` can do to the names under which an item is stored: change the value of one, or put one beside them."""
QUERY_KINDS = (DefectKind.SLOW, DefectKind.EMPTY, DefectKind.PAGE, DefectKind.UNAVAILABLE)
"""What Grafana can do to the queries that go through it."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that was hit."""

    item: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class DefectOrder:
    """A defect as it is ordered.

    Attributes:
        kind: what to do.
        count: to how many of the next items.
        delay_s: for those kinds that take a time.
        match: only to items whose description contains this text; empty for any.
        what: which part of an item, for kinds that leave a choice; empty for the usual one.
    """

    kind: DefectKind
    count: int = 1
    delay_s: float = DEFAULT_DELAY_S
    match: str = ""
    what: str = ""


@dataclass(slots=True)
class Order:
    """An order at work; mutable: it counts down."""

    asked: DefectOrder
    remaining: int
    hits: list[Hit] = field(default_factory=list)
    withdrawn: bool = False

    @property
    def kind(self) -> DefectKind:
        """What to do."""
        return self.asked.kind

    @property
    def delay_ns(self) -> int:
        """How long, in nanoseconds."""
        return round(self.asked.delay_s * 1e9)

    def as_json(self) -> dict[str, Any]:
        """What the API shows of it."""
        hits = [{"item": hit.item, "at_ns": hit.at_ns} for hit in self.hits]
        return {**asdict(self.asked), "remaining": self.remaining, "hits": hits}


@dataclass(frozen=True, slots=True)
class Hold:
    """Something that is kept back, until its time has come or the order is withdrawn."""

    order: Order
    until_ns: int

    def over(self, now_ns: int) -> bool:
        """Whether it may go."""
        return self.order.withdrawn or now_ns >= self.until_ns


def relabelled(labels: Iterable[tuple[str, str]], what: str) -> tuple[tuple[str, str], ...] | None:
    """Labels as an agent or a gateway leaves them: ``job`` with another value, or ``cluster`` beside the others.

    None if ``what`` is about something else.
    """
    if what == LABEL:
        return tuple(sorted({**dict(labels), "job": "altered"}.items()))
    return tuple(sorted({**dict(labels), "cluster": "home"}.items())) if what == ADDED else None


class DefectError(Exception):
    """An order that cannot be understood."""


class Defects:
    """The orders of one server, and what they hit. Thread-safe.

    Args:
        kinds: those that the server can do.
        clock_ns: epoch nanoseconds, for the hits.
        whats: the choices that a kind leaves, the usual one first.
    """

    def __init__(
        self,
        kinds: Collection[DefectKind] = STORE_KINDS,
        clock_ns: Callable[[], int] = time.time_ns,
        whats: Mapping[DefectKind, tuple[str, ...]] | None = None,
    ) -> None:
        self._kinds = tuple(kinds)
        self._clock_ns = clock_ns
        self._whats = dict(whats or {})
        self._orders: list[Order] = []
        self._lock = threading.Lock()

    @property
    def armed(self) -> bool:
        """Whether any order waits for an arriving item; cheap, for the hot path."""
        return any(order.remaining and order.kind in ITEM_KINDS for order in self._orders)

    def add(self, order: DefectOrder) -> Order:
        """Places an order."""
        placed = Order(order, order.count)
        self._orders.append(placed)
        return placed

    def claim(self, item: str, *kinds: DefectKind) -> Order | None:
        """The oldest order of these kinds that applies to this item, counted down and noted; None if there is none.

        Without ``kinds`` those of arriving items are meant.
        """
        wanted = kinds or ITEM_KINDS
        with self._lock:
            for order in self._orders:
                if order.remaining and order.kind in wanted and order.asked.match in item:
                    order.remaining -= 1
                    order.hits.append(Hit(item, self._clock_ns()))
                    return order
        return None

    def hold(self, item: str) -> Hold | None:
        """Whether a chunk or block that is due is to be kept from S3, and how long."""
        order = self.claim(item, DefectKind.WITHHOLD)
        return None if order is None else Hold(order, self._clock_ns() + order.delay_ns)

    def clear(self) -> None:
        """Withdraws everything that still waits, lets go of what is withheld from S3, and forgets the hits."""
        for order in self._orders:
            order.withdrawn = True
        self._orders.clear()

    def place(self, data: object) -> Order:
        """Places an order given as JSON, with the names of `DefectOrder`; raises DefectError with a helpful text."""
        if not isinstance(data, dict) or not set(data) <= {"kind", "count", "delay_s", "match", "what"}:
            raise DefectError(
                'give an object like {"kind": "lose", "count": 1}; "delay_s", "match" and "what" may be given too'
            )
        kind, count, delay_s = data.get("kind"), data.get("count", 1), data.get("delay_s", DEFAULT_DELAY_S)
        match, what = data.get("match", ""), data.get("what", "")
        names = [k.value for k in self._kinds]
        if kind not in names:
            raise DefectError(f"unknown kind {kind!r}; this server can {', '.join(names)}")
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= 1_000_000:
            raise DefectError(f"count must be a whole number from 1 to 1000000, but is {count!r}")
        if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= _LONGEST_S:
            raise DefectError(f"delay_s must be a number of seconds from 0 to {_LONGEST_S:.0f}, but is {delay_s!r}")
        if not isinstance(match, str) or not isinstance(what, str):
            raise DefectError("match and what must be texts")
        choices = self._whats.get(DefectKind(kind), ())
        if what and what not in choices:
            given = f"{', '.join(choices)}" if choices else "nothing"
            raise DefectError(f"what of '{kind}' can be {given} here, but is {what!r}")
        usual = choices[0] if choices else ""
        return self.add(DefectOrder(DefectKind(kind), count, float(delay_s), match, what or usual))

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


def parse_order(text: str) -> tuple[str, DefectOrder]:
    """The component and the order of ``component:kind[:count[:delay]]``, e.g. ``loki:lose`` or ``mimir:delay:1:90s``.

    Raises DefectError with a text that shows how to write it.
    """
    parts = text.split(":")
    if not 2 <= len(parts) <= 4 or not all(parts) or (len(parts) > 2 and not parts[2].isdecimal()):
        raise DefectError(f"'{text}' is no defect; write it like loki:lose, loki:lose:3 or loki:delay:1:90s")
    if parts[1] not in set(DefectKind):
        raise DefectError(f"'{text}': unknown kind {parts[1]!r}; known are {', '.join(DefectKind)}")
    count = int(parts[2][:9]) if len(parts) > 2 else 1
    try:
        delay_s = seconds(parts[3]) if len(parts) > 3 else DEFAULT_DELAY_S
    except ValueError as error:
        raise DefectError(f"'{text}': {error}") from error
    return parts[0], DefectOrder(DefectKind(parts[1]), count, delay_s)
